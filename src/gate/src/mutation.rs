//! Changes to a request's headers.

use std::sync::Arc;

/// A change to a request's headers, for the host to make. Names and values are shared, so that a token that was seen before
/// costs no copy of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderMutation {
    /// Remove every value of the header of this name.
    Remove(Arc<[u8]>),
    /// Make this the only value of the header of this name.
    Set(Arc<str>, Arc<[u8]>),
}

impl HeaderMutation {
    /// Removes the header `name`.
    pub(crate) fn remove(name: &str) -> Self {
        Self::Remove(name.as_bytes().into())
    }

    /// The header that changes.
    pub(crate) fn name(&self) -> &[u8] {
        match self {
            Self::Remove(name) => name,
            Self::Set(name, _) => name.as_bytes(),
        }
    }

    /// Whether both set the same header.
    pub(crate) fn sets_same_header(&self, other: &Self) -> bool {
        matches!((self, other), (Self::Set(one, _), Self::Set(another, _)) if one == another)
    }
}
