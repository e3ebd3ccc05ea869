//! Where tokens are looked for, and what is left of the request when they are taken off.

use jwt_gate_tests::{Listener, Request, forge, http2};
use serde_json::json;

use crate::{app, envoy, provider, with};

pub(crate) fn listeners() -> Vec<Listener> {
    let everywhere = with(
        provider(),
        json!({
            "from_headers": [
                {"name": "Authorization", "value_prefix": "Bearer "},
                {"name": "X-Token"},
                {"name": "x-api-key", "value_prefix": "Key="},
            ],
            "from_cookies": ["session", "better-auth.session_data"],
            "from_params": ["access_token", "t"],
        }),
    );
    let cookie_only = with(provider(), json!({"from_headers": []}));
    vec![
        Listener::gated("everywhere", with(app(), json!({"providers": {"app": everywhere}}))),
        Listener::gated("cookie-only", with(app(), json!({"providers": {"app": cookie_only}}))),
    ]
}

fn token() -> String {
    forge::token("user_1", json!({}))
}

#[test]
fn a_token_is_found_in_every_configured_header_cookie_and_parameter_and_taken_off() {
    let token = token();
    let escaped = token.replace('.', "%2E");
    let base = || Request::get("/api/me");
    for (place, request) in [
        ("Authorization", base().bearer(&token)),
        (
            "bearer in small letters (RFC 9110 §11.1)",
            base().header("authorization", format!("bearer {token}")),
        ),
        ("X-Token", base().header("x-token", &token)),
        ("x-api-key", base().header("X-Api-Key", format!("Key={token}"))),
        ("the first cookie", base().header("cookie", format!("session={token}"))),
        ("the second cookie", base().header("cookie", format!("better-auth.session_data={token}"))),
        ("a quoted cookie", base().header("cookie", format!("session=\"{token}\""))),
        ("a parameter", Request::get(format!("/api/me?access_token={token}"))),
        ("the other parameter", Request::get(format!("/api/me?t={token}"))),
        ("an escaped parameter", Request::get(format!("/api/me?t={escaped}"))),
    ] {
        let answer = request.send(envoy().port("everywhere"));
        assert!(answer.seen().is_some(), "{place}: {} {}", answer.status, answer.text());
        let seen = answer.reached();
        assert_eq!(seen.one("x-user-id").as_deref(), Some("user_1"), "{place}");
        let signature = token.rsplit('.').next().unwrap();
        assert!(!seen.holds(signature.as_bytes()), "{place}: the token is still there: {seen:?}");
    }
}

#[test]
fn a_place_that_is_not_configured_holds_no_token() {
    let token = token();
    let port = envoy().port("cookie-only");
    for (place, request) in [
        ("Authorization", Request::get("/api/me").bearer(&token)),
        ("another cookie", Request::get("/api/me").header("cookie", format!("sessions={token}"))),
        ("the cookie in capitals", Request::get("/api/me").header("cookie", format!("SESSION={token}"))),
        ("a cookie's value", Request::get("/api/me").header("cookie", format!("a=session={token}"))),
        ("another scheme", Request::get("/api/me").header("authorization", format!("Basic {token}"))),
        ("a parameter", Request::get(format!("/api/me?access_token={token}"))),
        ("the body", Request::new("POST", "/api/me").body(format!("access_token={token}"))),
    ] {
        let answer = request.send(port);
        assert_eq!((answer.status, answer.code().as_str()), (401, "missing_token"), "{place}");
    }
    Request::get("/api/me").header("cookie", format!("session={token}")).send(port).reached();
}

