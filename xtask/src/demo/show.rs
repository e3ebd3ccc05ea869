//! The walk on the terminal.

use std::io::{IsTerminal, Result, Stdout, Write};

use serde_json::Value;

use super::http::{Answer, Request};

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const CYAN: &str = "36";

/// Response headers that tell something about the gate or the session.
const TELLING: &[&str] = &["www-authenticate", "location", "set-cookie", "content-type", "cache-control"];

/// Where the walk is shown.
pub(super) struct Console {
    out: Stdout,
    colours: bool,
}

impl Console {
    pub(super) fn new(out: Stdout) -> Self {
        let colours = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { out, colours }
    }

    /// A headline and what it is about.
    pub(super) fn heading(&mut self, title: &str, why: &str) -> Result<()> {
        let title = self.styled(BOLD, title);
        writeln!(self.out, "\n{title}")?;
        self.text(why)
    }

    /// Plain lines.
    pub(super) fn text(&mut self, text: &str) -> Result<()> {
        for line in text.lines() {
            writeln!(self.out, "  {line}")?;
        }
        self.out.flush()
    }

    /// A command line to copy.
    pub(super) fn command(&mut self, command: &str) -> Result<()> {
        let command = self.styled(CYAN, command);
        writeln!(self.out, "\n  $ {command}\n")
    }

    pub(super) fn request(&mut self, request: &Request) -> Result<()> {
        writeln!(self.out, "  > {} {}", request.method, request.path)?;
        for (name, value) in &request.headers {
            writeln!(self.out, "  > {name}: {}", shortened(value))?;
        }
        if let Some(body) = &request.body {
            writeln!(self.out, "  > {}", body)?;
        }
        Ok(())
    }

    pub(super) fn answer(&mut self, answer: &Answer) -> Result<()> {
        writeln!(self.out, "  < {} {}", answer.status, answer.reason)?;
        for name in TELLING {
            if let Some(value) = answer.header(name) {
                writeln!(self.out, "  < {name}: {}", shortened(value))?;
            }
        }
        for line in pretty(answer).lines() {
            let line = self.styled(DIM, line);
            writeln!(self.out, "  < {line}")?;
        }
        self.out.flush()
    }

    /// Whether what was expected came.
    pub(super) fn verdict(&mut self, met: bool, expected: &str) -> Result<()> {
        let mark = if met { self.styled(GREEN, "✓") } else { self.styled(RED, "✗") };
        writeln!(self.out, "  {mark} {expected}")?;
        self.out.flush()
    }

    fn styled(&self, style: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The body, one header of what the backend received a line.
fn pretty(answer: &Answer) -> String {
    let mut body = answer.json.clone();
    if body.is_null() {
        return answer.body.clone();
    }
    if let Some(token) = body.get_mut("token") {
        *token = token.as_str().map(shortened).into();
    }
    let Some(received) = body.get("received") else { return body.to_string() };
    let headers = received.get("headers").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut lines = vec![format!("{} The backend received:", body["message"].as_str().unwrap_or_default())];
    lines.extend(headers.iter().filter_map(|header| {
        Some(format!("    {}: {}", header.get(0)?.as_str()?, header.get(1)?.as_str()?))
    }));
    lines.join("\n")
}

/// The text with each token in it cut short: enough to recognise, too little to use.
pub(super) fn shortened(text: &str) -> String {
    text.split_inclusive([' ', '=', ';', ',', '"'])
        .map(|part| {
            let token = part.trim_end_matches([' ', '=', ';', ',', '"']);
            if token.starts_with("eyJ") && token.len() > 40 {
                format!(
                    "{}…{}",
                    token.get(..12).unwrap_or_default(),
                    part.get(token.len()..).unwrap_or_default()
                )
            } else {
                part.to_owned()
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_by_its_beginning_only() {
        let token = format!("eyJhbGciOiJIUzI1NiJ9.{}", "x".repeat(80));
        for text in [format!("Bearer {token}"), format!("session={token}; Path=/"), token.clone()] {
            let shown = shortened(&text);
            assert!(shown.contains("eyJhbGciOiJI…") && !shown.contains(".x"), "{shown}");
        }
        assert_eq!(shortened("session=; Path=/"), "session=; Path=/");
    }
}
