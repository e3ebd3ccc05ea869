//! What holds when somebody does not play by the rules.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::companion::{Companion, PASSWORD, call};

fn connect(companion: &Companion) -> TcpStream {
    let stream = TcpStream::connect(companion.public.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

fn read_all(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    // A connection that is reset has ended as well.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn a_flood_of_sign_ins_is_shed_while_everything_else_answers() {
    // One thread and a queue of two, and a cost at which a hash takes long enough that they pile up.
    let flags = [
        "--bcrypt-threads",
        "1",
        "--bcrypt-queue",
        "2",
        "--throttle-address",
        "0",
        "--throttle-account",
        "0",
    ];
    let companion = Companion::start(&[&flags[..], &["--bcrypt-cost", "10"]].concat());
    let token = companion.sign_up("ada@example.com")["token"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {token}");
    let answers: Vec<_> = std::thread::scope(|scope| {
        let flood: Vec<_> =
            (0..24).map(|_| scope.spawn(|| companion.sign_in("ada@example.com", PASSWORD))).collect();
        for _ in 0..10 {
            assert_eq!(companion.get("/api/auth/me", &[("authorization", &bearer)]).status, 200);
            assert_eq!(companion.post("/api/auth/verify", &[], &json!({"token": token})).status, 200);
            assert_eq!(call("GET", &format!("{}/healthz", companion.private), &[], None).status, 200);
            assert_eq!(call("GET", &format!("{}/readyz", companion.private), &[], None).status, 200);
        }
        flood.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let (served, shed): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert!(!served.is_empty() && !shed.is_empty(), "{} served, {} shed", served.len(), shed.len());
    for answer in shed {
        assert_eq!((answer.status, answer.code().as_str()), (503, "overloaded"));
        assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    }
    // And when the flood is over, everything is as before.
    assert_eq!(companion.sign_in("ada@example.com", PASSWORD).status, 200);
}

#[test]
fn a_body_that_comes_late_and_is_not_needed_leaves_the_connection_open() {
    let companion = Companion::start(&[]);
    for path in ["/api/auth/signout", "/api/auth/sign-out", "/api/auth/revoke-sessions"] {
        let mut stream = connect(&companion);
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        // Long enough for an answer to be on its way already.
        std::thread::sleep(Duration::from_millis(200));
        stream.write_all(b"{}").unwrap();
        // The same connection serves the next request.
        stream.write_all(b"GET /api/auth/ok HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
        let answers = read_all(stream);
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 2, "{path}: {answers}");
        assert!(answers.ends_with(r#"{"ok":true}"#), "{path}: {answers}");
    }
}

#[test]
fn guessing_is_slowed_down_and_the_owner_still_comes_in_from_elsewhere() {
    let companion = Companion::start(&["--throttle-account", "5"]);
    companion.sign_up("ada@example.com");
    let from = |address: &str, password: &str| {
        let body = json!({"email": "ada@example.com", "password": password});
        companion.post("/api/auth/signin", &[("x-forwarded-for", address)], &body)
    };
    for machine in 1..=20 {
        let statuses: Vec<u16> =
            (0..6).map(|_| from(&format!("192.0.2.{machine}"), "wrong horse").status).collect();
        assert!(statuses.contains(&429), "{statuses:?}");
    }
    let refused = from("192.0.2.1", "wrong horse");
    assert_eq!((refused.status, refused.code().as_str()), (429, "too_many_attempts"));
    assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    // The client's own words about where it comes from are to the left of the proxy's.
    assert_eq!(from("203.0.113.9, 192.0.2.1", "wrong horse").status, 429);
    assert_eq!(from("203.0.113.9", PASSWORD).status, 200);
    // An account that does not exist is treated alike.
    let nobody = |_| companion.sign_in("nobody@example.com", "wrong horse").status;
    assert_eq!((0..6).map(nobody).collect::<Vec<_>>(), [401, 401, 401, 401, 401, 429]);
}

#[test]
fn a_right_password_is_bounded_for_its_account_and_for_its_address() {
    let companion = Companion::start(&[]);
    companion.sign_up("ada@example.com");
    let sign_in = |email: &str, address: &str| {
        let body = json!({"email": email, "password": PASSWORD});
        companion.post("/api/auth/signin", &[("x-forwarded-for", address)], &body)
    };
    let (mut good, mut refused) = (0, None);
    for number in 0..60 {
        let answer = sign_in("ada@example.com", &format!("192.0.2.{number}"));
        match answer.status {
            200 => good += 1,
            429 => refused = Some(answer),
            _ => panic!("{answer:?}"),
        }
    }
    // 30 a minute; a slow machine gets a few more.
    assert!((30..60).contains(&good), "{good}");
    let refused = refused.expect("it was refused");
    let seconds = refused.header("retry-after").unwrap();
    assert_eq!(refused.header("x-retry-after"), Some(seconds), "where Better Auth's clients look");

    let many = (0..5).map(|number| format!("user{number}@example.com")).collect::<Vec<_>>();
    many.iter().for_each(|email| drop(companion.sign_up(email)));
    let statuses: Vec<_> = (0..100).map(|turn| sign_in(&many[turn % 5], "192.0.2.200").status).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[test]
fn an_account_has_a_bounded_number_of_sessions_and_the_oldest_ends() {
    let companion = Companion::start(&["--throttle-address", "0", "--throttle-account", "0"]);
    companion.sign_up("ada@example.com");
    let tokens: Vec<String> = (0..105)
        .map(|_| companion.sign_in("ada@example.com", PASSWORD).json()["token"].as_str().unwrap().to_owned())
        .collect();
    let bearer = |token: &String| format!("Bearer {token}");
    let newest = bearer(&tokens[104]);
    let sessions = companion.get("/api/auth/list-sessions", &[("authorization", &newest)]).json();
    assert_eq!(sessions.as_array().unwrap().len(), 100);
    let me = |token| companion.get("/api/auth/me", &[("authorization", &bearer(token))]);
    assert_eq!((me(&tokens[0]).code(), me(&tokens[104]).status), ("revoked".to_owned(), 200));
}

#[test]
fn an_attempt_that_was_told_to_come_back_does_not_count() {
    // A hash takes some 100 ms, and one at a time is worked on.
    let flags = ["--bcrypt-threads", "1", "--bcrypt-queue", "1"];
    let companion = Companion::start(&[&flags[..], &["--bcrypt-cost", "10"]].concat());
    companion.sign_up("ada@example.com");
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for flooder in 0..6 {
            let (companion, over) = (&companion, &over);
            scope.spawn(move || {
                for number in 0.. {
                    if over.load(std::sync::atomic::Ordering::Relaxed) {
                        return;
                    }
                    companion.sign_in(&format!("f{flooder}-{number}@example.com"), "wrong horse");
                }
            });
        }
        let mut shed = 0;
        for _ in 0..1000 {
            let answer = companion.sign_in("ada@example.com", PASSWORD);
            assert!(matches!(answer.status, 200 | 503), "{answer:?}");
            shed += u32::from(answer.status == 503);
            if shed == 20 {
                break;
            }
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(shed, 20, "the flood kept her out");
    });
    assert_eq!(companion.sign_in("ada@example.com", PASSWORD).status, 200);
}

#[test]
fn one_address_cannot_sign_up_without_end() {
    let companion = Companion::start(&["--throttle-address", "3"]);
    let sign_up = |number| {
        let body = json!({"email": format!("u{number}@example.com"), "password": PASSWORD});
        companion.post("/api/auth/signup", &[], &body).status
    };
    assert_eq!((0..5).map(sign_up).collect::<Vec<_>>(), [201, 201, 201, 429, 429]);
}

#[test]
fn a_client_that_dawdles_over_its_head_or_its_body_is_cut_off() {
    let companion = Companion::start(&["--client-timeout-seconds", "1"]);
    let mut head = connect(&companion);
    head.write_all(b"GET /api/auth/me HTTP/1.1\r\nhost: x\r\n").unwrap();
    let mut body = connect(&companion);
    body.write_all(b"POST /api/auth/signin HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{")
        .unwrap();
    // Both end, though this side keeps them open.
    assert!(!read_all(head).contains(" 200 "));
    assert!(read_all(body).starts_with("HTTP/1.1 408 "));
}

#[test]
fn a_head_without_end_is_refused() {
    let companion = Companion::start(&[]);
    let mut stream = connect(&companion);
    let _ = stream.write_all(b"GET /api/auth/me HTTP/1.1\r\nhost: x\r\n");
    for number in 0..200 {
        if stream.write_all(format!("x-{number}: {}\r\n", "y".repeat(1000)).as_bytes()).is_err() {
            break;
        }
    }
    let answer = read_all(stream);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(companion.get("/api/auth/get-session", &[]).status, 200);
}

#[test]
fn idle_connections_do_not_keep_others_out_for_good() {
    let companion = Companion::start(&["--max-connections", "4", "--client-timeout-seconds", "1"]);
    let idle: Vec<TcpStream> = (0..16).map(|_| connect(&companion)).collect();
    assert_eq!(companion.get("/api/auth/get-session", &[]).status, 200);
    drop(idle);
}

#[test]
fn bytes_that_are_no_text_harm_nothing() {
    let companion = Companion::start(&[]);
    for header in
        ["authorization", "cookie", "origin", "content-type", "x-request-id", "x-forwarded-for", "user-agent"]
    {
        let mut stream = connect(&companion);
        let mut request =
            format!("GET /api/auth/me?x=%ff HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}: Bearer ")
                .into_bytes();
        request.extend([0xff, 0xfe, 0xfd]);
        request.extend(b"\r\n\r\n");
        stream.write_all(&request).unwrap();
        assert!(read_all(stream).starts_with("HTTP/1.1 401 "), "{header}");
    }
}
