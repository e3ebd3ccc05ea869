//! Paths: how they are disguised, and how whoever stands behind may read them.

use std::collections::BTreeSet;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::case::one;
use crate::readings::{self, STEPS, Step};

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

/// Every way in which somebody may read the path of `target`, by the steps of [`STEPS`] and two more.
pub(crate) fn readings(target: &[u8]) -> BTreeSet<Vec<u8>> {
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let steps: Vec<Step> = STEPS.into_iter().chain([until_hash as Step, without_origin]).collect();
    readings::readings(path, &steps)
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
