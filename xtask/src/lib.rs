//! jwt-gate's developer commands, and what its tests share with them: one way to build the filter
//! (`wasm::build`) and one way to get an Envoy ([`envoy::locate`]).
//!
//! Without the feature `tools` there are `demo`, `envoy` and `module` alone, and [`with_tools`] gets the rest: the first demo is not to wait for
//! what only the benchmarks use.

#[cfg(feature = "tools")]
pub mod bench;
pub mod command;
pub mod demo;
#[cfg(feature = "tools")]
pub mod document;
pub mod envoy;
#[cfg(feature = "tools")]
pub mod fuzz;
#[cfg(feature = "tools")]
pub mod measure;
pub mod module;
pub mod process;
pub mod say;
pub mod system;
#[cfg(feature = "tools")]
pub mod test;
pub mod wasm;
pub mod workspace;

use std::os::unix::process::CommandExt as _;

/// Becomes the same command with the feature `tools`. Returns only where cargo cannot be started.
///
/// # Errors
/// Where this is no cargo workspace, or cargo does not start.
pub fn with_tools(
    arguments: impl Iterator<Item = std::ffi::OsString>,
) -> anyhow::Result<std::convert::Infallible> {
    let run = ["run", "--locked", "--package", "xtask", "--features", "tools", "--"];
    let root = workspace::Workspace::locate()?.root;
    let mut cargo = workspace::cargo();
    Err(cargo.current_dir(root).args(run).args(arguments).exec().into())
}
