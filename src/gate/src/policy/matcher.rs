//! Which requests a rule is for.

use regex_lite::Regex;

use super::text::{TextMatcher, compile};
use crate::config::{ConfigError, HeaderMatcher, RouteMatch};
use crate::request::Request;

/// A compiled [`RouteMatch`].
#[derive(Debug)]
pub(super) struct Matcher {
    path: PathMatcher,
    methods: Vec<String>,
    headers: Vec<HeaderCondition>,
}

#[derive(Debug)]
enum PathMatcher {
    Path(String),
    Prefix(String),
    PathSeparatedPrefix(String),
    Regex(Regex),
}

#[derive(Debug)]
struct HeaderCondition {
    name: String,
    value: Option<TextMatcher>,
    expected: bool,
}

// === impl Matcher ===

impl Matcher {
    pub(super) fn new(route: &RouteMatch, field: &str) -> Result<Self, ConfigError> {
        let path = PathMatcher::new(route, field)?;
        for (index, method) in route.methods.iter().enumerate() {
            if method.is_empty()
                || !method.bytes().all(|byte| byte.is_ascii_uppercase() || b"-_".contains(&byte))
            {
                let field = format!("{field}.methods[{index}]");
                return Err(ConfigError::new(
                    field,
                    "is no method; methods are written in capitals, as in GET",
                ));
            }
        }
        let headers = route
            .headers
            .iter()
            .enumerate()
            .map(|(index, header)| HeaderCondition::new(header, &format!("{field}.headers[{index}]")))
            .collect::<Result<_, _>>()?;
        Ok(Self { path, methods: route.methods.clone(), headers })
    }

    /// Whether the rule is for this request, were `path` its path.
    pub(super) fn matches(&self, path: &str, request: &Request) -> bool {
        self.path.matches(path)
            && (self.methods.is_empty()
                || self.methods.iter().any(|method| method.as_bytes() == request.method()))
            && self.headers.iter().all(|header| header.holds(request))
    }
}

// === impl PathMatcher ===

impl PathMatcher {
    fn new(route: &RouteMatch, field: &str) -> Result<Self, ConfigError> {
        let starts_with_slash = |name: &str, text: &String| {
            if text.starts_with('/') {
                Ok(text.clone())
            } else {
                Err(ConfigError::new(format!("{field}.{name}"), "must start with /"))
            }
        };
        match (&route.path, &route.prefix, &route.path_separated_prefix, &route.safe_regex) {
            (Some(path), None, None, None) => Ok(Self::Path(starts_with_slash("path", path)?)),
            (None, Some(prefix), None, None) => Ok(Self::Prefix(starts_with_slash("prefix", prefix)?)),
            (None, None, Some(prefix), None) => {
                let prefix = starts_with_slash("path_separated_prefix", prefix)?;
                if prefix.ends_with('/') {
                    let field = format!("{field}.path_separated_prefix");
                    return Err(ConfigError::new(
                        field,
                        "must not end with /; a prefix of / is written `prefix: /`",
                    ));
                }
                Ok(Self::PathSeparatedPrefix(prefix))
            }
            (None, None, None, Some(regex)) => {
                Ok(Self::Regex(compile(regex, &format!("{field}.safe_regex"))?))
            }
            _ => Err(ConfigError::new(
                field,
                "needs exactly one of path, prefix, path_separated_prefix, safe_regex",
            )),
        }
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Path(expected) => path == expected,
            Self::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Self::PathSeparatedPrefix(prefix) => path
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Self::Regex(regex) => regex.is_match(path),
        }
    }
}

// === impl HeaderCondition ===

impl HeaderCondition {
    fn new(header: &HeaderMatcher, field: &str) -> Result<Self, ConfigError> {
        if header.name.is_empty() {
            return Err(ConfigError::new(format!("{field}.name"), "is empty"));
        }
        let value = match (&header.string_match, header.present_match) {
            (Some(_), Some(_)) => {
                return Err(ConfigError::new(field, "needs one of string_match and present_match, not both"));
            }
            (Some(matcher), None) => Some(TextMatcher::new(matcher, &format!("{field}.string_match"))?),
            (None, _) => None,
        };
        Ok(Self {
            name: header.name.clone(),
            value,
            expected: header.present_match.unwrap_or(true) != header.invert_match,
        })
    }

    fn holds(&self, request: &Request) -> bool {
        let values: Vec<&[u8]> = request.values(&self.name).collect();
        let outcome = match &self.value {
            None => !values.is_empty(),
            Some(matcher) => {
                !values.is_empty() && matcher.matches(&String::from_utf8_lossy(&values.join(&b',')))
            }
        };
        outcome == self.expected
    }
}
