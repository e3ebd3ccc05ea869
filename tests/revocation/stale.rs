//! The companion is gone: `when_stale` and `max_staleness_ms` decide, and one line a worker says so.

use jwt_gate_tests::{Companion, Listener, Request, Spec, forge, http2};
use serde_json::{Value, json};

use crate::stack::{Clients, User, config, post, wait_for};

const WORKERS: u32 = 2;

fn gate(name: &str, when_stale: &str) -> Listener {
    let mut config = config(&json!({"max_staleness_ms": 1500, "when_stale": when_stale}));
    config["stat_prefix"] = json!(name);
    Listener::gated(name, config)
}

#[test]
fn when_the_companion_is_gone_when_stale_decides_and_one_line_says_so() {
    let mut companion = Companion::start(forge::SECRET);
    let envoy = Spec::new()
        .concurrency(WORKERS)
        .cluster("companion", companion.private_port())
        .listeners([gate("allowing", "allow"), gate("denying", "deny")])
        .start();
    let user = User::sign_up(&companion, "user");
    let gone = user.sign_in(&companion);
    assert_eq!(post(&companion, "/signout", Some(&gone), &Value::Null).status, 204);
    let mut allowing = Clients::open(envoy.port("allowing"), 16);
    let mut denying = Clients::open(envoy.port("denying"), 16);
    allowing.until_revoked(&gone);
    denying.until_revoked(&gone);
    denying.until_good(&user.token);

    companion.kill();
    wait_for("every worker refuses", || {
        denying.answers(&user.token).iter().all(|answer| answer.status == 503).then_some(())
    });
    for answer in denying.answers(&user.token) {
        answer.assert_denied(503, "revocation_stale");
    }
    let call = Request::new("POST", "/pkg.Service/Method")
        .bearer(&user.token)
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let answer = http2::send(&call, envoy.port("denying"));
    assert_eq!(answer.header("grpc-status").as_deref(), Some("14"), "{answer:?}");
    // What needs no token is served, and so is everything where staleness is allowed; but what is known to
    // be revoked stays revoked.
    Request::get("/open/door").send(envoy.port("denying")).reached();
    allowing.assert_good(&user.token, &user.id);
    for answer in [allowing.answers(&gone), denying.answers(&gone)].concat() {
        answer.assert_denied(401, "revoked");
    }
    wait_for("failures are counted", || {
        (envoy.admin().counter("wasmcustom.denying.revocation.failures") > 0).then_some(())
    });

    companion.start_again();
    denying.until_good(&user.token);
    for answer in denying.answers(&gone) {
        answer.assert_denied(401, "revoked");
    }
    // A line for each change of state of each plugin in each thread (Envoy's main thread has one too):
    // fresh, stale, fresh. Hundreds of requests went by meanwhile.
    let threads = usize::try_from(WORKERS).expect("a small number") + 1;
    let fresh = envoy.log_lines("revocations are up to date");
    let stale = envoy.log_lines("revocations are stale");
    assert!((1..=2 * threads).contains(&stale.len()), "{stale:#?}");
    assert!((1..=4 * threads).contains(&fresh.len()), "{fresh:#?}");
    assert!(stale.iter().any(|line| line.contains("are refused meanwhile")));
}
