//! Every hostcall. This module turns Envoy's callbacks into [`Gate::decide`] and its answer into hostcalls;
//! it decides nothing itself.
//!
//! It reads headers as bytes: the SDK's string getters panic on a header that is not UTF-8, which a client
//! may send. And it lets nothing through where it has no configuration.

mod map;

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant, UNIX_EPOCH};

use log::{error, info, warn};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, LogLevel, MapType};

use crate::boundary::Boundary;
use crate::gate::{Edit, Gate, Pass, Verdict};
use crate::metrics::Metrics;
use crate::reply::Reply;
use crate::request::Request;
use crate::revocation::{Answer, Change, Watch};
use crate::{Code, config};

/// The filter state in which access logs find what was decided: `%FILTER_STATE(wasm.jwt_gate.code:PLAIN)%`.
const CODE_PROPERTY: &str = "jwt_gate.code";

/// The filter state in which access logs find `sub`.
const SUBJECT_PROPERTY: &str = "jwt_gate.subject";

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::<Root>::default());
}}

/// How soon after its start a plugin first asks for revocations. Envoy's clusters are not up any earlier.
const FIRST_CALL: Duration = Duration::from_millis(20);

/// How often counters are handed to Envoy.
const FLUSH_INTERVAL: Duration = Duration::from_millis(250);

thread_local! {
    /// When this VM, which has one thread, was started.
    static STARTED: Instant = Instant::now();

    /// The plugins of this VM. Envoy configures the new one of an updated configuration while the old one
    /// still serves.
    static PLUGINS: RefCell<Vec<Weak<Running>>> = const { RefCell::new(Vec::new()) };
}

/// One plugin in one worker's VM.
#[derive(Default)]
struct Root {
    running: Option<Rc<Running>>,
    /// Whether a call for revocations has not been answered yet.
    calling: bool,
    /// When the next one is due, on the clock of [`instant`].
    next_call: f64,
}

/// A plugin that has a configuration.
struct Running {
    gate: Gate,
    metrics: Metrics,
}

/// One request. It lets go of the plugin when the headers are decided: a stream that lives for days must not keep an old
/// configuration, with its cache, in memory.
struct Stream {
    running: Option<Rc<Running>>,
    /// What trailers are held against.
    boundary: Option<Rc<Boundary>>,
}

// === impl Root ===

impl Context for Root {
    fn on_http_call_response(&mut self, _: u32, _: usize, body_size: usize, _: usize) {
        self.calling = false;
        let Some(running) = self.running.clone() else { return };
        let Some(watch) = running.gate.watch() else { return };
        let headers = hostcalls::get_map_bytes(MapType::HttpCallResponseHeaders).unwrap_or_default();
        // A call that was not answered comes back without headers.
        let status = headers.iter().find(|(name, _)| name == ":status").map(|(_, value)| value.as_slice());
        // What is longer is cut; then it is no JSON, and counted.
        let body_size = body_size.min(Watch::MAX_ANSWER_BYTES);
        let body = hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, body_size);
        let body = body.ok().flatten();
        let answer = match (status, now()) {
            (Some(status), Some(now)) => watch.answer(status, &body.unwrap_or_default(), now),
            _ => watch.failed(),
        };
        match answer {
            Answer::More => self.call(&running),
            Answer::Complete => {}
            Answer::Failed => running.metrics.revocation_failed(),
        }
        self.look(&running);
    }
}

impl RootContext for Root {
    fn on_tick(&mut self) {
        let Some(running) = self.running.clone() else { return };
        running.metrics.flush();
        let Some(watch) = running.gate.watch() else { return };
        let interval = Duration::from_millis(watch.interval_ms().into());
        let _ = hostcalls::set_tick_period(interval.min(FLUSH_INTERVAL));
        // A tick that comes a little early is not worth waiting for the next one.
        if !self.calling && instant() >= self.next_call - FIRST_CALL.as_secs_f64() {
            self.next_call = instant() + interval.as_secs_f64();
            self.call(&running);
        }
        self.look(&running);
    }

