//! Where a request holds its token, and how to take it off.

use std::borrow::Cow;
use std::sync::Arc;

use jwt_gate_token::{base64url_decode, json, position};

use crate::config::{ConfigError, HeaderLocation};
use crate::explanation::TokenPlace;
use crate::header_guard::is_header_name;
use crate::mutation::HeaderMutation;
use crate::path::PathAndQuery;
use crate::percent::percent_decoded;
use crate::request::{Request, eq_ignoring_case};

/// Where a provider's tokens may be, in the order in which they are looked for.
#[derive(Debug, Default)]
pub(crate) struct TokenSources {
    headers: Vec<HeaderSource>,
    cookies: Vec<String>,
    params: Vec<String>,
}

/// A header that may hold a token.
#[derive(Debug)]
struct HeaderSource {
    name: Arc<str>,
    prefix: String,
}

/// What the sources hold.
#[derive(Debug, PartialEq)]
pub(crate) enum Found<'request> {
    /// None of them holds a token.
    Nothing,
    /// The first one that holds any holds several different ones.
    Ambiguous,
    /// This.
    Token(Cow<'request, [u8]>),
}

// === impl TokenSources ===

impl TokenSources {
    /// The sources that are configured; where none is, `Authorization` with `Bearer `.
    pub(crate) fn new(
        mut headers: Vec<HeaderLocation>,
        cookies: Vec<String>,
        params: Vec<String>,
        field: &str,
    ) -> Result<Self, ConfigError> {
        if headers.is_empty() && cookies.is_empty() && params.is_empty() {
            let (name, value_prefix) = ("Authorization".to_owned(), "Bearer ".to_owned());
            headers.push(HeaderLocation { name, value_prefix });
        }
        for (index, header) in headers.iter().enumerate() {
            let field = |member: &str| format!("{field}.from_headers[{index}].{member}");
            let reserved = ["cookie", "host"].iter().any(|name| header.name.eq_ignore_ascii_case(name));
            if !is_header_name(&header.name) || reserved {
                return Err(ConfigError::new(field("name"), "is not a header that can hold a token"));
            }
            if header.value_prefix.contains(',')
                || header.value_prefix.starts_with(|c: char| c.is_ascii_whitespace())
            {
                let message =
                    "is never found: it holds a comma, which separates values, or begins with white space";
                return Err(ConfigError::new(field("value_prefix"), message));
            }
            if is_protocol_list(&header.name) && header.value_prefix.is_empty() {
                let message = "is needed: without it every protocol would be taken for a token";
                return Err(ConfigError::new(field("value_prefix"), message));
            }
        }
        // RFC 6265 §4.1.1: the name of a cookie is a token, as that of a header.
        if let Some(index) = cookies.iter().position(|name| !is_header_name(name)) {
            return Err(ConfigError::new(
                format!("{field}.from_cookies[{index}]"),
                "is not the name of a cookie",
            ));
        }
        let is_param = |name: &String| {
            !name.is_empty()
                && name.chars().all(|c| !c.is_control() && !c.is_whitespace() && !"&=#;".contains(c))
        };
        if let Some(index) = params.iter().position(|name| !is_param(name)) {
            let message = "is not the name of a query parameter";
            return Err(ConfigError::new(format!("{field}.from_params[{index}]"), message));
        }
        let lower = |HeaderLocation { name, value_prefix }| HeaderSource {
            name: name.to_ascii_lowercase().into(),
            prefix: value_prefix,
        };
        Ok(Self { headers: headers.into_iter().map(lower).collect(), cookies, params })
    }

    /// The names of the headers that may hold a token.
    pub(crate) fn header_names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|header| &*header.name)
    }

    /// Whether a cookie may hold the token.
    pub(crate) fn has_cookies(&self) -> bool {
        !self.cookies.is_empty()
    }

    /// The first place that holds a token, and what it holds; `None` if none does.
    pub(crate) fn locate<'request>(
        &self,
        request: &Request<'request>,
    ) -> Option<(TokenPlace, Found<'request>)> {
        let header =
            |header: &HeaderSource| (TokenPlace::Header(header.name.to_string()), in_header(request, header));
        let cookie = |name: &String| (TokenPlace::Cookie(name.clone()), in_cookie(request, name));
        let param = |name: &String| (TokenPlace::Parameter(name.clone()), in_query(request, name));
        let headers = self.headers.iter().map(header);
        let places = headers.chain(self.cookies.iter().map(cookie)).chain(self.params.iter().map(param));
        places.into_iter().find(|(_, found)| *found != Found::Nothing)
    }

    /// The first location that holds a token decides.
    pub(crate) fn find<'request>(&self, request: &Request<'request>) -> Found<'request> {
        let headers = self.headers.iter().map(|header| in_header(request, header));
        let cookies = self.cookies.iter().map(|name| in_cookie(request, name));
        let params = self.params.iter().map(|name| in_query(request, name));
        headers.chain(cookies).chain(params).find(|found| *found != Found::Nothing).unwrap_or(Found::Nothing)
    }
}

