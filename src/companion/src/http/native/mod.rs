//! The calls of our own interface, under `/api/auth`.

use axum::middleware;
use schemars::JsonSchema;
use serde::Serialize;

use crate::clock;
use crate::email::Email;
use crate::http::body::read_first;
use crate::http::openapi::{Calls, Instant, Operation, Style};
use crate::http::wire;
use crate::profile::Name;
use crate::store::{Session, User};

mod change_password;
mod me;
mod sign_in;
mod sign_out;
mod sign_up;
mod verify;

pub(super) use sign_up::SignUpForm;

/// The calls, without their prefix.
pub fn calls() -> Calls {
    let calls = Calls::new(Style::Native)
        .post(
            "/signup",
            sign_up::sign_up,
            Operation::new("signUp", "Make an account and sign in.")
                .changes_state()
                .throttled()
                .body::<sign_up::SignUpForm>()
                .answers::<SignedInBody>(201, "The account and a token for it.")
                .sets_cookie()
                .refuses(403, "`sign_up_closed`, or `untrusted_origin`.")
                .refuses(409, "`email_taken`."),
        )
        .post(
            "/signin",
            sign_in::sign_in,
            Operation::new("signIn", "Sign in.")
                .throttled()
                .body::<sign_in::SignInForm>()
                .answers::<SignedInBody>(200, "The account and a token for it.")
                .sets_cookie()
                .refuses(
                    401,
                    "`invalid_credentials`: the e-mail address or the password is wrong; which, is not said.",
                )
                .refuses(403, "`account_disabled`, or `untrusted_origin`."),
        )
        .get(
            "/me",
            me::me,
            Operation::new("me", "Who is signed in.")
                .for_token_owners()
                .answers::<me::MeBody>(200, "The account."),
        )
        .delete(
            "/me",
            me::delete_me,
            Operation::new("deleteMe", "Delete the account.")
                .for_token_owners()
                .changes_state()
                .throttled()
                .body::<me::DeleteMeForm>()
                .answers_nothing(204, "Its tokens have ended at every gate, and the account is gone.")
                .sets_cookie()
                .refuses(401, "Not signed in, or `invalid_credentials`: the password is wrong."),
        )
        .post(
            "/verify",
            verify::verify,
            Operation::new("verify", "What a gate that knows every revocation would say of a token.")
                .description("The token in the body, or else the request's own. 401 if there is neither.")
                .with_or_without_token()
                .optional_body::<verify::VerifyForm>()
                .answers::<verify::VerificationBody>(200, "The verdict, also for a token that is refused.")
                .refuses_with(401),
        )
        .post(
            "/signout",
            sign_out::sign_out,
            Operation::new("signOut", "Revoke the request's token.")
                .description(
                    "A call that relies on the cookie needs an `Origin` header that names a trusted origin. Without a \
                     token there is nothing to do: 204.",
                )
                .with_or_without_token()
                .changes_state()
                .answers_nothing(204, "It stops working at every gate. The cookie is taken away.")
                .sets_cookie()
                .refuses_with(401)
                .refuses(422, "`token_without_jti`: a token without a `jti` cannot be revoked on its own."),
        )
        .post(
            "/signout-everywhere",
            sign_out::sign_out_everywhere,
            Operation::new("signOutEverywhere", "Revoke every token of the account.")
                .for_token_owners()
                .changes_state()
                .answers_nothing(204, "They stop working at every gate. The cookie is taken away.")
                .sets_cookie()
                .refuses(422, "`token_without_jti`: the cookie's token has no `jti`."),
        )
        .layered(|routes| routes.layer(middleware::from_fn(read_first)));
    // This path is in Better Auth's interface too. The names of the fields tell which one is spoken.
    let both = Calls::new(Style::Both).post(
        "/change-password",
        change_password::change_password,
        Operation::new("changePassword", "Change the password and end the sessions.")
            .description(
                "The names of the fields tell which interface is spoken. A call that relies on the cookie needs an \
                 `Origin` header that names a trusted origin.",
            )
            .for_token_owners()
            .changes_state()
            .throttled()
            .body::<change_password::ChangePasswordForm>()
            .body::<wire::change_password::ChangePasswordForm>()
            .answers::<wire::change_password::ChangedBody>(200, "Better Auth's answer.")
            .answers_nothing(
                204,
                "Every token of the account stops working at every gate. A caller with a cookie gets a new session.",
            )
            .refuses(
                400,
                "The body is not JSON; in Better Auth's words also: a wrong password, or a field that is not acceptable.",
            )
            .refuses(401, "Not signed in; in our own words also: `invalid_credentials`.")
            .refuses(403, "The page is not of a trusted origin."),
    );
    calls.and(both)
}

/// An account, as its owner sees it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "User")]
pub struct UserBody {
    /// The tokens' `sub`.
    pub id: String,
    /// In normal form.
    #[schemars(with = "Email")]
    pub email: String,
    /// May be empty.
    #[schemars(with = "Name")]
    pub name: String,
    /// When the account was made.
    #[schemars(with = "Instant")]
    pub created_at: String,
}

/// A user and a token for them.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "SignedIn")]
pub struct SignedInBody {
    /// Who signed in.
    pub user: UserBody,
    /// For `Authorization: Bearer`; the same is set as a cookie.
    pub token: String,
    /// When the token expires.
    #[schemars(with = "Instant")]
    pub expires_at: String,
}

impl UserBody {
    /// What its owner sees of `user`.
    pub fn of(user: &User) -> Self {
        Self {
            id: user.id.clone(),
            email: user.email.clone(),
            name: user.name.clone(),
            created_at: clock::rfc3339(user.created_at),
        }
    }
}

impl SignedInBody {
    fn of(user: &User, token: String, session: &Session) -> Self {
        Self { user: UserBody::of(user), token, expires_at: clock::rfc3339(session.expires_at) }
    }
}
