use std::process::ExitCode;
use std::time::Duration;

use axum::http::{Request, header};
use clap::Args;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::Url;

use super::Done;
use crate::app::keyring_from_environment;
use crate::clock;
use crate::http::cookie::CookieStyle;
use crate::settings::{SiteOptions, StoreOptions};
use crate::store::{Kind, Store, StoreError};

/// How long Envoy may take to answer.
const ENVOY_TIMEOUT: Duration = Duration::from_secs(5);
/// More of Envoy's answer is not read.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// Clocks further apart than this are worth a word; the gate allows 60 seconds by default.
const MAX_CLOCK_DIFFERENCE_SECONDS: i64 = 5;

#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    site: SiteOptions,
    /// Envoy's admin endpoint, such as http://127.0.0.1:9901; without it Envoy is not asked.
    #[arg(long, env = "JWT_GATE_ENVOY_ADMIN", value_name = "URL")]
    envoy_admin: Option<Url>,
}

/// What was found, line by line.
#[derive(Default)]
struct Findings {
    failed: bool,
}

impl Findings {
    fn good(&self, what: &str, finding: &str) {
        println!("ok    {what}: {finding}");
    }

    fn doubtful(&self, what: &str, finding: &str) {
        println!("warn  {what}: {finding}");
    }

    fn bad(&mut self, what: &str, finding: &str) {
        self.failed = true;
        println!("FAIL  {what}: {finding}");
    }
}

