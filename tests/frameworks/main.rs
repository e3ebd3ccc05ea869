//! Real routers as oracles: Express, FastAPI and Django say which handler ran. Generated paths, methods and hosts go
//! through Envoy and the gate to them, and no protected handler runs for somebody who may not.
//!
//! Nothing here says how a path is read: the frameworks do. Each gate has the `paths` that docs/security.md recommends for its
//! framework. `JWT_GATE_FRAMEWORKS_REQUESTS` and `JWT_GATE_FRAMEWORKS_SEED` choose how many requests each gets and which.

mod attempt;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use jwt_gate_tests::{Envoy, Listener, Node, Python, Request, Server, Spec, forge, skipped};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::attempt::{Attempt, Wire};

/// A framework, as it is run.
struct Framework {
    name: &'static str,
    /// What docs/security.md recommends for it.
    paths: Value,
    start: fn(&Path) -> Result<Server, &'static str>,
    /// How requests that try to get past the gate are drawn, after the sweep over all paths if there is one.
    draw: fn(&mut StdRng) -> Attempt,
    sweep: bool,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    Nobody,
    User,
    Staff,
}

/// What each caller may have run. What is not listed is for staff alone.
const FOR_NOBODY: &[&str] = &["public", "open", "items read", "notes add", "panel", "file", "none"];
const FOR_USERS: &[&str] = &["me"];

/// Requests as a person would write them, and the handler that staff has run by it.
const PLAIN: &[(&str, &str, &str, &str)] = &[
    ("GET", "app.test", "/public", "public"),
    ("GET", "app.test", "/open/x", "open"),
    ("GET", "app.test", "/admin/y", "admin"),
    ("GET", "app.test", "/secret", "secret"),
    ("HEAD", "app.test", "/secret", "secret"),
    ("GET", "app.test", "/items", "items read"),
    ("HEAD", "app.test", "/items", "items read"),
    ("POST", "app.test", "/items", "items write"),
    ("DELETE", "app.test", "/items", "items write"),
    ("POST", "app.test", "/notes", "notes add"),
    ("DELETE", "app.test", "/notes", "notes delete"),
    ("GET", "app.test", "/panel", "panel"),
    ("GET", "app.test", "/me", "me"),
    ("GET", "app.test", "/files/a.txt", "file"),
    ("GET", "app.test", "/files/private/a.txt", "private file"),
    ("GET", "admin.test", "/", "admin.test"),
];

impl Caller {
    fn may(self, handler: &str) -> bool {
        match self {
            Self::Nobody => FOR_NOBODY.contains(&handler),
            Self::User => FOR_NOBODY.contains(&handler) || FOR_USERS.contains(&handler),
            Self::Staff => true,
        }
    }

    fn token(self) -> Option<String> {
        match self {
            Self::Nobody => None,
            Self::User => Some(forge::token("user_1", json!({"role": "user"}))),
            Self::Staff => Some(forge::token("user_2", json!({"role": "staff"}))),
        }
    }
}

/// A gate that protects what is for users and staff; `last` is its last rule, for all that no other names.
fn gate(paths: &Value, last: &Value) -> Value {
    let user = json!({"provider_name": "app"});
    let staff = json!({"provider_name": "app", "claims": {"role": ["staff"]}});
    let mut gate = json!({
        "providers": {"app": {"issuer": "jwt-gate", "secrets": [{"env": "BETTER_AUTH_SECRET"}]}},
        "rules": [
            {"match": {"prefix": "/", "headers": [{"name": "host", "string_match": {"exact": "admin.test"}}]}, "requires": staff},
            {"match": {"path_separated_prefix": "/admin"}, "requires": staff},
            {"match": {"path": "/secret"}, "requires": staff},
            {"match": {"path": "/items", "methods": ["GET"]}},
            {"match": {"path": "/items"}, "requires": staff},
            {"match": {"path": "/notes", "methods": ["POST"]}},
            {"match": {"path": "/notes"}, "requires": staff},
            {"match": {"path_separated_prefix": "/files/private"}, "requires": staff},
            {"match": {"path": "/me"}, "requires": user},
            {"match": {"path": "/public"}},
            {"match": {"path": "/panel"}},
            {"match": {"prefix": "/open/"}},
            {"match": {"prefix": "/files/"}},
        ],
    });
    if let Some(rules) = gate["rules"].as_array_mut() {
        rules.push(last.clone());
    }
    if paths.as_object().is_some_and(|options| !options.is_empty()) {
        gate["paths"] = paths.clone();
    }
    gate
}

/// Four ways in: all that no rule names is public or needs a user's token, and Envoy leaves paths alone or normalises
/// them as `envoy/envoy.yaml` has it.
const LISTENERS: [&str; 4] = ["public", "public-normalised", "users", "users-normalised"];

