//! Who issues tokens, and one request's dealings with them.

use std::cell::RefCell;
use std::rc::Rc;

use jwt_gate_token::{Expectations, INTERNAL_AUDIENCE, Keyring, NumericDate, Refusal, TimeWindow, verify};
use serde_json::{Map, Value};

use crate::cache::Cache;
use crate::config::{self, Config, ConfigError};
use crate::denial::Code;
use crate::identity::IdentityHeaders;
use crate::location::{Edit, Found, Locations};
use crate::policy::{Condition, TextMatcher, Unmet, asked_claims, referenced};
use crate::printable::{is_unprintable, printable_json};
use crate::request::Request;
use crate::revocation::{Revocable, Watch};
use crate::secrets::{Environment, Origin, keyring, notes, origins};

/// The most tokens that may be remembered. With tokens of the usual size it is more than Envoy's memory for a VM.
const MAX_CACHE_ENTRIES: u32 = 1 << 20;

/// The longest name of a provider, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// The most that clocks may be apart. A skew of years would let tokens pass that expired years ago.
const MAX_CLOCK_SKEW_SECONDS: u32 = 3600;

/// One issuer of tokens.
pub(crate) struct Provider {
    name: String,
    keyring: Keyring,
    expectations: Expectations,
    subject: Option<TextMatcher>,
    locations: Locations,
    forward: bool,
    headers: IdentityHeaders,
    required_claims: Vec<Condition>,
    /// The claims that `required_claims` look at.
    required_names: Vec<String>,
    filter_state_key: Option<String>,
    origins: Vec<Origin>,
    /// The claims that rules ask for.
    asked_claims: Vec<String>,
    /// Whether tokens can be revoked.
    revocable: bool,
    cache: RefCell<Cache<Identity>>,
}

/// Every provider, in the order of their names.
#[derive(Debug)]
pub(crate) struct Providers(Vec<Provider>);

/// Who the caller is, according to one provider: of a token's claims no more than this configuration can ask for, because
/// thousands of them are remembered.
#[derive(Debug)]
pub(crate) struct Identity {
    provider: usize,
    window: TimeWindow,
    revocable: Revocable,
    claims: Map<String, Value>,
    payload: Box<str>,
    headers: Vec<Edit>,
}

/// One request's dealings with the providers: each is asked at most once.
pub(crate) struct Session<'request> {
    providers: &'request Providers,
    request: &'request Request,
    clock: &'request dyn Fn() -> Option<NumericDate>,
    revocations: Option<(&'request Watch, usize)>,
    asked: Vec<(usize, Result<Rc<Identity>, Unmet>)>,
    /// How often a verified token was remembered.
    pub(crate) cache_hits: u32,
    /// How often one had to be verified.
    pub(crate) cache_misses: u32,
    /// Whether a token could not be judged because the clock told no time.
    pub(crate) lacked_time: bool,
}

// === impl Provider ===

impl Provider {
    fn new(
        name: String,
        config: config::Provider,
        environment: Environment<'_>,
        asked_claims: Vec<String>,
        revocable: bool,
        cache_entries: u32,
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
        let locations = Locations::new(config.from_headers, config.from_cookies, config.from_params, &field)?;
        let headers = IdentityHeaders::new(config.claim_to_headers, config.forward_payload_header, &field)?;
        if let Some(clash) =
            headers.names().find(|name| locations.header_names().any(|l| l.eq_ignore_ascii_case(name)))
        {
            return Err(ConfigError::new(
                field,
                format!("`{clash}` cannot both hold the token and carry the identity"),
            ));
        }
        Ok(Self {
            origins: origins(&config.secrets, environment),
            keyring: keyring(&config.secrets, config.local_jwks.as_ref(), environment, &field)?,
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
            locations,
            forward: config.forward,
            headers,
            required_names: referenced(&config.required_claims).collect(),
            required_claims: Condition::all(config.required_claims, &format!("{field}.required_claims"))?,
            filter_state_key: Some(config.payload_in_filter_state).filter(|key| !key.is_empty()),
            asked_claims,
            revocable,
            cache: RefCell::new(Cache::new(cache_entries)),
            name,
        })
    }

