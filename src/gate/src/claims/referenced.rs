//! The claims that rules refer to.

use super::member_names;
use crate::config::{self, Rule};

/// The claims that `rules` ask of a token of `provider`, by the names of the payload's members: for `a.b`, both `a.b` and
/// the object `a` ([`jwt_gate_token::lookup`]).
pub(crate) fn referenced_claims(rules: &[Rule], provider: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut requirements: Vec<&config::Requirement> =
        rules.iter().filter_map(|rule| rule.requires.as_ref()).collect();
    while let Some(requirement) = requirements.pop() {
        if requirement.provider_name.as_deref() == Some(provider) {
            names.extend(member_names(&requirement.claims));
        }
        let lists = [&requirement.requires_any, &requirement.requires_all];
        requirements.extend(lists.into_iter().flatten().flat_map(|list| &list.0));
        let inner = [&requirement.allow_missing, &requirement.allow_missing_or_failed];
        requirements.extend(inner.into_iter().flatten().map(|inner| &**inner));
    }
    names
}
