//! Every configuration of the gate that somebody may copy: in README, in docs and in `envoy/`.

use std::fs;
use std::path::{Path, PathBuf};

use jwt_gate_tests::ConfigForm;
use serde_json::Value;

use crate::repository;

/// A gate's configuration that somebody may copy.
pub(crate) struct Shipped {
    /// Where it is: file and line.
    pub(crate) place: String,
    pub(crate) gate: Value,
    /// How it reaches the gate.
    pub(crate) form: ConfigForm,
}

/// All of them.
pub(crate) fn shipped() -> Vec<Shipped> {
    let root = repository();
    let mut files = vec![root.join("README.md"), root.join("docker-compose.yml")];
    for folder in ["docs", "envoy"] {
        files_under(&root.join(folder), &mut files);
    }
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a text");
        let name = file.strip_prefix(&root).expect("in the repository").display().to_string();
        let blocks = if name.ends_with(".md") { yaml_blocks(&text) } else { vec![(1, text.clone())] };
        let before = found.len();
        for (line, block) in blocks {
            let documents: Vec<Value> = serde_saphyr::from_multiple(&block)
                .unwrap_or_else(|error| panic!("{name}:{line} is not YAML: {error}"));
            let place = format!("{name}:{line}");
            documents.iter().for_each(|document| add_gates(document, &place, ConfigForm::Struct, &mut found));
        }
        // Each of them begins so, wherever it stands: none is overlooked.
        let lines = text.lines().filter(|line| line.trim() == "providers:").count();
        assert_eq!(found.len() - before, lines, "{name}: configurations in it");
    }
    found
}

fn files_under(folder: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
        if path.is_dir() {
            files_under(&path, found);
        } else if ["md", "yaml", "yml"].contains(&kind) {
            found.push(path);
        }
    }
}

/// The fenced blocks of YAML with the numbers of their first lines.
fn yaml_blocks(page: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in (1..).zip(page.lines()) {
        let fence = line.trim_start();
        match &mut open {
            Some(_) if fence.starts_with("```") => blocks.extend(open.take()),
            Some((_, block)) => {
                block.push_str(line);
                block.push('\n');
            }
            None if ["```yaml", "```yml"].contains(&fence) => open = Some((number + 1, String::new())),
            None => {}
        }
    }
    blocks
}

/// Adds every object that has `providers`, which is what makes a gate's configuration. A file in a ConfigMap is read too.
fn add_gates(value: &Value, place: &str, form: ConfigForm, found: &mut Vec<Shipped>) {
    match value {
        Value::Object(fields) if fields.get("providers").is_some_and(Value::is_object) => {
            found.push(Shipped { place: place.to_owned(), gate: value.clone(), form });
        }
        Value::Object(fields) => {
            for (name, inner) in fields {
                // Istio and Envoy Gateway hand it over as text.
                let is_text = name == "pluginConfig" || name == "config" && fields.contains_key("rootID");
                let form = if is_text { ConfigForm::JsonText } else { form };
                add_gates(inner, place, form, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|inner| add_gates(inner, place, form, found)),
        Value::String(file) if file.lines().any(|line| line.trim() == "providers:") => {
            let documents: Vec<Value> = serde_saphyr::from_multiple(file)
                .unwrap_or_else(|error| panic!("{place}: the file in it is not YAML: {error}"));
            documents.iter().for_each(|document| add_gates(document, place, form, found));
        }
        _ => {}
    }
}

#[test]
fn a_configuration_in_a_config_map_is_found_as_one_in_a_resource_is() {
    let text = "kind: ConfigMap\ndata:\n  envoy.yaml: |\n    static_resources:\n      value:\n        providers:\n          app: {}\n\
                ---\nkind: WasmPlugin\nspec:\n  pluginConfig:\n    providers: {app: {}}\n";
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).expect("YAML");
    let mut found = Vec::new();
    documents.iter().for_each(|document| add_gates(document, "here", ConfigForm::Struct, &mut found));
    let forms: Vec<ConfigForm> = found.iter().map(|shipped| shipped.form).collect();
    assert_eq!(forms, [ConfigForm::Struct, ConfigForm::JsonText]);
}
