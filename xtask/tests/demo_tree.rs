//! The first `cargo xtask demo` compiles what it needs, and no more.

use xtask::command;
use xtask::workspace::{Workspace, cargo};

/// The packages that `cargo run --package xtask` compiles, with these features.
fn packages(features: &str) -> String {
    let root = Workspace::locate().expect("the workspace").root;
    let tree = ["tree", "--locked", "--package", "xtask", "--edges", "normal,build", "--prefix", "none"];
    command::stdout(cargo().current_dir(root).args(tree).args(["--features", features])).expect("cargo tree")
}

#[test]
fn the_demo_compiles_nothing_that_only_benchmarks_and_the_trimming_of_modules_use() {
    let (demo, all) = (packages(""), packages("tools"));
    for package in ["walrus", "wasmparser", "plotters", "hmac", "sha2", "gimli"] {
        let name = format!("{package} v");
        let has = |tree: &str| tree.lines().any(|line| line.starts_with(&name));
        assert!(has(&all) && !has(&demo), "{package}:\n{demo}");
    }
}
