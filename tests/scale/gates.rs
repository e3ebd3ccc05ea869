//! The gates as a client sees them: where one does not answer, it asks the next.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use jwt_gate_tests::http1::Connection;
use jwt_gate_tests::{Answer, Request};

/// How long a client waits for a connection, and for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A client's connections to each gate.
pub(crate) struct Gates {
    lines: Vec<Line>,
}

/// What became of a request.
pub(crate) struct Outcome {
    /// The last answer other than 5xx; `None` where no gate had one.
    pub(crate) answer: Option<Answer>,
    /// When what was answered had been sent.
    pub(crate) sent: Instant,
    /// How many gates failed before.
    pub(crate) failures: u64,
}

struct Line {
    address: SocketAddr,
    connection: Option<Connection>,
}

impl Gates {
    pub(crate) fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let line = |address| Line { address, connection: None };
        Self { lines: addresses.into_iter().map(line).collect() }
    }

    /// Sends a request to a gate, which one `number` chooses, and to each other one until one answers.
    pub(crate) fn ask(&mut self, number: u64, request: &Request) -> Outcome {
        let count = self.lines.len();
        let first = usize::try_from(number).unwrap_or(0) % count;
        let mut outcome = Outcome { answer: None, sent: Instant::now(), failures: 0 };
        for offset in 0..count {
            outcome.sent = Instant::now();
            match self.lines[(first + offset) % count].exchange(request) {
                Ok(answer) if answer.status < 500 => {
                    outcome.answer = Some(answer);
                    break;
                }
                _ => outcome.failures += 1,
            }
        }
        outcome
    }
}

impl Line {
    fn exchange(&mut self, request: &Request) -> io::Result<Answer> {
        if let Some(mut connection) = self.connection.take() {
            match connection.exchange(request) {
                Ok(answer) => return Ok(self.keep(connection, answer)),
                // Not closed between two requests, but silent.
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    return Err(error);
                }
                Err(_) => {}
            }
        }
        let mut connection = Connection::open_at(self.address, PATIENCE)?;
        let answer = connection.exchange(request)?;
        Ok(self.keep(connection, answer))
    }

    fn keep(&mut self, connection: Connection, answer: Answer) -> Answer {
        let closes = answer.all("connection").iter().any(|value| value.eq_ignore_ascii_case("close"));
        self.connection = (!closes).then_some(connection);
        answer
    }
}
