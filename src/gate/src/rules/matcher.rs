//! Which requests a rule is for.

use std::borrow::Cow;

use regex_lite::Regex;

use super::interpretation::{Inspected, Interpretation};
use crate::config::{ConfigError, HeaderMatcher, PathOptions, RangeMatch, RouteMatch};
use crate::header_guard::{HeaderGuard, is_header_name};
use crate::text_matcher::{TextMatcher, compile_regex};

/// A compiled [`RouteMatch`].
#[derive(Debug)]
pub(super) struct Matcher {
    path: PathMatcher,
    methods: Vec<String>,
    headers: Vec<HeaderCondition>,
}

/// Which paths match.
#[derive(Debug)]
struct PathMatcher {
    pattern: PathPattern,
    /// Whether letters in both cases are the same. The pattern is folded then, unless it is a regular expression.
    ignore_case: bool,
    /// Whether a path matches also where it would with a slash more or less at its end.
    ignore_trailing_slash: bool,
}

#[derive(Debug)]
enum PathPattern {
    Path(String),
    Prefix(String),
    PathSeparatedPrefix(String),
    Regex(Regex),
}

#[derive(Debug)]
struct HeaderCondition {
    /// In lower case.
    name: String,
    value: ValueMatcher,
    invert: bool,
    treat_missing_as_empty: bool,
}

#[derive(Debug)]
enum ValueMatcher {
    Present(bool),
    Text(TextMatcher),
    Range(RangeMatch),
}

/// The pseudo-headers of requests (RFC 9113 §8.3.1, RFC 8441 §4).
const PSEUDO_HEADERS: [&str; 5] = [":authority", ":method", ":path", ":protocol", ":scheme"];

// === impl Matcher ===

impl Matcher {
    pub(super) fn new(
        route: &RouteMatch,
        options: PathOptions,
        guard: &HeaderGuard,
        field: &str,
    ) -> Result<Self, ConfigError> {
        let path = PathMatcher::new(route, options, field)?;
        for (index, method) in route.methods.iter().enumerate() {
            if method.is_empty()
                || !method.bytes().all(|byte| byte.is_ascii_uppercase() || b"-_".contains(&byte))
            {
                let field = format!("{field}.methods[{index}]");
                return Err(ConfigError::new(
                    field,
                    "is not a method; methods are written in capitals, as in GET",
                ));
            }
        }
        let headers = route
            .headers
            .iter()
            .enumerate()
            .map(|(index, header)| HeaderCondition::new(header, guard, &format!("{field}.headers[{index}]")))
            .collect::<Result<_, _>>()?;
        Ok(Self { path, methods: route.methods.clone(), headers })
    }

    /// Adds what this matcher inspects.
    pub(super) fn note_inspected(&self, inspected: &mut Inspected) {
        for HeaderCondition { name, .. } in &self.headers {
            if name == ":authority" {
                inspected.host = true;
            } else if !name.starts_with(':') && !inspected.headers.contains(name) {
                inspected.headers.push(name.clone());
            }
        }
    }

    /// Whether the rule is for the request in this interpretation.
    pub(super) fn matches(&self, request: &Interpretation<'_>) -> bool {
        self.path.matches(&request.path)
            && (self.methods.is_empty() || self.methods.iter().any(|method| covers(method, &request.method)))
            && self.headers.iter().all(|header| header.holds(request))
    }
}

/// Whether a rule for `method` is one for `requested`: a rule for `GET` is one for `HEAD`.
fn covers(method: &str, requested: &str) -> bool {
    method == requested || (method == "GET" && requested == "HEAD")
}

// === impl PathMatcher ===

