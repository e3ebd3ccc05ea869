//! Where a request's tokens stand, and what becomes of each.

use serde_json::{Value, json};

use crate::companion::{Answer, Companion, PASSWORD};

const EMAIL: &str = "ada@example.com";

fn token(answer: &Answer) -> String {
    answer.json()["token"].as_str().unwrap().to_owned()
}

/// The code of the answer to a call with `token`.
fn verdict(companion: &Companion, token: &str) -> String {
    let me = companion.get("/api/auth/me", &[("authorization", &format!("Bearer {token}"))]);
    if me.status == 200 { "good".to_owned() } else { me.code() }
}

/// A companion with an account, and the tokens of two of its sessions.
fn two_sessions() -> (Companion, String, String) {
    let companion = Companion::start(&[]);
    companion.sign_up(EMAIL);
    let [one, other] = [(); 2].map(|()| token(&companion.sign_in(EMAIL, PASSWORD)));
    (companion, one, other)
}

#[test]
fn another_cookies_bytes_do_not_hide_the_session() {
    for other in ["x=\u{e9}", "city=München", "\u{ff}", "a=\tb"] {
        for path in ["/api/auth/signout", "/api/auth/sign-out"] {
            let (companion, token, _) = two_sessions();
            let cookie = format!("{other}; jwt-gate={token}");
            assert_eq!(companion.get("/api/auth/me", &[("cookie", &cookie)]).status, 200, "{other:?}");
            let headers = [("cookie", cookie.as_str()), ("origin", &companion.public)];
            let out = companion.post_text(path, &headers, "");
            assert!(matches!(out.status, 200 | 204), "{other:?} {path}: {out:?}");
            assert_eq!(verdict(&companion, &token), "revoked", "{other:?} {path}");
        }
    }
}

#[test]
fn signing_out_ends_the_bearer_token_and_the_cookies() {
    for path in ["/api/auth/signout", "/api/auth/sign-out"] {
        let (companion, one, other) = two_sessions();
        let bearer = format!("Bearer {one}");
        let cookie = format!("jwt-gate={other}");
        let headers = [("authorization", bearer.as_str()), ("cookie", &cookie)];
        let out = companion.post_text(path, &headers, "");
        assert!(matches!(out.status, 200 | 204), "{path}: {out:?}");
        assert_eq!(
            (verdict(&companion, &one), verdict(&companion, &other)),
            ("revoked".into(), "revoked".into())
        );
    }
}

#[test]
fn a_dead_bearer_token_beside_the_cookie_does_not_save_it() {
    let (companion, token, other) = two_sessions();
    for dead in ["x", &format!("{token}x")] {
        let headers =
            [("authorization", &*format!("Bearer {dead}")), ("cookie", &*format!("jwt-gate={other}"))];
        assert_eq!(companion.post_text("/api/auth/signout", &headers, "").status, 204);
    }
    assert_eq!((verdict(&companion, &token), verdict(&companion, &other)), ("good".into(), "revoked".into()));
    let lone = companion.post_text("/api/auth/signout", &[("authorization", "Bearer x")], "");
    assert_eq!((lone.status, lone.code().as_str()), (401, "malformed"));
}

#[test]
fn ending_every_session_ends_the_cookie_of_another_account_too_that_is_taken_away() {
    for path in ["/api/auth/signout-everywhere", "/api/auth/revoke-sessions"] {
        let (companion, token, _) = two_sessions();
        let bob = companion.sign_up("bob@example.com")["token"].as_str().unwrap().to_owned();
        let headers =
            [("authorization", &*format!("Bearer {token}")), ("cookie", &*format!("jwt-gate={bob}"))];
        let out = companion.post_text(path, &headers, "");
        assert!(matches!(out.status, 200 | 204), "{path}: {out:?}");
        assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"), "{out:?}");
        assert_eq!(
            (verdict(&companion, &token), verdict(&companion, &bob)),
            ("revoked".into(), "revoked".into())
        );
    }
}

#[test]
fn two_different_tokens_in_one_place_are_refused_and_nothing_is_said_to_have_ended() {
    let (companion, one, other) = two_sessions();
    let cookies = format!("jwt-gate={one}; jwt-gate={other}");
    let out =
        companion.post_text("/api/auth/signout", &[("cookie", &cookies), ("origin", &companion.public)], "");
    assert_eq!((out.status, out.code().as_str()), (401, "ambiguous"));
    let bearers = format!("Bearer {one}, Bearer {other}");
    let me = companion.get("/api/auth/me", &[("authorization", &bearers)]);
    assert_eq!((me.status, me.code().as_str()), (401, "ambiguous"));
    let same = format!("Bearer {one}, Bearer {one}");
    assert_eq!(companion.get("/api/auth/me", &[("authorization", &same)]).status, 200);
}

/// `GET /get-session`: the session's user, and whether the cookie is taken away.
fn get_session(companion: &Companion, headers: &[(&str, &str)]) -> (Value, bool) {
    let answer = companion.get("/api/auth/get-session", headers);
    assert_eq!(answer.status, 200, "{answer:?}");
    (answer.json()["user"]["email"].clone(), answer.header("set-cookie").is_some())
}

#[test]
fn get_session_takes_away_a_dead_cookie_and_no_other() {
    let (companion, good, other) = two_sessions();
    let good = format!("jwt-gate={good}");
    assert_eq!(get_session(&companion, &[("cookie", &good)]), (json!(EMAIL), false));
    // A bearer token that a client kept for too long says nothing of the cookie.
    for bearer in ["Bearer x", &format!("Bearer {other}x")] {
        let seen = get_session(&companion, &[("authorization", bearer), ("cookie", &good)]);
        assert_eq!(seen, (Value::Null, false), "{bearer}");
    }
    for dead in ["x", &format!("{}x", &other[..other.len() - 1])] {
        let seen = get_session(&companion, &[("cookie", &format!("jwt-gate={dead}"))]);
        assert_eq!(seen, (Value::Null, true), "{dead}");
    }
    companion.post_text("/api/auth/signout", &[("authorization", &format!("Bearer {other}"))], "");
    let seen = get_session(&companion, &[("cookie", &format!("jwt-gate={other}"))]);
    assert_eq!(seen, (Value::Null, true), "revoked");
    let planted = format!("{good}; jwt-gate={other}");
    assert_eq!(get_session(&companion, &[("cookie", &planted)]), (Value::Null, false), "ambiguous");
}

#[test]
fn while_a_secret_reaches_the_companions_one_after_the_other_nobody_is_signed_out() {
    const NEW: &str = "a newer secret for tests of 32 bytes or more";
    let directory = tempfile::TempDir::new().unwrap();
    let url = crate::companion::sqlite_url(directory.path());
    let rotated = format!("2:{NEW}");
    let first = Companion::start_with(&url, &[], &[("BETTER_AUTH_SECRETS", &rotated)]);
    let second = Companion::start_with(&url, &[], &[]);
    let token = first.sign_up(EMAIL)["token"].as_str().unwrap().to_owned();
    let cookie = format!("jwt-gate={token}");
    assert_eq!(get_session(&second, &[("cookie", &cookie)]), (Value::Null, false));
    // What cannot be ended here is not said to be.
    let headers = [("cookie", cookie.as_str()), ("origin", &second.public)];
    let out = second.post_text("/api/auth/signout", &headers, "");
    assert_eq!((out.status, out.code().as_str()), (401, "unknown_key"));
    assert_eq!(get_session(&first, &[("cookie", &cookie)]), (json!(EMAIL), false));
}
