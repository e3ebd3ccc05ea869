//! One thread's part of the gate: the tokens that it has verified.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use jwt_gate_token::NumericDate;

use crate::authentication::{AuthError, Authentication, CacheStats, RevocationCheck};
use crate::cache::Cache;
use crate::deny_reason::DenyReason;
use crate::identity::Identity;
use crate::mutation::HeaderMutation;
use crate::path::{PathAndQuery, is_canonical};
use crate::policy::Policy;
use crate::printable::printable;
use crate::provider::Provider;
use crate::refusal_log::RefusalLog;
use crate::reply::{Problems, Reply};
use crate::request::Request;
use crate::revocation::Revocations;
use crate::rules::{Access, Decider, Deciders, Requirement, Ruling};
use crate::token_sources::{Found, TokenSources, strip_all_tokens, strip_tokens};

/// Decides about the requests of one thread by a [`Policy`] that all threads share. It remembers the tokens that verified.
#[derive(Debug)]
pub struct Worker {
    policy: Arc<Policy>,
    revocations: Arc<Revocations>,
    /// For each provider, the identities of tokens that verified.
    caches: Vec<Cache<Identity>>,
    problems: Problems,
    refusal_log: RefusalLog,
}

/// The decision about a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Decision {
    /// The changes to the request's headers, in this order. Make them whatever the verdict is: the identity headers that the
    /// client sent leave every request, and a token leaves one that is refused before an access log sees it.
    pub mutations: Vec<HeaderMutation>,
    /// Whether it passes.
    pub verdict: Verdict,
    /// The rules that decided; [`Policy::rule_names`] names them.
    pub deciders: Deciders,
    /// How often the cache had the token.
    pub cache: CacheStats,
    /// A line for the host's log: what a refused token has, and what the configuration expects. It comes at a bounded rate.
    pub log: Option<String>,
}

/// Whether a request passes.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passes, if every mutation was made.
    Allow(Allowed),
    /// It is refused with this reply.
    Deny(DenyReason, Arc<Reply>),
    /// It cannot be decided, because the host could not tell the time; it must not pass.
    Undecided,
}

/// What the logs may know of a request that passes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Whether a token was verified for it.
    pub authenticated: bool,
    /// `sub`, for access logs: control and direction characters are U+FFFD.
    pub subject: Option<Arc<str>>,
    /// The entries of Envoy's filter state, keys and values.
    pub filter_state: Vec<(String, Vec<u8>)>,
}

impl Worker {
    /// A worker for `policy`, with the revocations that a [`crate::Follower`] of this policy fills. If the policy has a
    /// revocation feed and there are none, the list counts as stale.
    #[must_use]
    pub fn new(policy: Arc<Policy>, revocations: Option<Arc<Revocations>>) -> Self {
        let caches = std::iter::repeat_with(|| Cache::new(policy.cache_entries()));
        Self {
            caches: caches.take(policy.providers().len()).collect(),
            revocations: revocations.unwrap_or_default(),
            problems: Problems::default(),
            refusal_log: RefusalLog::default(),
            policy,
        }
    }

    /// The policy by which it decides.
    #[must_use]
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Decides about `request`. `clock` tells the time, in seconds since 1970, or that it cannot; it is asked only when a
    /// token has to be verified.
    #[must_use]
    pub fn decide(&mut self, request: &Request<'_>, clock: &dyn Fn() -> Option<NumericDate>) -> Decision {
        let policy = &*self.policy;
        let mut authentication = Authentication {
            providers: policy.providers(),
            request,
            clock,
            revocation: policy.revocation().map(|revocation| RevocationCheck {
                revocations: &self.revocations,
                provider: revocation.provider,
                when_stale: revocation.when_stale,
            }),
            caches: &mut self.caches,
            outcomes: Vec::new(),
            cache_stats: CacheStats::default(),
            refused: None,
            clock_failed: false,
        };
        let mut deciders = Deciders::default();
        let evaluated = evaluate(policy, request, &mut authentication, &mut deciders);
        let mut mutations = policy.header_guard().removals(request);
        let verdict = match evaluated {
            _ if authentication.clock_failed => Verdict::Undecided,
            Ok((allowed, mut changes)) => {
                mutations.append(&mut changes);
                Verdict::Allow(allowed)
            }
            Err(reason) => {
                let reply = policy.replies().to(request, reason, &sources(policy), &mut self.problems);
                Verdict::Deny(reason, reply)
            }
        };
        if !matches!(verdict, Verdict::Allow(_)) {
            mutations.append(&mut strip_all_tokens(&sources(policy), request));
        }
        let log = match (&verdict, &authentication.refused) {
            (Verdict::Deny(DenyReason::Token(reason), _), Some(refused)) if *reason == refused.refusal => {
                let provider = policy.providers().get(refused.provider);
                provider.and_then(|provider| self.refusal_log.line(refused, provider))
            }
            _ => None,
        };
        Decision { mutations, verdict, deciders, cache: authentication.cache_stats, log }
    }
}

