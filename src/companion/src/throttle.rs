//! How often somebody may try a password.
//!
//! Each count is a leaky bucket (GCRA):
//!
//! * of an address: against one machine that tries many accounts, or keeps bcrypt busy with one that it knows;
//! * of an account from one address: against one machine that tries one account;
//! * of an account from everywhere: against many machines that try one account. A full bucket shuts nobody out, because the
//!   owner may be among the clients. Instead each address gets fewer attempts: the first [`FIRST_ATTEMPTS`], and then one in
//!   [`ATTACKED_DROP_MS`];
//! * of right passwords for an account: each begins a session, so these are bounded too.
//!
//! An IPv6 address counts with its /64, which belongs to one customer. Some customers have more than one, so it also counts
//! with its /56 and its /48, whose buckets are larger ([`LEVELS`]).
//!
//! An attempt is recorded when it is admitted, and its outcome afterwards: an attempt that was answered "try again later" is
//! taken back ([`Throttle::take_back`]), and a right password counts for its address and as a session ([`Throttle::right`]).
//! A full table forgets its least recently used record. Time is monotonic: setting the clock changes nothing.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lru::LruCache;

/// Records that each count keeps: some 2 MB.
const RECORDS: NonZeroUsize = NonZeroUsize::new(32 * 1024).unwrap();
/// What an address may try on an account that is under attack.
pub const FIRST_ATTEMPTS: u32 = 2;
/// How long an address waits for each further attempt at an account that is under attack.
pub const ATTACKED_DROP_MS: i64 = 600_000;
/// An account from everywhere may be tried this many times as often as from one address.
const ACCOUNT_FACTOR: u32 = 5;
/// Sessions of an account may begin this many times as often as its password may be tried from one address.
const RIGHT_FACTOR: u32 = 3;
/// The networks of an IPv6 address that are counted: the length of the prefix, and how many times as large as an address's their
/// buckets are.
const LEVELS: [(u32, u32); 3] = [(64, 1), (56, 4), (48, 16)];

/// How often passwords may be tried.
pub struct Throttle {
    hasher: RandomState,
    started: Instant,
    limits: Limits,
    tables: Mutex<Tables>,
}

/// Come back later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// How much later; at least 1.
    pub seconds: u64,
}

/// An attempt that was admitted and counts.
#[derive(Debug)]
#[must_use = "what became of it decides whether it counts"]
pub struct Attempt {
    account: Option<u64>,
    networks: Vec<Network>,
    /// Whether the account was under attack.
    attacked: bool,
}

/// Where an attempt comes from.
#[derive(Debug, Clone, Copy)]
struct Network {
    key: u64,
    /// Together with the account.
    pair: u64,
    /// How many times as large as an address's its buckets are.
    factor: u32,
}

/// How large the buckets are, and how fast they run empty.
struct Limits {
    address: Limit,
    pair: Limit,
    account: Limit,
    attacked: Limit,
    right: Limit,
}

/// So many drops fit into a bucket, and one leaves it in so long. Without drops there is no limit.
#[derive(Debug, Clone, Copy)]
struct Limit {
    drops: u32,
    drop_ms: i64,
}

/// A record is the instant at which its bucket will be empty, in milliseconds since the start.
struct Tables {
    addresses: Table,
    pairs: Table,
    accounts: Table,
    attacked: Table,
    right: Table,
}

struct Table(LruCache<u64, i64>);

// === impl Throttle ===

impl Throttle {
    /// With so many attempts a minute, all of which may come at once; 0 is without a limit.
    pub fn new(address_per_minute: u32, account_per_minute: u32) -> Self {
        let attacked = if account_per_minute == 0 { 0 } else { FIRST_ATTEMPTS.min(account_per_minute) };
        Self {
            hasher: RandomState::new(),
            started: Instant::now(),
            limits: Limits {
                address: Limit::per_minute(address_per_minute),
                pair: Limit::per_minute(account_per_minute),
                account: Limit::per_minute(account_per_minute.saturating_mul(ACCOUNT_FACTOR)),
                attacked: Limit { drops: attacked, drop_ms: ATTACKED_DROP_MS },
                right: Limit::per_minute(account_per_minute.saturating_mul(RIGHT_FACTOR)),
            },
            tables: Mutex::new(Tables {
                addresses: Table::new(),
                pairs: Table::new(),
                accounts: Table::new(),
                attacked: Table::new(),
                right: Table::new(),
            }),
        }
    }

