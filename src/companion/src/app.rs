//! The companion as its handlers see it, and the secrets of its environment.

use std::sync::Arc;

use jwt_gate_token::{Keyring, has_white_space_around_a_secret};

use crate::account::Accounts;
use crate::http::cookie::CookieStyle;
use crate::http::origin::TrustedOrigins;

/// The companion, ready to answer.
pub struct App {
    /// Accounts and their sessions.
    pub accounts: Accounts,
    /// The session cookie's name and attributes.
    pub cookie: CookieStyle,
    /// The origins whose pages may call with a cookie.
    pub origins: TrustedOrigins,
    /// How many proxies in front are trusted.
    pub trusted_hops: u8,
}

/// [`App`], shared among the requests.
pub type SharedApp = Arc<App>;

const SECRETS: &str = "BETTER_AUTH_SECRETS";
const SECRET: &str = "BETTER_AUTH_SECRET";

/// The secrets of the environment, as both programs read them.
///
/// # Errors
/// A sentence for the operator, without anything of a secret in it.
pub fn keyring_from_environment() -> Result<Keyring, String> {
    let (secrets, secret) = (variable(SECRETS)?, variable(SECRET)?);
    for (name, value) in [(SECRETS, &secrets), (SECRET, &secret)] {
        if value.as_ref().is_some_and(|value| has_white_space_around_a_secret(value)) {
            tracing::warn!(
                "{name} has white space around a secret; it is no part of it, here and at the gate"
            );
        }
    }
    Keyring::from_environment(secrets.as_deref(), secret.as_deref()).map_err(|error| error.to_string())
}

/// The variables that hold secrets, newest first.
pub fn secret_variables() -> Vec<&'static str> {
    let holds =
        |name: &&str| variable(name).is_ok_and(|value| value.is_some_and(|value| !value.trim().is_empty()));
    [SECRETS, SECRET].into_iter().filter(holds).collect()
}

/// A warning where `BETTER_AUTH_SECRET` holds a secret that `BETTER_AUTH_SECRETS` does not: a rotation removes a secret
/// from the list, and this one goes on to verify.
pub fn left_over_secret() -> Option<String> {
    let (secrets, secret) = (variable(SECRETS).ok()??, variable(SECRET).ok()??);
    let list = Keyring::from_environment(Some(&secrets), None).ok()?;
    let alone = Keyring::from_environment(None, Some(&secret)).ok()?;
    let kid = alone.kids().next().filter(|kid| !list.kids().any(|listed| listed == *kid))?;
    Some(format!(
        "{SECRET} is set beside {SECRETS} and is not in that list, so tokens of an old secret (kid {kid}) are still \
         accepted: remove {SECRET} here and from Envoy's environment"
    ))
}

/// The value of an environment variable, or the content of the file that `NAME_FILE` names. A variable that is set to nothing
/// counts as not set: Compose and shells write that.
///
/// # Errors
/// A sentence for the operator, without anything of the value in it.
pub(crate) fn variable(name: &str) -> Result<Option<String>, String> {
    let file_name = format!("{name}_FILE");
    match (text_variable(name)?, text_variable(&file_name)?) {
        (Some(_), Some(_)) => Err(format!("{name} and {file_name} are both set: remove one of them")),
        (value, None) => Ok(value),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| format!("{file_name}: {path} cannot be read: {error}"))?;
            // Editors end a file with a line break.
            let text = text.strip_suffix('\n').unwrap_or(&text);
            let text = text.strip_suffix('\r').unwrap_or(text);
            if text.is_empty() {
                Err(format!("{file_name}: {path} is empty"))
            } else {
                Ok(Some(text.to_owned()))
            }
        }
    }
}

fn text_variable(name: &str) -> Result<Option<String>, String> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(format!("{name} is not UTF-8")),
    }
}
