//! `jwt-gate-auth doctor`: what is wrong, and what to change.

mod admin;
mod edge;
mod envoy;
mod feed;
mod gates;
mod here;
mod rewrites;

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Args;
use url::Url;

use super::Done;
use crate::http::cookie::CookieStyle;
use crate::settings::{SiteOptions, StoreOptions, TokenOptions};

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
    #[arg(long, env = "JWT_GATE_ENVOY_ADMIN", value_parser = admin::parse_url, value_name = "URL")]
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
    let kids = here::check_secrets(&mut findings);
    here::check_cookie(&doctor.site, &findings);
    let ours = Ours {
        kids,
        issuer: doctor.token.issuer.clone(),
        audience: doctor.token.audience.clone(),
        cookie: CookieStyle::new(&doctor.site).name().to_owned(),
        public_port: doctor.listen.port(),
        private_port: doctor.private_listen.port(),
        public_url: doctor.site.public_url.clone(),
        trusted_hops: doctor.site.trusted_hops,
    };
    runtime.block_on(async {
        here::check_store(&doctor.store, &mut findings).await;
        match &doctor.envoy_admin {
            Some(admin) => gates::check_envoy(admin, &ours, &mut findings).await,
            None => findings.doubtful("envoy", "not asked; name its admin endpoint with --envoy-admin"),
        }
    });
    Ok(if findings.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// How the companion is set up, and the gate with it must be.
struct Ours {
    /// Of our secrets; the first signs.
    kids: Vec<String>,
    issuer: String,
    audience: Option<String>,
    cookie: String,
    public_port: u16,
    private_port: u16,
    public_url: Option<Url>,
    trusted_hops: u8,
}
