//! The filter's logic with a host that does what a test says.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use jwt_gate::{PollRequest, Reply};
use jwt_gate_token::{Keyring, Secret, issue};
use serde_json::{Value, json};

use crate::header_map::HeaderMap;
use crate::host::{Host, MetricKind, RequestMap};
use crate::plugin::{Plugin, Vm};
use crate::stream::Next;

const SECRET: &str = "app-0123456789abcdef0123456789abcdef";
const NOW: f64 = 1_700_000_000.0;

/// A host whose state a test reads and writes.
#[derive(Clone, Default)]
struct TestHost(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    configuration: Vec<u8>,
    headers: Option<Vec<(String, Vec<u8>)>>,
    trailers: Option<Vec<(String, Vec<u8>)>>,
    /// The header that the host refuses to change.
    stubborn: &'static str,
    replies: Vec<Reply>,
    filter_state: BTreeMap<String, String>,
    log: Vec<String>,
    now: Option<f64>,
    instant: f64,
    metrics: Vec<(String, u64)>,
    calls: Vec<PollRequest>,
    call_fails: bool,
    answer: (Option<Vec<u8>>, Vec<u8>),
}

impl TestHost {
    fn new(configuration: &Value) -> Self {
        let host = Self::default();
        host.0.borrow_mut().configuration = configuration.to_string().into_bytes();
        host.0.borrow_mut().now = Some(NOW);
        host
    }

    fn request(&self, headers: &[(&str, &str)]) {
        self.0.borrow_mut().headers = Some(owned(headers));
    }

    fn header(&self, name: &str) -> Option<String> {
        let state = self.0.borrow();
        let mut headers = state.headers.iter().flatten();
        headers.find(|(known, _)| known == name).map(|(_, value)| String::from_utf8(value.clone()).unwrap())
    }

    fn metric(&self, name: &str) -> u64 {
        let state = self.0.borrow();
        state.metrics.iter().find(|(known, _)| known == name).map_or(0, |(_, value)| *value)
    }

    /// The status of the last reply.
    fn status(&self) -> Option<u32> {
        self.0.borrow().replies.last().map(|reply| reply.status)
    }
}

fn owned(headers: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
}

/// As the ABI writes a map.
fn written(headers: &[(String, Vec<u8>)]) -> HeaderMap {
    let number = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
    let mut map = number(headers.len()).to_vec();
    for (name, value) in headers {
        map.extend(number(name.len()).into_iter().chain(number(value.len())));
    }
    for (name, value) in headers {
        map.extend(name.bytes().chain([0]).chain(value.iter().copied()).chain([0]));
    }
    HeaderMap::parse(map).unwrap()
}

impl Host for TestHost {
    fn headers(&self, map: RequestMap) -> Option<HeaderMap> {
        let state = self.0.borrow();
        let headers = if map == RequestMap::Headers { &state.headers } else { &state.trailers };
        headers.as_deref().map(written)
    }

    fn remove(&self, map: RequestMap, name: &[u8]) -> bool {
        let mut state = self.0.borrow_mut();
        if state.stubborn.as_bytes() == name {
            return false;
        }
        let headers = if map == RequestMap::Headers { &mut state.headers } else { &mut state.trailers };
        headers.iter_mut().for_each(|headers| headers.retain(|(known, _)| known.as_bytes() != name));
        true
    }

    fn set(&self, name: &str, value: &[u8]) -> bool {
        if !self.remove(RequestMap::Headers, name.as_bytes()) {
            return false;
        }
        let mut state = self.0.borrow_mut();
        state.headers.iter_mut().for_each(|headers| headers.push((name.to_owned(), value.to_vec())));
        true
    }

    fn reply(&self, reply: &Reply) {
        self.0.borrow_mut().replies.push(reply.clone());
    }

    fn set_filter_state(&self, key: &str, value: &[u8]) {
        let value = String::from_utf8(value.to_vec()).unwrap();
        self.0.borrow_mut().filter_state.insert(key.to_owned(), value);
    }

    fn now(&self) -> Option<f64> {
        self.0.borrow().now
    }

    fn instant(&self) -> f64 {
        self.0.borrow().instant
    }

    fn log(&self, level: log::Level, line: &str) {
        self.0.borrow_mut().log.push(format!("{level} {line}"));
    }

