//! The trust boundary: headers that only the gate may set.

use crate::config::ConfigError;
use crate::mutation::HeaderMutation;
use crate::request::Request;

/// Headers that carry meaning of their own for HTTP or Envoy. To overwrite or remove one of them would
/// break requests, not protect them.
const RESERVED: &[&str] = &[
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers by which frameworks let a client name another path or method: IIS and Symfony (`X-Original-URL`, `X-Rewrite-URL`),
/// nginx (`X-Original-URI`), and method overrides of Rails, Express, ASP.NET and others.
pub(crate) const OVERRIDE_HEADERS: &[&str] = &[
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-override-url",
    "x-rewrite-url",
];

/// Whether `name` can name a header (RFC 9110 §5.6.2).
pub(crate) fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// The names of headers that no client may send, as [`normalize`] writes them.
#[derive(Debug, Default)]
pub struct HeaderGuard {
    normalized: Vec<Vec<u8>>,
}

impl HeaderGuard {
    /// Guards `name`, which is written in `field` of the configuration.
    pub(crate) fn add(&mut self, name: &str, field: &str) -> Result<(), ConfigError> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) || !name.bytes().all(token) {
            return Err(ConfigError::new(
                field,
                "is not a header name that can be used here: letters, digits, `-`, `_` and `.`",
            ));
        }
        if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
            return Err(ConfigError::new(
                field,
                format!("`{name}` has a meaning of its own and cannot be used here"),
            ));
        }
        let normalized: Vec<u8> = name.bytes().map(normalize).collect();
        if !self.normalized.contains(&normalized) {
            self.normalized.push(normalized);
        }
        Ok(())
    }

    /// Whether some backend could read `name` as one of the guarded names.
    #[must_use]
    pub fn guards(&self, name: &[u8]) -> bool {
        self.normalized.iter().any(|normalized| {
            normalized.len() == name.len()
                && normalized.iter().zip(name).all(|(ours, byte)| *ours == normalize(*byte))
        })
    }

    /// The removal of every guarded header in `request`, each name once.
    pub(crate) fn removals(&self, request: &Request) -> Vec<HeaderMutation> {
        let mut removals: Vec<HeaderMutation> = Vec::new();
        for name in request.names().filter(|name| self.guards(name)) {
            if !removals.iter().any(|known| known.name() == name) {
                removals.push(HeaderMutation::Remove(name.into()));
            }
        }
        removals
    }
}

/// A byte of a header name as the most forgiving backend reads it. CGI and WSGI upper-case names and turn
/// `-` into `_` (RFC 3875 §4.1.18); PHP turns `.` into `_` as well, and older Apaches whatever is no letter
/// and no digit.
pub(crate) fn normalize(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> HeaderGuard {
        let mut guard = HeaderGuard::default();
        guard.add("x-user-id", "f").unwrap();
        guard
    }

    #[test]
    fn every_spelling_that_a_backend_reads_as_the_name_is_guarded() {
        for name in
            ["x-user-id", "X-User-Id", "x_user_id", "X_USER-ID", "x.user.id", "x-user~id", "x!user-id"]
        {
            assert!(guard().guards(name.as_bytes()), "{name}");
        }
        for name in ["x-user-idx", "x-user", "xuserid", "x-user-ie", ":path", ""] {
            assert!(!guard().guards(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_name_that_a_client_repeats_is_removed_once() {
        let names = ["x-user-id", "a", "x-user-id", "x_user_id"];
        let request = Request::new(names.map(|name| (name.as_bytes(), &b"root"[..])));
        let expected = ["x-user-id", "x_user_id"].map(HeaderMutation::remove);
        assert_eq!(guard().removals(&request), expected);
    }

    #[test]
    fn a_name_that_cannot_be_guarded_is_refused() {
        for name in ["", ":path", "x user", "x-ü", "Host", "authorization", "Cookie", "-x"] {
            assert!(guard().add(name, "strip_headers[0]").is_err(), "{name}");
        }
    }
}
