//! A text without quotes in an `envoy.yaml` means to the tool what it means to Envoy.

use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use jwt_gate_tests::{Guarded, Request, envoy_binary};
use serde_json::Value;

use crate::tool;

/// What Envoy's YAML reader and others read differently.
const VALUES: &str = "[yes, Yes, YES, yEs, 'yes', no, on, Off, y, N, true, True, 010, 0x10, 0o10, +7, -7, 1_000, 3000000000, -2147483648, 1.5, 1e3, 12:30, \"010\", !!str 5]";

/// The values as this machine's Envoy reads them in its bootstrap.
fn as_envoy_reads_them() -> Vec<Value> {
    let home = tempfile::tempdir().expect("a folder");
    let (config, address) = (home.path().join("envoy.yaml"), home.path().join("admin"));
    let bootstrap = format!(
        "node:\n  id: a\n  cluster: b\n  metadata: {{values: {VALUES}}}\n\
         admin:\n  address:\n    socket_address: {{address: 127.0.0.1, port_value: 0}}\n"
    );
    fs::write(&config, bootstrap).expect("the configuration is written");
    let mut command = Command::new(envoy_binary());
    command.arg("-c").arg(&config).arg("--admin-address-path").arg(&address);
    command.args(["--concurrency", "1", "--disable-hot-restart"]);
    let mut envoy = Guarded::start(&mut command, &home).expect("Envoy starts");
    for _ in 0..600 {
        let port =
            fs::read_to_string(&address).ok().and_then(|text| text.rsplit(':').next()?.trim().parse().ok());
        if let Some(answer) = port.and_then(|port| Request::get("/server_info").try_send(port).ok())
            && answer.status == 200
        {
            return answer.json()["node"]["metadata"]["values"].as_array().expect("values").clone();
        }
        assert!(
            envoy.ended().is_none(),
            "Envoy ended: {}",
            fs::read_to_string(home.path().join("log")).unwrap_or_default()
        );
        thread::sleep(Duration::from_millis(50));
    }
    panic!("Envoy does not serve");
}

#[test]
fn a_text_without_quotes_means_to_the_tool_what_it_means_to_envoy() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("envoy.yaml");
    let configuration = format!(
        "filters:\n- name: gate\n  typed_config:\n    \"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\n    \
         config:\n      configuration:\n        \"@type\": type.googleapis.com/google.protobuf.Struct\n        value:\n          \
         providers: {{app: {{secrets: [{{env: APP}}]}}}}\n          \
         rules: [{{match: {{prefix: /}}, requires: {{provider_name: app, claims: {{v: {VALUES}}}}}}}]\n"
    );
    fs::write(&file, configuration).expect("the configuration is written");
    let arguments = ["--json", "--request", "/"];
    let output =
        Command::new(tool()).arg("explain").arg(&file).args(arguments).output().expect("the tool runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let explained: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let requires = explained["interpretations"][0]["requires"].as_str().expect("a text").to_owned();
    let expected: Vec<String> = as_envoy_reads_them()
        .iter()
        .map(|value| match value {
            Value::String(text) => text.clone(),
            // A Struct's numbers are doubles.
            other => other.to_string().trim_end_matches(".0").to_owned(),
        })
        .collect();
    assert_eq!(requires, format!("a token of app with v: {}", expected.join(" or ")));
}
