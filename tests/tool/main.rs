//! The tool beside the gate in a real Envoy: the same configuration, the same requests, the same answers. `jwt-gate explain`
//! must say what Envoy then does: whether the backend is reached, with which headers, by which rule, or what the client is told.

mod dialect;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use jwt_gate_tests::{Answer, Listener, Request, Seen, Spec, forge};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

const REQUESTS: usize = 400;
const SEED: u64 = 22;

/// The tool: `$JWT_GATE_TOOL`, else built from this workspace.
fn tool() -> &'static Path {
    static TOOL: OnceLock<PathBuf> = OnceLock::new();
    TOOL.get_or_init(|| {
        if let Some(built) = std::env::var_os("JWT_GATE_TOOL") {
            return built.into();
        }
        let workspace = xtask::workspace::Workspace::locate().expect("the workspace");
        let build = ["build", "--package", "jwt-gate-cli", "--locked", "--quiet"];
        let built = Command::new(env!("CARGO")).current_dir(&workspace.root).args(build).status();
        assert!(built.expect("cargo runs").success(), "the tool does not compile");
        workspace.target.join("debug/jwt-gate")
    })
}

fn configuration() -> Value {
    let secrets = json!([{"env": "BETTER_AUTH_SECRET"}]);
    json!({
        "providers": {
            "app": {
                "issuer": "jwt-gate",
                "secrets": secrets,
                "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
                "from_cookies": ["session"],
                "from_params": ["access_token"],
                "claim_to_headers": [
                    {"header_name": "x-user-id", "claim_name": "sub", "required": true},
                    {"header_name": "x-user-name", "claim_name": "name", "encoding": "percent"},
                    {"header_name": "x-user-plan", "claim_name": "account.plan"},
                ],
                "forward_payload_header": "x-jwt-payload",
            },
            "ops": {
                "issuer": "ops",
                "secrets": secrets,
                "from_headers": [{"name": "x-ops-token"}],
                "claim_to_headers": [{"header_name": "x-operator", "claim_name": "sub"}],
                "forward": true,
            },
        },
        "rules": [
            {"name": "public", "match": {"path": "/public"}},
            {"match": {"prefix": "/open/"}},
            {"name": "optional", "match": {"prefix": "/optional/"}, "requires": {"allow_missing": {"provider_name": "app"}}},
            {"name": "lenient", "match": {"prefix": "/lenient/"}, "requires": {"allow_missing_or_failed": {}}},
            {"name": "tenant a", "match": {"prefix": "/t/", "headers": [{"name": "x-tenant", "string_match": {"exact": "a"}}]}},
            {"name": "host", "match": {"prefix": "/h/", "headers": [{"name": "host", "string_match": {"suffix": ".open.test"}}]}},
            {"name": "write", "match": {"prefix": "/w/", "methods": ["POST", "PUT"]}, "requires": {"provider_name": "app", "claims": {"role": ["editor", "admin"]}}},
            {"name": "read", "match": {"prefix": "/w/", "methods": ["GET"]}},
            {"match": {"path_separated_prefix": "/admin"}, "requires": {"provider_name": "app", "claims": {"role": ["admin"]}}},
            {"name": "both", "match": {"prefix": "/both/"}, "requires": {"requires_all": [{"provider_name": "app"}, {"provider_name": "ops"}]}},
            {"name": "either", "match": {"prefix": "/either/"}, "requires": {"requires_any": [{"provider_name": "app"}, {"provider_name": "ops"}]}},
            {"name": "numbers", "match": {"safe_regex": "/v[0-9]+/.*"}, "requires": {"provider_name": "app"}},
            {"name": "rest", "match": {"prefix": "/r"}, "requires": {}},
        ],
        "bypass_cors_preflight": true,
        "decision_in_filter_state": true,
        "strip_headers": ["x-internal-role"],
        "sign_in_redirect": {"url": "/sign-in", "return_param": "next"},
    })
}

/// A token that is good, or bad in one of the ways in which tokens are.
fn token(rng: &mut StdRng) -> String {
    let sub = *["user_1", "Zoë", "o'hara", "user_2"].choose(rng).expect("some");
    let role = *["admin", "editor", "guest"].choose(rng).expect("some");
    let more = json!({"iss": "jwt-gate", "role": role, "name": "Ada L\u{f6}velace", "account": {"plan": 7}});
    let mut claims = forge::claims(sub, more);
    match rng.random_range(0..20) {
        0 => claims["exp"] = json!(1),
        1 => claims["iss"] = json!("ops"),
        2 => drop(claims.as_object_mut().expect("an object").remove("sub")),
        3 => return forge::token_of(forge::OTHER_SECRET, &claims),
        4 => return "not-a-token".to_owned(),
        5 => claims["nbf"] = json!(forge::now() + 86_400),
        6 => claims["account"] = json!({"plan": {"deep": true}}),
        7 | 8 => claims["iss"] = json!("ops"),
        _ => {}
    }
    forge::token_of(forge::SECRET, &claims)
}

