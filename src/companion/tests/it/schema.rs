//! Stores of other versions, and what looking at one does to it.

use std::path::Path;

use serde_json::{Value, json};
use sqlx::migrate::Migrator;
use sqlx::{Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;

use crate::companion::{Companion, PASSWORD, program, sqlite_url};
use crate::postgres::Postgres;
use crate::setup::skip;

/// The checksums of released migrations, the same for both databases. An existing store refuses one that was changed afterwards,
/// so these never do.
const RELEASED: &[(i64, &str)] = &[
    (1, "a2ca421851eea70327efd8dbaf9f3bc183ed8d783e353c35b808df10322fcbaae09b26aecd673f4a049ef1586179a01d"),
    (2, "e55f2d7ec5a1e67ef769e868c9358f1e7959b4cdc0f4150fa8b7ffbe7f9591a1a37ad50520c79accfd598ff1a67793cd"),
];

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn migrations() -> Migrator {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    block_on(Migrator::new(directory)).unwrap()
}

fn kind(url: &str) -> &'static str {
    if url.starts_with("sqlite") { "sqlite" } else { "postgres" }
}

/// Runs statements on a store.
fn execute(url: &str, statements: &str) {
    block_on(async {
        let statements = sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned()));
        if kind(url) == "sqlite" {
            let options: sqlx::sqlite::SqliteConnectOptions = url.parse().unwrap();
            let options = options.create_if_missing(true);
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            statements.execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        } else {
            let mut connection = PgConnection::connect(url).await.unwrap();
            statements.execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
    });
}

