//! Secrets change in a running Envoy: the steps of docs/rotation.md, taken from it and carried out.

use std::fs;
use std::path::Path;

use jwt_gate_tests::{Companion, Discovered, Envoy, Listener, Published, Request, Spec, forge};
use serde_json::{Value, json};

use crate::stack::{Clients, User, config, discovering, post, provider, publish, updates, wait_for};
use crate::traffic::{Right, Traffic};

const OLD: &str = "old-0123456789-abcdefghij-ABCDEFGHIJKL";
const NEW: &str = "new-0123456789-abcdefghij-ABCDEFGHIJKL";

/// A step of the runbook that changes something.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    title: String,
    /// What is changed, `companion` or `gates`, and their `BETTER_AUTH_SECRETS` from then on.
    changes: Vec<(String, String)>,
}

/// The steps of docs/rotation.md: its headings `### 1. …`, and below each the lines of its block,
/// `companion BETTER_AUTH_SECRETS=…` and `gates BETTER_AUTH_SECRETS=…`.
fn runbook() -> Vec<Step> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rotation.md");
    let text = fs::read_to_string(path).expect("docs/rotation.md");
    let mut steps: Vec<Step> = Vec::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("### ").and_then(|heading| heading.split_once(". ")) {
            steps.push(Step { title: title.1.to_owned(), changes: Vec::new() });
        } else if let Some((who, secrets)) = line.split_once("BETTER_AUTH_SECRETS=")
            && let who @ ("companion" | "gates") = who.trim()
            && let Some(step) = steps.last_mut()
        {
            let secrets = secrets.trim().trim_matches('"').replace("$OLD", OLD).replace("$NEW", NEW);
            step.changes.push((who.to_owned(), secrets));
        }
    }
    steps
}

/// The two ways of giving secrets to a running Envoy that docs/rotation.md names.
#[derive(Debug, Clone, Copy)]
enum Delivery {
    /// `secrets: [{inline: …}]`
    Inline,
    /// `vm_config.environment_variables.key_values`, with a new `vm_id`
    Environment,
}

impl Delivery {
    /// What is published for `secrets`, which is written as `BETTER_AUTH_SECRETS` is.
    fn published(self, secrets: &str) -> Published {
        let mut config = config(&json!({}));
        match self {
            Self::Inline => {
                let sources: Vec<Value> = secrets
                    .split(',')
                    .map(|entry| json!({"inline": entry.split_once(':').expect("a version").1}))
                    .collect();
                config["providers"]["app"] = provider(&json!(sources));
                Published { config, vm_environment: json!({}), vm_id: "jwt-gate".to_owned() }
            }
            Self::Environment => {
                config["providers"]["app"] = provider(&json!([{"env": "BETTER_AUTH_SECRETS"}]));
                let versions: Vec<&str> =
                    secrets.split(',').map(|entry| entry.split_once(':').expect("a version").0).collect();
                Published {
                    config,
                    vm_environment: json!({"key_values": {"BETTER_AUTH_SECRETS": secrets}}),
                    vm_id: format!("jwt-gate-{}", versions.join("-")),
                }
            }
        }
    }
}

fn rotate(delivery: Delivery) {
    let steps = runbook();
    let titles: Vec<_> = steps.iter().map(|step| step.title.as_str()).collect();
    assert_eq!(
        titles,
        [
            "Make the new secret",
            "Add it behind the old one",
            "Promote it",
            "Wait",
            "Drop the old one",
            "Make sure that it is gone"
        ],
        "the test knows each step of the runbook"
    );
    let first = format!("1:{OLD}");
    let mut companion = Companion::start_with(&[("BETTER_AUTH_SECRETS", &first)]);
    let mut discovered = Discovered::new("jwt-gate");
    discovered.publish(&delivery.published(&first));
    let envoy = discovering(&discovered, &companion).start();
    let shown = envoy.shown_on_failure();
    let port = shown.port("app");
    let mut clients = Clients::open(port, 16);

    let user = User::sign_up(&companion, "user");
    let gone = user.sign_in(&companion);
    assert_eq!(post(&companion, "/signout", Some(&gone), &Value::Null).status, 204);
    clients.until_revoked(&gone);
    let traffic = Traffic::start(port);
    traffic.expect(&user.token, Right::Passes(user.id.clone()));
    if matches!(delivery, Delivery::Inline) {
        // The list outlives the update: not one request with it passes at any time.
        traffic.expect(&gone, Right::Refused(&["revoked"]));
    }
    let old_kid = kid(&user.token);
    let mut newer = None;
    for step in &steps {
        if step.title == "Drop the old one" {
            traffic.forget(&user.token);
            traffic.forget(&gone);
        }
        for (who, secrets) in &step.changes {
            match who.as_str() {
                "companion" => companion.restart_with(&[("BETTER_AUTH_SECRETS", secrets)]),
                _ => publish(&envoy, &mut discovered, &delivery.published(secrets)),
            }
            // Between any two changes new sessions work at once, with whatever secret signs.
            let session = user.sign_in(&companion);
            traffic.expect(&session, Right::Passes(user.id.clone()));
            traffic.let_pass(20);
            if kid(&session) == old_kid {
                traffic.forget(&session);
            } else {
                newer = Some(session);
            }
        }
        traffic.let_pass(5);
        match step.title.as_str() {
            "Make the new secret" => {
                let made = companion.command(&["secret"]).output().expect("it starts").stdout;
                assert!(made.trim_ascii().len() >= 32);
            }
            "Add it behind the old one" => assert!(newer.is_none(), "the old one still signs"),
            "Promote it" => assert!(newer.is_some(), "the new one signs"),
            "Drop the old one" => {
                for answer in clients.answers(&user.token) {
                    answer.assert_denied(401, "unknown_key");
                }
                traffic.expect(&user.token, Right::Refused(&["unknown_key"]));
                traffic.let_pass(5);
            }
            _ => {}
        }
    }
    // The gates still follow the feed: the companion knows the secret that signs their calls.
    let newer = newer.expect("a session");
    traffic.forget(&newer);
    assert_eq!(post(&companion, "/signout", Some(&newer), &Value::Null).status, 204);
    clients.until_revoked(&newer);
    let tally = traffic.stop();
    assert_eq!(tally.wrong, 0, "of {} requests: {:#?}", tally.requests, tally.examples);
    assert!(tally.passed > 100 && tally.passed < tally.requests);
}

