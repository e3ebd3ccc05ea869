//! HTTP/1.1 over a plain socket: what is given is what is sent, byte for byte.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::seen::{Headers, Seen, latin1, values};

/// How long an answer may take before the test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A request, as bytes.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The request target.
    pub target: Vec<u8>,
    /// The header fields in order; `host` is added where it is not among them.
    pub headers: Headers,
    /// The body; sent chunked where there are trailers.
    pub body: Vec<u8>,
    /// The trailer fields.
    pub trailers: Headers,
}

/// An answer.
#[derive(Clone, Default)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header fields in order.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// The trailer fields.
    pub trailers: Headers,
}

/// A connection for several requests.
pub struct Connection {
    stream: BufReader<TcpStream>,
}

// === impl Request ===

impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (target, headers) = (latin1(&self.target), Text(&self.headers));
        write!(
            formatter,
            "{} {target:?} {headers:?} {:?} {:?}",
            self.method,
            latin1(&self.body),
            Text(&self.trailers)
        )
    }
}

impl Request {
    /// A GET of `target`.
    #[must_use]
    pub fn get(target: impl AsRef<[u8]>) -> Self {
        Self::new("GET", target)
    }

    /// A request of any method.
    #[must_use]
    pub fn new(method: &str, target: impl AsRef<[u8]>) -> Self {
        Self {
            method: method.to_owned(),
            target: target.as_ref().to_vec(),
            headers: Vec::new(),
            body: Vec::new(),
            trailers: Vec::new(),
        }
    }

    /// The same with one more header field.
    #[must_use]
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// The same with `Authorization: Bearer <token>`.
    #[must_use]
    pub fn bearer(self, token: impl AsRef<[u8]>) -> Self {
        let value = [b"Bearer ", token.as_ref()].concat();
        self.header("authorization", value)
    }

    /// The same with a body.
    #[must_use]
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// The same with one more trailer field.
    #[must_use]
    pub fn trailer(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.trailers.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut wire = [self.method.as_bytes(), b" ", &self.target, b" HTTP/1.1\r\n"].concat();
        let has =
            |name: &str| self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()));
        let mut headers = self.headers.clone();
        if !has("host") {
            headers.insert(0, (b"host".to_vec(), b"app.test".to_vec()));
        }
        let framed = has("content-length") || has("transfer-encoding");
        if !framed && !self.trailers.is_empty() {
            headers.push((b"transfer-encoding".to_vec(), b"chunked".to_vec()));
        } else if !framed && !self.body.is_empty() {
            headers.push((b"content-length".to_vec(), self.body.len().to_string().into_bytes()));
        }
        push_fields(&mut wire, &headers);
        if self.trailers.is_empty() {
            wire.extend_from_slice(&self.body);
        } else {
            if !self.body.is_empty() {
                wire.extend(format!("{:x}\r\n", self.body.len()).bytes());
                wire.extend_from_slice(&self.body);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n");
            push_fields(&mut wire, &self.trailers);
        }
        wire
    }

    /// Sends it over a connection of its own.
    ///
    /// # Errors
    /// Where no whole answer comes back.
    pub fn try_send(&self, port: u16) -> io::Result<Answer> {
        Connection::open(port)?.exchange(self)
    }

    /// Sends it over a connection of its own; the test fails where no whole answer comes back.
    pub fn send(&self, port: u16) -> Answer {
        self.try_send(port).unwrap_or_else(|error| panic!("no answer to {self:?}: {error}"))
    }
}

fn push_fields(wire: &mut Vec<u8>, fields: &Headers) {
    for (name, value) in fields {
        wire.extend_from_slice(name);
        wire.extend_from_slice(b": ");
        wire.extend_from_slice(value);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"\r\n");
}

// === impl Connection ===

impl Connection {
    /// A connection to a port of this machine.
    ///
    /// # Errors
    /// Where nobody listens.
    pub fn open(port: u16) -> io::Result<Self> {
        Self::open_at((Ipv4Addr::LOCALHOST, port).into(), PATIENCE)
    }

