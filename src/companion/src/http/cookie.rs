//! The session cookie.

use axum::http::{HeaderMap, HeaderValue, header};

/// How the session cookie is named and marked.
#[derive(Debug, Clone)]
pub struct CookieStyle {
    secure: bool,
}

impl CookieStyle {
    /// For a site that people reach by https, or not.
    pub fn new(public_url_is_https: bool) -> Self {
        Self { secure: public_url_is_https }
    }

    /// `session`, or `__Host-session` where the cookie is `Secure`: with the prefix, a browser takes it
    /// from nobody else (RFC 6265bis §4.1.3.2).
    pub fn name(&self) -> &'static str {
        if self.secure { "__Host-session" } else { "session" }
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

    /// The session cookie's value in a request. Two different ones are `Err`: somebody planted one.
    pub fn read<'request>(&self, headers: &'request HeaderMap) -> Result<Option<&'request str>, Ambiguous> {
        let mut found = None;
        let pairs = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        for (_, value) in pairs.filter(|(name, value)| *name == self.name() && !value.is_empty()) {
            if found.is_some_and(|other| other != value) {
                return Err(Ambiguous);
            }
            found = Some(value);
        }
        Ok(found)
    }
}

/// Two different session cookies in one request.
#[derive(Debug, PartialEq, Eq)]
pub struct Ambiguous;

#[cfg(test)]
mod tests {
    use super::*;

    fn cookies(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (header::COOKIE, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_cookie_is_secure_and_bound_to_the_host_under_https() {
        let https = CookieStyle::new(true).set("t", Some(60)).unwrap();
        assert_eq!(https, "__Host-session=t; HttpOnly; SameSite=Lax; Path=/; Secure; Max-Age=60");
        let http = CookieStyle::new(false);
        assert_eq!(http.set("t", None).unwrap(), "session=t; HttpOnly; SameSite=Lax; Path=/");
        assert_eq!(http.clear().unwrap(), "session=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0");
    }

    #[test]
    fn the_cookie_is_found_among_others_and_two_different_ones_are_ambiguous() {
        let style = CookieStyle::new(false);
        assert_eq!(style.read(&cookies(&["a=1; session=x; xsession=y", "b=2"])), Ok(Some("x")));
        assert_eq!(style.read(&cookies(&["a=1", "session=x; session=x"])), Ok(Some("x")));
        assert_eq!(style.read(&cookies(&["session=; a"])), Ok(None));
        assert_eq!(style.read(&cookies(&["session=x", "session=y"])), Err(Ambiguous));
    }
}
