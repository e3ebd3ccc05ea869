//! The authentication of one request.

use std::rc::Rc;

use jwt_gate_token::NumericDate;

use crate::cache::Cache;
use crate::config::WhenStale;
use crate::deny_reason::DenyReason;
use crate::identity::Identity;
use crate::provider::Providers;
use crate::refusal_log::{RefusedToken, is_explained};
use crate::request::Request;
use crate::revocation::Revocations;
use crate::token_sources::Found;

/// Why a requirement is not met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthError {
    /// There is no token.
    Missing,
    /// There is a token, and it does not verify or is not allowed.
    Denied(DenyReason),
}

/// How often a verified token was found in the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Tokens that were found there.
    pub hits: u32,
    /// Tokens that had to be verified.
    pub misses: u32,
}

/// The revocations to ask for the tokens of one provider.
pub(crate) struct RevocationCheck<'worker> {
    pub(crate) revocations: &'worker Revocations,
    /// The index of the provider.
    pub(crate) provider: usize,
    pub(crate) when_stale: WhenStale,
}

/// One request's authentication: each provider is asked at most once.
pub(crate) struct Authentication<'worker> {
    pub(crate) providers: &'worker Providers,
    pub(crate) request: &'worker Request<'worker>,
    /// The time; `None` if the host cannot tell it.
    pub(crate) clock: &'worker dyn Fn() -> Option<NumericDate>,
    pub(crate) revocation: Option<RevocationCheck<'worker>>,
    /// For each provider, the identities of tokens that verified.
    pub(crate) caches: &'worker mut [Cache<Identity>],
    pub(crate) outcomes: Vec<(usize, Result<Rc<Identity>, AuthError>)>,
    pub(crate) cache_stats: CacheStats,
    /// The last token that was refused, if a log line may help.
    pub(crate) refused: Option<RefusedToken>,
    /// Whether a token could not be verified because the host could not tell the time.
    pub(crate) clock_failed: bool,
}

impl Authentication<'_> {
    /// The caller's identity according to the provider of this index.
    pub(crate) fn authenticate(&mut self, provider: usize) -> Result<Rc<Identity>, AuthError> {
        if let Some((_, outcome)) = self.outcomes.iter().find(|(known, _)| *known == provider) {
            return outcome.clone();
        }
        // A remembered token may have been revoked since.
        let outcome = self.verify(provider).and_then(|identity| match self.revocation_error(&identity) {
            Some(reason) => Err(AuthError::Denied(reason)),
            None => Ok(identity),
        });
        if self.providers.len() > 1 {
            self.outcomes.push((provider, outcome.clone()));
        }
        outcome
    }

    fn revocation_error(&self, identity: &Identity) -> Option<DenyReason> {
        let check = self.revocation.as_ref().filter(|check| check.provider == identity.provider)?;
        check.revocations.refusal(&identity.revocation_claims, check.when_stale)
    }

    fn verify(&mut self, index: usize) -> Result<Rc<Identity>, AuthError> {
        let provider = self.providers.get(index).ok_or(AuthError::Missing)?;
        let token = match provider.sources().find(self.request) {
            Found::Nothing => return Err(AuthError::Missing),
            Found::Ambiguous => return Err(AuthError::Denied(DenyReason::Ambiguous)),
            Found::Token(token) => token,
        };
        let denied = |refusal| AuthError::Denied(DenyReason::Token(refusal));
        let Some(now) = (self.clock)() else {
            self.clock_failed = true;
            return Err(AuthError::Missing);
        };
        let mut cache = self.caches.get_mut(index);
        if let Some(cache) = cache.as_deref_mut()
            && let Some(identity) = cache.get(&token)
        {
            self.cache_stats.hits = self.cache_stats.hits.saturating_add(1);
            // A remembered token expires too.
            return match identity.window.check(now) {
                Ok(()) => Ok(identity),
                Err(refusal) => {
                    cache.remove(&token);
                    Err(denied(refusal))
                }
            };
        }
        self.cache_stats.misses = self.cache_stats.misses.saturating_add(1);
        let identity = match provider.identify(index, &token, now) {
            Ok(identity) => Rc::new(identity),
            Err(refusal) => {
                if is_explained(refusal) {
                    let token = token.into_owned();
                    self.refused = Some(RefusedToken { refusal, provider: index, token, now });
                }
                return Err(denied(refusal));
            }
        };
        if let Some(cache) = cache {
            cache.insert(&token, &identity, identity.window.expires(), now);
        }
        Ok(identity)
    }
}
