//! The gate as a dynamic module in place of the wasm filter, with the same configuration.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Value, json};

/// With this variable set to `module`, every gate of a [`crate::Spec`] is the dynamic module.
const DELIVERY: &str = "JWT_GATE_DELIVERY";

/// Whether the gate under test is the dynamic module.
#[must_use]
pub fn is_module() -> bool {
    std::env::var(DELIVERY).is_ok_and(|delivery| delivery == "module")
}

/// The module to test: `$JWT_GATE_MODULE`, else a build of it.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn module() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| match std::env::var_os("JWT_GATE_MODULE") {
        Some(path) => path.into(),
        None => xtask::module::build().expect("the module builds"),
    })
}

/// Turns the wasm filters of one listener's `filters` into the dynamic module.
pub(crate) fn replace_all(filters: &mut Value, module: &Path) -> Vec<(String, String)> {
    let is_wasm = |filter: &Value| {
        filter["typed_config"]["@type"].as_str().is_some_and(|url| url.ends_with(".wasm.v3.Wasm"))
    };
    let wasm = filters.as_array_mut().into_iter().flatten().filter(|filter| is_wasm(filter));
    wasm.flat_map(|filter| replace(filter, module)).collect()
}

/// Turns every wasm filter of `listeners` into the dynamic module. Returns what has to be in Envoy's environment for it.
pub(crate) fn deliver(listeners: &mut [Value]) -> Vec<(String, String)> {
    let mut environment = Vec::new();
    for listener in listeners {
        let filters = &mut listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"];
        environment.extend(replace_all(filters, module()));
    }
    environment
}

fn replace(filter: &mut Value, module: &Path) -> Vec<(String, String)> {
    let config = filter["typed_config"]["config"].take();
    let variables = &config["vm_config"]["environment_variables"]["key_values"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let environment = variables
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect();
    filter["typed_config"] = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
        "dynamic_module_config": {
            "module": {"local": {"filename": module}},
            "do_not_close": true,
            // The names of the wasm filter's counters.
            "metrics_namespace": "wasmcustom",
        },
        "filter_name": config["root_id"],
        "filter_config": config["configuration"],
    });
    environment
}