/// Makes a store as the program with this version's migrations, and none after, left it.
fn make(url: &str, version: i64) {
    let all = migrations();
    let earlier = all.iter().filter(|migration| migration.version <= version).cloned().collect();
    let earlier = Migrator::with_migrations(earlier);
    execute(url, "SELECT 1");
    block_on(async {
        if kind(url) == "sqlite" {
            let mut connection = SqliteConnection::connect(url).await.unwrap();
            earlier.run(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        } else {
            let mut connection = PgConnection::connect(url).await.unwrap();
            earlier.run(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
    });
}

/// The program's success and everything it said.
fn said(arguments: &[&str], url: &str) -> (bool, String) {
    let output = program().args(arguments).env("DATABASE_URL", url).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.success(), said)
}

/// Gives the URL of a new, empty database of this name.
pub(crate) type NewDatabase<'test> = dyn Fn(&str) -> String + 'test;

/// Runs a promise on a new store of each kind.
pub(crate) fn on_both(name: &str, promise: fn(&NewDatabase<'_>)) {
    let directory = TempDir::new().unwrap();
    promise(&|name| {
        let directory = directory.path().join(name);
        std::fs::create_dir(&directory).unwrap();
        sqlite_url(&directory)
    });
    match Postgres::start() {
        Ok(server) => promise(&|name| server.database(name)),
        Err(error) => skip(name, &error),
    }
}

#[test]
fn released_migrations_never_change() {
    let all = migrations();
    for (version, checksum) in RELEASED {
        let migration = all.iter().find(|migration| migration.version == *version).unwrap();
        let found: String = migration.checksum.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, *checksum, "migration {version} was changed");
    }
}

#[test]
fn a_store_of_every_earlier_version_is_brought_up_to_date() {
    on_both("a_store_of_every_earlier_version_is_brought_up_to_date", |new| {
        let versions: Vec<i64> = migrations().iter().map(|migration| migration.version).collect();
        for version in versions {
            let url = new(&format!("version{version}"));
            make(&url, version);
            let hash = bcrypt::hash(PASSWORD, 4).unwrap();
            execute(
                &url,
                &format!(
                    "INSERT INTO users (id, email, name, password_hash, created_at, updated_at) \
                     VALUES ('ada', 'ada@example.com', 'Ada', '{hash}', 1, 1)"
                ),
            );
            let companion = Companion::start_with(&url, &[], &[]);
            let signed_in = companion.sign_in("ada@example.com", PASSWORD);
            assert_eq!(signed_in.status, 200, "{version}: {signed_in:?}");
            assert_eq!(signed_in.json()["user"]["id"], json!("ada"));
            let bearer = format!("Bearer {}", signed_in.json()["token"].as_str().unwrap());
            let out = companion.post_text("/api/auth/signout", &[("authorization", &bearer)], "");
            assert_eq!(out.status, 204);
        }
    });
}

#[test]
fn an_older_companion_works_on_the_tables_of_a_newer_one() {
    on_both("an_older_companion_works_on_the_tables_of_a_newer_one", |new| {
        let url = new("newer");
        let companion = Companion::start_with(&url, &[], &[]);
        let body = companion.sign_up("ada@example.com");
        let bearer = format!("Bearer {}", body["token"].as_str().unwrap());
        let works = |companion: &Companion| {
            let get = |path| companion.get(path, &[("authorization", &bearer)]).status;
            assert_eq!(
                (get("/api/auth/me"), get("/api/auth/get-session"), get("/api/auth/list-sessions")),
                (200, 200, 200),
                "{}",
                companion.log()
            );
            assert_eq!(companion.sign_in("ada@example.com", PASSWORD).status, 200);
        };
        // Twice: statements are prepared now.
        works(&companion);
        works(&companion);
        let tables = ["users", "sessions", "revocations", "revocation_feed"];
        let columns = tables.map(|table| format!("ALTER TABLE {table} ADD COLUMN of_tomorrow TEXT;"));
        let migration = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                         VALUES (9999, 'of tomorrow', TRUE, '0', 0)";
        execute(&url, &(columns.concat() + migration));
        works(&companion);
        works(&Companion::start_with(&url, &[], &[]));
        let (listed, list) = said(&["users", "list"], &url);
        assert!(listed && list.contains("ada@example.com"), "{list}");
        let (_, found) = said(&["doctor"], &url);
        assert!(found.contains("its tables are up to date"), "{found}");
    });
}

#[test]
fn looking_makes_no_store_and_applies_no_migration() {
    on_both("looking_makes_no_store_and_applies_no_migration", |new| {
        let url = new("empty");
        let looks: [&[&str]; 9] = [
            &["doctor"],
            &["users", "list"],
            &["users", "show", "ada@example.com"],
            &["users", "set", "ada@example.com", "--claims", "{}"],
            &["users", "set-password", "ada@example.com"],
            &["users", "delete", "ada@example.com"],
            &["users", "revoke", "ada@example.com"],
            &["users", "disable", "ada@example.com"],
            &["users", "enable", "ada@example.com"],
        ];
        for look in looks {
            let (_, answer) = said(look, &url);
            assert!(answer.contains("there is no store yet"), "{look:?}: {answer}");
        }
        if kind(&url) == "sqlite" {
            let (_, path) = url.split_once(':').unwrap();
            let directory = Path::new(path).parent().unwrap();
            assert_eq!(std::fs::read_dir(directory).unwrap().count(), 0, "a file was made");
        } else {
            // The table would be there already.
            execute(&url, "CREATE TABLE _sqlx_migrations (x TEXT); DROP TABLE _sqlx_migrations");
            execute(&url, "CREATE TABLE users (x TEXT); DROP TABLE users");
        }

        // A store that lacks a migration of ours.
        drop(Companion::start_with(&url, &[], &[]));
        execute(&url, "UPDATE _sqlx_migrations SET version = 0 WHERE version = 1");
        for look in looks {
            let (_, answer) = said(look, &url);
            assert!(answer.contains("older than this program"), "{look:?}: {answer}");
        }
        execute(&url, "UPDATE _sqlx_migrations SET version = 1 WHERE version = 0");
        drop(Companion::start_with(&url, &[], &[]));
    });
}

#[test]
fn the_first_accounts_can_be_made_before_the_first_start() {
    let directory = TempDir::new().unwrap();
    let url = sqlite_url(directory.path());
    let hash = bcrypt::hash(PASSWORD, 4).unwrap();
    let line = json!({"email": "ada@example.com", "name": "Ada", "password_hash": hash}).to_string();
    let file = directory.path().join("accounts");
    std::fs::write(&file, line).unwrap();
    let import = program()
        .args(["users", "import"])
        .env("DATABASE_URL", &url)
        .stdin(std::fs::File::open(&file).unwrap())
        .output()
        .unwrap();
    assert!(import.status.success(), "{import:?}");
    assert_eq!(Companion::start_with(&url, &[], &[]).sign_in("ada@example.com", PASSWORD).status, 200);
}

#[test]
fn a_list_that_nobody_reads_to_its_end_ends_quietly() {
    let directory = TempDir::new().unwrap();
    let url = sqlite_url(directory.path());
    drop(Companion::start_with(&url, &[], &[]));
    // Far more than a pipe holds.
    let rows: Vec<String> = (0..3000)
        .map(|number| {
            format!("('{number:05}', 'user{number}@example.com', '{}', 'x', 1, 1)", "n".repeat(100))
        })
        .collect();
    let insert = "INSERT INTO users (id, email, name, password_hash, created_at, updated_at) VALUES ";
    execute(&url, &(insert.to_owned() + &rows.join(",")));
    let mut list = program()
        .args(["users", "list"])
        .env("DATABASE_URL", &url)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut reader = std::io::BufReader::new(list.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap()["email"], "user0@example.com");
    drop(reader);
    let output = list.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn a_store_in_memory_leaves_no_file_behind() {
    let directory = TempDir::new().unwrap();
    let output = program()
        .args(["users", "create", "--email", "ada@example.com", "--bcrypt-cost", "4"])
        .env("DATABASE_URL", "sqlite::memory:")
        .current_dir(directory.path())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"correct horse battery\n")?;
            child.wait_with_output()
        })
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    let companion = Companion::start_with("sqlite::memory:", &[], &[]);
    companion.sign_up("ada@example.com");
    assert_eq!(companion.sign_in("ada@example.com", PASSWORD).status, 200);
}

