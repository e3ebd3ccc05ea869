//! The calls that the filter makes to its host.

use std::time::Duration;

use jwt_gate::{HeaderMutation, PollRequest, Reply};

use crate::header_map::HeaderMap;

/// Envoy, or a test's stand-in. A method that returns `bool` says whether the host did it.
pub(crate) trait Host: Clone {
    /// The headers or trailers of the request; `None` if the host has none.
    fn headers(&self, map: RequestMap) -> Option<HeaderMap>;

    /// Removes every value of the header or trailer `name`.
    fn remove(&self, map: RequestMap, name: &[u8]) -> bool;

    /// Makes `value` the only value of the request's header `name`.
    fn set(&self, name: &str, value: &[u8]) -> bool;

    /// Answers the request in place of the backend.
    fn reply(&self, reply: &Reply);

    /// Puts `value` into the request's filter state as `wasm.<key>`.
    fn set_filter_state(&self, key: &str, value: &[u8]);

    /// The time in seconds since 1970; `None` if the host cannot tell it.
    fn now(&self) -> Option<f64>;

    /// Seconds on a clock that only goes forward.
    fn instant(&self) -> f64;

    /// Writes a log line.
    fn log(&self, level: log::Level, line: &str);

    /// Defines a counter or gauge; its number, or `None` if the host cannot.
    fn define(&self, kind: MetricKind, name: &str) -> Option<u32>;

    /// Adds to a counter.
    fn increment(&self, counter: u32, amount: u32);

    /// Sets a gauge.
    fn record(&self, gauge: u32, value: u64);

    /// Starts a call for revocations.
    fn call(&self, request: &PollRequest) -> bool;

    /// The answer to the call for revocations: its `:status`, if there was an answer, and at most `max_bytes` of its body.
    fn answer(&self, max_bytes: usize) -> (Option<Vec<u8>>, Vec<u8>);

    /// Sets how often the plugin is woken.
    fn set_tick_interval(&self, interval: Duration);

    /// The plugin's configuration.
    fn configuration(&self) -> Vec<u8>;

    /// An environment variable.
    fn variable(&self, name: &str) -> Option<String>;

    /// Makes a change to the request's headers.
    fn apply(&self, mutation: &HeaderMutation) -> bool {
        match mutation {
            HeaderMutation::Remove(name) => self.remove(RequestMap::Headers, name),
            HeaderMutation::Set(name, value) => self.set(name, value),
        }
    }
}

/// A part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestMap {
    Headers,
    Trailers,
}

/// A kind of metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricKind {
    Counter,
    Gauge,
}