impl PathMatcher {
    fn new(route: &RouteMatch, options: PathOptions, field: &str) -> Result<Self, ConfigError> {
        let ignore_case = options.ignore_case || !route.case_sensitive;
        let starts_with_slash = |name: &str, text: &String| {
            if text.starts_with('/') {
                Ok(if ignore_case { folded(text) } else { text.clone() })
            } else {
                Err(ConfigError::new(format!("{field}.{name}"), "must start with /"))
            }
        };
        let pattern = match (&route.path, &route.prefix, &route.path_separated_prefix, &route.safe_regex) {
            (Some(path), None, None, None) => PathPattern::Path(starts_with_slash("path", path)?),
            (None, Some(prefix), None, None) => PathPattern::Prefix(starts_with_slash("prefix", prefix)?),
            (None, None, Some(prefix), None) => {
                let prefix = starts_with_slash("path_separated_prefix", prefix)?;
                if prefix.ends_with('/') {
                    let field = format!("{field}.path_separated_prefix");
                    return Err(ConfigError::new(
                        field,
                        "must not end with /; a prefix of / is written `prefix: /`",
                    ));
                }
                PathPattern::PathSeparatedPrefix(prefix)
            }
            (None, None, None, Some(regex)) => {
                let field = format!("{field}.safe_regex");
                if options.ignore_case {
                    // Alone first, so that an error shows the user's own expression.
                    compile_regex(regex, &field)?;
                    PathPattern::Regex(compile_regex(
                        &crate::config::SafeRegex(format!("(?i){}", regex.0)),
                        &field,
                    )?)
                } else {
                    PathPattern::Regex(compile_regex(regex, &field)?)
                }
            }
            _ => {
                return Err(ConfigError::new(
                    field,
                    "needs exactly one of path, prefix, path_separated_prefix, safe_regex",
                ));
            }
        };
        Ok(Self { pattern, ignore_case, ignore_trailing_slash: options.ignore_trailing_slash })
    }

    fn matches(&self, path: &str) -> bool {
        let path: Cow<'_, str> = if self.ignore_case { folded(path).into() } else { path.into() };
        if self.matches_exactly(&path) {
            return true;
        }
        self.ignore_trailing_slash
            && match path.strip_suffix('/') {
                Some("") => false,
                Some(without) => self.matches_exactly(without),
                None => self.matches_exactly(&format!("{path}/")),
            }
    }

    fn matches_exactly(&self, path: &str) -> bool {
        match &self.pattern {
            PathPattern::Path(expected) => path == expected,
            PathPattern::Prefix(prefix) => path.starts_with(prefix.as_str()),
            PathPattern::PathSeparatedPrefix(prefix) => path
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            PathPattern::Regex(regex) => regex.is_match(path),
        }
    }
}

/// `text` in one case: ASCII letters in lower case, and the four other characters whose simple case mapping is an ASCII
/// letter (Unicode CaseFolding.txt and SpecialCasing.txt).
fn folded(text: &str) -> String {
    let fold = |letter: char| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        '\u{130}' | '\u{131}' => 'i',
        other => other.to_ascii_lowercase(),
    };
    text.chars().map(fold).collect()
}

// === impl HeaderCondition ===

impl HeaderCondition {
    fn new(header: &HeaderMatcher, guard: &HeaderGuard, field: &str) -> Result<Self, ConfigError> {
        let name = match header.name.to_ascii_lowercase() {
            host if host == "host" => ":authority".to_owned(),
            name => name,
        };
        let name_field = format!("{field}.name");
        if !PSEUDO_HEADERS.contains(&name.as_str()) && !is_header_name(&name) {
            return Err(ConfigError::new(name_field, "is not the name of a header"));
        }
        if guard.guards(name.as_bytes()) {
            let message = "is removed from every request, so the client would choose the rule by it; look at a claim instead";
            return Err(ConfigError::new(name_field, message));
        }
        let value = match (&header.string_match, header.range_match, header.present_match) {
            (Some(matcher), None, None) => {
                let field = format!("{field}.string_match");
                ValueMatcher::Text(if name == ":authority" {
                    TextMatcher::for_host(matcher, &field)?
                } else {
                    TextMatcher::new(matcher, &field)?
                })
            }
            (None, Some(range), None) => ValueMatcher::Range(range),
            (None, None, present) => ValueMatcher::Present(present.unwrap_or(true)),
            _ => {
                let message = "needs at most one of string_match, range_match and present_match";
                return Err(ConfigError::new(field, message));
            }
        };
        Ok(Self {
            name,
            value,
            invert: header.invert_match,
            treat_missing_as_empty: header.treat_missing_header_as_empty,
        })
    }

    fn holds(&self, request: &Interpretation<'_>) -> bool {
        let value = request.header(&self.name);
        let outcome = match &self.value {
            ValueMatcher::Present(expected) => (value.is_some() || self.treat_missing_as_empty) == *expected,
            // An absent header matches no value matcher, inverted or not.
            _ if value.is_none() && !self.treat_missing_as_empty => return false,
            ValueMatcher::Text(matcher) => {
                matcher.matches(&String::from_utf8_lossy(&value.unwrap_or_default()))
            }
            ValueMatcher::Range(RangeMatch { start, end }) => {
                let value = value.unwrap_or_default();
                let number =
                    std::str::from_utf8(&value).ok().and_then(|text| text.trim().parse::<i64>().ok());
                number.is_some_and(|number| (*start..*end).contains(&number))
            }
        };
        outcome != self.invert
    }
}
