//! `envoy/observability`: every query of the dashboard finds something in a real Prometheus that scrapes the running demo, and
//! the alerts fire when they should.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use jwt_gate_tests::{Companion, Envoy, Guarded, Request, Spec, forge, skipped, wasm};
use serde_json::{Value, json};
use tempfile::TempDir;
use xtask::command::stdout;
use xtask::system;

use crate::repository;
use crate::resources::documents;
use crate::walk::{sign_up_to_sign_out, wait_until};
use crate::web::Server;

/// What Grafana puts in place of `$__rate_interval`.
const RATE_INTERVAL: &str = "5s";

/// Every query of the dashboard.
fn queries() -> Vec<String> {
    let text =
        fs::read_to_string(repository().join("envoy/observability/dashboard.json")).expect("the dashboard");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    targets
        .map(|target| target["expr"].as_str().expect("a query").replace("$__rate_interval", RATE_INTERVAL))
        .collect()
}

/// The metrics that a query names; not the ones that it only matches.
fn metrics(query: &str) -> BTreeSet<String> {
    let mut outside = String::new();
    let mut quoted = false;
    for character in query.chars() {
        quoted ^= character == '"';
        outside.push(if quoted { ' ' } else { character });
    }
    let words = outside.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
    let named = words.filter(|word| word.starts_with("jwt_gate_") || word.starts_with("envoy_"));
    // Labels of Envoy's.
    named
        .filter(|word| {
            !["envoy_http_conn_manager_prefix", "envoy_response_code_class", "envoy_cluster_name"]
                .contains(word)
        })
        .map(str::to_owned)
        .collect()
}

/// `envoy/envoy.yaml` as it is shipped, before these neighbours.
fn shipped(companion: &Companion, backend: &Server) -> Envoy {
    let mut bootstrap = documents(&repository().join("envoy/envoy.yaml")).swap_remove(0);
    let local = |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    bootstrap["admin"]["address"] = local(0);
    let resources = &mut bootstrap["static_resources"];
    let ports = [
        ("companion", companion.public_port()),
        ("companion_private", companion.private_port()),
        ("backend", backend.port),
    ];
    for cluster in resources["clusters"].as_array_mut().expect("clusters") {
        let port = ports.iter().find(|(name, _)| cluster["name"] == *name).expect("a known cluster").1;
        cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"] = local(port);
    }
    let listener = &mut resources["listeners"][0];
    listener["address"] = local(0);
    let filters = &mut listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"];
    let filters = filters.as_array_mut().expect("filters");
    let gate = filters.iter_mut().find(|filter| filter["name"] == "jwt_gate").expect("the gate");
    gate["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"] = json!(wasm());
    Spec::new()
        .bootstrapped(bootstrap)
        .environment("BETTER_AUTH_SECRET", forge::SECRET)
        .concurrency(2)
        .start()
}

/// A Prometheus that scrapes both, once a second.
struct Prometheus {
    _process: Guarded,
    home: TempDir,
    port: u16,
}

impl Prometheus {
    fn start(envoy: &Envoy, companion: &Companion) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let admin = envoy.admin().url();
        let target = |url: &str| json!([{"targets": [url]}]);
        let config = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [repository().join("envoy/observability/alerts.yaml")],
            "scrape_configs": [
                {"job_name": "envoy", "metrics_path": "/stats/prometheus", "static_configs": target(admin.trim_start_matches("http://"))},
                {"job_name": "jwt-gate-auth", "static_configs": target(&format!("127.0.0.1:{}", companion.private_port()))},
            ],
        });
        let file = home.path().join("prometheus.json");
        fs::write(&file, config.to_string()).expect("its configuration");
        // A free port: Prometheus does not tell which one it took.
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|socket| socket.local_addr())
            .expect("a port")
            .port();
        let mut command = Command::new("prometheus");
        command
            .arg("--config.file")
            .arg(&file)
            .arg("--storage.tsdb.path")
            .arg(home.path().join("data"))
            .args(["--web.listen-address", &format!("127.0.0.1:{port}")]);
        let process = Guarded::start(&mut command, &home).expect("Prometheus starts");
        let prometheus = Self { _process: process, home, port };
        wait_until("Prometheus is ready", || {
            Request::get("/-/ready").try_send(port).is_ok_and(|answer| answer.status == 200)
        });
        prometheus
    }

    fn get(&self, path: &str, query: &str) -> Value {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = Request::get(format!("{path}?query={escaped}")).send(self.port);
        let log = || fs::read_to_string(self.home.path().join("log")).unwrap_or_default();
        assert_eq!(answer.status, 200, "{query}: {}\n{}", answer.text(), log());
        answer.json()["data"].clone()
    }

    /// The values that a query finds now.
    fn values(&self, query: &str) -> Vec<f64> {
        let data = self.get("/api/v1/query", query);
        let results = data["result"].as_array().expect("results");
        results.iter().filter_map(|result| result["value"][1].as_str()?.parse().ok()).collect()
    }
}

