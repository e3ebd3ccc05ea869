//! Whoever builds the filter from the same source gets the same bytes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, os};

use sha2::{Digest, Sha256};
use xtask::wasm;
use xtask::workspace::Workspace;

/// Copies what git has of the workspace, and what it would take, as it lies there.
fn check_out(from: &Path, to: &Path) {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let list = Command::new("git").current_dir(from).args(list).output().expect("git starts");
    assert!(list.status.success(), "{}", String::from_utf8_lossy(&list.stderr));
    for file in String::from_utf8(list.stdout).expect("UTF-8").split_terminator('\0') {
        let copy = to.join(file);
        fs::create_dir_all(copy.parent().expect("a folder")).expect("the folder is made");
        // A file that was removed and not committed yet is on the list, too.
        if from.join(file).is_file() {
            fs::copy(from.join(file), copy).expect("the file is copied");
        }
    }
}

/// `cargo xtask wasm` for somebody whose checkout, target directory and `CARGO_HOME` are in `home`.
fn build_in(home: &Path, here: &Workspace) -> PathBuf {
    let [root, target, cargo_home] = ["checkout", "target", "cargo"].map(|name| home.join(name));
    check_out(&here.root, &root);
    // The same crates, under another path.
    let set = env::var_os("CARGO_HOME").filter(|set| !set.is_empty()).map(PathBuf::from);
    let ours = set.or_else(|| env::home_dir().map(|home| home.join(".cargo"))).expect("a home");
    os::unix::fs::symlink(ours, &cargo_home).expect("a link");
    let built = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .arg("wasm")
        .current_dir(&root)
        .env("CARGO_MANIFEST_DIR", root.join("xtask"))
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_HOME", &cargo_home)
        .status();
    assert!(built.is_ok_and(|status| status.success()), "it is not built there");
    target.join("jwt_gate.wasm")
}

#[test]
fn two_builds_of_the_filter_in_different_folders_are_the_same_bytes() {
    let here = Workspace::locate().expect("a workspace");
    let home = tempfile::Builder::new().prefix("somebody-else-").tempdir().expect("a directory");
    let modules = [wasm::build().expect("the filter is built"), build_in(home.path(), &here)];
    let [ours, theirs] = modules.map(|module| fs::read(module).expect("the module"));
    let sha256 = |module: &[u8]| -> String {
        Sha256::digest(module).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    assert_eq!(sha256(&ours), sha256(&theirs));
    let text = "somebody-else-".as_bytes();
    assert!(!theirs.windows(text.len()).any(|window| window == text), "it names where it was built");
}
