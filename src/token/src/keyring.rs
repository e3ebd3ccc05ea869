//! The secrets in use, while one replaces another.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::base64url;
use crate::scan::same;
use crate::secret::{Secret, SecretError};

/// The secrets in use, newest first. The first one signs; each of them verifies.
///
/// It is never empty.
pub struct Keyring {
    newest: KeyringEntry,
    older: Vec<KeyringEntry>,
}

struct KeyringEntry {
    secret: Secret,
    id: Arc<str>,
    /// The headers with this `kid` and nothing unusual, as they stand in tokens: the one that [`crate::issue()`] and most
    /// write, the same in alphabetical order (PyJWT, golang-jwt), and without `typ` (jose).
    headers: [String; 3],
}

/// Why there is no keyring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyringError {
    /// No secret at all.
    Empty,
    /// `BETTER_AUTH_SECRETS`: the entry at this position, counted from 1, is not `version:secret`.
    Entry(usize),
    /// `BETTER_AUTH_SECRETS`: the version at this position, counted from 1, is there twice.
    DuplicateVersion(usize),
    /// The secret at this position, counted from 1, is no good.
    Secret(usize, SecretError),
}

impl Keyring {
    /// A keyring of `secrets`, newest first. A secret that is there twice is kept once.
    ///
    /// # Errors
    /// [`KeyringError::Empty`].
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Result<Self, KeyringError> {
        Self::with_ids(secrets.into_iter().map(|secret| {
            let id = secret.kid().to_owned();
            (secret, id)
        }))
    }

    /// A keyring of secrets that tokens name by a `kid` of somebody else's choosing, as in a JWK set.
    ///
    /// # Errors
    /// [`KeyringError::Empty`].
    pub fn with_ids(secrets: impl IntoIterator<Item = (Secret, String)>) -> Result<Self, KeyringError> {
        let mut secrets = secrets.into_iter();
        let (secret, id) = secrets.next().ok_or(KeyringError::Empty)?;
        let mut keyring = Self { newest: KeyringEntry::new(secret, id), older: Vec::new() };
        for (secret, id) in secrets {
            if !keyring.entries().any(|(known, known_id)| *known == secret && **known_id == *id) {
                keyring.older.push(KeyringEntry::new(secret, id));
            }
        }
        Ok(keyring)
    }

    /// The keyring that the environment describes: `BETTER_AUTH_SECRETS` (`"2:newest,1:older"`, the first
    /// is current, as Better Auth reads it), then `BETTER_AUTH_SECRET`, the one from before versions.
    ///
    /// # Errors
    /// Where neither is set, or one of them holds something that is no secret.
    pub fn from_environment(
        better_auth_secrets: Option<&str>,
        better_auth_secret: Option<&str>,
    ) -> Result<Self, KeyringError> {
        let mut secrets = match better_auth_secrets {
            Some(list) if !list.trim().is_empty() => parse_versioned_secrets(list)?,
            _ => Vec::new(),
        };
        if let Some(text) = better_auth_secret.filter(|text| !text.trim().is_empty()) {
            let position = secrets.len().saturating_add(1);
            secrets.push(Secret::from_utf8(text).map_err(|error| KeyringError::Secret(position, error))?);
        }
        Self::new(secrets)
    }

    /// The secret that signs.
    #[must_use]
    pub fn newest(&self) -> &Secret {
        &self.newest.secret
    }

    /// The key ids, newest first.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.entries().map(|(_, id)| &**id)
    }

    /// Every secret and the `kid` that names it, newest first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Secret, &Arc<str>)> {
        self.all().map(|entry| (&entry.secret, &entry.id))
    }

    /// The `kid` in a header that is known by sight.
    pub(crate) fn kid_of_known_header(&self, header: &[u8]) -> Option<&str> {
        let known = |entry: &&KeyringEntry| entry.headers.iter().any(|known| same(known.as_bytes(), header));
        self.all().find(known).map(|entry| &*entry.id)
    }

    /// The header of a token that the newest secret signs, as it stands in the token.
    pub(crate) fn own_header(&self) -> &str {
        let [own, ..] = &self.newest.headers;
        own
    }

    fn all(&self) -> impl Iterator<Item = &KeyringEntry> {
        std::iter::once(&self.newest).chain(&self.older)
    }
}

