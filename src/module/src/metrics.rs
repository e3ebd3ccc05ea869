//! Counters and gauges. They have the names that the wasm filter's have behind their namespace.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use jwt_gate::{CacheStats, DenyReason, Follower, Policy};

use crate::abi::{EnvoyConfig, Stream, config_metrics};

/// The names of the gauges of key ids that this process has set so far.
static KID_GAUGES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The counters of one configuration; one that could not be defined is not counted.
pub(crate) struct Metrics {
    allowed: Option<usize>,
    public: Option<usize>,
    denied: Vec<(&'static str, Option<usize>)>,
    cache_hit: Option<usize>,
    cache_miss: Option<usize>,
    revocation: Option<RevocationMetrics>,
    /// Changes that wait for a request: Envoy 1.38 cannot change a metric without one.
    pending: Mutex<Vec<Change>>,
    has_pending: AtomicBool,
}

struct RevocationMetrics {
    entries: Option<usize>,
    age_ms: Option<usize>,
    full: Option<usize>,
    failures: Option<usize>,
}

/// A change of a metric.
#[derive(Debug, Clone, Copy)]
enum Change {
    Record(usize, u64),
    Increment(usize, u64),
}

impl Metrics {
    /// Defines the counters of `policy`, and one gauge for each key id (1 for the newest secret, 2 for the one before it, 0 for
    /// one that was dropped), by which `jwt-gate-auth doctor` compares secrets.
    pub(crate) fn define(envoy: &EnvoyConfig, policy: &Policy) -> Self {
        let prefix = policy.stat_prefix();
        let counter = |name: &str| envoy.define_counter(&format!("{prefix}.{name}"));
        let gauge = |name: &str| envoy.define_gauge(&format!("{prefix}.{name}"));
        let denied = |code| (code, counter(&format!("denied.{code}")));
        let metrics = Self {
            allowed: counter("allowed"),
            public: counter("public"),
            denied: DenyReason::codes().into_iter().map(denied).collect(),
            cache_hit: counter("cache.hit"),
            cache_miss: counter("cache.miss"),
            revocation: policy.has_revocation_feed().then(|| RevocationMetrics {
                entries: gauge("revocation.entries"),
                age_ms: gauge("revocation.age_ms"),
                full: gauge("revocation.full"),
                failures: counter("revocation.failures"),
            }),
            pending: Mutex::default(),
            has_pending: AtomicBool::new(false),
        };
        metrics.show_kids(envoy, policy);
        metrics
    }

    fn show_kids(&self, envoy: &EnvoyConfig, policy: &Policy) {
        let prefix = policy.stat_prefix();
        let kids = policy.kid_gauges();
        let mut known = KID_GAUGES.lock().unwrap_or_else(PoisonError::into_inner);
        let is_of_prefix = |name: &String| name.starts_with(&format!("{prefix}.kid."));
        // Those that are left were dropped: 0 says that they verify no longer.
        let dropped: Vec<_> = known
            .iter()
            .filter(|name| is_of_prefix(name) && kids.iter().all(|(kid, _)| kid != *name))
            .map(|name| (name.clone(), 0))
            .collect();
        for (name, age) in dropped.into_iter().chain(kids) {
            self.change(envoy, envoy.define_gauge(&name).map(|gauge| Change::Record(gauge, age)));
            if !known.contains(&name) {
                known.push(name);
            }
        }
    }

    pub(crate) fn count_allowed(&self, stream: &mut Stream<'_>, authenticated: bool) {
        count(stream, if authenticated { self.allowed } else { self.public }, 1);
    }

    pub(crate) fn count_denied(&self, stream: &mut Stream<'_>, reason: DenyReason) {
        let counter = self.denied.iter().find(|(known, _)| *known == reason.as_str());
        count(stream, counter.and_then(|(_, counter)| *counter), 1);
    }

    pub(crate) fn count_cache(&self, stream: &mut Stream<'_>, stats: CacheStats) {
        count(stream, self.cache_hit, stats.hits);
        count(stream, self.cache_miss, stats.misses);
    }

    /// Shows how long the revocation list is, and how old.
    pub(crate) fn show_revocations(&self, envoy: &EnvoyConfig, follower: &Follower, instant: f64) {
        let Some(metrics) = &self.revocation else { return };
        let age_ms = follower.age_ms(instant);
        let entries = follower.revocations().entries();
        for (gauge, value) in
            [(metrics.entries, entries), (metrics.age_ms, age_ms), (metrics.full, follower.is_full().into())]
        {
            self.change(envoy, gauge.map(|gauge| Change::Record(gauge, value)));
        }
    }

    /// Counts a call for revocations that failed.
    pub(crate) fn count_revocation_failure(&self, envoy: &EnvoyConfig) {
        let counter = self.revocation.as_ref().and_then(|metrics| metrics.failures);
        self.change(envoy, counter.map(|counter| Change::Increment(counter, 1)));
    }

    /// Makes the changes that wait for a request.
    pub(crate) fn show_pending(&self, stream: &mut Stream<'_>) {
        if !self.has_pending.load(Ordering::Acquire) {
            return;
        }
        self.has_pending.store(false, Ordering::Release);
        let pending = std::mem::take(&mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        for change in pending {
            match change {
                Change::Record(gauge, value) => stream.record(gauge, value),
                Change::Increment(counter, amount) => stream.increment(counter, amount),
            }
        }
    }

    fn change(&self, envoy: &EnvoyConfig, change: Option<Change>) {
        let Some(change) = change else { return };
        if config_metrics() {
            match change {
                Change::Record(gauge, value) => envoy.record(gauge, value),
                Change::Increment(counter, amount) => envoy.increment(counter, amount),
            }
            return;
        }
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        // The latest value of a gauge, and the sum of a counter.
        let known = pending.iter_mut().find(|known| known.metric() == change.metric());
        match (known, change) {
            (Some(Change::Increment(_, sum)), Change::Increment(_, amount)) => {
                *sum = sum.saturating_add(amount)
            }
            (Some(known), change) => *known = change,
            (None, change) => pending.push(change),
        }
        self.has_pending.store(true, Ordering::Release);
    }
}

impl Change {
    /// The kind and the number of the metric.
    fn metric(self) -> (bool, usize) {
        match self {
            Self::Record(gauge, _) => (true, gauge),
            Self::Increment(counter, _) => (false, counter),
        }
    }
}

fn count(stream: &mut Stream<'_>, counter: Option<usize>, amount: u32) {
    if let Some(counter) = counter.filter(|_| amount > 0) {
        stream.increment(counter, amount.into());
    }
}