/// The header's `kid`.
fn kid(token: &str) -> String {
    use base64::Engine as _;
    let header = token.split('.').next().expect("a header");
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).expect("base64url");
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    header["kid"].as_str().expect("a kid").to_owned()
}

#[test]
fn the_runbook_rotates_inline_secrets_while_traffic_flows_without_one_wrong_answer() {
    rotate(Delivery::Inline);
}

#[test]
fn the_runbook_rotates_secrets_of_the_vms_environment_while_traffic_flows_without_one_wrong_answer() {
    rotate(Delivery::Environment);
}

#[test]
fn a_configuration_that_is_refused_changes_nothing_and_opens_nothing() {
    let companion = Companion::start(forge::SECRET);
    let mut discovered = Discovered::new("jwt-gate");
    let good = Delivery::Inline.published(&format!("1:{}", forge::SECRET));
    discovered.publish(&good);
    let envoy = discovering(&discovered, &companion).start();
    let shown = envoy.shown_on_failure();
    let token = forge::token("user_1", json!({}));
    let traffic = Traffic::start(shown.port("app"));
    traffic.expect(&token, Right::Passes("user_1".to_owned()));
    let weak = Delivery::Inline.published("1:weak");
    let mut unknown = good.clone();
    unknown.config["defualt"] = json!("allow");
    let unset = Published {
        config: {
            let mut config = good.config.clone();
            config["providers"]["app"]["secrets"] = json!([{"env": "NOWHERE"}]);
            config
        },
        ..good.clone()
    };
    let elsewhere = Published { vm_id: "another".to_owned(), ..weak.clone() };
    for bad in [weak, unknown, unset, elsewhere] {
        let before = updates(&envoy);
        discovered.publish(&bad);
        wait_for("Envoy says something about the configuration", || {
            (updates(&envoy) != before).then_some(())
        });
        traffic.let_pass(20);
    }
    publish(&envoy, &mut discovered, &Delivery::Inline.published(&format!("2:{},1:{}", NEW, forge::SECRET)));
    traffic.let_pass(20);
    let tally = traffic.stop();
    assert_eq!(tally.wrong, 0, "of {} requests: {:#?}", tally.requests, tally.examples);
}

#[test]
fn until_a_configuration_is_there_nothing_passes() {
    let companion = Companion::start(forge::SECRET);
    let mut discovered = Discovered::new("jwt-gate");
    let envoy = discovering(&discovered, &companion).start();
    let token = forge::token("user_1", json!({}));
    for request in [Request::get("/notes").bearer(&token), Request::get("/open/door"), Request::get("/notes")]
    {
        let answer = request.try_send(envoy.port("app"));
        assert!(
            answer.as_ref().is_ok_and(|answer| answer.status >= 500 && answer.seen().is_none()),
            "{answer:?}"
        );
    }
    publish(&envoy, &mut discovered, &Delivery::Inline.published(&format!("1:{}", forge::SECRET)));
    wait_for("it passes once there is one", || {
        let answer = Request::get("/notes").bearer(&token).send(envoy.port("app"));
        (answer.status == 200).then_some(())
    });
}

#[test]
fn a_rolling_restart_with_a_new_environment_refuses_no_token_of_either_secret() {
    let gate = |secrets: &str| {
        let mut config = config(&json!({}));
        config["providers"]["app"] = provider(&json!([{"env": "BETTER_AUTH_SECRETS"}]));
        Spec::new()
            .environment("BETTER_AUTH_SECRETS", secrets)
            .vm_environment(json!({"host_env_keys": ["BETTER_AUTH_SECRETS"]}))
            .cluster("companion", 1)
            .listener(Listener::gated("app", config))
            .start()
    };
    let token = |secret: &str| forge::token_of(secret, &forge::claims("user_1", json!({})));
    let status = |envoy: &Envoy, secret: &str| {
        Request::get("/notes").bearer(token(secret)).send(envoy.port("app")).status
    };
    let steps: Vec<String> = runbook()
        .into_iter()
        .flat_map(|step| step.changes)
        .filter(|(who, _)| who == "gates")
        .map(|(_, secrets)| secrets)
        .collect();
    assert_eq!(steps.len(), 3);
    let mut envoy = gate(&format!("1:{OLD}"));
    for (index, secrets) in steps.iter().enumerate() {
        let next = gate(secrets);
        // While one goes and the other comes, requests meet both.
        let last = index == 2;
        for envoy in [&envoy, &next] {
            assert!((status(envoy, OLD) == 200) || last, "step {index}");
            assert!(status(envoy, NEW) == 200 || index == 0, "step {index}");
        }
        envoy = next;
    }
    assert_eq!((status(&envoy, OLD), status(&envoy, NEW)), (401, 200));
}
