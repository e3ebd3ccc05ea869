//! The Kubernetes resources in `envoy/`.

use std::fs;
use std::path::Path;

use jwt_gate_tests::forge;
use serde_json::Value;

use crate::repository;

/// Every resource in these files of `envoy/`, or in all `*.yaml` of a folder.
pub(crate) fn resources(path: &str) -> Vec<Value> {
    let path = repository().join("envoy").join(path);
    let mut files = vec![path.clone()];
    if path.is_dir() {
        let entries = fs::read_dir(&path).expect("the folder").flatten().map(|entry| entry.path());
        files =
            entries.filter(|file| file.extension().is_some_and(|extension| extension == "yaml")).collect();
        files.sort();
    }
    files.iter().flat_map(|file| documents(file)).collect()
}

pub(crate) fn documents(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The only resource of this kind and name.
pub(crate) fn resource<'all>(all: &'all [Value], kind: &str, name: &str) -> &'all Value {
    let mut found =
        all.iter().filter(|resource| resource["kind"] == kind && resource["metadata"]["name"] == name);
    let first = found.next().unwrap_or_else(|| panic!("no {kind} {name}"));
    assert!(found.next().is_none(), "two of {kind} {name}");
    first
}

/// The environment that a container's `env` makes of a Secret `jwt-gate` with the tests' secret.
pub(crate) fn environment(container: &Value) -> Vec<(String, String)> {
    let variables = container["env"].as_array().expect("an environment");
    let value = |variable: &Value| {
        let from = &variable["valueFrom"]["secretKeyRef"];
        if from["name"] != "jwt-gate" || from["key"] != "BETTER_AUTH_SECRET" {
            assert!(variable["value"].is_string() || from["optional"] == true, "{variable} would be missing");
            return None;
        }
        Some((variable["name"].as_str()?.to_owned(), forge::SECRET.to_owned()))
    };
    variables.iter().filter_map(value).collect()
}
