//! What a rule asks for.

use std::rc::Rc;

use crate::authentication::{AuthError, Authentication};
use crate::claims::Condition;
use crate::config::{self, ConfigError};
use crate::deny_reason::DenyReason;
use crate::identity::Identity;
use crate::provider::Providers;

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
    pub(crate) fn evaluate(
        &self,
        authentication: &mut Authentication<'_>,
    ) -> Result<Vec<Rc<Identity>>, AuthError> {
        match self {
            Self::Provider(provider, conditions) => {
                let identity = authentication.authenticate(*provider)?;
                if conditions.iter().all(|condition| condition.holds(&identity.claims)) {
                    Ok(vec![identity])
                } else {
                    Err(AuthError::Denied(DenyReason::Forbidden))
                }
            }
            Self::Any(list) => {
                let mut error = AuthError::Missing;
                for requirement in list {
                    match requirement.evaluate(authentication) {
                        Ok(identities) => return Ok(identities),
                        // The first token that was there says more than one that was not.
                        Err(reason) if error == AuthError::Missing => error = reason,
                        Err(_) => {}
                    }
                }
                Err(error)
            }
            Self::All(list) => {
                let mut identities = Vec::new();
                for requirement in list {
                    identities.append(&mut requirement.evaluate(authentication)?);
                }
                Ok(identities)
            }
            Self::AllowMissing(inner) => match inner.evaluate(authentication) {
                Err(AuthError::Missing) => Ok(Vec::new()),
                outcome => outcome,
            },
            Self::AllowMissingOrFailed(inner) => Ok(inner.evaluate(authentication).unwrap_or_default()),
        }
    }
}
