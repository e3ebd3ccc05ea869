//! A steady load of requests with good, revoked, forged and no tokens through every gate, while people sign in and out.

use std::mem;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jwt_gate_tests::{Answer, Request, forge};
use serde_json::{Value, json};

use crate::gates::{Gates, Outcome};
use crate::sessions::{Session, Sessions, State};
use crate::site::{Site, promised_ms};
use crate::tally::Tally;

/// How many clients send, and how long each waits after an answer.
const CLIENTS: u64 = 6;
const CLIENTS_REST: Duration = Duration::from_millis(40);
/// How often somebody signs in and somebody else out, and how many stay.
const PEOPLE_REST: Duration = Duration::from_millis(600);
const SESSIONS: usize = 4;
/// How often each gate is asked whether it lets people pass, and how long apart.
const READINESS_TRIES: u32 = 200;
const READINESS_INTERVAL: Duration = Duration::from_millis(50);
/// How many wrong answers are remembered.
const MAX_EXAMPLES: usize = 20;

const EMAIL: &str = "ada@example.com";
const PASSWORD: &str = "correct horse battery";

/// Clients that send until they are told to stop.
pub(crate) struct Traffic {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

struct Shared {
    sessions: Sessions,
    /// After how long nothing with the token of a session that is over may pass.
    promised: Duration,
    stop: AtomicBool,
    turns: AtomicU64,
    tally: Mutex<Tally>,
    examples: Mutex<Vec<String>>,
}

/// What a client sends.
enum Asked {
    /// With the token of this session, which was in this state when it was sent.
    WithSession(Arc<Session>, State),
    /// With a token that somebody else signed, or none, where one is needed.
    Unauthenticated,
    /// Without a token where none is needed, with an identity that is made up.
    Public,
}

impl Traffic {
    /// Starts it, once somebody has signed up and each gate has let somebody pass.
    pub(crate) fn start(site: &Site) -> Self {
        let shared = Arc::new(Shared {
            sessions: Sessions::default(),
            promised: Duration::from_millis(promised_ms()),
            stop: AtomicBool::new(false),
            turns: AtomicU64::new(0),
            tally: Mutex::default(),
            examples: Mutex::default(),
        });
        site.clients().run(|| {
            let mut gates = Gates::new(site.addresses());
            assert_eq!(sign_up(&mut gates), Some(201), "somebody signs up");
            while shared.sessions.count() < SESSIONS {
                sign_in(&shared, &mut gates);
            }
            for gate in site.addresses() {
                wait_until_it_lets_pass(gate, &shared.sessions);
            }
        });
        let mut traffic = Self { shared, clients: Vec::new() };
        let addresses = site.addresses();
        // Threads that one of that host's starts are that host's.
        traffic.clients = site.clients().run(|| {
            let client = |number| {
                let shared = Arc::clone(&traffic.shared);
                thread::spawn(move || send(&shared, &mut Gates::new(addresses), number))
            };
            let mut clients: Vec<_> = (0..CLIENTS).map(client).collect();
            let shared = Arc::clone(&traffic.shared);
            clients.push(thread::spawn(move || sign_in_and_out(&shared, &mut Gates::new(addresses))));
            clients
        });
        traffic
    }

    /// What became of the requests since it was last asked.
    pub(crate) fn take(&self) -> Tally {
        mem::take(&mut lock(&self.shared.tally))
    }

