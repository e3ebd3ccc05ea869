//! The time at which a decision is made.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The time of this machine, in seconds since 1970.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64().floor()
}

/// Reads `2026-01-01T00:00:00Z` (RFC 3339), or seconds since 1970.
pub(crate) fn parse(text: &str) -> Result<f64, String> {
    if let Some(seconds) = text.parse::<u32>().ok().map(f64::from) {
        return Ok(seconds);
    }
    let time = OffsetDateTime::parse(text, &Rfc3339).ok();
    let seconds = time.and_then(|time| u32::try_from(time.unix_timestamp()).ok());
    seconds.map(f64::from).ok_or_else(|| {
        format!("`{text}` is no time: write it as in 2026-01-01T00:00:00Z, or as seconds since 1970")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_or_a_number_of_seconds() {
        for text in ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "1767225600"] {
            assert_eq!(parse(text), Ok(1_767_225_600.0), "{text}");
        }
        for text in ["", "tomorrow", "2026-01-01", "-5", "1e9", "9999-01-01T00:00:00Z"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
