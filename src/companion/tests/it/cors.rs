//! Pages of other origins (Fetch §3.2). tests/web has a real browser.

use serde_json::json;

use crate::companion::{Answer, Companion, call};

const PAGE: &str = "http://localhost:5173";
const TRUSTED: [&str; 4] = [
    "--trusted-origin",
    "http://localhost:5173,https://*.preview.example.com",
    "--trusted-origin",
    "myapp://",
];

fn preflight(companion: &Companion, path: &str, origin: &str, method: &str, headers: &str) -> Answer {
    let asked = [
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", headers),
    ];
    call("OPTIONS", &format!("{}{path}", companion.public), &asked, None)
}

/// Whether a browser lets the page of `origin` read the answer to a call with cookies.
fn is_readable(answer: &Answer, origin: &str) -> bool {
    answer.header("access-control-allow-origin") == Some(origin)
        && answer.header("access-control-allow-credentials") == Some("true")
}

#[test]
fn a_preflight_is_answered_on_every_path_with_the_headers_of_tracing_tools() {
    let companion = Companion::start(&TRUSTED);
    let tracing = "authorization,b3,baggage,content-type,sentry-trace,traceparent,tracestate,x-b3-traceid";
    for path in [
        "/api/auth/sign-in/email",
        "/api/auth/sign-up/email",
        "/api/auth/sign-out",
        "/api/auth/get-session",
        "/api/auth/signin",
        "/api/auth/me",
        "/api/auth/change-password",
        "/api/auth/nowhere",
        "/nowhere",
        "/sign-in",
    ] {
        for method in ["POST", "GET", "DELETE"] {
            let answer = preflight(&companion, path, PAGE, method, tracing);
            assert!(matches!(answer.status, 200 | 204), "{path}: {answer:?}");
            assert!(is_readable(&answer, PAGE), "{path}: {answer:?}");
            let allowed = answer.header("access-control-allow-methods").unwrap();
            assert!(allowed.split(',').any(|allowed| allowed.trim() == method), "{path}: {allowed}");
            let allowed = answer.header("access-control-allow-headers").unwrap().to_ascii_lowercase();
            let allowed: Vec<_> = allowed.split(',').map(str::trim).collect();
            assert!(tracing.split(',').all(|header| allowed.contains(&header)), "{path}: {allowed:?}");
        }
    }
}

#[test]
fn a_page_reads_errors_and_what_is_not_there_as_well() {
    let companion = Companion::start(&TRUSTED);
    let origin = [("origin", PAGE)];
    let get = |path: &str| companion.get(path, &origin);
    let answers = [
        (404, get("/api/auth/nowhere")),
        (404, get("/nowhere")),
        (405, get("/api/auth/sign-in/email")),
        (405, get("/api/auth/signin")),
        (401, get("/api/auth/me")),
        (200, get("/api/auth/get-session")),
        (415, companion.post_text("/api/auth/sign-in/email", &origin, "")),
        (
            400,
            companion.post_text("/api/auth/signin", &[origin[0], ("content-type", "application/json")], "{"),
        ),
        (
            401,
            companion.post(
                "/api/auth/sign-in/email",
                &origin,
                &json!({"email": "a@b.example", "password": "x"}),
            ),
        ),
        (413, companion.post("/api/auth/signin", &origin, &json!({"email": "x".repeat(20_000)}))),
    ];
    for (status, answer) in answers {
        assert_eq!((answer.status, is_readable(&answer, PAGE)), (status, true), "{answer:?}");
        assert!(answer.header("vary").unwrap().to_ascii_lowercase().contains("origin"), "{answer:?}");
    }
}

#[test]
fn wildcards_and_apps_are_trusted_and_nobody_else() {
    let companion = Companion::start(&TRUSTED);
    for origin in ["https://pr-7.preview.example.com", "myapp://"] {
        let answer = preflight(&companion, "/api/auth/sign-in/email", origin, "POST", "content-type");
        assert!(is_readable(&answer, origin), "{answer:?}");
        let account = json!({"email": "ada@example.com", "password": "wrong horse battery"});
        let answer = companion.post("/api/auth/sign-in/email", &[("origin", origin)], &account);
        assert_eq!(answer.code(), "INVALID_EMAIL_OR_PASSWORD", "{answer:?}");
    }
    for origin in [
        "https://preview.example.com",
        "https://evil.example",
        "null",
        "https://a.preview.example.com.evil.example",
    ] {
        let answer = preflight(&companion, "/api/auth/sign-in/email", origin, "POST", "content-type");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{answer:?}");
        let answer = companion.get("/api/auth/get-session", &[("origin", origin)]);
        assert_eq!(answer.header("access-control-allow-origin"), None, "{answer:?}");
        let answer = companion.post("/api/auth/sign-in/email", &[("origin", origin)], &json!({}));
        assert_eq!((answer.status, answer.code().as_str()), (403, "INVALID_ORIGIN"), "{origin}");
    }
}

#[test]
fn an_origin_that_would_trust_strangers_does_not_start() {
    for origin in ["*", "https://*", "https://*.com", "https://app*", "https://a/b"] {
        let output =
            crate::companion::program().args(["serve", "--trusted-origin", origin]).output().unwrap();
        assert!(!output.status.success(), "{origin}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("--trusted-origin"), "{output:?}");
    }
}
