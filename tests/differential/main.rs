//! The gate beside Envoy's own `jwt_authn`: one Envoy, two listeners, the same providers and rules, and many
//! generated requests. Where the two disagree, [`differences`] says which RFC decides it; a disagreement that
//! stands in no row fails the test, and so does a row that no request shows.
//!
//! `JWT_GATE_DIFFERENTIAL_REQUESTS` and `JWT_GATE_DIFFERENTIAL_SEED` choose how many requests and which;
//! `JWT_GATE_WRITE_DOCS=1` writes the table into `docs/differential.md`.

mod configurations;
mod differences;
mod draft;
mod mutations;

use std::collections::BTreeMap;
use std::{env, fs, io, path::Path};

use jwt_gate_tests::forge::{self, base64url};
use jwt_gate_tests::http1::Connection;
use jwt_gate_tests::{Answer, Listener, Request, Seen, Spec, http2};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::differences::{DIFFERENCES, Kind};
use crate::draft::{APP_OLD_SECRET, APP_SECRET, Draft, OPS_SECRET};
use crate::mutations::MUTATIONS;

/// What both filters are told; only the envelope differs.
fn providers() -> Value {
    let key =
        |kid: &str, secret: &str| json!({"kty": "oct", "alg": "HS256", "kid": kid, "k": base64url(secret)});
    let jwks = |keys: &[Value]| json!({"inline_string": json!({"keys": keys}).to_string()});
    json!({
        "app": {
            "issuer": "jwt-gate",
            "audiences": ["api", "web"],
            "local_jwks": jwks(&[key("a", APP_SECRET), key("b", APP_OLD_SECRET)]),
            "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}, {"name": "x-token"}],
            "from_cookies": ["session"],
            "from_params": ["access_token"],
            "claim_to_headers": [
                {"header_name": "x-user-id", "claim_name": "sub"},
                {"header_name": "x-user-email", "claim_name": "email"},
                {"header_name": "x-level", "claim_name": "account.level"},
            ],
            "forward_payload_header": "x-payload",
            "require_expiration": true,
            "clock_skew_seconds": 60,
        },
        "ops": {
            "issuer": "ops",
            "local_jwks": jwks(&[key("o", OPS_SECRET)]),
            "from_headers": [{"name": "x-ops-token"}],
            "claim_to_headers": [{"header_name": "x-ops-id", "claim_name": "sub"}],
            "forward_payload_header": "x-ops-payload",
            "require_expiration": true,
            "clock_skew_seconds": 60,
        },
    })
}

fn rules() -> Value {
    let (app, ops) = (json!({"provider_name": "app"}), json!({"provider_name": "ops"}));
    let any = |list: &[&Value]| json!({"requires_any": {"requirements": list}});
    json!([
        {"match": {"path": "/public"}},
        {"match": {"prefix": "/open/"}},
        {"match": {"prefix": "/optional/"}, "requires": any(&[&app, &json!({"allow_missing": {}})])},
        {"match": {"prefix": "/lenient/"}, "requires": any(&[&app, &json!({"allow_missing_or_failed": {}})])},
        {"match": {"prefix": "/any/"}, "requires": any(&[&app, &ops])},
        {"match": {"prefix": "/all/"}, "requires": {"requires_all": {"requirements": [&app, &ops]}}},
        {"match": {"prefix": "/ops/"}, "requires": ops},
        {"match": {"safe_regex": {"regex": "/v[0-9]+/.*"}}, "requires": app},
        {"match": {"path_separated_prefix": "/segment"}, "requires": app},
        {"match": {"prefix": "/"}, "requires": app},
    ])
}

fn envoy() -> jwt_gate_tests::Envoy {
    let shared = json!({"providers": providers(), "rules": rules(), "bypass_cors_preflight": true});
    let mut native = shared.clone();
    native["@type"] =
        json!("type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication");
    Spec::new()
        .listener(Listener::gated("gate", shared))
        .listener(
            Listener::new("jwt_authn")
                .before(json!({"name": "envoy.filters.http.jwt_authn", "typed_config": native})),
        )
        .start()
}

/// A request and the names of what was done to it.
struct Case {
    names: Vec<&'static str>,
    draft: Draft,
}

