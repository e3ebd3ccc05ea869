//! Paths: how they are disguised, and how whoever stands behind may read them.

use std::collections::BTreeSet;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::case::one;

/// Whole paths that have gone wrong for somebody.
const KNOWN: &[&[u8]] = &[
    b"/public",
    b"/public/",
    b"/open/a",
    b"/open/a%20b",
    b"/optional/a",
    b"/api/me",
    b"/api/me",
    b"/api/me",
    b"/admin/users",
    b"/admin/users",
    b"/elsewhere",
    b"/",
    b"*",
    b"",
    b"/open/../api/me",
    b"/open/..;/admin/x",
    b"/open/%2e%2e/admin/x",
    b"/open/..%2fadmin/x",
    b"/open/%2e%2e%2fapi/me",
    b"/open/%252e%252e/api/me",
    b"/open/..\\api\\me",
    b"/open/..%5capi%5cme",
    b"//api/me",
    b"/./api/me",
    b"/%61pi/me",
    b"/api;x=1/me",
    b"/api%3bx/me",
    b"/api%2fme",
    b"/x/../admin/users",
    b"/open/.%00./api/me",
    b"/open#/../api/me",
    b"/open/\xc0\xae\xc0\xae/api/me",
    b"http://app.test/api/me",
    b"http://app.test/open/../api/me",
    b"http://user@app.test/admin/x",
    b"http://app.test",
    b"https://other.test/open/..%2fapi/me",
    b"//app.test/api/me",
    b"app.test:443",
    b"/open/%zz",
    b"/open/%",
    b"/api/../open/a",
];

/// What paths are put together from.
const PARTS: &[&[u8]] = &[
    b"/open",
    b"/public",
    b"/optional",
    b"/api",
    b"/admin",
    b"/api",
    b"/admin",
    b"/me",
    b"/",
    b"/..",
    b"/.",
    b"/...",
    b"/..;",
    b"/..;a=b",
    b"/.;",
    b"//",
    b"%2f",
    b"%2F",
    b"%5c",
    b"\\",
    b"/%2e%2e",
    b"/%2E.",
    b"/.%2e",
    b"/%2e",
    b"%252f",
    b"/%252e%252e",
    b";x=1",
    b"%3b",
    b"%00",
    b"%0a",
    b"%20",
    b"%09",
    b"%c0%ae",
    b"%ef%bc%8f",
    b"a",
    b"%61",
    b"%70i",
    b"#",
    b"%23",
    b"%3f",
    b"~",
    b"%7e",
    b"\xc3\xa9",
    b"%u002f",
    b"+",
    b"@",
    b":",
    b"%",
    b"%2",
];

/// A path, mostly one with more than one reading.
pub(crate) fn any(random: &mut StdRng) -> Vec<u8> {
    if random.random_range(0..100) < 55 {
        return one(random, KNOWN).to_vec();
    }
    let mut path = one(random, &[&b"/open"[..], b"/api", b"/admin", b"", b"/optional", b"/x"]).to_vec();
    for _ in 0..random.random_range(1..6) {
        path.extend_from_slice(one(random, PARTS));
    }
    path
}

/// What somebody does to a path before they use it.
type Step = fn(&[u8]) -> Vec<u8>;

/// Every way in which somebody may read `target`: the steps that servers, frameworks and file systems take,
/// in any order, up to three of them.
pub(crate) fn readings(target: &[u8]) -> BTreeSet<Vec<u8>> {
    let steps: [Step; 8] = [
        decoded,
        without_dots,
        merged,
        without_parameters,
        with_slashes,
        until_nul,
        until_hash,
        without_origin,
    ];
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let mut readings = BTreeSet::from([path.to_vec()]);
    for _ in 0..3 {
        let more: Vec<Vec<u8>> =
            readings.iter().flat_map(|path| steps.iter().map(move |step| step(path))).collect();
        readings.extend(more);
    }
    readings
}

/// Whether a reader of `target` that changes nothing would come to the same as every other.
pub(crate) fn is_plain(target: &[u8]) -> bool {
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-_~+@:".contains(byte);
    path.first() == Some(&b'/') && path.iter().all(plain) && !path.windows(2).any(|two| two == b"//")
}

fn decoded(path: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let (mut decoded, mut at) = (Vec::new(), 0);
    while let Some(byte) = path.get(at) {
        match (byte, digit(path.get(at + 1)), digit(path.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(u8::try_from(high * 16 + low).expect("two digits are a byte"));
                at += 3;
            }
            _ => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    decoded
}

fn without_dots(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b"." => {}
            b".." => {
                if kept.len() > 1 {
                    kept.pop();
                }
            }
            other => kept.push(other),
        }
    }
    kept.join(&b'/')
}

fn merged(path: &[u8]) -> Vec<u8> {
    let mut merged: Vec<u8> = Vec::new();
    for byte in path {
        if *byte != b'/' || merged.last() != Some(&b'/') {
            merged.push(*byte);
        }
    }
    merged
}

fn without_parameters(path: &[u8]) -> Vec<u8> {
    let segments = path.split(|byte| *byte == b'/');
    let bare: Vec<&[u8]> =
        segments.map(|segment| segment.split(|byte| *byte == b';').next().unwrap_or_default()).collect();
    bare.join(&b'/')
}

fn with_slashes(path: &[u8]) -> Vec<u8> {
    path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect()
}

fn until_nul(path: &[u8]) -> Vec<u8> {
    path.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

fn until_hash(path: &[u8]) -> Vec<u8> {
    path.split(|byte| *byte == b'#').next().unwrap_or_default().to_vec()
}

/// `http://host/path` as `/path`.
fn without_origin(path: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(path);
    match text.split_once("://") {
        Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphabetic()) && !scheme.is_empty() => {
            let rest = &path[scheme.len() + 3..];
            let slash = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            rest[slash..].to_vec()
        }
        _ => path.to_vec(),
    }
}
