//! What is allowed in a configuration, and probably not meant.

use std::collections::BTreeSet;

use jwt_gate::config::{DefaultRule, Requirement, Rule};

use crate::covers::{covers, overlap};
use crate::find::Found;
use crate::load::Gate;
use crate::place::locate;
use crate::source::{Diagnostic, Severity};

/// What cookies of that name are bound to: https, one host, the whole site.
const HOST_PREFIX: &str = "__Host-";

/// What to think about again in `gate`, which is compiled from `found` in a file with this text.
pub(crate) fn warnings(gate: &Gate, found: &Found, text: &str) -> Vec<Diagnostic> {
    let mut warnings = Warnings { found, text, all: Vec::new() };
    rules(gate, &mut warnings);
    providers(gate, &mut warnings);
    if gate.config.default == DefaultRule::Allow {
        warnings.add(
            "every request that no rule is for is public",
            ("default", "allow"),
            None,
            "write `default: deny`, and a rule without `requires` for each path that is public",
        );
    }
    warnings.all
}

struct Warnings<'file> {
    found: &'file Found,
    text: &'file str,
    all: Vec<Diagnostic>,
}

impl Warnings<'_> {
    /// Adds a warning about a field and, where given, another; each with what is to be said of it.
    fn add(&mut self, title: &str, field: (&str, &str), other: Option<(&str, &str)>, help: &str) {
        let place = |(field, label): (&str, &str)| {
            let place = locate(&self.found.root, field, self.text);
            (place.value, label.to_owned())
        };
        self.all.push(Diagnostic {
            severity: Severity::Warning,
            title: title.to_owned(),
            place: Some(place(field)),
            context: other.map(place),
            hidden: None,
            help: Some(help.to_owned()),
        });
    }
}

fn rules(gate: &Gate, warnings: &mut Warnings<'_>) {
    let rules = &gate.config.rules;
    for (index, later) in rules.iter().enumerate() {
        let field = format!("rules[{index}].match");
        let name = name(rules, index);
        let before = || rules.iter().enumerate().take(index);
        let covering =
            before().find(|(_, earlier)| covers(&earlier.r#match, &later.r#match, gate.config.paths));
        if let Some((other, earlier)) = covering {
            let title = if is_public(earlier) && !is_public(later) {
                format!(
                    "`{name}` never asks for its token: {} is public, and comes first",
                    quoted(rules, other)
                )
            } else {
                format!("`{name}` decides about no request: {} comes first", quoted(rules, other))
            };
            warnings.add(
                &title,
                (&field, "every request in canonical form that this is for"),
                Some((&format!("rules[{other}].match"), "is decided here")),
                "the first rule that matches decides: put the narrower rule first",
            );
            continue;
        }
        if is_public(later) {
            continue;
        }
        for (other, earlier) in before().filter(|(_, earlier)| is_public(earlier)) {
            // A narrower public rule ahead of a wider one is how an exception is written.
            let is_exception = covers(&later.r#match, &earlier.r#match, gate.config.paths);
            if !is_exception && overlap(&earlier.r#match, &later.r#match, gate.config.paths) {
                let title = format!(
                    "some requests that `{name}` is for are public: {} comes first",
                    quoted(rules, other)
                );
                warnings.add(
                    &title,
                    (&field, "asks for a token"),
                    Some((&format!("rules[{other}].match"), "asks for none, and decides where both match")),
                    "put the rule that asks for a token first, or make the public one narrower",
                );
            }
        }
    }
}

fn providers(gate: &Gate, warnings: &mut Warnings<'_>) {
    let config = &gate.config;
    for (name, provider) in &config.providers {
        let field = format!("providers.{name}");
        for (index, _) in provider.secrets.iter().enumerate().filter(|(_, source)| source.inline.is_some()) {
            warnings.add(
                "a secret is written into the configuration",
                (&format!("{field}.secrets[{index}].inline"), "whoever reads this file can make tokens"),
                None,
                "name an environment variable that holds it: `{env: BETTER_AUTH_SECRET}`",
            );
        }
        if provider.local_jwks.is_some() {
            warnings.add(
                "a secret is written into the configuration",
                (&format!("{field}.local_jwks"), "whoever reads this file can make tokens"),
                None,
                "write `secrets: [{env: NAME, encoding: base64url}]` with the key's `k` in that variable",
            );
        }
        for (index, cookie) in provider.from_cookies.iter().enumerate() {
            let Some(plain) = cookie.strip_prefix(HOST_PREFIX) else { continue };
            if let Some(twin) = provider.from_cookies.iter().position(|other| other == plain) {
                warnings.add(
                    &format!("`{plain}` undoes what `{cookie}` is for"),
                    (
                        &format!("{field}.from_cookies[{twin}]"),
                        "a neighbour's subdomain, or anybody on a plain http connection, can set this one",
                    ),
                    Some((
                        &format!("{field}.from_cookies[{index}]"),
                        "only this host can set this one, by https",
                    )),
                    "where people come by https, read the `__Host-` cookie alone",
                );
            }
        }
    }
    let mut asked = BTreeSet::new();
    config.rules.iter().filter_map(|rule| rule.requires.as_ref()).for_each(|need| named(need, &mut asked));
    let all_are_asked = asked.contains(&None) || config.default == DefaultRule::Require;
    for (name, provider) in config.providers.iter().filter(|(name, _)| !asked.contains(&Some(name.as_str())))
    {
        if all_are_asked {
            break;
        }
        let title = format!("no rule asks for a token of `{name}`");
        let label = if provider.claim_to_headers.is_empty() {
            "it verifies nothing"
        } else {
            "its claims never become headers"
        };
        let help = "name it in a rule's `requires`, or leave it out";
        warnings.add(&title, (&format!("providers.{name}"), label), None, help);
    }
}

/// The providers that a requirement names; `None` stands for any.
fn named<'config>(requirement: &'config Requirement, names: &mut BTreeSet<Option<&'config str>>) {
    let Requirement {
        provider_name, requires_any, requires_all, allow_missing, allow_missing_or_failed, ..
    } = requirement;
    let lists = requires_any.iter().chain(requires_all).flat_map(|list| &list.0);
    let inner: Vec<&Requirement> =
        lists.chain(allow_missing.as_deref()).chain(allow_missing_or_failed.as_deref()).collect();
    if inner.is_empty() {
        names.insert(provider_name.as_deref());
    }
    inner.into_iter().for_each(|inner| named(inner, names));
}

/// Whether a request without a token can pass by this rule.
fn is_public(rule: &Rule) -> bool {
    rule.requires.as_ref().is_none_or(is_optional)
}

fn is_optional(requirement: &Requirement) -> bool {
    if let Some(any) = &requirement.requires_any {
        return any.0.iter().any(is_optional);
    }
    if let Some(all) = &requirement.requires_all {
        return all.0.iter().all(is_optional);
    }
    requirement.allow_missing.is_some() || requirement.allow_missing_or_failed.is_some()
}

/// What the gate calls a rule.
pub(crate) fn name(rules: &[Rule], index: usize) -> String {
    let name = rules.get(index).and_then(|rule| rule.name.clone());
    name.unwrap_or_else(|| format!("rules[{index}]"))
}

fn quoted(rules: &[Rule], index: usize) -> String {
    format!("`{}`", name(rules, index))
}
