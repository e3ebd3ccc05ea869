//! Hosts of their own: Linux network namespaces, joined by a bridge in another.
//!
//! ```text
//! gate-1 (10.77.0.1) ── eth0 ┐
//! gate-2 (10.77.0.2) ── eth0 ┼── bridge
//! …                          ┘
//! ```

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{panic, process, thread};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

/// Ends what still runs on the hosts and removes them once its standard input ends, which is when the test process
/// ends, however that happens.
const WATCHDOG: &str = r#"
read -r _
for host; do
    for process in $(ip netns pids "$host"); do kill -KILL "$process"; done
    ip netns delete "$host"
done"#;

/// Hosts that reach each other and nothing else. They are removed with the value, and also when the test process is
/// killed.
pub struct Network {
    switch: String,
    hosts: Vec<Host>,
    watchdog: Option<Child>,
}

/// One of them.
pub struct Host {
    name: String,
    namespace: String,
    address: Ipv4Addr,
    entry: Option<File>,
}

// === impl Network ===

impl Network {
    /// A network of hosts with these names, of ten characters at most.
    ///
    /// # Errors
    /// Why this machine has none: no `ip`, not root, or not allowed to.
    pub fn start(names: &[&str]) -> Result<Self, String> {
        static NETWORKS: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("jwt-gate-{}-{}", process::id(), NETWORKS.fetch_add(1, Ordering::SeqCst));
        let mut network = Self { switch: format!("{prefix}-switch"), hosts: Vec::new(), watchdog: None };
        for (name, number) in names.iter().zip(1..) {
            network.hosts.push(Host {
                name: (*name).to_owned(),
                namespace: format!("{prefix}-{name}"),
                address: Ipv4Addr::new(10, 77, 0, number),
                entry: None,
            });
        }
        network.watch()?;
        ip(&["netns", "add", &network.switch])?;
        network.on_switch(&["link", "add", "bridge", "type", "bridge"])?;
        network.on_switch(&["link", "set", "dev", "bridge", "up"])?;
        for index in 0..network.hosts.len() {
            network.join(index)?;
        }
        Ok(network)
    }

    /// Has everything removed, should we be killed before we can.
    fn watch(&mut self) -> Result<(), String> {
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .args(self.namespaces())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.watchdog = Some(watchdog.map_err(|error| format!("sh cannot be started: {error}"))?);
        Ok(())
    }

    /// Makes the host, with a cable to the bridge.
    fn join(&mut self, index: usize) -> Result<(), String> {
        let Host { name, namespace, address, .. } = &self.hosts[index];
        let (port, address) = (port(name), format!("{address}/24"));
        ip(&["netns", "add", namespace])?;
        ip(&[
            "link",
            "add",
            "eth0",
            "netns",
            namespace,
            "type",
            "veth",
            "peer",
            "name",
            &port,
            "netns",
            &self.switch,
        ])?;
        self.on_switch(&["link", "set", "dev", &port, "master", "bridge", "up"])?;
        ip(&["-n", namespace, "address", "add", &address, "dev", "eth0"])?;
        for interface in ["lo", "eth0"] {
            ip(&["-n", namespace, "link", "set", "dev", interface, "up"])?;
        }
        let path = format!("/run/netns/{namespace}");
        self.hosts[index].entry = Some(File::open(&path).map_err(|error| format!("{path}: {error}"))?);
        Ok(())
    }

    /// The host of this name.
    ///
    /// # Panics
    /// Where there is none.
    #[must_use]
    pub fn host(&self, name: &str) -> &Host {
        self.hosts.iter().find(|host| host.name == name).unwrap_or_else(|| panic!("no host {name}"))
    }

    /// Cuts these hosts off from each other, without a word to either: what they send is lost. Everybody else reaches
    /// them as before.
    ///
    /// # Panics
    /// Where the bridge does not obey.
    pub fn cut(&self, hosts: &[&str]) {
        self.isolate(hosts, "on");
    }

    /// Lets them reach each other again.
    ///
    /// # Panics
    /// Where the bridge does not obey.
    pub fn mend(&self, hosts: &[&str]) {
        self.isolate(hosts, "off");
    }

