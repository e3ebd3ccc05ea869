//! Paths that everybody reads alike.
//!
//! A proxy that decides by path and a backend that normalises it differently are how public rules leak
//! private pages (`/public/%2e%2e/admin`). So a path that has more than one reading is not *canonical*, and
//! what is not canonical never counts as public.

use std::borrow::Cow;

use crate::percent::{hexadecimal, percent_decoded};

/// A request target cut at its first `?`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PathAndQuery<'request> {
    pub(crate) path: &'request [u8],
    pub(crate) query: Option<&'request [u8]>,
}

impl<'request> PathAndQuery<'request> {
    pub(crate) fn new(target: &'request [u8]) -> Self {
        let mut parts = target.splitn(2, |byte| *byte == b'?');
        Self { path: parts.next().unwrap_or_default(), query: parts.next() }
    }
}

/// Whether `path` is written in the one way in which every implementation reads it: it starts with `/`, is
/// printable ASCII without `\` and `#`, has no empty, `.` or `..` segment (RFC 3986 §5.2.4, with `..;x` and `;x`
/// read as servlets do: without the parameter), and escapes only what must be escaped: not an unreserved character (RFC 3986
/// §6.2.2.2), slash, backslash, `%`, or a control character such as NUL. What it escapes is UTF-8 (RFC 3629): lax
/// decoders read `%c0%af` as a slash.
pub(crate) fn is_canonical(path: &[u8]) -> bool {
    if is_plain(path) {
        return true;
    }
    if path.first() != Some(&b'/')
        || !path.iter().all(|byte| byte.is_ascii_graphic() && !b"\\#".contains(byte))
    {
        return false;
    }
    let Some(decoded) = decode(path).filter(|decoded| std::str::from_utf8(decoded).is_ok()) else {
        return false;
    };
    let mut segments = decoded.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let name = segment.split(|byte| *byte == b';').next().unwrap_or_default();
        // `/;x/admin` is `//admin` without its parameter, and `/admin` to whoever merges slashes after that.
        let is_end = segment.is_empty() && segments.peek().is_none();
        if (name.is_empty() && !is_end) || name == b"." || name == b".." {
            return false;
        }
    }
    true
}

/// Whether `path` is canonical at first sight, as nearly all are: letters, digits, `-`, `_`, `~`, and `/` with
/// one of them on either side.
fn is_plain(path: &[u8]) -> bool {
    let mut after_slash = false;
    path.first() == Some(&b'/')
        && path.iter().all(|byte| {
            let plain = byte.is_ascii_alphanumeric() || b"-_~".contains(byte);
            let good = plain || (*byte == b'/' && !after_slash);
            after_slash = *byte == b'/';
            good
        })
}

/// The other ways in which a backend may read a canonical path: with its escapes decoded, without path parameters
/// (`/a;x=1/b` as `/a/b`), or both, the parameters left out after the decoding or, as servlets do (Jakarta Servlet 6.0 §3.5.2),
/// before it. None where there is nothing to read differently, which is nearly always.
pub(crate) fn other_interpretations(path: &[u8]) -> Vec<Vec<u8>> {
    let mut readings = Vec::new();
    if !path.contains(&b'%') && !path.contains(&b';') {
        return readings;
    }
    let decoded = percent_decoded(path).into_owned();
    let bare = without_parameters(path);
    let both = [without_parameters(&decoded), percent_decoded(&bare).into_owned()];
    for reading in both.into_iter().chain([decoded, bare]) {
        // An escaped `?` or `#` ends the path where it is decoded before the target is split.
        for reading in [until(b'?', &reading), until(b'#', &reading), reading] {
            if reading != path && !readings.contains(&reading) {
                readings.push(reading);
            }
        }
    }
    readings
}

/// The longest path that is read in every way, in bytes.
const MAX_READ_BYTES: usize = 2048;

/// The most readings of one path. Who nests escapes deeper than this hides something.
const MAX_READINGS: usize = 32;

/// Everything that servers may make of a path that is not canonical, the path itself first: each of [`READINGS`], of the
/// path and of what became of it, in every order. `None` where that is too much.
pub(crate) fn every_interpretation(path: &[u8]) -> Option<Vec<Vec<u8>>> {
    if path.len() > MAX_READ_BYTES {
        return None;
    }
    let mut known = vec![path.to_vec()];
    let mut next = 0;
    while let Some(path) = known.get(next).cloned() {
        next = next.checked_add(1)?;
        for read in READINGS {
            let reading = read(&path);
            if !known.contains(&reading) {
                known.push(reading);
            }
        }
        if known.len() > MAX_READINGS {
            return None;
        }
    }
    Some(known)
}

