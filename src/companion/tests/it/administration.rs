//! What an operator does with accounts from the command line, on both kinds of store.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use jwt_gate_auth::email::Email;
use jwt_gate_auth::store::{Begun, Change, NewSession, RevokeUser, Store};
use serde_json::{Value, json};

use crate::companion::{Answer, Companion, PASSWORD, call, program};
use crate::schema::{block_on, on_both};
use crate::setup::{has, skip};

const ADA: &str = "ada@example.com";

/// Runs `users …`, with this text on stdin.
fn users(url: &str, arguments: &[&str], stdin: &str) -> Output {
    let mut child = program()
        .arg("users")
        .args(arguments)
        .env("DATABASE_URL", url)
        .env("JWT_GATE_BCRYPT_COST", "4")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments does not read stdin.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

fn done(url: &str, arguments: &[&str], stdin: &str) -> String {
    let output = users(url, arguments, stdin);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(url: &str, arguments: &[&str], stdin: &str) -> String {
    let output = users(url, arguments, stdin);
    assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn start(url: &str) -> Companion {
    Companion::start_with(url, &["--throttle-address", "0", "--throttle-account", "0"], &[])
}

fn token(signed_in: &Answer) -> String {
    assert!([200, 201].contains(&signed_in.status), "{signed_in:?}");
    signed_in.json()["token"].as_str().unwrap().to_owned()
}

fn me(companion: &Companion, token: &str) -> Answer {
    companion.get("/api/auth/me", &[("authorization", &format!("Bearer {token}"))])
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&jwt_gate_token::base64url_decode(payload.as_bytes()).unwrap()).unwrap()
}

/// What a gate that has read the feed says of a token.
fn verdict(companion: &Companion, token: &str) -> Value {
    companion.post("/api/auth/verify", &[], &json!({"token": token})).json()
}

/// The subjects whose tokens the feed revokes.
fn revoked_subjects(companion: &Companion) -> Vec<String> {
    let gate = crate::commands::mint(&["--sub", "gate", "--audience", "jwt-gate/internal"]);
    let url = format!("{}/internal/revocations", companion.private);
    let feed = call("GET", &url, &[("authorization", &format!("Bearer {gate}"))], None).json();
    feed["sub"].as_array().unwrap().iter().map(|entry| entry[0].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_accounts_own_claims_are_in_its_tokens_and_a_change_ends_the_old_ones() {
    on_both("an_accounts_own_claims_are_in_its_tokens_and_a_change_ends_the_old_ones", |new| {
        let url = new("claims");
        let companion = start(&url);
        let before = companion.sign_up(ADA)["token"].as_str().unwrap().to_owned();
        assert_eq!(claims(&before)["role"], Value::Null);

        done(&url, &["set", ADA, "--claims", r#"{"role": "admin", "teams": ["a", "b"]}"#], "");
        assert_eq!(me(&companion, &before).code(), "revoked");
        let admin = token(&companion.sign_in(ADA, PASSWORD));
        let (held, id) = (claims(&admin), claims(&before)["sub"].clone());
        assert_eq!((&held["role"], &held["teams"]), (&json!("admin"), &json!(["a", "b"])));
        assert_eq!(
            (&held["sub"], &held["email"], &held["email_verified"]),
            (&id, &json!(ADA), &json!(false))
        );
        assert_eq!(me(&companion, &admin).status, 200);

        // The same claims again change nothing, and a new name leaves them in the new token.
        done(&url, &["set", ADA, "--claims", r#"{"teams":["a","b"],"role":"admin"}"#], "");
        assert_eq!(me(&companion, &admin).status, 200);
        let headers = [("cookie", &*format!("jwt-gate={admin}")), ("origin", &companion.public)];
        let renamed = companion.post("/api/auth/update-user", &headers, &json!({"name": "Countess"}));
        let renamed = renamed.header("set-auth-token").unwrap().to_owned();
        assert_eq!(
            (&claims(&renamed)["name"], &claims(&renamed)["role"]),
            (&json!("Countess"), &json!("admin"))
        );

        // Whoever was an admin is none from the next second on, at the gate too.
        done(&url, &["set", ADA, "--claims", "{}"], "");
        for token in [&admin, &renamed] {
            assert_eq!(verdict(&companion, token), json!({"active": false, "code": "revoked"}));
        }
        assert_eq!(claims(&token(&companion.sign_in(ADA, PASSWORD)))["role"], Value::Null);
    });
}

#[test]
fn a_claim_that_the_companion_sets_itself_is_no_accounts_own() {
    on_both("a_claim_that_the_companion_sets_itself_is_no_accounts_own", |new| {
        let url = new("reserved");
        let companion = start(&url);
        let before = companion.sign_up(ADA)["token"].as_str().unwrap().to_owned();
        let names = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "email", "email_verified", "name"];
        for name in names {
            let said = refused(
                &url,
                &["set", ADA, "--claims", &json!({name: "x", "role": "admin"}).to_string()],
                "",
            );
            assert!(said.contains(&format!("`{name}`")), "{said}");
        }
        for bad in ["", "[]", "role=admin", r#"{"role": "user", "role": "admin"}"#] {
            refused(&url, &["set", ADA, "--claims", bad], "");
        }
        let long = json!({"role": "x".repeat(2000)}).to_string();
        assert!(refused(&url, &["set", ADA, "--claims", &long], "").contains("1024 bytes"));
        assert_eq!(me(&companion, &before).status, 200, "nothing has changed");
    });
}

/// A sign-in that read the account before its claims changed must not issue a token with the old ones.
#[test]
fn no_session_begins_with_claims_that_have_changed() {
    on_both("no_session_begins_with_claims_that_have_changed", |new| {
        let url = new("race");
        drop(start(&url));
        done(&url, &["create", "--email", ADA], PASSWORD);
        done(&url, &["set", ADA, "--claims", r#"{"role":"admin"}"#], "");
        block_on(async {
            let store = Store::open(&url, 2).await.unwrap();
            let read = store.user_by_email(&Email::parse(ADA).unwrap()).await.unwrap().unwrap();
            let session = || NewSession {
                id: jwt_gate_auth::id::new_session_id(),
                ip_address: String::new(),
                user_agent: String::new(),
                remember: true,
                lifetime_seconds: 60,
            };
            assert!(!matches!(store.begin_session(&read, session(), true).await, Ok(Begun::Changed)));
            let change = Change::Claims("{}");
            store.revoke_user(RevokeUser { user_id: &read.id, change }).await.unwrap().unwrap();
            assert!(matches!(store.begin_session(&read, session(), true).await, Ok(Begun::Changed)));
            store.close().await;
        });
    });
}

#[test]
fn a_password_that_an_operator_sets_is_the_only_one_and_ends_every_session() {
    on_both("a_password_that_an_operator_sets_is_the_only_one_and_ends_every_session", |new| {
        let url = new("password");
        let companion = start(&url);
        let before = companion.sign_up(ADA)["token"].as_str().unwrap().to_owned();
        assert!(refused(&url, &["set-password", ADA], "short\n").contains("at least 8 characters"));
        assert!(
            refused(&url, &["set-password", "bob@example.com"], "another horse\n").contains("no account")
        );
        assert_eq!(me(&companion, &before).status, 200);

        done(&url, &["set-password", ADA], "another horse\r\nand a second line\n");
        assert_eq!(verdict(&companion, &before), json!({"active": false, "code": "revoked"}));
        assert_eq!(companion.sign_in(ADA, PASSWORD).status, 401);
        let after = token(&companion.sign_in(ADA, "another horse"));
        assert_eq!(me(&companion, &after).status, 200);
    });
}

#[test]
fn at_a_terminal_a_password_is_asked_for_twice_and_never_shown() {
    const NAME: &str = "at_a_terminal_a_password_is_asked_for_twice_and_never_shown";
    const SCRIPT: &str = r#"
import os, pty, sys
def run(answers):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.argv[1], sys.argv[1:])
    shown, answers = b"", list(answers)
    while True:
        try:
            read = os.read(terminal, 4096)
        except OSError:
            break
        if not read:
            break
        shown += read
        # The prompt comes before the terminal is silent, so wait for the silence.
        while answers and shown.rstrip().endswith(b":"):
            import termios, time
            if termios.tcgetattr(terminal)[3] & termios.ECHO:
                time.sleep(0.01)
                continue
            os.write(terminal, answers.pop(0) + b"\n")
            break
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), repr(shown))
run([b"another horse", b"another house"])
run([b"another horse", b"another horse"])
"#;
    if !has("python3") {
        return skip(NAME, "python3 is not installed");
    }
    let directory = tempfile::TempDir::new().unwrap();
    let url = crate::companion::sqlite_url(directory.path());
    let companion = start(&url);
    companion.sign_up(ADA);
    let output = Command::new("python3")
        .args(["-c", SCRIPT])
        .arg(program().get_program())
        .args(["users", "set-password", ADA, "--bcrypt-cost", "4"])
        .env("DATABASE_URL", &url)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let runs: Vec<&str> = said.lines().collect();
    assert!(runs.len() == 2 && output.status.success(), "{output:?}");
    assert!(runs[0].starts_with("1 ") && runs[0].contains("the two passwords differ"), "{said}");
    assert!(runs[1].starts_with("0 "), "{said}");
    for run in &runs {
        assert!(run.contains("New password:") && run.contains("The same again:"), "{said}");
        assert!(!run.contains("another"), "a password was shown: {said}");
    }
    assert_eq!(companion.sign_in(ADA, "another horse").status, 200);
}

#[test]
fn where_sign_up_is_closed_only_an_operator_makes_accounts() {
    on_both("where_sign_up_is_closed_only_an_operator_makes_accounts", |new| {
        let url = new("closed");
        let companion = Companion::start_with(&url, &["--sign-up", "closed"], &[]);
        let account = json!({"email": ADA, "password": PASSWORD, "name": "Ada"});
        let native = companion.post("/api/auth/signup", &[], &account);
        assert_eq!((native.status, native.code().as_str()), (403, "sign_up_closed"), "{native:?}");
        let wire = companion.post("/api/auth/sign-up/email", &[], &account);
        assert_eq!((wire.status, wire.code().as_str()), (400, "EMAIL_PASSWORD_SIGN_UP_DISABLED"), "{wire:?}");
        assert_eq!(wire.json()["message"], "Email and password sign up is not enabled");
        for page in ["/sign-up", "/api/auth/sign-up"] {
            let headers =
                [("content-type", "application/x-www-form-urlencoded"), ("origin", &companion.public)];
            let form = "email=ada%40example.com&password=correct+horse+battery&name=Ada";
            let answer = companion.post_text(page, &headers, form);
            assert_eq!(answer.status, 403, "{answer:?}");
            assert!(answer.body.contains("Signing up is closed") && answer.header("set-cookie").is_none());
            let shown = companion.get(page, &[]);
            assert_eq!(shown.status, 403, "no form that is always refused: {shown:?}");
            assert!(shown.body.contains("Signing up is closed") && !shown.body.contains("<form"));
        }
        let sign_in = companion.get("/sign-in", &[]);
        assert!(sign_in.body.contains("<form") && !sign_in.body.contains("sign-up"), "{sign_in:?}");
        assert_eq!(companion.sign_in(ADA, PASSWORD).status, 401, "nobody was made");

        done(&url, &["create", "--email", ADA, "--name", "Ada"], PASSWORD);
        assert_eq!(companion.sign_in(ADA, PASSWORD).status, 200);
        // Whether an address has an account is not said either.
        assert_eq!(companion.post("/api/auth/signup", &[], &account).code(), "sign_up_closed");
    });
}

#[test]
fn a_deleted_accounts_tokens_end_at_every_gate_and_its_address_is_free() {
    on_both("a_deleted_accounts_tokens_end_at_every_gate_and_its_address_is_free", |new| {
        let url = new("deleted");
        let companion = start(&url);
        let ada = companion.sign_up(ADA);
        let bob = companion.sign_up("bob@example.com")["token"].as_str().unwrap().to_owned();
        let (id, first) = (ada["user"]["id"].as_str().unwrap(), ada["token"].as_str().unwrap());
        let second = token(&companion.sign_in(ADA, PASSWORD));
        done(&url, &["delete", ADA], "");

        for token in [first, &second] {
            assert_eq!(me(&companion, token).code(), "revoked");
            assert_eq!(verdict(&companion, token), json!({"active": false, "code": "revoked"}));
        }
        assert_eq!(revoked_subjects(&companion), [id], "the gates are told");
        assert_eq!(companion.sign_in(ADA, PASSWORD).code(), "invalid_credentials");
        assert!(refused(&url, &["show", id], "").contains("no account"));
        assert!(refused(&url, &["delete", ADA], "").contains("no account"));
        assert_eq!(me(&companion, &bob).status, 200, "nobody else is concerned");

        let anew = companion.sign_up(ADA);
        assert_ne!(anew["user"]["id"], ada["user"]["id"]);
        assert_eq!(me(&companion, anew["token"].as_str().unwrap()).status, 200);
        assert_eq!(verdict(&companion, first)["active"], json!(false));
    });
}

#[test]
fn an_account_is_shown_with_its_sessions_and_without_its_hash() {
    on_both("an_account_is_shown_with_its_sessions_and_without_its_hash", |new| {
        let url = new("shown");
        let companion = start(&url);
        let id = companion.sign_up(ADA)["user"]["id"].as_str().unwrap().to_owned();
        done(&url, &["set", ADA, "--claims", r#"{"role":"admin"}"#], "");
        let session = claims(&token(&companion.sign_in(ADA, PASSWORD)))["jti"].clone();
        for account in [ADA, &id] {
            let text = done(&url, &["show", account], "");
            assert!(!text.contains("$2"), "{text}");
            let shown: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(
                (&shown["id"], &shown["email"], &shown["name"]),
                (&json!(id), &json!(ADA), &json!("Ada"))
            );
            assert_eq!((&shown["disabled"], &shown["bcrypt_cost"]), (&json!(false), &json!(4)));
            assert_eq!(shown["claims"], json!({"role": "admin"}));
            let sessions = shown["sessions"].as_array().unwrap();
            assert_eq!(sessions.len(), 1, "{shown}");
            assert_eq!(sessions[0]["id"], session);
            assert_eq!(sessions[0]["ip_address"], json!(crate::companion::address_of(ADA)));
        }
    });
}

#[test]
fn whoever_deletes_their_account_gives_the_password_and_every_token_ends() {
    on_both("whoever_deletes_their_account_gives_the_password_and_every_token_ends", |new| {
        let url = new("leaving");
        let companion = start(&url);
        let ada = companion.sign_up(ADA);
        let first = ada["token"].as_str().unwrap().to_owned();
        let second = token(&companion.sign_in(ADA, PASSWORD));
        let other = companion.sign_up("bob@example.com")["token"].as_str().unwrap().to_owned();
        let delete = |headers: &[(&str, &str)], body: &Value| {
            let headers = [&[("content-type", "application/json")], headers].concat();
            call(
                "DELETE",
                &format!("{}/api/auth/me", companion.public),
                &headers,
                Some(body.to_string().as_bytes()),
            )
        };
        let bearer = format!("Bearer {first}");
        let right = json!({"password": PASSWORD});
        let without = delete(&[("authorization", &bearer)], &json!({}));
        assert_eq!((without.status, without.code().as_str()), (422, "invalid_fields"));
        let wrong = delete(&[("authorization", &bearer)], &json!({"password": "wrong horse"}));
        assert_eq!((wrong.status, wrong.code().as_str()), (401, "invalid_credentials"));
        // A page of another origin cannot, and neither can somebody without a token.
        let cookie = format!("jwt-gate={first}");
        assert_eq!(delete(&[("cookie", &cookie), ("origin", "https://evil.example")], &right).status, 403);
        assert_eq!(delete(&[("cookie", &cookie)], &right).status, 403);
        assert_eq!(delete(&[], &right).status, 401);
        assert_eq!((me(&companion, &first).status, me(&companion, &second).status), (200, 200));

        // The other account's cookie is taken away, so its token ends as well.
        let both = [
            ("authorization", &*bearer),
            ("cookie", &*format!("jwt-gate={other}")),
            ("origin", &companion.public),
        ];
        let gone = delete(&both, &right);
        assert_eq!(gone.status, 204, "{gone:?}");
        assert!(gone.header("set-cookie").unwrap().contains("Max-Age=0"), "{gone:?}");
        for token in [&first, &second, &other] {
            assert_eq!(verdict(&companion, token), json!({"active": false, "code": "revoked"}));
        }
        assert_eq!(revoked_subjects(&companion), [ada["user"]["id"].as_str().unwrap()]);
        assert_eq!(companion.sign_in(ADA, PASSWORD).status, 401);
        assert_eq!(
            companion.sign_in("bob@example.com", PASSWORD).status,
            200,
            "only a session of Bob's has ended"
        );
        assert_eq!(delete(&[("authorization", &bearer)], &right).code(), "revoked");
    });
}

/// A line of the log of `serve --log-format json` about this event.
fn lines_of(log: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["target"] == "jwt_gate_auth::security").collect()
}

#[test]
fn who_did_what_to_which_account_from_where_is_logged_and_counted_without_a_secret() {
    on_both("who_did_what_to_which_account_from_where_is_logged_and_counted_without_a_secret", |new| {
        let url = new("events");
        let flags = ["--log-format", "json", "--throttle-address", "0", "--throttle-account", "0"];
        let mut companion = Companion::start_with(&url, &flags, &[]);
        let ada = companion.sign_up(ADA);
        let id = ada["user"]["id"].as_str().unwrap().to_owned();
        let first = ada["token"].as_str().unwrap().to_owned();
        companion.sign_in(ADA, "wrong horse");
        companion.sign_in("my password is hunter2", "wrong horse");
        let second = token(&companion.sign_in(ADA, PASSWORD));
        let call_with = |path: &str, token: &str, body: &Value| {
            let headers =
                [("authorization", &*format!("Bearer {token}")), ("x-forwarded-for", "203.0.113.9")];
            let answer = companion.post(path, &headers, body);
            assert!([200, 204].contains(&answer.status), "{path}: {answer:?}");
        };
        call_with("/api/auth/signout", &first, &json!({}));
        call_with("/api/auth/revoke-other-sessions", &second, &json!({}));
        let change = json!({"current_password": PASSWORD, "new_password": "another horse"});
        call_with("/api/auth/change-password", &second, &change);
        let third = token(&companion.sign_in(ADA, "another horse"));
        call_with("/api/auth/signout-everywhere", &third, &json!({}));
        let fourth = token(&companion.sign_in(ADA, "another horse"));
        call_with("/api/auth/delete-user", &fourth, &json!({"password": "another horse"}));
        companion.post("/api/auth/signup", &[], &json!({"email": "bob@example.com", "password": PASSWORD}));
        companion.post("/api/auth/signup", &[], &json!({"email": "bob@example.com", "password": PASSWORD}));

        let metrics = call("GET", &format!("{}/metrics", companion.private), &[], None).body;
        for counted in [
            r#"jwt_gate_auth_events_total{event="sign_in",outcome="invalid_credentials"} 2"#,
            r#"jwt_gate_auth_events_total{event="sign_in",outcome="done"} 3"#,
            r#"jwt_gate_auth_events_total{event="delete",outcome="done"} 1"#,
            r#"jwt_gate_auth_events_total{event="sign_up",outcome="email_taken"} 1"#,
        ] {
            assert!(metrics.contains(counted), "{counted}: {metrics}");
        }
        assert!(companion.terminate());
        let log = companion.log();
        let lines = lines_of(&log);
        let of = |event: &str, outcome: &str| -> Vec<&Value> {
            lines.iter().filter(|line| line["event"] == event && line["outcome"] == outcome).collect()
        };
        let session = |token: &str| claims(token)["jti"].clone();
        let signed_up = of("sign_up", "done")[0];
        assert_eq!((&signed_up["user_id"], &signed_up["session_id"]), (&json!(id), &session(&first)));
        assert_eq!(signed_up["from"], json!(crate::companion::address_of(ADA)));
        // A known account is named in a failure; whatever else was typed is not.
        let failed = of("sign_in", "invalid_credentials");
        assert_eq!((failed.len(), &failed[0]["user_id"]), (2, &json!(id)), "{lines:#?}");
        assert_eq!(failed[1].get("user_id"), None, "{failed:?}");
        let out = of("sign_out", "done")[0];
        assert_eq!((&out["session_id"], &out["from"]), (&session(&first), &json!("203.0.113.9")));
        for event in ["sign_out_elsewhere", "change_password", "sign_out_everywhere", "delete"] {
            let line = of(event, "done")[0];
            assert_eq!((&line["user_id"], &line["from"]), (&json!(id), &json!("203.0.113.9")), "{event}");
        }
        for secret in [PASSWORD, "another horse", "wrong horse", "hunter2", &first, &second, &third, &fourth]
        {
            assert!(!log.contains(secret), "{secret} was logged");
        }

        // What an operator does is told as well.
        for (arguments, event, stdin) in [
            (vec!["set", "bob@example.com", "--claims", r#"{"role":"admin"}"#], "set_claims", ""),
            (vec!["set-password", "bob@example.com"], "change_password", "a third horse\n"),
            (vec!["disable", "bob@example.com"], "disable", ""),
            (vec!["enable", "bob@example.com"], "enable", ""),
            (vec!["revoke", "bob@example.com"], "sign_out_everywhere", ""),
            (vec!["delete", "bob@example.com"], "delete", ""),
        ] {
            let output = users(&url, &arguments, stdin);
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success() && said.contains("security event"), "{arguments:?}: {said}");
            assert!(
                said.contains(event) && said.contains("command line") && !said.contains("horse"),
                "{said}"
            );
        }
    });
}