pub(super) fn run(doctor: &Doctor) -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    let mut findings = Findings::default();
    let kids = check_secrets(&mut findings);
    check_cookie(&doctor.site, &findings);
    runtime.block_on(async {
        check_store(&doctor.store, &mut findings).await;
        match &doctor.envoy_admin {
            Some(admin) => check_envoy(admin, &kids, &mut findings).await,
            None => findings.doubtful("envoy", "not asked; name its admin endpoint with --envoy-admin"),
        }
    });
    Ok(if findings.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn check_secrets(findings: &mut Findings) -> Vec<String> {
    match keyring_from_environment() {
        Ok(keyring) => {
            let kids: Vec<String> = keyring.kids().map(str::to_owned).collect();
            let (newest, older) = kids.split_first().map_or(("", &[][..]), |(newest, older)| (newest, older));
            findings.good("secret", &format!("32 bytes or more; kid {newest} signs"));
            for kid in older {
                findings.good("secret", &format!("kid {kid} is older and still verifies"));
            }
            kids
        }
        Err(error) => {
            findings.bad("secret", &error);
            Vec::new()
        }
    }
}

fn check_cookie(site: &SiteOptions, findings: &Findings) {
    let style = CookieStyle::new(site);
    let name = style.name();
    match &site.public_url {
        Some(url) if site.is_https() => {
            findings
                .good("cookie", &format!("{name}, Secure, for {url}; the gate's from_cookies must name it"));
        }
        Some(url) if is_local(url) => {
            findings.good("cookie", &format!("{name}, not Secure, which is right for {url} on this machine"));
        }
        Some(url) => findings.doubtful(
            "cookie",
            &format!("{name} travels unencrypted to {url}; serve it by https and set --public-url so"),
        ),
        None => findings.doubtful(
            "cookie",
            &format!("{name}, not Secure: --public-url is not set, so http is assumed and any host is ours"),
        ),
    }
}

fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

async fn check_store(options: &StoreOptions, findings: &mut Findings) {
    if let Some(host) = unprotected_host(&options.database_url) {
        findings.doubtful(
            "store",
            &format!(
                "nothing proves that the PostgreSQL at {host} is yours, and the connection may be unencrypted; \
                 add sslmode=verify-full (and sslrootcert=FILE) to DATABASE_URL"
            ),
        );
    }
    // Looking changes nothing: no store is made, and no migration applied.
    let opened = Store::open_existing(&options.database_url, options.database_connections).await;
    let answered = match opened {
        Ok(store) => store.ping().await.map(|()| store.kind()),
        Err(error) => Err(error),
    };
    match answered {
        Ok(kind) => findings.good("store", &format!("{kind} answers, and its tables are up to date")),
        Err(error @ (StoreError::Absent | StoreError::Outdated)) => {
            findings.doubtful("store", &error.to_string());
        }
        Err(error) => findings.bad("store", &error.to_string()),
    }
}

/// The host of a PostgreSQL on another machine that does not have to show its certificate.
fn unprotected_host(database_url: &str) -> Option<String> {
    if !matches!(Kind::of_url(database_url), Ok(Kind::Postgres)) {
        return None;
    }
    let url = Url::parse(database_url).ok()?;
    let parameter = |names: &[&str]| {
        let pairs = url.query_pairs().filter(|(name, _)| names.contains(&name.as_ref()));
        pairs.last().map(|(_, value)| value.into_owned())
    };
    let mode = parameter(&["sslmode", "ssl-mode"]).or_else(|| std::env::var("PGSSLMODE").ok());
    let host = parameter(&["host"]).or_else(|| url.host_str().map(str::to_owned))?;
    let local = host.starts_with('/') || host == "localhost" || is_loopback(&host);
    let proven = mode.is_some_and(|mode| mode == "verify-full" || mode == "verify-ca");
    (!local && !proven).then_some(host)
}

fn is_loopback(host: &str) -> bool {
    host.trim_matches(['[', ']']).parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

async fn check_envoy(admin: &Url, kids: &[String], findings: &mut Findings) {
    let stats = match tokio::time::timeout(ENVOY_TIMEOUT, read_stats(admin)).await {
        Ok(Ok(stats)) => stats,
        Ok(Err(error)) => return findings.bad("envoy", &format!("{admin} does not answer: {error}")),
        Err(_) => return findings.bad("envoy", &format!("{admin} does not answer in time")),
    };
    match stats.clock_difference_seconds {
        Some(difference) if difference.abs() > MAX_CLOCK_DIFFERENCE_SECONDS => {
            findings.bad("clock", &format!("Envoy's is {difference} s ahead of ours"));
        }
        Some(_) => findings.good("clock", "Envoy's and ours agree"),
        None => findings.doubtful("clock", "Envoy does not tell its own"),
    }
    let gate = parse_kids(&stats.text);
    let newest = kids.first();
    if gate.is_empty() {
        return findings.bad("envoy", "it has no gate, or one that has not started: no …kid… in its /stats");
    }
    for (provider, known) in &gate {
        let what = format!("envoy provider {provider}");
        match newest {
            Some(kid) if known.contains(kid) => {
                findings.good(&what, &format!("verifies our tokens (kid {kid})"));
            }
            Some(kid) => findings.bad(
                &what,
                &format!(
                    "does not have our secret: ours is {kid}, it has {}; give both the same",
                    known.join(", ")
                ),
            ),
            None => findings.bad(&what, "cannot be compared: we have no secret"),
        }
    }
}

struct Stats {
    text: String,
    clock_difference_seconds: Option<i64>,
}

async fn read_stats(admin: &Url) -> Result<Stats, String> {
    let host = admin.host_str().ok_or("it names no host")?;
    let port = admin.port_or_known_default().ok_or("it names no port")?;
    // An IPv6 host is in brackets in a URL, and not in an address.
    let stream =
        TcpStream::connect((host.trim_matches(['[', ']']), port)).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let request = Request::get("/stats?filter=kid")
        .header(header::HOST, format!("{host}:{port}"))
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    if !response.status().is_success() {
        return Err(format!("it answers {}", response.status()));
    }
    let date = response.headers().get(header::DATE).and_then(|date| date.to_str().ok()).and_then(parse_date);
    let clock_difference_seconds = date.map(|theirs| theirs.saturating_sub(clock::now_seconds()));
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
    let bytes = body.map_err(|error| error.to_string())?.to_bytes();
    Ok(Stats { text: String::from_utf8_lossy(&bytes).into_owned(), clock_difference_seconds })
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
fn parse_date(text: &str) -> Option<i64> {
    let time = httpdate::parse_http_date(text).ok()?;
    i64::try_from(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs()).ok()
}

/// Each provider's key ids, from lines such as `wasmcustom.jwt_gate.kid.app.5mvqXoZRq1BWEvh5: 1`.
fn parse_kids(stats: &str) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for line in stats.lines() {
        let Some((name, _)) = line.split_once(": ") else { continue };
        let Some((_, rest)) = name.split_once(".kid.") else { continue };
        let Some((provider, kid)) = rest.rsplit_once('.') else { continue };
        match found.iter_mut().find(|(known, _)| known == provider) {
            Some((_, kids)) => kids.push(kid.to_owned()),
            None => found.push((provider.to_owned(), vec![kid.to_owned()])),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gates_key_ids_are_read_from_envoys_stats() {
        let stats = "wasmcustom.jwt_gate.kid.app.AAA: 1\nwasmcustom.jwt_gate.kid.app.BBB: 2\n\
                     wasmcustom.other.kid.my.provider.CCC: 1\ncluster.kid: 3\nx\n";
        assert_eq!(
            parse_kids(stats),
            [
                ("app".to_owned(), vec!["AAA".to_owned(), "BBB".to_owned()]),
                ("my.provider".to_owned(), vec!["CCC".to_owned()])
            ]
        );
    }

    #[test]
    fn a_database_on_another_machine_has_to_show_its_certificate() {
        for good in [
            "sqlite:a.db",
            "postgres://u:p@localhost/db",
            "postgres://u:p@127.0.0.1:5432/db",
            "postgres://u:p@[::1]/db",
            "postgres://u@localhost/db?host=/run/postgresql",
            "postgres://u:p@db.example/db?sslmode=verify-full&sslrootcert=/ca.pem",
        ] {
            assert_eq!(unprotected_host(good), None, "{good}");
        }
        for bad in [
            "postgres://u:p@db.example/db",
            "postgresql://u:p@10.0.0.7/db?sslmode=prefer",
            "postgres://u:p@localhost/db?host=db.example&sslmode=require",
        ] {
            assert!(unprotected_host(bad).is_some(), "{bad}");
        }
    }
}
