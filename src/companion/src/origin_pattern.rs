//! A trusted origin, as `--trusted-origin` names it: one origin, several by a wildcard, or an app's own scheme.
//!
//! The forms are those of Better Auth's `trustedOrigins`. A pattern that would trust strangers is refused.

use url::{Origin, Url};

/// Whose pages, or whose app, may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPattern {
    /// `https://app.example.com`
    Exact(String),
    /// `https://*.preview.example.com`: an origin with wildcards.
    Wildcard(String),
    /// `*.preview.example.com`: a host, by http or https.
    Host(String),
    /// `myapp://`, `capacitor://localhost`, `exp://192.168.*.*:*/**`: what an app that is no web page sends.
    App(String),
}

impl OriginPattern {
    /// Reads one entry of `--trusted-origin`.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wild = text.contains(['*', '?']);
        let Some((scheme, rest)) = text.split_once("://") else {
            return if wild {
                check_host(text.strip_suffix('/').unwrap_or(text))
                    .map(|host| Self::Host(host.to_ascii_lowercase()))
            } else {
                Err("an origin begins with http:// or https://, or an app's own scheme".to_owned())
            };
        };
        let scheme = scheme.to_ascii_lowercase();
        match scheme.as_str() {
            "http" | "https" if wild => {
                let host = rest.strip_suffix('/').unwrap_or(rest);
                check_host(host)
                    .map(|host| Self::Wildcard(format!("{scheme}://{}", host.to_ascii_lowercase())))
            }
            "http" | "https" => exact(text).map(Self::Exact),
            "ftp" | "ws" | "wss" | "file" | "data" | "blob" | "javascript" | "about" => {
                Err(format!("{scheme}: has no pages of its own; name http, https or an app's own scheme"))
            }
            _ if is_scheme(&scheme) => Ok(Self::App(format!("{scheme}://{rest}"))),
            _ => Err("a scheme is letters, digits, +, - and ., without wildcards".to_owned()),
        }
    }

    /// Whether an `Origin` header's value is meant.
    pub fn matches_origin(&self, origin: &str) -> bool {
        match self {
            Self::Exact(trusted) => trusted == origin,
            Self::Wildcard(_) | Self::Host(_) => {
                // Only an origin as browsers write it: then there is nothing in it that could be read otherwise.
                let parsed = web_origin(origin).filter(|parsed| parsed.ascii_serialization() == origin);
                parsed.is_some_and(|parsed| self.matches_web(&parsed))
            }
            Self::App(_) => self.matches_app(origin),
        }
    }

    /// Whether a URL leads to such an origin.
    pub fn matches_url(&self, url: &str) -> bool {
        match self {
            Self::App(_) => self.matches_app(url),
            _ => web_origin(url).is_some_and(|origin| self.matches_web(&origin)),
        }
    }

    fn matches_web(&self, origin: &Origin) -> bool {
        let text = origin.ascii_serialization();
        match self {
            Self::Exact(trusted) => *trusted == text,
            Self::Wildcard(pattern) => matches(pattern.as_bytes(), text.as_bytes()),
            Self::Host(pattern) => {
                let host = text.split_once("://").map_or("", |(_, host)| host);
                matches(pattern.as_bytes(), host.as_bytes())
            }
            Self::App(_) => false,
        }
    }

    /// An app's URL begins with the pattern, or equals it up to its path.
    fn matches_app(&self, url: &str) -> bool {
        let Self::App(pattern) = self else { return false };
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return false;
        }
        if pattern.contains(['*', '?']) {
            return matches(pattern.as_bytes(), url.as_bytes());
        }
        let Some(rest) = url.strip_prefix(pattern.as_str()) else { return false };
        pattern.ends_with('/') || rest.is_empty() || rest.starts_with(['/', '?', '#'])
    }
}

fn exact(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let only_an_origin = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !only_an_origin || !url.username().is_empty() || url.password().is_some() {
        return Err("an origin has a scheme, a host and perhaps a port, and no path".to_owned());
    }
    Ok(url.origin().ascii_serialization())
}

