//! Each gate of an Envoy: its secret, its place among the filters, what it asks of a token.

use url::Url;

use super::envoy::{Dump, Gate, Provider};
use super::rewrites::{self, Rewrites};
use super::{Findings, Ours, admin, edge, envoy, feed};

/// Clocks further apart than this are worth a word; the gate allows 60 seconds by default.
const MAX_CLOCK_DIFFERENCE_SECONDS: i64 = 5;

pub(super) async fn check_envoy(admin: &Url, ours: &Ours, findings: &mut Findings) {
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
            edge::check_edge(&what, gate, ours, findings);
            check_providers(&what, gate, &kids, ours, findings);
            feed::check_feed(admin, &what, gate, &dump, &stats.text, ours, findings).await;
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
        match rewrites::of(dump.typed_config(filter)) {
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
}
