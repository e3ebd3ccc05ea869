use std::io::Write;
use std::process::{Output, Stdio};

use crate::companion::{Companion, program};

/// A token made by the command.
pub(crate) fn mint(flags: &[&str]) -> String {
    let output = program().args(["token", "mint"]).args(flags).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout).trim().to_owned()
}

fn inspect(token: &str) -> Output {
    let mut child = program()
        .args(["token", "inspect"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_fresh_secret_is_one_that_is_accepted_and_never_the_same() {
    let secret = || text(&program().arg("secret").output().unwrap().stdout).trim().to_owned();
    let (one, two) = (secret(), secret());
    assert_eq!(one.len(), 43);
    assert_ne!(one, two);
    let output =
        program().args(["token", "mint", "--sub", "a"]).env("BETTER_AUTH_SECRET", &one).output().unwrap();
    assert!(output.status.success());
}

#[test]
fn a_minted_token_verifies_and_says_so_with_the_servers_kid() {
    let companion = Companion::start(&[]);
    let token = mint(&["--sub", "ada", "--claims", r#"{"role": ["admin"], "iss": null}"#]);
    let output = inspect(&format!("{token}\n"));
    let (out, kid) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}");
    assert!(kid.contains(&companion.kid), "{kid}");
    assert!(out.contains(&format!("verifies: yes, with kid {}", companion.kid)), "{out}");
    assert!(out.contains("\"role\"") && !out.contains("\"iss\""), "{out}");
    assert!(out.contains("expires: ") && out.contains("(in "), "{out}");
}

/// Such a token would survive a sign-out everywhere.
#[test]
fn no_token_is_minted_that_claims_to_be_issued_in_the_future() {
    let now = jwt_gate_auth::clock::now_seconds();
    let mint = |claims: serde_json::Value| {
        let claims = claims.to_string();
        program().args(["token", "mint", "--sub", "ada", "--claims", &claims]).output().unwrap()
    };
    for iat in [serde_json::json!(now + 3600), serde_json::json!(now as f64 + 30.5), serde_json::json!(1e300)]
    {
        let refused = mint(serde_json::json!({"iat": iat, "exp": now + 7200}));
        assert!(!refused.status.success() && refused.stdout.is_empty(), "{iat}");
        assert!(text(&refused.stderr).contains("`iat` is in the future"), "{iat}: {refused:?}");
    }
    let later = mint(serde_json::json!({"nbf": now + 3600, "exp": now + 7200}));
    assert!(later.status.success(), "{later:?}");
    assert!(mint(serde_json::json!({"iat": now - 3600})).status.success());
}

#[test]
fn a_token_that_does_not_verify_is_told_apart_with_the_reason() {
    let expired = inspect(&mint(&["--sub", "ada", "--lifetime-seconds", "-3600"]));
    assert!(!expired.status.success());
    assert!(text(&expired.stdout).contains("verifies: no, expired"));
    let garbage = inspect("not a token");
    assert!(!garbage.status.success());
    assert!(text(&garbage.stdout).contains("verifies: no, malformed"));
}

#[test]
fn without_a_good_secret_nothing_starts_and_the_way_out_is_named() {
    for (value, hint) in [
        ("", "jwt-gate-auth secret"),
        ("short", "5 bytes"),
        ("change-me-change-me-change-me-change-me", "placeholder"),
    ] {
        let output = program().args(["serve"]).env("BETTER_AUTH_SECRET", value).output().unwrap();
        assert!(!output.status.success());
        let message = text(&output.stderr);
        assert!(message.contains(hint), "{message}");
        assert!(value.is_empty() || !message.contains(value), "{message}");
    }
}

#[test]
fn every_flag_has_an_environment_variable() {
    for command in
        [&["serve"][..], &["token", "mint"], &["token", "inspect"], &["users", "create"], &["doctor"]]
    {
        let help = text(&program().args(command).arg("--help").output().unwrap().stdout);
        let mut flags = 0;
        for option in help.split("\n      --").skip(1) {
            let name = option.split_whitespace().next().unwrap();
            assert!(option.contains("[env: "), "--{name} of {command:?} has no environment variable");
            flags += 1;
        }
        assert!(flags >= 2, "{help}");
    }
}

#[test]
fn doctor_finds_a_secret_that_envoy_does_not_have() {
    // Envoy's admin endpoint as far as doctor uses it; tests/ has the real one.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("http://{}", listener.local_addr().unwrap());
    let kid = Companion::start(&[]).kid.clone();
    let answers = [
        format!("wasmcustom.jwt_gate.kid.app.{kid}: 1\n"),
        "wasmcustom.jwt_gate.kid.app.other: 1\n".to_owned(),
    ];
    let served = std::thread::spawn(move || {
        for stats in answers {
            for body in [stats.as_str(), r#"{"configs": []}"#] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 1024];
                let _ = std::io::Read::read(&mut stream, &mut request).unwrap();
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
            }
        }
    });
    let doctor = || {
        let output = program()
            .args(["doctor", "--envoy-admin", &admin, "--public-url", "https://app.example"])
            .env("DATABASE_URL", "sqlite:/nonexistent/store.db")
            .output()
            .unwrap();
        (output.status.success(), text(&output.stdout))
    };
    let (well, said) = doctor();
    assert!(
        well && said.contains(&format!("ok    envoy provider app: verifies our tokens (kid {kid})")),
        "{said}"
    );
    assert!(said.contains("__Host-jwt-gate, Secure"), "{said}");
    let (well, said) = doctor();
    assert!(!well && said.contains("does not have our secret"), "{said}");
    served.join().unwrap();
}

#[test]
fn an_old_secret_that_was_left_in_the_environment_is_told_at_start_and_by_doctor() {
    const OLD: &str = "old-0123456789-abcdefghij-ABCDEFGHIJ";
    const NEW: &str = "new-0123456789-abcdefghij-ABCDEFGHIJ";
    let doctor = |secrets: &str, secret: &str| {
        let mut doctor = program();
        doctor.arg("doctor").env("BETTER_AUTH_SECRETS", secrets).env("BETTER_AUTH_SECRET", secret);
        text(&doctor.output().unwrap().stdout)
    };
    let left_over = doctor(&format!("2:{NEW}"), OLD);
    assert!(
        left_over.contains("warn  secret: BETTER_AUTH_SECRET is set beside BETTER_AUTH_SECRETS"),
        "{left_over}"
    );
    assert!(!left_over.contains(OLD) && !left_over.contains(NEW), "{left_over}");
    // In the middle of a rotation the list says itself that the old one verifies.
    for (secrets, secret) in [(format!("2:{NEW},1:{OLD}"), OLD), (format!("2:{NEW}"), "")] {
        let said = doctor(&secrets, secret);
        assert!(!said.contains("is set beside"), "{said}");
    }

    let list = format!("2:{NEW}");
    let environment = [("BETTER_AUTH_SECRETS", list.as_str()), ("BETTER_AUTH_SECRET", OLD)];
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("users.db").display());
    let started = Companion::start_with(&url, &[], &environment);
    let mut log = String::new();
    for _ in 0..200 {
        log = started.log();
        if log.contains("is set beside") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(log.contains("is set beside"), "{log}");
    assert!(log.contains("BETTER_AUTH_SECRETS, BETTER_AUTH_SECRET"), "names what was read: {log}");
}

#[test]
fn every_flag_of_serve_is_documented_with_its_variable_and_default() {
    let documentation = include_str!("../../../../docs/companion.md");
    let help = text(&program().args(["serve", "--help"]).output().unwrap().stdout);
    for option in help.split("\n      --").skip(1) {
        let flag = option.split_whitespace().next().unwrap();
        let between =
            |start: &str| option.split_once(start).and_then(|(_, rest)| rest.split([']', '=']).next());
        let variable = between("[env: ").unwrap();
        let row = documentation.lines().find(|line| line.starts_with(&format!("| `--{flag}` ")));
        let row = row.unwrap_or_else(|| panic!("--{flag} is not in docs/companion.md"));
        assert!(row.contains(&format!("`{variable}`")), "{row}");
        let default = option.split_once("[default: ").and_then(|(_, rest)| rest.split(']').next());
        assert!(default.is_none_or(|default| row.contains(&format!("`{default}`"))), "{default:?}: {row}");
    }
}

#[test]
fn a_secret_and_the_databases_url_may_be_in_files() {
    // Without a comma, which parts the secrets of a list.
    const SECRET: &str = "a secret for tests; 32 bytes or more";
    let directory = tempfile::TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let url = crate::companion::sqlite_url(directory.path());
    let (secret, list) =
        (file("secret", &format!("{SECRET}\n")), file("secrets", &format!("2:{SECRET}\r\n")));
    let url_file = file("url", &format!("{url}\n"));
    let kid = Companion::start_with("sqlite::memory:", &[], &[("BETTER_AUTH_SECRET", SECRET)]).kid.clone();
    for (name, path) in [("BETTER_AUTH_SECRET_FILE", &secret), ("BETTER_AUTH_SECRETS_FILE", &list)] {
        let mut companion = Companion::start_as(&mut serve_with(name, path, &url_file));
        assert_eq!(companion.kid, kid, "{name}");
        companion.sign_up(&format!("{}@example.com", name.to_lowercase()));
        assert!(companion.terminate());
        // The line break at a file's end is no white space around a secret.
        assert!(!companion.log().contains("white space"), "{}", companion.log());
    }
    assert!(
        std::path::Path::new(url.strip_prefix("sqlite:").unwrap()).exists(),
        "the URL of the file is used"
    );

    // What is wrong is named without the value.
    let missing = directory.path().join("missing").display().to_string();
    let empty = file("empty", "\n");
    for (name, path, said) in [
        ("BETTER_AUTH_SECRET_FILE", &missing, "cannot be read"),
        ("BETTER_AUTH_SECRET_FILE", &empty, "is empty"),
        ("DATABASE_URL_FILE", &missing, "cannot be read"),
    ] {
        let mut command = serve_with("BETTER_AUTH_SECRET_FILE", &secret, &url_file);
        let refused = command.env(name, path).output().unwrap();
        assert!(!refused.status.success() && text(&refused.stderr).contains(said), "{name}: {refused:?}");
    }
    let mut both = serve_with("BETTER_AUTH_SECRET_FILE", &secret, &url_file);
    let refused = both.env("BETTER_AUTH_SECRET", SECRET).output().unwrap();
    assert!(!refused.status.success() && text(&refused.stderr).contains("are both set"), "{refused:?}");
    // `--help` shows defaults, and a URL may hold a password.
    let secret_url = file("secret-url", "postgres://ada:hunter2@localhost/x");
    let help = program().env("DATABASE_URL_FILE", secret_url).args(["serve", "--help"]).output().unwrap();
    assert!(help.status.success() && !text(&help.stdout).contains("hunter2"));
}

fn serve_with(name: &str, path: &str, url_file: &str) -> std::process::Command {
    let mut serve = program();
    serve.args(["serve", "--listen", "127.0.0.1:0", "--private-listen", "127.0.0.1:0"]);
    serve.env_remove("BETTER_AUTH_SECRET").env(name, path).env("DATABASE_URL_FILE", url_file);
    serve.env("JWT_GATE_BCRYPT_COST", "4");
    serve
}
