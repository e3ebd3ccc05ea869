//! A compiled configuration.

use std::borrow::Cow;
use std::sync::Arc;

use jwt_gate_token::issue;
use serde_json::{Map, Value};

use crate::config::{self, Config, ConfigError, WhenStale};
use crate::explanation::Explanation;
use crate::header_guard::{HeaderGuard, OVERRIDE_HEADERS};
use crate::log_line::{LogLine, Severity};
use crate::provider::{Provider, Providers};
use crate::reply::Replies;
use crate::request::Request;
use crate::revocation::{Feed, Follower};
use crate::rules::{Decider, Deciders, Rules};

/// The most tokens that may be remembered. With tokens of the usual size it is more than Envoy's memory for a VM.
const MAX_CACHE_ENTRIES: u32 = 1 << 20;

/// A compiled configuration. It never changes, and every thread may use it: a [`crate::Worker`] decides by it.
#[derive(Debug)]
pub struct Policy {
    header_guard: Arc<HeaderGuard>,
    providers: Providers,
    rules: Rules,
    replies: Replies,
    bypass_cors_preflight: bool,
    exports_decision: bool,
    stat_prefix: String,
    revocation: Option<RevocationPolicy>,
    /// For each provider and worker.
    cache_entries: u32,
}

/// Which tokens can be revoked, and where the list of revocations comes from.
#[derive(Debug)]
pub(crate) struct RevocationPolicy {
    /// The index of the provider whose tokens can be revoked. Its secret signs the requests for the list.
    pub(crate) provider: usize,
    pub(crate) when_stale: WhenStale,
    feed: Feed,
}

impl Policy {
    /// Compiles `config`, with secrets from `environment`.
    ///
    /// # Errors
    /// The first field that is wrong, and why.
    pub fn new(
        mut config: Config,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let header_guard = Arc::new(header_guard(&config)?);
        let stat_prefix = std::mem::take(&mut config.stat_prefix);
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if stat_prefix.is_empty() || !stat_prefix.bytes().all(allowed) {
            return Err(ConfigError::new("stat_prefix", "must be letters, digits, `_`, `-` and `.`"));
        }
        if config.cache.max_entries > MAX_CACHE_ENTRIES {
            let message = format!("is more than {MAX_CACHE_ENTRIES}");
            return Err(ConfigError::new("cache.max_entries", message));
        }
        let providers = Providers::new(&mut config, environment)?;
        let revocation = config.revocation.take();
        let revocation = revocation.map(|config| RevocationPolicy::new(config, &providers)).transpose()?;
        let count = u32::try_from(providers.len()).unwrap_or(u32::MAX);
        Ok(Self {
            revocation,
            cache_entries: config.cache.max_entries.checked_div(count).unwrap_or_default(),
            rules: Rules::new(&mut config, &providers, &header_guard)?,
            header_guard,
            providers,
            replies: Replies::new(config.strip_failure_response, config.sign_in_redirect)?,
            bypass_cors_preflight: config.bypass_cors_preflight,
            exports_decision: config.decision_in_filter_state,
            stat_prefix,
        })
    }

    /// The headers that only the gate may set, in trailers too.
    #[must_use]
    pub fn header_guard(&self) -> &Arc<HeaderGuard> {
        &self.header_guard
    }

    /// The beginning of the counters' names.
    #[must_use]
    pub fn stat_prefix(&self) -> &str {
        &self.stat_prefix
    }

    /// Whether the decision goes into Envoy's filter state.
    #[must_use]
    pub fn exports_decision(&self) -> bool {
        self.exports_decision
    }

    /// The name of a rule, or its number, as in `rules[3]`; or the name of what decides where no rule does.
    #[must_use]
    pub fn rule_name(&self, decider: Decider) -> &str {
        self.rules.name(decider)
    }

