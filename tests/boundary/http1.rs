//! Requests as HTTP/1 bytes, many on one connection without waiting for an answer.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use jwt_gate_tests::latin1;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::BATCH;
use crate::case::{CASE, Case, Reading, credentials, odds, one, spoofs};
use crate::model::Model;
use crate::path;

/// How long a whole connection may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long to wait for more, where nobody knows how many answers there will be.
const IDLE: Duration = Duration::from_millis(150);

type Fields = Vec<(String, Vec<u8>)>;

/// A case, and the parts of a request that bear its id.
fn begin(random: &mut StdRng, id: u64) -> (Case, Vec<u8>, Fields) {
    let mut case = Case::new(id);
    let credentials = credentials(random, &mut case);
    let mut target = path::any(random);
    let query = one(random, &["", "", "/open/", "%2e%2e/", "a=b&a", "#", "/../admin"]);
    match &credentials.param {
        Some(token) => target.extend(format!("?{query}&token={token}&case={id}&x=%26").bytes()),
        None => target.extend(format!("?{query}&case={id}").bytes()),
    }
    let mut headers = spoofs(random, &mut case, false);
    headers.extend(credentials.headers);
    (case, target, headers)
}

/// A request whose end everybody finds in the same place.
fn framed(random: &mut StdRng, id: u64) -> (Case, Vec<u8>) {
    let (mut case, target, mut headers) = begin(random, id);
    let methods: [&[u8]; 12] = [
        b"GET", b"GET", b"GET", b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH", b"get",
        b"BREW",
    ];
    let method = one(random, &methods);
    if method == b"OPTIONS" && odds(random, 60) {
        headers.push(("origin".into(), b"https://a.test".to_vec()));
        headers.push(("access-control-request-method".into(), b"PUT".to_vec()));
        case.preflight = true;
    }
    if odds(random, 15) {
        let hops: [&[u8]; 7] = [
            b"x-user-id",
            b"x-user-id, keep-alive",
            b"authorization",
            b"keep-alive, cookie",
            b"host",
            b"x_user_id",
            b"te, x-user-role",
        ];
        headers.push((
            one(random, &["Connection", "connection", "Proxy-Connection"]).into(),
            one(random, &hops).to_vec(),
        ));
    }
    if odds(random, 10) {
        let more: [(&str, &[u8]); 10] = [
            ("x-original-url", b"/admin/users"),
            ("x-rewrite-url", b"/api/me"),
            ("x-http-method-override", b"GET"),
            ("x-envoy-original-path", b"/api/me"),
            ("x-forwarded-user", b"root"),
            (":path", b"/api/me"),
            ("te", b"trailers"),
            ("accept", b"text/html"),
            ("content-type", b"application/grpc"),
            ("x-envoy-retry-on", b"5xx"),
        ];
        let (name, value) = one(random, &more);
        headers.push((name.into(), value.to_vec()));
    }
    headers.insert(0, (CASE.into(), id.to_string().into_bytes()));
    headers.insert(
        random.random_range(0..=headers.len()),
        ("Host".into(), one(random, &[&b"app.test"[..], b"app.test:80", b"other"]).to_vec()),
    );
    let mut wire = [method, b" ", &target, b" HTTP/1.1\r\n"].concat();
    let has_body = [&b"POST"[..], b"PUT", b"PATCH", b"BREW"].contains(&method);
    let trailers = if has_body && odds(random, 60) { Some(spoofs(random, &mut case, false)) } else { None };
    if trailers.is_some() {
        headers.push((
            "Transfer-Encoding".into(),
            one(random, &[&b"chunked"[..], b"Chunked", b"CHUNKED"]).to_vec(),
        ));
        headers.push(("Trailer".into(), b"x-user-id".to_vec()));
    } else if has_body {
        headers.push(("Content-Length".into(), b"5".to_vec()));
    }
    for (name, value) in headers {
        let separator = one(random, &[&b": "[..], b":", b":  ", b":\t", b": "]);
        wire.extend_from_slice(
            &[name.as_bytes(), separator, &value, one(random, &[&b""[..], b"", b" "]), b"\r\n"].concat(),
        );
    }
    wire.extend_from_slice(b"\r\n");
    match trailers {
        Some(trailers) => {
            let extension = one(random, &["", ";x-user-id=root", ";a=\"b\""]);
            wire.extend(format!("3{extension}\r\nabc\r\n02\r\nde\r\n0\r\n").bytes());
            for (name, value) in trailers {
                wire.extend_from_slice(&[name.as_bytes(), b": ", &value, b"\r\n"].concat());
            }
            wire.extend_from_slice(b"\r\n");
        }
        None if has_body => wire.extend_from_slice(b"abcde"),
        None => {}
    }
    (case, wire)
}

