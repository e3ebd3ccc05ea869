//! Following the companion's feed.

use std::sync::Arc;

use jwt_gate_token::{INTERNAL_AUDIENCE, Keyring, NumericDate, issue};
use serde_json::json;

use super::feed::Feed;
use super::revocations::Revocations;
use super::set::{Full, Page};
use crate::config::WhenStale;
use crate::log_line::{LogLine, Severity};

/// How long the gate's own token for the feed lives, in seconds.
const TOKEN_LIFETIME_SECONDS: f64 = 30.0;

/// The most pages that are asked for one after the other. The longest list has a few hundred.
const MAX_PAGES: u32 = 4096;

/// The longest cursor that is sent back, in bytes.
const MAX_CURSOR_BYTES: usize = 256;

/// Keeps [`Revocations`] up to date. The host makes its calls and tells it the time.
pub struct Follower {
    feed: Feed,
    /// Signs the requests for the feed.
    keyring: Arc<Keyring>,
    when_stale: WhenStale,
    revocations: Arc<Revocations>,
    /// The position after the last answer; empty at the beginning.
    cursor: String,
    /// When the host began to follow, in seconds on the clock that only goes forward, as the other two. The age of a list that
    /// was never complete counts from here.
    started_at: Option<f64>,
    /// When the last request was made.
    asked_at: f64,
    /// When the request was made whose answer completed the list.
    complete_at: Option<f64>,
    /// How many pages have followed without a pause.
    pages: u32,
    capacity: Capacity,
    freshness: Freshness,
    failures: u64,
}

/// Whether there was room for the last page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Capacity {
    HasRoom,
    /// There was none, and no log line says so yet.
    Full,
    /// There was none, and a log line says so.
    FullAndReported,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freshness {
    /// The list has never been complete, and there is still time for it.
    CatchingUp,
    /// It is recent enough.
    Fresh,
    /// It is too old.
    Stale,
}

/// A request to the companion, for the host to make.
#[derive(Debug)]
pub struct PollRequest {
    /// Envoy's cluster.
    pub cluster: String,
    /// The headers, with pseudo-headers.
    pub headers: Vec<(&'static str, String)>,
    /// How long to wait for the answer, in milliseconds.
    pub timeout_ms: u32,
}

/// What the host does after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PollOutcome {
    /// It asks again after the interval.
    Complete,
    /// It asks again at once: there are more pages.
    More,
    /// It counts a failure, and asks again after the interval.
    Failed,
}

/// A change of state that is worth a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    /// The list is recent.
    Fresh,
    /// The list is too old.
    Stale {
        /// Whether good tokens pass meanwhile.
        allowed: bool,
    },
    /// The list is full: later revocations are not known here.
    Full,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Follower").field("feed", &self.feed).finish_non_exhaustive()
    }
}

impl Follower {
    /// The largest answer that is read, in bytes.
    pub const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

