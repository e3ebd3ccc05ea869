//! Which rule a request falls under, and what that rule asks for.

mod condition;
mod host;
mod interpretation;
mod matcher;
mod path;
mod requirement;
mod rules;
mod text;

pub(crate) use condition::{Condition, referenced};
pub(crate) use path::{Target, is_canonical};
pub(crate) use requirement::{Requirement, Unmet, asked_claims};
pub(crate) use rules::{Need, Rules};
pub(crate) use text::TextMatcher;
