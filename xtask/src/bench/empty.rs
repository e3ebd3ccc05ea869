//! The wasm filter that does nothing, whole and trimmed.

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

/// The paths of the two.
pub(super) struct Empty {
    pub(super) trimmed: PathBuf,
    pub(super) untrimmed: PathBuf,
}

/// Builds both.
pub(super) fn build(workspace: &Workspace) -> Result<Empty> {
    let module = wasm::link(&wasm::standard_library()?, workspace, "jwt-gate-empty-filter", "empty_filter")?;
    let at = |name: &str| workspace.target.join(name);
    let built = Empty { trimmed: at("empty_filter.trimmed.wasm"), untrimmed: at("empty_filter.wasm") };
    fs::write(&built.untrimmed, &module)?;
    fs::write(&built.trimmed, wasm::trimmed(&module, NEEDED)?)?;
    Ok(built)
}
