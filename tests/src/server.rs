//! A program of somebody else's that serves HTTP.

use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use tempfile::TempDir;

use crate::process::Guarded;
use crate::toolbox::Python;

/// How often a program's log is looked at for the port that it listens on, and how long apart.
const TRIES: u32 = 600;
const INTERVAL: Duration = Duration::from_millis(50);

/// A program that says on which port it listens.
pub struct Server {
    _process: Guarded,
    home: TempDir,
    /// Where it listens on loopback.
    pub port: u16,
}

impl Server {
    /// Starts `command` and waits for a line of its log with `mark` before the port.
    ///
    /// # Panics
    /// Where it does not come to listen.
    pub fn start(command: &mut Command, mark: &str) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let mut process = Guarded::start(command, &home).expect("the program starts");
        for _ in 0..TRIES {
            let log = fs::read_to_string(home.path().join("log")).unwrap_or_default();
            let digits = log.split(mark).nth(1).map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
            if let Some(Ok(port)) = digits.flatten().filter(|digits| !digits.is_empty()).map(str::parse)
                && log.split(mark).nth(1).is_some_and(|rest| rest.contains(char::is_whitespace))
            {
                return Self { _process: process, home, port };
            }
            assert!(process.ended().is_none(), "{command:?} ended:\n{log}");
            thread::sleep(INTERVAL);
        }
        panic!(
            "{command:?} does not listen:\n{}",
            fs::read_to_string(home.path().join("log")).unwrap_or_default()
        );
    }

    /// The FastAPI backend of `envoy/backend`, or why it cannot run here.
    ///
    /// # Errors
    /// As [`Python::backend`].
    pub fn fastapi() -> Result<Self, &'static str> {
        let python = Python::backend()?;
        let mut uvicorn = python.module("uvicorn");
        uvicorn.args(["main:app", "--host", "127.0.0.1", "--port", "0", "--app-dir"]);
        uvicorn
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy/backend"))
            .env("PYTHONDONTWRITEBYTECODE", "1");
        Ok(Self::start(&mut uvicorn, "running on http://127.0.0.1:"))
    }

    /// What it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }
}
