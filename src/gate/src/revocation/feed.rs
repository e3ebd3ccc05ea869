//! Following the companion's feed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use jwt_gate_token::{INTERNAL_AUDIENCE, Keyring, NumericDate, issue};
use serde_json::json;

use super::list::{List, Page, Revocable};
use crate::config::{ConfigError, Revocation, WhenStale};
use crate::denial::Code;

/// How long the gate's own token for the feed lives, in seconds.
const TOKEN_LIFETIME_SECONDS: f64 = 30.0;

/// The most pages that are asked for one after the other. The longest list has a few hundred.
const MAX_PAGES: u32 = 4096;

/// The longest cursor that is sent back, in bytes.
const MAX_CURSOR_BYTES: usize = 256;

/// The gate's view of the revocations, and how old it is.
#[derive(Debug)]
pub struct Watch {
    cluster: String,
    path: String,
    interval_ms: u32,
    max_staleness_seconds: f64,
    when_stale: WhenStale,
    /// Shared with the other plugins of this VM that follow the same feed.
    list: Rc<RefCell<List>>,
    cursor: RefCell<String>,
    /// When this started; the age of a list that was never complete counts from here. On the clock that only goes
    /// forward, in seconds, as the other two.
    started_at: Cell<Option<f64>>,
    /// When the last request was made.
    asked_at: Cell<f64>,
    /// When the request was made whose answer completed the list.
    complete_at: Cell<Option<f64>>,
    /// How many pages have followed without a pause.
    pages: Cell<u32>,
    full: Cell<Fullness>,
    state: Cell<State>,
    failures: Cell<u64>,
}

/// Whether there was room for the last page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fullness {
    HasRoom,
    /// There was none, and nobody was told yet.
    Full,
    /// There was none, and a log line says so.
    FullAndTold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The list has never been complete, and there is still time for it.
    CatchingUp,
    /// It is recent enough.
    Fresh,
    /// It is too old.
    Stale,
}

/// A request to the companion.
#[derive(Debug)]
pub struct Call {
    /// Envoy's cluster.
    pub cluster: String,
    /// The headers, pseudo-headers among them.
    pub headers: Vec<(&'static str, String)>,
    /// How long to wait for the answer, in milliseconds.
    pub timeout_ms: u32,
}

/// What an answer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nothing: the next tick is soon enough.
    Complete,
    /// There is more; ask again at once.
    More,
    /// It could not be used.
    Failed,
}

/// A change of state that is worth a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The list is recent.
    Fresh,
    /// The list is too old; whether good tokens pass meanwhile.
    Stale {
        /// Whether they pass.
        allowed: bool,
    },
    /// The list is full: what is revoked from now on is not known here.
    Full,
}

impl Watch {
    /// The largest answer that is read, in bytes.
    pub const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

    pub(crate) fn new(config: Revocation, clock_skew_seconds: u32) -> Result<Self, ConfigError> {
        if config.cluster.is_empty() {
            return Err(ConfigError::new(
                "revocation.cluster",
                "is empty; name Envoy's cluster for the companion",
            ));
        }
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"?#".contains(&byte);
        if !config.path.starts_with('/') || !config.path.bytes().all(plain) {
            return Err(ConfigError::new("revocation.path", "must be a path, as in /internal/revocations"));
        }
        if !(50..=60_000).contains(&config.interval_ms) {
            return Err(ConfigError::new("revocation.interval_ms", "must be between 50 and 60000"));
        }
        if config.max_staleness_ms < config.interval_ms {
            return Err(ConfigError::new("revocation.max_staleness_ms", "must not be less than interval_ms"));
        }
        Ok(Self {
            cluster: config.cluster,
            path: config.path,
            interval_ms: config.interval_ms,
            max_staleness_seconds: f64::from(config.max_staleness_ms) / 1000.0,
            when_stale: config.when_stale,
            list: Rc::new(RefCell::new(List::new(clock_skew_seconds))),
            cursor: RefCell::default(),
            started_at: Cell::new(None),
            asked_at: Cell::new(0.0),
            complete_at: Cell::new(None),
            pages: Cell::new(0),
            full: Cell::new(Fullness::HasRoom),
            state: Cell::new(State::CatchingUp),
            failures: Cell::new(0),
        })
    }

