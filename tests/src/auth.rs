//! The companion as a process.

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

/// A running companion with a store of its own.
pub struct Companion {
    process: Guarded,
    public_port: u16,
    secret: String,
    directory: TempDir,
}

impl Companion {
    /// Starts one on ephemeral ports that signs with `secret`.
    ///
    /// # Panics
    /// Where it does not come to listen.
    #[must_use]
    pub fn start(secret: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("jwt-gate-auth-").tempdir().expect("a directory");
        let (process, public_port) = Self::run(&directory, secret);
        Self { process, public_port, secret: secret.to_owned(), directory }
    }

    fn run(directory: &TempDir, secret: &str) -> (Guarded, u16) {
        let log = directory.path().join("log");
        let _ = fs::remove_file(&log);
        let mut command = Command::new(companion_binary());
        command
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--private-listen",
                "127.0.0.1:0",
                "--bcrypt-cost",
                "4",
            ])
            .arg("--database-url")
            .arg(format!("sqlite:{}", directory.path().join("users.db").display()))
            .env("BETTER_AUTH_SECRET", secret)
            .env_remove("BETTER_AUTH_SECRETS")
            .current_dir(directory.path());
        let mut process = Guarded::start(&mut command, &log).expect("the companion starts");
        for _ in 0..READINESS_TRIES {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let ports = text.lines().find_map(|line| {
                let line: Value = serde_json::from_str(line).ok()?;
                (line["event"] == "listening")
                    .then(|| line["public"].as_str()?.rsplit(':').next()?.parse().ok())?
            });
            if let Some(port) = ports {
                return (process, port);
            }
            assert!(process.ended().is_none(), "the companion ended:\n{text}");
            thread::sleep(READINESS_INTERVAL);
        }
        panic!("the companion does not listen:\n{}", fs::read_to_string(&log).unwrap_or_default());
    }

    /// The port of `/api/auth`.
    #[must_use]
    pub fn public_port(&self) -> u16 {
        self.public_port
    }

    /// Ends it with SIGKILL and starts it again on the same store, most likely on another port.
    pub fn kill_and_restart(&mut self) {
        self.process.kill();
        (self.process, self.public_port) = Self::run(&self.directory, &self.secret);
    }

    /// What it logged since it was last started.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}