    /// A connection to any address, which gives up where something takes longer than `patience`.
    ///
    /// # Errors
    /// Where nobody listens.
    pub fn open_at(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// Where no whole answer comes back.
    pub fn exchange(&mut self, request: &Request) -> io::Result<Answer> {
        self.write(&request.to_bytes())?;
        self.read_answer(request.method == "HEAD")
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// Where the connection is gone.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads one answer; one to HEAD has no body.
    ///
    /// # Errors
    /// Where no whole answer comes back.
    pub fn read_answer(&mut self, to_head: bool) -> io::Result<Answer> {
        let status_line = read_line(&mut self.stream)?;
        let status =
            String::from_utf8_lossy(&status_line).split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| invalid("no status line"))?;
        let headers = read_fields(&mut self.stream)?;
        let bodiless = to_head || status == 204 || status == 304 || status < 200;
        let (body, trailers) =
            if bodiless { (Vec::new(), Vec::new()) } else { read_body(&mut self.stream, &headers, true)? };
        Ok(Answer { status, headers, body, trailers })
    }
}

/// One line without its end.
pub(crate) fn read_line(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    stream.take(1 << 20).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

/// Header or trailer fields up to the empty line.
pub(crate) fn read_fields(stream: &mut impl BufRead) -> io::Result<Headers> {
    let mut fields = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            return Ok(fields);
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or_else(|| invalid("no colon"))?;
        let value = line[colon + 1..].strip_prefix(b" ").unwrap_or(&line[colon + 1..]);
        fields.push((line[..colon].to_vec(), value.to_vec()));
    }
}

/// The body and trailers that `headers` announce.
pub(crate) fn read_body(
    stream: &mut impl BufRead,
    headers: &Headers,
    until_close: bool,
) -> io::Result<(Vec<u8>, Headers)> {
    let mut body = Vec::new();
    if values(headers, "transfer-encoding").iter().any(|value| value.contains("chunked")) {
        loop {
            let line = read_line(stream)?;
            let size = String::from_utf8_lossy(&line).split(';').next().unwrap_or_default().trim().to_owned();
            let size = u64::from_str_radix(&size, 16).map_err(|_| invalid("no chunk size"))?;
            if size == 0 {
                return Ok((body, read_fields(stream)?));
            }
            stream.by_ref().take(size).read_to_end(&mut body)?;
            read_line(stream)?;
        }
    }
    if let Some(length) = values(headers, "content-length").first() {
        let length = length.parse().map_err(|_| invalid("no content length"))?;
        stream.by_ref().take(length).read_to_end(&mut body)?;
        if body.len() as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    } else if until_close {
        stream.read_to_end(&mut body)?;
    }
    Ok((body, Vec::new()))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

// === impl Answer ===

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} {:?} {:?} {:?}",
            self.status,
            Text(&self.headers),
            self.text(),
            Text(&self.trailers)
        )
    }
}

/// Fields as text.
struct Text<'fields>(&'fields Headers);

impl fmt::Debug for Text<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_map()
            .entries(self.0.iter().map(|(name, value)| (latin1(name), latin1(value))))
            .finish()
    }
}

impl Answer {
    /// The value of a header field, where it is there exactly once.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        match values(&self.headers, name).as_slice() {
            [value] => Some(value.clone()),
            _ => None,
        }
    }

    /// Every value of a header field.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<String> {
        values(&self.headers, name)
    }

    /// The value of a trailer field, where it is there exactly once.
    #[must_use]
    pub fn trailer(&self, name: &str) -> Option<String> {
        match values(&self.trailers, name).as_slice() {
            [value] => Some(value.clone()),
            _ => None,
        }
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    /// The request as the backend saw it, where it was the backend that answered.
    #[must_use]
    pub fn seen(&self) -> Option<Seen> {
        self.header(crate::backend::MARK)?;
        Seen::from_json(&self.body)
    }

    /// The request as the backend saw it; the test fails where the backend did not answer.
    pub fn reached(&self) -> Seen {
        self.seen().unwrap_or_else(|| panic!("the backend was not reached: {} {}", self.status, self.text()))
    }

    /// The `code` of a problem+json answer of the gate; the test fails where the backend answered.
    pub fn code(&self) -> String {
        assert!(self.header(crate::backend::MARK).is_none(), "the backend was reached: {}", self.text());
        self.json()["code"].as_str().unwrap_or_else(|| panic!("no code: {}", self.text())).to_owned()
    }

    /// Fails unless the gate refused the request in the form of the contract's §4: status, `code`,
    /// media type, `WWW-Authenticate`, `Cache-Control`.
    pub fn assert_denied(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code().as_str()), (status, code), "{}", self.text());
        assert_eq!(self.json()["status"], status);
        assert_eq!(self.header("content-type").as_deref(), Some("application/problem+json"));
        assert_eq!(self.header("cache-control").as_deref(), Some("no-store"));
        let challenge = self.header("www-authenticate");
        match (status, code) {
            (401, "missing_token") => {
                let challenge = challenge.expect("a challenge (RFC 9110 §11.6.1)");
                assert!(challenge.starts_with("Bearer realm=\""), "{challenge}");
                assert!(!challenge.contains("error"), "RFC 6750 §3.1: no error without a token: {challenge}");
            }
            (401, _) => {
                let challenge = challenge.expect("a challenge (RFC 9110 §11.6.1)");
                assert!(challenge.starts_with("Bearer realm=\""), "{challenge}");
                assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
                assert!(challenge.contains("error_description=\""), "{challenge}");
            }
            (403, "forbidden") => {
                let challenge = challenge.expect("a challenge (RFC 6750 §3)");
                assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
            }
            _ => {}
        }
    }
}
