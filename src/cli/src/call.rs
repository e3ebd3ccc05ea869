//! A request that a person describes, as the gate sees it.

use jwt_gate::Policy;
use jwt_gate::Request;
use jwt_gate::config::{Config, Provider};
use serde_json::{Map, Value, json};

/// The host of a request that names none.
const DEFAULT_HOST: &str = "localhost";

/// How long a token is valid for whose claims do not say so, in seconds.
const DEFAULT_LIFETIME_SECONDS: u64 = 3600;

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) target: String,
    /// The headers, names in lower case, without pseudo-headers.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) scheme: String,
    pub(crate) host: Option<String>,
    pub(crate) has_body: bool,
}

/// Who makes it.
#[derive(Debug, Clone)]
pub(crate) enum Credentials {
    None,
    Token(String),
    /// The claims of a token that is signed for the provider.
    Claims(Map<String, Value>),
}

impl Call {
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            scheme: "https".to_owned(),
            host: None,
            has_body: false,
        }
    }

    /// Reads `GET /path`, or the path alone.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text.trim().split_once(char::is_whitespace) {
            Some((method, target)) => Ok(Self::new(method, target.trim_start())),
            None if text.trim().starts_with('/') => Ok(Self::new("GET", text.trim())),
            None => Err(format!("`{text}` is no request: write it as in 'GET /path'")),
        }
    }

    /// Adds a header that is written `name: value`.
    pub(crate) fn add_line(&mut self, line: &str) -> Result<(), String> {
        let (name, value) = line
            .split_once(':')
            .filter(|(name, _)| !name.trim().is_empty())
            .ok_or_else(|| format!("`{}` is no header: write it as in 'name: value'", shortened(line)))?;
        self.add(name.trim(), value.trim());
        Ok(())
    }

    /// Adds a header. `Host` is `:authority` to Envoy.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        let name = name.to_ascii_lowercase();
        if name == "host" {
            self.host = Some(value.to_owned());
        } else {
            self.headers.push((name, value.to_owned()));
        }
    }

    /// Puts the token of `credentials` where `provider` looks for it first.
    pub(crate) fn authenticate(
        &mut self,
        credentials: &Credentials,
        provider: Option<&str>,
        policy: &Policy,
        config: &Config,
        now: f64,
    ) -> Result<(), String> {
        let token = match credentials {
            Credentials::None => return Ok(()),
            Credentials::Token(token) => {
                let name = chosen(provider, None, config)?;
                return self.place(token, &config.providers[name]);
            }
            Credentials::Claims(claims) => {
                let name = chosen(provider, claims.get("iss"), config)?;
                let claims = completed(claims, &config.providers[name], now);
                let token = policy.sign(name, &claims).ok_or("a token cannot hold these claims")?;
                (name, token)
            }
        };
        self.place(&token.1, &config.providers[token.0])
    }

    fn place(&mut self, token: &str, provider: &Provider) -> Result<(), String> {
        let Provider { from_headers, from_cookies, from_params, .. } = provider;
        match (from_headers.first(), from_cookies.first(), from_params.first()) {
            (Some(header), ..) => self.add(&header.name, &format!("{}{token}", header.value_prefix)),
            (None, Some(cookie), _) => self.add("cookie", &format!("{cookie}={token}")),
            (None, None, Some(parameter)) => {
                let separator = if self.target.contains('?') { '&' } else { '?' };
                self.target.push_str(&format!("{separator}{parameter}={token}"));
            }
            (None, None, None) => self.add("authorization", &format!("Bearer {token}")),
        }
        Ok(())
    }

    /// Every header, pseudo-headers first, as Envoy hands them to the gate.
    pub(crate) fn all_headers(&self) -> Vec<(String, String)> {
        let host = self.host.as_deref().unwrap_or(DEFAULT_HOST);
        let pseudo = [
            (":authority", host),
            (":path", &self.target),
            (":method", &self.method),
            (":scheme", &self.scheme),
        ];
        let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value.to_owned()));
        pseudo.into_iter().chain(self.headers.iter().cloned()).collect()
    }
}

/// `headers` as the gate takes them.
pub(crate) fn request(headers: &[(String, String)], has_body: bool) -> Request<'_> {
    let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    Request::new(headers).with_body(has_body)
}

/// The provider of this name; else the one of this issuer, or the only one.
fn chosen<'config>(
    name: Option<&str>,
    issuer: Option<&Value>,
    config: &'config Config,
) -> Result<&'config str, String> {
    let all = || config.providers.keys().map(String::as_str);
    let listed = || all().collect::<Vec<_>>().join(", ");
    if let Some(name) = name {
        let known = all().find(|known| *known == name);
        return known.ok_or_else(|| format!("there is no provider `{name}`; there are: {}", listed()));
    }
    let has_issuer = |provider: &Provider| {
        issuer
            .is_some_and(|issuer| issuer.as_str() == provider.issuer.as_deref() && provider.issuer.is_some())
    };
    let of_issuer: Vec<&str> =
        config.providers.iter().filter(|(_, one)| has_issuer(one)).map(|(name, _)| name.as_str()).collect();
    match (of_issuer.as_slice(), all().collect::<Vec<_>>().as_slice()) {
        ([only], _) | (_, [only]) => Ok(only),
        _ => Err(format!("whose token is it? Name the provider; there are: {}", listed())),
    }
}

/// `claims` with what the provider's tokens always have; `null` leaves a claim out.
fn completed(claims: &Map<String, Value>, provider: &Provider, now: f64) -> Map<String, Value> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    let now = now as u64;
    let lifetime = match provider.max_lifetime_seconds {
        0 => DEFAULT_LIFETIME_SECONDS,
        most => most.min(DEFAULT_LIFETIME_SECONDS),
    };
    let mut all = Map::new();
    all.extend(provider.issuer.as_ref().map(|issuer| ("iss".to_owned(), json!(issuer))));
    all.extend(provider.audiences.first().map(|audience| ("aud".to_owned(), json!(audience))));
    all.insert("iat".to_owned(), json!(now));
    all.insert("exp".to_owned(), json!(now.saturating_add(lifetime)));
    all.extend(claims.iter().map(|(name, value)| (name.clone(), value.clone())));
    all.retain(|name, value| !(value.is_null() && claims.contains_key(name)));
    all
}

fn shortened(text: &str) -> String {
    // It may hold a token.
    text.chars().take(12).chain("…".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_method_and_a_target() {
        assert_eq!(Call::parse("POST /a?b=c d"), Ok(Call::new("POST", "/a?b=c d")));
        assert_eq!(Call::parse(" /a "), Ok(Call::new("GET", "/a")));
        assert!(Call::parse("GET").is_err() && Call::parse("").is_err());
        let mut call = Call::new("GET", "/");
        assert!(
            call.add_line("Bearer eyJhbGciOiJIUzI1NiJ9.e30.x").is_err_and(|error| !error.contains("e30"))
        );
        call.add_line("Host: a.test:80").unwrap();
        call.add_line("X-A:  b:c ").unwrap();
        assert_eq!(
            (call.host.as_deref(), &call.headers[..]),
            (Some("a.test:80"), &[("x-a".into(), "b:c".into())][..])
        );
    }
}
