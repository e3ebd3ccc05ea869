//! What the documents call shown by a test is shown by one that is there.

use std::fs;
use std::path::Path;

/// The documents whose links are names of tests.
const DOCUMENTS: &[&str] = &["docs/security.md", "docs/reliability.md", "fuzz/README.md"];

/// Link texts and targets: `[text](target)`.
fn links(document: &str) -> Vec<(&str, &str)> {
    let parts = document.split("](").collect::<Vec<_>>();
    let pairs = parts.windows(2).filter_map(|pair| {
        let text = pair[0].rsplit('[').next()?;
        let target = pair[1].split(')').next()?;
        Some((text, target))
    });
    pairs.collect()
}

#[test]
fn every_test_that_a_document_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut named, mut wrong) = (0, Vec::new());
    for document in DOCUMENTS {
        let path = root.join(document);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{document}: {error}"));
        for (name, target) in links(&text).into_iter().filter(|(_, target)| !target.contains("://")) {
            let file = path.parent().expect("a folder").join(target.split('#').next().unwrap_or_default());
            let Ok(code) = fs::read_to_string(&file) else {
                wrong.push(format!("{document}: there is no {target}"));
                continue;
            };
            // A test's name is one long word; another text is for people.
            if target.ends_with(".rs") && name.matches('_').count() >= 2 {
                named += 1;
                if !code.contains(&format!("fn {name}(")) {
                    wrong.push(format!("{document}: {target} has no {name}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(named > 20, "only {named} tests are named: are the links still read?");
}
