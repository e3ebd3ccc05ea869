//! What a look-up costs inside the VM: the gate's module in V8, without Envoy around it.

use std::path::Path;
use std::process::Command;

use jwt_gate_tests::{forge, wasm};
use serde_json::Value;
use xtask::{command, system};

use crate::numbers::{difference_interval, median, quantile};

/// As in [`crate::request_cost`].
const UNDISTURBED: f64 = 0.1;

pub(crate) fn table() -> String {
    system::ensure(&system::NODE).expect("Node is there or can be installed");
    let node = command::on_path("node").expect("Node is installed");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("revocation/measure/vm.mjs");
    let output = Command::new(node).arg(script).arg(wasm()).arg(forge::SECRET).output().expect("Node starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lists: Vec<(Option<u64>, Vec<f64>)> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|list| {
            let blocks = list["nanoseconds"].as_array().expect("an array").iter().filter_map(Value::as_f64);
            (list["list"].as_u64(), blocks.collect())
        })
        .collect();
    let (_, without) = lists.first().expect("the first is the one without");
    let mut table = String::from(
        "| list | time in the VM a request | median | more than without `revocation` | 95 % interval |\n\
         | --- | ---: | ---: | ---: | ---: |\n",
    );
    for (list, blocks) in &lists {
        let undisturbed = quantile(blocks, UNDISTURBED);
        table += &match list {
            None => format!("| no `revocation` | {undisturbed:.0} ns | {:.0} ns | | |\n", median(blocks)),
            Some(length) => {
                let (low, high) = difference_interval(blocks, without, UNDISTURBED);
                format!(
                    "| {length} revocations | {undisturbed:.0} ns | {:.0} ns | {:+.0} ns | {low:+.0} to {high:+.0} ns |\n",
                    median(blocks),
                    undisturbed - quantile(without, UNDISTURBED)
                )
            }
        };
    }
    table
}
