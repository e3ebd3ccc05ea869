//! What a rule asks for.

use std::rc::Rc;

use super::condition::{Condition, referenced};
use crate::config::{self, ConfigError, Rule};
use crate::denial::Code;
use crate::provider::{Identity, Providers, Session};

/// A compiled [`config::Requirement`].
#[derive(Debug)]
pub(crate) enum Requirement {
    /// A token of this provider, with these claims.
    Provider(usize, Vec<Condition>),
    /// The first that is met.
    Any(Vec<Requirement>),
    /// Every one.
    All(Vec<Requirement>),
    /// Met, or no token.
    AllowMissing(Box<Requirement>),
    /// Met or not.
    AllowMissingOrFailed(Box<Requirement>),
}

/// Why a requirement is not met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmet {
    /// There is no token.
    Missing,
    /// There is one, and it is no good or not enough.
    Refused(Code),
}

/// The claims that these rules ask of a token of `provider`, by their names in the token: of `a.b`, `a.b` itself and the
/// object `a` ([`jwt_gate_token::lookup`]).
pub(crate) fn asked_claims(rules: &[Rule], provider: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut requirements: Vec<&config::Requirement> =
        rules.iter().filter_map(|rule| rule.requires.as_ref()).collect();
    while let Some(requirement) = requirements.pop() {
        if requirement.provider_name.as_deref() == Some(provider) {
            names.extend(referenced(&requirement.claims));
        }
        let lists = [&requirement.requires_any, &requirement.requires_all];
        requirements.extend(lists.into_iter().flatten().flat_map(|list| &list.0));
        let inner = [&requirement.allow_missing, &requirement.allow_missing_or_failed];
        requirements.extend(inner.into_iter().flatten().map(|inner| &**inner));
    }
    names
}

impl Requirement {
    pub(super) fn new(
        requirement: config::Requirement,
        providers: &Providers,
        field: &str,
    ) -> Result<Self, ConfigError> {
        let config::Requirement {
            provider_name,
            claims,
            requires_any,
            requires_all,
            allow_missing,
            allow_missing_or_failed,
        } = requirement;
        if !claims.0.is_empty() && provider_name.is_none() {
            return Err(ConfigError::new(format!("{field}.claims"), "stands beside provider_name only"));
        }
        let list = |list: config::RequirementList, name: &str| {
            let field = format!("{field}.{name}");
            if list.0.is_empty() {
                return Err(ConfigError::new(field, "is empty"));
            }
            let compile = |(index, item)| Self::new(item, providers, &format!("{field}[{index}]"));
            list.0.into_iter().enumerate().map(compile).collect::<Result<Vec<_>, _>>()
        };
        let inner = |inner: Box<config::Requirement>, name: &str| {
            Self::new(*inner, providers, &format!("{field}.{name}")).map(Box::new)
        };
        match (provider_name, requires_any, requires_all, allow_missing, allow_missing_or_failed) {
            (Some(name), None, None, None, None) => {
                let provider = providers.index(&name).ok_or_else(|| {
                    ConfigError::new(
                        format!("{field}.provider_name"),
                        format!("there is no provider `{name}`"),
                    )
                })?;
                Ok(Self::Provider(provider, Condition::all(claims, &format!("{field}.claims"))?))
            }
            (None, Some(any), None, None, None) => Ok(Self::Any(list(any, "requires_any")?)),
            (None, None, Some(all), None, None) => Ok(Self::All(list(all, "requires_all")?)),
            (None, None, None, Some(missing), None) => {
                Ok(Self::AllowMissing(inner(missing, "allow_missing")?))
            }
            (None, None, None, None, Some(failed)) => {
                Ok(Self::AllowMissingOrFailed(inner(failed, "allow_missing_or_failed")?))
            }
            (None, None, None, None, None) => Ok(Self::any_provider(providers)),
            _ => Err(ConfigError::new(
                field,
                "needs exactly one of provider_name, requires_any, requires_all, allow_missing, \
                 allow_missing_or_failed",
            )),
        }
    }

    /// A token of whichever provider.
    pub(super) fn any_provider(providers: &Providers) -> Self {
        Self::Any((0..providers.len()).map(|provider| Self::Provider(provider, Vec::new())).collect())
    }

    /// Whether a request without a token can meet it.
    pub(super) fn is_optional(&self) -> bool {
        match self {
            Self::Provider(..) => false,
            Self::Any(list) => list.iter().any(Self::is_optional),
            Self::All(list) => list.iter().all(Self::is_optional),
            Self::AllowMissing(_) | Self::AllowMissingOrFailed(_) => true,
        }
    }

    /// The identities with which `session` meets it; none where it is met without a token.
    pub(crate) fn evaluate(&self, session: &mut Session<'_>) -> Result<Vec<Rc<Identity>>, Unmet> {
        match self {
            Self::Provider(provider, conditions) => {
                let identity = session.authenticate(*provider)?;
                if conditions.iter().all(|condition| condition.holds(identity.claims())) {
                    Ok(vec![identity])
                } else {
                    Err(Unmet::Refused(Code::Forbidden))
                }
            }
            Self::Any(list) => {
                let mut unmet = Unmet::Missing;
                for requirement in list {
                    match requirement.evaluate(session) {
                        Ok(identities) => return Ok(identities),
                        // The first token that was there says more than one that was not.
                        Err(reason) if unmet == Unmet::Missing => unmet = reason,
                        Err(_) => {}
                    }
                }
                Err(unmet)
            }
            Self::All(list) => {
                let mut identities = Vec::new();
                for requirement in list {
                    identities.append(&mut requirement.evaluate(session)?);
                }
                Ok(identities)
            }
            Self::AllowMissing(inner) => match inner.evaluate(session) {
                Err(Unmet::Missing) => Ok(Vec::new()),
                outcome => outcome,
            },
            Self::AllowMissingOrFailed(inner) => Ok(inner.evaluate(session).unwrap_or_default()),
        }
    }
}
