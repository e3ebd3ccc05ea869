//! Many requests at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::http1::{Connection, Request};

/// Connections that are used at once.
const CONNECTIONS: u64 = 16;

/// Sends `request` `rate` times a second over sixteen connections, or as fast as answers come, for `period`; how many
/// were answered in how long.
///
/// # Panics
/// Where an answer does not come or is not 200.
pub fn at_rate(
    open: &(impl Fn() -> Connection + Sync),
    request: &Request,
    rate: Option<u64>,
    period: Duration,
) -> (u64, Duration) {
    let (begun, answered) = (AtomicU64::new(0), AtomicU64::new(0));
    let stop = AtomicBool::new(false);
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut connection = open();
                while !stop.load(Ordering::SeqCst) {
                    let number = begun.fetch_add(1, Ordering::SeqCst);
                    if let Some(rate) = rate {
                        let due = Duration::from_secs_f64(number as f64 / rate as f64);
                        thread::sleep(due.saturating_sub(start.elapsed()));
                    }
                    let answer = connection.exchange(request).expect("an answer");
                    assert_eq!(answer.status, 200, "{answer:?}");
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        thread::sleep(period);
        stop.store(true, Ordering::SeqCst);
    });
    (answered.load(Ordering::SeqCst), start.elapsed())
}