fn web_origin(url: &str) -> Option<Origin> {
    let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    Some(url.origin())
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// A host with wildcards, and perhaps a port. Its fixed end names whose hosts they are, so it is a whole domain:
/// `*` alone, `app*` or `*.com` would trust strangers.
fn check_host(text: &str) -> Result<&str, String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-.*?".contains(&byte);
    let is_port =
        |port: &str| port == "*" || (!port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    if host.is_empty() || !host.bytes().all(is_host) || !port.is_none_or(is_port) {
        return Err("an origin with wildcards has a host and perhaps a port, and no path".to_owned());
    }
    if let Some(last) = host.rfind(['*', '?']) {
        let end = host.get(last.saturating_add(1)..).unwrap_or_default();
        let domain = end.strip_prefix('.').unwrap_or_default();
        let whole = domain == "localhost" || domain.split('.').filter(|label| !label.is_empty()).count() > 1;
        if !whole || domain.ends_with('.') {
            return Err("behind its last wildcard a host needs a domain of your own, such as *.example.com"
                .to_owned());
        }
    }
    Ok(text)
}

/// Whether `text` is what `pattern` describes: `?` is one character and `*` any number of them, but `/`; `**` is any number of
/// any. Linear in memory, at most quadratic in time, on texts that are short.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // The positions of `text` at which what was read of the pattern may end.
    let mut ends: Vec<bool> = std::iter::once(true).chain(text.iter().map(|_| false)).collect();
    let mut rest = pattern;
    while let Some((first, after)) = rest.split_first() {
        let (any_slash, many) = match (first, after.first()) {
            (b'*', Some(b'*')) => (true, true),
            (b'*', _) => (false, true),
            _ => (false, false),
        };
        let mut next = vec![false; ends.len()];
        let mut open = false;
        for (position, reached) in ends.iter().enumerate() {
            // `open`: the star began before, and goes on over the character before this position.
            let before = position.checked_sub(1).and_then(|index| text.get(index));
            if many {
                open = (open && before.is_some_and(|byte| any_slash || *byte != b'/')) || *reached;
                if let Some(slot) = next.get_mut(position) {
                    *slot = open;
                }
            } else if *reached {
                let fits =
                    text.get(position).is_some_and(|byte| byte == first || (*first == b'?' && *byte != b'/'));
                if fits && let Some(slot) = next.get_mut(position.saturating_add(1)) {
                    *slot = true;
                }
            }
        }
        ends = next;
        rest = if any_slash { after.get(1..).unwrap_or_default() } else { after };
    }
    ends.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusts(pattern: &str, origin: &str) -> bool {
        OriginPattern::parse(pattern)
            .unwrap_or_else(|error| panic!("{pattern}: {error}"))
            .matches_origin(origin)
    }

    #[test]
    fn wildcards_match_the_hosts_that_they_describe() {
        for (pattern, origin) in [
            ("https://*.preview.example.com", "https://pr-7.preview.example.com"),
            ("https://*.example.com", "https://a.b.example.com"),
            ("https://my-app-*.example.com", "https://my-app-42.example.com"),
            ("https://?.example.com", "https://a.example.com"),
            ("http://localhost:*", "http://localhost:5173"),
            ("http://*.localhost:*", "http://app.localhost:3000"),
            ("*.example.com", "https://a.example.com"),
            ("*.example.com", "http://a.example.com"),
            ("HTTPS://*.Example.com/", "https://a.example.com"),
            ("https://app.example.com", "https://app.example.com"),
            ("https://app.example.com:443/", "https://app.example.com"),
            ("myapp://", "myapp://"),
            ("myapp://", "myapp://callback"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("chrome-extension://abc", "chrome-extension://abc"),
            ("exp://192.168.*.*:*/**", "exp://192.168.1.20:8081/--/a/b"),
            ("exp://**", "exp://10.0.0.1:8081"),
        ] {
            assert!(trusts(pattern, origin), "{pattern} {origin}");
        }
    }

    #[test]
    fn and_no_others() {
        for (pattern, origin) in [
            ("https://*.preview.example.com", "https://preview.example.com"),
            ("https://*.preview.example.com", "http://a.preview.example.com"),
            ("https://*.preview.example.com", "https://a.preview.example.com:444"),
            ("https://*.preview.example.com", "https://a.preview.example.com.evil.example"),
            ("https://*.preview.example.com", "https://apreview.example.com"),
            ("https://*.example.com", "https://evil.com/.example.com"),
            ("https://*.example.com", "https://evil.com#.example.com"),
            ("https://*.example.com", "https://evil.com\\.example.com"),
            ("https://*.example.com", "https://a@b.example.com"),
            ("https://*.example.com", "https://A.example.com"),
            ("https://?.example.com", "https://ab.example.com"),
            ("*.example.com", "ftp://a.example.com"),
            ("*.example.com", "null"),
            ("http://localhost:*", "http://localhost.evil.example:1"),
            ("https://app.example.com", "null"),
            ("capacitor://localhost", "capacitor://localhost.evil"),
            ("myapp://", "myapp2://"),
            ("myapp://", "MYAPP://"),
            ("exp://192.168.*.*:*", "exp://192.168.1.2:80/a"),
            ("exp://**", "https://evil.example"),
        ] {
            assert!(!trusts(pattern, origin), "{pattern} {origin}");
        }
    }

    #[test]
    fn a_pattern_that_would_trust_strangers_is_refused() {
        for bad in [
            "*",
            "https://*",
            "https://*.com",
            "https://app*",
            "https://*example.com",
            "https://app.*",
            "http://192.168.*.*",
            "https://*.example.com/path",
            "https://u@*.example.com",
            "https://*.",
            "https://*..com",
            "https://a.example.com:4*",
            "*://app.example.com",
            "app.example.com",
            "ftp://a",
            "javascript://x",
            "file://",
            "null",
            "",
            "https://a/b",
            "https://a?x",
            "https://u:p@a",
            "1app://",
            "data://x",
        ] {
            assert!(OriginPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_url_is_judged_by_its_origin() {
        let pattern = OriginPattern::parse("https://*.example.com").unwrap();
        assert!(pattern.matches_url("https://a.example.com/b?c#d"));
        for other in [
            "https://evil.com/?.example.com",
            "https://evil.com\\@a.example.com",
            "//a.example.com",
            "/a",
            "a",
        ] {
            assert!(!pattern.matches_url(other), "{other}");
        }
        let app = OriginPattern::parse("myapp://").unwrap();
        assert!(app.matches_url("myapp://signed-in?x=1") && !app.matches_url("myapp://a\r\nb"));
    }
}
