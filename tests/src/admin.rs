//! Envoy's admin interface.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http1::Request;

/// Envoy's admin interface on a loopback port.
#[derive(Debug, Clone, Copy)]
pub struct Admin {
    port: u16,
}

impl Admin {
    pub(crate) fn at(port: u16) -> Self {
        Self { port }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The body of a GET.
    #[must_use]
    pub fn get(&self, path: &str) -> String {
        let answer = Request::get(path).send(self.port);
        assert_eq!(answer.status, 200, "admin {path}");
        String::from_utf8_lossy(&answer.body).into_owned()
    }

    /// Whether Envoy says that it serves.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        Request::get("/ready").try_send(self.port).is_ok_and(|answer| answer.status == 200)
    }

    /// The port of each listener.
    #[must_use]
    pub fn ports(&self) -> BTreeMap<String, u16> {
        let listeners: Value = serde_json::from_str(&self.get("/listeners?format=json")).expect("JSON");
        let statuses = listeners["listener_statuses"].as_array().cloned().unwrap_or_default();
        statuses
            .iter()
            .filter_map(|status| {
                let port = status["local_address"]["socket_address"]["port_value"].as_u64()?;
                Some((status["name"].as_str()?.to_owned(), u16::try_from(port).ok()?))
            })
            .collect()
    }

    /// Every counter and gauge whose name holds `filter`, by name.
    #[must_use]
    pub fn stats(&self, filter: &str) -> BTreeMap<String, u64> {
        let text = self.get("/stats");
        let lines = text.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(name, _)| name.contains(filter))
            .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
            .collect()
    }

    /// The counter whose name ends in `suffix`, 0 where there is none yet.
    #[must_use]
    pub fn counter(&self, suffix: &str) -> u64 {
        self.stats(suffix).iter().filter(|(name, _)| name.ends_with(suffix)).map(|(_, value)| value).sum()
    }

    /// The counter whose name ends in `suffix`, once it is `least` or more, or else after five seconds: the gate
    /// hands over what it counted four times a second.
    #[must_use]
    pub fn counter_from(&self, suffix: &str, least: u64) -> u64 {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let value = self.counter(suffix);
            if value >= least || Instant::now() > deadline {
                return value;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}
