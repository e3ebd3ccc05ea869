//! A feed of any length, and tokens that are not on it.

use jwt_gate_tests::{FakeFeed, FeedAnswer, FeedRequest, forge};
use serde_json::{Value, json};

/// As the companion has it.
const PAGE: u64 = 10_000;

/// A feed that has, at `/<n>`, n revocations: of ten, nine of a token and one of a subject.
pub(crate) fn feed() -> FakeFeed {
    FakeFeed::start(answer)
}

fn answer(request: &FeedRequest) -> FeedAnswer {
    let total: u64 = request.path.trim_start_matches('/').parse().unwrap_or(0);
    let start: u64 = request.since.as_deref().and_then(|since| since.parse().ok()).unwrap_or(0);
    let end = (start + PAGE).min(total);
    let expires = forge::now() + 86_400;
    let (subjects, tokens): (Vec<u64>, Vec<u64>) = (start..end).partition(|number| number % 10 == 0);
    let tokens: Vec<Value> = tokens.iter().map(|number| json!([name(*number), expires])).collect();
    let subjects: Vec<Value> =
        subjects.iter().map(|number| json!([name(*number), expires - 86_400, expires])).collect();
    FeedAnswer::page(&json!({"cursor": end.to_string(), "more": end < total, "jti": tokens, "sub": subjects}))
}

/// As long as the companion's ids.
fn name(number: u64) -> String {
    format!("{:032x}", u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}
