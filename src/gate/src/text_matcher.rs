//! A text that must match.

use regex_lite::{Regex, RegexBuilder};

use crate::config::{ConfigError, SafeRegex, StringMatcher, StringPattern};

/// The most bytes that a compiled regular expression may take. For each byte of a text its states may all be gone through.
const MAX_REGEX_BYTES: usize = 64 * 1024;

/// The most groups of one. regex-lite keeps so many places for each of its states, which the bytes above do not count: with
/// thousands of groups, the first text that is matched would take all of the VM's memory.
const MAX_GROUPS: usize = 32;

/// A compiled [`StringMatcher`].
#[derive(Debug)]
pub(crate) struct TextMatcher {
    pattern: Pattern,
    /// The pattern is in lower case then, unless it is a regular expression.
    ignore_case: bool,
}

#[derive(Debug)]
enum Pattern {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Contains(String),
    Regex(Regex),
}

impl TextMatcher {
    pub(crate) fn new(matcher: &StringMatcher, field: &str) -> Result<Self, ConfigError> {
        let text = |name: &str, text: &String| {
            // As Envoy's own validation: an empty prefix would match everything.
            if text.is_empty() && name != "exact" {
                return Err(ConfigError::new(format!("{field}.{name}"), "is empty"));
            }
            Ok(if matcher.ignore_case { text.to_ascii_lowercase() } else { text.clone() })
        };
        let pattern = match &matcher.pattern {
            StringPattern::Exact(exact) => Pattern::Exact(text("exact", exact)?),
            StringPattern::Prefix(prefix) => Pattern::Prefix(text("prefix", prefix)?),
            StringPattern::Suffix(suffix) => Pattern::Suffix(text("suffix", suffix)?),
            StringPattern::Contains(part) => Pattern::Contains(text("contains", part)?),
            StringPattern::SafeRegex(regex) => {
                Pattern::Regex(compile_regex(regex, &format!("{field}.safe_regex"))?)
            }
        };
        Ok(Self { pattern, ignore_case: matcher.ignore_case })
    }

    /// The same matcher for names of hosts: their case never matters (RFC 4343), and a host is compared without its
    /// default port and its final dot, as [`crate::host_name::normalized`] writes it.
    pub(crate) fn for_host(matcher: &StringMatcher, field: &str) -> Result<Self, ConfigError> {
        let mut compiled = Self::new(matcher, field)?;
        match &mut compiled.pattern {
            Pattern::Exact(host) => *host = crate::host_name::normalized(host),
            Pattern::Prefix(part) | Pattern::Suffix(part) | Pattern::Contains(part) => {
                part.make_ascii_lowercase();
            }
            Pattern::Regex(regex) => {
                let insensitive = SafeRegex(format!("(?i){}", regex_source(&matcher.pattern)));
                *regex = compile_regex(&insensitive, &format!("{field}.safe_regex"))?;
            }
        }
        Ok(compiled)
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let folded;
        let text = if self.ignore_case && !matches!(self.pattern, Pattern::Regex(_)) {
            folded = text.to_ascii_lowercase();
            &folded
        } else {
            text
        };
        match &self.pattern {
            Pattern::Exact(expected) => text == expected,
            Pattern::Prefix(prefix) => text.starts_with(prefix),
            Pattern::Suffix(suffix) => text.ends_with(suffix),
            Pattern::Contains(part) => text.contains(part),
            Pattern::Regex(regex) => regex.is_match(text),
        }
    }
}

fn regex_source(pattern: &StringPattern) -> &str {
    match pattern {
        StringPattern::SafeRegex(regex) => &regex.0,
        _ => "",
    }
}

/// Compiles a regular expression that must match the whole text, as Envoy's `safe_regex` does. Matching
/// takes time linear in the text.
pub(crate) fn compile_regex(regex: &SafeRegex, field: &str) -> Result<Regex, ConfigError> {
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
        let regex = compile_regex(&SafeRegex("/v[0-9]+|/x".to_owned()), "f").unwrap();
        assert!(regex.is_match("/v12") && regex.is_match("/x"));
        for text in ["/v12/", "a/v12", "/xx", "/v1\n", "\n/x"] {
            assert!(!regex.is_match(text), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_regular_expression_is_refused_with_its_field() {
        let groups = "()".repeat(MAX_GROUPS);
        assert!(compile_regex(&SafeRegex("()".repeat(MAX_GROUPS - 1)), "f").is_ok());
        for text in ["(", "a)(b", "a{1000000}", "a{50000}", &groups, "\\p{Greek}", "(?=x)"] {
            let error = compile_regex(&SafeRegex(text.to_owned()), "rules[0].match.safe_regex").err();
            assert_eq!(
                error.map(|error| error.field().to_owned()).as_deref(),
                Some("rules[0].match.safe_regex")
            );
        }
    }
}
