//! Where a request holds its token, and how to take it off.

use std::borrow::Cow;
use std::rc::Rc;

use jwt_gate_token::position;

use crate::config::{ConfigError, HeaderLocation};
use crate::policy::{Target, percent_decoded};
use crate::request::{Request, same_but_for_case};

/// Where a provider's tokens may be, in the order in which they are looked for.
#[derive(Debug, Default)]
pub(crate) struct Locations {
    headers: Vec<HeaderToken>,
    cookies: Vec<String>,
    params: Vec<String>,
}

/// A header that may hold a token.
#[derive(Debug)]
struct HeaderToken {
    name: Rc<str>,
    prefix: String,
}

/// What the locations hold.
#[derive(Debug, PartialEq)]
pub(crate) enum Found<'request> {
    /// None of them holds a token.
    Nothing,
    /// The first one that holds any holds several different ones.
    Several,
    /// This.
    Token(Cow<'request, [u8]>),
}

/// Something to change on the request before the backend receives it. Names and values are shared, so that a
/// token that was seen before costs no copy of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Remove every value of the header of this name.
    Remove(Rc<str>),
    /// Make this the only value of the header of this name.
    Set(Rc<str>, Rc<[u8]>),
}

// === impl Edit ===

impl Edit {
    /// Whether both set the same header.
    pub(crate) fn sets_what(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Set(one, _), Self::Set(another, _)) if one == another)
    }
}

// === impl Locations ===

impl Locations {
    pub(crate) fn new(
        headers: Vec<HeaderLocation>,
        cookies: Vec<String>,
        params: Vec<String>,
        field: &str,
    ) -> Result<Self, ConfigError> {
        for (index, header) in headers.iter().enumerate() {
            if header.name.is_empty()
                || header.name.starts_with(':')
                || header.name.eq_ignore_ascii_case("cookie")
            {
                let field = format!("{field}.from_headers[{index}].name");
                return Err(ConfigError::new(field, "is no header that can hold a token"));
            }
            if header.value_prefix.contains(',')
                || header.value_prefix.starts_with(|c: char| c.is_ascii_whitespace())
            {
                let field = format!("{field}.from_headers[{index}].value_prefix");
                let message =
                    "is never found: it holds a comma, which separates values, or begins with white space";
                return Err(ConfigError::new(field, message));
            }
        }
        for (list, names) in [("from_cookies", &cookies), ("from_params", &params)] {
            if let Some(index) =
                names.iter().position(|name| name.is_empty() || name.contains([';', '=', '&', ' ']))
            {
                return Err(ConfigError::new(
                    format!("{field}.{list}[{index}]"),
                    "is no name that can be used there",
                ));
            }
        }
        if headers.is_empty() && cookies.is_empty() && params.is_empty() {
            return Err(ConfigError::new(
                field,
                "has no location: from_headers, from_cookies or from_params is needed",
            ));
        }
        let lower = |HeaderLocation { name, value_prefix }| HeaderToken {
            name: name.to_ascii_lowercase().into(),
            prefix: value_prefix,
        };
        Ok(Self { headers: headers.into_iter().map(lower).collect(), cookies, params })
    }

    /// The names of the headers that may hold a token.
    pub(crate) fn header_names(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(|header| &*header.name)
    }

    /// The first location that holds a token decides.
    pub(crate) fn find<'request>(&self, request: &'request Request) -> Found<'request> {
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
            _ => return Found::Several,
        }
    }
    found
}

/// The values of a header, one by one: Envoy joins the values of some headers (`Authorization` among them)
/// with commas, and no token holds one.
fn pieces<'request>(request: &'request Request, name: &str) -> impl Iterator<Item = &'request [u8]> {
    request.values(name).flat_map(|value| {
        // Looking for a comma first is much faster than splitting, byte by byte, what holds none.
        let most = if position(value, b',').is_some() { usize::MAX } else { 1 };
        value.splitn(most, |byte| *byte == b',').map(<[u8]>::trim_ascii)
    })
}

fn in_header<'request>(request: &'request Request, header: &HeaderToken) -> Found<'request> {
    let mut holds_token = false;
    // A second value of another kind (`Basic …` beside `Bearer …`) is another identity, not a comment.
    let found = one_of(pieces(request, &header.name).map(|piece| {
        let token = after_prefix(piece, &header.prefix);
        holds_token |= token.is_some();
        Cow::Borrowed(token.unwrap_or(piece))
    }));
    // `one_of` stops where two differ, which may be before the token.
    let holds_token = holds_token || (found == Found::Several && holds(request, header));
    if holds_token { found } else { Found::Nothing }
}

/// Whether the header holds a token.
fn holds(request: &Request, header: &HeaderToken) -> bool {
    // Where one stands at the beginning, as usual, it does not matter what follows; before a comma there is none.
    let first = request.first(&header.name).and_then(|value| after_prefix(value, &header.prefix));
    first.is_some_and(|token| !token.starts_with(b","))
        || pieces(request, &header.name).any(|piece| after_prefix(piece, &header.prefix).is_some())
}

