//! One suite over every store: what is promised does not depend on where it is kept.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::companion::{Answer, Companion, PASSWORD, call, program, sqlite_url};
use crate::postgres::Postgres;
use crate::setup;

type Promise = (&'static str, fn(&str));

const SUITE: &[Promise] = &[
    ("an_address_has_one_account", an_address_has_one_account),
    ("two_companions_on_one_store_act_as_one", two_companions_on_one_store_act_as_one),
    ("nothing_acknowledged_is_lost_by_kill_9", nothing_acknowledged_is_lost_by_kill_9),
    (
        "signing_out_everywhere_ends_what_was_and_not_what_comes",
        signing_out_everywhere_ends_what_was_and_not_what_comes,
    ),
    ("a_changed_password_ends_what_was", a_changed_password_ends_what_was),
    ("the_feed_tells_each_revocation_once_and_in_pages", the_feed_tells_each_revocation_once_and_in_pages),
    ("the_feed_notices_a_cursor_of_another_history", the_feed_notices_a_cursor_of_another_history),
    (
        "no_revocation_is_missed_by_who_polls_while_many_sign_out",
        no_revocation_is_missed_by_who_polls_while_many_sign_out,
    ),
    ("signing_out_twice_is_told_once", signing_out_twice_is_told_once),
    ("users_are_administered_from_the_command_line", users_are_administered_from_the_command_line),
];

#[test]
fn the_suite_holds_on_sqlite() {
    for (name, promise) in SUITE {
        println!("{name}");
        let directory = TempDir::new().unwrap();
        promise(&sqlite_url(directory.path()));
    }
}

#[test]
fn the_suite_holds_on_postgresql() {
    let server = match Postgres::start() {
        Ok(server) => server,
        Err(reason) => return setup::skip("the_suite_holds_on_postgresql", &reason),
    };
    for (number, (name, promise)) in SUITE.iter().enumerate() {
        println!("{name}");
        promise(&server.database(&format!("test{number}")));
    }
}

#[test]
fn while_postgresql_is_away_calls_are_told_to_come_back_and_then_work() {
    let server = match Postgres::start() {
        Ok(server) => server,
        Err(reason) => {
            return setup::skip(
                "while_postgresql_is_away_calls_are_told_to_come_back_and_then_work",
                &reason,
            );
        }
    };
    let companion = start(&server.database("away"));
    let ada = token(&companion.sign_up("ada@example.com"));
    let ready = || call("GET", &format!("{}/readyz", companion.private), &[], None).status;
    assert_eq!((me(&companion, &ada), ready()), (200, 200));
    server.end().unwrap();
    let away = companion.sign_in("ada@example.com", PASSWORD);
    assert_eq!((away.status, away.code().as_str()), (503, "store_unavailable"));
    assert!(away.header("retry-after").is_some());
    assert_eq!((me(&companion, &ada), ready()), (503, 503));
    server.begin().unwrap();
    // The first call may meet a connection that ended with the server.
    while me(&companion, &ada) == 503 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!((me(&companion, &ada), ready()), (200, 200));
    assert_eq!(companion.sign_in("ada@example.com", PASSWORD).status, 200);
}

fn start(url: &str) -> Companion {
    Companion::start_with(url, &["--throttle-address", "0"], &[])
}

fn token(body: &Value) -> String {
    body["token"].as_str().unwrap().to_owned()
}

fn me(companion: &Companion, token: &str) -> u16 {
    companion.get("/api/auth/me", &[("authorization", &format!("Bearer {token}"))]).status
}

fn bearer_post(companion: &Companion, path: &str, token: &str, body: &Value) -> Answer {
    companion.post(path, &[("authorization", &format!("Bearer {token}"))], body)
}

/// One page of the feed.
fn feed(companion: &Companion, query: &str) -> Value {
    let token = crate::commands::mint(&["--sub", "gate", "--audience", "jwt-gate/internal"]);
    let url = format!("{}/internal/revocations{query}", companion.private);
    let answer = call("GET", &url, &[("authorization", &format!("Bearer {token}"))], None);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn since(companion: &Companion, page: &Value) -> Value {
    feed(companion, &format!("?since={}", page["cursor"].as_str().unwrap()))
}

fn claims(token: &str) -> Value {
    let payload = jwt_gate_token::base64url_decode(token.split('.').nth(1).unwrap().as_bytes()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

fn an_address_has_one_account(url: &str) {
    let companion = Companion::start_with(url, &["--bcrypt-queue", "100", "--throttle-address", "0"], &[]);
    let spellings = ["ada@example.com", "ADA@example.com", "Ada@EXAMPLE.com", "ａｄａ@example.com"];
    let mut statuses: Vec<u16> = std::thread::scope(|scope| {
        let sign_up = |spelling| {
            companion.post("/api/auth/signup", &[], &json!({"email": spelling, "password": PASSWORD})).status
        };
        let calls: Vec<_> =
            spellings.into_iter().map(|spelling| scope.spawn(move || sign_up(spelling))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409]);
}

fn two_companions_on_one_store_act_as_one(url: &str) {
    let (one, two) = (start(url), start(url));
    let ada = one.sign_up("ada@example.com");
    assert_eq!(me(&two, &token(&ada)), 200);
    let there = two.sign_in("ada@example.com", PASSWORD);
    assert_eq!(there.status, 200);
    assert_eq!(bearer_post(&two, "/api/auth/signout", &token(&ada), &json!({})).status, 204);
    assert_eq!(me(&one, &token(&ada)), 401);
    assert_eq!(me(&one, &token(&there.json())), 200);
    assert_eq!(feed(&one, "")["jti"], feed(&two, "")["jti"]);
}

fn nothing_acknowledged_is_lost_by_kill_9(url: &str) {
    let companion = start(url);
    let ada = companion.sign_up("ada@example.com");
    companion.kill();
    let companion = start(url);
    assert_eq!(me(&companion, &token(&ada)), 200);
    assert_eq!(bearer_post(&companion, "/api/auth/signout", &token(&ada), &json!({})).status, 204);
    companion.kill();
    let companion = start(url);
    assert_eq!(me(&companion, &token(&ada)), 401);
    assert_eq!(feed(&companion, "")["jti"].as_array().unwrap().len(), 1);
}

fn signing_out_everywhere_ends_what_was_and_not_what_comes(url: &str) {
    let companion = start(url);
    let first = token(&companion.sign_up("ada@example.com"));
    let bob = token(&companion.sign_up("bob@example.com"));
    let second = token(&companion.sign_in("ada@example.com", PASSWORD).json());
    let minted = crate::commands::mint(&["--sub", claims(&first)["sub"].as_str().unwrap()]);
    assert_eq!(bearer_post(&companion, "/api/auth/signout-everywhere", &second, &json!({})).status, 204);
    // At once, within the same second as everything above.
    let next = token(&companion.sign_in("ada@example.com", PASSWORD).json());
    for ended in [&first, &second, &minted] {
        assert_eq!(me(&companion, ended), 401);
    }
    assert_eq!((me(&companion, &next), me(&companion, &bob)), (200, 200));
    // A gate, which has nothing but the feed, comes to the same verdicts.
    let page = feed(&companion, "");
    let [subject, issued_before, expires] = page["sub"][0].as_array().unwrap().as_slice() else {
        panic!("{page}")
    };
    assert_eq!(*subject, claims(&first)["sub"]);
    let before = |token: &str| claims(token)["iat"].as_i64() < issued_before.as_i64();
    assert!(before(&first) && before(&second) && before(&minted) && !before(&next), "{page}");
    for ended in [&first, &second] {
        assert!(claims(ended)["exp"].as_i64() <= expires.as_i64(), "{page}");
    }
    // And no token is issued for the future, which a strict clock would refuse.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!(claims(&next)["iat"].as_u64().unwrap() <= now);
}

fn a_changed_password_ends_what_was(url: &str) {
    let companion = start(url);
    let signed_up =
        companion.post("/api/auth/signup", &[], &json!({"email": "ada@example.com", "password": PASSWORD}));
    let cookie = signed_up.cookie();
    let other = token(&companion.sign_in("ada@example.com", PASSWORD).json());
    let origin = companion.public.clone();
    let with_cookie = [("cookie", cookie.as_str()), ("origin", origin.as_str())];
    let wrong = json!({"current_password": "wrong horse", "new_password": "another horse"});
    let refused = companion.post("/api/auth/change-password", &with_cookie, &wrong);
    assert_eq!((refused.status, refused.code().as_str()), (401, "invalid_credentials"));
    let weak = json!({"current_password": PASSWORD, "new_password": "short"});
    assert_eq!(companion.post("/api/auth/change-password", &with_cookie, &weak).status, 422);

    let right = json!({"current_password": PASSWORD, "new_password": "another horse"});
    let changed = companion.post("/api/auth/change-password", &with_cookie, &right);
    assert_eq!(changed.status, 204);
    assert_eq!(companion.get("/api/auth/me", &[("cookie", &changed.cookie())]).status, 200);
    assert_eq!(companion.get("/api/auth/me", &[("cookie", &cookie)]).status, 401);
    assert_eq!(me(&companion, &other), 401);
    assert_eq!(companion.sign_in("ada@example.com", PASSWORD).status, 401);
    assert_eq!(companion.sign_in("ada@example.com", "another horse").status, 200);
}

fn the_feed_tells_each_revocation_once_and_in_pages(url: &str) {
    let companion = start(url);
    let empty = feed(&companion, "");
    assert_eq!(
        (&empty["jti"], &empty["sub"], &empty["more"], &empty["reset"]),
        (&json!([]), &json!([]), &json!(false), &json!(true))
    );
    let mut jtis = Vec::new();
    for number in 0..5 {
        let token = token(&companion.sign_up(&format!("user{number}@example.com")));
        jtis.push(json!([claims(&token)["jti"], claims(&token)["exp"]]));
        bearer_post(&companion, "/api/auth/signout", &token, &json!({}));
    }
    let all = since(&companion, &empty);
    assert_eq!((&all["jti"], &all["reset"], &all["more"]), (&json!(jtis), &json!(false), &json!(false)));
    let nothing = since(&companion, &all);
    assert_eq!(
        (&nothing["jti"], &nothing["cursor"], &nothing["reset"]),
        (&json!([]), &all["cursor"], &json!(false))
    );

    let mut page = feed(&companion, "?limit=2");
    let mut seen = page["jti"].as_array().unwrap().clone();
    while page["more"] == json!(true) {
        assert_eq!(page["jti"].as_array().unwrap().len(), 2);
        page = feed(&companion, &format!("?limit=2&since={}", page["cursor"].as_str().unwrap()));
        assert_eq!(page["reset"], json!(false));
        seen.extend(page["jti"].as_array().unwrap().clone());
    }
    assert_eq!((seen, &page["cursor"]), (jtis, &all["cursor"]));
}

fn the_feed_notices_a_cursor_of_another_history(url: &str) {
    let companion = start(url);
    let signed_out = token(&companion.sign_up("ada@example.com"));
    bearer_post(&companion, "/api/auth/signout", &signed_out, &json!({}));
    let page = feed(&companion, "");
    let cursor = page["cursor"].as_str().unwrap();
    let (epoch, rest) = cursor.split_once('.').unwrap();
    let (_, tag) = rest.split_once('.').unwrap();
    // From another store, from ahead of this one's end, of an entry that is another one here, or garbage.
    let other_tag = "0".repeat(tag.len());
    for strange in [
        format!("other.1.{tag}"),
        format!("{epoch}.999.{tag}"),
        format!("{epoch}.1.{other_tag}"),
        format!("{epoch}.-1.{tag}"),
        "garbage".to_owned(),
        String::new(),
        "%00%ff".to_owned(),
    ] {
        let reset = feed(&companion, &format!("?since={strange}"));
        assert_eq!((&reset["reset"], &reset["jti"]), (&json!(true), &page["jti"]), "{strange}");
        assert_eq!(reset["cursor"], page["cursor"], "{strange}");
    }
}

fn no_revocation_is_missed_by_who_polls_while_many_sign_out(url: &str) {
    const WRITERS: usize = 4;
    const EACH: usize = 10;
    let companions = [start(url), start(url)];
    let tokens: Vec<Vec<String>> = (0..WRITERS)
        .map(|writer| {
            (0..EACH).map(|n| token(&companions[0].sign_up(&format!("u{writer}-{n}@example.com")))).collect()
        })
        .collect();
    let mut expected: Vec<Value> =
        tokens.iter().flatten().map(|token| claims(token)["jti"].clone()).collect();
    let mut seen = Vec::new();
    let mut page = feed(&companions[0], "");
    std::thread::scope(|scope| {
        let writers: Vec<_> = tokens
            .iter()
            .enumerate()
            .map(|(writer, tokens)| {
                let companion = &companions[writer % 2];
                scope.spawn(move || {
                    for token in tokens {
                        assert_eq!(
                            bearer_post(companion, "/api/auth/signout", token, &json!({})).status,
                            204
                        );
                    }
                })
            })
            .collect();
        loop {
            let done = writers.iter().all(std::thread::ScopedJoinHandle::is_finished);
            page = since(&companions[1], &page);
            seen.extend(page["jti"].as_array().unwrap().iter().map(|entry| entry[0].clone()));
            if done {
                break;
            }
        }
    });
    expected.sort_by_key(Value::to_string);
    seen.sort_by_key(Value::to_string);
    assert_eq!(seen, expected);
}

fn signing_out_twice_is_told_once(url: &str) {
    let companion = start(url);
    let signed_out = token(&companion.sign_up("ada@example.com"));
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let sign_out = || bearer_post(&companion, "/api/auth/signout", &signed_out, &json!({})).status;
        let calls: Vec<_> = (0..4).map(|_| scope.spawn(sign_out)).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(statuses.iter().all(|status| [204, 401].contains(status)), "{statuses:?}");
    assert_eq!(feed(&companion, "")["jti"].as_array().unwrap().len(), 1);
}

fn users_are_administered_from_the_command_line(url: &str) {
    let companion = start(url);
    let users = |arguments: &[&str], input: &str| {
        use std::io::Write;
        let mut child = program()
            .args(["users"])
            .args(arguments)
            .env("DATABASE_URL", url)
            .env("JWT_GATE_BCRYPT_COST", "4")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.success(), said)
    };
    assert!(users(&["create", "--email", "Ada@example.com", "--name", "Ada"], &format!("{PASSWORD}\n")).0);
    assert!(!users(&["create", "--email", "ada@example.com"], &format!("{PASSWORD}\n")).0, "taken");
    assert!(!users(&["create", "--email", "bob@example.com"], "short\n").0, "too short");
    let list = users(&["list"], "").1;
    assert!(list.contains("ada@example.com") && !list.contains("$2b$"), "{list}");

    let before = token(&companion.sign_in("ada@example.com", PASSWORD).json());
    assert!(users(&["revoke", "ada@example.com"], "").0);
    assert_eq!(me(&companion, &before), 401);
    let after = token(&companion.sign_in("ada@example.com", PASSWORD).json());
    assert_eq!(me(&companion, &after), 200);
    assert!(users(&["disable", "ada@example.com"], "").0);
    assert_eq!(me(&companion, &after), 401);
    let disabled = companion.sign_in("ada@example.com", PASSWORD);
    assert_eq!((disabled.status, disabled.code().as_str()), (403, "account_disabled"));
    assert_eq!(companion.sign_in("ada@example.com", "wrong horse").status, 401);
    assert!(users(&["enable", "ada@example.com"], "").0);
    assert_eq!(companion.sign_in("ada@example.com", PASSWORD).status, 200);
    assert!(!users(&["disable", "nobody@example.com"], "").0);

    // passlib's three spellings: PASSWORD at cost 4, by bcrypt itself.
    let hash = bcrypt::hash(PASSWORD, 4).unwrap();
    let lines: Vec<String> = ["2a", "2b", "2y"]
        .iter()
        .map(|spelling| {
            let hash = format!("${spelling}${}", &hash[4..]);
            json!({"email": format!("{spelling}@example.com"), "name": "P", "password_hash": hash})
                .to_string()
        })
        .collect();
    let (imported, said) = users(&["import"], &(lines.join("\n") + "\n"));
    assert!(imported && said.contains("3 imported"), "{said}");
    let (again, said) =
        users(&["import"], "{\"email\": \"2a@example.com\", \"password_hash\": \"$2b$04$bad\"}\n");
    assert!(!again && said.contains("line 1"), "{said}");
    for spelling in ["2a", "2b", "2y"] {
        assert_eq!(companion.sign_in(&format!("{spelling}@example.com"), PASSWORD).status, 200, "{spelling}");
    }
}
