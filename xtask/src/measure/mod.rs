//! `cargo xtask measure …`: the numbers of documents, made anew.
//!
//! The programs that measure are part of the end-to-end tests, whose Envoy, companion and clients they use. They
//! print each part as `@@ <name>` and a table; this puts the tables between the marks
//! `<!-- measured: <name> -->` and `<!-- end -->` of the document.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::workspace::{Workspace, cargo};
use crate::{command, document, envoy, say, system, wasm};

/// What can be measured.
#[derive(Debug, Clone, Subcommand)]
pub enum Measure {
    /// Sign-out to refusal, memory and time that revocations cost, the companion's share, and a soak; rewrites
    /// the tables of docs/revocation.md. `steady` is an hour of load, for docs/reliability.md, and runs only
    /// where it is named; $JWT_GATE_SOAK_MINUTES makes it shorter.
    Revocation {
        /// Only these: delay, memory, request-cost, look-up, companion, soak, steady. Default: all but steady.
        #[arg(value_name = "PART")]
        parts: Vec<String>,
    },
    /// Three Envoys and two companions on one PostgreSQL, hosts of their own in network namespaces, of which some fail
    /// under load, and what a gate costs the others; rewrites the tables of docs/scale.md. Linux, as root.
    Scale {
        /// Only these: failures, hosts, feed. Default: all.
        #[arg(value_name = "PART")]
        parts: Vec<String>,
    },
}

impl Measure {
    /// The subcommand's name; the program's begins with `measure-`.
    fn name(&self) -> &'static str {
        match self {
            Self::Revocation { .. } => "revocation",
            Self::Scale { .. } => "scale",
        }
    }

    fn parts(&self) -> &[String] {
        match self {
            Self::Revocation { parts } | Self::Scale { parts } => parts,
        }
    }

    /// What the program uses that a machine may lack.
    fn needs(&self) -> &'static [system::Need] {
        match self {
            Self::Revocation { .. } => &[],
            Self::Scale { .. } => &[system::IPROUTE, system::POSTGRESQL],
        }
    }

    /// The document that has this part.
    fn document(&self, part: &str) -> &'static str {
        match (self, part) {
            (Self::Revocation { .. }, "steady") => "docs/reliability.md",
            (Self::Revocation { .. }, _) => "docs/revocation.md",
            (Self::Scale { .. }, _) => "docs/scale.md",
        }
    }
}

/// A table and what is said below it, and the part that it is of.
#[derive(Debug, PartialEq, Eq)]
struct Table {
    part: String,
    lines: String,
}

/// Measures, prints and writes. `$JWT_GATE_WASM` and `$JWT_GATE_AUTH` stand for the two programs where they are
/// built already.
///
/// # Errors
/// Where something does not compile, is missing or goes wrong while it is measured.
pub fn command(measure: &Measure) -> Result<()> {
    for need in measure.needs() {
        system::ensure(need)?;
    }
    let workspace = Workspace::locate()?;
    say::step("Building the gate and, optimised, the companion");
    let wasm = env::var_os("JWT_GATE_WASM").map_or_else(wasm::build, |built| Ok(built.into()))?;
    let envoy = envoy::locate()?;
    let version = envoy::version_of(&envoy)?;
    let cargo = |arguments: &[&str]| {
        command::run(cargo().current_dir(&workspace.root).args(["build", "--locked"]).args(arguments))
    };
    let binary = |profile: &str, name: &str| {
        workspace.target.join(profile).join(format!("{name}{}", env::consts::EXE_SUFFIX))
    };
    let companion = match env::var_os("JWT_GATE_AUTH") {
        Some(built) => built.into(),
        None => {
            cargo(&["--release", "--package", "jwt-gate-auth"])?;
            binary("release", "jwt-gate-auth")
        }
    };
    let program = format!("measure-{}", measure.name());
    cargo(&["--package", "jwt-gate-tests", "--bin", &program])?;
    say::step("Measuring");
    let mut child = std::process::Command::new(binary("debug", &program))
        .args(measure.parts())
        .env("ENVOY", envoy)
        .env("JWT_GATE_WASM", wasm)
        .env("JWT_GATE_AUTH", companion)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{program} could not be started"))?;
    let output = BufReader::new(child.stdout.take().context("it has no standard output")?);
    let mut current: Option<Table> = None;
    let on = format!("On {}, with Envoy {version}", document::machine());
    // A table is written when it is complete, so that what was measured is not lost with what comes after.
    let write = |table: Table| -> Result<()> {
        let path = workspace.root.join(measure.document(&table.part));
        let document = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        fs::write(&path, put(&document, measure.name(), &table, &on)?)
            .with_context(|| path.display().to_string())
    };
    for line in output.lines() {
        let line = line?;
        println!("{line}");
        if let Some(part) = line.strip_prefix("@@ ") {
            if let Some(table) = current.replace(Table { part: part.to_owned(), lines: String::new() }) {
                write(table)?;
            }
        } else if let Some(table) = &mut current {
            table.lines.push_str(&line);
            table.lines.push('\n');
        }
    }
    if !child.wait()?.success() {
        bail!("something went wrong while it was measured");
    }
    current.map_or(Ok(()), write)
}

/// `document` with `table` between the marks of its part, below it by which subcommand and `on` what it was made.
fn put(document: &str, measure: &str, table: &Table, on: &str) -> Result<String> {
    let made = format!("`cargo xtask measure {measure} {}`. {on}.", table.part);
    document::put(document, &table.part, &format!("{}\n\n{made}", table.lines.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_of_the_one_before_and_nothing_else_changes() {
        let document = "a\n<!-- measured: x -->\nold\n<!-- end -->\nb\n<!-- measured: y -->\n<!-- end -->\n";
        let table = Table { part: "x".to_owned(), lines: "| 1 |\n".to_owned() };
        let new = put(document, "revocation", &table, "On this").unwrap();
        assert!(new.starts_with(
            "a\n<!-- measured: x -->\n\n| 1 |\n\n`cargo xtask measure revocation x`. On this.\n"
        ));
        assert!(
            new.ends_with("<!-- end -->\nb\n<!-- measured: y -->\n<!-- end -->\n") && !new.contains("old")
        );
        assert_eq!(
            put(&new, "revocation", &table, "On this").unwrap(),
            new,
            "the same again changes nothing"
        );
        let other = Table { part: "z".to_owned(), ..table };
        assert!(put(document, "revocation", &other, "On this").is_err());
    }
}
