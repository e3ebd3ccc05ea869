//! YAML text (YAML 1.2, core schema), by way of saphyr's parser.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

use super::ConfigError;
use super::error::shown;

/// How deep a configuration may nest.
const MAX_DEPTH: usize = 64;

/// The one document in `text`.
pub(super) fn parse(text: &str) -> Result<Value, ConfigError> {
    let mut reader = Reader { parser: Parser::new_from_str(text), path: Vec::new() };
    loop {
        match reader.next()? {
            Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
            Event::StreamEnd => {
                return Err(reader.error("is empty; see docs/configuration.md for an example"));
            }
            event => {
                let value = reader.value(event)?;
                return match (reader.next()?, reader.next()?) {
                    (Event::DocumentEnd, Event::StreamEnd) => Ok(value),
                    _ => Err(reader.error("holds more than one YAML document")),
                };
            }
        }
    }
}

struct Reader<'text> {
    parser: Parser<'text, saphyr_parser::StrInput<'text>>,
    path: Vec<String>,
}

impl<'text> Reader<'text> {
    fn next(&mut self) -> Result<Event<'text>, ConfigError> {
        match self.parser.next() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => {
                let place = error.marker();
                Err(self.error(format!("is not YAML at line {}: {}", place.line(), error.info())))
            }
            None => Ok(Event::StreamEnd),
        }
    }

    fn value(&mut self, event: Event<'text>) -> Result<Value, ConfigError> {
        if self.path.len() > MAX_DEPTH {
            return Err(self.error("nests too deep"));
        }
        match event {
            Event::Scalar(text, ScalarStyle::Plain, _, None) => Ok(plain(&text)),
            Event::Scalar(text, _, _, None) => Ok(Value::String(text.into_owned())),
            Event::SequenceStart(_, None) => self.sequence(),
            Event::MappingStart(_, None) => self.mapping(),
            Event::Alias(_) => {
                Err(self.error("uses a YAML alias, which is not read here: write the value out"))
            }
            _ => Err(self.error("uses a YAML tag, which is not read here: quote a text instead")),
        }
    }

    fn sequence(&mut self) -> Result<Value, ConfigError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Value::Array(items)),
                event => {
                    self.path.push(format!("[{}]", items.len()));
                    items.push(self.value(event)?);
                    self.path.pop();
                }
            }
        }
    }

    fn mapping(&mut self) -> Result<Value, ConfigError> {
        let mut members = Map::new();
        loop {
            let name = match self.next()? {
                Event::MappingEnd => return Ok(Value::Object(members)),
                Event::Scalar(name, _, _, None) => name.into_owned(),
                _ => return Err(self.error("has a key that is no text")),
            };
            self.path.push(shown(&name).into_owned());
            let event = self.next()?;
            let value = self.value(event)?;
            if members.insert(name, value).is_some() {
                return Err(self.error("is there twice"));
            }
            self.path.pop();
        }
    }

    fn error(&self, message: impl std::fmt::Display) -> ConfigError {
        ConfigError::new(self.path.join(".").replace(".[", "["), message)
    }
}

/// A plain scalar under the core schema (YAML 1.2.2 §10.3.2), but for the number forms that no field of
/// ours takes (octal, hexadecimal, infinities), which stay text.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) {
        if let Ok(integer) = text.parse::<i64>() {
            return Value::Number(integer.into());
        }
        if let Some(number) = text.parse::<f64>().ok().and_then(Number::from_f64) {
            return Value::Number(number);
        }
    }
    Value::String(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_core_schema_is_read() {
        let text = "# a comment\na: 1\nb: -2.5\nc: [x, 'y z', \"\\u00e9\", null, ~, true]\nd:\n  - e: {f: g}\nh: >\n  folded\n  text\ni: 2:new,1:old\nj: \"7\"\nk:\nl: 1e3\n";
        assert_eq!(
            parse(text).unwrap(),
            json!({"a": 1, "b": -2.5, "c": ["x", "y z", "é", null, null, true], "d": [{"e": {"f": "g"}}],
                   "h": "folded text\n", "i": "2:new,1:old", "j": "7", "k": null, "l": 1000.0})
        );
        assert_eq!(parse("---\n{a: b}\n...\n").unwrap(), json!({"a": "b"}));
    }

    #[test]
    fn what_is_not_read_is_an_error_with_its_place() {
        let message = |text: &str| parse(text).err().unwrap().to_string();
        assert!(message("a: {b: [1, {c: 1, c: 2}]}").starts_with("a.b[1].c: is there twice"));
        assert!(message("a: &x 1\nb: *x").starts_with("b: uses a YAML alias"));
        assert!(message("a: !!str 1").starts_with("a: uses a YAML tag"));
        assert!(message("a: 1\n---\nb: 1").contains("more than one"));
        assert!(message("# nothing\n").contains("is empty"));
        assert!(message(&"[".repeat(100)).contains("nests too deep"));
        assert!(message("? [a]\n: b").contains("no text"));
    }
}
