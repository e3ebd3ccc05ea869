//! Requests as HTTP/2 frames, many streams on one connection.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use jwt_gate_tests::latin1;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::BATCH;
use crate::case::{CASE, Case, Reading, credentials, odds, one, spoofs};
use crate::frames::{
    self, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PREFACE, RST_STREAM,
};
use crate::model::Model;
use crate::path;

/// How long to wait for a frame.
const PATIENCE: Duration = Duration::from_secs(5);

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn field(name: &str, value: impl AsRef<[u8]>) -> (Vec<u8>, Vec<u8>) {
    (name.as_bytes().to_vec(), value.as_ref().to_vec())
}

/// The frames of one request.
fn request(random: &mut StdRng, id: u64, stream: u32) -> (Case, Vec<u8>) {
    let mut case = Case::new(id);
    let credentials = credentials(random, &mut case);
    let mut target = path::any(random);
    if let Some(token) = &credentials.param {
        target.extend(format!("?token={token}").bytes());
    }
    let method = one(random, &["GET", "GET", "GET", "POST", "PUT", "OPTIONS", "HEAD", "CONNECT", "BREW"]);
    let mut pseudo = vec![
        field(":method", method),
        field(":scheme", one(random, &["http", "https"])),
        field(":authority", one(random, &["app.test", "other"])),
        field(":path", &target),
    ];
    let mut fields: Fields = vec![field(CASE, id.to_string())];
    if method == "OPTIONS" && odds(random, 60) {
        fields.push(field("origin", "https://a.test"));
        fields.push(field("access-control-request-method", "PUT"));
        case.preflight = true;
    }
    for (name, value) in spoofs(random, &mut case, true).into_iter().chain(credentials.headers) {
        fields.push((name.to_ascii_lowercase().into_bytes(), value));
    }
    if odds(random, 12) {
        oddity(random, &mut pseudo, &mut fields);
    }
    let has_body = odds(random, 30);
    let trailers = if has_body && odds(random, 60) { Some(trailers(random, &mut case)) } else { None };
    pseudo.extend(fields);
    let block = frames::literals(&pseudo);
    let end = if has_body { 0 } else { END_STREAM };
    let mut wire = if odds(random, 10) {
        // Cut in two, in the middle of a name or a value.
        let (head, tail) = block.split_at(random.random_range(1..block.len()));
        [frames::frame(HEADERS, end, stream, head), frames::frame(CONTINUATION, END_HEADERS, stream, tail)]
            .concat()
    } else {
        frames::frame(HEADERS, end | END_HEADERS, stream, &block)
    };
    if has_body {
        let smuggled = "GET /admin/x HTTP/1.1\r\nhost: a\r\nx-user-id: root\r\n\r\n";
        let last = if trailers.is_some() { 0 } else { END_STREAM };
        wire.extend(frames::frame(DATA, last, stream, smuggled.as_bytes()));
    }
    if let Some(trailers) = trailers {
        wire.extend(frames::frame(HEADERS, END_STREAM | END_HEADERS, stream, &frames::literals(&trailers)));
    }
    (case, wire)
}

fn trailers(random: &mut StdRng, case: &mut Case) -> Fields {
    let spoofs = spoofs(random, case, true);
    let mut fields: Fields =
        spoofs.into_iter().map(|(name, value)| (name.to_ascii_lowercase().into_bytes(), value)).collect();
    fields.push(field("x-checksum", "1"));
    if odds(random, 5) {
        fields.push(field(one(random, &[":path", ":method", ":status"]), "/admin/x"));
    }
    fields
}

/// Something that a well-behaved client would not send (RFC 9113 §8.2, §8.3).
fn oddity(random: &mut StdRng, pseudo: &mut Fields, fields: &mut Fields) {
    match random.random_range(0..18) {
        0 => pseudo.push(field(":path", "/public")),
        1 => fields.push(field(":path", "/public")),
        2 => pseudo.push(field(":method", "OPTIONS")),
        3 => pseudo.retain(|(name, _)| name != b":path"),
        4 => pseudo.retain(|(name, _)| name != b":authority"),
        5 => fields.push(field("host", "admin.test")),
        6 => pseudo.push(field(":protocol", "websocket")),
        7 => fields.push(field("X-User-Id", "root")),
        8 => fields.push(field("x-user-id ", "root")),
        9 => fields.push(field(" x-user-id", "root")),
        10 => fields.push(field("x-a", "b\r\nx-user-id: root")),
        11 => fields.push(field("x-a: b\r\nx-user-id", "root")),
        12 => fields.push(field("x-user-id\0", "root")),
        13 => fields.push(field("connection", "x-user-id")),
        14 => fields.push(field("transfer-encoding", "chunked")),
        15 => fields.push(field("content-length", "0")),
        16 => pseudo.push(field(":x-user-id", "root")),
        _ => fields.push(field("", "root")),
    }
}

/// Sends a batch of streams and waits for the end of each.
pub(crate) fn exchange(
    random: &mut StdRng,
    batch: u64,
    reading: Reading,
    model: &Model,
    port: u16,
    shown: bool,
) -> Vec<(u16, u64)> {
    let mut wire = PREFACE.to_vec();
    let mut open = BTreeSet::new();
    for (id, stream) in (batch * 1000..).zip((1..).step_by(2)).take(BATCH) {
        let (case, request) = request(random, id, stream);
        if shown {
            println!("--- to {}, stream {stream}\n{}", reading.name(), latin1(&request).escape_debug());
        }
        model.note(case);
        open.insert(stream);
        wire.extend(request);
    }
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return Vec::new() };
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let Ok(mut writer) = stream.try_clone() else { return Vec::new() };
    let mut answers = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || writer.write_all(&wire));
        while !open.is_empty() {
            let Ok(frame) = frames::read(&mut stream) else { break };
            match frame.kind {
                HEADERS if open.contains(&frame.stream) => answers.extend(status(&frame.payload)),
                RST_STREAM if open.contains(&frame.stream) => answers.push((400, 1)),
                GOAWAY => break,
                _ => {}
            }
            let ends = frame.kind == RST_STREAM
                || ([DATA, HEADERS].contains(&frame.kind) && frame.flags & END_STREAM != 0);
            if ends {
                open.remove(&frame.stream);
            }
        }
    });
    answers
}

/// The status of an answer's block; only as far as the tally needs it (RFC 7541 Appendix A: 8 is `:status`
/// 200, 12 is 400; another one is written out, often Huffman-coded).
fn status(block: &[u8]) -> Option<(u16, u64)> {
    match block.iter().find(|byte| **byte & 0xe0 != 0x20)? {
        0x88 => Some((200, 1)),
        0x8c => Some((400, 1)),
        _ => Some((401, 1)),
    }
}
