//! A YAML or JSON document with the place of every value in it.

use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Number, Value};

/// How deep a document may nest.
const MAX_DEPTH: usize = 128;

/// The most values of a file. An alias counts as what it stands for, so that a few lines cannot take all memory.
const MAX_NODES: usize = 1_000_000;

/// A value and its place, in bytes of the file.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) place: Range<usize>,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// A text, and whether it is written without quotes.
    Scalar {
        text: String,
        is_plain: bool,
    },
    List(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// A member of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_place: Range<usize>,
    pub(crate) value: Node,
}

/// Whose rules say what a text without quotes stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// The gate's own: YAML 1.2's core schema, of which JSON is a part.
    Core,
    /// Envoy's: `yes` and `on` are true, and a number that is no 32-bit integer is a text
    /// (`Utility::parseYamlNode` in its `source/common/protobuf/yaml_utility.cc`).
    Envoy,
    /// Those of Kubernetes' clients: `yes` and `on` are true (YAML 1.1).
    Kubernetes,
}

/// What is wrong, and where.
#[derive(Debug)]
pub(crate) struct TreeError {
    pub(crate) message: String,
    pub(crate) place: Range<usize>,
}

/// Every document of `text`.
pub(crate) fn parse(text: &str) -> Result<Vec<Node>, TreeError> {
    // The parser counts characters.
    let mut offsets: Vec<usize> = text.char_indices().map(|(offset, _)| offset).collect();
    offsets.push(text.len());
    let mut reader =
        Reader { parser: Parser::new_from_str(text), text, offsets, anchors: HashMap::new(), nodes: 0 };
    let mut documents = Vec::new();
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(documents),
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            event => documents.push(reader.node(event, span, 0)?),
        }
    }
}

struct Reader<'text> {
    parser: Parser<'text, saphyr_parser::StrInput<'text>>,
    text: &'text str,
    offsets: Vec<usize>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'text> Reader<'text> {
    fn next(&mut self) -> Result<(Event<'text>, Span), TreeError> {
        match self.parser.next() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let start = self.offset(error.marker().index());
                Err(TreeError { message: format!("is not YAML: {}", error.info()), place: start..start })
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn offset(&self, characters: usize) -> usize {
        self.offsets.get(characters).copied().unwrap_or(self.text.len())
    }

    fn place(&self, span: Span) -> Range<usize> {
        let (start, end) = (self.offset(span.start.index()), self.offset(span.end.index()));
        start..end.max(start)
    }

    fn node(&mut self, event: Event<'text>, span: Span, depth: usize) -> Result<Node, TreeError> {
        let place = self.place(span);
        let fail = |message: &str| Err(TreeError { message: message.to_owned(), place: place.clone() });
        self.nodes += 1;
        if depth > MAX_DEPTH {
            return fail("nests too deep");
        }
        if self.nodes > MAX_NODES {
            return fail("has too many values");
        }
        let (anchor, kind, end) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain && tag.is_none();
                (anchor, Kind::Scalar { text: text.into_owned(), is_plain }, place.end)
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                let end = loop {
                    match self.next()? {
                        (Event::SequenceEnd, span) => break self.place(span).end,
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                };
                (anchor, Kind::List(items), end)
            }
            Event::MappingStart(anchor, _) => {
                let (entries, end) = self.mapping(depth)?;
                (anchor, Kind::Mapping(entries), end)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return fail("is an alias of nothing that stands before it");
                };
                self.nodes += node.count();
                return Ok(node);
            }
            _ => return fail("is not YAML"),
        };
        let node = Node { place: place.start..end.max(place.end), kind };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn mapping(&mut self, depth: usize) -> Result<(Vec<Entry>, usize), TreeError> {
        let mut entries = Vec::new();
        loop {
            let (key, key_place) = match self.next()? {
                (Event::MappingEnd, span) => return Ok((entries, self.place(span).end)),
                (Event::Scalar(key, ..), span) => (key.into_owned(), self.place(span)),
                (_, span) => {
                    let place = self.place(span);
                    return Err(TreeError { message: "is a key that is not a string".to_owned(), place });
                }
            };
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            entries.push(Entry { key, key_place, value });
        }
    }
}