    fn on_configure(&mut self, _: usize) -> bool {
        let bytes = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, usize::MAX).ok().flatten();
        let environment = |name: &str| std::env::var(name).ok();
        let compiled =
            config::read(&bytes.unwrap_or_default()).and_then(|config| Gate::new(config, &environment));
        match compiled {
            Ok(mut gate) => {
                for (provider, kids) in gate.key_ids() {
                    info!("jwt-gate: provider {provider} verifies with kid {}", kids.join(", "));
                }
                for (provider, read, left_over) in gate.secret_notes() {
                    if let Some(read) = read {
                        info!("jwt-gate: provider {provider} reads its secrets from {read}");
                    }
                    left_over.iter().for_each(|line| warn!("jwt-gate: {line}"));
                }
                let metrics = Metrics::define(&gate);
                let first_tick = if gate.watch().is_some() { FIRST_CALL } else { FLUSH_INTERVAL };
                let _ = hostcalls::set_tick_period(first_tick);
                self.next_call = 0.0;
                join_others(&mut gate);
                let running = Rc::new(Running { gate, metrics });
                PLUGINS.with_borrow_mut(|plugins| plugins.push(Rc::downgrade(&running)));
                self.running = Some(running);
                true
            }
            Err(error) => {
                error!("jwt-gate: configuration refused: {error}");
                self.running = None;
                false
            }
        }
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        let boundary = self.running.as_ref().map(|running| running.gate.boundary());
        Some(Box::new(Stream { running: self.running.clone(), boundary }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Root {
    /// Asks the companion what is new.
    fn call(&mut self, running: &Running) {
        let Some(call) = now().and_then(|now| running.gate.revocation_call(now, instant())) else { return };
        let headers = call.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let timeout = Duration::from_millis(call.timeout_ms.into());
        self.calling =
            hostcalls::dispatch_http_call(&call.cluster, headers, None, Vec::new(), timeout).is_ok();
        if !self.calling {
            running.gate.watch().map(Watch::failed);
            running.metrics.revocation_failed();
        }
    }

    /// Looks at the age of the revocation list.
    fn look(&self, running: &Running) {
        let Some(watch) = running.gate.watch() else { return };
        match watch.tick(instant()) {
            Some(Change::Fresh) => info!("jwt-gate: revocations are up to date"),
            Some(Change::Stale { allowed }) => warn!(
                "jwt-gate: revocations are stale, {} calls have failed; good tokens {} (when_stale)",
                watch.failures(),
                if allowed { "pass meanwhile" } else { "are refused meanwhile" }
            ),
            Some(Change::Full) => error!(
                "jwt-gate: the revocation list is full ({} entries): tokens that are revoked from now on pass until \
                 older entries expire; shorten the tokens' lifetime, or give each companion fewer users",
                watch.entries()
            ),
            None => {}
        }
        running.metrics.revocations(watch, instant());
    }
}

/// Gives `gate` the revocation list of another plugin of this VM that follows the same feed. The last one
/// that was configured is the one whose place it takes.
fn join_others(gate: &mut Gate) {
    PLUGINS.with_borrow_mut(|plugins| {
        plugins.retain(|plugin| plugin.strong_count() > 0);
        let mut others = plugins.iter().rev().filter_map(Weak::upgrade);
        others.any(|other| gate.join(&other.gate));
    });
}

/// Seconds on a clock that only goes forward.
fn instant() -> f64 {
    STARTED.with(Instant::elapsed).as_secs_f64()
}

/// The time of day, in seconds since 1970; `None` where it cannot be told, and then no token can be judged.
fn now() -> Option<f64> {
    let now = hostcalls::get_current_time().ok()?;
    now.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64())
}

// === impl Stream ===

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        let Some(running) = self.running.take() else { return unavailable() };
        let Some(request) = map::get(MapType::HttpRequestHeaders).and_then(Request::from_map) else {
            return unavailable();
        };
        let request = request.with_body(!end_of_stream);
        let decision = running.gate.decide_by(&request, &now);
        if !decision.spoofed.iter().all(|name| remove(MapType::HttpRequestHeaders, name)) {
            return unavailable();
        }
        // A token that could not be taken off leaves the request refused all the same; only a log line is richer then.
        let _ = apply(&decision.token_removal);
        running.metrics.cache(decision.cache);
        match decision.verdict {
            Verdict::Pass(pass) => pass_on(&running, &pass),
            Verdict::Refuse(code, reply) => refuse(&running, code, &reply),
            Verdict::Undecided => unavailable(),
        }
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        let Some(boundary) = &self.boundary else { return unavailable() };
        let Some(trailers) = map::get(MapType::HttpRequestTrailers).and_then(Request::from_map) else {
            return unavailable();
        };
        let mut spoofed = trailers.names().filter(|name| boundary.guards(name));
        if !spoofed.all(|name| remove(MapType::HttpRequestTrailers, name)) {
            return unavailable();
        }
        Action::Continue
    }
}

fn pass_on(running: &Running, pass: &Pass) -> Action {
    if !apply(&pass.edits) {
        return unavailable();
    }
    for (key, value) in &pass.filter_state {
        remember(key, value);
    }
    if running.gate.tells_decisions() {
        if let Some(subject) = &pass.subject {
            remember(SUBJECT_PROPERTY, subject.as_bytes());
        }
        remember(CODE_PROPERTY, if pass.authenticated { b"allowed" } else { b"public" });
    }
    running.metrics.passed(pass.authenticated);
    Action::Continue
}

/// Changes the request's headers; whether all changes were made.
fn apply(edits: &[Edit]) -> bool {
    edits.iter().all(|edit| {
        let (name, value) = match edit {
            Edit::Remove(name) => (name, None),
            Edit::Set(name, value) => (name, Some(&**value)),
        };
        hostcalls::set_map_value_bytes(MapType::HttpRequestHeaders, name, value).is_ok()
    })
}

fn refuse(running: &Running, code: Code, reply: &Reply) -> Action {
    if running.gate.tells_decisions() {
        remember(CODE_PROPERTY, code.as_str().as_bytes());
    }
    running.metrics.denied(code);
    let headers = reply.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let sent = hostcalls::send_http_response(reply.status, headers, Some(reply.body.as_bytes()));
    // Paused, the request goes nowhere, even if the answer could not be sent.
    sent.map_or(Action::Pause, |()| Action::Pause)
}

/// Removes every header or trailer of this name; whether it is gone.
fn remove(map: MapType, name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|name| hostcalls::remove_map_value(map, name).is_ok())
}

/// What is answered where the gate cannot decide: nothing passes.
fn unavailable() -> Action {
    let headers = vec![("cache-control", "no-store")];
    hostcalls::send_http_response(503, headers, None).map_or(Action::Pause, |()| Action::Pause)
}

/// Puts `value` into Envoy's filter state as `wasm.<key>`.
fn remember(key: &str, value: &[u8]) {
    // Nothing depends on it but logs; a request is not refused because a log line would be poorer.
    let _ = hostcalls::set_property(vec![key], Some(value));
}
