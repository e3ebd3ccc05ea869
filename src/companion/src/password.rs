//! Passwords: which ones are taken, and bcrypt on threads of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use bcrypt::HashParts;
use crossbeam_channel::{Receiver, Sender, TrySendError};
use tokio::sync::oneshot;
use unicode_normalization::UnicodeNormalization;

/// The shortest password, in characters.
pub const MIN_PASSWORD_CHARACTERS: usize = 8;
/// The longest password, in bytes: bcrypt looks at no more.
pub const MAX_PASSWORD_BYTES: usize = 72;

/// The metric that counts bcrypt's rounds.
pub const ROUNDS: &str = "jwt_gate_auth_bcrypt_rounds_total";

/// The lowest cost that bcrypt knows.
const MIN_COST: u32 = 4;

/// Why a password is not taken when one is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unacceptable {
    /// Fewer than [`MIN_PASSWORD_CHARACTERS`].
    TooShort,
    /// More than [`MAX_PASSWORD_BYTES`].
    TooLong,
    /// bcrypt would stop at a NUL character.
    Nul,
}

fn check_acceptable(password: &str) -> Result<(), Unacceptable> {
    if password.contains('\0') {
        Err(Unacceptable::Nul)
    } else if password.len() > MAX_PASSWORD_BYTES {
        Err(Unacceptable::TooLong)
    } else if password.chars().count() < MIN_PASSWORD_CHARACTERS {
        Err(Unacceptable::TooShort)
    } else {
        Ok(())
    }
}

/// A password that somebody chose: acceptable, and in its normal form.
#[derive(Clone, PartialEq, Eq)]
pub struct NewPassword(String);

impl NewPassword {
    /// Brings a password into its normal form and checks it.
    ///
    /// # Errors
    /// [`Unacceptable`].
    pub fn parse(text: &str) -> Result<Self, Unacceptable> {
        let password = normal(text);
        check_acceptable(&password)?;
        Ok(Self(password))
    }

    /// A hash of it, made on this thread.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn hash(&self, cost: u32) -> Result<String, String> {
        bcrypt::hash(&self.0, cost).map_err(|error| error.to_string())
    }
}

impl std::fmt::Debug for NewPassword {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("NewPassword(…)")
    }
}

impl std::fmt::Display for Unacceptable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::TooShort => "The password needs at least 8 characters.",
            Self::TooLong => "The password is longer than 72 bytes.",
            Self::Nul => "The password holds a NUL character.",
        })
    }
}

/// The outcome of checking a password.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Wrong, or there is no such account.
    Wrong,
    /// Right, and the stored hash is good.
    Right,
    /// Right, and this hash should replace the stored one, whose cost is lower than ours.
    RightButWeak(String),
}

/// The pool did not do the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolError {
    /// The queue is full: try again later.
    Busy,
    /// The work could not be done.
    Failed,
}

/// A fixed number of threads that do nothing but bcrypt, behind a queue of fixed length. Work that does not fit is refused
/// at once, so a flood of sign-ins delays nothing else for long.
pub struct PasswordPool {
    queue: Sender<Job>,
    cost: u32,
    dummies: Arc<Dummies>,
}

type Job = Box<dyn FnOnce() + Send>;

/// The highest cost of a bcrypt hash that is made, taken in or compared: at 16 a comparison takes some four seconds. Each one more doubles
/// it, and at 31 a thread would be busy for a day.
pub const MAX_COST: u32 = 16;

/// A hash of nothing anybody knows for each cost, to spend time on.
struct Dummies {
    hashes: Vec<(u32, String)>,
    /// The highest cost that an account's hash is known to have: as long takes each wrong password, and each unknown account.
    highest: AtomicU32,
}

