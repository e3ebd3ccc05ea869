//! What people build with it, for real: the better-auth client and a real Better Auth server, FastAPI, Chromium,
//! replicas on one PostgreSQL.

mod better_auth;
mod browser;
mod doctor;
mod fastapi;
mod operations;
// The companion's own tests start a PostgreSQL of their own; the same one serves here.
#[path = "../../src/companion/tests/it/postgres.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod postgres;
#[path = "../../src/companion/tests/it/setup.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod setup;
mod site;
