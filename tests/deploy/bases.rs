//! The base images that the Dockerfile names, made on the spot: no registry of images is needed, and nothing that
//! the shipped files say is changed.
//!
//! They hold what the real ones do as far as the Dockerfile uses it: Debian, this machine's Rust, Debian's Python (an
//! older one than the real image has), the pinned Envoy. What the build would fetch is in them already, so that the engine
//! needs no way to the registries of crates and wheels.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use xtask::command::{lock, on_path, stdout};
use xtask::system;
use xtask::workspace::{Workspace, cargo};

use crate::engine::Engine;
use crate::repository;

type Made<T = ()> = Result<T, String>;

/// Compiles in a fifth of the time; what people build is optimised. bcrypt would take minutes without.
const UNOPTIMISED: &str = "\
[profile.release]
opt-level = 0
codegen-units = 256
[profile.release.package]
bcrypt = { opt-level = 3 }
blowfish = { opt-level = 3 }
";

const RUST_ENVIRONMENT: &[&str] = &[
    "ENV PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "ENV CARGO_HOME=/usr/local/cargo",
    "ENV RUSTUP_HOME=/usr/local/rustup",
    "ENV CARGO_NET_OFFLINE=true",
];

const PYTHON_ENVIRONMENT: &[&str] = &[
    "ENV PIP_NO_INDEX=1",
    "ENV PIP_FIND_LINKS=/wheels",
    "ENV PIP_BREAK_SYSTEM_PACKAGES=1",
    "ENV PIP_ROOT_USER_ACTION=ignore",
];

/// Makes every image that a `FROM` of the Dockerfile names, or says what of them cannot be had here.
pub(crate) fn provide(engine: &Engine) -> Made {
    system::ensure(&system::DEBOOTSTRAP).map_err(|error| format!("{error:#}").replace('\n', " "))?;
    let debian = debian()?;
    let work = tempfile::Builder::new().prefix("jwt-gate-bases-").tempdir().map_err(text)?;
    for image in named_by_the_dockerfile() {
        let root = work.path().join("root");
        copy(&debian, &root)?;
        let environment = match image.split([':', '/']).next().unwrap_or_default() {
            "debian" => &[][..],
            "rust" => rust(&root).map(|()| RUST_ENVIRONMENT)?,
            "envoyproxy" => envoy(&root).map(|()| &[][..])?,
            "python" => python(&root).map(|()| PYTHON_ENVIRONMENT)?,
            _ => panic!("the Dockerfile builds on {image}, which this test cannot make"),
        };
        import(engine, &root, &image, environment)?;
        fs::remove_dir_all(&root).map_err(text)?;
    }
    Ok(())
}

fn named_by_the_dockerfile() -> Vec<String> {
    let dockerfile = fs::read_to_string(repository().join("Dockerfile")).expect("the Dockerfile is there");
    let mut stages = vec!["scratch"];
    let mut images: Vec<String> = Vec::new();
    for line in dockerfile.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let ["FROM", image, rest @ ..] = words.as_slice() else { continue };
        if !stages.contains(image) && !images.iter().any(|known| known == image) {
            images.push((*image).to_owned());
        }
        if let ["AS", stage] = rest {
            stages.push(stage);
        }
    }
    images
}

/// Debian as its installer lays it, once for each target directory.
fn debian() -> Made<PathBuf> {
    let tools = Workspace::locate().map_err(text)?.tools();
    let (finished, growing) = (tools.join("deploy-debian"), tools.join("deploy-debian.new"));
    fs::create_dir_all(&tools).map_err(text)?;
    let _lock = lock(&tools.join("deploy-debian.lock")).map_err(text)?;
    if !finished.exists() {
        let _ = fs::remove_dir_all(&growing);
        run(Command::new("debootstrap").args(["--variant=minbase", "bookworm"]).arg(&growing))?;
        for leftover in ["var/cache/apt/archives", "usr/share/doc", "usr/share/locale"] {
            let folder = growing.join(leftover);
            fs::remove_dir_all(&folder).and_then(|()| fs::create_dir(&folder)).map_err(text)?;
        }
        fs::rename(&growing, &finished).map_err(text)?;
    }
    Ok(finished)
}

