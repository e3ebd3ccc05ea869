//! HMAC-SHA-256 with a key that is hashed once.

use std::hint::black_box;

use hmac_sha256::Hash;

/// The block size of SHA-256 in bytes (RFC 2104 §2, `B`).
const BLOCK_BYTES: usize = 64;

/// What it makes of a text.
pub(crate) type Tag = [u8; 32];

/// HMAC-SHA-256 (RFC 2104 §4) whose two keyed blocks are already hashed: of a token of 400 bytes that is two
/// blocks in nine, for each token that was not seen before.
#[derive(Clone, Copy)]
pub(crate) struct Mac {
    inner: Hash,
    outer: Hash,
}

impl Mac {
    pub(crate) fn new(key: &[u8]) -> Self {
        let digest;
        let key = if key.len() > BLOCK_BYTES {
            digest = Hash::hash(key);
            digest.as_slice()
        } else {
            key
        };
        let keyed = |pad: u8| {
            let mut block = [pad; BLOCK_BYTES];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            let mut hash = Hash::new();
            hash.update(block);
            hash
        };
        Self { inner: keyed(0x36), outer: keyed(0x5c) }
    }

    /// The tag of `text`.
    pub(crate) fn tag(&self, text: &[u8]) -> Tag {
        let Self { mut inner, mut outer } = *self;
        inner.update(text);
        outer.update(inner.finalize());
        outer.finalize()
    }

    /// Overwrites what the key left here.
    pub(crate) fn forget(&mut self) {
        *self = Self { inner: Hash::new(), outer: Hash::new() };
        // So that the compiler does not see that nobody reads it.
        black_box(self);
    }
}

/// Whether both are the same, in a time that does not tell where they differ: all four words are looked at.
pub(crate) fn same_in_constant_time(one: &Tag, other: &Tag) -> bool {
    let (ones, _) = one.as_chunks();
    let (others, _) = other.as_chunks();
    let words =
        ones.iter().zip(others).map(|(one, other)| (u64::from_ne_bytes(*one), u64::from_ne_bytes(*other)));
    // The box keeps today's compilers from leaving early. Were one to, a forger would still have to guess eight bytes at once.
    words.fold(0, |difference, (one, other)| black_box(difference | (one ^ other))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use jwt_simple::algorithms::{HS256Key, MACLike};

    #[test]
    fn tags_are_those_of_rfc_4231() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        for (key, text, tag) in [
            (
                &[0x0b; 20][..],
                &b"Hi There"[..],
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            (
                &[0xaa; 131],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(hex(&Mac::new(key).tag(text)), tag);
        }
    }

    #[test]
    fn a_tag_is_like_itself_and_unlike_one_with_any_other_bit() {
        let tag = Mac::new(b"Jefe").tag(b"what do ya want for nothing?");
        assert!(same_in_constant_time(&tag, &tag));
        for bit in 0..256 {
            let mut other = tag;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!same_in_constant_time(&tag, &other), "{bit}");
        }
    }

    #[test]
    fn tags_are_those_of_jwt_simple_for_keys_and_texts_of_every_length() {
        let bytes: Vec<u8> = (0..=255).collect();
        for key in (32..140).map(|length| &bytes[..length]) {
            let (ours, theirs) = (Mac::new(key), HS256Key::from_bytes(key));
            for text in (0..200).step_by(7).map(|length| &bytes[..length]) {
                assert_eq!(ours.tag(text).as_slice(), theirs.authentication_tag(text));
            }
        }
    }
}
