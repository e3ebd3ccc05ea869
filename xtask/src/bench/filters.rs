//! Each contender as an HTTP filter of Envoy.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::contender::Contender;
use super::tokens::{ISSUER, jwks};
use super::workload::{COOKIE, Listener, PUBLIC_PATH};

/// The modules that the wasm filters run.
#[derive(Debug, Clone)]
pub(super) struct Modules {
    pub(super) gate: PathBuf,
    /// The dynamic module, where it takes part.
    pub(super) module: Option<PathBuf>,
    pub(super) other_build: Option<PathBuf>,
    pub(super) empty: PathBuf,
    pub(super) untrimmed: PathBuf,
    pub(super) floor: PathBuf,
}

/// How many tokens whoever remembers tokens remembers: the gate's default.
const CACHE_ENTRIES: u32 = 4096;

/// The contender's filters in front of the router: none, or one.
pub(super) fn filters(contender: Contender, listener: Listener, modules: &Modules) -> Vec<Value> {
    match contender {
        Contender::None | Contender::FastapiPlain | Contender::Fastapi => Vec::new(),
        Contender::JwtAuthn => vec![jwt_authn(listener, false)],
        Contender::JwtAuthnCache => vec![jwt_authn(listener, true)],
        Contender::Lua => vec![lua()],
        Contender::Empty => vec![wasm("empty", "bench", &modules.empty, &json!({}))],
        Contender::EmptyUntrimmed => vec![wasm("empty", "bench", &modules.untrimmed, &json!({}))],
        // It knows one configuration for a VM.
        Contender::Floor => {
            vec![wasm(listener.name(), listener.name(), &modules.floor, &json!({"does": listener.name()}))]
        }
        Contender::FloorHmac => vec![wasm("hmac", "bench", &modules.floor, &json!({"does": "hmac"}))],
        Contender::Gate => vec![wasm(listener.name(), "bench", &modules.gate, &gate(listener))],
        Contender::Module => {
            let built = modules.module.iter();
            built.map(|library| module(listener.name(), library, &gate(listener))).collect()
        }
        Contender::OtherBuild => {
            let other = modules.other_build.iter();
            other.map(|module| wasm(listener.name(), "bench", module, &gate(listener))).collect()
        }
        Contender::ExtAuthz => vec![ext_authz()],
    }
}

/// What a provider says in both vocabularies, which are one.
fn provider(listener: Listener) -> Value {
    let headers: Vec<Value> = listener
        .claim_headers()
        .iter()
        .map(|(header, claim)| json!({"header_name": header, "claim_name": claim}))
        .collect();
    let mut provider = json!({
        "issuer": ISSUER,
        "local_jwks": {"inline_string": jwks()},
        "forward": false,
        "claim_to_headers": headers,
    });
    if listener == Listener::Cookie {
        provider["from_headers"] = json!([{"name": "Authorization", "value_prefix": "Bearer "}]);
        provider["from_cookies"] = json!([COOKIE]);
    }
    provider
}

fn jwt_authn(listener: Listener, cache: bool) -> Value {
    let mut provider = provider(listener);
    if cache {
        provider["jwt_cache_config"] = json!({"jwt_cache_size": CACHE_ENTRIES});
    }
    json!({
        "name": "jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"app": provider},
            "rules": [
                {"match": {"path": PUBLIC_PATH}},
                {"match": {"prefix": "/"}, "requires": {"provider_name": "app"}},
            ],
        },
    })
}

fn gate(listener: Listener) -> Value {
    json!({
        "providers": {"app": provider(listener)},
        "rules": [{"match": {"path": PUBLIC_PATH}}],
        "default": "require",
        "cache": {"max_entries": CACHE_ENTRIES},
    })
}

/// A dynamic module, with the counters' names of the wasm filter.
fn module(name: &str, library: &Path, configuration: &Value) -> Value {
    json!({
        "name": name,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter",
            "dynamic_module_config": {
                "module": {"local": {"filename": library}},
                "do_not_close": true,
                "metrics_namespace": "wasmcustom",
            },
            "filter_name": name,
            "filter_config": {"@type": "type.googleapis.com/google.protobuf.Struct", "value": configuration},
        },
    })
}

/// A wasm filter, in the one VM that a worker has for this module and `vm`.
fn wasm(name: &str, vm: &str, module: &Path, configuration: &Value) -> Value {
    json!({
        "name": name,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": name,
                "root_id": name,
                "failure_policy": "FAIL_CLOSED",
                "vm_config": {
                    "vm_id": vm,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": module}},
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.Struct",
                    "value": configuration,
                },
            },
        },
    })
}

fn lua() -> Value {
    json!({
        "name": "lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": "function envoy_on_request(request_handle) end"},
        },
    })
}

/// Asks the companion for `/api/auth` and the request's own path.
fn ext_authz() -> Value {
    json!({
        "name": "ext_authz",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
            "transport_api_version": "V3",
            "http_service": {
                "server_uri": {"uri": "http://127.0.0.1", "cluster": super::proxy::COMPANION, "timeout": "10s"},
                "path_prefix": "/api/auth",
            },
        },
    })
}
