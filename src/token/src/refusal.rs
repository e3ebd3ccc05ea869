//! Why a token is refused.

use std::fmt;

/// The reason a token was not accepted. [`Refusal::code`] is stable: clients, counters and alerts may
/// depend on it. Nothing of the token is ever part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Not a compact JWS that this library reads: see [`crate::verify()`] for the list.
    Malformed,
    /// The header names an algorithm other than HS256 (RFC 8725 §3.1).
    Algorithm,
    /// The signature is not that of a secret we hold.
    BadSignature,
    /// The `kid` is of no secret we hold, and none of them made the signature.
    UnknownKey,
    /// The current time is at or after `exp` (RFC 7519 §4.1.4).
    Expired,
    /// The current time is before `nbf` or `iat` (RFC 7519 §4.1.5, §4.1.6).
    NotYetValid,
    /// `iss` is absent or is not the expected one (RFC 7519 §4.1.1).
    Issuer,
    /// `aud` holds none of the expected audiences (RFC 7519 §4.1.3).
    Audience,
    /// `sub` is absent or does not match (RFC 7519 §4.1.2).
    Subject,
    /// A claim that is needed is absent, or has a value that cannot be used.
    Claim,
    /// No `exp` where one is required, or a longer life than is allowed.
    Lifetime,
    /// Revoked before its time.
    Revoked,
    /// The token is longer than [`crate::MAX_TOKEN_BYTES`].
    TooLarge,
}

impl Refusal {
    /// The stable code of the contract's §4.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed | Self::Algorithm => "malformed",
            Self::BadSignature => "bad_signature",
            Self::UnknownKey => "unknown_key",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Subject => "subject",
            Self::Claim => "claim",
            Self::Lifetime => "lifetime",
            Self::Revoked => "revoked",
            Self::TooLarge => "too_large",
        }
    }

    /// One sentence for the person who made the request.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::Malformed => "The token is not a well-formed signed JWT.",
            Self::Algorithm => "The token is not signed with HS256.",
            Self::BadSignature => "The token's signature does not verify.",
            Self::UnknownKey => "The token is signed with a key that is not known here.",
            Self::Expired => "The token has expired.",
            Self::NotYetValid => "The token is not valid yet.",
            Self::Issuer => "The token's issuer is not accepted here.",
            Self::Audience => "The token is not meant for this audience.",
            Self::Subject => "The token's subject is not accepted here.",
            Self::Claim => "The token lacks a claim that is needed here, or its value cannot be used.",
            Self::Lifetime => "The token does not expire, or lives longer than is allowed here.",
            Self::Revoked => "The token has been revoked.",
            Self::TooLarge => "The token is too large.",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.description())
    }
}

impl std::error::Error for Refusal {}
