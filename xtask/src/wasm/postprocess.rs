//! What happens to the module after linking.

use anyhow::{Result, bail};
use walrus::ModuleConfig;

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

/// The filter as it is shipped.
pub(super) fn postprocess(module: &[u8]) -> Result<Vec<u8>> {
    trimmed(module, EXPORTS)
}

/// The same, but with the names of its functions.
pub(super) fn postprocess_with_names(module: &[u8]) -> Result<Vec<u8>> {
    trim(module, EXPORTS, true)
}

/// The module with these exports only and what they reach, and without the custom sections (names, producers,
/// target features), which nothing reads at run time.
///
/// # Errors
/// Where it is no module, or lacks one of `exports`.
pub fn trimmed(module: &[u8], exports: &[&str]) -> Result<Vec<u8>> {
    trim(module, exports, false)
}

fn trim(module: &[u8], exports: &[&str], names: bool) -> Result<Vec<u8>> {
    let mut config = ModuleConfig::new();
    let mut module = config.generate_name_section(names).generate_producers_section(false).parse(module)?;
    let unused = module.exports.iter().filter(|export| !exports.contains(&export.name.as_str()));
    for export in unused.map(|export| export.id()).collect::<Vec<_>>() {
        module.exports.delete(export);
    }
    if module.exports.iter().count() != exports.len() {
        bail!("the module does not export all of {exports:?}");
    }
    for section in module.customs.iter().map(|(id, _)| id).collect::<Vec<_>>() {
        module.customs.delete(section);
    }
    walrus::passes::gc::run(&mut module);
    let module = module.emit_wasm();
    wasmparser::validate(&module)?;
    Ok(module)
}

#[cfg(test)]
mod tests {
    use super::*;
    use walrus::{FunctionBuilder, Module};

    #[test]
    fn what_is_not_named_is_not_exported_and_what_only_it_reached_is_gone() {
        let mut module = Module::default();
        for name in ["memory", "proxy_on_delete", "proxy_on_log"] {
            let function =
                FunctionBuilder::new(&mut module.types, &[], &[]).finish(vec![], &mut module.funcs);
            module.exports.add(name, function);
        }
        let module = module.emit_wasm();
        let trimmed = trimmed(&module, &["memory", "proxy_on_delete"]).unwrap();
        let left = Module::from_buffer(&trimmed).unwrap();
        let names: Vec<&str> = left.exports.iter().map(|export| export.name.as_str()).collect();
        assert_eq!((names.as_slice(), left.funcs.iter().count()), (&["memory", "proxy_on_delete"][..], 2));
        assert!(super::trimmed(&module, &["memory", "proxy_on_tick"]).is_err(), "what is missing is noticed");
    }
}
