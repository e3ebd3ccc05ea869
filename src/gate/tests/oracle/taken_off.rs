//! What must hold of a request from which the gate took the token: `Cookie` and query keep every other byte,
//! and hold no token any more.

use jwt_gate::{Edit, Gate, Request, Verdict};

use crate::readings::percent_decoded;

/// Where the gate under test looks for tokens.
pub(crate) struct Names {
    pub(crate) cookies: &'static [&'static str],
    pub(crate) params: &'static [&'static str],
}

type Headers = Vec<(String, Vec<u8>)>;

/// Holds `edits`, with which `headers` passed `gate`, against [what must hold](self).
pub(crate) fn keeps_every_other_byte(
    gate: &Gate,
    names: &Names,
    headers: &Headers,
    edits: &[Edit],
    now: f64,
) {
    let of = |wanted: &str| -> Vec<&[u8]> {
        let same = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        same.map(|(_, value)| value.as_slice()).collect()
    };
    cookies_keep_their_bytes(names, &of("cookie"), edits);
    query_keeps_its_bytes(names, of(":path").first().copied().unwrap_or_default(), edits);
    let again = gate.decide(&Request::new(edited_headers(headers, edits)), now).verdict;
    assert!(matches!(again, Verdict::Refuse(..)), "a token is left: {again:?}");
}

/// `headers` as the backend receives them.
fn edited_headers(headers: &Headers, edits: &[Edit]) -> Headers {
    let mut edited = headers.clone();
    for edit in edits {
        let (Edit::Remove(name) | Edit::Set(name, _)) = edit;
        edited.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        if let Edit::Set(name, value) = edit {
            edited.push((name.to_string(), value.to_vec()));
        }
    }
    edited
}

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

fn is_one_of(names: &[&str], name: &[u8]) -> bool {
    names.iter().any(|known| known.as_bytes() == name)
}

fn cookies_keep_their_bytes(names: &Names, values: &[&[u8]], edits: &[Edit]) {
    let pairs = |value: &[u8]| -> Vec<Vec<u8>> {
        let pairs = value.split(|byte| *byte == b';').map(|pair| pair.trim_ascii().to_vec());
        pairs.filter(|pair| !pair.is_empty()).collect()
    };
    let before: Vec<Vec<u8>> = values.iter().flat_map(|value| pairs(value)).collect();
    let after = edited(edits, "cookie").map_or_else(|| before.clone(), pairs);
    let of_others = |all: &[Vec<u8>]| -> Vec<Vec<u8>> {
        all.iter().filter(|pair| !is_one_of(names.cookies, name(pair))).cloned().collect()
    };
    assert_eq!(of_others(&after), of_others(&before));
    // A cookie of such a name that holds no token is a backend's own, and may stay.
    let mut rest = before.iter();
    assert!(after.iter().all(|pair| rest.any(|known| known == pair)), "{after:?} has more than {before:?}");
}

fn query_keeps_its_bytes(names: &Names, target: &[u8], edits: &[Edit]) {
    let parts = |target: &[u8]| {
        let mut parts = target.splitn(2, |byte| *byte == b'?').map(<[u8]>::to_vec);
        (parts.next().unwrap_or_default(), parts.next())
    };
    let (path, query) = parts(target);
    let pairs = query.iter().flat_map(|query| query.split(|byte| *byte == b'&'));
    let kept: Vec<&[u8]> =
        pairs.clone().filter(|pair| !is_one_of(names.params, &percent_decoded(name(pair)))).collect();
    match edited(edits, ":path") {
        Some(after) => {
            let (path_after, query_after) = parts(after);
            assert_eq!(path_after, path);
            assert_eq!(query_after.unwrap_or_default(), kept.join(&b'&'));
        }
        None => assert_eq!(pairs.count(), kept.len(), "a token is left"),
    }
}
