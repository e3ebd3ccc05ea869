//! A lock that somebody else holds, and a database that vanishes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;

use crate::companion::{Answer, Companion, PASSWORD, call, sqlite_url};
use crate::postgres::Postgres;
use crate::setup::skip;

/// Many more than there are connections.
const WRITERS: usize = 16;
/// The promise is 200 ms; a busy machine gets more. The order of events is exact, see below.
const AT_ONCE: Duration = Duration::from_millis(1500);
/// The promise is two seconds.
const SOON: Duration = Duration::from_secs(4);
/// The promise in docs/reliability.md.
const VANISHED: Duration = Duration::from_secs(15);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn start(url: &str) -> Companion {
    Companion::start_with(url, &["--throttle-address", "0", "--throttle-account", "0"], &[])
}

fn bearer(body: &Value) -> String {
    format!("Bearer {}", body["token"].as_str().unwrap())
}

fn is_told_to_come_back(answer: &Answer) {
    assert_eq!((answer.status, answer.code().as_str()), (503, "store_unavailable"), "{answer:?}");
    assert!(answer.header("retry-after").is_some());
}

/// Holds the promises of this file while `writer` waits for a lock: readers answer while every writer still waits, and
/// writers are told to come back.
fn readers_are_served_while_writers_wait(
    companion: &Companion,
    reader: &str,
    writer: impl Fn(usize) -> Answer + Sync,
) {
    let (sent, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let timed = |answer: &dyn Fn() -> u16| {
        let began = Instant::now();
        (answer(), began.elapsed())
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let (writer, sent, answered) = (&writer, &sent, &answered);
                scope.spawn(move || {
                    let began = Instant::now();
                    sent.fetch_add(1, Ordering::SeqCst);
                    let answer = writer(number);
                    let took = began.elapsed();
                    answered.fetch_add(1, Ordering::SeqCst);
                    (answer, took)
                })
            })
            .collect();
        let readers = scope.spawn(|| {
            let (mut me_slowest, mut ready_slowest, mut meanwhile) = (Duration::ZERO, Duration::ZERO, 0);
            while answered.load(Ordering::SeqCst) < WRITERS {
                let all_sent = sent.load(Ordering::SeqCst) == WRITERS;
                let (status, took) =
                    timed(&|| companion.get("/api/auth/me", &[("authorization", reader)]).status);
                assert_eq!(status, 200);
                me_slowest = me_slowest.max(took);
                let (status, took) =
                    timed(&|| call("GET", &format!("{}/readyz", companion.private), &[], None).status);
                assert_eq!(status, 200);
                ready_slowest = ready_slowest.max(took);
                // Both began after the writers and were answered before any of them.
                meanwhile += u32::from(all_sent && answered.load(Ordering::SeqCst) == 0);
            }
            (me_slowest, ready_slowest, meanwhile)
        });
        let mut slowest_writer = Duration::ZERO;
        for waiting in writers {
            let (answer, took) = waiting.join().unwrap();
            is_told_to_come_back(&answer);
            slowest_writer = slowest_writer.max(took);
        }
        let (me, ready, meanwhile) = readers.join().unwrap();
        println!(
            "slowest: me {} ms, readyz {} ms, writer {} ms; {meanwhile} reads while all {WRITERS} writers waited",
            me.as_millis(),
            ready.as_millis(),
            slowest_writer.as_millis()
        );
        assert!(meanwhile > 0, "no reader was answered while the writers waited");
        assert!(me.max(ready) < AT_ONCE, "a reader waited: me {me:?}, readyz {ready:?}");
        assert!(slowest_writer < SOON, "a writer waited for {slowest_writer:?}");
    });
}