/// Something that is done to a path before somebody looks for what it names.
type Reading = fn(&[u8]) -> Vec<u8>;

/// What servers are known to do.
const READINGS: [Reading; 11] = [
    |path| percent_decoded(path).into_owned(),
    |path| path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect(),
    |path| until(b'?', path),
    |path| until(b'#', path),
    |path| until(b'\0', path),
    // `$` of Python's `re` matches before a final line feed: Starlette routes `/admin%0a` to `/admin`.
    |path| path.strip_suffix(b"\n").unwrap_or(path).to_vec(),
    overlong_decoded,
    without_origin,
    without_parameters,
    without_empty_segments,
    without_dot_segments,
];

/// With overlong forms of ASCII (RFC 3629 §3 forbids them) read as lax decoders do: `C0 AF` is `/`. The continuation
/// bytes are not checked, because such a decoder does not check them either.
fn overlong_decoded(path: &[u8]) -> Vec<u8> {
    let mut read = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, tail)) = rest.split_first() {
        let (value, tail) = match rest {
            [first @ 0xc0..=0xc1, second, tail @ ..] => ((first & 1) << 6 | second & 0x3f, tail),
            [0xe0, second @ 0x80..=0x81, third, tail @ ..] => ((second & 1) << 6 | third & 0x3f, tail),
            [0xf0, 0x80, third @ 0x80..=0x81, fourth, tail @ ..] => ((third & 1) << 6 | fourth & 0x3f, tail),
            _ => (*byte, tail),
        };
        read.push(value);
        rest = tail;
    }
    read
}

fn until(end: u8, path: &[u8]) -> Vec<u8> {
    path.split(|byte| *byte == end).next().unwrap_or_default().to_vec()
}

/// The path of a target in absolute form (RFC 9112 §3.2.2): `http://host/a` is `/a`.
fn without_origin(path: &[u8]) -> Vec<u8> {
    let mut parts = path.splitn(4, |byte| *byte == b'/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some([scheme @ .., b':']), Some(b""), Some(_host), rest)
            if !scheme.is_empty() && scheme.iter().all(u8::is_ascii_alphabetic) =>
        {
            [b"/", rest.unwrap_or_default()].concat()
        }
        _ => path.to_vec(),
    }
}

/// Without path parameters, as servlets read it: `/a;x=1/b` is `/a/b`.
fn without_parameters(path: &[u8]) -> Vec<u8> {
    let segments = path.split(|byte| *byte == b'/');
    let names = segments.map(|segment| segment.split(|byte| *byte == b';').next().unwrap_or_default());
    names.collect::<Vec<_>>().join(&b'/')
}

/// With slashes merged.
fn without_empty_segments(path: &[u8]) -> Vec<u8> {
    let mut read = path.to_vec();
    read.dedup_by(|one, other| *one == b'/' && *other == b'/');
    read
}

/// As RFC 3986 §5.2.4 removes `.` and `..`.
fn without_dot_segments(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut segments = path.split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            b"." | b".." => {
                // The first is what stands before the leading slash.
                if segment == b".." && kept.len() > 1 {
                    kept.pop();
                }
                if is_last {
                    kept.push(b"");
                }
            }
            _ => kept.push(segment),
        }
    }
    kept.join(&b'/')
}

/// The path as a text, for rules to be matched against. A path that is not UTF-8 is not canonical, so it only has to be
/// matched by rules that ask for a token; the replacement characters are nothing a rule would name.
pub(crate) fn lossy_text(path: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(path)
}

