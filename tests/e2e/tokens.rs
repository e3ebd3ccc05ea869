//! Tokens that must not open anything, and unusual ones that must.

use jwt_gate_tests::forge::{self, Hash, OTHER_SECRET, SECRET, base64url, claims, hmac, now, seal, sign};
use jwt_gate_tests::{Backend, Request, TAG, http2};
use serde_json::json;

use crate::envoy;

/// Sends each token as bearer and as cookie, and collects what was answered otherwise than with `code`.
fn assert_all_refused(group: &str, cases: &[(&str, String, &str)]) {
    let port = envoy().port("app");
    let mut wrong = Vec::new();
    for (index, (name, token, code)) in cases.iter().enumerate() {
        let tag = format!("{group}-{index}");
        let base = Request::get("/api/me").header(TAG, &tag);
        let cookie = base.clone().header("cookie", format!("session={token}"));
        for (way, request) in [("bearer", base.bearer(token)), ("cookie", cookie)] {
            // In a cookie these bytes end the value (RFC 6265 §4.1.1), so it is another token.
            if way == "cookie" && (token.is_empty() || token.contains([';', ' ', '\n', '"', ','])) {
                continue;
            }
            let answer = request.send(port);
            if answer.seen().is_some() || answer.status != 401 || answer.code() != *code {
                wrong.push(format!("{name} ({way}): {} {}", answer.status, answer.text()));
            } else {
                answer.assert_denied(401, code);
            }
        }
        if Backend::shared().was_reached_by(&tag) {
            wrong.push(format!("{name}: the backend was reached"));
        }
    }
    assert!(wrong.is_empty(), "expected otherwise:\n{}", wrong.join("\n"));
}

fn good_claims() -> String {
    claims("user_1", json!({})).to_string()
}

fn with_header(header: &str) -> String {
    sign(SECRET, header, good_claims())
}

fn with_claims(more: serde_json::Value) -> String {
    forge::token("user_1", more)
}