    /// Admits an attempt at an account's password, and records it.
    ///
    /// # Errors
    /// [`Wait`].
    pub fn admit(&self, account: &str, address: IpAddr) -> Result<Attempt, Wait> {
        self.admit_at(Some(account), address, self.now_ms())
    }

    /// Admits an attempt that concerns no account yet, and records it.
    ///
    /// # Errors
    /// [`Wait`].
    pub fn admit_address(&self, address: IpAddr) -> Result<Attempt, Wait> {
        self.admit_at(None, address, self.now_ms())
    }

    /// Takes an attempt back that was told to come again: its sender did nothing wrong.
    pub fn take_back(&self, attempt: &Attempt) {
        self.take_back_at(attempt, self.now_ms());
    }

    /// The password was right: people who know theirs are not slowed down by the mistakes that they, or others, made before.
    /// The attempt still counts for its address, and the session that begins counts for the account.
    pub fn right(&self, attempt: &Attempt) {
        self.right_at(attempt, self.now_ms());
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn admit_at(&self, account: Option<&str>, address: IpAddr, now_ms: i64) -> Result<Attempt, Wait> {
        let limits = &self.limits;
        let networks = self.networks(account, address);
        let account = account.map(|account| self.hasher.hash_one((account, "account")));
        let mut tables = self.tables();
        for network in &networks {
            tables.addresses.check(network.key, limits.address.times(network.factor), now_ms)?;
        }
        let mut attacked = false;
        if let Some(account) = account {
            tables.right.check(account, limits.right, now_ms)?;
            attacked = tables.accounts.check(account, limits.account, now_ms).is_err();
            for network in &networks {
                tables.pairs.check(network.pair, limits.pair.times(network.factor), now_ms)?;
                if attacked {
                    tables.attacked.check(network.pair, limits.attacked.times(network.factor), now_ms)?;
                }
            }
        }
        for network in &networks {
            tables.addresses.record(network.key, limits.address.times(network.factor), now_ms);
        }
        if let Some(account) = account {
            tables.accounts.record(account, limits.account, now_ms);
            for network in &networks {
                tables.pairs.record(network.pair, limits.pair.times(network.factor), now_ms);
                if attacked {
                    tables.attacked.record(network.pair, limits.attacked.times(network.factor), now_ms);
                }
            }
        }
        Ok(Attempt { account, networks, attacked })
    }

    fn take_back_at(&self, attempt: &Attempt, now_ms: i64) {
        let limits = &self.limits;
        let mut tables = self.tables();
        for network in &attempt.networks {
            tables.addresses.take_back(network.key, limits.address.times(network.factor), now_ms);
        }
        let Some(account) = attempt.account else { return };
        tables.accounts.take_back(account, limits.account, now_ms);
        for network in &attempt.networks {
            tables.pairs.take_back(network.pair, limits.pair.times(network.factor), now_ms);
            if attempt.attacked {
                tables.attacked.take_back(network.pair, limits.attacked.times(network.factor), now_ms);
            }
        }
    }

    fn right_at(&self, attempt: &Attempt, now_ms: i64) {
        let Some(account) = attempt.account else { return };
        let mut tables = self.tables();
        tables.accounts.take_back(account, self.limits.account, now_ms);
        tables.right.record(account, self.limits.right, now_ms);
        for network in &attempt.networks {
            tables.pairs.0.pop(&network.pair);
            tables.attacked.0.pop(&network.pair);
        }
    }

    fn networks(&self, account: Option<&str>, address: IpAddr) -> Vec<Network> {
        let network = |address: IpAddr, factor| Network {
            key: self.hasher.hash_one((address, factor)),
            pair: self.hasher.hash_one((account, address, factor)),
            factor,
        };
        match address {
            IpAddr::V4(_) => vec![network(address, 1)],
            IpAddr::V6(v6) => {
                LEVELS.iter().map(|(bits, factor)| network(prefix(v6, *bits).into(), *factor)).collect()
            }
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Nothing that holds the lock can stop halfway.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn prefix(address: Ipv6Addr, bits: u32) -> Ipv6Addr {
    let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits)).unwrap_or_default();
    (address.to_bits() & mask).into()
}

// === impl Limit ===

impl Limit {
    fn per_minute(drops: u32) -> Self {
        Self { drops, drop_ms: 60_000 / i64::from(drops.max(1)) }
    }

    /// A bucket that is so many times as large, and runs empty in the same time.
    fn times(self, factor: u32) -> Self {
        let factor = factor.max(1);
        let drops = self.drops.saturating_mul(factor);
        Self { drops, drop_ms: (self.drop_ms / i64::from(factor)).max(1) }
    }

    fn full_ms(self) -> i64 {
        i64::from(self.drops).saturating_mul(self.drop_ms)
    }
}

// === impl Table ===

impl Table {
    fn new() -> Self {
        Self(LruCache::new(RECORDS))
    }

    /// Whether the bucket has room for one more drop.
    fn check(&mut self, key: u64, limit: Limit, now_ms: i64) -> Result<(), Wait> {
        if limit.drops == 0 {
            return Ok(());
        }
        let filled_ms = self.0.get(&key).map_or(0, |empty_at_ms| empty_at_ms.saturating_sub(now_ms).max(0));
        let wait_ms = filled_ms.saturating_add(limit.drop_ms).saturating_sub(limit.full_ms());
        match u64::try_from(wait_ms) {
            Ok(wait_ms @ 1..) => Err(Wait { seconds: wait_ms.div_ceil(1000) }),
            _ => Ok(()),
        }
    }

    fn record(&mut self, key: u64, limit: Limit, now_ms: i64) {
        if limit.drops > 0 {
            let empty_at_ms = self.0.get(&key).copied().unwrap_or(now_ms).max(now_ms);
            // A bucket that overflows, as that of an attacked account does, is empty again after twice its time.
            let latest = now_ms.saturating_add(limit.full_ms().saturating_mul(2));
            self.0.put(key, empty_at_ms.saturating_add(limit.drop_ms).min(latest));
        }
    }

    /// Takes a drop out; a bucket that is empty then needs no record.
    fn take_back(&mut self, key: u64, limit: Limit, now_ms: i64) {
        let Some(empty_at_ms) = self.0.get_mut(&key) else { return };
        *empty_at_ms = empty_at_ms.saturating_sub(limit.drop_ms);
        if *empty_at_ms <= now_ms {
            self.0.pop(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn admit(throttle: &Throttle, account: &str, address: IpAddr, now_ms: i64) -> Result<(), Wait> {
        throttle.admit_at(Some(account), address, now_ms).map(|_| ())
    }

    #[test]
    fn an_address_is_slowed_down_on_one_account_and_may_go_on_later() {
        let throttle = Throttle::new(100, 10);
        for _ in 0..10 {
            assert_eq!(admit(&throttle, "ada", address(1), 0), Ok(()));
        }
        assert_eq!(admit(&throttle, "ada", address(1), 0), Err(Wait { seconds: 6 }));
        assert_eq!(admit(&throttle, "ada", address(1), 5_999), Err(Wait { seconds: 1 }));
        assert_eq!(admit(&throttle, "ada", address(1), 6_000), Ok(()));
        assert_eq!(admit(&throttle, "ada", address(1), 6_000), Err(Wait { seconds: 6 }));
    }

    #[test]
    fn the_owner_comes_in_from_elsewhere_while_an_account_is_attacked_from_everywhere() {
        let throttle = Throttle::new(100, 10);
        for attacker in 0..200 {
            for _ in 0..20 {
                let _ = admit(&throttle, "ada", address(attacker), 0);
            }
        }
        assert_eq!(admit(&throttle, "ada", address(250), 0), Ok(()), "the owner mistypes");
        assert_eq!(admit(&throttle, "ada", address(250), 0), Ok(()), "and gets it right");
        assert!(admit(&throttle, "ada", address(250), 0).is_err(), "but nobody tries on and on");
        assert_eq!(admit(&throttle, "bob", address(250), 0), Ok(()));
    }

    #[test]
    fn an_attacked_account_is_tried_by_each_address_only_a_few_times() {
        let throttle = Throttle::new(100, 10);
        let admitted =
            |attacker| (0..20).filter(|_| admit(&throttle, "ada", address(attacker), 0).is_ok()).count();
        let first: Vec<_> = (0..8).map(admitted).collect();
        assert_eq!(first, [10, 10, 10, 10, 10, 2, 2, 2]);
    }

    #[test]
    fn a_long_attack_from_many_addresses_gets_few_attempts_an_hour() {
        let throttle = Throttle::new(100, 10);
        let mut admitted = 0;
        for second in 0..3600 {
            for attacker in 0..100 {
                admitted += i32::from(admit(&throttle, "ada", address(attacker), second * 1000).is_ok());
            }
        }
        // 50 at once until the account is known to be attacked, then 2 and one in 10 minutes from each address; and whenever
        // the count of the account runs down, as many as it has room for: 50 a minute.
        assert!(admitted <= 50 + 100 * (2 + 6) + 50 * 60, "{admitted}");
        assert!(
            admitted < 100 * 60 * 10 / 10,
            "a tenth of what the addresses could try one by one: {admitted}"
        );
    }

    #[test]
    fn an_address_is_slowed_down_over_all_accounts() {
        let throttle = Throttle::new(60, 10);
        let admitted = (0..100).filter(|n| admit(&throttle, &n.to_string(), address(1), 0).is_ok()).count();
        assert_eq!(admitted, 60);
        assert!(throttle.admit_at(None, address(1), 0).is_err());
        assert!(throttle.admit_at(None, address(2), 0).is_ok());
    }

    #[test]
    fn a_right_password_forgives_the_mistakes_before_it_and_is_bounded_itself() {
        let throttle = Throttle::new(1000, 10);
        for _ in 0..9 {
            assert_eq!(admit(&throttle, "ada", address(1), 0), Ok(()), "wrong");
        }
        let mut sessions = 0;
        while let Ok(attempt) = throttle.admit_at(Some("ada"), address(1), 0) {
            throttle.right_at(&attempt, 0);
            sessions += 1;
        }
        assert_eq!(sessions, 30, "three times as many as wrong ones");
        assert!(admit(&throttle, "ada", address(2), 0).is_err(), "for the account, from wherever");
        assert_eq!(admit(&throttle, "bob", address(1), 0), Ok(()));
        assert_eq!(admit(&throttle, "ada", address(2), 2_000), Ok(()), "two seconds later");
    }

    #[test]
    fn right_passwords_count_for_their_address() {
        let throttle = Throttle::new(60, 10);
        let right = |n: u32| {
            let attempt = throttle.admit_at(Some(&n.to_string()), address(1), 0);
            attempt.map(|attempt| throttle.right_at(&attempt, 0)).is_ok()
        };
        assert_eq!((0..100).filter(|n| right(*n)).count(), 60);
    }

    #[test]
    fn an_attempt_that_was_told_to_come_again_does_not_count() {
        let throttle = Throttle::new(20, 10);
        for _ in 0..1000 {
            let attempt = throttle.admit_at(Some("ada"), address(1), 0).expect("it is admitted");
            throttle.take_back_at(&attempt, 0);
        }
        let tables = throttle.tables();
        for table in [&tables.addresses, &tables.pairs, &tables.accounts, &tables.attacked, &tables.right] {
            assert_eq!(table.0.len(), 0, "and leaves no record");
        }
    }

    #[test]
    fn all_addresses_of_an_ipv6_network_are_one() {
        let throttle = Throttle::new(5, 0);
        let from = |text: &str| throttle.admit_at(None, text.parse().unwrap(), 0).is_ok();
        assert!((1..=5).all(|n| from(&format!("2001:db8::{n}"))));
        assert!(!from("2001:db8::ffff:ffff:ffff:ffff"));
        assert!(from("2001:db8:0:1::1"));
    }

    #[test]
    fn who_has_many_ipv6_networks_is_bounded_as_well() {
        let throttle = Throttle::new(5, 0);
        let from = |network: u32| {
            let address = format!("2001:db8:0:{network:x}::1").parse().unwrap();
            throttle.admit_at(None, address, 0).is_ok()
        };
        assert_eq!((0..256).filter(|network| from(*network)).count(), 4 * 5, "a /56");
        assert_eq!(
            (0..65_536).filter(|network| from(*network)).count(),
            16 * 5 - 4 * 5,
            "the rest of the /48"
        );
        assert!(throttle.admit_at(None, "2001:db8:1::1".parse().unwrap(), 0).is_ok(), "another /48");
    }

    #[test]
    fn zero_is_without_a_limit() {
        let throttle = Throttle::new(0, 0);
        for _ in 0..1000 {
            let attempt = throttle.admit_at(Some("ada"), address(1), 0).expect("there is no limit");
            throttle.right_at(&attempt, 0);
        }
    }

    #[test]
    fn memory_does_not_grow_with_the_number_of_attackers() {
        let throttle = Throttle::new(10, 10);
        for n in 0..100_000_u32 {
            let _ = admit(&throttle, &n.to_string(), IpAddr::from(n.to_be_bytes()), 0);
        }
        let tables = throttle.tables();
        for table in [&tables.addresses, &tables.pairs, &tables.accounts] {
            assert_eq!(table.0.len(), RECORDS.get());
        }
    }
}
