//! The options of `serve`, from flags and environment.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};
use url::Url;

use crate::origin_pattern::OriginPattern;

/// The options of `jwt-gate-auth serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeOptions {
    /// Public listener: /api/auth and the pages. Port 0 takes any free one.
    #[arg(long, env = "JWT_GATE_LISTEN", default_value = "127.0.0.1:3000", value_name = "ADDRESS")]
    pub listen: SocketAddr,

    /// Private listener: /healthz, /readyz, /metrics, /internal/revocations. Keep it off the internet.
    #[arg(long, env = "JWT_GATE_PRIVATE_LISTEN", default_value = "127.0.0.1:3001", value_name = "ADDRESS")]
    pub private_listen: SocketAddr,

    /// Where accounts are kept.
    #[command(flatten)]
    pub store: StoreOptions,

    /// How people reach the companion.
    #[command(flatten)]
    pub site: SiteOptions,

    /// What is written into tokens.
    #[command(flatten)]
    pub token: TokenOptions,

    /// Who may make an account by signing up. With closed, only `users create` and `users import` make accounts.
    #[arg(long, env = "JWT_GATE_SIGN_UP", value_enum, default_value_t = SignUpMode::Open)]
    pub sign_up: SignUpMode,

    /// The bcrypt cost of new hashes; older ones with a lower cost are replaced at the next sign-in.
    #[arg(long, env = "JWT_GATE_BCRYPT_COST", default_value_t = 12, value_parser = clap::value_parser!(u32).range(4..=16))]
    pub bcrypt_cost: u32,

    /// Threads that do nothing but bcrypt. 0: one for each processor.
    #[arg(long, env = "JWT_GATE_BCRYPT_THREADS", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1024))]
    pub bcrypt_threads: u16,

    /// Passwords that may wait for each of those threads; more are refused with 503.
    #[arg(long, env = "JWT_GATE_BCRYPT_QUEUE", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub bcrypt_queue: u16,

    /// Sign-ins and sign-ups that one address may try in a minute, all at once if it likes. 0: without limit.
    #[arg(long, env = "JWT_GATE_THROTTLE_ADDRESS", default_value_t = 60, value_name = "PER_MINUTE", value_parser = clap::value_parser!(u32).range(0..=60_000))]
    pub throttle_address: u32,

    /// Passwords that one address may try on one account in a minute. 0: without limit.
    #[arg(long, env = "JWT_GATE_THROTTLE_ACCOUNT", default_value_t = 10, value_name = "PER_MINUTE", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub throttle_account: u32,

    /// How many connections each port keeps open at once; more wait to be accepted.
    #[arg(long, env = "JWT_GATE_MAX_CONNECTIONS", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,

    /// How long a client may take over a request's head or body, and between two requests. Let Envoy's own
    /// idle timeout for this cluster be shorter.
    #[arg(long, env = "JWT_GATE_CLIENT_TIMEOUT_SECONDS", default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub client_timeout_seconds: u32,

    /// How long requests under way may take to end after SIGTERM or SIGINT. The process ends a second later at the latest,
    /// or at once with a second signal.
    #[arg(long, env = "JWT_GATE_SHUTDOWN_SECONDS", default_value_t = 8, value_name = "SECONDS")]
    pub shutdown_seconds: u32,

    /// How log lines on stderr look.
    #[arg(long, env = "JWT_GATE_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug, trace, or a tracing-subscriber filter.
    #[arg(long, env = "JWT_GATE_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
}

/// Where accounts are kept.
#[derive(Debug, Clone, Args)]
pub struct StoreOptions {
    /// sqlite:PATH (made if absent) or postgres://USER:PASSWORD@HOST/DATABASE.
    #[arg(
        long,
        env = "DATABASE_URL",
        default_value = "sqlite:jwt-gate.db",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub database_url: String,

    /// The most connections to PostgreSQL.
    #[arg(long, env = "JWT_GATE_DATABASE_CONNECTIONS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub database_connections: u32,
}

/// The session cookie's name without `__Host-`.
pub const DEFAULT_COOKIE_NAME: &str = "jwt-gate";

