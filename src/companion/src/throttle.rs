//! How often somebody may try a password.
//!
//! Three counts, each a leaky bucket (GCRA):
//!
//! * of an address: against one machine that tries many accounts;
//! * of an account from one address: against one machine that tries one account;
//! * of an account from everywhere: against many machines that try one account. When it is spent nobody is
//!   shut out, as the owner may be among those who come. Instead each address gets fewer attempts: the first
//!   [`FIRST_ATTEMPTS`] of an address always count for nothing but themselves.
//!
//! An attempt is recorded only when it is admitted, that is, when bcrypt works for it. So a record costs
//! whoever wants to fill the tables a bcrypt; and the tables forget the least recently used record when they
//! are full.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use lru::LruCache;

/// Records that each count keeps: some 2 MB.
const RECORDS: NonZeroUsize = NonZeroUsize::new(32 * 1024).unwrap();
/// What an address may try on an account that is under attack.
pub const FIRST_ATTEMPTS: u32 = 2;
/// An account from everywhere may be tried this many times as often as from one address.
const ACCOUNT_FACTOR: u32 = 5;

/// How often passwords may be tried.
pub struct Throttle {
    hasher: RandomState,
    addresses: Buckets,
    pairs: Buckets,
    accounts: Buckets,
}

/// Come back later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// How much later; at least 1.
    pub seconds: u64,
}

impl Throttle {
    /// With so many attempts a minute, all of which may come at once; 0 is without a limit.
    pub fn new(address_per_minute: u32, account_per_minute: u32) -> Self {
        Self {
            hasher: RandomState::new(),
            addresses: Buckets::new(address_per_minute),
            pairs: Buckets::new(account_per_minute),
            accounts: Buckets::new(account_per_minute.saturating_mul(ACCOUNT_FACTOR)),
        }
    }

    /// Admits an attempt at an account's password, and records it.
    ///
    /// # Errors
    /// [`Wait`].
    pub fn admit(&self, account: &str, address: IpAddr, now_ms: i64) -> Result<(), Wait> {
        let (address, pair, account) = self.keys(account, address);
        self.addresses.check(address, now_ms, None)?;
        let under_attack = self.accounts.check(account, now_ms, None).is_err();
        self.pairs.check(pair, now_ms, under_attack.then_some(FIRST_ATTEMPTS))?;
        self.addresses.record(address, now_ms);
        self.pairs.record(pair, now_ms);
        self.accounts.record(account, now_ms);
        Ok(())
    }

    /// Admits an attempt that concerns no account yet, and records it.
    ///
    /// # Errors
    /// [`Wait`].
    pub fn admit_address(&self, address: IpAddr, now_ms: i64) -> Result<(), Wait> {
        let key = self.hasher.hash_one(network(address));
        self.addresses.check(key, now_ms, None)?;
        self.addresses.record(key, now_ms);
        Ok(())
    }

    /// Takes an attempt back that was right: people who know their password are not counted.
    pub fn forgive(&self, account: &str, address: IpAddr) {
        let (address, pair, account) = self.keys(account, address);
        self.addresses.take_back(address);
        self.accounts.take_back(account);
        self.pairs.forget(pair);
    }

    fn keys(&self, account: &str, address: IpAddr) -> (u64, u64, u64) {
        let network = network(address);
        let hash = |value: (&str, Option<IpAddr>)| self.hasher.hash_one(value);
        (self.hasher.hash_one(network), hash((account, Some(network))), hash((account, None)))
    }
}

/// Who has one IPv6 address has a /64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

/// Leaky buckets of one size. A record is the instant at which its bucket will be empty.
struct Buckets {
    per_minute: u32,
    empty_at_ms: Mutex<LruCache<u64, i64>>,
}

impl Buckets {
    fn new(per_minute: u32) -> Self {
        Self { per_minute, empty_at_ms: Mutex::new(LruCache::new(RECORDS)) }
    }

    fn drop_ms(&self) -> i64 {
        60_000 / i64::from(self.per_minute.max(1))
    }

    /// Whether a bucket that holds `size` drops, all of them by default, has room for one more.
    fn check(&self, key: u64, now_ms: i64, size: Option<u32>) -> Result<(), Wait> {
        if self.per_minute == 0 {
            return Ok(());
        }
        let size = size.unwrap_or(self.per_minute).min(self.per_minute);
        let filled_ms = (self.records().get(&key).copied().unwrap_or(now_ms) - now_ms).max(0);
        let wait_ms = filled_ms + self.drop_ms() - i64::from(size) * self.drop_ms();
        match u64::try_from(wait_ms) {
            Ok(wait_ms @ 1..) => Err(Wait { seconds: wait_ms.div_ceil(1000) }),
            _ => Ok(()),
        }
    }

