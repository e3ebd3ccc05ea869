//! One request.

use std::sync::Arc;

use jwt_gate::{Allowed, Decision, DenyReason, HeaderMutation, Reply, Request, Verdict};

use crate::abi::{LogLevel, RequestMap, Stream, log};
use crate::config::Config;

/// The filter state in which access logs find the decision. The prefix is the one that Envoy gives to wasm filters, so that
/// access logs are the same with both.
const CODE_KEY: &str = "wasm.jwt_gate.code";

/// The filter state in which access logs find the rules that decided.
const RULE_KEY: &str = "wasm.jwt_gate.rule";

/// The filter state in which access logs find `sub`.
const SUBJECT_KEY: &str = "wasm.jwt_gate.subject";

/// The filter on one request.
pub(crate) struct Filter {
    config: Arc<Config>,
    /// Whether the headers were decided and the request may pass.
    passes: bool,
}

/// Whether the request goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Continue,
    Stop,
}

impl Filter {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self { config, passes: false }
    }

    pub(crate) fn on_headers(&mut self, stream: &mut Stream<'_>, has_body: bool) -> Next {
        let Some(headers) = stream.headers(RequestMap::Headers) else { return self.unavailable(stream) };
        let request = Request::new(headers).with_body(has_body);
        #[cfg(feature = "test-panic")]
        panic_if_asked(&request);
        let is_grpc = request.is_grpc();
        let Decision { mutations, verdict, deciders, cache, log: line } = self.config.decide(&request);
        // If one fails the others are still tried, so that as little as possible of a refused request reaches a log.
        let failed = mutations.iter().filter(|mutation| !apply(stream, mutation)).count();
        self.config.metrics().count_cache(stream, cache);
        self.config.metrics().show_pending(stream);
        if let Some(line) = line {
            log(LogLevel::Warn, &format!("jwt-gate: {line}"));
        }
        if self.config.policy().exports_decision() {
            let names = self.config.policy().rule_names(&deciders);
            stream.set_filter_state(RULE_KEY, names.as_bytes());
        }
        match verdict {
            Verdict::Allow(allowed) if failed == 0 => {
                if !mutations.is_empty() {
                    // A header that the gate removed must not have chosen the route.
                    stream.clear_route_cache();
                }
                self.allow(stream, &allowed)
            }
            Verdict::Allow(_) | Verdict::Undecided => self.unavailable(stream),
            Verdict::Deny(reason, reply) => self.deny(stream, reason, &reply, is_grpc),
        }
    }

    /// A body passes with the headers that it belongs to.
    pub(crate) fn on_body(&mut self) -> Next {
        if self.passes { Next::Continue } else { Next::Stop }
    }

    pub(crate) fn on_trailers(&mut self, stream: &mut Stream<'_>) -> Next {
        if !self.passes {
            return Next::Stop;
        }
        let guard = self.config.policy().header_guard();
        let Some(trailers) = stream.headers(RequestMap::Trailers) else { return self.unavailable(stream) };
        let names = trailers.iter().map(|(name, _)| *name).filter(|name| guard.guards(name));
        let guarded: Vec<Vec<u8>> = names.map(<[u8]>::to_vec).collect();
        if guarded.iter().all(|name| stream.set(RequestMap::Trailers, name, None)) {
            Next::Continue
        } else {
            self.unavailable(stream)
        }
    }

    /// Refuses a request after a panic in one of its hooks.
    pub(crate) fn on_panic(&mut self, stream: &mut Stream<'_>) {
        log(LogLevel::Error, "jwt-gate: a panic refused a request; please report it");
        self.unavailable(stream);
    }

    fn allow(&mut self, stream: &mut Stream<'_>, allowed: &Allowed) -> Next {
        for (key, value) in &allowed.filter_state {
            stream.set_filter_state(&format!("wasm.{key}"), value);
        }
        if self.config.policy().exports_decision() {
            if let Some(subject) = &allowed.subject {
                stream.set_filter_state(SUBJECT_KEY, subject.as_bytes());
            }
            let code = if allowed.authenticated { b"allowed" } else { &b"public"[..] };
            stream.set_filter_state(CODE_KEY, code);
        }
        self.config.metrics().count_allowed(stream, allowed.authenticated);
        self.passes = true;
        Next::Continue
    }

    fn deny(&mut self, stream: &mut Stream<'_>, reason: DenyReason, reply: &Reply, is_grpc: bool) -> Next {
        if self.config.policy().exports_decision() {
            stream.set_filter_state(CODE_KEY, reason.as_str().as_bytes());
        }
        self.config.metrics().count_denied(stream, reason);
        self.reply(stream, reply, is_grpc, &format!("jwt_gate_{}", reason.as_str()));
        Next::Stop
    }

    fn reply(&mut self, stream: &mut Stream<'_>, reply: &Reply, is_grpc: bool, details: &str) {
        self.passes = false;
        let mut headers: Vec<(&str, &str)> =
            reply.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if is_grpc {
            // Without it Envoy's ABI tells a gRPC client that the call succeeded.
            headers.push(("grpc-status", grpc_status(reply.status)));
        }
        stream.reply(reply.status, &headers, reply.body.as_bytes(), details);
    }

    /// Refuses a request that the gate cannot decide.
    fn unavailable(&mut self, stream: &mut Stream<'_>) -> Next {
        let is_grpc =
            stream.headers(RequestMap::Headers).is_some_and(|headers| Request::new(headers).is_grpc());
        self.reply(stream, &Reply::unavailable(), is_grpc, "jwt_gate_unavailable");
        Next::Stop
    }
}

#[cfg(feature = "test-panic")]
fn panic_if_asked(request: &Request<'_>) {
    assert!(request.first("x-jwt-gate-test-panic").is_none(), "a test asked for a panic");
}

/// The status of gRPC for one of HTTP (`Grpc::Utility::httpToGrpcStatus`), among those that the gate replies with.
fn grpc_status(http: u32) -> &'static str {
    match http {
        401 => "16",
        403 => "7",
        503 => "14",
        _ => "2",
    }
}

fn apply(stream: &mut Stream<'_>, mutation: &HeaderMutation) -> bool {
    match mutation {
        HeaderMutation::Remove(name) => stream.set(RequestMap::Headers, name, None),
        HeaderMutation::Set(name, value) => stream.set(RequestMap::Headers, name.as_bytes(), Some(value)),
    }
}
