//! Requests and answers.

pub mod body;
pub mod caller;
pub mod client;
pub mod cookie;
pub mod feed;
pub mod native;
pub mod observe;
pub mod origin;
pub mod origin_pattern;
pub mod pages;
pub mod private;
pub mod problem;
pub mod return_path;
pub mod wire;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, Method, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::app::SharedApp;
use problem::Problem;

/// What is served on the public port.
pub fn public_router(app: SharedApp) -> Router {
    let document = Router::new().route("/openapi.json", get(openapi));
    let interface = document.merge(native::routes()).merge(wire::routes()).merge(pages::routes());
    let cors = app.origins.has_others().then(|| cors(Arc::clone(&app)));
    let router = Router::new().nest("/api/auth", interface).merge(pages::root_routes()).with_state(app);
    finish(router, cors)
}

/// What is served on the private port.
pub fn private_router(app: SharedApp, metrics: observe::Exporter) -> Router {
    finish(private::routes(metrics).with_state(app), None)
}

/// The OpenAPI document, which a test holds against a live companion.
async fn openapi() -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "max-age=3600")];
    (headers, include_str!("openapi.json")).into_response()
}

/// Pages of the further trusted origins may call with cookies and read the answers (Fetch §3.2). They may send whatever
/// header they like: tools for tracing add their own to each call.
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

/// Adds what every answer goes through. A fallback that is set later would be outside of the layers, so they come first.
fn finish(router: Router, cors: Option<CorsLayer>) -> Router {
    router
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "not_found", "Not found."))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .layer(CatchPanicLayer::custom(|_| Problem::internal().into_response()))
        .layer(tower::util::option_layer(cors))
        .layer(middleware::from_fn(observe::observe))
}
