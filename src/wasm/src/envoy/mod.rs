//! Envoy as a [`Host`], and its callbacks.
//!
//! Headers are read as bytes: the SDK's string getters panic on a header that is not UTF-8, which a client may send.

mod map_bytes;

use std::rc::Rc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use jwt_gate::{PollRequest, Reply};
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, LogLevel, MapType, MetricType};

use crate::header_map::HeaderMap;
use crate::host::{Host, MetricKind, RequestMap};
use crate::plugin::{Plugin, Vm};
use crate::stream::{Next, Stream};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Plugin::new(Envoy, VM.with(Rc::clone))));
}}

thread_local! {
    /// When this VM, which has one thread, was started.
    static STARTED: Instant = Instant::now();

    /// This VM, with all its plugins.
    static VM: Rc<Vm<Envoy>> = Rc::default();
}

/// The Envoy around this VM.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Envoy;

impl Host for Envoy {
    fn headers(&self, map: RequestMap) -> Option<HeaderMap> {
        map_bytes::get(map_type(map)).and_then(HeaderMap::parse)
    }

    fn remove(&self, map: RequestMap, name: &[u8]) -> bool {
        std::str::from_utf8(name).is_ok_and(|name| hostcalls::remove_map_value(map_type(map), name).is_ok())
    }

    fn set(&self, name: &str, value: &[u8]) -> bool {
        hostcalls::set_map_value_bytes(MapType::HttpRequestHeaders, name, Some(value)).is_ok()
    }

    fn reply(&self, reply: &Reply) {
        let headers = reply.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let body = (!reply.body.is_empty()).then_some(reply.body.as_bytes());
        // The request stays stopped, so it goes nowhere even if the answer could not be sent.
        let _ = hostcalls::send_http_response(reply.status, headers, body);
    }

    fn set_filter_state(&self, key: &str, value: &[u8]) {
        // Only logs depend on it: a request is not refused because a log line would lack a word.
        let _ = hostcalls::set_property(vec![key], Some(value));
    }

    fn now(&self) -> Option<f64> {
        let now = hostcalls::get_current_time().ok()?;
        now.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64())
    }

    fn instant(&self) -> f64 {
        STARTED.with(Instant::elapsed).as_secs_f64()
    }

    fn log(&self, level: log::Level, line: &str) {
        log::log!(level, "{line}");
    }

    fn define(&self, kind: MetricKind, name: &str) -> Option<u32> {
        let kind = match kind {
            MetricKind::Counter => MetricType::Counter,
            MetricKind::Gauge => MetricType::Gauge,
        };
        hostcalls::define_metric(kind, name).ok()
    }

    fn increment(&self, counter: u32, amount: u32) {
        let _ = hostcalls::increment_metric(counter, i64::from(amount));
    }

    fn record(&self, gauge: u32, value: u64) {
        let _ = hostcalls::record_metric(gauge, value);
    }

    fn call(&self, request: &PollRequest) -> bool {
        let headers = request.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let timeout = Duration::from_millis(request.timeout_ms.into());
        hostcalls::dispatch_http_call(&request.cluster, headers, None, Vec::new(), timeout).is_ok()
    }

    fn answer(&self, max_bytes: usize) -> (Option<Vec<u8>>, Vec<u8>) {
        let headers = hostcalls::get_map_bytes(MapType::HttpCallResponseHeaders).unwrap_or_default();
        let status = headers.into_iter().find(|(name, _)| name == ":status").map(|(_, value)| value);
        let body = hostcalls::get_buffer(BufferType::HttpCallResponseBody, 0, max_bytes);
        (status, body.ok().flatten().unwrap_or_default())
    }

    fn set_tick_interval(&self, interval: Duration) {
        let _ = hostcalls::set_tick_period(interval);
    }

    fn configuration(&self) -> Vec<u8> {
        let bytes = hostcalls::get_buffer(BufferType::PluginConfiguration, 0, usize::MAX);
        bytes.ok().flatten().unwrap_or_default()
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

fn map_type(map: RequestMap) -> MapType {
    match map {
        RequestMap::Headers => MapType::HttpRequestHeaders,
        RequestMap::Trailers => MapType::HttpRequestTrailers,
    }
}

// === impl Plugin ===

impl Context for Plugin<Envoy> {
    fn on_http_call_response(&mut self, _: u32, _: usize, body_size: usize, _: usize) {
        self.on_answer(body_size);
    }
}

impl RootContext for Plugin<Envoy> {
    fn on_tick(&mut self) {
        Plugin::on_tick(self);
    }

    fn on_configure(&mut self, _: usize) -> bool {
        Plugin::on_configure(self)
    }

    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(self.stream()))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

// === impl Stream ===

impl Context for Stream<Envoy> {}

impl HttpContext for Stream<Envoy> {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        self.on_headers(!end_of_stream).into()
    }

    fn on_http_request_trailers(&mut self, _: usize) -> Action {
        self.on_trailers().into()
    }
}

impl From<Next> for Action {
    fn from(next: Next) -> Self {
        match next {
            Next::Continue => Self::Continue,
            Next::Stop => Self::Pause,
        }
    }
}
