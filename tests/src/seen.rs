//! A request as the backend received it.

use serde_json::{Value, json};

/// Header names and values in the order of their arrival, each occurrence by itself.
pub type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// A request as the backend received it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seen {
    /// `HTTP/1.1` or `HTTP/2`.
    pub protocol: String,
    /// The method.
    pub method: String,
    /// The request target or `:path`, byte for byte.
    pub target: Vec<u8>,
    /// The header fields, byte for byte.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// The trailer fields.
    pub trailers: Headers,
}

impl Seen {
    /// Every value of the header `name`, in whatever case it was written.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<String> {
        values(&self.headers, name)
    }

    /// The value of the header `name`, where it is there exactly once.
    #[must_use]
    pub fn one(&self, name: &str) -> Option<String> {
        match self.all(name).as_slice() {
            [value] => Some(value.clone()),
            _ => None,
        }
    }

    /// The target as text, each byte one character.
    #[must_use]
    pub fn path(&self) -> String {
        latin1(&self.target)
    }

    /// The headers and trailers whose name a backend could read as `name`: letters of either case, and
    /// `_`, `.` or any other punctuation for `-` (CGI, WSGI and PHP fold them together).
    #[must_use]
    pub fn read_as(&self, name: &str) -> Vec<(String, String)> {
        let wanted = folded(name.as_bytes());
        self.headers
            .iter()
            .chain(&self.trailers)
            .filter(|(name, _)| folded(name) == wanted)
            .map(|(name, value)| (latin1(name), latin1(value)))
            .collect()
    }

    /// Whether `bytes` occur anywhere in what arrived.
    #[must_use]
    pub fn holds(&self, bytes: &[u8]) -> bool {
        let fields = self.headers.iter().chain(&self.trailers).flat_map(|(name, value)| [name, value]);
        fields.chain([&self.target, &self.body]).any(|text| contains(text, bytes))
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        let fields = |headers: &Headers| -> Vec<Value> {
            headers.iter().map(|(name, value)| json!([latin1(name), latin1(value)])).collect()
        };
        json!({
            "protocol": self.protocol,
            "method": self.method,
            "target": latin1(&self.target),
            "headers": fields(&self.headers),
            "body": latin1(&self.body),
            "trailers": fields(&self.trailers),
        })
        .to_string()
        .into_bytes()
    }

    /// Reads what [`Seen::to_json`] wrote.
    #[must_use]
    pub fn from_json(text: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(text).ok()?;
        let fields = |name: &str| -> Option<Headers> {
            let fields = value[name].as_array()?.iter();
            fields.map(|field| Some((bytes(field[0].as_str()?), bytes(field[1].as_str()?)))).collect()
        };
        Some(Self {
            protocol: value["protocol"].as_str()?.to_owned(),
            method: value["method"].as_str()?.to_owned(),
            target: bytes(value["target"].as_str()?),
            headers: fields("headers")?,
            body: bytes(value["body"].as_str()?),
            trailers: fields("trailers")?,
        })
    }
}

/// Every value of the field `name`.
pub(crate) fn values(headers: &Headers, name: &str) -> Vec<String> {
    let same = |field: &&(Vec<u8>, Vec<u8>)| field.0.eq_ignore_ascii_case(name.as_bytes());
    headers.iter().filter(same).map(|(_, value)| latin1(value)).collect()
}

/// Bytes as text, each byte the character of its number, so that nothing is lost.
#[must_use]
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn bytes(latin1: &str) -> Vec<u8> {
    latin1.chars().map(|character| u8::try_from(u32::from(character)).unwrap_or(b'?')).collect()
}

fn folded(name: &[u8]) -> Vec<u8> {
    name.iter()
        .map(|byte| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' })
        .collect()
}

pub(crate) fn contains(text: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && text.windows(part.len()).any(|window| window == part)
}