fn generate(rng: &mut StdRng) -> Case {
    const PATHS: &[&str] = &[
        "/api/me",
        "/api/me",
        "/api/me",
        "/api/me",
        "/public",
        "/open/x",
        "/optional/x",
        "/lenient/x",
        "/any/x",
        "/all/x",
        "/ops/x",
        "/v1/x",
        "/segment",
        "/segment/x",
        "/segments",
    ];
    let path = PATHS.choose(rng).expect("a choice of some");
    let for_ops = path.starts_with("/ops/") || (*path == "/any/x" && rng.random());
    let mut draft =
        if for_ops { Draft::good_for_ops(forge::now(), path) } else { Draft::good(forge::now(), path) };
    let count = *[0, 1, 1, 1, 1, 1, 1, 2, 2, 3].choose(rng).expect("a choice of some");
    let mut names = Vec::new();
    for _ in 0..count {
        let (name, mutate) = MUTATIONS.choose(rng).expect("a choice of some");
        mutate(&mut draft, rng);
        names.push(*name);
    }
    names.sort_unstable();
    names.dedup();
    Case { names, draft }
}

/// A connection that is opened anew whenever Envoy closed it.
struct Client {
    port: u16,
    connection: Option<Connection>,
    http2: http2::Connection,
}

impl Client {
    fn to(port: u16) -> Self {
        Self { port, connection: None, http2: http2::Connection::to(port) }
    }

    /// Over HTTP/2. Nothing too where the request cannot be written so.
    fn send_http2(&mut self, request: &Request) -> Option<Answer> {
        self.http2.try_send(request).or_else(|_| self.http2.try_send(request)).ok()
    }

    fn send(&mut self, request: &Request) -> Option<Answer> {
        let mut attempt = || -> io::Result<Answer> {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => Connection::open(self.port)?,
            };
            let answer = connection.exchange(request)?;
            if answer.header("connection").as_deref() != Some("close") {
                self.connection = Some(connection);
            }
            Ok(answer)
        };
        // Once more on a fresh connection: the old one may have been closed before it was used.
        attempt().or_else(|_| attempt()).ok()
    }
}

/// How far a request came. The payload header is what tells: no mutation spoofs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Refused,
    Anonymous,
    Identified,
}

fn reach(seen: Option<&Seen>) -> Reach {
    let identified = |seen: &Seen| !seen.all("x-payload").is_empty() || !seen.all("x-ops-payload").is_empty();
    match seen {
        None => Reach::Refused,
        Some(seen) if identified(seen) => Reach::Identified,
        Some(_) => Reach::Anonymous,
    }
}

/// How the two differ about one request, and what shows it; nothing where they agree.
fn compare(native: Option<&Answer>, gate: Option<&Answer>) -> Vec<(Kind, String)> {
    let seen = |answer: Option<&Answer>| answer.and_then(Answer::seen);
    let (native_seen, gate_seen) = (seen(native), seen(gate));
    let (native_reach, gate_reach) = (reach(native_seen.as_ref()), reach(gate_seen.as_ref()));
    if native_reach != gate_reach {
        let said = |answer: Option<&Answer>| {
            answer
                .map_or_else(|| "nothing".to_owned(), |answer| format!("{} {}", answer.status, answer.text()))
        };
        let kind = if gate_reach < native_reach { Kind::GateRefuses } else { Kind::GateAccepts };
        let said = if kind == Kind::GateRefuses { said(gate) } else { said(native) };
        return vec![(kind, format!("{native_reach:?}, gate {gate_reach:?}: {said}"))];
    }
    let (Some(native), Some(gate)) = (native_seen, gate_seen) else { return Vec::new() };
    let mut kinds = Vec::new();
    for (kind, names) in [
        (
            Kind::Identity,
            &["x-user-id", "x-user-email", "x-level", "x-payload", "x-ops-id", "x-ops-payload"][..],
        ),
        (Kind::LeftOver, &["authorization", "cookie", "x-token", "x-ops-token"]),
    ] {
        let values = |seen: &Seen, name: &str| -> Vec<String> {
            seen.read_as(name).into_iter().map(|(_, value)| value).collect()
        };
        let mut differing: Vec<String> = names
            .iter()
            .map(|name| (name, values(&native, name), values(&gate, name)))
            .filter(|(_, native, gate)| native != gate)
            .map(|(name, native, gate)| format!("{name}: {native:?}, gate {gate:?}"))
            .collect();
        if kind == Kind::LeftOver && native.target != gate.target {
            differing.push(format!("path: {}, gate {}", native.path(), gate.path()));
        }
        if !differing.is_empty() {
            kinds.push((kind, differing.join("; ")));
        }
    }
    kinds
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name)
        .ok()
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("${name} is no number")))
}

