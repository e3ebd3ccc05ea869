//! What people say about themselves: a name and a picture.

use std::fmt;

/// The longest name, in characters.
pub const MAX_NAME_CHARACTERS: usize = 200;
/// The longest address of a picture.
pub const MAX_IMAGE_BYTES: usize = 2048;

/// What a person is called; may be empty. It fits into a header's value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Name(String);

/// Why a text is not a [`Name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadName {
    /// More than [`MAX_NAME_CHARACTERS`].
    TooLong,
    /// A control character would end a header.
    ControlCharacter,
}

/// The address of a picture, which other people's browsers may be told to load. Empty: no picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image(String);

/// The text is not the address of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadImage;

// === impl Name ===

impl Name {
    /// Checks a name.
    ///
    /// # Errors
    /// [`BadName`].
    pub fn parse(text: impl Into<String>) -> Result<Self, BadName> {
        let text = text.into();
        if text.chars().count() > MAX_NAME_CHARACTERS {
            Err(BadName::TooLong)
        } else if text.chars().any(char::is_control) {
            Err(BadName::ControlCharacter)
        } else {
            Ok(Self(text))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

// === impl BadName ===

impl fmt::Display for BadName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::TooLong => "The name is longer than 200 characters.",
            Self::ControlCharacter => "The name holds control characters.",
        })
    }
}

// === impl Image ===

impl Image {
    /// Checks an address.
    ///
    /// # Errors
    /// [`BadImage`].
    pub fn parse(text: impl Into<String>) -> Result<Self, BadImage> {
        let text = text.into();
        let web = text.starts_with("http://") || text.starts_with("https://");
        let clean = !text.chars().any(|character| character.is_whitespace() || character.is_control());
        let is_address = web && clean && url::Url::parse(&text).is_ok();
        if text.len() <= MAX_IMAGE_BYTES && (text.is_empty() || is_address) {
            Ok(Self(text))
        } else {
            Err(BadImage)
        }
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Image> for String {
    fn from(image: Image) -> Self {
        image.0
    }
}
