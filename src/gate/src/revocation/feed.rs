//! Following the companion's feed.

use std::cell::{Cell, RefCell};

use jwt_gate_token::{INTERNAL_AUDIENCE, Keyring, NumericDate, VerifiedClaims, issue};
use serde_json::json;

use super::list::{List, Page};
use crate::config::{ConfigError, Revocation, WhenStale};
use crate::denial::Code;

/// How long the gate's own token for the feed lives, in seconds.
const TOKEN_LIFETIME_SECONDS: f64 = 30.0;

/// The largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// The longest cursor that is sent back, in bytes.
const MAX_CURSOR_BYTES: usize = 256;

/// The gate's view of the revocations, and how old it is.
#[derive(Debug)]
pub struct Watch {
    cluster: String,
    path: String,
    interval_ms: u32,
    max_staleness_seconds: f64,
    when_stale: WhenStale,
    list: RefCell<List>,
    cursor: RefCell<String>,
    /// When the list was last known to be complete; of the clock that only goes forward, in seconds.
    complete_at: Cell<Option<f64>>,
    state: Cell<State>,
    failures: Cell<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The list has never been complete.
    CatchingUp,
    /// It is recent enough.
    Fresh,
    /// It is too old.
    Stale,
}

/// A request to the companion.
#[derive(Debug)]
pub struct Call {
    /// Envoy's cluster.
    pub cluster: String,
    /// The headers, pseudo-headers among them.
    pub headers: Vec<(&'static str, String)>,
    /// How long to wait for the answer, in milliseconds.
    pub timeout_ms: u32,
}

/// What an answer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nothing: the next tick is soon enough.
    Complete,
    /// There is more; ask again at once.
    More,
    /// It could not be used.
    Failed,
}

/// A change of state that is worth a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The list is recent.
    Fresh,
    /// The list is too old; whether good tokens pass meanwhile.
    Stale {
        /// Whether they pass.
        allowed: bool,
    },
}

impl Watch {
    pub(crate) fn new(config: Revocation, clock_skew_seconds: u32) -> Result<Self, ConfigError> {
        if config.cluster.is_empty() {
            return Err(ConfigError::new(
                "revocation.cluster",
                "is empty; name Envoy's cluster for the companion",
            ));
        }
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"?#".contains(&byte);
        if !config.path.starts_with('/') || !config.path.bytes().all(plain) {
            return Err(ConfigError::new("revocation.path", "must be a path, as in /internal/revocations"));
        }
        if !(50..=60_000).contains(&config.interval_ms) {
            return Err(ConfigError::new("revocation.interval_ms", "must be between 50 and 60000"));
        }
        if config.max_staleness_ms < config.interval_ms {
            return Err(ConfigError::new("revocation.max_staleness_ms", "must not be less than interval_ms"));
        }
        Ok(Self {
            cluster: config.cluster,
            path: config.path,
            interval_ms: config.interval_ms,
            max_staleness_seconds: f64::from(config.max_staleness_ms) / 1000.0,
            when_stale: config.when_stale,
            list: RefCell::new(List::new(clock_skew_seconds)),
            cursor: RefCell::default(),
            complete_at: Cell::new(None),
            state: Cell::new(State::CatchingUp),
            failures: Cell::new(0),
        })
    }

    /// How often to ask, in milliseconds.
    #[must_use]
    pub fn interval_ms(&self) -> u32 {
        self.interval_ms
    }

    /// Why a token that verified is refused all the same; `None` where it is not.
    pub(crate) fn refusal(&self, claims: &VerifiedClaims) -> Option<Code> {
        if self.list.borrow().holds(claims) {
            return Some(Code::Token(jwt_gate_token::Refusal::Revoked));
        }
        let deny = self.state.get() != State::Fresh && self.when_stale == WhenStale::Deny;
        deny.then_some(Code::RevocationStale)
    }

    /// The request for what is new at the time `now`, with a token of our own.
    #[must_use]
    pub fn call(&self, keyring: &Keyring, now: NumericDate) -> Call {
        let claims = json!({
            "iss": "jwt-gate",
            "aud": INTERNAL_AUDIENCE,
            "iat": now.floor(),
            "exp": now.floor() + TOKEN_LIFETIME_SECONDS,
        });
        // A token that could not be made is answered 401, and counted as a failure.
        let token = claims.as_object().and_then(|claims| issue(keyring, claims).ok()).unwrap_or_default();
        let cursor = self.cursor.borrow();
        let path =
            if cursor.is_empty() { self.path.clone() } else { format!("{}?since={cursor}", self.path) };
        let headers = vec![
            (":method", "GET".to_owned()),
            (":scheme", "http".to_owned()),
            (":path", path),
            (":authority", self.cluster.clone()),
            ("accept", "application/json".to_owned()),
            ("authorization", format!("Bearer {token}")),
        ];
        let timeout_ms = self.interval_ms.saturating_mul(4).clamp(2_000, 10_000);
        Call { cluster: self.cluster.clone(), headers, timeout_ms }
    }

    /// Takes an answer: its `:status`, and its body.
    pub fn answer(&self, status: &[u8], body: &[u8], now: NumericDate, instant: f64) -> Answer {
        let page = match status {
            b"200" if body.len() <= MAX_ANSWER_BYTES => serde_json::from_slice::<Page>(body).ok(),
            _ => None,
        };
        let usable = |page: &Page| is_cursor(&page.cursor) && self.list.borrow_mut().add(page, now);
        let Some(page) = page.filter(usable) else { return self.failed() };
        // A feed that does not move on would be asked in circles.
        let more = page.more && page.cursor != *self.cursor.borrow();
        self.cursor.replace(page.cursor);
        if more {
            return Answer::More;
        }
        self.complete_at.set(Some(instant));
        Answer::Complete
    }

    /// Counts a call that could not be made, or was not answered.
    pub fn failed(&self) -> Answer {
        self.failures.set(self.failures.get().saturating_add(1));
        Answer::Failed
    }

    /// Looks at the clock; what has changed since the last look.
    pub fn tick(&self, instant: f64) -> Option<Change> {
        let before = self.state.get();
        let state = match self.age_seconds(instant) {
            None => State::CatchingUp,
            Some(age) if age <= self.max_staleness_seconds => State::Fresh,
            Some(_) => State::Stale,
        };
        self.state.set(state);
        match state {
            _ if state == before => None,
            State::CatchingUp => None,
            State::Fresh => Some(Change::Fresh),
            State::Stale => Some(Change::Stale { allowed: self.when_stale == WhenStale::Allow }),
        }
    }

    /// How many revocations there are.
    #[must_use]
    pub fn entries(&self) -> u64 {
        u64::try_from(self.list.borrow().len()).unwrap_or(u64::MAX)
    }

    /// How long ago the list was complete, in seconds; `None` where it never was.
    #[must_use]
    pub fn age_seconds(&self, instant: f64) -> Option<f64> {
        self.complete_at.get().map(|complete_at| (instant - complete_at).max(0.0))
    }

    /// How many calls have failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.get()
    }
}

/// Whether `cursor` can stand in a query as it is.
fn is_cursor(cursor: &str) -> bool {
    !cursor.is_empty()
        && cursor.len() <= MAX_CURSOR_BYTES
        && cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}
