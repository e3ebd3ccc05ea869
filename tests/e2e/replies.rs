//! What callers who are turned away receive: programs, browsers and gRPC clients.

use jwt_gate_tests::{Answer, Listener, Request, forge, http2};
use serde_json::json;

use crate::{app, envoy, with};

pub(crate) fn listeners() -> Vec<Listener> {
    let redirecting = |url: &str| {
        with(app(), json!({"sign_in_redirect": {"url": url, "return_param": "next"}, "default": "require"}))
    };
    let from_params = json!({"app": with(crate::provider(), json!({"from_params": ["access_token"]}))});
    vec![
        Listener::gated("redirect", with(redirecting("/sign-in"), json!({"providers": from_params}))),
        Listener::gated("redirect-elsewhere", redirecting("https://login.example/in?app=1")),
        Listener::gated("stripped", with(app(), json!({"strip_failure_response": true}))),
        Listener::gated("no-preflight", with(app(), json!({"bypass_cors_preflight": false}))),
    ]
}

fn navigation(target: impl AsRef<[u8]>) -> Request {
    Request::get(target).header("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
}

fn location(answer: &Answer) -> String {
    assert_eq!(answer.status, 302, "{}", answer.text());
    assert_eq!(answer.header("cache-control").as_deref(), Some("no-store"));
    answer.header("location").expect("a location")
}

#[test]
fn a_browser_without_a_good_token_is_sent_to_the_sign_in_page_with_the_way_back() {
    let port = envoy().port("redirect");
    let answer = navigation("/api/page?tab=2&x=%20").send(port);
    assert_eq!(location(&answer), "/sign-in?next=/api/page%3Ftab%3D2%26x%3D%2520");
    let expired = forge::token("user_1", json!({"exp": 1}));
    let answer = navigation("/api/page").header("cookie", format!("session={expired}")).send(port);
    assert_eq!(location(&answer), "/sign-in?next=/api/page");
    assert_eq!(location(&http2::send(&navigation("/api/page"), port)), "/sign-in?next=/api/page");
    let elsewhere = navigation("/api/page").send(envoy().port("redirect-elsewhere"));
    assert_eq!(location(&elsewhere), "https://login.example/in?app=1&next=/api/page");
}

#[test]
fn the_redirect_never_leads_to_another_host_and_never_carries_a_token() {
    let port = envoy().port("redirect");
    for target in [
        &b"//evil.example/"[..],
        b"/\\evil.example/",
        b"\\\\evil.example/",
        b"/%2f%2fevil.example",
        b"/%5cevil.example",
        b"/.//evil.example",
        b"/api/..//evil.example",
        b"http://evil.example//evil.example/",
        b"/\tevil.example",
        b"/%0d%0aset-cookie:%20a=b",
        b"/%0d%0a%0d%0a<script>",
        b"/\xe3\x80\x82evil",
        b"/@evil.example",
        b"/api/?next=//evil.example",
        b"/https:evil.example",
    ] {
        let Ok(answer) = navigation(target).try_send(port) else { continue };
        if answer.status == 400 {
            continue; // Envoy's own: not a request at all.
        }
        let text = String::from_utf8_lossy(target).into_owned();
        let location = location(&answer);
        let back = location.strip_prefix("/sign-in?next=").unwrap_or_else(|| panic!("{text}: {location}"));
        assert!(
            back.starts_with('/') && !back.starts_with("//") && !back.contains('\\'),
            "{text}: {location}"
        );
        let decoded = back.replace("%2F", "/").replace("%5C", "\\").replace("%2f", "/").replace("%5c", "\\");
        assert!(!decoded.starts_with("//") && !decoded.starts_with("/\\"), "{text}: {location}");
        assert_eq!(answer.all("set-cookie"), [""; 0], "{text}");
        assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{text}: {location}");
    }
    let expired = forge::token("user_1", json!({"exp": 1}));
    let answer = navigation(format!("/api/page?access_token={expired}&x=1")).send(port);
    assert_eq!(location(&answer), "/sign-in?next=/api/page%3Fx%3D1");
}

#[test]
fn only_a_navigation_is_redirected() {
    let port = envoy().port("redirect");
    let accept = "text/html";
    for (why, request) in [
        ("JSON", Request::get("/api/x").header("accept", "application/json")),
        ("anything", Request::get("/api/x").header("accept", "*/*")),
        ("no Accept", Request::get("/api/x")),
        ("a POST", Request::new("POST", "/api/x").header("accept", accept)),
        ("a fetch", Request::get("/api/x").header("accept", accept).header("sec-fetch-mode", "cors")),
        ("a frame", Request::get("/api/x").header("accept", accept).header("sec-fetch-dest", "iframe")),
        (
            "jQuery",
            Request::get("/api/x").header("accept", accept).header("x-requested-with", "XMLHttpRequest"),
        ),
        ("htmx", Request::get("/api/x").header("accept", accept).header("hx-request", "true")),
        ("a prefetch", Request::get("/api/x").header("accept", accept).header("sec-purpose", "prefetch")),
        ("HTML refused", Request::get("/api/x").header("accept", "text/html;q=0, */*")),
    ] {
        let answer = request.send(port);
        assert_eq!((answer.status, answer.code().as_str()), (401, "missing_token"), "{why}");
    }
    // 403: signing in again would not help.
    let token = forge::token("user_1", json!({}));
    navigation("/admin/").bearer(token).send(port).assert_denied(403, "forbidden");
    // The sign-in page itself, protected by mistake: no circle.
    navigation("/sign-in?next=/").send(port).assert_denied(401, "missing_token");
    // Without `sign_in_redirect` browsers too get the problem.
    navigation("/api/x").send(envoy().port("app")).assert_denied(401, "missing_token");
}

#[test]
fn a_stripped_failure_says_nothing_but_the_status() {
    let port = envoy().port("stripped");
    for request in [Request::get("/api/x"), Request::get("/api/x").bearer("bad")] {
        let answer = request.send(port);
        assert_eq!(answer.status, 401);
        assert_eq!(answer.text(), "");
        let challenge = answer.header("www-authenticate").expect("RFC 9110 §15.5.2: a 401 has a challenge");
        assert!(!challenge.contains("error"), "{challenge}");
    }
    let answer = Request::get("/none").send(port);
    assert_eq!((answer.status, answer.text().as_str()), (403, ""));
    let grpc =
        Request::new("POST", "/api/x").header("content-type", "application/grpc").bearer("bad").send(port);
    assert_eq!(grpc.header("grpc-message").unwrap_or_default(), "");
}

#[test]
fn what_only_looks_like_grpc_is_refused_in_plain_http() {
    for content_type in
        ["application/grpc;charset=utf-8", "Application/gRPC", "application/grpc-web", "application/grpcx"]
    {
        let request = Request::new("POST", "/api/x").header("content-type", content_type);
        for answer in [request.send(envoy().port("app")), http2::send(&request, envoy().port("app-h2"))] {
            answer.assert_denied(401, "missing_token");
            assert_eq!(answer.header("cache-control").as_deref(), Some("no-store"), "{content_type}");
        }
    }
}

#[test]
fn a_preflight_needs_a_token_where_it_does_not_bypass() {
    let preflight = Request::new("OPTIONS", "/api/me")
        .header("origin", "https://shop.example")
        .header("access-control-request-method", "PUT");
    preflight.send(envoy().port("no-preflight")).assert_denied(401, "missing_token");
    assert_eq!(preflight.send(envoy().port("app")).reached().method, "OPTIONS");
}

#[test]
fn a_grpc_call_is_refused_with_a_grpc_status() {
    let token = forge::token("user_1", json!({}));
    let call = |path: &str| {
        Request::new("POST", path)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(b"\0\0\0\0\0")
    };
    for listener in ["app-h2", "redirect", "stripped"] {
        let port = envoy().port(listener);
        for (request, grpc_status) in [
            (call("/api/svc/Call"), "16"),
            (call("/api/svc/Call").bearer("bad"), "16"),
            (call("/admin/svc/Call").bearer(&token), "7"),
        ] {
            let answer = http2::send(&request, port);
            assert!(answer.seen().is_none());
            assert_eq!(answer.header("cache-control").as_deref(), Some("no-store"));
            // "Trailers-Only": HTTP 200 with the status among the headers
            // (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).
            let status = answer.header("grpc-status").or_else(|| answer.trailer("grpc-status"));
            assert_eq!(
                (answer.status, status.as_deref()),
                (200, Some(grpc_status)),
                "{listener}: {answer:?}"
            );
            assert!(answer.header("content-type").is_some_and(|media| media.starts_with("application/grpc")));
        }
    }
    let answer = http2::send(&call("/api/svc/Call").bearer(&token), envoy().port("app-h2"));
    assert_eq!(answer.trailer("grpc-status").as_deref(), Some("0"));
    let seen = jwt_gate_tests::Seen::from_json(&answer.body[5..]).expect("what the backend saw");
    assert_eq!(seen.one("x-user-id").as_deref(), Some("user_1"));
}

#[test]
fn no_answer_repeats_the_token_or_what_is_in_it() {
    let secretive = forge::sign(
        forge::OTHER_SECRET,
        r#"{"alg":"HS256","kid":"find-me-kid"}"#,
        r#"{"sub":"find-me-sub"}"#,
    );
    let segments: Vec<_> = secretive.split('.').collect();
    for listener in ["app", "redirect"] {
        for request in [Request::get("/api/x").bearer(&secretive), navigation("/api/x").bearer(&secretive)] {
            let answer = request.send(envoy().port(listener));
            let everything = format!(
                "{:?} {}",
                answer
                    .headers
                    .iter()
                    .map(|(name, value)| (jwt_gate_tests::latin1(name), jwt_gate_tests::latin1(value)))
                    .collect::<Vec<_>>(),
                answer.text()
            );
            for part in segments.iter().chain(&["find-me-kid", "find-me-sub"]) {
                assert!(!everything.contains(part), "{everything}");
            }
        }
    }
    // A `kid` that is not known is no secret, and the log names it (docs/configuration.md); the rest it must not hold.
    let log = envoy().log();
    for part in segments.iter().chain(&["find-me-sub", forge::SECRET, forge::OTHER_SECRET]) {
        assert!(!log.contains(part), "the log holds {part}");
    }
}
