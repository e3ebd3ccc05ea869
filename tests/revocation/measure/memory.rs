//! What a list costs Envoy in memory.

use jwt_gate_tests::{Listener, Request, Spec, forge};
use serde_json::json;

use crate::cpu::resident_kib;
use crate::rounds;
use crate::stack::{config, wait_for};

const LENGTHS: [u64; 3] = [0, 10_000, 1_000_000];

pub(crate) fn table() -> String {
    let mut table = String::from(
        "| workers | VMs that follow | revocations | Envoy's memory (RSS) | more than with none | each, in each VM |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for workers in [1, 4] {
        let mut empty_kib = 0;
        for length in LENGTHS {
            let (resident, vms) = measured(workers, length);
            if length == 0 {
                empty_kib = resident;
            }
            let more = resident.saturating_sub(empty_kib);
            let each = match length {
                1_000_000 => format!("{:.1} bytes", more as f64 * 1024.0 / (length * vms) as f64),
                _ => "–".to_owned(),
            };
            table += &format!(
                "| {workers} | {vms} | {length} | {:.1} MiB | {:.1} MiB | {each} |\n",
                resident as f64 / 1024.0,
                more as f64 / 1024.0
            );
        }
    }
    table
}

/// Envoy's resident memory in KiB once every VM has the list, and how many VMs there are.
fn measured(workers: u32, length: u64) -> (u64, u64) {
    let feed = rounds::feed();
    let path = format!("/{length}");
    let mut config = config(&json!({"path": path}));
    config["revocation"]["interval_ms"] = json!(500);
    let envoy = Spec::new()
        .concurrency(workers)
        .cluster("companion", feed.port())
        .listener(Listener::gated("app", config))
        .start();
    // Envoy's main thread has a VM too, which follows the feed as the workers' do.
    let vms = u64::from(workers) + 1;
    let pages = (length / 10_000).max(1);
    wait_for("every VM has the list", || {
        let token = forge::token("user_1", json!({"jti": "j"}));
        Request::get("/notes").bearer(token).send(envoy.port("app")).reached();
        (feed.asked(&path) >= vms * (pages + 2)).then_some(())
    });
    assert_eq!(envoy.admin().counter("jwt_gate.revocation.entries"), length);
    (resident_kib(envoy.id()), vms)
}
