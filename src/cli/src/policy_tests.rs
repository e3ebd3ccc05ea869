//! `jwt-gate test`: policy tests, which are requests and what is expected of the gate.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::call::{Call, Credentials};
use crate::clock;
use crate::explain::{Explained, explain, hidden};
use crate::junit;
use crate::load::{File, Gate};
use crate::output::Output;
use crate::source::{Diagnostic, Severity, Source};
use crate::tree::{self, Dialect};
use crate::warnings::name;

/// What `jwt-gate test` was asked for.
#[derive(Debug)]
pub(crate) struct Run<'run> {
    pub(crate) config: &'run Path,
    pub(crate) nth: Option<usize>,
    pub(crate) files: &'run [std::path::PathBuf],
    pub(crate) junit: Option<&'run Path>,
    pub(crate) coverage: bool,
}

/// One test. A file has a list of them, `tests`, and may have a time, `now`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Test {
    name: String,
    now: Option<Value>,
    request: TestRequest,
    /// The claims of a token that is signed for the provider.
    claims: Option<Map<String, Value>>,
    token: Option<String>,
    /// Whose token it is, where there are several providers.
    provider: Option<String>,
    expect: Expected,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestRequest {
    #[serde(default = "get")]
    method: String,
    path: String,
    host: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, OneOrMore>,
}

/// A header's value, or its values.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    verdict: Option<ExpectedVerdict>,
    code: Option<String>,
    /// The rule that decides, or one of those that do.
    rule: Option<String>,
    status: Option<u32>,
    /// Headers of the request that the backend gets, or of the reply; null: absent.
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ExpectedVerdict {
    Allow,
    Deny,
    Redirect,
}

/// What became of a test.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) file: String,
    pub(crate) line: usize,
    /// What was not as expected; none where it passed.
    pub(crate) failures: Vec<String>,
}

fn get() -> String {
    "GET".to_owned()
}

/// Runs the tests; whether all of them passed.
pub(crate) fn command(run: &Run<'_>, output: &mut Output) -> Result<bool, String> {
    let file = File::open(run.config)?;
    let gate = file.gate(run.nth)?;
    let mut outcomes = Vec::new();
    let mut reached = BTreeSet::new();
    for path in run.files {
        for outcome in suite(path, &gate, &mut reached)? {
            if outcome.failures.is_empty() {
                output.line(&format!("ok    {}", outcome.name));
            } else {
                output.line(&format!("FAIL  {} ({}:{})", outcome.name, outcome.file, outcome.line));
                outcome.failures.iter().for_each(|failure| output.line(&format!("      {failure}")));
                if std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
                    output.line(&annotation(&outcome));
                }
            }
            outcomes.push(outcome);
        }
    }
    if run.coverage {
        coverage(&gate, &reached, output);
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.failures.is_empty()).count();
    output.line(&format!("{} passed, {failed} failed", outcomes.len() - failed));
    if let Some(path) = run.junit {
        let written = std::fs::write(path, junit::report(&file.source.name, &outcomes));
        written.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    if outcomes.is_empty() {
        return Err("there are no tests".to_owned());
    }
    Ok(failed == 0)
}

/// What GitHub shows beside the test's line
/// (<https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions>).
fn annotation(outcome: &Outcome) -> String {
    let escaped = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| escaped(text).replace(':', "%3A").replace(',', "%2C");
    let message = format!("{}\n{}", outcome.name, outcome.failures.join("\n"));
    format!("::error file={},line={}::{}", property(&outcome.file), outcome.line, escaped(&message))
}

/// Runs the tests of one file, and adds the rules that they reach.
fn suite(path: &Path, gate: &Gate, reached: &mut BTreeSet<String>) -> Result<Vec<Outcome>, String> {
    let mut source = Source::read(path)?;
    let documents =
        tree::parse(&source.text).map_err(|error| wrong_in(&source, error.message, error.place))?;
    source.hide_long_words();
    let wrong = |message: String, place: Range<usize>| wrong_in(&source, message, place);
    let [root] = documents.as_slice() else {
        return Err(format!("{} must hold one YAML document with `tests`", source.name));
    };
    let is_unknown = |entry: &&tree::Entry| !["now", "tests"].contains(&entry.key.as_str());
    if let Some(entry) = root.entries().iter().find(is_unknown) {
        let message = format!("unknown field `{}`; there are now, tests", entry.key);
        return Err(wrong(message, entry.key_place.clone()));
    }
    let suite_now = root.get("now").map(|node| node.to_json(Dialect::Core));
    let suite_now = suite_now.transpose().map_err(|error| wrong(error.message, error.place))?;
    let nodes = root.get("tests").map(tree::Node::items).unwrap_or_default();
    let suite_now = time(suite_now.as_ref(), clock::now())?;
    let mut outcomes = Vec::new();
    for node in nodes {
        let json = node.to_json(Dialect::Core).map_err(|error| wrong(error.message, error.place))?;
        let test: Test = serde_json::from_value(json)
            // The message repeats what it does not understand.
            .map_err(|error| wrong(hidden(&error.to_string(), &[]), node.shown_place(&source.text)))?;
        let failures = run(&test, gate, suite_now, reached)
            .map_err(|error| wrong(format!("{}: {error}", test.name), node.shown_place(&source.text)))?;
        let (line, _) = source.position(node.place.start);
        outcomes.push(Outcome { name: test.name, file: source.name.clone(), line, failures });
    }
    Ok(outcomes)
}

