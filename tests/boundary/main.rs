//! A model of the trust boundary, held against many generated requests.
//!
//! Requests are raw bytes, made so as to be read differently by a proxy and by whoever stands behind it. They
//! go through a real Envoy with the gate; what arrives is checked by a [`model`] that shares no code with the
//! gate: identity comes from a valid token in that very request, nobody's own word for one arrives, and
//! nothing protected is reached without a token, whatever the path looks like.
//!
//! `JWT_GATE_BOUNDARY_REQUESTS` and `JWT_GATE_BOUNDARY_SEED` choose how many and which;
//! `JWT_GATE_BOUNDARY_BATCH` repeats one batch of a seed and shows its bytes.

mod case;
mod frames;
mod http1;
mod http2;
mod model;
mod path;
#[path = "../../src/gate/tests/oracle/readings.rs"]
#[expect(dead_code, reason = "shared with the gate's own tests and fuzz targets, which use more of it")]
mod readings;

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use jwt_gate_tests::{Envoy, Listener, Recorder, Spec};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::case::Reading;
use crate::model::Model;

/// How many requests must have been answered in all.
const REQUESTS: u64 = 100_000;

/// Connections that are used at once: some wait for an answer that never comes.
const THREADS: u64 = 32;

/// Requests over one connection.
const BATCH: usize = 48;

/// The rules are the most generous ones: what no rule names is public.
fn config() -> Value {
    json!({
        "providers": {"app": {
            "secrets": [{"env": "BETTER_AUTH_SECRET"}],
            "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
            "from_cookies": ["session"],
            "from_params": ["token"],
            "claim_to_headers": [
                {"header_name": "x-user-id", "claim_name": "sub", "required": true},
                {"header_name": "x-user-role", "claim_name": "role"},
            ],
        }},
        "rules": [
            {"match": {"path": "/public"}},
            {"match": {"prefix": "/open/"}},
            {"match": {"prefix": "/optional/"}, "requires": {"allow_missing": {"provider_name": "app"}}},
            {"match": {"prefix": "/admin/"}, "requires": {"provider_name": "app", "claims": {"role": ["admin"]}}},
            {"match": {"prefix": "/api/"}, "requires": {"provider_name": "app"}},
        ],
        "default": "allow",
        "bypass_cors_preflight": true,
        "strip_headers": ["x-internal-role"],
    })
}

/// The three ways in which Envoy may treat paths, with everything else as lenient as it can be.
fn listener(reading: Reading) -> Listener {
    let routes = json!([
        {"match": {"connect_matcher": {}}, "route": {"cluster": "recorder"}},
        {"match": {"prefix": "/"}, "route": {"cluster": "recorder", "timeout": "5s"}},
    ]);
    let listener = Listener::gated(reading.name(), config())
        .routes(routes)
        .set("upgrade_configs", json!([{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT"}]))
        .set("common_http_protocol_options", json!({"headers_with_underscores_action": "ALLOW"}))
        .set(
            "http_protocol_options",
            json!({
                "enable_trailers": true,
                "accept_http_10": true,
                "default_host_for_http_10": "app.test",
                "allow_chunked_length": true,
                "allow_custom_methods": true,
                "override_stream_error_on_invalid_http_message": true,
            }),
        )
        .set(
            "http2_protocol_options",
            json!({
                "allow_connect": true,
                "max_concurrent_streams": 1000,
                "override_stream_error_on_invalid_http_message": true,
            }),
        );
    match reading {
        Reading::Untouched => listener,
        Reading::Normalised => listener.normalised(),
        Reading::Unescaped => listener
            .set("normalize_path", json!(true))
            .set("merge_slashes", json!(true))
            .set("path_with_escaped_slashes_action", json!("UNESCAPE_AND_FORWARD")),
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[test]
fn identity_comes_from_the_requests_own_token_and_nothing_protected_is_reached_without_one() {
    let seed = number("JWT_GATE_BOUNDARY_SEED").unwrap_or(20_261_123);
    let wanted = number("JWT_GATE_BOUNDARY_REQUESTS").unwrap_or(REQUESTS);
    let only = number("JWT_GATE_BOUNDARY_BATCH");
    let model = Arc::new(Model::default());
    let checks = Arc::clone(&model);
    let recorder = Recorder::start(move |seen| checks.check(seen));
    let envoy = Spec::new()
        .listeners(Reading::ALL.map(listener))
        .cluster("recorder", recorder.port())
        .concurrency(2)
        .start();

    let (next, answered) = (AtomicU64::new(only.unwrap_or_default()), AtomicU64::new(0));
    let batches = || loop {
        let batch = next.fetch_add(1, Ordering::Relaxed);
        let done = only.map_or(answered.load(Ordering::Relaxed) >= wanted, |only| batch > only);
        if done || model.has_failed() {
            return;
        }
        answered.fetch_add(run(batch, seed, &envoy, &model, only.is_some()), Ordering::Relaxed);
    };
    thread::scope(|scope| {
        for _ in 0..if only.is_some() { 1 } else { THREADS } {
            scope.spawn(batches);
        }
    });
    assert!(envoy.runs(), "Envoy ended: {}", envoy.log());
    let wasm_failures = envoy.log().lines().filter(|line| line.contains("panicked")).count();
    assert_eq!(wasm_failures, 0, "a request trapped the VM");
    let tally = model.total();
    println!("seed {seed}: {} answered, {tally:?}", answered.load(Ordering::Relaxed));
    let violations = model.violations();
    assert!(
        violations.is_empty(),
        "JWT_GATE_BOUNDARY_SEED={seed} JWT_GATE_BOUNDARY_BATCH=<batch> shows the bytes\n{}",
        violations.join("\n")
    );
    if only.is_none() {
        // So that nobody believes a generator whose requests never arrive.
        let share = answered.load(Ordering::Relaxed) / 50;
        assert!(tally.with_identity > share, "hardly anybody was let in: {tally:?}");
        assert!(tally.without_identity > share, "hardly anything public was reached: {tally:?}");
        assert!(tally.spoofed_sent > share, "hardly anybody tried: {tally:?}");
        assert!(tally.refused_by_gate > share, "hardly anybody was refused: {tally:?}");
    }
}

/// One connection's worth of requests; how many were answered.
fn run(batch: u64, seed: u64, envoy: &Envoy, model: &Model, shown: bool) -> u64 {
    let mut random = StdRng::seed_from_u64(seed ^ batch.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let reading = Reading::ALL[usize::try_from(batch % 3).expect("a small number")];
    let port = envoy.port(reading.name());
    // Every fourth connection is HTTP/2; every eighth plays tricks with framing, after which nobody knows
    // where the next request starts.
    let answers = match batch % 8 {
        1 | 5 => http2::exchange(&mut random, batch, reading, model, port, shown),
        3 => http1::exchange_tricks(&mut random, batch, reading, model, port, shown),
        _ => http1::exchange(&mut random, batch, reading, model, port, shown),
    };
    model.count_answers(&answers);
    answers.iter().map(|(_, count)| count).sum()
}
