//! The companion in operation: two replicas behind Envoy, and `doctor` asking a real Envoy.

use jwt_gate_tests::{Companion, Listener, Request, Spec, forge, skipped};
use serde_json::{Value, json};

use crate::postgres::Postgres;
use crate::site::{front, gate_of, repository, shipped_gate, without_revocation};

fn post(port: u16, path: &str, token: Option<&str>, body: &Value) -> jwt_gate_tests::Answer {
    let request =
        Request::new("POST", path).header("content-type", "application/json").body(body.to_string());
    match token {
        Some(token) => request.bearer(token).send(port),
        None => request.send(port),
    }
}

#[test]
fn two_companions_on_one_postgresql_behind_envoy_act_as_one() {
    let server = match Postgres::start() {
        Ok(server) => server,
        Err(reason) => return skipped("two_companions_on_one_postgresql_behind_envoy_act_as_one", &reason),
    };
    let url = server.database("replicas");
    let replica = || Companion::start_with(&[("BETTER_AUTH_SECRET", forge::SECRET), ("DATABASE_URL", &url)]);
    let (one, other) = (replica(), replica());
    let half = |cluster: &str| json!({"name": cluster, "weight": 50});
    let routes = json!([{"match": {"prefix": "/"}, "route": {"weighted_clusters": {"clusters": [half("one"), half("other")]}}}]);
    let envoy = Spec::new()
        .cluster("one", one.public_port())
        .cluster("other", other.public_port())
        .listener(Listener::gated("site", shipped_gate()).routes(routes))
        .start();
    let port = envoy.port("site");

    for number in 0..8 {
        let account =
            json!({"email": format!("user{number}@example.com"), "password": "correct horse battery"});
        assert_eq!(post(port, "/api/auth/signup", None, &account).status, 201);
        assert_eq!(post(port, "/api/auth/signup", None, &account).status, 409, "known to both at once");
        let signed_in = post(port, "/api/auth/signin", None, &account);
        assert_eq!(signed_in.status, 200);
        let token = signed_in.json()["token"].as_str().expect("a token").to_owned();
        let me = || Request::get("/api/auth/me").bearer(&token).send(port).status;
        assert!((0..6).all(|_| me() == 200));
        assert_eq!(post(port, "/api/auth/signout", Some(&token), &json!({})).status, 204);
        assert!((0..6).all(|_| me() == 401), "signed out at both at once");
    }
    for cluster in ["one", "other"] {
        let stats = envoy.admin().stats(&format!("cluster.{cluster}.upstream_rq_total"));
        assert!(stats.values().any(|requests| *requests > 10), "{stats:?}: both take part");
    }
}

#[test]
fn doctor_compares_its_secret_with_that_of_a_real_envoy() {
    let ask = |companion: &Companion, admin: &str| {
        let doctor = companion.command(&["doctor", "--envoy-admin", admin]).output().expect("doctor runs");
        let said =
            format!("{}{}", String::from_utf8_lossy(&doctor.stdout), String::from_utf8_lossy(&doctor.stderr));
        (doctor.status.success(), said)
    };
    let same = Companion::start(forge::SECRET);
    let other = Companion::start(forge::OTHER_SECRET);
    let envoy = front(shipped_gate(), &["/api/auth/"], same.public_port(), same.public_port());
    let admin = envoy.admin().url();

    let (well, said) = ask(&same, &admin);
    assert!(well, "{said}");
    let (well, said) = ask(&other, &admin);
    assert!(!well && said.contains("kid"), "{said}");
    assert!(!said.contains(forge::OTHER_SECRET) && !said.contains(forge::SECRET));
}

