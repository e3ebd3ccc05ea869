//! A log line for each request, and metrics.
//!
//! Only the matched route of a request's target is recorded. A raw path or query may hold a token, and clients can make up
//! new ones without end.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use crate::events;
use crate::http::problem::Problem;
use crate::id;
use crate::password;

const REQUEST_ID: &str = "x-request-id";
/// A longer request id is not taken over.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// Routes that machines poll: a thousand gates are thousands of calls a second.
const POLLED: [&str; 4] = ["/healthz", "/readyz", "/metrics", "/internal/revocations"];

const REQUESTS: &str = "jwt_gate_auth_requests_total";
const DURATION: &str = "jwt_gate_auth_request_duration_seconds";
const DURATION_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// Writes the metrics in Prometheus' text format.
#[derive(Clone)]
pub struct Exporter(PrometheusHandle);

impl Exporter {
    /// Begins to count, for the whole process.
    ///
    /// # Errors
    /// If a recorder is installed already.
    pub fn install() -> Result<Self, BuildError> {
        let handle = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(DURATION.to_owned()), DURATION_BUCKETS)?
            .install_recorder()?;
        metrics::describe_counter!(REQUESTS, "Requests by route, method and status.");
        metrics::describe_histogram!(DURATION, "Time from a request's head to the answer's head.");
        metrics::describe_counter!(events::EVENTS, "Security events by kind and outcome.");
        metrics::describe_counter!(
            password::ROUNDS,
            "Rounds of bcrypt: 2 to the power of the cost for each password."
        );
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

    /// Sums up the durations at an interval. The recorder buffers every sample until upkeep runs, and otherwise only a scrape
    /// runs it: if nobody scraped, memory would grow with each request.
    pub async fn sum_up(self, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        loop {
            ticks.tick().await;
            self.0.run_upkeep();
        }
    }
}

/// Logs and counts a request and gives it an id: the sender's own, if that is a sane one.
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
    } else if status < 400 && POLLED.contains(&route) {
        tracing::debug!(request_id, method, route, status, code, duration_ms, "request");
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

#[cfg(test)]
mod tests {
    use super::*;

    const BATCHES: usize = 20;
    const BATCH: usize = 100_000;
    /// Kept one by one, all durations together would take 30 MiB.
    const MOST_GROWTH_KIB: u64 = 12 * 1024;

    fn resident_kib() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn where_nobody_scrapes_memory_does_not_grow_with_the_requests() {
        // What other tests of this process allocate is not to be measured.
        const ALONE: &str = "JWT_GATE_TEST_ALONE";
        if std::env::var_os(ALONE).is_none() {
            let name = "http::observe::tests::where_nobody_scrapes_memory_does_not_grow_with_the_requests";
            let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
            let output = alone.args([name, "--exact"]).env(ALONE, "1").output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let exporter = Exporter::install().unwrap();
        tokio::spawn(exporter.clone().sum_up(Duration::from_millis(1)));
        let histogram = metrics::histogram!(DURATION, "route" => "/test");
        let before = resident_kib();
        for _ in 0..BATCHES {
            for _ in 0..BATCH {
                histogram.record(0.001);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let grown = resident_kib().saturating_sub(before);
        assert!(grown < MOST_GROWTH_KIB, "{grown} KiB");
        // Not how many: while they are summed up the recorder loses a few that come at that very moment.
        assert!(exporter.render().contains("_count{route=\"/test\"} "));
    }
}
