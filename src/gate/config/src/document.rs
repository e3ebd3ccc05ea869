//! From the bytes that Envoy hands over to the configuration's types.

use jwt_gate_token::json;
use serde_json::Value;

use super::error::shown;
use super::fields::Node;
use super::{Config, ConfigError, reader, struct_wire, yaml};

/// The longest configuration, in bytes. YAML takes many times its length while it is read.
const MAX_BYTES: usize = 1024 * 1024;

/// Reads a configuration: JSON text, YAML text, or the protobuf wire bytes of a `google.protobuf.Struct`
/// (which is how Envoy hands over a `Struct`; a `StringValue` arrives as its text).
///
/// # Errors
/// The first thing that is wrong with it, and the field.
pub fn read(bytes: &[u8]) -> Result<Config, ConfigError> {
    let document = parse(bytes)?;
    if !document.is_object() {
        return Err(ConfigError::new("", "is no mapping of fields to values"));
    }
    reader::config(Node::document(document))
}

fn parse(bytes: &[u8]) -> Result<Value, ConfigError> {
    if bytes.len() > MAX_BYTES {
        return Err(ConfigError::new("", format!("is longer than {MAX_BYTES} bytes")));
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ConfigError::new("", "is empty; see docs/configuration.md for an example"));
    }
    // A Struct's only field has the tag 0x0A, which as text would be a line feed. So the stricter form goes
    // first: text that starts with a line feed is not well-formed wire bytes to its last byte.
    if bytes.first() == Some(&b'\n')
        && let Some(document) = struct_wire::decode(bytes)
    {
        return document.map_err(|name| ConfigError::new(shown(&name), "is there twice"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| {
        ConfigError::new("", "is neither UTF-8 text (JSON or YAML) nor a google.protobuf.Struct")
    })?;
    if text.trim_start().starts_with('{')
        && let Ok(document) = json::parse(bytes)
    {
        return Ok(document);
    }
    // JSON that did not parse is read as YAML too: a flow mapping (`{a: b}`) is YAML, and for a duplicate
    // name the YAML reader says which.
    yaml::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(text: &str) -> String {
        read(text.as_bytes()).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn json_and_yaml_say_the_same() {
        let yaml = "providers:\n  app:\n    secrets: [{inline: \"x\"}]\n    clock_skew_seconds: 5\nrules:\n  - match: {prefix: /}\n    requires: {provider_name: app}\n";
        let json = r#"{"providers":{"app":{"secrets":[{"inline":"x"}],"clock_skew_seconds":5}},"rules":[{"match":{"prefix":"/"},"requires":{"provider_name":"app"}}]}"#;
        let (yaml, json) = (read(yaml.as_bytes()).unwrap(), read(json.as_bytes()).unwrap());
        assert_eq!(yaml.providers["app"].clock_skew_seconds, 5);
        assert_eq!(format!("{:?}", yaml.rules), format!("{:?}", json.rules));
    }

    #[test]
    fn an_error_names_the_field() {
        for (text, expected) in [
            ("", "configuration: is empty"),
            ("providers: 7", "providers: "),
            ("providers: {app: {isuer: x}}", "providers.app.isuer: unknown field"),
            ("providers: {app: {clock_skew_seconds: -1}}", "providers.app.clock_skew_seconds: "),
            ("providers: {app: {clock_skew_seconds: soon}}", "providers.app.clock_skew_seconds: "),
            (
                "providers: {app: {secrets: [{env: A}, {envv: B}]}}",
                "providers.app.secrets[1].envv: unknown field",
            ),
            ("rules: [{match: {prefixx: /}}]", "rules[0].match.prefixx: unknown field"),
            ("rules: [{requires: {provider_name: a}}]", "rules[0]: missing field `match`"),
            ("default: maybe", "default: must be one of deny, require, allow"),
            ("providers: {app: {audiences: }}", "providers.app.audiences: is empty"),
            ("rules: [{match: {path: /}, requires: }]", "rules[0].requires: is empty"),
            ("providers: {app: {}, app: {}}", "providers.app: is there twice"),
            (r#"{"providers": {"app": {}, "app": {}}}"#, "providers.app: is there twice"),
            (
                "providers: {app: {secrets: [{inline:x}]}}",
                "providers.app.secrets[0]: needs a space after `inline:`",
            ),
            ("{default:deny}", "configuration: needs a space after `default:`"),
            ("- 1", "configuration: is no mapping"),
            ("a: [", "a: is not YAML at line "),
        ] {
            let message = fails(text);
            assert!(message.starts_with(expected), "{text:?} gave {message:?}");
            assert!(!message.contains('\n'));
        }
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_repeated() {
        for text in [
            "providers: {app: {secrets: [hush-hush]}}",
            "providers: {app: {secrets: hush-hush}}",
            "providers: {app: {local_jwks: hush-hush}}",
            "providers: {app: {secrets: [{inline: {hush-hush: 1}}]}}",
            "rules: \"hush-hush\\\", expected\"",
            "providers: {app: {secrets: [{inline:hush-hush}]}}",
            "providers: {app: {secrets: [{hush-hush-0123456789-abcdefghijkl: x}]}}",
            "providers: {app: {secrets: [{hush-hush-0123456789-abcdefghijkl: x, a: *b}]}}",
            "providers: {app: {secrets: {hush-hush-0123456789-abcdefghijkl: {a: 1, a: 1}}}}",
        ] {
            let message = fails(text);
            assert!(!message.is_empty() && !message.contains("hush"), "{message}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_and_no_struct_are_refused() {
        assert!(read(&[0xff, 0xfe]).is_err());
        assert!(fails(&" ".repeat(MAX_BYTES)).contains("is empty"));
        assert!(fails(&" ".repeat(MAX_BYTES + 1)).contains("is longer than"));
        assert!(read(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff]).is_err());
    }
}
