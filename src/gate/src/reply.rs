//! What a caller who is turned away receives.

use std::sync::Arc;

use serde_json::json;

use crate::config::{ConfigError, SignInRedirect};
use crate::deny_reason::DenyReason;
use crate::path::{PathAndQuery, is_canonical};
use crate::percent::percent_encoded;
use crate::request::Request;
use crate::token_sources::{TokenSources, without_params};

/// How long a caller should wait until a stale revocation list may be fresh again, in seconds.
const RETRY_AFTER_SECONDS: &str = "1";

/// The protection space that `WWW-Authenticate` names (RFC 9110 §11.5).
const REALM: &str = "jwt-gate";

/// The longest target that a sign-in page is asked to return to, in bytes.
const MAX_RETURN_BYTES: usize = 2048;

/// An answer in place of the backend's. To a gRPC caller Envoy turns its status into the one of gRPC (401 into
/// UNAUTHENTICATED, 403 into PERMISSION_DENIED, 503 into UNAVAILABLE) and its body into `grpc-message`, exactly as for
/// `jwt_authn`; where Envoy does not take the request for gRPC, the same answer is a refusal in plain HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status code.
    pub status: u32,
    /// The headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

impl Reply {
    /// The answer to a request that the gate cannot decide.
    #[must_use]
    pub fn unavailable() -> Self {
        let headers = vec![("cache-control", "no-store".to_owned())];
        Self { status: 503, headers, body: String::new() }
    }
}

/// How to answer those who are turned away.
#[derive(Debug)]
pub(crate) struct Replies {
    stripped: bool,
    sign_in: Option<SignIn>,
}

/// The replies that a worker has written so far, by reason and by whether they are for gRPC, so that a flood of bad requests
/// does not write JSON.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<((DenyReason, bool), Arc<Reply>)>);

#[derive(Debug)]
struct SignIn {
    url: String,
    return_param: String,
}

// === impl Replies ===

impl Replies {
    pub(crate) fn new(stripped: bool, redirect: Option<SignInRedirect>) -> Result<Self, ConfigError> {
        Ok(Self { stripped, sign_in: redirect.map(SignIn::new).transpose()? })
    }

    /// The answer to `request`, turned away for `code`. `sources` are where tokens may be: a redirect
    /// does not carry them on.
    pub(crate) fn to(
        &self,
        request: &Request<'_>,
        code: DenyReason,
        sources: &[&TokenSources],
        problems: &mut Problems,
    ) -> Arc<Reply> {
        let is_grpc = request.is_grpc();
        if let Some(sign_in) = &self.sign_in
            && signing_in_helps(code)
            && !is_grpc
            && request.is_navigation()
            && let Some(location) = sign_in.location(request, sources)
        {
            let headers = vec![("location", location), ("cache-control", "no-store".to_owned())];
            return Arc::new(Reply { status: 302, headers, body: String::new() });
        }
        if let Some((_, reply)) = problems.0.iter().find(|(known, _)| *known == (code, is_grpc)) {
            return Arc::clone(reply);
        }
        let reply = Arc::new(self.problem(code, is_grpc));
        problems.0.push(((code, is_grpc), Arc::clone(&reply)));
        reply
    }

    /// `application/problem+json` (RFC 9457), or a sentence for gRPC, and the challenge of RFC 6750 §3.
    fn problem(&self, code: DenyReason, is_grpc: bool) -> Reply {
        let mut headers = vec![("cache-control", "no-store".to_owned())];
        if code.status() == 503 {
            headers.push(("retry-after", RETRY_AFTER_SECONDS.to_owned()));
        }
        if let Some(challenge) = self.challenge(code) {
            headers.push(("www-authenticate", challenge));
        }
        if self.stripped || is_grpc {
            let body = if self.stripped { "" } else { code.description() };
            return Reply { status: code.status(), headers, body: body.to_owned() };
        }
        headers.push(("content-type", "application/problem+json".to_owned()));
        let title = match code.status() {
            401 => "Unauthorized",
            503 => "Service Unavailable",
            _ => "Forbidden",
        };
        let body = json!({
            "type": "about:blank",
            "title": title,
            "status": code.status(),
            "code": code.as_str(),
            "detail": code.description(),
        });
        Reply { status: code.status(), headers, body: body.to_string() }
    }