    /// A follower of `feed`. It goes on from where the first of `predecessors` is that follows the same feed.
    pub(crate) fn new<'old>(
        feed: Feed,
        keyring: Arc<Keyring>,
        when_stale: WhenStale,
        predecessors: impl IntoIterator<Item = &'old Self>,
    ) -> Self {
        let mut follower = Self {
            feed,
            keyring,
            when_stale,
            revocations: Arc::default(),
            cursor: String::new(),
            started_at: None,
            asked_at: 0.0,
            complete_at: None,
            pages: 0,
            capacity: Capacity::HasRoom,
            freshness: Freshness::CatchingUp,
            failures: 0,
        };
        if let Some(old) = predecessors.into_iter().find(|old| old.feed.is_same(&follower.feed)) {
            follower.freshness = old.freshness;
            follower.started_at = old.started_at;
            follower.complete_at = old.complete_at;
            let set = Arc::clone(&old.revocations.set);
            follower.revocations = Revocations::new(set, old.freshness == Freshness::Fresh).into();
            // Entries that are kept too short for a longer clock skew are read again.
            if follower.feed.clock_skew_seconds <= old.feed.clock_skew_seconds {
                follower.cursor.clone_from(&old.cursor);
            }
        }
        follower
    }

    /// Whether both ask the same companion for the same list in the same way, so that one of them is enough.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.feed == other.feed
            && self.when_stale == other.when_stale
            && self.keyring.kids().eq(other.keyring.kids())
    }

    /// The revocations, for workers to share.
    #[must_use]
    pub fn revocations(&self) -> &Arc<Revocations> {
        &self.revocations
    }

    /// How often to ask, in milliseconds.
    #[must_use]
    pub fn interval_ms(&self) -> u32 {
        self.feed.interval_ms
    }

    /// The request for new entries, with a token of our own. `now` is the time in seconds since 1970; `instant` is in seconds
    /// on a clock that only goes forward.
    #[must_use]
    pub fn poll(&mut self, now: NumericDate, instant: f64) -> PollRequest {
        self.asked_at = instant;
        let claims = json!({
            "iss": "jwt-gate",
            "aud": INTERNAL_AUDIENCE,
            "iat": now.floor(),
            "exp": now.floor() + TOKEN_LIFETIME_SECONDS,
        });
        // If no token can be made, the answer is 401, and counts as a failure.
        let token =
            claims.as_object().and_then(|claims| issue(&self.keyring, claims).ok()).unwrap_or_default();
        let Feed { cluster, path, interval_ms, .. } = &self.feed;
        let path =
            if self.cursor.is_empty() { path.clone() } else { format!("{path}?since={}", self.cursor) };
        let headers = vec![
            (":method", "GET".to_owned()),
            (":scheme", "http".to_owned()),
            (":path", path),
            (":authority", cluster.clone()),
            ("accept", "application/json".to_owned()),
            ("authorization", format!("Bearer {token}")),
        ];
        let timeout_ms = interval_ms.saturating_mul(4).clamp(2_000, 10_000);
        PollRequest { cluster: cluster.clone(), headers, timeout_ms }
    }

    /// Takes an answer: its `:status`, and its body.
    pub fn answer(&mut self, status: &[u8], body: &[u8], now: NumericDate) -> PollOutcome {
        let page = match status {
            b"200" if body.len() <= Self::MAX_ANSWER_BYTES => serde_json::from_slice::<Page>(body).ok(),
            _ => None,
        };
        let Some(page) = page.filter(|page| is_cursor(&page.cursor)) else { return self.failed() };
        if self.revocations.set.add(&page, self.feed.clock_skew_seconds, now) == Err(Full) {
            if self.capacity == Capacity::HasRoom {
                self.capacity = Capacity::Full;
            }
            return self.failed();
        }
        self.capacity = Capacity::HasRoom;
        let before = std::mem::replace(&mut self.cursor, page.cursor);
        if page.more {
            // A feed that goes in circles is not followed without a pause.
            self.pages = self.pages.saturating_add(1);
            let moves_on = before != self.cursor && self.pages < MAX_PAGES;
            return if moves_on { PollOutcome::More } else { self.failed() };
        }
        self.pages = 0;
        self.complete_at = Some(self.asked_at);
        PollOutcome::Complete
    }

    /// Counts a call that could not be made, or was not answered.
    pub fn failed(&mut self) -> PollOutcome {
        self.pages = 0;
        self.failures = self.failures.saturating_add(1);
        PollOutcome::Failed
    }

    /// Compares the list's age with the configuration; returns a change since the last time.
    pub fn tick(&mut self, instant: f64) -> Option<Transition> {
        self.started_at.get_or_insert(instant);
        if self.capacity == Capacity::Full {
            self.capacity = Capacity::FullAndReported;
            return Some(Transition::Full);
        }
        let is_young = self.age_seconds(instant) <= self.feed.max_staleness_seconds;
        let freshness = match self.complete_at {
            _ if !is_young => Freshness::Stale,
            None => Freshness::CatchingUp,
            Some(_) => Freshness::Fresh,
        };
        let before = std::mem::replace(&mut self.freshness, freshness);
        self.revocations.set_fresh(freshness == Freshness::Fresh);
        match freshness {
            _ if freshness == before => None,
            Freshness::CatchingUp => None,
            Freshness::Fresh => Some(Transition::Fresh),
            Freshness::Stale => Some(Transition::Stale { allowed: self.when_stale == WhenStale::Allow }),
        }
    }

    /// How long ago the list was complete, in seconds; if it never was, how long ago this started.
    #[must_use]
    pub fn age_seconds(&self, instant: f64) -> f64 {
        let since = self.complete_at.or(self.started_at).unwrap_or(instant);
        (instant - since).max(0.0)
    }

    /// The same in whole milliseconds, for a gauge.
    #[must_use]
    pub fn age_ms(&self, instant: f64) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
        let age_ms = (self.age_seconds(instant) * 1000.0) as u64;
        age_ms
    }

    /// The line for the log about a change of state.
    #[must_use]
    pub fn line(&self, transition: Transition) -> LogLine {
        match transition {
            Transition::Fresh => LogLine::new(Severity::Info, "revocations are up to date"),
            Transition::Stale { allowed } => {
                let text = format!(
                    "revocations are stale, {} calls have failed; good tokens {} (when_stale)",
                    self.failures,
                    if allowed { "pass meanwhile" } else { "are refused meanwhile" }
                );
                LogLine::new(Severity::Warning, text)
            }
            Transition::Full => {
                let text = format!(
                    "the revocation list is full ({} entries): tokens that are revoked from now on pass until \
                     older entries expire; shorten the tokens' lifetime, or give each companion fewer users",
                    self.revocations.entries()
                );
                LogLine::new(Severity::Error, text)
            }
        }
    }

    /// Whether the last page did not fit.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.capacity != Capacity::HasRoom
    }

    /// How many calls have failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures
    }
}

