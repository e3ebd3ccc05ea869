use std::collections::BTreeMap;

use axum::extract::{FromRequest, Request};
use serde_json::{Map, Value};

use crate::http::body::{self, Fields};
use crate::http::problem::Problem;

/// A form as a browser sends it (`application/x-www-form-urlencoded`).
#[derive(Debug, Default)]
pub(super) struct Form(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequest<S> for Form {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        body::require_content_type(request.headers(), body::is_form)?;
        let bytes = body::read_body(request).await?;
        Ok(Self::parse(&bytes))
    }
}

impl Form {
    /// What the page's address says, which is where it leads back to.
    pub(super) fn of_query(request: &Request) -> Self {
        Self::parse(request.uri().query().unwrap_or_default().as_bytes())
    }

    /// The first value of each name.
    fn parse(bytes: &[u8]) -> Self {
        let mut values = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(bytes) {
            values.entry(name.into_owned()).or_insert_with(|| value.into_owned());
        }
        Self(values)
    }

    /// A value. A missing field is like one that was left empty.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    /// The values as the fields of a JSON body would be, to be checked alike.
    pub(super) fn fields(&self) -> Fields {
        let filled = self.0.iter().filter(|(_, value)| !value.is_empty());
        let members: Map<String, Value> =
            filled.map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect();
        Fields::of(members)
    }
}
