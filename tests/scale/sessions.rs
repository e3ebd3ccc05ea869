//! The sessions that clients have, and what must become of their tokens.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many sessions that were ended are still tried: enough for the oldest to be over for longer than is promised.
const MAX_ENDED: usize = 24;
/// How many of them have only just ended.
const JUST_ENDED: usize = 3;

/// A token that the companion issued, and whose it is.
pub(crate) struct Session {
    pub(crate) token: String,
    pub(crate) user: String,
    state: Mutex<State>,
}

/// What is known of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Its token passes everywhere.
    Good,
    /// Its end was asked for: its token may pass or not.
    Ending,
    /// Its end was acknowledged at this time.
    Ended(Instant),
}

/// The sessions, the oldest first.
#[derive(Default)]
pub(crate) struct Sessions {
    good: Mutex<Vec<Arc<Session>>>,
    ended: Mutex<Vec<Arc<Session>>>,
}

// === impl Session ===

impl Session {
    pub(crate) fn state(&self) -> State {
        *lock(&self.state)
    }
}

impl State {
    /// For how long the session had been over at `instant`.
    pub(crate) fn over_for(self, instant: Instant) -> Option<Duration> {
        match self {
            Self::Ended(since) => Some(instant.saturating_duration_since(since)),
            Self::Good | Self::Ending => None,
        }
    }
}

// === impl Sessions ===

impl Sessions {
    pub(crate) fn begun(&self, token: String, user: String) {
        lock(&self.good).push(Arc::new(Session { token, user, state: Mutex::new(State::Good) }));
    }

    /// How many are good.
    pub(crate) fn count(&self) -> usize {
        lock(&self.good).len()
    }

    /// A good one; which one, `number` chooses.
    pub(crate) fn good(&self, number: u64) -> Option<Arc<Session>> {
        chosen(&lock(&self.good), number)
    }

    /// One that was ended; which one, `number` chooses.
    pub(crate) fn ended(&self, number: u64) -> Option<Arc<Session>> {
        chosen(&lock(&self.ended), number)
    }

    /// One of the last that were ended; which one, `number` chooses.
    pub(crate) fn just_ended(&self, number: u64) -> Option<Arc<Session>> {
        let ended = lock(&self.ended);
        chosen(&ended[ended.len().saturating_sub(JUST_ENDED)..], number)
    }

    /// The oldest good one, where there are more than `keep`: its end is about to be asked for.
    pub(crate) fn ending(&self, keep: usize) -> Option<Arc<Session>> {
        let mut good = lock(&self.good);
        if good.len() <= keep {
            return None;
        }
        let session = good.remove(0);
        *lock(&session.state) = State::Ending;
        Some(session)
    }

    /// Its end was acknowledged just now.
    pub(crate) fn ended_now(&self, session: Arc<Session>) {
        *lock(&session.state) = State::Ended(Instant::now());
        let mut ended = lock(&self.ended);
        ended.push(session);
        let surplus = ended.len().saturating_sub(MAX_ENDED);
        ended.drain(..surplus);
    }
}

fn chosen(sessions: &[Arc<Session>], number: u64) -> Option<Arc<Session>> {
    let index = usize::try_from(number).unwrap_or(0).checked_rem(sessions.len())?;
    sessions.get(index).cloned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
