//! What happens to the module after linking.

use anyhow::{Context, Result};
use wasmparser::{Parser, Payload};

/// The module as it is shipped: without the custom sections (names, producers, target features), which
/// nothing reads at run time.
pub(super) fn postprocess(module: &[u8]) -> Result<Vec<u8>> {
    wasmparser::validate(module)?;
    let mut kept = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload?;
        if matches!(payload, Payload::CustomSection(_)) {
            continue;
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
