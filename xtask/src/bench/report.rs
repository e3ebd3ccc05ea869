//! Where the figures go: the terminal, and `docs/benchmarks.md` with its charts.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::document;
use crate::workspace::Workspace;

/// What is written as soon as it was measured, so that it is not lost with what comes after.
pub(super) struct Report {
    /// The root of the repository, unless nothing is to be written.
    root: Option<PathBuf>,
}

impl Report {
    pub(super) fn new(workspace: &Workspace, only_print: bool) -> Result<Self> {
        let root = (!only_print).then(|| workspace.root.clone());
        if let Some(root) = &root {
            fs::create_dir_all(root.join("docs/images"))?;
        }
        Ok(Self { root })
    }

    /// The text of a part, in Markdown.
    pub(super) fn part(&self, name: &str, text: &str) -> Result<()> {
        println!("\n{name}\n\n{text}");
        self.put("docs/benchmarks.md", name, text)
    }

    /// The part of the README that is measured.
    pub(super) fn readme(&self, text: &str) -> Result<()> {
        self.put("README.md", "performance", text)
    }

    /// A chart, which `draw` writes to the path that it is given.
    pub(super) fn chart(&self, name: &str, draw: &dyn Fn(&Path) -> Result<()>) -> Result<()> {
        let Some(root) = &self.root else { return Ok(()) };
        draw(&root.join(format!("docs/images/benchmark-{name}.svg")))
    }

    fn put(&self, file: &str, part: &str, text: &str) -> Result<()> {
        let Some(root) = &self.root else { return Ok(()) };
        let path = root.join(file);
        let what = || path.display().to_string();
        let old = fs::read_to_string(&path).with_context(what)?;
        fs::write(&path, document::put(&old, part, text)?).with_context(what)
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::super::workload::Workload;
    use super::*;

    #[test]
    fn every_part_has_its_place_in_the_documents() {
        let page = include_str!("../../../docs/benchmarks.md");
        let others =
            ["machine", "targets", "latency", "footprint", "composition", "companion", "instructions"];
        for part in Workload::value_variants().iter().map(|workload| workload.name()).chain(others) {
            document::put(page, part, "new").unwrap();
        }
        document::put(include_str!("../../../README.md"), "performance", "new").unwrap();
    }
}
