//! Before anything is measured: does each contender do what the others do?

use anyhow::{Context, Result, bail, ensure};

use super::http;
use super::load::headers;
use super::proxy::{ECHO_PATH, SEEN};
use super::running::Running;
use super::workload::{Listener, Workload};

/// Sends one request of this workload and compares the answer, and, where identity is injected, what the route
/// saw of it.
pub(super) fn check(running: &Running, workload: Workload) -> Result<()> {
    let what = || format!("{} under {}", running.contender.name(), workload.name());
    check_status(running, workload).with_context(what)?;
    if running.contender.injects_identity() && !workload.is_refused() && workload != Workload::Public {
        check_identity(running, workload).with_context(what)?;
    }
    Ok(())
}

fn request_headers(running: &Running, workload: Workload) -> Vec<(&'static str, String)> {
    match workload {
        Workload::Fresh => headers(Workload::Seen, &running.tokens),
        _ => headers(workload, &running.tokens),
    }
}

fn check_status(running: &Running, workload: Workload) -> Result<()> {
    let answer = http::get(running.address(workload)?, workload.path(), &request_headers(running, workload))?;
    let expected = if running.refuses(workload) { 401 } else { 200 };
    ensure!(answer.status == expected, "answered {} instead of {expected}: {}", answer.status, answer.body);
    Ok(())
}

fn check_identity(running: &Running, workload: Workload) -> Result<()> {
    let mut headers = request_headers(running, workload);
    headers.push(("x-user-id", "mallory".to_owned()));
    let answer = http::get(running.address(workload)?, ECHO_PATH, &headers)?;
    let seen = |header: &str| answer.header(&format!("{SEEN}{header}")).filter(|value| *value != "-");
    for (header, _) in Listener::Claims.claim_headers() {
        let set = workload.listener().claim_headers().iter().any(|(name, _)| name == header);
        let expected = running.tokens.claim(header).filter(|_| set);
        if seen(header) != expected {
            bail!("the route saw {header}: {:?} instead of {expected:?}", seen(header));
        }
    }
    ensure!(seen("authorization").is_none(), "the token is still on the request");
    Ok(())
}

/// How often a token was looked for among those that are remembered, so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct LookUps {
    hits: u64,
    misses: u64,
}

impl LookUps {
    /// Those of [`Workload::Fresh`]'s listener, and of those before it.
    pub(super) fn of(running: &Running) -> Result<Self> {
        let filter = format!("http.{}.jwt_authn.jwt_cache", Workload::Fresh.listener().name());
        let gate = "wasmcustom.jwt_gate.cache";
        let counted = |what: &str| -> Result<u64> {
            Ok(running.counter(&format!("{filter}_{what}"))? + running.counter(&format!("{gate}.{what}"))?)
        };
        Ok(Self { hits: counted("hit")?, misses: counted("miss")? })
    }
}

/// Whether who remembers tokens remembered none of those of `requests` since `before`.
pub(super) fn check_misses(running: &Running, before: LookUps, requests: u64) -> Result<()> {
    let now = LookUps::of(running)?;
    let (hits, misses) = (now.hits - before.hits, now.misses - before.misses);
    // The gate's of the last quarter of a second were not counted yet.
    let looked = !running.contender.remembers() || misses * 100 >= requests * 95;
    ensure!(
        looked && hits * 100 <= requests,
        "{}: of {requests} fresh tokens {hits} were remembered, {misses} were not",
        running.contender.name()
    );
    Ok(())
}