    pub(crate) fn clock_skew_seconds(&self) -> u32 {
        self.expectations.clock_skew_seconds
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// What the log says at start of where the secrets come from, and of secrets that a rotation left behind.
    pub(crate) fn notes(&self) -> (Option<String>, Vec<String>) {
        notes(&self.origins)
    }

    pub(crate) fn locations(&self) -> &Locations {
        &self.locations
    }

    /// Whether the token stays on the request.
    pub(crate) fn forwards(&self) -> bool {
        self.forward
    }

    /// The name under which the payload goes into filter state.
    pub(crate) fn filter_state_key(&self) -> Option<&str> {
        self.filter_state_key.as_deref()
    }

    /// Verifies `token` and makes an identity of it.
    fn identify(&self, provider: usize, token: &[u8], now: NumericDate) -> Result<Identity, Refusal> {
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
        Ok(Identity {
            provider,
            window: claims.window(),
            revocable: Revocable::of(&claims, self.revocable),
            claims: claims.only(&self.asked_claims),
            payload: if self.filter_state_key.is_some() {
                printable_json(claims.payload()).into()
            } else {
                Box::default()
            },
            headers: self.headers.edits(&claims)?,
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
        if config.cache.max_entries > MAX_CACHE_ENTRIES {
            let most = format!("is more than {MAX_CACHE_ENTRIES}");
            return Err(ConfigError::new("cache.max_entries", most));
        }
        if providers.is_empty() {
            return Err(ConfigError::new("providers", "is empty; at least one is needed to verify a token"));
        }
        let count = u32::try_from(providers.len()).unwrap_or(u32::MAX);
        let share = config.cache.max_entries.checked_div(count).unwrap_or_default();
        let revocation = config.revocation.as_ref();
        let only = (providers.len() == 1).then(|| providers.keys().next().cloned()).flatten();
        let concerned = revocation.and_then(|revocation| revocation.provider_name.clone().or(only));
        let mut compiled = Vec::with_capacity(providers.len());
        for (name, provider) in providers {
            let asked_claims = asked_claims(&config.rules, &name);
            let revocable = concerned.as_ref() == Some(&name);
            compiled.push(Provider::new(name, provider, environment, asked_claims, revocable, share)?);
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

// === impl Identity ===

impl Identity {
    pub(crate) fn provider(&self) -> usize {
        self.provider
    }

    /// The claims that rules ask for.
    pub(crate) fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The payload, where it goes into filter state.
    pub(crate) fn payload(&self) -> &str {
        &self.payload
    }

    /// `sub`, where there is one.
    pub(crate) fn subject(&self) -> Option<Rc<str>> {
        self.revocable.subject()
    }

    pub(crate) fn headers(&self) -> &[Edit] {
        &self.headers
    }
}

// === impl Session ===

impl<'request> Session<'request> {
    pub(crate) fn new(
        providers: &'request Providers,
        revocations: Option<(&'request Watch, usize)>,
        request: &'request Request,
        clock: &'request dyn Fn() -> Option<NumericDate>,
    ) -> Self {
        Self {
            providers,
            request,
            clock,
            revocations,
            asked: Vec::new(),
            cache_hits: 0,
            cache_misses: 0,
            lacked_time: false,
        }
    }

    /// The caller's identity according to `provider`.
    pub(crate) fn authenticate(&mut self, provider: usize) -> Result<Rc<Identity>, Unmet> {
        if let Some((_, answer)) = self.asked.iter().find(|(asked, _)| *asked == provider) {
            return answer.clone();
        }
        // Whether it was revoked is asked of a remembered token too; the list speaks of one provider's tokens.
        let answer = self.ask(provider).and_then(|identity| {
            let list = self.revocations.filter(|(_, concerned)| *concerned == provider);
            match list.and_then(|(list, _)| list.refusal(&identity.revocable)) {
                Some(code) => Err(Unmet::Refused(code)),
                None => Ok(identity),
            }
        });
        if self.providers.len() > 1 {
            self.asked.push((provider, answer.clone()));
        }
        answer
    }

    fn ask(&mut self, index: usize) -> Result<Rc<Identity>, Unmet> {
        let provider = self.providers.get(index).ok_or(Unmet::Missing)?;
        let token = match provider.locations.find(self.request) {
            Found::Nothing => return Err(Unmet::Missing),
            Found::Several => return Err(Unmet::Refused(Code::Ambiguous)),
            Found::Token(token) => token,
        };
        let refused = |refusal| Unmet::Refused(Code::Token(refusal));
        let Some(now) = (self.clock)() else {
            self.lacked_time = true;
            return Err(Unmet::Missing);
        };
        let mut cache = provider.cache.borrow_mut();
        if let Some(identity) = cache.get(&token) {
            self.cache_hits = self.cache_hits.saturating_add(1);
            // Time goes on while a token is remembered.
            return match identity.window.check(now) {
                Ok(()) => Ok(identity),
                Err(refusal) => {
                    cache.remove(&token);
                    Err(refused(refusal))
                }
            };
        }
        self.cache_misses = self.cache_misses.saturating_add(1);
        let identity = Rc::new(provider.identify(index, &token, now).map_err(refused)?);
        cache.insert(&token, &identity, identity.window.expires(), now);
        Ok(identity)
    }
}
