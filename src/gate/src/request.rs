//! A request as the policy sees it: its headers, as bytes.

use jwt_gate_token::same;

/// The headers of one request, Envoy's pseudo-headers (`:path`, `:method`) among them, in order, as the
/// bytes they arrived in: nothing says that they are UTF-8.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// As the host writes them: see [`Request::from_map`]. Nothing is copied out of it.
    map: Vec<u8>,
    /// Whether something follows the headers.
    has_body: bool,
}

impl Request {
    /// A request with these headers.
    #[must_use]
    pub fn new(headers: Vec<(String, Vec<u8>)>) -> Self {
        let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
        let mut map = number(headers.len()).to_vec();
        for (name, value) in &headers {
            map.extend(number(name.len()).into_iter().chain(number(value.len())));
        }
        for (name, value) in &headers {
            map.extend(name.bytes().chain([0]).chain(value.iter().copied()).chain([0]));
        }
        Self { map, has_body: false }
    }

    /// The same request with a body, or without one.
    #[must_use]
    pub fn with_body(self, has_body: bool) -> Self {
        Self { has_body, ..self }
    }

    /// The headers as the proxy-wasm ABI hands them over
    /// (<https://github.com/proxy-wasm/spec/tree/main/abi-versions/v0.2.1#serialization>): how many there are,
    /// the length of each name and value, then each of them and a NUL, numbers as 32 bits, the lowest first.
    /// `None` where the bytes are not that.
    #[must_use]
    pub fn from_map(map: Vec<u8>) -> Option<Self> {
        if !map.is_empty() {
            let mut headers = Headers::of(&map)?;
            // Were one of them cut short, those after it would not be seen.
            while headers.lengths.len() > 0 {
                headers.next()?;
            }
            if !headers.rest.is_empty() {
                return None;
            }
        }
        Some(Self { map, has_body: false })
    }

    fn headers(&self) -> Headers<'_> {
        Headers::of(&self.map).unwrap_or(Headers { lengths: [].iter(), rest: &[] })
    }

    /// Every header's name, as often as it occurs.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.headers().map(|(name, _)| name)
    }

    /// Every value of the header `name`; case does not matter.
    pub fn values<'request>(&'request self, name: &str) -> impl Iterator<Item = &'request [u8]> {
        let is_it = move |(candidate, _): &(&[u8], &[u8])| same_but_for_case(candidate, name.as_bytes());
        self.headers().filter(is_it).map(|(_, value)| value)
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

/// The headers that are left of a map.
struct Headers<'map> {
    /// A name's length and a value's, for each.
    lengths: std::slice::Iter<'map, [u8; 8]>,
    /// The names and values themselves.
    rest: &'map [u8],
}

impl<'map> Headers<'map> {
    fn of(map: &'map [u8]) -> Option<Self> {
        let (count, rest) = map.split_first_chunk()?;
        let (lengths, rest) = rest.split_at_checked(size(*count)?.checked_mul(8)?)?;
        Some(Self { lengths: lengths.as_chunks().0.iter(), rest })
    }

    /// The next name or value, which a NUL follows.
    fn part(&mut self, length: usize) -> Option<&'map [u8]> {
        let (part, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest.split_first()?.1;
        Some(part)
    }
}

impl<'map> Iterator for Headers<'map> {
    type Item = (&'map [u8], &'map [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let [a, b, c, d, e, f, g, h] = *self.lengths.next()?;
        Some((self.part(size([a, b, c, d])?)?, self.part(size([e, f, g, h])?)?))
    }
}

/// Whether both are the same in whatever case. Nearly always they are in the same one, and eight bytes are looked at
/// at once: HTTP/2 knows lower case alone (RFC 9113 §8.2), into which Envoy turns the names of HTTP/1.1.
pub(crate) fn same_but_for_case(one: &[u8], other: &[u8]) -> bool {
    same(one, other) || one.eq_ignore_ascii_case(other)
}

fn size(number: [u8; 4]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(number)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &[u8])]) -> Request {
        Request::new(headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect())
    }

    #[test]
    fn headers_arrive_as_the_abi_writes_them() {
        let map = |lengths: &[u32], text: &[u8]| {
            let count = u32::try_from(lengths.len() / 2).unwrap().to_le_bytes();
            let lengths = lengths.iter().flat_map(|length| length.to_le_bytes());
            Request::from_map(count.into_iter().chain(lengths).chain(text.iter().copied()).collect())
        };
        let request = map(&[1, 2, 3, 0, 1, 1], b"a\0x\xff\0b-c\0\0A\0z\0").unwrap();
        assert_eq!(request.names().collect::<Vec<_>>(), [&b"a"[..], b"b-c", b"A"]);
        assert_eq!(request.values("a").collect::<Vec<_>>(), [&b"x\xff"[..], b"z"]);
        assert_eq!(request.first("B-C"), Some(&b""[..]));
        assert_eq!(Request::from_map(Vec::new()).unwrap().names().count(), 0);
        for (lengths, text) in
            [(&[1, 1][..], &b"a\0b"[..]), (&[1, 9], b"a\0b\0"), (&[u32::MAX; 2], b"a\0b\0")]
        {
            assert!(map(lengths, text).is_none());
        }
        assert!(Request::from_map(vec![0xff; 4]).is_none() && Request::from_map(vec![1]).is_none());
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
