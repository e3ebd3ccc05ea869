//! Every hostcall. This module turns Envoy's callbacks into [`Gate::decide`] and its answer into hostcalls;
//! it decides nothing itself.
//!
//! It reads headers as bytes: the SDK's string getters panic on a header that is not UTF-8, which a client
//! may send. And it lets nothing through where it has no configuration.

use std::rc::Rc;
use std::time::UNIX_EPOCH;

use log::{error, info};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, GrpcStatusCode, LogLevel, MapType};

use crate::gate::{Edit, Gate, Pass, Verdict};
use crate::metrics::Metrics;
use crate::reply::Reply;
use crate::request::Request;
use crate::{Code, config};

/// The filter state in which access logs find what was decided: `%FILTER_STATE(wasm.jwt_gate.code:PLAIN)%`.
const CODE_PROPERTY: &str = "jwt_gate.code";

/// The filter state in which access logs find `sub`.
const SUBJECT_PROPERTY: &str = "jwt_gate.subject";

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root { running: None }));
}}

/// One plugin in one worker's VM.
struct Root {
    running: Option<Rc<Running>>,
}

/// A plugin that has a configuration.
struct Running {
    gate: Gate,
    metrics: Metrics,
}

/// One request.
struct Stream {
    running: Option<Rc<Running>>,
}

// === impl Root ===

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _: usize) -> bool {
        let bytes = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, usize::MAX).ok().flatten();
        let environment = |name: &str| std::env::var(name).ok();
        let compiled =
            config::read(&bytes.unwrap_or_default()).and_then(|config| Gate::new(config, &environment));
        match compiled {
            Ok(gate) => {
                for (provider, kids) in gate.key_ids() {
                    info!("jwt-gate: provider {provider} verifies with kid {}", kids.join(", "));
                }
                let metrics = Metrics::define(&gate);
                self.running = Some(Rc::new(Running { gate, metrics }));
                true
            }
            Err(error) => {
                error!("jwt-gate: configuration refused: {error}");
                self.running = None;
                false
            }
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream { running: self.running.clone() }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

// === impl Stream ===

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let Some(running) = &self.running else { return unavailable() };
        let (Ok(headers), Ok(now)) =
            (hostcalls::get_map_bytes(MapType::HttpRequestHeaders), hostcalls::get_current_time())
        else {
            return unavailable();
        };
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let decision = running.gate.decide(&Request::new(headers), now);
        for name in &decision.spoofed {
            if hostcalls::remove_map_value(MapType::HttpRequestHeaders, name).is_err() {
                return unavailable();
            }
        }
        running.metrics.cache(decision.cache);
        match decision.verdict {
            Verdict::Pass(pass) => self.pass(running, pass),
            Verdict::Refuse(code, reply) => refuse(running, code, reply),
        }
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        let Some(running) = &self.running else { return unavailable() };
        let Ok(trailers) = hostcalls::get_map_bytes(MapType::HttpRequestTrailers) else {
            return unavailable();
        };
        for (name, _) in trailers {
            if running.gate.guards(&name)
                && hostcalls::remove_map_value(MapType::HttpRequestTrailers, &name).is_err()
            {
                return unavailable();
            }
        }
        Action::Continue
    }
}

impl Stream {
    fn pass(&self, running: &Running, pass: Pass) -> Action {
        for edit in &pass.edits {
            let (name, value) = match edit {
                Edit::Remove(name) => (name, None),
                Edit::Set(name, value) => (name, Some(value.as_slice())),
            };
            if hostcalls::set_map_value_bytes(MapType::HttpRequestHeaders, name, value).is_err() {
                return unavailable();
            }
        }
        for (key, value) in &pass.filter_state {
            remember(key, value);
        }
        if let Some(subject) = &pass.subject {
            remember(SUBJECT_PROPERTY, subject.as_bytes());
        }
        remember(CODE_PROPERTY, if pass.authenticated { b"allowed" } else { b"public" });
        running.metrics.passed(pass.authenticated);
        Action::Continue
    }
}

fn refuse(running: &Running, code: Code, reply: Reply) -> Action {
    remember(CODE_PROPERTY, code.as_str().as_bytes());
    running.metrics.denied(code);
    let sent = match &reply {
        Reply::Http { status, headers, body } => {
            let headers = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            hostcalls::send_http_response(*status, headers, Some(body.as_bytes()))
        }
        Reply::Grpc { status, message } => {
            let status = if *status == 16 {
                GrpcStatusCode::Unauthenticated
            } else {
                GrpcStatusCode::PermissionDenied
            };
            hostcalls::send_grpc_response(status, Some(message), Vec::new())
        }
    };
    // Paused, the request goes nowhere, even if the answer could not be sent.
    sent.map_or(Action::Pause, |()| Action::Pause)
}

/// What is answered where the gate cannot decide: nothing passes.
fn unavailable() -> Action {
    let headers = vec![("cache-control", "no-store")];
    hostcalls::send_http_response(503, headers, None).map_or(Action::Pause, |()| Action::Pause)
}

/// Puts `value` into Envoy's filter state as `wasm.<key>`.
fn remember(key: &str, value: &[u8]) {
    // Nothing depends on it but logs; a request is not refused because a log line would be poorer.
    let _ = hostcalls::set_property(vec![key], Some(value));
}
