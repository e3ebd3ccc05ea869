//! A frontend and a server of Better Auth, with the gate between them as `envoy/better-auth.yaml` configures it.

use std::process::Command;

use jwt_gate_tests::{Node, forge, skipped};
use serde_json::Value;

use crate::site::{Server, front, repository, said};

#[test]
fn a_real_better_auth_servers_cookie_opens_the_gate_with_no_change_but_configuration() {
    const NAME: &str = "a_real_better_auth_servers_cookie_opens_the_gate_with_no_change_but_configuration";
    let (node, backend) = match Node::shared().and_then(|node| Ok((node, Server::fastapi()?))) {
        Ok(both) => both,
        Err(reason) => return skipped(NAME, reason),
    };
    let mut server: Command = node.script("better_auth_server.mjs");
    let server = Server::start(server.env("BETTER_AUTH_SECRET", forge::SECRET), "listening ");
    let example =
        std::fs::read_to_string(repository().join("envoy/better-auth.yaml")).expect("the example is there");
    let gate: Value = serde_saphyr::from_str(&example).expect("YAML");
    let envoy = front(gate, &["/api/auth/"], server.port, backend.port);
    let origin = format!("http://127.0.0.1:{}", envoy.port("site"));
    let said = said(node.script("better_auth_browser.mjs").arg(origin), &envoy);
    assert!(said.contains("a real Better Auth server works behind the gate"), "{said}\n{}", server.log());
}