/// Whether `cursor` can stand in a query as it is.
fn is_cursor(cursor: &str) -> bool {
    !cursor.is_empty()
        && cursor.len() <= MAX_CURSOR_BYTES
        && cursor.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::super::set::RevocationClaims;
    use super::*;
    use crate::config::{self, ConfigError, Revocation};
    use crate::deny_reason::DenyReason;
    use jwt_gate_token::{Expectations, Secret, verify};
    use serde_json::Value;

    const NOW: NumericDate = 1_700_000_000.0;

    fn keyring() -> Keyring {
        Keyring::new([Secret::from_utf8("ours-0123456789abcdef0123456789abcdef").unwrap()]).unwrap()
    }

    fn follower(when_stale: &str) -> Follower {
        following(json!({"cluster": "companion", "when_stale": when_stale}), 60, &[])
    }

    fn following(config: Value, clock_skew_seconds: u32, predecessors: &[&Follower]) -> Follower {
        let config = revocation(config);
        let when_stale = config.when_stale;
        let feed = Feed::new(config, clock_skew_seconds).unwrap();
        Follower::new(feed, keyring().into(), when_stale, predecessors.iter().copied())
    }

    fn revocation(value: Value) -> Revocation {
        config::read(json!({"providers": {}, "revocation": value}).to_string().as_bytes())
            .unwrap()
            .revocation
            .unwrap()
    }

    /// The token of these claims.
    fn token(claims: Value) -> RevocationClaims {
        let mut claims = claims.as_object().unwrap().clone();
        claims.insert("exp".to_owned(), json!(1_700_000_600));
        let token = issue(&keyring(), &claims).unwrap();
        {
            let claims = verify(&token, &keyring(), &Expectations::default(), NOW).unwrap();
            RevocationClaims::new(&claims, claims.subject().map(Arc::from))
        }
    }

    fn refusal(follower: &Follower, token: &RevocationClaims) -> Option<DenyReason> {
        follower.revocations().refusal(token, follower.when_stale)
    }

    fn answer(watch: &mut Follower, body: Value) -> PollOutcome {
        watch.answer(b"200", body.to_string().as_bytes(), NOW)
    }

    fn path(watch: &mut Follower) -> String {
        let call = watch.poll(NOW, 1.0);
        call.headers.into_iter().find(|(name, _)| *name == ":path").unwrap().1
    }

    #[test]
    fn a_revoked_token_is_refused_and_one_issued_after_is_not() {
        let mut watch = follower("allow");
        let page = json!({"cursor": "c1", "jti": [["j1", NOW + 600.0]], "sub": [["u1", NOW, NOW + 600.0]]});
        assert_eq!(answer(&mut watch, page), PollOutcome::Complete);
        let code = |value: Value| refusal(&watch, &token(value)).map(DenyReason::as_str);
        assert_eq!(code(json!({"jti": "j1", "sub": "u2"})), Some("revoked"));
        assert_eq!(code(json!({"jti": "j2", "sub": "u1", "iat": 1_699_999_999})), Some("revoked"));
        assert_eq!(code(json!({"jti": "j2", "sub": "u1"})), Some("revoked"));
        assert_eq!(code(json!({"jti": "j2", "sub": "u1", "iat": 1_700_000_000})), None);
        assert_eq!(code(json!({"jti": "j2", "sub": "u2"})), None);
        assert_eq!(code(json!({})), None);
    }

    #[test]
    fn each_call_asks_for_what_is_new_with_a_token_of_its_own() {
        let mut watch = follower("allow");
        assert_eq!(path(&mut watch), "/internal/revocations");
        assert_eq!(answer(&mut watch, json!({"cursor": "c1", "more": true})), PollOutcome::More);
        assert_eq!(path(&mut watch), "/internal/revocations?since=c1");
        assert_eq!(watch.tick(5.0), None, "a list with more to come is not complete");
        assert_eq!(answer(&mut watch, json!({"cursor": "c2"})), PollOutcome::Complete);
        assert!((watch.age_seconds(5.0) - 4.0).abs() < 1e-9, "it is as old as the request was");

        let call = watch.poll(NOW, 5.0);
        let bearer = &call.headers.iter().find(|(name, _)| *name == "authorization").unwrap().1;
        let token = bearer.trim_start_matches("Bearer ");
        let internal =
            Expectations { audiences: vec![INTERNAL_AUDIENCE.to_owned()], ..Expectations::default() };
        assert!(verify(token, &keyring(), &internal, NOW).is_ok());
        assert!(verify(token, &keyring(), &Expectations::default(), NOW).is_err(), "no user's token");
    }

    #[test]
    fn an_answer_that_cannot_be_used_changes_nothing() {
        let mut watch = follower("allow");
        answer(&mut watch, json!({"cursor": "c1", "jti": [["j1", NOW + 600.0]]}));
        let long = "c".repeat(257);
        for body in [
            json!(null),
            json!([]),
            json!({}),
            json!({"cursor": ""}),
            json!({"cursor": 7}),
            json!({"cursor": "a b"}),
            json!({"cursor": "a&b"}),
            json!({"cursor": "a\r\nb"}),
            json!({"cursor": long}),
            json!({"cursor": "c2", "jti": [["j2"]]}),
            json!({"cursor": "c2", "jti": [[7, 7]]}),
            json!({"cursor": "c2", "sub": [["u", "x", 1]]}),
        ] {
            assert_eq!(answer(&mut watch, body.clone()), PollOutcome::Failed, "{body}");
        }
        for (status, body) in
            [(&b"500"[..], &b"{\"cursor\":\"c2\"}"[..]), (b"", b""), (b"200", b"\xff\xfe"), (b"401", b"")]
        {
            assert_eq!(watch.answer(status, body, NOW), PollOutcome::Failed);
        }
        let huge = format!("{{\"cursor\":\"c2\",\"x\":\"{}\"}}", "y".repeat(Follower::MAX_ANSWER_BYTES));
        assert_eq!(watch.answer(b"200", huge.as_bytes(), NOW), PollOutcome::Failed);
        assert_eq!((watch.revocations().entries(), watch.failures()), (1, 17));
        assert_eq!(path(&mut watch), "/internal/revocations?since=c1");
    }

    #[test]
    fn a_feed_that_goes_in_circles_is_not_followed_without_pause() {
        let mut watch = follower("allow");
        assert_eq!(answer(&mut watch, json!({"cursor": "c1", "more": true})), PollOutcome::More);
        assert_eq!(answer(&mut watch, json!({"cursor": "c1", "more": true})), PollOutcome::Failed);
    }

    #[test]
    fn a_store_restored_from_a_backup_brings_no_token_back() {
        let mut watch = follower("allow");
        answer(&mut watch, json!({"cursor": "c9", "jti": [["j1", NOW + 600.0]]}));
        assert_eq!(
            answer(&mut watch, json!({"cursor": "d1", "reset": true, "jti": []})),
            PollOutcome::Complete
        );
        assert!(refusal(&watch, &token(json!({"jti": "j1"}))).is_some());
    }

    #[test]
    fn a_plugin_with_a_new_configuration_goes_on_where_the_old_one_was() {
        let mut old = follower("deny");
        answer(&mut old, json!({"cursor": "c1", "jti": [["j1", NOW + 600.0]]}));
        old.tick(1.0);
        let mut new = following(json!({"cluster": "companion", "when_stale": "deny"}), 60, &[&old]);
        assert_eq!(path(&mut new), "/internal/revocations?since=c1");
        assert!(refusal(&new, &token(json!({"jti": "j1"}))).is_some());
        assert_eq!(refusal(&new, &token(json!({"jti": "j2"}))), None, "it is as fresh as the old one");
        assert!((new.age_seconds(5.0) - 5.0).abs() < 1e-9);
        answer(&mut new, json!({"cursor": "c2", "jti": [["j2", NOW + 600.0]]}));
        assert!(refusal(&old, &token(json!({"jti": "j2"}))).is_some(), "there is one list for both");
        assert_eq!(new.revocations().entries(), 2);
    }

    #[test]
    fn a_plugin_that_follows_another_feed_has_a_list_of_its_own() {
        let mut old = follower("allow");
        answer(&mut old, json!({"cursor": "c1", "jti": [["j1", NOW + 600.0]]}));
        for config in [json!({"cluster": "other"}), json!({"cluster": "companion", "path": "/other"})] {
            let mut new = following(config, 60, &[&old]);
            assert_eq!((new.revocations().entries(), path(&mut new).contains("since")), (0, false));
        }
    }

    #[test]
    fn a_longer_clock_skew_loses_no_revocation() {
        let mut old = follower("allow");
        answer(&mut old, json!({"cursor": "c1", "jti": [["j1", NOW + 600.0]]}));
        let mut new = following(json!({"cluster": "companion"}), 120, &[&old]);
        assert!(refusal(&new, &token(json!({"jti": "j1"}))).is_some());
        assert_eq!(path(&mut new), "/internal/revocations", "what is kept too short is read again");
    }

    #[test]
    fn a_feed_that_never_answered_becomes_stale_as_one_that_stopped_does() {
        let mut watch = follower("allow");
        assert_eq!(watch.tick(100.0), None);
        assert_eq!(watch.tick(130.0), None);
        assert!((watch.age_seconds(130.0) - 30.0).abs() < 1e-9);
        assert_eq!(watch.tick(130.1), Some(Transition::Stale { allowed: true }));
        assert_eq!(watch.tick(131.0), None);
        let _ = watch.poll(NOW, 132.0);
        answer(&mut watch, json!({"cursor": "c"}));
        assert_eq!(watch.tick(133.0), Some(Transition::Fresh));
    }

    #[test]
    fn a_circle_of_several_cursors_is_left_as_well() {
        let mut watch = follower("allow");
        let pages = (0..2 * MAX_PAGES).map(|page| format!("c{}", page % 2));
        let followed = pages
            .take_while(|cursor| {
                answer(&mut watch, json!({"cursor": cursor, "more": true})) == PollOutcome::More
            })
            .count();
        assert_eq!(u32::try_from(followed).unwrap(), MAX_PAGES - 1);
    }

    #[test]
    fn when_stale_decides_while_the_list_is_too_old_or_not_there_yet() {
        let (mut allow, mut deny) = (follower("allow"), follower("deny"));
        let good = token(json!({"jti": "j"}));
        assert_eq!(refusal(&allow, &good), None);
        assert_eq!(refusal(&deny, &good), Some(DenyReason::RevocationStale));
        for (watch, allowed) in [(&mut allow, true), (&mut deny, false)] {
            assert_eq!(watch.tick(0.0), None);
            let _ = watch.poll(NOW, 1.0);
            answer(watch, json!({"cursor": "c"}));
            assert_eq!(watch.tick(1.0), Some(Transition::Fresh));
            assert_eq!(refusal(watch, &good), None);
            assert_eq!(watch.tick(31.0), None);
            assert_eq!(watch.tick(31.1), Some(Transition::Stale { allowed }));
            assert_eq!(watch.tick(32.0), None, "one line for each change of state");
            assert_eq!(refusal(watch, &good).is_none(), allowed);
            answer(watch, json!({"cursor": "c"}));
        }
    }

    #[test]
    fn a_configuration_that_cannot_work_is_refused() {
        for (config, field) in [
            (json!({"cluster": ""}), "revocation.cluster"),
            (json!({"cluster": "c", "path": "x"}), "revocation.path"),
            (json!({"cluster": "c", "path": "/x?y"}), "revocation.path"),
            (json!({"cluster": "c", "interval_ms": 10}), "revocation.interval_ms"),
            (
                json!({"cluster": "c", "interval_ms": 500, "max_staleness_ms": 400}),
                "revocation.max_staleness_ms",
            ),
        ] {
            let error = Feed::new(revocation(config), 60).err();
            assert_eq!(error.as_ref().map(ConfigError::field), Some(field));
        }
    }
}
