//! What happens to the module after linking.

use anyhow::{Context, Result, bail};
use wasm_encoder::reencode::{Reencode, RoundtripReencoder};
use wasmparser::{ExportSectionReader, Parser, Payload};

/// What Envoy calls. The SDK exports every callback of the ABI, and Envoy enters the module for each that is
/// there, on each request: those that do nothing in this filter are cheaper absent.
const EXPORTS: &[&str] = &[
    "_initialize",
    "memory",
    "proxy_abi_version_0_2_1",
    "proxy_on_configure",
    "proxy_on_context_create",
    "proxy_on_delete",
    "proxy_on_http_call_response",
    "proxy_on_memory_allocate",
    "proxy_on_request_headers",
    "proxy_on_request_trailers",
    "proxy_on_tick",
    "proxy_on_vm_start",
];

/// The module as it is shipped: with only the exports that are used, and without the custom sections (names,
/// producers, target features), which nothing reads at run time.
pub(super) fn postprocess(module: &[u8]) -> Result<Vec<u8>> {
    wasmparser::validate(module)?;
    let mut kept = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        match &payload {
            Payload::CustomSection(_) => continue,
            Payload::ExportSection(exports) => {
                kept.section(&trimmed(exports.clone())?);
                continue;
            }
            _ => {}
        }
        if let Some((id, range)) = payload.as_section() {
            let range = usize::try_from(range.start)?..usize::try_from(range.end)?;
            let data = module.get(range).context("a section ends past the module")?;
            kept.section(&wasm_encoder::RawSection { id, data });
        }
    }
    let kept = kept.finish();
    wasmparser::validate(&kept)?;
    Ok(kept)
}

fn trimmed(exports: ExportSectionReader<'_>) -> Result<wasm_encoder::ExportSection> {
    let mut section = wasm_encoder::ExportSection::new();
    for export in exports {
        let export = export?;
        if EXPORTS.contains(&export.name) {
            section.export(export.name, RoundtripReencoder.export_kind(export.kind)?, export.index);
        }
    }
    if usize::try_from(section.len())? != EXPORTS.len() {
        bail!("the module does not export all of {EXPORTS:?}");
    }
    Ok(section)
}
