//! jwt-gate as a proxy-wasm filter: Envoy's callbacks become calls of [`jwt_gate::Worker`], and its decision becomes calls to
//! Envoy. It decides nothing itself, and lets nothing through without a configuration.
//!
//! The logic knows its host as a trait, so that tests run it natively; `envoy`, which exists on wasm32 alone, is that host.

#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "used by `envoy`, which is for wasm32"))]

#[cfg(target_arch = "wasm32")]
mod envoy;
mod header_map;
mod host;
mod metrics;
mod plugin;
mod stream;
#[cfg(test)]
mod tests;
