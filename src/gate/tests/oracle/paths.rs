//! What must hold of a path that passes without a token.

use jwt_gate::{Verdict, config};

use crate::readings::{STEPS, normalised, readings};
use crate::support::{Gate, request_of};

/// Rules of every kind that a path can be matched by.
const CONFIG: &str = "
providers: {app: {secrets: [{inline: oracle-0123456789-abcdefghij-ABCDEFG}]}}
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

/// Sends `target` without a token. Where it passes it is public however somebody else reads its path, and
/// nobody who normalises paths changes it. Whether it passed.
pub(crate) fn passes_and_reads_alike(target: &[u8]) -> bool {
    let headers = vec![(":method".to_owned(), b"GET".to_vec()), (":path".to_owned(), target.to_vec())];
    let decision = GATE.with(|gate| gate.decide(&request_of(&headers), 1_700_000_000.0));
    if let Verdict::Deny(..) = decision.verdict {
        return false;
    }
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    assert_eq!(normalised(path), path, "a canonical path is a fixed point");
    for reading in readings(path, &STEPS) {
        assert!(is_public(&reading), "{} is {}", path.escape_ascii(), reading.escape_ascii());
    }
    true
}

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