fn envoy(paths: &Value, application: u16) -> Envoy {
    let routes = json!([{"match": {"prefix": "/"}, "route": {"cluster": "application"}}]);
    let listeners = LISTENERS.map(|name| {
        let last = if name.starts_with("public") {
            json!({"match": {"prefix": "/"}})
        } else {
            json!({"match": {"prefix": "/"}, "requires": {"provider_name": "app"}})
        };
        let listener = Listener::gated(name, gate(paths, &last)).routes(routes.clone());
        if name.ends_with("normalised") { listener.normalised() } else { listener }
    });
    Spec::new().cluster("application", application).listeners(listeners).start()
}

fn files() -> TempDir {
    let files = tempfile::tempdir().expect("a directory");
    fs::create_dir(files.path().join("private")).expect("a directory");
    for name in ["a.txt", "private/a.txt"] {
        fs::write(files.path().join(name), name).expect("a file");
    }
    files
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name)
        .ok()
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("${name} is no number")))
}

fn attack(framework: &Framework) {
    let files = files();
    let server = match (framework.start)(files.path()) {
        Ok(server) => server,
        Err(reason) => return skipped(framework.name, reason),
    };
    let drawn = setting("JWT_GATE_FRAMEWORKS_REQUESTS", if framework.sweep { 2_000 } else { 1_000 });
    let drawn = usize::try_from(drawn).expect("a number");
    let seed = setting("JWT_GATE_FRAMEWORKS_SEED", 1738);
    let envoy = envoy(&framework.paths, server.port);
    let shown = envoy.shown_on_failure();
    let mut wires: Vec<Wire> = LISTENERS.iter().map(|name| Wire::to(shown.port(name))).collect();
    let tokens = [Caller::Nobody, Caller::User, Caller::Staff].map(|caller| (caller, caller.token()));

    let mut broken: BTreeMap<String, (u64, String)> = BTreeMap::new();
    for (method, host, path, handler) in PLAIN {
        for (listener, wire) in LISTENERS.iter().zip(&mut wires) {
            for (caller, token) in &tokens {
                let request = Attempt::plain(method, host, path);
                let ran = wire.ran(&request, token.as_deref());
                let expected = if caller.may(handler) { Some((*handler).to_owned()) } else { None };
                if ran != expected {
                    let what = format!("{handler:?}, {method} {host}{path}, for {caller:?}");
                    let example = format!("{ran:?} ran at {listener}");
                    broken.entry(what).or_insert_with(|| (0, example)).0 += 1;
                }
            }
        }
    }

    let mut drawing = StdRng::seed_from_u64(seed);
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut protected, mut public) = (0_u64, 0_u64);
    let sweep = if framework.sweep { Attempt::sweep() } else { Vec::new() };
    let count = u64::try_from(sweep.len() + drawn).expect("a number");
    let drawn = std::iter::repeat_with(|| (framework.draw)(&mut drawing)).take(drawn);
    for attempt in sweep.into_iter().chain(drawn) {
        let listener = rng.random_range(0..LISTENERS.len());
        for (caller, token) in &tokens {
            let Some(handler) = wires[listener].ran(&attempt, token.as_deref()) else { continue };
            if caller.may(&handler) {
                *(if Caller::User.may(&handler) { &mut public } else { &mut protected }) += 1;
            } else {
                let what = format!("{handler:?} ran for {caller:?}");
                let example = format!("{attempt:?} at {}", LISTENERS[listener]);
                broken.entry(what).or_insert_with(|| (0, example)).0 += 1;
            }
        }
    }
    println!(
        "{}: {count} attempts of each caller, seed {seed}: a protected handler ran {protected} times for staff, a public one {public} times",
        framework.name
    );
    let mut text = String::new();
    for (what, (times, example)) in &broken {
        let _ = writeln!(text, "{times} × {what}: {example}");
    }
    assert!(text.is_empty(), "{}, seed {seed}:\n{text}{}", framework.name, server.log());
    assert!(!envoy.log().contains("panicked"));
    assert!(protected > count / 20 && public > count / 20, "the attempts reach too few handlers");
}

impl Framework {
    fn new(name: &'static str, paths: Value, start: fn(&Path) -> Result<Server, &'static str>) -> Self {
        Self { name, paths, start, draw: Attempt::draw, sweep: true }
    }

    /// One that takes method and path from headers, if they arrive.
    fn overridden(
        name: &'static str,
        paths: Value,
        start: fn(&Path) -> Result<Server, &'static str>,
    ) -> Self {
        Self { name, paths, start, draw: Attempt::draw_override, sweep: false }
    }
}

fn express(version: &str, files: &Path) -> Result<Server, &'static str> {
    let mut command = Node::frameworks()?.script("express.mjs");
    command.arg(version).arg(files);
    Ok(Server::start(&mut command, "listens on "))
}

fn express_with_overrides(files: &Path) -> Result<Server, &'static str> {
    let mut command = Node::frameworks()?.script("express.mjs");
    command.arg("express").arg(files).env("OVERRIDES", "1");
    Ok(Server::start(&mut command, "listens on "))
}

