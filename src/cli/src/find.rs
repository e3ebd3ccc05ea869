//! The gate's configurations in a file: alone, in an `envoy.yaml`, a `WasmPlugin` or an `EnvoyExtensionPolicy`.

use std::ops::Range;

use crate::tree::{self, Dialect, Kind, Node, TreeError};

/// A configuration, and how it came to be where it is.
#[derive(Debug)]
pub(crate) struct Found {
    /// As a person would call it: ``the Wasm filter `jwt_gate` ``.
    pub(crate) title: String,
    pub(crate) root: Node,
    pub(crate) dialect: Dialect,
    /// Where it is in the file.
    pub(crate) place: Range<usize>,
}

/// Every configuration in `text`.
pub(crate) fn configurations(text: &str) -> Result<Vec<Found>, TreeError> {
    let documents = tree::parse(text)?;
    let mut found = Vec::new();
    for document in &documents {
        let before = found.len();
        let mut error = None;
        document.visit(&mut |node| {
            if let Err(wrong) = look_at(node, text, &mut found) {
                error.get_or_insert(wrong);
            }
        });
        if let Some(error) = error {
            return Err(error);
        }
        if found.len() == before && document.get("providers").is_some() && !has_a_kind(document) {
            let root = document.clone();
            let title = "the configuration".to_owned();
            found.push(Found { title, place: root.place.clone(), root, dialect: Dialect::Core });
        }
    }
    Ok(found)
}

fn has_a_kind(document: &Node) -> bool {
    document.get("kind").is_some() || document.get("static_resources").is_some()
}

fn look_at(node: &Node, text: &str, found: &mut Vec<Found>) -> Result<(), TreeError> {
    let text_of = |path: &[&str]| node.at(path).and_then(Node::text).unwrap_or_default();
    match text_of(&["kind"]) {
        "WasmPlugin" => {
            let names = [text_of(&["spec", "pluginName"]), text_of(&["spec", "url"])];
            if let Some(config) = node.at(&["spec", "pluginConfig"])
                && is_ours(config, &names)
            {
                let title = format!("the WasmPlugin `{}`", text_of(&["metadata", "name"]));
                let (root, dialect) = (config.clone(), Dialect::Kubernetes);
                found.push(Found { title, place: root.place.clone(), root, dialect });
            }
        }
        "EnvoyExtensionPolicy" => {
            for item in node.at(&["spec", "wasm"]).map(Node::items).unwrap_or_default() {
                let text_of = |path: &[&str]| item.at(path).and_then(Node::text).unwrap_or_default();
                let url = text_of(&["code", "image", "url"]);
                let names = [text_of(&["name"]), text_of(&["rootID"]), url];
                if let Some(config) = item.get("config")
                    && is_ours(config, &names)
                {
                    let title = format!("the EnvoyExtensionPolicy's `{}`", text_of(&["name"]));
                    let (root, dialect) = (config.clone(), Dialect::Kubernetes);
                    found.push(Found { title, place: root.place.clone(), root, dialect });
                }
            }
        }
        _ => {}
    }
    // `type_url` is that of a TypedStruct.
    let is_of = |kind: &str| ["@type", "type_url"].iter().any(|key| text_of(&[key]).ends_with(kind));
    let filter =
        if text_of(&["@type"]).ends_with(".TypedStruct") { node.get("value").unwrap_or(node) } else { node };
    if is_of("envoy.extensions.filters.http.wasm.v3.Wasm") {
        let Some(config) = filter.get("config") else { return Ok(()) };
        let text_of = |path: &[&str]| config.at(path).and_then(Node::text).unwrap_or_default();
        let file = text_of(&["vm_config", "code", "local", "filename"]);
        let names = [text_of(&["name"]), text_of(&["root_id"]), file];
        if let Some(any) = config.get("configuration") {
            let title = format!("the Wasm filter `{}`", text_of(&["name"]));
            any_configuration(any, &title, &names, text, found)?;
        }
    } else if is_of("envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter") {
        let text_of = |path: &[&str]| filter.at(path).and_then(Node::text).unwrap_or_default();
        let names = [text_of(&["filter_name"]), text_of(&["dynamic_module_config", "name"])];
        if let Some(any) = filter.get("filter_config") {
            let title = format!("the dynamic module `{}`", text_of(&["filter_name"]));
            any_configuration(any, &title, &names, text, found)?;
        }
    }
    Ok(())
}

