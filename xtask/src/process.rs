//! Child processes that do not outlive us.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// How long a process has to end by itself after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);

/// Ends the process `$1` and removes the folder `$2` once its standard input ends, which is when we end,
/// however that happens: the kernel closes the pipe even after SIGKILL.
const WATCHDOG: &str = r#"read -r _; kill -KILL "$1" 2>/dev/null; [ -z "$2" ] || rm -rf -- "$2""#;

/// A child process that ends when this is dropped, and also when we are killed.
///
/// It has a process group of its own, so that Ctrl-C in the terminal reaches us alone, and we end it in order.
pub struct Guarded {
    name: &'static str,
    child: Child,
    watchdog: Child,
}

impl Guarded {
    /// Starts `command`, its standard error going to the file `log`; its standard output goes where the
    /// command says. Should we be killed, the process ends and the folder `belongings` is removed.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn start(name: &'static str, command: &mut Command, log: &Path, belongings: &Path) -> Result<Self> {
        let log = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut child = command
            .stdin(Stdio::null())
            .stderr(log)
            .process_group(0)
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        match watchdog(child.id(), belongings) {
            Ok(watchdog) => Ok(Self { name, child, watchdog }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error).context("sh cannot be started")
            }
        }
    }

    /// What it writes to its standard output, if that is a pipe and was not taken before.
    pub fn take_stdout(&mut self) -> Option<impl Read + use<>> {
        self.child.stdout.take()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// What it is, for messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// SIGTERM, time to end in order, then SIGKILL.
    fn end(&mut self) -> io::Result<()> {
        // Not reaped yet, so its id is nobody else's.
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let tries = GRACE.as_millis() / POLL.as_millis();
        for _ in 0..tries {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        self.child.kill()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // The watchdog first: once the child is reaped, its id may become another process's.
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        if self.ended().is_none() && self.end().is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

fn watchdog(child: u32, belongings: &Path) -> io::Result<Child> {
    Command::new("sh")
        .args(["-c", WATCHDOG, "watchdog", &child.to_string()])
        .arg(belongings)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str, folder: &Path) -> Guarded {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(folder).stdout(Stdio::piped());
        Guarded::start("sh", &mut command, &folder.join("log"), folder).unwrap()
    }

    #[test]
    fn a_process_ends_with_its_guard_and_may_end_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let script = "trap 'touch in-order; exit 0' TERM; echo ready; while :; do sleep 0.1; done";
        let mut process = start(script, folder.path());
        let mut ready = [0; 6];
        process.take_stdout().unwrap().read_exact(&mut ready).unwrap();
        assert_eq!(process.ended(), None);
        let id = process.child.id();
        drop(process);
        assert!(folder.path().join("in-order").exists());
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn the_end_of_a_process_is_seen_and_its_folder_is_left_to_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = start("exit 3", folder.path());
        let mut nothing = Vec::new();
        process.take_stdout().unwrap().read_to_end(&mut nothing).unwrap();
        process.child.wait().unwrap();
        assert_eq!(process.ended().and_then(|status| status.code()), Some(3));
        drop(process);
        assert!(folder.path().exists());
    }
}
