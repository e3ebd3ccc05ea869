//! Load, from wrk.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::tokens::{Pool, Tokens};
use super::workload::{COOKIE, Workload};

/// Kept alive, as a load balancer in front of Envoy keeps them.
pub(super) const CONNECTIONS: u32 = 16;

const INTERRUPT_INTERVAL: Duration = Duration::from_millis(20);

/// What wrk prints when it is done.
pub(super) const DONE: &str = r#"
done = function(summary)
  io.write(string.format('@@{"requests":%d,"microseconds":%d,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"#;

/// What wrk counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count {
    pub(super) requests: u64,
    pub(super) seconds: f64,
}

/// wrk's scripts for the workloads, with these tokens.
pub(super) struct Scripts {
    folder: PathBuf,
}

impl Scripts {
    /// Writes them into `folder`, which must be empty; with fresh tokens from `pool`.
    pub(super) fn write(folder: &Path, tokens: &Tokens, pool: Option<Pool>) -> Result<Self> {
        fs::create_dir_all(folder)?;
        for workload in <Workload as clap::ValueEnum>::value_variants() {
            let mut script = match (workload, pool) {
                (Workload::Fresh, Some(pool)) => {
                    let file = folder.join("pool");
                    fs::write(&file, tokens.lines(pool)?)?;
                    each_its_own(workload.path(), &file, pool.once)
                }
                (Workload::Fresh, None) => continue,
                _ => String::new(),
            };
            for (name, value) in headers(*workload, tokens) {
                writeln!(script, "wrk.headers[{name:?}] = {value:?}")?;
            }
            script.push_str(DONE);
            fs::write(folder.join(workload.name()), script)?;
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// Loads the server at `address` for a `turn`; an error where it does not turn away all requests,
    /// or none, as `refused` says.
    pub(super) fn run(
        &self,
        workload: Workload,
        address: SocketAddr,
        turn: Duration,
        refused: bool,
    ) -> Result<Count> {
        wrk(&self.script(workload), &url(workload, address), turn, refused)
    }

    /// A load for the server at `address` that runs in its turns only.
    pub(super) fn hold(&self, workload: Workload, address: SocketAddr, refused: bool) -> Result<Held> {
        let wrk = start(&self.script(workload), &url(workload, address))?;
        Ok(Held { wrk: Some(wrk), refused })
    }

    fn script(&self, workload: Workload) -> PathBuf {
        self.folder.join(workload.name())
    }
}

fn url(workload: Workload, address: SocketAddr) -> String {
    format!("http://{address}{}", workload.path())
}

/// A wrk that is stopped (`SIGSTOP`) but in its turns, so that a turn may be short: nothing is started in it, and
/// its connections are those of the last one.
pub(super) struct Held {
    wrk: Option<Child>,
    refused: bool,
}

impl Held {
    /// Lets it run for a `turn`.
    pub(super) fn turn(&self, turn: Duration) -> Result<()> {
        self.signal(Signal::CONT)?;
        thread::sleep(turn);
        self.signal(Signal::STOP)
    }

    /// Ends it; an error where not all of its requests were answered as they should be.
    pub(super) fn end(mut self) -> Result<Count> {
        self.signal(Signal::CONT)?;
        let wrk = self.wrk.take().context("wrk has ended")?;
        count(&interrupt(wrk)?, self.refused)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let wrk = self.wrk.as_ref().context("wrk has ended")?;
        Ok(kill_process(Pid::from_child(wrk), signal)?)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(mut wrk) = self.wrk.take() {
            let _ = wrk.kill();
            let _ = wrk.wait();
        }
    }
}

/// Runs wrk for a `turn` with a script that ends with [`DONE`].
pub(super) fn wrk(script: &Path, url: &str, turn: Duration, refused: bool) -> Result<Count> {
    let wrk = start(script, url)?;
    thread::sleep(turn);
    count(&interrupt(wrk)?, refused)
}

/// Ends it before its time is over, of which its own clock knows whole seconds only; it tells all the same.
fn interrupt(mut wrk: Child) -> Result<Output> {
    // Again and again: it sleeps on if the kernel hands the signal to another thread than the one that sleeps.
    while wrk.try_wait()?.is_none() {
        kill_process(Pid::from_child(&wrk), Signal::INT)?;
        thread::sleep(INTERRUPT_INTERVAL);
    }
    Ok(wrk.wait_with_output()?)
}

/// Starts a wrk that ends when it is told to.
fn start(script: &Path, url: &str) -> Result<Child> {
    Command::new("wrk")
        .args(["--threads", "1", "--connections", &CONNECTIONS.to_string()])
        .args(["--duration", "24h", "--timeout", "30s", "--script"])
        .arg(script)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("wrk cannot be started")
}

/// What it printed at its end.
fn count(output: &Output, refused: bool) -> Result<Count> {
    let output = String::from_utf8_lossy(&output.stdout);
    let line = output.lines().find_map(|line| line.strip_prefix("@@"));
    let summary: Value = serde_json::from_str(line.context("wrk printed no summary")?)?;
    let number = |name: &str| summary[name].as_u64().with_context(|| format!("wrk told no {name}"));
    let (requests, turned_away, broken) = (number("requests")?, number("refused")?, number("broken")?);
    if requests == 0 || broken > 0 || turned_away != if refused { requests } else { 0 } {
        bail!("of {requests} requests, {turned_away} were turned away and {broken} broke");
    }
    let seconds = u32::try_from(number("microseconds")?).map(f64::from)? / 1e6;
    Ok(Count { requests, seconds })
}

/// The headers of a workload's request; none where each has its own.
pub(super) fn headers(workload: Workload, tokens: &Tokens) -> Vec<(&'static str, String)> {
    let bearer = |token: &str| vec![("Authorization", format!("Bearer {token}"))];
    match workload {
        Workload::Seen | Workload::Claims => bearer(&tokens.seen),
        Workload::BadSignature => bearer(&tokens.forged),
        Workload::Cookie => vec![("Cookie", format!("{COOKIE}={}", tokens.seen))],
        Workload::Fresh | Workload::None | Workload::Public => Vec::new(),
    }
}

/// A script whose requests hold the tokens of the file `pool` in turn, the first ones of them `once`.
fn each_its_own(path: &str, pool: &Path, once: usize) -> String {
    format!(
        r#"
local requests, count, next = {{}}, 0, 0
init = function()
  for token in io.lines({pool:?}) do
    count = count + 1
    requests[count] = "GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer " .. token .. "\r\n\r\n"
  end
end
request = function()
  next = next < count and next + 1 or {again}
  return requests[next]
end
"#,
        pool = pool.display().to_string(),
        again = once + 1,
    )
}
