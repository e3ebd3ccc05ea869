//! What a look-up costs a request: processor time of Envoy's worker thread.

use jwt_gate_tests::http1::Connection;
use jwt_gate_tests::{Listener, Request, Spec, forge};
use serde_json::json;

use crate::cpu::nanoseconds;
use crate::numbers::{difference_interval, quantile};
use crate::rounds;
use crate::stack::{config, wait_for};

/// The quantile of the blocks that is reported. What disturbs a block only ever makes it longer.
const UNDISTURBED: f64 = 0.1;

const LENGTHS: [u64; 3] = [0, 10_000, 1_000_000];
const TOKENS: usize = 1000;
/// How many requests a listener gets before it is another's turn: few enough that most blocks are not
/// disturbed by whatever else the machine does.
const BLOCK: usize = 100;
/// How many requests are under way at once, so that the worker is as one with much to do: its caches are warm.
const CONNECTIONS: usize = 20;
const ROUNDS: usize = 1200;

pub(crate) fn table() -> String {
    let feed = rounds::feed();
    let name = |length: u64| format!("list-{length}");
    // Envoy answers by itself, so that there is less that varies.
    let routes = json!([{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]);
    let mut without = config(&json!({}));
    without.as_object_mut().expect("an object").remove("revocation");
    let mut listeners = vec![Listener::gated("without", without).routes(routes.clone())];
    for length in LENGTHS {
        let mut config = config(&json!({"path": format!("/{length}")}));
        config["revocation"]["interval_ms"] = json!(60_000);
        config["revocation"]["max_staleness_ms"] = json!(600_000);
        config["stat_prefix"] = json!(name(length));
        listeners.push(Listener::gated(&name(length), config).routes(routes.clone()));
    }
    let envoy = Spec::new().cluster("companion", feed.port()).listeners(listeners).start();
    for length in LENGTHS {
        let pages = (length / 10_000).max(1);
        // The worker's VM and the main thread's.
        wait_for("the lists are there", || (feed.asked(&format!("/{length}")) >= 2 * pages).then_some(()));
    }
    let requests: Vec<Request> = (0..TOKENS)
        .map(|number| {
            let claims = json!({"jti": format!("good-{number}"), "exp": forge::now() + 36_000});
            Request::get("/notes").bearer(forge::token(&format!("user-{number}"), claims))
        })
        .collect();
    let names: Vec<String> =
        std::iter::once("without".to_owned()).chain(LENGTHS.iter().map(|length| name(*length))).collect();
    let open = |name: &String| -> Vec<Connection> {
        let port = envoy.port(name);
        (0..CONNECTIONS).map(|_| Connection::open(port).expect("Envoy listens")).collect()
    };
    let mut connections: Vec<Vec<Connection>> = names.iter().map(open).collect();
    // The first time each token is verified, from then on it is remembered.
    for connection in connections.iter_mut().filter_map(|some| some.first_mut()) {
        for request in &requests {
            connection.exchange(request).expect("an answer");
        }
    }
    // Microseconds a request, for each list, in each block.
    let mut spent: Vec<Vec<f64>> = vec![Vec::new(); names.len()];
    for round in 0..ROUNDS {
        let start = round * BLOCK % TOKENS;
        for turn in 0..names.len() {
            let index = (turn + round) % names.len();
            let before = nanoseconds(envoy.id(), "wrk:worker");
            for some in requests[start..start + BLOCK].chunks(CONNECTIONS) {
                for (connection, request) in connections[index].iter_mut().zip(some) {
                    connection.write(&request.to_bytes()).expect("Envoy listens");
                }
                for connection in connections[index].iter_mut().take(some.len()) {
                    let answer = connection.read_answer(false).expect("an answer");
                    assert_eq!(answer.status, 200, "{answer:?}");
                }
            }
            let after = nanoseconds(envoy.id(), "wrk:worker");
            spent[index].push((after - before) as f64 / 1000.0 / BLOCK as f64);
        }
    }
    let mut table = String::from(
        "| list | processor time a request | more than without `revocation` | 95 % interval | ratio |\n\
         | --- | ---: | ---: | ---: | ---: |\n",
    );
    let undisturbed = |values: &[f64]| quantile(values, UNDISTURBED);
    let without = undisturbed(&spent[0]);
    table += &format!("| no `revocation` | {without:.2} µs | | | |\n");
    for (length, values) in LENGTHS.iter().zip(&spent[1..]) {
        let (low, high) = difference_interval(values, &spent[0], UNDISTURBED);
        let with = undisturbed(values);
        table += &format!(
            "| {length} revocations | {with:.2} µs | {:+.2} µs | {low:+.2} to {high:+.2} µs | {:.3} |\n",
            with - without,
            with / without
        );
    }
    table
}
