//! When a token may be used.

use crate::refusal::Refusal;

/// Seconds since 1970-01-01T00:00:00Z, fractions allowed (RFC 7519 §2, NumericDate).
pub type NumericDate = f64;

/// When a token may be used; the clock skew is already counted in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeWindow {
    pub(crate) not_before: NumericDate,
    pub(crate) expires: NumericDate,
}

// === impl TimeWindow ===

impl TimeWindow {
    /// When it ends; infinity where it does not.
    #[must_use]
    pub fn expires(self) -> NumericDate {
        self.expires
    }

    /// Whether `now` is inside.
    ///
    /// # Errors
    /// [`Refusal::Expired`] or [`Refusal::NotYetValid`].
    pub fn check(self, now: NumericDate) -> Result<(), Refusal> {
        if now >= self.expires {
            Err(Refusal::Expired)
        } else if now < self.not_before {
            Err(Refusal::NotYetValid)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_closed_below_and_open_above() {
        let window = TimeWindow { not_before: 10.0, expires: 20.5 };
        assert_eq!(window.check(9.9), Err(Refusal::NotYetValid));
        assert_eq!(window.check(10.0), Ok(()));
        assert_eq!(window.check(20.4), Ok(()));
        assert_eq!(window.check(20.5), Err(Refusal::Expired));
    }
}
