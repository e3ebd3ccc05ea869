//! What is done to good requests, by name. The names are those of the table of differences.

use jwt_gate_tests::forge::{self, Hash, OTHER_SECRET};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt};
use serde_json::json;

use crate::draft::{APP_OLD_SECRET, Draft, Place};

/// One kind of change.
pub(crate) type Mutation = (&'static str, fn(&mut Draft, &mut StdRng));

fn pick<'a>(rng: &mut StdRng, texts: &[&'a str]) -> &'a str {
    texts.choose(rng).expect("a choice of some")
}

fn now() -> u64 {
    forge::now()
}

/// A good token of somebody else: the same provider, another subject.
fn other_token() -> String {
    forge::token("user_2", json!({"aud": "api"}))
}

/// base64 as RFC 4648 §4 pads it.
fn padded(segment: &str) -> String {
    format!("{segment}{}", "=".repeat((4 - segment.len() % 4) % 4))
}

/// Every kind of change.
pub(crate) const MUTATIONS: &[Mutation] = &[
    // The header's members.
    ("alg of another name", |d, r| {
        let alg = pick(
            r,
            &["none", "None", "HS384", "HS512", "RS256", "ES256", "PS256", "EdDSA", "hs256", "HS256 ", ""],
        );
        d.member("alg", format!("{alg:?}"));
    }),
    ("alg of another type", |d, r| d.member("alg", pick(r, &["null", "256", "[\"HS256\"]", "{}", "true"]))),
    ("no alg", |d, _| d.header.retain(|(name, _)| name != "alg")),
    ("HS384 or HS512, really", |d, r| {
        let (hash, alg) =
            if r.random() { (Hash::Sha384, r#""HS384""#) } else { (Hash::Sha512, r#""HS512""#) };
        d.hash = hash;
        d.member("alg", alg);
    }),
    ("alg none without a signature", |d, _| {
        d.member("alg", r#""none""#);
        d.after_signing =
            Some(|token| token.rsplit_once('.').map_or_else(String::new, |(signed, _)| format!("{signed}.")));
    }),
    ("typ", |d, r| d.member("typ", pick(r, &["\"at+jwt\"", "\"jwt\"", "\"\"", "null", "7", "[]"]))),
    ("no typ", |d, _| d.header.retain(|(name, _)| name != "typ")),
    ("kid of the key", |d, _| d.member("kid", r#""a""#)),
    ("kid of the provider's other key", |d, _| d.member("kid", r#""b""#)),
    ("signed with the older key and its kid", |d, _| {
        d.secret = APP_OLD_SECRET;
        d.member("kid", r#""b""#);
    }),
    ("signed with the older key, no kid", |d, _| d.secret = APP_OLD_SECRET),
    ("kid of no key", |d, r| {
        d.member("kid", pick(r, &["\"nobody\"", "\"A\"", "\"../../dev/null\"", "\"\\u0000\"", "\" a\""]))
    }),
    ("kid empty", |d, _| d.member("kid", "\"\"")),
    ("kid of another type", |d, r| d.member("kid", pick(r, &["null", "7", "[\"a\"]", "{}", "true"]))),
    ("crit", |d, r| d.member("crit", pick(r, &["[]", "[\"exp\"]", "[\"b64\"]", "null", "\"exp\"", "{}"]))),
    ("b64", |d, r| d.member("b64", pick(r, &["false", "true", "null"]))),
    ("zip", |d, r| d.member("zip", pick(r, &["\"DEF\"", "null"]))),
    ("a key in the header", |d, r| {
        let (name, value) = [
            ("jwk", r#"{"kty":"oct","k":"b3RoZXItMDEyMzQ1Njc4OS1hYmNkZWZnaGlqLUFCQ0RFRkdISUo"}"#),
            ("jku", r#""http://127.0.0.1:1/keys""#),
            ("x5u", r#""http://127.0.0.1:1/cert""#),
            ("x5c", r#"["AAAA"]"#),
        ]
        .choose(r)
        .copied()
        .expect("a choice of some");
        d.member(name, value);
        d.secret = OTHER_SECRET;
    }),
    ("further header members", |d, r| {
        d.member("x", pick(r, &["1", "{\"a\":[1]}", "\"\\ud83d\\ude00\"", "null"]))
    }),
    // The header and payload as JSON.
    ("a header member twice", |d, r| {
        let twice = pick(r, &[r#""HS256""#, r#""none""#]).to_owned();
        d.header.insert(0, ("alg".to_owned(), twice));
    }),
    ("a claim twice", |d, r| {
        let (name, value) =
            [("sub", r#""root""#), ("exp", "1"), ("iss", r#""x""#), ("x", "1"), ("exp", "9999999999")]
                .choose(r)
                .copied()
                .expect("a choice of some");
        d.claims.insert(0, (name.to_owned(), value.to_owned()));
        if name == "x" {
            d.claims.push((name.to_owned(), value.to_owned()));
        }
    }),
    ("a nested member twice", |d, _| d.claim("x", r#"{"a":1,"a":2}"#)),
    ("white space in the JSON", |d, r| {
        let space = pick(r, &[" ", "\n", "\r\n\t", "   "]);
        d.payload_bytes = Some([space.as_bytes(), &d.payload_text(), space.as_bytes()].concat());
    }),
    ("escapes in the JSON", |d, _| {
        let text = String::from_utf8(d.payload_text()).unwrap_or_default();
        d.payload_bytes =
            Some(text.replace("user_1", "\\u0075ser_1").replace("\"sub\"", "\"\\u0073ub\"").into_bytes());
    }),
    ("a byte order mark", |d, r| {
        let marked = |text: Vec<u8>| Some([&b"\xef\xbb\xbf"[..], &text].concat());
        if r.random() {
            d.header_bytes = marked(d.header_text())
        } else {
            d.payload_bytes = marked(d.payload_text())
        }
    }),
    ("a header that is no object", |d, r| {
        d.header_bytes =
            Some(pick(r, &["[]", "\"HS256\"", "1", "null", "", "true", "{", "{}"]).as_bytes().to_vec());
    }),
    ("a payload that is no object", |d, r| {
        d.payload_bytes = Some(
            pick(r, &["[]", "\"user_1\"", "1", "null", "", " ", "true", "{", "{}", "[{}]"])
                .as_bytes()
                .to_vec(),
        );
    }),
    ("text behind the JSON", |d, r| {
        let tail = pick(r, &["{}", ",", "}", "x", "\0", "//"]).as_bytes();
        if r.random() {
            d.header_bytes = Some([&d.header_text(), tail].concat());
        } else {
            d.payload_bytes = Some([&d.payload_text(), tail].concat());
        }
    }),
    ("JSON that a lenient parser reads", |d, r| {
        let text = String::from_utf8(d.payload_text()).unwrap_or_default();
        d.payload_bytes = Some(match r.random_range(0..4) {
            0 => text.replace('"', "'").into_bytes(),
            1 => text.replace('}', ",}").into_bytes(),
            2 => text.replacen('{', "{/**/", 1).into_bytes(),
            _ => text.replacen('{', "{\"n\":NaN,", 1).into_bytes(),
        });
    }),
    ("a claim that is not UTF-8", |d, r| {
        let odd: &[&[u8]] = &[b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xe2\x82", b"\xf4\x90\x80\x80"];
        let odd = odd.choose(r).copied().unwrap_or_default();
        let text = d.payload_text();
        d.payload_bytes = Some([&text[..text.len() - 1], b",\"x\":\"", odd, b"\"}"].concat());
    }),
    ("a header member that is not UTF-8", |d, _| {
        let text = d.header_text();
        d.header_bytes = Some([&text[..text.len() - 1], b",\"x\":\"\xff\xfe\"}"].concat());
    }),
    ("half of a surrogate pair", |d, _| d.claim("x", r#""\ud800""#)),
    ("deep nesting", |d, r| {
        let depth = if r.random() { r.random_range(90..140) } else { r.random_range(2..1500) };
        d.claim("x", format!("{}1{}", "[".repeat(depth), "]".repeat(depth)));
    }),
    ("a large token", |d, r| {
        let size = r.random_range(100..30_000);
        d.claim("x", format!("\"{}\"", "x".repeat(size)));
    }),
    // Claims.
    ("exp in the past", |d, r| d.claim("exp", pick(r, &["1", "0", "1000000000", "1000000000.5"]))),
    ("exp below zero", |d, _| d.claim("exp", "-1")),
    ("exp with a fraction", |d, _| d.claim("exp", format!("{}.5", now() + 7200))),
    ("exp with an exponent", |d, r| d.claim("exp", pick(r, &["9.9e9", "99E8"]))),
    ("exp past 2^53", |d, r| {
        d.claim("exp", pick(r, &["1e17", "9007199254740993", "18446744073709551615", "1e300"]))
    }),
    ("exp past every float", |d, _| d.claim("exp", "1e400")),
    ("exp of another type", |d, r| {
        d.claim("exp", pick(r, &["\"9999999999\"", "true", "[9999999999]", "{}", "\"\""]))
    }),
    ("exp null", |d, _| d.claim("exp", "null")),
    ("no exp", |d, _| d.claims.retain(|(name, _)| name != "exp")),
    ("nbf ahead", |d, _| d.claim("nbf", (now() + 3600).to_string())),
    ("nbf past", |d, r| d.claim("nbf", pick(r, &["0", "1", "1000000000.5"]))),
    ("nbf of another type", |d, r| d.claim("nbf", pick(r, &["\"1\"", "true", "[1]", "{}"]))),
    ("nbf null", |d, _| d.claim("nbf", "null")),
    ("iat ahead", |d, _| d.claim("iat", (now() + 3600).to_string())),
    ("iat of another type", |d, r| d.claim("iat", pick(r, &["\"1\"", "true", "[1]", "{}"]))),
    ("iat null", |d, _| d.claim("iat", "null")),
    ("no iat", |d, _| d.claims.retain(|(name, _)| name != "iat")),
    ("another issuer", |d, r| {
        d.claim("iss", pick(r, &["\"JWT-GATE\"", "\"jwt-gate/\"", "\"\"", "\"ops\"", "\"jwt-gate\\u0000\""]))
    }),
    ("iss of another type", |d, r| d.claim("iss", pick(r, &["null", "7", "[\"jwt-gate\"]", "{}"]))),
    ("no iss", |d, _| d.claims.retain(|(name, _)| name != "iss")),
    ("aud as an array", |d, r| {
        d.claim("aud", pick(r, &["[\"api\"]", "[\"other\",\"web\"]", "[\"web\",\"api\"]"]))
    }),
    ("another audience", |d, r| {
        d.claim("aud", pick(r, &["\"other\"", "[]", "[\"other\"]", "\"\"", "\"API\""]))
    }),
    ("aud with a scheme or a slash", |d, r| {
        d.claim(
            "aud",
            pick(
                r,
                &["\"https://api\"", "\"http://api\"", "\"api/\"", "\"https://api/\"", "[\"http://web/\"]"],
            ),
        );
    }),
    ("aud of another type", |d, r| {
        d.claim("aud", pick(r, &["7", "null", "{}", "true", "[7]", "[\"api\",7]", "[[\"api\"]]"]))
    }),
    ("aud the gates' own", |d, _| d.claim("aud", r#"["api","jwt-gate/internal"]"#)),
    ("no aud", |d, _| d.claims.retain(|(name, _)| name != "aud")),
    ("sub of another type", |d, r| d.claim("sub", pick(r, &["7", "-7", "true", "false", "1.5"]))),
    ("sub null", |d, _| d.claim("sub", "null")),
    ("sub an array or an object", |d, r| {
        d.claim("sub", pick(r, &["[\"a\",\"b\"]", "{\"a\":1}", "[]", "{}", "[\"a,b\"]"]))
    }),
    ("sub empty", |d, _| d.claim("sub", "\"\"")),
    ("no sub", |d, _| d.claims.retain(|(name, _)| name != "sub")),
    ("sub in unicode", |d, r| {
        d.claim("sub", pick(r, &["\"Zo\u{eb}\"", "\"\\u00eb\"", "\"\u{1f600}\"", "\"a\u{200b}b\""]))
    }),
    ("sub with a control character", |d, r| {
        d.claim(
            "sub",
            pick(
                r,
                &["\"a\\r\\nx-user-id: root\"", "\"a\\nb\"", "\"\\u0000\"", "\"a\\u007fb\"", "\"a\\tb\""],
            ),
        );
    }),
    ("sub with spaces around it", |d, r| d.claim("sub", pick(r, &["\" user_1\"", "\"user_1 \""]))),
    ("sub over 4 KiB", |d, _| d.claim("sub", format!("\"{}\"", "s".repeat(5000)))),
    ("level, a nested number", |d, r| {
        d.claim("account", format!("{{\"level\":{}}}", pick(r, &["3", "-3", "0", "true"])))
    }),
    ("level, a large or broken number", |d, r| {
        d.claim(
            "account",
            format!("{{\"level\":{}}}", pick(r, &["1.5", "1e3", "18446744073709551615", "9007199254740993"])),
        );
    }),
    // The signature and the segments.
    ("another key", |d, _| d.secret = OTHER_SECRET),
    ("a bit flipped", |d, r| d.flip = Some((r.random(), r.random()))),
    ("another hash under the name HS256", |d, r| {
        d.hash = if r.random() { Hash::Sha384 } else { Hash::Sha512 }
    }),
    ("a cut signature", |d, r| {
        d.after_signing = Some(if r.random() {
            |token| token[..token.len() - 4].to_owned()
        } else {
            |token| token[..token.len() - 1].to_owned()
        });
    }),
    ("a longer signature", |d, _| d.after_signing = Some(|token| format!("{token}AAAA"))),
    ("no signature", |d, _| {
        d.after_signing =
            Some(|token| token.rsplit_once('.').map_or_else(String::new, |(signed, _)| format!("{signed}.")));
    }),
    ("stray bits in the signature", |d, _| {
        // 32 bytes are 43 characters; the last one's two low bits must be zero.
        d.after_signing = Some(|token| {
            let (head, last) = token.split_at(token.len() - 1);
            let next = last.bytes().next().map_or('A', |byte| char::from(byte + 1));
            format!("{head}{next}")
        });
    }),
    ("a padded signature", |d, _| d.after_signing = Some(|token| format!("{token}="))),
    ("a padded header or payload", |d, r| {
        d.before_signing = Some(if r.random() {
            |h, p| format!("{}.{p}", padded(h))
        } else {
            |h, p| format!("{h}.{}", padded(p))
        });
    }),
    ("characters of base64 or none", |d, r| {
        d.before_signing = Some(match r.random_range(0..4) {
            0 => |h, p| format!("{h}.{p}+"),
            1 => |h, p| format!("{h}/.{p}"),
            2 => |h, p| format!("{h}.{p}~"),
            _ => |h, p| format!("{h}.{p}%3D"),
        });
    }),
    ("white space in a segment", |d, r| {
        d.before_signing = Some(match r.random_range(0..3) {
            0 => |h, p| format!("{h} .{p}"),
            1 => |h, p| format!("{h}. {p}"),
            _ => |h, p| format!("{h}.{p}\t"),
        });
    }),
    ("another number of segments", |d, r| {
        d.after_signing = Some(match r.random_range(0..6) {
            0 => |token| format!("{token}."),
            1 => |token| format!(".{token}"),
            2 => |token| format!("{token}.e30"),
            3 => |token| token.replacen('.', "", 1),
            4 => |token| format!("{token}.a.b"),
            _ => |_| "..".to_owned(),
        });
    }),
    ("an empty segment", |d, r| {
        d.before_signing = Some(if r.random() { |h, _| format!("{h}.") } else { |_, p| format!(".{p}") });
    }),
    // The place.
    ("no token", |d, _| d.place = Place::Nowhere),
    ("the scheme in another case", |d, r| {
        d.place = Place::Header("authorization", pick(r, &["bearer ", "BEARER ", "bEaReR "]), "");
    }),
    ("more than one space behind the scheme", |d, r| {
        d.place = Place::Header("authorization", pick(r, &["Bearer  ", "Bearer    "]), "");
    }),
    ("a tab behind the scheme", |d, _| d.place = Place::Header("authorization", "Bearer\t", "")),
    ("no space behind the scheme", |d, _| d.place = Place::Header("authorization", "Bearer", "")),
    ("another scheme", |d, r| {
        d.place = Place::Header("authorization", pick(r, &["Basic ", "Token ", "JWT ", "", "XBearer "]), "");
    }),
    ("text before the scheme", |d, r| {
        d.place =
            Place::Header("authorization", pick(r, &["x Bearer ", "Basic a, Bearer ", ", Bearer "]), "");
    }),
    ("text behind the token", |d, r| {
        d.place = Place::Header(
            "authorization",
            "Bearer ",
            pick(r, &[" x", ",x", ";x", "\"", ", Basic a", " realm=\"x\""]),
        );
    }),
    ("a comma or a space behind the token", |d, r| {
        d.place = Place::Header("authorization", "Bearer ", pick(r, &[",", ", ", " ", "  "]));
    }),
    ("quotes around the token", |d, _| d.place = Place::Header("authorization", "Bearer \"", "\"")),
    ("the header x-token", |d, _| d.place = Place::Header("x-token", "", "")),
    ("the cookie", |d, r| {
        d.place = Place::Cookie(pick(
            r,
            &["session=*", "a=1; session=*; b=2", "a=1;session=*", "session=*; session2=x"],
        ))
    }),
    ("the cookie in quotes", |d, _| d.place = Place::Cookie("a=1; session=\"*\"")),
    ("another cookie", |d, r| {
        d.place = Place::Cookie(pick(r, &["sessions=*", "xsession=*", "SESSION=*", "a=session=*"]))
    }),
    ("spaces around the cookie's equals sign", |d, r| {
        d.place = Place::Cookie(pick(r, &["session =*", "session= *", " session=*"]))
    }),
    ("the cookie twice", |d, _| d.place = Place::Cookie("session=*; session=*")),
    ("the cookie twice, one of them bad", |d, r| {
        d.place = Place::Cookie(pick(r, &["session=*; session=bad", "session=bad; session=*"]))
    }),
    ("the cookie twice, one of them empty", |d, r| {
        d.place = Place::Cookie(pick(r, &["session=; session=*", "session=*; session="]))
    }),
    ("the parameter", |d, r| {
        d.place = Place::Query(pick(r, &["access_token=*", "a=1&access_token=*&b=%20", "access_token=*#x"]))
    }),
    ("another parameter", |d, r| {
        d.place = Place::Query(pick(r, &["access_tokens=*", "ACCESS_TOKEN=*", "a=access_token=*"]))
    }),
    ("the parameter's name escaped", |d, _| d.place = Place::Query("%61ccess_token=*")),
    ("the parameter twice", |d, _| d.place = Place::Query("access_token=*&access_token=*")),
    ("the parameter twice, one of them bad", |d, r| {
        d.place =
            Place::Query(pick(r, &["access_token=*&access_token=bad", "access_token=bad&access_token=*"]));
    }),
    ("the same Authorization twice", |d, _| {
        let token = String::from_utf8_lossy(&d.token()).into_owned();
        d.more.push(("authorization", format!("Bearer {token}")));
    }),
    ("another Authorization beside it", |d, r| {
        let value = match r.random_range(0..3) {
            0 => "Basic dXNlcjpwYXNz".to_owned(),
            1 => "Bearer bad".to_owned(),
            _ => format!("Bearer {}", other_token()),
        };
        d.more.push(("authorization", value));
    }),
    ("a bad token in a later place", |d, r| {
        let (name, value) = if r.random() { ("cookie", "session=bad") } else { ("x-token", "bad") };
        d.more.push((name, value.to_owned()));
    }),
    ("somebody else's token in a later place", |d, r| {
        let token = other_token();
        let place = if r.random() { ("cookie", format!("session={token}")) } else { ("x-token", token) };
        d.more.push(place);
    }),
    ("a bad token in an earlier place", |d, _| {
        d.place = Place::Cookie("session=*");
        d.more.push(("authorization", "Bearer bad".to_owned()));
    }),
    ("a token of the other provider beside it", |d, _| {
        let claims = forge::claims("ops_1", json!({"iss": "ops", "aud": "api"}));
        d.more.push(("x-ops-token", forge::token_of(crate::draft::OPS_SECRET, &claims)));
    }),
    ("a bad token of the other provider beside it", |d, _| d.more.push(("x-ops-token", "bad".to_owned()))),
    // The rest of the request.
    ("a path with more than one reading", |d, r| {
        d.path = pick(
            r,
            &[
                "/open/../api/x",
                "/open/%2e%2e/api/x",
                "/open//x",
                "/open/%2fx",
                "/open/..%2fapi/x",
                "/open/a\\b",
                "//open/x",
                "/open/./x",
                "/open/%61",
                "/public/",
                "/public//",
                "/open/..;/api/x",
                "/optional/%00",
                "/%6fpen/x",
                "/open/%zz",
            ],
        )
        .to_owned();
    }),
    ("a path with path parameters", |d, r| {
        d.path = pick(r, &["/api;x=1/me", "/open;v=1/x", "/open/a;b=c", "/public;a"]).to_owned()
    }),
    ("a path in another case", |d, r| d.path = pick(r, &["/API/x", "/Open/x", "/PUBLIC"]).to_owned()),
    ("a query", |d, r| d.path.push_str(pick(r, &["?a=1", "?", "?/../open/", "?a=b?c", "?access_token"]))),
    ("another method", |d, r| d.method = pick(r, &["POST", "PUT", "DELETE", "PATCH", "PROPFIND"])),
    ("OPTIONS", |d, _| d.method = "OPTIONS"),
    ("a CORS preflight", |d, _| {
        d.method = "OPTIONS";
        d.place = Place::Nowhere;
        d.more.push(("origin", "https://shop.example".to_owned()));
        d.more.push(("access-control-request-method", "PUT".to_owned()));
    }),
    ("nearly a CORS preflight", |d, r| {
        d.place = Place::Nowhere;
        match r.random_range(0..3) {
            0 => d.more.push(("access-control-request-method", "PUT".to_owned())),
            1 => {
                d.method = "OPTIONS";
                d.more.push(("origin", "https://shop.example".to_owned()));
            }
            _ => {
                d.method = "OPTIONS";
                d.more.push(("origin", "https://shop.example".to_owned()));
                d.more.push(("access-control-request-method", String::new()));
            }
        }
    }),
    ("a spoofed identity header", |d, r| {
        d.more.push((pick(r, &["x-user-id", "X-User-Id", "x-level"]), "root".to_owned()))
    }),
    ("a spoofed identity header with an underscore", |d, r| {
        d.more.push((pick(r, &["x_user_id", "X_User-Id", "x_level"]), "root".to_owned()))
    }),
    ("random bytes in place of the token", |d, r| {
        let length = r.random_range(1..200);
        let mut bytes = vec![0; length];
        r.fill_bytes(&mut bytes);
        let text: String = bytes.iter().map(|byte| char::from(byte % 94 + 33)).collect();
        d.place = Place::Nowhere;
        d.more.push(("authorization", format!("Bearer {text}")));
    }),
];