/// The tokens of `candidates`, which are one location's values: the same one twice is one.
fn one_of<'request>(candidates: impl Iterator<Item = Cow<'request, [u8]>>) -> Found<'request> {
    let mut found = Found::Nothing;
    for candidate in candidates.filter(|candidate| !candidate.is_empty()) {
        match &found {
            Found::Nothing => found = Found::Token(candidate),
            Found::Token(token) if *token == candidate => {}
            _ => return Found::Ambiguous,
        }
    }
    found
}

/// The values of a header, one by one: Envoy joins the values of some headers (`Authorization` among them)
/// with commas, and no token holds one.
fn pieces<'request>(request: &Request<'request>, name: &str) -> impl Iterator<Item = &'request [u8]> {
    request.values(name).flat_map(|value| {
        // Looking for a comma first is much faster than splitting, byte by byte, what holds none.
        let most = if position(value, b',').is_some() { usize::MAX } else { 1 };
        value.splitn(most, |byte| *byte == b',').map(<[u8]>::trim_ascii)
    })
}

fn in_header<'request>(request: &Request<'request>, header: &HeaderSource) -> Found<'request> {
    if is_protocol_list(&header.name) {
        let tokens = pieces(request, &header.name).filter_map(|piece| after_prefix(piece, &header.prefix));
        return one_of(tokens.map(Cow::Borrowed));
    }
    let mut holds_token = false;
    // A second value of another kind (`Basic …` beside `Bearer …`) is another identity, not a comment.
    let found = one_of(pieces(request, &header.name).map(|piece| {
        let token = after_prefix(piece, &header.prefix);
        holds_token |= token.is_some();
        Cow::Borrowed(token.unwrap_or(piece))
    }));
    // `one_of` stops where two differ, which may be before the token.
    let holds_token = holds_token || (found == Found::Ambiguous && holds(request, header));
    if holds_token { found } else { Found::Nothing }
}

/// Whether a header lists the subprotocols of a WebSocket (RFC 6455 §11.3.4). Browsers can set no other header on its
/// handshake, so clients put a token among them (`bearer.eyJ…, chat`); the others are no tokens, and stay.
fn is_protocol_list(name: &str) -> bool {
    name.eq_ignore_ascii_case("sec-websocket-protocol")
}

/// Whether the header holds a token.
fn holds(request: &Request, header: &HeaderSource) -> bool {
    // Where one stands at the beginning, as usual, it does not matter what follows; before a comma there is none.
    let first = request.first(&header.name).and_then(|value| after_prefix(value, &header.prefix));
    first.is_some_and(|token| !token.starts_with(b","))
        || pieces(request, &header.name).any(|piece| after_prefix(piece, &header.prefix).is_some())
}

/// What follows `prefix` in `value`, in whatever case the prefix is written; `None` where nothing does. A space at the end
/// of the prefix stands for any white space: backends split `Bearer<TAB>token` there too.
fn after_prefix<'value>(value: &'value [u8], prefix: &str) -> Option<&'value [u8]> {
    let (start, rest) = value.split_at_checked(prefix.len())?;
    let rest = rest.trim_ascii();
    let prefix = prefix.as_bytes();
    let is_prefix = eq_ignoring_case(start, prefix)
        || matches!((start, prefix), ([start @ .., b'\t'], [word @ .., b' ']) if start.eq_ignore_ascii_case(word));
    (is_prefix && !rest.is_empty()).then_some(rest)
}

/// The pairs of all `Cookie` headers as they stand between their semicolons (RFC 6265 §4.2.1).
fn cookie_pairs<'request>(request: &Request<'request>) -> impl Iterator<Item = &'request [u8]> {
    request.values("cookie").flat_map(|value| value.split(|byte| *byte == b';'))
}

fn in_cookie<'request>(request: &Request<'request>, name: &str) -> Found<'request> {
    let values = cookie_pairs(request).filter_map(|pair| {
        let (candidate, value) = split_pair(pair);
        (candidate == name.as_bytes()).then_some(Cow::Borrowed(unquoted(value)))
    });
    one_of(values)
}

