//! Tokens that were taken back, and secrets that change, through a real Envoy with the real companion.
//!
//! Nothing here is asserted about time: what must come to pass is waited for a bounded number of times.
//! `cargo xtask measure revocation` says how long it takes.

mod hostile;
mod reach;
mod restart;
mod rotation;
mod sign_out;
mod soak;
mod stack;
mod stale;
mod traffic;
