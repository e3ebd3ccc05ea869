//! The programs of the demo, started in order and ended together.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use super::Host;
use super::http;
use super::whoami::Whoami;
use crate::process::Guarded;
use crate::workspace::Workspace;

/// How often, and how long apart, Envoy is asked whether it serves: 60 seconds in all.
const READINESS_TRIES: u32 = 600;
const READINESS_INTERVAL: Duration = Duration::from_millis(100);

/// What is started.
pub(super) struct Programs {
    pub(super) gate: PathBuf,
    pub(super) host: Host,
    pub(super) companion: PathBuf,
    pub(super) envoy: PathBuf,
}

/// Where everything listens.
#[derive(Debug, Clone)]
pub(super) struct Addresses {
    /// Envoy's listener, the only one that a user would see.
    pub(super) public: SocketAddr,
    /// Envoy's admin interface.
    pub(super) admin: SocketAddr,
    /// The file of Envoy's access log.
    pub(super) access_log: PathBuf,
}

/// The running programs. Dropping it ends them, in this order, and removes their folder.
pub(super) struct Stack {
    envoy: Guarded,
    companion: Guarded,
    _backend: Whoami,
    addresses: Addresses,
    folder: TempDir,
}

impl Stack {
    pub(super) fn start(programs: &Programs, port: u16) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("jwt-gate-demo-").tempdir()?;
        let secret = new_secret()?;
        let (companion, auth) = start_companion(&programs.companion, &secret, folder.path())?;
        let backend = Whoami::start()?;
        let configuration = Substitutions {
            public: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            companion: auth.public,
            companion_private: auth.private,
            backend: backend.address(),
            gate: &programs.gate,
            host: programs.host,
        };
        let (envoy, addresses) = start_envoy(&programs.envoy, &secret, &configuration, folder.path())?;
        Ok(Self { envoy, companion, _backend: backend, addresses, folder })
    }

    pub(super) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// An error where one of the programs has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        for program in [&mut self.envoy, &mut self.companion] {
            if let Some(status) = program.ended() {
                let log = log_path(self.folder.path(), program.name());
                bail!("{} ended with {status}\n{}", program.name(), end_of(&log));
            }
        }
        Ok(())
    }
}

/// 256 bits, in the memory of this process and of the two it is given to, and nowhere else.
fn new_secret() -> Result<String> {
    let mut bytes = [0_u8; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Where the companion listens, as it announces it.
struct Announced {
    public: SocketAddr,
    private: SocketAddr,
}

fn start_companion(program: &Path, secret: &str, folder: &Path) -> Result<(Guarded, Announced)> {
    let log = log_path(folder, "companion");
    let mut command = Command::new(program);
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--private-listen", "127.0.0.1:0", "--database-url"])
        .arg(format!("sqlite:{}", folder.join("users.db").display()))
        // Nothing of the caller's environment: a DATABASE_URL there is not the demo's.
        .env_clear()
        .env("BETTER_AUTH_SECRET", secret)
        .current_dir(folder)
        .stdout(Stdio::piped());
    let mut companion = Guarded::start("companion", &mut command, &log, folder)?;
    let announced = companion.take_stdout().map(announced).transpose();
    match announced {
        Ok(Some(announced)) => Ok((companion, announced)),
        Ok(None) => bail!("the companion's standard output is not to be read"),
        Err(error) => Err(error).with_context(|| format!("the companion did not start\n{}", end_of(&log))),
    }
}

/// The companion prints one line of JSON when it listens.
fn announced(stdout: impl Read) -> Result<Announced> {
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let line: Value = serde_json::from_str(&line).context("it announced no addresses")?;
    let address = |name: &str| -> Result<SocketAddr> {
        let address = line.get(name).and_then(Value::as_str);
        Ok(address.with_context(|| format!("it announced no {name} address"))?.parse()?)
    };
    Ok(Announced { public: address("public")?, private: address("private")? })
}

fn start_envoy(
    program: &Path,
    secret: &str,
    configuration: &Substitutions<'_>,
    folder: &Path,
) -> Result<(Guarded, Addresses)> {
    let template = Workspace::locate()?.root.join("envoy/envoy.yaml");
    let template =
        fs::read_to_string(&template).with_context(|| format!("cannot read {}", template.display()))?;
    let path = folder.join("envoy.yaml");
    fs::write(&path, configuration.apply(&template)?)?;

    let access_log = folder.join("access.log");
    let admin = folder.join("admin-address");
    let log = log_path(folder, "Envoy");
    let mut command = Command::new(program);
    command
        .arg("--config-path")
        .arg(&path)
        .arg("--admin-address-path")
        .arg(&admin)
        .args(["--concurrency", "2", "--disable-hot-restart", "--file-flush-interval-msec", "50"])
        .env_clear()
        .env("BETTER_AUTH_SECRET", secret)
        .current_dir(folder)
        .stdout(File::create(&access_log)?);
    let mut envoy = Guarded::start("Envoy", &mut command, &log, folder)?;
    for _ in 0..READINESS_TRIES {
        if let Some(status) = envoy.ended() {
            bail!("Envoy ended with {status}\n{}", end_of(&log));
        }
        if let Some((admin, public)) = listening(&admin) {
            return Ok((envoy, Addresses { public, admin, access_log }));
        }
        thread::sleep(READINESS_INTERVAL);
    }
    bail!("Envoy does not come to serve\n{}", end_of(&log));
}

/// The addresses of Envoy's admin interface and public listener, once both serve.
fn listening(admin: &Path) -> Option<(SocketAddr, SocketAddr)> {
    let admin: SocketAddr = fs::read_to_string(admin).ok()?.trim().parse().ok()?;
    if http::get(admin, "/ready").ok()?.status != 200 {
        return None;
    }
    let listeners: Value =
        serde_json::from_str(&http::get(admin, "/listeners?format=json").ok()?.body).ok()?;
    let address = listeners.pointer("/listener_statuses/0/local_address/socket_address")?;
    let host = address.get("address")?.as_str()?;
    let port = address.get("port_value")?.as_u64()?;
    Some((admin, SocketAddr::new(host.parse().ok()?, u16::try_from(port).ok()?)))
}

/// The demo's own values for the places of `envoy/envoy.yaml` that are marked as the user's.
struct Substitutions<'demo> {
    public: SocketAddr,
    companion: SocketAddr,
    companion_private: SocketAddr,
    backend: SocketAddr,
    gate: &'demo Path,
    host: Host,
}

impl Substitutions<'_> {
    fn apply(&self, template: &str) -> Result<String> {
        let at =
            |address: SocketAddr| format!("{{address: {}, port_value: {}}}", address.ip(), address.port());
        let gate = self.gate.to_str().context("the target directory's path is not UTF-8")?;
        let substitutions = [
            ("{address: 0.0.0.0, port_value: 8080}", at(self.public)),
            ("{address: companion, port_value: 3000}", at(self.companion)),
            ("{address: companion, port_value: 3001}", at(self.companion_private)),
            ("{address: backend, port_value: 8000}", at(self.backend)),
            ("{address: 127.0.0.1, port_value: 9901}", at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))),
            // A JSON string is a YAML one too, whatever the path holds.
            ("filename: /etc/envoy/jwt_gate.wasm}", format!("filename: {}}}", Value::from(gate))),
        ];
        let mut text = template.to_owned();
        for (from, to) in substitutions {
            if text.matches(from).count() != 1 {
                bail!("envoy/envoy.yaml should hold `{from}` exactly once");
            }
            text = text.replace(from, &to);
        }
        match self.host {
            Host::Wasm => Ok(text),
            Host::Module => with_module(&text, gate).context("envoy/envoy.yaml should hold the wasm filter"),
        }
    }
}