#[test]
fn what_is_left_of_the_cookie_header_is_every_other_byte() {
    let token = token();
    let port = envoy().port("everywhere");
    for (sent, left) in [
        ("session=T", None),
        ("a=1; session=T", Some("a=1")),
        ("session=T; a=1", Some("a=1")),
        ("a=1; session=T; b=2", Some("a=1; b=2")),
        ("a=\"x y\"; session=T; b==; c", Some("a=\"x y\"; b==; c")),
        ("xsession=1; session=T; session2=2", Some("xsession=1; session2=2")),
        ("session=T; session=T; a=1", Some("a=1")),
        ("session=T; better-auth.session_data=J; a=1", Some("a=1")),
        // Of another name that is configured, what is no JWT is somebody else's: a Flask session here.
        (
            "session=T; better-auth.session_data=eyJ1IjoxfQ.ZxYz.c2ln",
            Some("better-auth.session_data=eyJ1IjoxfQ.ZxYz.c2ln"),
        ),
        ("a=1;session=T;b=2", Some("a=1;b=2")),
    ] {
        let other = format!("_data={}", forge::token("user_2", json!({})));
        let cookie = sent.replace("session=T", &format!("session={token}")).replace("_data=J", &other);
        let answer = Request::get("/api/me").header("cookie", &cookie).send(port);
        assert!(answer.seen().is_some(), "{sent}: {}", answer.text());
        assert_eq!(answer.reached().one("cookie").as_deref(), left, "{sent}");
        assert_eq!(answer.reached().all("cookie").len(), usize::from(left.is_some()), "{sent}");
    }
    // HTTP/2 may send each pair as a field of its own (RFC 9113 §8.2.3).
    let request = Request::get("/api/me")
        .header("cookie", "a=1")
        .header("cookie", format!("session={token}"))
        .header("cookie", "b=2");
    assert_eq!(http2::send(&request, port).reached().all("cookie").join("; "), "a=1; b=2");
    assert_eq!(request.send(port).reached().all("cookie").join("; "), "a=1; b=2");
}

#[test]
fn bytes_of_other_cookies_survive_even_where_they_are_not_utf8() {
    let cookie = [b"a=\xff\xfe; session=", token().as_bytes(), b"; b=\xc3\x28"].concat();
    let seen = Request::get("/api/me").header("cookie", cookie).send(envoy().port("everywhere")).reached();
    let left: Vec<_> = seen.headers.iter().filter(|(name, _)| name.as_slice() == b"cookie").collect();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].1, b"a=\xff\xfe; b=\xc3\x28");
}

#[test]
fn what_is_left_of_the_path_is_every_other_byte() {
    let token = token();
    let port = envoy().port("everywhere");
    for (sent, left) in [
        ("/api/me?access_token=T", "/api/me"),
        ("/api/me?access_token=T&a=1", "/api/me?a=1"),
        ("/api/me?a=1&access_token=T", "/api/me?a=1"),
        ("/api/me?a=1&access_token=T&b=2", "/api/me?a=1&b=2"),
        ("/api/me?a=%2F%20+&access_token=T&&b&=&c=d=e?f", "/api/me?a=%2F%20+&&b&=&c=d=e?f"),
        ("/api/me?access_tokens=1&access_token=T", "/api/me?access_tokens=1"),
        ("/api/me?%61ccess_token=T&a=1", "/api/me?a=1"),
        ("/api/me?access_token=T&access_token=T", "/api/me"),
        ("/api/me?access_token=T&t=old", "/api/me"),
        ("/api/a%20b?access_token=T", "/api/a%20b"),
    ] {
        let answer = Request::get(sent.replace('T', &token)).send(port);
        assert!(answer.seen().is_some(), "{sent}: {}", answer.text());
        assert_eq!(answer.reached().path(), left, "{sent}");
    }
}

