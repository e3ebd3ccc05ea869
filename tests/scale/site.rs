//! Three gates, two companions, one PostgreSQL, an application, and clients: a host each.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use jwt_gate_tests::{
    Backend, Companion, Envoy, Host, Network, Spec, companion_binary, envoy_binary, forge, wasm,
};
use serde_json::{Value, json};

use crate::postgres::Postgres;

pub(crate) const GATES: [&str; 3] = ["gate-1", "gate-2", "gate-3"];
pub(crate) const COMPANIONS: [&str; 2] = ["login-1", "login-2"];
const DATABASE: &str = "database";
const BACKEND: &str = "backend";
const CLIENTS: &str = "clients";

/// Where every gate listens, as `envoy/envoy.yaml` says.
const PORT: u16 = 8080;
/// Envoy's threads that serve, in each gate.
const WORKERS: u32 = 2;

/// What the gates' configuration has beside that of `envoy/envoy.yaml`, from docs/scale.md.
pub(crate) struct Additions {
    revocation: Value,
    retry_policy: Value,
    outlier_detection: Value,
}

/// All of it, running. A gate or companion that died is `None`.
pub(crate) struct Site {
    gates: Vec<Option<Envoy>>,
    companions: Vec<Companion>,
    database: Postgres,
    // Behind the processes, which end before their hosts.
    network: Network,
    bootstrap: Value,
}

// === impl Additions ===

impl Additions {
    fn read() -> Self {
        let document = fs::read_to_string(repository().join("docs/scale.md")).expect("docs/scale.md");
        let block = document.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next());
        let mut block: Value = serde_saphyr::from_str(block.expect("its YAML")).expect("YAML");
        let [revocation, retry_policy, outlier_detection] =
            ["revocation", "retry_policy", "outlier_detection"].map(|name| block[name].take());
        Self { revocation, retry_policy, outlier_detection }
    }

    fn milliseconds(&self, field: &str) -> u64 {
        self.revocation[field].as_u64().expect("milliseconds")
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// How many milliseconds after its sign-out was acknowledged no gate lets a token pass any more, whatever fails: by then
/// a gate knows of it, or its list is too old.
///
/// The list was complete when its last answer came, which may have been under way for as long as a call may take, and
/// a gate looks at the clock once an interval.
pub(crate) fn promised_ms() -> u64 {
    let additions = Additions::read();
    let interval = additions.milliseconds("interval_ms");
    additions.milliseconds("max_staleness_ms") + interval + (4 * interval).clamp(2_000, 10_000)
}

// === impl Site ===

impl Site {
    /// Starts everything, or says why it cannot be had here.
    pub(crate) fn start() -> Result<Self, String> {
        let names = [&GATES[..], &COMPANIONS, &[DATABASE, BACKEND, CLIENTS]].concat();
        let network = Network::start(&names)?;
        // Built and fetched by now: the hosts have no way out.
        let _ = (envoy_binary(), companion_binary());
        let host = network.host(DATABASE);
        let database = Postgres::at(&host.address().to_string())?;
        host.run(|| database.begin())?;
        let url = database.database("site");
        let environment = [("BETTER_AUTH_SECRET", forge::SECRET), ("DATABASE_URL", url.as_str())];
        let companion = |name: &&str| {
            let host = network.host(name);
            host.run(|| Companion::start_at(host.address(), &environment))
        };
        let companions: Vec<Companion> = COMPANIONS.iter().map(companion).collect();
        let host = network.host(BACKEND);
        let backend = host.run(|| Backend::start(host.address())).map_err(|error| error.to_string())?;

        let at = |name: &str, port: u16| SocketAddr::from((network.host(name).address(), port));
        let each = |port: fn(&Companion) -> u16| -> Vec<SocketAddr> {
            COMPANIONS.iter().zip(&companions).map(|(name, companion)| at(name, port(companion))).collect()
        };
        let bootstrap = bootstrap(
            &Additions::read(),
            &each(Companion::public_port),
            &each(Companion::private_port),
            &[at(BACKEND, backend.http1_port())],
        );
        let mut site = Self { gates: Vec::new(), companions, database, network, bootstrap };
        for gate in GATES {
            let envoy = site.envoy(gate);
            site.gates.push(Some(envoy));
        }
        Ok(site)
    }

    fn envoy(&self, gate: &str) -> Envoy {
        let spec = Spec::new()
            .concurrency(WORKERS)
            .environment("BETTER_AUTH_SECRET", forge::SECRET)
            .bootstrapped(self.bootstrap.clone());
        self.network.host(gate).run(|| spec.start())
    }

    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// The host from which clients come.
    pub(crate) fn clients(&self) -> &Host {
        self.network.host(CLIENTS)
    }

    /// Where each gate listens.
    pub(crate) fn addresses(&self) -> [SocketAddr; GATES.len()] {
        GATES.map(|gate| (self.network.host(gate).address(), PORT).into())
    }

    /// The gate's counter whose name ends in `suffix`.
    pub(crate) fn counter(&self, gate: &str, suffix: &str) -> u64 {
        self.network.host(gate).run(|| self.gate(gate).admin().counter(suffix))
    }

    pub(crate) fn gate(&self, gate: &str) -> &Envoy {
        self.gates[place(&GATES, gate)].as_ref().expect("it runs")
    }

    pub(crate) fn companions(&self) -> &[Companion] {
        &self.companions
    }

    pub(crate) fn database(&self) -> &Postgres {
        &self.database
    }

    /// Where the first companion has its feed.
    pub(crate) fn companion_private(&self) -> SocketAddr {
        (self.network.host(COMPANIONS[0]).address(), self.companions[0].private_port()).into()
    }

    /// Does something on PostgreSQL's host.
    pub(crate) fn on_database<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        self.network.host(DATABASE).run(job)
    }

    pub(crate) fn kill_gate(&mut self, gate: &str) {
        self.gates[place(&GATES, gate)] = None;
    }

    pub(crate) fn start_gate(&mut self, gate: &str) {
        let envoy = self.envoy(gate);
        self.gates[place(&GATES, gate)] = Some(envoy);
    }

    pub(crate) fn kill_companion(&mut self, name: &str) {
        self.companions[place(&COMPANIONS, name)].kill();
    }

    pub(crate) fn start_companion(&mut self, name: &str) {
        let companion = &mut self.companions[place(&COMPANIONS, name)];
        self.network.host(name).run(|| companion.start_again());
    }

    /// Ends PostgreSQL as a crash would.
    pub(crate) fn kill_database(&self) {
        self.database.end().expect("PostgreSQL ends");
    }

    pub(crate) fn start_database(&self) {
        self.on_database(|| self.database.begin()).expect("PostgreSQL starts again");
    }
}

