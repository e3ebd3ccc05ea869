//! `cargo xtask demo`: the companion, the gate in a real Envoy and a backend, and a walk through them.

mod http;
mod show;
mod stack;
mod walk;
mod whoami;

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::workspace::Workspace;
use crate::{envoy, module, say, wasm};
use show::Console;
use stack::{Addresses, Programs, Stack};

/// How often the programs are looked after while the demo serves.
const LOOK_AFTER: Duration = Duration::from_secs(1);

/// The form of the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Host {
    /// The proxy-wasm filter, in a sandbox.
    #[default]
    Wasm,
    /// The dynamic module, in Envoy's own process.
    Module,
}

/// How the demo is to run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// The port on which Envoy listens; 0 for any free one.
    pub port: u16,
    /// Whether to end after the walk.
    pub once: bool,
    /// Which form of the gate runs in Envoy.
    pub host: Host,
}

/// Builds and starts everything, walks, then serves until Ctrl-C or SIGTERM.
///
/// # Errors
/// Where something is missing, does not start, or a step of the walk went wrong.
pub fn command(options: Options) -> Result<()> {
    // Found out now, not after minutes of compiling.
    check_port(options.port)?;
    let workspace = Workspace::locate()?;
    say::step("Building the gate, which runs in Envoy");
    let gate = match options.host {
        Host::Wasm => wasm::build()?,
        Host::Module => module::build()?,
    };
    say::step("Building the companion, which signs people in");
    let companion = workspace.companion()?;
    let programs = Programs { gate, host: options.host, companion, envoy: envoy::locate()? };

    let running = Running::default();
    running.end_on_signal()?;
    say::step("Starting the companion, the backend and Envoy");
    let addresses = running.start(&programs, options.port)?;

    let mut console = Console::new(std::io::stdout());
    let done = walk::walk(&mut console, &addresses).and_then(|()| {
        if options.once {
            return Ok(());
        }
        walk::farewell(&mut console, &addresses)?;
        running.serve()
    });
    drop(running.stack());
    done
}

fn check_port(port: u16) -> Result<()> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Ok(()),
        Err(error) => Err(error).with_context(|| {
            format!(
                "127.0.0.1:{port} cannot be listened on: choose another with `--port N`, or `--port 0` for any free one"
            )
        }),
    }
}

/// The stack, which a signal may end at any time.
#[derive(Default, Clone)]
struct Running {
    stack: Arc<Mutex<Option<Stack>>>,
    /// The walk is over; Ctrl-C is the way to end, not a failure.
    serving: Arc<AtomicBool>,
}

impl Running {
    /// Ends the stack and us at the first signal that asks for it. Where the stack is not complete yet, its
    /// processes are ended by their watchdogs.
    fn end_on_signal(&self) -> Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let running = self.clone();
        thread::spawn(move || {
            if let Some(signal) = signals.forever().next() {
                eprintln!();
                say::step("Ending Envoy and the companion");
                drop(running.stack());
                std::process::exit(if running.serving.load(Ordering::SeqCst) { 0 } else { 128 + signal });
            }
        });
        Ok(())
    }

    fn start(&self, programs: &Programs, port: u16) -> Result<Addresses> {
        let stack = Stack::start(programs, port)?;
        let addresses = stack.addresses().clone();
        *self.stack.lock().unwrap_or_else(PoisonError::into_inner) = Some(stack);
        Ok(addresses)
    }

    /// Takes the stack out; whoever drops it ends it.
    fn stack(&self) -> Option<Stack> {
        self.stack.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Serves until a signal comes, or one of the programs ends, which is an error.
    fn serve(&self) -> Result<()> {
        self.serving.store(true, Ordering::SeqCst);
        loop {
            thread::sleep(LOOK_AFTER);
            if let Some(stack) = self.stack.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                stack.check()?;
            }
        }
    }
}
