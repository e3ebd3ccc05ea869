//! Random interleavings of everything that begins or ends a session, held against a sequential model.
//!
//! Several companions, whose clocks differ, share one store. In each schedule several clients of one account
//! act at the same time. Afterwards there must be an order of their calls, one after another, that explains every
//! answer, which tokens `/me` accepts, and which ones a gate accepts that has read the feed.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::http::{HeaderMap, HeaderValue, header};
use jwt_gate_auth::account::{Accounts, SignUp};
use jwt_gate_auth::app::App;
use jwt_gate_auth::clock::Clock;
use jwt_gate_auth::email::Email;
use jwt_gate_auth::error::AccountError;
use jwt_gate_auth::http::cookie::CookieStyle;
use jwt_gate_auth::http::origin::TrustedOrigins;
use jwt_gate_auth::http::problem::Problem;
use jwt_gate_auth::password::{NewPassword, PasswordPool};
use jwt_gate_auth::profile::Name;
use jwt_gate_auth::session::{Client, TokenMaker};
use jwt_gate_auth::settings::{SignUpMode, SiteOptions, TokenOptions};
use jwt_gate_auth::store::{Change, Profile, RevokeUser, Store};
use jwt_gate_auth::throttle::Throttle;
use jwt_gate_token::Keyring;
use tempfile::TempDir;

use crate::companion::SECRET;
use crate::postgres::Postgres;
use crate::setup::skip;

/// How far the companions' clocks are ahead, in milliseconds.
const CLOCKS: [i64; 3] = [0, 900, -900];
/// Clients of one account that act at the same time, and calls of each.
const CLIENTS: usize = 3;
const CALLS: usize = 2;
/// Schedules under way at once: most of their time they wait for the next second.
const AT_ONCE: usize = 40;

/// Half of the schedules that are asked for; the other database has the other half.
fn schedules() -> u64 {
    let wanted = std::env::var("JWT_GATE_SCHEDULES").ok().and_then(|number| number.parse().ok());
    wanted.unwrap_or(10_000_u64).div_ceil(2)
}

#[test]
fn an_acknowledged_end_of_a_session_is_never_lost_on_sqlite() {
    // In memory where there is such a file system: there is no power cut in this test.
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap();
    run(&crate::companion::sqlite_url(directory.path()));
}

#[test]
fn an_acknowledged_end_of_a_session_is_never_lost_on_postgresql() {
    match Postgres::start() {
        Ok(server) => run(&server.database("model")),
        Err(error) => skip("an_acknowledged_end_of_a_session_is_never_lost_on_postgresql", &error),
    }
}