#[test]
fn the_first_place_that_holds_a_token_decides() {
    let (good, bad) = (token(), "bad.bad.bad");
    let port = envoy().port("everywhere");
    let cookie = format!("session={good}");
    // A bad one in an earlier place is not rescued by a good one in a later place.
    Request::get("/api/me").bearer(bad).header("cookie", &cookie).send(port).assert_denied(401, "malformed");
    Request::get("/api/me")
        .header("x-token", bad)
        .header("cookie", &cookie)
        .send(port)
        .assert_denied(401, "malformed");
    let request = Request::get(format!("/api/me?t={good}")).header("cookie", format!("session={bad}"));
    request.send(port).assert_denied(401, "malformed");
    let cookies = format!("better-auth.session_data={good}; session={bad}");
    Request::get("/api/me").header("cookie", cookies).send(port).assert_denied(401, "malformed");
    // And the other way round a bad one behind a good one does not matter, nor does it arrive.
    let bad = &forge::sign(forge::OTHER_SECRET, r#"{"alg":"HS256"}"#, r#"{"sub":"user_2"}"#);
    let request =
        Request::get(format!("/api/me?t={bad}")).bearer(&good).header("cookie", format!("session={bad}"));
    let seen = request.send(port).reached();
    assert_eq!(seen.one("x-user-id").as_deref(), Some("user_1"));
    assert!(!seen.holds(bad.as_bytes()), "{seen:?}");
}

#[test]
fn another_scheme_or_an_empty_place_is_no_token_and_the_next_place_counts() {
    let token = token();
    let port = envoy().port("everywhere");
    let cookie = format!("session={token}");
    for authorization in ["Basic dXNlcjpwYXNz", "Bearer", "Bearer ", "", "Digest username=\"a\", realm=\"b\""]
    {
        let request =
            Request::get("/api/me").header("authorization", authorization).header("cookie", &cookie);
        let answer = request.send(port);
        assert!(answer.seen().is_some(), "{authorization:?}: {}", answer.text());
        let seen = answer.reached();
        assert_eq!(seen.one("x-user-id").as_deref(), Some("user_1"), "{authorization:?}");
        if authorization.starts_with("Basic") {
            assert_eq!(seen.one("authorization").as_deref(), Some(authorization), "it is not ours to take");
        }
    }
    let request =
        Request::get("/api/me").header("cookie", format!("session=; better-auth.session_data={token}"));
    assert_eq!(request.send(port).reached().one("x-user-id").as_deref(), Some("user_1"));
}

#[test]
fn different_tokens_in_one_place_are_ambiguous_and_the_same_one_twice_is_not() {
    let (one, two) = (token(), forge::token("user_2", json!({})));
    let port = envoy().port("everywhere");
    let bearer = |token: &str| format!("Bearer {token}");
    let get = || Request::get("/api/me");
    let ambiguous = [
        ("two bearers", get().bearer(&one).bearer(&two)),
        ("a bearer and a Basic", get().bearer(&one).header("authorization", "Basic dXNlcjpwYXNz")),
        ("a Basic and a bearer", get().header("authorization", "Basic dXNlcjpwYXNz").bearer(&one)),
        ("two in one field", get().header("authorization", format!("{}, {}", bearer(&one), bearer(&two)))),
        ("a good and a bad one", get().bearer(&one).bearer("bad")),
        ("two cookies", get().header("cookie", format!("session={one}; session={two}"))),
        ("a good and a bad cookie", get().header("cookie", format!("session={one}; session=bad"))),
        (
            "two cookies in two fields",
            get().header("cookie", format!("session={one}")).header("cookie", format!("session={two}")),
        ),
        ("two parameters", Request::get(format!("/api/me?t={one}&t={two}"))),
        ("two parameters, one escaped", Request::get(format!("/api/me?t={one}&%74={two}"))),
        ("two X-Token", get().header("x-token", &one).header("x-token", &two)),
    ];
    for (why, request) in ambiguous {
        let answer = request.send(port);
        assert!(answer.seen().is_none(), "{why}");
        assert_eq!((answer.status, answer.code().as_str()), (401, "ambiguous"), "{why}");
        answer.assert_denied(401, "ambiguous");
        let answer = http2::send(&request, port);
        assert_eq!((answer.status, answer.code().as_str()), (401, "ambiguous"), "{why}, HTTP/2");
    }
    for (why, request) in [
        ("bearers", get().bearer(&one).bearer(&one)),
        ("cookies", get().header("cookie", format!("session={one}; session={one}"))),
        ("parameters", Request::get(format!("/api/me?t={one}&t={one}"))),
    ] {
        let answer = request.send(port);
        assert!(answer.seen().is_some(), "the same {why} twice: {}", answer.text());
        assert!(!answer.reached().holds(one.as_bytes()));
    }
}