    /// Isolated ports of a bridge exchange nothing with each other, everything with the others.
    fn isolate(&self, hosts: &[&str], isolated: &str) {
        for host in hosts {
            self.on_switch(&[
                "link",
                "set",
                "dev",
                &port(host),
                "type",
                "bridge_slave",
                "isolated",
                isolated,
            ])
            .expect("the bridge obeys");
        }
    }

    /// The bytes that this host sent and received so far, Ethernet's and IP's headers among them.
    ///
    /// # Panics
    /// Where the bridge does not tell.
    #[must_use]
    pub fn bytes(&self, host: &str) -> u64 {
        let told = self.on_switch(&["-json", "-statistics", "link", "show", "dev", &port(host)]);
        let told: Value = serde_json::from_str(&told.expect("the bridge tells")).expect("JSON");
        let counted = |direction: &str| told[0]["stats64"][direction]["bytes"].as_u64().expect("a number");
        counted("rx") + counted("tx")
    }

    fn on_switch(&self, arguments: &[&str]) -> Result<String, String> {
        ip(&[&["-n", &self.switch], arguments].concat())
    }

    fn namespaces(&self) -> impl Iterator<Item = &str> {
        self.hosts.iter().map(|host| host.namespace.as_str()).chain([self.switch.as_str()])
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(watchdog) = &mut self.watchdog {
            let _ = watchdog.kill();
            let _ = watchdog.wait();
        }
        for namespace in self.namespaces() {
            // Not there, where it could not be made.
            let _ = ip(&["netns", "delete", namespace]);
        }
    }
}

/// The bridge's end of a host's cable.
fn port(host: &str) -> String {
    format!("to-{host}")
}

fn ip(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("ip cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("ip {}: {}", arguments.join(" "), said.lines().next().unwrap_or_default()))
}

// === impl Host ===

impl Host {
    /// Its address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Does something on this host: what is connected to, listened on and started there is this host's, and so is
    /// what that starts in turn.
    ///
    /// # Panics
    /// Where the host cannot be entered, or with what `job` panics with.
    pub fn run<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        let on_host = || {
            let entry = self.entry.as_ref().expect("the host was made");
            // Of this thread alone, which ends with the job.
            move_into_link_name_space(entry.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("the host can be entered");
            job()
        };
        thread::scope(|scope| scope.spawn(on_host).join()).unwrap_or_else(|panic| panic::resume_unwind(panic))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;
    use crate::skipped;

    fn connects(from: &Host, to: &TcpListener) -> bool {
        let address = to.local_addr().unwrap();
        from.run(|| TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok())
    }

    #[test]
    fn hosts_reach_each_other_unless_they_are_cut_off_and_are_gone_with_their_network() {
        let network = match Network::start(&["a", "b", "c"]) {
            Ok(network) => network,
            Err(reason) => {
                let test = "hosts_reach_each_other_unless_they_are_cut_off_and_are_gone_with_their_network";
                return skipped(test, &reason);
            }
        };
        let [a, b, c] = ["a", "b", "c"].map(|name| network.host(name));
        let listener = b.run(|| TcpListener::bind((b.address(), 0)).unwrap());
        assert!(connects(a, &listener) && connects(c, &listener));
        let address = listener.local_addr().unwrap();
        let from_here = TcpStream::connect_timeout(&address, Duration::from_millis(300));
        assert!(from_here.is_err(), "the network is nobody else's");
        network.cut(&["a", "b"]);
        assert!(!connects(a, &listener) && connects(c, &listener));
        network.mend(&["a", "b"]);
        assert!(connects(a, &listener));
        assert!(network.bytes("a") > 0);

        let namespaces: Vec<String> = network.namespaces().map(str::to_owned).collect();
        drop(network);
        let left = ip(&["netns", "list"]).unwrap();
        assert!(namespaces.iter().all(|namespace| !left.contains(namespace)), "{left}");
    }

    #[test]
    fn a_network_that_cannot_be_made_leaves_nothing_behind() {
        // An interface's name has fifteen characters at most.
        let Err(reason) = Network::start(&["good", "far-too-long-for-a-name"]) else {
            panic!("there is such a network")
        };
        assert!(!reason.is_empty());
        if let Ok(left) = ip(&["netns", "list"]) {
            assert!(!left.contains("-far-too-long-for-a-name"), "{left}");
        }
    }
}
