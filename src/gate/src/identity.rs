//! Who the caller is.

use std::sync::Arc;

use jwt_gate_token::TimeWindow;
use serde_json::{Map, Value};

use crate::mutation::HeaderMutation;
use crate::revocation::RevocationClaims;

/// The caller according to one provider. Thousands of identities are remembered, so of a token's claims each holds only those
/// that the configuration refers to.
#[derive(Debug)]
pub(crate) struct Identity {
    /// The index of the provider.
    pub(crate) provider: usize,
    /// When the token is valid.
    pub(crate) window: TimeWindow,
    /// The claims that a revocation can name.
    pub(crate) revocation_claims: RevocationClaims,
    /// `sub`, where there is one.
    pub(crate) subject: Option<Arc<str>>,
    /// The claims that rules refer to.
    pub(crate) claims: Map<String, Value>,
    /// The payload, where it goes into filter state; else empty.
    pub(crate) payload: Box<str>,
    /// The identity headers.
    pub(crate) headers: Vec<HeaderMutation>,
}