/// The same configuration with the dynamic module in place of the wasm filter (docs/deploy/module.md).
fn with_module(text: &str, module: &str) -> Option<String> {
    let (before, filter) = text.split_once(
        "              \"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\n",
    )?;
    let (_, configuration) = filter.split_once("                configuration:\n")?;
    let module = Value::from(module);
    Some(format!(
        r#"{before}              "@type": type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter
              dynamic_module_config: {{module: {{local: {{filename: {module}}}}}, do_not_close: true, metrics_namespace: wasmcustom}}
              filter_name: jwt_gate
              filter_config:
{configuration}"#
    ))
}

fn log_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{}.log", name.to_lowercase()))
}

/// The last lines of a log that are not mere information.
fn end_of(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().filter(|line| !line.contains("][info][")).collect();
    let last = lines.get(lines.len().saturating_sub(15)..).unwrap_or(&lines);
    last.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demos_values_find_their_places_in_the_configuration_users_copy() {
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let substitutions = Substitutions {
            public: address(1),
            companion: address(2),
            companion_private: address(3),
            backend: address(4),
            gate: Path::new("/tmp/a \"path\"/jwt_gate.wasm"),
            host: Host::Wasm,
        };
        let text = substitutions.apply(include_str!("../../../envoy/envoy.yaml")).unwrap();
        for expected in [
            "port_value: 1}",
            "port_value: 2}",
            "port_value: 3}",
            "port_value: 4}",
            r#""/tmp/a \"path\"/jwt_gate.wasm""#,
        ] {
            assert!(text.contains(expected), "{expected}");
        }
        let module =
            Substitutions { host: Host::Module, gate: Path::new("/tmp/libjwt_gate.so"), ..substitutions };
        let text = module.apply(include_str!("../../../envoy/envoy.yaml")).unwrap();
        assert!(text.contains(r#"filename: "/tmp/libjwt_gate.so""#) && !text.contains("wasm.v3.Wasm"));
        assert!(text.contains("{header_name: x-user-id"), "the gate's own configuration stays");
    }

    #[test]
    fn each_demo_has_a_secret_of_its_own() {
        let one = new_secret().unwrap();
        assert_eq!(one.len(), 64);
        assert_ne!(one, new_secret().unwrap());
    }
}