    /// Stops it, and tells of some of the wrong answers.
    pub(crate) fn stop(mut self) -> Vec<String> {
        self.shared.stop.store(true, Ordering::SeqCst);
        for client in self.clients.drain(..) {
            client.join().expect("a client panicked");
        }
        mem::take(&mut lock(&self.shared.examples))
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        // A test that fails takes the site away; nobody need go on.
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

/// A gate whose list is not there yet lets nobody pass.
fn wait_until_it_lets_pass(gate: SocketAddr, sessions: &Sessions) {
    let session = sessions.good(0).expect("somebody signed in");
    let request = Request::get("/notes").bearer(&session.token);
    for _ in 0..READINESS_TRIES {
        if Gates::new([gate]).ask(0, &request).answer.is_some_and(|answer| answer.status == 200) {
            return;
        }
        thread::sleep(READINESS_INTERVAL);
    }
    panic!("{gate} lets nobody pass");
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// === People ===

fn sign_in_and_out(shared: &Shared, gates: &mut Gates) {
    while !shared.stop.load(Ordering::SeqCst) {
        sign_in(shared, gates);
        if let Some(session) = shared.sessions.ending(SESSIONS) {
            sign_out(shared, gates, session);
        }
        thread::sleep(PEOPLE_REST);
    }
}

fn post(path: &str, body: &Value) -> Request {
    let json = Request::new("POST", format!("/api/auth{path}")).header("content-type", "application/json");
    json.body(body.to_string())
}

fn sign_up(gates: &mut Gates) -> Option<u16> {
    let account = json!({"email": EMAIL, "password": PASSWORD});
    gates.ask(0, &post("/signup", &account)).answer.map(|answer| answer.status)
}

/// Calls the companion through the next gate; `None` where it failed at each.
fn call(shared: &Shared, gates: &mut Gates, request: &Request) -> Option<Answer> {
    let answer = gates.ask(shared.turns.fetch_add(1, Ordering::SeqCst), request).answer;
    let mut tally = lock(&shared.tally);
    tally.calls += 1;
    tally.calls_failed += u64::from(answer.is_none());
    answer
}

fn sign_in(shared: &Shared, gates: &mut Gates) {
    let request = post("/signin", &json!({"email": EMAIL, "password": PASSWORD}));
    let Some(answer) = call(shared, gates, &request) else { return };
    if answer.status != 200 {
        return shared.wrong(&format!("a sign-in was answered {answer:?}"));
    }
    let body = answer.json();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    shared.sessions.begun(text(&body["token"]), text(&body["user"]["id"]));
}

fn sign_out(shared: &Shared, gates: &mut Gates, session: Arc<Session>) {
    let request = post("/signout", &json!({})).bearer(&session.token);
    match call(shared, gates, &request) {
        // 401: an earlier attempt got through, and only its answer was lost.
        Some(answer) if [204, 401].contains(&answer.status) => shared.sessions.ended_now(session),
        Some(answer) => shared.wrong(&format!("a sign-out was answered {answer:?}")),
        // Nobody knows whether it is over.
        None => {}
    }
}

// === Clients ===

fn send(shared: &Shared, gates: &mut Gates, client: u64) {
    let forged = forge::token_of(forge::OTHER_SECRET, &forge::claims("root", json!({})));
    let mut turn = client;
    while !shared.stop.load(Ordering::SeqCst) {
        turn += 1;
        // Each kind through each gate in turn.
        let (kind, first) = (turn % 6, turn / 6);
        let session = match kind {
            0 | 1 => shared.sessions.good(turn),
            2 => shared.sessions.just_ended(turn),
            3 => shared.sessions.ended(turn),
            _ => None,
        };
        let request = |path: &str| Request::get(path).header("x-user-id", "root").header("X-User-Id", "root");
        let (asked, request) = match (session, kind) {
            (Some(session), _) => {
                let request = request("/notes").bearer(&session.token);
                let state = session.state();
                (Asked::WithSession(session, state), request)
            }
            (None, 5) => (Asked::Public, request("/public/page")),
            (None, 4) => (Asked::Unauthenticated, request("/notes").bearer(&forged)),
            (None, _) => (Asked::Unauthenticated, request("/notes")),
        };
        let outcome = gates.ask(first, &request);
        shared.count(&asked, &outcome);
        thread::sleep(CLIENTS_REST);
    }
}

// === impl Shared ===

impl Shared {
    fn count(&self, asked: &Asked, outcome: &Outcome) {
        let mut one = Tally { requests: 1, ..Tally::default() };
        match &outcome.answer {
            None => one.nowhere = 1,
            Some(answer) => {
                one.elsewhere = u64::from(outcome.failures > 0);
                match verdict(asked, answer, outcome.sent, self.promised) {
                    Ok(()) if answer.seen().is_some() => one.passed = 1,
                    Ok(()) => one.refused = 1,
                    Err(what) => self.wrong(&what),
                }
                if let Asked::WithSession(_, before) = asked
                    && let Some(over) = before.over_for(outcome.sent)
                {
                    one.revoked = u64::from(over > self.promised);
                    one.longest = if answer.seen().is_some() { over } else { Duration::ZERO };
                }
            }
        }
        *lock(&self.tally) += one;
    }

    fn wrong(&self, what: &str) {
        lock(&self.tally).wrong += 1;
        let mut examples = lock(&self.examples);
        if examples.len() < MAX_EXAMPLES {
            examples.push(what.to_owned());
        }
    }
}

/// Whether this answer, to what was sent at `sent`, may be.
fn verdict(asked: &Asked, answer: &Answer, sent: Instant, promised: Duration) -> Result<(), String> {
    let identity: Option<Vec<String>> =
        answer.seen().map(|seen| seen.read_as("x-user-id").into_iter().map(|(_, value)| value).collect());
    let wrong = |expected: &str| Err(format!("{expected}: {answer:?}"));
    match (asked, identity) {
        (Asked::Public, Some(identity)) if identity.is_empty() => Ok(()),
        (Asked::Public, _) => wrong("a public page without an identity"),
        (Asked::Unauthenticated, None) if answer.status == 401 => Ok(()),
        (Asked::Unauthenticated, _) => wrong("401"),
        (Asked::WithSession(session, before), Some(identity)) => {
            if identity != [session.user.as_str()] {
                return wrong("the session's user");
            }
            match before.over_for(sent) {
                Some(over) if over > promised => wrong(&format!("refused, {over:?} after its end")),
                _ => Ok(()),
            }
        }
        // It may have ended while the answer was under way.
        (Asked::WithSession(session, _), None) if session.state() == State::Good => wrong("passes"),
        (Asked::WithSession(..), None) if answer.status == 401 => Ok(()),
        (Asked::WithSession(..), None) => wrong("passes, or 401"),
    }
}
