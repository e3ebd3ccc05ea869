//! Names for what decides about a request.

use std::borrow::Cow;

use crate::config::{ConfigError, Rule};
use crate::printable::is_unprintable;

/// The longest name of a rule, in characters.
const MAX_NAME_CHARS: usize = 64;

/// The most names that are shown of one request.
const MAX_SHOWN: usize = 8;

/// The names of what decides where no rule does.
const DEFAULT: &str = "default";
const CORS_PREFLIGHT: &str = "bypass_cors_preflight";
const TOO_MANY_INTERPRETATIONS: &str = "too_many_interpretations";

/// What decides about one interpretation of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decider {
    /// The rule of this index.
    Rule(usize),
    /// The configuration's `default`: no rule matches.
    Default,
    /// `bypass_cors_preflight`: no rule was asked.
    CorsPreflight,
    /// The request has too many interpretations for the rules to be asked. It is refused.
    TooManyInterpretations,
}

/// What decided about a request: one [`Decider`], or several where a request has several interpretations. Each is there once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deciders {
    // Nearly always there is one, which then takes no memory of its own.
    first: Option<Decider>,
    more: Vec<Decider>,
}

/// The name of each rule: the configured one, or its number, as in `rules[3]`.
#[derive(Debug)]
pub(super) struct RuleNames(Vec<String>);

// === impl Deciders ===

impl Deciders {
    /// Each of them, in the order in which they were asked.
    pub fn iter(&self) -> impl Iterator<Item = Decider> {
        self.first.into_iter().chain(self.more.iter().copied())
    }

    /// Adds `decider` if it is not there yet.
    pub(crate) fn add(&mut self, decider: Decider) {
        if self.first.is_none() {
            self.first = Some(decider);
        } else if !self.iter().any(|known| known == decider) {
            self.more.push(decider);
        }
    }
}

// === impl RuleNames ===

impl RuleNames {
    pub(super) fn new(rules: &[Rule]) -> Result<Self, ConfigError> {
        let mut names: Vec<String> = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            let Some(name) = &rule.name else {
                names.push(format!("rules[{index}]"));
                continue;
            };
            let refused = |message: &str| Err(ConfigError::new(format!("rules[{index}].name"), message));
            // Several names are joined with commas in access logs.
            let is_bad = |letter: char| is_unprintable(letter) || letter == ',';
            let length = name.chars().count();
            if length == 0 || length > MAX_NAME_CHARS || name.trim() != name || name.contains(is_bad) {
                return refused(
                    "must be 1 to 64 printable characters without a comma, and without white space at its ends",
                );
            }
            if [DEFAULT, CORS_PREFLIGHT, TOO_MANY_INTERPRETATIONS].contains(&name.as_str())
                || name.starts_with("rules[")
            {
                return refused("has a meaning of its own in logs; choose another");
            }
            if let Some(other) = names.iter().position(|known| known == name) {
                return refused(&format!("is the name of rules[{other}] too"));
            }
            names.push(name.clone());
        }
        Ok(Self(names))
    }

    pub(super) fn get(&self, decider: Decider) -> &str {
        match decider {
            Decider::Rule(index) => self.0.get(index).map_or("", String::as_str),
            Decider::Default => DEFAULT,
            Decider::CorsPreflight => CORS_PREFLIGHT,
            Decider::TooManyInterpretations => TOO_MANY_INTERPRETATIONS,
        }
    }

    /// The names of `deciders` in one text.
    pub(super) fn joined(&self, deciders: &Deciders) -> Cow<'_, str> {
        match (deciders.first, deciders.more.as_slice()) {
            (None, _) => "".into(),
            (Some(only), []) => self.get(only).into(),
            _ => {
                let names: Vec<&str> = deciders.iter().take(MAX_SHOWN).map(|one| self.get(one)).collect();
                let hidden = deciders.iter().skip(MAX_SHOWN).count();
                let more = if hidden == 0 { String::new() } else { format!(", and {hidden} more") };
                format!("{}{more}", names.join(", ")).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn names(rules: &str) -> Result<RuleNames, String> {
        let config = format!(r#"{{"providers": {{}}, "rules": [{rules}]}}"#);
        RuleNames::new(&config::read(config.as_bytes()).unwrap().rules).map_err(|error| error.to_string())
    }

    fn rule(name: &str) -> String {
        serde_json::json!({"name": name, "match": {"prefix": "/"}}).to_string()
    }

    #[test]
    fn a_rule_is_called_by_its_name_or_else_by_its_number() {
        let names = names(&format!(r#"{}, {{"match": {{"path": "/x"}}}}"#, rule("staff area"))).unwrap();
        assert_eq!(names.get(Decider::Rule(0)), "staff area");
        assert_eq!(names.get(Decider::Rule(1)), "rules[1]");
        let mut deciders = Deciders::default();
        for decider in [Decider::Rule(1), Decider::Rule(0), Decider::Rule(1), Decider::Default] {
            deciders.add(decider);
        }
        assert_eq!(names.joined(&deciders), "rules[1], staff area, default");
    }

    #[test]
    fn many_names_are_cut_to_a_bounded_text() {
        let rules: Vec<String> = (0..20).map(|index| rule(&format!("{index:064}"))).collect();
        let names = names(&rules.join(",")).unwrap();
        let mut deciders = Deciders::default();
        (0..20).for_each(|index| deciders.add(Decider::Rule(index)));
        let text = names.joined(&deciders);
        assert!(text.ends_with(", and 12 more") && text.len() < MAX_SHOWN * 66 + 20, "{text}");
    }

    #[test]
    fn a_name_that_could_mislead_is_refused_with_its_field() {
        let long = "x".repeat(MAX_NAME_CHARS + 1);
        for bad in ["", " a", "a ", "a,b", "a\nb", "a\u{202e}b", &long, "default", "rules[0]", "rules[x"] {
            let error = names(&rule(bad)).err().unwrap_or_default();
            assert!(error.starts_with("rules[0].name: "), "{bad:?} gave {error:?}");
        }
        let twice = names(&[rule("a"), rule("b"), rule("a")].join(",")).err().unwrap();
        assert_eq!(twice, "rules[2].name: is the name of rules[0] too");
        assert!(names(&rule(&"é".repeat(MAX_NAME_CHARS))).is_ok());
    }
}
