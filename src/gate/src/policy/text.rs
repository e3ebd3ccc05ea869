//! A text that must match.

use regex_lite::{Regex, RegexBuilder};

use crate::config::{ConfigError, SafeRegex, StringMatcher};

/// The most bytes that a compiled regular expression may take.
const MAX_REGEX_BYTES: usize = 1024 * 1024;

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
    // Compiled alone first: `a)(b` is no expression, though `(?:a)(b)` would be.
    Regex::new(&regex.0)
        .and_then(|_| RegexBuilder::new(&format!("^(?:{})$", regex.0)).size_limit(MAX_REGEX_BYTES).build())
        .map_err(|error| ConfigError::new(field, error))
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
        for text in ["(", "a)(b", "a{1000000}", "\\p{Greek}", "(?=x)"] {
            let error = compile(&SafeRegex(text.to_owned()), "rules[0].match.safe_regex").err();
            assert_eq!(
                error.map(|error| error.field().to_owned()).as_deref(),
                Some("rules[0].match.safe_regex")
            );
        }
    }
}
