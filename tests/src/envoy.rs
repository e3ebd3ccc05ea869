//! A real Envoy.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::admin::Admin;
use crate::backend::Backend;
use crate::forge;
use crate::listener::{Listener, Upstream, cluster};
use crate::mesh;
use crate::native;
use crate::process::Guarded;

/// How often Envoy is asked whether it serves, and how long apart.
const READINESS_TRIES: u32 = 1200;
const READINESS_INTERVAL: Duration = Duration::from_millis(50);

/// How an Envoy is to be started.
pub struct Spec {
    listeners: Vec<Listener>,
    concurrency: u32,
    vm_environment: Value,
    environment: Vec<(String, String)>,
    clusters: Vec<Value>,
    discovered: bool,
    bootstrap: Option<Value>,
    wasm: Option<PathBuf>,
    binary: Option<PathBuf>,
}

/// A running Envoy. It ends when this is dropped, or with the test process.
pub struct Envoy {
    process: std::sync::Mutex<Guarded>,
    admin: Admin,
    ports: BTreeMap<String, u16>,
    directory: TempDir,
}

/// Envoy did not come to serve.
pub struct Refused {
    /// Everything that it logged.
    pub log: String,
}

// === impl Spec ===

impl Default for Spec {
    fn default() -> Self {
        Self::new()
    }
}

impl Spec {
    /// An Envoy with one worker, whose gates find [`forge::SECRET`] in `BETTER_AUTH_SECRET`.
    #[must_use]
    pub fn new() -> Self {
        Self {
            listeners: Vec::new(),
            concurrency: 1,
            vm_environment: json!({"key_values": {"BETTER_AUTH_SECRET": forge::SECRET}}),
            environment: Vec::new(),
            clusters: Vec::new(),
            discovered: false,
            bootstrap: None,
            wasm: None,
            binary: None,
        }
    }

    /// The same with one more listener.
    #[must_use]
    pub fn listener(mut self, listener: Listener) -> Self {
        self.listeners.push(listener);
        self
    }

    /// The same with more listeners.
    #[must_use]
    pub fn listeners(mut self, listeners: impl IntoIterator<Item = Listener>) -> Self {
        self.listeners.extend(listeners);
        self
    }

    /// The same with another number of workers.
    #[must_use]
    pub fn concurrency(mut self, workers: u32) -> Self {
        self.concurrency = workers;
        self
    }

    /// The same with another `vm_config.environment_variables`.
    #[must_use]
    pub fn vm_environment(mut self, variables: Value) -> Self {
        self.vm_environment = variables;
        self
    }

    /// The same with a variable in Envoy's own environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with listeners that Envoy discovers (LDS) in a file: it serves without those that it cannot
    /// make, where it would not start at all had they been given statically.
    #[must_use]
    pub fn discovered(mut self) -> Self {
        self.discovered = true;
        self
    }

    /// The same with another Envoy.
    #[must_use]
    pub fn binary(mut self, binary: PathBuf) -> Self {
        self.binary = Some(binary);
        self
    }

    /// The same with another build of the filter.
    #[must_use]
    pub fn wasm(mut self, wasm: PathBuf) -> Self {
        self.wasm = Some(wasm);
        self
    }

    /// The same with this whole bootstrap configuration in place of one made of the other parts.
    #[must_use]
    pub fn bootstrapped(mut self, bootstrap: Value) -> Self {
        self.bootstrap = Some(bootstrap);
        self
    }

    /// The same with one more cluster, of one host on loopback.
    #[must_use]
    pub fn cluster(mut self, name: &str, port: u16) -> Self {
        self.clusters.push(static_cluster(name, port, Upstream::Http1));
        self
    }

    /// Starts it; the test fails where it does not come to serve.
    ///
    /// # Panics
    /// Where Envoy does not come to serve.
    #[must_use]
    pub fn start(self) -> Envoy {
        self.try_start().unwrap_or_else(|refused| panic!("Envoy does not serve:\n{refused}"))
    }

