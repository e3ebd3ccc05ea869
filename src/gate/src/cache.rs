//! Tokens that verified, so that a second request with one costs a look-up.
//!
//! Two generations of half the size: a new entry goes into the young one, an entry that is used in the old
//! one moves over, and when the young one is full it becomes the old one, whose entries are dropped. Both
//! look-up and eviction take constant time, and memory is bounded by count and by the length of a token.

use std::collections::HashMap;
use std::rc::Rc;

/// A token longer than this is verified each time, so that 4096 entries stay small.
const MAX_TOKEN_BYTES: usize = 4096;

/// Values by token. The map's hash is keyed with a key of its own for each map (std's `RandomState`), so
/// nobody can choose tokens that collide; and the whole token is compared, so no token is taken for another.
#[derive(Debug)]
pub(crate) struct Cache<V> {
    young: HashMap<Box<[u8]>, Rc<V>>,
    old: HashMap<Box<[u8]>, Rc<V>>,
    generation_size: usize,
}

impl<V> Cache<V> {
    /// A cache of at most `max_entries`; 0 turns it off.
    pub(crate) fn new(max_entries: u32) -> Self {
        let generation_size = usize::try_from(max_entries.div_ceil(2)).unwrap_or(usize::MAX);
        Self { young: HashMap::new(), old: HashMap::new(), generation_size }
    }

    pub(crate) fn get(&mut self, token: &[u8]) -> Option<Rc<V>> {
        if let Some(value) = self.young.get(token) {
            return Some(Rc::clone(value));
        }
        let (token, value) = self.old.remove_entry(token)?;
        self.put(token, Rc::clone(&value));
        Some(value)
    }

    pub(crate) fn insert(&mut self, token: &[u8], value: &Rc<V>) {
        if token.len() <= MAX_TOKEN_BYTES {
            self.put(token.into(), Rc::clone(value));
        }
    }

    pub(crate) fn remove(&mut self, token: &[u8]) {
        self.young.remove(token);
        self.old.remove(token);
    }

    fn put(&mut self, token: Box<[u8]>, value: Rc<V>) {
        if self.generation_size == 0 {
            return;
        }
        if self.young.len() >= self.generation_size {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(token, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl<V> Cache<V> {
        fn len(&self) -> usize {
            self.young.len().saturating_add(self.old.len())
        }
    }

    #[test]
    fn it_never_holds_more_than_it_may_and_keeps_what_is_used() {
        let mut cache = Cache::new(10);
        cache.insert(b"used", &Rc::new(0_usize));
        for number in 0..1000_usize {
            cache.insert(&number.to_le_bytes(), &Rc::new(number));
            assert!(cache.len() <= 10);
            assert_eq!(cache.get(b"used").as_deref(), Some(&0));
        }
        assert_eq!(cache.get(&999_usize.to_le_bytes()).as_deref(), Some(&999));
        assert_eq!(cache.get(&1_usize.to_le_bytes()), None);
    }

    #[test]
    fn what_is_removed_is_gone_from_both_generations() {
        let mut cache = Cache::new(2);
        cache.insert(b"a", &Rc::new(1));
        cache.insert(b"b", &Rc::new(2));
        cache.remove(b"a");
        cache.remove(b"b");
        assert_eq!((cache.get(b"a"), cache.get(b"b")), (None, None));
    }

    #[test]
    fn size_zero_holds_nothing_and_a_huge_token_is_not_held() {
        let mut cache = Cache::new(0);
        cache.insert(b"a", &Rc::new(1));
        assert_eq!(cache.len(), 0);
        let mut cache = Cache::new(10);
        cache.insert(&[b'a'; 5000], &Rc::new(1));
        assert_eq!(cache.len(), 0);
    }
}
