//! The companion and FastAPI as processes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http;
use super::tokens::SECRET;
use crate::process::Guarded;

/// How often, and how long apart, a log is looked at for the address.
const TRIES: u32 = 600;
const INTERVAL: Duration = Duration::from_millis(50);

/// A running program that listens, which ends when this is dropped.
pub(super) struct Program {
    process: Guarded,
    pub(super) address: SocketAddr,
    _folder: TempDir,
}

impl Program {
    /// The companion, with a store of its own, this cost of a password's hash, and no throttling.
    pub(super) fn companion(binary: &Path, bcrypt_cost: u32) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("jwt-gate-bench-").tempdir()?;
        let mut command = Command::new(binary);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--private-listen", "127.0.0.1:0"])
            .args(["--bcrypt-cost", &bcrypt_cost.to_string()])
            .args(["--throttle-address", "0", "--throttle-account", "0", "--database-url"])
            .arg(format!("sqlite:{}", folder.path().join("users.db").display()))
            .env_clear()
            .env("BETTER_AUTH_SECRET", SECRET)
            .current_dir(folder.path())
            .stdout(Stdio::piped());
        let log = folder.path().join("log");
        let mut process = Guarded::start("the companion", &mut command, &log, folder.path())?;
        let mut line = String::new();
        let stdout = process.take_stdout().context("the companion has no standard output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let line: Value = serde_json::from_str(&line)
            .with_context(|| format!("the companion did not start\n{}", read(&log)))?;
        let address = line["public"].as_str().context("the companion announced no address")?.parse()?;
        Ok(Self { process, address, _folder: folder })
    }

    /// An application of `folder` in uvicorn, with one worker.
    pub(super) fn uvicorn(python: &Path, app_folder: &Path, app: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("jwt-gate-bench-").tempdir()?;
        let mut command = Command::new(python);
        command
            .args([
                "-m",
                "uvicorn",
                app,
                "--host",
                "127.0.0.1",
                "--port",
                "0",
                "--no-access-log",
                "--app-dir",
            ])
            .arg(app_folder)
            .env("SECRET_KEY", SECRET)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(folder.path())
            .stdout(Stdio::null());
        let log = folder.path().join("log");
        let mut process = Guarded::start("uvicorn", &mut command, &log, folder.path())?;
        for _ in 0..TRIES {
            let text = read(&log);
            let after = text.split_once("running on http://").map(|(_, after)| after);
            if let Some((address, _)) = after.and_then(|after| after.split_once(' ')) {
                return Ok(Self { process, address: address.parse()?, _folder: folder });
            }
            if let Some(status) = process.ended() {
                bail!("uvicorn ended with {status}\n{text}");
            }
            thread::sleep(INTERVAL);
        }
        bail!("uvicorn does not listen\n{}", read(&log));
    }

    pub(super) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Signs somebody up at the companion; the account's id.
    pub(super) fn sign_up(&self, email: &str, password: &str) -> Result<String> {
        let account = json!({"email": email, "password": password, "name": "Ada Lovelace"});
        let answer = http::post(self.address, "/api/auth/signup", &account)?;
        let body: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let id = body.pointer("/user/id").and_then(Value::as_str);
        id.map(str::to_owned).with_context(|| format!("the sign-up was answered {}", answer.status))
    }
}

fn read(log: &Path) -> String {
    String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned()
}
