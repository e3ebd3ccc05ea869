//! A request as the policy sees it: its headers, as bytes.

use jwt_gate_token::same;

/// One request: its headers, Envoy's pseudo-headers (`:path`, `:method`) among them, in order, as the bytes that the host
/// holds. Nothing says that they are UTF-8, and nothing is copied.
#[derive(Debug, Clone, Default)]
pub struct Request<'host> {
    headers: Vec<(&'host [u8], &'host [u8])>,
    /// Whether something follows the headers.
    has_body: bool,
}

impl<'host> Request<'host> {
    /// A request with these headers, each a name and a value, and without a body.
    #[must_use]
    pub fn new(headers: impl IntoIterator<Item = (&'host [u8], &'host [u8])>) -> Self {
        Self { headers: headers.into_iter().collect(), has_body: false }
    }

    /// The same request with a body, or without one.
    #[must_use]
    pub fn with_body(self, has_body: bool) -> Self {
        Self { has_body, ..self }
    }

    /// Every header's name, as often as it occurs.
    pub fn names(&self) -> impl Iterator<Item = &'host [u8]> {
        self.headers.iter().map(|(name, _)| *name)
    }

    /// Every value of the header `name`; case does not matter.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'host [u8]> {
        let has_name = move |(candidate, _): &&(&[u8], &[u8])| eq_ignoring_case(candidate, name.as_bytes());
        self.headers.iter().filter(has_name).map(|(_, value)| *value)
    }

    /// The first value of the header `name`.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&'host [u8]> {
        self.values(name).next()
    }

    /// The method; empty where there is none.
    #[must_use]
    pub fn method(&self) -> &'host [u8] {
        self.first(":method").unwrap_or_default()
    }

    /// The request target: path and query; empty where there is none (a plain `CONNECT`).
    #[must_use]
    pub fn target(&self) -> &'host [u8] {
        self.first(":path").unwrap_or_default()
    }

    /// Whether Envoy takes this for gRPC, by its own rule: the content type is `application/grpc`, or that and `+`, in
    /// lower case (`Grpc::Common::isGrpcRequestHeaders`).
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        self.first("content-type")
            .and_then(|value| value.strip_prefix(b"application/grpc"))
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'+')))
    }

    /// Whether this is a CORS preflight as browsers send it (<https://fetch.spec.whatwg.org/#cors-preflight-request>): with
    /// neither body nor credentials.
    #[must_use]
    pub fn is_cors_preflight(&self) -> bool {
        let given = |name| self.first(name).is_some_and(|value| !value.is_empty());
        self.method() == b"OPTIONS"
            && given("origin")
            && given("access-control-request-method")
            && !self.has_body
            && self.first("authorization").is_none()
            && self.first("cookie").is_none()
    }

    /// Whether a browser asks for a page to show to a person: a `GET` that accepts HTML, and neither a call by a script
    /// (`X-Requested-With`, `HX-Request`), nor a prefetch, nor a page inside another one.
    #[must_use]
    pub fn is_navigation(&self) -> bool {
        let is = |name: &str, expected: &[u8]| self.first(name).is_none_or(|value| value == expected);
        let prefetches = |name| self.values(name).any(|value| contains(value, b"prefetch"));
        self.method() == b"GET"
            && is("sec-fetch-mode", b"navigate")
            && is("sec-fetch-dest", b"document")
            && self.first("x-requested-with").is_none()
            && self.first("hx-request").is_none()
            && !["sec-purpose", "purpose", "x-purpose", "x-moz"].into_iter().any(prefetches)
            && self.values("accept").any(|value| value.split(|byte| *byte == b',').any(accepts_html))
    }
}

/// Whether a media range of `Accept` is HTML with a weight above zero (RFC 9110 §12.4.2, §12.5.1).
fn accepts_html(range: &[u8]) -> bool {
    let mut parts = range.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let is_html = parts.next().is_some_and(|media| media.eq_ignore_ascii_case(b"text/html"));
    let is_zero = |parameter: &[u8]| {
        let Some((name, [b'=', weight @ ..])) = parameter.split_at_checked(1) else { return false };
        name.eq_ignore_ascii_case(b"q") && weight.iter().all(|byte| b"0.".contains(byte))
    };
    is_html && !parts.any(is_zero)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window.eq_ignore_ascii_case(part))
}

/// Whether two names are equal in whatever case. Nearly always they are equal as they are: HTTP/2 knows lower case alone
/// (RFC 9113 §8.2), into which Envoy turns the names of HTTP/1.1.
pub(crate) fn eq_ignoring_case(one: &[u8], other: &[u8]) -> bool {
    same(one, other) || one.eq_ignore_ascii_case(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request<'test>(headers: &[(&'test str, &'test [u8])]) -> Request<'test> {
        Request::new(headers.iter().map(|(name, value)| (name.as_bytes(), *value)))
    }

    #[test]
    fn grpc_is_told_by_its_content_type_alone() {
        for (value, expected) in [
            (&b"application/grpc"[..], true),
            (b"application/grpc+proto", true),
            (b"Application/GRPC", false),
            (b"application/grpc;charset=utf-8", false),
            (b"application/grpc ", false),
            (b"application/grpc-web", false),
            (b"application/json", false),
            (b"application/grp\xff", false),
        ] {
            assert_eq!(request(&[("content-type", value)]).is_grpc(), expected);
        }
    }

    #[test]
    fn a_navigation_is_a_get_for_html() {
        let html = &b"text/html,application/xhtml+xml;q=0.9"[..];
        assert!(request(&[(":method", b"GET"), ("accept", html)]).is_navigation());
        assert!(
            request(&[(":method", b"GET"), ("accept", html), ("sec-fetch-mode", b"navigate")])
                .is_navigation()
        );
        for other in [
            &[(":method", &b"POST"[..]), ("accept", html)][..],
            &[(":method", b"GET"), ("accept", b"*/*")],
            &[(":method", b"GET"), ("accept", b"text/htmlx")],
            &[(":method", b"GET"), ("accept", b"\xff\xfe")],
            &[(":method", b"GET"), ("accept", html), ("sec-fetch-mode", b"cors")],
            &[(":method", b"GET"), ("accept", html), ("sec-fetch-dest", b"iframe")],
            &[(":method", b"GET"), ("accept", html), ("sec-purpose", b"prefetch;prerender")],
            &[(":method", b"GET"), ("accept", html), ("purpose", b"prefetch")],
            &[
                (":method", b"GET"),
                ("accept", b"text/html, */*; q=0.01"),
                ("x-requested-with", b"XMLHttpRequest"),
            ],
            &[(":method", b"GET"), ("accept", html), ("hx-request", b"true")],
            &[(":method", b"GET"), ("accept", b"text/html;q=0, */*")],
            &[(":method", b"GET"), ("accept", b"text/html; Q=0.000")],
            &[(":method", b"GET")],
        ] {
            assert!(!request(other).is_navigation());
        }
    }

    #[test]
    fn a_preflight_has_all_three_marks() {
        let marks: &[(&str, &[u8])] =
            &[(":method", b"OPTIONS"), ("origin", b"https://a"), ("access-control-request-method", b"GET")];
        assert!(request(marks).is_cors_preflight());
        for missing in 0..marks.len() {
            let mut fewer = marks.to_vec();
            fewer.remove(missing);
            assert!(!request(&fewer).is_cors_preflight());
        }
        assert!(!request(marks).with_body(true).is_cors_preflight());
        for credentials in ["authorization", "cookie"] {
            let with = [marks, &[(credentials, b"x")]].concat();
            assert!(!request(&with).is_cors_preflight(), "{credentials}");
        }
    }
}
