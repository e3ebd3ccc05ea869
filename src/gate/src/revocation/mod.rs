//! Tokens that were revoked before they expired.
//!
//! The companion keeps the list, and the gate follows it. At an interval the host asks for the entries after the last answer's
//! cursor ([`Follower::poll`]) and hands over the answer ([`Follower::answer`]); no request waits for it. An entry is kept until
//! its token would have expired, so the list is as long as the sign-outs of one token lifetime. An entry stays even if a later
//! answer does not have it: a companion whose store was restored from a backup brings no token back to life.

mod expiring_map;
mod feed;
mod follower;
mod revocations;
mod set;

pub(crate) use feed::Feed;
pub use follower::{Follower, PollOutcome, PollRequest, Transition};
pub use revocations::Revocations;
pub(crate) use set::RevocationClaims;
