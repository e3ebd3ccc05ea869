//! Clients that other people wrote.

use std::process::Command;

use crate::companion::{Companion, PASSWORD, program, sqlite_url};
use crate::setup;

#[test]
fn the_unmodified_better_auth_client_works_in_each_of_its_versions() {
    const NAME: &str = "the_unmodified_better_auth_client_works_in_each_of_its_versions";
    let directory = match setup::npm_client("better-auth") {
        Ok(directory) => directory,
        Err(reason) => return setup::skip(NAME, &reason),
    };
    for version in ["better-auth", "better-auth-1.6", "better-auth-1.5", "better-auth-1.4", "better-auth-1.3"]
    {
        let companion = Companion::start(&["--throttle-address", "0"]);
        let mut node = Command::new("node");
        let done =
            setup::run(node.arg("client.mjs").arg(&companion.public).arg(version).current_dir(&directory));
        let said = done.unwrap_or_else(|said| panic!("{version}: {said}\n{}", companion.log()));
        assert!(said.contains("the better-auth client works"), "{version}: {said}");
    }
}

#[test]
fn what_is_off_is_answered_as_by_a_better_auth_server_where_it_is_off() {
    const NAME: &str = "what_is_off_is_answered_as_by_a_better_auth_server_where_it_is_off";
    let directory = match setup::npm_client("better-auth") {
        Ok(directory) => directory,
        Err(reason) => return setup::skip(NAME, &reason),
    };
    let companion = Companion::start(&["--throttle-address", "0"]);
    let mut node = Command::new("node");
    node.arg("off.mjs").arg(&companion.public).env("BETTER_AUTH_SECRET", crate::companion::SECRET);
    let said = setup::run(node.current_dir(directory)).unwrap_or_else(|said| panic!("{said}"));
    assert!(said.contains("what is off is off as with Better Auth"), "{said}");
}

#[test]
fn the_openapi_document_is_true() {
    let python = match setup::python_client("schemathesis") {
        Ok(python) => python,
        Err(reason) => return setup::skip("the_openapi_document_is_true", &reason),
    };
    let companion =
        Companion::start(&["--throttle-address", "0", "--throttle-account", "0", "--log", "warn"]);
    let files = setup::client("schemathesis");
    let done = setup::run(
        Command::new(python.with_file_name("st"))
            .arg("--config-file")
            .arg(files.join("schemathesis.toml"))
            .args(["run", &format!("{}/api/auth/openapi.json", companion.public)])
            .args(["--checks", "all", "--max-examples", "20", "--no-color"])
            .env("COMPANION", &companion.public)
            .env("SCHEMATHESIS_HOOKS", "hooks")
            .env("PYTHONPATH", &files)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(setup::cache("schemathesis")),
    );
    let said = done.unwrap_or_else(|said| panic!("{said}\n{}", companion.log()));
    assert!(said.contains("Tested: 36"), "{said}");
}

#[test]
fn the_cookie_of_a_real_better_auth_server_verifies_with_the_shared_secret() {
    const NAME: &str = "the_cookie_of_a_real_better_auth_server_verifies_with_the_shared_secret";
    let directory = match setup::npm_client("better-auth") {
        Ok(directory) => directory,
        Err(reason) => return setup::skip(NAME, &reason),
    };
    let mut node = Command::new("node");
    node.arg("server.mjs").env("BETTER_AUTH_SECRET", crate::companion::SECRET).current_dir(directory);
    let output = node.output().unwrap();
    let said: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    let keyring = jwt_gate_token::Keyring::from_environment(None, Some(crate::companion::SECRET)).unwrap();
    let now = jwt_gate_auth::clock::now_numeric_date();
    let token = said["token"].as_str().unwrap();
    let claims =
        jwt_gate_token::verify(token, &keyring, &jwt_gate_token::Expectations::default(), now).unwrap();
    assert_eq!(claims.get("user.id").map(jwt_gate_token::Claim::to_value).as_ref(), Some(&said["id"]));
    assert_eq!(claims.get("user.email"), Some(jwt_gate_token::Claim::Text("ada@example.com")));
}

#[test]
fn people_whose_hashes_passlib_wrote_can_sign_in() {
    let python = match setup::python_client("passlib") {
        Ok(python) => python,
        Err(reason) => return setup::skip("people_whose_hashes_passlib_wrote_can_sign_in", &reason),
    };
    let mut passlib = Command::new(python);
    passlib.arg(setup::client("passlib").join("hashes.py")).arg(PASSWORD);
    let table = passlib.output().unwrap();
    assert!(table.status.success(), "{table:?}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &table.stdout).unwrap();

    let directory = tempfile::TempDir::new().unwrap();
    let url = sqlite_url(directory.path());
    let import =
        program().args(["users", "import"]).env("DATABASE_URL", &url).stdin(file.reopen().unwrap()).output();
    let import = import.unwrap();
    assert!(import.status.success(), "{import:?}");
    // Our cost is higher than passlib's here: the first sign-in writes a better hash, which works as well.
    let companion = Companion::start_with(&url, &["--bcrypt-cost", "5"], &[]);
    for spelling in ["2a", "2b", "2y"] {
        let address = format!("{spelling}@example.com");
        assert_eq!(companion.sign_in(&address, PASSWORD).status, 200, "{spelling}");
        assert_eq!(companion.sign_in(&address, PASSWORD).status, 200, "{spelling}");
        assert_eq!(companion.sign_in(&address, "wrong horse").status, 401, "{spelling}");
    }
}
