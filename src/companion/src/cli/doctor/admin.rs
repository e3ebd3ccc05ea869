//! Envoy's admin interface.

use std::time::Duration;

use axum::http::{Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use url::Url;

use crate::clock;

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// More of an answer is not read. A mesh's `/config_dump` has megabytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// What Envoy answered.
pub(super) struct Answer {
    pub(super) text: String,
    /// How far Envoy's clock is ahead of ours.
    pub(super) clock_difference_seconds: Option<i64>,
}

/// An address of the admin interface, which speaks HTTP and nothing else.
pub(super) fn parse_url(text: &str) -> Result<Url, String> {
    let example = "such as http://127.0.0.1:9901";
    match Url::parse(text) {
        Ok(url) if url.scheme() == "https" => Err(format!(
            "Envoy's admin interface speaks plain http, never https: run doctor on Envoy's machine with an address {example}"
        )),
        Ok(url) if url.scheme() == "http" && url.has_host() => Ok(url),
        _ => Err(format!("give it with http:// in front, {example}")),
    }
}

/// Counters and gauges whose name matches the regular expression `filter`.
pub(super) async fn stats(admin: &Url, filter: &str) -> Result<Answer, String> {
    let filter: String = form_urlencoded::byte_serialize(filter.as_bytes()).collect();
    get(admin, &format!("/stats?filter={filter}")).await
}

/// Envoy's whole configuration.
pub(super) async fn config_dump(admin: &Url) -> Result<Value, String> {
    let answer = get(admin, "/config_dump").await?;
    // The error of the parser could repeat what it read, and there may be secrets in it.
    serde_json::from_str(&answer.text).map_err(|_| "/config_dump is not JSON".to_owned())
}

async fn get(admin: &Url, path: &str) -> Result<Answer, String> {
    match tokio::time::timeout(TIMEOUT, ask(admin, path)).await {
        Ok(answer) => answer,
        Err(_) => Err("no answer in time".to_owned()),
    }
}

async fn ask(admin: &Url, path: &str) -> Result<Answer, String> {
    let host = admin.host_str().ok_or("it names no host")?;
    let port = admin.port_or_known_default().ok_or("it names no port")?;
    // An IPv6 host is in brackets in a URL, and not in an address.
    let stream =
        TcpStream::connect((host.trim_matches(['[', ']']), port)).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header(header::HOST, format!("{host}:{port}"))
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    if !response.status().is_success() {
        return Err(format!("{path} is answered with {}: is this Envoy's admin port?", response.status()));
    }
    let date = response.headers().get(header::DATE).and_then(|date| date.to_str().ok()).and_then(parse_date);
    let clock_difference_seconds = date.map(|theirs| theirs.saturating_sub(clock::now_seconds()));
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
    let bytes = body.map_err(|error| error.to_string())?.to_bytes();
    Ok(Answer { text: String::from_utf8_lossy(&bytes).into_owned(), clock_difference_seconds })
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
fn parse_date(text: &str) -> Option<i64> {
    let time = httpdate::parse_http_date(text).ok()?;
    i64::try_from(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_admin_address_is_plain_http() {
        for good in ["http://127.0.0.1:9901", "http://[::1]:9901/", "http://envoy"] {
            assert!(parse_url(good).is_ok(), "{good}");
        }
        assert!(parse_url("https://127.0.0.1:9901").unwrap_err().contains("never https"));
        for bad in ["127.0.0.1:9901", "localhost:9901", "unix:/run/envoy", "ftp://envoy", ""] {
            assert!(parse_url(bad).unwrap_err().contains("http:// in front"), "{bad}");
        }
    }
}