    /// Starts it.
    ///
    /// # Errors
    /// What it logged, where it ended instead of serving.
    ///
    /// # Panics
    /// Where there is no Envoy, no filter or no directory to run it in, or where it neither serves nor ends.
    pub fn try_start(mut self) -> Result<Envoy, Refused> {
        let directory = tempfile::Builder::new().prefix("jwt-gate-e2e-").tempdir().expect("a directory");
        let (config, address, log) = (
            directory.path().join("envoy.json"),
            directory.path().join("admin"),
            directory.path().join("log"),
        );
        let bootstrap = self.bootstrap(directory.path());
        fs::write(&config, bootstrap.to_string()).expect("the configuration is written");
        let mut command = Command::new(self.binary.as_deref().unwrap_or_else(|| envoy_binary()));
        command.arg("-c").arg(&config).arg("--admin-address-path").arg(&address);
        command.args(["--concurrency", &self.concurrency.to_string()]);
        command.args(["--disable-hot-restart", "--log-level", "info", "--file-flush-interval-msec", "50"]);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut process = Guarded::start(&mut command, &directory).expect("Envoy starts");
        for _ in 0..READINESS_TRIES {
            if process.ended().is_some() {
                return Err(Refused { log: read(&log) });
            }
            if let Some(admin) = admin_at(&address).filter(Admin::is_ready) {
                let ports = admin.ports();
                return Ok(Envoy { process: process.into(), admin, ports, directory });
            }
            thread::sleep(READINESS_INTERVAL);
        }
        panic!("Envoy neither serves nor ends:\n{}", read(&log));
    }

    fn bootstrap(&mut self, directory: &Path) -> Value {
        if let Some(bootstrap) = &self.bootstrap {
            return bootstrap.clone();
        }
        let wasm = if self.listeners.iter().any(Listener::is_gated) {
            self.wasm.as_deref().unwrap_or_else(|| wasm()).display().to_string()
        } else {
            String::new()
        };
        let mut listeners: Vec<Value> =
            self.listeners.iter().map(|listener| listener.to_envoy(&wasm, &self.vm_environment)).collect();
        if native::is_module() {
            self.environment.splice(..0, native::deliver(&mut listeners));
        }
        if mesh::delivers() {
            // What the test itself put there counts.
            self.environment.splice(..0, mesh::deliver(&mut listeners, directory));
        }
        let backend = Backend::shared();
        let mut clusters = vec![
            static_cluster(cluster(Upstream::Http1), backend.http1_port(), Upstream::Http1),
            static_cluster(cluster(Upstream::Http2), backend.http2_port(), Upstream::Http2),
        ];
        clusters.extend(self.clusters.clone());
        let admin = json!({"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}});
        // Whoever discovers something has to say who it is.
        let node = json!({"id": "e2e", "cluster": "e2e"});
        if !self.discovered {
            return json!({"admin": admin, "node": node, "static_resources": {"listeners": listeners, "clusters": clusters}});
        }
        let file = directory.join("listeners.json");
        write_listeners(&file, listeners);
        json!({
            "admin": admin,
            "node": node,
            "static_resources": {"clusters": clusters},
            "dynamic_resources": {"lds_config": {
                "resource_api_version": "V3",
                "path_config_source": {"path": file},
            }},
        })
    }
}

/// Puts `listeners` where Envoy discovers them (LDS).
fn write_listeners(file: &Path, listeners: impl IntoIterator<Item = Value>) {
    let typed = listeners.into_iter().map(|mut listener| {
        listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
        listener
    });
    let resources = json!({"resources": typed.collect::<Vec<_>>()});
    let new = file.with_extension("new");
    fs::write(&new, resources.to_string()).expect("the listeners are written");
    fs::rename(&new, file).expect("the listeners are put in place");
}

fn static_cluster(name: &str, port: u16, protocol: Upstream) -> Value {
    // Without `enable_trailers` the HTTP/1.1 codec drops trailers, and a test would see nothing to complain of.
    let options = match protocol {
        Upstream::Http1 => json!({"http_protocol_options": {"enable_trailers": true}}),
        Upstream::Http2 => json!({"http2_protocol_options": {}}),
    };
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": options,
            },
        },
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        }}]}]},
    })
}

