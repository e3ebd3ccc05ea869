//! The set of revoked tokens and subjects.

use std::sync::Arc;

use jwt_gate_token::{NumericDate, VerifiedClaims};
use serde::Deserialize;

use super::expiring_map::{ExpiringMap, Poisoned};

/// The most revocations that are kept: 64 MiB of them.
const MAX_ENTRIES: usize = 4 * 1024 * 1024;

/// The claims that a revocation can name.
#[derive(Debug, Default)]
pub(crate) struct RevocationClaims {
    id: Option<Box<str>>,
    subject: Option<Arc<str>>,
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
pub(super) struct RevocationSet {
    tokens: ExpiringMap<()>,
    subjects: ExpiringMap<NumericDate>,
    max_entries: usize,
}

/// There is no room for all entries of a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Default for RevocationSet {
    fn default() -> Self {
        Self { tokens: ExpiringMap::new(), subjects: ExpiringMap::new(), max_entries: MAX_ENTRIES }
    }
}

impl RevocationSet {
    pub(super) fn len(&self) -> usize {
        self.tokens.len().saturating_add(self.subjects.len())
    }

    /// Adds a page, each entry until `clock_skew_seconds` after its token's `exp`.
    pub(super) fn add(
        &self,
        page: &Page,
        clock_skew_seconds: NumericDate,
        now: NumericDate,
    ) -> Result<(), Full> {
        // Rounded down, so that no entry goes before its token does.
        let now = seconds(now.floor());
        let new = page.jti.len().saturating_add(page.sub.len());
        if self.len().saturating_add(new) > self.max_entries {
            self.tokens.prune(now);
            self.subjects.prune(now);
            if self.len().saturating_add(new) > self.max_entries {
                return Err(Full);
            }
        }
        for (jti, expires) in &page.jti {
            self.tokens.insert(jti, (), seconds(*expires + clock_skew_seconds), now);
        }
        for (subject, issued_before, expires) in &page.sub {
            self.subjects.insert(subject, *issued_before, seconds(*expires + clock_skew_seconds), now);
        }
        self.tokens.prune_next(now);
        self.subjects.prune_next(now);
        Ok(())
    }

    /// Whether a revocation names the token. A token of a revoked subject that does not say when it was issued is revoked.
    pub(super) fn contains(&self, token: &RevocationClaims) -> Result<bool, Poisoned> {
        if let Some(jti) = &token.id
            && self.tokens.get(jti)?.is_some()
        {
            return Ok(true);
        }
        let Some(subject) = &token.subject else { return Ok(false) };
        let issued_before = self.subjects.get(subject)?;
        Ok(issued_before.is_some_and(|issued_before| token.issued_at.is_none_or(|iat| iat < issued_before)))
    }
}

impl RevocationClaims {
    /// The claims of a token whose subject is `subject`.
    pub(crate) fn new(claims: &VerifiedClaims, subject: Option<Arc<str>>) -> Self {
        Self { id: claims.id().map(Box::from), subject, issued_at: claims.issued_at() }
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
        let list = RevocationSet::default();
        let page = |names: &[&str]| Page {
            cursor: String::new(),
            more: false,
            jti: names.iter().map(|name| ((*name).to_owned(), 100.5)).collect(),
            sub: Vec::new(),
        };
        list.add(&page(&["a"]), 0.0, 90.0).unwrap();
        for _ in 0..2048 {
            list.add(&page(&[]), 0.0, 100.4).unwrap();
        }
        assert_eq!(list.tokens.get("a"), Ok(Some(())));
    }

    #[test]
    fn what_does_not_fit_is_not_taken_in_part() {
        let list = RevocationSet { max_entries: 3, ..RevocationSet::default() };
        let page = |names: &[&str], expires: f64| Page {
            cursor: String::new(),
            more: false,
            jti: names.iter().map(|name| ((*name).to_owned(), expires)).collect(),
            sub: Vec::new(),
        };
        assert_eq!(list.add(&page(&["a", "b"], 10.0), 0.0, 0.0), Ok(()));
        assert_eq!(list.add(&page(&["c", "d"], 20.0), 0.0, 0.0), Err(Full));
        assert_eq!(list.len(), 2);
        assert_eq!(list.add(&page(&["c", "d"], 20.0), 0.0, 10.0), Ok(()), "expired entries make room");
    }
}
