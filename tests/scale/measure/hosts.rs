//! What a gate asks of the companions when nothing happens, and what a thousand would.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::cpu::resident_kib;
use crate::site::{COMPANIONS, GATES, Site};

const SECONDS: u32 = 20;

pub(crate) fn table(site: &mut Site) -> String {
    let polls = |site: &Site| -> u64 {
        GATES.iter().map(|gate| site.counter(gate, "cluster.companion_private.upstream_rq_total")).sum()
    };
    let bytes = |site: &Site| -> u64 { GATES.iter().map(|gate| site.network().bytes(gate)).sum() };
    // The first polls open connections.
    thread::sleep(Duration::from_secs(3));
    let (polls_before, bytes_before) = (polls(site), bytes(site));
    thread::sleep(Duration::from_secs(SECONDS.into()));
    let a_second = |after: u64, before: u64| (after - before) as f64 / f64::from(SECONDS);
    let (bytes, polls) = (a_second(bytes(site), bytes_before), a_second(polls(site), polls_before));
    let to_companions: u64 =
        GATES.iter().map(|gate| site.counter(gate, "cluster.companion_private.upstream_cx_active")).sum();
    let gates_kib: u64 = GATES.iter().map(|gate| resident_kib(site.gate(gate).id())).sum();
    let companions_kib: u64 = site.companions().iter().map(|companion| resident_kib(companion.id())).sum();
    let to_database = site.on_database(connections_to_postgresql);

    let mut table = format!("| | {} gates | one | 1,000 |\n| --- | ---: | ---: | ---: |\n", GATES.len());
    let mut row = |what: &str, measured: f64, unit: &str| {
        let one = measured / GATES.len() as f64;
        table += &format!("| {what} | {measured:.1}{unit} | {one:.1}{unit} | {:.0}{unit} |\n", one * 1000.0);
    };
    row("polls a second", polls, "");
    row("on the wire, both ways, a second", bytes / 1024.0, " KiB");
    row("connections to companions", to_companions as f64, "");
    row("Envoy's memory (RSS)", gates_kib as f64 / 1024.0, " MiB");
    table += &format!(
        "\nOn the wire that is {:.0} bytes a poll, TCP's and Ethernet's headers among them. The {} companions occupied {:.1} MiB \
         each and had {to_database} connections to PostgreSQL.\n",
        bytes / polls,
        COMPANIONS.len(),
        companions_kib as f64 / 1024.0 / COMPANIONS.len() as f64,
    );
    table
}

/// Established ones to port 5432 of the host that asks.
fn connections_to_postgresql() -> usize {
    let connections = fs::read_to_string("/proc/thread-self/net/tcp").expect("Linux tells");
    let fields = |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
    let is_one = |fields: &Vec<String>| {
        fields.get(1).is_some_and(|local| local.ends_with(":1538"))
            && fields.get(3).is_some_and(|state| state == "01")
    };
    connections.lines().map(fields).filter(is_one).count()
}
