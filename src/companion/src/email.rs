//! E-mail addresses, in the one form under which an account is found.

use unicode_normalization::UnicodeNormalization;

/// RFC 5321 §4.5.3.1.3: a path is at most 256 octets, two of them the angle brackets.
pub const MAX_EMAIL_BYTES: usize = 254;
/// RFC 5321 §4.5.3.1.1.
const MAX_LOCAL_PART_BYTES: usize = 64;

/// An e-mail address in its normal form: NFKC with default case folding (Unicode's `NFKC_Casefold`) for the
/// local part, the ASCII form of the domain (UTS 46). Two spellings of one address are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email(String);

/// The text is not an e-mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnEmail;

impl Email {
    /// Reads an address as a person types it; white space around it is dropped.
    ///
    /// # Errors
    /// [`NotAnEmail`]. The check is the one of `<input type=email>`, opened to letters beyond ASCII: quoted
    /// local parts and address literals are refused.
    pub fn parse(text: &str) -> Result<Self, NotAnEmail> {
        let text = text.trim();
        // Normalisation can make a text longer, so a far too long one is not normalised at all.
        if text.len() > 2 * MAX_EMAIL_BYTES {
            return Err(NotAnEmail);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(NotAnEmail)?;
        let local = nfkc_casefold(local);
        let domain = idna::domain_to_ascii_strict(domain).map_err(|_| NotAnEmail)?;
        let acceptable = !local.is_empty()
            && local.len() <= MAX_LOCAL_PART_BYTES
            && local.chars().all(is_local_part_character)
            && !domain.is_empty()
            && !domain.ends_with('.');
        let email = format!("{local}@{domain}");
        if acceptable && email.len() <= MAX_EMAIL_BYTES { Ok(Self(email)) } else { Err(NotAnEmail) }
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Unicode §3.13, D146 without the removal of default ignorables: those are refused.
fn nfkc_casefold(text: &str) -> String {
    // Folding can leave a text that is not NFKC, and composing one that is not folded: twice is a fixed point.
    let fold = |text: &str| caseless::default_case_fold_str(&text.nfkc().collect::<String>());
    fold(&fold(text)).nfkc().collect()
}

fn is_local_part_character(character: char) -> bool {
    if character.is_ascii() {
        character.is_ascii_alphanumeric() || "!#$%&'*+/=?^_`{|}~.-".contains(character)
    } else {
        // Letters, digits and their combining marks: no spaces, controls, ignorables or private use.
        character.is_alphanumeric() || unicode_normalization::char::is_combining_mark(character)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn email(text: &str) -> Option<String> {
        Email::parse(text).ok().map(|email| email.0)
    }

    #[test]
    fn spellings_of_one_address_are_one_address() {
        for spelling in [
            "ada@example.com",
            "ADA@Example.COM",
            "  ada@example.com\n",
            "ａｄａ@example.com",
            "ada@ｅｘａｍｐｌｅ.com",
            "ada@example。com",
        ] {
            assert_eq!(email(spelling).as_deref(), Some("ada@example.com"), "{spelling:?}");
        }
        assert_eq!(email("JOSÉ@example.com"), email("jose\u{301}@example.com"));
        assert_eq!(email("straße@example.com"), email("STRASSE@example.com"));
        assert_eq!(email("\u{212a}@example.com"), email("k@example.com"));
        assert_eq!(email("a@bücher.example"), email("a@XN--BCHER-KVA.example"));
    }

    #[test]
    fn normalising_the_normal_form_changes_nothing() {
        for text in
            ["ǰ@example.com", "ΐ@example.com", "İ@example.com", "ﬁ@example.com", "ᾼ@example.com", "ŉ@x.org"]
        {
            let once = email(text);
            assert_eq!(once.as_deref().and_then(email), once, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long_domain = format!("a@{}com", "example.".repeat(40));
        for text in [
            "",
            "@",
            "a@",
            "@b",
            "a",
            "a b@example.com",
            "a@exa mple.com",
            "a@b@c",
            "\"a\"@example.com",
            "a@[127.0.0.1]",
            "a\u{0}@example.com",
            "a\r\nbcc:x@example.com",
            "a\u{200b}@example.com",
            "a@example.com.",
            "a@-example.com",
            "a@exam_ple.com",
            "<a@example.com>",
            "a@example..com",
            &long_local,
            &long_domain,
        ] {
            assert_eq!(email(text), None, "{text:?}");
        }
    }
}
