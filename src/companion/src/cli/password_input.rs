//! Reading a password from a person or a script.

use std::io::{BufRead, IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::password::NewPassword;

/// A new password. A person at a terminal types it twice and does not see it; otherwise it is the first line of stdin.
pub(super) fn read_new_password() -> Result<NewPassword, String> {
    let password = if std::io::stdin().is_terminal() {
        let first = ask("New password: ")?;
        if ask("The same again: ")? != first {
            return Err("the two passwords differ".to_owned());
        }
        first
    } else {
        read_line()?
    };
    NewPassword::parse(&password).map_err(|unacceptable| unacceptable.to_string())
}

fn ask(prompt: &str) -> Result<String, String> {
    let mut stderr = std::io::stderr();
    write!(stderr, "{prompt}").and_then(|()| stderr.flush()).map_err(|error| format!("stderr: {error}"))?;
    let silence = NoEcho::begin()?;
    let line = read_line();
    drop(silence);
    eprintln!();
    line
}

fn read_line() -> Result<String, String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|error| format!("stdin: {error}"))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// Until it is dropped, the terminal does not show what is typed.
struct NoEcho {
    before: Termios,
}

impl NoEcho {
    fn begin() -> Result<Self, String> {
        let said = |error: rustix::io::Errno| format!("the terminal: {error}");
        let before = tcgetattr(std::io::stdin()).map_err(said)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        // What was typed before the prompt is thrown away: it was shown.
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &silent).map_err(said)?;
        Ok(Self { before })
    }
}

impl Drop for NoEcho {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}
