//! Tokens that verified, so that a second request with one costs a look-up.
//!
//! Set-associative, as processors' caches are: where a token may stand follows from its signature, and of the few places
//! there the one that was used longest ago makes room. Look-up and eviction take constant time, no request pays for the
//! eviction of many, and memory is bounded by count and by the length of a token.
//!
//! Where a token finds no room and none that has expired, it is remembered when it comes a second time before too many
//! others, as the doorkeeper of TinyLFU has it (<https://arxiv.org/abs/1512.00727>): those that are used once push out none
//! that are used often, and cost nothing but their verification. Each that is used often is verified twice for it.

use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use jwt_gate_token::{NumericDate, same};

/// A token longer than this is verified each time, so that 4096 entries stay small.
const MAX_TOKEN_BYTES: usize = 4096;

/// How many characters a token's signature has at its end (32 bytes, RFC 7518 §3.2, in base64url).
const SIGNATURE_CHARS: usize = 43;

/// How many places there are for a token.
const WAYS: usize = 8;

/// How many tokens are known beside each set to have found no room in it.
const TURNED_AWAY: usize = 4;

/// Values by token. The whole token is compared, so no token is taken for another.
///
/// What is held verified, so its signature is a MAC: nobody chooses it who does not have the secret, and its first 16
/// characters, 96 bits, are as good as random. They are hashed with a number that is drawn for each cache, so
/// nobody knows either which tokens share their places.
#[derive(Debug)]
pub(crate) struct Cache<V> {
    sets: Vec<Set<V>>,
    ways: usize,
    factor: u64,
    /// How often an entry was used or came.
    uses: u64,
}

/// The places for the tokens of some hashes. What a token that is not held needs of them is in one cache line: each line
/// that is touched is fetched from far, because a request's own work has pushed it out of what is near.
#[derive(Debug)]
#[repr(align(64))]
struct Set<V> {
    /// The tag of each entry.
    tags: [u16; WAYS],
    /// The low halves of the hashes of tokens that found no room, each in a place that follows from it, where it stays
    /// until the next.
    turned_away: [u32; TURNED_AWAY],
    /// When the first of the entries expires.
    first_expires: NumericDate,
    entries: Vec<Entry<V>>,
}

const _: () = assert!(size_of::<Set<()>>() == 64, "a line of the processor's cache");

#[derive(Debug)]
struct Entry<V> {
    tag: u16,
    last_use: u64,
    expires: NumericDate,
    token: Box<[u8]>,
    value: Rc<V>,
}

// === impl Cache ===

impl<V> Cache<V> {
    /// A cache of at most `max_entries`; 0 turns it off.
    pub(crate) fn new(max_entries: u32) -> Self {
        let most = usize::try_from(max_entries).unwrap_or(usize::MAX);
        let ways = most.min(WAYS);
        let sets = most.checked_div(ways).unwrap_or_default();
        Self {
            sets: std::iter::repeat_with(Set::new).take(sets).collect(),
            ways,
            factor: RandomState::new().hash_one(()) | 1,
            uses: 0,
        }
    }

    pub(crate) fn get(&mut self, token: &[u8]) -> Option<Rc<V>> {
        let (hash, now) = (self.hash(token)?, self.tick());
        let entry = self.set(hash)?.find(tag(hash), token)?;
        entry.last_use = now;
        Some(Rc::clone(&entry.value))
    }

    /// Remembers `token`, which is good until `expires`, where there is room for it `now`.
    pub(crate) fn insert(&mut self, token: &[u8], value: &Rc<V>, expires: NumericDate, now: NumericDate) {
        if token.len() > MAX_TOKEN_BYTES {
            return;
        }
        let (last_use, ways) = (self.tick(), self.ways);
        let Some(hash) = self.hash(token) else { return };
        let Some(set) = self.set(hash) else { return };
        let entry =
            || Entry { tag: tag(hash), last_use, expires, token: token.into(), value: Rc::clone(value) };
        if set.entries.len() < ways {
            set.entries.push(entry());
        } else if let Some(expired) = set.expired(now) {
            *expired = entry();
        } else if set.turn_away(hash)
            && let Some(oldest) = set.entries.iter_mut().min_by_key(|entry| entry.last_use)
        {
            *oldest = entry();
        } else {
            return;
        }
        set.summarize();
    }

