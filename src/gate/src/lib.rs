//! jwt-gate's filter: HS256 JWTs verified inside Envoy, the caller's identity injected as headers, everyone
//! else turned away.
//!
//! The decision is a pure function: [`Gate::new`] compiles a [`config::Config`], [`Gate::decide`] takes a
//! [`Request`] and a time and says what to change and whether to let it through. Only the `host` module,
//! which exists on wasm32 alone, knows of Envoy.
//!
//! ```text
//!            boundary            rules                  session                 identity
//! request ──► strip spoofed ──► which rule, ──► token: where? verify, ──► claims become headers,
//!             identity headers  what it needs   cache, revocation         the token leaves
//!                                   │                  │
//!                                   └──── denial ◄─────┘──► reply: 401, 403, gRPC status, redirect
//! ```

mod boundary;
mod cache;
mod claim_place;
mod denial;
mod gate;
#[cfg(target_arch = "wasm32")]
mod host;
mod identity;
mod location;
#[cfg(target_arch = "wasm32")]
mod metrics;
mod percent;
mod policy;
mod printable;
mod provider;
mod reply;
mod request;
mod revocation;
mod secrets;

pub use boundary::Boundary;
pub use denial::Code;
pub use gate::{Decision, Edit, Gate, Pass, Verdict};
pub use jwt_gate_config as config;
pub use reply::Reply;
pub use request::Request;
pub use revocation::{Answer, Call, Change, Watch};
