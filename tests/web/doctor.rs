//! `doctor` asks a real Envoy what is wrong.

use std::process::Output;

use jwt_gate_tests::{Companion, Listener, Request, Spec, Upstream, cluster, forge};
use serde_json::{Value, json};

use crate::site::{front, shipped_gate};

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

/// What is done to a listener.
type Setup = fn(Listener) -> Listener;

/// A site as it should be, for `doctor` to find nothing; then with one thing wrong.
struct Case {
    gate: Value,
    listener: Setup,
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
            listener: edge,
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
    assert!(well && !said.contains("FAIL") && !said.contains("trusted-hops"), "{said}");
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
                    edge(listener).routes(
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
                    edge(listener).after(json!({"name": "rewriter", "typed_config": {
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

/// A listener that clients reach directly, as `envoy/envoy.yaml` has it.
fn edge(listener: Listener) -> Listener {
    listener.set("use_remote_address", json!(true))
}

/// A listener where TLS ends, with a certificate that nobody trusts.
fn ending_tls(listener: Listener) -> Listener {
    let pem = json!({"inline_string": include_str!("for_tests_only.pem")});
    edge(listener).tls(json!({"common_tls_context": {"tls_certificates": [{
        "certificate_chain": pem, "private_key": pem,
    }]}}))
}

const HTTPS: &[&str] = &["--public-url", "https://app.example.com"];

/// The ways to be told of the scheme where TLS ends before Envoy.
const BEHIND_A_PROXY: &[(&str, Setup)] = &[
    ("edge", edge),
    ("trusting", |listener| edge(listener).set("xff_num_trusted_hops", json!(1))),
    ("fixed", |listener| {
        edge(listener).set("scheme_header_transformation", json!({"scheme_to_overwrite": "https"}))
    }),
    ("wrongly-fixed", |listener| {
        listener.set("scheme_header_transformation", json!({"scheme_to_overwrite": "http"}))
    }),
    ("believing", |listener| listener),
];

impl Case {
    /// A site that people reach by https.
    fn https(companion: &Companion) -> Self {
        let mut case = Self::good(companion);
        case.gate["providers"]["app"]["from_cookies"] = json!(["__Host-jwt-gate"]);
        case.flags = HTTPS;
        case
    }
}

#[test]
fn doctor_finds_an_envoy_that_tells_the_application_http_where_people_come_by_https() {
    // What each Envoy makes of a request that a proxy before it got by https.
    let spec = BEHIND_A_PROXY.iter().fold(Spec::new(), |spec, (name, set)| {
        let routes = json!([{"match": {"prefix": "/"}, "route": {"cluster": cluster(Upstream::Http1)}}]);
        spec.listener(set(Listener::new(name)).routes(routes))
    });
    let envoy = spec.start();
    let companion = Companion::start(forge::SECRET);
    let mut wrong = Vec::new();
    for (name, set) in BEHIND_A_PROXY {
        let request =
            Request::get("/").header("x-forwarded-proto", "https").header("x-forwarded-for", "203.0.113.7");
        let seen = request.send(envoy.port(name)).reached();
        let told = seen.one("x-forwarded-proto").expect("Envoy always says it");
        let mut case = Case::https(&companion);
        case.listener = *set;
        let (well, said) = case.doctor_says(&companion, "follows the list of revocations of");
        assert_eq!(well, told == "https", "{name}: the application is told {told}, doctor says\n{said}");
        if told != "https" {
            wrong.push(*name);
        }
    }
    assert_eq!(wrong, ["edge", "wrongly-fixed"]);
}

#[test]
fn doctor_finds_a_site_by_https_whose_cookie_is_not_secure() {
    let companion = Companion::start(forge::SECRET);
    let expected = "people come by https, and --public-url is";
    for flags in [&[][..], &["--public-url", "http://app.example.com"]] {
        let case = Case { listener: ending_tls, flags, ..Case::good(&companion) };
        let (well, said) = case.doctor_says(&companion, expected);
        assert!(!well, "{said}");
    }
    let case = Case { listener: ending_tls, ..Case::https(&companion) };
    let (well, said) = case.doctor_says(&companion, "follows the list of revocations of");
    assert!(well && !said.contains("people come by https"), "{said}");
}

#[test]
fn doctor_counts_the_proxies_whose_addresses_the_companion_may_believe() {
    let companion = Companion::start(forge::SECRET);
    let choose = "clients can choose the address that they are throttled by";
    let cases: [(&str, Setup, &'static [&'static str]); 4] = [
        (choose, edge, &["--trusted-hops", "2"]),
        (choose, |listener| edge(listener).set("skip_xff_append", json!(true)), &[]),
        (
            "everybody is throttled together",
            |listener| edge(listener).set("xff_num_trusted_hops", json!(1)),
            &[],
        ),
        ("passes X-Forwarded-For on as it came", |listener| listener, &[]),
    ];
    for (expected, listener, flags) in cases {
        let case = Case { listener, flags, ..Case::good(&companion) };
        let (_, said) = case.doctor_says(&companion, expected);
        let line = said.lines().find(|line| line.contains(expected)).unwrap_or_default();
        assert!(line.starts_with("warn"), "{line}");
    }
}

#[test]
fn doctor_speaks_no_plain_http_to_an_https_address() {
    let companion = Companion::start(forge::SECRET);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("it does not wait");
    let address = format!("https://{}", listener.local_addr().expect("an address"));
    let Output { status, stderr, .. } =
        companion.command(&["doctor", "--envoy-admin", &address]).output().expect("doctor runs");
    let said = String::from_utf8_lossy(&stderr);
    assert!(!status.success() && said.contains("speaks plain http, never https"), "{said}");
    assert!(listener.accept().is_err(), "it was called");
}

#[test]
fn an_old_secret_that_was_left_with_the_gate_is_named_by_its_log_and_by_doctor() {
    let (old, new) = (forge::OTHER_SECRET, forge::SECRET);
    let list = format!("2:{new}");
    let companion = Companion::start_with(&[("BETTER_AUTH_SECRETS", &list)]);
    let variables = json!({"BETTER_AUTH_SECRETS": list, "BETTER_AUTH_SECRET": old});
    let envoy = Spec::new()
        .vm_environment(json!({"key_values": variables}))
        .listener(edge(Listener::gated("site", shipped_gate()).normalised()))
        .start();
    let envoy = envoy.shown_on_failure();

    let read = envoy.log_lines("provider app reads its secrets from");
    assert!(read.iter().any(|line| line.contains(") and $BETTER_AUTH_SECRET (kid ")), "{read:?}");
    let warned = envoy.log_lines("is set beside");
    let says = |part: &str| warned.iter().any(|line| line.contains(part));
    assert!(says("BETTER_AUTH_SECRET is set beside") && says("are still"), "{warned:?}");
    // It is no idle warning.
    let token = forge::token_of(old, &forge::claims("somebody", json!({"iss": "jwt-gate"})));
    assert_eq!(Request::get("/private").bearer(token).send(envoy.port("site")).status, 200);

    let doctor =
        companion.command(&["doctor", "--envoy-admin", &envoy.admin().url()]).output().expect("it runs");
    let said = String::from_utf8_lossy(&doctor.stdout);
    let found = said.lines().find(|line| line.contains("verifies there and not here")).unwrap_or_default();
    assert!(found.starts_with("warn"), "{said}");
    for text in [&*said, &envoy.log()] {
        assert!(!text.contains(old) && !text.contains(new), "a secret is told");
    }
}
