//! The dynamic module in a real Envoy: beside the wasm filter, in each Envoy that can load it, and when it panics.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use jwt_gate_tests::http1::{Answer, Request};
use jwt_gate_tests::{Envoy, Listener, Spec, forge, http2};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

/// How many generated requests both gates get, over each version of HTTP.
const REQUESTS: u32 = 1500;

fn config() -> Value {
    json!({
        "providers": {"app": {
            "issuer": "jwt-gate",
            "secrets": [{"inline": forge::SECRET}],
            "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
            "from_cookies": ["session"],
            "from_params": ["token"],
            "claim_to_headers": [
                {"header_name": "x-user-id", "claim_name": "sub", "required": true},
                {"header_name": "x-user-name", "claim_name": "name", "encoding": "percent"},
            ],
            "forward_payload_header": "x-jwt-payload",
        }},
        "rules": [
            {"match": {"path": "/public"}},
            {"match": {"path_separated_prefix": "/admin"}, "requires": {"provider_name": "app", "claims": {"role": ["admin"]}}},
            {"match": {"prefix": "/api/"}, "requires": {"provider_name": "app"}},
            {"match": {"prefix": "/optional/"}, "requires": {"allow_missing": {"provider_name": "app"}}},
        ],
        "bypass_cors_preflight": true,
        "sign_in_redirect": {"url": "/sign-in"},
    })
}

/// A module of the same code that panics when a request asks for it.
fn panicking_module() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let workspace = xtask::workspace::Workspace::locate().expect("a workspace");
        let target = workspace.target.join("module-panic");
        let built = Command::new(env!("CARGO"))
            .current_dir(&workspace.root)
            .args([
                "build",
                "--locked",
                "--quiet",
                "--package",
                "jwt-gate-module",
                "--features",
                "test-panic",
            ])
            .arg("--target-dir")
            .arg(&target)
            .status();
        assert!(built.is_ok_and(|status| status.success()), "the module with the feature is built");
        target.join("debug/libjwt_gate_module.so")
    };
    BUILT.get_or_init(build).clone()
}

fn bearer(more: Value) -> String {
    format!("Bearer {}", forge::token("user_1", more))
}

/// The parts of an answer that the gate or the backend decides about.
#[derive(Debug, PartialEq)]
struct Comparable {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    trailers: Vec<(String, String)>,
}

fn comparable(answer: &Answer) -> Comparable {
    let text = |headers: &[(Vec<u8>, Vec<u8>)]| {
        let decided = headers.iter().map(|(name, value)| {
            (jwt_gate_tests::latin1(name).to_lowercase(), jwt_gate_tests::latin1(value))
        });
        // Envoy's own: when it answered, and how long the backend took.
        let mut decided: Vec<_> = decided
            .filter(|(name, _)| !["date", "x-envoy-upstream-service-time"].contains(&name.as_str()))
            .collect();
        decided.sort();
        decided
    };
    let body = match answer.seen() {
        Some(mut seen) => {
            // A number that Envoy draws for each request.
            seen.headers.retain(|(name, _)| name != b"x-request-id");
            format!("{seen:?}")
        }
        None => answer.text(),
    };
    Comparable {
        status: answer.status,
        headers: text(&answer.headers),
        body,
        trailers: text(&answer.trailers),
    }
}

fn requests() -> impl Strategy<Value = Request> {
    let tokens = vec![
        forge::token("user_1", json!({})),
        forge::token("user_2", json!({"role": "admin", "name": "Zoë, 张"})),
        forge::token("user_3", json!({"exp": 1_000_000_000})),
        forge::token("user_4", json!({"iss": "another"})),
        forge::token_of(forge::OTHER_SECRET, &forge::claims("mallory", json!({}))),
        "a.b.c".to_owned(),
    ];
    let path = select(vec![
        "/public",
        "/public/",
        "/api/me",
        "/api/a%2e%2e/b",
        "/admin",
        "/admin/x",
        "/Admin",
        "/optional/x",
        "/none",
        "//api/me",
        "/api/me;x",
        "/sign-in",
        "*",
        "/public?token=x",
        "/api/%ff",
    ]);
    let method = select(vec!["GET", "POST", "HEAD", "OPTIONS", "get"]);
    let place = 0_u8..5;
    let headers = prop::collection::vec(
        (
            select(vec![
                "x-user-id",
                "X_User_Id",
                "x-user-name",
                "accept",
                "content-type",
                "origin",
                "cookie",
                "access-control-request-method",
                "x-original-url",
                "x-jwt-payload",
                "x-other",
            ]),
            select(vec![
                "root",
                "text/html",
                "application/grpc",
                "https://a.test",
                "a=1; b=2",
                "GET",
                "\u{e9}",
            ]),
        ),
        0..4,
    );
    (method, path, select(tokens), place, headers).prop_map(|(method, path, token, place, headers)| {
        let path = if place == 3 { format!("{path}?a=1&token={token}") } else { path.to_owned() };
        let mut request = Request::new(method, path);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        match place {
            1 => request.bearer(&token),
            2 => request.header("cookie", format!("c=1; session={token}; d=2")),
            _ => request,
        }
    })
}

