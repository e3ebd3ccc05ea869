//! Clients that other people wrote.

use std::process::Command;

use crate::companion::Companion;
use crate::setup;

#[test]
fn the_unmodified_better_auth_client_works() {
    let directory = match setup::npm_client("better-auth") {
        Ok(directory) => directory,
        Err(reason) => return setup::skip("the_unmodified_better_auth_client_works", &reason),
    };
    let companion = Companion::start(&["--throttle-address", "0"]);
    let done =
        setup::run(Command::new("node").arg("client.mjs").arg(&companion.public).current_dir(directory));
    let said = done.unwrap_or_else(|said| panic!("{said}\n{}", companion.log()));
    assert!(said.contains("the better-auth client works"), "{said}");
}