#[test]
fn a_variable_that_is_set_to_nothing_is_not_set() {
    let directory = TempDir::new().unwrap();
    let nothing = [
        "JWT_GATE_PUBLIC_URL",
        "JWT_GATE_TRUSTED_ORIGINS",
        "JWT_GATE_AUDIENCE",
        "JWT_GATE_LIFETIME_SECONDS",
        "JWT_GATE_LOG_FORMAT",
        "JWT_GATE_LOG",
        "BETTER_AUTH_SECRETS",
    ]
    .map(|name| (name, ""));
    let companion = Companion::start_with(&sqlite_url(directory.path()), &[], &nothing);
    let body = companion.sign_up("ada@example.com");
    let payload = body["token"].as_str().unwrap().split('.').nth(1).unwrap();
    let claims: Value =
        serde_json::from_slice(&jwt_gate_token::base64url_decode(payload.as_bytes()).unwrap()).unwrap();
    assert_eq!(claims["aud"], Value::Null);
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 604_800);
}

#[test]
fn a_database_whose_transactions_are_repeatable_reads_works_too() {
    let server = match Postgres::start() {
        Ok(server) => server,
        Err(error) => return skip("a_database_whose_transactions_are_repeatable_reads_works_too", &error),
    };
    let url = server.database("repeatable");
    execute(&url, "ALTER DATABASE repeatable SET default_transaction_isolation = 'repeatable read'");
    let companion = Companion::start_with(&url, &["--throttle-address", "0"], &[]);
    let tokens: Vec<String> = (0..12)
        .map(|number| {
            let body = companion.sign_up(&format!("user{number}@example.com"));
            format!("Bearer {}", body["token"].as_str().unwrap())
        })
        .collect();
    std::thread::scope(|scope| {
        for token in &tokens {
            let companion = &companion;
            scope.spawn(move || {
                let out = companion.post_text("/api/auth/signout", &[("authorization", token)], "");
                assert_eq!(out.status, 204, "{out:?}");
            });
        }
    });
}
