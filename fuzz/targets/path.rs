//! A path that passes without a token is public however somebody else reads it, and nobody who normalises
//! paths changes it.
#![no_main]

use std::collections::BTreeSet;

use jwt_gate::{Gate, Request, Verdict, config};
use jwt_gate_fuzz::{NOW, percent_decoded};
use libfuzzer_sys::fuzz_target;

const CONFIG: &str = "
providers: {app: {secrets: [{inline: fuzz-0123456789-abcdefghij-ABCDEFGHIJ}]}}
rules:
  - {match: {path_separated_prefix: /open/private}, requires: {provider_name: app}}
  - {match: {path: /public}}
  - {match: {prefix: /open/}}
  - {match: {path_separated_prefix: /parted}}
  - {match: {safe_regex: '^/v[0-9]+/feed$'}}
default: require
";

thread_local! {
    static GATE: Gate = Gate::new(config::read(CONFIG.as_bytes()).unwrap(), &|_| None).unwrap();
}

fuzz_target!(|target: &[u8]| {
    let request =
        Request::new(vec![(":method".to_owned(), b"GET".to_vec()), (":path".to_owned(), target.to_vec())]);
    if let Verdict::Refuse(..) = GATE.with(|gate| gate.decide(&request, NOW)).verdict {
        return;
    }
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    assert_eq!(normalised(path), path, "a canonical path is a fixed point");
    for reading in readings(path) {
        assert!(is_public(&reading), "{} is {}", path.escape_ascii(), reading.escape_ascii());
    }
});

/// What the rules say, written a second time.
fn is_public(path: &[u8]) -> bool {
    // As the gate's own text of it; no rule names the replacement character.
    let path = &*String::from_utf8_lossy(path);
    let parted =
        |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if parted("/open/private") {
        return false;
    }
    let feed = || {
        let digits = path.strip_prefix("/v")?.strip_suffix("/feed")?;
        Some(!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    path == "/public" || path.starts_with("/open/") || parted("/parted") || feed() == Some(true)
}

/// The paths that backends make of this one: each step that some of them take, in any order, up to three.
fn readings(path: &[u8]) -> BTreeSet<Vec<u8>> {
    let steps: [fn(&[u8]) -> Vec<u8>; 6] =
        [percent_decoded, without_dots, without_empty_segments, without_parameters, with_slashes, until_nul];
    let mut readings = BTreeSet::from([path.to_vec()]);
    for _ in 0..3 {
        let more: Vec<Vec<u8>> =
            readings.iter().flat_map(|path| steps.iter().map(move |step| step(path))).collect();
        readings.extend(more);
    }
    readings
}

/// As Envoy does with `normalize_path` and `merge_slashes` (RFC 3986 §6.2.2).
fn normalised(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = path;
    while let Some((byte, tail)) = rest.split_first() {
        let escape = rest.get(..3).map(percent_decoded).filter(|escape| escape.len() == 1);
        match escape.as_deref() {
            Some([plain]) if plain.is_ascii_alphanumeric() || b"-._~".contains(plain) => {
                decoded.push(*plain);
                rest = &rest[3..];
            }
            _ => {
                decoded.push(*byte);
                rest = tail;
            }
        }
    }
    without_empty_segments(&without_dots(&decoded))
}

/// RFC 3986 §5.2.4
fn without_dots(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let segments: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
    for (index, segment) in segments.iter().enumerate() {
        let last = index + 1 == segments.len();
        match *segment {
            b"." if last => kept.push(b""),
            b"." => {}
            b".." => {
                if kept.len() > 1 {
                    kept.pop();
                }
                if last {
                    kept.push(b"");
                }
            }
            other => kept.push(other),
        }
    }
    kept.join(&b'/')
}

fn without_empty_segments(path: &[u8]) -> Vec<u8> {
    let mut merged: Vec<u8> = Vec::new();
    for byte in path {
        if *byte != b'/' || merged.last() != Some(&b'/') {
            merged.push(*byte);
        }
    }
    merged
}

/// As servlets read it: `/a;x=1/b` is `/a/b`.
fn without_parameters(path: &[u8]) -> Vec<u8> {
    let segments = path.split(|byte| *byte == b'/');
    let bare: Vec<&[u8]> =
        segments.map(|segment| segment.split(|byte| *byte == b';').next().unwrap_or_default()).collect();
    bare.join(&b'/')
}

/// As IIS and browsers read it.
fn with_slashes(path: &[u8]) -> Vec<u8> {
    path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect()
}

/// As C reads it.
fn until_nul(path: &[u8]) -> Vec<u8> {
    path.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}
