//! How fast this machine checks passwords with bcrypt when it does nothing else: `bcrypt-alone THREADS CHECKS COST`
//! prints the seconds that so many checks take on each of so many threads. `cargo xtask bench` holds the
//! companion against it.

use std::time::Instant;
use std::{env, thread};

fn main() {
    let mut arguments = env::args().skip(1).map(|argument| argument.parse::<u32>().expect("a number"));
    let mut next = || arguments.next().expect("bcrypt-alone THREADS CHECKS COST");
    let (threads, checks, cost) = (next(), next(), next());
    let password = "correct horse battery staple";
    let stored = bcrypt::hash(password, cost).expect("a hash");
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..checks {
                    assert!(bcrypt::verify(password, &stored).expect("a bcrypt hash"));
                }
            });
        }
    });
    println!("{}", start.elapsed().as_secs_f64());
}
