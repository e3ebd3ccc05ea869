//! Characters that change how a line is read.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether `letter` is a control character (C0, DEL, C1), ends a line, or changes the direction of the text around it
/// (Unicode Standard Annex 9, and the "Trojan Source" characters of CVE-2021-42574).
pub(crate) fn is_unprintable(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` for a log or filter state: unprintable characters become U+FFFD.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unprintable) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|letter| if is_unprintable(letter) { '\u{fffd}' } else { letter }).collect()
}

/// JSON `text` with its meaning unchanged and without unprintable characters: within a string they are written as escapes
/// (RFC 8259 §7); outside of strings JSON allows tabs and line ends, which become spaces.
pub(crate) fn printable_json(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unprintable) {
        return Cow::Borrowed(text);
    }
    let mut printable = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '\t' | '\n' | '\r') {
            printable.push(' ');
        } else if is_unprintable(letter) {
            // All of them are in the Basic Multilingual Plane: one escape is enough.
            let _ = write!(printable, "\\u{:04x}", u32::from(letter));
        } else {
            printable.push(letter);
        }
    }
    Cow::Owned(printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cannot_be_ended_or_turned_around() {
        assert_eq!(printable("Zoë 张"), "Zoë 张");
        assert_eq!(printable("a\n[x] \u{85}\u{202e}b"), "a\u{fffd}[x] \u{fffd}\u{fffd}b");
    }

    #[test]
    fn json_keeps_its_meaning() {
        let json = "{\n\t\"a\": \"x\u{7f}\u{202e}\u{2028}\"\r}";
        let printable = printable_json(json);
        assert!(!printable.contains(is_unprintable));
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(parse(&printable), parse(json));
    }
}
