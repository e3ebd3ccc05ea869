//! A gate for tests: a policy with one worker.

#![allow(dead_code, reason = "each test needs a part of it")]

use std::cell::RefCell;
use std::sync::Arc;

use jwt_gate::config::{Config, ConfigError};
use jwt_gate::{CacheStats, Follower, HeaderMutation, Policy, Request, Verdict, Worker};

/// A policy with one worker, and a follower if the policy has a revocation feed.
pub(crate) struct Gate {
    worker: RefCell<Worker>,
    pub(crate) follower: RefCell<Option<Follower>>,
}

/// The headers of a request, names and values.
pub(crate) type Headers = Vec<(String, Vec<u8>)>;

/// A decision, with the removal of headers that only the gate may set apart from the other mutations.
#[derive(Debug)]
pub(crate) struct Decided {
    /// The names of the headers that only the gate may set, and that are removed therefore.
    pub(crate) stripped: Vec<Vec<u8>>,
    pub(crate) mutations: Vec<HeaderMutation>,
    pub(crate) verdict: Verdict,
    pub(crate) cache: CacheStats,
    pub(crate) log: Option<String>,
}

impl Gate {
    pub(crate) fn new(
        config: Config,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let policy = Arc::new(Policy::new(config, environment)?);
        let follower = policy.follower([]);
        let revocations = follower.as_ref().map(|follower| Arc::clone(follower.revocations()));
        Ok(Self { worker: Worker::new(policy, revocations).into(), follower: follower.into() })
    }

    pub(crate) fn decide(&self, request: &Request<'_>, now: f64) -> Decided {
        self.decide_by(request, &|| Some(now))
    }

    pub(crate) fn decide_by(&self, request: &Request<'_>, clock: &dyn Fn() -> Option<f64>) -> Decided {
        let decision = self.worker.borrow_mut().decide(request, clock);
        let guard = Arc::clone(self.worker.borrow().policy().header_guard());
        let mut stripped = Vec::new();
        let mut mutations = decision.mutations;
        while let Some(HeaderMutation::Remove(name)) = mutations.first()
            && guard.guards(name)
        {
            stripped.push(name.to_vec());
            mutations.remove(0);
        }
        Decided { stripped, mutations, verdict: decision.verdict, cache: decision.cache, log: decision.log }
    }
}

/// A request with these headers.
pub(crate) fn request_of(headers: &Headers) -> Request<'_> {
    Request::new(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())))
}
