//! Single requests, by which it is checked what will be measured.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use ureq::Agent;
use ureq::http;

/// An answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: http::HeaderMap,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// `GET path`.
pub(super) fn get(address: SocketAddr, path: &str, headers: &[(&str, String)]) -> Result<Answer> {
    send(address, "GET", path, headers, None)
}

/// `POST path` with JSON.
pub(super) fn post(address: SocketAddr, path: &str, body: &serde_json::Value) -> Result<Answer> {
    let json = [("content-type", "application/json".to_owned())];
    send(address, "POST", path, &json, Some(body.to_string()))
}

fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, String)],
    body: Option<String>,
) -> Result<Answer> {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(10)))
        .build()
        .into();
    let mut request = http::Request::builder().method(method).uri(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let what = || format!("{method} http://{address}{path}");
    let mut response = match body {
        Some(body) => agent.run(request.body(body)?),
        None => agent.run(request.body(())?),
    }
    .with_context(what)?;
    let body = response.body_mut().read_to_string().with_context(what)?;
    Ok(Answer { status: response.status().as_u16(), headers: response.headers().clone(), body })
}
