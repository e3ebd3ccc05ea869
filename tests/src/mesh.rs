//! Filters delivered as a mesh delivers them: discovered (ECDS), configured by JSON text, with the secret in
//! Envoy's own environment.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

/// With this variable set to `mesh`, every [`crate::Spec`] is delivered so.
const DELIVERY: &str = "JWT_GATE_DELIVERY";

/// Whether the tests are asked to have it so.
pub(crate) fn delivers() -> bool {
    std::env::var(DELIVERY).is_ok_and(|delivery| delivery == "mesh")
}

/// Moves every wasm filter of `listeners` into a file of its own in `directory` that Envoy discovers it in.
/// Returns what has to be in Envoy's environment for it.
pub(crate) fn deliver(listeners: &mut [Value], directory: &Path) -> Vec<(String, String)> {
    let mut environment = Vec::new();
    for listener in listeners {
        let name = listener["name"].as_str().unwrap_or_default().to_owned();
        let filters = &mut listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"];
        for (index, filter) in filters.as_array_mut().into_iter().flatten().enumerate() {
            let type_url = filter["typed_config"]["@type"].as_str().unwrap_or_default().to_owned();
            if type_url.ends_with(".wasm.v3.Wasm") {
                let config = &mut filter["typed_config"]["config"];
                as_text(&mut config["configuration"]);
                environment.extend(from_the_host(&mut config["vm_config"]["environment_variables"]));
                let file = directory.join(format!("{name}-{index}.ecds.json"));
                discover(filter, &type_url, &file);
            }
        }
    }
    environment
}

/// A `Struct` as JSON text.
fn as_text(configuration: &mut Value) {
    if configuration["value"].is_object() {
        let text = configuration["value"].to_string();
        *configuration = json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text});
    }
}

/// Variables with a value become variables of Envoy's.
fn from_the_host(variables: &mut Value) -> Vec<(String, String)> {
    let values: Map<String, Value> = variables["key_values"].as_object().cloned().unwrap_or_default();
    let Some(members) = variables.as_object_mut() else { return Vec::new() };
    members.remove("key_values");
    let keys = members.entry("host_env_keys").or_insert_with(|| json!([]));
    let mut moved = Vec::new();
    for (name, value) in values {
        if let (Some(keys), Some(value)) = (keys.as_array_mut(), value.as_str()) {
            keys.push(json!(name));
            moved.push((name, value.to_owned()));
        }
    }
    moved
}

fn discover(filter: &mut Value, type_url: &str, file: &Path) {
    let resource = json!({
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": filter["name"],
        "typed_config": filter["typed_config"],
    });
    let response = json!({"version_info": "1", "resources": [resource]});
    fs::write(file, response.to_string()).expect("the filter is written");
    *filter = json!({
        "name": filter["name"],
        "disabled": filter["disabled"] == true,
        "config_discovery": {
            "config_source": {"resource_api_version": "V3", "path_config_source": {"path": file}},
            "type_urls": [type_url],
        },
    });
}
