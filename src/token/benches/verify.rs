//! `cargo bench -p jwt-gate-token`: verification alone, by the clock.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use criterion::{Criterion, criterion_group, criterion_main};
use jwt_gate_token::{Expectations, Keyring, Refusal, Secret, issue, verify};
use serde_json::json;

const NOW: f64 = 1_700_000_000.0;

fn keyring(secret: &str) -> Keyring {
    Keyring::new([Secret::from_utf8(secret).unwrap()]).unwrap()
}

/// A token as the companion issues them.
fn token(keyring: &Keyring) -> String {
    let claims = json!({
        "sub": "0193e2a1-7f5c-7d1e-9b60-3a5d1c2b4e6f",
        "iss": "jwt-gate",
        "iat": 1_700_000_000,
        "exp": 1_700_086_400,
        "jti": "0193e2a1-7f5c-7d1e-9b60-000000000001",
        "email": "ada@example.com",
        "name": "Ada Lovelace",
    });
    issue(keyring, claims.as_object().unwrap()).unwrap()
}

fn verification(criterion: &mut Criterion) {
    let ours = keyring("bench-0123456789-abcdefghij-ABCDEFGHIJ-klmnopqrst");
    let theirs = keyring("other-0123456789-abcdefghij-ABCDEFGHIJ-klmnopqrst");
    let expectations = Expectations { issuer: Some("jwt-gate".to_owned()), ..Expectations::default() };
    let (good, forged) = (token(&ours), token(&theirs));
    assert!(verify(&good, &ours, &expectations, NOW).is_ok());
    assert_eq!(verify(&forged, &ours, &expectations, NOW).err(), Some(Refusal::UnknownKey));

    let mut group = criterion.benchmark_group("verify");
    group.bench_function("good", |bencher| bencher.iter(|| verify(&good, &ours, &expectations, NOW)));
    group.bench_function("bad signature", |bencher| {
        bencher.iter(|| verify(&forged, &ours, &expectations, NOW))
    });
    group.bench_function("no token", |bencher| bencher.iter(|| verify("a.b", &ours, &expectations, NOW)));
    group.finish();
}

criterion_group!(benches, verification);
criterion_main!(benches);
