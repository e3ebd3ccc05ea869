//! A text that must match.

use regex_lite::{Regex, RegexBuilder};

use crate::config::{ConfigError, SafeRegex, StringMatcher};

/// The most bytes that a compiled regular expression may take. For each byte of a text its states may all be gone through.
const MAX_REGEX_BYTES: usize = 64 * 1024;

/// The most groups of one. regex-lite keeps so many places for each of its states, which the bytes above do not count: with
/// thousands of groups, the first text that is matched would take all of the VM's memory.
const MAX_GROUPS: usize = 32;

/// A compiled [`StringMatcher`].
#[derive(Debug)]
pub(crate) enum TextMatcher {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Regex(Regex),
}

impl TextMatcher {
    pub(crate) fn new(matcher: &StringMatcher, field: &str) -> Result<Self, ConfigError> {
        Ok(match matcher {
            StringMatcher::Exact(text) => Self::Exact(text.clone()),
            StringMatcher::Prefix(text) => Self::Prefix(text.clone()),
            StringMatcher::Suffix(text) => Self::Suffix(text.clone()),
            StringMatcher::SafeRegex(regex) => Self::Regex(compile(regex, &format!("{field}.safe_regex"))?),
        })
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(expected) => text == expected,
            Self::Prefix(prefix) => text.starts_with(prefix),
            Self::Suffix(suffix) => text.ends_with(suffix),
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

/// Compiles a regular expression that must match the whole text, as Envoy's `safe_regex` does. Matching
/// takes time linear in the text.
pub(super) fn compile(regex: &SafeRegex, field: &str) -> Result<Regex, ConfigError> {
    let compile = |pattern: &str| {
        let compiled = RegexBuilder::new(pattern).size_limit(MAX_REGEX_BYTES).build();
        compiled.map_err(|error| ConfigError::new(field, error))
    };
    // Alone first: `a)(b` is no expression, though `(?:a)(b)` would be.
    if compile(&regex.0)?.captures_len() > MAX_GROUPS {
        return Err(ConfigError::new(field, format!("has {MAX_GROUPS} groups or more; `(?:…)` is none")));
    }
    let whole = compile(&format!("^(?:{})$", regex.0))?;
    // What it takes to match is taken now, not on somebody's request.
    whole.is_match("");
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_regular_expression_matches_the_whole_text_or_not_at_all() {
        let regex = compile(&SafeRegex("/v[0-9]+|/x".to_owned()), "f").unwrap();
        assert!(regex.is_match("/v12") && regex.is_match("/x"));
        for text in ["/v12/", "a/v12", "/xx", "/v1\n", "\n/x"] {
            assert!(!regex.is_match(text), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_regular_expression_is_refused_with_its_field() {
        let groups = "()".repeat(MAX_GROUPS);
        assert!(compile(&SafeRegex("()".repeat(MAX_GROUPS - 1)), "f").is_ok());
        for text in ["(", "a)(b", "a{1000000}", "a{50000}", &groups, "\\p{Greek}", "(?=x)"] {
            let error = compile(&SafeRegex(text.to_owned()), "rules[0].match.safe_regex").err();
            assert_eq!(
                error.map(|error| error.field().to_owned()).as_deref(),
                Some("rules[0].match.safe_regex")
            );
        }
    }
}