/// A request, and the tokens in it.
fn request(rng: &mut StdRng) -> (Request, Vec<String>) {
    let mut tokens = Vec::new();
    let mut token = |rng: &mut StdRng| {
        tokens.push(token(rng));
        tokens.last().cloned().expect("one was added")
    };
    const PATHS: &[&str] = &[
        "/public",
        "/open/x",
        "/optional/x",
        "/lenient/x",
        "/t/x",
        "/h/x",
        "/w/x",
        "/admin",
        "/admin/x",
        "/both/x",
        "/either/x",
        "/v1/x",
        "/rest",
        "/none",
        "/",
        "/admin;x/y",
        "/open/../admin/x",
        "//open/x",
        "/%61dmin/x",
        "/open/a%20b",
        "/admin/%2e%2e/open/x",
        "/open%2fx",
        "/t/x?y=1",
        "/caf%C3%A9",
        "/public?access_token=",
        "/either/x?a=b&access_token=",
    ];
    // The first of them are written in one way only.
    let few = if rng.random_bool(0.6) { 13 } else { PATHS.len() };
    let path = *PATHS[..few].choose(rng).expect("some");
    let method = *["GET", "GET", "GET", "POST", "PUT", "OPTIONS"].choose(rng).expect("some");
    let target =
        if path.ends_with("access_token=") { format!("{path}{}", token(rng)) } else { path.to_owned() };
    let mut request = Request::new(method, target);
    if rng.random_bool(0.6) {
        let scheme = *["Bearer ", "bearer ", "Bearer ", "Basic "].choose(rng).expect("some");
        request = request.header("authorization", format!("{scheme}{}", token(rng)));
    }
    if rng.random_bool(0.2) {
        request = request.header("cookie", format!("theme=dark; session={}; a=b", token(rng)));
    } else if rng.random_bool(0.1) {
        request = request.header("cookie", "theme=dark");
    }
    if rng.random_bool(0.25) {
        request = request.header("x-ops-token", token(rng));
    }
    for (name, values, chance) in [
        ("x-tenant", &["a", "b"][..], 0.3),
        ("x-tenant", &["a", "c"], 0.1),
        ("host", &["a.open.test", "B.OPEN.test.", "a.open.test:443", "a.test"], 0.3),
        ("accept", &["text/html", "application/json"], 0.3),
        ("x-user-id", &["root"], 0.3),
        ("X_User_Id", &["root"], 0.1),
        ("x-internal-role", &["admin"], 0.2),
        ("x-original-url", &["/admin"], 0.1),
        ("x-other", &["kept, as it is"], 0.3),
    ] {
        if rng.random_bool(chance) {
            request = request.header(name, values.choose(rng).expect("some"));
        }
    }
    if method == "OPTIONS" && rng.random_bool(0.7) {
        request =
            request.header("origin", "https://a.example").header("access-control-request-method", "PUT");
    }
    (request, tokens)
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the tests send text")
}

