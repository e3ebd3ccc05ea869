//! What the commands tell the person who runs them, on standard error: standard output is for results.

use std::io::IsTerminal;

/// A step that may take a while begins.
pub fn step(text: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("\x1b[1;32m==>\x1b[0m {text} …");
    } else {
        eprintln!("==> {text} …");
    }
}

/// Something the person should know; nothing is wrong.
pub fn note(text: &str) {
    eprintln!("    {text}");
}
