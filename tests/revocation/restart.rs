//! Envoy is restarted, the database is restored from a backup, the secrets differ.

use std::fs;

use jwt_gate_tests::{Companion, Request, forge};
use serde_json::{Value, json};

use crate::stack::{Clients, User, post, spec, wait_for};

fn sign_out(companion: &Companion, token: &str) {
    assert_eq!(post(companion, "/signout", Some(token), &Value::Null).status, 204);
}

#[test]
fn a_restarted_envoy_catches_up_before_it_lets_a_token_pass() {
    let companion = Companion::start(forge::SECRET);
    let user = User::sign_up(&companion, "user");
    let gone = user.sign_in(&companion);
    sign_out(&companion, &gone);
    for _ in 0..3 {
        let envoy = spec(&companion, &json!({"when_stale": "deny"})).concurrency(2).start();
        let port = envoy.port("app");
        wait_for("good tokens pass", || {
            let answer = Request::get("/notes").bearer(&gone).send(port);
            assert!(answer.seen().is_none(), "a revoked token passed");
            let answer = Request::get("/notes").bearer(&user.token).send(port);
            (answer.status == 200).then_some(())
        });
        Clients::open(port, 16).until_revoked(&gone);
    }
}

#[test]
fn a_database_restored_from_a_backup_brings_no_token_back_and_new_revocations_arrive() {
    let mut companion = Companion::start(forge::SECRET);
    let envoy = spec(&companion, &json!({})).concurrency(2).start();
    let mut clients = Clients::open(envoy.port("app"), 16);
    let user = User::sign_up(&companion, "user");
    let [before, lost, later] = [(); 3].map(|()| user.sign_in(&companion));
    sign_out(&companion, &before);
    clients.until_revoked(&before);

    companion.kill();
    let backup = tempfile::tempdir().expect("a directory");
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        for file in ["users.db", "users.db-wal", "users.db-shm"] {
            let _ = fs::remove_file(to.join(file));
            let _ = fs::copy(from.join(file), to.join(file));
        }
    };
    copy(companion.folder(), backup.path());
    companion.start_again();
    sign_out(&companion, &lost);
    clients.until_revoked(&lost);

    companion.kill();
    copy(backup.path(), companion.folder());
    companion.start_again();
    // The restored store gives the sequence number of `lost` to this one.
    sign_out(&companion, &later);
    clients.until_revoked(&later);
    for token in [&before, &lost] {
        for answer in clients.answers(token) {
            answer.assert_denied(401, "revoked");
        }
    }
    clients.assert_good(&user.token, &user.id);
}

#[test]
fn a_gate_with_another_secret_than_the_companion_counts_it_and_the_other_gate_is_not_disturbed() {
    let companion = Companion::start(forge::SECRET);
    let stranger = spec(&companion, &json!({}))
        .vm_environment(json!({"key_values": {"BETTER_AUTH_SECRET": forge::OTHER_SECRET}}))
        .start();
    let friend = spec(&companion, &json!({})).start();
    let user = User::sign_up(&companion, "user");
    let failures = || stranger.admin().counter("jwt_gate.revocation.failures");
    wait_for("the strange gate counts", || (failures() > 2).then_some(()));
    Request::get("/notes").bearer(&user.token).send(stranger.port("app")).assert_denied(401, "unknown_key");
    let theirs = forge::token_of(forge::OTHER_SECRET, &forge::claims("user_1", json!({})));
    Request::get("/notes").bearer(&theirs).send(stranger.port("app")).reached();
    Request::get("/notes").bearer(&theirs).send(friend.port("app")).assert_denied(401, "bad_signature");
    sign_out(&companion, &user.token);
    Clients::open(friend.port("app"), 4).until_revoked(&user.token);
    assert_eq!(friend.admin().counter("jwt_gate.revocation.failures"), 0);
}
