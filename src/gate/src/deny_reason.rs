//! Why a request is turned away.

use jwt_gate_token::Refusal;

/// The reason, with a stable code for clients, counters and access logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenyReason {
    /// No token where one is needed.
    MissingToken,
    /// A token that does not verify.
    Token(Refusal),
    /// Ambiguous tokens in one place, or an identity that two providers give differently.
    Ambiguous,
    /// No rule is for this path, and the default is to deny.
    NoRule,
    /// A good token that is not allowed to do this.
    Forbidden,
    /// A good token, but nobody knows whether it was revoked (`when_stale: deny`).
    RevocationStale,
}

impl DenyReason {
    /// Every code, for those who count them.
    pub const ALL: [Self; 18] = [
        Self::MissingToken,
        Self::Token(Refusal::Malformed),
        Self::Token(Refusal::Algorithm),
        Self::Token(Refusal::BadSignature),
        Self::Token(Refusal::UnknownKey),
        Self::Token(Refusal::Expired),
        Self::Token(Refusal::NotYetValid),
        Self::Token(Refusal::Issuer),
        Self::Token(Refusal::Audience),
        Self::Token(Refusal::Subject),
        Self::Token(Refusal::Claim),
        Self::Token(Refusal::Lifetime),
        Self::Token(Refusal::Revoked),
        Self::Token(Refusal::TooLarge),
        Self::Ambiguous,
        Self::NoRule,
        Self::Forbidden,
        Self::RevocationStale,
    ];

    /// The stable code of the contract's §4.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MissingToken => "missing_token",
            Self::Token(refusal) => refusal.code(),
            Self::Ambiguous => "ambiguous",
            Self::NoRule => "no_rule",
            Self::Forbidden => "forbidden",
            Self::RevocationStale => "revocation_stale",
        }
    }

    /// Every code once, for counters: several reasons may share one.
    #[must_use]
    pub fn codes() -> Vec<&'static str> {
        let mut codes = Vec::with_capacity(Self::ALL.len());
        for code in Self::ALL.map(Self::as_str) {
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
        codes
    }

    /// One sentence for the person who made the request.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::MissingToken => "A token is needed here.",
            Self::Token(refusal) => refusal.description(),
            Self::Ambiguous => "The request holds several different tokens.",
            Self::NoRule => "Nothing is served at this path.",
            Self::Forbidden => "The token does not allow this.",
            Self::RevocationStale => "Whether the token was revoked cannot be told at the moment.",
        }
    }

    /// 401 where (another) token would help, 403 where it would not, 503 where time would (RFC 9110 §15.5.2,
    /// §15.5.4, §15.6.4).
    #[must_use]
    pub const fn status(self) -> u32 {
        match self {
            Self::MissingToken | Self::Token(_) | Self::Ambiguous => 401,
            Self::NoRule | Self::Forbidden => 403,
            Self::RevocationStale => 503,
        }
    }

    /// The `error` of `WWW-Authenticate` (RFC 6750 §3.1); none where no token was presented.
    #[must_use]
    pub(crate) const fn challenge_error(self) -> Option<&'static str> {
        match self {
            Self::MissingToken | Self::NoRule | Self::RevocationStale => None,
            Self::Token(_) | Self::Ambiguous => Some("invalid_token"),
            Self::Forbidden => Some("insufficient_scope"),
        }
    }
}
