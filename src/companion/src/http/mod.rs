//! Requests and answers.

pub mod body;
pub mod caller;
pub mod client;
pub mod cookie;
pub mod feed;
pub mod native;
pub mod observe;
pub mod origin;
pub mod private;
pub mod problem;
pub mod return_path;
pub mod wire;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware;
use tower_http::catch_panic::CatchPanicLayer;

use crate::app::SharedApp;
use problem::Problem;

/// What is served on the public port.
pub fn public_router(app: SharedApp) -> Router {
    let router = Router::new().nest("/api/auth", native::routes().merge(wire::routes())).with_state(app);
    finish(router)
}

/// What is served on the private port.
pub fn private_router(app: SharedApp, metrics: observe::Exporter) -> Router {
    finish(private::routes(metrics).with_state(app))
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
        .layer(CatchPanicLayer::custom(|_| axum::response::IntoResponse::into_response(Problem::internal())))
        .layer(middleware::from_fn(observe::observe))
}