impl KeyringEntry {
    fn new(secret: Secret, id: String) -> Self {
        let kid = Value::from(id.as_str()).to_string();
        let headers = [
            format!(r#"{{"alg":"HS256","typ":"JWT","kid":{kid}}}"#),
            format!(r#"{{"alg":"HS256","kid":{kid},"typ":"JWT"}}"#),
            format!(r#"{{"alg":"HS256","kid":{kid}}}"#),
        ];
        let headers = headers.map(|header| base64url::encode(header.as_bytes()));
        Self { secret, id: id.into(), headers }
    }
}

/// Reads Better Auth's `BETTER_AUTH_SECRETS`: `version:secret` entries separated by commas, the first of
/// them current. A secret cannot hold a comma, but may hold colons.
///
/// # Errors
/// An entry without a version, a version that is there twice, or a secret that is no good.
pub fn parse_versioned_secrets(list: &str) -> Result<Vec<Secret>, KeyringError> {
    let mut versions = Vec::new();
    let mut secrets = Vec::new();
    for (position, entry) in (1_usize..).zip(list.split(',')) {
        let (version, secret) = entry.trim().split_once(':').ok_or(KeyringError::Entry(position))?;
        let version: u32 = version.trim().parse().map_err(|_| KeyringError::Entry(position))?;
        if versions.contains(&version) {
            return Err(KeyringError::DuplicateVersion(position));
        }
        versions.push(version);
        secrets
            .push(Secret::from_utf8(secret.trim()).map_err(|error| KeyringError::Secret(position, error))?);
    }
    Ok(secrets)
}

/// Whether white space stands around a secret in `value`, a secret or a list of secrets with versions. It is not a part of the
/// secret; programs say so when they start, because other programs may take it for one.
#[must_use]
pub fn has_white_space_around_a_secret(value: &str) -> bool {
    let has_space = |text: &str| text.trim().len() != text.len();
    let in_list =
        || value.split(',').any(|entry| entry.split_once(':').is_some_and(|(_, secret)| has_space(secret)));
    !value.trim().is_empty() && (has_space(value) || in_list())
}

// === impl KeyringError ===

impl fmt::Display for KeyringError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => {
                formatter.write_str("no secret: set BETTER_AUTH_SECRET (`jwt-gate-auth secret` makes one)")
            }
            Self::Entry(position) => {
                write!(formatter, "entry {position} is not `version:secret`, as in \"2:newest,1:older\"")
            }
            Self::DuplicateVersion(position) => write!(formatter, "entry {position} repeats a version"),
            Self::Secret(position, error) => write!(formatter, "secret {position} {error}"),
        }
    }
}

impl std::error::Error for KeyringError {}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "one-0123456789abcdef0123456789ab";
    const TWO: &str = "two:0123456789abcdef0123456789ab";

    fn kid(text: &str) -> String {
        Secret::from_utf8(text).unwrap().kid().to_owned()
    }

    #[test]
    fn the_first_of_better_auth_secrets_is_the_newest_and_the_single_secret_the_oldest() {
        let list = format!("2:{TWO}, 1:{ONE}");
        let keyring =
            Keyring::from_environment(Some(&list), Some("zero-123456789abcdef0123456789ab")).unwrap();
        assert_eq!(
            keyring.kids().collect::<Vec<_>>(),
            [kid(TWO), kid(ONE), kid("zero-123456789abcdef0123456789ab")]
        );
    }

    #[test]
    fn a_secret_given_twice_is_held_once() {
        let keyring = Keyring::from_environment(Some(&format!("1:{ONE}")), Some(ONE)).unwrap();
        assert_eq!(keyring.kids().collect::<Vec<_>>(), [kid(ONE)]);
    }

    #[test]
    fn nothing_or_something_unreadable_is_an_error_that_names_the_place() {
        let fails =
            |list: Option<&str>, one: Option<&str>| Keyring::from_environment(list, one).err().unwrap();
        assert_eq!(fails(None, None), KeyringError::Empty);
        assert_eq!(fails(Some(" "), Some("")), KeyringError::Empty);
        assert_eq!(fails(Some(ONE), None), KeyringError::Entry(1));
        assert_eq!(fails(Some(&format!("2:{TWO},x:{ONE}")), None), KeyringError::Entry(2));
        assert_eq!(fails(Some(&format!("-1:{TWO}")), None), KeyringError::Entry(1));
        assert_eq!(fails(Some(&format!("1:{TWO},1:{ONE}")), None), KeyringError::DuplicateVersion(2));
        assert_eq!(
            fails(Some(&format!("2:{TWO},1:short")), None),
            KeyringError::Secret(2, SecretError::TooShort(5))
        );
        assert_eq!(fails(None, Some("short")), KeyringError::Secret(1, SecretError::TooShort(5)));
    }
}