#[test]
fn every_query_of_the_dashboard_finds_what_the_running_demo_counts() {
    const NAME: &str = "every_query_of_the_dashboard_finds_what_the_running_demo_counts";
    if let Err(error) = system::ensure(&system::PROMETHEUS) {
        return skipped(NAME, &format!("{error:#}").replace('\n', " "));
    }
    let backend = match Server::fastapi() {
        Ok(backend) => backend,
        Err(reason) => return skipped(NAME, reason),
    };
    let companion = Companion::start(forge::SECRET);
    let envoy = shipped(&companion, &backend);
    let shown = envoy.shown_on_failure();
    let port = shown.port("public");
    let person = sign_up_to_sign_out(port);
    let prometheus = Prometheus::start(&envoy, &companion);

    let queries = queries();
    assert!(queries.len() > 25, "they were found");
    for query in &queries {
        wait_until(query, || {
            // Rates need something that goes on.
            Request::get("/whoami").bearer(&person.token).send(port);
            Request::get("/api/auth/me").bearer(&person.token).send(port);
            let values = prometheus.values(query);
            // A route that nobody calls has no quantile.
            values.iter().any(|value| value.is_finite())
        });
    }
    let allowed = queries.iter().find(|query| query.contains("rate(jwt_gate_allowed[")).expect("it is there");
    assert!(prometheus.values(allowed).iter().any(|rate| *rate > 0.0), "requests were counted");
    assert_eq!(
        prometheus.values(r#"count(count by (__name__) ({__name__=~"jwt_gate_kid_.+"} == 1))"#),
        [1.0],
        "one newest key"
    );

    // The alerts' metrics are there too; none of them fires while all is well.
    let scrapes = [
        envoy.admin().get("/stats/prometheus"),
        Request::get("/metrics").send(companion.private_port()).text(),
    ]
    .concat();
    let rules = documents(&repository().join("envoy/observability/alerts.yaml")).swap_remove(0);
    let groups = rules["groups"].as_array().expect("groups").iter();
    for rule in groups.flat_map(|group| group["rules"].as_array().expect("rules")) {
        let query = rule["expr"].as_str().expect("a query");
        for metric in metrics(query) {
            let found = scrapes
                .lines()
                .any(|line| line.strip_prefix(&metric).is_some_and(|rest| rest.starts_with([' ', '{'])));
            assert!(found, "{}: nobody counts {metric}", rule["alert"]);
        }
        assert!(prometheus.values(query).is_empty(), "{} fires", rule["alert"]);
    }
    assert!(!scrapes.contains(&person.token), "a metric holds a token");
}

#[test]
fn each_alert_fires_when_it_should() {
    if let Err(error) = system::ensure(&system::PROMETHEUS) {
        return skipped("each_alert_fires_when_it_should", &format!("{error:#}").replace('\n', " "));
    }
    let folder = repository().join("envoy/observability");
    for arguments in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]] {
        let said = stdout(Command::new("promtool").args(arguments).current_dir(&folder));
        assert!(said.is_ok(), "{:#}", said.unwrap_err());
    }
    let text = |file: &str| fs::read_to_string(folder.join(file)).expect("the file");
    let (rules, tests) = (text("alerts.yaml"), text("alerts.test.yaml"));
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(alert), "no test shows {alert} fire");
    }
}

#[test]
fn the_access_log_examples_show_the_same_and_never_a_token() {
    let envoy = documents(&repository().join("envoy/envoy.yaml")).swap_remove(0);
    let manager =
        &envoy["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    let plain = &manager["access_log"][0]["typed_config"]["log_format"]["json_format"];
    let all = crate::resources::resources("gateway");
    let proxy = crate::resources::resource(&all, "EnvoyProxy", "jwt-gate");
    let gateway = &proxy["spec"]["telemetry"]["accessLog"]["settings"][0]["format"]["json"];
    let mesh = documents(&repository().join("envoy/istio/mesh-config.yaml")).swap_remove(0);
    let istio = &mesh["meshConfig"]["extensionProviders"][0]["envoyFileAccessLog"]["logFormat"]["labels"];
    for (name, format) in [("Envoy", plain), ("Envoy Gateway", gateway), ("Istio", istio)] {
        let fields = format.as_object().unwrap_or_else(|| panic!("{name} has no format"));
        for field in ["gate", "user", "path", "status", "details"] {
            assert_eq!(fields.get(field), plain.get(field), "{name}: {field}");
        }
        let text = format.to_string().to_lowercase();
        for secret in ["authorization)", "req(cookie", "req(:path", "set-cookie"] {
            assert!(!text.contains(secret), "{name} logs {secret}");
        }
    }
}