/// A request that ends, or whose head reads, differently for different readers, with another one inside of it
/// that has an id of its own.
fn trick(random: &mut StdRng, id: u64, model: &Model) -> (Case, Vec<u8>) {
    let (case, target, headers) = begin(random, id);
    let inner = Case { spoofed: true, ..Case::new(id + 500) };
    let inner_target = path::any(random);
    let inside = [
        &b"GET "[..],
        if odds(random, 50) { b"/admin/x" } else { inner_target.as_slice() },
        format!("?case={} HTTP/1.1\r\nHost: a\r\n{CASE}: {}\r\nx-user-id: root\r\n\r\n", inner.id, inner.id)
            .as_bytes(),
    ]
    .concat();
    model.note(inner);
    let mut lines: Vec<Vec<u8>> =
        headers.iter().map(|(name, value)| [name.as_bytes(), b": ", value].concat()).collect();
    lines.insert(0, format!("{CASE}: {id}").into_bytes());
    lines.push(b"Host: app.test".to_vec());
    let length = inside.len();
    let chunked = format!("{length:x}\r\n{}\r\n0\r\n\r\n", latin1(&inside));
    let (more, body): (Vec<String>, Vec<u8>) = match random.random_range(0..22) {
        0 => (vec!["Content-Length: 4".into(), "Transfer-Encoding: chunked".into()], chunked.into_bytes()),
        1 => (
            vec![format!("Content-Length: {length}"), "Transfer-Encoding: chunked".into()],
            [b"0\r\n\r\n", inside.as_slice()].concat(),
        ),
        2 => (vec!["Content-Length: 0".into(), format!("Content-Length: {length}")], inside),
        3 => (vec![format!("Content-Length: {length}"), "Content-Length: 0".into()], inside),
        4 => (vec![format!("Content-Length: 0, {length}")], inside),
        5 => (vec![format!("Content-Length: +{length}")], inside),
        6 => (vec!["Transfer-Encoding: xchunked".into(), "Content-Length: 0".into()], inside),
        7 => (vec!["Transfer-Encoding : chunked".into()], [b"0\r\n\r\n", inside.as_slice()].concat()),
        8 => {
            (vec!["Transfer-Encoding: chunked, identity".into()], [b"0\r\n\r\n", inside.as_slice()].concat())
        }
        9 => (
            vec!["Transfer-Encoding: identity".into(), "Transfer-Encoding: chunked".into()],
            [b"0\r\n\r\n", inside.as_slice()].concat(),
        ),
        10 => (vec!["Transfer-Encoding:\x0bchunked".into()], [b"0\r\n\r\n", inside.as_slice()].concat()),
        11 => (vec!["Transfer-Encoding: chunked".into()], [b"0x0\r\n\r\n", inside.as_slice()].concat()),
        12 => (vec!["Transfer-Encoding: chunked".into()], [b"0\n\n", inside.as_slice()].concat()),
        13 => (
            vec![
                "Upgrade: websocket".into(),
                "Connection: Upgrade".into(),
                "Sec-WebSocket-Key: eA==".into(),
                "Sec-WebSocket-Version: 13".into(),
            ],
            inside,
        ),
        14 => (
            vec![
                "Upgrade: h2c".into(),
                "Connection: Upgrade, HTTP2-Settings".into(),
                "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA".into(),
            ],
            inside,
        ),
        15 => (vec!["x-a: b\r\n x-user-id: root".into(), "Content-Length: 0".into()], inside),
        16 => (vec!["x-user-id : root".into()], inside),
        17 => (vec!["x-a: b\nx-user-id: root".into()], inside),
        18 => (vec!["x-a: b\rx-user-id: root".into()], inside),
        19 => (vec!["x-user-id\0: root".into(), "x-user-id: ro\0ot".into()], inside),
        20 => (vec![": root".into(), "x-user-id".into()], inside),
        _ => (vec!["Expect: 100-continue".into(), format!("Content-Length: {length}")], inside),
    };
    lines.extend(more.into_iter().map(String::into_bytes));
    let methods: [&[u8]; 6] = [b"POST", b"GET", b"CONNECT", b"GET", b"POST", b"PRI"];
    let versions: [&[u8]; 7] =
        [b" HTTP/1.1", b" HTTP/1.1", b" HTTP/1.1", b" HTTP/1.0", b" HTTP/1.2", b"", b" HTTP/1.1 HTTP/1.1"];
    let start = [
        one(random, &[&b""[..], b"", b"\r\n", b"\0"]),
        one(random, &methods),
        b" ",
        &target,
        one(random, &versions),
    ]
    .concat();
    let end = one(random, &[&b"\r\n"[..], b"\r\n", b"\r\n", b"\n"]);
    let mut wire = [&start[..], end].concat();
    for line in lines {
        wire.extend_from_slice(&[&line[..], end].concat());
    }
    wire.extend_from_slice(end);
    wire.extend_from_slice(&body);
    (case, wire)
}

