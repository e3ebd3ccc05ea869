//! What polls cost a companion on PostgreSQL, and PostgreSQL; what a thousand gates would cost them.

use std::time::Duration;

use jwt_gate_tests::http1::Connection;
use jwt_gate_tests::{Request, forge, load};
use serde_json::json;

use crate::cpu::{nanoseconds, resident_kib};
use crate::site::Site;

const PERIOD: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections that are kept open: what 300 gates of two workers have, and less than a companion takes by default.
const KEPT: usize = 900;
/// Polls a second of a thousand gates of two workers: each worker and the main thread, twice a second.
const POLLS_OF_A_THOUSAND: f64 = 6000.0;
/// Their connections to each companion: one of each worker, one of the main thread.
const CONNECTIONS_OF_A_THOUSAND: f64 = 3000.0;

pub(crate) fn table(site: &mut Site) -> String {
    // The gates' own polls would be counted, too.
    for gate in crate::site::GATES {
        site.kill_gate(gate);
    }
    let token = forge::token("gate", json!({"aud": "jwt-gate/internal", "exp": forge::now() + 3600}));
    let poll = |since: &str| Request::get(format!("/internal/revocations{since}")).bearer(&token);
    let address = site.companion_private();
    let open = || Connection::open_at(address, PATIENCE).expect("the companion listens");
    let first = site.clients().run(|| open().exchange(&poll("")).expect("an answer"));
    let cursor = first.json()["cursor"].as_str().expect("a cursor").to_owned();
    let poll = poll(&format!("?since={cursor}"));

    let mut each_us = [0.0; 2];
    let mut table = String::from(
        "| polls a second asked for | answered | the companion's processor time a poll | PostgreSQL's | \
         processors in use, both |\n| ---: | ---: | ---: | ---: | ---: |\n",
    );
    for rate in [Some(600), None] {
        let before = spent(site);
        let (answered, elapsed) = site.clients().run(|| load::at_rate(&open, &poll, rate, PERIOD));
        let after = spent(site);
        let each =
            |index: usize| after[index].saturating_sub(before[index]) as f64 / answered as f64 / 1000.0;
        each_us = [each(0), each(1)];
        let asked = rate.map_or_else(|| "as many as it answers".to_owned(), |rate: u64| rate.to_string());
        let a_second = answered as f64 / elapsed.as_secs_f64();
        table += &format!(
            "| {asked} | {a_second:.0} | {:.0} µs | {:.0} µs | {:.2} |\n",
            each_us[0],
            each_us[1],
            (each_us[0] + each_us[1]) * a_second / 1e6
        );
    }
    let connection_kib = site.clients().run(|| memory_of_a_connection(site, &open, &poll));
    let processors = each_us.map(|microseconds| microseconds * POLLS_OF_A_THOUSAND / 1e6);
    table += &format!(
        "\nA connection that is kept open costs a companion {connection_kib:.1} KiB ({KEPT} of them). By the last row, 1,000 gates of two \
         workers, {POLLS_OF_A_THOUSAND} polls a second, need {:.1} processors for the companions and {:.1} for PostgreSQL; their \
         {CONNECTIONS_OF_A_THOUSAND} connections occupy {:.0} MiB at each companion.\n",
        processors[0],
        processors[1],
        connection_kib * CONNECTIONS_OF_A_THOUSAND / 1024.0
    );
    table
}

/// Kibibytes by which the companion grows with each connection that has polled and stays.
fn memory_of_a_connection(site: &Site, open: &impl Fn() -> Connection, poll: &Request) -> f64 {
    let resident = || resident_kib(site.companions()[0].id());
    let before = resident();
    let kept: Vec<Connection> = (0..KEPT)
        .map(|_| {
            let mut connection = open();
            assert_eq!(connection.exchange(poll).expect("an answer").status, 200);
            connection
        })
        .collect();
    resident().saturating_sub(before) as f64 / kept.len() as f64
}

/// Nanoseconds of processor time: the companion's that is asked, and PostgreSQL's.
fn spent(site: &Site) -> [u64; 2] {
    let database = site.database().processes().into_iter().map(|process| nanoseconds(process, "")).sum();
    [nanoseconds(site.companions()[0].id(), ""), database]
}
