//! `jwt-gate`: checks, explains and tests a configuration of the gate without an Envoy.
//!
//! It compiles the configuration with the gate's own core (`src/gate`) and asks the same [`jwt_gate::Worker`] as the filter in
//! Envoy, so that the two cannot disagree. What is here finds the configuration in a file, and shows what the core says.

mod call;
mod check;
mod clock;
mod covers;
mod curl;
mod explain;
mod find;
mod junit;
mod load;
mod output;
mod place;
mod policy_tests;
mod source;
mod tree;
mod warnings;

use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgGroup, Args, Parser, Subcommand};

use call::{Call, Credentials};
use load::File;
use output::Output;
use policy_tests::Run;

/// The most of standard input that is read for a token.
const MAX_TOKEN_INPUT_BYTES: u64 = 64 * 1024;

/// Checks, explains and tests the gate's configuration, with the gate's own code and without an Envoy.
///
/// It reads a configuration wherever it stands: a file of its own (JSON or YAML), an envoy.yaml, a WasmPlugin, an EnvoyExtensionPolicy.
#[derive(Debug, Parser)]
#[command(name = "jwt-gate", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Says whether the gate accepts a configuration, or what is wrong and where; warns of what is probably not meant.
    ///
    /// No real secret is needed: a stand-in is used for one that comes from an environment variable which is not set.
    Check {
        /// The files to check.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// A warning is an error.
        #[arg(long)]
        deny_warnings: bool,
    },
    /// Shows the decision about one request step by step: its interpretations and their rules, the token, the verdict, and what
    /// the backend gets. It never shows a token.
    Explain(Explain),
    /// Runs policy tests: requests, and what is expected of the gate.
    Test {
        /// The file with the configuration.
        config: PathBuf,
        /// The files with the tests.
        #[arg(required = true, value_name = "TESTS")]
        tests: Vec<PathBuf>,
        /// Which configuration of the file, if it holds several: 1 is the first.
        #[arg(long, value_name = "N")]
        nth: Option<usize>,
        /// Writes the results to this file as JUnit's XML.
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
        /// Names the rules that no test reached.
        #[arg(long)]
        coverage: bool,
    },
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["request", "curl"])))]
struct Explain {
    /// The file with the configuration.
    file: PathBuf,
    /// The request: 'GET /path?query', or the path alone.
    #[arg(long)]
    request: Option<String>,
    /// The request as a curl command line; a browser's developer tools copy it.
    #[arg(long, value_name = "COMMAND")]
    curl: Option<String>,
    /// A header of the request: 'name: value'. Can be repeated.
    #[arg(long, value_name = "HEADER")]
    header: Vec<String>,
    /// A token, which is put where the provider looks first. `-` reads it from standard input, where no other user sees it.
    #[arg(long, conflicts_with = "claims")]
    token: Option<String>,
    /// The claims of a token that is made for the provider. `iss`, `aud`, `iat` and `exp` are added; null leaves one out.
    #[arg(long, value_name = "JSON")]
    claims: Option<String>,
    /// Whose token it is. Needed where there are several providers.
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// The time: 2026-01-01T00:00:00Z, or seconds since 1970. By default, now.
    #[arg(long, value_parser = clock::parse, value_name = "TIME")]
    now: Option<f64>,
    /// Writes JSON.
    #[arg(long)]
    json: bool,
    /// Which configuration of the file, if it holds several: 1 is the first.
    #[arg(long, value_name = "N")]
    nth: Option<usize>,
}

impl Explain {
    fn run(self, output: &mut Output) -> Result<(), String> {
        let file = File::open(&self.file)?;
        let gate = file.gate(self.nth)?;
        let mut call = match (&self.request, &self.curl) {
            (Some(request), _) => Call::parse(request)?,
            (None, Some(command)) => curl::parse(command)?,
            (None, None) => return Err("there is no request".to_owned()),
        };
        self.header.iter().try_for_each(|line| call.add_line(line))?;
        let now = self.now.unwrap_or_else(clock::now);
        let credentials = match (self.token.as_deref(), &self.claims) {
            (Some("-"), _) => {
                let mut token = String::new();
                let read = std::io::stdin().lock().take(MAX_TOKEN_INPUT_BYTES).read_to_string(&mut token);
                read.map_err(|error| format!("cannot read the token: {error}"))?;
                Credentials::Token(token.trim().to_owned())
            }
            (Some(token), _) => Credentials::Token(token.to_owned()),
            (None, Some(claims)) => {
                let claims = serde_json::from_str(claims);
                Credentials::Claims(claims.map_err(|error| format!("--claims is no JSON object: {error}"))?)
            }
            (None, None) => Credentials::None,
        };
        call.authenticate(&credentials, self.provider.as_deref(), &gate.policy, &gate.config, now)?;
        let explained = explain::explain(&gate, &call, now);
        if self.json {
            let text = serde_json::to_string_pretty(&explained);
            output.line(&text.map_err(|error| error.to_string())?);
        } else {
            output.line(&explained.text(&call));
            if let Some(note) = gate.stand_in_note() {
                output.line(&format!("\n{note}"));
            }
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    let mut output = Output::new();
    let is_good = match Arguments::parse().command {
        Command::Check { files, deny_warnings } => Ok(check::command(&files, deny_warnings, &mut output)),
        Command::Explain(explain) => explain.run(&mut output).map(|()| true),
        Command::Test { config, tests, nth, junit, coverage } => {
            let run = Run { config: &config, nth, files: &tests, junit: junit.as_deref(), coverage };
            policy_tests::command(&run, &mut output)
        }
    };
    let is_good = is_good.unwrap_or_else(|error| {
        output.error(&error);
        false
    });
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
