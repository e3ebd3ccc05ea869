//! A path that passes without a token is public however somebody else reads it, and nobody who normalises
//! paths changes it.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../src/gate/tests/oracle/paths.rs"]
mod paths;
#[path = "../../src/gate/tests/oracle/readings.rs"]
mod readings;
#[path = "../../src/gate/tests/support/mod.rs"]
mod support;

fuzz_target!(|target: &[u8]| {
    paths::passes_and_reads_alike(target);
});
