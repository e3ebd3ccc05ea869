//! Filters that change a request after the gate has judged it.

use serde_json::Value;

use super::envoy::type_of;

/// Whether a filter changes where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rewrites {
    Yes,
    Perhaps,
    No,
}

/// Whether a filter with this configuration changes path, method or host.
pub(super) fn of(typed_config: &Value) -> Rewrites {
    /// Filters that run code, or ask somebody, and may change anything.
    const MAY: &[&str] =
        &["Wasm", "DynamicModuleFilter", "ExternalProcessor", "ExtAuthz", "GrpcJsonTranscoder", "Lua"];
    let kind = type_of(typed_config).rsplit('.').next().unwrap_or_default();
    let names_pseudo_header = || {
        let text = typed_config.to_string();
        [":path", ":method", ":authority"].iter().any(|name| text.contains(name))
    };
    match kind {
        "HeaderMutation" | "Lua" if names_pseudo_header() => Rewrites::Yes,
        kind if MAY.contains(&kind) => Rewrites::Perhaps,
        // Envoy's Go filter is called `Config`.
        "Config" if type_of(typed_config).contains(".golang.") => Rewrites::Perhaps,
        _ => Rewrites::No,
    }
}
