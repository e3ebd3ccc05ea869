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

#[test]
fn the_better_auth_client_in_a_page_of_another_origin_signs_people_up_in_and_out() {
    const NAME: &str = "the_better_auth_client_in_a_page_of_another_origin_signs_people_up_in_and_out";
    let Some(chromium) = on_path("chromium") else { return skipped(NAME, "Chromium is not installed") };
    let node = match Node::shared() {
        Ok(node) => node,
        Err(reason) => return skipped(NAME, reason),
    };
    let port = free_port();
    let origin = format!("http://localhost:{port}");
    let companion = Companion::start_with(&[
        ("BETTER_AUTH_SECRET", forge::SECRET),
        ("JWT_GATE_TRUSTED_ORIGINS", &origin),
    ]);
    let mut page = node.script("other_origin.mjs");
    page.arg(format!("http://localhost:{}", companion.public_port())).arg(chromium).arg(port.to_string());
    let output = page.env("NODE_OPTIONS", "--experimental-import-meta-resolve").output().expect("it runs");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("a page of another origin signs people in"), "{said}\n{}", companion.log());
}

/// A port that nobody listened on a moment ago.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
