use std::io::{BufRead, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Done;
use super::password_input::read_new_password;
use crate::claims::OwnClaims;
use crate::clock;
use crate::email::Email;
use crate::events::Event;
use crate::id;
use crate::password::StoredHash;
use crate::profile::Name;
use crate::settings::StoreOptions;
use crate::store::{Change, NewUser, RevokeUser, Session, Store, User};

#[derive(Debug, Subcommand)]
pub(super) enum UsersCommand {
    /// Print one line of JSON for each account: id, email, name, disabled, created_at.
    List(List),
    /// Print everything about one account, and its sessions, as JSON. The password's hash is not shown.
    Show(One),
    /// Make an account. The password is asked for, or is the first line of stdin.
    Create(Create),
    /// Give an account claims of its own, such as a role. They replace those that it has, and end its sessions.
    ///
    /// They are in every token that it gets from then on: `users set ada@example.com --claims '{"role":"admin"}'`.
    Set(Set),
    /// Give an account another password and end its sessions. The password is asked for, or is the first line of stdin.
    SetPassword(SetPassword),
    /// Refuse an account's sign-ins and revoke its tokens.
    Disable(One),
    /// Let a disabled account sign in again.
    Enable(One),
    /// Revoke every token that an account was issued so far; it may sign in again.
    Revoke(One),
    /// Delete an account for good. Its tokens end first, at every gate.
    Delete(One),
    /// Let an account sign in again at once that a clock ahead of the real time has locked out.
    ///
    /// Gates that know of the later time already refuse the account's tokens until they restart.
    Repair(One),
    /// Make accounts from stdin, one JSON object a line: {"email": …, "name": …, "password_hash": …}.
    ///
    /// The hash is bcrypt's in any spelling ($2a$, $2b$, $2y$), as passlib writes it. Accounts that exist are
    /// left alone; the first bad line ends the import, and the ones before it stay.
    Import(Import),
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    store: StoreOptions,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    store: StoreOptions,
    /// The account's address.
    #[arg(long, env = "JWT_GATE_USER_EMAIL")]
    email: String,
    /// What the person is called.
    #[arg(long, env = "JWT_GATE_USER_NAME", default_value = "")]
    name: String,
    /// The bcrypt cost of the hash.
    #[arg(long, env = "JWT_GATE_BCRYPT_COST", default_value_t = 12, value_parser = clap::value_parser!(u32).range(4..=16))]
    bcrypt_cost: u32,
}

#[derive(Debug, Args)]
pub(super) struct One {
    #[command(flatten)]
    store: StoreOptions,
    /// The account: its e-mail address or its id.
    #[arg(env = "JWT_GATE_USER")]
    user: String,
}

#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    one: One,
    /// The account's own claims: a JSON object. `{}` takes them away. No claim that the companion sets itself.
    #[arg(long, env = "JWT_GATE_USER_CLAIMS", value_name = "JSON")]
    claims: String,
}

#[derive(Debug, Args)]
pub(super) struct SetPassword {
    #[command(flatten)]
    one: One,
    /// The bcrypt cost of the hash.
    #[arg(long, env = "JWT_GATE_BCRYPT_COST", default_value_t = 12, value_parser = clap::value_parser!(u32).range(4..=16))]
    bcrypt_cost: u32,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    #[command(flatten)]
    store: StoreOptions,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImportLine {
    email: String,
    #[serde(default)]
    name: String,
    password_hash: String,
}

pub(super) fn run(command: UsersCommand) -> Done {
    // What is done to accounts is a line on stderr, as it is one in the log of `serve`.
    let filter = format!("warn,{}=info", crate::events::TARGET);
    let lines = tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::new(filter));
    lines.with_writer(std::io::stderr).with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    let done = runtime.block_on(async {
        match command {
            UsersCommand::List(list) => list.run().await,
            UsersCommand::Create(create) => create.run().await,
            UsersCommand::Show(one) => one.show().await,
            UsersCommand::Set(set) => set.run().await,
            UsersCommand::SetPassword(set) => set.run().await,
            UsersCommand::Delete(one) => one.revoke(Change::Delete { old: None }).await,
            UsersCommand::Disable(one) => one.revoke(Change::Disable).await,
            UsersCommand::Enable(one) => one.enable().await,
            UsersCommand::Revoke(one) => one.revoke(Change::Nothing).await,
            UsersCommand::Repair(one) => one.repair().await,
            UsersCommand::Import(import) => import.run().await,
        }
    });
    done.map(|()| ExitCode::SUCCESS)
}

