//! What happens when something breaks: docs/reliability.md has a row for each of these.

use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::companion::{Answer, Companion, PASSWORD, address_of, call, sqlite_url};
use crate::postgres::Postgres;
use crate::setup::{run, skip};

/// How often the companion is killed.
const KILLS: u32 = 6;

/// A call that may find nobody.
fn try_sign_up(public: &str, email: &str) -> Option<u16> {
    let body = json!({"email": email, "password": PASSWORD}).to_string();
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(20)))
        .build()
        .into();
    let request = agent
        .post(format!("{public}/api/auth/signup"))
        .header("content-type", "application/json")
        .header("x-forwarded-for", address_of(email));
    request.send(&body).ok().map(|answer| answer.status().as_u16())
}

fn is_told_to_come_back(answer: &Answer) {
    assert_eq!((answer.status, answer.code().as_str()), (503, "store_unavailable"), "{answer:?}");
    assert!(answer.header("retry-after").is_some());
}

#[test]
fn killed_at_any_step_of_sign_ups_it_loses_nobody_and_leaves_nobody_half() {
    let directory = TempDir::new().unwrap();
    let url = sqlite_url(directory.path());
    let next = AtomicU32::new(0);
    let (acknowledged, tried) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    for round in 0..KILLS {
        let companion = Companion::start_with(&url, &["--bcrypt-queue", "100"], &[]);
        let public = companion.public.clone();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        let email = format!("user{}@example.com", next.fetch_add(1, Ordering::Relaxed));
                        tried.lock().unwrap().push(email.clone());
                        match try_sign_up(&public, &email) {
                            Some(201) => acknowledged.lock().unwrap().push(email),
                            Some(status) => panic!("{status}"),
                            // Nobody answers any more.
                            None => return,
                        }
                    }
                });
            }
            // Somewhere in the middle of some of them, another place each time.
            while acknowledged.lock().unwrap().len() < (round as usize + 1) * 7 {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_micros(u64::from(round) * 700));
            companion.kill();
        });
    }
    let companion = Companion::start_with(&url, &[], &[]);
    let (acknowledged, tried) = (acknowledged.into_inner().unwrap(), tried.into_inner().unwrap());
    println!("{} acknowledged of {} in {KILLS} lives", acknowledged.len(), tried.len());
    assert!(acknowledged.len() < tried.len(), "some were under way");
    for email in &acknowledged {
        assert_eq!(companion.sign_in(email, PASSWORD).status, 200, "{email} was acknowledged");
    }
    for email in tried {
        // Either there is no such account, or a whole one.
        let body = json!({"email": email, "password": PASSWORD});
        let from = [("x-forwarded-for", &*address_of(&email))];
        let status = companion.post("/api/auth/signup", &from, &body).status;
        assert!([201, 409].contains(&status), "{email}: {status}");
        let signed_in = companion.sign_in(&email, PASSWORD);
        assert_eq!(signed_in.status, 200, "{email}");
        let bearer = format!("Bearer {}", signed_in.json()["token"].as_str().unwrap());
        assert_eq!(companion.get("/api/auth/me", &[("authorization", &bearer)]).status, 200, "{email}");
    }
}

#[test]
fn while_another_process_holds_sqlites_lock_writers_are_told_to_come_back_and_readers_are_served() {
    use sqlx::{Connection, SqliteConnection};
    let directory = TempDir::new().unwrap();
    let url = sqlite_url(directory.path());
    let companion = Companion::start_with(&url, &[], &[]);
    let token = companion.sign_up("ada@example.com")["token"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {token}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut holder = runtime.block_on(SqliteConnection::connect(&url)).unwrap();
    runtime.block_on(sqlx::query("BEGIN IMMEDIATE").execute(&mut holder)).unwrap();
    let body = json!({"email": "bob@example.com", "password": PASSWORD});
    is_told_to_come_back(&companion.post("/api/auth/signup", &[], &body));
    assert_eq!(companion.get("/api/auth/me", &[("authorization", &bearer)]).status, 200);
    runtime.block_on(sqlx::query("ROLLBACK").execute(&mut holder)).unwrap();
    companion.sign_up("bob@example.com");
}

#[test]
fn on_a_full_disk_nothing_is_acknowledged_that_is_not_kept() {
    let directory = TempDir::new().unwrap();
    let disk = directory.path().display().to_string();
    let mounted = run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs", &disk]));
    if let Err(error) = mounted {
        return skip("on_a_full_disk_nothing_is_acknowledged_that_is_not_kept", &error);
    }
    let _mounted = Mounted(directory.path());
    let url = sqlite_url(directory.path());
    let companion = Companion::start_with(&url, &[], &[]);
    // What is left is filled, but for a few pages.
    let ballast = directory.path().join("ballast");
    let mut length = 1 << 20;
    while std::fs::write(&ballast, vec![0; length]).is_err() {
        length -= 4096;
    }
    std::fs::write(&ballast, vec![0; length.saturating_sub(64 * 1024)]).unwrap();
    let mut acknowledged = Vec::new();
    let full = loop {
        let email = format!("user{}@example.com", acknowledged.len());
        let from = [("x-forwarded-for", &*address_of(&email))];
        let answer =
            companion.post("/api/auth/signup", &from, &json!({"email": email, "password": PASSWORD}));
        match answer.status {
            201 => acknowledged.push(email),
            _ => break answer,
        }
        assert!(acknowledged.len() < 10_000, "the disk does not fill");
    };
    is_told_to_come_back(&full);
    println!("full after {} accounts", acknowledged.len());
    companion.kill();
    std::fs::remove_file(&ballast).unwrap();
    let companion = Companion::start_with(&url, &[], &[]);
    for email in acknowledged {
        assert_eq!(companion.sign_in(&email, PASSWORD).status, 200, "{email} was acknowledged");
    }
    companion.sign_up("after@example.com");
}

/// A file system that is taken away with the value.
struct Mounted<'path>(&'path Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // Whoever still has a file open there keeps it until they end.
        let _ = run(Command::new("umount").arg("--lazy").arg(self.0));
    }
}

