//! The trust boundary: no identity header of a client's reaches the backend, on any path.

use jwt_gate_tests::{Backend, Request, Seen, TAG, forge, http2};
use serde_json::json;

use crate::envoy;

/// Headers that only the gate may set.
const GUARDED: [&str; 5] = ["x-user-id", "x-user-email", "x-user-plan", "x-jwt-payload", "x-internal-role"];

/// Spellings of `name` that some backend reads as `name`.
fn spellings(name: &str) -> Vec<String> {
    let title = |separator: &str| -> String {
        let words = name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]);
        words.collect::<Vec<_>>().join(separator)
    };
    let first_only = name.replacen('-', "_", 1);
    let last_only = name.rsplitn(2, '-').collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("_");
    vec![
        name.to_owned(),
        name.to_uppercase(),
        title("-"),
        title("_"),
        name.replace('-', "_"),
        name.to_uppercase().replace('-', "_"),
        first_only,
        last_only,
        name.replace('-', "."),
        name.replace('-', "~"),
        name.replace('-', "!"),
    ]
}

/// A request that claims to be root in every spelling, several times.
fn spoofed(mut request: Request, lower_case_only: bool) -> Request {
    for name in GUARDED {
        for spelling in spellings(name) {
            if lower_case_only && spelling != spelling.to_lowercase() {
                continue;
            }
            for value in ["root", "", "root2"] {
                request = request.header(&spelling, value);
            }
        }
    }
    request
}

fn guarded_fields(seen: &Seen) -> Vec<(String, String)> {
    GUARDED.iter().flat_map(|name| seen.read_as(name)).collect()
}

#[test]
fn spoofed_identity_is_removed_in_every_spelling_on_public_paths() {
    let envoy = envoy();
    for path in ["/public", "/open/a", "/public?x=1", "/optional/"] {
        for listener in ["app", "app-h2", "app-normalised"] {
            let seen = spoofed(Request::get(path), false).send(envoy.port(listener)).reached();
            assert_eq!(guarded_fields(&seen), [], "{path} through {listener}");
            let seen = http2::send(&spoofed(Request::get(path), true), envoy.port(listener)).reached();
            assert_eq!(guarded_fields(&seen), [], "{path} through {listener}, HTTP/2");
        }
    }
}

#[test]
fn spoofed_identity_gives_way_to_the_tokens_on_protected_paths() {
    let envoy = envoy();
    let token = forge::token("user_1", json!({}));
    let payload = token.split('.').nth(1).unwrap().to_owned();
    let expected = [("x-user-id".to_owned(), "user_1".to_owned()), ("x-jwt-payload".to_owned(), payload)];
    for listener in ["app", "app-h2", "app-normalised"] {
        let seen =
            spoofed(Request::get("/api/me").bearer(&token), false).send(envoy.port(listener)).reached();
        assert_eq!(guarded_fields(&seen), expected, "{listener}");
        let request = spoofed(Request::get("/api/me").bearer(&token), true);
        let seen = http2::send(&request, envoy.port(listener)).reached();
        assert_eq!(guarded_fields(&seen), expected, "{listener}, HTTP/2");
    }
}

#[test]
fn spoofed_identity_without_a_token_does_not_open_a_protected_path() {
    let envoy = envoy();
    let request = spoofed(Request::get("/api/me").header(TAG, "spoofed-without-token"), false);
    request.send(envoy.port("app")).assert_denied(401, "missing_token");
    assert!(!Backend::shared().was_reached_by("spoofed-without-token"));
}

#[test]
fn a_preflight_passes_without_a_token_and_without_spoofed_identity() {
    let envoy = envoy();
    let preflight = Request::new("OPTIONS", "/api/me")
        .header("origin", "https://shop.example")
        .header("access-control-request-method", "PUT");
    let seen = spoofed(preflight.clone(), false).send(envoy.port("app")).reached();
    assert_eq!(guarded_fields(&seen), []);
    let seen = http2::send(&spoofed(preflight, true), envoy.port("app")).reached();
    assert_eq!(guarded_fields(&seen), []);
}

#[test]
fn what_only_looks_like_a_preflight_needs_a_token() {
    let port = envoy().port("app");
    let origin = ("origin", "https://shop.example");
    let method = ("access-control-request-method", "PUT");
    for (request, why) in [
        (Request::new("OPTIONS", "/api/me"), "neither header"),
        (Request::new("OPTIONS", "/api/me").header(origin.0, origin.1), "no Access-Control-Request-Method"),
        (Request::new("OPTIONS", "/api/me").header(method.0, method.1), "no Origin"),
        (Request::new("GET", "/api/me").header(origin.0, origin.1).header(method.0, method.1), "GET"),
        (
            Request::new("OPTIONS", "/api/me").header(origin.0, origin.1).header(method.0, ""),
            "an empty method",
        ),
    ] {
        let answer = request.send(port);
        assert_eq!((answer.status, answer.code().as_str()), (401, "missing_token"), "{why}");
    }
}

#[test]
fn spoofed_identity_in_trailers_is_removed() {
    let envoy = envoy();
    let token = forge::token("user_1", json!({}));
    for listener in ["app", "app-h2"] {
        for path in ["/public", "/api/me"] {
            let mut request =
                Request::new("POST", path).bearer(&token).body("hello").trailer("x-checksum", "7");
            for name in GUARDED {
                for spelling in spellings(name).into_iter().filter(|name| *name == name.to_lowercase()) {
                    request = request.trailer(spelling, "root");
                }
            }
            for (protocol, answer) in [
                ("HTTP/1.1", request.send(envoy.port(listener))),
                ("HTTP/2", http2::send(&request, envoy.port(listener))),
            ] {
                let seen = answer.reached();
                let roots: Vec<_> =
                    guarded_fields(&seen).into_iter().filter(|(_, value)| value == "root").collect();
                assert_eq!(roots, [], "{path} through {listener}, {protocol}");
                let others: Vec<_> =
                    seen.trailers.iter().filter(|(name, _)| name.as_slice() == b"x-checksum").collect();
                assert_eq!(others.len(), 1, "an innocent trailer arrives: {path}, {listener}, {protocol}");
            }
        }
    }
}

#[test]
fn innocent_headers_arrive_untouched_and_in_order() {
    let request = Request::get("/public")
        .header("x-user", "a")
        .header("x-user-id-hint", "b")
        .header("user-id", "c")
        .header("accept-language", "de")
        .header("x-repeat", "1")
        .header("x-repeat", "2");
    let seen = request.send(envoy().port("app")).reached();
    for (name, value) in
        [("x-user", "a"), ("x-user-id-hint", "b"), ("user-id", "c"), ("accept-language", "de")]
    {
        assert_eq!(seen.one(name).as_deref(), Some(value), "{name}");
    }
    assert_eq!(seen.all("x-repeat"), ["1", "2"]);
}
