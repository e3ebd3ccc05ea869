//! Load at a fixed rate, whether or not the server keeps up.
//!
//! A request's time counts from the moment at which it was to be sent. A server that stops for a while then
//! makes all requests late that were due meanwhile, as it would for people; a generator that waits for one
//! answer before it sends the next request would count one (coordinated omission).

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How the answers of the routes end, and nothing in them before.
const END: &[u8] = b"\r\n\r\nok\n";

/// How long the generator waits for answers that are due when all requests are sent.
const PATIENCE: Duration = Duration::from_secs(10);

struct Connection {
    stream: TcpStream,
    /// When the request that is not answered yet was to be sent.
    due: Option<Instant>,
    answer: Vec<u8>,
}

/// The times of all requests, in order of their size.
pub(super) struct Latencies(Vec<Duration>);

impl Latencies {
    /// The time that this share of the requests did not exceed, in microseconds.
    pub(super) fn percentile(&self, share: f64) -> f64 {
        let rank = (self.0.len() as f64 * share).ceil().max(1.0) as usize - 1;
        self.0.get(rank).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
    }
}

/// Sends `request` at `rate` requests a second for `turn`, over so many connections in turn.
///
/// It does not sleep: it occupies a processor, so that its own waking up is no part of what it measures.
pub(super) fn run(
    address: SocketAddr,
    request: &[u8],
    rate: f64,
    turn: Duration,
    connections: u32,
) -> Result<Latencies> {
    let mut connections: Vec<Connection> =
        (0..connections).map(|_| Connection::open(address)).collect::<Result<_>>()?;
    let total = (rate * turn.as_secs_f64()) as u32;
    let interval = Duration::from_secs_f64(1.0 / rate);
    let mut latencies = Vec::with_capacity(total as usize);
    let start = Instant::now();
    let mut sent = 0;
    while latencies.len() < total as usize {
        let due = start + interval * sent;
        let now = Instant::now();
        if sent < total
            && now >= due
            && let Some(free) = connections.iter_mut().find(|connection| connection.due.is_none())
        {
            free.send(request, due)?;
            sent += 1;
        }
        for connection in &mut connections {
            latencies.extend(connection.receive()?);
        }
        if now > start + turn + PATIENCE {
            bail!("only {} of {total} requests were answered: the rate is too high", latencies.len());
        }
    }
    latencies.sort();
    Ok(Latencies(latencies))
}

impl Connection {
    fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, due: None, answer: Vec::new() })
    }

    fn send(&mut self, request: &[u8], due: Instant) -> Result<()> {
        self.stream.write_all(request).context("a request does not fit into the socket's buffer")?;
        self.due = Some(due);
        Ok(())
    }

    /// The time that the request took, if its answer is complete now.
    fn receive(&mut self) -> Result<Option<Duration>> {
        let Some(due) = self.due else { return Ok(None) };
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(count) => self.answer.extend(buffer.iter().take(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        if !self.answer.ends_with(END) {
            return Ok(None);
        }
        ensure!(self.answer.starts_with(b"HTTP/1.1 200"), "a request was turned away");
        self.answer.clear();
        self.due = None;
        Ok(Some(due.elapsed()))
    }
}