/// A configuration in a `google.protobuf.Any`: a `Struct`, or a `StringValue` of JSON.
fn any_configuration(
    any: &Node,
    title: &str,
    names: &[&str],
    text: &str,
    found: &mut Vec<Found>,
) -> Result<(), TreeError> {
    let kind = any.get("@type").and_then(Node::text).unwrap_or_default();
    let Some(value) = any.get("value") else { return Ok(()) };
    let title = title.to_owned();
    if kind.ends_with("google.protobuf.StringValue") {
        let Some(inner) = value.text() else { return Ok(()) };
        match inner_tree(inner, value, text) {
            Ok(root) if is_ours(&root, names) => {
                found.push(Found { title, place: value.place.clone(), root, dialect: Dialect::Core });
            }
            Ok(_) => {}
            Err(error) if is_named_ours(names) || inner.contains("providers") => return Err(error),
            Err(_) => {}
        }
    } else if is_ours(value, names) {
        let (root, dialect) = (value.clone(), Dialect::Envoy);
        found.push(Found { title, place: root.place.clone(), root, dialect });
    }
    Ok(())
}

fn is_ours(config: &Node, names: &[&str]) -> bool {
    config.get("providers").is_some() || is_named_ours(names)
}

fn is_named_ours(names: &[&str]) -> bool {
    names.iter().any(|name| name.replace('-', "_").contains("jwt_gate"))
}

/// The document in the text `inner` that the scalar `outer` of the file holds, with places in the file.
fn inner_tree(inner: &str, outer: &Node, file: &str) -> Result<Node, TreeError> {
    let lines = Lines::new(inner, outer, file);
    let locate = |place: Range<usize>| {
        lines.as_ref().map_or_else(|| outer.shown_place(file), |lines| lines.locate(&place))
    };
    let mut documents = tree::parse(inner)
        .map_err(|error| TreeError { place: locate(error.place), message: error.message })?;
    if documents.len() != 1 {
        let message = "must hold one JSON object".to_owned();
        return Err(TreeError { message, place: outer.shown_place(file) });
    }
    let mut root = documents.remove(0);
    relocate(&mut root, &locate);
    Ok(root)
}

fn relocate(node: &mut Node, locate: &impl Fn(Range<usize>) -> Range<usize>) {
    node.place = locate(node.place.clone());
    match &mut node.kind {
        Kind::Scalar { .. } => {}
        Kind::List(items) => items.iter_mut().for_each(|item| relocate(item, locate)),
        Kind::Mapping(entries) => entries.iter_mut().for_each(|entry| {
            entry.key_place = locate(entry.key_place.clone());
            relocate(&mut entry.value, locate);
        }),
    }
}

/// Where each line of a text within the file is: `(offset in the text, offset in the file)`.
struct Lines(Vec<(usize, usize)>);

impl Lines {
    /// `None` where the text does not stand in the file as it is (escapes, folded lines).
    fn new(inner: &str, outer: &Node, file: &str) -> Option<Self> {
        let mut places = Vec::new();
        let mut from = outer.place.start;
        let mut offset = 0;
        for line in inner.split_inclusive('\n') {
            let text = line.trim_end_matches('\n');
            let found = if text.is_empty() { 0 } else { file.get(from..)?.find(text)? };
            // A literal block has nothing but its indentation between its lines.
            let between = file.get(from..from + found)?;
            if !places.is_empty() && !between.chars().all(char::is_whitespace) {
                return None;
            }
            places.push((offset, from + found));
            from += found + text.len();
            offset += line.len();
        }
        Some(Self(places))
    }

    fn locate(&self, place: &Range<usize>) -> Range<usize> {
        let at = |offset: usize| {
            let line = self.0.iter().rev().find(|(start, _)| *start <= offset);
            line.map_or(0, |(start, in_file)| in_file + (offset - start))
        };
        let start = at(place.start);
        start..at(place.end).max(start)
    }
}
