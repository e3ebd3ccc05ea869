//! A request that tries to get past the gate, and how it is sent.

use std::fmt;
use std::io;

use jwt_gate_tests::http1::Connection;
use jwt_gate_tests::{Answer, Request, http2, latin1};
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// A request without credentials.
#[derive(Clone)]
pub(crate) struct Attempt {
    method: String,
    host: String,
    target: Vec<u8>,
    /// Headers that name another path or method.
    overrides: Vec<(String, String)>,
    http2: bool,
}

/// The way to one listener.
pub(crate) struct Wire {
    port: u16,
    connection: Option<Connection>,
    http2: http2::Connection,
}

/// What is asked for; some of it more often than the rest.
const PATHS: &[&str] = &[
    "/admin",
    "/admin/",
    "/admin/x",
    "/admin/x",
    "/secret",
    "/secret",
    "/secret",
    "/items",
    "/items",
    "/notes",
    "/panel",
    "/me",
    "/files/private/a.txt",
    "/files/private/a.txt",
    "/public",
    "/open/x",
    "/files/a.txt",
];

/// Ways from a public place to a path.
const WAYS: &[&str] = &[
    "/open/..",
    "/public/..",
    "/open/%2e%2e",
    "/open/.%2E",
    "/open/..;",
    "/open/..;x=1",
    "/open/..%2f",
    "/open/..%5c",
    "/open/..\\",
    "/open/%c0%ae%c0%ae",
    "/open/%252e%252e",
    "/.",
    "/open/x/../..",
    "/files/..",
    "/open//..",
    "/../..",
    "/open/..%00",
    "//app.test",
    "http://app.test",
    "/open/%2e%2e%2f%2e%2e",
];

/// What a router may cut off, decode or ignore behind a path.
const ENDS: &[&str] = &[
    ";",
    ";x=1",
    ";/x",
    "%3b",
    "%3Bx",
    "?",
    "?x",
    "?/../open/",
    "%3F",
    "%3Fx",
    "%3f/../../open/x",
    "#",
    "#x",
    "%23",
    "%23x",
    "%00",
    "%00.html",
    "%0a",
    "%0A",
    "%0d",
    "%0d%0a",
    "%0b",
    "%0c",
    "%09",
    "%20",
    "%20%20",
    "%a0",
    "%c2%a0",
    "%c2%85",
    "%e2%80%a8",
    "%ff",
    "%e2%80%8b",
    ".",
    "..",
    "/.",
    "/..",
    "/./",
    ".json",
    ".html",
    ".php",
    "/index.html",
    "~",
    "*",
    "+",
    ":80",
    ",",
    "&x",
    "%",
    "%2",
    "%zz",
    "%25",
    "\\",
    "%5c",
    "%2f",
    "%2F.",
    "//",
    "%1c",
    "%1f",
];

/// Spellings of the host that is for staff.
const HOSTS: &[&str] = &[
    "admin.test",
    "ADMIN.test",
    "Admin.Test",
    "admin.test.",
    "admin.test:80",
    "ADMIN.TEST:80",
    "admin.test:8080",
    "admin.test.:80",
    "admin.test:",
    "admin.test..",
];

/// What may be read as a slash.
const SLASHES: &[&str] = &[
    "\\",
    "%2f",
    "%2F",
    "%5c",
    "%252f",
    "%c0%af",
    "%e0%80%af",
    "%ef%bc%8f",
    "%u002f",
    "//",
    "/%2f",
    ";/",
    "%3B/",
    "/./",
    "/x/../",
    "/;x/",
];

/// Headers by which a framework, or a package for it, takes another method or path than the request's.
const METHOD_OVERRIDES: &[&str] = &["X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override"];
const URL_OVERRIDES: &[&str] = &["X-Original-URL", "X-Rewrite-URL"];

/// A change of a path.
type Change = fn(&mut Vec<u8>, &mut StdRng);

fn pick<T: Copy>(rng: &mut StdRng, choices: &[T]) -> T {
    *choices.choose(rng).expect("a choice of some")
}

/// Somewhere in `path` behind its first slash.
fn place(path: &[u8], rng: &mut StdRng) -> usize {
    rng.random_range(1..=path.len())
}

/// A slash of `path`.
fn slash(path: &[u8], rng: &mut StdRng) -> usize {
    let slashes: Vec<_> = (0..path.len()).filter(|index| path[*index] == b'/').collect();
    slashes.choose(rng).copied().unwrap_or(0)
}

