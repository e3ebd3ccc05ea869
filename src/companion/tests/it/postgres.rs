//! A PostgreSQL server of our own: a new cluster in a temporary directory, reached by a socket in it, or at an address.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::setup::run;

/// A running server; ended and removed with the value.
pub(crate) struct Postgres {
    directory: TempDir,
    programs: PathBuf,
    as_root: bool,
    /// Where it listens beside its socket.
    address: Option<String>,
}

impl Postgres {
    /// Starts one, from Debian's package if there is none and we may install it.
    pub(crate) fn start() -> Result<Self, String> {
        let server = Self::make(None)?;
        server.begin()?;
        Ok(server)
    }

    /// One that is still to [`begin`](Self::begin), and will then listen at this address too, for everybody on
    /// its network.
    #[allow(dead_code, reason = "the tests of several hosts use it")]
    pub(crate) fn at(address: &str) -> Result<Self, String> {
        Self::make(Some(address.to_owned()))
    }

    fn make(address: Option<String>) -> Result<Self, String> {
        let as_root = run(Command::new("id").arg("-u"))?.trim() == "0";
        let programs = match programs() {
            Some(programs) => programs,
            None => install(as_root)?,
        };
        let directory = TempDir::new().map_err(|error| error.to_string())?;
        let server = Self { directory, programs, as_root, address };
        if as_root {
            // The server refuses to run as root.
            run(Command::new("chown").arg("postgres:").arg(server.directory.path()))?;
        }
        let data = server.data();
        server.run("initdb", &["-D", &data, "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync"])?;
        if server.address.is_some() {
            let rules = Path::new(&data).join("pg_hba.conf");
            let more = |text: String| text + "host all all samenet trust\n";
            let text = std::fs::read_to_string(&rules).map(more).map_err(|error| error.to_string())?;
            std::fs::write(&rules, text).map_err(|error| error.to_string())?;
        }
        Ok(server)
    }

    /// Starts the server on its data.
    pub(crate) fn begin(&self) -> Result<(), String> {
        let socket = self.directory.path().display();
        let address = self.address.as_deref().unwrap_or_default();
        let options =
            format!("-c listen_addresses='{address}' -c unix_socket_directories='{socket}' -c fsync=off");
        let log = self.directory.path().join("log").display().to_string();
        self.run("pg_ctl", &["-D", &self.data(), "-l", &log, "-w", "-o", &options, "start"]).map(drop)
    }

    /// Ends the server as a crash would.
    pub(crate) fn end(&self) -> Result<(), String> {
        self.run("pg_ctl", &["-D", &self.data(), "-m", "immediate", "-w", "stop"]).map(drop)
    }

    /// Stops every process of the server where it stands: it takes connections and says nothing.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets them go on.
    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        for process in self.processes() {
            // One that has just ended is as good.
            let _ = Command::new("kill").args([signal, &process.to_string()]).output();
        }
    }

    /// The server's process and its children.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let file =
            std::fs::read_to_string(Path::new(&self.data()).join("postmaster.pid")).unwrap_or_default();
        let Some(Ok(server)) = file.lines().next().map(str::parse) else { return Vec::new() };
        let children = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let process: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
            (parent.trim().parse() == Ok(server)).then_some(process)
        });
        std::iter::once(server).chain(children).collect()
    }

    /// The URL of a new, empty database.
    pub(crate) fn database(&self, name: &str) -> String {
        let socket = self.directory.path().display().to_string();
        self.run("createdb", &["-h", &socket, "-U", "postgres", name]).unwrap();
        match &self.address {
            Some(address) => format!("postgres://postgres@{address}/{name}"),
            None => format!("postgres://postgres@localhost/{name}?host={socket}"),
        }
    }

    fn data(&self) -> String {
        self.directory.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let program = self.programs.join(program);
        let mut command = match self.as_root {
            true => {
                let mut command = Command::new("runuser");
                command.args(["-u", "postgres", "--"]).arg(program);
                command
            }
            false => Command::new(program),
        };
        // pg_ctl's server keeps its parent's output open, which would never end.
        let output = self.directory.path().join("output");
        let file = std::fs::File::create(&output).map_err(|error| error.to_string())?;
        let copy = file.try_clone().map_err(|error| error.to_string())?;
        command.args(arguments).current_dir("/").stdout(file).stderr(copy);
        let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
        let said = std::fs::read_to_string(output).unwrap_or_default();
        if status.success() { Ok(said) } else { Err(format!("{command:?}: {said}")) }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.thaw();
        let _ = self.end();
    }
}

/// Where Debian puts the server's programs, the newest version's.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> = versions
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .filter(|programs| programs.join("initdb").exists())
        .collect();
    found.sort();
    found.pop()
}

fn install(as_root: bool) -> Result<PathBuf, String> {
    if !as_root || !Path::new("/usr/bin/apt-get").exists() {
        return Err("PostgreSQL is not installed (Debian: apt-get install postgresql)".to_owned());
    }
    let apt = |arguments: &[&str]| {
        let quiet = ("DEBIAN_FRONTEND", "noninteractive");
        run(Command::new("apt-get").args(arguments).env(quiet.0, quiet.1))
            .map_err(|error| format!("apt-get failed: {error}"))
    };
    apt(&["update", "-qq"])?;
    apt(&["install", "-y", "-qq", "--no-install-recommends", "postgresql"])?;
    programs().ok_or_else(|| "PostgreSQL was installed but is not where Debian puts it".to_owned())
}
