//! Counters, as Envoy shows them: `wasmcustom.jwt_gate.allowed` and so on.

use std::cell::{Cell, RefCell};

use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;

use crate::denial::Code;
use crate::gate::Gate;
use crate::revocation::Watch;

/// The counters of one plugin, defined once; what could not be defined is not counted.
///
/// What requests count is added up here and handed to Envoy on the next tick, and when the plugin goes: a request
/// makes no hostcall for it.
pub(crate) struct Metrics {
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

thread_local! {
    /// The names of the gauges of key ids that this VM has set so far.
    static KIDS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

impl Metrics {
    /// Defines the counters of `gate`, and one gauge for each key id (1 for the newest secret, 2 for the one
    /// before it, 0 for one that was dropped), by which `jwt-gate-auth doctor` compares secrets.
    pub(crate) fn define(gate: &Gate) -> Self {
        let prefix = gate.stat_prefix();
        let define = |kind, name: &str| hostcalls::define_metric(kind, &format!("{prefix}.{name}")).ok();
        let counter =
            |name: &str| Counter { id: define(MetricType::Counter, name), pending: Cell::default() };
        let mut kids: Vec<(String, u64)> = Vec::new();
        for (provider, of_provider) in gate.key_ids() {
            kids.extend(
                (1..).zip(of_provider).map(|(age, kid)| (format!("{prefix}.kid.{provider}.{kid}"), age)),
            );
        }
        KIDS.with_borrow_mut(|known| {
            known.retain(|name| kids.iter().all(|(kid, _)| kid != name));
            // Those that are left were dropped: 0 says that they verify no longer.
            let dropped = known.drain(..).map(|name| (name, 0));
            for (name, age) in dropped.collect::<Vec<_>>().into_iter().chain(kids) {
                if let Ok(gauge) = hostcalls::define_metric(MetricType::Gauge, &name) {
                    let _ = hostcalls::record_metric(gauge, age);
                }
                known.push(name);
            }
        });
        let mut denied: Vec<(&'static str, Counter)> = Vec::new();
        for code in Code::ALL.map(Code::as_str) {
            if !denied.iter().any(|(known, _)| *known == code) {
                denied.push((code, counter(&format!("denied.{code}"))));
            }
        }
        Self {
            allowed: counter("allowed"),
            public: counter("public"),
            denied,
            cache_hit: counter("cache.hit"),
            cache_miss: counter("cache.miss"),
            revocation: gate.watch().map(|_| RevocationMetrics {
                entries: define(MetricType::Gauge, "revocation.entries"),
                age_ms: define(MetricType::Gauge, "revocation.age_ms"),
                full: define(MetricType::Gauge, "revocation.full"),
                failures: counter("revocation.failures"),
            }),
        }
    }

    pub(crate) fn passed(&self, authenticated: bool) {
        if authenticated { &self.allowed } else { &self.public }.add(1);
    }

    pub(crate) fn denied(&self, code: Code) {
        if let Some((_, counter)) = self.denied.iter().find(|(known, _)| *known == code.as_str()) {
            counter.add(1);
        }
    }

    pub(crate) fn cache(&self, (hits, misses): (u32, u32)) {
        self.cache_hit.add(hits);
        self.cache_miss.add(misses);
    }

    /// Shows how long the revocation list is, and how old.
    pub(crate) fn revocations(&self, watch: &Watch, instant: f64) {
        let Some(metrics) = &self.revocation else { return };
        set(metrics.entries, watch.entries());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
        let age_ms = (watch.age_seconds(instant) * 1000.0) as u64;
        set(metrics.age_ms, age_ms);
        set(metrics.full, watch.is_full().into());
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
        denied.chain(failures).chain(rest).for_each(Counter::flush);
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Counter {
    fn add(&self, amount: u32) {
        self.pending.set(self.pending.get().saturating_add(amount));
    }

    fn flush(&self) {
        let amount = self.pending.take();
        if let Some(id) = self.id.filter(|_| amount > 0) {
            let _ = hostcalls::increment_metric(id, i64::from(amount));
        }
    }
}

fn set(metric: Option<u32>, value: u64) {
    if let Some(id) = metric {
        let _ = hostcalls::record_metric(id, value);
    }
}
