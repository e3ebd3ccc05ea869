//! A token of which any bit is another opens nothing, wherever it stands, though the right one was remembered.

use jwt_gate::{Verdict, config};
use jwt_gate_token::{Keyring, Secret, issue};
use serde_json::json;

use support::{Gate, request_of};

mod support;

const NOW: f64 = 1_700_000_000.0;
const SECRET: &str = "app-0123456789abcdef0123456789abcdef";

const CONFIG: &str = "
providers:
  app:
    secrets: [{inline: app-0123456789abcdef0123456789abcdef}]
    from_headers: [{name: Authorization, value_prefix: 'Bearer '}]
    from_cookies: [session]
    from_params: [token]
    claim_to_headers: [{header_name: x-user-id, claim_name: sub, required: true}]
default: require
";

/// Header, what stands before the token there, and what after.
const PLACES: [(&str, &str, &str); 4] = [
    ("authorization", "Bearer ", ""),
    ("cookie", "a=1; session=", "; b=2"),
    ("cookie", "session=\"", "\""),
    (":path", "/notes?a=1&token=", "&b=2"),
];

fn passes(gate: &Gate, (name, before, after): (&str, &str, &str), token: &[u8]) -> bool {
    let value = [before.as_bytes(), token, after.as_bytes()].concat();
    let mut headers = vec![(":method".to_owned(), b"GET".to_vec()), (name.to_owned(), value)];
    if name != ":path" {
        headers.push((":path".to_owned(), b"/notes".to_vec()));
    }
    matches!(gate.decide(&request_of(&headers), NOW).verdict, Verdict::Allow(_))
}

#[test]
fn any_bit_of_a_token_flipped_anywhere_opens_nothing() {
    let gate = Gate::new(config::read(CONFIG.as_bytes()).unwrap(), &|_| None).unwrap();
    let keyring = Keyring::new([Secret::from_utf8(SECRET).unwrap()]).unwrap();
    let claims =
        json!({"sub": "user_1", "exp": NOW + 600.0, "iat": NOW, "aud": ["a", "b"], "n": {"m": null}});
    let token = issue(&keyring, claims.as_object().unwrap()).unwrap();
    for place in PLACES {
        assert!(passes(&gate, place, token.as_bytes()), "{place:?}");
        for bit in 0..token.len() * 8 {
            let mut flipped = token.clone().into_bytes();
            if let Some(byte) = flipped.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
            assert!(!passes(&gate, place, &flipped), "bit {bit} of the token in {place:?} does not count");
        }
        assert!(passes(&gate, place, token.as_bytes()), "{place:?}");
    }
}
