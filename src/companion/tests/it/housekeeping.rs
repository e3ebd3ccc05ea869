//! What is revoked for how long, in how many statements, and what clocks that are wrong do to it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jwt_gate_auth::clock::Clock;
use jwt_gate_auth::email::Email;
use jwt_gate_auth::store::{Change, RevokeUser, Store};
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

use crate::commands::mint;
use crate::companion::{Companion, PASSWORD, call, program, sqlite_url};

const HOUR_MS: i64 = 3_600_000;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn start(url: &str) -> Companion {
    Companion::start_with(url, &["--throttle-address", "0", "--throttle-account", "0"], &[])
}

fn execute(url: &str, statements: &str) {
    block_on(async {
        let mut connection = SqliteConnection::connect(url).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    });
}

fn count(url: &str, query: &str) -> i64 {
    block_on(async {
        let mut connection = SqliteConnection::connect(url).await.unwrap();
        let query = sqlx::AssertSqlSafe(query.to_owned());
        let (count,): (i64,) = sqlx::query_as(query).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        count
    })
}

fn bearer(body: &Value) -> String {
    format!("Bearer {}", body["token"].as_str().unwrap())
}

fn me(companion: &Companion, bearer: &str) -> u16 {
    companion.get("/api/auth/me", &[("authorization", bearer)]).status
}

