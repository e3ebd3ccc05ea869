//! What happens when something breaks in Envoy: docs/reliability.md has a row for each of these.

mod clock;
mod memory;
mod vm;