/// What follows `prefix` in `value`, in whatever case the prefix is written; `None` where nothing does.
fn after_prefix<'value>(value: &'value [u8], prefix: &str) -> Option<&'value [u8]> {
    let (start, rest) = value.split_at_checked(prefix.len())?;
    let rest = rest.trim_ascii();
    (same_but_for_case(start, prefix.as_bytes()) && !rest.is_empty()).then_some(rest)
}

/// The pairs of all `Cookie` headers as they stand between their semicolons (RFC 6265 §4.2.1).
fn cookie_pairs(request: &Request) -> impl Iterator<Item = &[u8]> {
    request.values("cookie").flat_map(|value| value.split(|byte| *byte == b';'))
}

fn in_cookie<'request>(request: &'request Request, name: &str) -> Found<'request> {
    let values = cookie_pairs(request).filter_map(|pair| {
        let (candidate, value) = split_pair(pair);
        let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        (candidate == name.as_bytes()).then_some(Cow::Borrowed(unquoted.unwrap_or(value)))
    });
    one_of(values)
}

/// A pair's name and value, without white space around them.
fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    let mut parts = pair.splitn(2, |byte| *byte == b'=');
    let name = parts.next().unwrap_or_default();
    (name.trim_ascii(), parts.next().unwrap_or_default().trim_ascii())
}

fn in_query<'request>(request: &'request Request, name: &str) -> Found<'request> {
    let query = Target::new(request.target()).query.unwrap_or_default();
    let values = query.split(|byte| *byte == b'&').filter_map(|pair| {
        let (candidate, value) = split_pair(pair);
        (percent_decoded(candidate) == name.as_bytes()).then(|| percent_decoded(value))
    });
    one_of(values)
}

/// The edits that take the tokens of all `locations` off the request, and leave every other byte of `Cookie`
/// and query.
pub(crate) fn take_off(locations: &[&Locations], request: &Request) -> Vec<Edit> {
    // As many as most requests take: the token leaves, a few headers come.
    let mut edits = Vec::with_capacity(4);
    for header in locations.iter().flat_map(|locations| &locations.headers) {
        let edit = Edit::Remove(Rc::clone(&header.name));
        if holds(request, header) && !edits.contains(&edit) {
            edits.push(edit);
        }
    }
    let is_cookie =
        |name: &[u8]| locations.iter().any(|l| l.cookies.iter().any(|cookie| cookie.as_bytes() == name));
    if cookie_pairs(request).any(|pair| is_cookie(split_pair(pair).0)) {
        // Several fields become one, with the separator of RFC 9113 §8.2.3.
        let without = |field: &[u8]| {
            let pairs = field.split(|byte| *byte == b';').filter(|pair| !is_cookie(split_pair(pair).0));
            pairs.collect::<Vec<_>>().join(&b';').trim_ascii().to_vec()
        };
        let fields = request.values("cookie").map(without).filter(|field| !field.is_empty());
        let value = fields.collect::<Vec<_>>().join(&b"; "[..]);
        edits.push(if value.is_empty() {
            Edit::Remove("cookie".into())
        } else {
            Edit::Set("cookie".into(), value.into())
        });
    }
    if let Some(target) = without_params(locations, request.target()) {
        edits.push(Edit::Set(":path".into(), target.into()));
    }
    edits
}

/// `target` without the parameters that hold tokens; `None` where it has none of them.
pub(crate) fn without_params(locations: &[&Locations], target: &[u8]) -> Option<Vec<u8>> {
    let Target { path, query } = Target::new(target);
    let is_param = |pair: &&[u8]| {
        let name = percent_decoded(split_pair(pair).0);
        locations.iter().any(|locations| locations.params.iter().any(|param| param.as_bytes() == &*name))
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

    fn locations(cookies: &[&str], params: &[&str]) -> Locations {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let header = HeaderLocation { name: "Authorization".into(), value_prefix: "Bearer ".into() };
        Locations::new(vec![header], own(cookies), own(params), "f").unwrap()
    }

    fn request(headers: &[(&str, &str)]) -> Request {
        Request::new(
            headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect(),
        )
    }

    fn find(headers: &[(&str, &str)]) -> Result<Option<String>, ()> {
        match locations(&["session"], &["token"]).find(&request(headers)) {
            Found::Nothing => Ok(None),
            Found::Several => Err(()),
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
        let take =
            |headers: &[(&str, &str)]| take_off(&[&locations(&["session"], &["token"])], &request(headers));
        let set = |name: &str, value: &str| vec![Edit::Set(name.into(), value.as_bytes().into())];
        assert_eq!(take(&[("authorization", "Bearer a")]), [Edit::Remove("authorization".into())]);
        assert_eq!(take(&[("authorization", "Basic a")]), []);
        assert_eq!(take(&[("cookie", "session=a")]), [Edit::Remove("cookie".into())]);
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
}