/// A mistake in a file of tests.
fn wrong_in(source: &Source, title: String, place: Range<usize>) -> String {
    let place = Some((place, String::new()));
    source.picture(
        &Diagnostic { severity: Severity::Error, title, place, context: None, hidden: None, help: None },
        false,
    )
}

/// What of `test` is not as expected.
fn run(
    test: &Test,
    gate: &Gate,
    suite_now: f64,
    reached: &mut BTreeSet<String>,
) -> Result<Vec<String>, String> {
    let now = time(test.now.as_ref(), suite_now)?;
    let mut call = Call::new(&test.request.method, &test.request.path);
    call.host.clone_from(&test.request.host);
    for (name, values) in &test.request.headers {
        match values {
            OneOrMore::One(value) => call.add(name, value),
            OneOrMore::More(values) => values.iter().for_each(|value| call.add(name, value)),
        }
    }
    let credentials = match (&test.claims, &test.token) {
        (Some(_), Some(_)) => return Err("needs one of claims and token, not both".to_owned()),
        (Some(claims), None) => Credentials::Claims(claims.clone()),
        (None, Some(token)) => Credentials::Token(token.clone()),
        (None, None) => Credentials::None,
    };
    call.authenticate(&credentials, test.provider.as_deref(), &gate.policy, &gate.config, now)?;
    let explained = explain(gate, &call, now);
    reached.extend(explained.rules.iter().cloned());
    if let Some(rule) = &test.expect.rule {
        // A rule that is not there would make a test that checks nothing but a name.
        let known = (0..gate.config.rules.len()).any(|index| name(&gate.config.rules, index) == *rule);
        if !known
            && !["default", "bypass_cors_preflight", "too_many_interpretations"].contains(&rule.as_str())
        {
            return Err(format!("there is no rule `{rule}`"));
        }
    }
    failures(&test.expect, &explained)
}

fn failures(expected: &Expected, explained: &Explained) -> Result<Vec<String>, String> {
    let Expected { verdict, code, rule, status, headers } = expected;
    if verdict.is_none() && code.is_none() && rule.is_none() && status.is_none() && headers.is_empty() {
        return Err("expects nothing".to_owned());
    }
    let mut failures = Vec::new();
    let was = format!("{}: {}, by {}", explained.verdict, explained.code, explained.rules.join(", "));
    if let Some(verdict) = verdict {
        let verdict = match verdict {
            ExpectedVerdict::Allow => "allow",
            ExpectedVerdict::Deny => "deny",
            ExpectedVerdict::Redirect => "redirect",
        };
        if explained.verdict != verdict {
            failures.push(format!("verdict: expected {verdict}, was {was}"));
        }
    }
    if let Some(code) = code.as_ref().filter(|code| **code != explained.code) {
        failures.push(format!("code: expected {code}, was {was}"));
    }
    if let Some(rule) = rule.as_ref().filter(|rule| !explained.rules.contains(rule)) {
        failures.push(format!("rule: expected {rule}, was {was}"));
    }
    let reply = explained.reply.as_ref();
    if let Some(status) = status.filter(|status| reply.map(|reply| reply.status) != Some(*status)) {
        let had = reply.map_or("none: it passed".to_owned(), |reply| reply.status.to_string());
        failures.push(format!("status: expected {status}, was {had}"));
    }
    let none = Vec::new();
    let actual = explained.headers.as_ref().or(reply.map(|reply| &reply.headers)).unwrap_or(&none);
    for (name, value) in headers {
        let is_it = |(known, _): &&(String, String)| known.eq_ignore_ascii_case(name);
        let had: Vec<&str> = actual.iter().filter(is_it).map(|(_, value)| value.as_str()).collect();
        if had != value.as_deref().into_iter().collect::<Vec<_>>() {
            let shown = |values: &[&str]| match values {
                [] => "absent".to_owned(),
                values => values.join(", "),
            };
            let expected: Vec<&str> = value.as_deref().into_iter().collect();
            failures.push(format!("headers.{name}: expected {}, was {}", shown(&expected), shown(&had)));
        }
    }
    Ok(failures)
}

fn time(value: Option<&Value>, otherwise: f64) -> Result<f64, String> {
    match value {
        None => Ok(otherwise),
        Some(Value::String(text)) => clock::parse(text),
        Some(other) => clock::parse(&other.to_string()),
    }
}

/// Names the rules that no test reached.
fn coverage(gate: &Gate, reached: &BTreeSet<String>, output: &mut Output) {
    let rules = &gate.config.rules;
    let missed: Vec<String> =
        (0..rules.len()).map(|index| name(rules, index)).filter(|name| !reached.contains(name)).collect();
    output.line(&format!("{} of {} rules reached by a test", rules.len() - missed.len(), rules.len()));
    missed.iter().for_each(|name| output.line(&format!("  not reached: {name}")));
    if !reached.contains("default") {
        output.line("  not reached: default");
    }
}
