//! What can be seen without Envoy: secret, cookie, store.

use url::Url;

use super::Findings;
use crate::app::{keyring_from_environment, left_over_secret};
use crate::http::cookie::CookieStyle;
use crate::settings::{SiteOptions, StoreOptions};
use crate::store::{Kind, Store, StoreError};

pub(super) fn check_secrets(findings: &mut Findings) -> Vec<String> {
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

pub(super) fn check_cookie(site: &SiteOptions, findings: &Findings) {
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

pub(super) async fn check_store(options: &StoreOptions, findings: &mut Findings) {
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

#[cfg(test)]
mod tests {
    use super::*;

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
