//! What is seen of requests from outside: one log line each, and metrics.
//!
//! Of a request's target only the matched route is recorded. A raw path or query may hold a token that
//! somebody put there, and anybody can make up new ones.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::http::problem::Problem;
use crate::id;

const REQUEST_ID: &str = "x-request-id";
/// A longer request id is not taken over.
const MAX_REQUEST_ID_BYTES: usize = 128;

const REQUESTS: &str = "jwt_gate_auth_requests_total";
const DURATION: &str = "jwt_gate_auth_request_duration_seconds";
const DURATION_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Writes what was counted in Prometheus' text format.
#[derive(Clone)]
pub struct Exporter(PrometheusHandle);

impl Exporter {
    /// Begins to count, for the whole process.
    ///
    /// # Errors
    /// Where somebody has begun already.
    pub fn install() -> Result<Self, BuildError> {
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(DURATION.to_owned()), DURATION_BUCKETS)?
            .install_recorder()?;
        metrics::describe_counter!(REQUESTS, "Requests by route, method and status.");
        metrics::describe_histogram!(DURATION, "Time from a request's head to the answer's head.");
        metrics::describe_gauge!(
            "jwt_gate_auth_password_queue_length",
            "Passwords that wait for a bcrypt thread."
        );
        Ok(Self(handle))
    }

    /// Everything counted so far.
    pub fn render(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }
}

/// Logs and counts a request and gives it an id, the sender's own where there is a fitting one.
pub async fn observe(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = request_id(request.headers());
    let method = method_label(&request);
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        request.headers_mut().insert(REQUEST_ID, value);
    }

    let mut response = next.run(request).await;

    let elapsed = started.elapsed();
    let status = response.status().as_u16();
    let code = response.extensions().get::<Problem>().map_or("", |problem| problem.code);
    log(&request_id, method, &route, status, code, elapsed);
    let labels = [("route", route), ("method", method.to_owned()), ("status", status.to_string())];
    metrics::counter!(REQUESTS, &labels).increment(1);
    let [route, method, _] = labels;
    metrics::histogram!(DURATION, &[route, method]).record(elapsed.as_secs_f64());
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn log(request_id: &str, method: &str, route: &str, status: u16, code: &str, elapsed: Duration) {
    let duration_ms = elapsed.as_secs_f64() * 1000.0;
    if status >= 500 {
        tracing::warn!(request_id, method, route, status, code, duration_ms, "request");
    } else {
        tracing::info!(request_id, method, route, status, code, duration_ms, "request");
    }
}

fn request_id(headers: &HeaderMap) -> String {
    headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| !id.is_empty() && id.len() <= MAX_REQUEST_ID_BYTES)
        .filter(|id| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte)))
        .map_or_else(id::new_request_id, str::to_owned)
}

/// The methods that we know; a client can make up others without end.
fn method_label(request: &Request) -> &'static str {
    match request.method().as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