/// What a client asks for. Tokens are given by their place in [`Schedule::tokens`].
#[derive(Debug, Clone, PartialEq, Eq)]
enum Call {
    SignUp(String),
    SignIn(String),
    Me(usize),
    Rename(usize),
    SignOut(usize),
    SignOutEverywhere(usize),
    RevokeOthers(usize),
    ChangePassword { token: usize, current: String, new: String },
    Disable,
    Enable,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Done,
    /// Done, and this is the token that was issued.
    Token(usize),
    /// 401, 403, 404 or 409, and its code.
    Refused(&'static str),
    /// 503: it may have happened or not.
    Unknown,
}

/// A call with its answer. The instants count up, one for each beginning and each end.
#[derive(Debug, Clone)]
struct Event {
    call: Call,
    outcome: Outcome,
    /// Whose answer it is.
    _companion: usize,
    began: u64,
    ended: u64,
}

#[derive(Debug, Clone)]
struct Token {
    text: String,
    /// The session's place among the schedule's; a renamed account's new token has the old session.
    session: usize,
}

/// One account and what happens to it.
struct Schedule {
    apps: Arc<Vec<App>>,
    email: String,
    ticks: AtomicU64,
    tokens: Mutex<Vec<Token>>,
    events: Mutex<Vec<Event>>,
}

fn client() -> Client {
    Client { ip_address: IpAddr::V4(Ipv4Addr::LOCALHOST), user_agent: "model".to_owned(), remember: true }
}

fn password(text: &str) -> NewPassword {
    NewPassword::parse(text).unwrap()
}

fn bearer(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
    headers
}

async fn companion(url: &str, ahead_ms: i64) -> App {
    let clock = Clock::ahead_by(ahead_ms);
    let tokens = TokenOptions { issuer: "model".to_owned(), audience: None, lifetime_seconds: 3600 };
    let site = SiteOptions {
        public_url: None,
        cookie_name: "jwt-gate".to_owned(),
        trusted_origins: Vec::new(),
        trusted_hops: 0,
    };
    let keyring = Keyring::from_environment(None, Some(SECRET)).unwrap();
    App {
        accounts: Accounts {
            store: Store::open(url, 30).await.unwrap().with_clock(clock),
            tokens: TokenMaker::new(keyring, tokens).with_clock(clock),
            passwords: PasswordPool::start(2, 10_000, 4).unwrap(),
            throttle: Throttle::new(0, 0),
            sign_up: SignUpMode::Open,
            clock,
        },
        cookie: CookieStyle::new(&site),
        origins: TrustedOrigins::new(&site),
        trusted_hops: 0,
    }
}

fn run(url: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let mut apps = Vec::new();
        for ahead_ms in CLOCKS {
            apps.push(companion(url, ahead_ms).await);
        }
        let apps = Arc::new(apps);
        let schedules = schedules();
        let next = Arc::new(AtomicU64::new(0));
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..AT_ONCE {
            let (apps, next) = (Arc::clone(&apps), Arc::clone(&next));
            workers.spawn(async move {
                let mut verdicts = Vec::new();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= schedules {
                        return verdicts;
                    }
                    verdicts.push(one(Arc::clone(&apps), seed).await);
                }
            });
        }
        let verdicts = workers.join_all().await.concat();
        let gate = Gate::read(&apps[0]).await;
        let (mut acknowledged, mut unknown) = (0, 0);
        for verdict in &verdicts {
            for (token, alive) in &verdict.tokens {
                let claims = apps[0].accounts.tokens.verify(token).unwrap();
                assert_eq!(gate.accepts(&claims), *alive, "a gate disagrees with /me: {verdict:#?}");
            }
            acknowledged += verdict.acknowledged;
            unknown += verdict.unknown;
        }
        println!("{schedules} schedules, {acknowledged} calls acknowledged, {unknown} answered 503, 0 lost");
        assert_eq!(verdicts.len() as u64, schedules);
        assert!(unknown < acknowledged, "too many calls came to nothing: {unknown} of {acknowledged}");
    });
}

/// What is left of a schedule that the model explains.
#[derive(Debug, Clone)]
struct Verdict {
    acknowledged: u64,
    unknown: u64,
    /// Each token, and whether `/me` accepts it.
    tokens: Vec<(String, bool)>,
}

async fn one(apps: Arc<Vec<App>>, seed: u64) -> Verdict {
    let schedule = Arc::new(Schedule {
        apps,
        email: format!("user{seed}@example.com"),
        ticks: AtomicU64::new(0),
        tokens: Mutex::default(),
        events: Mutex::default(),
    });
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    // Mostly there is an account already when they begin.
    if random.below(8) > 0 {
        schedule.call(random.below(CLOCKS.len()), Call::SignUp("password-0".to_owned())).await;
    }
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        let (schedule, mut random) = (Arc::clone(&schedule), Random(random.next()));
        clients.spawn(async move {
            for call in 0..CALLS {
                let companion = random.below(CLOCKS.len());
                let call = schedule.choose(&mut random, number * CALLS + call + 1);
                schedule.call(companion, call).await;
            }
        });
    }
    clients.join_all().await;
    schedule.judge(random.below(CLOCKS.len())).await
}

