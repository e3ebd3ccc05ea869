//! Who is measured.

use clap::ValueEnum;

use super::workload::Workload;

/// Something that stands where the gate could stand, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Contender {
    /// Envoy without a filter.
    None,
    /// Envoy's own filter for JWTs, in C++.
    #[value(name = "jwt_authn")]
    JwtAuthn,
    /// The same with its cache of verified tokens.
    #[value(name = "jwt_authn-cache")]
    JwtAuthnCache,
    /// Envoy's Lua filter with a script that does nothing.
    Lua,
    /// A wasm filter that does nothing, without the exports that it does not need.
    Empty,
    /// The same with all exports of the SDK.
    EmptyUntrimmed,
    /// A wasm filter that makes the hostcalls which the gate's work takes, and nothing else.
    Floor,
    /// The same, and an HMAC-SHA-256 of the token.
    FloorHmac,
    /// jwt-gate.
    Gate,
    /// jwt-gate as a dynamic module.
    Module,
    /// Another build of it, where `--beside` names one.
    #[value(skip)]
    OtherBuild,
    /// Envoy's filter that asks a service; the service is the companion.
    #[value(name = "ext_authz")]
    ExtAuthz,
    /// FastAPI without a check.
    FastapiPlain,
    /// FastAPI that checks the token itself.
    Fastapi,
}

impl Contender {
    /// As it is called on the command line and in the tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::JwtAuthn => "jwt_authn",
            Self::JwtAuthnCache => "jwt_authn-cache",
            Self::Lua => "lua",
            Self::Empty => "empty",
            Self::EmptyUntrimmed => "empty-untrimmed",
            Self::Floor => "floor",
            Self::FloorHmac => "floor-hmac",
            Self::Gate => "gate",
            Self::Module => "module",
            Self::OtherBuild => "other-build",
            Self::ExtAuthz => "ext_authz",
            Self::FastapiPlain => "fastapi-plain",
            Self::Fastapi => "fastapi",
        }
    }

    /// As a reader knows it.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::None => "no filter",
            Self::JwtAuthn => "jwt_authn",
            Self::JwtAuthnCache => "jwt_authn, cache",
            Self::Lua => "Lua, doing nothing",
            Self::Empty => "empty wasm filter",
            Self::EmptyUntrimmed => "the same, untrimmed",
            Self::Floor => "its hostcalls alone",
            Self::FloorHmac => "the same and HMAC",
            Self::Gate => "jwt-gate",
            Self::Module => "jwt-gate, module",
            Self::OtherBuild => "the other build",
            Self::ExtAuthz => "ext_authz, companion",
            Self::FastapiPlain => "FastAPI, no check",
            Self::Fastapi => "FastAPI, PyJWT",
        }
    }

    /// What it is compared with: the same without a check.
    pub(super) fn baseline(self) -> Option<Self> {
        match self {
            Self::None | Self::FastapiPlain => None,
            Self::Fastapi => Some(Self::FastapiPlain),
            _ => Some(Self::None),
        }
    }

    /// Whether it is an Envoy.
    pub(super) fn is_envoy(self) -> bool {
        !matches!(self, Self::FastapiPlain | Self::Fastapi)
    }

    /// Whether it costs so much that a longer turn, and fewer of them, tell enough. Nothing but its load counts
    /// its requests.
    pub(super) fn is_coarse(self) -> bool {
        matches!(self, Self::ExtAuthz | Self::FastapiPlain | Self::Fastapi)
    }

    /// Whether it remembers tokens.
    pub(super) fn remembers(self) -> bool {
        matches!(self, Self::JwtAuthnCache | Self::Gate | Self::Module | Self::OtherBuild)
    }

    /// Whether it verifies tokens.
    pub(super) fn verifies(self) -> bool {
        self.injects_identity() || matches!(self, Self::ExtAuthz | Self::Fastapi)
    }

    /// Whether the route sees the caller's identity in headers, and no token.
    pub(super) fn injects_identity(self) -> bool {
        matches!(self, Self::JwtAuthn | Self::JwtAuthnCache | Self::Gate | Self::Module | Self::OtherBuild)
    }

    /// Whether it is measured under this workload: where it would do nothing else than under another one that
    /// it is measured under, it is not.
    pub(super) fn takes_part(self, workload: Workload) -> bool {
        use Workload::{Claims, Cookie, Fresh, Public, Seen};
        match self {
            Self::None | Self::JwtAuthn | Self::Gate | Self::Module | Self::OtherBuild => true,
            Self::JwtAuthnCache => matches!(workload, Seen | Fresh | Cookie | Claims),
            Self::Lua | Self::Empty => matches!(workload, Seen | Public),
            Self::EmptyUntrimmed => workload == Public,
            Self::Floor => workload != Workload::BadSignature,
            Self::FloorHmac => workload == Fresh,
            Self::ExtAuthz => matches!(workload, Seen | Fresh | Workload::None),
            Self::FastapiPlain | Self::Fastapi => matches!(workload, Seen | Fresh),
        }
    }
}