/// The Envoy to test: `$ENVOY`, else as every command of this repository finds it.
///
/// # Panics
/// Where there is none, and none can be fetched.
#[must_use]
pub fn envoy_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| xtask::envoy::locate().expect("an Envoy"))
}

/// The filter to test: `$JWT_GATE_WASM`, else built from this workspace.
///
/// # Panics
/// Where it does not compile.
#[must_use]
pub fn wasm() -> &'static Path {
    static WASM: OnceLock<PathBuf> = OnceLock::new();
    WASM.get_or_init(|| match std::env::var_os("JWT_GATE_WASM") {
        Some(built) => PathBuf::from(built),
        None => xtask::wasm::build().expect("the filter is built"),
    })
}

fn admin_at(address: &Path) -> Option<Admin> {
    let text = fs::read_to_string(address).ok()?;
    text.trim().rsplit_once(':')?.1.parse().ok().map(Admin::at)
}

fn read(log: &Path) -> String {
    String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned()
}

// === impl Envoy ===

impl Envoy {
    /// The port of the listener `name`.
    #[must_use]
    pub fn port(&self, name: &str) -> u16 {
        *self.ports.get(name).unwrap_or_else(|| panic!("no listener {name}:\n{}", self.log()))
    }

    /// Whether it listens under this name.
    #[must_use]
    pub fn listens(&self, name: &str) -> bool {
        self.ports.contains_key(name)
    }

    /// Its admin interface.
    #[must_use]
    pub fn admin(&self) -> Admin {
        self.admin
    }

    /// Gives an Envoy that was [`Spec::discovered`] other listeners, of which none is gated other than by a
    /// filter that is discovered too.
    pub fn reload(&self, listeners: impl IntoIterator<Item = Listener>) {
        let listeners: Vec<Value> = listeners
            .into_iter()
            .map(|listener| {
                let mut value = listener.to_envoy("", &Value::Null);
                // Where it listens already.
                if let Some(port) = self.ports.get(&listener.name) {
                    value["address"]["socket_address"]["port_value"] = json!(port);
                }
                value
            })
            .collect();
        write_listeners(&self.directory.path().join("listeners.json"), listeners);
    }

    /// The process id.
    ///
    /// # Panics
    /// Where a thread panicked with the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.lock().expect("no thread panics with the process").id()
    }

    /// Everything that it wrote so far: its log and its access logs.
    #[must_use]
    pub fn log(&self) -> String {
        read(&self.directory.path().join("log"))
    }

    /// The log's lines that hold `part`, waiting for the first of them while Envoy's buffers drain.
    #[must_use]
    pub fn log_lines(&self, part: &str) -> Vec<String> {
        for _ in 0..100 {
            let log = self.log();
            let lines: Vec<_> = log.lines().filter(|line| line.contains(part)).map(str::to_owned).collect();
            if !lines.is_empty() {
                return lines;
            }
            thread::sleep(READINESS_INTERVAL);
        }
        Vec::new()
    }

    /// Whether it still runs.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.process.lock().is_ok_and(|mut process| process.ended().is_none())
    }

    /// What shows the end of the log when the test fails while it is alive.
    #[must_use]
    pub fn shown_on_failure(&self) -> Shown<'_> {
        Shown(self)
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if thread::panicking() {
            drop(self.shown_on_failure());
        }
    }
}

/// Shows the end of an Envoy's log when the test fails.
pub struct Shown<'envoy>(&'envoy Envoy);

impl std::ops::Deref for Shown<'_> {
    type Target = Envoy;

    fn deref(&self) -> &Envoy {
        self.0
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.0.log();
            let lines: Vec<_> = log.lines().filter(|line| !line.contains("][info][")).collect();
            eprintln!("--- the end of Envoy's log ---");
            for line in &lines[lines.len().saturating_sub(25)..] {
                eprintln!("{line}");
            }
        }
    }
}

// === impl Refused ===

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.log.lines().filter(|line| !line.contains("][info][")).collect();
        formatter.write_str(&lines.join("\n"))
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
