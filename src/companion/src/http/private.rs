//! The private port: for orchestrators, Prometheus and gates.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::app::SharedApp;
use crate::http::feed;
use crate::http::observe::Exporter;
use crate::http::problem::Problem;
use crate::store::StoreError;

/// Slower than this counts as down.
const READY_TIMEOUT: Duration = Duration::from_secs(3);

/// The routes.
pub fn routes(metrics: Exporter) -> Router<SharedApp> {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/internal/revocations", get(feed::revocations))
        .route("/metrics", get(move |State(app): State<SharedApp>| async move { scrape(&app, &metrics) }))
}

/// The process answers.
async fn healthz() -> Response {
    Json(json!({"status": "ok"})).into_response()
}

/// The store answers too.
async fn readyz(State(app): State<SharedApp>) -> Result<Response, Problem> {
    let asked = tokio::time::timeout(READY_TIMEOUT, app.accounts.store.ping()).await;
    match asked.unwrap_or(Err(StoreError::Silent)) {
        Ok(()) => {
            Ok(Json(json!({"status": "ok", "store": app.accounts.store.kind().to_string()})).into_response())
        }
        Err(error) => {
            tracing::error!(%error, "the store does not answer");
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Err(Problem::new(status, "store_unavailable", "The store does not answer."))
        }
    }
}

fn scrape(app: &SharedApp, metrics: &Exporter) -> Response {
    #[expect(clippy::cast_precision_loss, reason = "a queue is far shorter than 2^53")]
    metrics::gauge!("jwt_gate_auth_password_queue_length").set(app.accounts.passwords.queued() as f64);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render()).into_response()
}