impl PasswordPool {
    /// Starts `threads` threads behind a queue of `queue_length`; hashes are made with `cost` (4 to [`MAX_COST`]).
    ///
    /// # Errors
    /// Where a thread cannot be started or `cost` is out of range.
    pub fn start(threads: usize, queue_length: usize, cost: u32) -> std::io::Result<Self> {
        let (queue, jobs) = crossbeam_channel::bounded::<Job>(queue_length);
        let dummies = Arc::new(Dummies::new(cost)?);
        for number in 0..threads {
            let jobs: Receiver<Job> = jobs.clone();
            thread::Builder::new().name(format!("bcrypt-{number}")).spawn(move || {
                for job in jobs {
                    // A panic in one job must not take the thread away from the next ones.
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
                }
            })?;
        }
        Ok(Self { queue, cost, dummies })
    }

    /// Notes that an account's hash has this cost.
    pub fn expect_cost(&self, cost: u32) {
        self.dummies.expect_cost(cost);
    }

    /// A hash of `password`.
    ///
    /// # Errors
    /// [`PoolError`].
    pub async fn hash(&self, password: NewPassword) -> Result<String, PoolError> {
        let cost = self.cost;
        self.run(move || hash(&password.0, cost)).await?
    }

    /// Checks `password` against `stored`; without an account (`None`) the same time is spent.
    ///
    /// # Errors
    /// [`PoolError`].
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<Verdict, PoolError> {
        let cost = self.cost;
        let dummies = Arc::clone(&self.dummies);
        self.run(move || match stored {
            Some(stored) => verify(&password, &stored, cost, &dummies),
            None => {
                forms(&password).for_each(|form| dummies.spend_all(&form));
                Ok(Verdict::Wrong)
            }
        })
        .await?
    }

    /// How many jobs wait.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move || {
            // Skip the work if the client has disconnected.
            if !answer.is_closed() {
                let _ = answer.send(work());
            }
        });
        self.queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => PoolError::Busy,
            TrySendError::Disconnected(_) => PoolError::Failed,
        })?;
        answered.await.map_err(|_| PoolError::Failed)
    }
}

// === impl Dummies ===

impl Dummies {
    fn new(cost: u32) -> std::io::Result<Self> {
        if !(MIN_COST..=MAX_COST).contains(&cost) {
            let said = format!("the bcrypt cost is {MIN_COST} to {MAX_COST}");
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, said));
        }
        // bcrypt takes the same time whatever the salt and the checksum, so these need not be computed:
        // "." is a zero in its base64.
        let dummy = |cost: u32| (cost, format!("$2b${cost:02}${}", ".".repeat(53)));
        Ok(Self { hashes: (MIN_COST..=MAX_COST).map(dummy).collect(), highest: AtomicU32::new(cost) })
    }

    fn expect_cost(&self, cost: u32) {
        if cost <= MAX_COST {
            self.highest.fetch_max(cost, Ordering::Relaxed);
        }
    }

    /// Takes the time that remains of a verification at the highest cost, after one at `spent`:
    /// 2^c + (2^c + 2^(c+1) + … + 2^(highest-1)) = 2^highest rounds. So a wrong password takes as long for an account with a
    /// cheaper hash as for one without, or for no account at all.
    fn spend_after(&self, password: &str, spent: u32) {
        for cost in spent..self.highest.load(Ordering::Relaxed) {
            self.spend(password, cost);
        }
    }

    /// Takes the time that one verification at the highest cost takes.
    fn spend_all(&self, password: &str) {
        self.spend(password, self.highest.load(Ordering::Relaxed));
    }

    fn spend(&self, password: &str, cost: u32) {
        if let Some((_, dummy)) = self.hashes.iter().find(|(of, _)| *of == cost) {
            std::hint::black_box(compare(password, dummy, cost).ok());
        }
    }
}

/// A password in its normal form, NFC (RFC 8265 §4.2.2): the keyboards of one person may compose a letter or not.
fn normal(password: &str) -> String {
    password.nfc().collect()
}

/// The forms under which a password is tried: as it was typed, which is how older hashes were made, then in its normal form.
fn forms(password: &str) -> impl Iterator<Item = String> {
    let normal = normal(password);
    let other = (normal != password).then_some(normal);
    std::iter::once(password.to_owned()).chain(other)
}

