//! The configuration as a user writes it: the contract's §3.
//!
//! [`read`] takes it in any of the three forms in which it arrives and gives the types below, or one error
//! that names the field. What the types cannot say (a provider that does not exist, a weak secret) is found
//! when [`crate::Gate::new`] compiles them.

mod document;
mod error;
mod fields;
mod reader;
mod struct_wire;
mod types;
mod yaml;

pub use document::read;
pub use error::ConfigError;
#[cfg(test)]
pub(crate) use reader::for_tests;
pub use types::*;
