//! A compact map from hashed names to what is known of them.

use std::hash::{BuildHasher, RandomState};

/// The bits of a hash that choose a bucket, and so how many buckets there are.
const BUCKET_BITS: u32 = 10;

/// A map from 64-bit hashes, 16 bytes an entry (24 with a value) and an eighth of it to grow: sorted vectors,
/// one for each beginning of a hash. An insertion moves part of one vector, a thousandth of the map, so that
/// no request waits for more, and memory never holds the map twice (a VM's memory does not shrink).
///
/// The hash stands in place of the name and is keyed with a key of this VM's own, so that nobody can look for
/// collisions; by chance, a good token would be taken for a revoked one once in 2^64 / entries look-ups.
#[derive(Debug)]
pub(super) struct Table<V> {
    hasher: RandomState,
    buckets: Vec<Bucket<V>>,
    len: usize,
    /// Which bucket is looked through for what has expired next.
    next_pruned: usize,
}

/// The entries whose hashes begin alike, in order, and a filter before them.
#[derive(Debug)]
struct Bucket<V> {
    entries: Vec<Entry<V>>,
    /// A bit for each value of the hash's last bits: set where some entry has that value. Nearly every token is a
    /// good one, and of those eight or more in nine are told apart by this one word, where looking among the
    /// entries would wait for memory several times. A power of two of words, one or two bytes an entry.
    filter: Vec<u64>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<V> {
    key: u64,
    /// Seconds since 1970, rounded up; u32 lasts until 2106.
    expires: u32,
    pub(super) value: V,
}

impl<V: Copy + PartialOrd> Table<V> {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), buckets: Vec::new(), len: 0, next_pruned: 0 }
    }

    /// How many entries there are, expired ones that were not dropped yet among them.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes that the entries take, spare capacity included.
    #[cfg(test)]
    #[expect(clippy::arithmetic_side_effects, reason = "a test's")]
    pub(super) fn bytes(&self) -> usize {
        let entries: usize = self.buckets.iter().map(|bucket| bucket.entries.capacity()).sum();
        let filters: usize = self.buckets.iter().map(|bucket| bucket.filter.capacity()).sum();
        entries * size_of::<Entry<V>>() + filters * 8 + self.buckets.capacity() * size_of::<Bucket<V>>()
    }

    /// Adds what is known of `name` until `expires`. Of two values the greater stays, and of two times the
    /// later.
    pub(super) fn insert(&mut self, name: &str, value: V, expires: u32, now: u32) {
        if self.buckets.is_empty() {
            self.buckets.resize_with(1 << BUCKET_BITS, Bucket::default);
        }
        let key = self.hasher.hash_one(name);
        let entry = Entry { key, expires, value };
        // There is a bucket for each place.
        let Some(bucket) = self.buckets.get_mut(place(key)) else { return };
        let before = bucket.entries.len();
        bucket.make_room(now);
        bucket.insert(entry);
        self.len = self.len.saturating_sub(before).saturating_add(bucket.entries.len());
    }

    /// What is known of `name`.
    pub(super) fn get(&self, name: &str) -> Option<V> {
        if self.is_empty() {
            return None;
        }
        let key = self.hasher.hash_one(name);
        let bucket = self.buckets.get(place(key))?;
        bucket.get(key)
    }

    /// Drops what has expired at `now`.
    pub(super) fn prune(&mut self, now: u32) {
        for _ in 0..self.buckets.len() {
            self.prune_next(now);
        }
    }

    /// Drops what has expired at `now` in one bucket, another one with each call.
    pub(super) fn prune_next(&mut self, now: u32) {
        let Some(bucket) = self.buckets.get_mut(self.next_pruned) else { return };
        let before = bucket.entries.len();
        bucket.prune(now);
        self.len = self.len.saturating_sub(before.saturating_sub(bucket.entries.len()));
        let next = self.next_pruned.saturating_add(1);
        self.next_pruned = if next < self.buckets.len() { next } else { 0 };
    }
}

impl<V> Default for Bucket<V> {
    fn default() -> Self {
        Self { entries: Vec::new(), filter: Vec::new() }
    }
}

impl<V: Copy + PartialOrd> Bucket<V> {
    /// Makes room for one more: what has expired leaves, else there is an eighth more, where a vector by itself
    /// would double.
    fn make_room(&mut self, now: u32) {
        if self.entries.len() == self.entries.capacity() {
            self.entries.retain(|entry| entry.expires > now);
            self.entries.reserve_exact(self.entries.len().div_ceil(8).max(4));
            self.filter_anew();
        }
    }

    fn insert(&mut self, entry: Entry<V>) {
        match find(&self.entries, entry.key) {
            Ok(index) => {
                if let Some(known) = self.entries.get_mut(index) {
                    *known = entry.or(known);
                }
            }
            Err(index) => self.entries.insert(index, entry),
        }
        note(&mut self.filter, entry.key);
    }

    fn get(&self, key: u64) -> Option<V> {
        let word = self.filter.get(word_of(key, self.filter.len()))?;
        if word & bit_of(key) == 0 {
            return None;
        }
        let index = find(&self.entries, key).ok()?;
        self.entries.get(index).map(|entry| entry.value)
    }

    fn prune(&mut self, now: u32) {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.expires > now);
        if self.entries.len() < self.entries.capacity() / 2 {
            self.entries.shrink_to_fit();
        }
        if self.entries.len() < before {
            self.filter_anew();
        }
    }

    /// The filter for as many entries as there is room for, eight bits or more for each.
    fn filter_anew(&mut self) {
        let words = self.entries.capacity().div_ceil(8).next_power_of_two();
        let mut filter = vec![0; words];
        self.entries.iter().for_each(|entry| note(&mut filter, entry.key));
        self.filter = filter;
    }
}

