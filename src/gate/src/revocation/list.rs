//! What is revoked.

use std::rc::Rc;

use jwt_gate_token::{NumericDate, VerifiedClaims};
use serde::Deserialize;

use super::table::Table;

/// The most revocations that are kept: 64 MiB of them.
const MAX_ENTRIES: usize = 4 * 1024 * 1024;

/// That of a token by which it can be revoked.
#[derive(Debug)]
pub(crate) struct Revocable {
    id: Option<Box<str>>,
    subject: Option<Rc<str>>,
    issued_at: Option<NumericDate>,
}

/// A page of the companion's feed (docs/companion.md). Members that are not named here are for others.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    /// Where the next page starts.
    pub(super) cursor: String,
    /// Whether there is a next page now.
    #[serde(default)]
    pub(super) more: bool,
    /// A token's `jti`, and when it would have expired.
    #[serde(default)]
    jti: Vec<(String, NumericDate)>,
    /// A subject, the time before which every token of it was revoked, and when the last of them would have
    /// expired.
    #[serde(default)]
    sub: Vec<(String, NumericDate, NumericDate)>,
}

/// The revocations that have not expired.
#[derive(Debug)]
pub(super) struct List {
    tokens: Table<()>,
    subjects: Table<NumericDate>,
    max_entries: usize,
    /// How long after its `exp` a token still passes, in seconds.
    clock_skew_seconds: NumericDate,
}

impl List {
    pub(super) fn new(clock_skew_seconds: u32) -> Self {
        let clock_skew_seconds = clock_skew_seconds.into();
        Self { tokens: Table::new(), subjects: Table::new(), max_entries: MAX_ENTRIES, clock_skew_seconds }
    }

    /// Keeps what is added from now on for this long after its token's `exp`; whether that is longer than before.
    pub(super) fn keep_for(&mut self, clock_skew_seconds: NumericDate) -> bool {
        let longer = clock_skew_seconds > self.clock_skew_seconds;
        if longer {
            self.clock_skew_seconds = clock_skew_seconds;
        }
        longer
    }

    pub(super) fn clock_skew_seconds(&self) -> NumericDate {
        self.clock_skew_seconds
    }

    pub(super) fn len(&self) -> usize {
        self.tokens.len().saturating_add(self.subjects.len())
    }

    /// Adds a page. `false` where there is no room for all of it.
    pub(super) fn add(&mut self, page: &Page, now: NumericDate) -> bool {
        // Rounded down, so that nothing goes before its token does.
        let now = seconds(now.floor());
        let new = page.jti.len().saturating_add(page.sub.len());
        if self.len().saturating_add(new) > self.max_entries {
            self.tokens.prune(now);
            self.subjects.prune(now);
            if self.len().saturating_add(new) > self.max_entries {
                return false;
            }
        }
        for (jti, expires) in &page.jti {
            self.tokens.insert(jti, (), seconds(*expires + self.clock_skew_seconds), now);
        }
        for (subject, issued_before, expires) in &page.sub {
            self.subjects.insert(subject, *issued_before, seconds(*expires + self.clock_skew_seconds), now);
        }
        self.tokens.prune_next(now);
        self.subjects.prune_next(now);
        true
    }

    /// Whether the token was revoked. A token of a revoked subject that does not say when it was issued is.
    pub(super) fn holds(&self, token: &Revocable) -> bool {
        if token.id.as_deref().is_some_and(|jti| self.tokens.get(jti).is_some()) {
            return true;
        }
        let issued_before = token.subject.as_deref().and_then(|subject| self.subjects.get(subject));
        issued_before.is_some_and(|issued_before| token.issued_at.is_none_or(|iat| iat < issued_before))
    }
}

impl Revocable {
    /// Of a token that can be revoked; of another nothing but for whom it is.
    pub(crate) fn of(claims: &VerifiedClaims, revocable: bool) -> Self {
        let subject = claims.subject().map(Rc::from);
        if !revocable {
            return Self { id: None, subject, issued_at: None };
        }
        Self { id: claims.id().map(Box::from), subject, issued_at: claims.issued_at() }
    }

    /// `sub`, where there is one.
    pub(crate) fn subject(&self) -> Option<Rc<str>> {
        self.subject.clone()
    }
}

/// A time in whole seconds, rounded up, so that an entry outlives its token.
fn seconds(date: NumericDate) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
    let seconds = date.ceil() as u32;
    seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_lasts_as_long_as_its_token() {
        let mut list = List::new(0);
        let page = |names: &[&str]| Page {
            cursor: String::new(),
            more: false,
            jti: names.iter().map(|name| ((*name).to_owned(), 100.5)).collect(),
            sub: Vec::new(),
        };
        list.add(&page(&["a"]), 90.0);
        for _ in 0..2048 {
            list.add(&page(&[]), 100.4);
        }
        assert!(list.tokens.get("a").is_some());
    }

    #[test]
    fn what_does_not_fit_is_not_taken_in_part() {
        let mut list = List { max_entries: 3, ..List::new(0) };
        let page = |names: &[&str], expires: f64| Page {
            cursor: String::new(),
            more: false,
            jti: names.iter().map(|name| ((*name).to_owned(), expires)).collect(),
            sub: Vec::new(),
        };
        assert!(list.add(&page(&["a", "b"], 10.0), 0.0));
        assert!(!list.add(&page(&["c", "d"], 20.0), 0.0));
        assert_eq!(list.len(), 2);
        assert!(list.add(&page(&["c", "d"], 20.0), 10.0), "what has expired makes room");
    }
}