fn python(
    files: &Path,
    start: impl FnOnce(&'static Python) -> Command,
    mark: &str,
) -> Result<Server, &'static str> {
    let mut command = start(Python::frameworks()?);
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("FILES", files);
    Ok(Server::start(&mut command, mark))
}

fn uvicorn(application: &str, files: &Path) -> Result<Server, &'static str> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/frameworks/python");
    let start = |python: &Python| {
        let mut command = python.module("uvicorn");
        command.args([
            application,
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--log-level",
            "info",
            "--no-access-log",
            "--app-dir",
        ]);
        command.arg(folder);
        command
    };
    python(files, start, "running on http://127.0.0.1:")
}

fn django_over_wsgi(files: &Path, overrides: bool) -> Result<Server, &'static str> {
    let start = |python: &Python| {
        let mut command = python.script_of("frameworks/python/django_handlers.py");
        if overrides {
            command.env("OVERRIDES", "1");
        }
        command
    };
    python(files, start, "listens on ")
}

/// What docs/security.md recommends for Express.
fn express_paths() -> Value {
    json!({"ignore_case": true, "ignore_trailing_slash": true})
}

#[test]
fn nothing_that_express_5_protects_runs_for_somebody_who_may_not() {
    attack(&Framework::new("Express 5", express_paths(), |files| express("express", files)));
}

#[test]
fn nothing_that_express_4_protects_runs_for_somebody_who_may_not() {
    attack(&Framework::new("Express 4", express_paths(), |files| express("express4", files)));
}

#[test]
fn nothing_that_fastapi_protects_runs_for_somebody_who_may_not() {
    attack(&Framework::new("FastAPI", json!({}), |files| uvicorn("fastapi_handlers:app", files)));
}

#[test]
fn nothing_that_django_protects_over_asgi_runs_for_somebody_who_may_not() {
    attack(&Framework::new("Django over ASGI", json!({}), |files| uvicorn("django_handlers:app", files)));
}

#[test]
fn nothing_that_django_protects_over_wsgi_runs_for_somebody_who_may_not() {
    attack(&Framework::new("Django over WSGI", json!({}), |files| django_over_wsgi(files, false)));
}

#[test]
fn no_header_makes_an_express_with_method_override_run_what_it_protects() {
    let name = "Express 5 with method-override";
    attack(&Framework::overridden(name, express_paths(), express_with_overrides));
}

#[test]
fn no_header_makes_a_django_with_django_method_override_run_what_it_protects() {
    let name = "Django over WSGI with django-method-override";
    attack(&Framework::overridden(name, json!({}), |files| django_over_wsgi(files, true)));
}

#[test]
fn a_gate_that_allows_override_headers_lets_them_choose_the_handler() {
    // Otherwise the two tests above would mean nothing: these frameworks do honour the headers.
    const NAME: &str = "a_gate_that_allows_override_headers_lets_them_choose_the_handler";
    let files = files();
    let servers = [express_with_overrides(files.path()), django_over_wsgi(files.path(), true)];
    for server in servers {
        let server = match server {
            Ok(server) => server,
            Err(reason) => return skipped(NAME, reason),
        };
        let mut gate = gate(&json!({}), &json!({"match": {"prefix": "/"}}));
        gate["allow_override_headers"] = json!(true);
        let routes = json!([{"match": {"prefix": "/"}, "route": {"cluster": "application"}}]);
        let listener = Listener::gated("allowing", gate).routes(routes);
        let envoy = Spec::new().cluster("application", server.port).listener(listener).start();
        let ran = |method: &str, path: &str, name: &str, value: &str| {
            let answer = Request::new(method, path).header(name, value).send(envoy.port("allowing"));
            answer.header("x-handler")
        };
        let by_method = ran("POST", "/notes", "x-http-method-override", "DELETE");
        assert_eq!(by_method.as_deref(), Some("notes delete"), "{}", server.log());
        for name in ["x-original-url", "x-rewrite-url", "X_Original_URL"] {
            let by_url = ran("GET", "/public", name, "/secret");
            // Node tells `_` from `-`.
            if by_url.as_deref() != Some("public") || !name.contains('_') {
                assert_eq!(by_url.as_deref(), Some("secret"), "{name}: {}", server.log());
            }
        }
    }
}

#[test]
fn a_framework_that_is_reached_without_the_gate_runs_what_it_protects() {
    // Otherwise nothing above would mean anything: it is the gate that keeps strangers away.
    let files = files();
    let server = match express("express", files.path()) {
        Ok(server) => server,
        Err(reason) => {
            return skipped("a_framework_that_is_reached_without_the_gate_runs_what_it_protects", reason);
        }
    };
    for path in ["/secret", "/SECRET/", "/Admin/x"] {
        let answer = Request::get(path).send(server.port);
        assert!(
            answer.header("x-handler").is_some_and(|name| !Caller::User.may(&name)),
            "{path}: {answer:?}"
        );
    }
}
