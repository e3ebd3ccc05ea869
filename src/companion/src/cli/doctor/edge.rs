//! Envoy as the edge of a site: by which scheme people come, and from which address.

use super::envoy::{Gate, number};
use super::{Findings, Ours};

/// What an HTTP connection manager does to `X-Forwarded-Proto` and `X-Forwarded-For`.
struct Edge {
    /// `use_remote_address`: Envoy believes the connection, not its headers.
    believes_connection: bool,
    /// How many proxies before it Envoy believes nevertheless.
    trusted_proxies: u64,
    /// Whether it adds an address to `X-Forwarded-For`.
    adds_address: bool,
    /// The scheme that it names whatever it was told.
    fixed_scheme: Option<String>,
}

impl Edge {
    fn of(gate: &Gate<'_>) -> Self {
        let manager = gate.manager;
        let believes_connection = manager["use_remote_address"] == true;
        let scheme = manager["scheme_header_transformation"]["scheme_to_overwrite"].as_str();
        Self {
            believes_connection,
            trusted_proxies: number(&manager["xff_num_trusted_hops"]).unwrap_or(0),
            adds_address: believes_connection && manager["skip_xff_append"] != true,
            fixed_scheme: scheme.map(str::to_ascii_lowercase),
        }
    }

    /// How many entries of `X-Forwarded-For`, from the right, no client can have written.
    fn trustworthy_entries(&self) -> u64 {
        self.trusted_proxies.saturating_add(u64::from(self.adds_address || !self.believes_connection))
    }
}

/// Whether scheme and address of people reach the companion and the application.
pub(super) fn check_edge(what: &str, gate: &Gate<'_>, ours: &Ours, findings: &mut Findings) {
    let edge = Edge::of(gate);
    let https = ours.public_url.as_ref().filter(|url| url.scheme() == "https");
    match https {
        None if gate.ends_tls => {
            let now = ours.public_url.as_ref().map_or_else(|| "not set".to_owned(), ToString::to_string);
            findings.bad(
                what,
                &format!(
                    "people come by https, and --public-url is {now}: the cookie is not Secure and has no __Host- \
                     prefix; set --public-url (JWT_GATE_PUBLIC_URL) to the https address in their browsers"
                ),
            );
        }
        Some(url) if !gate.ends_tls => check_scheme_behind_proxy(what, &edge, url.as_str(), findings),
        _ => {}
    }
    check_hops(what, &edge, ours, findings);
}

/// TLS ends in a proxy before this Envoy, which has to pass on what that proxy says.
fn check_scheme_behind_proxy(what: &str, edge: &Edge, url: &str, findings: &mut Findings) {
    let told_http = edge.believes_connection && edge.trusted_proxies == 0;
    match edge.fixed_scheme.as_deref() {
        Some("https") => {}
        Some(scheme) => findings.bad(
            what,
            &format!(
                "scheme_to_overwrite is {scheme}, and people come by https ({url}): the application builds {scheme} \
                 links; remove it or make it https"
            ),
        ),
        None if told_http => findings.bad(
            what,
            &format!(
                "people come by https ({url}), TLS ends before this Envoy, and it overwrites X-Forwarded-Proto with \
                 http: the application builds http links. Set xff_num_trusted_hops: 1 here and --trusted-hops 2 \
                 for the companion if the proxy before Envoy sets X-Forwarded-For and X-Forwarded-Proto; \
                 otherwise scheme_header_transformation: {{scheme_to_overwrite: https}}"
            ),
        ),
        None => {}
    }
}

/// `--trusted-hops` decides whose address is throttled.
fn check_hops(what: &str, edge: &Edge, ours: &Ours, findings: &mut Findings) {
    let (ours, theirs) = (u64::from(ours.trusted_hops), edge.trustworthy_entries());
    if ours > theirs {
        findings.doubtful(
            what,
            &format!(
                "--trusted-hops is {ours}, and {theirs} of the addresses in its X-Forwarded-For come from a proxy: \
                 clients can choose the address that they are throttled by. Set --trusted-hops {theirs}, unless \
                 another proxy stands between this Envoy and the companion"
            ),
        );
    } else if ours < theirs && ours > 0 {
        findings.doubtful(
            what,
            &format!(
                "--trusted-hops is {ours}, and {theirs} of the addresses in its X-Forwarded-For come from a proxy: \
                 everybody is throttled together, by the address of the proxy before Envoy. Set --trusted-hops {theirs}"
            ),
        );
    }
    if !edge.believes_connection && edge.trusted_proxies == 0 && ours > 0 {
        findings.doubtful(
            what,
            "passes X-Forwarded-For on as it came: where clients reach this Envoy directly they can choose the \
             address that they are throttled by; set use_remote_address: true there",
        );
    }
}
