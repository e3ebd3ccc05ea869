//! One request.

use std::rc::Rc;
use std::sync::Arc;

use log::Level;

use jwt_gate::{Allowed, Decision, DenyReason, HeaderGuard, Reply, Request, Verdict};

use crate::host::{Host, RequestMap};
use crate::plugin::Running;

/// The filter state in which access logs find the decision: `%FILTER_STATE(wasm.jwt_gate.code:PLAIN)%`.
const CODE_KEY: &str = "jwt_gate.code";

/// The filter state in which access logs find the rules that decided.
const RULE_KEY: &str = "jwt_gate.rule";

/// The filter state in which access logs find `sub`.
const SUBJECT_KEY: &str = "jwt_gate.subject";

/// One request. It lets go of the plugin when the headers are decided: a stream that lives for days must not keep an old
/// configuration, with its cache, in memory.
pub(crate) struct Stream<H: Host> {
    host: H,
    running: Option<Rc<Running<H>>>,
    /// The headers that no trailer may be named like.
    guard: Option<Arc<HeaderGuard>>,
}

/// Whether the request goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Continue,
    Stop,
}

impl<H: Host> Stream<H> {
    pub(crate) fn new(host: H, running: Option<Rc<Running<H>>>) -> Self {
        let guard = running.as_ref().map(|running| Arc::clone(running.policy.header_guard()));
        Self { host, running, guard }
    }

    pub(crate) fn on_headers(&mut self, has_body: bool) -> Next {
        let Some(running) = self.running.take() else { return self.unavailable() };
        let Some(headers) = self.host.headers(RequestMap::Headers) else { return self.unavailable() };
        let request = Request::new(headers.iter()).with_body(has_body);
        let clock = || self.host.now();
        let Decision { mutations, verdict, deciders, cache, log } =
            running.worker.borrow_mut().decide(&request, &clock);
        // If one fails the others are still tried, so that as little as possible of a refused request reaches a log.
        let failed = mutations.iter().filter(|mutation| !self.host.apply(mutation)).count();
        running.metrics.cache(cache);
        if let Some(line) = log {
            self.host.log(Level::Warn, &format!("jwt-gate: {line}"));
        }
        if running.policy.exports_decision() {
            let names = running.policy.rule_names(&deciders);
            self.host.set_filter_state(RULE_KEY, names.as_bytes());
        }
        match verdict {
            Verdict::Allow(allowed) if failed == 0 => self.allow(&running, &allowed),
            Verdict::Allow(_) | Verdict::Undecided => self.unavailable(),
            Verdict::Deny(reason, reply) => self.deny(&running, reason, &reply),
        }
    }

    pub(crate) fn on_trailers(&self) -> Next {
        let Some(guard) = &self.guard else { return self.unavailable() };
        let Some(trailers) = self.host.headers(RequestMap::Trailers) else { return self.unavailable() };
        let mut guarded = trailers.iter().map(|(name, _)| name).filter(|name| guard.guards(name));
        if guarded.all(|name| self.host.remove(RequestMap::Trailers, name)) {
            Next::Continue
        } else {
            self.unavailable()
        }
    }

    fn allow(&self, running: &Running<H>, allowed: &Allowed) -> Next {
        for (key, value) in &allowed.filter_state {
            self.host.set_filter_state(key, value);
        }
        if running.policy.exports_decision() {
            if let Some(subject) = &allowed.subject {
                self.host.set_filter_state(SUBJECT_KEY, subject.as_bytes());
            }
            let code = if allowed.authenticated { b"allowed" } else { &b"public"[..] };
            self.host.set_filter_state(CODE_KEY, code);
        }
        running.metrics.allowed(allowed.authenticated);
        Next::Continue
    }

    fn deny(&self, running: &Running<H>, reason: DenyReason, reply: &Reply) -> Next {
        if running.policy.exports_decision() {
            self.host.set_filter_state(CODE_KEY, reason.as_str().as_bytes());
        }
        running.metrics.denied(reason);
        self.host.reply(reply);
        Next::Stop
    }

    /// Refuses a request that the gate cannot decide.
    fn unavailable(&self) -> Next {
        self.host.reply(&Reply::unavailable());
        Next::Stop
    }
}
