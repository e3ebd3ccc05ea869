//! Counters, as Envoy shows them: `wasmcustom.jwt_gate.allowed` and so on.

use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;

use crate::denial::Code;
use crate::gate::Gate;
use crate::revocation::Watch;

/// The counters of one plugin, defined once; what could not be defined is not counted.
pub(crate) struct Metrics {
    allowed: Option<u32>,
    public: Option<u32>,
    denied: Vec<(&'static str, u32)>,
    cache_hit: Option<u32>,
    cache_miss: Option<u32>,
    revocation: Option<RevocationMetrics>,
}

struct RevocationMetrics {
    entries: Option<u32>,
    age_ms: Option<u32>,
    failures: Option<u32>,
}

impl Metrics {
    /// Defines the counters of `gate`, and one gauge for each key id (1 for the newest secret, 2 for the one
    /// before it), by which `jwt-gate-auth doctor` compares secrets.
    pub(crate) fn define(gate: &Gate) -> Self {
        let prefix = gate.stat_prefix();
        let define = |kind, name: &str| hostcalls::define_metric(kind, &format!("{prefix}.{name}")).ok();
        let counter = |name: &str| define(MetricType::Counter, name);
        for (provider, kids) in gate.key_ids() {
            for (age, kid) in (1_u64..).zip(kids) {
                if let Some(gauge) = define(MetricType::Gauge, &format!("kid.{provider}.{kid}")) {
                    let _ = hostcalls::record_metric(gauge, age);
                }
            }
        }
        let mut denied: Vec<(&'static str, u32)> = Vec::new();
        for code in Code::ALL.map(Code::as_str) {
            if !denied.iter().any(|(known, _)| *known == code)
                && let Some(id) = counter(&format!("denied.{code}"))
            {
                denied.push((code, id));
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
                failures: counter("revocation.failures"),
            }),
        }
    }

    pub(crate) fn passed(&self, authenticated: bool) {
        add(if authenticated { self.allowed } else { self.public }, 1);
    }

    pub(crate) fn denied(&self, code: Code) {
        let id = self.denied.iter().find(|(known, _)| *known == code.as_str()).map(|(_, id)| *id);
        add(id, 1);
    }

    pub(crate) fn cache(&self, (hits, misses): (u32, u32)) {
        add(self.cache_hit, hits);
        add(self.cache_miss, misses);
    }

    /// Shows how long the revocation list is, and how old.
    pub(crate) fn revocations(&self, watch: &Watch, instant: f64) {
        let Some(metrics) = &self.revocation else { return };
        set(metrics.entries, watch.entries());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
        let age_ms = watch.age_seconds(instant).map(|seconds| (seconds * 1000.0) as u64);
        set(metrics.age_ms, age_ms.unwrap_or_default());
    }

    /// Counts a call for revocations that failed.
    pub(crate) fn revocation_failed(&self) {
        add(self.revocation.as_ref().and_then(|metrics| metrics.failures), 1);
    }
}

fn set(metric: Option<u32>, value: u64) {
    if let Some(id) = metric {
        let _ = hostcalls::record_metric(id, value);
    }
}

fn add(metric: Option<u32>, amount: u32) {
    if let Some(id) = metric.filter(|_| amount > 0) {
        let _ = hostcalls::increment_metric(id, i64::from(amount));
    }
}
