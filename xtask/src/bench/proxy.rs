//! An Envoy for one contender.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http;
use super::workload::Listener;
use crate::process::Guarded;

/// How often, and how long apart, Envoy is asked whether it serves: 60 seconds in all.
const READINESS_TRIES: u32 = 12_000;
const READINESS_INTERVAL: Duration = Duration::from_millis(5);

/// The cluster that is the companion, where there is one.
pub(super) const COMPANION: &str = "companion";

/// The path under which the answer says what the route saw, in headers named [`SEEN`] and the header's name.
pub(super) const ECHO_PATH: &str = "/echo";
pub(super) const SEEN: &str = "seen-";

/// How an Envoy is to be started.
pub(super) struct Spec<'bench> {
    pub(super) envoy: &'bench Path,
    pub(super) workers: u32,
    /// The HTTP filters of each listener.
    pub(super) filters: &'bench dyn Fn(Listener) -> Vec<Value>,
    /// Headers of the request that [`ECHO_PATH`] tells of.
    pub(super) echoed: &'bench [&'bench str],
    pub(super) companion: Option<SocketAddr>,
}

/// A running Envoy, which ends when this is dropped.
pub(super) struct Proxy {
    process: Guarded,
    admin: SocketAddr,
    addresses: BTreeMap<String, SocketAddr>,
    /// How long it took from its start until it served.
    pub(super) started_in: Duration,
    _folder: TempDir,
}

impl Proxy {
    pub(super) fn start(spec: &Spec<'_>) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("jwt-gate-bench-").tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let (configuration, admin, log) = (path("envoy.json"), path("admin"), path("log"));
        fs::write(&configuration, bootstrap(spec).to_string())?;
        let mut command = Command::new(spec.envoy);
        command
            .arg("--config-path")
            .arg(&configuration)
            .arg("--admin-address-path")
            .arg(&admin)
            .args(["--concurrency", &spec.workers.to_string()])
            .args(["--disable-hot-restart", "--log-level", "warning"])
            .env_clear()
            .current_dir(folder.path())
            .stdout(File::create(path("stdout"))?);
        let start = Instant::now();
        let mut process = Guarded::start("Envoy", &mut command, &log, folder.path())?;
        for _ in 0..READINESS_TRIES {
            if let Some(status) = process.ended() {
                bail!("Envoy ended with {status}\n{}", read(&log));
            }
            if let Some(admin) = serving(&admin) {
                let started_in = start.elapsed();
                let addresses = addresses(admin).context("Envoy does not tell where it listens")?;
                return Ok(Self { process, admin, addresses, started_in, _folder: folder });
            }
            thread::sleep(READINESS_INTERVAL);
        }
        bail!("Envoy does not come to serve\n{}", read(&log));
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(super) fn address(&self, listener: Listener) -> Result<SocketAddr> {
        let address = self.addresses.get(listener.name()).copied();
        address.with_context(|| format!("Envoy has no listener {}", listener.name()))
    }

    /// The counter of this name, all of it: Envoy counts much a second time, as `listener.….http.…`. 0 where there is none.
    pub(super) fn counter(&self, name: &str) -> Result<u64> {
        let stats = http::get(self.admin, &format!("/stats?format=json&filter=^{name}$"), &[])?.body;
        let stats: Value = serde_json::from_str(&stats).context("Envoy's counters are no JSON")?;
        let stats = stats["stats"].as_array().map(Vec::as_slice).unwrap_or_default();
        let counter = stats.iter().find(|stat| stat["name"].as_str() == Some(name));
        Ok(counter.and_then(|counter| counter["value"].as_u64()).unwrap_or_default())
    }
}

/// Where Envoy's admin interface is, once it says that Envoy serves.
fn serving(admin: &Path) -> Option<SocketAddr> {
    let admin = fs::read_to_string(admin).ok()?.trim().parse().ok()?;
    (http::get(admin, "/ready", &[]).ok()?.status == 200).then_some(admin)
}

fn addresses(admin: SocketAddr) -> Option<BTreeMap<String, SocketAddr>> {
    let listeners = http::get(admin, "/listeners?format=json", &[]).ok()?.body;
    let listeners: Value = serde_json::from_str(&listeners).ok()?;
    let address = |status: &Value| {
        let address = &status["local_address"]["socket_address"];
        let port = u16::try_from(address["port_value"].as_u64()?).ok()?;
        let name = status["name"].as_str()?.to_owned();
        Some((name, SocketAddr::new(address["address"].as_str()?.parse().ok()?, port)))
    };
    listeners["listener_statuses"].as_array()?.iter().map(address).collect()
}

fn bootstrap(spec: &Spec<'_>) -> Value {
    let listeners: Vec<Value> = Listener::ALL
        .into_iter()
        .map(|kind| listener(kind.name(), (spec.filters)(kind), spec.echoed))
        .collect();
    let clusters: Vec<Value> = spec.companion.iter().map(|address| cluster(COMPANION, *address)).collect();
    json!({
        "admin": {"address": socket_address(([127, 0, 0, 1], 0).into())},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    })
}

/// A listener whose routes Envoy answers itself, so that nothing but Envoy is measured.
fn listener(name: &str, mut filters: Vec<Value>, echoed: &[&str]) -> Value {
    filters.push(json!({
        "name": "router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    }));
    let seen: Vec<Value> = echoed
        .iter()
        .map(|header| json!({"header": {"key": format!("{SEEN}{header}"), "value": format!("%REQ({header})%")}}))
        .collect();
    let answer = json!({"status": 200, "body": {"inline_string": "ok\n"}});
    json!({
        "name": name,
        "address": socket_address(([127, 0, 0, 1], 0).into()),
        "filter_chains": [{"filters": [{
            "name": "http",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.\
                          HttpConnectionManager",
                "stat_prefix": name,
                "http_filters": filters,
                "route_config": {"name": name, "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                    {"match": {"path": ECHO_PATH}, "direct_response": answer, "response_headers_to_add": seen},
                    {"match": {"prefix": "/"}, "direct_response": answer},
                ]}]},
            },
        }]}],
    })
}

fn cluster(name: &str, address: SocketAddr) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [
            {"endpoint": {"address": socket_address(address)}},
        ]}]},
    })
}

fn socket_address(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip(), "port_value": address.port()}})
}

fn read(log: &PathBuf) -> String {
    String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned()
}