/// Sets the bit of `key`.
fn note(filter: &mut [u64], key: u64) {
    let index = word_of(key, filter.len());
    if let Some(word) = filter.get_mut(index) {
        *word |= bit_of(key);
    }
}

/// Which of `words` words, a power of two, the bit of `key` is in.
fn word_of(key: u64, words: usize) -> usize {
    let last_bits = usize::try_from(key >> 6 & u64::from(u32::MAX)).unwrap_or_default();
    last_bits & words.wrapping_sub(1)
}

fn bit_of(key: u64) -> u64 {
    1 << (key & 63)
}

/// The bucket of `key`: its first bits.
fn place(key: u64) -> usize {
    usize::try_from(key >> (u64::BITS - BUCKET_BITS)).unwrap_or_default()
}

/// Where `key` is in `bucket`, or where it would be.
///
/// Hashes are spread evenly, so their place can be guessed from their value, and is off by the square root of
/// the length. A binary search from the middle of a large bucket would wait for memory half a dozen times.
fn find<V>(bucket: &[Entry<V>], key: u64) -> Result<usize, usize> {
    let fraction = key.wrapping_shl(BUCKET_BITS) >> 32;
    let length = u64::try_from(bucket.len()).unwrap_or_default();
    let guess = usize::try_from(fraction.wrapping_mul(length) >> 32).unwrap_or_default();
    let is_before = |index: usize| bucket.get(index).is_some_and(|entry| entry.key < key);
    let is_after = |index: usize| bucket.get(index).is_none_or(|entry| entry.key > key);
    let (mut low, mut high) = (guess, guess.saturating_add(1));
    let mut step: usize = 2;
    // Outwards from the guess, until the key is in between if it is anywhere.
    while low > 0 && !is_before(low) {
        low = low.saturating_sub(step);
        step = step.saturating_mul(2);
    }
    step = 2;
    while high < bucket.len() && !is_after(high) {
        high = high.saturating_add(step);
        step = step.saturating_mul(2);
    }
    let high = high.min(bucket.len());
    let near = bucket.get(low..high).unwrap_or_default();
    let found = near.binary_search_by_key(&key, |entry| entry.key);
    found.map(|index| low.saturating_add(index)).map_err(|index| low.saturating_add(index))
}

impl<V: Copy + PartialOrd> Entry<V> {
    /// Both entries in one: the greater value, the later time.
    fn or(self, other: &Self) -> Self {
        let value = if other.value > self.value { other.value } else { self.value };
        Self { key: self.key, expires: self.expires.max(other.expires), value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        let mut table = Table::new();
        assert_eq!(table.get("name-0"), None);
        for number in 0..20_000_u32 {
            table.insert(&format!("name-{number}"), f64::from(number), 100, 0);
        }
        for number in 0..20_000_u32 {
            assert_eq!(table.get(&format!("name-{number}")), Some(f64::from(number)));
            assert_eq!(table.get(&format!("other-{number}")), None);
        }
        assert_eq!(table.len(), 20_000);
    }

    #[test]
    fn a_place_is_found_wherever_it_is_and_however_uneven_the_keys_are() {
        let keys: [&[u64]; 5] =
            [&[], &[7], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], &[1, 1 << 40, 1 << 53, u64::MAX], &[u64::MAX]];
        for keys in keys {
            let entries: Vec<_> = keys.iter().map(|key| Entry { key: *key, expires: 0, value: () }).collect();
            for key in (0..12).chain([1 << 40, (1 << 40) + 1, 1 << 53, (1 << 54) - 1, u64::MAX - 1, u64::MAX])
            {
                assert_eq!(find(&entries, key), keys.binary_search(&key), "{key} in {keys:?}");
            }
        }
    }

    #[test]
    fn of_two_values_the_greater_stays_and_of_two_times_the_later() {
        let mut table = Table::new();
        table.insert("a", 2.0, 10, 0);
        table.prune(0);
        table.insert("a", 1.0, 20, 0);
        assert_eq!((table.get("a"), table.len()), (Some(2.0), 1));
        table.prune(15);
        assert_eq!(table.get("a"), Some(2.0), "the later time counts");
        table.insert("a", 3.0, 5, 15);
        assert_eq!(table.get("a"), Some(3.0));
        table.prune(20);
        assert!(table.is_empty());
    }

    #[test]
    fn what_has_expired_leaves_by_and_by_and_its_memory_with_it() {
        let mut table = Table::new();
        for number in 0..20_000_u32 {
            table.insert(&number.to_string(), (), if number % 100 == 0 { 100 } else { 10 }, 0);
        }
        let full = table.bytes();
        for _ in 0..1 << BUCKET_BITS {
            table.prune_next(50);
        }
        assert_eq!(table.len(), 200);
        assert!(table.bytes() < full / 4, "{} of {full}", table.bytes());
        assert_eq!((table.get("100"), table.get("101")), (Some(()), None));
    }

    #[test]
    fn a_million_names_take_under_20_bytes_each() {
        let mut table = Table::new();
        for number in 0..1_000_000_u32 {
            table.insert(&number.to_string(), (), 100, 0);
        }
        assert!(table.bytes() < 20 * 1_000_000, "{}", table.bytes());
        assert_eq!(table.get("999999"), Some(()));
        assert_eq!(table.get("1000000"), None);
    }
}
