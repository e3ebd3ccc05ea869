//! `gate-alone WORKLOAD TIMES` does one thing so many times and nothing else that depends on their
//! number: the instructions of two runs, less each other, are those of the thing alone.

use std::env;
use std::hint::black_box;

use jwt_gate::{Policy, Request, Worker, config};
use jwt_gate_token::{Expectations, Keyring, Secret, issue, verify};
use serde_json::json;

const SECRET: &str = "bench-0123456789-abcdefghij-ABCDEFGHIJ-klmnopqrst";
const OTHER_SECRET: &str = "other-0123456789-abcdefghij-ABCDEFGHIJ-klmnopqrst";
const NOW: f64 = 1_700_000_000.0;
/// More than the greatest number of times.
const POOL: u32 = 4000;

fn main() {
    let mut arguments = env::args().skip(1);
    let mut next = || arguments.next().expect("gate-alone WORKLOAD TIMES");
    let (workload, times): (String, usize) = (next(), next().parse().expect("a number"));
    assert!(times < POOL as usize, "at most {POOL} times");
    if workload == "verify" { verify_tokens(times) } else { decide(&workload, times) }
}

/// `jwt_gate_token::verify`.
fn verify_tokens(times: usize) {
    let keyring = keyring(SECRET);
    let expectations = Expectations { issuer: Some("jwt-gate".to_owned()), ..Expectations::default() };
    let token = token(SECRET, 0);
    for _ in 0..times {
        black_box(verify(black_box(&token), &keyring, &expectations, NOW)).expect("a good token");
    }
}

/// `jwt_gate::Worker::decide`, configured and asked as in the benchmark through Envoy.
fn decide(workload: &str, times: usize) {
    let mut worker = Worker::new(policy(workload == "claims").into(), None);
    let requests: Vec<Headers> = match workload {
        "seen" | "claims" => vec![request("/me", Some(&token(SECRET, 0)))],
        "fresh" => (0..POOL).map(|number| request("/me", Some(&token(SECRET, number)))).collect(),
        "none" => vec![request("/me", None)],
        "bad-signature" => vec![request("/me", Some(&token(OTHER_SECRET, 0)))],
        "public" => vec![request("/healthz", None)],
        other => panic!("there is no workload `{other}`"),
    };
    for headers in requests.iter().cycle().take(times) {
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice()));
        let request = Request::new(black_box(headers));
        black_box(worker.decide(&request, &|| Some(NOW)));
    }
}

fn policy(five_headers: bool) -> Policy {
    let headers = [
        ("x-user-id", "sub"),
        ("x-user-email", "email"),
        ("x-user-name", "name"),
        ("x-token-id", "jti"),
        ("x-token-issuer", "iss"),
    ];
    let headers: Vec<_> = headers
        .iter()
        .take(if five_headers { 5 } else { 1 })
        .map(|(header, claim)| json!({"header_name": header, "claim_name": claim}))
        .collect();
    let config = json!({
        "providers": {"app": {
            "issuer": "jwt-gate",
            "secrets": [{"inline": SECRET}],
            "claim_to_headers": headers,
        }},
        "rules": [{"match": {"path": "/healthz"}}],
        "default": "require",
    });
    let config = config::read(config.to_string().as_bytes()).expect("a configuration");
    Policy::new(config, &|_| None).expect("a good configuration")
}

type Headers = Vec<(String, Vec<u8>)>;

/// The headers of a request of wrk's, as Envoy hands them over.
fn request(path: &str, token: Option<&str>) -> Headers {
    let fixed = [
        (":authority", "127.0.0.1:10000"),
        (":path", path),
        (":method", "GET"),
        (":scheme", "http"),
        ("x-forwarded-proto", "http"),
        ("x-request-id", "0f3c6d4e-8a9b-4c1d-9e2f-3a5d1c2b4e6f"),
    ];
    let mut headers: Headers =
        fixed.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    headers.extend(token.map(|token| ("authorization".to_owned(), format!("Bearer {token}").into_bytes())));
    headers
}

fn token(secret: &str, number: u32) -> String {
    let claims = json!({
        "sub": "0193e2a1-7f5c-7d1e-9b60-3a5d1c2b4e6f",
        "iss": "jwt-gate",
        "iat": 1_700_000_000,
        "exp": 1_700_086_400,
        "jti": format!("0193e2a1-7f5c-7d1e-9b60-{number:012x}"),
        "email": "ada@example.com",
        "name": "Ada Lovelace",
    });
    issue(&keyring(secret), claims.as_object().expect("an object")).expect("a token")
}

fn keyring(secret: &str) -> Keyring {
    Keyring::new([Secret::from_utf8(secret).expect("a good secret")]).expect("a keyring")
}
