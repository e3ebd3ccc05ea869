//! Conditions on a verified token's claims.

mod condition;
mod place;
mod referenced;

pub(crate) use condition::{Condition, member_names};
pub(crate) use place::ClaimPlace;
pub(crate) use referenced::referenced_claims;
