//! The time, asked in one place.

use std::time::{SystemTime, UNIX_EPOCH};

use jwt_gate_token::NumericDate;

/// The wall clock of one companion. Tests of several companions let it be wrong.
#[derive(Debug, Clone, Copy, Default)]
pub struct Clock {
    ahead_ms: i64,
}

impl Clock {
    /// A clock that is `ms` ahead of this machine's, or behind where it is negative.
    pub fn ahead_by(ms: i64) -> Self {
        Self { ahead_ms: ms }
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub fn now_ms(self) -> i64 {
        now_ms().saturating_add(self.ahead_ms)
    }

    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub fn now_seconds(self) -> i64 {
        self.now_ms() / 1000
    }

    /// Now, as tokens are checked against it.
    pub fn now_numeric_date(self) -> NumericDate {
        numeric_date(self.now_ms())
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z.
pub fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or_default()
}

/// Whole seconds since 1970-01-01T00:00:00Z.
pub fn now_seconds() -> i64 {
    now_ms() / 1000
}

/// Now, as tokens are checked against it.
pub fn now_numeric_date() -> NumericDate {
    numeric_date(now_ms())
}

fn numeric_date(ms: i64) -> NumericDate {
    #[expect(clippy::cast_precision_loss, reason = "2^53 milliseconds are 285 thousand years")]
    let milliseconds = ms as NumericDate;
    milliseconds / 1000.0
}

/// `2026-01-02T03:04:05.678Z` (RFC 3339), as Better Auth writes dates; years 1970 to 9999.
pub fn rfc3339(ms: i64) -> String {
    let ms = ms.clamp(0, 253_402_300_799_999);
    let (days, of_day) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", of_day % 1000)
}

/// The proleptic Gregorian date of a day counted from 1970-01-01, for days from then on
/// (Howard Hinnant's `civil_from_days`).
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_rfc3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(rfc3339(4_107_542_399_999), "2100-02-28T23:59:59.999Z");
        assert_eq!(rfc3339(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }
}
