//! Results in the XML that CI systems read: JUnit's, as Jenkins, GitLab and GitHub's reporters take it.

use std::fmt::Write as _;

use crate::policy_tests::Outcome;

/// A report about the tests of the configuration `name`.
pub(crate) fn report(name: &str, outcomes: &[Outcome]) -> String {
    let failed = outcomes.iter().filter(|outcome| !outcome.failures.is_empty()).count();
    let counts = format!("tests=\"{}\" failures=\"{failed}\"", outcomes.len());
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n<testsuite name=\"{}\" {counts}>\n",
        escaped(name)
    );
    for Outcome { name, file, line, failures } in outcomes {
        let (name, file) = (escaped(name), escaped(file));
        let case = format!("<testcase name=\"{name}\" classname=\"{file}\" file=\"{file}\" line=\"{line}\"");
        let _ = match failures.first() {
            None => writeln!(xml, "{case}/>"),
            Some(first) => {
                let (first, all) = (escaped(first), escaped(&failures.join("\n")));
                writeln!(xml, "{case}><failure message=\"{first}\">{all}</failure></testcase>")
            }
        };
    }
    xml.push_str("</testsuite>\n</testsuites>\n");
    xml
}

/// `text` within an attribute or an element (XML 1.0 §2.2, §2.4).
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            // XML has no way to write them.
            letter if letter.is_control() || matches!(letter, '\u{fffe}' | '\u{ffff}') => {
                escaped.push('\u{fffd}');
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}