fn with_payload(payload: impl AsRef<[u8]>) -> String {
    sign(SECRET, r#"{"alg":"HS256"}"#, payload)
}

fn with_hash(alg: &str, hash: Hash) -> String {
    let signed = format!("{}.{}", base64url(format!(r#"{{"alg":"{alg}"}}"#)), base64url(good_claims()));
    format!("{signed}.{}", base64url(hmac(hash, SECRET.as_bytes(), signed.as_bytes())))
}

#[test]
fn the_good_token_of_these_tests_is_accepted() {
    let port = envoy().port("app");
    for token in [with_header(r#"{"alg":"HS256"}"#), with_claims(json!({})), with_hash("HS256", Hash::Sha256)]
    {
        assert_eq!(
            Request::get("/api/me").bearer(&token).send(port).reached().one("x-user-id").unwrap(),
            "user_1"
        );
        let seen = http2::send(&Request::get("/api/me").bearer(&token), port).reached();
        assert_eq!(seen.one("x-user-id").unwrap(), "user_1");
    }
}

#[test]
fn tokens_outside_their_time_are_refused() {
    let hour = 3600;
    assert_all_refused(
        "time",
        &[
            ("expired", with_claims(json!({"exp": now() - hour})), "expired"),
            ("expired long ago", with_claims(json!({"exp": 1})), "expired"),
            ("expired at 0", with_claims(json!({"exp": 0})), "expired"),
            ("expired before 1970", with_claims(json!({"exp": -5})), "expired"),
            (
                "nbf ahead",
                with_claims(json!({"nbf": now() + hour, "exp": now() + 2 * hour})),
                "not_yet_valid",
            ),
            (
                "iat ahead",
                with_claims(json!({"iat": now() + hour, "exp": now() + 2 * hour})),
                "not_yet_valid",
            ),
            ("no exp", with_claims(json!({"exp": null})), "lifetime"),
        ],
    );
}

#[test]
fn times_within_the_clock_skew_and_fractions_are_accepted() {
    let port = envoy().port("app");
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
    let fraction = now() as f64 + 600.5;
    for more in [
        json!({"exp": now() - 1}),
        json!({"nbf": now() + 5, "iat": now() + 5}),
        json!({"exp": fraction, "iat": 1.5, "nbf": 0}),
        json!({"exp": 1e12}),
    ] {
        Request::get("/api/me").bearer(with_claims(more.clone())).send(port).reached();
    }
}

#[test]
fn claims_of_another_type_are_refused() {
    let exp = now() + 600;
    let raw = |claim: &str| with_payload(format!(r#"{{"sub":"user_1","exp":{exp},{claim}}}"#));
    let expiring = |exp: &str| with_payload(format!(r#"{{"sub":"user_1","exp":{exp}}}"#));
    assert_all_refused(
        "claim-types",
        &[
            ("exp is text", expiring(&format!("\"{exp}\"")), "malformed"),
            ("exp is null", expiring("null"), "malformed"),
            ("exp is true", expiring("true"), "malformed"),
            ("exp is an array", expiring(&format!("[{exp}]")), "malformed"),
            ("exp is an object", expiring("{}"), "malformed"),
            ("exp is past every float", expiring("1e400"), "malformed"),
            ("sub is a number", with_payload(format!(r#"{{"sub":7,"exp":{exp}}}"#)), "malformed"),
            ("sub is null", with_payload(format!(r#"{{"sub":null,"exp":{exp}}}"#)), "malformed"),
            ("sub is an array", with_payload(format!(r#"{{"sub":["user_1"],"exp":{exp}}}"#)), "malformed"),
            ("iss is an array", raw(r#""iss":["jwt-gate"]"#), "malformed"),
            ("jti is a number", raw(r#""jti":7"#), "malformed"),
            ("nbf is text", raw(r#""nbf":"1""#), "malformed"),
            ("iat is text", raw(r#""iat":"1""#), "malformed"),
            ("aud is a number", raw(r#""aud":7"#), "malformed"),
            ("aud holds a number", raw(r#""aud":["a",7]"#), "malformed"),
            ("aud is the gates' own", raw(r#""aud":"jwt-gate/internal""#), "audience"),
            ("aud holds the gates' own", raw(r#""aud":["api","jwt-gate/internal"]"#), "audience"),
        ],
    );
}

#[test]
fn every_changed_character_of_a_token_is_refused() {
    let token = with_claims(json!({"email": "ada@example.com"}));
    let port = envoy().port("app");
    let mut accepted = Vec::new();
    let mut connection = http1_connection(port);
    for position in 0..token.len() {
        let mut changed = token.clone().into_bytes();
        changed[position] = match changed[position] {
            b'.' => b'A',
            b'A' => b'B',
            b'a'..=b'z' => changed[position].to_ascii_uppercase(),
            _ => b'A',
        };
        let request = Request::get("/api/me").bearer(&changed);
        let answer = connection.exchange(&request).expect("an answer");
        if answer.status != 401 || !["malformed", "bad_signature"].contains(&answer.code().as_str()) {
            accepted.push(format!("{position}: {} {}", answer.status, answer.text()));
        }
    }
    assert!(accepted.is_empty(), "{accepted:?}");
}

fn http1_connection(port: u16) -> jwt_gate_tests::http1::Connection {
    jwt_gate_tests::http1::Connection::open(port).expect("Envoy listens")
}

#[test]
fn tokens_of_another_key_are_refused() {
    let other = |header: &str| sign(OTHER_SECRET, header, good_claims());
    let ours = jwt_gate_token::Secret::from_utf8(SECRET).expect("a secret").kid().to_owned();
    assert_all_refused(
        "keys",
        &[
            ("no kid", other(r#"{"alg":"HS256"}"#), "bad_signature"),
            ("a kid that is not known", other(r#"{"alg":"HS256","kid":"nobody"}"#), "unknown_key"),
            ("our kid", other(&format!(r#"{{"alg":"HS256","kid":"{ours}"}}"#)), "bad_signature"),
            ("kid is a number", with_header(r#"{"alg":"HS256","kid":7}"#), "malformed"),
            ("kid is null", with_header(r#"{"alg":"HS256","kid":null}"#), "malformed"),
            ("the empty key", sign("", r#"{"alg":"HS256"}"#, good_claims()), "bad_signature"),
            (
                "the key with a newline",
                sign(&format!("{SECRET}\n"), r#"{"alg":"HS256"}"#, good_claims()),
                "bad_signature",
            ),
            (
                "a key that the header brings along (RFC 8725 §3.10)",
                other(&format!(
                    r#"{{"alg":"HS256","jwk":{{"kty":"oct","k":"{}"}}}}"#,
                    base64url(OTHER_SECRET)
                )),
                "bad_signature",
            ),
            (
                "a key that the header points to",
                other(r#"{"alg":"HS256","jku":"http://127.0.0.1:1/keys","kid":"../../dev/null"}"#),
                "unknown_key",
            ),
        ],
    );
}

#[test]
fn any_algorithm_but_hs256_is_refused_whatever_signed_it() {
    let mut cases = vec![
        ("HS384, really".to_owned(), with_hash("HS384", Hash::Sha384)),
        ("HS512, really".to_owned(), with_hash("HS512", Hash::Sha512)),
        ("HS512 under the name HS384".to_owned(), with_hash("HS384", Hash::Sha512)),
        ("no alg".to_owned(), with_header("{}")),
        ("alg is null".to_owned(), with_header(r#"{"alg":null}"#)),
        ("alg is a number".to_owned(), with_header(r#"{"alg":256}"#)),
        ("alg is an array".to_owned(), with_header(r#"{"alg":["HS256"]}"#)),
        ("alg twice".to_owned(), with_header(r#"{"alg":"none","alg":"HS256"}"#)),
        ("Alg".to_owned(), with_header(r#"{"Alg":"HS256"}"#)),
    ];
    for alg in [
        "none",
        "None",
        "NONE",
        "nOnE",
        "RS256",
        "ES256",
        "EdDSA",
        "PS256",
        "hs256",
        "HS256 ",
        "",
        "HS\u{0}256",
    ] {
        let header = json!({"alg": alg}).to_string();
        cases.push((format!("alg {alg:?} with our HMAC"), with_header(&header)));
        let unsigned = format!("{}.{}.", base64url(&header), base64url(good_claims()));
        cases.push((format!("alg {alg:?} without a signature"), unsigned));
    }
    let cases: Vec<_> =
        cases.iter().map(|(name, token)| (name.as_str(), token.clone(), "malformed")).collect();
    assert_all_refused("algorithms", &cases);
}

#[test]
fn a_signature_made_under_another_hash_is_refused_under_the_name_hs256() {
    assert_all_refused(
        "hashes",
        &[
            ("HS384's", with_hash("HS256", Hash::Sha384), "bad_signature"),
            ("HS512's", with_hash("HS256", Hash::Sha512), "bad_signature"),
        ],
    );
}

#[test]
fn extensions_that_change_what_a_token_means_are_refused() {
    let unencoded = {
        // RFC 7797: the payload as it is, signed so.
        let header = base64url(r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#);
        seal(SECRET, &format!("{header}.{}", base64url(good_claims())))
    };
    assert_all_refused(
        "extensions",
        &[
            ("crit", with_header(r#"{"alg":"HS256","crit":["exp"],"exp":1}"#), "malformed"),
            ("deep header", with_header(r#"{"alg":"HS256","x":[[[[]]]]}"#), "malformed"),
            ("empty crit", with_header(r#"{"alg":"HS256","crit":[]}"#), "malformed"),
            ("crit is null", with_header(r#"{"alg":"HS256","crit":null}"#), "malformed"),
            ("b64:false", with_header(r#"{"alg":"HS256","b64":false}"#), "malformed"),
            ("b64:false and crit", unencoded, "malformed"),
            ("zip", with_header(r#"{"alg":"HS256","zip":"DEF"}"#), "malformed"),
            ("a JWE", "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..aXY.Y2lwaGVy.dGFn".to_owned(), "malformed"),
            ("a JWE's five segments of ours", format!("{}.a.b", with_claims(json!({}))), "malformed"),
        ],
    );
}

#[test]
fn segments_that_are_not_canonical_base64url_are_refused() {
    let token = with_claims(json!({}));
    let parts: Vec<_> = token.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    // 32 bytes are 43 characters: the last one has two bits that must be zero.
    let mut last = signature.chars().last().unwrap();
    last = char::from_u32(u32::from(last) + 1).unwrap();
    let loose = format!("{header}.{payload}.{}{last}", &signature[..signature.len() - 1]);
    assert_all_refused(
        "base64url",
        &[
            ("stray bits in the signature", loose, "malformed"),
            ("a padded signature", format!("{token}="), "malformed"),
            ("a padded header", seal(SECRET, &format!("{header}=.{payload}")), "malformed"),
            ("a padded payload", seal(SECRET, &format!("{header}.{payload}==")), "malformed"),
            ("base64 + in the payload", seal(SECRET, &format!("{header}.{payload}+")), "malformed"),
            ("base64 / in the payload", seal(SECRET, &format!("{header}.{payload}/")), "malformed"),
            ("a payload of one character", seal(SECRET, &format!("{header}.e")), "malformed"),
            ("an empty payload", seal(SECRET, &format!("{header}.")), "malformed"),
            ("an empty header", seal(SECRET, &format!(".{payload}")), "malformed"),
            ("quotes", format!("\"{token}\""), "malformed"),
        ],
    );
}

#[test]
fn signatures_of_another_length_are_refused() {
    let signed = format!("{}.{}", base64url(r#"{"alg":"HS256"}"#), base64url(good_claims()));
    let tag = hmac(Hash::Sha256, SECRET.as_bytes(), signed.as_bytes());
    let of = |bytes: &[u8]| format!("{signed}.{}", base64url(bytes));
    assert_all_refused(
        "lengths",
        &[
            ("none", of(&[]), "bad_signature"),
            ("1 byte", of(&tag[..1]), "bad_signature"),
            ("16 bytes", of(&tag[..16]), "bad_signature"),
            ("31 bytes", of(&tag[..31]), "bad_signature"),
            ("33 bytes", of(&[&tag[..], &[0]].concat()), "bad_signature"),
            ("64 bytes", of(&[&tag[..], &tag[..]].concat()), "bad_signature"),
        ],
    );
}

#[test]
fn headers_and_payloads_that_are_not_one_json_object_in_utf8_are_refused() {
    let deep = format!(r#"{{"sub":"a","exp":9999999999,"x":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
    let payloads: &[(&str, &[u8])] = &[
        ("array", b"[]"),
        ("text", b"\"user_1\""),
        ("number", b"1"),
        ("null", b"null"),
        ("true", b"true"),
        ("nothing", b""),
        ("white space", b" "),
        ("two objects", br#"{"sub":"a","exp":9999999999}{}"#),
        ("an open object", br#"{"sub":"a","exp":9999999999"#),
        ("a trailing comma", br#"{"sub":"a","exp":9999999999,}"#),
        ("single quotes", b"{'sub':'a','exp':9999999999}"),
        ("a byte order mark", b"\xef\xbb\xbf{\"sub\":\"a\",\"exp\":9999999999}"),
        ("a value that is not UTF-8", b"{\"sub\":\"\xff\xfe\",\"exp\":9999999999}"),
        ("a name that is not UTF-8", b"{\"sub\":\"a\",\"exp\":9999999999,\"\xff\":1}"),
        ("an overlong slash", b"{\"sub\":\"\xc0\xaf\",\"exp\":9999999999}"),
        ("half of a surrogate pair", br#"{"sub":"\ud800","exp":9999999999}"#),
        ("UTF-16", b"{\0}\0"),
        ("NaN", br#"{"sub":"a","exp":NaN}"#),
        ("a control character in text", b"{\"sub\":\"a\nb\",\"exp\":9999999999}"),
        ("sub twice", br#"{"sub":"a","sub":"root","exp":9999999999}"#),
        ("exp twice", br#"{"sub":"a","exp":1,"exp":9999999999}"#),
        ("exp twice, once escaped", br#"{"sub":"a","exp":1,"\u0065xp":9999999999}"#),
        ("nested past reason", deep.as_bytes()),
    ];
    let mut cases: Vec<(String, String)> =
        payloads.iter().map(|(name, bytes)| (format!("payload: {name}"), with_payload(bytes))).collect();
    for (name, bytes) in [
        ("array", &b"[]"[..]),
        ("text", b"\"HS256\""),
        ("number", b"1"),
        ("null", b"null"),
        ("nothing", b""),
        ("not UTF-8", b"{\"alg\":\"HS256\",\"x\":\"\xff\"}"),
        ("two objects", br#"{"alg":"HS256"}{"alg":"HS256"}"#),
        ("random bytes", b"\x80\x00\xff\xfe"),
    ] {
        cases.push((format!("header: {name}"), sign(SECRET, bytes, good_claims())));
    }
    let cases: Vec<_> =
        cases.iter().map(|(name, token)| (name.as_str(), token.clone(), "malformed")).collect();
    assert_all_refused("json", &cases);
}

#[test]
fn what_does_not_have_three_segments_is_refused() {
    let token = with_claims(json!({}));
    let signature = token.rsplit('.').next().unwrap_or_default();
    let cases: Vec<(&str, String, &str)> = vec![
        ("a word", "token".to_owned(), "malformed"),
        ("a dot", ".".to_owned(), "malformed"),
        ("two dots", "..".to_owned(), "malformed"),
        ("many dots", ".".repeat(2000), "malformed"),
        ("no signature", token.trim_end_matches(signature).trim_end_matches('.').to_owned(), "malformed"),
        ("a dot behind", format!("{token}."), "malformed"),
        ("a dot before", format!(".{token}"), "malformed"),
        ("Bearer twice", format!("Bearer {token}"), "malformed"),
    ];
    assert_all_refused("segments", &cases);
}

#[test]
fn a_token_that_is_no_utf_8_is_refused() {
    let token = with_claims(json!({}));
    let (unsigned, signature) = token.rsplit_once('.').expect("three segments");
    let (header, payload) = unsigned.split_once('.').expect("three segments");
    let [header, payload, signature] = [header, payload, signature].map(str::as_bytes);
    for (parts, code) in [
        ([b"\xff".as_slice(), payload, signature], "malformed"),
        ([header, b"\xff", signature], "bad_signature"),
        ([header, payload, &[0xff; 43]], "malformed"),
        ([&[0xff; 17_000], payload, signature], "too_large"),
    ] {
        let value = [b"Bearer ".as_slice(), &parts.join(&b'.')].concat();
        let request = Request::get("/api/me").header("authorization", value);
        request.send(envoy().port("app")).assert_denied(401, code);
    }
}

#[test]
fn a_token_over_16_kib_is_refused() {
    let filler = "x".repeat(13 * 1024);
    assert_all_refused("size", &[("18 KiB", with_claims(json!({"filler": filler})), "too_large")]);
    let filler = "x".repeat(10 * 1024);
    Request::get("/api/me")
        .bearer(with_claims(json!({"filler": filler})))
        .send(envoy().port("app"))
        .reached();
}

#[test]
fn unusual_but_good_tokens_are_accepted() {
    let port = envoy().port("app");
    let ours = jwt_gate_token::Secret::from_utf8(SECRET).expect("a secret").kid().to_owned();
    for (why, token) in [
        ("our kid", with_header(&format!(r#"{{"alg":"HS256","kid":"{ours}"}}"#))),
        ("an unknown kid: each secret is tried", with_header(r#"{"alg":"HS256","kid":"nobody"}"#)),
        ("typ at+jwt", with_header(r#"{"typ":"at+jwt","alg":"HS256"}"#)),
        ("members that say nothing to us", with_header(r#"{"alg":"HS256","x5t":"a","custom":{"a":[1]}}"#)),
        ("white space in the header", with_header("{ \"alg\" :\r\n\t\"HS256\" }")),
        ("an escaped algorithm", with_header(r#"{"\u0061lg":"HS\u0032\u0035\u0036"}"#)),
        ("white space in the payload", with_payload(" {\n\"sub\" : \"user_1\", \"exp\" : 9999999999 }\n")),
        ("an escaped claim", with_payload(r#"{"\u0073ub":"user\u005f1","exp":9999999999}"#)),
        ("an exponent", with_payload(r#"{"sub":"user_1","exp":9.999999999e9}"#)),
        ("a foreign audience while none is asked for", with_claims(json!({"aud": ["a", "b"]}))),
    ] {
        let answer = Request::get("/api/me").bearer(token).send(port);
        assert!(answer.seen().is_some(), "{why}: {} {}", answer.status, answer.text());
        assert_eq!(answer.reached().one("x-user-id").as_deref(), Some("user_1"), "{why}");
    }
}
