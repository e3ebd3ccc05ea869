//! `cargo xtask test`: every test, and a last line that counts them.

mod tally;

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::workspace::{Workspace, cargo};
use crate::{command, envoy, say, system, wasm};
use tally::Tally;

/// What parts of the tests use that a machine may lack. Where it cannot be installed, those tests say so.
const NEEDS: &[system::Need] = &[
    system::PYTHON_VENV,
    system::NODE,
    system::POSTGRESQL,
    system::CHROMIUM,
    system::IPROUTE,
    system::PROMETHEUS,
    system::DOCKER,
    system::DOCKER_REGISTRY,
    system::DEBOOTSTRAP,
];

const TEST: &[&str] = &["test", "--workspace", "--locked"];
const END_TO_END: &[&str] = &["--test", "e2e"];
/// The tests that show how a request is read: through Envoy, beside its `jwt_authn`, and in front of real frameworks.
const READINGS: &[&str] = &["--test", "e2e", "--test", "differential", "--test", "frameworks"];
/// The frameworks get fewer requests on the oldest Envoy; they got all of them on the newest.
const FEWER_REQUESTS: &[(&str, &str)] = &[("JWT_GATE_FRAMEWORKS_REQUESTS", "300")];

/// What the dynamic module is tested by beside its own tests.
const ON_BOTH_HOSTS: &[&str] =
    &["--test", "e2e", "--test", "boundary", "--test", "revocation", "--test", "tool"];

/// Where this is set to something, the tests of the second way of delivery have a gate whose standard library was built
/// from source (docs/building.md), so that both ways to build it are seen to work. Not with `--matrix`.
const STD_FROM_SOURCE: &str = "JWT_GATE_STD_FROM_SOURCE";

/// Test programs to run.
struct Run {
    envoy: PathBuf,
    wasm: PathBuf,
    /// Which of them; none: all.
    selected: &'static [&'static str],
    /// What `$JWT_GATE_DELIVERY` says: how the gate gets into Envoy.
    delivery: &'static str,
    /// Variables that the caller may set otherwise.
    settings: &'static [(&'static str, &'static str)],
}