async fn open(options: &StoreOptions) -> Result<Store, String> {
    let opened = Store::open_existing(&options.database_url, options.database_connections).await;
    opened.map_err(|error| error.to_string())
}

/// For accounts that may be the first ones.
async fn open_or_make(options: &StoreOptions) -> Result<Store, String> {
    let opened = Store::open_or_make(&options.database_url, options.database_connections).await;
    opened.map_err(|error| error.to_string())
}

// === impl List ===

impl List {
    async fn run(self) -> Result<(), String> {
        const PAGE: i64 = 1000;
        let store = open(&self.store).await?;
        let mut after = String::new();
        loop {
            let users = store.users_after(&after, PAGE).await.map_err(|error| error.to_string())?;
            let Some(last) = users.last() else { return Ok(()) };
            after.clone_from(&last.id);
            let mut lines = String::new();
            for user in users {
                let line = json!({
                    "id": user.id,
                    "email": user.email,
                    "name": user.name,
                    "disabled": user.disabled,
                    "created_at": clock::rfc3339(user.created_at),
                });
                lines.push_str(&line.to_string());
                lines.push('\n');
            }
            if print(&lines)? == Pipe::Closed {
                return Ok(());
            }
        }
    }
}

// === impl Create ===

impl Create {
    async fn run(self) -> Result<(), String> {
        let hash = read_new_password()?.hash(self.bcrypt_cost)?;
        let store = open_or_make(&self.store).await?;
        match insert(&store, &self.email, self.name, hash).await? {
            Some(user) => {
                Event::SignUp.record_command(&user.id);
                println!("{}", user.id);
                Ok(())
            }
            None => Err("there is an account with this e-mail address already".to_owned()),
        }
    }
}

async fn insert(store: &Store, email: &str, name: String, hash: String) -> Result<Option<User>, String> {
    let email = Email::parse(email).map_err(|_| format!("{email:?} is not an e-mail address"))?;
    let name = Name::parse(name).map_err(|bad| format!("{}: {bad}", email.as_str()))?;
    let id = id::new_user_id();
    let created_at = clock::now_ms();
    let user = NewUser { id, email, name, image: None, password_hash: hash, created_at }.into_user();
    let inserted = store.insert_user(&user, None).await.map_err(|error| error.to_string())?;
    Ok(inserted.map(|_| user))
}

// === impl One ===

impl One {
    async fn find(&self) -> Result<(Store, User), String> {
        let store = open(&self.store).await?;
        let found = match Email::parse(&self.user) {
            Ok(email) => store.user_by_email(&email).await,
            Err(_) => store.user_by_id(&self.user).await,
        };
        let user = found.map_err(|error| error.to_string())?;
        user.map(|user| (store, user)).ok_or_else(|| format!("there is no account {:?}", self.user))
    }

    async fn enable(self) -> Result<(), String> {
        let (store, user) = self.find().await?;
        if store.enable(&user.id).await.map_err(|error| error.to_string())? {
            Event::Enable.record_command(&user.id);
        }
        Ok(())
    }

    async fn repair(self) -> Result<(), String> {
        let (store, user) = self.find().await?;
        let repaired = store.repair(&user.id).await.map_err(|error| error.to_string())?;
        if repaired {
            println!("repaired; restart the gates' Envoys");
        } else {
            println!("there was nothing to repair");
        }
        Ok(())
    }

    async fn revoke(self, change: Change<'_>) -> Result<(), String> {
        let (store, user) = self.find().await?;
        revoke(&store, &user, change).await
    }