fn claims(bearer: &str) -> Value {
    let payload = jwt_gate_token::base64url_decode(bearer.split('.').nth(1).unwrap().as_bytes()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

fn users(url: &str, arguments: &[&str]) -> String {
    let output = program().arg("users").args(arguments).env("DATABASE_URL", url).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Every page of the feed, as text.
fn pages(companion: &Companion) -> Vec<String> {
    let token = format!("Bearer {}", mint(&["--sub", "gate", "--audience", "jwt-gate/internal"]));
    let mut pages = Vec::new();
    let mut query = String::new();
    loop {
        let url = format!("{}/internal/revocations{query}", companion.private);
        let answer = call("GET", &url, &[("authorization", &token)], None);
        assert_eq!(answer.status, 200, "{answer:?}");
        let page = answer.json();
        pages.push(answer.body);
        if page["more"] != json!(true) {
            return pages;
        }
        query = format!("?since={}", page["cursor"].as_str().unwrap());
    }
}

fn feed(companion: &Companion, kind: &str) -> Vec<Value> {
    let of_page = |page: &String| {
        let page: Value = serde_json::from_str(page).unwrap();
        page[kind].as_array().unwrap().clone()
    };
    pages(companion).iter().flat_map(of_page).collect()
}

/// Signs Ada out everywhere on a machine whose clock is ahead.
fn revoke_with_clock(url: &str, ahead_ms: i64) {
    block_on(async {
        let store = Store::open_existing(url, 1).await.unwrap().with_clock(Clock::ahead_by(ahead_ms));
        let ada = store.user_by_email(&Email::parse("ada@example.com").unwrap()).await.unwrap().unwrap();
        let revoke = RevokeUser { user_id: &ada.id, change: Change::Nothing };
        store.revoke_user(revoke).await.unwrap();
        store.close().await;
    });
}

#[test]
fn an_account_that_a_clock_ahead_locked_out_is_told_so_and_can_be_repaired() {
    let directory = TempDir::new().unwrap();
    let url = sqlite_url(directory.path());
    let companion = start(&url);
    let before = bearer(&companion.sign_up("ada@example.com"));
    revoke_with_clock(&url, 24 * HOUR_MS);
    let refused = companion.sign_in("ada@example.com", PASSWORD);
    assert_eq!((refused.status, refused.code().as_str()), (503, "clock_ahead"), "{refused:?}");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(me(&companion, &before), 401);

    assert!(users(&url, &["repair", "ada@example.com"]).contains("repaired"));
    assert!(users(&url, &["repair", "ada@example.com"]).contains("nothing to repair"));
    let after = bearer(&companion.sign_in("ada@example.com", PASSWORD).json());
    assert_eq!((me(&companion, &before), me(&companion, &after)), (401, 200));
    // A gate that starts now comes to the same verdicts.
    let subjects = feed(&companion, "sub");
    let [entry] = subjects.as_slice() else { panic!("{subjects:?}") };
    assert!(claims(&before)["iat"].as_i64() < entry[1].as_i64());
    assert!(claims(&after)["iat"].as_i64() >= entry[1].as_i64());
}

#[test]
fn a_session_that_a_clock_far_ahead_began_is_ended_and_locks_nobody_out() {
    let directory = TempDir::new().unwrap();
    let url = sqlite_url(directory.path());
    let companion = start(&url);
    let now = companion.sign_up("ada@example.com");
    let ahead = {
        // The same machine, a day later than it is.
        let id = now["user"]["id"].as_str().unwrap();
        let later = 24 * HOUR_MS + claims(&bearer(&now))["iat"].as_i64().unwrap() * 1000;
        execute(
            &url,
            &format!(
                "INSERT INTO sessions (id, user_id, ip_address, user_agent, remember, created_at, updated_at, expires_at) \
                 VALUES ('ahead', '{id}', '', '', TRUE, {later}, {later}, {later} + {HOUR_MS})"
            ),
        );
        "ahead"
    };
    users(&url, &["revoke", "ada@example.com"]);
    assert!(feed(&companion, "jti").iter().any(|entry| entry[0] == ahead), "it would be good tomorrow");
    assert_eq!(count(&url, "SELECT COUNT(*) FROM sessions"), 0);
    assert_eq!(companion.sign_in("ada@example.com", PASSWORD).status, 200);
}

#[test]
fn a_revoked_account_is_remembered_for_longer_than_any_token_that_was_minted() {
    let directory = TempDir::new().unwrap();
    let url = sqlite_url(directory.path());
    let companion = start(&url);
    let ada = companion.sign_up("ada@example.com");
    let id = ada["user"]["id"].as_str().unwrap();
    let minted = mint(&["--sub", id, "--lifetime-seconds", "315360000"]);
    users(&url, &["revoke", id]);
    assert_eq!(me(&companion, &format!("Bearer {minted}")), 401);
    let entry = &feed(&companion, "sub")[0];
    assert!(entry[2].as_i64() >= claims(&minted)["exp"].as_i64(), "{entry} {}", claims(&minted));
    for longer in [&["--lifetime-seconds", "315360001"][..], &["--claims", r#"{"exp": 99999999999}"#]] {
        let output = program().args(["token", "mint", "--sub", id]).args(longer).output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    }
}

#[test]
fn revoking_other_sessions_takes_the_same_statements_for_a_few_and_for_a_thousand() {
    let directory = TempDir::new().unwrap();
    let url = sqlite_url(directory.path());
    let flags = ["--throttle-address", "0", "--log", "warn,sqlx::query=debug"];
    let companion = Companion::start_with(&url, &flags, &[]);
    let ada = companion.sign_up("ada@example.com");
    let (id, token) = (ada["user"]["id"].as_str().unwrap().to_owned(), bearer(&ada));
    let with_others = |others: u32| {
        let rows: Vec<String> = (0..others)
            .map(|n| format!("('{others}-{n}', '{id}', '', '', TRUE, 1, 1, {})", 4_102_444_800_000_i64))
            .collect();
        execute(
            &url,
            &format!(
                "INSERT INTO sessions (id, user_id, ip_address, user_agent, remember, created_at, updated_at, expires_at) VALUES {}",
                rows.join(",")
            ),
        );
        // The log is read on another thread: it has arrived when nothing more comes for a while.
        let statements = || {
            let count = || companion.log().matches("sqlx::query").count();
            let mut counts = vec![count()];
            while counts.iter().rev().take_while(|known| counts.last() == Some(known)).count() < 5 {
                std::thread::sleep(Duration::from_millis(200));
                counts.push(count());
            }
            counts.last().copied().unwrap_or_default()
        };
        let before = statements();
        let revoked =
            companion.post("/api/auth/revoke-other-sessions", &[("authorization", &token)], &json!({}));
        assert_eq!(revoked.status, 200, "{revoked:?}");
        statements() - before
    };
    let (few, thousand) = (with_others(3), with_others(1000));
    assert!(few > 0 && few == thousand, "{few} and {thousand}");
    assert_eq!(me(&companion, &token), 200);
    assert_eq!(count(&url, "SELECT COUNT(*) FROM sessions"), 1);
    let jtis: BTreeSet<String> =
        feed(&companion, "jti").iter().map(|entry| entry[0].as_str().unwrap().to_owned()).collect();
    assert_eq!(jtis.len(), 1003);
    assert_eq!(count(&url, "SELECT MAX(sequence) FROM revocations"), 1003);
    assert_eq!(count(&url, "SELECT head FROM revocation_feed"), 1003);
    // What comes next has the next number.
    assert_eq!(companion.post_text("/api/auth/signout", &[("authorization", &token)], "").status, 204);
    assert_eq!(count(&url, "SELECT head FROM revocation_feed"), 1004);
}

#[test]
fn a_page_of_the_feed_is_one_that_a_gate_reads() {
    let directory = TempDir::new().unwrap();
    let url = sqlite_url(directory.path());
    let companion = start(&url);
    let rows: Vec<String> = (1..=2000)
        .map(|n| format!("({n}, 'tag{n}', '{n:05}{}', 4102444800)", "\u{1}".repeat(3000)))
        .collect();
    execute(
        &url,
        &format!(
            "INSERT INTO revocations (sequence, tag, jti, expires_at_seconds) VALUES {}",
            rows.join(",")
        ),
    );
    execute(&url, "UPDATE revocation_feed SET head = 2000");
    let pages = pages(&companion);
    assert!(pages.len() > 2);
    for page in &pages {
        assert!(page.len() < 4 * 1024 * 1024, "{}", page.len());
    }
    let mut expected = 1;
    for entry in feed(&companion, "jti") {
        assert_eq!(entry[0].as_str().unwrap()[..5], format!("{expected:05}"));
        expected += 1;
    }
    assert_eq!(expected, 2001);
}

#[test]
fn what_has_expired_and_what_a_newer_revocation_covers_is_forgotten() {
    let directory = TempDir::new().unwrap();
    let url = sqlite_url(directory.path());
    let companion = start(&url);
    let ada = companion.sign_up("ada@example.com");
    let id = ada["user"]["id"].as_str().unwrap().to_owned();
    drop(companion);
    let sessions: Vec<String> =
        (0..1600).map(|n| format!("('s{n}', '{id}', '', '', TRUE, 1, 1, 2)")).collect();
    execute(
        &url,
        &format!(
            "INSERT INTO sessions (id, user_id, ip_address, user_agent, remember, created_at, updated_at, expires_at) VALUES {}",
            sessions.join(",")
        ),
    );
    let expired = (1..=1600).map(|n| format!("({n}, 't', 'j{n}', NULL, NULL, 2)"));
    let covered = (1601..=1610).map(|n| format!("({n}, 't', NULL, 'bob', {n}, 4102444800)"));
    // A later instant that a later entry does not cover, and an entry that nothing covers.
    let kept = ["(1611, 't', NULL, 'eve', 9, 4102444800)", "(1612, 't', NULL, 'eve', 8, 4102444800)"];
    let rows: Vec<String> = expired.chain(covered).chain(kept.map(str::to_owned)).collect();
    execute(
        &url,
        &format!(
            "INSERT INTO revocations (sequence, tag, jti, subject, issued_before_seconds, expires_at_seconds) VALUES {}",
            rows.join(",")
        ),
    );
    execute(&url, "UPDATE revocation_feed SET head = 1612");
    let companion = start(&url);
    let began = Instant::now();
    let left = "SELECT COUNT(*) FROM revocations";
    while count(&url, "SELECT COUNT(*) FROM sessions") > 1 || count(&url, left) > 3 {
        assert!(began.elapsed() < Duration::from_secs(60), "{}", companion.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(feed(&companion, "jti"), Vec::<Value>::new());
    let expires = 4_102_444_800_i64;
    let expected = [json!(["bob", 1610, expires]), json!(["eve", 9, expires]), json!(["eve", 8, expires])];
    assert_eq!(feed(&companion, "sub"), expected);
    assert_eq!(me(&companion, &bearer(&ada)), 200);
}

#[test]
fn a_password_that_was_changed_is_reported_as_changed_even_if_no_session_can_begin() {
    let directory = TempDir::new().unwrap();
    let url = sqlite_url(directory.path());
    let companion = start(&url);
    let body = json!({"email": "ada@example.com", "password": PASSWORD});
    let cookie = companion.post("/api/auth/signup", &[], &body).cookie();
    execute(&url, "CREATE TRIGGER full BEFORE INSERT ON sessions BEGIN SELECT RAISE(ABORT, 'full'); END");
    let new = json!({"current_password": PASSWORD, "new_password": "another horse"});
    let headers = [("cookie", cookie.as_str()), ("origin", companion.public.as_str())];
    let changed = companion.post("/api/auth/change-password", &headers, &new);
    assert_eq!(changed.status, 204, "{changed:?}");
    assert!(changed.header("set-cookie").unwrap().contains("Max-Age=0"), "{changed:?}");
    execute(&url, "DROP TRIGGER full");
    assert_eq!(companion.sign_in("ada@example.com", PASSWORD).status, 401);
    assert_eq!(companion.sign_in("ada@example.com", "another horse").status, 200);
}
