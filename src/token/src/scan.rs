//! Looking for bytes, eight at a time.
//!
//! Envoy's VM has words of 64 bits; the standard library, which is compiled for 32, looks at four bytes at a time or at one.

/// Where `byte` first stands in `text`.
#[must_use]
pub fn position(text: &[u8], byte: u8) -> Option<usize> {
    first(text, |word| equal(word, byte))
}

/// Where the first quote, backslash or control character stands: where a JSON string ends or takes a parser
/// (RFC 8259 §7).
pub(crate) fn end_of_plain_string(text: &[u8]) -> Option<usize> {
    first(text, |word| equal(word, b'"') | equal(word, b'\\') | below(word, b' '))
}

/// Whether both are the same. For what is not secret: it stops where they differ.
#[must_use]
pub fn same(one: &[u8], other: &[u8]) -> bool {
    let (ones, one_rest) = one.as_chunks();
    let (others, other_rest) = other.as_chunks();
    let word = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
    one.len() == other.len()
        && ones.iter().zip(others).all(|(one, other)| word(one) == word(other))
        && one_rest == other_rest
}

/// The first bytes of `name`, at most eight, and zeros after them: enough to tell short names without NUL from each other.
pub(crate) fn head(name: &[u8]) -> u64 {
    match name.first_chunk() {
        Some(head) => u64::from_le_bytes(*head),
        None => name.iter().rev().fold(0, |head, byte| head << 8 | u64::from(*byte)),
    }
}

/// Where the first byte stands whose highest bit `marks` sets. Bytes above it may be marked by mistake, by a borrow.
fn first(text: &[u8], marks: impl Fn(u64) -> u64) -> Option<usize> {
    let (words, rest) = text.as_chunks();
    let mut place: usize = 0;
    for word in words {
        let marks = marks(u64::from_le_bytes(*word));
        if marks != 0 {
            let inside = usize::try_from(marks.trailing_zeros() >> 3).ok()?;
            return place.checked_add(inside);
        }
        place = place.checked_add(size_of::<u64>())?;
    }
    let inside = rest.iter().position(|byte| marks(u64::from(*byte)) & 0x80 != 0)?;
    place.checked_add(inside)
}

/// Marks the bytes of `word` that are `byte`.
fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ each(byte), 1)
}

/// Marks the bytes of `word` that are less than `bound`, which is at most 128.
fn below(word: u64, bound: u8) -> u64 {
    word.wrapping_sub(each(bound)) & !word & each(0x80)
}

const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes of which many are those that are looked for, their neighbours among them.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            4 => any::<u8>(),
            4 => Just(b'a'),
            1 => prop::sample::select(&b"\x00\x01\x1f\x20\x21\x22\x23\x5b\x5c\x5d\x7f\x80\x9f\xa0\xa2\xdc\xff"[..]),
        ];
        prop::collection::vec(byte, 0..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_first_place_is_the_one_that_a_look_at_each_byte_finds(text in text(), byte in any::<u8>()) {
            for byte in [byte, b'.', b'a', 0, 0x7f, 0x80, 0xff] {
                prop_assert_eq!(position(&text, byte), text.iter().position(|other| *other == byte));
            }
            let ends = |byte: &u8| matches!(byte, b'"' | b'\\' | ..b' ');
            prop_assert_eq!(end_of_plain_string(&text), text.iter().position(ends));
        }
    }

    #[test]
    fn every_byte_is_found_in_every_place() {
        for byte in 0..=u8::MAX {
            for place in 0..20 {
                let mut text = [byte.wrapping_add(1); 20];
                text[place] = byte;
                assert_eq!(position(&text, byte), Some(place));
                assert_eq!(position(&text[..place], byte), None);
            }
        }
    }

    #[test]
    fn what_differs_in_one_byte_anywhere_is_not_the_same() {
        for length in 1..30 {
            let held: Vec<u8> = (0..length).collect();
            assert!(same(&held, &held.clone()) && !same(&held, &held[1..]) && !same(&[], &held));
            for place in 0..held.len() {
                let mut other = held.clone();
                other[place] ^= 1;
                assert!(!same(&held, &other), "{place} of {length}");
            }
        }
    }

    #[test]
    fn a_head_tells_names_of_up_to_eight_bytes_apart() {
        let names = ["", "a", "b", "ab", "ba", "sub", "iss", "bus", "abcdefg", "abcdefgh", "abcdefgi"];
        for (at, name) in names.iter().enumerate() {
            assert!(
                names[..at].iter().all(|other| head(other.as_bytes()) != head(name.as_bytes())),
                "{name}"
            );
        }
        assert_eq!(head(b"sub"), u64::from_le_bytes(*b"sub\0\0\0\0\0"));
        assert_eq!(head(b"abcdefghi"), head(b"abcdefgh"));
    }
}
