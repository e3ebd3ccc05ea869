//! A child process that does not outlive the tests.

use std::fs::File;
use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};

use tempfile::TempDir;

/// A child process that ends when this is dropped, and also when the test process ends without dropping
/// it (a `static`, a SIGKILL).
///
/// Its watchdog is a shell that waits for the end of a pipe which only the test process holds open; then it
/// ends the child and removes its directory.
pub struct Guarded {
    child: Child,
    watchdog: Child,
}

impl Guarded {
    /// Starts `command` with its output going to the file `log` in `home`, a directory of its own.
    ///
    /// # Errors
    /// Where the process or its watchdog cannot be started.
    pub fn start(command: &mut Command, home: &TempDir) -> io::Result<Self> {
        let output = File::options().create(true).append(true).open(home.path().join("log"))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::from(output.try_clone()?))
            .stderr(Stdio::from(output))
            .spawn()?;
        let watchdog = Command::new("sh")
            .args(["-c", "read -r _; kill -KILL \"$1\"; rm -rf \"$2\"", "watchdog", &child.id().to_string()])
            .arg(home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match watchdog {
            Ok(watchdog) => Ok(Self { child, watchdog }),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error)
            }
        }
    }

    /// The exit status, where the process has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process at once (SIGKILL).
    pub fn kill(&mut self) {
        // The watchdog first: while the child is not reaped, its id is nobody else's.
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.kill();
    }
}