#[test]
fn while_somebody_holds_a_lock_readers_are_served_and_writers_told_to_come_back_on_sqlite() {
    let directory = TempDir::new().unwrap();
    let url = sqlite_url(directory.path());
    let companion = start(&url);
    let ada = bearer(&companion.sign_up("ada@example.com"));
    let mut holder = block_on(SqliteConnection::connect(&url)).unwrap();
    block_on(sqlx::query("BEGIN IMMEDIATE").execute(&mut holder)).unwrap();
    readers_are_served_while_writers_wait(&companion, &ada, |number| {
        let body = json!({"email": format!("user{number}@example.com"), "password": PASSWORD});
        companion.post("/api/auth/signup", &[], &body)
    });
    block_on(sqlx::query("ROLLBACK").execute(&mut holder)).unwrap();
    assert_eq!(companion.post_text("/api/auth/signout", &[("authorization", &ada)], "").status, 204);
}

#[test]
fn while_somebody_holds_a_lock_readers_are_served_and_writers_told_to_come_back_on_postgresql() {
    let server = match Postgres::start() {
        Ok(server) => server,
        Err(error) => {
            return skip(
                "while_somebody_holds_a_lock_readers_are_served_and_writers_told_to_come_back_on_postgresql",
                &error,
            );
        }
    };
    let url = server.database("locks");
    let companion = start(&url);
    let ada = bearer(&companion.sign_up("ada@example.com"));
    let leavers: Vec<String> =
        (0..WRITERS).map(|number| bearer(&companion.sign_up(&format!("user{number}@example.com")))).collect();
    let sign_out =
        |number: usize| companion.post_text("/api/auth/signout", &[("authorization", &leavers[number])], "");
    // One runtime for the connection's whole life.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let hold = |lock: &'static str| {
        let mut holder = runtime.block_on(PgConnection::connect(&url)).unwrap();
        runtime.block_on(sqlx::raw_sql(lock).execute(&mut holder)).unwrap();
        holder
    };

    let holder = hold("BEGIN; UPDATE revocation_feed SET head = head");
    std::thread::scope(|scope| {
        let others = scope.spawn(|| companion.sign_in("ada@example.com", PASSWORD).status);
        readers_are_served_while_writers_wait(&companion, &ada, sign_out);
        assert_eq!(others.join().unwrap(), 200, "who revokes nothing does not wait for those who do");
    });
    runtime.block_on(holder.close()).unwrap();
    assert_eq!(sign_out(0).status, 204);

    let holder = hold("BEGIN; LOCK TABLE users, sessions IN EXCLUSIVE MODE");
    readers_are_served_while_writers_wait(&companion, &ada, |_| {
        companion.sign_in("ada@example.com", PASSWORD)
    });
    runtime.block_on(holder.close()).unwrap();
    assert_eq!(companion.sign_in("ada@example.com", PASSWORD).status, 200);
    assert_eq!(sign_out(1).status, 204);
}

