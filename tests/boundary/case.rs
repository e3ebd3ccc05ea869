//! What every generated request has, whatever it is written in: an id, a token or none, a path, a try.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_gate_tests::forge;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::json;

/// What Envoy does with paths before the gate sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Nothing.
    Untouched,
    /// As `envoy/envoy.yaml` says: dots and slashes resolved, escaped slashes refused.
    Normalised,
    /// The same, with escaped slashes decoded.
    Unescaped,
}

impl Reading {
    pub(crate) const ALL: [Self; 3] = [Self::Untouched, Self::Normalised, Self::Unescaped];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Untouched => "untouched",
            Self::Normalised => "normalised",
            Self::Unescaped => "unescaped",
        }
    }
}

/// What the model knows of a request.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// In the header `x-case` and in the query.
    pub(crate) id: u64,
    /// Its subject, where a token in it is valid; nobody else's token has this subject.
    pub(crate) subject: Option<String>,
    /// Whether that token's `role` is `admin`.
    pub(crate) admin: bool,
    /// Whether it holds an identity header of the client's.
    pub(crate) spoofed: bool,
    /// Whether it is a CORS preflight, which passes without a token.
    pub(crate) preflight: bool,
}

impl Case {
    /// A request of which nothing but its id is settled.
    pub(crate) fn new(id: u64) -> Self {
        Self { id, subject: None, admin: false, spoofed: false, preflight: false }
    }
}

/// A token, and where it is put.
#[derive(Debug, Clone, Default)]
pub(crate) struct Credentials {
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) param: Option<String>,
}

/// The header by which an arrived request is known.
pub(crate) const CASE: &str = "x-case";

pub(crate) fn one<T: Copy>(random: &mut StdRng, of: &[T]) -> T {
    *of.choose(random).expect("some")
}

pub(crate) fn odds(random: &mut StdRng, percent: u32) -> bool {
    random.random_range(0..100) < percent
}

/// A token for the case, good or bad, and where it stands.
pub(crate) fn credentials(random: &mut StdRng, case: &mut Case) -> Credentials {
    let mut credentials = Credentials::default();
    if odds(random, 35) {
        return credentials;
    }
    let subject = format!("u{}", case.id);
    let admin = odds(random, 30);
    let role = if admin { "admin" } else { "user" };
    let good = forge::token(&subject, json!({"role": role}));
    let token = if odds(random, 65) {
        case.subject = Some(subject);
        case.admin = admin;
        good.into_bytes()
    } else {
        bad(random, &good, &subject)
    };
    let text = String::from_utf8_lossy(&token).into_owned();
    let scheme = one(random, &["Bearer ", "bearer ", "BEARER  "]);
    let bearer = [scheme.as_bytes(), &token].concat();
    match random.random_range(0..20) {
        0..9 => credentials.headers.push(("authorization".into(), bearer)),
        9..14 => {
            let before = one(random, &["", "a=1; ", "sessions=x; session-id=y; ", "session=; "]);
            let after = one(random, &["", "; b=\"2\"", ";;c"]);
            credentials
                .headers
                .push(("cookie".into(), format!("{before}session={text}{after}").into_bytes()));
        }
        14..17 => credentials.param = Some(text),
        17 => {
            // Twice, or beside a bad one: ambiguous, or the same.
            credentials.headers.push(("authorization".into(), bearer.clone()));
            let second = if odds(random, 50) { bearer } else { b"Bearer a.b.c".to_vec() };
            credentials.headers.push(("Authorization".into(), second));
        }
        18 => {
            credentials.headers.push(("authorization".into(), bearer));
            credentials.headers.push(("cookie".into(), b"session=a.b.c".to_vec()));
        }
        _ => credentials.headers.push((one(random, &["x-token", "proxy-authorization"]).into(), bearer)),
    }
    credentials
}

/// A token for `subject` that nobody should accept.
fn bad(random: &mut StdRng, good: &str, subject: &str) -> Vec<u8> {
    let claims = forge::claims(subject, json!({"role": "admin", "forged": true}));
    let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
    match random.random_range(0..8) {
        0 => format!("{}.{payload}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#)).into_bytes(),
        1 => forge::token_of(forge::OTHER_SECRET, &claims).into_bytes(),
        2 => {
            let past = json!({"exp": forge::now() - 3600, "iat": forge::now() - 7200});
            forge::token(subject, past).into_bytes()
        }
        3 => {
            let (head, signature) = good.rsplit_once('.').expect("a token has dots");
            let head = head.split('.').next().unwrap_or_default();
            format!("{head}.{payload}.{signature}").into_bytes()
        }
        4 => good.as_bytes()[..good.len() - 1].to_vec(),
        5 => [good.as_bytes(), b"="].concat(),
        6 => (0..random.random_range(1..40)).map(|_| random.random_range(0x21..=0xff_u8)).collect(),
        _ => b"undefined".to_vec(),
    }
}

/// Headers by which a client says who it would like to be.
pub(crate) fn spoofs(random: &mut StdRng, case: &mut Case, lower_case_only: bool) -> Vec<(String, Vec<u8>)> {
    let mut headers = Vec::new();
    for _ in 0..one(random, &[0, 0, 1, 1, 2, 4]) {
        let name = one(random, &["x-user-id", "x-user-role", "x-internal-role"]);
        let separators = [b'-', b'-', b'_', b'.', b'~', b'!', b'*', b'+'];
        let spelled: String = name
            .bytes()
            .map(|byte| {
                let byte = if byte == b'-' { one(random, &separators) } else { byte };
                char::from(if !lower_case_only && odds(random, 20) {
                    byte.to_ascii_uppercase()
                } else {
                    byte
                })
            })
            .collect();
        headers.push((spelled, one(random, &[&b"root"[..], b"admin", b"", b"u1", b"\xff"]).to_vec()));
        case.spoofed = true;
    }
    headers
}
