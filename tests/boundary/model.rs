//! What may arrive at the backend.

use std::collections::HashMap;
use std::sync::Mutex;

use jwt_gate_tests::{Seen, latin1};

use crate::case::{CASE, Case};
use crate::path::readings;

/// What only the gate may say.
const GUARDED: [&str; 3] = ["x-user-id", "x-user-role", "x-internal-role"];

/// The failures that are kept.
const ENOUGH: usize = 10;

/// What is known of the requests that were sent, and what arrived that should not have.
#[derive(Default)]
pub(crate) struct Model {
    cases: Mutex<HashMap<u64, Case>>,
    violations: Mutex<Vec<String>>,
    tally: Mutex<Tally>,
}

/// How many of what.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) spoofed_sent: u64,
    pub(crate) with_identity: u64,
    pub(crate) without_identity: u64,
    pub(crate) refused_by_gate: u64,
    pub(crate) refused_by_envoy: u64,
}

impl Model {
    /// Notes a request before it is sent.
    pub(crate) fn note(&self, case: Case) {
        self.tally(|tally| tally.spoofed_sent += u64::from(case.spoofed));
        self.cases.lock().expect("no thread panics with the cases").insert(case.id, case);
    }

    /// Notes what was answered: statuses, and how often each.
    pub(crate) fn count_answers(&self, answers: &[(u16, u64)]) {
        for (status, count) in answers {
            self.tally(|tally| match status {
                401 | 403 => tally.refused_by_gate += count,
                400..600 => tally.refused_by_envoy += count,
                _ => {}
            });
        }
    }

    /// Checks a request that arrived at the backend.
    pub(crate) fn check(&self, seen: &Seen) {
        let Err(violation) = self.judge(seen) else { return };
        let fields = |fields: &[(Vec<u8>, Vec<u8>)]| -> Vec<String> {
            fields.iter().map(|(name, value)| format!("{}: {}", latin1(name), latin1(value))).collect()
        };
        let text = format!(
            "{violation}: {} {:?} {:?} body {:?} trailers {:?}",
            seen.method,
            latin1(&seen.target),
            fields(&seen.headers),
            latin1(&seen.body),
            fields(&seen.trailers)
        );
        let mut violations = self.violations.lock().expect("no thread panics with the violations");
        if violations.len() < ENOUGH {
            violations.push(text);
        }
    }

    fn judge(&self, seen: &Seen) -> Result<(), String> {
        if seen.method.is_empty() {
            return Err("something that is no request arrived".to_owned());
        }
        let ids = seen.all(CASE);
        let case = match ids.as_slice() {
            // HTTP/0.9, which Envoy accepts with 1.0, has no headers; and somebody may name ours in `Connection`.
            [] => in_query(&seen.target),
            [id] => Some(id.parse::<u64>().map_err(|_| format!("the id {id:?} is nobody's"))?),
            _ => return Err(format!("several requests arrived as one: {ids:?}")),
        };
        let batch = case.map_or(0, |id| id / 1000);
        let known = case.map(|id| {
            let cases = self.cases.lock().expect("no thread panics with the cases");
            cases.get(&id).cloned().ok_or(format!("the id {id} was never sent"))
        });
        let case = known.transpose()?;
        let subject = case.as_ref().and_then(|case| case.subject.as_deref());
        let admin = case.as_ref().is_some_and(|case| case.admin);
        let fail = |what: &str| Err(format!("batch {batch}: {what}, of {case:?}"));

        // 1. Identity comes from the request's own token, under the names that were configured, once.
        let said: Vec<(&str, Vec<(String, String)>)> =
            GUARDED.iter().map(|name| (*name, seen.read_as(name))).collect();
        let mut identified = false;
        for (name, fields) in &said {
            let role = if admin { "admin" } else { "user" };
            let expected = match *name {
                "x-user-id" => subject,
                "x-user-role" => subject.map(|_| role),
                _ => None,
            };
            match (fields.as_slice(), expected) {
                ([], _) => {}
                ([(spelled, value)], Some(expected)) if spelled == name && value == expected => {
                    identified = true
                }
                _ => return fail(&format!("{name} arrived as {fields:?}")),
            }
        }
        if identified && said.iter().take(2).any(|(_, fields)| fields.is_empty()) {
            return fail("half an identity arrived");
        }
        // Trailers come after the head, which was judged already.
        if !seen.trailers.is_empty() {
            return Ok(());
        }

        // 2. What is protected in anybody's reading is reached with an identity only.
        let readings = readings(&seen.target);
        let within = |prefix: &[u8]| readings.iter().any(|path| path.starts_with(prefix));
        let (is_admin, is_api) = (within(b"/admin/"), within(b"/api/"));
        let preflight = case.as_ref().is_some_and(|case| case.preflight) && seen.method == "OPTIONS";
        if (is_admin || is_api) && !identified && !preflight {
            return fail("a protected path was reached without a token");
        }
        // 3. And what needs a role in anybody's reading, with that role only.
        if is_admin && !admin && !preflight {
            return fail("an administrator's path was reached without the role");
        }
        self.tally(|tally| match identified {
            true => tally.with_identity += 1,
            false => tally.without_identity += 1,
        });
        Ok(())
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.violations.lock().expect("no thread panics with the violations").len() >= ENOUGH
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().expect("no thread panics with the violations").clone()
    }

    pub(crate) fn tally(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.tally.lock().expect("no thread panics with the tally"));
    }

    pub(crate) fn total(&self) -> Tally {
        self.tally.lock().expect("no thread panics with the tally").clone()
    }
}

/// The id in the query.
fn in_query(target: &[u8]) -> Option<u64> {
    let target = latin1(target);
    let (_, after) = target.rsplit_once("&case=").or_else(|| target.rsplit_once("?case="))?;
    after.split('&').next()?.parse().ok()
}
