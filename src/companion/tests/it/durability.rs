use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::companion::{Companion, PASSWORD, sqlite_url};

#[test]
fn whoever_was_told_that_they_signed_up_is_there_after_kill_9() {
    let directory = TempDir::new().unwrap();
    let url = sqlite_url(directory.path());
    for round in 0..5 {
        let companion = Companion::start_with(&url, &[], &[]);
        companion.sign_up(&format!("user{round}@example.com"));
        // The very next thing after the acknowledgement.
        companion.kill();
    }
    let companion = Companion::start_with(&url, &[], &[]);
    for round in 0..5 {
        assert_eq!(companion.sign_in(&format!("user{round}@example.com"), PASSWORD).status, 200);
    }
}

#[test]
fn acknowledged_sign_outs_survive_kill_9() {
    let directory = TempDir::new().unwrap();
    let url = sqlite_url(directory.path());
    let companion = Companion::start_with(&url, &[], &[]);
    let token = companion.sign_up("ada@example.com")["token"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {token}");
    assert_eq!(companion.post_text("/api/auth/signout", &[("authorization", &bearer)], "").status, 204);
    companion.kill();
    let companion = Companion::start_with(&url, &[], &[]);
    let me = companion.get("/api/auth/me", &[("authorization", &bearer)]);
    assert_eq!((me.status, me.code().as_str()), (401, "revoked"));
}

#[test]
fn concurrent_sign_ups_with_one_address_make_one_account() {
    let companion = Companion::start(&["--bcrypt-queue", "100"]);
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let body = serde_json::json!({"email": "ada@example.com", "password": PASSWORD});
                    companion.post("/api/auth/signup", &[], &body).status
                })
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 409).count(), 7, "{statuses:?}");
}

/// Whether others can still connect would not say it: the port may be somebody else's by then.
fn until_it_shuts_down(companion: &Companion) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !companion.log().contains("shutting down: requests under way are answered first") {
        assert!(Instant::now() < deadline, "it does not say that it shuts down: {}", companion.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Begins a request whose body never comes.
fn dawdle(companion: &Companion) -> TcpStream {
    let mut stream = TcpStream::connect(companion.public.strip_prefix("http://").unwrap()).unwrap();
    let head = "POST /api/auth/signup HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\
                expect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
    stream
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    const LONG: u64 = 300;
    let seconds = LONG.to_string();
    let flags = ["--shutdown-seconds", &seconds, "--client-timeout-seconds", &seconds];
    let mut companion = Companion::start(&flags);
    let _request = dawdle(&companion);
    companion.send_sigterm();
    until_it_shuts_down(&companion);
    let began = Instant::now();
    companion.send_sigterm();
    assert!(!companion.wait(), "requests were cut off");
    assert!(began.elapsed() < Duration::from_secs(LONG / 2), "it waited for the request");
}

#[test]
fn a_shutdown_ends_whatever_is_under_way() {
    let directory = TempDir::new().unwrap();
    let url = crate::companion::sqlite_url(directory.path());
    let mut companion = Companion::start_with(&url, &["--client-timeout-seconds", "300"], &[]);
    let _request = dawdle(&companion);
    let began = Instant::now();
    assert!(companion.terminate());
    let took = began.elapsed();
    println!("the shutdown took {} ms", took.as_millis());
    // By default 9 s: Docker waits for 10.
    assert!(took < Duration::from_secs(30), "{took:?}");
}

#[test]
fn a_request_under_way_is_answered_when_the_server_is_told_to_end() {
    let mut companion = Companion::start(&[]);
    let body = serde_json::json!({"email": "ada@example.com", "password": PASSWORD}).to_string();
    let mut stream = TcpStream::connect(companion.public.strip_prefix("http://").unwrap()).unwrap();
    let head = format!(
        "POST /api/auth/signup HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         expect: 100-continue\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // "100 Continue" says that the request has begun to be served.
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
    companion.send_sigterm();
    until_it_shuts_down(&companion);
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    reader.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("HTTP/1.1 201 Created"), "{answer}");
    assert!(companion.wait());
}

#[test]
fn the_store_is_readable_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = TempDir::new().unwrap();
    let companion = Companion::start_with(&sqlite_url(directory.path()), &[], &[]);
    companion.sign_up("ada@example.com");
    let mut files = 0;
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
        files += 1;
    }
    assert!(files >= 2, "the file and its log");
}

#[test]
fn readiness_asks_the_store() {
    let directory = TempDir::new().unwrap();
    let companion = Companion::start_with(&sqlite_url(directory.path()), &[], &[]);
    let ready = || crate::companion::call("GET", &format!("{}/readyz", companion.private), &[], None).status;
    assert_eq!(ready(), 200);
    // Its tables are gone, as after a restore gone wrong.
    let statement = "DROP TABLE revocation_feed";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        use sqlx::Connection;
        let url = sqlite_url(directory.path());
        let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
        sqlx::query(statement).execute(&mut connection).await.unwrap();
    });
    assert_eq!(ready(), 503);
    let health = crate::companion::call("GET", &format!("{}/healthz", companion.private), &[], None);
    assert_eq!(health.status, 200);
}