fn both() -> Envoy {
    Spec::new()
        .listener(Listener::gated("wasm", config()))
        .listener(Listener::gated("module", config()).module())
        .start()
}

#[test]
fn both_hosts_answer_alike_and_the_backend_receives_the_same() {
    let envoy = both();
    let (wasm, module) = (envoy.port("wasm"), envoy.port("module"));
    for send in [Request::try_send, http2::try_send] {
        let mut runner =
            TestRunner::new(Config { cases: REQUESTS, failure_persistence: None, ..Config::default() });
        let outcome = runner.run(&requests(), |request| {
            match (send(&request, wasm), send(&request, module)) {
                (Ok(one), Ok(other)) => prop_assert_eq!(comparable(&one), comparable(&other)),
                (one, other) => prop_assert_eq!(one.is_err(), other.is_err()),
            }
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn a_panic_refuses_the_request_and_envoy_lives_on() {
    let listener = Listener::gated("panic", config()).module_at(&panicking_module());
    let envoy = Spec::new().listener(listener).start();
    let port = envoy.port("panic");
    let good = || Request::get("/api/me").header("authorization", bearer(json!({})));
    for _ in 0..3 {
        let answer = good().header("x-jwt-gate-test-panic", "1").header("x-tag", "panicked").send(port);
        assert_eq!((answer.status, answer.seen().is_some()), (503, false), "{answer:?}");
        let with_body = good().header("x-jwt-gate-test-panic", "1").body("a body").send(port);
        assert_eq!((with_body.status, with_body.seen().is_some()), (503, false));
        let grpc = good().header("content-type", "application/grpc").header("x-jwt-gate-test-panic", "1");
        let grpc = http2::send(&grpc, port);
        let status = grpc.header("grpc-status").or_else(|| grpc.trailer("grpc-status"));
        assert_eq!(status.as_deref(), Some("14"), "a gRPC client sees no success: {grpc:?}");
        assert_eq!(good().send(port).reached().one("x-user-id").as_deref(), Some("user_1"));
    }
    assert!(envoy.log().contains("jwt-gate: a panic refused a request"));
}

#[test]
fn every_envoy_since_1_38_runs_it() {
    for version in xtask::envoy::versions().filter(|version| !is_too_old(version)) {
        let binary = xtask::envoy::locate_version(version).expect("an Envoy");
        let listener = Listener::gated("module", config()).module();
        let envoy = Spec::new().binary(binary).listener(listener).start();
        let port = envoy.port("module");
        let admin = bearer(json!({"role": "admin"}));
        let answer =
            Request::get("/admin").header("authorization", &admin).header("x-user-id", "root").send(port);
        assert_eq!(answer.reached().read_as("x-user-id").len(), 1, "Envoy {version}");
        let user = Request::get("/admin").header("authorization", bearer(json!({})));
        user.send(port).assert_denied(403, "forbidden");
        Request::get("/api/x").send(port).assert_denied(401, "missing_token");
        assert!(Request::get("/public").send(port).seen().is_some());
        let stats = envoy.admin().get("/stats?filter=jwt_gate");
        for expected in ["denied.forbidden: 1", "denied.missing_token: 1", "allowed: 1", "public: 1"] {
            assert!(stats.contains(expected), "Envoy {version}: {expected}: {stats}");
        }
        let kid = |line: &str| line.contains(".kid.app.") && line.ends_with(": 1");
        assert!(stats.lines().any(kid), "Envoy {version}: {stats}");
    }
}

#[test]
fn an_envoy_before_1_38_says_what_it_needs_and_does_not_serve() {
    let folder = tempfile::tempdir().expect("a folder");
    // Older Envoys find modules by name alone.
    let named = folder.path().join("libjwt_gate.so");
    std::fs::copy(jwt_gate_tests::native::module(), named).expect("a copy of the module");
    for version in xtask::envoy::versions().filter(|version| is_too_old(version)) {
        let filter = json!({
            "name": "jwt-gate",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
                "dynamic_module_config": {"name": "jwt_gate"},
                "filter_name": "jwt-gate",
                "filter_config": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": config().to_string()},
            },
        });
        let spec = Spec::new()
            .binary(xtask::envoy::locate_version(version).expect("an Envoy"))
            .environment("ENVOY_DYNAMIC_MODULES_SEARCH_PATH", &folder.path().display().to_string())
            .listener(Listener::new("old").before(filter));
        let Err(refused) = spec.try_start() else { panic!("Envoy {version} serves with it") };
        let log = refused.to_string();
        assert!(
            log.contains("this Envoy is too old for the module, which needs 1.38 or later"),
            "{version}: {log}"
        );
    }
}

fn is_too_old(version: &str) -> bool {
    version.starts_with("1.36.") || version.starts_with("1.37.")
}

#[test]
fn it_needs_no_library_beside_libc() {
    let output = Command::new("readelf").arg("-d").arg(jwt_gate_tests::native::module()).output();
    let text = String::from_utf8_lossy(&output.expect("readelf runs").stdout).into_owned();
    let needed: Vec<&str> = text.lines().filter(|line| line.contains("(NEEDED)")).collect();
    assert!(!needed.is_empty() && needed.iter().all(|line| !line.contains("libgcc_s")), "{needed:?}");
}