/// A pair's name and value, without white space around them.
fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = pair.splitn(2, |byte| *byte == b'=');
    let name = parts.next().unwrap_or_default();
    (name.trim_ascii(), parts.next().unwrap_or_default().trim_ascii())
}

fn in_query<'request>(request: &Request<'request>, name: &str) -> Found<'request> {
    let query = PathAndQuery::new(request.target()).query.unwrap_or_default();
    let values = query.split(|byte| *byte == b'&').filter_map(|pair| {
        let (candidate, value) = split_pair(pair);
        (percent_decoded(candidate) == name.as_bytes()).then(|| percent_decoded(value))
    });
    one_of(values)
}

/// The mutations that take the tokens of a passing request off all `sources`, and leave every other byte of `Cookie` and
/// query. A cookie leaves where it holds one of `tokens`, or any other JWT: a backend may have a cookie of the same name.
pub(crate) fn strip_tokens(
    sources: &[&TokenSources],
    tokens: &[Cow<'_, [u8]>],
    request: &Request,
) -> Vec<HeaderMutation> {
    strip_tokens_where(sources, request, |value| {
        let value = unquoted(value);
        tokens.iter().any(|token| **token == *value) || is_jwt(value)
    })
}

/// The mutations that take everything that may be a token off a request that is refused, before an access log sees it.
pub(crate) fn strip_all_tokens(sources: &[&TokenSources], request: &Request) -> Vec<HeaderMutation> {
    strip_tokens_where(sources, request, |_| true)
}

fn strip_tokens_where(
    sources: &[&TokenSources],
    request: &Request,
    is_token: impl Fn(&[u8]) -> bool,
) -> Vec<HeaderMutation> {
    // As many as most requests take: the token leaves, a few headers come.
    let mut mutations = Vec::with_capacity(4);
    for header in sources.iter().flat_map(|sources| &sources.headers) {
        if holds(request, header)
            && !mutations.iter().any(|mutation: &HeaderMutation| mutation.name() == header.name.as_bytes())
        {
            mutations.push(without_token(sources, request, header));
        }
    }
    let is_cookie = |pair: &[u8]| {
        let (name, value) = split_pair(pair);
        sources.iter().any(|l| l.cookies.iter().any(|cookie| cookie.as_bytes() == name)) && is_token(value)
    };
    if cookie_pairs(request).any(is_cookie) {
        // Ambiguous fields become one, with the separator of RFC 9113 §8.2.3.
        let without = |field: &[u8]| {
            let pairs = field.split(|byte| *byte == b';').filter(|pair| !is_cookie(pair));
            pairs.collect::<Vec<_>>().join(&b';').trim_ascii().to_vec()
        };
        let fields = request.values("cookie").map(without).filter(|field| !field.is_empty());
        let value = fields.collect::<Vec<_>>().join(&b"; "[..]);
        mutations.push(if value.is_empty() {
            HeaderMutation::remove("cookie")
        } else {
            HeaderMutation::Set("cookie".into(), value.into())
        });
    }
    if let Some(target) = without_params(sources, request.target()) {
        mutations.push(HeaderMutation::Set(":path".into(), target.into()));
    }
    mutations
}

/// Takes the tokens of `sources` off a header that holds one.
fn without_token(sources: &[&TokenSources], request: &Request, header: &HeaderSource) -> HeaderMutation {
    if !is_protocol_list(&header.name) {
        return HeaderMutation::Remove(Arc::clone(&header.name).into());
    }
    let of_same_name = || {
        let headers = sources.iter().flat_map(|sources| &sources.headers);
        headers.filter(|other| other.name == header.name)
    };
    let kept: Vec<&[u8]> = pieces(request, &header.name)
        .filter(|piece| !of_same_name().any(|header| after_prefix(piece, &header.prefix).is_some()))
        .collect();
    if kept.is_empty() {
        HeaderMutation::Remove(Arc::clone(&header.name).into())
    } else {
        HeaderMutation::Set(Arc::clone(&header.name), kept.join(&b", "[..]).into())
    }
}

/// A cookie's value without the quotes that may stand around it (RFC 6265 §4.1.1).
fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

/// Whether `value` has the form of a JWT (RFC 7519 §3, RFC 7515 §3.1): three parts, of which the first is a header with an
/// `alg`. A Flask session has three parts too, but no such header.
fn is_jwt(value: &[u8]) -> bool {
    let mut parts = value.split(|byte| *byte == b'.');
    let (Some(header), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    base64url_decode(header)
        .and_then(|header| json::parse(&header).ok())
        .is_some_and(|header| header.get("alg").is_some())
}

/// `target` without the parameters that hold tokens; `None` where it has none of them.
pub(crate) fn without_params(sources: &[&TokenSources], target: &[u8]) -> Option<Vec<u8>> {
    let PathAndQuery { path, query } = PathAndQuery::new(target);
    let is_param = |pair: &&[u8]| {
        let name = percent_decoded(split_pair(pair).0);
        sources.iter().any(|sources| sources.params.iter().any(|param| param.as_bytes() == &*name))
    };
    let pairs: Vec<&[u8]> = query?.split(|byte| *byte == b'&').collect();
    if !pairs.iter().any(is_param) {
        return None;
    }
    let kept: Vec<&[u8]> = pairs.into_iter().filter(|pair| !is_param(pair)).collect();
    let mut target = path.to_vec();
    if !kept.is_empty() {
        target.push(b'?');
        target.append(&mut kept.join(&b'&'));
    }
    Some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(cookies: &[&str], params: &[&str]) -> TokenSources {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let header = HeaderLocation { name: "Authorization".into(), value_prefix: "Bearer ".into() };
        TokenSources::new(vec![header], own(cookies), own(params), "f").unwrap()
    }

    fn request<'test>(headers: &[(&'test str, &'test str)]) -> Request<'test> {
        Request::new(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    fn find(headers: &[(&str, &str)]) -> Result<Option<String>, ()> {
        match sources(&["session"], &["token"]).find(&request(headers)) {
            Found::Nothing => Ok(None),
            Found::Ambiguous => Err(()),
            Found::Token(token) => Ok(Some(String::from_utf8(token.into_owned()).unwrap())),
        }
    }

    fn token(text: &str) -> Result<Option<String>, ()> {
        Ok(Some(text.to_owned()))
    }

    #[test]
    fn the_bearer_scheme_is_read_in_any_case_and_nothing_else_is_a_bearer_token() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c ", "Bearer a.b.c, Bearer a.b.c"] {
            assert_eq!(find(&[("authorization", value)]), token("a.b.c"), "{value}");
        }
        for value in
            ["", "Bearer", "Bearer ", "Basic a.b.c", "Bearera.b.c", "a.b.c", "Digest a=\"b\", c=\"d\""]
        {
            assert_eq!(find(&[("authorization", value)]), Ok(None), "{value}");
        }
    }

    #[test]
    fn two_different_tokens_in_one_place_are_ambiguous_and_the_same_twice_is_not() {
        assert_eq!(find(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]), Err(()));
        assert_eq!(find(&[("authorization", "Bearer a,Bearer b")]), Err(()));
        assert_eq!(find(&[("authorization", "Bearer a"), ("Authorization", "Basic b")]), Err(()));
        assert_eq!(find(&[("authorization", "Bearer a"), ("authorization", "bearer a")]), token("a"));
        assert_eq!(find(&[("cookie", "session=a; session=b")]), Err(()));
        assert_eq!(find(&[("cookie", "session=a"), ("cookie", "x=1;session=b")]), Err(()));
        assert_eq!(find(&[("cookie", "session=a; session=a")]), token("a"));
        assert_eq!(find(&[(":path", "/?token=a&token=b")]), Err(()));
        assert_eq!(find(&[(":path", "/?token=a&%74oken=b")]), Err(()));
    }

    #[test]
    fn the_first_location_that_holds_a_token_decides() {
        let all = [("cookie", "session=c"), ("authorization", "Bearer h"), (":path", "/?token=p")];
        assert_eq!(find(&all), token("h"));
        assert_eq!(
            find(&[("cookie", "session=c"), ("authorization", "Basic h"), (":path", "/?token=p")]),
            token("c")
        );
        assert_eq!(find(&[("cookie", "session=; xsession=c"), (":path", "/?a=b&token=p#")]), token("p#"));
        assert_eq!(find(&[("cookie", "Session=c"), (":path", "/?Token=p")]), Ok(None));
        assert_eq!(find(&[("cookie", "a=\"b\"; session=\"q\"")]), token("q"));
        assert_eq!(find(&[(":path", "/?token=a%2Eb")]), token("a.b"));
    }

    #[test]
    fn taking_a_token_off_keeps_every_other_byte() {
        let take = |headers: &[(&str, &str)]| {
            strip_all_tokens(&[&sources(&["session"], &["token"])], &request(headers))
        };
        let set = |name: &str, value: &str| vec![HeaderMutation::Set(name.into(), value.as_bytes().into())];
        assert_eq!(take(&[("authorization", "Bearer a")]), [HeaderMutation::remove("authorization")]);
        assert_eq!(take(&[("authorization", "Basic a")]), []);
        assert_eq!(take(&[("cookie", "session=a")]), [HeaderMutation::remove("cookie")]);
        assert_eq!(take(&[("cookie", "a=1; session=x; b=\"2\";c")]), set("cookie", "a=1; b=\"2\";c"));
        assert_eq!(take(&[("cookie", "session=x; a=1")]), set("cookie", "a=1"));
        assert_eq!(take(&[("cookie", "a=1; session=")]), set("cookie", "a=1"));
        assert_eq!(take(&[("cookie", "a=1; xsession=x")]), []);
        let several = [("cookie", "a=1"), ("cookie", "session=x"), ("cookie", "b=2; c=3")];
        assert_eq!(take(&several), set("cookie", "a=1; b=2; c=3"));
        assert_eq!(take(&[(":path", "/a?token=x")]), set(":path", "/a"));
        assert_eq!(take(&[(":path", "/a?b=%20&token=x&&c=?")]), set(":path", "/a?b=%20&&c=?"));
        assert_eq!(take(&[(":path", "/a?%74oken=x&b")]), set(":path", "/a?b"));
        assert_eq!(take(&[(":path", "/token=x?b")]), []);
    }
    #[test]
    fn only_a_cookie_that_holds_a_token_leaves_a_request_that_passes() {
        let take = |cookie: &str| {
            let sources = sources(&["__Host-session", "session"], &[]);
            strip_tokens(&[&sources], &[Cow::Borrowed(b"a.b.c")], &request(&[("cookie", cookie)]))
        };
        let set = |value: &str| vec![HeaderMutation::Set("cookie".into(), value.as_bytes().into())];
        // A Flask session (itsdangerous): payload, time, signature.
        let flask = "session=eyJ1c2VyIjoxfQ.ZxYzAA.c2ln";
        assert_eq!(take(&format!("__Host-session=a.b.c; {flask}; a=1")), set(&format!("{flask}; a=1")));
        assert_eq!(take("__Host-session=\"a.b.c\"; a=1"), set("a=1"));
        assert_eq!(take("__Host-session=a.b.c; session=a.b.c"), [HeaderMutation::remove("cookie")]);
        // Another JWT could be taken for the one that was judged: {"alg":"HS256"}.
        assert_eq!(take("__Host-session=a.b.c; session=eyJhbGciOiJIUzI1NiJ9.e30.c2ln; a=1"), set("a=1"));
        assert_eq!(take("session=; a=1"), []);
    }

    #[test]
    fn the_token_among_websocket_protocols_is_the_one_with_the_prefix() {
        let header = HeaderLocation { name: "Sec-WebSocket-Protocol".into(), value_prefix: "bearer.".into() };
        let sources = TokenSources::new(vec![header], Vec::new(), Vec::new(), "f").unwrap();
        let asks = request(&[("sec-websocket-protocol", "chat, bearer.a.b.c, v2")]);
        assert_eq!(sources.find(&asks), Found::Token(Cow::Borrowed(b"a.b.c")));
        let kept = vec![HeaderMutation::Set("sec-websocket-protocol".into(), b"chat, v2"[..].into())];
        assert_eq!(strip_tokens(&[&sources], &[], &asks), kept);
        let without = request(&[("sec-websocket-protocol", "chat, v2")]);
        assert_eq!(sources.find(&without), Found::Nothing);
        let two = request(&[("sec-websocket-protocol", "bearer.a, bearer.b")]);
        assert_eq!(sources.find(&two), Found::Ambiguous);
    }

    #[test]
    fn authorization_is_the_default_only_where_no_location_is_given() {
        let sources = |cookies: &[&str]| {
            let cookies = cookies.iter().map(|name| (*name).to_owned()).collect();
            TokenSources::new(Vec::new(), cookies, Vec::new(), "f").unwrap()
        };
        let bearer = request(&[("authorization", "Bearer a.b.c")]);
        assert_eq!(sources(&[]).find(&bearer), Found::Token(Cow::Borrowed(b"a.b.c")));
        assert_eq!(sources(&["session"]).find(&bearer), Found::Nothing);
    }
}