#[test]
fn a_password_changes_while_somebody_signs_in_with_the_old_one() {
    let server = match Postgres::start() {
        Ok(server) => server,
        Err(error) => return skip("a_password_changes_while_somebody_signs_in_with_the_old_one", &error),
    };
    let url = server.database("change");
    let companion = start(&url);
    let ada = bearer(&companion.sign_up("ada@example.com"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut holder = runtime.block_on(PgConnection::connect(&url)).unwrap();
    let lock = "BEGIN; UPDATE revocation_feed SET head = head";
    runtime.block_on(sqlx::raw_sql(lock).execute(&mut holder)).unwrap();
    let (changed, signed_in) = std::thread::scope(|scope| {
        let change = scope.spawn(|| {
            let body = json!({"current_password": PASSWORD, "new_password": "another horse"});
            companion.post("/api/auth/change-password", &[("authorization", &ada)], &body)
        });
        std::thread::sleep(Duration::from_millis(300));
        let sign_in = scope.spawn(|| companion.sign_in("ada@example.com", PASSWORD));
        std::thread::sleep(Duration::from_millis(300));
        runtime.block_on(sqlx::raw_sql("COMMIT").execute(&mut holder)).unwrap();
        (change.join().unwrap(), sign_in.join().unwrap())
    });
    if changed.status == 204 && signed_in.status == 200 {
        let old = bearer(&signed_in.json());
        assert_eq!(companion.get("/api/auth/me", &[("authorization", &old)]).status, 401);
    }
    // On a machine that is not too busy, nobody waits for too long here.
    assert_eq!(changed.status, 204, "{changed:?}");
    assert!([200, 401].contains(&signed_in.status), "{signed_in:?}");
}

/// A way to a server that can be cut without a word to either end.
struct Link {
    port: u16,
    cut: Arc<AtomicBool>,
}

impl Link {
    /// To the server's socket.
    fn to(socket: &Path) -> Self {
        use std::os::unix::net::UnixStream;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(AtomicBool::new(false));
        let (state, socket) = (Arc::clone(&cut), socket.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // What connects once the link is cut reaches the server: its address has moved.
                let lost = Arc::new(AtomicBool::new(false));
                let begun_before = !state.load(Ordering::SeqCst);
                let Ok(server) = UnixStream::connect(&socket) else { continue };
                let (from_client, to_client): (TcpStream, TcpStream) = (client.try_clone().unwrap(), client);
                let (from_server, to_server) = (server.try_clone().unwrap(), server);
                for (mut from, mut to) in [
                    (
                        Box::new(from_client) as Box<dyn Read + Send>,
                        Box::new(to_server) as Box<dyn Write + Send>,
                    ),
                    (Box::new(from_server), Box::new(to_client)),
                ] {
                    let (state, lost) = (Arc::clone(&state), Arc::clone(&lost));
                    std::thread::spawn(move || {
                        let mut buffer = [0; 8192];
                        while let Ok(length @ 1..) = from.read(&mut buffer) {
                            if begun_before && state.load(Ordering::SeqCst) {
                                lost.store(true, Ordering::SeqCst);
                            }
                            // Swallowed, and the connection stays open.
                            if !lost.load(Ordering::SeqCst) && to.write_all(&buffer[..length]).is_err() {
                                return;
                            }
                        }
                        if lost.load(Ordering::SeqCst) {
                            // Neither end hears that the other has gone.
                            std::mem::forget((from, to));
                        }
                    });
                }
            }
        });
        Self { port, cut }
    }
}

#[test]
fn a_postgresql_that_vanished_frees_its_connections() {
    let server = match Postgres::start() {
        Ok(server) => server,
        Err(error) => return skip("a_postgresql_that_vanished_frees_its_connections", &error),
    };
    let direct = server.database("vanished");
    let (_, directory) = direct.split_once("?host=").unwrap();
    let link = Link::to(&Path::new(directory).join(".s.PGSQL.5432"));
    let url = format!("postgres://postgres@127.0.0.1:{}/vanished?sslmode=disable", link.port);
    let flags = ["--database-connections", "4", "--throttle-address", "0", "--throttle-account", "0"];
    let companion = Companion::start_with(&url, &flags, &[]);
    let ada = bearer(&companion.sign_up("ada@example.com"));
    let me = || companion.get("/api/auth/me", &[("authorization", &ada)]).status;
    // All connections are in use when the server vanishes: their statements wait for a lock.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let connect = || runtime.block_on(PgConnection::connect(&direct)).unwrap();
    // A transaction sees one snapshot of the activity, so another connection looks at it.
    let (mut holder, mut observer) = (connect(), connect());
    let lock = "BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE";
    runtime.block_on(sqlx::raw_sql(lock).execute(&mut holder)).unwrap();
    let waiting =
        "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 'vanished'";
    let began = std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                while !link.cut.load(Ordering::SeqCst) {
                    me();
                }
            });
        }
        let deadline = Instant::now() + Duration::from_secs(30);
        while runtime.block_on(sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut observer)).unwrap() < 4 {
            assert!(Instant::now() < deadline, "the connections are not in use");
        }
        link.cut.store(true, Ordering::SeqCst);
        Instant::now()
    });
    runtime.block_on(holder.close()).unwrap();
    runtime.block_on(observer.close()).unwrap();
    while me() != 200 {
        assert!(began.elapsed() < VANISHED, "it does not come back: {}", companion.log());
    }
    let back = began.elapsed();
    println!("back after {back:?}");
    assert!(back < VANISHED, "{back:?}");
    // And all of them are free.
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..12).map(|_| scope.spawn(me)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    assert_eq!(companion.sign_in("ada@example.com", PASSWORD).status, 200);
}
