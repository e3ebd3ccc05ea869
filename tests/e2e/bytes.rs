//! No byte in a request traps the VM.

use jwt_gate_tests::http1::Connection;
use jwt_gate_tests::{Request, forge};
use serde_json::json;

use crate::envoy;

/// Byte sequences that are not UTF-8, or nearly are.
fn odd_bytes() -> Vec<Vec<u8>> {
    let mut odd: Vec<Vec<u8>> = vec![
        b"\xff".to_vec(),
        b"\xff\xfe\xfd".to_vec(),
        b"\xc0\xaf".to_vec(),
        b"\xed\xa0\x80".to_vec(),
        b"\xf4\x90\x80\x80".to_vec(),
        b"\xe2\x82".to_vec(),
        b"a\x80b".to_vec(),
        "Ω".as_bytes().to_vec(),
        b"\x01\x02".to_vec(),
        b"\x7f".to_vec(),
        b"\"\\".to_vec(),
        b"%00%ff%".to_vec(),
        vec![0xff; 8000],
    ];
    odd.extend((0x80..=0xff).map(|byte| vec![byte]));
    odd
}

/// Whether a good request is still served: a trapped VM answers 503 to everything.
fn assert_serves(port: u16, after: &str) {
    let token = forge::token("user_1", json!({}));
    let answer = Request::get("/api/me").bearer(token).send(port);
    let user = answer.seen().and_then(|seen| seen.one("x-user-id"));
    assert_eq!(user.as_deref(), Some("user_1"), "after {after}: {} {}", answer.status, answer.text());
    let answer = Request::get("/public").send(port);
    assert!(answer.seen().is_some(), "after {after}: {} {}", answer.status, answer.text());
}

#[test]
fn bytes_that_are_not_utf8_in_any_header_do_no_harm() {
    let envoy = envoy();
    let token = forge::token("user_1", json!({}));
    let names = [
        "authorization",
        "cookie",
        "accept",
        "content-type",
        "origin",
        "access-control-request-method",
        "user-agent",
        "x-user-id",
        "x-forwarded-for",
        "host",
        "referer",
        "x-anything",
    ];
    for listener in ["app", "app-h2", "app-normalised"] {
        let port = envoy.port(listener);
        for name in names {
            // Such an authority makes the HTTP/2 backend reset the stream, which Envoy answers in its own way.
            if (name, listener) == ("host", "app-h2") {
                continue;
            }
            // Every single byte through one listener, a choice of sequences through all.
            let odd = odd_bytes().into_iter().filter(|odd| listener == "app" || odd.len() > 1);
            for odd in odd {
                for prefix in [&b""[..], b"Bearer ", b"session=", b"text/html, ", b"application/grpc"] {
                    let interesting = matches!(
                        (name, prefix),
                        (_, b"")
                            | ("authorization", b"Bearer ")
                            | ("cookie", b"session=")
                            | ("accept", b"text/html, ")
                            | ("content-type", b"application/grpc")
                    );
                    if !interesting {
                        continue;
                    }
                    let value = [prefix, &odd].concat();
                    for path in ["/api/me", "/public"] {
                        let request = Request::get(path).header(name, &value);
                        let Ok(answer) = request.try_send(port) else { continue };
                        // Envoy's own 400 for what no header value may hold is as good.
                        let fine = match (path, answer.status) {
                            (_, 400) | ("/public", 200) => true,
                            ("/api/me", 401) => answer.seen().is_none(),
                            ("/api/me", 200) => {
                                name == "content-type" && answer.header("grpc-status").is_some()
                            }
                            _ => false,
                        };
                        assert!(fine, "{name} {value:?} {path}: {} {}", answer.status, answer.text());
                        // The same beside a good token.
                        if path == "/api/me" && name != "authorization" {
                            let answer = request.bearer(&token).try_send(port);
                            let fine =
                                answer.as_ref().is_ok_and(|answer| [200, 400, 401].contains(&answer.status));
                            assert!(fine, "{name} {value:?} with a token: {answer:?}");
                        }
                    }
                }
            }
            assert_serves(port, name);
        }
    }
    assert!(!envoy.log().contains("panicked"), "a panic is in the log");
}

#[test]
fn any_bytes_in_the_path_do_no_harm() {
    let envoy = envoy();
    for listener in ["app", "app-normalised"] {
        let port = envoy.port(listener);
        for prefix in ["/", "/api/", "/public", "/open/", "/open/?a=", "http://app.test/open/", "*", ""] {
            for odd in odd_bytes() {
                let target = [prefix.as_bytes(), &odd].concat();
                // Envoy may well close the connection on these; the gate must not.
                let Ok(answer) = Request::get(&target).try_send(port) else { continue };
                assert!(answer.status < 500, "{target:?}: {} {}", answer.status, answer.text());
            }
        }
        assert_serves(port, "odd paths");
    }
}

#[test]
fn a_great_many_or_very_long_headers_do_no_harm() {
    let envoy = envoy();
    let port = envoy.port("app");
    let mut many = Request::get("/api/me");
    for index in 0..90 {
        many = many.header("cookie", format!("session{index}=a; session=b{index}"));
    }
    assert_ne!(many.send(port).status, 503);
    let long = Request::get("/api/me").header("cookie", format!("session={}", "a;".repeat(25_000)));
    assert_ne!(long.send(port).status, 503);
    let long = Request::get("/api/me").bearer("a.".repeat(25_000));
    long.send(port).assert_denied(401, "too_large");
    let empty = Request::get("/api/me").header("authorization", "").header("cookie", "").header("accept", "");
    empty.send(port).assert_denied(401, "missing_token");
    assert_serves(port, "many headers");
}

#[test]
fn requests_on_one_connection_are_judged_each_by_itself() {
    let envoy = envoy();
    let token = forge::token("user_1", json!({}));
    let mut connection = Connection::open(envoy.port("app")).expect("Envoy listens");
    for _ in 0..20 {
        let answer = connection.exchange(&Request::get("/api/me").bearer(&token)).expect("an answer");
        assert_eq!(answer.reached().one("x-user-id").as_deref(), Some("user_1"));
        let answer = connection.exchange(&Request::get("/api/me")).expect("an answer");
        answer.assert_denied(401, "missing_token");
        let answer = connection.exchange(&Request::get("/public")).expect("an answer");
        assert!(answer.reached().all("x-user-id").is_empty());
    }
    // Pipelined: all bytes at once, answers in order (RFC 9112 §9.3.2). Two, because Envoy itself closes the
    // connection after a refusal with more than that behind it.
    let good = Request::get("/api/me").bearer(&token).to_bytes();
    let bad = Request::get("/api/me").to_bytes();
    for (requests, statuses) in [([&good, &bad], [200, 401]), ([&bad, &good], [401, 200])] {
        let mut connection = Connection::open(envoy.port("app")).expect("Envoy listens");
        connection.write(&requests.map(Vec::as_slice).concat()).expect("the requests are sent");
        for status in statuses {
            assert_eq!(connection.read_answer(false).expect("an answer").status, status);
        }
    }
}
