//! A document's values, each with the field it is in, so that every error can name one.
//!
//! Written out here rather than derived with serde: the derived readers and the tracking of paths through them
//! were a large part of what `cargo xtask wasm` built.

use serde_json::{Map, Value};

use super::ConfigError;
use super::error::shown;
use super::hints;

/// A value, and where it is: `providers.app.secrets[0]`.
pub(super) struct Node {
    field: String,
    value: Value,
}

/// The members of a mapping whose names are ours.
pub(super) struct Fields {
    field: String,
    members: Map<String, Value>,
}

// === impl Node ===

impl Node {
    /// The whole document.
    pub(super) fn document(value: Value) -> Self {
        Self { field: String::new(), value }
    }

    pub(super) fn error(&self, message: &str) -> ConfigError {
        ConfigError::new(self.field.as_str(), message)
    }

    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    pub(super) fn text(self) -> Result<String, ConfigError> {
        match self.value {
            Value::String(text) => Ok(text),
            _ => Err(self.error("must be a text")),
        }
    }

    pub(super) fn list(self) -> Result<Vec<Self>, ConfigError> {
        match self.value {
            Value::Array(items) => {
                let item = |(index, value)| Self { field: format!("{}[{index}]", self.field), value };
                Ok(items.into_iter().enumerate().map(item).collect())
            }
            _ => Err(self.error("must be a list")),
        }
    }

    /// A mapping whose names are the user's.
    pub(super) fn mapping(self) -> Result<Vec<(String, Self)>, ConfigError> {
        match self.value {
            Value::Object(members) => {
                let member = |(name, value): (String, Value)| {
                    let field = within(&self.field, &name);
                    (name, Self { field, value })
                };
                Ok(members.into_iter().map(member).collect())
            }
            _ => Err(self.error("must be a mapping")),
        }
    }

    /// A mapping that may have no other members than `known`.
    pub(super) fn fields(self, known: &[&str]) -> Result<Fields, ConfigError> {
        let Self { field, value } = self;
        let Value::Object(members) = value else {
            return Err(ConfigError::new(field, "must be a mapping of fields to values"));
        };
        for (name, value) in &members {
            if !known.contains(&name.as_str()) {
                // YAML takes `{inline:text}` for one name, which must not be repeated.
                if let Some((before, _)) = name.split_once(':').filter(|(before, _)| known.contains(before)) {
                    return Err(ConfigError::new(field, format!("needs a space after `{before}:`")));
                }
                let message = match hints::replacement(name) {
                    Some(hint) => format!("is a field of jwt_authn that the gate does not have; {hint}"),
                    None => format!("unknown field; there are {}", known.join(", ")),
                };
                return Err(ConfigError::new(within(&field, name), message));
            }
            // `requires:` with its content indented wrongly must not make a rule public.
            if value.is_null() {
                return Err(ConfigError::new(
                    within(&field, name),
                    "is empty; give it a value, or leave it out",
                ));
            }
        }
        Ok(Fields { field, members })
    }

    fn flag(self) -> Result<bool, ConfigError> {
        self.value.as_bool().ok_or_else(|| self.error("must be true or false"))
    }

    fn whole(self, most: u64) -> Result<u64, ConfigError> {
        let number = self.value.as_u64().filter(|number| *number <= most);
        number.ok_or_else(|| self.error(&format!("must be a whole number from 0 to {most}")))
    }
}

// === impl Fields ===

impl Fields {
    pub(super) fn error(&self, message: &str) -> ConfigError {
        ConfigError::new(self.field.as_str(), message)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Node> {
        let value = self.members.remove(name)?;
        Some(Node { field: within(&self.field, name), value })
    }

    pub(super) fn required(&mut self, name: &str) -> Result<Node, ConfigError> {
        self.take(name).ok_or_else(|| self.error(&format!("missing field `{name}`")))
    }

    /// The items of a list; none where it is absent.
    pub(super) fn list(&mut self, name: &str) -> Result<Vec<Node>, ConfigError> {
        self.take(name).map_or_else(|| Ok(Vec::new()), Node::list)
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, ConfigError> {
        self.take(name).map(Node::text).transpose()
    }

    pub(super) fn texts(&mut self, name: &str) -> Result<Vec<String>, ConfigError> {
        self.list(name)?.into_iter().map(Node::text).collect()
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, ConfigError> {
        self.take(name).map(Node::flag).transpose()
    }

    pub(super) fn u32(&mut self, name: &str) -> Result<Option<u32>, ConfigError> {
        let whole = self.take(name).map(|node| node.whole(u32::MAX.into())).transpose()?;
        Ok(whole.and_then(|number| u32::try_from(number).ok()))
    }

    pub(super) fn u64(&mut self, name: &str) -> Result<Option<u64>, ConfigError> {
        self.take(name).map(|node| node.whole(u64::MAX)).transpose()
    }

    pub(super) fn i64(&mut self, name: &str) -> Result<Option<i64>, ConfigError> {
        let whole = |node: Node| node.value.as_i64().ok_or_else(|| node.error("must be a whole number"));
        self.take(name).map(whole).transpose()
    }

    /// Which of `variants` it is: its place among them, 0 where it is absent.
    pub(super) fn choice(&mut self, name: &str, variants: &[&str]) -> Result<usize, ConfigError> {
        let Some(node) = self.take(name) else { return Ok(0) };
        let text = node.value.as_str();
        let place = variants.iter().position(|variant| text == Some(*variant));
        place.ok_or_else(|| node.error(&format!("must be one of {}", variants.join(", "))))
    }
}

fn within(field: &str, name: &str) -> String {
    let name = shown(name);
    if field.is_empty() { name.into_owned() } else { format!("{field}.{name}") }
}
