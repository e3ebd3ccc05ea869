//! Every way of taking a token back ends in 401 `revoked` at every worker.

use std::sync::OnceLock;

use jwt_gate_tests::{Companion, Envoy, forge};
use serde_json::{Value, json};

use crate::stack::{Clients, PASSWORD, User, post, spec};

/// Enough that one of four workers goes without a connection once in some hundred million runs.
const CONNECTIONS: usize = 64;

/// One companion and one Envoy with four workers, for all of these tests.
struct Stack {
    companion: Companion,
    envoy: Envoy,
}

fn stack() -> &'static Stack {
    static SHARED: OnceLock<Stack> = OnceLock::new();
    SHARED.get_or_init(|| {
        let companion = Companion::start(forge::SECRET);
        let envoy = spec(&companion, &json!({})).concurrency(4).start();
        Stack { companion, envoy }
    })
}

impl Stack {
    fn clients(&self) -> Clients {
        Clients::open(self.envoy.port("app"), CONNECTIONS)
    }

    fn call(&self, path: &str, token: &str, body: &Value, status: u16) -> Value {
        let answer = post(&self.companion, path, Some(token), body);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }
}

#[test]
fn signing_out_ends_this_session_at_every_worker_and_no_other_session() {
    let (stack, mut clients) = (stack(), stack().clients());
    let user = User::sign_up(&stack.companion, "one");
    let other = user.sign_in(&stack.companion);
    clients.assert_good(&user.token, &user.id);
    stack.call("/signout", &user.token, &Value::Null, 204);
    clients.until_revoked(&user.token);
    clients.assert_good(&other, &user.id);
}

#[test]
fn a_remembered_token_does_not_outlive_its_revocation() {
    let (stack, mut clients) = (stack(), stack().clients());
    let user = User::sign_up(&stack.companion, "remembered");
    let hits = |least| stack.envoy.admin().counter_from("jwt_gate.cache.hit", least);
    let before = hits(0);
    clients.assert_good(&user.token, &user.id);
    clients.assert_good(&user.token, &user.id);
    let expected = before + CONNECTIONS as u64;
    assert!(hits(expected) >= expected, "every worker remembers it");
    stack.call("/signout", &user.token, &Value::Null, 204);
    clients.until_revoked(&user.token);
}

#[test]
fn signing_out_everywhere_ends_every_session_and_a_new_one_works_at_once() {
    let (stack, mut clients) = (stack(), stack().clients());
    let user = User::sign_up(&stack.companion, "everywhere");
    let bystander = User::sign_up(&stack.companion, "bystander");
    let other = user.sign_in(&stack.companion);
    clients.assert_good(&other, &user.id);
    stack.call("/signout-everywhere", &user.token, &Value::Null, 204);
    let new = user.sign_in(&stack.companion);
    clients.assert_good(&new, &user.id);
    clients.until_revoked(&user.token);
    clients.until_revoked(&other);
    clients.assert_good(&new, &user.id);
    clients.assert_good(&bystander.token, &bystander.id);
}

#[test]
fn changing_the_password_ends_every_session() {
    let (stack, mut clients) = (stack(), stack().clients());
    let user = User::sign_up(&stack.companion, "changed");
    let other = user.sign_in(&stack.companion);
    let body = json!({"current_password": PASSWORD, "new_password": "another horse battery"});
    stack.call("/change-password", &user.token, &body, 204);
    clients.until_revoked(&user.token);
    clients.until_revoked(&other);
    let new = user.sign_in_with(&stack.companion, "another horse battery");
    clients.assert_good(&new, &user.id);
}

#[test]
fn the_operator_ends_every_session_of_a_user_from_the_command_line() {
    let (stack, mut clients) = (stack(), stack().clients());
    for (name, command) in [("revoked", "revoke"), ("disabled", "disable")] {
        let user = User::sign_up(&stack.companion, name);
        let other = user.sign_in(&stack.companion);
        clients.assert_good(&other, &user.id);
        let done = stack.companion.command(&["users", command, &user.email]).output().expect("it starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        clients.until_revoked(&user.token);
        clients.until_revoked(&other);
    }
}

#[test]
fn each_of_better_auths_calls_that_revoke_ends_what_it_says() {
    let (stack, mut clients) = (stack(), stack().clients());

    let user = User::sign_up(&stack.companion, "ba-sign-out");
    stack.call("/sign-out", &user.token, &json!({}), 200);
    clients.until_revoked(&user.token);

    let user = User::sign_up(&stack.companion, "ba-revoke-session");
    let other = user.sign_in(&stack.companion);
    let session = stack_session(stack, &other);
    stack.call("/revoke-session", &user.token, &json!({"token": session}), 200);
    clients.until_revoked(&other);
    clients.assert_good(&user.token, &user.id);

    let user = User::sign_up(&stack.companion, "ba-revoke-other-sessions");
    let others = [user.sign_in(&stack.companion), user.sign_in(&stack.companion)];
    stack.call("/revoke-other-sessions", &user.token, &json!({}), 200);
    for other in &others {
        clients.until_revoked(other);
    }
    clients.assert_good(&user.token, &user.id);

    let user = User::sign_up(&stack.companion, "ba-revoke-sessions");
    let other = user.sign_in(&stack.companion);
    stack.call("/revoke-sessions", &user.token, &json!({}), 200);
    clients.until_revoked(&other);
    clients.until_revoked(&user.token);

    let user = User::sign_up(&stack.companion, "ba-change-password");
    let other = user.sign_in(&stack.companion);
    let body = json!({
        "currentPassword": PASSWORD, "newPassword": "another horse battery", "revokeOtherSessions": true,
    });
    let changed = stack.call("/change-password", &user.token, &body, 200);
    clients.until_revoked(&other);
    clients.assert_good(changed["token"].as_str().expect("a new token"), &user.id);
}

/// What `/revoke-session` takes for the session of `token`.
fn stack_session(stack: &Stack, token: &str) -> String {
    let answer = jwt_gate_tests::Request::get("/api/auth/get-session")
        .bearer(token)
        .send(stack.companion.public_port());
    answer.json()["session"]["token"].as_str().expect("a session").to_owned()
}

#[test]
fn the_counters_show_how_many_revocations_there_are_and_that_no_call_failed() {
    let (stack, mut clients) = (stack(), stack().clients());
    let user = User::sign_up(&stack.companion, "counted");
    stack.call("/signout", &user.token, &Value::Null, 204);
    clients.until_revoked(&user.token);
    let admin = stack.envoy.admin();
    assert!(admin.counter("jwt_gate.revocation.entries") > 0);
    let refused = CONNECTIONS as u64;
    assert!(admin.counter_from("jwt_gate.denied.revoked", refused) >= refused);
    assert_eq!(admin.counter("jwt_gate.revocation.failures"), 0);
    assert!(admin.stats("jwt_gate.revocation").keys().any(|name| name.ends_with("age_ms")));
}
