//! A request as the policy sees it: its headers, as bytes.

/// The headers of one request, Envoy's pseudo-headers (`:path`, `:method`) among them, in order, as the
/// bytes they arrived in: nothing says that they are UTF-8.
#[derive(Debug, Clone, Default)]
pub struct Request {
    headers: Vec<(String, Vec<u8>)>,
}

impl Request {
    /// A request with these headers.
    #[must_use]
    pub fn new(headers: Vec<(String, Vec<u8>)>) -> Self {
        Self { headers }
    }

    /// Every header's name, as often as it occurs.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|(name, _)| name.as_str())
    }

    /// Every value of the header `name`; case does not matter.
    pub fn values<'request>(&'request self, name: &str) -> impl Iterator<Item = &'request [u8]> {
        self.headers
            .iter()
            .filter(move |(candidate, _)| candidate.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }

    /// The first value of the header `name`.
    #[must_use]
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// The method; empty where there is none.
    #[must_use]
    pub fn method(&self) -> &[u8] {
        self.first(":method").unwrap_or_default()
    }

    /// The request target: path and query; empty where there is none (a plain `CONNECT`).
    #[must_use]
    pub fn target(&self) -> &[u8] {
        self.first(":path").unwrap_or_default()
    }

    /// Whether the caller speaks gRPC.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        const GRPC: &[u8] = b"application/grpc";
        self.first("content-type").is_some_and(|value| {
            value.get(..GRPC.len()).is_some_and(|start| start.eq_ignore_ascii_case(GRPC))
                && matches!(value.get(GRPC.len()), None | Some(b'+' | b';' | b' '))
        })
    }

    /// Whether this is a CORS preflight (<https://fetch.spec.whatwg.org/#cors-preflight-request>).
    #[must_use]
    pub fn is_cors_preflight(&self) -> bool {
        let given = |name| self.first(name).is_some_and(|value| !value.is_empty());
        self.method() == b"OPTIONS" && given("origin") && given("access-control-request-method")
    }

    /// Whether a browser asks for a page to show: a `GET` that accepts HTML and, where the browser says what
    /// it is about (`Sec-Fetch-Mode`), navigates.
    #[must_use]
    pub fn is_navigation(&self) -> bool {
        self.method() == b"GET"
            && self.first("sec-fetch-mode").is_none_or(|mode| mode == b"navigate")
            && self.values("accept").any(|value| {
                value.split(|byte| *byte == b',').any(|range| {
                    let media = range.split(|byte| *byte == b';').next().unwrap_or_default();
                    media.trim_ascii().eq_ignore_ascii_case(b"text/html")
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &[u8])]) -> Request {
        Request::new(headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect())
    }

    #[test]
    fn grpc_is_told_by_its_content_type_alone() {
        for (value, expected) in [
            (&b"application/grpc"[..], true),
            (b"application/grpc+proto", true),
            (b"Application/GRPC;x=y", true),
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
    }
}