/// What `envoy/run-envoy.sh` hands to Envoy where people come by https.
fn https_configuration() -> Value {
    let folder = tempfile::tempdir().expect("a directory");
    let stand_in = folder.path().join("envoy");
    std::fs::write(&stand_in, "#!/bin/sh\n[ \"$1\" = --config-yaml ] && printf %s \"$2\"\n")
        .expect("a script");
    std::fs::set_permissions(&stand_in, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("it may run");
    let envoy = repository().join("envoy");
    let output = std::process::Command::new("sh")
        .args([envoy.join("run-envoy.sh"), envoy.join("envoy.yaml")])
        .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
        .env("JWT_GATE_PUBLIC_URL", "https://app.example.com")
        .output()
        .expect("sh runs");
    serde_saphyr::from_str(&String::from_utf8_lossy(&output.stdout)).expect("YAML")
}

#[test]
fn under_https_the_gate_and_the_companion_take_the_cookie_of_the_host_and_no_other() {
    let companion = Companion::start_with(&[
        ("BETTER_AUTH_SECRET", forge::SECRET),
        ("JWT_GATE_PUBLIC_URL", "https://app.example.com"),
    ]);
    let policy: Value = serde_saphyr::from_str(
        &std::fs::read_to_string(repository().join("envoy/gateway/extension-policy.yaml"))
            .expect("it is there"),
    )
    .expect("YAML");
    let plugin: Value = serde_saphyr::from_str(
        &std::fs::read_to_string(repository().join("envoy/istio/wasmplugin.yaml")).expect("it is there"),
    )
    .expect("YAML");
    let gates = [
        ("run-envoy.sh", gate_of(&https_configuration())),
        ("Envoy Gateway", without_revocation(policy["spec"]["wasm"][0]["config"].clone())),
        ("Istio", without_revocation(plugin["spec"]["pluginConfig"].clone())),
    ];
    for (number, (name, gate)) in gates.into_iter().enumerate() {
        let envoy = front(gate, &["/api/auth/"], companion.public_port(), companion.public_port());
        let envoy = envoy.shown_on_failure();
        let port = envoy.port("site");
        let account =
            json!({"email": format!("ada{number}@example.com"), "password": "correct horse battery"});
        let signed_up = post(port, "/api/auth/signup", None, &account);
        assert_eq!(signed_up.status, 201, "{name}: {signed_up:?}");
        let cookie = signed_up.header("set-cookie").expect("a cookie");
        let pair = cookie.split(';').next().expect("a pair");
        let get = |path: &str, cookie: &str| Request::get(path).header("cookie", cookie).send(port).status;
        // Behind the gate there is nothing at this path: 404 says that it was let through.
        assert_eq!((get("/protected", pair), get("/api/auth/me", pair)), (404, 200), "{name}: {pair}");
        let token = signed_up.json()["token"].as_str().expect("a token").to_owned();
        for planted in ["jwt-gate", "session", "__Host-session", "__Secure-jwt-gate", "__host-jwt-gate"] {
            let planted = format!("{planted}={token}");
            assert_eq!(
                (get("/protected", &planted), get("/api/auth/me", &planted)),
                (401, 401),
                "{name}: {planted}"
            );
        }
    }
}

/// A site as it should be, for `doctor` to find nothing; then with one thing wrong.
struct Case {
    gate: Value,
    listener: fn(Listener) -> Listener,
    /// `vm_config.environment_variables`
    vm_environment: Value,
    /// The port of the cluster `companion_private`.
    private_port: u16,
    /// What the companion and `doctor` are told beside the defaults.
    flags: &'static [&'static str],
}

impl Case {
    fn good(companion: &Companion) -> Self {
        let mut gate = shipped_gate();
        gate["revocation"] = json!({"cluster": "companion_private"});
        Self {
            gate,
            listener: |listener| listener,
            vm_environment: json!({"key_values": {"BETTER_AUTH_SECRET": forge::SECRET}}),
            private_port: companion.private_port(),
            flags: &[],
        }
    }

