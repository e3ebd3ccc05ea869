//! Envoy's clock jumps by an hour, there and back.

use std::path::{Path, PathBuf};
use std::process::Command;

use jwt_gate_tests::{Listener, Request, Spec, forge};
use serde_json::{Value, json};
use tempfile::TempDir;

const HOUR: u64 = 3600;

/// `clock.c`, compiled.
fn library(directory: &TempDir) -> PathBuf {
    let library = directory.path().join("clock.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("faults/clock.c");
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
    assert!(compiled.is_ok_and(|status| status.success()), "the C compiler that every build needs");
    library
}

#[test]
fn after_a_jump_of_envoys_clock_tokens_are_judged_by_the_new_time_and_nothing_else_changes() {
    let directory = TempDir::new().unwrap();
    let clock = directory.path().join("clock");
    let set = |offset: &str| {
        let new = clock.with_extension("new");
        std::fs::write(&new, format!("{offset}\n")).unwrap();
        std::fs::rename(&new, &clock).unwrap();
    };
    set("0");
    let config = json!({
        "providers": {"app": {
            "secrets": [{"env": "BETTER_AUTH_SECRET"}],
            "claim_to_headers": [{"header_name": "x-user-id", "claim_name": "sub", "required": true}],
        }},
        "default": "require",
    });
    let envoy = Spec::new()
        .listener(Listener::gated("gate", config))
        .environment("LD_PRELOAD", &library(&directory).display().to_string())
        .environment("CLOCK_OFFSET", &clock.display().to_string())
        .start();
    let outcome = |token: &str| {
        let answer = Request::get("/api").bearer(token).header("x-user-id", "root").send(envoy.port("gate"));
        match answer.seen() {
            Some(seen) => seen.all("x-user-id").join(","),
            None => answer.code(),
        }
    };
    let made = |at: u64| -> String {
        let times: Value = json!({"iat": at, "exp": at + 600});
        forge::token("user_1", times)
    };
    let (now, earlier, later) = (made(forge::now()), made(forge::now() - HOUR), made(forge::now() + HOUR));
    let outcomes = || [outcome(&earlier), outcome(&now), outcome(&later)];
    assert_eq!(outcomes(), ["expired", "user_1", "not_yet_valid"]);
    set(&HOUR.to_string());
    assert_eq!(outcomes(), ["expired", "expired", "user_1"], "also a token that was remembered");
    set(&format!("-{HOUR}"));
    assert_eq!(outcomes(), ["user_1", "not_yet_valid", "not_yet_valid"]);
    set("0");
    assert_eq!(outcomes(), ["expired", "user_1", "not_yet_valid"]);
}
