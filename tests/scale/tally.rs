//! What became of requests.

use std::ops::AddAssign;
use std::time::Duration;

/// Counts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Requests for the application.
    pub(crate) requests: u64,
    /// Those that reached it, as they should.
    pub(crate) passed: u64,
    /// Those that were refused, as they should.
    pub(crate) refused: u64,
    /// Those with the token of a session that had been over for longer than such a token may pass, among the others.
    pub(crate) revoked: u64,
    /// Those that a gate did not answer, or with 5xx, and another did.
    pub(crate) elsewhere: u64,
    /// Those that no gate answered other than with 5xx.
    pub(crate) nowhere: u64,
    /// Sign-ins and sign-outs.
    pub(crate) calls: u64,
    /// Those of them that failed at every gate.
    pub(crate) calls_failed: u64,
    /// The longest time after which a token still passed whose sign-out had been acknowledged.
    pub(crate) longest: Duration,
    /// Answers that must not be.
    pub(crate) wrong: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.passed += other.passed;
        self.refused += other.refused;
        self.revoked += other.revoked;
        self.elsewhere += other.elsewhere;
        self.nowhere += other.nowhere;
        self.calls += other.calls;
        self.calls_failed += other.calls_failed;
        self.longest = self.longest.max(other.longest);
        self.wrong += other.wrong;
    }
}