/// `rust`: this machine's toolchain, a C compiler, and every crate of the lock file.
fn rust(root: &Path) -> Made {
    install(root, &["gcc", "libc6-dev"])?;
    let rustup = on_path("rustup").ok_or("there is no rustup here whose toolchain could go into an image")?;
    let toolchain =
        PathBuf::from(stdout(Command::new("rustc").args(["--print", "sysroot"])).map_err(text)?.trim());
    if !toolchain.join("lib/rustlib/wasm32-wasip1/lib").is_dir() {
        return Err("this machine's Rust has no wasm32-wasip1, and rustup cannot fetch it".to_owned());
    }
    let name = toolchain.file_name().ok_or("rustc has no folder")?;
    let inside = root.join("usr/local/rustup/toolchains").join(name);
    fs::create_dir_all(&inside).map_err(text)?;
    for part in ["bin", "lib"] {
        copy(&toolchain.join(part), &inside.join(part))?;
    }
    let settings =
        format!("version = \"12\"\ndefault_toolchain = \"{}\"\nprofile = \"minimal\"\n", name.display());
    fs::write(root.join("usr/local/rustup/settings.toml"), settings).map_err(text)?;
    let home = root.join("usr/local/cargo");
    fs::create_dir_all(home.join("bin")).map_err(text)?;
    for program in ["rustup", "cargo", "rustc"] {
        fs::copy(&rustup, home.join("bin").join(program)).map_err(text)?;
    }
    fs::write(home.join("config.toml"), UNOPTIMISED).map_err(text)?;
    run(cargo().args(["fetch", "--locked", "--quiet"]).current_dir(repository()).env("CARGO_HOME", &home))?;
    // Unpacked again where they are needed: the image is a quarter smaller without.
    fs::remove_dir_all(home.join("registry/src")).map_err(text)
}

/// `python`: Debian's, with the wheels that `envoy/backend/requirements.txt` names.
fn python(root: &Path) -> Made {
    install(root, &["python3", "python3-pip"])?;
    std::os::unix::fs::symlink("/usr/bin/python3", root.join("usr/local/bin/python")).map_err(text)?;
    let wheels = root.join("wheels");
    run(Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"])
        .args(["--only-binary", ":all:", "--python-version", "3.11", "--require-hashes", "--dest"])
        .arg(&wheels)
        .arg("--requirement")
        .arg(repository().join("envoy/backend/requirements.txt")))
}

/// `envoyproxy/envoy`: Debian with Envoy.
fn envoy(root: &Path) -> Made {
    let envoy = xtask::envoy::locate().map_err(text)?;
    fs::copy(envoy, root.join("usr/local/bin/envoy")).map(drop).map_err(text)
}

fn install(root: &Path, packages: &[&str]) -> Made {
    fs::copy("/etc/resolv.conf", root.join("etc/resolv.conf")).map_err(text)?;
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("chroot");
        command.arg(root).args(["apt-get", "--yes", "--no-install-recommends"]).args(arguments);
        run(command.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let install = [&["install"], packages].concat();
    // By the lists that the installer left; where they are too old, by new ones.
    apt(&install).or_else(|_| apt(&["update"]).and_then(|()| apt(&install)))
}

fn copy(from: &Path, to: &Path) -> Made {
    run(Command::new("cp").arg("-a").arg(from).arg(to))
}

fn import(engine: &Engine, root: &Path, image: &str, environment: &[&str]) -> Made {
    let mut tar = Command::new("tar");
    let mut tar = tar
        .arg("-C")
        .arg(root)
        .args(["--exclude=./var/lib/apt/lists/*", "--exclude=./var/cache/apt/archives/*", "-c", "."])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(text)?;
    let mut import = engine.docker(&["import"]);
    for line in environment {
        import.args(["--change", line]);
    }
    let from = tar.stdout.take().ok_or("tar has no output")?;
    let imported = import.args(["-", image]).stdin(from).output().map_err(text)?;
    let packed = tar.wait().map_err(text)?;
    match imported.status.success() && packed.success() {
        true => Ok(()),
        false => Err(format!("{image}: {}", String::from_utf8_lossy(&imported.stderr).trim())),
    }
}

fn run(command: &mut Command) -> Made {
    stdout(command).map(drop).map_err(|error| format!("{error:#}").replace('\n', " "))
}

fn text(error: impl std::fmt::Display) -> String {
    format!("{error:#}")
}