fn hash(password: &str, cost: u32) -> Result<String, PoolError> {
    // `non_truncating_hash` refuses 72 bytes, which bcrypt takes whole.
    if !is_comparable(password) {
        return Err(PoolError::Failed);
    }
    count_rounds(cost);
    bcrypt::hash(password, cost).map_err(|_| PoolError::Failed)
}

/// Compares the first 72 bytes of `password` with a hash of this cost.
fn compare(password: &str, hash: &str, cost: u32) -> Result<bool, PoolError> {
    count_rounds(cost);
    bcrypt::verify(cut(password), hash).map_err(|_| PoolError::Failed)
}

/// Counts the work of bcrypt where it is done: every refused sign-in must cost the same.
fn count_rounds(cost: u32) {
    metrics::counter!(ROUNDS).increment(1_u64.checked_shl(cost).unwrap_or(u64::MAX));
}

fn verify(password: &str, stored: &str, cost: u32, dummies: &Dummies) -> Result<Verdict, PoolError> {
    let stored = match StoredHash::parse(stored) {
        Ok(stored) => stored,
        Err(unusable) => {
            tracing::warn!("an account's hash cannot be used: {unusable}");
            forms(password).for_each(|form| dummies.spend_all(&form));
            return Ok(Verdict::Wrong);
        }
    };
    dummies.expect_cost(stored.cost);
    for form in forms(password) {
        let matches = compare(&form, &stored.text, stored.cost)?;
        if matches && is_comparable(&form) {
            let better = normal(password);
            let weak = stored.cost < cost && is_comparable(&better);
            return if weak { hash(&better, cost).map(Verdict::RightButWeak) } else { Ok(Verdict::Right) };
        }
        dummies.spend_after(&form, stored.cost);
    }
    Ok(Verdict::Wrong)
}

/// bcrypt compares the first 72 bytes and stops at a NUL; a password of that kind was never taken.
fn is_comparable(password: &str) -> bool {
    password.len() <= MAX_PASSWORD_BYTES && !password.contains('\0')
}

fn cut(password: &str) -> &[u8] {
    password.as_bytes().get(..MAX_PASSWORD_BYTES).unwrap_or(password.as_bytes())
}

/// A bcrypt hash as we, passlib or anyone else writes it (`$2a$`, `$2b$`, `$2y$`), repaired.
#[derive(Debug, PartialEq, Eq)]
pub struct StoredHash {
    /// The hash, without the bits that mean nothing.
    pub text: String,
    /// Its cost.
    pub cost: u32,
}

/// Why a text is no hash that a password can be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// It is no bcrypt hash.
    NotBcrypt,
    /// Its cost is over [`MAX_COST`].
    TooCostly(u32),
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotBcrypt => formatter.write_str("it is not a bcrypt hash"),
            Self::TooCostly(cost) => write!(
                formatter,
                "its cost is {cost}, and a comparison at more than {MAX_COST} would take too long"
            ),
        }
    }
}

impl StoredHash {
    /// Reads a hash.
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn parse(text: &str) -> Result<Self, Unusable> {
        let (prefix, rest) = text.split_at_checked(7).ok_or(Unusable::NotBcrypt)?;
        let after = ["$2a$", "$2b$", "$2y$"].iter().find_map(|known| prefix.strip_prefix(known));
        let digits = after.and_then(|after| after.strip_suffix('$')).unwrap_or_default();
        if digits.len() != 2 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Unusable::NotBcrypt);
        }
        // 16 bytes of salt are 22 characters with 4 bits over, 23 bytes of digest 31 with 2. Old passlib and PHP code wrote
        // something there, and each implementation of bcrypt leaves it out; the parser is strict.
        let (salt, digest) = rest.split_at_checked(22).ok_or(Unusable::NotBcrypt)?;
        let repaired = || {
            Some(format!(
                "{prefix}{}{}",
                without_spare_bits(salt, 0b11_0000)?,
                without_spare_bits(digest, 0b11_1100)?
            ))
        };
        let text = repaired().ok_or(Unusable::NotBcrypt)?;
        let parts: HashParts = text.parse().map_err(|_| Unusable::NotBcrypt)?;
        match parts.get_cost() {
            cost @ MIN_COST..=MAX_COST => Ok(Self { text, cost }),
            cost @ 17..=31 => Err(Unusable::TooCostly(cost)),
            _ => Err(Unusable::NotBcrypt),
        }
    }
}