impl Node {
    fn count(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar { .. } => 0,
            Kind::List(items) => items.iter().map(Self::count).sum(),
            Kind::Mapping(entries) => entries.iter().map(|entry| entry.value.count()).sum(),
        }
    }

    /// The members, if it is a mapping.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The items, if it is a list.
    pub(crate) fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::List(items) => items,
            _ => &[],
        }
    }

    /// The text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The member `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The member at the end of `path`.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Everything in it that is a mapping or a list, and itself.
    pub(crate) fn visit<'tree>(&'tree self, see: &mut impl FnMut(&'tree Self)) {
        see(self);
        self.items().iter().for_each(|item| item.visit(see));
        self.entries().iter().for_each(|entry| entry.value.visit(see));
    }

    /// Where to look for it in the file: of a list or a mapping that goes over several lines, its first line.
    pub(crate) fn shown_place(&self, text: &str) -> Range<usize> {
        let shown = text.get(self.place.clone()).unwrap_or_default();
        let length = shown.lines().next().unwrap_or_default().trim_end().len();
        self.place.start..self.place.start + length
    }

    /// As JSON, which is what the gate is given.
    pub(crate) fn to_json(&self, dialect: Dialect) -> Result<Value, TreeError> {
        match &self.kind {
            Kind::Scalar { text, is_plain: true } => Ok(plain(text, dialect)),
            Kind::Scalar { text, .. } => Ok(Value::String(text.clone())),
            Kind::List(items) => {
                items.iter().map(|item| item.to_json(dialect)).collect::<Result<_, _>>().map(Value::Array)
            }
            Kind::Mapping(entries) => {
                let mut members = Map::new();
                for Entry { key, key_place, value } in entries {
                    if members.insert(key.clone(), value.to_json(dialect)?).is_some() {
                        let message = "is there twice".to_owned();
                        return Err(TreeError { message, place: key_place.clone() });
                    }
                }
                Ok(Value::Object(members))
            }
        }
    }
}

/// A text without quotes.
fn plain(text: &str, dialect: Dialect) -> Value {
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Value::Null;
    }
    if let Some(flag) = flag(text, dialect) {
        return Value::Bool(flag);
    }
    let integer = match dialect {
        Dialect::Envoy => c_integer(text),
        _ => text.parse::<i64>().ok(),
    };
    match (integer, dialect) {
        (Some(integer), Dialect::Envoy) if i32::try_from(integer).is_err() => integer.to_string().into(),
        (Some(integer), _) => integer.into(),
        (None, Dialect::Envoy) => text.into(),
        (None, _) => {
            let looks_like_one = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
            let number = text.parse().ok().filter(|_| looks_like_one).and_then(Number::from_f64);
            number.map_or_else(|| text.into(), Value::Number)
        }
    }
}

fn flag(text: &str, dialect: Dialect) -> Option<bool> {
    let lower = text.to_ascii_lowercase();
    let mut capitalized = lower.clone();
    if let Some(first) = capitalized.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    if ![&lower, &capitalized, &text.to_ascii_uppercase()].contains(&&text.to_owned()) {
        return None;
    }
    match lower.as_str() {
        "true" => Some(true),
        "false" => Some(false),
        "y" | "yes" | "on" if dialect != Dialect::Core => Some(true),
        "n" | "no" | "off" if dialect != Dialect::Core => Some(false),
        _ => None,
    }
}

/// An integer as C++ streams read it: `0x` is hexadecimal, a leading zero octal.
fn c_integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let (radix, digits) = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hexadecimal) => (16, hexadecimal),
        None if digits.len() > 1 && digits.starts_with('0') => (8, digits),
        None => (10, digits),
    };
    i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn json(text: &str, dialect: Dialect) -> Value {
        parse(text).unwrap()[0].to_json(dialect).unwrap()
    }

    #[test]
    fn every_value_knows_its_place() {
        let text = "é: [a, {b: c}]\nd:\n  - e: 'f'\n";
        let root = &parse(text).unwrap()[0];
        let shown = |node: &Node| &text[node.shown_place(text)];
        assert_eq!(shown(root.get("é").unwrap()), "[a, {b: c}]");
        assert_eq!(shown(root.get("é").unwrap().items()[1].get("b").unwrap()), "c");
        let item = &root.get("d").unwrap().items()[0];
        assert_eq!(shown(item), "e: 'f'");
        assert_eq!(shown(item.get("e").unwrap()), "'f'");
    }

    #[test]
    fn a_text_without_quotes_means_what_its_reader_takes_it_for() {
        let text = "[yes, On, 'yes', 010, 0x10, 3000000000, 1.5, true, null, -7]";
        assert_eq!(
            json(text, Dialect::Core),
            json!(["yes", "On", "yes", 10, "0x10", 3_000_000_000_u64, 1.5, true, null, -7])
        );
        assert_eq!(
            json(text, Dialect::Envoy),
            json!([true, true, "yes", 8, 16, "3000000000", "1.5", true, null, -7])
        );
        let kubernetes = json(text, Dialect::Kubernetes);
        assert_eq!(
            (&kubernetes[0], &kubernetes[1], &kubernetes[2]),
            (&json!(true), &json!(true), &json!("yes"))
        );
    }

    #[test]
    fn aliases_are_written_out_but_not_without_bound() {
        assert_eq!(json("a: &x {b: 1}\nc: *x", Dialect::Envoy), json!({"a": {"b": 1}, "c": {"b": 1}}));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert_eq!(parse(&bomb).unwrap_err().message, "has too many values");
    }

    #[test]
    fn what_is_not_yaml_is_an_error_with_its_place() {
        let error = parse("a: 1\nb: [").unwrap_err();
        assert!(error.message.starts_with("is not YAML: ") && error.place.start >= 8, "{error:?}");
        let twice = parse("a: 1\na: 2").unwrap()[0].to_json(Dialect::Core).unwrap_err();
        assert_eq!((twice.message.as_str(), twice.place), ("is there twice", 5..6));
        assert!(parse(&"[".repeat(1000)).is_err());
    }
}