/// How people reach the companion.
#[derive(Debug, Clone, Args)]
pub struct SiteOptions {
    /// The origin that people see in their browser, such as https://app.example.com. With https the cookie's
    /// name begins with `__Host-`, and it is Secure. Unset: whatever host the request names, over http.
    #[arg(long, env = "JWT_GATE_PUBLIC_URL", value_parser = parse_origin, value_name = "URL")]
    pub public_url: Option<Url>,

    /// The session cookie's name, to which https adds `__Host-`. The gate's `from_cookies` names the same.
    #[arg(long, env = "JWT_GATE_COOKIE_NAME", default_value = DEFAULT_COOKIE_NAME, value_parser = parse_cookie_name, value_name = "NAME")]
    pub cookie_name: String,

    /// Further origins whose pages may call with the cookie (CORS), separated by commas. With wildcards
    /// (https://*.preview.example.com) and apps' own schemes (myapp://), as Better Auth has them.
    #[arg(long = "trusted-origin", env = "JWT_GATE_TRUSTED_ORIGINS", value_delimiter = ',', value_parser = OriginPattern::parse, value_name = "URL")]
    pub trusted_origins: Vec<OriginPattern>,

    /// How many proxies in front add to X-Forwarded-For: 1 for an Envoy, 0 where clients connect directly.
    #[arg(long, env = "JWT_GATE_TRUSTED_HOPS", default_value_t = 1, value_name = "N")]
    pub trusted_hops: u8,
}

/// What is written into tokens.
#[derive(Debug, Clone, Args)]
pub struct TokenOptions {
    /// The tokens' `iss`.
    #[arg(long, env = "JWT_GATE_ISSUER", default_value = "jwt-gate")]
    pub issuer: String,

    /// The tokens' `aud`; none by default.
    #[arg(long, env = "JWT_GATE_AUDIENCE", value_parser = parse_audience)]
    pub audience: Option<String>,

    /// How long a token lives: 7 days by default.
    #[arg(long, env = "JWT_GATE_LIFETIME_SECONDS", default_value_t = 604_800, value_parser = clap::value_parser!(u32).range(1..=315_360_000), value_name = "SECONDS")]
    pub lifetime_seconds: u32,
}

/// Who may make an account by signing up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum SignUpMode {
    /// Everybody.
    #[default]
    Open,
    /// Nobody.
    Closed,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

fn parse_origin(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let only_an_origin = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    match url.scheme() {
        _ if !only_an_origin || !url.username().is_empty() || url.password().is_some() => {
            Err("an origin has a scheme, a host and perhaps a port, and no path".to_owned())
        }
        "http" | "https" => Ok(url),
        _ => Err("an origin begins with http:// or https://".to_owned()),
    }
}

/// A cookie's name is a token (RFC 6265 §4.1.1).
fn parse_cookie_name(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("__host-") || lower.starts_with("__secure-") {
        return Err("the prefix is added where --public-url is https; leave it out".to_owned());
    }
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(is_token) {
        return Err("a cookie's name has 1 to 64 letters, digits and !#$%&'*+-.^_`|~".to_owned());
    }
    Ok(text.to_owned())
}

fn parse_audience(text: &str) -> Result<String, String> {
    if text == jwt_gate_token::INTERNAL_AUDIENCE {
        Err(format!("{text} is the gates' own audience"))
    } else {
        Ok(text.to_owned())
    }
}

impl SiteOptions {
    /// Whether people reach the site by https.
    pub fn is_https(&self) -> bool {
        self.public_url.as_ref().is_some_and(|url| url.scheme() == "https")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_no_path_and_is_http_or_https() {
        for good in ["https://app.example.com", "http://127.0.0.1:8080", "http://localhost:8080/"] {
            assert!(parse_origin(good).is_ok(), "{good}");
        }
        for bad in ["app.example.com", "https://a/b", "https://a?x", "ftp://a", "https://u:p@a", "null", ""] {
            assert!(parse_origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cookies_name_is_a_token_without_a_prefix() {
        for good in ["jwt-gate", "session", "better-auth.session_token", "a"] {
            assert!(parse_cookie_name(good).is_ok(), "{good}");
        }
        let long = "a".repeat(65);
        for bad in ["", "a b", "a=b", "a;b", "é", "a\r\nb", "__Host-a", "__secure-a", &long] {
            assert!(parse_cookie_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_gates_audience_is_not_for_users() {
        assert!(parse_audience("jwt-gate/internal").is_err());
        assert!(parse_audience("api").is_ok());
    }
}