/// A header's name as servers read it too: CGI's and WSGI's see no case, and `_` where `-` is.
fn spelt(name: &str, rng: &mut StdRng) -> String {
    let joint = pick(rng, &["-", "-", "_"]);
    let letters = name.chars().map(|letter| match letter {
        '-' => joint.to_owned(),
        letter if rng.random() => letter.to_ascii_uppercase().to_string(),
        letter => letter.to_ascii_lowercase().to_string(),
    });
    letters.collect()
}

fn insert(path: &mut Vec<u8>, at: usize, text: &str) {
    path.splice(at..at, text.bytes());
}

const CHANGES: &[Change] = &[
    // Case.
    |path, rng| {
        for byte in path.iter_mut() {
            if rng.random_range(0..3) == 0 && byte.is_ascii_lowercase() {
                byte.make_ascii_uppercase();
            }
        }
    },
    |path, _| path.make_ascii_uppercase(),
    // Slashes.
    |path, _| path.push(b'/'),
    |path, rng| {
        let at = slash(path, rng);
        insert(path, at, pick(rng, &["/", "//", "/.", "/%2e", "\\", "/;", "/;x=1"]));
    },
    |path, rng| {
        let at = slash(path, rng);
        let text = pick(
            rng,
            &[
                "\\",
                "%2f",
                "%2F",
                "%5c",
                "%252f",
                "%c0%af",
                "%e0%80%af",
                "%ef%bc%8f",
                "%u002f",
                "//",
                "/%2f",
                ";/",
                "%3B/",
            ],
        );
        path.splice(at..=at, text.bytes());
    },
    // Escapes.
    |path, rng| {
        let at = place(path, rng) - 1;
        let byte = path[at];
        let text = match rng.random_range(0..4) {
            0 => format!("%{byte:02x}"),
            1 => format!("%{byte:02X}"),
            2 => format!("%25{byte:02x}"),
            _ => format!("%c{}%{:02x}", byte >> 6, 0x80 | (byte & 0x3f)),
        };
        path.splice(at..=at, text.bytes());
    },
    // Dot segments, from a public place to this one and within it.
    |path, rng| {
        insert(path, 0, pick(rng, WAYS));
    },
    |path, rng| {
        let at = slash(path, rng);
        insert(path, at, pick(rng, &["/x/..", "/x/%2e%2e", "/./.", "/x/..;", "/x%2f.."]));
    },
    // What is cut off or ignored.
    |path, rng| {
        path.extend(pick(rng, ENDS).bytes());
    },
    |path, rng| {
        let at = place(path, rng);
        insert(
            path,
            at,
            pick(
                rng,
                &[
                    "%00",
                    "%0a",
                    "%20",
                    ";x",
                    "%e2%80%8b",
                    "%c2%ad",
                    "%09",
                    "%0d",
                    "%3f",
                    "%23",
                    "\u{17f}",
                    "%7f",
                    "%08",
                ],
            ),
        );
    },
    // Letters that other alphabets fold into these.
    |path, rng| {
        if let Some(at) = path.iter().position(|byte| *byte == b's') {
            path.splice(at..=at, pick(rng, &["%c5%bf", "%ef%bd%93", "\u{17f}"]).bytes());
        }
    },
    |path, rng| {
        if let Some(at) = path.iter().position(|byte| *byte == b'i') {
            path.splice(at..=at, pick(rng, &["%c4%b0", "%c4%b1", "%ef%bd%89"]).bytes());
        }
    },
    // Bytes that nobody writes.
    |path, rng| {
        let at = place(path, rng);
        let byte = pick(rng, &[0x80, 0xa0, 0xc0, 0xff, b'|', b'^', b'{', b'"', b'<', b'`', 0x7f]);
        path.insert(at, byte);
    },
];

impl fmt::Debug for Attempt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = if self.http2 { "HTTP/2" } else { "HTTP/1.1" };
        write!(formatter, "{} {} {version} to {}", self.method, latin1(&self.target), self.host)?;
        self.overrides.iter().try_for_each(|(name, value)| write!(formatter, ", {name}: {value}"))
    }
}

