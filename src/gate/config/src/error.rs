//! What is wrong with a configuration, and where.

use std::borrow::Cow;
use std::fmt;

use jwt_gate_token::MIN_SECRET_BYTES;

/// One thing that is wrong, and the field it is in. Displayed as one line: `providers.app.secrets[0]: …`.
/// It never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    field: String,
    message: String,
}

impl ConfigError {
    /// An error in `field`; an empty field stands for the configuration as a whole.
    #[must_use]
    pub fn new(field: impl Into<String>, message: impl fmt::Display) -> Self {
        Self { field: field.into(), message: message.to_string() }
    }

    /// Where it is: `providers.app.secrets[0]`.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What is wrong, without the field.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = if self.field.is_empty() { "configuration" } else { &self.field };
        // One log line, whatever a parser says and however a field is called.
        let line = format!("{field}: {}", self.message);
        formatter.write_str(&line.replace(char::is_control, " "))
    }
}

impl std::error::Error for ConfigError {}

/// How a name that somebody wrote is shown: not where it is so long that a secret can be in it, as in
/// `inline:0123…` without a space.
pub(super) fn shown(name: &str) -> Cow<'_, str> {
    if name.len() < MIN_SECRET_BYTES { name.into() } else { "(a long name)".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_however_the_field_is_called() {
        let error = ConfigError::new("a\nb\u{1b}", "is no\r\nfield");
        assert_eq!(error.to_string(), "a b : is no  field");
    }
}
