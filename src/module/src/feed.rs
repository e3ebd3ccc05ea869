//! The revocation feeds of this process: one list and one poll for all configurations that follow the same feed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jwt_gate::{Follower, Policy, PollOutcome, Revocations};

use crate::abi::{EnvoyConfig, Scheduler, log};
use crate::metrics::Metrics;

/// How soon after its start a feed is first asked. Envoy's clusters are not up any earlier.
const FIRST_CALL: Duration = Duration::from_millis(20);

/// How long Envoy's main thread may leave the feed alone until nobody relies on its list: half a minute more than the longest
/// interval that can be configured.
const MAX_SILENCE_MS: u64 = 90_000;

static FEEDS: Mutex<Vec<Weak<Feed>>> = Mutex::new(Vec::new());

/// A feed that one configuration or several follow.
pub(crate) struct Feed {
    revocations: Arc<Revocations>,
    state: Mutex<State>,
    /// When Envoy's main thread last looked at it, in milliseconds on [`instant`]'s clock.
    last_tick_ms: AtomicU64,
}

struct State {
    follower: Follower,
    /// The numbers of the configurations that follow it. The first one makes the calls.
    members: Vec<u64>,
    /// The configuration whose call has not been answered yet.
    calling: Option<u64>,
    /// When the next call is due, on [`instant`]'s clock.
    next_call: f64,
}

/// Wakes a configuration at an interval. Envoy's configurations of filters have no timer.
pub(crate) struct Clockwork {
    stopped: Arc<(Mutex<bool>, Condvar)>,
    thread: JoinHandle<()>,
}

impl Feed {
    /// The feed that `policy` follows, if it follows one: one that is there already, or a new one that goes on from where
    /// another configuration's is.
    pub(crate) fn of(policy: &Policy, member: u64) -> Option<Arc<Self>> {
        let mut feeds = lock(&FEEDS);
        feeds.retain(|feed| feed.strong_count() > 0);
        let live: Vec<Arc<Self>> = feeds.iter().rev().filter_map(Weak::upgrade).collect();
        let states: Vec<MutexGuard<'_, State>> = live.iter().map(|feed| lock(&feed.state)).collect();
        let follower = policy.follower(states.iter().map(|state| &state.follower))?;
        let same = states.iter().position(|state| state.follower.is_same(&follower));
        drop(states);
        if let Some(feed) = same.and_then(|index| live.get(index)) {
            lock(&feed.state).members.push(member);
            return Some(Arc::clone(feed));
        }
        let feed = Arc::new(Self {
            revocations: Arc::clone(follower.revocations()),
            state: Mutex::new(State { follower, members: vec![member], calling: None, next_call: 0.0 }),
            last_tick_ms: AtomicU64::new(instant_ms()),
        });
        feeds.push(Arc::downgrade(&feed));
        Some(feed)
    }

    /// The list, for workers to share.
    pub(crate) fn revocations(&self) -> &Arc<Revocations> {
        &self.revocations
    }

    /// Removes a configuration. A call that it has made is not answered any more.
    pub(crate) fn leave(&self, member: u64) {
        let mut state = lock(&self.state);
        state.members.retain(|known| *known != member);
        if state.calling == Some(member) {
            state.calling = None;
        }
    }

