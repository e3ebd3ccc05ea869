//! Passwords: which ones are taken, and bcrypt on threads of its own.

use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use tokio::sync::oneshot;

/// The shortest password, in characters.
pub const MIN_PASSWORD_CHARACTERS: usize = 8;
/// The longest password, in bytes: bcrypt looks at no more.
pub const MAX_PASSWORD_BYTES: usize = 72;

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

/// Whether `password` may be chosen.
///
/// # Errors
/// [`Unacceptable`].
pub fn check_acceptable(password: &str) -> Result<(), Unacceptable> {
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

/// A fixed number of threads that do nothing but bcrypt, behind a queue of fixed length. What does not fit
/// is refused at once, so that a flood of sign-ins delays neither each other nor anything else for long.
pub struct PasswordPool {
    queue: Sender<Job>,
    cost: u32,
    dummies: Arc<Dummies>,
}

type Job = Box<dyn FnOnce() + Send>;

/// A hash of nothing anybody knows for each cost up to ours, to spend time on.
struct Dummies(Vec<(u32, String)>);

impl PasswordPool {
    /// Starts `threads` threads behind a queue of `queue_length`; hashes are made with `cost` (4 to 31).
    ///
    /// # Errors
    /// Where a thread cannot be started or `cost` is out of range.
    pub fn start(threads: usize, queue_length: usize, cost: u32) -> std::io::Result<Self> {
        let (queue, jobs) = crossbeam_channel::bounded::<Job>(queue_length);
        let dummies = Arc::new(Dummies::up_to(cost)?);
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

    /// A hash of `password`.
    ///
    /// # Errors
    /// [`PoolError`].
    pub async fn hash(&self, password: String) -> Result<String, PoolError> {
        let cost = self.cost;
        self.run(move || hash(&password, cost)).await?
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
                dummies.spend(&password, cost);
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
            // Whoever has hung up is not worked for.
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
    fn up_to(cost: u32) -> std::io::Result<Self> {
        if !(4..=31).contains(&cost) {
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "the bcrypt cost is 4 to 31"));
        }
        // bcrypt takes the same time whatever the salt and the checksum, so these need not be computed:
        // "." is a zero in its base64.
        Ok(Self((4..=cost).map(|cost| (cost, format!("$2b${cost:02}${}", ".".repeat(53)))).collect()))
    }

    /// Takes the time that one verification at `cost` takes.
    fn spend(&self, password: &str, cost: u32) {
        if let Some((_, dummy)) = self.0.iter().find(|(of, _)| *of == cost) {
            std::hint::black_box(bcrypt::verify(cut(password), dummy).ok());
        }
    }
}

fn hash(password: &str, cost: u32) -> Result<String, PoolError> {
    // `non_truncating_hash` refuses 72 bytes, which bcrypt takes whole.
    if !is_comparable(password) {
        return Err(PoolError::Failed);
    }
    bcrypt::hash(password, cost).map_err(|_| PoolError::Failed)
}

fn verify(password: &str, stored: &str, cost: u32, dummies: &Dummies) -> Result<Verdict, PoolError> {
    let stored_cost = stored_cost(stored).ok_or(PoolError::Failed)?;
    let matches = bcrypt::verify(cut(password), stored).map_err(|_| PoolError::Failed)?;
    if matches && is_comparable(password) {
        let weak = stored_cost < cost;
        return if weak { hash(password, cost).map(Verdict::RightButWeak) } else { Ok(Verdict::Right) };
    }
    // 2^c + (2^c + 2^(c+1) + … + 2^(cost-1)) = 2^cost rounds: a wrong password takes as long for an account
    // with an older, cheaper hash as for one without, or for no account at all.
    for cheaper in stored_cost..cost {
        dummies.spend(password, cheaper);
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

/// The cost of a bcrypt hash as we, passlib or anyone else writes it (`$2a$`, `$2b$`, `$2y$`), or `None`
/// where the text is no such hash.
pub fn stored_cost(stored: &str) -> Option<u32> {
    let rest = ["$2a$", "$2b$", "$2y$"].iter().find_map(|prefix| stored.strip_prefix(prefix))?;
    let (cost, digest) = rest.split_once('$')?;
    let well_formed = digest.len() == 53
        && digest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/')
        && cost.len() == 2;
    cost.parse().ok().filter(|cost| well_formed && (4..=31).contains(cost))
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
        let dummies = Dummies::up_to(4).unwrap();
        for prefix in ["$2a$", "$2b$", "$2y$"] {
            let stored = format!("{prefix}{}", &ours[4..]);
            assert_eq!(verify("correct horse", &stored, 4, &dummies), Ok(Verdict::Right), "{prefix}");
            assert_eq!(verify("battery staple", &stored, 4, &dummies), Ok(Verdict::Wrong), "{prefix}");
        }
    }

    #[test]
    fn a_weaker_hash_is_replaced_when_the_password_is_right() {
        let stored = bcrypt::hash("correct horse", 4).unwrap();
        let dummies = Dummies::up_to(5).unwrap();
        let Ok(Verdict::RightButWeak(better)) = verify("correct horse", &stored, 5, &dummies) else {
            panic!()
        };
        assert_eq!(stored_cost(&better), Some(5));
        assert_eq!(verify("correct horse", &better, 5, &dummies), Ok(Verdict::Right));
        assert_eq!(verify("correct horse", &better, 4, &dummies), Ok(Verdict::Right));
    }

    #[test]
    fn a_password_is_never_compared_by_its_first_72_bytes_only() {
        let password = "x".repeat(72);
        let stored = bcrypt::hash(&password, 4).unwrap();
        let dummies = Dummies::up_to(4).unwrap();
        assert_eq!(verify(&password, &stored, 4, &dummies), Ok(Verdict::Right));
        assert_eq!(verify(&(password + "y"), &stored, 4, &dummies), Ok(Verdict::Wrong));
    }

    #[test]
    fn the_dummies_are_hashes_that_bcrypt_works_on() {
        for (cost, dummy) in Dummies::up_to(6).unwrap().0 {
            assert_eq!(stored_cost(&dummy), Some(cost));
            assert_eq!(bcrypt::verify("anything", &dummy).ok(), Some(false));
        }
    }

    #[test]
    fn what_is_no_bcrypt_hash_has_no_cost() {
        let good = bcrypt::hash("x", 4).unwrap();
        assert_eq!(stored_cost(&good), Some(4));
        for bad in
            ["", "$2b$", "$1$abc", &good[..59], &good.replace("$04$", "$03$"), &good.replace("$04$", "$4$")]
        {
            assert_eq!(stored_cost(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let (queue, _nobody_works) = crossbeam_channel::bounded(1);
        let pool = PasswordPool { queue, cost: 4, dummies: Arc::new(Dummies::up_to(4).unwrap()) };
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
