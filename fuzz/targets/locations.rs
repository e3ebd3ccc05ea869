//! A token that is taken off a request leaves every other byte of `Cookie` and query where it was.
#![no_main]

use jwt_gate::{Edit, Gate, Request, Verdict, config};
use jwt_gate_fuzz::{NOW, expand, headers, percent_decoded, planted};
use libfuzzer_sys::fuzz_target;

const CONFIG: &str = "
providers:
  app:
    secrets: [{inline: fuzz-0123456789-abcdefghij-ABCDEFGHIJ}]
    from_headers: [{name: Authorization, value_prefix: 'Bearer '}, {name: x-token}]
    from_cookies: [session, sid]
    from_params: [token, t]
    claim_to_headers: [{header_name: x-user-id, claim_name: sub, required: true}]
default: require
";

const COOKIES: [&[u8]; 2] = [b"session", b"sid"];
const PARAMS: [&[u8]; 2] = [b"token", b"t"];

thread_local! {
    static GATE: Gate = Gate::new(config::read(CONFIG.as_bytes()).unwrap(), &|_| None).unwrap();
}

fuzz_target!(|input: &[u8]| {
    let headers = headers(&expand(input));
    let decision = GATE.with(|gate| gate.decide(&Request::new(headers.clone()), NOW));
    let Verdict::Pass(pass) = decision.verdict else { return };
    assert!(pass.authenticated, "nothing here is public");
    let subject = pass.subject.as_deref();
    assert!(planted().iter().any(|planted| planted.good && Some(planted.subject) == subject));

    let of = |wanted: &str| -> Vec<&[u8]> {
        let same = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        same.map(|(_, value)| value.as_slice()).collect()
    };
    cookies_keep_their_bytes(&of("cookie"), &pass.edits);
    query_keeps_its_bytes(of(":path").first().copied().unwrap_or_default(), &pass.edits);
});

/// What an edit makes of the header `name`; `None` where none is about it.
fn edited<'edits>(edits: &'edits [Edit], wanted: &str) -> Option<&'edits [u8]> {
    edits.iter().rev().find_map(|edit| match edit {
        Edit::Remove(name) if **name == *wanted => Some(&b""[..]),
        Edit::Set(name, value) if **name == *wanted => Some(&**value),
        _ => None,
    })
}

fn name(pair: &[u8]) -> &[u8] {
    pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii()
}

fn cookies_keep_their_bytes(values: &[&[u8]], edits: &[Edit]) {
    let pairs = |value: &[u8]| -> Vec<Vec<u8>> {
        let pairs = value.split(|byte| *byte == b';').map(|pair| pair.trim_ascii().to_vec());
        pairs.filter(|pair| !pair.is_empty()).collect()
    };
    let before: Vec<Vec<u8>> = values.iter().flat_map(|value| pairs(value)).collect();
    let kept: Vec<Vec<u8>> = before.iter().filter(|pair| !COOKIES.contains(&name(pair))).cloned().collect();
    match edited(edits, "cookie") {
        Some(value) => assert_eq!(pairs(value), kept),
        None => assert_eq!(before, kept, "a session is left"),
    }
}

fn query_keeps_its_bytes(target: &[u8], edits: &[Edit]) {
    let parts = |target: &[u8]| {
        let mut parts = target.splitn(2, |byte| *byte == b'?').map(<[u8]>::to_vec);
        (parts.next().unwrap_or_default(), parts.next())
    };
    let (path, query) = parts(target);
    let pairs = query.iter().flat_map(|query| query.split(|byte| *byte == b'&'));
    let kept: Vec<&[u8]> =
        pairs.clone().filter(|pair| !PARAMS.contains(&percent_decoded(name(pair)).as_slice())).collect();
    match edited(edits, ":path") {
        Some(after) => {
            let (path_after, query_after) = parts(after);
            assert_eq!(path_after, path);
            assert_eq!(query_after.unwrap_or_default(), kept.join(&b'&'));
        }
        None => assert_eq!(pairs.count(), kept.len(), "a token is left"),
    }
}
