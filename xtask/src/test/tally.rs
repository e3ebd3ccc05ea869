//! Counting what libtest prints.

use std::collections::BTreeMap;
use std::fmt;

/// The tests of a whole `cargo test` run.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Those that libtest counts as passed, the skipped ones among them.
    passed: usize,
    failures: Vec<String>,
    skipped: BTreeMap<String, String>,
    /// How many of the skipped ones libtest counts as passed.
    skipped_while_passing: usize,
    /// What the result lines say failed; a test program that dies prints no such line.
    failed_by_results: usize,
}

impl Tally {
    /// Reads a line of cargo's standard output.
    pub(super) fn read_line(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed = self.passed.saturating_add(count(counts, "passed"));
            self.failed_by_results = self.failed_by_results.saturating_add(count(counts, "failed"));
        } else if let Some((name, outcome)) =
            line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        {
            if outcome == "FAILED" {
                self.failures.push(name.to_owned());
            } else if let Some(reason) = outcome.strip_prefix("ignored") {
                let reason = reason.trim_start_matches([',', ' ']);
                let reason = if reason.is_empty() { "ignored" } else { reason };
                self.skipped.insert(name.to_owned(), reason.to_owned());
            }
        }
    }

    /// Reads how cargo ended. Where it failed and no test says so, something did not compile or died.
    pub(super) fn read_status(&mut self, success: bool) {
        for _ in self.failures.len()..self.failed_by_results {
            self.failures.push("a test whose name is lost in other output".to_owned());
        }
        if !success && self.failures.is_empty() {
            self.failures.push("cargo test: something did not compile, or a test program died".to_owned());
        }
    }

    /// Reads the file in which the tests of one run say that they could not run: `<test>: <reason>` a line.
    pub(super) fn read_skip_log(&mut self, log: &str) {
        let said: BTreeMap<&str, &str> =
            log.lines().map(|line| line.split_once(": ").unwrap_or((line, "no reason given"))).collect();
        self.skipped_while_passing = self.skipped_while_passing.saturating_add(said.len());
        self.skipped.extend(said.into_iter().map(|(test, reason)| (test.to_owned(), reason.to_owned())));
    }

    /// Notes tests that did not even start.
    pub(super) fn skip(&mut self, what: &str, reason: &str) {
        self.skipped.insert(what.to_owned(), reason.to_owned());
    }

    pub(super) fn skipped(&self) -> impl Iterator<Item = (&str, &str)> {
        self.skipped.iter().map(|(test, reason)| (test.as_str(), reason.as_str()))
    }

    pub(super) fn failures(&self) -> &[String] {
        &self.failures
    }

    pub(super) fn is_empty(&self) -> bool {
        self.passed == 0 && self.failures.is_empty()
    }
}

/// The number before `word` in a line such as `ok. 5 passed; 0 failed; 1 ignored; …`.
fn count(counts: &str, word: &str) -> usize {
    let words: Vec<_> = counts.split([' ', ';']).filter(|word| !word.is_empty()).collect();
    words.windows(2).find(|pair| pair[1] == word).and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passed = self.passed.saturating_sub(self.skipped_while_passing);
        write!(formatter, "{passed} passed, {} failed, {} skipped", self.failures.len(), self.skipped.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(output: &str, success: bool, skip_log: &str) -> Tally {
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.read_line(line));
        tally.read_status(success);
        tally.read_skip_log(skip_log);
        tally
    }

    const TWO_PROGRAMS: &str = "\
running 3 tests
test a ... ok
test b ... ignored, needs a moon
test c - should panic ... ok
test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
running 2 tests
test d ... FAILED
test e ... ok
test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 7 filtered out; finished in 0.00s
";

    #[test]
    fn the_counts_of_all_test_programs_are_added_up() {
        let tally = tally(TWO_PROGRAMS, false, "");
        assert_eq!(tally.to_string(), "3 passed, 1 failed, 1 skipped");
        assert_eq!(tally.failures(), ["d"]);
        assert_eq!(tally.skipped().collect::<Vec<_>>(), [("b", "needs a moon")]);
    }

    #[test]
    fn a_test_that_says_it_was_skipped_is_not_counted_as_passed_even_if_it_says_so_twice() {
        let log = "e: no Chromium\ne: no Chromium\n";
        assert_eq!(tally(TWO_PROGRAMS, false, log).to_string(), "2 passed, 1 failed, 2 skipped");
    }

    #[test]
    fn a_test_that_is_skipped_in_two_runs_is_passed_in_neither() {
        let mut tally = tally(TWO_PROGRAMS, false, "e: no Chromium\n");
        TWO_PROGRAMS.lines().for_each(|line| tally.read_line(line));
        tally.read_skip_log("e: no Chromium\n");
        assert_eq!(tally.to_string(), "4 passed, 2 failed, 2 skipped");
    }

    #[test]
    fn tests_that_did_not_start_are_skipped_and_passed_nowhere() {
        let mut tally = tally(TWO_PROGRAMS, false, "");
        tally.skip("the tests on Envoy 1.36.4", "no network");
        assert_eq!(tally.to_string(), "3 passed, 1 failed, 2 skipped");
    }

    #[test]
    fn what_does_not_compile_or_dies_is_a_failure_though_no_test_says_so() {
        assert_eq!(tally("", false, "").to_string(), "0 passed, 1 failed, 0 skipped");
        assert!(!tally("", false, "").is_empty());
        assert!(tally("", true, "").is_empty());
    }

    #[test]
    fn a_failure_whose_line_was_torn_apart_by_output_is_still_counted() {
        let torn = "test x ... some output\nFAILED\ntest result: FAILED. 0 passed; 1 failed; 0 ignored\n";
        assert_eq!(tally(torn, false, "").to_string(), "0 passed, 1 failed, 0 skipped");
    }
}
