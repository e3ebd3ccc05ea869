//! A site: Envoy with the gate as `envoy/` configures it, somebody who signs people in, a FastAPI backend.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use std::{fs, thread};

use jwt_gate_tests::{Envoy, Guarded, Listener, Python, Spec};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How often a program's log is looked at for the port that it listens on, and how long apart.
const TRIES: u32 = 600;
const INTERVAL: Duration = Duration::from_millis(50);

/// A program that says on which port it listens.
pub(crate) struct Server {
    process: Guarded,
    home: TempDir,
    pub(crate) port: u16,
}

impl Server {
    /// Starts `command` and waits for a line of its log with `mark` before the port.
    pub(crate) fn start(command: &mut Command, mark: &str) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let mut process = Guarded::start(command, &home).expect("the program starts");
        for _ in 0..TRIES {
            let log = fs::read_to_string(home.path().join("log")).unwrap_or_default();
            let digits = log.split(mark).nth(1).map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
            if let Some(Ok(port)) = digits.flatten().filter(|digits| !digits.is_empty()).map(str::parse)
                && log.split(mark).nth(1).is_some_and(|rest| rest.contains(char::is_whitespace))
            {
                return Self { process, home, port };
            }
            assert!(process.ended().is_none(), "{command:?} ended:\n{log}");
            thread::sleep(INTERVAL);
        }
        panic!(
            "{command:?} does not listen:\n{}",
            fs::read_to_string(home.path().join("log")).unwrap_or_default()
        );
    }

    /// The FastAPI backend of `envoy/backend`.
    pub(crate) fn fastapi() -> Result<Self, &'static str> {
        let python = Python::backend()?;
        let mut uvicorn = python.module("uvicorn");
        uvicorn.args(["main:app", "--host", "127.0.0.1", "--port", "0", "--app-dir"]);
        uvicorn.arg(repository().join("envoy/backend")).env("PYTHONDONTWRITEBYTECODE", "1");
        Ok(Self::start(&mut uvicorn, "running on http://127.0.0.1:"))
    }

    pub(crate) fn log(&self) -> String {
        let _ = self.process.id();
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository").to_owned()
}

/// The gate's configuration in `envoy/envoy.yaml`, as it is shipped.
pub(crate) fn shipped_gate() -> Value {
    let text = fs::read_to_string(repository().join("envoy/envoy.yaml")).expect("envoy.yaml is there");
    let document: Value = serde_saphyr::from_str(&text).expect("envoy.yaml is YAML");
    let hcm = &document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    let gate =
        hcm["http_filters"].as_array().and_then(|filters| filters.iter().find(|f| f["name"] == "jwt_gate"));
    let mut gate =
        gate.expect("the gate is in it")["typed_config"]["config"]["configuration"]["value"].clone();
    // These sites' Envoys know no cluster of its name; another test follows the feed.
    if let Some(members) = gate.as_object_mut() {
        members.remove("revocation");
    }
    gate
}

/// An Envoy with `gate`: what begins with one of `auth_paths` goes to `auth`, the rest to `backend`.
pub(crate) fn front(gate: Value, auth_paths: &[&str], auth: u16, backend: u16) -> Envoy {
    let mut routes: Vec<Value> = auth_paths
        .iter()
        .map(|prefix| json!({"match": {"prefix": prefix}, "route": {"cluster": "auth"}}))
        .collect();
    routes.push(json!({"match": {"prefix": "/"}, "route": {"cluster": "application"}}));
    let listener = Listener::gated("site", gate).normalised().routes(Value::Array(routes));
    Spec::new().cluster("auth", auth).cluster("application", backend).listener(listener).start()
}

/// The output of a program that must succeed.
pub(crate) fn said(command: &mut Command, envoy: &Envoy) -> String {
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{text}\n{}", envoy.log());
    text
}
