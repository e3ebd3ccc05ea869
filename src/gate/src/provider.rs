//! Who issues tokens, and one request's dealings with them.

use std::sync::Arc;

use jwt_gate_token::{Expectations, INTERNAL_AUDIENCE, Keyring, NumericDate, Refusal, verify};

use crate::claims::{Condition, member_names, referenced_claims};
use crate::config::{self, Config, ConfigError};
use crate::identity::Identity;
use crate::identity_headers::IdentityHeaders;
use crate::printable::{is_unprintable, printable_json};
use crate::revocation::RevocationClaims;
use crate::secrets::{Environment, Origin, keyring, notes, origins};
use crate::text_matcher::TextMatcher;
use crate::token_sources::TokenSources;

/// The longest name of a provider, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// The most that clocks may be apart. A skew of years would let tokens pass that expired years ago.
const MAX_CLOCK_SKEW_SECONDS: u32 = 3600;

/// One issuer of tokens.
pub(crate) struct Provider {
    name: String,
    keyring: Arc<Keyring>,
    expectations: Expectations,
    subject: Option<TextMatcher>,
    sources: TokenSources,
    forward: bool,
    headers: IdentityHeaders,
    required_claims: Vec<Condition>,
    /// The claims that `required_claims` look at.
    required_names: Vec<String>,
    filter_state_key: Option<String>,
    origins: Vec<Origin>,
    /// The claims that rules refer to.
    referenced_claims: Vec<String>,
    /// Whether tokens can be revoked.
    revocable: bool,
}

/// Every provider, in the order of their names.
#[derive(Debug)]
pub(crate) struct Providers(Vec<Provider>);

// === impl Provider ===

impl Provider {
    fn new(
        name: String,
        config: config::Provider,
        environment: Environment<'_>,
        referenced_claims: Vec<String>,
        revocable: bool,
    ) -> Result<Self, ConfigError> {
        let field = format!("providers.{name}");
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(plain) {
            let message = "the name of a provider must be 1 to 64 letters, digits, `-`, `_` and `.`";
            return Err(ConfigError::new("providers", message));
        }
        if config.audiences.iter().any(|audience| audience == INTERNAL_AUDIENCE) {
            let message = format!("`{INTERNAL_AUDIENCE}` is the audience of the gate's own tokens");
            return Err(ConfigError::new(format!("{field}.audiences"), message));
        }
        if config.clock_skew_seconds > MAX_CLOCK_SKEW_SECONDS {
            let message = format!("must be a whole number from 0 to {MAX_CLOCK_SKEW_SECONDS}");
            return Err(ConfigError::new(format!("{field}.clock_skew_seconds"), message));
        }
        if config.payload_in_filter_state.contains(|c: char| c.is_whitespace() || is_unprintable(c)) {
            let message = "must be a name without white space and control characters";
            return Err(ConfigError::new(format!("{field}.payload_in_filter_state"), message));
        }
        let subjects = format!("{field}.subjects");
        let sources =
            TokenSources::new(config.from_headers, config.from_cookies, config.from_params, &field)?;
        let headers = IdentityHeaders::new(config.claim_to_headers, config.forward_payload_header, &field)?;
        if let Some(clash) =
            headers.names().find(|name| sources.header_names().any(|l| l.eq_ignore_ascii_case(name)))
        {
            return Err(ConfigError::new(
                field,
                format!("`{clash}` cannot both hold the token and carry the identity"),
            ));
        }
        Ok(Self {
            origins: origins(&config.secrets, environment),
            keyring: keyring(&config.secrets, config.local_jwks.as_ref(), environment, &field)?.into(),
            expectations: Expectations {
                issuer: config.issuer,
                audiences: config.audiences,
                clock_skew_seconds: config.clock_skew_seconds,
                require_expiration: config.require_expiration,
                max_lifetime_seconds: config.max_lifetime_seconds,
            },
            subject: config
                .subjects
                .as_ref()
                .map(|matcher| TextMatcher::new(matcher, &subjects))
                .transpose()?,
            sources,
            forward: config.forward,
            headers,
            required_names: member_names(&config.required_claims).collect(),
            required_claims: Condition::all(config.required_claims, &format!("{field}.required_claims"))?,
            filter_state_key: Some(config.payload_in_filter_state).filter(|key| !key.is_empty()),
            referenced_claims,
            revocable,
            name,
        })
    }

    /// What its tokens must be.
    pub(crate) fn validation(&self) -> &Expectations {
        &self.expectations
    }

    pub(crate) fn clock_skew_seconds(&self) -> u32 {
        self.expectations.clock_skew_seconds
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// What the log says at start of where the secrets come from, and of secrets that a rotation left behind.
    pub(crate) fn notes(&self) -> (Option<String>, Vec<String>) {
        notes(&self.origins)
    }

    pub(crate) fn sources(&self) -> &TokenSources {
        &self.sources
    }

    /// Whether the token stays on the request.
    pub(crate) fn forwards(&self) -> bool {
        self.forward
    }

    /// The name under which the payload goes into filter state.
    pub(crate) fn filter_state_key(&self) -> Option<&str> {
        self.filter_state_key.as_deref()
    }

    /// Verifies `token` at the time `now`, and makes an identity of it; `provider` is this provider's index.
    pub(crate) fn identify(
        &self,
        provider: usize,
        token: &[u8],
        now: NumericDate,
    ) -> Result<Identity, Refusal> {
        let claims = verify(token, &self.keyring, &self.expectations, now)?;
        if let Some(matcher) = &self.subject
            && !claims.subject().is_some_and(|subject| matcher.matches(subject))
        {
            return Err(Refusal::Subject);
        }
        if !self.required_claims.is_empty() {
            let claims = claims.only(&self.required_names);
            if !self.required_claims.iter().all(|condition| condition.holds(&claims)) {
                return Err(Refusal::Claim);
            }
        }
        let subject: Option<Arc<str>> = claims.subject().map(Arc::from);
        Ok(Identity {
            provider,
            window: claims.window(),
            revocation_claims: if self.revocable {
                RevocationClaims::new(&claims, subject.clone())
            } else {
                RevocationClaims::default()
            },
            subject,
            claims: claims.only(&self.referenced_claims),
            payload: if self.filter_state_key.is_some() {
                printable_json(claims.payload()).into()
            } else {
                Box::default()
            },
            headers: self.headers.mutations(&claims)?,
        })
    }
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Provider").field("name", &self.name).finish_non_exhaustive()
    }
}

// === impl Providers ===

impl Providers {
    /// Takes the providers out of `config`.
    pub(crate) fn new(config: &mut Config, environment: Environment<'_>) -> Result<Self, ConfigError> {
        let providers = std::mem::take(&mut config.providers);
        if providers.is_empty() {
            return Err(ConfigError::new("providers", "is empty; at least one is needed to verify a token"));
        }
        let revocation = config.revocation.as_ref();
        let only = (providers.len() == 1).then(|| providers.keys().next().cloned()).flatten();
        let concerned = revocation.and_then(|revocation| revocation.provider_name.clone().or(only));
        let mut compiled = Vec::with_capacity(providers.len());
        for (name, provider) in providers {
            let referenced = referenced_claims(&config.rules, &name);
            let revocable = concerned.as_ref() == Some(&name);
            compiled.push(Provider::new(name, provider, environment, referenced, revocable)?);
        }
        Ok(Self(compiled))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn index(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|provider| provider.name == name)
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Provider> {
        self.0.get(index)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.0.iter()
    }
}