    /// Goes on from where `other` is, where both follow the same feed: a plugin whose configuration was
    /// updated has nothing to catch up with, and no revoked token passes meanwhile. Whether it does.
    pub fn join(&mut self, other: &Self) -> bool {
        let same_feed = self.cluster == other.cluster && self.path == other.path;
        if !same_feed {
            return false;
        }
        let clock_skew_seconds = self.list.borrow().clock_skew_seconds();
        self.list = Rc::clone(&other.list);
        if !self.list.borrow_mut().keep_for(clock_skew_seconds) {
            self.cursor.replace(other.cursor.borrow().clone());
        }
        self.started_at.set(other.started_at.get());
        self.complete_at.set(other.complete_at.get());
        self.state.set(other.state.get());
        true
    }

    /// How often to ask, in milliseconds.
    #[must_use]
    pub fn interval_ms(&self) -> u32 {
        self.interval_ms
    }

    /// Why a token that verified is refused all the same; `None` where it is not.
    pub(crate) fn refusal(&self, token: &Revocable) -> Option<Code> {
        if self.list.borrow().holds(token) {
            return Some(Code::Token(jwt_gate_token::Refusal::Revoked));
        }
        let deny = self.state.get() != State::Fresh && self.when_stale == WhenStale::Deny;
        deny.then_some(Code::RevocationStale)
    }

    /// The request for what is new at the time `now`, with a token of our own.
    #[must_use]
    pub fn call(&self, keyring: &Keyring, now: NumericDate, instant: f64) -> Call {
        self.asked_at.set(instant);
        let claims = json!({
            "iss": "jwt-gate",
            "aud": INTERNAL_AUDIENCE,
            "iat": now.floor(),
            "exp": now.floor() + TOKEN_LIFETIME_SECONDS,
        });
        // A token that could not be made is answered 401, and counted as a failure.
        let token = claims.as_object().and_then(|claims| issue(keyring, claims).ok()).unwrap_or_default();
        let cursor = self.cursor.borrow();
        let path =
            if cursor.is_empty() { self.path.clone() } else { format!("{}?since={cursor}", self.path) };
        let headers = vec![
            (":method", "GET".to_owned()),
            (":scheme", "http".to_owned()),
            (":path", path),
            (":authority", self.cluster.clone()),
            ("accept", "application/json".to_owned()),
            ("authorization", format!("Bearer {token}")),
        ];
        let timeout_ms = self.interval_ms.saturating_mul(4).clamp(2_000, 10_000);
        Call { cluster: self.cluster.clone(), headers, timeout_ms }
    }

    /// Takes an answer: its `:status`, and its body.
    pub fn answer(&self, status: &[u8], body: &[u8], now: NumericDate) -> Answer {
        let page = match status {
            b"200" if body.len() <= Self::MAX_ANSWER_BYTES => serde_json::from_slice::<Page>(body).ok(),
            _ => None,
        };
        let Some(page) = page.filter(|page| is_cursor(&page.cursor)) else { return self.failed() };
        if !self.list.borrow_mut().add(&page, now) {
            if self.full.get() == Fullness::HasRoom {
                self.full.set(Fullness::Full);
            }
            return self.failed();
        }
        self.full.set(Fullness::HasRoom);
        let more = page.more;
        let before = self.cursor.replace(page.cursor);
        if more {
            // A feed that goes in circles is not followed without a pause.
            let pages = self.pages.get().saturating_add(1);
            self.pages.set(pages);
            let moves_on = before != *self.cursor.borrow() && pages < MAX_PAGES;
            return if moves_on { Answer::More } else { self.failed() };
        }
        self.pages.set(0);
        self.complete_at.set(Some(self.asked_at.get()));
        Answer::Complete
    }

