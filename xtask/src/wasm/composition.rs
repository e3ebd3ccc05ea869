//! Where the bytes of a module come from.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::ops::Range;

use anyhow::Result;
use wasmparser::{KnownCustom, Name, Parser, Payload, TypeRef};

/// Whose code a function is, by what its (mangled) name holds; the first that fits. What was inlined into it counts
/// as its own.
const ORIGINS: &[(&str, &[&str])] = &[
    (OURS, &["jwt_gate"]),
    ("YAML: saphyr-parser", &["saphyr_parser", "arraydeque"]),
    ("Regular expressions: regex-lite", &["regex_lite"]),
    ("JSON: serde_json and what it uses", &["serde", "zmij", "itoa", "memchr"]),
    ("The SDK: proxy-wasm and what it uses", &["proxy_wasm", "proxy_on_", "hashbrown", "foldhash"]),
    ("HS256: jwt-simple and what it uses", &["hmac_sha256", "jwt_simple", "ct_codecs"]),
];
const OURS: &str = "The gate";
const STD: &str =
    "The standard library and what is left, with the instances of its types that all of these make";
const DATA: &str = "Data: texts, tables";
const REST: &str = "Everything else in the module";

/// The bytes of a module by their origin, the largest part first.
pub(crate) struct Composition(Vec<(&'static str, usize)>);

impl Composition {
    /// Of a module that has the names of its functions.
    pub(super) fn of(module: &[u8]) -> Result<Self> {
        let (mut imported, mut bodies, mut names) = (0, Vec::new(), HashMap::new());
        let (mut data, mut named) = (0, 0);
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        imported += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                    }
                }
                Payload::CodeSectionEntry(body) => bodies.push(size(&body.range())?),
                Payload::DataSection(section) => data = size(&section.range())?,
                Payload::CustomSection(section) => {
                    named += size(&section.range())?;
                    let KnownCustom::Name(parts) = section.as_known() else { continue };
                    for part in parts {
                        let Name::Function(functions) = part? else { continue };
                        for function in functions {
                            let function = function?;
                            names.insert(function.index, function.name);
                        }
                    }
                }
                _ => {}
            }
        }
        let mut parts: HashMap<&'static str, usize> = HashMap::from([(DATA, data)]);
        for (index, bytes) in (imported..).zip(bodies) {
            *parts.entry(origin(names.get(&index).copied().unwrap_or_default())).or_default() += bytes;
        }
        let rest = module.len() - named - parts.values().sum::<usize>();
        parts.insert(REST, rest);
        let mut parts: Vec<_> = parts.into_iter().collect();
        parts.sort_by_key(|(name, bytes)| (std::cmp::Reverse(*bytes), *name));
        Ok(Self(parts))
    }

    /// The code that is not the gate's own, in bytes.
    fn others(&self) -> usize {
        let others = self.0.iter().filter(|(origin, _)| ![OURS, DATA, REST].contains(origin));
        others.map(|(_, bytes)| bytes).sum()
    }

    /// As Markdown.
    pub(crate) fn table(&self) -> String {
        let mut table = String::from("| | bytes |\n| --- | ---: |\n");
        for (origin, bytes) in &self.0 {
            let _ = writeln!(table, "| {origin} | {bytes} |");
        }
        let _ = write!(table, "\n{} bytes are code of others.\n", self.others());
        table
    }
}

fn size(range: &Range<u64>) -> Result<usize> {
    Ok((range.end - range.start).try_into()?)
}

fn origin(name: &str) -> &'static str {
    let fits = |(_, parts): &&(&str, &[&str])| parts.iter().any(|part| name.contains(part));
    ORIGINS.iter().find(fits).map_or(STD, |(origin, _)| origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use walrus::{FunctionBuilder, Module};

    #[test]
    fn every_byte_is_somebodys_and_those_of_functions_their_crates() {
        let mut module = Module::default();
        let types = module.types.add(&[], &[]);
        module.add_import_func("env", "proxy_log", types);
        for (name, constants) in [("_ZN8jwt_gate4gate4Gate3new17h", 30), ("_RNvNt5alloc3vec3Vec", 10)] {
            let mut function = FunctionBuilder::new(&mut module.types, &[], &[]);
            (0..constants).for_each(|_| {
                function.func_body().i32_const(7).drop();
            });
            function.name(name.to_owned());
            let function = function.finish(vec![], &mut module.funcs);
            module.exports.add(name, function);
        }
        let bytes = module.emit_wasm();
        let composition = Composition::of(&bytes).unwrap();
        let of =
            |origin| composition.0.iter().find(|(known, _)| *known == origin).map_or(0, |(_, bytes)| *bytes);
        // Three bytes each, and an end and a count of locals.
        assert_eq!((of(OURS), of(STD), composition.others()), (30 * 3 + 2, 10 * 3 + 2, 10 * 3 + 2));
        let all: usize = composition.0.iter().map(|(_, bytes)| bytes).sum();
        assert!(of(REST) > 0 && all < bytes.len() && all > bytes.len() - 100, "all but the names");
    }
}
