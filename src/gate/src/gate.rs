//! The decision about a request.

use std::borrow::Cow;
use std::rc::Rc;

use jwt_gate_token::NumericDate;

use crate::boundary::{Boundary, OVERRIDE_HEADERS};
use crate::config::{self, Config, ConfigError};
use crate::denial::Code;
use crate::location::{Found, Locations, take_off, take_off_all};
use crate::policy::{Need, Requirement, Rules, Target, Unmet, is_canonical};
use crate::printable::printable;
use crate::provider::{Identity, Provider, Providers, Session};
use crate::reply::{Replies, Reply};
use crate::request::Request;
use crate::revocation::{Call, Watch};

pub use crate::location::Edit;

/// A compiled configuration.
#[derive(Debug)]
pub struct Gate {
    boundary: Rc<Boundary>,
    providers: Providers,
    rules: Rules,
    replies: Replies,
    bypass_cors_preflight: bool,
    tells_decisions: bool,
    stat_prefix: String,
    revocations: Option<Revocations>,
}

/// The revocation list, and whose secret signs the requests for it.
#[derive(Debug)]
struct Revocations {
    watch: Watch,
    signer: usize,
}

/// What is to be done with a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Decision {
    /// The headers to remove whatever the verdict, so that neither backend nor access log sees a client's
    /// word for an identity.
    pub spoofed: Vec<Vec<u8>>,
    /// Whether it passes.
    pub verdict: Verdict,
    /// What takes the tokens off a request that is turned away, so that no access log gets them.
    pub token_removal: Vec<Edit>,
    /// How many tokens were remembered, and how many had to be verified.
    pub cache: (u32, u32),
}

/// Whether a request passes.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes.
    Pass(Pass),
    /// It is turned away.
    Refuse(Code, Rc<Reply>),
    /// It cannot be decided, because the clock told no time; it must not pass.
    Undecided,
}

/// With what a request passes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// Whether a token was verified for it.
    pub authenticated: bool,
    /// `sub`, for access logs: control and direction characters are U+FFFD.
    pub subject: Option<Rc<str>>,
    /// What changes on it, in this order.
    pub edits: Vec<Edit>,
    /// What goes into Envoy's filter state.
    pub filter_state: Vec<(String, Vec<u8>)>,
}

impl Gate {
    /// Compiles `config`, with secrets from `environment`.
    ///
    /// # Errors
    /// The first thing that is wrong, and the field it is in.
    pub fn new(
        mut config: Config,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let boundary = Rc::new(boundary(&config)?);
        let stat_prefix = std::mem::take(&mut config.stat_prefix);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if stat_prefix.is_empty() || !stat_prefix.bytes().all(plain) {
            return Err(ConfigError::new("stat_prefix", "must be letters, digits, `_`, `-` and `.`"));
        }
        let providers = Providers::new(&mut config, environment)?;
        let revocations = config.revocation.take();
        let revocations = revocations.map(|config| Revocations::new(config, &providers)).transpose()?;
        Ok(Self {
            revocations,
            rules: Rules::new(&mut config, &providers, &boundary)?,
            boundary,
            providers,
            replies: Replies::new(config.strip_failure_response, config.sign_in_redirect)?,
            bypass_cors_preflight: config.bypass_cors_preflight,
            tells_decisions: config.decision_in_filter_state,
            stat_prefix,
        })
    }

    /// What is to be done with `request` at the time `now`.
    #[must_use]
    pub fn decide(&self, request: &Request, now: NumericDate) -> Decision {
        self.decide_by(request, &|| Some(now))
    }

    /// The same by a clock, which is asked only where there is a token to judge; it may fail to tell the time.
    #[must_use]
    pub fn decide_by(&self, request: &Request, clock: &dyn Fn() -> Option<NumericDate>) -> Decision {
        let revocations = self.revocations.as_ref().map(|list| (&list.watch, list.signer));
        let mut session = Session::new(&self.providers, revocations, request, clock);
        let verdict = match self.judge(request, &mut session) {
            _ if session.lacked_time => Verdict::Undecided,
            Ok(pass) => Verdict::Pass(pass),
            Err(code) => Verdict::Refuse(code, self.replies.to(request, code, &self.locations())),
        };
        let token_removal = match verdict {
            Verdict::Pass(_) => Vec::new(),
            _ => take_off_all(&self.locations(), request),
        };
        let cache = (session.cache_hits, session.cache_misses);
        Decision { spoofed: self.boundary.spoofed(request), token_removal, verdict, cache }
    }

