use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, html};

use super::form::Form;
use super::visitor::Visitor;
use crate::http::problem::Problem;
use crate::http::return_path;
use crate::settings::SignUpMode;

/// Which page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    SignIn,
    SignUp,
}

/// A page with a form.
pub(super) struct Page<'form> {
    kind: Kind,
    form: &'form Form,
    problem: Option<&'form Problem>,
    visitor: Option<&'form Visitor>,
    sign_up: SignUpMode,
}

impl<'form> Page<'form> {
    pub(super) fn new(kind: Kind, form: &'form Form, sign_up: SignUpMode) -> Self {
        Self { kind, form, problem: None, visitor: None, sign_up }
    }

    pub(super) fn with_problem(self, problem: &'form Problem) -> Self {
        Self { problem: Some(problem), ..self }
    }

    /// For somebody who is signed in already.
    pub(super) fn seen_by(self, visitor: Option<&'form Visitor>) -> Self {
        Self { visitor, ..self }
    }

    fn render(&self) -> Markup {
        let next = return_path::or_front_page(Some(self.form.get("next")));
        let title = self.kind.title();
        let content = html! {
            h1 { (title) }
            @if let Some(message) = self.message() {
                p.problem role="alert" { (message) }
            }
            @if let Some(visitor) = self.visitor {
                (visitor.notice(self.form))
                h2 { (title) " as somebody else" }
            }
            form method="post" action=(self.kind.path()) novalidate {
                input type="hidden" name="next" value=(next);
                @if self.kind == Kind::SignUp {
                    (self.field("name", "Name", "text", "name", Some("Optional.")))
                }
                (self.field("email", "E-mail address", "email", "username", None))
                @if self.kind == Kind::SignUp {
                    (self.field("password", "Password", "password", "new-password", Some("At least 8 characters.")))
                } @else {
                    (self.field("password", "Password", "password", "current-password", None))
                }
                button type="submit" { (title) }
            }
            p {
                @if self.kind == Kind::SignIn && self.sign_up == SignUpMode::Closed {
                    "No account yet? Ask the people who run this site."
                } @else if self.kind == Kind::SignIn {
                    "No account yet? " a href=(self.link_to(Kind::SignUp)) { "Sign up" }
                } @else {
                    "Have an account? " a href=(self.link_to(Kind::SignIn)) { "Sign in" }
                }
            }
        };
        document(title, self.problem.is_some(), &content)
    }

    /// The other page, which leads back to the same place, if there is one.
    fn link_to(&self, kind: Kind) -> String {
        match self.form.get("next") {
            "" => kind.path().to_owned(),
            next => {
                let next = return_path::or_front_page(Some(next));
                let query =
                    form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
                format!("{}?{query}", kind.path())
            }
        }
    }

    fn field(&self, name: &str, label: &str, kind: &str, autocomplete: &str, hint: Option<&str>) -> Markup {
        let error = self.error_of(name);
        let hint_id = hint.map(|_| format!("{name}-hint"));
        let error_id = error.map(|_| format!("{name}-error"));
        let described: Vec<String> = hint_id.iter().chain(&error_id).cloned().collect();
        let described = (!described.is_empty()).then(|| described.join(" "));
        // A password is never sent back.
        let value = if kind == "password" { "" } else { self.form.get(name) };
        html! {
            div.field {
                label for=(name) { (label) }
                @if let (Some(hint), Some(id)) = (hint, &hint_id) { p.hint id=(id) { (hint) } }
                @if let (Some(error), Some(id)) = (error, &error_id) { p.error id=(id) { (error) } }
                input id=(name) name=(name) type=(kind) value=(value) autocomplete=(autocomplete)
                    autocapitalize="none" spellcheck="false" required[hint != Some("Optional.")]
                    aria-describedby=[described] aria-invalid=[error.map(|_| "true")]
                    autofocus[self.focus() == Some(name)];
            }
        }
    }

    /// What is wrong with the form as a whole.
    fn message(&self) -> Option<&str> {
        let problem = self.problem?;
        if problem.fields.is_empty() && problem.code != "email_taken" {
            Some(&problem.detail)
        } else {
            Some("Please check what is marked below.")
        }
    }

    fn error_of(&self, name: &str) -> Option<&str> {
        let problem = self.problem?;
        if problem.code == "email_taken" && name == "email" {
            return Some(&problem.detail);
        }
        problem.fields.iter().find(|field| field.field == name).map(|field| field.detail.as_ref())
    }

    /// Where typing begins: at the first field that is wrong, else at the first one. Somebody who is signed in reads first.
    fn focus(&self) -> Option<&'static str> {
        if self.visitor.is_some() {
            return None;
        }
        let names = match self.kind {
            Kind::SignIn => ["email", "password", ""],
            Kind::SignUp => ["name", "email", "password"],
        };
        names.into_iter().find(|name| self.error_of(name).is_some()).or(names.first().copied())
    }
}

impl IntoResponse for Page<'_> {
    fn into_response(self) -> Response {
        Html(self.render().into_string()).into_response()
    }
}

impl Kind {
    fn title(self) -> &'static str {
        match self {
            Self::SignIn => "Sign in",
            Self::SignUp => "Sign up",
        }
    }

    /// Relative, so that it holds at the root and under `/api/auth`.
    fn path(self) -> &'static str {
        match self {
            Self::SignIn => "sign-in",
            Self::SignUp => "sign-up",
        }
    }
}

/// The page with the button that signs out.
pub(super) fn sign_out(email: Option<&str>) -> Html<String> {
    let content = html! {
        h1 { "Sign out" }
        @if let Some(email) = email {
            p { "You are signed in as " strong { (email) } "." }
            form method="post" action="sign-out" { button type="submit" { "Sign out" } }
        } @else {
            p { "You are not signed in. " a href="sign-in" { "Sign in" } }
        }
    };
    Html(document("Sign out", false, &content).into_string())
}

/// A page for what no form can show.
pub(super) fn failed(problem: &Problem) -> Response {
    let content = html! {
        h1 { "That did not work" }
        p.problem role="alert" { (problem.detail) }
    };
    let mut response =
        (problem.status, Html(document("Error", true, &content).into_string())).into_response();
    problem.add_headers(&mut response);
    response.headers_mut().remove(axum::http::header::WWW_AUTHENTICATE);
    response
}

fn document(title: &str, failed: bool, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // Screen readers say the title first.
                title { @if failed { "Error: " } (title) }
                link rel="stylesheet" href="/api/auth/pages.css";
            }
            body { main { (content) } }
        }
    }
}
