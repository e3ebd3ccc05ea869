//! What runs on the machine that builds the filter is what docs/supply-chain.md lists, and needs no network; what it is
//! built from is in the record of who read it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use xtask::workspace::{Workspace, cargo};

/// What a build script that fetches something would hold.
const NETWORK: &[&str] =
    &["std::net", "TcpStream", "UdpSocket", "reqwest", "ureq", "curl", "wget", "git clone"];

/// The packages that are compiled for the filter, as `cargo metadata` tells them: the gate's own and build
/// dependencies, and theirs.
fn tree() -> Vec<Value> {
    let root = Workspace::locate().expect("a workspace").root;
    let metadata = cargo()
        .current_dir(root)
        // Not `--offline`: of a package that is for another platform, cargo may not have the source yet.
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(["--filter-platform", "wasm32-wasip1"])
        .output()
        .expect("cargo metadata");
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: Value = serde_json::from_slice(&metadata.stdout).expect("JSON");
    let by_id = |list: &Value| -> BTreeMap<String, Value> {
        let items = list.as_array().cloned().unwrap_or_default().into_iter();
        items.map(|item| (item["id"].as_str().unwrap_or_default().to_owned(), item)).collect()
    };
    let (packages, nodes) = (by_id(&metadata["packages"]), by_id(&metadata["resolve"]["nodes"]));
    let gate = packages.values().find(|package| package["name"] == "jwt-gate-wasm").expect("the gate");
    let mut found = BTreeSet::new();
    let mut left = vec![gate["id"].as_str().expect("an id").to_owned()];
    while let Some(id) = left.pop() {
        if !found.insert(id.clone()) {
            continue;
        }
        for dependency in nodes[&id]["deps"].as_array().into_iter().flatten() {
            let kinds = dependency["dep_kinds"].as_array().cloned().unwrap_or_default();
            if kinds.iter().any(|kind| kind["kind"] != "dev") {
                left.push(dependency["pkg"].as_str().expect("an id").to_owned());
            }
        }
    }
    found.iter().map(|id| packages[id].clone()).collect()
}

/// The targets of `package` that run at build time: kind and source.
fn at_build_time(package: &Value) -> Vec<(&'static str, String)> {
    let targets = package["targets"].as_array().cloned().unwrap_or_default();
    let of = |target: &Value| {
        let kinds = target["kind"].as_array().cloned().unwrap_or_default();
        let is = |wanted: &str| kinds.iter().any(|kind| kind == wanted);
        let kind = if is("custom-build") {
            "script"
        } else if is("proc-macro") {
            "macro"
        } else {
            return None;
        };
        Some((kind, target["src_path"].as_str().unwrap_or_default().to_owned()))
    };
    targets.iter().filter_map(of).collect()
}

#[test]
fn what_runs_at_build_time_is_listed_and_does_not_reach_for_the_network() {
    let root = Workspace::locate().expect("a workspace").root;
    let document = fs::read_to_string(root.join("docs/supply-chain.md")).expect("the document");
    let listed: BTreeSet<(String, String)> = document
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            Some((cells.next()?.to_owned(), cells.next()?.to_owned()))
        })
        .filter(|(_, kind)| ["script", "macro"].contains(&kind.as_str()))
        .collect();
    let mut found = BTreeSet::new();
    for package in tree() {
        let name = package["name"].as_str().expect("a name").to_owned();
        for (kind, source) in at_build_time(&package) {
            found.insert((name.clone(), kind.to_owned()));
            let text = fs::read_to_string(&source).unwrap_or_else(|error| panic!("{source}: {error}"));
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                let word = NETWORK.iter().find(|word| line.contains(**word));
                assert!(word.is_none(), "{name}: {source} mentions {word:?}: {line}");
            }
        }
    }
    // Optional parts (schemars, for the JSON Schema) are in cargo's resolution for the whole workspace, and in
    // no filter.
    for schema in ["ref-cast", "ref-cast-impl", "schemars_derive"] {
        found.retain(|(name, _)| name != schema);
    }
    assert_eq!(found, listed, "read what is new, then list it in docs/supply-chain.md");
}

#[test]
fn of_every_crate_in_the_gates_tree_the_record_says_who_read_it_or_what_was_not_read() {
    let root = Workspace::locate().expect("a workspace").root.join("supply-chain");
    let record =
        ["audits.toml", "config.toml"].map(|file| fs::read_to_string(root.join(file)).expect("a record"));
    let entries: Vec<&str> = record.iter().flat_map(|file| file.split("\n[[")).collect();
    let is_noted = |name: &str, version: &str| {
        let heads = [format!("audits.{name}]]"), format!("exemptions.{name}]]")];
        let version = format!("version = \"{version}\"");
        entries.iter().any(|entry| {
            heads.iter().any(|head| entry.starts_with(head.as_str()))
                && entry.lines().any(|line| line == version)
                && entry.contains("\nnotes = ")
        })
    };
    let text = |package: &Value, field: &str| package[field].as_str().expect(field).to_owned();
    let from_registry = tree().into_iter().filter(|package| !package["source"].is_null());
    let missing: Vec<String> = from_registry
        .map(|package| (text(&package, "name"), text(&package, "version")))
        .filter(|(name, version)| !is_noted(name, version))
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    assert!(missing.is_empty(), "docs/supply-chain.md says how to record them: {missing:?}");
}

#[test]
fn the_gates_tree_resolves_and_compiles_without_a_network() {
    let root = Workspace::locate().expect("a workspace").root;
    let may = Command::new("unshare").args(["--net", "true"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        return skipped(
            "the_gates_tree_resolves_and_compiles_without_a_network",
            "unshare --net is not allowed here",
        );
    }
    fetch(&root);
    let built = Command::new("unshare")
        .arg("--net")
        .arg(cargo().get_program())
        .current_dir(&root)
        .args(["build", "--package", "jwt-gate-wasm", "--locked", "--offline", "--quiet"])
        .output()
        .expect("cargo");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
}

/// Fetches the sources of all packages. The build that follows has no network, and this test may be the first command
/// that runs on a machine.
fn fetch(root: &Path) {
    let fetched = cargo().current_dir(root).args(["fetch", "--locked", "--quiet"]).output().expect("cargo");
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
}

/// As the other tests name what could not run.
fn skipped(test: &str, reason: &str) {
    println!("skipped: {test}: {reason}");
    let Some(log) = std::env::var_os("JWT_GATE_SKIP_LOG") else { return };
    let written = fs::OpenOptions::new().create(true).append(true).open(Path::new(&log));
    if let Ok(mut log) = written {
        let _ = std::io::Write::write_all(&mut log, format!("{test}: {reason}\n").as_bytes());
    }
}
