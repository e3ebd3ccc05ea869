//! A load in which everything occurs, with the one right answer to each request.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jwt_gate_tests::http1::Connection;
use jwt_gate_tests::{Answer, Companion, Request, forge};
use serde_json::{Value, json};

use crate::stack::{User, post};

/// So many connections to Envoy that each worker has some.
const CONNECTIONS: usize = 8;

/// Somebody new signs up every so many rounds.
const ROUNDS_OF_A_USER: u64 = 10;

/// A token that was revoked so long ago is refused at every worker: a hundred times as long as the gate waits
/// between two looks at the feed.
const LONG_REVOKED: Duration = Duration::from_secs(10);

/// Everything, and how it was answered.
pub(crate) struct Load<'companion> {
    companion: &'companion Companion,
    port: u16,
    connections: Vec<Connection>,
    user: User,
    revoked: VecDeque<(Instant, String)>,
    pub(crate) requests: u64,
    pub(crate) accounts: u64,
    pub(crate) sessions: u64,
    /// Which answers were wrong, without anything of a token.
    pub(crate) wrong: Vec<String>,
}

impl<'companion> Load<'companion> {
    /// A load on the gate that listens on `port` and on its `companion`.
    pub(crate) fn new(companion: &'companion Companion, port: u16) -> Self {
        let open = |_| Connection::open(port).expect("Envoy listens");
        Self {
            companion,
            port,
            connections: (0..CONNECTIONS).map(open).collect(),
            user: User::sign_up(companion, "steady-0"),
            revoked: VecDeque::new(),
            requests: 1,
            accounts: 1,
            sessions: 0,
            wrong: Vec::new(),
        }
    }

    /// One session from its beginning to its end, with requests of every kind meanwhile.
    pub(crate) fn round(&mut self) {
        if self.sessions % ROUNDS_OF_A_USER == ROUNDS_OF_A_USER - 1 {
            self.user = User::sign_up(self.companion, &format!("steady-{}", self.accounts));
            self.accounts += 1;
            self.requests += 1;
        }
        let session = self.user.sign_in(self.companion);
        self.requests += 1;
        self.at_the_gate(&session);
        self.at_the_companion(&session, true);
        let ended = post(self.companion, "/signout", Some(&session), &Value::Null);
        self.judge("sign-out", ended.status == 204, &ended);
        self.at_the_companion(&session, false);
        self.sessions += 1;
        self.revoked.push_back((Instant::now(), session));
        self.long_revoked();
    }

    fn at_the_gate(&mut self, session: &str) {
        let user = self.user.id.clone();
        let get = |path: &str| Request::get(path).header("x-user-id", "root");
        let expired = forge::token(&user, json!({"exp": forge::now() - 3600}));
        for (what, request, right) in [
            ("bearer", get("/notes").bearer(session), true),
            ("cookie", get("/notes").header("cookie", format!("jwt-gate={session}")), true),
            ("no token", get("/notes"), false),
            ("expired", get("/notes").bearer(&expired), false),
            ("changed", get("/notes").bearer(format!("{session}x")), false),
            ("disguised path", get("/open/../notes"), false),
        ] {
            let answer = self.ask(&request);
            let identity = answer.seen().and_then(|seen| seen.one("x-user-id"));
            let good = match right {
                true => identity.as_ref() == Some(&user),
                false => answer.status == 401 && answer.seen().is_none(),
            };
            self.judge(what, good, &answer);
        }
        let public = self.ask(&get("/open/page"));
        let spoofed = public.seen().is_none_or(|seen| !seen.read_as("x-user-id").is_empty());
        self.judge("spoofed", !spoofed, &public);
    }

    /// What the companion itself says of a session that is `active`, or has ended.
    fn at_the_companion(&mut self, session: &str, active: bool) {
        let me = Request::get("/api/auth/me").bearer(session).send(self.companion.public_port());
        let good = match active {
            true => me.status == 200 && me.json()["user"]["id"] == json!(self.user.id),
            false => me.status == 401,
        };
        self.judge("me", good, &me);
        let verified = post(self.companion, "/verify", None, &json!({"token": session}));
        let good = verified.status == 200
            && verified.json()["active"] == json!(active)
            && (active || verified.json()["code"] == "revoked");
        self.judge("verify", good, &verified);
    }

    /// Tokens that were revoked long ago are refused, for that reason.
    fn long_revoked(&mut self) {
        while self.revoked.front().is_some_and(|(ended, _)| ended.elapsed() > LONG_REVOKED) {
            let Some((_, token)) = self.revoked.pop_front() else { return };
            let answer = self.ask(&Request::get("/notes").bearer(&token));
            let good = answer.status == 401 && answer.seen().is_none() && answer.code() == "revoked";
            self.judge("revoked", good, &answer);
        }
    }

    /// The gate's answer, over one connection after the other.
    fn ask(&mut self, request: &Request) -> Answer {
        let turn = usize::try_from(self.requests).unwrap_or_default() % CONNECTIONS;
        let connection = &mut self.connections[turn];
        connection.exchange(request).unwrap_or_else(|_| {
            // Envoy may close a connection between two requests.
            *connection = Connection::open(self.port).expect("Envoy listens");
            connection.exchange(request).expect("an answer")
        })
    }

    fn judge(&mut self, what: &str, good: bool, answer: &Answer) {
        self.requests += 1;
        if !good {
            self.wrong.push(format!("{what}: {}", answer.status));
        }
    }
}
