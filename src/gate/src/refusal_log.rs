//! Log lines that help an operator find out why good-looking tokens are refused.
//!
//! An issuer, an audience or a secret that differs between gate and issuer refuses everybody, and the reply must not say more
//! than a code. So the log says what the token has and what the configuration expects: one line for each kind of refusal and
//! worker in [`INTERVAL_SECONDS`], because every client can cause them.

use jwt_gate_token::{NumericDate, Refusal, UnverifiedOrigin};

use crate::printable::is_unprintable;
use crate::provider::Provider;

/// The time between two lines about the same kind of refusal.
const INTERVAL_SECONDS: f64 = 10.0;

/// The longest part of a token that a line shows, in characters. It is shorter than a signature.
const MAX_SHOWN_CHARS: usize = 40;

/// The times of the last lines.
#[derive(Debug, Default)]
pub(crate) struct RefusalLog(Vec<(Refusal, NumericDate)>);

/// A token that was refused, and that a line may be about.
#[derive(Debug)]
pub(crate) struct RefusedToken {
    pub(crate) refusal: Refusal,
    /// The index of the provider.
    pub(crate) provider: usize,
    pub(crate) token: Vec<u8>,
    pub(crate) now: NumericDate,
}

/// Whether a line can help: a difference between two configurations is the likely cause.
pub(crate) fn is_explained(refusal: Refusal) -> bool {
    matches!(refusal, Refusal::Issuer | Refusal::Audience | Refusal::UnknownKey | Refusal::BadSignature)
}

impl RefusalLog {
    /// A line about `refused`, a token of `provider`; `None` if there was one of this kind a short time ago.
    pub(crate) fn line(&mut self, refused: &RefusedToken, provider: &Provider) -> Option<String> {
        let RefusedToken { refusal, token, now, .. } = refused;
        match self.0.iter_mut().find(|(known, _)| known == refusal) {
            // A clock that was set back does not silence the log.
            Some((_, last)) if (*last..*last + INTERVAL_SECONDS).contains(now) => return None,
            Some((_, last)) => *last = *now,
            None => self.0.push((*refusal, *now)),
        }
        let UnverifiedOrigin { kid, issuer, audiences } = UnverifiedOrigin::of(token);
        let expected = provider.validation();
        let kids: Vec<&str> = provider.keyring().kids().collect();
        let kids = kids.join(", ");
        let cause = match refusal {
            Refusal::Issuer => format!(
                "its iss is {}, and `issuer` is {}",
                shown(issuer.as_deref()),
                shown(expected.issuer.as_deref())
            ),
            Refusal::Audience if expected.audiences.is_empty() => {
                format!("its aud is {}, which is for the gate itself", all_shown(&audiences))
            }
            Refusal::Audience => {
                format!(
                    "its aud is {}, and `audiences` is {}",
                    all_shown(&audiences),
                    all_shown(&expected.audiences)
                )
            }
            Refusal::UnknownKey => format!(
                "its kid is {}, and the secrets have kid {kids}: its issuer has another secret",
                shown(kid.as_deref())
            ),
            _ => format!("its signature is not made with any of the secrets (kid {kids})"),
        };
        Some(format!(
            "provider {} refused a token ({}): {cause}; the next line like this comes after {INTERVAL_SECONDS} s or more",
            provider.name(),
            refusal.code()
        ))
    }
}

fn all_shown(texts: &[String]) -> String {
    match texts {
        [] => shown(None),
        [first] => shown(Some(first)),
        [first, ..] => format!("{} and {} more", shown(Some(first)), texts.len().saturating_sub(1)),
    }
}

/// A text from a token or a configuration, so that it is one word of one line.
fn shown(text: Option<&str>) -> String {
    let Some(text) = text else { return "absent".to_owned() };
    let mut shown: String = text
        .chars()
        .take(MAX_SHOWN_CHARS)
        .map(|letter| if is_unprintable(letter) || letter == '"' { '\u{fffd}' } else { letter })
        .collect();
    if text.chars().nth(MAX_SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_a_token_stays_one_word_of_one_line() {
        assert_eq!(shown(None), "absent");
        assert_eq!(shown(Some("a\n\"b\u{202e}")), "\"a\u{fffd}\u{fffd}b\u{fffd}\"");
        assert_eq!(shown(Some(&"x".repeat(41))), format!("\"{}…\"", "x".repeat(40)));
        assert_eq!(all_shown(&["a".to_owned(), "b".to_owned()]), "\"a\" and 1 more");
    }
}
