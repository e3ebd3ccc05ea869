//! The session cookie.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::app::App;
use crate::settings::SiteOptions;
use crate::store::Session;

/// How the session cookie is named and marked.
#[derive(Debug, Clone)]
pub struct CookieStyle {
    name: String,
    secure: bool,
}

impl CookieStyle {
    /// The cookie of a site. Under https it is `Secure` and its name begins with `__Host-`: browsers accept such
    /// a cookie from the host itself only, never from a sibling domain or over http (RFC 6265bis §4.1.3.2).
    pub fn new(site: &SiteOptions) -> Self {
        let secure = site.is_https();
        let prefix = if secure { "__Host-" } else { "" };
        Self { name: format!("{prefix}{}", site.cookie_name), secure }
    }

    /// The cookie's name, prefix included.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `Set-Cookie` for a token; without a lifetime the cookie ends with the browser.
    pub fn set(&self, token: &str, lifetime_seconds: Option<i64>) -> Option<HeaderValue> {
        let age = lifetime_seconds.map(|seconds| format!("; Max-Age={seconds}")).unwrap_or_default();
        HeaderValue::from_str(&format!("{}={token}; {}{age}", self.name(), self.attributes())).ok()
    }

    /// `Set-Cookie` that takes the cookie away.
    pub fn clear(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&format!("{}=; {}; Max-Age=0", self.name(), self.attributes())).ok()
    }

    fn attributes(&self) -> &'static str {
        if self.secure { "HttpOnly; SameSite=Lax; Path=/; Secure" } else { "HttpOnly; SameSite=Lax; Path=/" }
    }

    /// The session cookie's value in a request, read as the gate reads it: byte by byte, since other cookies may hold
    /// any bytes, and without quotes around it. Two different ones are `Err`: somebody planted one.
    pub fn read<'request>(&self, headers: &'request HeaderMap) -> Result<Option<&'request str>, Ambiguous> {
        let mut found = None;
        let pairs = headers.get_all(header::COOKIE).iter().flat_map(|value| pairs(value.as_bytes()));
        for (_, value) in pairs.filter(|(name, value)| *name == self.name.as_bytes() && !value.is_empty()) {
            if found.is_some_and(|other| other != value) {
                return Err(Ambiguous);
            }
            found = Some(value);
        }
        Ok(found.map(text_or_garbage))
    }
}

/// Response headers for an answer that holds a token: the cookie, and `no-store`.
pub(super) fn signed_in_headers(app: &App, token: &str, session: &Session) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // The time that is left, or the exact lifetime of a session that has just begun.
    let left_ms = session.expires_at.saturating_sub(app.accounts.clock.now_ms()).max(0);
    let left_seconds = left_ms.saturating_add(999) / 1000;
    if let Some(cookie) = app.cookie.set(token, session.remember.then_some(left_seconds)) {
        headers.insert(header::SET_COOKIE, cookie);
    }
    // Where clients with Better Auth's bearer plugin look.
    if let Ok(token) = HeaderValue::from_str(token) {
        headers.insert("set-auth-token", token);
    }
    headers
}

/// The headers that take the cookie away.
pub(super) fn cleared(app: &App) -> HeaderMap {
    app.cookie.clear().map(|cookie| (header::SET_COOKIE, cookie)).into_iter().collect()
}

/// The names and values of a `Cookie` header.
fn pairs(header: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    header.split(|byte| *byte == b';').filter_map(|pair| {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let (name, value) = (parts.next()?.trim_ascii(), parts.next()?.trim_ascii());
        let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        Some((name, unquoted.unwrap_or(value)))
    })
}

/// A token is ASCII. Other bytes are judged as a token that is malformed.
pub fn text_or_garbage(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("\u{fffd}")
}

/// Two different session cookies in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ambiguous;

#[cfg(test)]
mod tests {
    use super::*;

    fn style(public_url: Option<&str>, cookie_name: &str) -> CookieStyle {
        CookieStyle::new(&SiteOptions {
            public_url: public_url.map(|url| url.parse().unwrap()),
            cookie_name: cookie_name.to_owned(),
            trusted_origins: Vec::new(),
            trusted_hops: 1,
        })
    }

    fn cookies(values: &[&'static [u8]]) -> HeaderMap {
        values.iter().map(|value| (header::COOKIE, HeaderValue::from_bytes(value).unwrap())).collect()
    }

    #[test]
    fn the_cookie_is_secure_and_bound_to_the_host_under_https() {
        let https = style(Some("https://app.example"), "jwt-gate").set("t", Some(60)).unwrap();
        assert_eq!(https, "__Host-jwt-gate=t; HttpOnly; SameSite=Lax; Path=/; Secure; Max-Age=60");
        let http = style(None, "jwt-gate");
        assert_eq!(http.set("t", None).unwrap(), "jwt-gate=t; HttpOnly; SameSite=Lax; Path=/");
        assert_eq!(http.clear().unwrap(), "jwt-gate=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0");
    }

    #[test]
    fn the_cookie_is_found_among_others_and_two_different_ones_are_ambiguous() {
        let style = style(None, "session");
        let read =
            |values: &[&'static [u8]]| style.read(&cookies(values)).map(|value| value.map(str::to_owned));
        let x = Ok(Some("x".to_owned()));
        assert_eq!(read(&[b"a=1; session=x; xsession=y", b"b=2"]), x);
        assert_eq!(read(&[b"a=1", b"session=x; session=x"]), x);
        assert_eq!(read(&[b"a=1;session=\"x\"; session = x"]), x);
        assert_eq!(read(&[b"session=; a"]), Ok(None));
        assert_eq!(read(&[b"session=x", b"session=y"]), Err(Ambiguous));
    }

    #[test]
    fn another_cookies_bytes_do_not_hide_it() {
        let style = style(None, "session");
        for other in [&b"city=M\xc3\xbcnchen"[..], b"city=\xff", b"\xff", b"a=\tb", b"\xe9=\xe9"] {
            for text in [[other, b"; session=x"].concat(), [b"session=x; ", other].concat()] {
                let mut headers = HeaderMap::new();
                headers.insert(header::COOKIE, HeaderValue::from_bytes(&text).unwrap());
                assert_eq!(style.read(&headers), Ok(Some("x")), "{text:?}");
            }
        }
        assert_eq!(style.read(&cookies(&[b"session=\xff", b"session=x"])), Err(Ambiguous));
        assert_eq!(style.read(&cookies(&[b"session=\xff"])), Ok(Some("\u{fffd}")));
    }
}
