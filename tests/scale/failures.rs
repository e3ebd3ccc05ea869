//! What fails, and what becomes of requests meanwhile.

use std::thread;
use std::time::Duration;

use crate::site::{COMPANIONS, GATES, Site};
use crate::tally::Tally;
use crate::traffic::Traffic;

/// Something that fails, and how it is put right.
pub(crate) struct Failure {
    pub(crate) name: &'static str,
    breaks: fn(&mut Site),
    mends: fn(&mut Site),
}

/// How long there is traffic before it fails, until it is mended, and after that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) before: Duration,
    pub(crate) broken: Duration,
    pub(crate) after: Duration,
}

pub(crate) const NOTHING: Failure = Failure { name: "nothing fails", breaks: |_| {}, mends: |_| {} };

pub(crate) const COMPANION_DIES: Failure = Failure {
    name: "a companion dies (`kill -9`) and comes back",
    breaks: |site| site.kill_companion(COMPANIONS[0]),
    mends: |site| site.start_companion(COMPANIONS[0]),
};

pub(crate) const GATE_DIES: Failure = Failure {
    name: "an Envoy dies (`kill -9`) and comes back",
    breaks: |site| site.kill_gate(GATES[1]),
    mends: |site| site.start_gate(GATES[1]),
};

pub(crate) const DATABASE_RESTARTS: Failure = Failure {
    name: "PostgreSQL crashes and is started again at once",
    breaks: |site| {
        site.kill_database();
        site.start_database();
    },
    mends: |_| {},
};

pub(crate) const DATABASE_IS_GONE: Failure = Failure {
    name: "PostgreSQL crashes and comes back",
    breaks: |site| site.kill_database(),
    mends: |site| site.start_database(),
};

pub(crate) const LINK_IS_CUT: Failure = Failure {
    name: "the link between a gate and one companion is cut, and mended",
    breaks: |site| site.network().cut(&[GATES[0], COMPANIONS[1]]),
    mends: |site| site.network().mend(&[GATES[0], COMPANIONS[1]]),
};

pub(crate) const GATE_IS_CUT_OFF: Failure = Failure {
    name: "the links between a gate and every companion are cut, and mended",
    breaks: |site| site.network().cut(&[GATES[0], COMPANIONS[0], COMPANIONS[1]]),
    mends: |site| site.network().mend(&[GATES[0], COMPANIONS[0], COMPANIONS[1]]),
};

/// Lets it happen; what became of the requests from before until after.
pub(crate) fn happen(site: &mut Site, traffic: &Traffic, failure: &Failure, pace: Pace) -> Tally {
    traffic.take();
    thread::sleep(pace.before);
    (failure.breaks)(site);
    thread::sleep(pace.broken);
    (failure.mends)(site);
    thread::sleep(pace.after);
    traffic.take()
}
