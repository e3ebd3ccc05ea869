//! `jwt-gate check`

use std::path::Path;

use crate::load::File;
use crate::output::Output;
use crate::source::Severity;
use crate::warnings::warnings;

/// Checks every configuration in every file; whether all of them can be used.
pub(crate) fn command(files: &[impl AsRef<Path>], deny_warnings: bool, output: &mut Output) -> bool {
    let mut is_good = true;
    for path in files {
        is_good &= check(path.as_ref(), deny_warnings, output);
    }
    is_good
}

fn check(path: &Path, deny_warnings: bool, output: &mut Output) -> bool {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) => {
            output.error(&error);
            return false;
        }
    };
    let mut is_good = true;
    for found in &file.found {
        let (line, _) = file.source.position(found.place.start);
        let title = format!("{}:{line}: {}", file.source.name, found.title);
        let gate = match file.compile(found) {
            Ok(gate) => gate,
            Err(diagnostic) => {
                output.diagnostic(&file.source, &diagnostic);
                output.line(&format!("{title}: refused"));
                is_good = false;
                continue;
            }
        };
        let warnings = warnings(&gate, found, &file.source.text);
        debug_assert!(warnings.iter().all(|warning| warning.severity == Severity::Warning));
        warnings.iter().for_each(|warning| output.diagnostic(&file.source, warning));
        is_good &= warnings.is_empty() || !deny_warnings;
        let count = |count: usize, what: &str| match count {
            1 => format!("1 {what}"),
            _ => format!("{count} {what}s"),
        };
        output.line(&format!(
            "{title}: ok, {}, {}, {}",
            count(gate.config.providers.len(), "provider"),
            count(gate.config.rules.len(), "rule"),
            count(warnings.len(), "warning"),
        ));
        if let Some(note) = gate.stand_in_note() {
            output.line(&format!("  {note}"));
        }
    }
    is_good
}
