//! What the gate has to be, each a ratio in one run.

use super::contender::Contender;
use super::rounds::Measured;
use super::stats::Estimate;
use super::workload::Workload;

/// A ratio of costs that is to stay on one side of a bound.
pub(super) struct Target {
    pub(super) workload: Workload,
    pub(super) one: Contender,
    pub(super) other: Contender,
    pub(super) bound: Bound,
}

/// The side.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

const fn at_most(bound: f64, workload: Workload, other: Contender) -> Target {
    Target { workload, one: Contender::Gate, other, bound: Bound::AtMost(bound) }
}

/// The targets that are ratios of the cost of a request.
pub(super) const TARGETS: [Target; 7] = [
    at_most(0.6, Workload::Fresh, Contender::JwtAuthn),
    at_most(1.0, Workload::Seen, Contender::JwtAuthnCache),
    at_most(1.1, Workload::Public, Contender::Empty),
    at_most(1.0, Workload::None, Contender::JwtAuthn),
    at_most(1.0, Workload::BadSignature, Contender::JwtAuthn),
    at_most(1.0, Workload::Claims, Contender::JwtAuthnCache),
    Target {
        workload: Workload::Seen,
        one: Contender::Fastapi,
        other: Contender::Gate,
        bound: Bound::AtLeast(40.0),
    },
];

impl Target {
    /// The ratio as it was measured, where both were.
    pub(super) fn measured(&self, measured: &Measured) -> Option<Estimate> {
        measured.ratio(self.workload, self.one, self.other)
    }
}

impl Bound {
    /// Whether the median is on the right side.
    pub(super) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
        }
    }
}