#[test]
fn the_gate_and_jwt_authn_agree_but_where_an_rfc_decides_otherwise() {
    let (count, seed) =
        (setting("JWT_GATE_DIFFERENTIAL_REQUESTS", 25_000), setting("JWT_GATE_DIFFERENTIAL_SEED", 7519));
    let envoy = envoy();
    let _shown = envoy.shown_on_failure();
    let mut rng = StdRng::seed_from_u64(seed);
    let mut native = Client::to(envoy.port("jwt_authn"));
    let mut gate = Client::to(envoy.port("gate"));

    let (mut reached_both, mut refused_both, mut disagreed) = (0_u64, 0_u64, 0_u64);
    let mut shown: BTreeMap<(Kind, &str), u64> = BTreeMap::new();
    let mut unexplained: BTreeMap<(Kind, Vec<&str>), (u64, String)> = BTreeMap::new();
    let mut over_http2 = 0_u64;
    for number in 0..count {
        let case = generate(&mut rng);
        let request = case.draft.request();
        let (natives, gates) = if number % 3 == 2 {
            (native.send_http2(&request), gate.send_http2(&request))
        } else {
            (native.send(&request), gate.send(&request))
        };
        over_http2 += u64::from(number % 3 == 2 && gates.is_some());
        let kinds = compare(natives.as_ref(), gates.as_ref());
        match (kinds.is_empty(), gates.as_ref().and_then(Answer::seen)) {
            (false, _) => disagreed += 1,
            (true, Some(_)) => reached_both += 1,
            (true, None) => refused_both += 1,
        }
        for (kind, said) in kinds {
            let explained = case.names.iter().any(|name| {
                DIFFERENCES.iter().any(|row| row.kind == kind && row.is_for(name, case.names.len()))
            });
            if let [name] = case.names[..] {
                *shown.entry((kind, name)).or_default() += 1;
            }
            if !explained {
                let example = || {
                    format!(
                        "{said}\n      {request:?}\n      {}",
                        String::from_utf8_lossy(&case.draft.payload_text())
                    )
                };
                unexplained.entry((kind, case.names.clone())).or_insert_with(|| (0, example())).0 += 1;
            }
        }
    }

    println!(
        "{count} requests, {over_http2} over HTTP/2, seed {seed}: {reached_both} passed by both, {refused_both} refused by both, \
         {disagreed} decided differently"
    );
    for ((kind, name), times) in &shown {
        println!("{times:>6} × {kind:?}: {name}");
    }
    let text: Vec<_> = unexplained
        .iter()
        .map(|((kind, names), (times, example))| {
            let example: String = example.chars().take(900).collect();
            format!("{times} × {kind:?} {names:?}\n      {example}")
        })
        .collect();
    assert!(text.is_empty(), "{} kinds of disagreement stand in no row:\n{}", text.len(), text.join("\n"));
    assert!(!envoy.log().contains("panicked"));
    if count >= 20_000 {
        let idle: Vec<_> = DIFFERENCES
            .iter()
            .flat_map(|row| row.mutations.iter().map(|name| (row.kind, *name)))
            .filter(|shown_by| !shown.contains_key(shown_by))
            .collect();
        assert!(idle.is_empty(), "no request shows these by themselves: {idle:#?}");
        assert!(over_http2 > count / 4, "{over_http2} over HTTP/2");
        assert!(reached_both > count / 10 && refused_both > count / 10, "the requests are too much alike");
    }
}

#[test]
fn the_table_in_the_docs_is_the_one_that_the_test_uses() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/differential.md");
    let expected = differences::markdown();
    if env::var_os("JWT_GATE_WRITE_DOCS").is_some() {
        fs::write(&path, &expected).expect("the page is written");
    }
    let page = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        page == expected,
        "docs/differential.md is out of date: run this test with JWT_GATE_WRITE_DOCS=1"
    );
}
