//! Where a claim stands in a payload.

use jwt_gate_token::{Claim, VerifiedClaims, lookup};
use serde_json::{Map, Value};

use crate::config::ConfigError;

/// A claim's place, as the configuration names it.
#[derive(Debug)]
pub(crate) enum ClaimPlace {
    /// A name; where no claim has this very name, its dots descend into objects.
    Dotted(String),
    /// A name for each level.
    Path {
        /// The claim itself.
        first: String,
        /// The members below it.
        rest: Vec<String>,
    },
}

impl ClaimPlace {
    /// The place that `field` of the configuration names in one of two ways.
    pub(crate) fn new(dotted: Option<String>, path: Vec<String>, field: &str) -> Result<Self, ConfigError> {
        if let Some(name) = dotted {
            return if name.is_empty() {
                Err(ConfigError::new(field, "needs the name of a claim"))
            } else {
                Ok(Self::Dotted(name))
            };
        }
        let mut names = path.into_iter();
        match names.next() {
            Some(first) => Ok(Self::Path { first, rest: names.collect() }),
            None => Err(ConfigError::new(format!("{field}.claim_path"), "is empty")),
        }
    }

    /// The claim there.
    pub(crate) fn of<'claims>(&self, claims: &'claims Map<String, Value>) -> Option<&'claims Value> {
        match self {
            Self::Dotted(name) => lookup(claims, name),
            Self::Path { first, rest } => descend(claims.get(first)?, rest),
        }
    }

    /// The claim there, of a payload that was not parsed.
    pub(crate) fn of_verified<'claims>(&self, claims: &'claims VerifiedClaims) -> Option<Claim<'claims>> {
        match self {
            Self::Dotted(name) => claims.get(name),
            Self::Path { first, rest } if rest.is_empty() => claims.member(first),
            Self::Path { first, rest } => match claims.member(first)? {
                Claim::Other(value) => descend(value, rest).map(Claim::from),
                _ => None,
            },
        }
    }

    /// Whether this is the claim `name` of the payload itself.
    pub(crate) fn is(&self, name: &str) -> bool {
        match self {
            Self::Dotted(dotted) => dotted == name,
            Self::Path { first, rest } => first == name && rest.is_empty(),
        }
    }
}

fn descend<'claims>(value: &'claims Value, names: &[String]) -> Option<&'claims Value> {
    names.iter().try_fold(value, |value, name| value.get(name))
}
