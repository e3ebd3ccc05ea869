use axum::http::HeaderMap;
use maud::{Markup, html};

use super::form::Form;
use crate::app::App;
use crate::http::return_path;

/// Somebody who looks at a page while signed in.
pub(super) struct Visitor {
    name: String,
    email: String,
}

impl Visitor {
    /// The owner of the request's token. Without a store nobody is known, and the form itself says so when it is sent.
    pub(super) async fn of(app: &App, headers: &HeaderMap) -> Option<Self> {
        let owner = app.token_owner(headers, false).await.ok()?;
        Some(Self { name: owner.user.name, email: owner.user.email })
    }

    fn signed_in_as(&self) -> Markup {
        html! {
            "You are signed in as "
            @if self.name.trim().is_empty() {
                strong { (self.email) }
            } @else {
                strong { (self.name) } " (" (self.email) ")"
            }
        }
    }

    /// What the visitor is told above the form. A gate that sends a visitor here names the page in `next`: then the gate
    /// has refused a token that we accept.
    pub(super) fn notice(&self, form: &Form) -> Markup {
        let refused_by = Some(form.get("next")).filter(|next| return_path::is_safe(next));
        html! {
            div.notice role="status" {
                @if let Some(page) = refused_by {
                    p { (self.signed_in_as()) ", but the page you came from did not accept it." }
                    p { "Try the page again. If it sends you back here, signing in again will not help: tell the people who run this site." }
                    details {
                        summary { "For the people who run this site" }
                        p {
                            "The gate in Envoy refuses a token that the sign-in server accepts. Its log names the reason as "
                            code { "code" } ". Run "
                            code { "jwt-gate-auth doctor --envoy-admin URL" }
                            ": it compares the secret, the issuer, the audience and the name of the cookie, and says what to change."
                        }
                    }
                    p { a href=(page) { "Continue to " (page) } }
                } @else {
                    p { (self.signed_in_as()) "." }
                    p { a href="/" { "Continue to the front page" } }
                }
                form method="post" action="sign-out" { button.secondary type="submit" { "Sign out" } }
            }
        }
    }
}
