//! What a command writes.

use std::io::{self, IsTerminal, Write};

use crate::source::{Diagnostic, Source};

/// Results go to standard output, what is wrong to standard error.
#[derive(Debug)]
pub(crate) struct Output {
    has_colour: bool,
}

impl Output {
    /// For this process's streams. `NO_COLOR` is respected (<https://no-color.org>).
    pub(crate) fn new() -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { has_colour: io::stderr().is_terminal() && !no_colour }
    }

    /// A line of the result.
    pub(crate) fn line(&mut self, line: &str) {
        // Whoever closed the pipe does not want it.
        let _ = writeln!(io::stdout().lock(), "{line}");
    }

    /// Why there is no result.
    pub(crate) fn error(&mut self, error: &str) {
        let start = if error.starts_with("error") || error.starts_with('\u{1b}') { "" } else { "error: " };
        let _ = writeln!(io::stderr().lock(), "{start}{error}");
    }

    /// Something about a place in a file.
    pub(crate) fn diagnostic(&mut self, source: &Source, diagnostic: &Diagnostic) {
        let picture = source.picture(diagnostic, self.has_colour);
        let _ = writeln!(io::stderr().lock(), "{picture}\n");
    }
}