    /// The names of what decided about a request, joined with commas. Of very many some are left out.
    #[must_use]
    pub fn rule_names(&self, deciders: &Deciders) -> Cow<'_, str> {
        self.rules.joined_names(deciders)
    }

    /// What a decision about `request` looks at.
    #[must_use]
    pub fn explain<'request>(&self, request: &Request<'request>) -> Explanation<'request> {
        Explanation::new(self, request)
    }

    /// A token of the provider of this name with these claims, signed with its newest secret; `None` if there is no such
    /// provider, or if a token cannot hold the claims.
    #[must_use]
    pub fn sign(&self, provider: &str, claims: &Map<String, Value>) -> Option<String> {
        let provider = self.providers.get(self.providers.index(provider)?)?;
        issue(provider.keyring(), claims).ok()
    }

    /// The lines for the log when a host starts with this policy: which secrets verify, where they come from, and what an
    /// operator should change about them.
    #[must_use]
    pub fn start_lines(&self) -> Vec<LogLine> {
        let mut lines = Vec::new();
        for provider in self.providers.iter() {
            let (name, kids) = (provider.name(), provider.keyring().kids().collect::<Vec<_>>().join(", "));
            lines.push(LogLine::new(Severity::Info, format!("provider {name} verifies with kid {kids}")));
        }
        for provider in self.providers.iter() {
            let (read, warnings) = provider.notes();
            let name = provider.name();
            let read = read.map(|read| format!("provider {name} reads its secrets from {read}"));
            lines.extend(read.map(|line| LogLine::new(Severity::Info, line)));
            lines.extend(warnings.into_iter().map(|line| LogLine::new(Severity::Warning, line)));
        }
        lines
    }

    /// The gauges of all key ids, by which `jwt-gate-auth doctor` compares secrets: names and values, 1 for a provider's newest
    /// secret, 2 for the one before it.
    #[must_use]
    pub fn kid_gauges(&self) -> Vec<(String, u64)> {
        let prefix = &self.stat_prefix;
        let gauges = self.providers.iter().flat_map(|provider| {
            let name = |kid| format!("{prefix}.kid.{}.{kid}", provider.name());
            (1..).zip(provider.keyring().kids()).map(move |(age, kid)| (name(kid), age))
        });
        gauges.collect()
    }

    /// Whether tokens can be revoked.
    #[must_use]
    pub fn has_revocation_feed(&self) -> bool {
        self.revocation.is_some()
    }

    /// A follower of the revocation feed, if there is one. It goes on from where the first of `predecessors` is that follows
    /// the same feed, so that no revoked token passes while a new configuration takes over.
    pub fn follower<'old>(&self, predecessors: impl IntoIterator<Item = &'old Follower>) -> Option<Follower> {
        let RevocationPolicy { provider, when_stale, feed } = self.revocation.as_ref()?;
        let keyring = self.providers.get(*provider)?.keyring();
        Some(Follower::new(feed.clone(), keyring.clone(), *when_stale, predecessors))
    }

    pub(crate) fn providers(&self) -> &Providers {
        &self.providers
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    pub(crate) fn replies(&self) -> &Replies {
        &self.replies
    }

    pub(crate) fn bypasses_cors_preflight(&self) -> bool {
        self.bypass_cors_preflight
    }

    pub(crate) fn revocation(&self) -> Option<&RevocationPolicy> {
        self.revocation.as_ref()
    }

    pub(crate) fn cache_entries(&self) -> u32 {
        self.cache_entries
    }
}

impl RevocationPolicy {
    fn new(mut config: config::Revocation, providers: &Providers) -> Result<Self, ConfigError> {
        let field = "revocation.provider_name";
        let provider = match config.provider_name.take() {
            Some(name) => providers
                .index(&name)
                .ok_or_else(|| ConfigError::new(field, format!("there is no provider `{name}`")))?,
            None if providers.len() == 1 => 0,
            None => return Err(ConfigError::new(field, "is needed where there are several providers")),
        };
        let clock_skew_seconds = providers.iter().map(Provider::clock_skew_seconds).max().unwrap_or_default();
        Ok(Self { provider, when_stale: config.when_stale, feed: Feed::new(config, clock_skew_seconds)? })
    }
}

/// The headers that only the gate may set: those of every provider, and `strip_headers`.
fn header_guard(config: &Config) -> Result<HeaderGuard, ConfigError> {
    let mut guard = HeaderGuard::default();
    for (name, provider) in &config.providers {
        for (index, claim) in provider.claim_to_headers.iter().enumerate() {
            let field = format!("providers.{name}.claim_to_headers[{index}].header_name");
            guard.add(&claim.header_name, &field)?;
        }
        if !provider.forward_payload_header.is_empty() {
            let field = format!("providers.{name}.forward_payload_header");
            guard.add(&provider.forward_payload_header, &field)?;
        }
    }
    for (index, name) in config.strip_headers.iter().enumerate() {
        guard.add(name, &format!("strip_headers[{index}]"))?;
    }
    if !config.allow_override_headers {
        for name in OVERRIDE_HEADERS {
            guard.add(name, "allow_override_headers")?;
        }
    }
    Ok(guard)
}
