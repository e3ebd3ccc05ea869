//! `envoy/gateway`, delivered as Envoy Gateway does.
//!
//! Its translator (`internal/xds/translator/wasm.go`) writes the filter into the listener, turned off, and turns it on for the routes
//! that a policy covers: `config` as JSON in a `StringValue`, `env.hostKeys` as `host_env_keys`, the module from its own HTTP server
//! by address and SHA-256.

use std::fs;

use jwt_gate_tests::{FakeFeed, FeedAnswer, Request, forge, skipped, wasm};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::resources::{environment, resource, resources};
use crate::site::{Site, envoy};
use crate::walk::sign_up_to_sign_out;

const MODULE: &str = "/jwt-gate.wasm";
/// The name of the cluster that is Envoy Gateway's server of modules.
const SERVER: &str = "wasm_cluster";

/// The filter's name, and the filter as it is in the listener.
fn delivered(policy: &Value) -> (String, Value) {
    let part = |name: &str| policy["metadata"][name].as_str().expect("a name");
    let id = format!("envoyextensionpolicy/{}/{}/wasm/0", part("namespace"), part("name"));
    let name = format!("envoy.filters.http.wasm/{id}");
    let plugin = &policy["spec"]["wasm"][0];
    let module = fs::read(wasm()).expect("the filter");
    let hash: String = Sha256::digest(&module).iter().map(|byte| format!("{byte:02x}")).collect();
    let filter = json!({
        "name": name,
        "disabled": true,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": plugin["name"],
                "root_id": plugin["rootID"],
                "fail_open": plugin["failOpen"],
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": plugin["config"].to_string(),
                },
                "vm_config": {
                    "vm_id": id,
                    "runtime": "envoy.wasm.runtime.v8",
                    "environment_variables": {"host_env_keys": plugin["env"]["hostKeys"]},
                    "code": {"remote": {
                        "sha256": hash,
                        "retry_policy": {"num_retries": 10},
                        "http_uri": {"uri": format!("http://gateway{MODULE}"), "cluster": SERVER, "timeout": "10s"},
                    }},
                },
            },
        },
    });
    (name, filter)
}

/// The server that Envoy fetches the module from.
fn server() -> FakeFeed {
    let module = fs::read(wasm()).expect("the filter");
    FakeFeed::start(move |asked| match asked.path.as_str() {
        MODULE => FeedAnswer::Body(200, module.clone()),
        _ => FeedAnswer::Body(404, Vec::new()),
    })
}

/// The HTTPRoutes' routes with the filter turned on, longest path first, and the clusters that they lead to.
fn routes(all: &[Value], filter: &str, site: &Site) -> (Vec<Value>, Vec<(String, u16)>) {
    let (mut routes, mut clusters) = (Vec::new(), Vec::new());
    for route in all.iter().filter(|resource| resource["kind"] == "HTTPRoute") {
        for (number, rule) in route["spec"]["rules"].as_array().expect("rules").iter().enumerate() {
            let backend = &rule["backendRefs"][0];
            let name = format!("httproute/jwt-gate/{}/rule/{number}", route["metadata"]["name"]);
            let port = site.port(backend["name"].as_str().expect("a Service"), &backend["port"]);
            clusters.push((name.clone(), port));
            for condition in rule["matches"].as_array().expect("matches") {
                let path = condition["path"]["value"].as_str().expect("a path");
                let matched = match condition["path"]["type"].as_str() {
                    Some("Exact") => json!({"path": path}),
                    _ if path == "/" => json!({"prefix": "/"}),
                    _ => json!({"path_separated_prefix": path}),
                };
                routes.push((
                    path.len(),
                    json!({
                        "match": matched,
                        "route": {"cluster": name},
                        "typed_per_filter_config": {filter: {
                            "@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig",
                            "config": {},
                        }},
                    }),
                ));
            }
        }
    }
    routes.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    (routes.into_iter().map(|(_, route)| route).collect(), clusters)
}

/// The cluster that EnvoyProxy adds to the bootstrap, which the gate's configuration names.
fn feed(all: &[Value], policy: &Value, site: &Site) -> (String, u16) {
    let proxy = resource(all, "EnvoyProxy", "jwt-gate");
    let text = proxy["spec"]["bootstrap"]["value"].as_str().expect("a bootstrap");
    let bootstrap: Value = serde_saphyr::from_str(text).expect("YAML");
    let cluster = &bootstrap["static_resources"]["clusters"][0];
    assert_eq!(cluster["name"], policy["spec"]["wasm"][0]["config"]["revocation"]["cluster"]);
    let address = &cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"];
    let port = site.port(address["address"].as_str().expect("a host"), &address["port_value"]);
    (cluster["name"].as_str().expect("a name").to_owned(), port)
}

#[test]
fn envoy_gateways_resources_make_a_gate_that_signs_up_and_out_and_follows_the_companions_feed() {
    const NAME: &str =
        "envoy_gateways_resources_make_a_gate_that_signs_up_and_out_and_follows_the_companions_feed";
    let site = match Site::start() {
        Ok(site) => site,
        Err(reason) => return skipped(NAME, reason),
    };
    let all = resources("gateway");
    let policy = resource(&all, "EnvoyExtensionPolicy", "jwt-gate");
    let target = &policy["spec"]["targetRefs"][0];
    assert_eq!(
        target["kind"], "Gateway",
        "a policy of single routes leaves the others without the trust boundary"
    );
    resource(&all, "Gateway", target["name"].as_str().expect("a name"));

    let (name, filter) = delivered(policy);
    let (routes, mut clusters) = routes(&all, &name, &site);
    let server = server();
    clusters.push((SERVER.to_owned(), server.port()));
    clusters.push(feed(&all, policy, &site));
    let proxy = resource(&all, "EnvoyProxy", "jwt-gate");
    let container = &proxy["spec"]["provider"]["kubernetes"]["envoyDeployment"]["container"];
    let envoy = envoy(filter, routes, &clusters, &environment(container)).start();
    let shown = envoy.shown_on_failure();
    let port = shown.port("mesh");
    assert!(server.asked(MODULE) > 0, "Envoy fetched the module");
    sign_up_to_sign_out(port);
    let other = forge::token_of(forge::OTHER_SECRET, &forge::claims("user_1", json!({"iss": "jwt-gate"})));
    Request::get("/whoami").bearer(other).send(port).assert_denied(401, "bad_signature");
    assert!(!envoy.log().contains(forge::SECRET), "the log holds the secret");
    let dump = envoy.admin().get("/config_dump");
    assert!(
        dump.contains("BETTER_AUTH_SECRET") && !dump.contains(forge::SECRET),
        "the configuration holds the secret"
    );
}
