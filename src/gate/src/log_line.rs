//! Lines for the log of whichever host runs the gate.

/// A line for the host's log, without the gate's name in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// How urgent it is.
    pub severity: Severity,
    /// The line itself; it holds no secret and no token.
    pub text: String,
}

/// How urgent a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Somebody may want to know.
    Info,
    /// Somebody should look at it.
    Warning,
    /// Something does not work.
    Error,
}

impl LogLine {
    pub(crate) fn new(severity: Severity, text: impl Into<String>) -> Self {
        Self { severity, text: text.into() }
    }
}
