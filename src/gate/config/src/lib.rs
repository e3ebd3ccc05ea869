//! The configuration of jwt-gate's filter as a user writes it.
//!
//! [`read`] takes it in any of the three forms in which it arrives and gives the types below, or one error
//! that names the field. What the types cannot say (a provider that does not exist, a weak secret) is found
//! when the filter compiles them.
//!
//! A crate of its own, because it runs once where the rest runs on each request: this is compiled to be small,
//! that to be fast.

mod document;
mod error;
mod fields;
mod hints;
mod reader;
mod struct_wire;
mod types;
mod yaml;

pub use document::read;
pub use error::ConfigError;
pub use types::*;