/// What the tool says of `request`.
fn explained(configuration: &Path, request: &Request, tokens: &[String]) -> Value {
    let mut command = Command::new(tool());
    command.env_clear().env("BETTER_AUTH_SECRET", forge::SECRET).arg("explain").arg(configuration);
    command.arg("--json").arg("--request").arg(format!("{} {}", request.method, text(&request.target)));
    for (name, value) in &request.headers {
        command.arg("--header").arg(format!("{}: {}", text(name), text(value)));
    }
    let output = command.output().expect("the tool runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let written = String::from_utf8(output.stdout).expect("text");
    for token in tokens {
        assert!(!written.contains(token), "the tool shows a token: {written}");
    }
    serde_json::from_str(&written).expect("JSON")
}

/// The values of each header that the tool says the backend gets; those of Envoy's own making aside.
fn expected_headers(explained: &Value) -> BTreeMap<String, Vec<String>> {
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for header in explained["headers"].as_array().expect("headers of a request that passes") {
        let part = |index: usize| header[index].as_str().expect("a text").to_owned();
        headers.entry(part(0)).or_default().push(part(1));
    }
    headers
}

/// What differs between `seen`, which is what the backend saw, and what the tool says.
fn difference(explained: &Value, request: &Request, tokens: &[String], seen: &Seen) -> Option<String> {
    let expected = expected_headers(explained);
    let masked = |value: String| tokens.iter().fold(value, |value, token| value.replace(token, "<token>"));
    // The backend shows bytes as Latin-1.
    let bytes = |value: String| {
        let bytes: Option<Vec<u8>> =
            value.chars().map(|letter| u8::try_from(u32::from(letter)).ok()).collect();
        bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or(value)
    };
    let sent = request.headers.iter().map(|(name, _)| text(name).to_ascii_lowercase());
    let names: Vec<String> =
        sent.chain(expected.keys().filter(|name| !name.starts_with(':')).cloned()).collect();
    for name in names.iter().filter(|name| *name != "host") {
        let mut arrived: Vec<String> = seen.all(name).into_iter().map(|value| masked(bytes(value))).collect();
        let mut said: Vec<String> = expected.get(name).cloned().unwrap_or_default();
        // Envoy may join the values of one header.
        if arrived.len() == 1 && said.len() > 1 {
            said = vec![said.join(",")];
        }
        arrived.sort();
        said.sort();
        if arrived != said {
            return Some(format!("{name}: the backend saw {arrived:?}, the tool says {said:?}"));
        }
    }
    let (path, arrived) = (expected[":path"].concat(), masked(seen.path()));
    (arrived != path).then(|| format!("the backend saw {arrived}, the tool says {path}"))
}

/// What differs between the answer of a gate that refused and what the tool says.
fn refusal_difference(explained: &Value, answer: &Answer) -> Option<String> {
    let reply = &explained["reply"];
    if reply["status"] != json!(answer.status) {
        return Some(format!("Envoy answered {} {}", answer.status, answer.text()));
    }
    if explained["verdict"] == "deny" && answer.json()["code"] != explained["code"] {
        return Some(format!("Envoy answered {}", answer.text()));
    }
    for header in reply["headers"].as_array().expect("headers") {
        let name = header[0].as_str().expect("a name");
        let value = header[1].as_str().map(str::to_owned);
        if answer.header(name) != value {
            return Some(format!("{name}: Envoy sent {:?}", answer.all(name)));
        }
    }
    None
}

#[test]
fn the_tool_says_of_every_generated_request_what_envoy_then_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("gate.json");
    std::fs::write(&file, configuration().to_string()).expect("the configuration is written");
    let log = "access %REQ(X-TAG)% rule=[%FILTER_STATE(wasm.jwt_gate.rule:PLAIN)%] code=%FILTER_STATE(wasm.jwt_gate.code:PLAIN)% end";
    let envoy = Spec::new().listener(Listener::gated("gate", configuration()).access_log(log)).start();
    let port = envoy.port("gate");
    let mut rng = StdRng::seed_from_u64(SEED);
    let (mut outcomes, mut expected_lines) = (BTreeMap::<String, usize>::new(), Vec::new());
    for number in 0..REQUESTS {
        let (request, tokens) = request(&mut rng);
        let request = request.header("x-tag", format!("tool-{number}"));
        let answer = request.send(port);
        if answer.status == 400 && answer.seen().is_none() {
            *outcomes.entry("refused by Envoy itself".to_owned()).or_default() += 1;
            continue;
        }
        let explained = explained(&file, &request, &tokens);
        let difference = match (answer.seen(), explained["verdict"].as_str()) {
            (Some(seen), Some("allow")) => difference(&explained, &request, &tokens, &seen),
            (None, Some("deny" | "redirect")) => refusal_difference(&explained, &answer),
            (Some(_), _) => Some("the backend was reached".to_owned()),
            (None, _) => Some(format!("the backend was not reached: {} {}", answer.status, answer.text())),
        };
        assert!(
            difference.is_none(),
            "{}\nrequest {number}: {} {} {:?}\nthe tool says {explained:#}",
            difference.unwrap_or_default(),
            request.method,
            text(&request.target),
            request.headers.iter().map(|(name, value)| (text(name), text(value))).collect::<Vec<_>>(),
        );
        let names: Vec<&str> =
            explained["rules"].as_array().expect("rules").iter().filter_map(Value::as_str).collect();
        let code = explained["code"].as_str().expect("a code");
        expected_lines.push(format!("access tool-{number} rule=[{}] code={code} end", names.join(", ")));
        *outcomes
            .entry(format!("{} {code}", explained["verdict"].as_str().expect("a verdict")))
            .or_default() += 1;
    }
    let last = expected_lines.last().expect("some").clone();
    assert!(!envoy.log_lines(&last).is_empty(), "the log has no {last}");
    let log = envoy.log();
    let missing: Vec<&String> = expected_lines.iter().filter(|line| !log.contains(line.as_str())).collect();
    assert!(missing.is_empty(), "rules that Envoy's log does not have: {missing:#?}");
    println!("{outcomes:#?}");
    for outcome in [
        "allow allowed",
        "allow public",
        "deny missing_token",
        "deny expired",
        "deny bad_signature",
        "deny issuer",
        "deny malformed",
        "deny forbidden",
        "deny no_rule",
        "deny claim",
        "deny not_yet_valid",
        "redirect missing_token",
    ] {
        assert!(outcomes.contains_key(outcome), "no request was for {outcome}: {outcomes:#?}");
    }
}
