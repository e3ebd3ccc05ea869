//! A backend that shows each request, as it arrived, to whoever checks it.

use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use crate::http1::{read_body, read_fields, read_line};
use crate::seen::Seen;

/// What is answered: as little as possible, because there are many requests.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// A backend on loopback that speaks HTTP/1.1 and knows nothing of Envoy.
pub struct Recorder {
    port: u16,
}

impl Recorder {
    /// Starts one that shows each request to `check` before it answers. What cannot be read as a request is
    /// shown as one without a method, whose body is what was there instead.
    ///
    /// # Panics
    /// Where it cannot listen.
    pub fn start(check: impl Fn(&Seen) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port on loopback");
        let port = listener.local_addr().expect("an address").port();
        let check = Arc::new(check);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let check = Arc::clone(&check);
                // A connection that Envoy closes or breaks is the end of its thread, not of the test.
                thread::spawn(move || serve(stream, &*check));
            }
        });
        Self { port }
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn serve(stream: TcpStream, check: &(dyn Fn(&Seen) + Send + Sync)) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let line = read_line(&mut stream)?;
        let mut words = line.splitn(3, |byte| *byte == b' ');
        let method = String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
        let target = words.next().unwrap_or_default().to_vec();
        let protocol = String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
        if !protocol.starts_with("HTTP/1.") {
            check(&Seen { body: line, ..Seen::default() });
            return Ok(());
        }
        let headers = read_fields(&mut stream)?;
        let mut seen = Seen { protocol, method, target, headers, ..Seen::default() };
        // The head is checked before the body is waited for, which may never come.
        check(&seen);
        // After a request to switch protocols comes what is no HTTP. This backend switches to none.
        if seen.method == "CONNECT" || seen.one("upgrade").is_some() {
            return stream
                .get_mut()
                .write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
        (seen.body, seen.trailers) = read_body(&mut stream, &seen.headers, false)?;
        if !seen.trailers.is_empty() {
            check(&seen);
        }
        stream.get_mut().write_all(ANSWER)?;
    }
}
