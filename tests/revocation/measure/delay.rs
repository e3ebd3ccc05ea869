//! How long a token passes after its owner's sign-out was acknowledged.

use std::thread;
use std::time::{Duration, Instant};

use jwt_gate_tests::{Companion, Listener, Spec, forge};
use serde_json::{Value, json};

use crate::numbers::{median, quantile};
use crate::stack::{Clients, User, config, post};

const SAMPLES: usize = 40;
/// Enough that every worker has one.
const CONNECTIONS: usize = 40;

pub(crate) fn table() -> String {
    let mut table = String::from(
        "| workers | sign-outs | median | 90 % | worst |\n| ---: | ---: | ---: | ---: | ---: |\n",
    );
    for workers in [1, 4] {
        let delays = delays(workers);
        let worst = delays.iter().copied().fold(0.0, f64::max);
        table += &format!(
            "| {workers} | {} | {:.0} ms | {:.0} ms | {worst:.0} ms |\n",
            delays.len(),
            median(&delays),
            quantile(&delays, 0.9)
        );
    }
    table
}

/// Milliseconds from the answer to the sign-out until the last connection was refused.
fn delays(workers: u32) -> Vec<f64> {
    let companion = Companion::start(forge::SECRET);
    // The default interval.
    let mut config = config(&json!({}));
    config["revocation"] = json!({"cluster": "companion"});
    let envoy = Spec::new()
        .concurrency(workers)
        .cluster("companion", companion.private_port())
        .listener(Listener::gated("app", config))
        .start();
    let user = User::sign_up(&companion, "user");
    let mut clients = Clients::open(envoy.port("app"), CONNECTIONS);
    let sample = |number: usize| {
        let token = user.sign_in(&companion);
        clients.assert_good(&token, &user.id);
        // At another point of the interval each time.
        thread::sleep(Duration::from_millis((number as u64 * 137) % 500));
        assert_eq!(post(&companion, "/signout", Some(&token), &Value::Null).status, 204);
        let start = Instant::now();
        let mut passing = CONNECTIONS;
        while passing > 0 {
            passing = clients.answers(&token).iter().filter(|answer| answer.status != 401).count();
            assert!(start.elapsed() < Duration::from_secs(60), "never refused");
        }
        start.elapsed().as_secs_f64() * 1000.0
    };
    (0..SAMPLES).map(sample).collect()
}