/// `text` with only these bits of its last character, in bcrypt's base64.
fn without_spare_bits(text: &str, kept: usize) -> Option<String> {
    const ALPHABET: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let (last, before) = text.as_bytes().split_last()?;
    let value = ALPHABET.iter().position(|character| character == last)?;
    let repaired = char::from(*ALPHABET.get(value & kept)?);
    Some(format!("{}{repaired}", std::str::from_utf8(before).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_8_characters_to_72_bytes() {
        assert_eq!(check_acceptable("1234567"), Err(Unacceptable::TooShort));
        assert_eq!(check_acceptable("12345678"), Ok(()));
        assert_eq!(check_acceptable("ééééééé"), Err(Unacceptable::TooShort));
        assert_eq!(check_acceptable(&"é".repeat(36)), Ok(()));
        assert_eq!(check_acceptable(&"é".repeat(37)), Err(Unacceptable::TooLong));
        assert_eq!(check_acceptable("1234\u{0}5678"), Err(Unacceptable::Nul));
    }

    #[test]
    fn hashes_in_each_of_passlibs_spellings_verify() {
        let ours = bcrypt::hash("correct horse", 4).unwrap();
        let dummies = Dummies::new(4).unwrap();
        for prefix in ["$2a$", "$2b$", "$2y$"] {
            let stored = format!("{prefix}{}", &ours[4..]);
            assert_eq!(verify("correct horse", &stored, 4, &dummies), Ok(Verdict::Right), "{prefix}");
            assert_eq!(verify("battery staple", &stored, 4, &dummies), Ok(Verdict::Wrong), "{prefix}");
        }
    }

    #[test]
    fn a_weaker_hash_is_replaced_when_the_password_is_right() {
        let stored = bcrypt::hash("correct horse", 4).unwrap();
        let dummies = Dummies::new(5).unwrap();
        let Ok(Verdict::RightButWeak(better)) = verify("correct horse", &stored, 5, &dummies) else {
            panic!()
        };
        assert_eq!(StoredHash::parse(&better).map(|stored| stored.cost), Ok(5));
        assert_eq!(verify("correct horse", &better, 5, &dummies), Ok(Verdict::Right));
        assert_eq!(verify("correct horse", &better, 4, &dummies), Ok(Verdict::Right));
    }

    #[test]
    fn a_password_is_never_compared_by_its_first_72_bytes_only() {
        let password = "x".repeat(72);
        let stored = bcrypt::hash(&password, 4).unwrap();
        let dummies = Dummies::new(4).unwrap();
        assert_eq!(verify(&password, &stored, 4, &dummies), Ok(Verdict::Right));
        assert_eq!(verify(&(password + "y"), &stored, 4, &dummies), Ok(Verdict::Wrong));
    }

    #[test]
    fn the_dummies_are_hashes_that_bcrypt_works_on() {
        for (cost, dummy) in Dummies::new(6).unwrap().hashes {
            assert_eq!(StoredHash::parse(&dummy), Ok(StoredHash { text: dummy.clone(), cost }));
            if cost < 7 {
                assert_eq!(bcrypt::verify("anything", &dummy).ok(), Some(false));
            }
        }
    }

    #[test]
    fn what_is_no_bcrypt_hash_is_told_from_one_that_takes_too_long() {
        let good = bcrypt::hash("x", 4).unwrap();
        assert_eq!(StoredHash::parse(&good), Ok(StoredHash { text: good.clone(), cost: 4 }));
        for bad in [
            "",
            "$2b$",
            "$1$abc",
            "$2b$04$é",
            &good[..59],
            &format!("{good}x"),
            &good.replace("$04$", "$03$"),
            &good.replace("$04$", "$4$"),
            &good.replace("$04$", "$+4$"),
            &good.replace("$2b$", "$2x$"),
            &format!("{}!", &good[..59]),
        ] {
            assert_eq!(StoredHash::parse(bad), Err(Unusable::NotBcrypt), "{bad}");
        }
        for cost in [17, 20, 31] {
            let costly = good.replace("$04$", &format!("${cost}$"));
            assert_eq!(StoredHash::parse(&costly), Err(Unusable::TooCostly(cost)));
            let dummies = Dummies::new(4).unwrap();
            assert_eq!(verify("x", &costly, 4, &dummies), Ok(Verdict::Wrong), "and no thread is lost");
        }
    }

    #[test]
    fn a_hash_with_spare_bits_as_old_passlib_wrote_them_verifies() {
        const ALPHABET: &str = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let stored = bcrypt::hash("correct horse", 4).unwrap();
        let dummies = Dummies::new(4).unwrap();
        let mut tried = 0;
        for (position, spare) in [(28, 0b1111_u8), (59, 0b11)] {
            let value = ALPHABET.find(stored.as_bytes()[position] as char).unwrap();
            for bits in 1..=spare {
                let other = &ALPHABET[value | usize::from(bits)..][..1];
                let odd = format!("{}{other}{}", &stored[..position], &stored[position + 1..]);
                assert!(bcrypt::verify("correct horse", &odd).is_err(), "the library refuses it");
                assert_eq!(verify("correct horse", &odd, 4, &dummies), Ok(Verdict::Right), "{odd}");
                assert_eq!(verify("wrong horse", &odd, 4, &dummies), Ok(Verdict::Wrong), "{odd}");
                tried += 1;
            }
        }
        assert_eq!(tried, 18);
    }

    #[test]
    fn a_composed_letter_and_its_parts_are_one_password() {
        let (composed, parts) = ("p\u{e4}ssword", "pa\u{308}ssword");
        let dummies = Dummies::new(4).unwrap();
        let stored = hash(&normal(parts), 4).unwrap();
        assert_eq!(verify(composed, &stored, 4, &dummies), Ok(Verdict::Right));
        assert_eq!(verify(parts, &stored, 4, &dummies), Ok(Verdict::Right));
        // A hash that somebody else made of the parts stays good, and a better one is of the normal form.
        let theirs = bcrypt::hash(parts, 4).unwrap();
        let Ok(Verdict::RightButWeak(better)) = verify(parts, &theirs, 5, &dummies) else { panic!() };
        assert_eq!(verify(composed, &better, 5, &dummies), Ok(Verdict::Right));
        assert_eq!(verify(parts, &better, 5, &dummies), Ok(Verdict::Right));
        assert_eq!(verify("passwo\u{308}rd", &stored, 4, &dummies), Ok(Verdict::Wrong));
    }

    #[test]
    fn every_wrong_password_takes_the_rounds_of_the_most_costly_hash() {
        let dummies = Dummies::new(4).unwrap();
        let costly = bcrypt::hash("correct horse", 6).unwrap();
        assert_eq!(dummies.highest.load(Ordering::Relaxed), 4);
        assert_eq!(verify("wrong horse", &costly, 4, &dummies), Ok(Verdict::Wrong));
        assert_eq!(dummies.highest.load(Ordering::Relaxed), 6, "from then on");
        dummies.expect_cost(31);
        assert_eq!(dummies.highest.load(Ordering::Relaxed), 6, "but never one that is not compared");
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let (queue, _nobody_works) = crossbeam_channel::bounded(1);
        let pool = PasswordPool { queue, cost: 4, dummies: Arc::new(Dummies::new(4).unwrap()) };
        let first = pool.verify("a".into(), None);
        let second = pool.verify("b".into(), None);
        tokio::pin!(first);
        tokio::select! {
            biased;
            _ = &mut first => panic!("there is no thread to answer"),
            answer = second => assert_eq!(answer, Err(PoolError::Busy)),
        }
    }
}
