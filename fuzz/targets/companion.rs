//! The companion answers whatever is asked of it, and never with a fault of its own.
#![no_main]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use jwt_gate_auth::account::Accounts;
use jwt_gate_auth::app::App;
use jwt_gate_auth::clock::Clock;
use jwt_gate_auth::http::cookie::CookieStyle;
use jwt_gate_auth::http::observe::Exporter;
use jwt_gate_auth::http::origin::TrustedOrigins;
use jwt_gate_auth::http::{private_router, public_router};
use jwt_gate_auth::password::PasswordPool;
use jwt_gate_auth::session::TokenMaker;
use jwt_gate_auth::settings::{DEFAULT_COOKIE_NAME, SignUpMode, SiteOptions, TokenOptions};
use jwt_gate_auth::store::Store;
use jwt_gate_auth::throttle::Throttle;
use jwt_gate_fuzz::{SECRET, holds, keyring};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt;

const PASSWORD: &str = "correct horse battery";

struct Companion {
    runtime: Runtime,
    public: Router,
    private: Router,
    /// Somebody's token, which the byte 1 of an input stands for.
    token: String,
    /// A gate's token for the feed: the byte 2.
    internal: String,
    _directory: TempDir,
}

impl Companion {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        // In memory, where there is such a place: the disk is not what is tested.
        let memory = std::path::Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_path_buf() } else { std::env::temp_dir() };
        let directory =
            tempfile::Builder::new().prefix("jwt-gate-fuzz-").tempdir_in(place).expect("a directory");
        let url = format!("sqlite:{}", directory.path().join("store.db").display());
        let store = runtime.block_on(Store::open(&url, 1)).expect("a store");
        let site = SiteOptions {
            public_url: None,
            cookie_name: DEFAULT_COOKIE_NAME.into(),
            trusted_origins: Vec::new(),
            trusted_hops: 1,
        };
        let token = TokenOptions { issuer: "jwt-gate".into(), audience: None, lifetime_seconds: 86_400 };
        let app = Arc::new(App {
            accounts: Accounts {
                store,
                tokens: TokenMaker::new(keyring(SECRET), token),
                passwords: PasswordPool::start(1, 8, 4).expect("a thread"),
                throttle: Throttle::new(0, 0),
                sign_up: SignUpMode::Open,
                clock: Clock::default(),
            },
            cookie: CookieStyle::new(&site),
            origins: TrustedOrigins::new(&site),
            trusted_hops: 1,
        });
        let metrics = Exporter::install().expect("metrics");
        let public = public_router(Arc::clone(&app));
        let private = private_router(app, metrics);
        let mut companion = Self {
            runtime,
            public,
            private,
            token: String::new(),
            internal: String::new(),
            _directory: directory,
        };
        let body = serde_json::json!({"email": "ada@example.com", "password": PASSWORD});
        let request = format!("POST /api/auth/signup\ncontent-type: application/json\n\n{body}");
        let (_, answer) = companion.answer(request.as_bytes()).expect("a request");
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        companion.token = answer["token"].as_str().expect("a token").to_owned();
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_secs();
        companion.internal = jwt_gate_fuzz::sign(
            SECRET,
            &serde_json::json!({"iss": "jwt-gate", "aud": "jwt-gate/internal", "iat": now, "exp": now + 86_400}),
        );
        companion
    }

    /// Status and body of the answer to `METHOD TARGET`, header lines, an empty line and a body.
    fn answer(&self, input: &[u8]) -> Option<(StatusCode, Vec<u8>)> {
        let end = input.windows(2).position(|two| two == b"\n\n").unwrap_or(input.len());
        let (head, body) = input.split_at(end);
        let body = body.strip_prefix(b"\n\n").unwrap_or(body).to_vec();
        let mut lines = head.split(|byte| *byte == b'\n');
        let mut words = lines.next()?.splitn(2, |byte| *byte == b' ');
        let method = Method::from_bytes(words.next()?).ok()?;
        let target = words.next()?;
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in jwt_gate_fuzz::headers(&lines.collect::<Vec<_>>().join(&b'\n')) {
            request = request.header(name.as_bytes(), value);
        }
        let peer: SocketAddr = (Ipv4Addr::LOCALHOST, 1).into();
        let request = request.extension(ConnectInfo(peer)).body(Body::from(body)).ok()?;
        let router = if target.starts_with(b"/api") || !target.starts_with(b"/internal") {
            &self.public
        } else {
            &self.private
        };
        self.runtime.block_on(async {
            let answer = router.clone().oneshot(request).await.expect("a router cannot fail");
            let status = answer.status();
            let body = answer.into_body().collect().await.expect("a body that was made here");
            Some((status, body.to_bytes().to_vec()))
        })
    }
}

fuzz_target!(|input: &[u8]| {
    static COMPANION: OnceLock<Companion> = OnceLock::new();
    let companion = COMPANION.get_or_init(Companion::start);
    let mut expanded = Vec::with_capacity(input.len());
    for byte in input {
        match byte {
            1 => expanded.extend_from_slice(companion.token.as_bytes()),
            2 => expanded.extend_from_slice(companion.internal.as_bytes()),
            other => expanded.push(*other),
        }
    }
    let Some((status, body)) = companion.answer(&expanded) else { return };
    assert!(status != StatusCode::INTERNAL_SERVER_ERROR, "{}", String::from_utf8_lossy(&body));
    // What the request itself holds may come back: a form shows what was typed.
    for secret in [SECRET.as_bytes(), b"$2b$"] {
        assert!(holds(&expanded, secret) || !holds(&body, secret), "an answer tells a secret");
    }
    if status.is_client_error() && body.first() == Some(&b'{') {
        let problem: Value = serde_json::from_slice(&body).expect("a problem is JSON");
        assert!(problem["code"].is_string(), "{problem}");
        assert!(problem.get("token").is_none(), "{problem}");
    }
});
