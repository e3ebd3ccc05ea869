//! The backend: no line of it knows of tokens. It answers with the request as it arrived.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};
use tiny_http::{Header, Response, Server};

/// A running backend, which ends when this is dropped.
pub(super) struct Whoami {
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
    address: SocketAddr,
}

impl Whoami {
    pub(super) fn start() -> Result<Self> {
        let server =
            Server::http("127.0.0.1:0").map_err(|error| anyhow!("no port for the backend: {error}"))?;
        let address = server.server_addr().to_ip().context("the backend has no address")?;
        let server = Arc::new(server);
        let serving = Arc::clone(&server);
        let thread = thread::spawn(move || {
            for request in serving.incoming_requests() {
                let body = seen(&request);
                // A client that has gone away is no concern of the backend's.
                let _ = request.respond(answer(&body));
            }
        });
        Ok(Self { server, thread: Some(thread), address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Whoami {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The request as it arrived; headers in order, a name that is there twice twice.
fn seen(request: &tiny_http::Request) -> Value {
    let headers: Vec<_> = request
        .headers()
        .iter()
        .map(|header| json!([header.field.as_str().as_str().to_ascii_lowercase(), header.value.as_str()]))
        .collect();
    let user = request.headers().iter().find(|header| header.field.equiv("x-user-id"));
    let greeting = match user {
        Some(user) => format!("Hello, {}.", user.value),
        None => "Hello, whoever you are.".to_owned(),
    };
    json!({
        "message": greeting,
        "received": {"method": request.method().as_str(), "path": request.url(), "headers": headers},
    })
}

fn answer(body: &Value) -> Response<std::io::Cursor<Vec<u8>>> {
    let response = Response::from_string(format!("{body:#}\n"));
    match Header::from_bytes("content-type", "application/json") {
        Ok(header) => response.with_header(header),
        Err(()) => response,
    }
}
