//! A site: Envoy with the gate as `envoy/` configures it, somebody who signs people in, a FastAPI backend.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) use jwt_gate_tests::Server;
use jwt_gate_tests::{Envoy, Listener, Spec};
use serde_json::{Value, json};

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository").to_owned()
}

/// The gate's configuration in `envoy/envoy.yaml`, as it is shipped.
pub(crate) fn shipped_gate() -> Value {
    let text = fs::read_to_string(repository().join("envoy/envoy.yaml")).expect("envoy.yaml is there");
    gate_of(&serde_saphyr::from_str(&text).expect("envoy.yaml is YAML"))
}

/// The gate's configuration in a bootstrap like `envoy/envoy.yaml`.
pub(crate) fn gate_of(document: &Value) -> Value {
    let hcm = &document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    let gate =
        hcm["http_filters"].as_array().and_then(|filters| filters.iter().find(|f| f["name"] == "jwt_gate"));
    without_revocation(
        gate.expect("the gate is in it")["typed_config"]["config"]["configuration"]["value"].clone(),
    )
}

pub(crate) fn without_revocation(mut gate: Value) -> Value {
    // These sites' Envoys know no cluster of its name; another test follows the feed.
    if let Some(members) = gate.as_object_mut() {
        members.remove("revocation");
    }
    gate
}

/// An Envoy with `gate`: what begins with one of `auth_paths` goes to `auth`, the rest to `backend`.
pub(crate) fn front(gate: Value, auth_paths: &[&str], auth: u16, backend: u16) -> Envoy {
    let mut routes: Vec<Value> = auth_paths
        .iter()
        .map(|prefix| json!({"match": {"prefix": prefix}, "route": {"cluster": "auth"}}))
        .collect();
    routes.push(json!({"match": {"prefix": "/"}, "route": {"cluster": "application"}}));
    let listener = Listener::gated("site", gate).normalised().routes(Value::Array(routes));
    Spec::new().cluster("auth", auth).cluster("application", backend).listener(listener).start()
}

/// The output of a program that must succeed.
pub(crate) fn said(command: &mut Command, envoy: &Envoy) -> String {
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{text}\n{}", envoy.log());
    text
}