#[test]
fn while_postgresql_hangs_calls_are_told_to_come_back_and_then_work() {
    let server = match Postgres::start() {
        Ok(server) => server,
        Err(error) => {
            return skip("while_postgresql_hangs_calls_are_told_to_come_back_and_then_work", &error);
        }
    };
    let companion = Companion::start_with(&server.database("hangs"), &["--database-connections", "2"], &[]);
    let token = companion.sign_up("ada@example.com")["token"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {token}");
    server.freeze();
    // Without limits of our own these would never be answered: the connections are still there.
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (companion, bearer) = (&companion, &bearer);
            scope.spawn(move || {
                let answer = match number % 2 {
                    0 => companion.get("/api/auth/me", &[("authorization", bearer)]),
                    _ => companion.sign_in("ada@example.com", PASSWORD),
                };
                is_told_to_come_back(&answer);
            });
        }
    });
    let private = |path: &str| call("GET", &format!("{}{path}", companion.private), &[], None).status;
    assert_eq!((private("/healthz"), private("/readyz")), (200, 503));
    server.thaw();
    let mut tries = 0;
    while companion.get("/api/auth/me", &[("authorization", &bearer)]).status != 200 {
        tries += 1;
        assert!(tries < 100, "it does not come back: {}", companion.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(companion.sign_in("ada@example.com", PASSWORD).status, 200);
}

/// A clock that a test can set: libfaketime, from Debian's package.
fn faketime() -> Result<String, String> {
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
    if !Path::new(library).exists() {
        let quiet = ("DEBIAN_FRONTEND", "noninteractive");
        let install = ["install", "-y", "-qq", "--no-install-recommends", "libfaketime"];
        run(Command::new("apt-get").args(install).env(quiet.0, quiet.1))?;
    }
    if Path::new(library).exists() { Ok(library.to_owned()) } else { Err(format!("there is no {library}")) }
}

#[test]
fn after_a_jump_of_the_clock_nobody_is_let_in_who_should_not_be_and_it_goes_on() {
    let library = match faketime() {
        Ok(library) => library,
        Err(error) => {
            return skip(
                "after_a_jump_of_the_clock_nobody_is_let_in_who_should_not_be_and_it_goes_on",
                &error,
            );
        }
    };
    let directory = TempDir::new().unwrap();
    let clock = directory.path().join("clock");
    let set = |offset: &str| {
        let new = clock.with_extension("new");
        std::fs::write(&new, format!("{offset}\n")).unwrap();
        std::fs::rename(&new, &clock).unwrap();
    };
    set("+0");
    let environment = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        // The timers' clock only goes forward, as it does when an administrator sets the time.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let flags = ["--lifetime-seconds", "1800"];
    let companion = Companion::start_with(&sqlite_url(directory.path()), &flags, &environment);
    let token = |answer: &Answer| format!("Bearer {}", answer.json()["token"].as_str().unwrap());
    let me = |bearer: &str| {
        let answer = companion.get("/api/auth/me", &[("authorization", bearer)]);
        if answer.status == 200 { "ok".to_owned() } else { answer.code() }
    };
    companion.sign_up("ada@example.com");
    let now = token(&companion.sign_in("ada@example.com", PASSWORD));
    assert_eq!(me(&now), "ok");

    set("+3600");
    assert_eq!(me(&now), "expired", "an hour later");
    let later = token(&companion.sign_in("ada@example.com", PASSWORD));
    assert_eq!(me(&later), "ok");

    set("-3600");
    assert_eq!(me(&now), "not_yet_valid", "an hour before it was issued");
    assert_eq!(me(&later), "not_yet_valid");
    let before = token(&companion.sign_in("ada@example.com", PASSWORD));
    assert_eq!(me(&before), "ok");
    // What was counted before the clock was set is not counted for longer: wrong passwords, then a right one.
    for _ in 0..9 {
        assert_eq!(companion.sign_in("ada@example.com", "wrong horse").status, 401);
    }
    set("-7200");
    assert_eq!(companion.sign_in("ada@example.com", PASSWORD).status, 200, "nobody waits for the clock");
    set("-3600");

    set("+0");
    assert_eq!((me(&now), me(&later)), ("ok".to_owned(), "not_yet_valid".to_owned()));
    assert_eq!(me(&before), "expired");
    companion.sign_up("bob@example.com");
}