    /// The names that only the gate may send, in trailers too.
    #[must_use]
    pub fn boundary(&self) -> Rc<Boundary> {
        Rc::clone(&self.boundary)
    }

    /// What the names of the counters start with.
    #[must_use]
    pub fn stat_prefix(&self) -> &str {
        &self.stat_prefix
    }

    /// Whether what was decided goes into Envoy's filter state.
    #[must_use]
    pub fn tells_decisions(&self) -> bool {
        self.tells_decisions
    }

    /// Each provider's name and key ids, newest first.
    pub fn key_ids(&self) -> impl Iterator<Item = (&str, Vec<&str>)> {
        self.providers.iter().map(|provider| (provider.name(), provider.keyring().kids().collect()))
    }

    /// For each provider: its name, the environment variables that its secrets come from, and a warning for each secret that
    /// a rotation left behind.
    pub fn secret_notes(&self) -> impl Iterator<Item = (&str, Option<String>, Vec<String>)> {
        self.providers.iter().map(|provider| {
            let (read, left_over) = provider.notes();
            (provider.name(), read, left_over)
        })
    }

    /// The revocation list, where there is one.
    #[must_use]
    pub fn watch(&self) -> Option<&Watch> {
        self.revocations.as_ref().map(|revocations| &revocations.watch)
    }

    /// Shares the revocation list of `other`, where both follow the same feed; whether it does.
    pub fn join(&mut self, other: &Self) -> bool {
        let pair = self.revocations.as_mut().zip(other.watch());
        pair.is_some_and(|(revocations, watch)| revocations.watch.join(watch))
    }

    /// The request for what is new on the revocation list, where there is one; `instant` is in seconds on a clock that only goes
    /// forward.
    #[must_use]
    pub fn revocation_call(&self, now: NumericDate, instant: f64) -> Option<Call> {
        let Revocations { watch, signer } = self.revocations.as_ref()?;
        self.providers.get(*signer).map(|provider| watch.call(provider.keyring(), now, instant))
    }

    fn judge(&self, request: &Request, session: &mut Session<'_>) -> Result<Pass, Code> {
        if self.bypass_cors_preflight && self.is_bare_preflight(request) {
            return Ok(Pass::default());
        }
        let mut identities: Vec<Rc<Identity>> = Vec::new();
        let mut needs = self.rules.needs(request);
        if let [Need::EveryInterpretation(requirement)] = *needs {
            // To interpret a request in every way takes time, which only somebody with a good token may cost us.
            add(&mut identities, meet(requirement, session)?);
            needs = self.rules.needs_of_interpretations(request);
        }
        // First what no token helps against.
        if needs.iter().any(|need| matches!(need, Need::NoRule)) {
            return Err(Code::NoRule);
        }
        for need in needs {
            if let Need::Requirement(requirement) | Need::EveryInterpretation(requirement) = need {
                add(&mut identities, meet(requirement, session)?);
            }
        }
        self.pass(request, &identities)
    }

    /// Whether this is a preflight that can pass without a token: to a path that everybody reads alike, and without a token
    /// in any other place.
    fn is_bare_preflight(&self, request: &Request) -> bool {
        request.is_cors_preflight()
            && is_canonical(Target::new(request.target()).path)
            && self.locations().iter().all(|locations| locations.find(request) == Found::Nothing)
    }

