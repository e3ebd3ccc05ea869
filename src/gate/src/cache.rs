//! Tokens that verified, so that a second request with one costs a look-up.
//!
//! Two generations of half the size: a new entry goes into the young one, an entry that is used in the old
//! one moves over, and when the young one is full it becomes the old one, whose entries are dropped. Both
//! look-up and eviction take constant time, and memory is bounded by count and by the length of a token.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::rc::Rc;

/// A token longer than this is verified each time, so that 4096 entries stay small.
const MAX_TOKEN_BYTES: usize = 4096;

/// How many bytes at a token's end are hashed: its signature (32 bytes, RFC 7518 §3.2, in base64url). No two
/// tokens that verified share one.
const SIGNATURE_CHARS: usize = 43;

/// What a token is found by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Signature([u8; SIGNATURE_CHARS]);

/// Values by token. The whole token is compared, so no token is taken for another.
#[derive(Debug)]
pub(crate) struct Cache<V> {
    young: HashMap<Signature, Entry<V>, Keyed>,
    old: HashMap<Signature, Entry<V>, Keyed>,
    generation_size: usize,
}

/// The hash of a signature. What is held verified, so a signature in the map is a MAC: nobody chooses it who does not have
/// the secret, and its first 16 characters, 96 bits, are as good as random. Multiplied with a number that is drawn for each
/// cache, nobody knows either which of them come close to each other.
#[derive(Debug, Clone, Copy)]
struct Keyed(u64);

#[derive(Debug)]
struct Entry<V> {
    token: Box<[u8]>,
    value: Rc<V>,
}

impl<V> Cache<V> {
    /// A cache of at most `max_entries`; 0 turns it off.
    pub(crate) fn new(max_entries: u32) -> Self {
        let generation_size = usize::try_from(max_entries.div_ceil(2)).unwrap_or(usize::MAX);
        let keyed = Keyed(RandomState::new().hash_one(()) | 1);
        Self { young: HashMap::with_hasher(keyed), old: HashMap::with_hasher(keyed), generation_size }
    }

    pub(crate) fn get(&mut self, token: &[u8]) -> Option<Rc<V>> {
        let signature = Signature::of(token)?;
        if let Some(entry) = self.young.get(&signature) {
            return entry.of(token);
        }
        let value = self.old.get(&signature)?.of(token)?;
        let entry = self.old.remove(&signature)?;
        self.put(signature, entry);
        Some(value)
    }

    pub(crate) fn insert(&mut self, token: &[u8], value: &Rc<V>) {
        if let Some(signature) = Signature::of(token)
            && token.len() <= MAX_TOKEN_BYTES
        {
            self.put(signature, Entry { token: token.into(), value: Rc::clone(value) });
        }
    }

    pub(crate) fn remove(&mut self, token: &[u8]) {
        if let Some(signature) = Signature::of(token) {
            self.young.remove(&signature);
            self.old.remove(&signature);
        }
    }

    fn put(&mut self, signature: Signature, entry: Entry<V>) {
        if self.generation_size == 0 {
            return;
        }
        if self.young.len() >= self.generation_size {
            let keyed = *self.young.hasher();
            self.old = std::mem::replace(&mut self.young, HashMap::with_hasher(keyed));
        }
        self.young.insert(signature, entry);
    }
}

impl Signature {
    fn of(token: &[u8]) -> Option<Self> {
        token.last_chunk().copied().map(Self)
    }
}

impl std::hash::Hash for Signature {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (words, _) = self.0.as_chunks();
        for word in words.iter().take(2) {
            state.write_u64(u64::from_ne_bytes(*word));
        }
    }
}

impl BuildHasher for Keyed {
    type Hasher = Multiplied;

    fn build_hasher(&self) -> Multiplied {
        Multiplied { factor: self.0, hash: 0 }
    }
}

/// A [`Keyed`] hash under way.
struct Multiplied {
    factor: u64,
    hash: u64,
}

impl Hasher for Multiplied {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, word: u64) {
        // A product's high bits depend on all bits of both factors; turned, they are the low ones, by which the map places.
        self.hash = (self.hash ^ word).wrapping_mul(self.factor).rotate_left(32);
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

impl<V> Entry<V> {
    fn of(&self, token: &[u8]) -> Option<Rc<V>> {
        same(&self.token, token).then(|| Rc::clone(&self.value))
    }
}

/// Whether both are the same, eight bytes at a time: `==` goes byte by byte on wasm32, and tokens are
/// long.
fn same(one: &[u8], other: &[u8]) -> bool {
    let (ones, one_rest) = one.as_chunks::<8>();
    let (others, other_rest) = other.as_chunks::<8>();
    let word = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
    one.len() == other.len()
        && ones.iter().zip(others).all(|(one, other)| word(one) == word(other))
        && one_rest == other_rest
}

#[cfg(test)]
mod tests {
    use super::*;

    impl<V> Cache<V> {
        fn len(&self) -> usize {
            self.young.len().saturating_add(self.old.len())
        }
    }

    /// As long as a token's signature at least.
    fn token(end: &str) -> Vec<u8> {
        format!("{end:.>60}").into_bytes()
    }

    #[test]
    fn it_never_holds_more_than_it_may_and_keeps_what_is_used() {
        let mut cache = Cache::new(10);
        cache.insert(&token("used"), &Rc::new(0_usize));
        for number in 0..1000_usize {
            cache.insert(&token(&number.to_string()), &Rc::new(number));
            assert!(cache.len() <= 10);
            assert_eq!(cache.get(&token("used")).as_deref(), Some(&0));
        }
        assert_eq!(cache.get(&token("999")).as_deref(), Some(&999));
        assert_eq!(cache.get(&token("1")), None);
    }

    #[test]
    fn another_token_with_the_signature_of_one_that_is_held_is_not_found() {
        let mut cache = Cache::new(10);
        let (one, other) = ([b"a".as_slice(), &token("s")].concat(), [b"b".as_slice(), &token("s")].concat());
        cache.insert(&one, &Rc::new(1));
        assert_eq!(cache.get(&other), None);
        assert_eq!(cache.get(&token("s")), None);
        assert_eq!(cache.get(&one).as_deref(), Some(&1), "and does not push it out");
    }

    #[test]
    fn a_token_that_differs_in_one_byte_anywhere_is_another() {
        for length in 43..70 {
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
    fn what_is_removed_is_gone_from_both_generations() {
        let mut cache = Cache::new(2);
        cache.insert(&token("a"), &Rc::new(1));
        cache.insert(&token("b"), &Rc::new(2));
        cache.remove(&token("a"));
        cache.remove(&token("b"));
        assert_eq!((cache.get(&token("a")), cache.get(&token("b"))), (None, None));
    }

    #[test]
    fn size_zero_holds_nothing_and_a_huge_token_is_not_held() {
        let mut cache = Cache::new(0);
        cache.insert(&token("a"), &Rc::new(1));
        assert_eq!(cache.len(), 0);
        let mut cache = Cache::new(10);
        cache.insert(&[b'a'; 5000], &Rc::new(1));
        assert_eq!(cache.len(), 0);
    }
}