impl Schedule {
    fn choose(&self, random: &mut Random, number: usize) -> Call {
        let token = random.below(self.tokens.lock().unwrap().len().max(1));
        match random.below(16) {
            0 => Call::SignUp("password-0".to_owned()),
            1..=4 => Call::SignIn("password-0".to_owned()),
            5 => Call::Me(token),
            6 => Call::Rename(token),
            7 | 8 => Call::SignOut(token),
            9 | 10 => Call::SignOutEverywhere(token),
            11 => Call::RevokeOthers(token),
            12 | 13 => Call::ChangePassword {
                token,
                current: "password-0".to_owned(),
                new: format!("password-{number}"),
            },
            14 => Call::Disable,
            _ => Call::Enable,
        }
    }

    async fn call(&self, companion: usize, call: Call) {
        let began = self.ticks.fetch_add(1, Ordering::SeqCst);
        let outcome = self.outcome(&self.apps[companion], &call).await;
        let ended = self.ticks.fetch_add(1, Ordering::SeqCst);
        self.events.lock().unwrap().push(Event { call, outcome, _companion: companion, began, ended });
    }

    async fn outcome(&self, app: &App, call: &Call) -> Outcome {
        match self.attempt(app, call).await {
            Ok(outcome) => outcome,
            Err(problem) if problem.status.is_server_error() => {
                assert_eq!(problem.status.as_u16(), 503, "{problem:?}");
                Outcome::Unknown
            }
            Err(problem) => Outcome::Refused(problem.code),
        }
    }

    fn token(&self, place: usize) -> Option<Token> {
        self.tokens.lock().unwrap().get(place).cloned()
    }

    fn remember(&self, text: String, session: Option<usize>) -> Outcome {
        let mut tokens = self.tokens.lock().unwrap();
        let place = tokens.len();
        tokens.push(Token { text, session: session.unwrap_or(place) });
        Outcome::Token(place)
    }

    async fn attempt(&self, app: &App, call: &Call) -> Result<Outcome, Problem> {
        let caller = async |place: usize| {
            let token = self.token(place).ok_or_else(Problem::missing_token)?;
            Ok::<_, Problem>((app.token_owner(&bearer(&token.text), false).await?, token))
        };
        let user = async || {
            let found = app.accounts.store.user_by_email(&Email::parse(&self.email).unwrap()).await?;
            Ok::<_, Problem>(found.ok_or(AccountError::InvalidCredentials)?)
        };
        match call {
            Call::SignUp(password) => {
                let email = Email::parse(&self.email).unwrap();
                let sign_up = SignUp {
                    email,
                    password: self::password(password),
                    name: Name::parse("Ada").unwrap(),
                    image: None,
                };
                Ok(self.remember(app.accounts.sign_up(sign_up, &client()).await?.token, None))
            }
            Call::SignIn(password) => {
                Ok(self.remember(app.accounts.sign_in(&self.email, password, &client()).await?.token, None))
            }
            Call::Me(token) => caller(*token).await.map(|_| Outcome::Done),
            Call::Rename(token) => {
                let (caller, token) = caller(*token).await?;
                let profile = Profile { name: Some("Countess"), image: None };
                let session =
                    app.accounts.store.set_profile(&caller.user.id, profile, caller.claims.id()).await?;
                match session {
                    Some(session) => {
                        let text = app.accounts.tokens.issue(&caller.user, &session)?;
                        Ok(self.remember(text, Some(token.session)))
                    }
                    None => Ok(Outcome::Done),
                }
            }
            Call::SignOut(token) => {
                let token = self.token(*token).ok_or_else(Problem::missing_token)?;
                app.sign_out(&bearer(&token.text), &client()).await.map(|()| Outcome::Done)
            }
            Call::SignOutEverywhere(token) => {
                let (caller, _) = caller(*token).await?;
                app.accounts.revoke_everything(&caller.user.id, &client()).await?;
                Ok(Outcome::Done)
            }
            Call::RevokeOthers(token) => {
                let (caller, _) = caller(*token).await?;
                let kept = caller.claims.id().unwrap();
                app.accounts.store.revoke_other_sessions(&caller.user.id, kept).await?;
                Ok(Outcome::Done)
            }
            Call::ChangePassword { token, current, new } => {
                let (caller, _) = caller(*token).await?;
                let new = password(new);
                app.accounts.change_password_everywhere(caller.user, current, new, &client()).await?;
                Ok(Outcome::Done)
            }
            Call::Disable => {
                let user = user().await?;
                let revoke = RevokeUser { user_id: &user.id, change: Change::Disable };
                app.accounts.store.revoke_user(revoke).await?;
                Ok(Outcome::Done)
            }
            Call::Enable => {
                app.accounts.store.enable(&user().await?.id).await?;
                Ok(Outcome::Done)
            }
        }
    }