impl Attempt {
    /// As a person would write it.
    pub(crate) fn plain(method: &str, host: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            host: host.to_owned(),
            target: path.into(),
            overrides: Vec::new(),
            http2: false,
        }
    }

    /// Each single change that can be listed, of each path; over either version of HTTP in turn.
    pub(crate) fn sweep() -> Vec<Self> {
        let mut targets: Vec<String> = Vec::new();
        let mut paths = PATHS.to_vec();
        paths.dedup();
        for path in paths {
            targets.extend(ENDS.iter().map(|end| format!("{path}{end}")));
            targets.extend(WAYS.iter().map(|way| format!("{way}{path}")));
            for (at, _) in path.match_indices('/') {
                targets
                    .extend(SLASHES.iter().map(|slash| format!("{}{slash}{}", &path[..at], &path[at + 1..])));
            }
            for (at, letter) in path.char_indices() {
                let byte = u32::from(letter);
                targets.push(format!("{}%{byte:02x}{}", &path[..at], &path[at + 1..]));
                targets.push(format!("{}{}{}", &path[..at], letter.to_ascii_uppercase(), &path[at + 1..]));
            }
        }
        let hosts = HOSTS.iter().flat_map(|host| [("/panel", *host), ("/public", *host)]);
        let hosts = hosts.map(|(path, host)| (path.to_owned(), host));
        let all = targets.into_iter().map(|target| (target, "app.test")).chain(hosts);
        let attempt = |(index, (target, host)): (usize, (String, &str))| Self {
            method: "GET".to_owned(),
            host: host.to_owned(),
            target: target.into_bytes(),
            overrides: Vec::new(),
            http2: index % 2 == 0,
        };
        all.enumerate().map(attempt).collect()
    }

    pub(crate) fn draw(rng: &mut StdRng) -> Self {
        let mut target = pick(rng, PATHS).as_bytes().to_vec();
        for _ in 0..pick(rng, &[0, 1, 1, 1, 1, 2, 2, 3]) {
            pick(rng, CHANGES)(&mut target, rng);
        }
        let methods = [
            "GET", "GET", "GET", "GET", "POST", "POST", "DELETE", "HEAD", "OPTIONS", "post", "Post",
            "delete", "get", "PUT",
        ];
        let host = if rng.random_range(0..4) > 0 { "app.test" } else { pick(rng, HOSTS) };
        Self {
            method: pick(rng, &methods).to_owned(),
            host: host.to_owned(),
            target,
            overrides: Vec::new(),
            http2: rng.random(),
        }
    }

    /// With a header that names another method or path, in some spelling.
    pub(crate) fn draw_override(rng: &mut StdRng) -> Self {
        let mut overrides = Vec::new();
        for _ in 0..pick(rng, &[1, 1, 1, 2]) {
            let (name, value) = if rng.random() {
                (pick(rng, METHOD_OVERRIDES), pick(rng, &["DELETE", "GET", "POST", "delete", "PUT", "HEAD"]))
            } else {
                (pick(rng, URL_OVERRIDES), pick(rng, PATHS))
            };
            overrides.push((spelt(name, rng), value.to_owned()));
        }
        let mut attempt = Self::plain(
            pick(rng, &["GET", "POST", "POST", "DELETE", "HEAD"]),
            "app.test",
            pick(
                rng,
                &["/public", "/open/x", "/panel", "/items", "/notes", "/notes", "/files/a.txt", "/nowhere"],
            ),
        );
        attempt.overrides = overrides;
        attempt.http2 = rng.random();
        attempt
    }

    fn request(&self, token: Option<&str>) -> Request {
        let mut request = Request::new(&self.method, &self.target).header("host", &self.host);
        for (name, value) in &self.overrides {
            request = request.header(name, value);
        }
        match token {
            Some(token) => request.bearer(token),
            None => request,
        }
    }
}

impl Wire {
    pub(crate) fn to(port: u16) -> Self {
        Self { port, connection: None, http2: http2::Connection::to(port) }
    }

    /// The handler that ran; nothing where none did.
    pub(crate) fn ran(&mut self, attempt: &Attempt, token: Option<&str>) -> Option<String> {
        self.send(&attempt.request(token), attempt.http2)?.header("x-handler")
    }

    /// The answer; nothing where Envoy closed the connection, or where the request cannot be written as HTTP/2.
    fn send(&mut self, request: &Request, http2: bool) -> Option<Answer> {
        if http2 {
            return self.http2.try_send(request).or_else(|_| self.http2.try_send(request)).ok();
        }
        let mut exchange = || -> io::Result<Answer> {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => Connection::open(self.port)?,
            };
            let answer = connection.exchange(request)?;
            if answer.header("connection").as_deref() != Some("close") {
                self.connection = Some(connection);
            }
            Ok(answer)
        };
        exchange().or_else(|_| exchange()).ok()
    }
}
