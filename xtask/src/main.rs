//! `cargo xtask …`: see [`xtask`].

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// jwt-gate's developer commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the filter, target/jwt_gate.wasm, and print its path and size.
    Wasm {
        /// Build std from the distribution's packages even where rustup's target is installed.
        #[arg(long)]
        std_from_source: bool,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Wasm { std_from_source } => xtask::wasm::command(std_from_source),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
