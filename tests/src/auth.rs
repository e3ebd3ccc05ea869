//! The companion as a process.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use std::{env, fs, thread};

use serde_json::Value;
use tempfile::TempDir;

use crate::process::Guarded;

/// How often the log is looked at for the line that says where it listens, and how long apart.
const READINESS_TRIES: u32 = 600;
const READINESS_INTERVAL: Duration = Duration::from_millis(50);

/// The companion's binary: `$JWT_GATE_AUTH`, else built from this workspace.
///
/// # Panics
/// Where it does not compile.
#[must_use]
pub fn companion_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match env::var_os("JWT_GATE_AUTH") {
        Some(built) => PathBuf::from(built),
        None => xtask::workspace::Workspace::locate()
            .and_then(|workspace| workspace.companion())
            .expect("the companion is built"),
    })
}

/// A companion with a store of its own, running or stopped.
pub struct Companion {
    process: Guarded,
    address: Ipv4Addr,
    ports: Ports,
    environment: Vec<(String, String)>,
    directory: TempDir,
}

/// Where it listens. Once it has been told a port it keeps it, so that whoever knows it finds it again.
#[derive(Debug, Clone, Copy, Default)]
struct Ports {
    public: u16,
    private: u16,
}

impl Companion {
    /// Starts one on ephemeral ports that signs with `secret`.
    ///
    /// # Panics
    /// Where it does not come to listen.
    #[must_use]
    pub fn start(secret: &str) -> Self {
        Self::start_with(&[("BETTER_AUTH_SECRET", secret)])
    }

    /// Starts one with these environment variables, the secrets among them.
    ///
    /// # Panics
    /// Where it does not come to listen.
    #[must_use]
    pub fn start_with(environment: &[(&str, &str)]) -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST, environment)
    }

    /// The same, listening at this address.
    ///
    /// # Panics
    /// Where it does not come to listen.
    #[must_use]
    pub fn start_at(address: Ipv4Addr, environment: &[(&str, &str)]) -> Self {
        let directory = tempfile::Builder::new().prefix("jwt-gate-auth-").tempdir().expect("a directory");
        let environment = owned(environment);
        let (process, ports) = Self::run(&directory, &environment, address, Ports::default());
        Self { process, address, ports, environment, directory }
    }

    fn run(
        directory: &TempDir,
        environment: &[(String, String)],
        address: Ipv4Addr,
        ports: Ports,
    ) -> (Guarded, Ports) {
        let log = directory.path().join("log");
        let _ = fs::remove_file(&log);
        let mut command = Command::new(companion_binary());
        let at = |port: u16| format!("{address}:{port}");
        command
            .args(["serve", "--listen", &at(ports.public), "--private-listen", &at(ports.private)])
            .args(["--bcrypt-cost", "4", "--throttle-address", "0", "--throttle-account", "0"]);
        prepare(&mut command, directory, environment);
        let mut process = Guarded::start(&mut command, directory).expect("the companion starts");
        for _ in 0..READINESS_TRIES {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let listening = text.lines().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                let port = |name: &str| line[name].as_str()?.rsplit(':').next()?.parse().ok();
                (line["event"] == "listening")
                    .then(|| Some(Ports { public: port("public")?, private: port("private")? }))?
            });
            if let Some(ports) = listening {
                return (process, ports);
            }
            assert!(process.ended().is_none(), "the companion ended:\n{text}");
            thread::sleep(READINESS_INTERVAL);
        }
        panic!("the companion does not listen:\n{}", fs::read_to_string(&log).unwrap_or_default());
    }

    /// The port of `/api/auth`.
    #[must_use]
    pub fn public_port(&self) -> u16 {
        self.ports.public
    }

    /// The port of `/internal/revocations`.
    #[must_use]
    pub fn private_port(&self) -> u16 {
        self.ports.private
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it with SIGKILL and starts it again on the same store and ports.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again, after [`Self::kill`], on the same store and ports.
    pub fn start_again(&mut self) {
        (self.process, self.ports) = Self::run(&self.directory, &self.environment, self.address, self.ports);
    }

    /// Ends it and starts it again with other environment variables: other secrets.
    pub fn restart_with(&mut self, environment: &[(&str, &str)]) {
        self.environment = owned(environment);
        self.kill_and_restart();
    }

    /// One of its commands, with the same store and secrets.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(companion_binary());
        command.args(arguments);
        prepare(&mut command, &self.directory, &self.environment);
        command
    }

    /// The folder with its store: `users.db` and what SQLite keeps beside it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.directory.path()
    }

    /// What it logged since it was last started.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

fn owned(environment: &[(&str, &str)]) -> Vec<(String, String)> {
    environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn prepare(command: &mut Command, directory: &TempDir, environment: &[(String, String)]) {
    command
        .env_remove("BETTER_AUTH_SECRET")
        .env_remove("BETTER_AUTH_SECRETS")
        .env("DATABASE_URL", format!("sqlite:{}", directory.path().join("users.db").display()))
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(directory.path());
}
