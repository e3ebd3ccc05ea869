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
    buckets: Vec<Vec<Entry<V>>>,
    len: usize,
    /// Which bucket is looked through for what has expired next.
    next_pruned: usize,
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
    pub(super) fn bytes(&self) -> usize {
        let entries: usize = self.buckets.iter().map(Vec::capacity).sum();
        let entries = entries.saturating_mul(size_of::<Entry<V>>());
        entries.saturating_add(self.buckets.capacity().saturating_mul(size_of::<Vec<Entry<V>>>()))
    }

    /// Adds what is known of `name` until `expires`. Of two values the greater stays, and of two times the
    /// later.
    pub(super) fn insert(&mut self, name: &str, value: V, expires: u32, now: u32) {
        if self.buckets.is_empty() {
            self.buckets.resize_with(1 << BUCKET_BITS, Vec::new);
        }
        let key = self.hasher.hash_one(name);
        let entry = Entry { key, expires, value };
        // There is a bucket for each place.
        let Some(bucket) = self.buckets.get_mut(place(key)) else { return };
        if bucket.len() == bucket.capacity() {
            // What has expired makes room; else an eighth more, where a vector by itself would double.
            let before = bucket.len();
            bucket.retain(|entry| entry.expires > now);
            self.len = self.len.saturating_sub(before.saturating_sub(bucket.len()));
            bucket.reserve_exact(bucket.len().div_ceil(8).max(4));
        }
        match find(bucket, key) {
            Ok(index) => {
                if let Some(known) = bucket.get_mut(index) {
                    *known = entry.or(known);
                }
            }
            Err(index) => {
                bucket.insert(index, entry);
                self.len = self.len.saturating_add(1);
            }
        }
    }

    /// What is known of `name`.
    pub(super) fn get(&self, name: &str) -> Option<V> {
        if self.is_empty() {
            return None;
        }
        let key = self.hasher.hash_one(name);
        let bucket = self.buckets.get(place(key))?;
        let index = find(bucket, key).ok()?;
        bucket.get(index).map(|entry| entry.value)
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
        let before = bucket.len();
        bucket.retain(|entry| entry.expires > now);
        self.len = self.len.saturating_sub(before.saturating_sub(bucket.len()));
        if bucket.len() < bucket.capacity() / 2 {
            bucket.shrink_to_fit();
        }
        let next = self.next_pruned.saturating_add(1);
        self.next_pruned = if next < self.buckets.len() { next } else { 0 };
    }
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