    /// How often to ask.
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_millis(lock(&self.state).follower.interval_ms().into())
    }

    /// Asks for new entries when it is time, and compares the list's age with the configuration.
    pub(crate) fn on_tick(&self, member: u64, envoy: &EnvoyConfig, metrics: &Metrics) {
        self.last_tick_ms.store(instant_ms(), Ordering::Release);
        let is_due = {
            let mut state = lock(&self.state);
            let interval = f64::from(state.follower.interval_ms()) / 1000.0;
            // A tick that comes a little early is not worth waiting for the next one.
            let is_time = instant() >= state.next_call - FIRST_CALL.as_secs_f64();
            let is_due = state.is_first(member) && state.calling.is_none() && is_time;
            if is_due {
                state.next_call = instant() + interval;
            }
            is_due
        };
        if is_due {
            self.call(member, envoy, metrics);
        }
        self.update(member, envoy, metrics);
    }

    /// Takes the answer to a call: its status, if there was an answer, and its body.
    pub(crate) fn on_answer<'body>(
        &self,
        member: u64,
        status: Option<&[u8]>,
        body: impl Iterator<Item = &'body [u8]>,
        envoy: &EnvoyConfig,
        metrics: &Metrics,
    ) {
        let outcome = {
            let mut state = lock(&self.state);
            if state.calling == Some(member) {
                state.calling = None;
            }
            match (status, now(), collected(body)) {
                (Some(status), Some(now), Some(body)) => state.follower.answer(status, &body, now),
                _ => state.follower.failed(),
            }
        };
        match outcome {
            PollOutcome::More => self.call(member, envoy, metrics),
            PollOutcome::Complete => {}
            PollOutcome::Failed => metrics.count_revocation_failure(envoy),
        }
        self.update(member, envoy, metrics);
    }

    /// Makes a call. No lock is held while Envoy makes it: it may answer at once.
    fn call(&self, member: u64, envoy: &EnvoyConfig, metrics: &Metrics) {
        let Some(now) = now() else { return };
        let request = {
            let mut state = lock(&self.state);
            state.calling = Some(member);
            state.follower.poll(now, instant())
        };
        if !envoy.call(&request) {
            let mut state = lock(&self.state);
            state.calling = None;
            state.follower.failed();
            metrics.count_revocation_failure(envoy);
        }
    }

    /// Logs a change of the list's state once for all configurations, and shows its length and age for each.
    fn update(&self, member: u64, envoy: &EnvoyConfig, metrics: &Metrics) {
        let mut state = lock(&self.state);
        let instant = instant();
        if state.is_first(member)
            && let Some(transition) = state.follower.tick(instant)
        {
            let line = state.follower.line(transition);
            log(line.severity.into(), &format!("jwt-gate: {}", line.text));
        }
        metrics.show_revocations(envoy, &state.follower, instant);
    }

    /// Distrusts the list if the thread that wakes Envoy's main thread, or that thread itself, does not run any more.
    pub(crate) fn check_alive(&self) {
        let silence = instant_ms().saturating_sub(self.last_tick_ms.load(Ordering::Acquire));
        if silence > MAX_SILENCE_MS {
            self.revocations.mark_stale();
        }
    }
}

impl State {
    /// Whether this configuration makes the calls.
    fn is_first(&self, member: u64) -> bool {
        self.members.first() == Some(&member)
    }
}

impl Clockwork {
    /// Starts to wake the configuration of `scheduler`.
    pub(crate) fn start(scheduler: Scheduler, interval: Duration) -> Option<Self> {
        let stopped = Arc::new((Mutex::new(false), Condvar::new()));
        let seen = Arc::clone(&stopped);
        let run = move || {
            let (stopped, changed) = &*seen;
            let mut wait = FIRST_CALL;
            let mut is_stopped = lock(stopped);
            while !*is_stopped {
                let waited = changed.wait_timeout(is_stopped, wait);
                is_stopped = waited.unwrap_or_else(PoisonError::into_inner).0;
                if !*is_stopped {
                    scheduler.wake();
                }
                wait = interval;
            }
        };
        let thread = std::thread::Builder::new().name("jwt-gate".to_owned()).spawn(run).ok()?;
        Some(Self { stopped, thread })
    }

    /// Stops, and waits until the thread has ended.
    pub(crate) fn stop(self) {
        let (stopped, changed) = &*self.stopped;
        *lock(stopped) = true;
        changed.notify_all();
        let _ = self.thread.join();
    }
}

/// An answer's body in one piece; `None` if it is longer than a follower reads.
fn collected<'body>(chunks: impl Iterator<Item = &'body [u8]>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    for chunk in chunks {
        if body.len().saturating_add(chunk.len()) > Follower::MAX_ANSWER_BYTES {
            return None;
        }
        body.extend_from_slice(chunk);
    }
    Some(body)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time in seconds since 1970; `None` if the clock is before that.
pub(crate) fn now() -> Option<f64> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64())
}

/// Seconds on a clock that only goes forward.
fn instant() -> f64 {
    static STARTED: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    STARTED.get_or_init(Instant::now).elapsed().as_secs_f64()
}

fn instant_ms() -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    let ms = (instant() * 1000.0) as u64;
    ms
}