    fn record(&self, key: u64, now_ms: i64) {
        if self.per_minute > 0 {
            let mut records = self.records();
            let empty_at = records.get(&key).copied().unwrap_or(now_ms).max(now_ms);
            records.put(key, empty_at + self.drop_ms());
        }
    }

    fn take_back(&self, key: u64) {
        let mut records = self.records();
        if let Some(empty_at) = records.get_mut(&key) {
            *empty_at -= self.drop_ms();
        }
    }

    fn forget(&self, key: u64) {
        self.records().pop(&key);
    }

    fn records(&self) -> std::sync::MutexGuard<'_, LruCache<u64, i64>> {
        // Nothing that holds the lock can stop halfway.
        self.empty_at_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn an_address_is_slowed_down_on_one_account_and_may_go_on_later() {
        let throttle = Throttle::new(100, 10);
        for _ in 0..10 {
            assert_eq!(throttle.admit("ada", address(1), 0), Ok(()));
        }
        assert_eq!(throttle.admit("ada", address(1), 0), Err(Wait { seconds: 6 }));
        assert_eq!(throttle.admit("ada", address(1), 5_999), Err(Wait { seconds: 1 }));
        assert_eq!(throttle.admit("ada", address(1), 6_000), Ok(()));
        assert_eq!(throttle.admit("ada", address(1), 6_000), Err(Wait { seconds: 6 }));
    }

    #[test]
    fn the_owner_comes_in_from_elsewhere_while_an_account_is_attacked_from_everywhere() {
        let throttle = Throttle::new(100, 10);
        for attacker in 0..200 {
            for _ in 0..20 {
                let _ = throttle.admit("ada", address(attacker), 0);
            }
        }
        assert_eq!(throttle.admit("ada", address(250), 0), Ok(()), "the owner mistypes");
        assert_eq!(throttle.admit("ada", address(250), 0), Ok(()), "and gets it right");
        assert!(throttle.admit("ada", address(250), 0).is_err(), "but nobody tries on and on");
        assert_eq!(throttle.admit("bob", address(250), 0), Ok(()));
    }

    #[test]
    fn an_attacked_account_is_tried_by_each_address_only_a_few_times() {
        let throttle = Throttle::new(100, 10);
        let admitted =
            |attacker| (0..20).filter(|_| throttle.admit("ada", address(attacker), 0).is_ok()).count();
        let first: Vec<_> = (0..8).map(admitted).collect();
        assert_eq!(first, [10, 10, 10, 10, 10, 2, 2, 2]);
    }

    #[test]
    fn an_address_is_slowed_down_over_all_accounts() {
        let throttle = Throttle::new(60, 10);
        let admitted = (0..100).filter(|n| throttle.admit(&n.to_string(), address(1), 0).is_ok()).count();
        assert_eq!(admitted, 60);
        assert!(throttle.admit_address(address(1), 0).is_err());
        assert!(throttle.admit_address(address(2), 0).is_ok());
    }

    #[test]
    fn whoever_knows_the_password_is_not_counted() {
        let throttle = Throttle::new(5, 5);
        for _ in 0..100 {
            assert_eq!(throttle.admit("ada", address(1), 0), Ok(()));
            throttle.forgive("ada", address(1));
        }
    }

    #[test]
    fn all_addresses_of_an_ipv6_network_are_one() {
        let throttle = Throttle::new(5, 0);
        let from = |text: &str| throttle.admit_address(text.parse().unwrap(), 0).is_ok();
        assert!((1..=5).all(|n| from(&format!("2001:db8::{n}"))));
        assert!(!from("2001:db8::ffff:ffff:ffff:ffff"));
        assert!(from("2001:db8:0:1::1"));
    }

    #[test]
    fn zero_is_without_a_limit() {
        let throttle = Throttle::new(0, 0);
        assert!((0..1000).all(|_| throttle.admit("ada", address(1), 0).is_ok()));
    }

    #[test]
    fn memory_does_not_grow_with_the_number_of_attackers() {
        let throttle = Throttle::new(10, 10);
        for n in 0..100_000_u32 {
            let _ = throttle.admit(&n.to_string(), IpAddr::from(n.to_be_bytes()), 0);
        }
        for buckets in [&throttle.addresses, &throttle.pairs, &throttle.accounts] {
            assert_eq!(buckets.records().len(), RECORDS.get());
        }
    }
}
