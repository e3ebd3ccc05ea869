//! HTTP/2 with prior knowledge (RFC 9113 §3.3) over a connection for one request or several.

use std::io;
use std::sync::OnceLock;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::backend::fields;
use crate::http1::{Answer, PATIENCE, Request};
use crate::seen::Headers;

type Body = http_body_util::combinators::BoxBody<Bytes, io::Error>;

/// A connection for several requests; it is opened by the first, and anew where Envoy closed it.
pub struct Connection {
    port: u16,
    open: Option<Open>,
}

struct Open {
    sender: hyper::client::conn::http2::SendRequest<Body>,
    driver: tokio::task::JoinHandle<hyper::Result<()>>,
}

/// Sends `request` as HTTP/2. Its header names must be lower case (RFC 9113 §8.2.1); `host` becomes
/// `:authority`.
///
/// # Errors
/// Where no whole answer comes back, or where the request cannot be written as HTTP/2.
pub fn try_send(request: &Request, port: u16) -> io::Result<Answer> {
    Connection::to(port).try_send(request)
}

/// As [`try_send`]; the test fails where no whole answer comes back.
#[must_use]
pub fn send(request: &Request, port: u16) -> Answer {
    try_send(request, port).unwrap_or_else(|error| panic!("no answer to {request:?}: {error}"))
}

// === impl Connection ===

impl Connection {
    /// A connection to a port of this machine.
    #[must_use]
    pub fn to(port: u16) -> Self {
        Self { port, open: None }
    }

    /// As [`try_send`], over this connection.
    ///
    /// # Errors
    /// As [`try_send`].
    pub fn try_send(&mut self, request: &Request) -> io::Result<Answer> {
        static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
        let runtime = RUNTIME.get_or_init(|| {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a runtime for the HTTP/2 client")
        });
        runtime.block_on(async {
            tokio::time::timeout(PATIENCE, async {
                let mut open = match self.open.take().filter(|open| !open.sender.is_closed()) {
                    Some(open) => open,
                    None => Open::to(self.port).await?,
                };
                let answer = exchange(request, &mut open.sender).await?;
                self.open = Some(open);
                Ok(answer)
            })
            .await
            .map_err(io::Error::other)?
        })
    }
}

impl Open {
    async fn to(port: u16) -> io::Result<Self> {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .map_err(io::Error::other)?;
        Ok(Self { sender, driver: tokio::spawn(connection) })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn exchange(
    request: &Request,
    sender: &mut hyper::client::conn::http2::SendRequest<Body>,
) -> io::Result<Answer> {
    let mut authority = "app.test".to_owned();
    let mut builder = http::Request::builder().method(request.method.as_str());
    for (name, value) in &request.headers {
        if name.as_slice() == b"host" {
            authority = String::from_utf8_lossy(value).into_owned();
        } else {
            builder = builder.header(name.as_slice(), value.as_slice());
        }
    }
    let uri = [format!("http://{authority}").as_bytes(), &request.target].concat();
    let mut frames: Vec<Result<Frame<Bytes>, io::Error>> = Vec::new();
    if !request.body.is_empty() {
        frames.push(Ok(Frame::data(Bytes::from(request.body.clone()))));
    }
    if !request.trailers.is_empty() {
        frames.push(Ok(Frame::trailers(map(&request.trailers)?)));
    }
    let body: Body = if frames.is_empty() {
        http_body_util::Empty::new().map_err(|never| match never {}).boxed()
    } else {
        StreamBody::new(stream::iter(frames)).boxed()
    };
    let sent = builder.uri(uri.as_slice()).body(body).map_err(io::Error::other)?;
    let answer = sender.send_request(sent).await.map_err(io::Error::other)?;
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?;
    let trailers = body.trailers().map(fields).unwrap_or_default();
    Ok(Answer {
        status: parts.status.as_u16(),
        headers: fields(&parts.headers),
        body: body.to_bytes().to_vec(),
        trailers,
    })
}

fn map(headers: &Headers) -> io::Result<http::HeaderMap> {
    let mut map = http::HeaderMap::new();
    for (name, value) in headers {
        let name = http::HeaderName::from_bytes(name).map_err(io::Error::other)?;
        map.append(name, http::HeaderValue::from_bytes(value).map_err(io::Error::other)?);
    }
    Ok(map)
}
