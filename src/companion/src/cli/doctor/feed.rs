//! The list of revocations, as a gate follows it.

use url::Url;

use super::envoy::{Dump, Gate};
use super::{Findings, Ours, admin};

/// Whether the gate hears of revocations.
pub(super) async fn check_feed(
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
