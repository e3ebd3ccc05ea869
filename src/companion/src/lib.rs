//! `jwt-gate-auth`, the companion of jwt-gate: it signs people up and in, and issues the tokens that the gate
//! verifies.
//!
//! ```text
//! main ──► cli ──► server ──► http ──► account ──► session ──► jwt_gate_token
//!                                         └─────► store, password, throttle
//! ```
//!
//! * [`store`]: accounts, sessions and revocations in SQLite or PostgreSQL.
//! * [`password`]: bcrypt on threads of its own, behind a bounded queue.
//! * [`session`]: sessions and their tokens.
//! * [`throttle`]: how often a password may be tried.
//! * [`account`]: signing up and in. Nothing up to here knows of HTTP; errors are [`error::AccountError`].
//! * [`http`]: requests and answers: bodies, cookies, origins, problems.
//! * [`server`]: sockets, limits, the end.
//! * [`cli`]: the commands.

pub mod account;
pub mod app;
pub mod claims;
pub mod cli;
pub mod clock;
pub mod email;
pub mod error;
pub mod events;
pub mod http;
pub mod id;
pub mod origin_pattern;
pub mod password;
pub mod profile;
pub mod server;
pub mod session;
pub mod settings;
pub mod store;
pub mod throttle;
