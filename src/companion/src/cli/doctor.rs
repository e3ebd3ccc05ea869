//! `jwt-gate-auth doctor`: what is wrong, and what to change.

mod admin;
mod envoy;

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;
use url::Url;

use self::envoy::{Dump, Gate, Provider, Rewrites};
use super::Done;
use crate::app::{keyring_from_environment, left_over_secret};
use crate::http::cookie::CookieStyle;
use crate::settings::{SiteOptions, StoreOptions, TokenOptions};
use crate::store::{Kind, Store, StoreError};

/// Clocks further apart than this are worth a word; the gate allows 60 seconds by default.
const MAX_CLOCK_DIFFERENCE_SECONDS: i64 = 5;

#[derive(Debug, Args)]
pub(super) struct Doctor {
    #[command(flatten)]
    store: StoreOptions,
    #[command(flatten)]
    site: SiteOptions,
    #[command(flatten)]
    token: TokenOptions,
    /// As of `serve`.
    #[arg(long, env = "JWT_GATE_LISTEN", default_value = "127.0.0.1:3000", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// As of `serve`.
    #[arg(long, env = "JWT_GATE_PRIVATE_LISTEN", default_value = "127.0.0.1:3001", value_name = "ADDRESS")]
    private_listen: SocketAddr,
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
    let ours = Ours {
        kids,
        issuer: doctor.token.issuer.clone(),
        audience: doctor.token.audience.clone(),
        cookie: CookieStyle::new(&doctor.site).name().to_owned(),
        public_port: doctor.listen.port(),
        private_port: doctor.private_listen.port(),
    };
    runtime.block_on(async {
        check_store(&doctor.store, &mut findings).await;
        match &doctor.envoy_admin {
            Some(admin) => check_envoy(admin, &ours, &mut findings).await,
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
            if let Some(left_over) = left_over_secret() {
                findings.doubtful("secret", &left_over);
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

/// What a gate must have to let our tokens in.
struct Ours {
    /// Of our secrets; the first signs.
    kids: Vec<String>,
    issuer: String,
    audience: Option<String>,
    cookie: String,
    public_port: u16,
    private_port: u16,
}

async fn check_envoy(admin: &Url, ours: &Ours, findings: &mut Findings) {
    let stats = match admin::stats(admin, r"\.(kid|revocation)\.").await {
        Ok(stats) => stats,
        Err(error) => return findings.bad("envoy", &format!("{admin}: {error}")),
    };
    match stats.clock_difference_seconds {
        Some(difference) if difference.abs() > MAX_CLOCK_DIFFERENCE_SECONDS => {
            findings.bad("clock", &format!("Envoy's is {difference} s ahead of ours"));
        }
        Some(_) => findings.good("clock", "Envoy's and ours agree"),
        None => findings.doubtful("clock", "Envoy does not tell its own"),
    }
    let kids = check_kids(&stats.text, ours, findings);
    let dump = match admin::config_dump(admin).await {
        Ok(dump) => Dump::new(dump),
        Err(error) => return findings.bad("envoy", &format!("its configuration cannot be read: {error}")),
    };
    for listener in dump.listeners() {
        if listener.gates.is_empty() {
            findings.doubtful(
                "envoy",
                &format!("listener {} has no gate: nobody is asked for a token there", listener.name),
            );
        }
        for gate in &listener.gates {
            let what = format!("envoy listener {}, filter {}", gate.listener, gate.name);
            check_filter(&what, gate, &dump, findings);
            check_providers(&what, gate, &kids, ours, findings);
            check_feed(admin, &what, gate, &dump, &stats.text, ours, findings).await;
        }
    }
}

/// Compares key ids, and returns the gates' by provider.
fn check_kids(stats: &str, ours: &Ours, findings: &mut Findings) -> Vec<(String, Vec<String>)> {
    let gate = parse_kids(stats);
    if gate.is_empty() {
        findings.bad("envoy", "it has no gate, or one that has not started: no …kid… in its /stats");
    }
    for (provider, known) in &gate {
        let what = format!("envoy provider {provider}");
        match ours.kids.first() {
            Some(kid) if known.contains(kid) => {
                findings.good(&what, &format!("verifies our tokens (kid {kid})"));
                for older in known.iter().filter(|known| !ours.kids.contains(known)) {
                    findings.doubtful(
                        &what,
                        &format!(
                            "kid {older} verifies there and not here: after a rotation, remove the old secret \
                             from Envoy's environment too"
                        ),
                    );
                }
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
    gate
}

/// Where the filter stands, and how it is run.
fn check_filter(what: &str, gate: &Gate<'_>, dump: &Dump, findings: &mut Findings) {
    if gate.refused {
        findings
            .bad(what, "Envoy refused this listener; its log has the reason (`configuration refused: …`)");
    }
    if gate.fails_open() {
        findings.bad(what, "lets everything through when it fails: set failure_policy: FAIL_CLOSED");
    }
    if gate.before.iter().any(|filter| envoy::type_of(dump.typed_config(filter)).ends_with(".Router")) {
        findings.bad(what, "stands behind the router, where no request comes: put it before the router");
    }
    for filter in &gate.behind {
        let name = filter["name"].as_str().unwrap_or_default();
        match envoy::rewrites(dump.typed_config(filter)) {
            Rewrites::No => {}
            Rewrites::Yes => findings.bad(
                what,
                &format!(
                    "the filter {name} behind it changes the path, method or host, so the rules are asked about \
                     another request than the one that is sent on: put {name} before the gate"
                ),
            ),
            Rewrites::Perhaps => findings.doubtful(
                what,
                &format!(
                    "the filter {name} stands behind it: if it changes the path, method or host, put it before \
                     the gate"
                ),
            ),
        }
    }
    for name in gate.provider_names() {
        let Some(variables) = gate.provider(name).and_then(|provider| provider.variables().map(owned)) else {
            continue;
        };
        if variables.iter().any(|variable| gate.is_given(variable)) {
            continue;
        }
        findings.bad(
            what,
            &format!(
                "provider {name} reads {}, and Envoy passes none of them on: name them in \
                 vm_config.environment_variables.host_env_keys",
                variables.join(", ")
            ),
        );
    }
}

fn owned(names: Vec<&str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}

/// Whether a provider with our secret takes our tokens too.
fn check_providers(
    what: &str,
    gate: &Gate<'_>,
    kids: &[(String, Vec<String>)],
    ours: &Ours,
    findings: &mut Findings,
) {
    let Some(newest) = ours.kids.first() else { return };
    let with_our_secret = kids.iter().filter(|(_, known)| known.contains(newest)).map(|(name, _)| name);
    let mut mismatches = Vec::new();
    for name in with_our_secret {
        let Some(provider) = gate.provider(name) else { continue };
        let found = mismatches_of(&provider, ours);
        if found.is_empty() {
            return findings.good(
                what,
                &format!("provider {name} takes our issuer, audience and cookie {}", ours.cookie),
            );
        }
        mismatches.extend(found.into_iter().map(|mismatch| format!("provider {name}: {mismatch}")));
    }
    for mismatch in mismatches {
        findings.bad(what, &mismatch);
    }
}

fn mismatches_of(provider: &Provider<'_>, ours: &Ours) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(issuer) = provider.issuer().filter(|issuer| *issuer != ours.issuer) {
        found.push(format!(
            "issuer is {issuer}, our tokens have {}: change the gate's `issuer`, or our --issuer",
            ours.issuer
        ));
    }
    let audiences = provider.audiences();
    match &ours.audience {
        _ if audiences.is_empty() => {}
        Some(audience) if audiences.contains(&audience.as_str()) => {}
        Some(audience) => found.push(format!(
            "audiences are {}, our tokens have {audience}: change the gate's `audiences`, or our --audience",
            audiences.join(", ")
        )),
        None => found.push(format!(
            "audiences are {}, our tokens have none: start us with --audience {}, or remove the gate's `audiences`",
            audiences.join(", "),
            audiences.first().unwrap_or(&"")
        )),
    }
    let cookies = provider.cookies();
    if !cookies.contains(&ours.cookie.as_str()) {
        let named = if cookies.is_empty() { "no cookie".to_owned() } else { cookies.join(", ") };
        found.push(format!(
            "from_cookies names {named}, ours is {}: browsers cannot sign in until it is named there",
            ours.cookie
        ));
    }
    found
}

/// Whether the gate hears of revocations.
async fn check_feed(
    admin: &Url,
    what: &str,
    gate: &Gate<'_>,
    dump: &Dump,
    stats: &str,
    ours: &Ours,
    findings: &mut Findings,
) {
    let Some(feed) = gate.feed() else {
        return findings.doubtful(
            what,
            "has no `revocation`: a token that was signed out passes until it expires; \
             add revocation: {cluster: …} with a cluster that leads to our private port",
        );
    };
    let cluster = feed.cluster;
    let Some(endpoints) = dump.endpoints(cluster) else {
        return findings.bad(
            what,
            &format!(
                "revocation.cluster is {cluster}, and this Envoy has no such cluster; it has {}",
                dump.clusters().join(", ")
            ),
        );
    };
    if dump.is_routed_to(cluster) {
        findings.bad(
            what,
            &format!(
                "a route leads to {cluster}, our private port: only the gate may call it, remove the route"
            ),
        );
    }
    let public = endpoints.iter().find(|endpoint| endpoint.port == u64::from(ours.public_port));
    if let Some(endpoint) = public.filter(|_| ours.public_port != ours.private_port) {
        return findings.bad(
            what,
            &format!(
                "revocation.cluster {cluster} leads to {}:{}, our public port; the list is served on the private \
                 one, {}",
                endpoint.address, endpoint.port, ours.private_port
            ),
        );
    }
    let own = |name: &str| stat(stats, &format!("wasmcustom.{}.revocation.{name}", gate.stat_prefix()));
    let (failures, age_ms) = (own("failures").unwrap_or(0), own("age_ms").unwrap_or(0));
    let calls = match admin::stats(admin, r"^cluster\..*\.upstream_(rq_[0-9]|cx_connect_fail$)").await {
        Ok(calls) => calls.text,
        Err(error) => return findings.bad("envoy", &error),
    };
    let call = |name: &str| stat(&calls, &format!("cluster.{cluster}.upstream_{name}")).unwrap_or(0);
    let places: Vec<String> =
        endpoints.iter().map(|endpoint| format!("{}:{}", endpoint.address, endpoint.port)).collect();
    let place = format!("{cluster} ({})", places.join(", "));
    if call("rq_2xx") == 0 && failures > 0 {
        let why = if call("rq_401") > 0 {
            "it answers 401: give the companion there and Envoy the same secret".to_owned()
        } else if call("rq_404") > 0 {
            format!("it answers 404: it is not our private port, {}", ours.private_port)
        } else if call("cx_connect_fail") > 0 {
            format!("nothing listens there: lead the cluster to our private port, {}", ours.private_port)
        } else {
            "see that its address leads to our private port".to_owned()
        };
        findings.bad(
            what,
            &format!("has never got the list of revocations from {place}, so signed-out tokens pass; {why}"),
        );
    } else if age_ms > feed.max_staleness_ms {
        findings.bad(
            what,
            &format!(
                "its list of revocations is {} s old ({failures} calls have failed): see whether the companion \
                 at {place} runs",
                age_ms / 1000
            ),
        );
    } else if call("rq_2xx") == 0 {
        findings.doubtful(what, &format!("has not asked {place} for revocations yet: look again in a while"));
    } else {
        findings.good(what, &format!("follows the list of revocations of {place}"));
    }
}

/// The counter or gauge of this name.
fn stat(stats: &str, name: &str) -> Option<u64> {
    stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok())
}

/// Each provider's key ids, from lines such as `wasmcustom.jwt_gate.kid.app.5mvqXoZRq1BWEvh5: 1`. 0 is a secret that
/// was dropped.
fn parse_kids(stats: &str) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for line in stats.lines() {
        let Some((name, age)) = line.split_once(": ") else { continue };
        let Some((_, rest)) = name.split_once(".kid.") else { continue };
        let Some((provider, kid)) = rest.rsplit_once('.').filter(|_| age != "0") else { continue };
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
