//! Requests without a pause, each with the one answer that is right.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use jwt_gate_tests::http1::Connection;
use jwt_gate_tests::{Answer, Request, forge};
use serde_json::json;

/// How many threads send.
const CLIENTS: usize = 3;
/// How many wrong answers are remembered.
const MAX_WRONG: usize = 20;

/// What must become of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Right {
    /// It passes, as this user.
    Passes(String),
    /// It is refused with 401 and one of these codes.
    Refused(&'static [&'static str]),
}

#[derive(Default)]
struct Shared {
    /// What must become of each token; whoever is in nobody's list is not sent.
    tokens: Mutex<Vec<(String, Right)>>,
    stop: AtomicBool,
    requests: AtomicU64,
    passed: AtomicU64,
    /// How often each client has read `tokens`.
    rounds: [AtomicU64; CLIENTS],
    wrong: Mutex<Vec<String>>,
    wrong_count: AtomicU64,
}

/// Clients that send until they are told to stop.
pub(crate) struct Traffic {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

/// How it went.
pub(crate) struct Tally {
    pub(crate) requests: u64,
    pub(crate) passed: u64,
    pub(crate) wrong: u64,
    pub(crate) examples: Vec<String>,
}

impl Traffic {
    pub(crate) fn start(port: u16) -> Self {
        let shared = Arc::new(Shared::default());
        let clients = (0..CLIENTS)
            .map(|client| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || send_until_stopped(&shared, client, port))
            })
            .collect();
        Self { shared, clients }
    }

    /// From now on, this must become of `token`.
    pub(crate) fn expect(&self, token: &str, right: Right) {
        let mut tokens = lock(&self.shared.tokens);
        tokens.retain(|(known, _)| known != token);
        tokens.push((token.to_owned(), right));
    }

    /// `token` may pass or not, as of the end of this call: no request with it is under way any more.
    pub(crate) fn forget(&self, token: &str) {
        lock(&self.shared.tokens).retain(|(known, _)| known != token);
        self.let_pass(2);
    }

    /// Waits until every client has sent everything `rounds` times more.
    pub(crate) fn let_pass(&self, rounds: u64) {
        for client in &self.shared.rounds {
            let goal = client.load(Ordering::SeqCst) + rounds;
            crate::stack::wait_for("requests are sent", || {
                (client.load(Ordering::SeqCst) >= goal).then_some(())
            });
        }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn stop(self) -> Tally {
        self.shared.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.join().expect("a client panicked");
        }
        Tally {
            requests: self.shared.requests.load(Ordering::SeqCst),
            passed: self.shared.passed.load(Ordering::SeqCst),
            wrong: self.shared.wrong_count.load(Ordering::SeqCst),
            examples: lock(&self.shared.wrong).clone(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn send_until_stopped(shared: &Shared, client: usize, port: u16) {
    let mut line = Line { port, connection: None };
    let mut forged: HashMap<String, String> = HashMap::new();
    while !shared.stop.load(Ordering::SeqCst) {
        let tokens = lock(&shared.tokens).clone();
        for (token, right) in &tokens {
            line.check(shared, &Request::get("/notes").bearer(token).header("x_user_id", "root"), right);
        }
        // Beside them what never passes, and what always does without an identity.
        line.check(shared, &Request::get("/notes"), &Right::Refused(&["missing_token"]));
        let forged = forged.entry(String::new()).or_insert_with(|| {
            forge::token_of("nobodys-0123456789-abcdefghij-ABCDEFGHIJ", &forge::claims("root", json!({})))
        });
        line.check(shared, &Request::get("/notes").bearer(forged), &Right::Refused(&["bad_signature"]));
        line.check(
            shared,
            &Request::get("/open/door").header("x-user-id", "root"),
            &Right::Passes(String::new()),
        );
        shared.rounds[client].fetch_add(1, Ordering::SeqCst);
    }
}

/// A client's connection, opened again when Envoy closes it.
struct Line {
    port: u16,
    connection: Option<Connection>,
}

impl Line {
    fn check(&mut self, shared: &Shared, request: &Request, right: &Right) {
        shared.requests.fetch_add(1, Ordering::SeqCst);
        let outcome = match self.exchange(request) {
            Ok(answer) => verdict(&answer, right),
            Err(error) => Err(format!("no answer: {error}")),
        };
        match outcome {
            Ok(true) => {
                shared.passed.fetch_add(1, Ordering::SeqCst);
            }
            Ok(false) => {}
            Err(what) => {
                shared.wrong_count.fetch_add(1, Ordering::SeqCst);
                let mut wrong = lock(&shared.wrong);
                if wrong.len() < MAX_WRONG {
                    wrong.push(format!(
                        "request {}: {right:?}: {what}",
                        shared.requests.load(Ordering::SeqCst)
                    ));
                }
            }
        }
    }

    fn exchange(&mut self, request: &Request) -> io::Result<Answer> {
        if let Some(mut connection) = self.connection.take() {
            // Envoy may have closed it between two requests; then the request was not sent.
            if let Ok(answer) = connection.exchange(request) {
                return Ok(self.keep(connection, answer));
            }
        }
        let mut connection = Connection::open(self.port)?;
        let answer = connection.exchange(request)?;
        Ok(self.keep(connection, answer))
    }

    fn keep(&mut self, connection: Connection, answer: Answer) -> Answer {
        let closes = answer.all("connection").iter().any(|value| value.eq_ignore_ascii_case("close"));
        self.connection = (!closes).then_some(connection);
        answer
    }
}

/// Whether the request passed, where that is right or where it is right that it did not.
fn verdict(answer: &Answer, right: &Right) -> Result<bool, String> {
    let seen = answer.seen();
    match (right, &seen) {
        (Right::Passes(user), Some(seen)) => {
            let identities: Vec<_> = seen.read_as("x-user-id").into_iter().map(|(_, value)| value).collect();
            let expected: Vec<String> =
                Some(user.clone()).filter(|user| !user.is_empty()).into_iter().collect();
            if identities == expected { Ok(true) } else { Err(format!("x-user-id: {identities:?}")) }
        }
        (Right::Refused(codes), None) if answer.status == 401 => {
            let code = answer.json()["code"].as_str().unwrap_or_default().to_owned();
            if codes.contains(&code.as_str()) { Ok(false) } else { Err(format!("401 {code}")) }
        }
        _ => Err(format!("{} {}", answer.status, answer.text())),
    }
}