    fn challenge(&self, code: DenyReason) -> Option<String> {
        let realm = format!("Bearer realm=\"{REALM}\"");
        match code.challenge_error() {
            // A 401 always has a challenge (RFC 9110 §15.5.2).
            _ if self.stripped => (code.status() == 401).then_some(realm),
            None => (code == DenyReason::MissingToken).then_some(realm),
            Some(error) => {
                Some(format!("{realm}, error=\"{error}\", error_description=\"{}\"", code.description()))
            }
        }
    }
}

/// Whether signing in again can help: a token that is good but not for this place would send its owner in circles.
fn signing_in_helps(code: DenyReason) -> bool {
    use jwt_gate_token::Refusal::{Expired, Revoked};
    matches!(code, DenyReason::MissingToken | DenyReason::Token(Expired | Revoked))
}

// === impl SignIn ===

impl SignIn {
    fn new(SignInRedirect { url, return_param }: SignInRedirect) -> Result<Self, ConfigError> {
        let local = url.starts_with('/') && !url.starts_with("//") && !url.starts_with("/\\");
        // Behind a `#` the way back would be part of the fragment, which no server sees.
        let usable = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        if !(local || url.starts_with("https://")) || !url.bytes().all(usable) {
            let message = "must be a path on this host, as in /sign-in, or an https:// URL";
            return Err(ConfigError::new("sign_in_redirect.url", message));
        }
        let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        if return_param.is_empty() || !return_param.bytes().all(name) {
            return Err(ConfigError::new("sign_in_redirect.return_param", "must be a plain parameter name"));
        }
        Ok(Self { url, return_param })
    }

    /// The sign-in page with the way back; `None` for the page itself, which would be sent in circles.
    fn location(&self, request: &Request, sources: &[&TokenSources]) -> Option<String> {
        let target = request.target();
        let own_path = PathAndQuery::new(self.url.as_bytes()).path;
        if PathAndQuery::new(target).path == own_path {
            return None;
        }
        let target = without_params(sources, target).unwrap_or_else(|| target.to_vec());
        let separator = if self.url.contains('?') { '&' } else { '?' };
        Some(format!(
            "{}{separator}{}={}",
            self.url,
            self.return_param,
            percent_encoded(safe_return(&target), "/")
        ))
    }
}

