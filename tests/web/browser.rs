//! A person in Chromium.

use std::env;

use jwt_gate_tests::{Companion, Node, forge, skipped};
use xtask::command::on_path;

use crate::site::{Server, front, repository, said, shipped_gate};

#[test]
fn a_person_is_sent_to_sign_in_signs_up_lands_where_she_wanted_and_signs_out() {
    const NAME: &str = "a_person_is_sent_to_sign_in_signs_up_lands_where_she_wanted_and_signs_out";
    let Some(chromium) = on_path("chromium") else { return skipped(NAME, "Chromium is not installed") };
    let (node, backend) = match Node::shared().and_then(|node| Ok((node, Server::fastapi()?))) {
        Ok(both) => both,
        Err(reason) => return skipped(NAME, reason),
    };
    let companion = Companion::start(forge::SECRET);
    let pages = ["/api/auth/", "/sign-in", "/sign-up", "/sign-out"];
    let envoy = front(shipped_gate(), &pages, companion.public_port(), backend.port);
    let mut person = node.script("browser.mjs");
    person.arg(format!("http://127.0.0.1:{}", envoy.port("site"))).arg(chromium);
    // `UPDATE_SCREENSHOTS=1` makes those of the docs anew.
    if env::var_os("UPDATE_SCREENSHOTS").is_some() {
        let images = repository().join("docs/images");
        std::fs::create_dir_all(&images).expect("docs/images can be made");
        person.arg(images);
    }
    let said = said(&mut person, &envoy);
    assert!(said.contains("a person in a browser can sign up and out"), "{said}\n{}", companion.log());
}
