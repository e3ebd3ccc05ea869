//! Counters, as Envoy shows them: `wasmcustom.jwt_gate.allowed` and so on.

use std::cell::{Cell, RefCell};

use jwt_gate::{CacheStats, DenyReason, Follower, Policy};

use crate::host::{Host, MetricKind};

/// The counters of one plugin, defined once; what could not be defined is not counted.
///
/// What requests count is added up here and handed to Envoy on the next tick, and when the plugin goes: a request
/// makes no hostcall for it.
pub(crate) struct Metrics<H: Host> {
    host: H,
    allowed: Counter,
    public: Counter,
    denied: Vec<(&'static str, Counter)>,
    cache_hit: Counter,
    cache_miss: Counter,
    revocation: Option<RevocationMetrics>,
}

struct RevocationMetrics {
    entries: Option<u32>,
    age_ms: Option<u32>,
    full: Option<u32>,
    failures: Counter,
}

/// A counter of Envoy's, and how much it does not know yet.
struct Counter {
    id: Option<u32>,
    pending: Cell<u32>,
}

impl<H: Host> Metrics<H> {
    /// Defines the counters of `policy`, and one gauge for each key id (1 for the newest secret, 2 for the one
    /// before it, 0 for one that was dropped), by which `jwt-gate-auth doctor` compares secrets.
    pub(crate) fn define(host: H, policy: &Policy, kid_gauges: &RefCell<Vec<String>>) -> Self {
        let prefix = policy.stat_prefix();
        let define = |kind, name: &str| host.define(kind, &format!("{prefix}.{name}"));
        let counter =
            |name: &str| Counter { id: define(MetricKind::Counter, name), pending: Cell::default() };
        let kids = policy.kid_gauges();
        let mut known = kid_gauges.borrow_mut();
        known.retain(|name| kids.iter().all(|(kid, _)| kid != name));
        // Those that are left were dropped: 0 says that they verify no longer.
        let dropped: Vec<_> = known.drain(..).map(|name| (name, 0)).collect();
        for (name, age) in dropped.into_iter().chain(kids) {
            if let Some(gauge) = host.define(MetricKind::Gauge, &name) {
                host.record(gauge, age);
            }
            known.push(name);
        }
        let denied = |code| (code, counter(&format!("denied.{code}")));
        Self {
            allowed: counter("allowed"),
            public: counter("public"),
            denied: DenyReason::codes().into_iter().map(denied).collect(),
            cache_hit: counter("cache.hit"),
            cache_miss: counter("cache.miss"),
            revocation: policy.has_revocation_feed().then(|| RevocationMetrics {
                entries: define(MetricKind::Gauge, "revocation.entries"),
                age_ms: define(MetricKind::Gauge, "revocation.age_ms"),
                full: define(MetricKind::Gauge, "revocation.full"),
                failures: counter("revocation.failures"),
            }),
            host,
        }
    }

    pub(crate) fn allowed(&self, authenticated: bool) {
        if authenticated { &self.allowed } else { &self.public }.add(1);
    }

    pub(crate) fn denied(&self, reason: DenyReason) {
        if let Some((_, counter)) = self.denied.iter().find(|(known, _)| *known == reason.as_str()) {
            counter.add(1);
        }
    }

    pub(crate) fn cache(&self, stats: CacheStats) {
        self.cache_hit.add(stats.hits);
        self.cache_miss.add(stats.misses);
    }

    /// Shows how long the revocation list is, and how old.
    pub(crate) fn revocations(&self, follower: &Follower, instant: f64) {
        let Some(metrics) = &self.revocation else { return };
        self.set(metrics.entries, follower.revocations().entries());
        self.set(metrics.age_ms, follower.age_ms(instant));
        self.set(metrics.full, follower.is_full().into());
    }

    fn set(&self, gauge: Option<u32>, value: u64) {
        if let Some(gauge) = gauge {
            self.host.record(gauge, value);
        }
    }

    /// Counts a call for revocations that failed.
    pub(crate) fn revocation_failed(&self) {
        if let Some(metrics) = &self.revocation {
            metrics.failures.add(1);
        }
    }

    /// Hands to Envoy what was counted since the last time.
    pub(crate) fn flush(&self) {
        let denied = self.denied.iter().map(|(_, counter)| counter);
        let failures = self.revocation.iter().map(|metrics| &metrics.failures);
        let rest = [&self.allowed, &self.public, &self.cache_hit, &self.cache_miss];
        denied.chain(failures).chain(rest).for_each(|counter| counter.flush(&self.host));
    }
}

impl<H: Host> Drop for Metrics<H> {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Counter {
    fn add(&self, amount: u32) {
        self.pending.set(self.pending.get().saturating_add(amount));
    }

    fn flush(&self, host: &impl Host) {
        let amount = self.pending.take();
        if let Some(id) = self.id.filter(|_| amount > 0) {
            host.increment(id, amount);
        }
    }
}
