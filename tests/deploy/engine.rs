//! A Docker engine of our own.
//!
//! It runs in namespaces of its own: its bridge, its firewall rules, its mounts and its processes are not this
//! machine's, another Docker here does not notice it, and the kernel ends all of it with one process.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use jwt_gate_tests::Guarded;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;
use xtask::command::{on_path, stdout};
use xtask::system;

/// How often the engine is asked whether it serves, and how long apart.
const TRIES: u32 = 300;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

/// `$1` is the engine's folder.
const START: &str = r#"ip link set lo up
exec dockerd --host "unix://$1/docker.sock" --data-root "$1/data" --exec-root "$1/run" --pidfile "$1/pid""#;

/// A running engine. It ends when this is dropped, with everything that runs in it.
pub(crate) struct Engine {
    process: Guarded,
    home: TempDir,
}

impl Engine {
    /// Starts one, or says why none can run here.
    pub(crate) fn start() -> Result<Self, String> {
        if !system::is_root() {
            return Err("only root can start a Docker engine".to_owned());
        }
        for need in [&system::DOCKER, &system::IPROUTE] {
            system::ensure(need).map_err(|error| format!("{error:#}").replace('\n', " "))?;
        }
        let home = tempfile::Builder::new().prefix("jwt-gate-docker-").tempdir().expect("a directory");
        let mut command = Command::new("unshare");
        command
            .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-ec", START, "engine"])
            .arg(home.path());
        let process = Guarded::start(&mut command, &home).map_err(|error| format!("unshare: {error}"))?;
        let mut engine = Self { process, home };
        for _ in 0..TRIES {
            if engine.docker(&["version"]).output().is_ok_and(|answer| answer.status.success()) {
                return Ok(engine);
            }
            if engine.process.ended().is_some() {
                break;
            }
            thread::sleep(BETWEEN_TRIES);
        }
        let log = fs::read_to_string(engine.home.path().join("log")).unwrap_or_default();
        Err(format!(
            "no Docker engine starts here: {}",
            log.trim().lines().last().unwrap_or("it says nothing")
        ))
    }

    /// A folder that is removed with it.
    pub(crate) fn folder(&self) -> &Path {
        self.home.path()
    }

    /// A command of its client.
    pub(crate) fn docker(&self, arguments: &[&str]) -> Command {
        let mut command = self.client("docker");
        command.args(arguments);
        command
    }

    /// The output of a command that must succeed.
    pub(crate) fn said(&self, arguments: &[&str]) -> String {
        stdout(&mut self.docker(arguments)).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// `docker compose`, whichever of its two names it has here, for the project in `folder`.
    pub(crate) fn compose(&self, folder: &Path, arguments: &[&str]) -> Command {
        let plugin =
            self.docker(&["compose", "version"]).output().is_ok_and(|answer| answer.status.success());
        let mut command = if plugin { self.docker(&["compose"]) } else { self.client("docker-compose") };
        command.args(arguments).current_dir(folder);
        command
    }

    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(on_path(program).unwrap_or_else(|| PathBuf::from(program)));
        command
            .env("DOCKER_HOST", format!("unix://{}", self.home.path().join("docker.sock").display()))
            // The builder that is part of every engine; the newer one is a plugin that may be missing.
            .env("DOCKER_BUILDKIT", "0");
        command
    }

    /// Runs `action` on a thread in the engine's network: its loopback has the published ports, and what it starts
    /// is there too.
    pub(crate) fn inside<T: Send>(&self, action: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(format!("/proc/{}/ns/net", self.process.id())).expect("the engine runs");
        let enter = move || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root may enter the engine's network");
            action()
        };
        thread::scope(|scope| match scope.spawn(enter).join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    }
}
