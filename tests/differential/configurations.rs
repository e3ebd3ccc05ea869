//! Whole configurations, drawn at random and given to the gate and to `jwt_authn` alike: rules with every kind of match
//! and of header matcher, requirements, locations and defaults. Then requests at random, to both.
//!
//! Paths are canonical here, so that a rule decides by one path; what the gate makes of others has tests of its own.
//! A repeated header, a host in another spelling and `HEAD` have several readings too. There `jwt_authn` itself is the
//! oracle: it is asked about each reading by itself, and what the gate lets through must pass in every one.
//!
//! `JWT_GATE_DIFFERENTIAL_CONFIGURATIONS` and `JWT_GATE_DIFFERENTIAL_SEED` choose how many configurations and which.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jwt_gate_tests::forge::{self, base64url};
use jwt_gate_tests::{Answer, Envoy, Listener, Request, Spec};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};

use crate::draft::{APP_SECRET, OPS_SECRET};
use crate::{Client, setting};

/// How many configurations one Envoy has; each of them is two listeners.
const BATCH: usize = 64;
/// How many requests each configuration gets.
const REQUESTS: usize = 66;

/// A provider that a configuration may have.
#[derive(Debug)]
struct Issuer {
    name: &'static str,
    secret: &'static str,
    /// The headers that carry its identity to the backend.
    identity: [&'static str; 2],
    /// A header and a cookie that only this provider reads.
    own: [&'static str; 2],
}

const ISSUERS: [Issuer; 3] = [
    Issuer {
        name: "app",
        secret: APP_SECRET,
        identity: ["x-user-id", "x-payload"],
        own: ["x-app-token", "app"],
    },
    Issuer {
        name: "ops",
        secret: OPS_SECRET,
        identity: ["x-ops-id", "x-ops-payload"],
        own: ["x-ops-token", "ops"],
    },
    Issuer {
        name: "dev",
        secret: "dev-0123456789-abcdefghij-ABCDEFGHIJ",
        identity: ["x-dev-id", "x-dev-payload"],
        own: ["x-dev-token", "dev"],
    },
];

/// Where a token may be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Location {
    Header(&'static str, &'static str),
    Cookie(&'static str),
    Parameter(&'static str),
}

const BEARER: Location = Location::Header("authorization", "Bearer ");
/// What `jwt_authn` reads besides where no location is given, and the gate does not.
const DEFAULT_PARAMETER: Location = Location::Parameter("access_token");

/// A configuration, told to both.
struct Configuration {
    gate: Value,
    native: Value,
    providers: Vec<(&'static Issuer, Vec<Location>)>,
    /// The headers that a rule looks at.
    looked_at: BTreeSet<String>,
    bypasses_preflights: bool,
    allows_missing: bool,
    /// Whether a `requires_all` names one provider twice.
    asks_twice: bool,
}

/// A request in parts, so that each of its readings can be sent by itself.
#[derive(Debug, Clone)]
struct Asked {
    method: &'static str,
    host: &'static str,
    target: String,
    conditions: Vec<(&'static str, String)>,
    tokens: Vec<Placed>,
    preflight: bool,
    http2: bool,
    /// Whether header names are written in capitals, over HTTP/1.1.
    shouted: bool,
}

#[derive(Debug, Clone)]
struct Placed {
    kind: &'static str,
    location: Location,
    token: String,
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    passed: bool,
    /// What the backend learnt; nothing where it cannot tell, as of `HEAD`.
    identity: BTreeMap<&'static str, Vec<String>>,
    said: String,
}

/// Why the two may disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    Readings,
    HostSpelling,
    DefaultParameter,
    PreflightWithCredentials,
    AskedTwice,
    AnyProviderMissing,
}

/// The rows of the page, each with what decides it.
pub(crate) const ROWS: &[(Reason, &str, &str)] = &[
    (
        Reason::Readings,
        "A repeated header that a rule looks at, a host in another spelling, `HEAD` beside a rule about `:method`: the gate lets through what passes in \
         every reading (each value by itself and all of them joined; the host in its normal form, with and without its port; `HEAD` and `GET`), `jwt_authn` \
         what passes as written: before 1.40 the joined values, since then any one of them",
        "RFC 9110 §5.3: a recipient may take the lines one by one or joined; §4.2.3: hosts are compared without case and default port; \
         §9.3.2: `HEAD` is `GET` without the content",
    ),
    (
        Reason::HostSpelling,
        "A host in another spelling (`ADMIN.test:80`) passes where its normal form passes; `jwt_authn` compares bytes",
        "RFC 9110 §4.2.3, RFC 3986 §3.2.2, §6.2.3: the host is case-insensitive, the default port says nothing",
    ),
    (
        Reason::DefaultParameter,
        "`access_token` in the query where no location is given: `jwt_authn` reads it, the gate does not",
        "RFC 6750 §2.3, RFC 9700 §4.3.2: a token in a URI ends up in logs and in `Referer`; it must be asked for by name",
    ),
    (
        Reason::PreflightWithCredentials,
        "A CORS preflight that carries a token, with `bypass_cors_preflight`: to the gate it is a request like another",
        "Fetch §4.8 (CORS-preflight fetch): a browser sends no credentials with one, so this is none",
    ),
    (
        Reason::AskedTwice,
        "`requires_all` that names one provider twice, and its token is not forwarded: `jwt_authn` takes the token off when the first is met, so the second finds none",
        "The same requirement twice asks for nothing more",
    ),
    (
        Reason::AnyProviderMissing,
        "`allow_missing` and `allow_missing_or_failed` beside a token of a provider that the list does not name",
        "`{}` stands for any provider: a bad token is not a missing one, and a good one gives its identity",
    ),
];

fn chance(rng: &mut StdRng, percent: u32) -> bool {
    rng.random_range(0..100) < percent
}

fn pick<T: Copy>(rng: &mut StdRng, choices: &[T]) -> T {
    *choices.choose(rng).expect("a choice of some")
}

// === impl Configuration ===

impl Configuration {
    fn draw(rng: &mut StdRng) -> Self {
        let count = pick(rng, &[1, 1, 2, 2, 3]);
        let mut issuers: Vec<&'static Issuer> = ISSUERS.iter().collect();
        issuers.shuffle(rng);
        issuers.truncate(count);
        let providers: Vec<_> = issuers.into_iter().map(|issuer| (issuer, locations(rng, issuer))).collect();
        let names: Vec<&str> = providers.iter().map(|(issuer, _)| issuer.name).collect();
        let mut told = Map::new();
        for (issuer, locations) in &providers {
            told.insert(issuer.name.to_owned(), provider(rng, issuer, locations));
        }
        let mut rules = Vec::new();
        let mut looked_at = BTreeSet::new();
        for _ in 0..rng.random_range(1..=7) {
            let mut rule = json!({"match": matcher(rng, &mut looked_at)});
            if !chance(rng, 25) {
                rule["requires"] = requirement(rng, &names, 0);
            }
            rules.push(rule);
        }
        let bypasses_preflights = chance(rng, 50);
        let shared = json!({"providers": told, "rules": rules, "bypass_cors_preflight": bypasses_preflights});
        let (mut gate, mut native) = (shared.clone(), shared);
        native["@type"] =
            json!("type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication");
        // What no rule matches passes there; a last rule says the same as our other defaults.
        let default = pick(rng, &["allow", "deny", "require"]);
        let last = match default {
            "require" if names.len() == 1 => Some(json!({"provider_name": names[0]})),
            "require" | "deny" => {
                let key = json!({"kty": "oct", "alg": "HS256", "kid": "n", "k": base64url([7; 32])});
                native["providers"]["nobody"] = json!({
                    "issuer": "nobody",
                    "local_jwks": {"inline_string": json!({"keys": [key]}).to_string()},
                    "from_headers": [{"name": "x-nobody"}],
                });
                Some(json!({"provider_name": "nobody"}))
            }
            _ => None,
        };
        gate["default"] = json!(if last.is_some() && names.len() > 1 { "deny" } else { default });
        if let (Some(requires), Some(rules)) = (last, native["rules"].as_array_mut()) {
            rules.push(json!({"match": {"prefix": "/"}, "requires": requires}));
        }
        let allows_missing = gate["rules"].to_string().contains("\"allow_missing");
        let asks_twice = gate["rules"].as_array().into_iter().flatten().any(|rule| {
            let requires = rule["requires"].to_string();
            requires.contains("requires_all")
                && names.iter().any(|name| requires.matches(&format!("\"{name}\"")).count() > 1)
        });
        Self { gate, native, providers, looked_at, bypasses_preflights, allows_missing, asks_twice }
    }

    fn looks_at_host(&self) -> bool {
        self.looked_at.contains("host") || self.looked_at.contains(":authority")
    }

    /// Whether the request has credentials: `Authorization`, a cookie, or a token where a provider looks.
    fn finds_credentials(&self, asked: &Asked) -> bool {
        asked.tokens.iter().any(|placed| {
            placed.location == BEARER
                || matches!(placed.location, Location::Cookie(_))
                || self.providers.iter().any(|(_, places)| places.contains(&placed.location))
        })
    }

    /// Whether a provider without locations could read `access_token`, and this request has one.
    fn has_default_parameter(&self, asked: &Asked) -> bool {
        asked.tokens.iter().any(|placed| placed.location == DEFAULT_PARAMETER)
            && self.providers.iter().any(|(issuer, _)| {
                let told = &self.gate["providers"][issuer.name];
                ["from_headers", "from_cookies", "from_params"]
                    .iter()
                    .all(|field| told[field].as_array().is_none_or(Vec::is_empty))
            })
    }
}

/// Where a provider looks; only the default where none is given.
fn locations(rng: &mut StdRng, issuer: &'static Issuer) -> Vec<Location> {
    let mut places = Vec::new();
    if chance(rng, 30) {
        return places;
    }
    while places.is_empty() {
        if chance(rng, 40) {
            places.push(BEARER);
        }
        if chance(rng, 30) {
            places.push(Location::Header(issuer.own[0], ""));
        }
        if chance(rng, 15) {
            places.push(Location::Header("x-token", "Token "));
        }
        if chance(rng, 30) {
            places.push(Location::Cookie(pick(rng, &[issuer.own[1], "session"])));
        }
        if chance(rng, 30) {
            places.push(Location::Parameter(pick(rng, &["access_token", "t"])));
        }
    }
    places
}

fn provider(rng: &mut StdRng, issuer: &Issuer, locations: &[Location]) -> Value {
    let key = json!({"kty": "oct", "alg": "HS256", "kid": issuer.name, "k": base64url(issuer.secret)});
    let mut told = json!({
        "issuer": issuer.name,
        "local_jwks": {"inline_string": json!({"keys": [key]}).to_string()},
        "claim_to_headers": [{"header_name": issuer.identity[0], "claim_name": "sub"}],
        "forward_payload_header": issuer.identity[1],
        "require_expiration": true,
        "clock_skew_seconds": 60,
        "forward": rng.random::<bool>(),
    });
    if chance(rng, 40) {
        told["audiences"] = json!(["api", "web"]);
    }
    if chance(rng, 20) {
        told["subjects"] = pick_value(
            rng,
            &[json!({"prefix": "user_"}), json!({"exact": "user_1"}), json!({"suffix": "_1"})],
        );
    }
    let of = |wanted: fn(&Location) -> Option<Value>| -> Vec<Value> {
        locations.iter().filter_map(wanted).collect()
    };
    let headers = of(|place| match place {
        Location::Header(name, "") => Some(json!({"name": name})),
        Location::Header(name, prefix) => Some(json!({"name": name, "value_prefix": prefix})),
        _ => None,
    });
    let cookies = of(|place| if let Location::Cookie(name) = place { Some(json!(name)) } else { None });
    let parameters = of(|place| if let Location::Parameter(name) = place { Some(json!(name)) } else { None });
    for (field, list) in [("from_headers", headers), ("from_cookies", cookies), ("from_params", parameters)] {
        // An empty list is the same as none (proto3).
        if !list.is_empty() || chance(rng, 10) {
            told[field] = json!(list);
        }
    }
    told
}

const PATHS: &[&str] = &[
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/a/b/",
    "/a/b/c",
    "/A/b",
    "/ab",
    "/b",
    "/b/x",
    "/api",
    "/api/v1",
    "/api/v1/users",
    "/a.b",
    "/~x",
];

fn matcher(rng: &mut StdRng, looked_at: &mut BTreeSet<String>) -> Value {
    let path = pick(rng, PATHS);
    let mut told = match rng.random_range(0..10) {
        0..=3 => json!({"prefix": path}),
        4..=5 => json!({"path": path}),
        6..=7 => {
            json!({"path_separated_prefix": pick(rng, &["/a", "/a/b", "/A/b", "/ab", "/b", "/api", "/api/v1"])})
        }
        _ => {
            let regexes =
                ["/a/.*", "/a/[a-z]+", "/(a|b)(/.*)?", "/api/v[0-9]+/.*", "/.", ".*", "/[^/]*", "/A/.*"];
            json!({"safe_regex": {"regex": pick(rng, &regexes)}})
        }
    };
    if told.get("safe_regex").is_none() && chance(rng, 35) {
        told["case_sensitive"] = json!(chance(rng, 25));
    }
    let headers: Vec<_> = (0..pick(rng, &[0, 0, 1, 1, 1, 2])).map(|_| condition(rng, looked_at)).collect();
    if !headers.is_empty() {
        told["headers"] = json!(headers);
    }
    told
}

const HOSTS: &[&str] = &["app.test", "admin.test", "admin.test", "api.test", "x.admin.test"];
const VALUES: &[&str] = &["prod", "Prod", "PROD", "production", "pre-prod", "staging", ""];
const NUMBERS: &[&str] = &["0", "5", "-3", "10", "100", "5x", "+5", "05", "5.0", ""];

fn condition(rng: &mut StdRng, looked_at: &mut BTreeSet<String>) -> Value {
    let name = pick(
        rng,
        &["x-env", "x-mode", "X-Env", "x-num", ":method", ":method", ":authority", "host", "x-none"],
    );
    looked_at.insert(name.to_ascii_lowercase());
    let texts = match name {
        ":method" => &["GET", "POST", "DELETE", "OPTIONS"][..],
        ":authority" | "host" => HOSTS,
        "x-num" => NUMBERS,
        _ => &VALUES[..6],
    };
    let mut told = json!({"name": name});
    match rng.random_range(0..20) {
        0..=2 => told["present_match"] = json!(rng.random::<bool>()),
        3 => {}
        4..=6 if !name.starts_with(':') && name != "host" => {
            told["range_match"] = json!({"start": rng.random_range(-5..6), "end": rng.random_range(6..100)});
        }
        _ => {
            let text = pick(rng, texts);
            let at = rng.random_range(0..=text.len());
            told["string_match"] = match rng.random_range(0..8) {
                0..=2 => json!({"exact": text}),
                3 if at > 0 => json!({"prefix": text[..at]}),
                4 if at < text.len() => json!({"suffix": text[at..]}),
                5 if at > 0 => json!({"contains": text[..at]}),
                6 => {
                    json!({"safe_regex": {"regex": pick(rng, &["[a-z]+", "(GET|POST)", ".*\\.test", "pro?d.*", "[0-9]*"])}})
                }
                _ => json!({"exact": text}),
            };
            if told["string_match"].get("safe_regex").is_none() && chance(rng, 35) {
                told["string_match"]["ignore_case"] = json!(true);
            }
        }
    }
    if chance(rng, 30) {
        told["invert_match"] = json!(true);
    }
    if chance(rng, 30) {
        told["treat_missing_header_as_empty"] = json!(true);
    }
    told
}

fn requirement(rng: &mut StdRng, names: &[&str], depth: u32) -> Value {
    let one = json!({"provider_name": pick(rng, names)});
    let list = |rng: &mut StdRng, first: Value| {
        let mut list = vec![first];
        for _ in 0..pick(rng, &[1, 1, 2]) {
            list.push(requirement(rng, names, depth + 1));
        }
        json!({"requirements": list})
    };
    match rng.random_range(0..20) {
        0..=8 => one,
        9..=11 => json!({"requires_any": {"requirements": [one, {"allow_missing": {}}]}}),
        12 => json!({"requires_any": {"requirements": [one, {"allow_missing_or_failed": {}}]}}),
        13 if depth == 0 => json!({"allow_missing": {}}),
        14 if depth == 0 => json!({"allow_missing_or_failed": {}}),
        15..=17 if depth < 2 => json!({"requires_any": list(rng, one)}),
        18.. if depth < 2 => json!({"requires_all": list(rng, one)}),
        _ => one,
    }
}

fn pick_value(rng: &mut StdRng, choices: &[Value]) -> Value {
    choices.choose(rng).expect("a choice of some").clone()
}

// === impl Asked ===

impl Asked {
    fn draw(rng: &mut StdRng, configuration: &Configuration) -> Self {
        let mut target = pick(rng, PATHS).to_owned();
        for _ in 0..pick(rng, &[0, 0, 0, 1, 2]) {
            let slash = if target.ends_with('/') { "" } else { "/" };
            target = format!("{target}{slash}{}", pick(rng, &["x", "b", "B", "v1", "users", ".well-known"]));
        }
        match rng.random_range(0..10) {
            0 => target = target.to_ascii_uppercase(),
            1 if !target.ends_with('/') => target.push('/'),
            2 => target.push_str(pick(rng, &["x", "~", "-"])),
            _ => {}
        }
        target.push_str(pick(rng, &["", "", "", "?a=1", "?", "?/a/b"]));
        let http2 = chance(rng, 33);
        let mut asked = Self {
            method: pick(rng, &["GET", "GET", "GET", "POST", "DELETE", "HEAD", "OPTIONS"]),
            host: pick(rng, HOSTS),
            target,
            conditions: Vec::new(),
            tokens: Vec::new(),
            preflight: false,
            http2,
            shouted: !http2 && chance(rng, 30),
        };
        if chance(rng, 15) {
            asked.host = pick(
                rng,
                &[
                    "ADMIN.test",
                    "admin.test:80",
                    "admin.test.",
                    "Api.Test",
                    "admin.test:8080",
                    "app.test.:80",
                ],
            );
        }
        for name in ["x-env", "x-mode", "x-num"] {
            let values = if name == "x-num" { NUMBERS } else { VALUES };
            if chance(rng, 60) {
                asked.conditions.push((name, pick(rng, values).to_owned()));
                if chance(rng, 12) {
                    asked.conditions.push((name, pick(rng, values).to_owned()));
                }
            }
        }
        if chance(rng, 6) {
            asked.method = "OPTIONS";
            asked.preflight = true;
        }
        for _ in 0..pick(rng, &[0, 1, 1, 1, 2]) {
            let placed = Placed::draw(rng, configuration);
            // Two tokens in the places of one provider are the other test's; here it is one for each at most.
            let mut places: Vec<&Location> = asked.tokens.iter().map(|known| &known.location).collect();
            places.push(&placed.location);
            let twice = configuration.providers.iter().any(|(_, read)| {
                let default = read.is_empty();
                let reads = |place: &&&Location| {
                    read.contains(place) || (default && (***place == BEARER || ***place == DEFAULT_PARAMETER))
                };
                places.iter().filter(reads).count() > 1
            });
            let same = asked.tokens.iter().any(|known| known.location == placed.location);
            if !twice && !same {
                asked.tokens.push(placed);
            }
        }
        asked
    }

    fn request(&self) -> Request {
        let mut target = self.target.clone();
        let mut cookies = Vec::new();
        let mut headers = vec![("host", self.host.to_owned())];
        headers.extend(self.conditions.iter().cloned());
        if self.preflight {
            headers.push(("origin", "https://shop.example".to_owned()));
            headers.push(("access-control-request-method", "PUT".to_owned()));
        }
        for Placed { location, token, .. } in &self.tokens {
            match location {
                Location::Header(name, prefix) => headers.push((name, format!("{prefix}{token}"))),
                Location::Cookie(name) => cookies.push(format!("{name}={token}")),
                Location::Parameter(name) => {
                    target.push(if target.contains('?') { '&' } else { '?' });
                    let _ = write!(target, "{name}={token}");
                }
            }
        }
        if !cookies.is_empty() {
            headers.push(("cookie", cookies.join("; ")));
        }
        headers.into_iter().fold(Request::new(self.method, target), |request, (name, value)| {
            if self.shouted {
                request.header(name.to_ascii_uppercase(), value)
            } else {
                request.header(name, value)
            }
        })
    }

    /// This request in each of its readings that `configuration` could tell apart; itself alone where there is one.
    fn readings(&self, configuration: &Configuration) -> Vec<Self> {
        let mut readings = vec![self.clone()];
        let names: BTreeSet<_> = self.conditions.iter().map(|(name, _)| *name).collect();
        for name in names {
            let of_it = self.conditions.iter().filter(|(known, _)| *known == name);
            let mut values: Vec<String> = of_it.map(|(_, value)| value.clone()).collect();
            if values.len() > 1 && configuration.looked_at.contains(name) {
                // Each by itself, all of them joined, and as they are.
                values.push(values.join(","));
                let ways = |reading: &Self| {
                    let mut all = vec![reading.clone()];
                    for value in &values {
                        let mut reading = reading.clone();
                        reading.conditions.retain(|(known, _)| *known != name);
                        reading.conditions.push((name, value.clone()));
                        all.push(reading);
                    }
                    all
                };
                readings = readings.iter().flat_map(ways).collect();
            }
        }
        if configuration.looks_at_host() {
            let mut hosts = normal_hosts(self.host);
            if !hosts.contains(&self.host) {
                hosts.push(self.host);
            }
            let with = |host: &&'static str| {
                let host = *host;
                readings.iter().map(|reading| Self { host, ..reading.clone() }).collect::<Vec<_>>()
            };
            readings = hosts.iter().flat_map(with).collect();
        }
        if configuration.looked_at.contains(":method") && self.method == "HEAD" {
            let get = readings.iter().map(|reading| Self { method: "GET", ..reading.clone() });
            readings = get.collect::<Vec<_>>().into_iter().chain(readings).collect();
        }
        readings
    }
}

/// The host as RFC 3986 §6.2 and RFC 9110 §4.2.3 write it, over http, without the dot of a fully qualified name; and
/// without another port as well, because routers of backends leave it out.
fn normal_hosts(host: &'static str) -> Vec<&'static str> {
    match host {
        "ADMIN.test" | "admin.test:80" | "admin.test." => vec!["admin.test"],
        "admin.test:8080" => vec!["admin.test:8080", "admin.test"],
        "Api.Test" => vec!["api.test"],
        "app.test.:80" => vec!["app.test"],
        other => vec![other],
    }
}

impl Placed {
    fn draw(rng: &mut StdRng, configuration: &Configuration) -> Self {
        let (issuer, places) = configuration.providers.choose(rng).expect("a provider");
        let location = if chance(rng, 75) {
            places.choose(rng).cloned().unwrap_or(BEARER)
        } else {
            let anywhere = [
                BEARER,
                DEFAULT_PARAMETER,
                Location::Parameter("t"),
                Location::Cookie("session"),
                Location::Cookie(issuer.own[1]),
                Location::Header(issuer.own[0], ""),
                Location::Header("x-token", "Token "),
            ];
            anywhere.choose(rng).expect("a place").clone()
        };
        let kind = pick(
            rng,
            &[
                "good",
                "good",
                "good",
                "good",
                "good",
                "good",
                "expired",
                "signature",
                "issuer",
                "audience",
                "garbage",
                "early",
            ],
        );
        let sub = pick(rng, &["user_1", "user_1", "user_2"]);
        let now = forge::now();
        let (mut issued_by, mut secret, mut audience, mut not_before, mut expires) =
            (issuer.name, issuer.secret, "api", now - 10, now + 7200);
        match kind {
            "expired" => expires = now - 3600,
            "signature" => secret = forge::OTHER_SECRET,
            "issuer" => issued_by = "stranger",
            "audience" => audience = "other",
            "early" => not_before = now + 3600,
            _ => {}
        }
        let claims = json!({
            "iss": issued_by, "sub": sub, "aud": audience, "iat": now - 10, "nbf": not_before, "exp": expires,
        });
        let token = if kind == "garbage" { "a.b.c".to_owned() } else { forge::token_of(secret, &claims) };
        Self { kind, location, token }
    }
}

/// One listener of one Envoy.
struct Side {
    client: Client,
}

impl Side {
    fn new(envoy: &Envoy, listener: &str) -> Self {
        Self { client: Client::to(envoy.port(listener)) }
    }

    fn ask(&mut self, asked: &Asked) -> Outcome {
        let request = asked.request();
        let answer = if asked.http2 { self.client.send_http2(&request) } else { self.client.send(&request) };
        Outcome::of(answer.as_ref())
    }
}

impl Outcome {
    fn of(answer: Option<&Answer>) -> Self {
        let answer = answer.expect("Envoy answers each of these requests");
        let passed = answer.header("x-answered-by-backend").is_some();
        let mut identity = BTreeMap::new();
        if let Some(seen) = answer.seen() {
            for name in ISSUERS.iter().flat_map(|issuer| issuer.identity) {
                let values = seen.all(name);
                if !values.is_empty() {
                    identity.insert(name, values);
                }
            }
        }
        let said = if passed { String::new() } else { format!("{} {}", answer.status, answer.text()) };
        Self { passed, identity, said }
    }
}

/// What `jwt_authn` makes of a request.
struct Judged {
    as_written: Outcome,
    /// Of each reading, where there are several, those with the host in its normal form first.
    readings: Vec<(Reading, Outcome)>,
    /// Whether it was asked without what makes it a preflight, because it carries credentials.
    was_preflight: bool,
}

struct Reading {
    has_normal_host: bool,
    text: String,
}

enum Verdict {
    Agreed,
    Because(Reason),
    Unexplained,
}

impl Judged {
    fn of(configuration: &Configuration, asked: &Asked, native: &mut Side) -> Self {
        let was_preflight =
            configuration.bypasses_preflights && asked.preflight && configuration.finds_credentials(asked);
        let asked = Asked { preflight: asked.preflight && !was_preflight, ..asked.clone() };
        let readings = asked.readings(configuration);
        let mut outcomes = Vec::new();
        if readings.len() > 1 {
            for reading in readings {
                let outcome = native.ask(&reading);
                let text = format!("{} {} {:?}", reading.method, reading.host, reading.conditions);
                let has_normal_host = normal_hosts(asked.host).contains(&reading.host);
                outcomes.push((Reading { has_normal_host, text }, outcome));
            }
        }
        Self { as_written: native.ask(&asked), readings: outcomes, was_preflight }
    }

    /// The readings, for whoever reads why the test failed.
    fn told(&self) -> String {
        let readings =
            self.readings.iter().map(|(reading, outcome)| format!("{}: {}", reading.text, outcome.passed));
        readings.collect::<Vec<_>>().join("\n      ")
    }

    /// What the gate has to come to: the first refusal of a reading, else what becomes of the request.
    fn expected(&self) -> &Outcome {
        let mut readings = self.readings.iter().filter(|(reading, _)| reading.has_normal_host);
        let refused = readings.clone().find(|(_, outcome)| !outcome.passed);
        match refused.or_else(|| readings.next_back()) {
            Some((_, outcome)) => outcome,
            None => &self.as_written,
        }
    }

    /// Whether the gate came to it, or why it did not.
    fn verdict(&self, configuration: &Configuration, asked: &Asked, gate: &Outcome) -> Verdict {
        let (expected, several) = (self.expected(), !self.readings.is_empty());
        if gate.passed == expected.passed && (gate.identity == expected.identity || several) {
            return match (gate.passed, self.as_written.passed) {
                _ if self.was_preflight => Verdict::Because(Reason::PreflightWithCredentials),
                (false, true) => Verdict::Because(Reason::Readings),
                (true, false) => Verdict::Because(Reason::HostSpelling),
                _ => Verdict::Agreed,
            };
        }
        let good = asked.tokens.iter().any(|placed| placed.kind == "good");
        let every = self.readings.iter().all(|(_, outcome)| outcome.passed);
        if several && !gate.passed && (!every || !good) {
            // Where every reading passes it is still not public, so only somebody without a good token is refused.
            return Verdict::Because(Reason::Readings);
        }
        if configuration.has_default_parameter(asked) {
            return Verdict::Because(Reason::DefaultParameter);
        }
        let missing = expected.said.contains("Jwt is missing") || asked.method == "HEAD";
        if gate.passed && missing && configuration.asks_twice {
            return Verdict::Because(Reason::AskedTwice);
        }
        // Whoever passes does so as the owner of a token, not as nobody.
        let has_identity = asked.method == "HEAD" || !gate.identity.is_empty();
        if configuration.allows_missing && !asked.tokens.is_empty() && (!gate.passed || has_identity) {
            return Verdict::Because(Reason::AnyProviderMissing);
        }
        Verdict::Unexplained
    }
}

#[test]
fn whole_configurations_mean_the_same_to_the_gate_and_to_jwt_authn() {
    let count = usize::try_from(setting("JWT_GATE_DIFFERENTIAL_CONFIGURATIONS", 320))
        .expect("a number of configurations");
    let seed = setting("JWT_GATE_DIFFERENTIAL_SEED", 7519);
    let mut rng = StdRng::seed_from_u64(seed);
    let configurations: Vec<_> = (0..count).map(|_| Configuration::draw(&mut rng)).collect();
    let mut shown: BTreeMap<Reason, u64> = BTreeMap::new();
    let (mut requests, mut passed, mut refused) = (0_u64, 0_u64, 0_u64);
    let (mut wrong, mut examples) = (0_u64, Vec::new());
    for batch in configurations.chunks(BATCH) {
        let listeners = batch.iter().enumerate().flat_map(|(index, configuration)| {
            let native =
                json!({"name": "envoy.filters.http.jwt_authn", "typed_config": configuration.native});
            [
                Listener::gated(&format!("gate-{index}"), configuration.gate.clone()),
                Listener::new(&format!("native-{index}")).before(native),
            ]
        });
        let envoy = Spec::new().listeners(listeners).discovered().start();
        let _shown = envoy.shown_on_failure();
        for (index, configuration) in batch.iter().enumerate() {
            let names = [format!("gate-{index}"), format!("native-{index}")];
            if let Some(missing) = names.iter().find(|name| !envoy.listens(name)) {
                wrong += 1;
                let log = envoy.log();
                let reason = log.lines().find(|line| line.contains(missing.as_str())).unwrap_or_default();
                if examples.len() < 12 {
                    let told = without_keys(&configuration.gate);
                    examples.push(format!("{missing} is refused: {reason}\n      {told}"));
                }
                continue;
            }
            let [mut gate, mut native] = names.map(|name| Side::new(&envoy, &name));
            for _ in 0..REQUESTS {
                let asked = Asked::draw(&mut rng, configuration);
                let gates = gate.ask(&asked);
                requests += 1;
                *(if gates.passed { &mut passed } else { &mut refused }) += 1;
                let judged = Judged::of(configuration, &asked, &mut native);
                let why = match judged.verdict(configuration, &asked, &gates) {
                    Verdict::Agreed => continue,
                    Verdict::Because(reason) => {
                        *shown.entry(reason).or_default() += 1;
                        continue;
                    }
                    Verdict::Unexplained => &judged,
                };
                wrong += 1;
                if examples.len() < 12 {
                    examples.push(format!(
                        "gate {gates:?}\n      jwt_authn {:?}\n      {asked:?}\n      {}\n      {}",
                        why.as_written,
                        why.told(),
                        without_keys(&configuration.gate)
                    ));
                }
            }
        }
        assert!(!envoy.log().contains("panicked"));
    }
    println!(
        "{requests} requests to {count} configurations, seed {seed}: the gate let {passed} pass and refused {refused}"
    );
    for (reason, times) in &shown {
        println!("{times:>6} × {reason:?}");
    }
    assert!(wrong == 0, "seed {seed}: {wrong} disagreements that nothing explains:\n{}", examples.join("\n"));
    if count >= 300 {
        let idle: Vec<_> = ROWS.iter().filter(|(reason, ..)| !shown.contains_key(reason)).collect();
        assert!(idle.is_empty(), "no request shows these: {idle:?}");
        assert!(requests >= 20_000 && passed > requests / 10 && refused > requests / 10, "too much alike");
    }
}

/// What is read when a test fails: the configuration without its keys.
fn without_keys(configuration: &Value) -> String {
    let mut shown = configuration.clone();
    for provider in shown["providers"].as_object_mut().into_iter().flatten() {
        provider.1["local_jwks"] = json!("…");
        provider.1["claim_to_headers"] = json!("…");
    }
    shown.to_string()
}
