//! Requests and answers.

pub mod body;
pub mod client;
pub mod cookie;
pub mod credentials;
pub mod feed;
pub mod native;
pub mod observe;
mod openapi;
pub mod origin;
pub mod pages;
pub mod private;
pub mod problem;
pub mod return_path;
pub mod wire;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderName, Method, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::app::SharedApp;
use openapi::{Calls, Operation, Style};
use problem::Problem;

/// What is served on the public port.
pub fn public_router(app: SharedApp) -> Router {
    let (interface, document) = calls().finish();
    let document = Bytes::from(document.to_string());
    let interface = interface.route(OPENAPI_PATH, get(async move || openapi(document)));
    let cors = app.origins.has_others().then(|| cors(Arc::clone(&app)));
    let router = Router::new().nest("/api/auth", interface).merge(pages::root_routes()).with_state(app);
    finish(router, cors)
}

const OPENAPI_PATH: &str = "/openapi.json";

/// Everything under `/api/auth`.
fn calls() -> Calls {
    let pages = Calls::new(Style::Pages).with_undescribed(pages::routes()).describe(
        Method::GET,
        "/sign-out",
        Operation::new("signOutPage", "The page with the button that signs out.")
            .with_or_without_token()
            .answers_html("HTML."),
    );
    let document = Calls::new(Style::Native).describe(
        Method::GET,
        OPENAPI_PATH,
        Operation::new("openapi", "This document.")
            .without_store()
            .answers::<OpenApiBody>(200, "An OpenAPI 3.1 document."),
    );
    native::calls().and(wire::calls()).and(pages).and(document)
}

/// The part of an OpenAPI document that every reader needs.
#[derive(serde::Serialize, schemars::JsonSchema)]
#[schemars(rename = "OpenApi")]
struct OpenApiBody {
    openapi: String,
}

/// What is served on the private port.
pub fn private_router(app: SharedApp, metrics: observe::Exporter) -> Router {
    finish(private::routes(metrics).with_state(app), None)
}

fn openapi(document: Bytes) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "max-age=3600")];
    (headers, document).into_response()
}

/// Pages of the other trusted origins may call with cookies and read the answers (Fetch §3.2). They may send any header:
/// tracing tools add their own to each call.
fn cors(app: SharedApp) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| app.origins.trusts_other(origin)))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([
            HeaderName::from_static("set-auth-token"),
            HeaderName::from_static("x-request-id"),
            HeaderName::from_static("x-retry-after"),
            header::RETRY_AFTER,
        ])
        .max_age(std::time::Duration::from_secs(600))
}

/// Adds the layers of every answer. A fallback that is set later would be outside of the layers, so they come first.
fn finish(router: Router, cors: Option<CorsLayer>) -> Router {
    router
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "not_found", "Not found."))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(CatchPanicLayer::custom(|_| Problem::internal().into_response()))
        .layer(tower::util::option_layer(cors))
        .layer(middleware::from_fn(observe::observe))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    found.insert(reference.clone());
                }
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn the_document_defines_what_it_refers_to_and_names_each_call_once() {
        let (_, document) = calls().finish();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.len() > 10, "{found:?}");
        for reference in found {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
        }
        let paths = document["paths"].as_object().unwrap();
        let operations = paths.values().flat_map(|methods| methods.as_object().unwrap().values());
        let ids: Vec<&str> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    }

    #[test]
    fn a_bodys_optional_fields_may_be_left_out_and_an_answers_are_there() {
        let (_, document) = calls().finish();
        let required = |name: &str| document["components"]["schemas"][name]["required"].clone();
        assert_eq!(required("SignUp"), serde_json::json!(["email", "password"]));
        assert_eq!(required("WireChangedPassword"), serde_json::json!(["token", "user"]));
    }
}