fn evaluate(
    policy: &Policy,
    request: &Request<'_>,
    authentication: &mut Authentication<'_>,
    deciders: &mut Deciders,
) -> Result<(Allowed, Vec<HeaderMutation>), DenyReason> {
    if policy.bypasses_cors_preflight() && is_bare_preflight(policy, request) {
        deciders.add(Decider::CorsPreflight);
        return Ok(Default::default());
    }
    let mut identities: Vec<Rc<Identity>> = Vec::new();
    let mut rulings = policy.rules().rulings(request);
    rulings.iter().for_each(|ruling| deciders.add(ruling.decider));
    if let [Ruling { access: Access::RequiresEveryInterpretation(requirement), .. }] = *rulings {
        // To interpret a request in every way takes time, which only the owner of a good token may cost us.
        add(&mut identities, authorize(requirement, authentication)?);
        rulings = policy.rules().rulings_of_interpretations(request);
        rulings.iter().for_each(|ruling| deciders.add(ruling.decider));
    }
    // First the refusal that no token helps against.
    if rulings.iter().any(|ruling| matches!(ruling.access, Access::NoRule)) {
        return Err(DenyReason::NoRule);
    }
    for Ruling { access, .. } in rulings {
        if let Access::Requires(requirement) | Access::RequiresEveryInterpretation(requirement) = access {
            add(&mut identities, authorize(requirement, authentication)?);
        }
    }
    allow(policy, request, &identities)
}

/// Whether this is a preflight that can pass without a token: its path has one interpretation, and it has no credentials.
fn is_bare_preflight(policy: &Policy, request: &Request<'_>) -> bool {
    request.is_cors_preflight()
        && is_canonical(PathAndQuery::new(request.target()).path)
        && sources(policy).iter().all(|sources| sources.find(request) == Found::Nothing)
}

/// Lets `request` pass as `identities`: the tokens of every provider leave, and the identity headers come.
fn allow(
    policy: &Policy,
    request: &Request<'_>,
    identities: &[Rc<Identity>],
) -> Result<(Allowed, Vec<HeaderMutation>), DenyReason> {
    let mut allowed = Allowed { authenticated: !identities.is_empty(), ..Allowed::default() };
    let mut mutations = Vec::new();
    if allowed.authenticated {
        let leaving: Vec<&TokenSources> = policy
            .providers()
            .iter()
            .filter(|provider| !provider.forwards())
            .map(Provider::sources)
            .collect();
        let token = |sources: &&TokenSources| match sources.find(request) {
            Found::Token(token) => Some(token),
            Found::Nothing | Found::Ambiguous => None,
        };
        // Only for a cookie does it matter whether it holds the token.
        let tokens: Vec<_> =
            leaving.iter().filter(|sources| sources.has_cookies()).filter_map(token).collect();
        mutations = strip_tokens(&leaving, &tokens, request);
    }
    for identity in identities {
        allowed.subject = allowed.subject.or_else(|| identity.subject.clone().map(printable_subject));
        let provider = policy.providers().get(identity.provider);
        if let Some(key) = provider.and_then(Provider::filter_state_key) {
            allowed.filter_state.push((key.to_owned(), identity.payload.as_bytes().to_vec()));
        }
        for mutation in &identity.headers {
            match mutations.iter().find(|known| known.sets_same_header(mutation)) {
                // Two tokens that say different things under one name are no identity.
                Some(known) if known != mutation => return Err(DenyReason::Ambiguous),
                Some(_) => {}
                None => mutations.push(mutation.clone()),
            }
        }
    }
    Ok((allowed, mutations))
}

/// The identities that meet `requirement`.
fn authorize(
    requirement: &Requirement,
    authentication: &mut Authentication<'_>,
) -> Result<Vec<Rc<Identity>>, DenyReason> {
    requirement.evaluate(authentication).map_err(|error| match error {
        AuthError::Missing => DenyReason::MissingToken,
        AuthError::Denied(reason) => reason,
    })
}

fn sources(policy: &Policy) -> Vec<&TokenSources> {
    policy.providers().iter().map(Provider::sources).collect()
}

/// A subject as access logs may show it.
fn printable_subject(subject: Arc<str>) -> Arc<str> {
    match printable(&subject) {
        Cow::Borrowed(_) => subject,
        Cow::Owned(changed) => changed.into(),
    }
}

/// Adds those of `more` whose provider has given none yet.
fn add(identities: &mut Vec<Rc<Identity>>, more: Vec<Rc<Identity>>) {
    for identity in more {
        if !identities.iter().any(|known| known.provider == identity.provider) {
            identities.push(identity);
        }
    }
}