    /// Lets `request` pass as `identities`: their tokens leave, those of other providers too, and their headers come.
    fn pass(&self, request: &Request, identities: &[Rc<Identity>]) -> Result<Pass, Code> {
        let mut pass = Pass { authenticated: !identities.is_empty(), ..Pass::default() };
        let provider = |identity: &Rc<Identity>| self.providers.get(identity.provider());
        if pass.authenticated {
            let leaving: Vec<&Locations> = self
                .providers
                .iter()
                .filter(|provider| !provider.forwards())
                .map(Provider::locations)
                .collect();
            let token = |locations: &&Locations| match locations.find(request) {
                Found::Token(token) => Some(token),
                Found::Nothing | Found::Several => None,
            };
            // Only of a cookie does it matter whether it holds the token.
            let tokens: Vec<_> =
                leaving.iter().filter(|locations| locations.has_cookies()).filter_map(token).collect();
            pass.edits = take_off(&leaving, &tokens, request);
        }
        for identity in identities {
            pass.subject = pass.subject.or_else(|| identity.subject().map(printable_subject));
            if let Some(key) = provider(identity).and_then(Provider::filter_state_key) {
                pass.filter_state.push((key.to_owned(), identity.payload().as_bytes().to_vec()));
            }
            for edit in identity.headers() {
                match pass.edits.iter().find(|known| known.sets_what(edit)) {
                    // Two tokens that say different things under one name are no identity.
                    Some(known) if known != edit => return Err(Code::Ambiguous),
                    Some(_) => {}
                    None => pass.edits.push(edit.clone()),
                }
            }
        }
        Ok(pass)
    }

    fn locations(&self) -> Vec<&Locations> {
        self.providers.iter().map(Provider::locations).collect()
    }
}

/// A subject as access logs may show it.
fn printable_subject(subject: Rc<str>) -> Rc<str> {
    match printable(&subject) {
        Cow::Borrowed(_) => subject,
        Cow::Owned(changed) => changed.into(),
    }
}

/// Adds those of `more` whose provider has given none yet.
fn add(identities: &mut Vec<Rc<Identity>>, more: Vec<Rc<Identity>>) {
    for identity in more {
        if !identities.iter().any(|known| known.provider() == identity.provider()) {
            identities.push(identity);
        }
    }
}

/// The identities with which `session` meets `requirement`.
fn meet(requirement: &Requirement, session: &mut Session<'_>) -> Result<Vec<Rc<Identity>>, Code> {
    requirement.evaluate(session).map_err(|unmet| match unmet {
        Unmet::Missing => Code::MissingToken,
        Unmet::Refused(code) => code,
    })
}

impl Revocations {
    fn new(mut config: config::Revocation, providers: &Providers) -> Result<Self, ConfigError> {
        let field = "revocation.provider_name";
        let signer = match config.provider_name.take() {
            Some(name) => providers
                .index(&name)
                .ok_or_else(|| ConfigError::new(field, format!("there is no provider `{name}`")))?,
            None if providers.len() == 1 => 0,
            None => return Err(ConfigError::new(field, "is needed where there are several providers")),
        };
        let clock_skew_seconds = providers.iter().map(Provider::clock_skew_seconds).max().unwrap_or_default();
        Ok(Self { watch: Watch::new(config, clock_skew_seconds)?, signer })
    }
}

/// Everything that only the gate may set: the headers of every provider, and `strip_headers`.
fn boundary(config: &Config) -> Result<Boundary, ConfigError> {
    let mut boundary = Boundary::default();
    for (name, provider) in &config.providers {
        for (index, claim) in provider.claim_to_headers.iter().enumerate() {
            boundary.guard(
                &claim.header_name,
                &format!("providers.{name}.claim_to_headers[{index}].header_name"),
            )?;
        }
        if !provider.forward_payload_header.is_empty() {
            boundary.guard(
                &provider.forward_payload_header,
                &format!("providers.{name}.forward_payload_header"),
            )?;
        }
    }
    for (index, name) in config.strip_headers.iter().enumerate() {
        boundary.guard(name, &format!("strip_headers[{index}]"))?;
    }
    if !config.allow_override_headers {
        for name in OVERRIDE_HEADERS {
            boundary.guard(name, "allow_override_headers")?;
        }
    }
    Ok(boundary)
}
