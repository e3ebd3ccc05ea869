//! Other people's implementations: PyJWT, jose and gRPC's C core.

use std::io::Write;
use std::process::{Command, Stdio};

use jwt_gate_tests::{Node, Python, Request, Seen, companion_binary, forge, skipped};
use serde_json::{Value, json};

use crate::envoy;

/// What `command` prints, given `input` as JSON.
fn run(command: &mut Command, input: &Value) -> String {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // A program that asks for nothing may have ended before this; whether it did well, its status says.
    let _ = child.stdin.take().expect("a pipe").write_all(input.to_string().as_bytes());
    let output = child.wait_with_output().expect("the program ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// A token as the companion makes it.
fn companions_token(sub: &str) -> String {
    let mut command = Command::new(companion_binary());
    command
        .args(["token", "mint", "--sub", sub, "--email", "ada@example.com"])
        .env("BETTER_AUTH_SECRET", forge::SECRET)
        .env_remove("BETTER_AUTH_SECRETS");
    run(&mut command, &Value::Null)
}

fn assert_accepted(token: &str, why: &str) {
    let seen = Request::get("/api/me").bearer(token).send(envoy().port("app")).reached();
    assert_eq!(seen.one("x-user-id").as_deref(), Some("user_1"), "{why}");
}

#[test]
fn the_companions_minted_token_is_accepted_by_the_gate() {
    assert_accepted(&companions_token("user_1"), "minted");
}

#[test]
fn pyjwt_and_the_gate_and_the_companion_accept_each_others_tokens() {
    let python = match Python::shared() {
        Ok(python) => python,
        Err(reason) => {
            return skipped("pyjwt_and_the_gate_and_the_companion_accept_each_others_tokens", reason);
        }
    };
    let issue = |input: Value| run(python.script("pyjwt_client.py").arg("issue"), &input);
    let claims = forge::claims("user_1", json!({"name": "Zoë"}));
    assert_accepted(&issue(json!({"claims": claims, "secret": forge::SECRET})), "PyJWT");
    let headers = json!({"kid": "whatever", "typ": "at+jwt"});
    assert_accepted(
        &issue(json!({"claims": claims, "secret": forge::SECRET, "headers": headers})),
        "PyJWT, kid",
    );
    let port = envoy().port("app");
    for algorithm in ["HS384", "HS512"] {
        let token = issue(json!({"claims": claims, "secret": forge::SECRET, "algorithm": algorithm}));
        Request::get("/api/me").bearer(token).send(port).assert_denied(401, "malformed");
    }
    let token = issue(json!({"claims": claims, "secret": forge::OTHER_SECRET}));
    Request::get("/api/me").bearer(token).send(port).assert_denied(401, "bad_signature");

    let input = json!({"token": companions_token("user_1"), "secret": forge::SECRET});
    let read: Value =
        serde_json::from_str(&run(python.script("pyjwt_client.py").arg("verify"), &input)).expect("JSON");
    assert_eq!((read["sub"].as_str(), read["email"].as_str()), (Some("user_1"), Some("ada@example.com")));
}

#[test]
fn jose_and_the_gate_and_the_companion_accept_each_others_tokens() {
    let node = match Node::shared() {
        Ok(node) => node,
        Err(reason) => {
            return skipped("jose_and_the_gate_and_the_companion_accept_each_others_tokens", reason);
        }
    };
    let input = json!({"claims": forge::claims("user_1", json!({"name": "Zoë"})), "secret": forge::SECRET});
    assert_accepted(&run(node.script("jose_client.mjs").arg("issue"), &input), "jose");
    let input = json!({"token": companions_token("user_1"), "secret": forge::SECRET});
    let read: Value =
        serde_json::from_str(&run(node.script("jose_client.mjs").arg("verify"), &input)).expect("JSON");
    assert_eq!(read["payload"]["sub"], "user_1");
    assert_eq!(read["protectedHeader"]["alg"], "HS256");
}

#[test]
fn a_grpc_client_gets_grpc_statuses_and_reaches_the_service_with_a_token() {
    let python = match Python::shared() {
        Ok(python) => python,
        Err(reason) => {
            return skipped("a_grpc_client_gets_grpc_statuses_and_reaches_the_service_with_a_token", reason);
        }
    };
    let target = format!("127.0.0.1:{}", envoy().port("app-h2"));
    let call = |method: &str, metadata: Value| -> Value {
        let mut command = python.script("grpc_client.py");
        serde_json::from_str(&run(command.arg(&target).arg(method), &metadata)).expect("JSON")
    };
    let bearer = |token: &str| json!([["authorization", format!("Bearer {token}")], ["x-user-id", "root"]]);
    let token = forge::token("user_1", json!({}));

    let answer = call("/api/notes.Notes/List", bearer(&token));
    assert_eq!(answer["code"], "OK", "{answer}");
    let seen = Seen::from_json(answer["answer"].to_string().as_bytes()).expect("what the backend saw");
    assert_eq!(seen.read_as("x-user-id"), [("x-user-id".to_owned(), "user_1".to_owned())]);
    assert!(!seen.holds(token.as_bytes()));

    assert_eq!(call("/api/notes.Notes/List", json!([]))["code"], "UNAUTHENTICATED");
    assert_eq!(call("/api/notes.Notes/List", bearer("bad"))["code"], "UNAUTHENTICATED");
    let expired = call("/api/notes.Notes/List", bearer(&forge::token("user_1", json!({"exp": 1}))));
    assert_eq!(
        (expired["code"].as_str(), expired["details"].as_str()),
        (Some("UNAUTHENTICATED"), Some("The token has expired."))
    );
    assert_eq!(call("/admin/notes.Notes/Drop", bearer(&token))["code"], "PERMISSION_DENIED");
    assert_eq!(call("/none/notes.Notes/List", bearer(&token))["code"], "PERMISSION_DENIED");
}
