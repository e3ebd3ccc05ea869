//! The commands.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::app::variable;
use crate::settings::ServeOptions;

mod doctor;
mod password_input;
mod secret;
mod serve;
mod token;
mod users;

/// The companion of jwt-gate: signs people up and in, and issues the tokens that the gate verifies.
///
/// The secret comes from the environment and from nowhere else: BETTER_AUTH_SECRET (32 bytes or more), or
/// BETTER_AUTH_SECRETS="2:newest,1:older" while rotating. Give Envoy the same. With _FILE at the end of the name the
/// variable names a file that holds the value; DATABASE_URL_FILE works as well.
#[derive(Debug, Parser)]
#[command(name = "jwt-gate-auth", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve. Prints one line of JSON on stdout when ready, and logs on stderr.
    ///
    /// The line: {"event":"listening","public":"127.0.0.1:3000","private":"127.0.0.1:3001","kid":"…"}.
    /// SIGTERM and SIGINT end it: requests under way are answered first.
    Serve(Box<ServeOptions>),
    /// Print a fresh secret: 32 random bytes in base64url, fit for BETTER_AUTH_SECRET.
    Secret,
    /// Make or read a token.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Look for what is wrong: secret, clock, store, cookie, and whether Envoy has the same secret.
    ///
    /// Prints a line for each finding and ends with 1 where one of them is a failure.
    Doctor(Box<doctor::Doctor>),
    /// Look after accounts, in the store that DATABASE_URL names.
    #[command(subcommand)]
    Users(users::UsersCommand),
}

/// Runs the command that the arguments name.
#[must_use]
pub fn main() -> ExitCode {
    let mut command = without_empty_variables(Cli::command());
    match variable("DATABASE_URL") {
        Ok(Some(url)) => command = with_database_url(command, &url),
        Ok(None) => {}
        Err(error) => return failed(&error),
    }
    let matches = command.get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let done = match cli.command {
        Command::Serve(options) => serve::run(&options),
        Command::Secret => secret::run(),
        Command::Token(command) => token::run(command),
        Command::Doctor(command) => doctor::run(&command),
        Command::Users(command) => users::run(command),
    };
    match done {
        Ok(code) => code,
        Err(message) => failed(&message),
    }
}

fn failed(message: &str) -> ExitCode {
    eprintln!("jwt-gate-auth: {message}");
    ExitCode::FAILURE
}

/// Takes an environment variable that is set to nothing as one that is not set: Compose and Helm write
/// `JWT_GATE_PUBLIC_URL=` where they have nothing for it.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &std::ffi::OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    command
        .mut_args(|argument| match argument.get_env().is_some_and(is_empty) {
            true => argument.env(clap::builder::Resettable::Reset),
            false => argument,
        })
        .mut_subcommands(without_empty_variables)
}

/// The same command, for which the database's URL is `url` unless a flag or DATABASE_URL says otherwise. It may hold a password,
/// so `--help` does not show it.
fn with_database_url(command: clap::Command, url: &str) -> clap::Command {
    command
        .mut_args(|argument| match argument.get_id() == "database_url" {
            true => argument.default_value(url.to_owned()).hide_default_value(true),
            false => argument,
        })
        .mut_subcommands(|command| with_database_url(command, url))
}

/// How a command ends: with a code, or with a sentence for the operator.
type Done = Result<ExitCode, String>;
