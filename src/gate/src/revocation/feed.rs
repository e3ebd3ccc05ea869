//! Where the list of revocations comes from.

use jwt_gate_token::NumericDate;

use crate::config::{ConfigError, Revocation};

/// The companion's feed, as a configuration names it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Feed {
    /// Envoy's cluster for the companion.
    pub(super) cluster: String,
    pub(super) path: String,
    /// How often it is asked.
    pub(super) interval_ms: u32,
    /// The age above which the list is stale.
    pub(super) max_staleness_seconds: f64,
    /// How long after its `exp` a token still passes.
    pub(super) clock_skew_seconds: NumericDate,
}

impl Feed {
    pub(crate) fn new(config: Revocation, clock_skew_seconds: u32) -> Result<Self, ConfigError> {
        if config.cluster.is_empty() {
            return Err(ConfigError::new(
                "revocation.cluster",
                "is empty; name Envoy's cluster for the companion",
            ));
        }
        let allowed = |byte: u8| byte.is_ascii_graphic() && !b"?#".contains(&byte);
        if !config.path.starts_with('/') || !config.path.bytes().all(allowed) {
            return Err(ConfigError::new("revocation.path", "must be a path, as in /internal/revocations"));
        }
        if !(50..=60_000).contains(&config.interval_ms) {
            return Err(ConfigError::new("revocation.interval_ms", "must be between 50 and 60000"));
        }
        if config.max_staleness_ms < config.interval_ms {
            return Err(ConfigError::new("revocation.max_staleness_ms", "must not be less than interval_ms"));
        }
        Ok(Self {
            cluster: config.cluster,
            path: config.path,
            interval_ms: config.interval_ms,
            max_staleness_seconds: f64::from(config.max_staleness_ms) / 1000.0,
            clock_skew_seconds: clock_skew_seconds.into(),
        })
    }

    /// Whether both are the same list.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.cluster == other.cluster && self.path == other.path
    }
}
