//! The application behind Envoy: it answers each request with what it received.

use std::collections::HashSet;
use std::convert::Infallible;
use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::Role;
use tungstenite::{Message, WebSocket};

use crate::http1::{read_body, read_fields, read_line};
use crate::seen::{Headers, Seen, values};

/// The header by which an answer shows that it is the backend's.
pub(crate) const MARK: &str = "x-answered-by-backend";

/// A request with this header can be asked about with [`Backend::was_reached_by`].
pub const TAG: &str = "x-tag";

/// The application behind Envoy: HTTP/1.1 (read byte for byte, WebSockets too) on one port,
/// HTTP/2 (gRPC too) on another.
pub struct Backend {
    http1_port: u16,
    http2_port: u16,
    tags: Tags,
}

type Tags = Arc<Mutex<HashSet<String>>>;

impl Backend {
    /// The backend of this test binary.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Backend> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(Ipv4Addr::LOCALHOST).expect("a backend on loopback"))
    }

    /// One at this address.
    ///
    /// # Errors
    /// Where it cannot listen there.
    pub fn start(address: Ipv4Addr) -> io::Result<Self> {
        let tags = Tags::default();
        let http1 = TcpListener::bind((address, 0))?;
        let http2 = TcpListener::bind((address, 0))?;
        http2.set_nonblocking(true)?;
        let backend = Self {
            http1_port: http1.local_addr()?.port(),
            http2_port: http2.local_addr()?.port(),
            tags: Arc::clone(&tags),
        };
        let http1_tags = Arc::clone(&tags);
        thread::spawn(move || {
            for stream in http1.incoming().flatten() {
                let tags = Arc::clone(&http1_tags);
                // A connection that Envoy closes or breaks is the end of its thread, not of the test.
                thread::spawn(move || serve_http1(stream, &tags));
            }
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        thread::spawn(move || runtime.block_on(serve_http2(http2, tags)));
        Ok(backend)
    }

    /// The port for HTTP/1.1.
    #[must_use]
    pub fn http1_port(&self) -> u16 {
        self.http1_port
    }

    /// The port for HTTP/2 with prior knowledge.
    #[must_use]
    pub fn http2_port(&self) -> u16 {
        self.http2_port
    }

    /// Whether a request whose header [`TAG`] is `tag` arrived.
    #[must_use]
    pub fn was_reached_by(&self, tag: &str) -> bool {
        self.tags.lock().expect("no thread panics with the tags").contains(tag)
    }
}

fn note(tags: &Tags, headers: &Headers) {
    tags.lock().expect("no thread panics with the tags").extend(values(headers, TAG));
}

fn serve_http1(stream: TcpStream, tags: &Tags) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let line = read_line(&mut stream)?;
        let mut words = line.splitn(2, |byte| *byte == b' ');
        let method = String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
        let target = words.next().unwrap_or_default();
        let target = target.strip_suffix(b" HTTP/1.1").unwrap_or(target).to_vec();
        let headers = read_fields(&mut stream)?;
        note(tags, &headers);
        let (body, trailers) = read_body(&mut stream, &headers, false)?;
        let seen = Seen { protocol: "HTTP/1.1".to_owned(), method, target, headers, body, trailers };
        if seen.one("upgrade").is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket")) {
            return serve_websocket(stream.into_inner(), &seen);
        }
        let body = if seen.method == "HEAD" { Vec::new() } else { seen.to_json() };
        let head = format!(
            "HTTP/1.1 200 OK\r\n{MARK}: yes\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.get_mut().write_all(&[head.as_bytes(), &body].concat())?;
    }
}

/// Accepts, tells what it saw as the first message, then sends back each message (RFC 6455).
fn serve_websocket(mut stream: TcpStream, seen: &Seen) -> io::Result<()> {
    let key = seen.one("sec-websocket-key").unwrap_or_default();
    let accept = derive_accept_key(key.as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\n{MARK}: yes\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
    let text = String::from_utf8_lossy(&seen.to_json()).into_owned();
    let mut reply = Some(Message::text(text));
    while let Some(message) = reply {
        if socket.send(message).is_err() {
            break;
        }
        reply = socket.read().ok().filter(|message| message.is_text() || message.is_binary());
    }
    Ok(())
}

async fn serve_http2(listener: TcpListener, tags: Tags) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let tags = Arc::clone(&tags);
        let service = hyper::service::service_fn(move |request| answer_http2(request, Arc::clone(&tags)));
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

async fn answer_http2(
    request: http::Request<Incoming>,
    tags: Tags,
) -> Result<http::Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().map(fields).unwrap_or_default();
    let target =
        parts.uri.path_and_query().map_or_else(Vec::new, |target| target.as_str().as_bytes().to_vec());
    let seen = Seen {
        protocol: "HTTP/2".to_owned(),
        method: parts.method.to_string(),
        target,
        headers: fields(&parts.headers),
        body: body.to_bytes().to_vec(),
        trailers,
    };
    note(&tags, &seen.headers);
    let is_grpc = seen.one("content-type").is_some_and(|media| media.starts_with("application/grpc"));
    let text = Bytes::from(seen.to_json());
    let answer = http::Response::builder().header(MARK, "yes");
    let (answer, body) = if is_grpc {
        let length = u32::try_from(text.len()).expect("a message under 4 GiB").to_be_bytes();
        let message = Bytes::from([&[0], &length[..], &text].concat());
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
        let frames = [Ok(Frame::data(message)), Ok(Frame::trailers(trailers))];
        (answer.header("content-type", "application/grpc"), StreamBody::new(stream::iter(frames)).boxed())
    } else {
        (answer.header("content-type", "application/json"), Full::new(text).boxed())
    };
    Ok(answer.body(body).expect("the header fields are well formed"))
}

/// The fields of `map`, each occurrence by itself.
pub(crate) fn fields(map: &http::HeaderMap) -> Headers {
    map.iter().map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
}
