//! Other people's programs that the tests run against: Python's and Node's packages, pinned by hash.
//!
//! They are installed under cargo's target directory by whichever test needs them first, once for each
//! lock file.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use xtask::command;
use xtask::workspace::Workspace;

/// A Python with the packages of `clients/python/requirements.txt`.
#[derive(Debug)]
pub struct Python {
    interpreter: PathBuf,
}

/// A Node with the packages of a folder's `package-lock.json`.
#[derive(Debug)]
pub struct Node {
    interpreter: PathBuf,
    /// The folder, under `clients/`.
    folder: &'static str,
    home: PathBuf,
}

impl Python {
    /// The Python of this test binary, or why there is none here.
    ///
    /// # Errors
    /// Where Python is not installed or its packages cannot be fetched.
    pub fn shared() -> Result<&'static Self, &'static str> {
        static SHARED: OnceLock<Result<Python, String>> = OnceLock::new();
        let install = || Self::install("python", &clients().join("python/requirements.txt"));
        SHARED.get_or_init(install).as_ref().map_err(String::as_str)
    }

    /// A Python with the packages of the FastAPI backend in `envoy/backend`, or why there is none here.
    ///
    /// # Errors
    /// As [`Self::shared`].
    pub fn backend() -> Result<&'static Self, &'static str> {
        static BACKEND: OnceLock<Result<Python, String>> = OnceLock::new();
        let requirements = clients().join("../../envoy/backend/requirements.txt");
        BACKEND.get_or_init(|| Self::install("backend", &requirements)).as_ref().map_err(String::as_str)
    }

    /// A Python with Kubernetes' schemas, or why there is none here.
    ///
    /// # Errors
    /// As [`Self::shared`].
    pub fn kubernetes() -> Result<&'static Self, &'static str> {
        static KUBERNETES: OnceLock<Result<Python, String>> = OnceLock::new();
        let requirements = clients().join("kubernetes/requirements.txt");
        KUBERNETES.get_or_init(|| Self::install("kubernetes", &requirements)).as_ref().map_err(String::as_str)
    }

    /// A Python with Django and FastAPI, or why there is none here.
    ///
    /// # Errors
    /// As [`Self::shared`].
    pub fn frameworks() -> Result<&'static Self, &'static str> {
        static FRAMEWORKS: OnceLock<Result<Python, String>> = OnceLock::new();
        let requirements = clients().join("frameworks/python/requirements.txt");
        FRAMEWORKS.get_or_init(|| Self::install("frameworks", &requirements)).as_ref().map_err(String::as_str)
    }

    fn install(name: &str, requirements: &Path) -> Result<Self, String> {
        let python = command::on_path("python3").ok_or("Python 3 is not installed")?;
        let home = installed(name, requirements, |home| {
            done(Command::new(&python).args(["-m", "venv"]).arg(home))?;
            let pip = ["-m", "pip", "install", "--require-hashes", "--only-binary", ":all:", "--quiet"];
            let pip = Command::new(home.join("bin/python"))
                .args(pip)
                .args(["--disable-pip-version-check", "--no-input", "--requirement"])
                .arg(requirements)
                .output();
            succeeded(pip)
        })?;
        Ok(Self { interpreter: home.join("bin/python") })
    }

    /// A command that runs a module: `python -m <module>`.
    #[must_use]
    pub fn module(&self, module: &str) -> Command {
        let mut command = Command::new(&self.interpreter);
        command.args(["-m", module]);
        command
    }

    /// A command that runs `clients/python/<script>`.
    #[must_use]
    pub fn script(&self, script: &str) -> Command {
        self.script_of(&format!("python/{script}"))
    }

    /// A command that runs `clients/<script>`.
    #[must_use]
    pub fn script_of(&self, script: &str) -> Command {
        let mut command = Command::new(&self.interpreter);
        command.arg(clients().join(script));
        command
    }
}

impl Node {
    /// The Node of this test binary, with the packages of `clients/node`, or why there is none here.
    ///
    /// # Errors
    /// Where Node or npm is not installed, or the packages cannot be fetched.
    pub fn shared() -> Result<&'static Self, &'static str> {
        static SHARED: OnceLock<Result<Node, String>> = OnceLock::new();
        SHARED.get_or_init(|| Self::install("node", "node")).as_ref().map_err(String::as_str)
    }

    /// A Node with Express, or why there is none here.
    ///
    /// # Errors
    /// As [`Self::shared`].
    pub fn frameworks() -> Result<&'static Self, &'static str> {
        static FRAMEWORKS: OnceLock<Result<Node, String>> = OnceLock::new();
        let install = || Self::install("express", "frameworks/node");
        FRAMEWORKS.get_or_init(install).as_ref().map_err(String::as_str)
    }

    fn install(name: &str, folder: &'static str) -> Result<Self, String> {
        let interpreter = command::on_path("node").ok_or("Node is not installed")?;
        let npm = command::on_path("npm").ok_or("npm is not installed")?;
        let lock = clients().join(folder).join("package-lock.json");
        let home = installed(name, &lock, |home| {
            fs::create_dir_all(home).map_err(|error| error.to_string())?;
            for file in ["package.json", "package-lock.json"] {
                let copied = fs::copy(clients().join(folder).join(file), home.join(file));
                copied.map_err(|error| error.to_string())?;
            }
            let npm = Command::new(npm)
                .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"])
                .current_dir(home)
                .output();
            succeeded(npm)
        })?;
        Ok(Self { interpreter, folder, home })
    }

    /// A command that runs the script at this path from the folder where the packages can be imported.
    ///
    /// # Panics
    /// Where the script cannot be put there.
    #[must_use]
    pub fn script(&self, script: &str) -> Command {
        // Node looks for packages beside the script.
        let name = Path::new(script).file_name().expect("a file");
        let beside = self.home.join(name);
        fs::copy(clients().join(self.folder).join(script), &beside).expect("the script is copied");
        let mut command = Command::new(&self.interpreter);
        command.arg(beside);
        command
    }
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// The directory that `install` fills, for this state of the file `lock`.
fn installed(
    name: &str,
    lock: &Path,
    install: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let tools = Workspace::locate().map_err(|error| error.to_string())?.tools();
    let mut hasher = DefaultHasher::new();
    fs::read(lock).map_err(|error| error.to_string())?.hash(&mut hasher);
    let home = tools.join(format!("e2e-{name}-{:016x}", hasher.finish()));
    let complete = home.join("complete");
    fs::create_dir_all(&tools).map_err(|error| error.to_string())?;
    let _lock = command::lock(&tools.join(format!("e2e-{name}.lock"))).map_err(|error| error.to_string())?;
    if !complete.exists() {
        let _ = fs::remove_dir_all(&home);
        install(&home)?;
        fs::write(&complete, "").map_err(|error| error.to_string())?;
    }
    Ok(home)
}

fn done(command: &mut Command) -> Result<(), String> {
    succeeded(command.output())
}

fn succeeded(output: io::Result<Output>) -> Result<(), String> {
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    // The last line says what is wrong; the reason goes on one line of the skip log.
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it failed without a word").to_owned())
}