    /// Counts a call that could not be made, or was not answered.
    pub fn failed(&self) -> Answer {
        self.pages.set(0);
        self.failures.set(self.failures.get().saturating_add(1));
        Answer::Failed
    }

    /// Looks at the clock; what has changed since the last look.
    pub fn tick(&self, instant: f64) -> Option<Change> {
        if self.started_at.get().is_none() {
            self.started_at.set(Some(instant));
        }
        if self.full.get() == Fullness::Full {
            self.full.set(Fullness::FullAndTold);
            return Some(Change::Full);
        }
        let before = self.state.get();
        let is_young = self.age_seconds(instant) <= self.max_staleness_seconds;
        let state = match self.complete_at.get() {
            _ if !is_young => State::Stale,
            None => State::CatchingUp,
            Some(_) => State::Fresh,
        };
        self.state.set(state);
        match state {
            _ if state == before => None,
            State::CatchingUp => None,
            State::Fresh => Some(Change::Fresh),
            State::Stale => Some(Change::Stale { allowed: self.when_stale == WhenStale::Allow }),
        }
    }

    /// How many revocations there are.
    #[must_use]
    pub fn entries(&self) -> u64 {
        u64::try_from(self.list.borrow().len()).unwrap_or(u64::MAX)
    }

    /// How long ago the list was complete, in seconds; where it never was, how long ago this started.
    #[must_use]
    pub fn age_seconds(&self, instant: f64) -> f64 {
        let since = self.complete_at.get().or(self.started_at.get()).unwrap_or(instant);
        (instant - since).max(0.0)
    }

