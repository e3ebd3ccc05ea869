//! `envoy/istio`, delivered as Istio does.
//!
//! istiod makes of a WasmPlugin a `TypedExtensionConfig` (its `pilot/pkg/model/extensions.go`): `pluginConfig` as JSON in a
//! `StringValue`, `vmConfig.env` as `host_env_keys` and `key_values`, `failStrategy` as `failure_policy`. The agent beside Envoy puts
//! the module that it fetched in place of the image's address (`pkg/wasm/convert.go`), and Envoy discovers the result (ECDS).

use jwt_gate_tests::{Discovered, Request, forge, skipped, wasm};
use serde_json::{Map, Value, json};

use crate::resources::{environment, resource, resources};
use crate::site::{Site, envoy};
use crate::walk::sign_up_to_sign_out;

/// The gate's filter as Envoy gets it.
fn delivered(plugin: &Value) -> Value {
    let spec = &plugin["spec"];
    let mut values = Map::new();
    if let Some(policy) = spec["imagePullPolicy"].as_str() {
        values.insert("ISTIO_META_WASM_IMAGE_PULL_POLICY".into(), policy.into());
    }
    values.insert("ISTIO_META_WASM_PLUGIN_RESOURCE_VERSION".into(), "1".into());
    let mut host = Vec::new();
    for variable in spec["vmConfig"]["env"].as_array().expect("an environment") {
        let name = variable["name"].as_str().expect("a name");
        match variable["valueFrom"].as_str() {
            Some("HOST") => host.push(name.to_owned()),
            _ => drop(values.insert(name.to_owned(), variable["value"].clone())),
        }
    }
    let policy = match spec["failStrategy"].as_str() {
        Some("FAIL_OPEN") => "FAIL_OPEN",
        Some("FAIL_RELOAD") => "FAIL_RELOAD",
        _ => "FAIL_CLOSED",
    };
    json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
        "config": {
            "name": resource_name(plugin),
            "root_id": spec["pluginName"],
            "failure_policy": policy,
            "configuration": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": spec["pluginConfig"].to_string(),
            },
            "vm_config": {
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"filename": wasm()}},
                "environment_variables": {"host_env_keys": host, "key_values": values},
            },
        },
    })
}

fn resource_name(plugin: &Value) -> String {
    let part = |name: &str| plugin["metadata"][name].as_str().expect("a name").to_owned();
    format!("{}.{}", part("namespace"), part("name"))
}

/// Istio's name for a Service's port.
fn cluster(destination: &Value) -> String {
    format!("outbound|{}||{}", destination["port"]["number"], destination["host"].as_str().expect("a host"))
}

/// A VirtualService's routes, with the clusters that they lead to.
fn routes(service: &Value, site: &Site) -> (Vec<Value>, Vec<(String, u16)>) {
    let (mut routes, mut clusters) = (Vec::new(), Vec::new());
    for rule in service["spec"]["http"].as_array().expect("routes") {
        let destination = &rule["route"][0]["destination"];
        let (name, host) = (cluster(destination), destination["host"].as_str().expect("a host"));
        let port = site.port(host, &destination["port"]["number"]);
        let everything = [json!({"uri": {"prefix": "/"}})];
        for condition in rule["match"].as_array().map_or(&everything[..], Vec::as_slice) {
            let uri = match (&condition["uri"]["exact"], &condition["uri"]["prefix"]) {
                (Value::String(path), _) => json!({"path": path}),
                (_, prefix) => json!({"prefix": prefix}),
            };
            routes.push(json!({"match": uri, "route": {"cluster": name}}));
        }
        clusters.push((name, port));
    }
    (routes, clusters)
}

/// The port of the Service that a cluster's name in the gate's configuration means.
fn feed(plugin: &Value, site: &Site) -> (String, u16) {
    let name = plugin["spec"]["pluginConfig"]["revocation"]["cluster"].as_str().expect("a cluster");
    let ["outbound", port, "", host] = name.split('|').collect::<Vec<_>>()[..] else {
        panic!("{name} is no cluster of Istio's")
    };
    (name.to_owned(), site.port(host, &port.parse().expect("a port")))
}

#[test]
fn istios_resources_make_a_gate_that_signs_up_and_out_and_follows_the_companions_feed() {
    const NAME: &str = "istios_resources_make_a_gate_that_signs_up_and_out_and_follows_the_companions_feed";
    let site = match Site::start() {
        Ok(site) => site,
        Err(reason) => return skipped(NAME, reason),
    };
    let all = resources("istio");
    let plugin = resource(&all, "WasmPlugin", "jwt-gate");
    let (routes, mut clusters) = routes(resource(&all, "VirtualService", "public"), &site);
    clusters.push(feed(plugin, &site));
    let container = &resource(&all, "Deployment", "gateway")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["name"], "istio-proxy", "the container that Istio fills in");

    let mut discovered = Discovered::new(&resource_name(plugin));
    let spec = envoy(discovered.filter(), routes, &clusters, &environment(container));
    discovered.publish_typed(&delivered(plugin));
    let envoy = spec.start();
    let shown = envoy.shown_on_failure();
    let port = shown.port("mesh");
    sign_up_to_sign_out(port);
    let other = forge::token_of(forge::OTHER_SECRET, &forge::claims("user_1", json!({"iss": "jwt-gate"})));
    Request::get("/whoami").bearer(other).send(port).assert_denied(401, "bad_signature");
    assert!(!envoy.log().contains(forge::SECRET), "the log holds the secret");
    let dump = envoy.admin().get("/config_dump?include_eds");
    assert!(
        dump.contains("BETTER_AUTH_SECRET") && !dump.contains(forge::SECRET),
        "the configuration holds the secret"
    );
}

#[test]
fn without_its_secret_istios_gate_lets_nothing_pass() {
    let all = resources("istio");
    let plugin = resource(&all, "WasmPlugin", "jwt-gate");
    let mut discovered = Discovered::new(&resource_name(plugin));
    let everything = json!({"match": {"prefix": "/"}, "route": {"cluster": "backend_http1"}});
    let feed =
        plugin["spec"]["pluginConfig"]["revocation"]["cluster"].as_str().expect("a cluster").to_owned();
    let spec = envoy(discovered.filter(), vec![everything], &[(feed, 1)], &[]);
    discovered.publish_typed(&delivered(plugin));
    let envoy = spec.start();
    for path in ["/", "/whoami", "/api/auth/me"] {
        let answer = Request::get(path).send(envoy.port("mesh"));
        assert!(answer.seen().is_none() && answer.status >= 500, "{path}: {answer:?}");
    }
}