    pub(crate) fn remove(&mut self, token: &[u8]) {
        if let Some(hash) = self.hash(token)
            && let Some(set) = self.set(hash)
        {
            set.entries.retain(|entry| !same(&entry.token, token));
            set.summarize();
        }
    }

    fn tick(&mut self) -> u64 {
        self.uses = self.uses.saturating_add(1);
        self.uses
    }

    /// The hash of the token's signature; `None` where it is too short to have one.
    fn hash(&self, token: &[u8]) -> Option<u64> {
        let signature: &[u8; SIGNATURE_CHARS] = token.last_chunk()?;
        let (words, _) = signature.as_chunks();
        // A product's high bits depend on all bits of both factors; turned, they are the low ones of what comes next.
        let mix = |hash: u64, word: &[u8; 8]| {
            (hash ^ u64::from_ne_bytes(*word)).wrapping_mul(self.factor).rotate_left(32)
        };
        Some(words.iter().take(2).fold(0, mix))
    }

    /// The set of this hash: its high half as a fraction of all of them.
    fn set(&mut self, hash: u64) -> Option<&mut Set<V>> {
        let count = u64::try_from(self.sets.len()).ok()?;
        let index = (hash >> 32).wrapping_mul(count) >> 32;
        self.sets.get_mut(usize::try_from(index).ok()?)
    }
}

// === impl Set ===

impl<V> Set<V> {
    const fn new() -> Self {
        Self {
            tags: [0; WAYS],
            turned_away: [0; TURNED_AWAY],
            first_expires: NumericDate::INFINITY,
            entries: Vec::new(),
        }
    }

    fn find(&mut self, tag: u16, token: &[u8]) -> Option<&mut Entry<V>> {
        let tagged = self.tags.iter().zip(&mut self.entries);
        tagged.filter(|(known, _)| **known == tag).map(|(_, entry)| entry).find(|e| same(&e.token, token))
    }

    /// An entry that has expired.
    fn expired(&mut self, now: NumericDate) -> Option<&mut Entry<V>> {
        if self.first_expires > now {
            return None;
        }
        self.entries.iter_mut().find(|entry| entry.expires <= now)
    }

    /// Turns away what has this hash; whether it lately was already.
    fn turn_away(&mut self, hash: u64) -> bool {
        #[expect(clippy::cast_possible_truncation, reason = "that is what is wanted")]
        let half = hash as u32;
        let place = self.turned_away.get_mut(usize::from(tag(hash)) % TURNED_AWAY);
        place.is_some_and(|known| std::mem::replace(known, half) == half)
    }

    /// Notes of the entries what stands beside them.
    fn summarize(&mut self) {
        self.tags.iter_mut().zip(&self.entries).for_each(|(tag, entry)| *tag = entry.tag);
        self.first_expires =
            self.entries.iter().map(|entry| entry.expires).fold(NumericDate::INFINITY, NumericDate::min);
    }
}

