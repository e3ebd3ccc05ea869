//! Paths that everybody reads alike, and that no other path is public.

#![expect(clippy::unwrap_used, reason = "tests")]

use jwt_gate::{Verdict, config};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::paths::passes_and_reads_alike;
use crate::readings::{STEPS, normalised, percent_decoded, readings, without_parameters};
use crate::support::{Gate, request_of};

#[path = "oracle/paths.rs"]
mod paths;
#[path = "oracle/readings.rs"]
mod readings;
mod support;

/// Whatever is canonical is public here, and nothing else is.
const ALL_PUBLIC: &str = "
providers: {app: {secrets: [{inline: app-0123456789abcdef0123456789abcdef}]}}
rules: [{match: {prefix: /}}]
default: require
";

thread_local! {
    static GATE: Gate = Gate::new(config::read(ALL_PUBLIC.as_bytes()).unwrap(), &|_| None).unwrap();
}

fn is_canonical(path: &[u8]) -> bool {
    let headers = vec![(":method".to_owned(), b"GET".to_vec()), (":path".to_owned(), path.to_vec())];
    let decision = GATE.with(|gate| gate.decide(&request_of(&headers), 1_700_000_000.0));
    matches!(decision.verdict, Verdict::Allow(_))
}

/// What disguises are made of, beside any bytes.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&[u8]> = vec![
        b"/open",
        b"/public",
        b"/parted",
        b"/private",
        b"/v1",
        b"/feed",
        b"/",
        b"//",
        b"/.",
        b"/..",
        b"/...",
        b"/..;",
        b";x=1",
        b"/;x",
        b"%3b",
        b"%2f",
        b"%2F",
        b"\\",
        b"%5c",
        b"%2e",
        b"/%2e%2e",
        b"%252e",
        b"%00",
        b"%0a",
        b"%20",
        b"%c3%a9",
        b"%c0%ae",
        b"%61",
        b"%7e",
        b"%40",
        b"%",
        b"%2",
        b"%zz",
        b"#",
        b"%23",
        b"?",
        b"%3f",
        b"~",
        b"a",
        b"0",
        b"*",
        b"\xc3\xa9",
        b"\0",
    ];
    prop_oneof![8 => select(known).prop_map(<[u8]>::to_vec), 1 => vec(any::<u8>(), 1..4)]
}

fn any_path() -> impl Strategy<Value = Vec<u8>> {
    vec(piece(), 0..8).prop_map(|pieces| pieces.concat())
}

/// Paths as applications have them: letters, punctuation that needs no escape, and escapes of what does.
fn ordinary_path() -> impl Strategy<Value = String> {
    "(/([a-zA-Z0-9_~-]|%20|%C3%A9|%40){1,6}[a-z.,:@!$&'()*+=_~-]{0,3}[a-z]){0,4}/?"
        .prop_map(|path| if path.starts_with('/') { path } else { format!("/{path}") })
}

/// What somebody does to a path who wants it to be read differently.
const DISGUISES: &[&[u8]] = &[
    b"/.",
    b"/..",
    b"/./x",
    b"/../x",
    b"/..;/x",
    b"/..;a=b/x",
    b"/.;/x",
    b"//x",
    b"/;/x",
    b"/;a=b/x",
    b"/%3Bx/x",
    b"\\",
    b"\\..\\x",
    b"%2f",
    b"%2Fx",
    b"%5c",
    b"%2e",
    b"/%2e%2e/x",
    b"/.%2E",
    b"%252e",
    b"%25",
    b"%00",
    b"%0d%0a",
    b"%7f",
    b"%61",
    b"%7E",
    b"%5F",
    b"%",
    b"%2",
    b"%zz",
    b"%+1",
    b"#",
    b"#x",
    b" ",
    b"\t",
    b"\0",
    b"\x7f",
    b"\xc3\xa9",
    b"\xff",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_passes_without_a_token_is_public_however_it_is_read(path in any_path()) {
        passes_and_reads_alike(&path);
    }

    #[test]
    fn what_is_public_passes_with_ordinary_names_below_it(path in ordinary_path()) {
        prop_assume!(!path.starts_with("/private"));
        prop_assert!(passes_and_reads_alike(format!("/open{path}").as_bytes()), "{path}");
    }

    #[test]
    fn a_canonical_path_is_a_fixed_point_and_so_is_each_reading_of_it(any in any_path(), ordinary in ordinary_path()) {
        prop_assert!(is_canonical(ordinary.as_bytes()), "{ordinary}");
        for path in [any, ordinary.into_bytes()] {
            let path = path.split(|byte| *byte == b'?').next().unwrap().to_vec();
            if !is_canonical(&path) {
                continue;
            }
            prop_assert_eq!(&normalised(&path), &path);
            // Decoding once, and leaving parameters out, is all that can be done to it: no order of further steps
            // leads anywhere else.
            let decoded = percent_decoded(&path);
            let bare = without_parameters(&path);
            let stable = [&path, &decoded, &bare, &without_parameters(&decoded), &percent_decoded(&bare)];
            for reading in readings(&path, &STEPS) {
                prop_assert!(stable.contains(&&reading), "{} is {}", path.escape_ascii(), reading.escape_ascii());
            }
        }
    }

    #[test]
    fn one_disguise_anywhere_in_a_path_and_it_is_not_public(
        before in ordinary_path(),
        disguise in select(DISGUISES),
        after in ordinary_path(),
    ) {
        let path = [before.trim_end_matches('/').as_bytes(), disguise, after.as_bytes()].concat();
        prop_assert!(!is_canonical(&path), "{}", path.escape_ascii());
        prop_assert!(!passes_and_reads_alike(&[b"/open", &*path].concat()), "{}", path.escape_ascii());
    }
}