/// Sends a batch of requests that everybody parts alike, and reads to the end.
pub(crate) fn exchange(
    random: &mut StdRng,
    batch: u64,
    reading: Reading,
    model: &Model,
    port: u16,
    shown: bool,
) -> Vec<(u16, u64)> {
    let mut wire = Vec::new();
    for id in (batch * 1000..).take(BATCH) {
        let (case, request) = framed(random, id);
        model.note(case);
        wire.extend_from_slice(&request);
    }
    let last = b"GET /public HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n";
    wire.extend_from_slice(last);
    show(&wire, reading, shown);
    statuses(&talk(&wire, port, PATIENCE))
}

/// Sends tricks, each over a connection of its own and with a request behind it that must not be mixed up
/// with it.
pub(crate) fn exchange_tricks(
    random: &mut StdRng,
    batch: u64,
    reading: Reading,
    model: &Model,
    port: u16,
    shown: bool,
) -> Vec<(u16, u64)> {
    let mut answers = Vec::new();
    for id in (batch * 1000..).take(6) {
        let (case, mut wire) = trick(random, id, model);
        model.note(case);
        let (next, request) = framed(random, id + 250);
        model.note(next);
        wire.extend_from_slice(&request);
        show(&wire, reading, shown);
        answers.extend(statuses(&talk(&wire, port, IDLE)));
    }
    answers
}

fn show(wire: &[u8], reading: Reading, shown: bool) {
    if shown {
        println!(
            "--- to {}\n{}",
            reading.name(),
            wire.escape_ascii().to_string().replace("\\r\\n", "\\r\\n\n")
        );
    }
}

/// Writes and reads at once: answers that nobody reads would stop Envoy from reading on.
fn talk(wire: &[u8], port: u16, patience: Duration) -> Vec<u8> {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return Vec::new() };
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(patience));
    let _ = stream.set_write_timeout(Some(PATIENCE));
    let Ok(mut writer) = stream.try_clone() else { return Vec::new() };
    let mut answers = Vec::new();
    std::thread::scope(|scope| {
        // Envoy may close before it has read everything.
        scope.spawn(move || writer.write_all(wire));
        let mut buffer = vec![0; 65_536];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => answers.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
    });
    answers
}

/// The statuses in a row of answers. None of their bodies holds a status line.
fn statuses(answers: &[u8]) -> Vec<(u16, u64)> {
    let text = latin1(answers);
    let starts = text.match_indices("HTTP/1.").map(|(at, _)| &text[at..]);
    starts
        .filter_map(|line| line.get(9..12)?.parse::<u16>().ok())
        .filter(|status| *status >= 200)
        .map(|status| (status, 1))
        .collect()
}
