use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use super::Done;
use crate::account::Accounts;
use crate::app::{App, SharedApp, keyring_from_environment, left_over_secret, secret_variables};
use crate::clock::Clock;
use crate::http::cookie::CookieStyle;
use crate::http::observe::Exporter;
use crate::http::origin::TrustedOrigins;
use crate::http::{private_router, public_router};
use crate::password::PasswordPool;
use crate::server::{self, Limits};
use crate::session::TokenMaker;
use crate::settings::{LogFormat, ServeOptions};
use crate::store::Store;
use crate::throttle::Throttle;

/// How often expired sessions and revocations are removed.
const PRUNE_INTERVAL: Duration = Duration::from_secs(3600);
/// How long the store's connections may take to close. With `--shutdown-seconds` it is the longest shutdown: by default
/// 9 s, and Docker kills a container 10 s after SIGTERM.
const STORE_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How often the durations of requests are summed up.
const SUM_UP_INTERVAL: Duration = Duration::from_secs(5);

pub(super) fn run(options: &ServeOptions) -> Done {
    start_logging(options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    let done = runtime.block_on(serve(options));
    // SQLite statements run on threads of their own. The process does not wait for them.
    runtime.shutdown_background();
    done
}

fn start_logging(options: &ServeOptions) -> Result<(), String> {
    let filter = EnvFilter::try_new(&options.log).map_err(|error| format!("--log: {error}"))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match options.log_format {
        LogFormat::Text => {
            let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
            lines.with_ansi(colours).init();
        }
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}

async fn serve(options: &ServeOptions) -> Done {
    let app = Arc::new(build(options).await?);
    let metrics = Exporter::install().map_err(|error| format!("no metrics: {error}"))?;
    let public = bind("--listen", options.listen).await?;
    let private = bind("--private-listen", options.private_listen).await?;
    // Installed before we announce readiness, so that an early SIGTERM still shuts down gracefully.
    let mut signals = Signals::install()?;
    announce(&app, &public, &private)?;

    let (stopper, stop) = watch::channel(false);
    let limits = Limits {
        max_connections: usize::try_from(options.max_connections).unwrap_or(usize::MAX),
        client_timeout: Duration::from_secs(options.client_timeout_seconds.into()),
        grace: Duration::from_secs(options.shutdown_seconds.into()),
    };
    let serve = |listener, router| tokio::spawn(server::serve(listener, router, limits, stop.clone()));
    let public = serve(public, public_router(Arc::clone(&app)));
    let private = serve(private, private_router(Arc::clone(&app), metrics.clone()));

    tokio::spawn(metrics.sum_up(SUM_UP_INTERVAL));
    tokio::spawn(forget_what_has_expired(Arc::clone(&app)));
    signals.next().await;
    tracing::info!(
        "shutting down: requests under way are answered first; a second signal ends the process at once"
    );
    stopper.send_replace(true);
    let shut_down = async {
        let _ = tokio::join!(public, private);
        // Requests that were cut off may leave statements running. Nobody was told that they are done.
        if tokio::time::timeout(STORE_CLOSE_TIMEOUT, app.accounts.store.close()).await.is_err() {
            tracing::warn!("the store's connections did not close in time and are cut off");
        }
    };
    tokio::select! {
        () = shut_down => Ok(ExitCode::SUCCESS),
        () = signals.next() => {
            tracing::warn!("a second signal: requests under way are cut off");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Keeps the store from growing with what nobody needs any more.
async fn forget_what_has_expired(app: SharedApp) {
    let mut ticks = tokio::time::interval(PRUNE_INTERVAL);
    loop {
        ticks.tick().await;
        let sessions = app.accounts.store.prune_sessions().await;
        let revocations = app.accounts.store.prune_revocations().await;
        match (sessions, revocations) {
            (Ok(sessions), Ok(revocations)) => tracing::debug!(sessions, revocations, "forgot the expired"),
            (Err(error), _) | (_, Err(error)) => tracing::warn!(%error, "the expired could not be removed"),
        }
    }
}

async fn build(options: &ServeOptions) -> Result<App, String> {
    let keyring = keyring_from_environment()?;
    let threads = match usize::from(options.bcrypt_threads) {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let queue = threads.saturating_mul(options.bcrypt_queue.into());
    let passwords = PasswordPool::start(threads, queue, options.bcrypt_cost)
        .map_err(|error| format!("no bcrypt threads: {error}"))?;
    let store = Store::open(&options.store.database_url, options.store.database_connections)
        .await
        .map_err(|error| error.to_string())?;
    // A wrong password takes as long as for the account with the most costly hash, so nobody can be told apart by it.
    if let Some(cost) = store.highest_cost().await.map_err(|error| error.to_string())? {
        passwords.expect_cost(cost);
    }
    Ok(App {
        accounts: Accounts {
            store,
            tokens: TokenMaker::new(keyring, options.token.clone()),
            passwords,
            throttle: Throttle::new(options.throttle_address, options.throttle_account),
            sign_up: options.sign_up,
            clock: Clock::default(),
        },
        cookie: CookieStyle::new(&options.site),
        origins: TrustedOrigins::new(&options.site),
        trusted_hops: options.site.trusted_hops,
    })
}

async fn bind(flag: &str, address: std::net::SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("{flag} {address}: {error}"))
}

/// One line on stdout, for a parent process that needs the ports.
fn announce(app: &App, public: &TcpListener, private: &TcpListener) -> Result<(), String> {
    let address = |listener: &TcpListener| {
        listener.local_addr().map(|address| address.to_string()).map_err(|error| error.to_string())
    };
    let (public, private) = (address(public)?, address(private)?);
    let kid = app.accounts.tokens.kid();
    let secrets = secret_variables().join(", ");
    tracing::info!(public, private, kid, secrets, store = %app.accounts.store.kind(), "listening");
    if let Some(left_over) = left_over_secret() {
        tracing::warn!("{left_over}");
    }
    let line = json!({"event": "listening", "public": public, "private": private, "kid": kid});
    // The parent process may have closed our stdout. Serve anyway.
    let _ = writeln!(std::io::stdout(), "{line}");
    Ok(())
}

/// What tells the server to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn install() -> Result<Self, String> {
        let install = |kind| signal(kind).map_err(|error| error.to_string());
        Ok(Self {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one. One that came since the last call counts.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
