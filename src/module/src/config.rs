//! One configuration in this process, and a worker for each thread.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use jwt_gate::{Decision, Policy, Request, Worker, config};

use crate::abi::{EnvoyConfig, LogLevel, log};
use crate::feed::{Clockwork, Feed, now};
use crate::metrics::Metrics;

/// A configuration that Envoy has accepted.
pub(crate) struct Config {
    /// A number that no other configuration of this process has.
    number: u64,
    envoy: EnvoyConfig,
    policy: Arc<Policy>,
    metrics: Metrics,
    feed: Option<Arc<Feed>>,
    clockwork: Mutex<Option<Clockwork>>,
}

/// A thread's worker for one configuration.
struct ThreadWorker {
    number: u64,
    config: Weak<Config>,
    worker: Worker,
}

thread_local! {
    static WORKERS: RefCell<Vec<ThreadWorker>> = const { RefCell::new(Vec::new()) };
}

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

impl Config {
    /// Compiles the configuration of the filter `name`. One that is wrong is refused with a log line; Envoy keeps the one
    /// before it.
    pub(crate) fn new(envoy: EnvoyConfig, name: &str, bytes: &[u8]) -> Option<Arc<Self>> {
        let environment = |name: &str| std::env::var(name).ok();
        match config::read(bytes).and_then(|config| Policy::new(config, &environment)) {
            Ok(policy) => Some(Self::of(envoy, name, policy.into())),
            Err(error) => {
                log(LogLevel::Error, &format!("jwt-gate (filter {name}): configuration refused: {error}"));
                None
            }
        }
    }

    fn of(envoy: EnvoyConfig, name: &str, policy: Arc<Policy>) -> Arc<Self> {
        for line in policy.start_lines() {
            log(line.severity.into(), &format!("jwt-gate (filter {name}): {}", line.text));
        }
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        let feed = Feed::of(&policy, number);
        let clockwork = feed.as_ref().and_then(|feed| Clockwork::start(envoy.scheduler()?, feed.interval()));
        Arc::new(Self {
            number,
            metrics: Metrics::define(&envoy, &policy),
            envoy,
            policy,
            feed,
            clockwork: Mutex::new(clockwork),
        })
    }

    /// Ends what belongs to the configuration, before Envoy's own is gone.
    pub(crate) fn close(&self) {
        if let Some(clockwork) = self.clockwork.lock().unwrap_or_else(PoisonError::into_inner).take() {
            clockwork.stop();
        }
        if let Some(feed) = &self.feed {
            feed.leave(self.number);
        }
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Runs on Envoy's main thread at the feed's interval.
    pub(crate) fn on_tick(&self) {
        if let Some(feed) = &self.feed {
            feed.on_tick(self.number, &self.envoy, &self.metrics);
        }
    }

    /// Takes the answer to a call for revocations.
    pub(crate) fn on_answer<'body>(&self, status: Option<&[u8]>, body: impl Iterator<Item = &'body [u8]>) {
        if let Some(feed) = &self.feed {
            feed.on_answer(self.number, status, body, &self.envoy, &self.metrics);
        }
    }

    /// Decides about a request with this thread's worker.
    pub(crate) fn decide(self: &Arc<Self>, request: &Request<'_>) -> Decision {
        if let Some(feed) = &self.feed {
            feed.check_alive();
        }
        WORKERS.with_borrow_mut(|workers| {
            let known = workers.iter().position(|worker| worker.number == self.number);
            let index = known.unwrap_or_else(|| {
                // The tokens of configurations that are gone go too.
                workers.retain(|worker| worker.config.strong_count() > 0);
                let revocations = self.feed.as_ref().map(|feed| Arc::clone(feed.revocations()));
                let worker = Worker::new(Arc::clone(&self.policy), revocations);
                workers.push(ThreadWorker { number: self.number, config: Arc::downgrade(self), worker });
                workers.len().saturating_sub(1)
            });
            match workers.get_mut(index) {
                Some(ThreadWorker { worker, .. }) => worker.decide(request, &now),
                // There is one at the index.
                None => Worker::new(Arc::clone(&self.policy), None).decide(request, &|| None),
            }
        })
    }
}
