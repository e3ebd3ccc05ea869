//! The wasm filter that does nothing, whole and trimmed.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use wasm_encoder::{ExportSection, RawSection};
use wasmparser::{ExternalKind, Parser, Payload};

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
    fs::write(&built.trimmed, trimmed(&module)?)?;
    Ok(built)
}

/// The module without the exports that are not [`NEEDED`].
fn trimmed(module: &[u8]) -> Result<Vec<u8>> {
    let mut kept = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        if let Payload::ExportSection(exports) = &payload {
            let mut section = ExportSection::new();
            for export in exports.clone() {
                let export = export?;
                if NEEDED.contains(&export.name) {
                    section.export(export.name, kind(export.kind), export.index);
                }
            }
            kept.section(&section);
        } else if let Some((id, range)) = payload.as_section() {
            let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
            kept.section(&RawSection { id, data: module.get(range).unwrap_or_default() });
        }
    }
    let kept = kept.finish();
    wasmparser::validate(&kept)?;
    Ok(kept)
}

fn kind(kind: ExternalKind) -> wasm_encoder::ExportKind {
    match kind {
        ExternalKind::Memory => wasm_encoder::ExportKind::Memory,
        ExternalKind::Table => wasm_encoder::ExportKind::Table,
        ExternalKind::Global => wasm_encoder::ExportKind::Global,
        ExternalKind::Tag => wasm_encoder::ExportKind::Tag,
        _ => wasm_encoder::ExportKind::Func,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_envoy_has_to_call_stays_exported() {
        let mut exports = ExportSection::new();
        for name in ["memory", "proxy_on_delete", "proxy_on_log"] {
            exports.export(name, wasm_encoder::ExportKind::Func, 0);
        }
        let mut types = wasm_encoder::TypeSection::new();
        types.ty().function([], []);
        let mut functions = wasm_encoder::FunctionSection::new();
        functions.function(0);
        let mut code = wasm_encoder::CodeSection::new();
        let mut nothing = wasm_encoder::Function::new([]);
        nothing.instruction(&wasm_encoder::Instruction::End);
        code.function(&nothing);
        let mut module = wasm_encoder::Module::new();
        module.section(&types).section(&functions).section(&exports).section(&code);

        let trimmed = trimmed(&module.finish()).unwrap();
        let names: Vec<String> = Parser::new(0)
            .parse_all(&trimmed)
            .filter_map(|payload| match payload.unwrap() {
                Payload::ExportSection(exports) => Some(exports),
                _ => None,
            })
            .flatten()
            .map(|export| export.unwrap().name.to_owned())
            .collect();
        assert_eq!(names, ["memory", "proxy_on_delete"]);
    }
}