    async fn judge(&self, companion: usize) -> Verdict {
        let tokens = self.tokens.lock().unwrap().clone();
        let mut alive = Vec::new();
        for token in &tokens {
            let answer = loop {
                match self.apps[companion].token_owner(&bearer(&token.text), false).await {
                    Err(problem) if problem.status.is_server_error() => {}
                    answer => break answer,
                }
            };
            alive.push(answer.is_ok());
        }
        let events = self.events.lock().unwrap().clone();
        let sessions: Vec<usize> = tokens.iter().map(|token| token.session).collect();
        let model = Model::default();
        assert!(
            explains(&model, &events, 0, &sessions, &alive),
            "no order of these calls explains their answers and that of the tokens of sessions {sessions:?} \
             these are alive: {alive:?}\n{events:#?}"
        );
        let count = |wanted: fn(&Outcome) -> bool| {
            events.iter().filter(|event| wanted(&event.outcome)).count() as u64
        };
        Verdict {
            acknowledged: count(|outcome| matches!(outcome, Outcome::Done | Outcome::Token(_))),
            unknown: count(|outcome| *outcome == Outcome::Unknown),
            tokens: tokens.into_iter().map(|token| token.text).zip(alive).collect(),
        }
    }
}

/// The account, if calls came one after another.
#[derive(Debug, Clone, Default)]
struct Model {
    password: Option<String>,
    disabled: bool,
    /// Sessions that have not ended.
    alive: Vec<usize>,
}

impl Model {
    /// The account after a call with this outcome, or `None` where the call cannot have it now. `sessions` has
    /// each token's session.
    fn after(&self, event: &Event, sessions: &[usize]) -> Option<Self> {
        let mut next = self.clone();
        let lives = |token: &usize| {
            sessions.get(*token).is_some_and(|session| self.alive.contains(session)) && !self.disabled
        };
        let right = |password: &String| self.password.as_ref() == Some(password);
        match (&event.call, &event.outcome) {
            (_, Outcome::Unknown) => None,
            // The client had no token yet, though the account may be there: it is told of its token last.
            (_, Outcome::Refused("missing_token")) => Some(next),
            (Call::SignUp(password), Outcome::Token(token)) => {
                next.password = Some(password.clone());
                next.alive.push(sessions[*token]);
                self.password.is_none().then_some(next)
            }
            (Call::SignUp(_), Outcome::Refused("email_taken")) => self.password.is_some().then_some(next),
            (Call::SignIn(password), Outcome::Token(token)) => {
                next.alive.push(sessions[*token]);
                (right(password) && !self.disabled).then_some(next)
            }
            (Call::SignIn(password), Outcome::Refused("invalid_credentials")) => {
                (!right(password)).then_some(next)
            }
            (Call::SignIn(password), Outcome::Refused("account_disabled")) => {
                (right(password) && self.disabled).then_some(next)
            }
            (Call::Me(token), Outcome::Done) => lives(token).then_some(next),
            (Call::Me(token) | Call::SignOut(token), Outcome::Refused(_)) => (!lives(token)).then_some(next),
            // Before these act they ask who calls; what happens between is not theirs to know.
            (Call::Rename(_), _) => Some(next),
            (Call::SignOut(token), Outcome::Done) => {
                next.alive.retain(|session| *session != sessions[*token]);
                Some(next)
            }
            (Call::SignOutEverywhere(_), Outcome::Done) => {
                next.alive.clear();
                Some(next)
            }
            (Call::RevokeOthers(token), Outcome::Done) => {
                next.alive.retain(|session| *session == sessions[*token]);
                Some(next)
            }
            (Call::ChangePassword { current, new, .. }, Outcome::Done) => {
                next.password = Some(new.clone());
                next.alive.clear();
                right(current).then_some(next)
            }
            (Call::Disable, Outcome::Done) => {
                next.disabled = true;
                next.alive.clear();
                self.password.is_some().then_some(next)
            }
            (Call::Enable, Outcome::Done) => {
                next.disabled = false;
                self.password.is_some().then_some(next)
            }
            (Call::Disable | Call::Enable, Outcome::Refused(_)) => self.password.is_none().then_some(next),
            (_, Outcome::Refused(_)) => Some(next),
            (_, Outcome::Done | Outcome::Token(_)) => None,
        }
    }
}

