//! Every resource, by the schema that its API server checks it with.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use jwt_gate_tests::{Node, Python, skipped};
use serde_json::{Value, json};
use xtask::command::stdout;

use crate::repository;
use crate::resources::{documents, resources};

/// No package that can be fetched here has the schemas of these kinds.
const WITHOUT_A_SCHEMA: [&str; 2] = ["ClientTrafficPolicy", "EnvoyProxy"];

fn folders() -> Vec<Value> {
    ["istio", "gateway", "kubernetes/companion", "kubernetes/gateway"]
        .into_iter()
        .flat_map(resources)
        .collect()
}

/// Everything in the manifests that goes to an API server.
fn resources_for_a_server() -> Vec<Value> {
    let all = folders().into_iter().filter(|resource| resource["kind"].is_string());
    all.filter(|resource| resource["kind"] != "Kustomization").collect()
}

fn of_group(suffix: &str) -> Vec<Value> {
    let all = resources_for_a_server().into_iter();
    all.filter(|resource| {
        resource["apiVersion"].as_str().is_some_and(|version| group(version).ends_with(suffix))
    })
    .collect()
}

fn group(version: &str) -> &str {
    version.split_once('/').map_or("", |(group, _)| group)
}

/// The schema of a custom resource, closed as an API server's strict field validation has it: an unknown field is an error.
fn custom(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/crds").join(file);
    let definition = documents(&path).swap_remove(0);
    let mut schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    for field in ["apiVersion", "kind", "metadata"] {
        schema["properties"][field] = json!({});
    }
    close(&mut schema);
    schema
}

