//! The pages for people: `/sign-in`, `/sign-up` and `/sign-out`.
//!
//! Plain HTML forms that need no JavaScript. They are served at the root, for `sign_in_redirect`, and under
//! `/api/auth`, which is routed to the companion anyway.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use crate::account::SignedIn;
use crate::app::{App, SharedApp};
use crate::error::AccountError;
use crate::http::cookie::{cleared, signed_in_headers};
use crate::http::native::SignUpForm;
use crate::http::problem::Problem;
use crate::http::return_path;
use crate::session::Client;
use crate::settings::SignUpMode;

mod form;
mod layout;
mod visitor;

use form::Form;
use layout::{Kind, Page};
use visitor::Visitor;

/// The style sheet's place, which the pages name wherever they are.
const STYLE_PATH: &str = "/pages.css";

/// The pages and their style sheet, for `/api/auth`. `POST /sign-out` is among Better Auth's calls there.
pub fn routes() -> Router<SharedApp> {
    forms()
        .route("/sign-out", get(show_sign_out))
        .layer(middleware::from_fn(harden))
        .route(STYLE_PATH, get(style))
}

/// The pages alone, for the root.
pub fn root_routes() -> Router<SharedApp> {
    forms().route("/sign-out", get(show_sign_out).post(submit_sign_out)).layer(middleware::from_fn(harden))
}

fn forms() -> Router<SharedApp> {
    Router::new()
        .route("/sign-in", get(show_sign_in).post(submit_sign_in))
        .route("/sign-up", get(show_sign_up).post(submit_sign_up))
}

/// Nothing from elsewhere runs in these pages, nobody frames them, and no copy is kept.
async fn harden(request: Request, next: Next) -> Response {
    const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; \
        base-uri 'none'; frame-ancestors 'none'";
    let mut response = next.run(request).await;
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        // With `no-referrer` a browser would name no origin when it sends the form.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn style() -> Response {
    let headers =
        [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600")];
    (headers, include_str!("pages.css")).into_response()
}

async fn show_sign_in(State(app): State<SharedApp>, request: Request) -> Response {
    show(Kind::SignIn, &app, request).await
}

async fn show_sign_up(State(app): State<SharedApp>, request: Request) -> Response {
    show(Kind::SignUp, &app, request).await
}

async fn show(kind: Kind, app: &SharedApp, request: Request) -> Response {
    if kind == Kind::SignUp && app.accounts.sign_up == SignUpMode::Closed {
        return layout::failed(&AccountError::SignUpClosed.into());
    }
    let form = Form::of_query(&request);
    let visitor = Visitor::of(app, &request.into_parts().0.headers).await;
    Page::new(kind, &form, app.accounts.sign_up).seen_by(visitor.as_ref()).into_response()
}

async fn show_sign_out(State(app): State<SharedApp>, headers: HeaderMap) -> Result<Response, Problem> {
    let email = match app.token_owner(&headers, false).await {
        Ok(owner) => Some(owner.user.email),
        Err(problem) if problem.status.is_client_error() => None,
        Err(problem) => return Err(problem),
    };
    Ok(layout::sign_out(email.as_deref()).into_response())
}

async fn submit_sign_in(
    State(app): State<SharedApp>,
    client: Client,
    headers: HeaderMap,
    form: Result<Form, Problem>,
) -> Response {
    let form = match accept(&app, &headers, form) {
        Ok(form) => form,
        Err(problem) => return refuse(&app, Kind::SignIn, &Form::default(), &problem),
    };
    match app.accounts.sign_in(form.get("email"), form.get("password"), &client).await {
        Ok(signed_in) => proceed(&app, &form, &signed_in),
        Err(error) => refuse(&app, Kind::SignIn, &form, &error.into()),
    }
}

async fn submit_sign_up(
    State(app): State<SharedApp>,
    client: Client,
    headers: HeaderMap,
    form: Result<Form, Problem>,
) -> Response {
    if app.accounts.sign_up == SignUpMode::Closed {
        return layout::failed(&AccountError::SignUpClosed.into());
    }
    let form = match accept(&app, &headers, form) {
        Ok(form) => form,
        Err(problem) => return refuse(&app, Kind::SignUp, &Form::default(), &problem),
    };
    let signed_up = match form.fields().read::<SignUpForm>() {
        Ok(sign_up) => app.accounts.sign_up(sign_up.into(), &client).await.map_err(Problem::from),
        Err(problem) => Err(problem),
    };
    match signed_up {
        Ok(signed_in) => proceed(&app, &form, &signed_in),
        Err(problem) => refuse(&app, Kind::SignUp, &form, &problem),
    }
}

/// `POST /sign-out` from a page.
pub(super) async fn submit_sign_out(
    State(app): State<SharedApp>,
    client: Client,
    headers: HeaderMap,
) -> Response {
    let signed_out = match app.origins.check(&headers, true) {
        Ok(()) => app.sign_out(&headers, &client).await,
        Err(problem) => Err(problem),
    };
    match signed_out {
        Ok(()) => (cleared(&app), Redirect::to("sign-in")).into_response(),
        Err(problem) => layout::failed(&problem),
    }
}

/// A form is accepted only from a page of ours: otherwise another site could sign a visitor in as somebody else.
fn accept(app: &SharedApp, headers: &HeaderMap, form: Result<Form, Problem>) -> Result<Form, Problem> {
    app.origins.check(headers, true)?;
    form
}

/// On to the page that was wanted in the first place.
fn proceed(app: &SharedApp, form: &Form, signed_in: &SignedIn) -> Response {
    let headers = signed_in_headers(app, &signed_in.token, &signed_in.session);
    let mut response =
        (headers, Redirect::to(return_path::or_front_page(Some(form.get("next"))))).into_response();
    // For clients that hold the token; a browser has the cookie.
    response.headers_mut().remove("set-auth-token");
    response
}

/// The same page again, with what is wrong beside its field.
fn refuse(app: &App, kind: Kind, form: &Form, problem: &Problem) -> Response {
    let mut response = Page::new(kind, form, app.accounts.sign_up).with_problem(problem).into_response();
    // A browser shows a page for any status but asks for a password itself where WWW-Authenticate says so.
    problem.add_headers(&mut response);
    response.headers_mut().remove(header::WWW_AUTHENTICATE);
    *response.status_mut() = problem.status;
    response
}
