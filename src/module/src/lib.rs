//! jwt-gate as an Envoy dynamic module: the same decision as the proxy-wasm filter, in Envoy's own process.
//!
//! Envoy 1.38 and later load `libjwt_gate.so`. One [`jwt_gate::Policy`] and one list of revocations serve all worker threads;
//! each thread has a [`jwt_gate::Worker`] with the tokens that it has verified. `abi` has every foreign function, and is the
//! only file with `unsafe`. A panic is caught there, at the hook that Envoy called, and refuses the request.
//!
//! ```text
//! abi ──► filter (one request) ──► config (policy, workers) ──► feed (revocations, one poll a process)
//!                                        └──► metrics
//! ```

mod abi;
mod config;
mod feed;
mod filter;
mod metrics;
