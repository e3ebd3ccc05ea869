//! Tokens as both of jwt-gate's programs understand them.
//!
//! The gate (in Envoy) and the companion (which issues) share this crate, so that there is one answer to
//! "is this token good?". It is pure: no I/O, no clock and no environment of its own. Time and the
//! environment are arguments, so every edge can be tested.
//!
//! ```text
//! environment / configuration ──► Secret ──► Keyring ──► verify(token, now) ──► VerifiedClaims
//!                                                   └──► issue(claims)      ──► token
//! ```
//!
//! * [`Secret`]: at least 32 bytes, never printed, zeroed on drop, compared in constant time.
//! * [`Keyring`]: the secrets in use, newest first, each with the `kid` derived from it.
//! * [`verify()`]: HS256 and nothing else. [`VerifiedClaims`] can only come from it.
//! * [`issue()`]: a token signed with the newest secret.
//!
//! ```
//! use jwt_gate_token::{Expectations, Keyring, Secret, issue, verify};
//! use serde_json::json;
//!
//! let keyring = Keyring::new([Secret::from_utf8("a secret of 32 bytes or more, please")?])?;
//! let claims = json!({"sub": "user_1", "exp": 1_700_000_600});
//! let token = issue(&keyring, claims.as_object().unwrap())?;
//!
//! let verified = verify(&token, &keyring, &Expectations::default(), 1_700_000_000.0)?;
//! assert_eq!(verified.subject(), Some("user_1"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod base64url;
mod claims;
mod issue;
pub mod json;
mod keyring;
mod mac;
mod payload;
mod plain;
mod refusal;
mod registered;
mod scan;
mod secret;
mod unverified;
mod verify;
mod window;

pub use base64url::{decode as base64url_decode, encode as base64url_encode};
pub use claims::{INTERNAL_AUDIENCE, VerifiedClaims};
pub use issue::{IssueError, issue};
pub use keyring::{Keyring, KeyringError, has_white_space_around_a_secret, parse_versioned_secrets};
pub use payload::{Claim, lookup};
pub use refusal::Refusal;
pub use scan::{position, same};
pub use secret::{Encoding, MIN_SECRET_BYTES, Secret, SecretError};
pub use unverified::UnverifiedOrigin;
pub use verify::{Expectations, MAX_TOKEN_BYTES, verify};
pub use window::{NumericDate, TimeWindow};
