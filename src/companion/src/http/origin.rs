//! Cross-site request forgery: state-changing calls that rely on a cookie come from our own pages.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use url::Url;

use crate::http::problem::Problem;
use crate::origin_pattern::OriginPattern;
use crate::settings::SiteOptions;

/// Whose pages may call.
#[derive(Debug, Clone)]
pub struct TrustedOrigins {
    public: Option<String>,
    others: Vec<OriginPattern>,
}

impl TrustedOrigins {
    /// The public URL's origin and the further ones of `site`.
    pub fn new(site: &SiteOptions) -> Self {
        let origin = |url: &Url| url.origin().ascii_serialization();
        Self { public: site.public_url.as_ref().map(origin), others: site.trusted_origins.clone() }
    }

    /// Whether the public URL is known.
    pub fn has_public(&self) -> bool {
        self.public.is_some()
    }

    /// Whether there are origins other than the public one, whose browsers ask for CORS.
    pub fn has_others(&self) -> bool {
        !self.others.is_empty()
    }

    /// Whether pages of `origin`, another one than the public one, may call.
    pub fn trusts_other(&self, origin: &HeaderValue) -> bool {
        origin.to_str().is_ok_and(|origin| self.others.iter().any(|trusted| trusted.matches_origin(origin)))
    }

    /// Checks `Origin` of a state-changing call. An origin that is named must be trusted, with a cookie or
    /// without: otherwise any page could sign its visitor in as somebody else. Where none is named, the
    /// call must not rely on a cookie; browsers name it on every such call (Fetch §3.2).
    ///
    /// # Errors
    /// 403 `untrusted_origin`.
    pub fn check(&self, headers: &HeaderMap, relies_on_cookie: bool) -> Result<(), Problem> {
        let refused = |detail: &'static str| Problem::new(StatusCode::FORBIDDEN, "untrusted_origin", detail);
        let mut origins = headers.get_all(header::ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) if relies_on_cookie => {
                Err(refused("A call that relies on a cookie needs the Origin header of a trusted page."))
            }
            (None, _) => Ok(()),
            (Some(origin), None) if origin.to_str().is_ok_and(|origin| self.trusts(origin, headers)) => {
                Ok(())
            }
            _ => Err(refused("The page that made this call is not of a trusted origin.")),
        }
    }

    /// Whether `url` leads to a trusted page, or to the site itself.
    pub fn trusts_url(&self, url: &str, headers: &HeaderMap) -> bool {
        let own = Url::parse(url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .is_some_and(|url| self.is_own(&url.origin().ascii_serialization(), headers));
        own || self.others.iter().any(|trusted| trusted.matches_url(url))
    }

    fn trusts(&self, origin: &str, headers: &HeaderMap) -> bool {
        self.others.iter().any(|trusted| trusted.matches_origin(origin)) || self.is_own(origin, headers)
    }

    /// Whether `origin` is the site's own.
    fn is_own(&self, origin: &str, headers: &HeaderMap) -> bool {
        match &self.public {
            Some(public) => public == origin,
            // Without a public URL: the host that the browser believes to talk to, which a page of
            // another site cannot choose.
            None => {
                let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
                origin.split_once("://").is_some_and(|(_, of_page)| Some(of_page) == host)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(public: Option<&str>, others: &[&str]) -> TrustedOrigins {
        TrustedOrigins {
            public: public.map(str::to_owned),
            others: others.iter().map(|origin| OriginPattern::parse(origin).unwrap()).collect(),
        }
    }

    fn headers(host: &'static str, origin: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static(host));
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        headers
    }

    #[test]
    fn a_cookie_counts_only_with_a_trusted_origin() {
        let site = origins(Some("https://app.example"), &["http://localhost:5173"]);
        for (origin, cookie, good) in [
            (Some("https://app.example"), true, true),
            (Some("http://localhost:5173"), true, true),
            (None, true, false),
            (None, false, true),
            (Some("null"), true, false),
            (Some("https://evil.example"), true, false),
            (Some("https://evil.example"), false, false),
            (Some("http://app.example"), true, false),
            (Some("https://app.example.evil"), true, false),
            (Some("https://app.example:444"), true, false),
        ] {
            let checked = site.check(&headers("app.example", origin), cookie);
            assert_eq!(checked.is_ok(), good, "{origin:?} {cookie}");
        }
    }

    #[test]
    fn without_a_public_url_the_host_of_the_request_is_trusted() {
        let site = origins(None, &[]);
        assert!(site.check(&headers("127.0.0.1:8080", Some("http://127.0.0.1:8080")), true).is_ok());
        assert!(site.check(&headers("127.0.0.1:8080", Some("http://127.0.0.1:9")), true).is_err());
        assert!(site.check(&headers("127.0.0.1:8080", Some("null")), true).is_err());
    }

    #[test]
    fn two_origins_are_none() {
        let mut both = headers("app.example", Some("https://app.example"));
        both.append(header::ORIGIN, HeaderValue::from_static("https://evil.example"));
        assert!(origins(Some("https://app.example"), &[]).check(&both, false).is_err());
    }
}