/// Whether there is an order of the calls that are not yet in `done` that ends with these tokens alive. A call that
/// ended before another began comes before it.
fn explains(model: &Model, events: &[Event], done: u32, sessions: &[usize], alive: &[bool]) -> bool {
    let left = |place: &usize| done & (1 << place) == 0;
    let open: Vec<usize> = (0..events.len()).filter(left).collect();
    if open.is_empty() {
        let lives = |session: &usize| model.alive.contains(session) && !model.disabled;
        return sessions.iter().map(lives).eq(alive.iter().copied());
    }
    let first_end = open.iter().map(|place| events[*place].ended).min().unwrap_or_default();
    open.into_iter().filter(|place| events[*place].began < first_end).any(|place| {
        let event = &events[place];
        let done = done | (1 << place);
        if event.outcome != Outcome::Unknown {
            let after = model.after(event, sessions);
            return after.is_some_and(|model| explains(&model, events, done, sessions, alive));
        }
        // It did nothing, or all that it was asked for.
        let happened = Event { outcome: Outcome::Done, ..event.clone() };
        let after = match &event.call {
            // The account may be there, with a session whose token nobody has.
            Call::SignUp(password) => {
                let made = Model { password: Some(password.clone()), ..model.clone() };
                model.password.is_none().then_some(made)
            }
            Call::SignIn(_) => None,
            _ => model.after(&happened, sessions),
        };
        explains(model, events, done, sessions, alive)
            || after.is_some_and(|model| explains(&model, events, done, sessions, alive))
    })
}

/// A gate that has read the feed to its end.
#[derive(Default)]
struct Gate {
    tokens: std::collections::HashSet<String>,
    subjects: HashMap<String, i64>,
}

impl Gate {
    async fn read(app: &App) -> Self {
        let mut gate = Self::default();
        let mut since: Option<(String, jwt_gate_auth::store::Position)> = None;
        loop {
            let from = since.as_ref().map(|(epoch, position)| (epoch.as_str(), position.clone()));
            let page = app
                .accounts
                .store
                .revocations_since(from, 1000, app.accounts.clock.now_seconds())
                .await
                .unwrap();
            for entry in page.entries {
                gate.tokens.extend(entry.jti);
                if let (Some(subject), Some(before)) = (entry.subject, entry.issued_before_seconds) {
                    let known = gate.subjects.entry(subject).or_default();
                    *known = before.max(*known);
                }
            }
            if !page.more {
                return gate;
            }
            since = Some((page.epoch, page.next));
        }
    }

    fn accepts(&self, claims: &jwt_gate_token::VerifiedClaims) -> bool {
        #[expect(clippy::cast_possible_truncation, reason = "whole seconds of these years")]
        let issued_at = claims.issued_at().unwrap() as i64;
        let before = self.subjects.get(claims.subject().unwrap()).copied().unwrap_or_default();
        !self.tokens.contains(claims.id().unwrap()) && issued_at >= before
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or_default()
    }
}