fn close(schema: &mut Value) {
    let open = schema["x-kubernetes-preserve-unknown-fields"] == true;
    if schema["properties"].is_object() && !open && schema.get("additionalProperties").is_none() {
        schema["additionalProperties"] = json!(false);
    }
    match schema {
        Value::Object(members) => members.values_mut().for_each(close),
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

#[test]
fn wasm_plugin_and_extension_policy_are_valid_by_their_definitions() {
    for (file, folder, kind) in [
        ("istio-wasmplugin.yaml", "istio", "WasmPlugin"),
        ("envoy-gateway-envoyextensionpolicy.yaml", "gateway", "EnvoyExtensionPolicy"),
    ] {
        let validator = jsonschema::validator_for(&custom(file)).expect("a schema");
        let all = resources(folder);
        let ours = all.iter().find(|resource| resource["kind"] == kind).expect("it is there");
        let errors: Vec<_> =
            validator.iter_errors(ours).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{kind}: {errors:#?}");
        // The control: a misspelt field is seen.
        let mut misspelt = ours.clone();
        misspelt["spec"]["phaze"] = json!("AUTHN");
        assert!(!validator.is_valid(&misspelt), "{kind}");
    }
}

#[test]
fn a_sidecars_filter_is_told_as_the_docs_say_to_guard_what_comes_in_alone() {
    let page = fs::read_to_string(repository().join("docs/deploy/istio.md")).expect("the page");
    let block = page.split("```yaml").skip(1).filter_map(|rest| rest.split("```").next());
    let block = block.into_iter().find(|block| block.contains("match:")).expect("the fields for a sidecar");
    let fields: Value = serde_saphyr::from_str(block).expect("YAML");
    assert_eq!(fields["spec"]["match"], json!([{"mode": "SERVER"}]));
    let all = resources("istio");
    let mut plugin = all.into_iter().find(|resource| resource["kind"] == "WasmPlugin").expect("the filter");
    plugin["spec"]["match"] = fields["spec"]["match"].clone();
    let validator = jsonschema::validator_for(&custom("istio-wasmplugin.yaml")).expect("a schema");
    assert!(validator.is_valid(&plugin));
    plugin["spec"]["match"][0]["mode"] = json!("INBOUND");
    assert!(!validator.is_valid(&plugin), "the control");
}

#[test]
fn whoever_balances_load_keeps_the_clients_address() {
    let services: Vec<_> =
        folders().into_iter().filter(|resource| resource["spec"]["type"] == "LoadBalancer").collect();
    assert!(services.len() >= 2, "they were found");
    for service in services {
        assert_eq!(service["spec"]["externalTrafficPolicy"], "Local", "{service}");
    }
}

/// `resources` in a file of their own.
fn written(resources: &[Value]) -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().expect("a directory");
    let file = home.path().join("resources.json");
    fs::write(&file, Value::from(resources.to_vec()).to_string()).expect("they are written");
    (home, file)
}

fn refused(mut validator: Command, resources: &[Value]) -> Option<String> {
    let (_home, file) = written(resources);
    stdout(validator.arg(file)).err().map(|error| format!("{error:#}"))
}

#[test]
fn kubernetes_own_resources_are_valid_by_kubernetes_schemas() {
    let python = match Python::kubernetes() {
        Ok(python) => python,
        Err(reason) => return skipped("kubernetes_own_resources_are_valid_by_kubernetes_schemas", reason),
    };
    let own = |resource: &Value| {
        let group = group(resource["apiVersion"].as_str().unwrap_or_default());
        !group.contains('.') || group == "networking.k8s.io"
    };
    let ours: Vec<_> = resources_for_a_server().into_iter().filter(own).collect();
    assert!(ours.len() > 20, "they were found");
    let validate = || python.script_of("kubernetes/validate.py");
    assert_eq!(refused(validate(), &ours), None);
    let mut misspelt = ours.iter().find(|resource| resource["kind"] == "Deployment").expect("one").clone();
    misspelt["spec"]["replicsa"] = json!(3);
    assert!(refused(validate(), &[misspelt]).is_some_and(|error| error.contains("replicsa")), "the control");
}

#[test]
fn istios_and_gateway_apis_other_resources_are_valid_by_their_schemas() {
    let node = match Node::shared() {
        Ok(node) => node,
        Err(reason) => {
            return skipped("istios_and_gateway_apis_other_resources_are_valid_by_their_schemas", reason);
        }
    };
    let mut ours = of_group("istio.io");
    ours.extend(of_group("gateway.networking.k8s.io"));
    assert!(ours.len() > 10, "they were found");
    let validate = || node.script("../kubernetes/validate.mjs");
    assert_eq!(refused(validate(), &ours), None);
    let mut misspelt =
        ours.iter().find(|resource| resource["kind"] == "AuthorizationPolicy").expect("one").clone();
    misspelt["spec"]["actoin"] = json!("ALLOW");
    assert!(refused(validate(), &[misspelt]).is_some_and(|error| error.contains("actoin")), "the control");
}

#[test]
fn the_kinds_that_no_schema_was_found_for_are_known() {
    let known: BTreeSet<String> = of_group("gateway.envoyproxy.io")
        .iter()
        .map(|resource| resource["kind"].as_str().unwrap_or_default().to_owned())
        .collect();
    let mut expected = BTreeSet::from(WITHOUT_A_SCHEMA.map(str::to_owned));
    expected.insert("EnvoyExtensionPolicy".to_owned());
    assert_eq!(known, expected);
}

#[test]
fn workflows_and_compose_file_are_valid_by_their_schemas() {
    let python = match Python::kubernetes() {
        Ok(python) => python,
        Err(reason) => return skipped("workflows_and_compose_file_are_valid_by_their_schemas", reason),
    };
    let root = repository();
    let check = |schema: &str, file: &Path| {
        let mut command = python.module("check_jsonschema");
        stdout(command.args(["--builtin-schema", schema]).arg(file))
            .map(drop)
            .map_err(|error| format!("{error:#}"))
    };
    let workflows = fs::read_dir(root.join(".github/workflows")).expect("the workflows").flatten();
    let workflows: Vec<_> = workflows.map(|file| file.path()).collect();
    assert_eq!(workflows.len(), 2, "{workflows:?}");
    for workflow in &workflows {
        assert_eq!(check("vendor.github-workflows", workflow), Ok(()));
        // An action of one commit, or at least of one version: not of whatever a branch or `v4` is today.
        let text = fs::read_to_string(workflow).expect("the workflow");
        for uses in text.lines().filter_map(|line| line.trim().strip_prefix("- uses: ")) {
            let commit = uses.split(['@', ' ']).nth(1).unwrap_or_default();
            let hexadecimal = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(hexadecimal || commit.split('.').count() == 3, "{uses}");
        }
    }
    assert_eq!(check("vendor.compose-spec", &root.join("docker-compose.yml")), Ok(()));
    let home = tempfile::tempdir().expect("a directory");
    let misspelt = home.path().join("ci.yml");
    fs::write(&misspelt, "on: push\njobs: {check: {runs_on: ubuntu-24.04, steps: []}}\n")
        .expect("it is written");
    assert!(check("vendor.github-workflows", &misspelt).is_err(), "the control");
}