fn place(names: &[&str], name: &str) -> usize {
    names.iter().position(|known| *known == name).expect("a host's name")
}

/// `envoy/envoy.yaml` with these additions, and with these hosts behind its clusters.
fn bootstrap(
    additions: &Additions,
    public: &[SocketAddr],
    private: &[SocketAddr],
    backend: &[SocketAddr],
) -> Value {
    let text = fs::read_to_string(repository().join("envoy/envoy.yaml")).expect("envoy/envoy.yaml");
    let mut bootstrap: Value = serde_saphyr::from_str(&text).expect("YAML");
    bootstrap["admin"]["address"]["socket_address"]["port_value"] = json!(0);
    let manager =
        &mut bootstrap["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    let filters = manager["http_filters"].as_array_mut().expect("filters");
    let gate = filters.iter_mut().find(|filter| filter["name"] == "jwt_gate").expect("the gate");
    let gate = &mut gate["typed_config"]["config"];
    gate["vm_config"]["code"]["local"]["filename"] = json!(wasm());
    gate["configuration"]["value"]["revocation"] = additions.revocation.clone();
    let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array_mut().expect("routes");
    for route in routes.iter_mut().filter(|route| route["route"]["cluster"] == "companion") {
        route["route"]["retry_policy"] = additions.retry_policy.clone();
    }
    for cluster in bootstrap["static_resources"]["clusters"].as_array_mut().expect("clusters") {
        let hosts = match cluster["name"].as_str() {
            Some("companion") => public,
            Some("companion_private") => private,
            Some("backend") => backend,
            other => panic!("a cluster that the test does not know: {other:?}"),
        };
        let endpoint = |host: &SocketAddr| {
            let address = json!({"address": host.ip().to_string(), "port_value": host.port()});
            json!({"endpoint": {"address": {"socket_address": address}}})
        };
        let endpoints: Vec<Value> = hosts.iter().map(endpoint).collect();
        cluster["load_assignment"]["endpoints"][0]["lb_endpoints"] = json!(endpoints);
        if hosts.len() > 1 {
            cluster["outlier_detection"] = additions.outlier_detection.clone();
        }
    }
    bootstrap
}
