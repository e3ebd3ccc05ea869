//! A file as a person sees it, without the secrets in it.

use std::fs;
use std::ops::Range;
use std::path::Path;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::tree::{Kind, Node};

/// Fields of a secret that are no secret themselves.
const PUBLIC_FIELDS: [&str; 3] = ["env", "encoding", "optional"];

/// The length from which a word in a file that cannot be read may be a secret.
const MIN_SECRET_BYTES: usize = 16;

/// The longest file, in bytes.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// A file that was read.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
    /// The text with `*` in place of every secret, of the same length.
    shown: String,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    Error,
    Warning,
}

/// Something to tell a person about a place in a file.
#[derive(Debug)]
pub(crate) struct Diagnostic {
    pub(crate) severity: Severity,
    pub(crate) title: String,
    /// The place, and what is to be said of it.
    pub(crate) place: Option<(Range<usize>, String)>,
    /// A second place.
    pub(crate) context: Option<(Range<usize>, String)>,
    /// A place whose text is not shown: nobody knows what an unknown field holds.
    pub(crate) hidden: Option<Range<usize>>,
    pub(crate) help: Option<String>,
}

impl Source {
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        let read = || {
            if fs::metadata(path)?.len() > MAX_FILE_BYTES {
                return Err(std::io::Error::other(format!("it is longer than {MAX_FILE_BYTES} bytes")));
            }
            fs::read(path)
        };
        let bytes = read().map_err(|error| format!("cannot read {name}: {error}"))?;
        let text = String::from_utf8(bytes).map_err(|_| format!("{name} is not UTF-8"))?;
        let text = text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        Ok(Self { shown: keys_alone(&text), name, text })
    }

    /// Shows the file as it is, except for long words: a file of tests may hold tokens.
    pub(crate) fn hide_long_words(&mut self) {
        let mut shown = String::with_capacity(self.text.len());
        for word in self.text.split_inclusive(char::is_whitespace) {
            let bare = word.trim_end();
            if bare.len() >= MIN_SECRET_BYTES {
                shown.extend(std::iter::repeat_n('*', bare.len()));
                shown.push_str(word.get(bare.len()..).unwrap_or_default());
            } else {
                shown.push_str(word);
            }
        }
        self.shown = shown;
    }

    /// Shows the file as it is, except for the secrets of the configurations in it.
    pub(crate) fn hide_secrets<'tree>(&mut self, roots: impl IntoIterator<Item = &'tree Node>) {
        let mut shown = self.text.clone().into_bytes();
        for root in roots {
            root.visit(&mut |node| {
                for entry in node.entries().iter().filter(|entry| may_hold_a_secret(&entry.key)) {
                    hide(&entry.value, &mut shown);
                    // `{inline:text}`, without a space, is one key.
                    if entry.key.contains(':') {
                        stars(&mut shown, &entry.key_place);
                    }
                }
            });
        }
        self.shown = String::from_utf8(shown).unwrap_or_else(|_| keys_alone(&self.text));
    }

    /// Line and column, from 1.
    pub(crate) fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        (line, before.get(start..).unwrap_or_default().chars().count() + 1)
    }

    /// `diagnostic` with a picture of the place.
    pub(crate) fn picture(&self, diagnostic: &Diagnostic, colour: bool) -> String {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = annotate_snippets::normalize_untrusted_str(&diagnostic.title);
        let mut group = level.primary_title(title);
        let places =
            [(&diagnostic.place, AnnotationKind::Primary), (&diagnostic.context, AnnotationKind::Context)];
        let mut shown = self.shown.clone().into_bytes();
        diagnostic.hidden.iter().for_each(|place| stars(&mut shown, place));
        let shown = String::from_utf8(shown).unwrap_or_default();
        let mut snippet = Snippet::source(shown.as_str()).path(self.name.as_str());
        for (place, kind) in places {
            if let Some((place, label)) = place {
                let label = annotate_snippets::normalize_untrusted_str(label);
                let label = (!label.is_empty()).then_some(label);
                snippet = snippet.annotation(kind.span(place.clone()).label(label));
            }
        }
        let mut report = if diagnostic.place.is_some() {
            group.element(snippet)
        } else {
            group = group.id_url("");
            group.element(annotate_snippets::Origin::path(self.name.as_str()))
        };
        if let Some(help) = &diagnostic.help {
            report = report.element(Level::HELP.message(annotate_snippets::normalize_untrusted_str(help)));
        }
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        renderer.decor_style(DecorStyle::Ascii).render(&[report])
    }
}

/// Puts `*` in place of everything in `node` that may be a secret.
fn hide(node: &Node, shown: &mut [u8]) {
    match &node.kind {
        Kind::Scalar { .. } => stars(shown, &node.place),
        Kind::List(items) => items.iter().for_each(|item| hide(item, shown)),
        Kind::Mapping(entries) => {
            for entry in entries {
                if entry.key.len() >= MIN_SECRET_BYTES || entry.key.contains(':') {
                    stars(shown, &entry.key_place);
                }
                if !PUBLIC_FIELDS.contains(&entry.key.as_str()) {
                    hide(&entry.value, shown);
                }
            }
        }
    }
}

fn stars(shown: &mut [u8], place: &Range<usize>) {
    for byte in shown.get_mut(place.clone()).into_iter().flatten() {
        if *byte != b'\n' && *byte != b'\r' {
            *byte = b'*';
        }
    }
}

/// Whether what is called `key` may be a secret, also where it stands in a wrong place or its name has a mistake in it.
fn may_hold_a_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    key == "k" || ["secret", "inline", "jwk", "token"].iter().any(|part| key.contains(part))
}

/// `text` with nothing but the keys at the beginnings of its lines, for a file of which nobody knows where its secrets are.
fn keys_alone(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let is_key = |key: &str| {
            let key = key.trim_start_matches(|letter: char| letter == '-' || letter.is_whitespace());
            let mut letters = key.chars();
            key.len() < MIN_SECRET_BYTES && letters.all(|letter| letter.is_ascii_lowercase() || letter == '_')
        };
        let key = line.split_once(": ").map_or("", |(key, _)| if is_key(key) { key } else { "" });
        shown.push_str(key);
        for letter in line.get(key.len()..).unwrap_or_default().chars() {
            if letter.is_alphanumeric() || !letter.is_ascii() {
                shown.extend(std::iter::repeat_n('*', letter.len_utf8()));
            } else {
                shown.push(letter);
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_file_that_cannot_be_read_the_keys_alone_are_shown() {
        let text = "providers:\n  - inline: 'hüsh'\n    hush-hush\n{inline: hush}\n";
        let shown = keys_alone(text);
        assert_eq!(shown, "*********:\n  - inline: '*****'\n    ****-****\n{******: ****}\n");
        assert_eq!(shown.len(), text.len());
    }
}