    fn define(&self, _: MetricKind, name: &str) -> Option<u32> {
        let metrics = &mut self.0.borrow_mut().metrics;
        let index = metrics.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            metrics.push((name.to_owned(), 0));
            metrics.len().saturating_sub(1)
        });
        u32::try_from(index).ok()
    }

    fn increment(&self, counter: u32, amount: u32) {
        let metrics = &mut self.0.borrow_mut().metrics;
        let (_, value) = metrics.get_mut(usize::try_from(counter).unwrap()).unwrap();
        *value = value.saturating_add(amount.into());
    }

    fn record(&self, gauge: u32, value: u64) {
        self.0.borrow_mut().metrics.get_mut(usize::try_from(gauge).unwrap()).unwrap().1 = value;
    }

    fn call(&self, request: &PollRequest) -> bool {
        let PollRequest { cluster, headers, timeout_ms } = request;
        let mut state = self.0.borrow_mut();
        state.calls.push(PollRequest {
            cluster: cluster.clone(),
            headers: headers.clone(),
            timeout_ms: *timeout_ms,
        });
        !state.call_fails
    }

    fn answer(&self, max_bytes: usize) -> (Option<Vec<u8>>, Vec<u8>) {
        let (status, mut body) = self.0.borrow().answer.clone();
        body.truncate(max_bytes);
        (status, body)
    }

    fn set_tick_interval(&self, _: Duration) {}

    fn configuration(&self) -> Vec<u8> {
        self.0.borrow().configuration.clone()
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

fn configuration() -> Value {
    json!({
        "providers": {"app": {
            "secrets": [{"inline": SECRET}],
            "claim_to_headers": [{"header_name": "x-user-id", "claim_name": "sub", "required": true}],
        }},
        "rules": [{"match": {"path": "/public"}}],
        "default": "require",
        "decision_in_filter_state": true,
    })
}

fn bearer() -> String {
    let claims = json!({"sub": "user_1", "jti": "j1", "iat": NOW, "exp": NOW + 600.0});
    let keyring = Keyring::new([Secret::from_utf8(SECRET).unwrap()]).unwrap();
    format!("Bearer {}", issue(&keyring, claims.as_object().unwrap()).unwrap())
}

fn plugin(host: &TestHost) -> Plugin<TestHost> {
    let mut plugin = Plugin::new(host.clone(), Rc::default());
    assert!(plugin.on_configure());
    plugin
}

#[test]
fn a_request_with_a_good_token_goes_on_with_an_identity_and_without_the_token() {
    let host = TestHost::new(&configuration());
    let mut plugin = plugin(&host);
    host.request(&[(":method", "GET"), (":path", "/"), ("authorization", &bearer()), ("X_USER_ID", "root")]);
    assert_eq!(plugin.stream().on_headers(false), Next::Continue);
    assert_eq!(host.header("x-user-id").as_deref(), Some("user_1"));
    assert_eq!((host.header("authorization"), host.header("X_USER_ID")), (None, None));
    let state = host.0.borrow().filter_state.clone();
    assert_eq!(state["jwt_gate.code"], "allowed");
    assert_eq!(state["jwt_gate.rule"], "default");
    assert_eq!(state["jwt_gate.subject"], "user_1");
    plugin.on_tick();
    assert_eq!((host.metric("jwt_gate.allowed"), host.metric("jwt_gate.cache.miss")), (1, 1));
}

#[test]
fn without_a_valid_configuration_no_request_passes() {
    let host = TestHost::new(&json!({"providers": {}}));
    let mut plugin = Plugin::new(host.clone(), Rc::default());
    assert!(!plugin.on_configure());
    assert!(host.0.borrow().log.iter().any(|line| line.starts_with("ERROR jwt-gate: configuration refused")));
    host.request(&[(":method", "GET"), (":path", "/public"), ("authorization", &bearer())]);
    assert_eq!(plugin.stream().on_headers(false), Next::Stop);
    assert_eq!(host.status(), Some(503));
}

#[test]
fn a_request_passes_only_if_the_host_made_every_change() {
    let host = TestHost::new(&configuration());
    let plugin = plugin(&host);
    for stubborn in ["x-user-id", "authorization"] {
        host.0.borrow_mut().stubborn = stubborn;
        host.request(&[(":method", "GET"), (":path", "/"), ("authorization", &bearer())]);
        assert_eq!(plugin.stream().on_headers(false), Next::Stop, "{stubborn}");
        assert_eq!(host.status(), Some(503));
    }
    host.0.borrow_mut().stubborn = "x-user-id";
    host.request(&[(":method", "GET"), (":path", "/public"), ("x-user-id", "root")]);
    assert_eq!(plugin.stream().on_headers(false), Next::Stop, "a public request keeps no spoofed header");
}

#[test]
fn a_refused_request_loses_its_token_even_if_another_change_fails() {
    let host = TestHost::new(&configuration());
    let plugin = plugin(&host);
    host.0.borrow_mut().stubborn = "x-user-id";
    host.request(&[
        (":method", "GET"),
        (":path", "/"),
        ("authorization", "Bearer a.b.c"),
        ("x-user-id", "root"),
    ]);
    assert_eq!(plugin.stream().on_headers(false), Next::Stop);
    assert_eq!((host.status(), host.header("authorization")), (Some(401), None));
    assert_eq!(host.0.borrow().filter_state["jwt_gate.code"], "malformed");
}

#[test]
fn without_headers_or_a_clock_nothing_passes() {
    let host = TestHost::new(&configuration());
    let plugin = plugin(&host);
    assert_eq!(plugin.stream().on_headers(false), Next::Stop, "the host has no headers");
    host.request(&[(":method", "GET"), (":path", "/"), ("authorization", &bearer())]);
    host.0.borrow_mut().now = None;
    assert_eq!(plugin.stream().on_headers(false), Next::Stop);
    assert_eq!((host.status(), host.header("authorization")), (Some(503), None));
}

#[test]
fn guarded_trailers_leave_and_if_they_cannot_the_request_ends() {
    let host = TestHost::new(&configuration());
    let plugin = plugin(&host);
    let stream = plugin.stream();
    host.0.borrow_mut().trailers = Some(owned(&[("x_user_id", "root"), ("grpc-status", "0")]));
    assert_eq!(stream.on_trailers(), Next::Continue);
    let left = host.0.borrow().trailers.clone();
    assert_eq!(left, Some(owned(&[("grpc-status", "0")])));
    host.0.borrow_mut().trailers = Some(owned(&[("x-user-id", "root")]));
    host.0.borrow_mut().stubborn = "x-user-id";
    assert_eq!(stream.on_trailers(), Next::Stop);
}

#[test]
fn revocations_are_asked_for_and_a_new_configuration_goes_on_with_them() {
    let mut with_feed = configuration();
    with_feed["revocation"] = json!({"cluster": "companion", "when_stale": "deny"});
    let host = TestHost::new(&with_feed);
    let vm: Rc<Vm<TestHost>> = Rc::default();
    let mut plugin = Plugin::new(host.clone(), Rc::clone(&vm));
    assert!(plugin.on_configure());
    let status = |plugin: &Plugin<TestHost>| {
        host.0.borrow_mut().replies.clear();
        host.request(&[(":method", "GET"), (":path", "/"), ("authorization", &bearer())]);
        plugin.stream().on_headers(false);
        host.status()
    };
    assert_eq!(status(&plugin), Some(503), "nobody knows yet what was revoked");
    plugin.on_tick();
    assert_eq!(host.0.borrow().calls.len(), 1);
    plugin.on_tick();
    assert_eq!(host.0.borrow().calls.len(), 1, "one call at a time");
    let page = json!({"cursor": "c1", "jti": [["other", NOW + 600.0]]}).to_string().into_bytes();
    host.0.borrow_mut().answer = (Some(b"200".to_vec()), page);
    plugin.on_answer(usize::MAX);
    assert_eq!(status(&plugin), None);
    let page = json!({"cursor": "c2", "jti": [["j1", NOW + 600.0]]}).to_string().into_bytes();
    host.0.borrow_mut().instant = 1.0;
    plugin.on_tick();
    host.0.borrow_mut().answer = (Some(b"200".to_vec()), page);
    plugin.on_answer(usize::MAX);
    assert_eq!(status(&plugin), Some(401), "revoked");
    let mut updated = Plugin::new(host.clone(), vm);
    assert!(updated.on_configure());
    assert_eq!(status(&updated), Some(401), "a new configuration starts with the list of the old one");
    assert_eq!(host.metric("jwt_gate.revocation.entries"), 2);
}

#[test]
fn a_call_that_cannot_be_made_or_has_no_answer_is_a_failure() {
    let mut with_feed = configuration();
    with_feed["revocation"] = json!({"cluster": "companion", "max_staleness_ms": 1000});
    let host = TestHost::new(&with_feed);
    let mut plugin = plugin(&host);
    host.0.borrow_mut().call_fails = true;
    plugin.on_tick();
    host.0.borrow_mut().call_fails = false;
    host.0.borrow_mut().instant = 2.0;
    plugin.on_tick();
    plugin.on_answer(0);
    plugin.on_tick();
    assert_eq!(host.metric("jwt_gate.revocation.failures"), 2);
    assert_eq!(host.metric("jwt_gate.revocation.age_ms"), 2000);
    assert!(host.0.borrow().log.iter().any(|line| line.starts_with("WARN jwt-gate: revocations are stale")));
}
