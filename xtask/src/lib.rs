//! jwt-gate's developer commands, and what its tests share with them: one way to build the filter
//! ([`wasm::build`]) and one way to get an Envoy ([`envoy::locate`]).

pub mod bench;
pub mod command;
pub mod demo;
pub mod document;
pub mod envoy;
pub mod fuzz;
pub mod measure;
pub mod module;
pub mod process;
pub mod say;
pub mod system;
pub mod test;
pub mod wasm;
pub mod workspace;
