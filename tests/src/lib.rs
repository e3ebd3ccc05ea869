//! The end-to-end tests' tools: a real Envoy with the gate, a backend that tells what reached it, clients
//! that send any bytes, and tokens made without the code under test.
//!
//! ```text
//! http1 / http2 client ──► Envoy (listener + gate) ──► Backend
//!                                                        └─ answers with what it received: `Seen`
//! ```
//!
//! The backend's answer carries the request as it arrived, so a test reads off its own answer what the
//! backend saw, and tests share one Envoy and one backend without sharing state.

mod admin;
mod auth;
mod backend;
mod ecds;
mod envoy;
mod feed;
pub mod forge;
pub mod http1;
pub mod http2;
mod listener;
pub mod load;
mod mesh;
pub mod native;
mod network;
mod process;
mod recorder;
mod seen;
mod server;
mod skip;
mod toolbox;

pub use admin::Admin;
pub use auth::{Companion, companion_binary};
pub use backend::{Backend, TAG};
pub use ecds::{Discovered, Published};
pub use envoy::{Envoy, Refused, Shown, Spec, envoy_binary, wasm};
pub use feed::{FakeFeed, FeedAnswer, FeedRequest};
pub use http1::{Answer, Request};
pub use listener::{ConfigForm, Listener, Upstream, cluster};
pub use network::{Host, Network};
pub use process::Guarded;
pub use recorder::Recorder;
pub use seen::{Headers, Seen, latin1};
pub use server::Server;
pub use skip::skipped;
pub use toolbox::{Node, Python};
