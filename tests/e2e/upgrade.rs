//! WebSocket upgrades go through the gate like any request.

use std::net::TcpStream;

use jwt_gate_tests::{Seen, forge};
use serde_json::json;
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

use crate::envoy;

fn connect(path: &str, headers: &[(&'static str, String)]) -> Result<WebSocket<TcpStream>, u16> {
    let port = envoy().port("app");
    let mut request = format!("ws://127.0.0.1:{port}{path}").into_client_request().expect("a request");
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().expect("a header value"));
    }
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("Envoy listens");
    match tungstenite::client(request, stream) {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
            Err(answer.status().as_u16())
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_websocket_opens_with_a_token_and_carries_messages_both_ways() {
    let token = forge::token("user_1", json!({}));
    for (name, value) in
        [("authorization", format!("Bearer {token}")), ("cookie", format!("a=1; session={token}"))]
    {
        let spoofed = ("x-user-id", "root".to_owned());
        let mut socket = connect("/api/socket", &[(name, value), spoofed]).expect("an upgrade");
        let seen = socket.read().expect("what the backend saw").into_text().expect("a text");
        let seen = Seen::from_json(seen.as_bytes()).expect("what the backend saw");
        assert_eq!(seen.read_as("x-user-id"), [("x-user-id".to_owned(), "user_1".to_owned())]);
        assert!(!seen.holds(token.as_bytes()));
        for message in [Message::text("hello"), Message::binary(vec![0xff; 70_000])] {
            socket.send(message.clone()).expect("sent");
            assert_eq!(socket.read().expect("an echo"), message);
        }
        socket.close(None).expect("closed");
    }
}

#[test]
fn a_websocket_without_a_good_token_does_not_open() {
    assert_eq!(connect("/api/socket", &[]).err(), Some(401));
    assert_eq!(connect("/api/socket", &[("authorization", "Bearer bad".to_owned())]).err(), Some(401));
    assert_eq!(connect("/none", &[]).err(), Some(403));
    assert!(connect("/open/socket", &[]).is_ok());
}
