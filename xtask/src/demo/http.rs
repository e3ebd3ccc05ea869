//! A small HTTP client: requests as the walk shows them, answers as they came.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;
use ureq::Agent;
use ureq::http;

/// A request. Headers are sent as they are listed, also when a name is there twice.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Option<String>,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) reason: &'static str,
    headers: Vec<(String, String)>,
    pub(super) body: String,
    /// The body as JSON; null where it is none.
    pub(super) json: Value,
}

impl Request {
    pub(super) fn get(path: &'static str) -> Self {
        Self { method: "GET", path, headers: Vec::new(), body: None }
    }

    pub(super) fn post(path: &'static str) -> Self {
        Self { method: "POST", ..Self::get(path) }
    }

    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(super) fn json(mut self, body: &Value) -> Self {
        self.body = Some(body.to_string());
        self.header("content-type", "application/json")
    }

    /// Sends it to the server at `address`.
    pub(super) fn send(&self, address: SocketAddr) -> Result<Answer> {
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(Duration::from_secs(30)))
            .build()
            .into();
        let mut request =
            http::Request::builder().method(self.method).uri(format!("http://{address}{}", self.path));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let what = || format!("{} http://{address}{}", self.method, self.path);
        let response = match &self.body {
            Some(body) => agent.run(request.body(body.as_str())?),
            None => agent.run(request.body(())?),
        };
        let mut response = response.with_context(what)?;
        let headers: Vec<_> = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
            })
            .collect();
        let body = response.body_mut().read_to_string().with_context(what)?;
        Ok(Answer {
            status: response.status().as_u16(),
            reason: response.status().canonical_reason().unwrap_or_default(),
            headers,
            json: serde_json::from_str(&body).unwrap_or_default(),
            body,
        })
    }
}

/// `GET path`.
pub(super) fn get(address: SocketAddr, path: &'static str) -> Result<Answer> {
    Request::get(path).send(address)
}

impl Answer {
    /// The header `name`, which is lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}
