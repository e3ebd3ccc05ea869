//! The gate's decision, without a host: HS256 JWTs are verified, the caller's identity becomes headers, every other request is
//! refused.
//!
//! A [`Policy`] is a compiled [`config::Config`]. It never changes, and all threads share it. Each thread has a [`Worker`],
//! which remembers the tokens that it has verified: [`Worker::decide`] takes a [`Request`] and a clock, and returns the changes
//! to the headers and whether the request passes. [`Revocations`] are shared too; a [`Follower`] keeps them up to date. The
//! host (`src/wasm`) makes every call to Envoy.
//!
//! ```text
//!            header_guard          rules               authentication              identity_headers
//! request ──► strip the headers ──► which rule, ──► token: where? verify, ──► claims become headers,
//!             that are ours         requires what?   cache, revocation         the token leaves
//!                                       │                  │
//!                                       └── deny_reason ◄──┘──► reply: 401, 403, 503, redirect
//! ```

mod authentication;
mod cache;
mod claims;
mod deny_reason;
mod explanation;
mod header_guard;
mod host_name;
mod identity;
mod identity_headers;
mod log_line;
mod mutation;
mod path;
mod percent;
mod policy;
mod printable;
mod provider;
mod refusal_log;
mod reply;
mod request;
mod revocation;
mod rules;
mod secrets;
mod text_matcher;
mod token_sources;
mod worker;

pub use authentication::CacheStats;
pub use deny_reason::DenyReason;
pub use explanation::{Explanation, FoundToken, InterpretedRequest, TokenPlace};
pub use header_guard::HeaderGuard;
pub use jwt_gate_config as config;
pub use log_line::{LogLine, Severity};
pub use mutation::HeaderMutation;
pub use policy::Policy;
pub use reply::Reply;
pub use request::Request;
pub use revocation::{Follower, PollOutcome, PollRequest, Revocations, Transition};
pub use rules::{Decider, Deciders};
pub use worker::{Allowed, Decision, Verdict, Worker};

/// Threads share policies and revocations.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Policy>();
    shared::<Revocations>();
};
