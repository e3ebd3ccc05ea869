//! What must hold of a request from which the gate took the token: `Cookie` and query keep every other byte,
//! and hold no token any more.

use jwt_gate::{HeaderMutation, Verdict};

use crate::readings::percent_decoded;
use crate::support::{Gate, Headers, request_of};

/// Where the gate under test looks for tokens.
pub(crate) struct Names {
    pub(crate) cookies: &'static [&'static str],
    pub(crate) params: &'static [&'static str],
}

/// Holds `mutations`, with which `headers` passed `gate`, against [what must hold](self).
pub(crate) fn keeps_every_other_byte(
    gate: &Gate,
    names: &Names,
    headers: &Headers,
    mutations: &[HeaderMutation],
    now: f64,
) {
    let of = |wanted: &str| -> Vec<&[u8]> {
        let same = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        same.map(|(_, value)| value.as_slice()).collect()
    };
    cookies_keep_their_bytes(names, &of("cookie"), mutations);
    query_keeps_its_bytes(names, of(":path").first().copied().unwrap_or_default(), mutations);
    let again = gate.decide(&request_of(&edited_headers(headers, mutations)), now).verdict;
    assert!(matches!(again, Verdict::Deny(..)), "a token is left: {again:?}");
}

/// `headers` as the backend receives them.
fn edited_headers(headers: &Headers, mutations: &[HeaderMutation]) -> Headers {
    let mut edited = headers.clone();
    for mutation in mutations {
        let changed = match mutation {
            HeaderMutation::Remove(name) => &**name,
            HeaderMutation::Set(name, _) => name.as_bytes(),
        };
        edited.retain(|(other, _)| !other.as_bytes().eq_ignore_ascii_case(changed));
        if let HeaderMutation::Set(name, value) = mutation {
            edited.push((name.to_string(), value.to_vec()));
        }
    }
    edited
}

/// What a mutation makes of the header `name`; `None` where none is about it.
fn edited<'mutations>(mutations: &'mutations [HeaderMutation], wanted: &str) -> Option<&'mutations [u8]> {
    mutations.iter().rev().find_map(|mutation| match mutation {
        HeaderMutation::Remove(name) if **name == *wanted.as_bytes() => Some(&b""[..]),
        HeaderMutation::Set(name, value) if **name == *wanted => Some(&**value),
        _ => None,
    })
}

fn name(pair: &[u8]) -> &[u8] {
    pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii()
}

fn is_one_of(names: &[&str], name: &[u8]) -> bool {
    names.iter().any(|known| known.as_bytes() == name)
}

fn cookies_keep_their_bytes(names: &Names, values: &[&[u8]], mutations: &[HeaderMutation]) {
    let pairs = |value: &[u8]| -> Vec<Vec<u8>> {
        let pairs = value.split(|byte| *byte == b';').map(|pair| pair.trim_ascii().to_vec());
        pairs.filter(|pair| !pair.is_empty()).collect()
    };
    let before: Vec<Vec<u8>> = values.iter().flat_map(|value| pairs(value)).collect();
    let after = edited(mutations, "cookie").map_or_else(|| before.clone(), pairs);
    let of_others = |all: &[Vec<u8>]| -> Vec<Vec<u8>> {
        all.iter().filter(|pair| !is_one_of(names.cookies, name(pair))).cloned().collect()
    };
    assert_eq!(of_others(&after), of_others(&before));
    // A cookie of such a name that holds no token is a backend's own, and may stay.
    let mut rest = before.iter();
    assert!(after.iter().all(|pair| rest.any(|known| known == pair)), "{after:?} has more than {before:?}");
}

fn query_keeps_its_bytes(names: &Names, target: &[u8], mutations: &[HeaderMutation]) {
    let parts = |target: &[u8]| {
        let mut parts = target.splitn(2, |byte| *byte == b'?').map(<[u8]>::to_vec);
        (parts.next().unwrap_or_default(), parts.next())
    };
    let (path, query) = parts(target);
    let pairs = query.iter().flat_map(|query| query.split(|byte| *byte == b'&'));
    let kept: Vec<&[u8]> =
        pairs.clone().filter(|pair| !is_one_of(names.params, &percent_decoded(name(pair)))).collect();
    match edited(mutations, ":path") {
        Some(after) => {
            let (path_after, query_after) = parts(after);
            assert_eq!(path_after, path);
            assert_eq!(query_after.unwrap_or_default(), kept.join(&b'&'));
        }
        None => assert_eq!(pairs.count(), kept.len(), "a token is left"),
    }
}
