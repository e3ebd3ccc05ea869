//! The trust boundary: headers that only the gate may set.

use crate::config::ConfigError;
use crate::request::Request;

/// Headers that carry meaning of their own for HTTP or Envoy. To overwrite or remove one of them would
/// break requests, not protect them.
const NOT_OURS: &[&str] = &[
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

/// The names that no client may send, folded as [`fold`] does.
#[derive(Debug, Default)]
pub struct Boundary {
    folded: Vec<Vec<u8>>,
}

impl Boundary {
    /// Guards `name`, written in `field` of the configuration.
    pub(crate) fn guard(&mut self, name: &str, field: &str) -> Result<(), ConfigError> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) || !name.bytes().all(token) {
            return Err(ConfigError::new(
                field,
                "is not a header name that can be used here: letters, digits, `-`, `_` and `.`",
            ));
        }
        if NOT_OURS.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)) {
            return Err(ConfigError::new(
                field,
                format!("`{name}` has a meaning of its own and cannot be used here"),
            ));
        }
        let folded: Vec<u8> = name.bytes().map(fold).collect();
        if !self.folded.contains(&folded) {
            self.folded.push(folded);
        }
        Ok(())
    }

    /// Whether some backend could read `name` as one of the guarded names.
    #[must_use]
    pub fn guards(&self, name: &[u8]) -> bool {
        self.folded.iter().any(|folded| {
            folded.len() == name.len() && folded.iter().zip(name).all(|(ours, byte)| *ours == fold(*byte))
        })
    }

    /// The names in `request` that are to be removed, each once.
    pub(crate) fn spoofed(&self, request: &Request) -> Vec<Vec<u8>> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        for name in request.names().filter(|name| self.guards(name)) {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        names
    }
}

/// A byte of a header name as the most forgiving backend reads it. CGI and WSGI upper-case names and turn
/// `-` into `_` (RFC 3875 §4.1.18); PHP turns `.` into `_` as well, and older Apaches whatever is no letter
/// and no digit.
pub(crate) fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boundary() -> Boundary {
        let mut boundary = Boundary::default();
        boundary.guard("x-user-id", "f").unwrap();
        boundary
    }

    #[test]
    fn every_spelling_that_a_backend_reads_as_the_name_is_guarded() {
        for name in
            ["x-user-id", "X-User-Id", "x_user_id", "X_USER-ID", "x.user.id", "x-user~id", "x!user-id"]
        {
            assert!(boundary().guards(name.as_bytes()), "{name}");
        }
        for name in ["x-user-idx", "x-user", "xuserid", "x-user-ie", ":path", ""] {
            assert!(!boundary().guards(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_spoofed_name_is_named_once_however_often_it_occurs() {
        let header = |name: &str| (name.to_owned(), b"root".to_vec());
        let request =
            Request::new(vec![header("x-user-id"), header("a"), header("x-user-id"), header("x_user_id")]);
        assert_eq!(boundary().spoofed(&request), [b"x-user-id", b"x_user_id"]);
    }

    #[test]
    fn a_name_that_cannot_be_guarded_is_refused() {
        for name in ["", ":path", "x user", "x-ü", "Host", "authorization", "Cookie", "-x"] {
            assert!(boundary().guard(name, "strip_headers[0]").is_err(), "{name}");
        }
    }
}
