//! A compact map from hashed names to what is known of them.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

/// How many entries are put aside before they are merged into the sorted ones, at the least.
const MIN_RECENT: usize = 1024;

/// A map in two parts: a sorted vector, 16 bytes an entry (24 with a value), and a small hash map of recent
/// entries that is merged into it as it grows. It holds a 64-bit hash in place of the name, keyed with a key
/// of this VM's own, so that nobody can look for collisions; by chance, a good token would be taken for a
/// revoked one once in 2^64 / entries look-ups.
#[derive(Debug)]
pub(super) struct Table<V> {
    hasher: RandomState,
    sorted: Vec<Entry<V>>,
    recent: HashMap<u64, Entry<V>>,
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
        Self { hasher: RandomState::new(), sorted: Vec::new(), recent: HashMap::new() }
    }

    /// How many entries there are; one that is in both parts counts twice until they are merged.
    pub(super) fn len(&self) -> usize {
        self.sorted.len().saturating_add(self.recent.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sorted.is_empty() && self.recent.is_empty()
    }

    /// The bytes that the entries take, spare capacity included.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let entry = size_of::<Entry<V>>();
        let sorted = self.sorted.capacity().saturating_mul(entry);
        // A hash map keeps a key and a control byte beside each entry.
        let recent =
            self.recent.capacity().saturating_mul(entry.saturating_add(size_of::<u64>()).saturating_add(1));
        sorted.saturating_add(recent)
    }

    /// Adds what is known of `name` until `expires`. Of two values the greater stays, and of two times the
    /// later.
    pub(super) fn insert(&mut self, name: &str, value: V, expires: u32, now: u32) {
        let key = self.hasher.hash_one(name);
        let mut entry = Entry { key, expires, value };
        if let Some(known) = self.recent.get(&key) {
            entry = entry.or(known);
        }
        self.recent.insert(key, entry);
        let share = self.sorted.len().checked_div(16).unwrap_or_default();
        if self.recent.len() > share.max(MIN_RECENT) {
            self.merge(now);
        }
    }

    /// What is known of `name`.
    pub(super) fn get(&self, name: &str) -> Option<V> {
        if self.is_empty() {
            return None;
        }
        let key = self.hasher.hash_one(name);
        let recent = self.recent.get(&key).copied();
        let sorted = || self.sorted.binary_search_by_key(&key, |entry| entry.key).ok();
        let sorted = sorted().and_then(|index| self.sorted.get(index)).copied();
        match (recent, sorted) {
            (Some(one), Some(other)) => Some(one.or(&other).value),
            (one, other) => one.or(other).map(|entry| entry.value),
        }
    }

    /// Drops what has expired at `now`.
    pub(super) fn prune(&mut self, now: u32) {
        self.merge(now);
    }

    fn merge(&mut self, now: u32) {
        let mut recent: Vec<Entry<V>> = self.recent.drain().map(|(_, entry)| entry).collect();
        recent.sort_unstable_by_key(|entry| entry.key);
        let mut merged = Vec::with_capacity(self.len().saturating_add(recent.len()));
        let mut old = std::mem::take(&mut self.sorted).into_iter().peekable();
        for entry in recent {
            while let Some(known) = old.next_if(|known| known.key < entry.key) {
                merged.push(known);
            }
            merged.push(match old.next_if(|known| known.key == entry.key) {
                Some(known) => entry.or(&known),
                None => entry,
            });
        }
        merged.extend(old);
        merged.retain(|entry| entry.expires > now);
        merged.shrink_to_fit();
        self.sorted = merged;
        self.recent.shrink_to(MIN_RECENT);
    }
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
    fn every_name_is_found_before_and_after_merging_and_no_other() {
        let mut table = Table::new();
        for number in 0..20_000_u32 {
            table.insert(&format!("name-{number}"), f64::from(number), 100, 0);
        }
        for number in 0..20_000_u32 {
            assert_eq!(table.get(&format!("name-{number}")), Some(f64::from(number)));
            assert_eq!(table.get(&format!("other-{number}")), None);
        }
    }

    #[test]
    fn of_two_values_the_greater_stays_wherever_they_are() {
        let mut table = Table::new();
        table.insert("a", 2.0, 10, 0);
        table.prune(0);
        table.insert("a", 1.0, 20, 0);
        assert_eq!(table.get("a"), Some(2.0));
        table.prune(15);
        assert_eq!(table.get("a"), Some(2.0), "the later time counts");
        table.insert("a", 3.0, 5, 15);
        assert_eq!(table.get("a"), Some(3.0));
        table.prune(20);
        assert!(table.is_empty());
    }

    #[test]
    fn a_million_names_take_under_32_bytes_each() {
        let mut table = Table::new();
        for number in 0..1_000_000_u32 {
            table.insert(&number.to_string(), (), 100, 0);
        }
        assert!(table.bytes() < 32 * 1_000_000, "{}", table.bytes());
        assert_eq!(table.get("999999"), Some(()));
        assert_eq!(table.get("1000000"), None);
    }
}