    /// Asks `doctor` until it says `expected`; the gate takes a moment to ask for revocations, and to count.
    fn doctor_says(self, companion: &Companion, expected: &str) -> (bool, String) {
        let routes = json!([
            {"match": {"prefix": "/api/auth/"}, "route": {"cluster": "companion"}},
            {"match": {"prefix": "/"}, "route": {"cluster": "companion"}},
        ]);
        let listener = (self.listener)(Listener::gated("site", self.gate).normalised().routes(routes));
        let envoy = Spec::new()
            .discovered()
            .vm_environment(self.vm_environment)
            .cluster("companion", companion.public_port())
            .cluster("companion_private", self.private_port)
            .listener(listener)
            .start();
        let listens =
            [companion.public_port(), companion.private_port()].map(|port| format!("127.0.0.1:{port}"));
        let mut arguments = vec!["doctor".to_owned(), "--envoy-admin".to_owned(), envoy.admin().url()];
        arguments.extend(["--listen", &listens[0], "--private-listen", &listens[1]].map(str::to_owned));
        arguments.extend(self.flags.iter().map(|flag| (*flag).to_owned()));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut last = (false, String::new());
        for _ in 0..100 {
            let doctor = companion.command(&arguments).output().expect("doctor runs");
            let said =
                [doctor.stdout, doctor.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            last = (doctor.status.success(), said.concat());
            if last.1.contains(expected) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        assert!(last.1.contains(expected), "doctor does not say `{expected}`:\n{}\n{}", last.1, envoy.log());
        assert!(!last.1.contains(forge::SECRET), "{}", last.1);
        last
    }
}

#[test]
fn doctor_finds_nothing_wrong_with_a_site_that_works() {
    let companion = Companion::start(forge::SECRET);
    let (well, said) = Case::good(&companion).doctor_says(&companion, "follows the list of revocations of");
    assert!(well && !said.contains("FAIL"), "{said}");
    assert!(said.contains("takes our issuer, audience and cookie"), "{said}");
}

#[test]
fn doctor_finds_what_keeps_people_out_or_signed_out_tokens_in() {
    let companion = Companion::start(forge::SECRET);
    let app = |gate: &mut Value, field: &str, value: Value| gate["providers"]["app"][field] = value;
    let dead =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    type Spoil<'test> = Box<dyn Fn(&mut Case) + 'test>;
    let cases: Vec<(&str, Spoil<'_>)> = vec![
        (
            "issuer is https://auth.example.com",
            Box::new(|case| {
                app(&mut case.gate, "issuer", json!("https://auth.example.com"));
            }),
        ),
        (
            "audiences are api, our tokens have none",
            Box::new(|case| {
                app(&mut case.gate, "audiences", json!(["api"]));
            }),
        ),
        (
            "audiences are api, our tokens have web",
            Box::new(|case| {
                app(&mut case.gate, "audiences", json!(["api"]));
                case.flags = &["--audience", "web"];
            }),
        ),
        ("from_cookies names sess", Box::new(|case| app(&mut case.gate, "from_cookies", json!(["sess"])))),
        (
            "this Envoy has no such cluster",
            Box::new(|case| case.gate["revocation"]["cluster"] = json!("companoin")),
        ),
        (
            "our public port; the list is served on the private",
            Box::new(|case| {
                case.private_port = companion.public_port();
            }),
        ),
        ("nothing listens there", Box::new(|case| case.private_port = dead)),
        (
            "it answers 404: it is not our private port",
            Box::new(|case| {
                case.gate["revocation"]["path"] = json!("/nowhere");
            }),
        ),
        (
            "a route leads to companion_private",
            Box::new(|case| {
                case.listener = |listener| {
                    listener.routes(
                        json!([{"match": {"prefix": "/"}, "route": {"cluster": "companion_private"}}]),
                    )
                };
            }),
        ),
        ("Envoy passes none of them on", Box::new(|case| case.vm_environment = json!({"host_env_keys": []}))),
        (
            "the filter rewriter behind it changes the path",
            Box::new(|case| {
                case.listener = |listener| {
                    listener.after(json!({"name": "rewriter", "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                    "default_source_code": {"inline_string":
                        "function envoy_on_request(handle) handle:headers():replace(':path', '/admin') end"},
                }}))
                };
            }),
        ),
    ];
    for (expected, spoil) in cases {
        let mut case = Case::good(&companion);
        spoil(&mut case);
        let (well, said) = case.doctor_says(&companion, expected);
        assert!(!well, "`{expected}` is no failure:\n{said}");
        let line = said.lines().find(|line| line.contains(expected)).unwrap_or_default();
        assert!(line.starts_with("FAIL"), "{line}");
    }
}