    async fn show(self) -> Result<(), String> {
        const SESSIONS: i64 = 1000;
        let (store, user) = self.find().await?;
        let sessions = store.sessions_of(&user.id, clock::now_ms(), SESSIONS).await;
        let sessions: Vec<_> = sessions.map_err(|error| error.to_string())?.iter().map(describe).collect();
        let hash = StoredHash::parse(&user.password_hash);
        let account = json!({
            "id": user.id,
            "email": user.email,
            "name": user.name,
            "image": user.image,
            "disabled": user.disabled,
            "claims": OwnClaims::parse(&user.claims).map_err(|bad| bad.to_string())?.into_members(),
            "bcrypt_cost": hash.ok().map(|hash| hash.cost),
            "created_at": clock::rfc3339(user.created_at),
            "updated_at": clock::rfc3339(user.updated_at),
            "tokens_valid_from": clock::rfc3339(user.valid_from_seconds.saturating_mul(1000)),
            "sessions": sessions,
        });
        print(&format!("{account:#}\n")).map(|_| ())
    }
}

/// Ends every session of an account and changes it.
async fn revoke(store: &Store, user: &User, change: Change<'_>) -> Result<(), String> {
    let revoked = store.revoke_user(RevokeUser { user_id: &user.id, change }).await;
    match revoked.map_err(|error| error.to_string())? {
        Some(_) => {
            match change {
                Change::Nothing => Event::SignOutEverywhere,
                Change::Password { .. } | Change::SetPassword { .. } => Event::ChangePassword,
                Change::Disable => Event::Disable,
                Change::Claims(_) => Event::SetClaims,
                Change::Delete { .. } => Event::Delete,
            }
            .record_command(&user.id);
            Ok(())
        }
        None => Err(format!("the account {} is gone", user.id)),
    }
}

fn describe(session: &Session) -> Value {
    json!({
        "id": session.id,
        "ip_address": session.ip_address,
        "user_agent": session.user_agent,
        "created_at": clock::rfc3339(session.created_at),
        "expires_at": clock::rfc3339(session.expires_at),
    })
}

/// Writes to stdout. `users list | head` has seen enough when it closes the pipe.
fn print(text: &str) -> Result<Pipe, String> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Ok(Pipe::Open),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Pipe::Closed),
        Err(error) => Err(format!("stdout: {error}")),
    }
}

/// Whether anybody still reads stdout.
#[derive(Debug, PartialEq, Eq)]
enum Pipe {
    Open,
    Closed,
}

// === impl Set ===

impl Set {
    async fn run(self) -> Result<(), String> {
        let claims = OwnClaims::parse(&self.claims).map_err(|bad| format!("--claims: {bad}"))?.to_json();
        let (store, user) = self.one.find().await?;
        if user.claims == claims {
            return Ok(());
        }
        revoke(&store, &user, Change::Claims(&claims)).await
    }
}

// === impl SetPassword ===

impl SetPassword {
    async fn run(self) -> Result<(), String> {
        // Before a password is asked for.
        let (store, user) = self.one.find().await?;
        let new = read_new_password()?.hash(self.bcrypt_cost)?;
        revoke(&store, &user, Change::SetPassword { new: &new }).await
    }
}

// === impl Import ===

impl Import {
    async fn run(self) -> Result<(), String> {
        let store = open_or_make(&self.store).await?;
        let (mut imported, mut known) = (0_u64, 0_u64);
        for (number, line) in (1_u64..).zip(std::io::stdin().lock().lines()) {
            let line = line.map_err(|error| format!("line {number}: {error}"))?;
            if line.trim().is_empty() {
                continue;
            }
            // The parser's message may quote the line; the position is enough.
            let account: ImportLine = serde_json::from_str(&line)
                .map_err(|error| format!("line {number}, column {}: not such an object", error.column()))?;
            let hash = StoredHash::parse(&account.password_hash)
                .map_err(|unusable| format!("line {number}: password_hash: {unusable}"))?;
            match insert(&store, &account.email, account.name, hash.text).await {
                Ok(Some(_)) => imported += 1,
                Ok(None) => known += 1,
                Err(error) => return Err(format!("line {number}: {error}")),
            }
        }
        println!("{imported} imported, {known} were there already");
        Ok(())
    }
}
