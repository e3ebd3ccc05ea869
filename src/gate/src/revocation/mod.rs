//! Tokens that were taken back before their time.
//!
//! The companion keeps the list; the gate follows it. On every tick the host asks for what is new since the
//! last answer's cursor ([`Watch::call`]) and hands the answer over ([`Watch::answer`]); no request waits for
//! it. A revocation is kept until the token would have expired anyway, so the list stays as long as the
//! sign-outs of one token lifetime. What was once revoked stays so, even where a later answer does not know
//! of it: a companion whose store was restored from a backup brings no token back to life.

mod feed;
mod list;
mod table;

pub use feed::{Answer, Call, Change, Watch};
pub(crate) use list::Revocable;