/// The lowest bits, which had no part in choosing the set.
fn tag(hash: u64) -> u16 {
    #[expect(clippy::cast_possible_truncation, reason = "that is what is wanted")]
    let tag = hash as u16;
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    impl<V> Cache<V> {
        fn len(&self) -> usize {
            self.sets.iter().map(|set| set.entries.len()).sum()
        }
    }

    const NOW: NumericDate = 1_700_000_000.0;
    const EXPIRES: NumericDate = NOW + 600.0;

    /// As long as a token's signature at least.
    fn token(end: &str) -> Vec<u8> {
        format!("{end:.>60}").into_bytes()
    }

    fn signature(number: u32) -> Vec<u8> {
        let mac = hmac_sha256::Hash::hash(&number.to_le_bytes());
        jwt_gate_token::base64url_encode(&mac).into_bytes()
    }

    #[test]
    fn it_never_holds_more_than_it_may_and_keeps_what_is_used() {
        let mut cache = Cache::new(10);
        cache.insert(&token("used"), &Rc::new(0_usize), EXPIRES, NOW);
        for number in 0..1000_usize {
            for _ in 0..2 {
                cache.insert(&token(&number.to_string()), &Rc::new(number), EXPIRES, NOW);
            }
            assert!(cache.len() <= 10);
            assert_eq!(cache.get(&token("used")).as_deref(), Some(&0));
        }
        assert_eq!(cache.get(&token("999")).as_deref(), Some(&999));
        assert_eq!(cache.get(&token("1")), None);
    }

    #[test]
    fn tokens_that_come_once_push_out_none_and_one_that_comes_again_is_held() {
        let mut cache = Cache::new(64);
        for early in 0..1000 {
            cache.insert(&signature(early), &Rc::new(early), EXPIRES, NOW);
        }
        let held: Vec<u32> = (0..1000).filter(|early| cache.get(&signature(*early)).is_some()).collect();
        assert_eq!((held.len(), cache.len()), (64, 64), "whoever comes while there is room stays");
        for late in 1000..20_000 {
            cache.insert(&signature(late), &Rc::new(late), EXPIRES, NOW);
            assert_eq!(cache.get(&signature(late)), None);
        }
        assert!(held.iter().all(|early| cache.get(&signature(*early)).as_deref() == Some(early)));
        for _ in 0..2 {
            cache.insert(&signature(30_000), &Rc::new(0), EXPIRES, NOW);
        }
        assert_eq!((cache.get(&signature(30_000)).as_deref(), cache.len()), (Some(&0), 64));
    }

    #[test]
    fn what_has_expired_makes_room_at_once() {
        let mut cache = Cache::new(8);
        for number in 0..8 {
            cache.insert(&signature(number), &Rc::new(number), EXPIRES + f64::from(number), NOW);
        }
        cache.insert(&signature(8), &Rc::new(8), EXPIRES, EXPIRES - 1.0);
        assert_eq!(cache.get(&signature(8)), None, "all of them are good for another second");
        cache.insert(&signature(9), &Rc::new(9), NOW + 6000.0, EXPIRES);
        assert_eq!((cache.get(&signature(9)).as_deref(), cache.get(&signature(0))), (Some(&9), None));
        assert_eq!((1..8).filter(|number| cache.get(&signature(*number)).is_some()).count(), 7);
    }

    #[test]
    fn tokens_spread_over_the_whole_of_it() {
        let mut cache = Cache::new(4096);
        for number in 0..4096_u32 {
            cache.insert(&signature(number), &Rc::new(number), EXPIRES, NOW);
        }
        assert!(
            cache.len() > 3200,
            "of 512 sets of 8, by chance 86 of 100 places are taken: {}",
            cache.len()
        );
    }

    #[test]
    fn another_token_with_the_signature_of_one_that_is_held_is_not_found() {
        let mut cache = Cache::new(10);
        let (one, other) = ([b"a".as_slice(), &token("s")].concat(), [b"b".as_slice(), &token("s")].concat());
        cache.insert(&one, &Rc::new(1), EXPIRES, NOW);
        assert_eq!(cache.get(&other), None);
        assert_eq!(cache.get(&token("s")), None);
        assert_eq!(cache.get(&one).as_deref(), Some(&1), "and does not push it out");
    }

    #[test]
    fn what_is_removed_is_gone() {
        let mut cache = Cache::new(2);
        cache.insert(&token("a"), &Rc::new(1), EXPIRES, NOW);
        cache.insert(&token("b"), &Rc::new(2), EXPIRES, NOW);
        cache.remove(&token("a"));
        assert_eq!((cache.get(&token("a")), cache.get(&token("b")).as_deref()), (None, Some(&2)));
    }

    #[test]
    fn size_zero_holds_nothing_and_a_huge_token_is_not_held() {
        let mut cache = Cache::new(0);
        cache.insert(&token("a"), &Rc::new(1), EXPIRES, NOW);
        assert_eq!(cache.len(), 0);
        let mut cache = Cache::new(10);
        cache.insert(&[b'a'; 5000], &Rc::new(1), EXPIRES, NOW);
        assert_eq!(cache.len(), 0);
    }
}
