//! How whoever stands behind the gate may read a path. A program that includes this has nothing of the gate's
//! own reading.

use std::collections::BTreeSet;

/// What somebody does to a path before they use it.
pub(crate) type Step = fn(&[u8]) -> Vec<u8>;

/// What servers, frameworks and file systems do.
pub(crate) const STEPS: [Step; 6] =
    [percent_decoded, without_dots, without_empty_segments, without_parameters, with_slashes, until_nul];

/// Every way in which somebody may read `path`: `steps` in any order, up to three of them.
pub(crate) fn readings(path: &[u8], steps: &[Step]) -> BTreeSet<Vec<u8>> {
    let mut readings = BTreeSet::from([path.to_vec()]);
    for _ in 0..3 {
        let more: Vec<Vec<u8>> =
            readings.iter().flat_map(|path| steps.iter().map(move |step| step(path))).collect();
        readings.extend(more);
    }
    readings
}

/// As Envoy does with `normalize_path` and `merge_slashes` (RFC 3986 §6.2.2).
pub(crate) fn normalised(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = path;
    while let Some((byte, tail)) = rest.split_first() {
        let escape = rest.split_at_checked(3).map(|(escape, tail)| (percent_decoded(escape), tail));
        match escape {
            Some((plain, tail))
                if plain.len() == 1
                    && plain.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(byte)) =>
            {
                decoded.extend(plain);
                rest = tail;
            }
            _ => {
                decoded.push(*byte);
                rest = tail;
            }
        }
    }
    without_empty_segments(&without_dots(&decoded))
}

/// Every escape decoded, once; what is none stays as it is.
pub(crate) fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (mut decoded, mut rest) = (Vec::new(), text);
    while let Some((byte, tail)) = rest.split_first() {
        let escape = match rest {
            [b'%', high, low, tail @ ..] => {
                digit(*high).zip(digit(*low)).map(|(high, low)| (high << 4 | low, tail))
            }
            _ => None,
        };
        let (byte, tail) = escape.unwrap_or((*byte, tail));
        decoded.push(byte);
        rest = tail;
    }
    decoded
}

/// RFC 3986 §5.2.4
pub(crate) fn without_dots(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut segments = path.split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            b"." if is_last => kept.push(b""),
            b"." => {}
            b".." => {
                if kept.len() > 1 {
                    kept.pop();
                }
                if is_last {
                    kept.push(b"");
                }
            }
            other => kept.push(other),
        }
    }
    kept.join(&b'/')
}

pub(crate) fn without_empty_segments(path: &[u8]) -> Vec<u8> {
    let mut merged: Vec<u8> = Vec::new();
    for byte in path {
        if *byte != b'/' || merged.last() != Some(&b'/') {
            merged.push(*byte);
        }
    }
    merged
}

/// As servlets read it: `/a;x=1/b` is `/a/b`.
pub(crate) fn without_parameters(path: &[u8]) -> Vec<u8> {
    let segments = path.split(|byte| *byte == b'/');
    let bare: Vec<&[u8]> =
        segments.map(|segment| segment.split(|byte| *byte == b';').next().unwrap_or_default()).collect();
    bare.join(&b'/')
}

/// As IIS and browsers read it.
pub(crate) fn with_slashes(path: &[u8]) -> Vec<u8> {
    path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect()
}

/// As C reads it.
pub(crate) fn until_nul(path: &[u8]) -> Vec<u8> {
    path.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}
