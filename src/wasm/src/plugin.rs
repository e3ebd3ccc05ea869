//! A plugin: one configuration in one worker's VM.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use jwt_gate::{Follower, LogLine, Policy, PollOutcome, Severity, Worker, config};
use log::Level;

use crate::host::Host;
use crate::metrics::Metrics;
use crate::stream::Stream;

/// How soon after its start a plugin first asks for revocations. Envoy's clusters are not up any earlier.
const FIRST_CALL: Duration = Duration::from_millis(20);

/// How often counters are handed to Envoy.
const FLUSH_INTERVAL: Duration = Duration::from_millis(250);

/// What the plugins of one VM share. Envoy configures the new plugin of an updated configuration while the old one still serves.
pub(crate) struct Vm<H: Host> {
    plugins: RefCell<Vec<Weak<Running<H>>>>,
    /// The names of the gauges of key ids that were set so far.
    pub(crate) kid_gauges: RefCell<Vec<String>>,
}

/// One plugin.
pub(crate) struct Plugin<H: Host> {
    host: H,
    vm: Rc<Vm<H>>,
    /// `None` until there is a valid configuration.
    running: Option<Rc<Running<H>>>,
    /// Whether a call for revocations has not been answered yet.
    calling: bool,
    /// When the next call is due, on the clock of [`Host::instant`].
    next_call: f64,
}

/// A plugin that has a configuration.
pub(crate) struct Running<H: Host> {
    pub(crate) policy: Arc<Policy>,
    pub(crate) worker: RefCell<Worker>,
    follower: Option<RefCell<Follower>>,
    pub(crate) metrics: Metrics<H>,
}

impl<H: Host> Default for Vm<H> {
    fn default() -> Self {
        Self { plugins: RefCell::default(), kid_gauges: RefCell::default() }
    }
}

impl<H: Host> Plugin<H> {
    pub(crate) fn new(host: H, vm: Rc<Vm<H>>) -> Self {
        Self { host, vm, running: None, calling: false, next_call: 0.0 }
    }

    /// Reads the configuration; whether it can be used. Without one, no request passes.
    pub(crate) fn on_configure(&mut self) -> bool {
        let environment = |name: &str| self.host.variable(name);
        let compiled = config::read(&self.host.configuration())
            .and_then(|config| Policy::new(config, &environment))
            .map(Arc::new);
        match compiled {
            Ok(policy) => {
                self.run(policy);
                true
            }
            Err(error) => {
                self.host.log(Level::Error, &format!("jwt-gate: configuration refused: {error}"));
                self.running = None;
                false
            }
        }
    }

    fn run(&mut self, policy: Arc<Policy>) {
        policy.start_lines().iter().for_each(|line| self.log(line));
        let follower = self.vm.follower(&policy);
        let first_tick = if follower.is_some() { FIRST_CALL } else { FLUSH_INTERVAL };
        self.host.set_tick_interval(first_tick);
        self.next_call = 0.0;
        let revocations = follower.as_ref().map(|follower| Arc::clone(follower.revocations()));
        let running = Rc::new(Running {
            metrics: Metrics::define(self.host.clone(), &policy, &self.vm.kid_gauges),
            worker: RefCell::new(Worker::new(Arc::clone(&policy), revocations)),
            follower: follower.map(RefCell::new),
            policy,
        });
        self.vm.plugins.borrow_mut().push(Rc::downgrade(&running));
        self.running = Some(running);
    }

    /// Hands over counters, and asks for revocations when it is time.
    pub(crate) fn on_tick(&mut self) {
        let Some(running) = self.running.clone() else { return };
        running.metrics.flush();
        let Some(follower) = &running.follower else { return };
        let interval = Duration::from_millis(follower.borrow().interval_ms().into());
        self.host.set_tick_interval(interval.min(FLUSH_INTERVAL));
        let instant = self.host.instant();
        // A tick that comes a little early is not worth waiting for the next one.
        if !self.calling && instant >= self.next_call - FIRST_CALL.as_secs_f64() {
            self.next_call = instant + interval.as_secs_f64();
            self.call(&running, &mut follower.borrow_mut());
        }
        self.update(&running, &mut follower.borrow_mut());
    }

    /// Takes the answer to a call for revocations.
    pub(crate) fn on_answer(&mut self, body_size: usize) {
        self.calling = false;
        let Some(running) = self.running.clone() else { return };
        let Some(follower) = &running.follower else { return };
        let mut follower = follower.borrow_mut();
        // A longer body is cut; then it is no JSON, and counts as a failure.
        let (status, body) = self.host.answer(body_size.min(Follower::MAX_ANSWER_BYTES));
        let outcome = match (status, self.host.now()) {
            (Some(status), Some(now)) => follower.answer(&status, &body, now),
            _ => follower.failed(),
        };
        match outcome {
            PollOutcome::More => self.call(&running, &mut follower),
            PollOutcome::Complete => {}
            PollOutcome::Failed => running.metrics.revocation_failed(),
        }
        self.update(&running, &mut follower);
    }

    /// The state of a new request.
    pub(crate) fn stream(&self) -> Stream<H> {
        Stream::new(self.host.clone(), self.running.clone())
    }

    fn call(&mut self, running: &Running<H>, follower: &mut Follower) {
        let Some(now) = self.host.now() else { return };
        let request = follower.poll(now, self.host.instant());
        self.calling = self.host.call(&request);
        if !self.calling {
            follower.failed();
            running.metrics.revocation_failed();
        }
    }

    /// Logs a change of the revocations' state, and shows their number and age.
    fn update(&self, running: &Running<H>, follower: &mut Follower) {
        let instant = self.host.instant();
        if let Some(transition) = follower.tick(instant) {
            self.log(&follower.line(transition));
        }
        running.metrics.revocations(follower, instant);
    }

    fn log(&self, line: &LogLine) {
        let level = match line.severity {
            Severity::Info => Level::Info,
            Severity::Warning => Level::Warn,
            Severity::Error => Level::Error,
        };
        self.host.log(level, &format!("jwt-gate: {}", line.text));
    }
}

impl<H: Host> Vm<H> {
    /// A follower of `policy`'s feed. It goes on from where the latest plugin of this VM is that follows the same feed.
    fn follower(&self, policy: &Policy) -> Option<Follower> {
        let mut plugins = self.plugins.borrow_mut();
        plugins.retain(|plugin| plugin.strong_count() > 0);
        let running: Vec<_> = plugins.iter().rev().filter_map(Weak::upgrade).collect();
        let followers: Vec<_> =
            running.iter().filter_map(|running| running.follower.as_ref()).map(RefCell::borrow).collect();
        policy.follower(followers.iter().map(|follower| &**follower))
    }
}
