//! A compact map from names to values that expire.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock};

/// How many bits of a hash choose the shard; there are two to the power of it.
const SHARD_BITS: u32 = 10;

/// A map from 64-bit hashes, 16 bytes an entry (24 with a value) and an eighth of it to grow: 1024 sorted shards, chosen by
/// the first bits of the hash. An insertion moves part of one shard, so that no request waits for more, and memory never holds
/// the map twice (a VM's memory does not shrink). Each shard has a lock of its own.
///
/// The hash stands in place of the name. Its key is random for each map, so that nobody can look for collisions; by chance, a
/// good token would be taken for a revoked one once in 2^64 / entries look-ups.
#[derive(Debug)]
pub(super) struct ExpiringMap<V> {
    hasher: RandomState,
    /// Made with the first entry.
    shards: OnceLock<Box<[RwLock<Shard<V>>]>>,
    len: AtomicUsize,
    /// The shard from which expired entries are dropped next.
    next_pruned: AtomicUsize,
}

/// The lock of a shard is poisoned: a thread panicked while it changed the shard, so its entries cannot be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Poisoned;

/// The entries whose hashes begin alike, in order, and a filter before them.
#[derive(Debug)]
struct Shard<V> {
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

impl<V: Copy + PartialOrd> ExpiringMap<V> {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: OnceLock::new(),
            len: AtomicUsize::new(0),
            next_pruned: AtomicUsize::new(0),
        }
    }

    /// How many entries there are, with expired ones that were not dropped yet.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that the entries take, spare capacity included.
    #[cfg(test)]
    #[expect(clippy::arithmetic_side_effects, reason = "a test's")]
    pub(super) fn bytes(&self) -> usize {
        let Some(shards) = self.shards.get() else { return 0 };
        let shards = shards.iter().map(|shard| {
            let shard = shard.read().unwrap();
            size_of::<RwLock<Shard<V>>>()
                + shard.entries.capacity() * size_of::<Entry<V>>()
                + shard.filter.capacity() * 8
        });
        shards.sum()
    }

    /// Adds `name` with `value` until `expires`. If it is there already, the greater value and the later time stay.
    pub(super) fn insert(&self, name: &str, value: V, expires: u32, now: u32) {
        let shards = self
            .shards
            .get_or_init(|| std::iter::repeat_with(RwLock::default).take(1 << SHARD_BITS).collect());
        let key = self.hasher.hash_one(name);
        // There is a shard for each index.
        let Some(shard) = shards.get(shard_index(key)) else { return };
        self.change(shard, |shard| {
            shard.make_room(now);
            shard.insert(Entry { key, expires, value });
        });
    }

    /// The value of `name`.
    pub(super) fn get(&self, name: &str) -> Result<Option<V>, Poisoned> {
        if self.is_empty() {
            return Ok(None);
        }
        let key = self.hasher.hash_one(name);
        let Some(shard) = self.shards.get().and_then(|shards| shards.get(shard_index(key))) else {
            return Ok(None);
        };
        Ok(shard.read().map_err(|_| Poisoned)?.get(key))
    }

    /// Drops the entries that have expired at `now`.
    pub(super) fn prune(&self, now: u32) {
        self.shards
            .get()
            .into_iter()
            .flatten()
            .for_each(|shard| self.change(shard, |shard| shard.prune(now)));
    }

    /// Drops the entries of one shard that have expired at `now`; the next call looks at the next shard.
    pub(super) fn prune_next(&self, now: u32) {
        let Some(shards) = self.shards.get() else { return };
        let index = self.next_pruned.fetch_add(1, Ordering::Relaxed) % (1 << SHARD_BITS);
        if let Some(shard) = shards.get(index) {
            self.change(shard, |shard| shard.prune(now));
        }
    }

    /// Changes a shard, and counts its entries anew. A poisoned shard stays poisoned: its readers are told so.
    fn change(&self, shard: &RwLock<Shard<V>>, change: impl FnOnce(&mut Shard<V>)) {
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        let before = shard.entries.len();
        change(&mut shard);
        let after = shard.entries.len();
        self.len.fetch_add(after, Ordering::AcqRel);
        self.len.fetch_sub(before, Ordering::AcqRel);
    }
}

impl<V> Default for Shard<V> {
    fn default() -> Self {
        Self { entries: Vec::new(), filter: Vec::new() }
    }
}

impl<V: Copy + PartialOrd> Shard<V> {
    /// Makes room for one more: what has expired leaves, else there is an eighth more, where a vector by itself
    /// would double.
    fn make_room(&mut self, now: u32) {
        if self.entries.len() == self.entries.capacity() {
            self.entries.retain(|entry| entry.expires > now);
            self.entries.reserve_exact(self.entries.len().div_ceil(8).max(4));
            self.rebuild_filter();
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
        set_bit(&mut self.filter, entry.key);
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
            self.rebuild_filter();
        }
    }

    /// The filter for as many entries as there is room for, eight bits or more for each.
    fn rebuild_filter(&mut self) {
        let words = self.entries.capacity().div_ceil(8).next_power_of_two();
        let mut filter = vec![0; words];
        self.entries.iter().for_each(|entry| set_bit(&mut filter, entry.key));
        self.filter = filter;
    }
}

