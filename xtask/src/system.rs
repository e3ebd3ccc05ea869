//! What the commands install with the system's package manager, and why.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};

use crate::{command, say};

/// Something that Debian's packages bring.
pub struct Need {
    /// What it is, for messages.
    pub what: &'static str,
    /// What it is needed for.
    pub why: &'static str,
    /// Debian's (and mostly Ubuntu's) packages that bring it.
    pub packages: &'static [&'static str],
    /// Whether it is there already.
    pub is_there: fn() -> bool,
}

/// Rust with its source, by which `std` is built where rustup cannot provide the wasm target.
pub const RUST_SOURCE: Need = Need {
    what: "a Rust toolchain with its source",
    why: "builds std for wasm32-wasip1",
    packages: &["rustc-web", "cargo-web", "rust-web-src"],
    is_there: || {
        ["/usr/bin/cargo", "/usr/bin/rustc", "/usr/lib/rustlib/src/rust/library/Cargo.lock"]
            .iter()
            .all(|path| Path::new(path).exists())
            || Path::new("/usr/src/rustc-web").exists() && Path::new("/usr/bin/cargo").exists()
    },
};

/// The C library that `std` uses on WASI.
pub const WASI_LIBC: Need = Need {
    what: "wasi-libc",
    why: "is linked into std for wasm32-wasip1",
    packages: &["wasi-libc"],
    is_there: || Path::new("/usr/lib/wasm32-wasi/libc.a").exists(),
};

/// The linker for wasm.
pub const WASM_LD: Need = Need {
    what: "wasm-ld",
    why: "links the filter",
    packages: &["lld"],
    is_there: || command::on_path("wasm-ld").is_some(),
};

/// Python's virtual environments, which Debian keeps apart from Python.
pub const PYTHON_VENV: Need = Need {
    what: "Python's venv module",
    why: "the tests with PyJWT and gRPC's client install them into a virtual environment",
    packages: &["python3-venv"],
    is_there: || {
        command::on_path("python3").is_some_and(|python| {
            command::succeeds(Command::new(python).args(["-c", "import ensurepip, venv"]))
        })
    },
};

/// Node with npm.
pub const NODE: Need = Need {
    what: "Node with npm",
    why: "the tests with packages from npm run in it",
    packages: &["nodejs", "npm"],
    is_there: || command::on_path("node").is_some() && command::on_path("npm").is_some(),
};

/// A PostgreSQL server's programs.
pub const POSTGRESQL: Need = Need {
    what: "PostgreSQL",
    why: "the tests of the companion's store start a server of their own",
    packages: &["postgresql"],
    is_there: || Path::new("/usr/lib/postgresql").is_dir() || command::on_path("initdb").is_some(),
};

/// A browser.
pub const CHROMIUM: Need = Need {
    what: "Chromium",
    why: "a test signs up and in as a person would",
    packages: &["chromium"],
    is_there: || command::on_path("chromium").is_some(),
};

/// The load generator.
pub const WRK: Need = Need {
    what: "wrk",
    why: "makes the load of the benchmark",
    packages: &["wrk"],
    is_there: || command::on_path("wrk").is_some(),
};

/// What counts instructions.
pub const VALGRIND: Need = Need {
    what: "valgrind",
    why: "counts the instructions of the gate's logic, which do not depend on the clock",
    packages: &["valgrind"],
    is_there: || command::on_path("valgrind").is_some(),
};

/// A Docker engine, its client, and compose.
pub const DOCKER: Need = Need {
    what: "Docker",
    why: "a test runs docker-compose.yml in an engine of its own",
    packages: &["docker.io", "docker-compose"],
    is_there: || {
        let composes = || {
            command::on_path("docker-compose").is_some()
                || command::succeeds(Command::new("docker").args(["compose", "version"]))
        };
        ["docker", "dockerd", "containerd", "iptables"].iter().all(|name| command::on_path(name).is_some())
            && composes()
    },
};

/// A registry of images.
pub const DOCKER_REGISTRY: Need = Need {
    what: "a registry of images",
    why: "a test pushes the filter's image and fetches it as Istio does",
    packages: &["docker-registry"],
    is_there: || command::on_path("docker-registry").is_some(),
};

/// What lays a Debian into a folder.
pub const DEBOOTSTRAP: Need = Need {
    what: "debootstrap",
    why: "a test makes the base images that it cannot pull",
    packages: &["debootstrap"],
    is_there: || command::on_path("debootstrap").is_some(),
};

/// `ip`, for networks of our own.
pub const IPROUTE: Need = Need {
    what: "ip",
    why: "tests make networks of their own",
    packages: &["iproute2"],
    is_there: || command::on_path("ip").is_some(),
};

/// Prometheus with promtool.
pub const PROMETHEUS: Need = Need {
    what: "Prometheus",
    why: "tests run the dashboard's queries and the alert rules",
    packages: &["prometheus"],
    is_there: || command::on_path("prometheus").is_some() && command::on_path("promtool").is_some(),
};

/// Makes sure that `need` is met, by installing its packages where that is possible.
///
/// # Errors
/// Where it is missing and cannot be installed; the message says what to type.
pub fn ensure(need: &Need) -> Result<()> {
    if (need.is_there)() {
        return Ok(());
    }
    install(need.packages).with_context(|| format!("{} is missing ({})", need.what, need.why)).and_then(
        |()| {
            if !(need.is_there)() {
                bail!("{} is still missing after installing {}", need.what, need.packages.join(" "));
            }
            Ok(())
        },
    )
}

/// Installs Debian packages, where there is apt-get and we are root.
fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if command::on_path("apt-get").is_none() {
        bail!("install the equivalent of Debian's {list}: this system has no apt-get");
    }
    if !is_root() {
        bail!("only root can install it: `sudo apt-get install {list}`");
    }
    update_once()?;
    say::step(&format!("Installing {list}"));
    command::stdout(apt_get().args(["install", "--yes", "--no-install-recommends"]).args(packages))?;
    Ok(())
}

/// `apt-get update`, the first time in this process.
fn update_once() -> Result<()> {
    static UPDATED: Mutex<bool> = Mutex::new(false);
    let mut updated = UPDATED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !*updated {
        say::step("Reading the system's package lists");
        command::stdout(apt_get().args(["update", "--quiet"]))?;
        *updated = true;
    }
    Ok(())
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Another installation may be running: wait for it, at most five minutes.
        .args(["-o", "DPkg::Lock::Timeout=300"])
        .stdin(Stdio::null());
    command
}

/// Whether we are root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
