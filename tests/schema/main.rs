//! The JSON Schema of the gate's configuration, and every example of a configuration in the repository.

use std::fs;
use std::path::{Path, PathBuf};

use jwt_gate::{Policy, config};
use schemars::Schema;
use schemars::transform::{RecursiveTransform, Transform};
use serde_json::{Value, json};

const SCHEMA: &str = "docs/config.schema.json";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository").to_owned()
}

fn schema() -> Value {
    let mut schema = schemars::schema_for!(config::Config);
    schema.insert("title".into(), "jwt-gate configuration".into());
    RecursiveTransform(without_null).transform(&mut schema);
    schema.to_value()
}

/// Takes out that a field may be null, which is what an optional field is to schemars: the gate takes an absent
/// field for an absent field, and a null for a mistake.
fn without_null(schema: &mut Schema) {
    for keyword in ["type", "anyOf"] {
        let Some(Value::Array(alternatives)) = schema.get_mut(keyword) else { continue };
        alternatives.retain(|one| *one != json!("null") && *one != json!({"type": "null"}));
        if let [one] = alternatives.as_mut_slice() {
            let one = one.take();
            schema.remove(keyword);
            match one {
                Value::Object(members) => members.into_iter().for_each(|(name, value)| {
                    schema.insert(name, value);
                }),
                name => {
                    schema.insert(keyword.to_owned(), name);
                }
            }
        }
    }
}

#[test]
fn the_schema_in_docs_is_the_one_of_the_types() {
    let path = repository().join(SCHEMA);
    let expected = format!("{:#}\n", schema());
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, &expected).expect("the schema is written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "{SCHEMA} is out of date: UPDATE_SCHEMA=1 cargo test -p jwt-gate-tests --test schema"
    );
}

#[test]
fn every_example_is_valid_by_schema_and_by_the_gate() {
    let examples = examples();
    for place in ["envoy/envoy.yaml", "docs/configuration.md", "README.md"] {
        assert!(examples.iter().any(|(from, _)| from.starts_with(place)), "{place} holds no example");
    }
    let validator = jsonschema::validator_for(&schema()).expect("the schema is one");
    let environment = |name: &str| {
        let secret = "0123456789abcdef0123456789abcdef";
        Some(if name.ends_with("SECRETS") { format!("1:{secret}") } else { secret.to_owned() })
    };
    for (from, example) in examples {
        let errors: Vec<String> = validator
            .iter_errors(&example)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{from}: {errors:#?}");
        let compiled =
            config::read(example.to_string().as_bytes()).and_then(|config| Policy::new(config, &environment));
        assert!(compiled.is_ok(), "{from}: {:?}", compiled.err());
    }
}

#[test]
fn the_schema_refuses_what_the_gate_refuses_by_its_shape() {
    let validator = jsonschema::validator_for(&schema()).expect("the schema is one");
    for text in [
        "{}",
        "{providers: {app: {isuer: x}}}",
        "{providers: {app: {clock_skew_seconds: -1}}}",
        "{providers: {}, default: maybe}",
        "{providers: {}, rules: [{requires: {}}]}",
        "{providers: {}, rules: [{match: {path: /}, requires: }]}",
        "{providers: {app: {issuer: null}}}",
    ] {
        let value: Value = serde_saphyr::from_str(text).expect("YAML");
        assert!(!validator.is_valid(&value), "{text}");
        assert!(config::read(text.as_bytes()).is_err(), "{text}");
    }
}

/// Every configuration of the gate in `envoy/`, `docs/` and the README, with where it is from.
fn examples() -> Vec<(String, Value)> {
    let root = repository();
    let mut files = vec![root.join("README.md")];
    for folder in ["envoy", "docs"] {
        collect(&root.join(folder), &mut files);
    }
    let mut examples = Vec::new();
    for file in files {
        let name = file.strip_prefix(&root).unwrap_or(&file).display().to_string();
        let text = fs::read_to_string(&file).unwrap_or_default();
        let documents: Vec<&str> = match file.extension().and_then(|extension| extension.to_str()) {
            Some("yaml" | "yml") => vec![&text],
            Some("md") => {
                text.split("```yaml\n").skip(1).filter_map(|block| block.split("```").next()).collect()
            }
            _ => continue,
        };
        for text in documents.iter().flat_map(|text| text.split("\n---\n")) {
            if let Ok(document) = serde_saphyr::from_str::<Value>(text) {
                find(&document, &name, &mut examples);
            }
        }
    }
    examples
}

/// Configurations anywhere in `document`: an object with `providers` that knows of secrets in our way.
fn find(document: &Value, from: &str, examples: &mut Vec<(String, Value)>) {
    match document {
        Value::Object(members) => {
            let ours = members.get("providers").and_then(Value::as_object).is_some_and(|providers| {
                providers.values().any(|p| p.get("secrets").is_some() || p.get("local_jwks").is_some())
                    && !members.contains_key("@type")
            });
            if ours {
                examples.push((from.to_owned(), document.clone()));
            } else {
                members.values().for_each(|value| find(value, from, examples));
            }
        }
        Value::Array(items) => items.iter().for_each(|item| find(item, from, examples)),
        // A `StringValue` holds the configuration as text.
        Value::String(text) if text.contains("providers") => {
            if let Ok(inner @ (Value::Object(_) | Value::Array(_))) = serde_saphyr::from_str::<Value>(text) {
                find(&inner, from, examples);
            }
        }
        _ => {}
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}
