//! The rule that decides about a request, and the tokens that it asks for.

mod decider;
mod interpretation;
mod list;
mod matcher;
mod requirement;

pub use decider::{Decider, Deciders};
pub(crate) use interpretation::is_canonical_method;
pub(crate) use list::{Access, Rules, Ruling};
pub(crate) use requirement::Requirement;