/// The path with its escapes decoded; `None` where one is malformed or stands for what may not be escaped.
fn decode(path: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let (digits, tail) = rest.split_first_chunk::<2>()?;
        rest = tail;
        let value = hexadecimal(*digits)?;
        if value.is_ascii_alphanumeric() || value.is_ascii_control() || b"-._~/\\%".contains(&value) {
            return None;
        }
        decoded.push(value);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_paths_are_canonical() {
        for path in [
            "/",
            "/a",
            "/a/",
            "/a/b.c",
            "/a/..b",
            "/a/...",
            "/.well-known/x",
            "/a%20b",
            "/caf%C3%A9",
            "/@me",
            "/a;v=1/b",
            "/a:b,c(d)'e!*",
            "/%40me",
            "/a%3Bb",
            "/x+y=z&w",
            "/~u/-_",
        ] {
            assert!(is_canonical(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn a_path_with_two_readings_is_not_canonical() {
        for path in [
            &b""[..],
            b"*",
            b"a",
            b"//",
            b"//a",
            b"/a//b",
            b"/a//",
            b"/.",
            b"/..",
            b"/./a",
            b"/a/.",
            b"/a/..",
            b"/a/../b",
            b"/a/..;/b",
            b"/a/..;x=1/b",
            b"/a/.;/b",
            b"/a/..%3Bx/b",
            b"/;/b",
            b"/;x=1/b",
            b"/a/;x/b",
            b"/a/;x",
            b"/a/%3Bx/b",
            b"/a\\b",
            b"/a/%2e%2e/b",
            b"/a/.%2E/b",
            b"/a%2fb",
            b"/a%2Fb",
            b"/a%5cb",
            b"/a%5C",
            b"/a%00",
            b"/a%0a",
            b"/a%7f",
            b"/a%2",
            b"/a%",
            b"/a%zz",
            b"/a%+1",
            b"/%61dmin",
            b"/%7euser",
            b"/a%252e",
            b"/caf\xc3\xa9",
            b"/\xff",
            b"/a b",
            b"/a\tb",
            b"/a#b",
            b"/a\0",
            b"http://x/a",
        ] {
            assert!(!is_canonical(path), "{}", String::from_utf8_lossy(path));
        }
    }

    #[test]
    fn readings_are_what_a_backend_might_make_of_it() {
        assert!(other_interpretations(b"/a/b").is_empty());
        assert_eq!(other_interpretations(b"/%40a"), [b"/@a".to_vec()]);
        assert_eq!(other_interpretations(b"/admin;x/b;y"), [b"/admin/b".to_vec()]);
        assert_eq!(other_interpretations(b"/admin%3Bx/b"), [b"/admin/b".to_vec(), b"/admin;x/b".to_vec()]);
        // Whoever decodes first reads `/a`, whoever leaves parameters out first `/a;x`; some only do one of both.
        let of_both = [&b"/a"[..], b"/a;x", b"/a;x;y", b"/a%3Bx"];
        assert_eq!(other_interpretations(b"/a%3Bx;y"), of_both.map(<[u8]>::to_vec));
    }

    #[test]
    fn a_path_is_read_in_every_way_that_leads_elsewhere() {
        for path in [
            &b"/api/../admin"[..],
            b"/api/..;/admin",
            b"/api/..;x=1/admin",
            b"/api/%2e%2e/admin",
            b"/api/%252e%252E/admin",
            b"/api/..%2fadmin",
            b"/api/..%5cadmin",
            b"/api/..\\admin",
            b"/api/x/..//../admin",
            b"//admin",
            b"/./admin",
            b"/;/admin",
            b"/admin%00.html",
            b"/admin#x",
            b"http://host/admin",
            b"/api/%2e%2e%3b/%61dmin",
        ] {
            let readings = every_interpretation(path).unwrap();
            assert_eq!(readings.first().map(Vec::as_slice), Some(path));
            assert!(readings.contains(&b"/admin".to_vec()), "{}", String::from_utf8_lossy(path));
        }
        assert_eq!(every_interpretation(b"/caf\xc3\xa9"), Some(vec![b"/caf\xc3\xa9".to_vec()]));
        assert_eq!(without_dot_segments(b"/a/b/../../../c/."), b"/c/");
        assert_eq!(without_dot_segments(b"/.."), b"/");
    }

    #[test]
    fn what_has_too_many_readings_or_is_too_long_is_not_read() {
        assert!(every_interpretation(&[b"/a//".to_vec(), vec![b'a'; 5000]].concat()).is_none());
        let nested = format!("/a/..;/b//./\\%{}2e", "25".repeat(40));
        assert!(every_interpretation(nested.as_bytes()).is_none());
    }

    #[test]
    fn a_target_is_cut_at_its_first_question_mark() {
        let target = PathAndQuery::new(b"/a?b?c");
        assert_eq!((target.path, target.query), (&b"/a"[..], Some(&b"b?c"[..])));
        assert_eq!(PathAndQuery::new(b"/a").query, None);
        assert_eq!(PathAndQuery::new(b"").path, b"");
    }
}