/// Sets the bit of `key`.
fn set_bit(filter: &mut [u64], key: u64) {
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

/// The shard of `key`: its first bits.
fn shard_index(key: u64) -> usize {
    usize::try_from(key >> (u64::BITS - SHARD_BITS)).unwrap_or_default()
}

/// Where `key` is in `shard`, or where it would be.
///
/// Hashes are spread evenly, so their place can be guessed from their value, and is off by the square root of
/// the length. A binary search from the middle of a large shard would wait for memory half a dozen times.
fn find<V>(shard: &[Entry<V>], key: u64) -> Result<usize, usize> {
    let fraction = key.wrapping_shl(SHARD_BITS) >> 32;
    let length = u64::try_from(shard.len()).unwrap_or_default();
    let guess = usize::try_from(fraction.wrapping_mul(length) >> 32).unwrap_or_default();
    let is_before = |index: usize| shard.get(index).is_some_and(|entry| entry.key < key);
    let is_after = |index: usize| shard.get(index).is_none_or(|entry| entry.key > key);
    let (mut low, mut high) = (guess, guess.saturating_add(1));
    let mut step: usize = 2;
    // Outwards from the guess, until the key is in between if it is anywhere.
    while low > 0 && !is_before(low) {
        low = low.saturating_sub(step);
        step = step.saturating_mul(2);
    }
    step = 2;
    while high < shard.len() && !is_after(high) {
        high = high.saturating_add(step);
        step = step.saturating_mul(2);
    }
    let high = high.min(shard.len());
    let near = shard.get(low..high).unwrap_or_default();
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
        let table = ExpiringMap::new();
        assert_eq!(table.get("name-0"), Ok(None));
        for number in 0..20_000_u32 {
            table.insert(&format!("name-{number}"), f64::from(number), 100, 0);
        }
        for number in 0..20_000_u32 {
            assert_eq!(table.get(&format!("name-{number}")), Ok(Some(f64::from(number))));
            assert_eq!(table.get(&format!("other-{number}")), Ok(None));
        }
        assert_eq!(table.len(), 20_000);
    }

    #[test]
    fn a_search_finds_every_key_even_where_the_keys_are_unevenly_spread() {
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
        let table = ExpiringMap::new();
        table.insert("a", 2.0, 10, 0);
        table.prune(0);
        table.insert("a", 1.0, 20, 0);
        assert_eq!((table.get("a"), table.len()), (Ok(Some(2.0)), 1));
        table.prune(15);
        assert_eq!(table.get("a"), Ok(Some(2.0)), "the later time counts");
        table.insert("a", 3.0, 5, 15);
        assert_eq!(table.get("a"), Ok(Some(3.0)));
        table.prune(20);
        assert!(table.is_empty());
    }

    #[test]
    fn what_has_expired_leaves_by_and_by_and_its_memory_with_it() {
        let table = ExpiringMap::new();
        for number in 0..20_000_u32 {
            table.insert(&number.to_string(), (), if number % 100 == 0 { 100 } else { 10 }, 0);
        }
        let full = table.bytes();
        for _ in 0..1 << SHARD_BITS {
            table.prune_next(50);
        }
        assert_eq!(table.len(), 200);
        assert!(table.bytes() < full / 4, "{} of {full}", table.bytes());
        assert_eq!((table.get("100"), table.get("101")), (Ok(Some(())), Ok(None)));
    }

    #[test]
    fn a_shard_that_a_panic_left_half_changed_is_not_trusted() {
        let map = ExpiringMap::new();
        map.insert("a", (), 100, 0);
        let shard = map.shards.get().unwrap().get(shard_index(map.hasher.hash_one("a"))).unwrap();
        let panicked = std::thread::scope(|scope| {
            scope.spawn(|| map.change(shard, |_| panic!("a test's"))).join().is_err()
        });
        assert!(panicked);
        assert_eq!(map.get("a"), Err(Poisoned));
        map.insert("a", (), 100, 0);
        assert_eq!(map.get("a"), Err(Poisoned), "nobody knows what else is missing");
    }

    #[test]
    fn many_threads_read_while_one_writes() {
        let map = ExpiringMap::new();
        std::thread::scope(|scope| {
            scope.spawn(|| (0..20_000_u32).for_each(|number| map.insert(&number.to_string(), (), 100, 0)));
            for _ in 0..2 {
                scope.spawn(|| while map.get("19999") != Ok(Some(())) {});
            }
        });
        assert_eq!(map.len(), 20_000);
    }

    #[test]
    fn a_million_names_take_under_20_bytes_each() {
        let table = ExpiringMap::new();
        for number in 0..1_000_000_u32 {
            table.insert(&number.to_string(), (), 100, 0);
        }
        assert!(table.bytes() < 20 * 1_000_000, "{}", table.bytes());
        assert_eq!(table.get("999999"), Ok(Some(())));
        assert_eq!(table.get("1000000"), Ok(None));
    }
}
