//! Runs the real program.

#![allow(dead_code, reason = "each test needs a part of it")]

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// What the program wrote, and its exit status.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) status: i32,
}

/// Runs `jwt-gate` without any secret in its environment.
pub(crate) fn jwt_gate<Argument: AsRef<std::ffi::OsStr>>(arguments: &[Argument]) -> Ran {
    jwt_gate_with(&[], arguments)
}

/// Runs `jwt-gate` with these environment variables and no others.
pub(crate) fn jwt_gate_with<Argument: AsRef<std::ffi::OsStr>>(
    variables: &[(&str, &str)],
    arguments: &[Argument],
) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jwt-gate"));
    command.env_clear().envs(variables.iter().copied()).args(arguments);
    let output = command.output().expect("the program starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it writes text");
    Ran { out: text(output.stdout), err: text(output.stderr), status: output.status.code().expect("it ends") }
}

/// The repository.
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A folder with one file in it.
pub(crate) fn file(name: &str, text: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("the file is written");
    let path = path.to_str().expect("a path in UTF-8").to_owned();
    (folder, path)
}
