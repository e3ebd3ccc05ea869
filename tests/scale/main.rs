//! Past one machine: several Envoys and companions on one PostgreSQL, hosts of their own, some of which fail.
//!
//! `cargo xtask measure scale` does the same for longer, with more that fails, and writes docs/scale.md.

#[allow(dead_code, reason = "what is measured uses more of it")]
mod failures;
mod gates;
mod sessions;
#[allow(dead_code, reason = "what is measured uses more of it")]
mod site;
mod tally;
mod traffic;
// The companion's own tests start a PostgreSQL of their own; the same one serves here.
#[path = "../../src/companion/tests/it/postgres.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod postgres;
// What it needs of theirs.
#[path = "../../src/companion/tests/it/run.rs"]
mod setup;

use std::time::Duration;

use jwt_gate_tests::skipped;

use failures::{COMPANION_DIES, GATE_IS_CUT_OFF, Pace, happen};
use site::{GATES, Site};
use traffic::Traffic;

#[test]
fn while_a_companion_dies_and_a_gate_is_cut_off_no_answer_is_wrong() {
    const NAME: &str = "while_a_companion_dies_and_a_gate_is_cut_off_no_answer_is_wrong";
    let mut site = match Site::start() {
        Ok(site) => site,
        Err(reason) => return skipped(NAME, &reason),
    };
    let second = Duration::from_secs(1);
    let traffic = Traffic::start(&site);
    let pace = Pace { before: second, broken: 4 * second, after: 2 * second };
    let died = happen(&mut site, &traffic, &COMPANION_DIES, pace);
    // Long enough for the gate's list to be too old.
    let pace = Pace { before: second, broken: 8 * second, after: second };
    let cut_off = happen(&mut site, &traffic, &GATE_IS_CUT_OFF, pace);
    let examples = traffic.stop();
    for tally in [&died, &cut_off] {
        assert_eq!(tally.wrong, 0, "{examples:#?}");
        assert!(tally.passed > 0 && tally.refused > 0, "{tally:?}");
    }
    assert!(died.revoked + cut_off.revoked > 0, "{cut_off:?}");
    // It happened: a gate without its companions lets nobody in once its list is too old, and clients go elsewhere.
    let stale = GATES.map(|gate| site.counter(gate, "jwt_gate.denied.revocation_stale"));
    assert!(stale[0] > 0 && cut_off.elsewhere > 0, "{stale:?}, {cut_off:?}");
}
