//! A revocation feed that answers whatever a test wants, beside the companion's real one.

use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::http1::{read_fields, read_line};
use crate::seen::latin1;

/// How long between two bytes of an answer that drips.
const DRIP: Duration = Duration::from_millis(100);

/// A server on loopback that stands where the companion's private port would.
pub struct FakeFeed {
    port: u16,
    asked: Asked,
}

type Asked = Arc<Mutex<HashMap<String, u64>>>;

/// What a gate asks for.
#[derive(Debug, Clone)]
pub struct FeedRequest {
    /// The path without its query.
    pub path: String,
    /// The cursor.
    pub since: Option<String>,
    /// How often this path was asked for before.
    pub number: u64,
}

/// How it is answered.
#[derive(Debug, Clone)]
pub enum FeedAnswer {
    /// With this status and body.
    Body(u16, Vec<u8>),
    /// With these bytes, and the connection closed after them.
    Bytes(Vec<u8>),
    /// With a head that promises a body, and nothing more.
    Silence,
    /// With a body that comes byte by byte and never ends.
    Drip,
    /// With a body that never ends, as fast as it is taken.
    Flood,
}

impl FeedAnswer {
    /// 200 with this page.
    #[must_use]
    pub fn page(page: &Value) -> Self {
        Self::Body(200, page.to_string().into_bytes())
    }
}

impl FakeFeed {
    /// Starts one that answers each request with what `script` says.
    ///
    /// # Panics
    /// Where it cannot listen.
    pub fn start(script: impl Fn(&FeedRequest) -> FeedAnswer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port on loopback");
        let port = listener.local_addr().expect("an address").port();
        let (script, asked) = (Arc::new(script), Asked::default());
        let counts = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, counts) = (Arc::clone(&script), Arc::clone(&counts));
                // A connection that Envoy closes or breaks is the end of its thread, not of the test.
                thread::spawn(move || serve(stream, &*script, &counts));
            }
        });
        Self { port, asked }
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How often `path` was asked for.
    ///
    /// # Panics
    /// Where a thread panicked with the counts.
    #[must_use]
    pub fn asked(&self, path: &str) -> u64 {
        self.asked.lock().expect("no thread panics with the counts").get(path).copied().unwrap_or_default()
    }
}

fn serve(
    stream: TcpStream,
    script: &(dyn Fn(&FeedRequest) -> FeedAnswer + Send + Sync),
    asked: &Asked,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let line = latin1(&read_line(&mut stream)?);
        read_fields(&mut stream)?;
        let target = line.split(' ').nth(1).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let since = query.split('&').find_map(|pair| pair.strip_prefix("since=")).map(str::to_owned);
        let number = {
            let mut asked = asked.lock().expect("no thread panics with the counts");
            let count = asked.entry(path.to_owned()).or_default();
            *count += 1;
            *count - 1
        };
        let answer = script(&FeedRequest { path: path.to_owned(), since, number });
        let stream = stream.get_mut();
        let endless =
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000000000\r\n\r\n";
        match answer {
            FeedAnswer::Body(status, body) => {
                let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n\r\n", body.len());
                let body = if status == 204 || status == 304 { Vec::new() } else { body };
                stream.write_all(&[head.as_bytes(), &body].concat())?;
            }
            FeedAnswer::Bytes(bytes) => return stream.write_all(&bytes),
            FeedAnswer::Silence => {
                stream.write_all(endless)?;
                // Until Envoy gives up.
                return read_line(&mut BufReader::new(stream)).map(drop);
            }
            FeedAnswer::Drip => {
                stream.write_all(endless)?;
                loop {
                    stream.write_all(b" ")?;
                    thread::sleep(DRIP);
                }
            }
            FeedAnswer::Flood => {
                stream.write_all(endless)?;
                loop {
                    stream.write_all(&[b' '; 65_536])?;
                }
            }
        }
    }
}
