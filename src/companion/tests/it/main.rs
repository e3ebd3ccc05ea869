//! The companion as its users meet it: a live process, spoken to over sockets.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should stop")]

mod accounts;
mod administration;
mod bad_input;
mod clients;
mod commands;
mod companion;
mod cors;
mod credentials;
mod durability;
mod faults;
mod housekeeping;
mod limits;
mod locks;
mod model;
mod pages;
mod postgres;
mod schema;
mod setup;
mod stores;
