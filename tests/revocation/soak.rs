//! Everything at once: secrets rotate, listeners are replaced, the companion is killed, users sign out.

use jwt_gate_tests::{Companion, Discovered, Listener, Published, forge};
use serde_json::{Value, json};

use crate::stack::{Clients, User, config, discovering, post, provider, publish, wait_for};
use crate::traffic::{Right, Tally, Traffic};

/// What happened during a soak.
pub(crate) struct Soak {
    pub(crate) tally: Tally,
    pub(crate) rotations: u64,
    pub(crate) reloads: u64,
    pub(crate) kills: u64,
    pub(crate) sign_outs: u64,
}

fn secret(number: u64) -> String {
    format!("soak-{number:04}-0123456789-abcdefghij-ABCDEFGHIJ")
}

/// A gate with these secrets, the first of which signs.
fn published(secrets: &[u64]) -> Published {
    let mut config = config(&json!({}));
    let sources: Vec<Value> = secrets.iter().map(|number| json!({"inline": secret(*number)})).collect();
    config["providers"]["app"] = provider(&json!(sources));
    Published { config, vm_environment: json!({}), vm_id: "jwt-gate".to_owned() }
}

fn environment(secrets: &[u64]) -> String {
    let entries: Vec<String> =
        secrets.iter().map(|number| format!("{}:{}", number + 1, secret(*number))).collect();
    entries.join(",")
}

/// Sends until there were `requests`, and changes something all the while.
pub(crate) fn run(requests: u64) -> Soak {
    let mut current = 0;
    let mut companion = Companion::start_with(&[("BETTER_AUTH_SECRETS", &environment(&[current]))]);
    let mut discovered = Discovered::new("jwt-gate");
    discovered.publish(&published(&[current]));
    let envoy = discovering(&discovered, &companion).start();
    let shown = envoy.shown_on_failure();
    let port = shown.port("app");
    let traffic = Traffic::start(port);
    let user = User::sign_up(&companion, "user");
    let user_of = |number: u64| format!("user-of-{number}");
    let made = |number: u64| {
        forge::token_of(
            &secret(number),
            &forge::claims(&user_of(number), json!({"exp": forge::now() + 36_000})),
        )
    };
    let mut token = made(current);
    traffic.expect(&token, Right::Passes(user_of(current)));
    let mut gone: Vec<String> = Vec::new();
    let mut soak = Soak {
        tally: Tally { requests: 0, passed: 0, wrong: 0, examples: Vec::new() },
        rotations: 0,
        reloads: 0,
        kills: 0,
        sign_outs: 0,
    };
    while traffic.requests() < requests || soak.rotations == 0 {
        // Somebody signs in, works, signs out.
        let session = user.sign_in(&companion);
        traffic.expect(&session, Right::Passes(user.id.clone()));
        traffic.let_pass(10);
        traffic.forget(&session);
        assert_eq!(post(&companion, "/signout", Some(&session), &Value::Null).status, 204);
        soak.sign_outs += 1;
        Clients::open(port, 24).until_revoked(&session);
        traffic.expect(&session, Right::Refused(&["revoked", "unknown_key"]));
        gone.push(session);

        // Envoy gets another listener in place of the one it has.
        soak.reloads += 1;
        let before = envoy.admin().counter("listener_manager.lds.update_success");
        envoy.reload([Listener::new("app")
            .before(discovered.filter())
            .set("server_name", json!(format!("soak-{}", soak.reloads)))]);
        wait_for("Envoy takes the listener over", || {
            (envoy.admin().counter("listener_manager.lds.update_success") > before).then_some(())
        });
        traffic.let_pass(10);

        // The next secret: added, promoted, and the old one dropped.
        let (old, new) = (current, current + 1);
        for secrets in [vec![old, new], vec![new, old]] {
            companion.restart_with(&[("BETTER_AUTH_SECRETS", &environment(&secrets))]);
            soak.kills += 1;
            publish(&envoy, &mut discovered, &published(&secrets));
            traffic.let_pass(10);
        }
        let next = made(new);
        traffic.expect(&next, Right::Passes(user_of(new)));
        traffic.let_pass(10);
        traffic.forget(&token);
        publish(&envoy, &mut discovered, &published(&[new]));
        companion.restart_with(&[("BETTER_AUTH_SECRETS", &environment(&[new]))]);
        soak.kills += 1;
        Clients::open(port, 24).until_refused(&token);
        traffic.expect(&token, Right::Refused(&["unknown_key", "bad_signature"]));
        traffic.let_pass(10);
        // A few of each kind are enough to ask about in every round.
        traffic.forget(&token);
        if gone.len() > 4 {
            traffic.forget(&gone.remove(0));
        }
        (token, current) = (next, new);
        soak.rotations += 1;
    }
    soak.tally = traffic.stop();
    soak
}

#[test]
fn secrets_rotate_listeners_reload_the_companion_dies_users_leave_and_no_answer_is_wrong() {
    let soak = run(5_000);
    let tally = &soak.tally;
    assert_eq!(tally.wrong, 0, "of {} requests: {:#?}", tally.requests, tally.examples);
    assert!(tally.requests >= 5_000 && tally.passed > 1_000);
    assert!(soak.rotations > 0 && soak.reloads > 0 && soak.kills > 0 && soak.sign_outs > 0);
}
