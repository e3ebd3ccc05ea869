//! What is asked of the contenders.

use clap::ValueEnum;

/// A kind of request, sent again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Workload {
    /// One good token, in each request.
    Seen,
    /// Another good token in each request; a pool larger than every cache, in turn.
    Fresh,
    /// No token where one is needed.
    None,
    /// One token whose signature is another secret's, in each request.
    BadSignature,
    /// A path that needs no token, and none in the request.
    Public,
    /// One good token, in a cookie.
    Cookie,
    /// One good token, of which five claims become headers.
    Claims,
}

/// A listener; each contender has one for each way in which it is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Listener {
    /// The token in `Authorization`, `sub` as a header.
    Bearer,
    /// The token in a cookie or in `Authorization`, `sub` as a header.
    Cookie,
    /// The token in `Authorization`, five claims as headers.
    Claims,
}

/// The claims that become headers: the first on each listener, all of them on [`Listener::Claims`].
pub(super) const CLAIM_HEADERS: [(&str, &str); 5] = [
    ("x-user-id", "sub"),
    ("x-user-email", "email"),
    ("x-user-name", "name"),
    ("x-token-id", "jti"),
    ("x-token-issuer", "iss"),
];

/// The cookie that holds the token.
pub(super) const COOKIE: &str = "session";

/// The path that needs no token.
pub(super) const PUBLIC_PATH: &str = "/healthz";

// === impl Workload ===

impl Workload {
    /// As it is called on the command line and in the tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Fresh => "fresh",
            Self::None => "none",
            Self::BadSignature => "bad-signature",
            Self::Public => "public",
            Self::Cookie => "cookie",
            Self::Claims => "claims",
        }
    }

    /// As a reader knows it.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Seen => "A token seen before",
            Self::Fresh => "A fresh token in each request",
            Self::None => "No token: refused",
            Self::BadSignature => "Bad signature: refused",
            Self::Public => "A public path",
            Self::Cookie => "A token seen before, in a cookie",
            Self::Claims => "A token seen before, five claims as headers",
        }
    }

    pub(super) fn listener(self) -> Listener {
        match self {
            Self::Cookie => Listener::Cookie,
            Self::Claims => Listener::Claims,
            _ => Listener::Bearer,
        }
    }

    /// The path. `/me` is one that the companion answers when `ext_authz` asks it below `/api/auth`.
    pub(super) fn path(self) -> &'static str {
        if self == Self::Public { PUBLIC_PATH } else { "/me" }
    }

    /// Whether whoever checks tokens turns the request away.
    pub(super) fn is_refused(self) -> bool {
        matches!(self, Self::None | Self::BadSignature)
    }
}

// === impl Listener ===

impl Listener {
    pub(super) const ALL: [Self; 3] = [Self::Bearer, Self::Cookie, Self::Claims];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Cookie => "cookie",
            Self::Claims => "claims",
        }
    }

    /// Header and claim.
    pub(super) fn claim_headers(self) -> &'static [(&'static str, &'static str)] {
        let count = if self == Self::Claims { CLAIM_HEADERS.len() } else { 1 };
        CLAIM_HEADERS.get(..count).unwrap_or_default()
    }
}
