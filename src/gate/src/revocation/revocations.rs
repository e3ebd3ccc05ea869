//! The revocations that requests are checked against.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jwt_gate_token::Refusal;

use super::expiring_map::Poisoned;
use super::set::{RevocationClaims, RevocationSet};
use crate::config::WhenStale;
use crate::deny_reason::DenyReason;

/// The list of revocations, which every worker reads and one [`super::Follower`] fills. By default it is empty and stale.
#[derive(Debug, Default)]
pub struct Revocations {
    /// Shared with the followers of other configurations of the same feed.
    pub(super) set: Arc<RevocationSet>,
    is_fresh: AtomicBool,
}

impl Revocations {
    pub(super) fn new(set: Arc<RevocationSet>, is_fresh: bool) -> Self {
        Self { set, is_fresh: AtomicBool::new(is_fresh) }
    }

    /// Why a token that verified is refused; `None` if it is good. A damaged list refuses every token that it is asked for.
    pub(crate) fn refusal(&self, token: &RevocationClaims, when_stale: WhenStale) -> Option<DenyReason> {
        match self.set.contains(token) {
            Ok(true) => Some(DenyReason::Token(Refusal::Revoked)),
            Ok(false) if when_stale == WhenStale::Allow || self.is_fresh.load(Ordering::Acquire) => None,
            Ok(false) | Err(Poisoned) => Some(DenyReason::RevocationStale),
        }
    }

    /// How many entries there are.
    #[must_use]
    pub fn entries(&self) -> u64 {
        u64::try_from(self.set.len()).unwrap_or(u64::MAX)
    }

    /// Counts the list as too old, for a host that cannot follow the feed any more.
    pub fn mark_stale(&self) {
        self.set_fresh(false);
    }

    pub(super) fn set_fresh(&self, is_fresh: bool) {
        self.is_fresh.store(is_fresh, Ordering::Release);
    }
}
