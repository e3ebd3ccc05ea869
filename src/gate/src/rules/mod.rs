//! The rule that decides about a request, and the tokens that it asks for.

mod interpretation;
mod list;
mod matcher;
mod requirement;

pub(crate) use list::{Access, Rules};
pub(crate) use requirement::Requirement;
