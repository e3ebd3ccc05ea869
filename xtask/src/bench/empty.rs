//! What the gate is measured against: the wasm filter that does nothing, whole and trimmed, and the one that makes the
//! hostcalls that any such filter makes.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;

use crate::wasm;
use crate::workspace::Workspace;

/// What Envoy must find in a filter that looks at request headers and gives its memory back. It does not call
/// what a module does not export, and each callback costs.
const NEEDED: &[&str] = &[
    "memory",
    "_initialize",
    "proxy_abi_version_0_2_1",
    "proxy_on_memory_allocate",
    "proxy_on_vm_start",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_request_headers",
    "proxy_on_delete",
];

/// Their paths.
pub(super) struct Empty {
    pub(super) trimmed: PathBuf,
    pub(super) untrimmed: PathBuf,
    pub(super) floor: PathBuf,
}

/// Builds them.
pub(super) fn build(workspace: &Workspace) -> Result<Empty> {
    let std = wasm::standard_library()?;
    let module = wasm::link(&std, workspace, "jwt-gate-empty-filter", "empty_filter")?;
    let at = |name: &str| workspace.target.join(name);
    let built = Empty {
        trimmed: at("empty_filter.trimmed.wasm"),
        untrimmed: at("empty_filter.wasm"),
        floor: at("floor_filter.wasm"),
    };
    fs::write(&built.floor, wasm::link(&std, workspace, "jwt-gate-floor-filter", "floor_filter")?)?;
    fs::write(&built.untrimmed, &module)?;
    fs::write(&built.trimmed, wasm::trimmed(&module, NEEDED)?)?;
    Ok(built)
}
