//! The registered claims (RFC 7519 §4.1), and what is expected of them.

use serde_json::Value;

use crate::claims::INTERNAL_AUDIENCE;
use crate::payload::{Claim, Payload};
use crate::refusal::Refusal;
use crate::verify::Expectations;
use crate::window::{NumericDate, TimeWindow};

/// The registered claims of a token, those that it has.
#[derive(Default)]
pub(crate) struct Registered<'claims> {
    iss: Option<Claim<'claims>>,
    sub: Option<Claim<'claims>>,
    jti: Option<Claim<'claims>>,
    aud: Option<Claim<'claims>>,
    exp: Option<Claim<'claims>>,
    nbf: Option<Claim<'claims>>,
    iat: Option<Claim<'claims>>,
}

impl<'claims> Registered<'claims> {
    /// All of them in one pass: there are more of them to ask for than most tokens have claims.
    pub(crate) fn of(payload: &'claims Payload) -> Self {
        let mut registered = Self::default();
        payload.for_each(|name, claim| {
            let place = match name.as_bytes() {
                b"iss" => &mut registered.iss,
                b"sub" => &mut registered.sub,
                b"jti" => &mut registered.jti,
                b"aud" => &mut registered.aud,
                b"exp" => &mut registered.exp,
                b"nbf" => &mut registered.nbf,
                b"iat" => &mut registered.iat,
                _ => return,
            };
            *place = Some(claim);
        });
        registered
    }

    /// `iss`, `sub` and `jti` are strings (RFC 7519 §4.1.1, §4.1.2, §4.1.7): were others let through, `7` and
    /// `"7"` would be two subjects with one name.
    pub(crate) fn check_types(&self) -> Result<(), Refusal> {
        let is_text = |claim: Claim<'_>| claim.as_str().is_some();
        let are_texts = [self.iss, self.sub, self.jti].into_iter().flatten().all(is_text);
        if are_texts { Ok(()) } else { Err(Refusal::Malformed) }
    }

    pub(crate) fn check_time(
        &self,
        expectations: &Expectations,
        now: NumericDate,
    ) -> Result<TimeWindow, Refusal> {
        let skew = NumericDate::from(expectations.clock_skew_seconds);
        let expires = numeric_date(self.exp)?;
        let not_before = numeric_date(self.nbf)?;
        let issued_at = numeric_date(self.iat)?;
        if expires.is_none() && (expectations.require_expiration || expectations.max_lifetime_seconds > 0) {
            return Err(Refusal::Lifetime);
        }
        let earliest =
            not_before.into_iter().chain(issued_at).fold(NumericDate::NEG_INFINITY, NumericDate::max);
        let window = TimeWindow {
            not_before: earliest - skew,
            expires: expires.unwrap_or(NumericDate::INFINITY) + skew,
        };
        window.check(now)?;
        if expectations.max_lifetime_seconds > 0 {
            // Without it, a token of any lifetime would pass in its last seconds.
            let Some(issued_at) = issued_at else { return Err(Refusal::Lifetime) };
            #[expect(clippy::cast_precision_loss, reason = "2^53 seconds are 285 million years")]
            let longest = expectations.max_lifetime_seconds as NumericDate;
            // A clock ahead of ours must not make a life look shorter than what is left of it.
            let start = issued_at.min(now);
            if expires.unwrap_or(NumericDate::INFINITY) - start > longest {
                return Err(Refusal::Lifetime);
            }
        }
        Ok(window)
    }

    pub(crate) fn check_issuer(&self, expectations: &Expectations) -> Result<(), Refusal> {
        match &expectations.issuer {
            Some(expected) if self.iss.and_then(Claim::as_str) != Some(expected) => Err(Refusal::Issuer),
            _ => Ok(()),
        }
    }

    pub(crate) fn check_audience(&self, expectations: &Expectations) -> Result<(), Refusal> {
        let audiences: Vec<&str> = match self.aud {
            None => Vec::new(),
            Some(Claim::Text(audience)) => vec![audience],
            Some(Claim::Other(Value::Array(several))) => {
                several.iter().map(Value::as_str).collect::<Option<_>>().ok_or(Refusal::Malformed)?
            }
            Some(_) => return Err(Refusal::Malformed),
        };
        let expected = &expectations.audiences;
        let internal = |audience: &&str| *audience == INTERNAL_AUDIENCE;
        if audiences.iter().any(internal) && !expected.iter().any(|audience| audience == INTERNAL_AUDIENCE) {
            return Err(Refusal::Audience);
        }
        if !expected.is_empty() && !expected.iter().any(|audience| audiences.contains(&audience.as_str())) {
            return Err(Refusal::Audience);
        }
        Ok(())
    }
}

/// A claim that is a NumericDate, where it is there at all.
fn numeric_date(claim: Option<Claim<'_>>) -> Result<Option<NumericDate>, Refusal> {
    match claim {
        None => Ok(None),
        Some(value) => value.as_f64().filter(|date| date.is_finite()).map(Some).ok_or(Refusal::Malformed),
    }
}