    /// Whether the last page did not fit.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full.get() != Fullness::HasRoom
    }

    /// How many calls have failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.get()
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
    use super::*;
    use crate::config;
    use jwt_gate_token::{Expectations, Secret, verify};
    use serde_json::Value;

    const NOW: NumericDate = 1_700_000_000.0;

    fn keyring() -> Keyring {
        Keyring::new([Secret::from_utf8("ours-0123456789abcdef0123456789abcdef").unwrap()]).unwrap()
    }

    fn watch(when_stale: &str) -> Watch {
        let config = json!({"cluster": "companion", "when_stale": when_stale});
        Watch::new(revocation(config), 60).unwrap()
    }

    fn revocation(value: Value) -> Revocation {
        config::read(json!({"providers": {}, "revocation": value}).to_string().as_bytes())
            .unwrap()
            .revocation
            .unwrap()
    }

    /// The token of these claims.
    fn token(claims: Value) -> Revocable {
        let mut claims = claims.as_object().unwrap().clone();
        claims.insert("exp".to_owned(), json!(1_700_000_600));
        let token = issue(&keyring(), &claims).unwrap();
        Revocable::of(&verify(&token, &keyring(), &Expectations::default(), NOW).unwrap(), true)
    }

    fn answer(watch: &Watch, body: Value) -> Answer {
        watch.answer(b"200", body.to_string().as_bytes(), NOW)
    }

    fn path(watch: &Watch) -> String {
        let call = watch.call(&keyring(), NOW, 1.0);
        call.headers.into_iter().find(|(name, _)| *name == ":path").unwrap().1
    }

    #[test]
    fn a_revoked_token_is_refused_and_one_issued_after_is_not() {
        let watch = watch("allow");
        let page = json!({"cursor": "c1", "jti": [["j1", NOW + 600.0]], "sub": [["u1", NOW, NOW + 600.0]]});
        assert_eq!(answer(&watch, page), Answer::Complete);
        let code = |value: Value| watch.refusal(&token(value)).map(Code::as_str);
        assert_eq!(code(json!({"jti": "j1", "sub": "u2"})), Some("revoked"));
        assert_eq!(code(json!({"jti": "j2", "sub": "u1", "iat": 1_699_999_999})), Some("revoked"));
        assert_eq!(code(json!({"jti": "j2", "sub": "u1"})), Some("revoked"));
        assert_eq!(code(json!({"jti": "j2", "sub": "u1", "iat": 1_700_000_000})), None);
        assert_eq!(code(json!({"jti": "j2", "sub": "u2"})), None);
        assert_eq!(code(json!({})), None);
    }

    #[test]
    fn each_call_asks_for_what_is_new_with_a_token_of_its_own() {
        let watch = watch("allow");
        assert_eq!(path(&watch), "/internal/revocations");
        assert_eq!(answer(&watch, json!({"cursor": "c1", "more": true})), Answer::More);
        assert_eq!(path(&watch), "/internal/revocations?since=c1");
        assert_eq!(watch.tick(5.0), None, "a list with more to come is not complete");
        assert_eq!(answer(&watch, json!({"cursor": "c2"})), Answer::Complete);
        assert!((watch.age_seconds(5.0) - 4.0).abs() < 1e-9, "it is as old as the request was");

        let call = watch.call(&keyring(), NOW, 5.0);
        let bearer = &call.headers.iter().find(|(name, _)| *name == "authorization").unwrap().1;
        let token = bearer.trim_start_matches("Bearer ");
        let internal =
            Expectations { audiences: vec![INTERNAL_AUDIENCE.to_owned()], ..Expectations::default() };
        assert!(verify(token, &keyring(), &internal, NOW).is_ok());
        assert!(verify(token, &keyring(), &Expectations::default(), NOW).is_err(), "no user's token");
    }

    #[test]
    fn an_answer_that_cannot_be_used_changes_nothing() {
        let watch = watch("allow");
        answer(&watch, json!({"cursor": "c1", "jti": [["j1", NOW + 600.0]]}));
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
            assert_eq!(answer(&watch, body.clone()), Answer::Failed, "{body}");
        }
        for (status, body) in
            [(&b"500"[..], &b"{\"cursor\":\"c2\"}"[..]), (b"", b""), (b"200", b"\xff\xfe"), (b"401", b"")]
        {
            assert_eq!(watch.answer(status, body, NOW), Answer::Failed);
        }
        let huge = format!("{{\"cursor\":\"c2\",\"x\":\"{}\"}}", "y".repeat(Watch::MAX_ANSWER_BYTES));
        assert_eq!(watch.answer(b"200", huge.as_bytes(), NOW), Answer::Failed);
        assert_eq!((watch.entries(), watch.failures()), (1, 17));
        assert_eq!(path(&watch), "/internal/revocations?since=c1");
    }

    #[test]
    fn a_feed_that_goes_in_circles_is_not_followed_without_pause() {
        let watch = watch("allow");
        assert_eq!(answer(&watch, json!({"cursor": "c1", "more": true})), Answer::More);
        assert_eq!(answer(&watch, json!({"cursor": "c1", "more": true})), Answer::Failed);
    }

    #[test]
    fn a_store_restored_from_a_backup_brings_no_token_back() {
        let watch = watch("allow");
        answer(&watch, json!({"cursor": "c9", "jti": [["j1", NOW + 600.0]]}));
        assert_eq!(answer(&watch, json!({"cursor": "d1", "reset": true, "jti": []})), Answer::Complete);
        assert!(watch.refusal(&token(json!({"jti": "j1"}))).is_some());
    }

    #[test]
    fn a_plugin_with_a_new_configuration_goes_on_where_the_old_one_was() {
        let old = watch("deny");
        answer(&old, json!({"cursor": "c1", "jti": [["j1", NOW + 600.0]]}));
        old.tick(1.0);
        let mut new = watch("deny");
        assert!(new.join(&old));
        assert_eq!(path(&new), "/internal/revocations?since=c1");
        assert!(new.refusal(&token(json!({"jti": "j1"}))).is_some());
        assert_eq!(new.refusal(&token(json!({"jti": "j2"}))), None, "it is as fresh as the old one");
        assert!((new.age_seconds(5.0) - 5.0).abs() < 1e-9);
        answer(&new, json!({"cursor": "c2", "jti": [["j2", NOW + 600.0]]}));
        assert!(old.refusal(&token(json!({"jti": "j2"}))).is_some(), "there is one list for both");
        assert_eq!(new.entries(), 2);
    }

    #[test]
    fn a_plugin_that_follows_another_feed_has_a_list_of_its_own() {
        let old = watch("allow");
        answer(&old, json!({"cursor": "c1", "jti": [["j1", NOW + 600.0]]}));
        for config in [json!({"cluster": "other"}), json!({"cluster": "companion", "path": "/other"})] {
            let mut new = Watch::new(revocation(config), 60).unwrap();
            assert!(!new.join(&old));
            assert_eq!((new.entries(), path(&new).contains("since")), (0, false));
        }
    }

    #[test]
    fn a_longer_clock_skew_loses_no_revocation() {
        let old = watch("allow");
        answer(&old, json!({"cursor": "c1", "jti": [["j1", NOW + 600.0]]}));
        let mut new = Watch::new(revocation(json!({"cluster": "companion"})), 120).unwrap();
        assert!(new.join(&old));
        assert!(new.refusal(&token(json!({"jti": "j1"}))).is_some());
        assert_eq!(path(&new), "/internal/revocations", "what is kept too short is read again");
    }

    #[test]
    fn a_feed_that_never_answered_becomes_stale_as_one_that_stopped_does() {
        let watch = watch("allow");
        assert_eq!(watch.tick(100.0), None);
        assert_eq!(watch.tick(130.0), None);
        assert!((watch.age_seconds(130.0) - 30.0).abs() < 1e-9);
        assert_eq!(watch.tick(130.1), Some(Change::Stale { allowed: true }));
        assert_eq!(watch.tick(131.0), None);
        let _ = watch.call(&keyring(), NOW, 132.0);
        answer(&watch, json!({"cursor": "c"}));
        assert_eq!(watch.tick(133.0), Some(Change::Fresh));
    }

    #[test]
    fn a_circle_of_several_cursors_is_left_as_well() {
        let watch = watch("allow");
        let pages = (0..2 * MAX_PAGES).map(|page| format!("c{}", page % 2));
        let followed = pages
            .take_while(|cursor| answer(&watch, json!({"cursor": cursor, "more": true})) == Answer::More)
            .count();
        assert_eq!(u32::try_from(followed).unwrap(), MAX_PAGES - 1);
    }

    #[test]
    fn when_stale_decides_while_the_list_is_too_old_or_not_there_yet() {
        let (allow, deny) = (watch("allow"), watch("deny"));
        let good = token(json!({"jti": "j"}));
        assert_eq!(allow.refusal(&good), None);
        assert_eq!(deny.refusal(&good), Some(Code::RevocationStale));
        for (watch, allowed) in [(&allow, true), (&deny, false)] {
            assert_eq!(watch.tick(0.0), None);
            let _ = watch.call(&keyring(), NOW, 1.0);
            answer(watch, json!({"cursor": "c"}));
            assert_eq!(watch.tick(1.0), Some(Change::Fresh));
            assert_eq!(watch.refusal(&good), None);
            assert_eq!(watch.tick(31.0), None);
            assert_eq!(watch.tick(31.1), Some(Change::Stale { allowed }));
            assert_eq!(watch.tick(32.0), None, "one line for each change of state");
            assert_eq!(watch.refusal(&good).is_none(), allowed);
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
            let error = Watch::new(revocation(config), 60).err();
            assert_eq!(error.as_ref().map(ConfigError::field), Some(field));
        }
    }
}
