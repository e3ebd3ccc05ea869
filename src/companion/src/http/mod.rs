//! Requests and answers.

pub mod body;
pub mod caller;
pub mod client;
pub mod cookie;
pub mod feed;
pub mod native;
pub mod observe;
pub mod origin;
pub mod pages;
pub mod private;
pub mod problem;
pub mod return_path;
pub mod wire;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::app::SharedApp;
use problem::Problem;

/// What is served on the public port.
pub fn public_router(app: SharedApp) -> Router {
    let document = Router::new().route("/openapi.json", get(openapi));
    let interface = document.merge(native::routes()).merge(wire::routes()).merge(pages::routes());
    let cors = (!app.origins.others().is_empty()).then(|| cors(app.origins.others()));
    let router = Router::new().nest("/api/auth", interface).merge(pages::root_routes()).with_state(app);
    finish(router.layer(tower::util::option_layer(cors)))
}

/// What is served on the private port.
pub fn private_router(app: SharedApp, metrics: observe::Exporter) -> Router {
    finish(private::routes(metrics).with_state(app))
}

/// The OpenAPI document, which a test holds against a live companion.
async fn openapi() -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "max-age=3600")];
    (headers, include_str!("openapi.json")).into_response()
}

/// Pages of the further trusted origins may call with cookies and read the answers (Fetch §3.2).
fn cors(origins: &[String]) -> CorsLayer {
    let origins = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
        .expose_headers([HeaderName::from_static("set-auth-token"), header::RETRY_AFTER])
        .max_age(std::time::Duration::from_secs(600))
}

fn finish(router: Router) -> Router {
    router
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here."))
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This call takes another method.",
            )
        })
        .layer(CatchPanicLayer::custom(|_| Problem::internal().into_response()))
        .layer(middleware::from_fn(observe::observe))
}
