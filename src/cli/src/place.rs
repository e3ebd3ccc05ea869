//! From the name of a field, as errors have it (`providers.app.secrets[0].env`), to its place in the file.

use std::ops::Range;

use crate::tree::Node;

/// The place of a field.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FieldPlace {
    /// Its name, where it is a member of a mapping.
    pub(crate) key: Option<Range<usize>>,
    /// Its value, or what to show of it.
    pub(crate) value: Range<usize>,
    /// All of its value.
    pub(crate) node: Range<usize>,
}

/// The place of `field` in `root`, or of the part of it that is there.
pub(crate) fn locate(root: &Node, field: &str, text: &str) -> FieldPlace {
    let mut node = root;
    let mut key = None;
    let mut rest = field;
    while !rest.is_empty() {
        if let Some((index, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let Some(item) = index.parse().ok().and_then(|index: usize| node.items().get(index)) else {
                break;
            };
            (node, key, rest) = (item, None, after);
            continue;
        }
        let name = rest.strip_prefix('.').unwrap_or(rest);
        // Names hold dots themselves, so the longest that fits is meant.
        let ends_there = |after: &str| after.is_empty() || after.starts_with(['.', '[']);
        let fits =
            |entry: &&crate::tree::Entry| name.strip_prefix(entry.key.as_str()).is_some_and(ends_there);
        let entries = node.entries().iter().filter(|entry| !entry.key.is_empty());
        // Of a member that is there twice, the second one is the mistake.
        let Some(entry) = entries.filter(fits).max_by_key(|entry| entry.key.len()) else { break };
        node = &entry.value;
        key = Some(entry.key_place.clone());
        rest = name.get(entry.key.len()..).unwrap_or_default();
    }
    // Of a list or a mapping that goes over several lines its name says more than its first line.
    let is_long = text.get(node.place.clone()).is_some_and(|shown| shown.trim_end().contains('\n'));
    let value = key.clone().filter(|_| is_long && node.text().is_none());
    FieldPlace { value: value.unwrap_or_else(|| node.shown_place(text)), node: node.place.clone(), key }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree;

    #[test]
    fn a_field_is_found_by_its_name() {
        let text = "providers:\n  my.app:\n    secrets: [{env: A}, {env: B}]\n    issuer: i\n  my: {x: 1}\nrules:\n- match:\n    path: /a\n";
        let root = tree::parse(text).unwrap().remove(0);
        let shown = |field: &str| {
            let FieldPlace { key, value, .. } = locate(&root, field, text);
            (key.map_or("", |key| &text[key]), &text[value])
        };
        assert_eq!(shown("providers.my.app.secrets[1].env"), ("env", "B"));
        assert_eq!(shown("providers.my.x"), ("x", "1"));
        assert_eq!(shown("rules[0].match"), ("match", "path: /a"));
        assert_eq!(
            shown("providers.my.app").1,
            "my.app",
            "a mapping over several lines is shown by its name"
        );
        assert_eq!(shown("rules[0].match.path"), ("path", "/a"));
        assert_eq!(
            shown("rules[0].match.prefix"),
            ("match", "path: /a"),
            "what is missing is in what is there"
        );
        assert_eq!(shown("rules[7].match"), ("rules", "rules"));
        assert_eq!(shown("").0, "");
    }
}
