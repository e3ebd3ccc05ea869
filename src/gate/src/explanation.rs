//! What the decision about a request looked at, for tools that explain it. Nothing here decides anything: it shows what the
//! rules and the token sources find, with the code that decides.

use std::borrow::Cow;
use std::fmt;

use crate::path::{PathAndQuery, is_canonical};
use crate::policy::Policy;
use crate::request::Request;
use crate::rules::{Decider, is_canonical_method};
use crate::token_sources::Found;

/// What the decision about a request looks at.
#[derive(Debug)]
pub struct Explanation<'request> {
    /// Whether the path is written in the one way in which every implementation reads it.
    pub has_canonical_path: bool,
    /// Whether the method is written in the one way in which every implementation reads it.
    pub has_canonical_method: bool,
    /// What decides first about a request that is not canonical: it must meet this before its interpretations are looked at.
    pub asked_first: Option<Decider>,
    /// Every interpretation; `None` if they are too many, and the request is refused.
    pub interpretations: Option<Vec<InterpretedRequest>>,
    /// What each provider's token sources hold; providers for which there is nothing are left out.
    pub tokens: Vec<FoundToken<'request>>,
}

/// One interpretation of a request.
#[derive(Debug)]
pub struct InterpretedRequest {
    /// The method.
    pub method: String,
    /// The path, without its query.
    pub path: String,
    /// The host, where a rule looks at it.
    pub host: Option<String>,
    /// The chosen value of each header that is repeated, and that a rule looks at.
    pub headers: Vec<(String, String)>,
    /// What decides about it.
    pub decider: Decider,
}

/// What a provider's token sources hold. It does not show the token.
pub struct FoundToken<'request> {
    /// The provider's name.
    pub provider: String,
    /// Where it is.
    pub place: TokenPlace,
    /// The token; `None` if there are several different ones in this place.
    pub token: Option<Cow<'request, [u8]>>,
}

/// A place that may hold a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenPlace {
    /// The header of this name.
    Header(String),
    /// The cookie of this name.
    Cookie(String),
    /// The query parameter of this name.
    Parameter(String),
}

impl<'request> Explanation<'request> {
    pub(crate) fn new(policy: &Policy, request: &Request<'request>) -> Self {
        let has_canonical_path = is_canonical(PathAndQuery::new(request.target()).path);
        let has_canonical_method = is_canonical_method(request.method());
        let first = policy.rules().rulings(request).first().map(|ruling| ruling.decider);
        let interpretations = policy.rules().interpretations(request).map(|all| {
            let interpreted = all.into_iter().map(|(one, ruling)| InterpretedRequest {
                method: one.method.clone().into_owned(),
                path: one.path.clone().into_owned(),
                host: one.host().map(str::to_owned),
                headers: one.chosen_headers(),
                decider: ruling.decider,
            });
            interpreted.collect()
        });
        let found = policy.providers().iter().filter_map(|provider| {
            let (place, found) = provider.sources().locate(request)?;
            let token = match found {
                Found::Token(token) => Some(token),
                Found::Ambiguous | Found::Nothing => None,
            };
            Some(FoundToken { provider: provider.name().to_owned(), place, token })
        });
        Self {
            has_canonical_path,
            has_canonical_method,
            asked_first: first.filter(|_| !(has_canonical_path && has_canonical_method)),
            interpretations,
            tokens: found.collect(),
        }
    }
}

impl fmt::Debug for FoundToken<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = formatter.debug_struct("FoundToken");
        debug.field("provider", &self.provider).field("place", &self.place).finish_non_exhaustive()
    }
}
