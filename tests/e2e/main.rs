//! End to end: a real Envoy with the gate in it, from the client's bytes to the backend's.
//!
//! `$ENVOY` chooses the Envoy, `$JWT_GATE_WASM` the filter; without them both are fetched and built.

mod better_auth;
mod boundary;
mod bytes;
mod clients;
mod companion;
mod forms;
mod harness;
mod identity;
mod locations;
mod observability;
mod paths;
mod providers;
mod refused_config;
mod replies;
mod route_choice;
mod route_override;
mod rules;
mod shipped;
mod sign_in_page;
mod tokens;
mod upgrade;
mod workers;

use std::sync::OnceLock;

use jwt_gate_tests::{Envoy, Listener, Refused, Shown, Spec};
use serde_json::{Value, json};

/// The one Envoy of most tests: a listener for each configuration, one worker.
fn envoy() -> Shown<'static> {
    static SHARED: OnceLock<Result<Envoy, Refused>> = OnceLock::new();
    // Where it does not serve, each test says so, but only one of them waits for it.
    let shared = SHARED.get_or_init(|| Spec::new().listeners(listeners()).try_start());
    shared.as_ref().unwrap_or_else(|refused| panic!("Envoy does not serve:\n{refused}")).shown_on_failure()
}

fn listeners() -> Vec<Listener> {
    let mut all = vec![
        Listener::gated("app", app()),
        Listener::gated("app-h2", app()).upstream(jwt_gate_tests::Upstream::Http2),
        Listener::gated("app-normalised", app()).normalised(),
    ];
    for more in [
        identity::listeners,
        forms::listeners,
        locations::listeners,
        rules::listeners,
        paths::listeners,
        replies::listeners,
        providers::listeners,
        observability::listeners,
        route_choice::listeners,
        route_override::listeners,
        shipped::listeners,
    ] {
        all.extend(more());
    }
    all
}

/// The configuration that most tests use.
fn app() -> Value {
    json!({
        "providers": {"app": provider()},
        "rules": [
            {"match": {"path": "/public"}},
            {"match": {"prefix": "/open/"}},
            {"match": {"prefix": "/optional/"}, "requires": {"allow_missing": {"provider_name": "app"}}},
            {"match": {"prefix": "/api/"}, "requires": {"provider_name": "app"}},
            {"match": {"prefix": "/admin/"}, "requires": {"provider_name": "app", "claims": {"role": ["admin"]}}},
        ],
        "bypass_cors_preflight": true,
        "strip_headers": ["x-internal-role"],
    })
}

fn provider() -> Value {
    json!({
        "secrets": [{"env": "BETTER_AUTH_SECRET"}],
        "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
        "from_cookies": ["session"],
        "claim_to_headers": [
            {"header_name": "x-user-id", "claim_name": "sub", "required": true},
            {"header_name": "x-user-email", "claim_name": "email"},
            {"header_name": "x-user-plan", "claim_name": "account.plan"},
        ],
        "forward_payload_header": "x-jwt-payload",
    })
}

/// `config` with `fields` in place of its own.
fn with(mut config: Value, fields: Value) -> Value {
    for (name, value) in fields.as_object().cloned().unwrap_or_default() {
        config[name] = value;
    }
    config
}