/// `target` where a browser is sure to read it as a path on this host, else `/`. A canonical path cannot
/// start with `//` or `/\`, which browsers read as another host.
fn safe_return(target: &[u8]) -> &[u8] {
    let path = PathAndQuery::new(target).path;
    let printable = target.iter().all(u8::is_ascii_graphic);
    if is_canonical(path) && printable && target.len() <= MAX_RETURN_BYTES { target } else { b"/" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jwt_gate_token::Refusal;

    fn replies(url: Option<&str>) -> Replies {
        let redirect = url.map(|url| SignInRedirect { url: url.to_owned(), return_param: "next".to_owned() });
        Replies::new(false, redirect).unwrap()
    }

    fn navigation(path: &str) -> Request<'_> {
        let headers = [(":method", "GET"), (":path", path), ("accept", "text/html")];
        Request::new(headers.map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    fn answer(replies: &Replies, request: &Request<'_>, reason: DenyReason) -> Arc<Reply> {
        replies.to(request, reason, &[], &mut Problems::default())
    }

    fn location(reply: Arc<Reply>) -> Option<String> {
        let Reply { status, headers, .. } = Arc::unwrap_or_clone(reply);
        let location = headers.into_iter().find(|(name, _)| *name == "location").map(|(_, value)| value);
        location.filter(|_| status == 302)
    }

    fn redirect(path: &str) -> Option<String> {
        location(answer(&replies(Some("/sign-in")), &navigation(path), DenyReason::MissingToken))
    }

    #[test]
    fn a_browser_is_sent_to_sign_in_with_the_way_back() {
        assert_eq!(redirect("/a/b?c=d&e").as_deref(), Some("/sign-in?next=/a/b%3Fc%3Dd%26e"));
        let elsewhere = replies(Some("https://login.example/x?y=z"));
        let reply = answer(&elsewhere, &navigation("/a"), DenyReason::Token(Refusal::Expired));
        assert_eq!(location(reply).as_deref(), Some("https://login.example/x?y=z&next=/a"));
    }

    #[test]
    fn the_way_back_never_leads_to_another_host() {
        for path in [
            "//evil.example",
            "/\\evil.example",
            "https://evil.example/",
            "/a/..//evil",
            "/a\r\nx: y",
            "",
            "*",
        ] {
            assert_eq!(redirect(path).as_deref(), Some("/sign-in?next=/"), "{path}");
        }
        let long = format!("/{}", "a".repeat(MAX_RETURN_BYTES));
        assert_eq!(redirect(&long).as_deref(), Some("/sign-in?next=/"));
    }

    #[test]
    fn nobody_is_sent_in_circles_or_away_from_a_403() {
        assert_eq!(redirect("/sign-in"), None);
        assert_eq!(redirect("/sign-in?next=/"), None);
        for code in DenyReason::ALL {
            let helps = ["missing_token", "expired", "revoked"].contains(&code.as_str());
            let sent = location(answer(&replies(Some("/s")), &navigation("/a"), code)).is_some();
            assert_eq!(sent, helps, "{code:?}");
        }
    }

    #[test]
    fn a_sign_in_url_that_could_lead_astray_is_refused() {
        for url in
            ["", "sign-in", "//evil", "/\\evil", "http://plain", "javascript:alert(1)", "/a\nb", "/a#b"]
        {
            let redirect = SignInRedirect { url: url.to_owned(), return_param: "next".to_owned() };
            assert!(Replies::new(false, Some(redirect)).is_err(), "{url}");
        }
    }

    #[test]
    fn every_code_has_its_status_challenge_and_body() {
        for code in DenyReason::ALL {
            let reply = answer(&replies(None), &navigation("/"), code);
            let Reply { status, headers, body } = Arc::unwrap_or_clone(reply);
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(
                (body["code"].as_str(), body["status"].as_u64()),
                (Some(code.as_str()), Some(status.into()))
            );
            let challenge =
                headers.iter().find(|(name, _)| *name == "www-authenticate").map(|(_, value)| value);
            assert_eq!(
                challenge.is_some(),
                !matches!(code, DenyReason::NoRule | DenyReason::RevocationStale)
            );
            let error = challenge.is_some_and(|challenge| challenge.contains("error="));
            assert_eq!(
                error,
                !matches!(code, DenyReason::MissingToken | DenyReason::NoRule | DenyReason::RevocationStale)
            );
            assert!(headers.contains(&("cache-control", "no-store".to_owned())));
        }
    }

    #[test]
    fn a_stripped_refusal_says_only_that_it_is_one() {
        let replies = Replies::new(true, None).unwrap();
        let reply = answer(&replies, &navigation("/"), DenyReason::Token(Refusal::Expired));
        let headers = vec![
            ("cache-control", "no-store".to_owned()),
            ("www-authenticate", "Bearer realm=\"jwt-gate\"".to_owned()),
        ];
        assert_eq!(*reply, Reply { status: 401, headers, body: String::new() });
        let grpc = Request::new([(&b"content-type"[..], &b"application/grpc"[..])]);
        assert_eq!(answer(&replies, &grpc, DenyReason::Token(Refusal::Expired)), reply);
    }
}