/// Runs all tests, those through Envoy twice more (with the gate delivered as a mesh does, and with the dynamic module), and those
/// of how requests are read on the oldest Envoy; or, for the `matrix`, those through Envoy on each of its versions. `arguments` go to the
/// test programs, as in `cargo test -- arguments`.
///
/// The last lines name what was skipped and why, and the very last is `N passed, N failed, N skipped`.
///
/// # Errors
/// Where something that every test needs is missing. That a test failed, or that none ran, is no error of
/// ours, only of the exit code.
pub fn command(matrix: bool, arguments: &[String]) -> Result<ExitCode> {
    for need in NEEDS {
        if let Err(error) = system::ensure(need) {
            say::note(&format!("{error:#}"));
        }
    }
    let workspace = Workspace::locate()?;
    let from_source = !matrix && env::var_os(STD_FROM_SOURCE).is_some_and(|value| !value.is_empty());
    let from_source = if from_source {
        say::step("Building the gate once more, with its standard library from source");
        Some(wasm::build_as(&wasm::Std::from_source()?, "jwt_gate.std-from-source.wasm")?)
    } else {
        None
    };
    say::step("Building the gate, which runs in Envoy");
    let wasm = wasm::build()?;
    say::step("Building the gate as a dynamic module");
    let module = crate::module::build()?;
    say::step("Building the tests, and with them the companion");
    // Not by a build of its own, which would compile the dependencies once more with fewer features.
    if let Err(error) = command::run(cargo().current_dir(&workspace.root).args(TEST).arg("--no-run")) {
        say::note(&format!("{error:#}"));
        let mut tally = Tally::default();
        tally.read_status(false);
        return Ok(report(&tally));
    }
    let companion = workspace.companion_path();
    if !command::is_executable(&companion) {
        bail!("cargo test left no {}", companion.display());
    }
    let mut tally = Tally::default();
    let runs: Vec<Run> = if matrix {
        let run = |version| {
            Ok(Run {
                envoy: envoy::locate_version(version)?,
                wasm: wasm.clone(),
                selected: END_TO_END,
                delivery: "",
                settings: &[],
            })
        };
        envoy::versions().map(run).collect::<Result<_>>()?
    } else {
        let envoy = envoy::locate()?;
        let run = |envoy: &PathBuf, wasm: &PathBuf, selected, delivery| Run {
            envoy: envoy.clone(),
            wasm: wasm.clone(),
            selected,
            delivery,
            settings: &[],
        };
        let mut runs = vec![
            run(&envoy, &wasm, &[], ""),
            run(&envoy, from_source.as_ref().unwrap_or(&wasm), END_TO_END, "mesh"),
            run(&envoy, &wasm, ON_BOTH_HOSTS, "module"),
        ];
        let oldest = envoy::oldest_version();
        match envoy::locate_version(oldest) {
            Ok(envoy) => runs.push(Run { settings: FEWER_REQUESTS, ..run(&envoy, &wasm, READINGS, "") }),
            Err(error) => tally.skip(&format!("the tests on Envoy {oldest}"), &format!("{error:#}")),
        }
        runs
    };

    for Run { envoy, wasm, selected, delivery, settings } in runs {
        let how = match delivery {
            "" => "",
            "module" => ", and the dynamic module as the gate",
            _ => ", the gate delivered as a mesh does",
        };
        say::step(&format!(
            "Running the tests on Envoy {}, {}, with {}{how}",
            envoy::version_of(&envoy)?,
            envoy.display(),
            wasm.display()
        ));
        let skip_log = tempfile::Builder::new().prefix("jwt-gate-skipped-").tempfile()?;
        let mut tests = cargo();
        tests
            .current_dir(&workspace.root)
            .args(TEST)
            .args(selected)
            .args(["--no-fail-fast", "--"])
            .args(arguments)
            .env("ENVOY", envoy)
            .env("JWT_GATE_WASM", &wasm)
            .env("JWT_GATE_MODULE", &module)
            .env("JWT_GATE_AUTH", &companion)
            // Beside the companion: `cargo test` has built it for its own tests.
            .env("JWT_GATE_TOOL", companion.with_file_name(format!("jwt-gate{}", env::consts::EXE_SUFFIX)))
            .env("JWT_GATE_DELIVERY", delivery)
            .env("JWT_GATE_SKIP_LOG", skip_log.path());
        for (name, value) in settings {
            if env::var_os(name).is_none() {
                tests.env(name, value);
            }
        }
        // A secret or a database of the caller's is not the tests'.
        for (name, _) in env::vars_os() {
            let known = name.to_string_lossy();
            if known.starts_with("BETTER_AUTH_") || known == "DATABASE_URL" {
                tests.env_remove(&name);
            }
        }
        run(&mut tests, &mut tally)?;
        tally.read_skip_log(&read(skip_log.path())?);
    }
    Ok(report(&tally))
}

/// Runs cargo, showing its output as it comes, and counts.
fn run(tests: &mut Command, tally: &mut Tally) -> Result<()> {
    let mut child =
        tests.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cargo could not be started")?;
    let mut shown = std::io::stdout();
    for line in BufReader::new(child.stdout.take().context("cargo has no standard output")?).split(b'\n') {
        let line = line?;
        shown.write_all(&line)?;
        shown.write_all(b"\n")?;
        tally.read_line(&String::from_utf8_lossy(&line));
    }
    shown.flush()?;
    tally.read_status(child.wait()?.success());
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Prints what a reader wants to know last; nothing follows the counts.
fn report(tally: &Tally) -> ExitCode {
    println!();
    for (test, reason) in tally.skipped() {
        println!("skipped: {test}: {reason}");
    }
    for failure in tally.failures() {
        println!("failed: {failure}");
    }
    if tally.is_empty() {
        println!("no test ran");
    }
    println!("{tally}");
    if tally.is_empty() || !tally.failures().is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
