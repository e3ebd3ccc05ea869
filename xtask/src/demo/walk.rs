//! The walk: what a newcomer would try, each step with what must come of it.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::http::{Answer, Request};
use super::show::Console;
use super::stack::Addresses;

const EMAIL: &str = "ada@example.com";
const PASSWORD: &str = "correct horse battery staple";
const NAME: &str = "Ada Lovelace";

/// `{"alg":"none","typ":"JWT"}`
const UNSIGNED_HEADER: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";

/// How often, and how long apart, the access log is read until it has what the walk did.
const LOG_TRIES: u32 = 100;
const LOG_INTERVAL: Duration = Duration::from_millis(50);

/// How often, and how long apart, a revoked token is tried until the gate has heard of it; by default it asks
/// every half second.
const REVOCATION_TRIES: u32 = 100;
const REVOCATION_INTERVAL: Duration = Duration::from_millis(100);

/// Who signed in.
struct Session {
    user_id: String,
    token: String,
}

struct Walk<'walk> {
    console: &'walk mut Console,
    addresses: &'walk Addresses,
    steps: u32,
    requests: usize,
    unmet: u32,
}

/// Walks from a stranger's request to signing out.
///
/// # Errors
/// Where a request could not be made, or an expectation was not met.
pub(super) fn walk(console: &mut Console, addresses: &Addresses) -> Result<()> {
    let public = addresses.public;
    console.heading("jwt-gate, a walk", "")?;
    console.text(&format!(
        "  you ──► Envoy with the gate, {public} ──┬─► companion  (/api/auth/…: signs people up and in)\n\
         {:>width$}└─► backend    (everything else; no JWT code: it reads x-user-id)",
        "",
        width = 34 + public.to_string().len(),
    ))?;
    let mut walk = Walk { console, addresses, steps: 0, requests: 0, unmet: 0 };
    walk.a_stranger_is_turned_away()?;
    walk.signing_up()?;
    let session = walk.signing_in()?;
    walk.a_token_opens_the_gate(&session)?;
    walk.a_cookie_opens_it_too(&session)?;
    walk.a_spoofed_identity_is_replaced(&session)?;
    walk.a_spoofed_identity_is_removed_on_public_paths_too()?;
    walk.a_tampered_token_is_refused(&session)?;
    walk.an_unsigned_token_is_refused(&session)?;
    walk.signing_out(&session)?;
    walk.a_token_taken_back_is_refused(&session)?;
    walk.the_access_log_knows_users_and_no_tokens(&session)?;
    match walk.unmet {
        0 => Ok(()),
        unmet => bail!("{unmet} of the walk's expectations were not met: see the lines marked ✗"),
    }
}

/// What to try next, while everything runs.
pub(super) fn farewell(console: &mut Console, addresses: &Addresses) -> Result<()> {
    let Addresses { public, admin, .. } = addresses;
    console.heading("It is yours now", "Everything runs until Ctrl-C; then nothing of it is left.")?;
    console.text(&format!(
        "In a browser, http://{public}/whoami sends you to sign in and back again.\nIn a shell:"
    ))?;
    console.command(&sign_in_command(*public))?;
    console.command(&format!("curl http://{public}/whoami -H \"Authorization: Bearer $TOKEN\""))?;
    console.command(&format!(
        "curl -s 'http://{admin}/stats?filter=jwt_gate' | grep -v ': 0'   # the gate's counters"
    ))?;
    Ok(())
}

impl Walk<'_> {
    fn a_stranger_is_turned_away(&mut self) -> Result<()> {
        let answer = self.step(
            "A stranger is turned away",
            "No token on a path that needs one. The gate answers; the backend never hears of it.",
            "curl -i http://{public}/whoami",
            &Request::get("/whoami"),
        )?;
        self.expect_refusal(&answer, 401, "missing_token")
    }

    fn signing_up(&mut self) -> Result<()> {
        let body = json!({"email": EMAIL, "password": PASSWORD, "name": NAME});
        let answer = self.step(
            "Signing up",
            "The companion keeps the account (bcrypt) and signs a token with the secret it shares with the gate.",
            &format!("curl -i http://{{public}}/api/auth/signup -H 'Content-Type: application/json' -d '{body}'"),
            &Request::post("/api/auth/signup").json(&body),
        )?;
        self.expect(answer.status == 201, "201: the account is there")?;
        self.expect(text(&answer, "/user/email") == Some(EMAIL), "it is Ada's")
    }

    fn signing_in(&mut self) -> Result<Session> {
        let body = json!({"email": EMAIL, "password": PASSWORD});
        let answer = self.step(
            "Signing in",
            "A token for programs in the body, and the same one for browsers in a cookie that scripts cannot read.",
            &sign_in_command(self.addresses.public),
            &Request::post("/api/auth/signin").json(&body),
        )?;
        let cookie = answer.header("set-cookie").unwrap_or_default();
        self.expect(answer.status == 200, "200: the password is right")?;
        self.expect(
            cookie.starts_with("jwt-gate=") && cookie.contains("HttpOnly"),
            "the cookie is HttpOnly",
        )?;
        let token = text(&answer, "/token").context("signing in gave no token")?.to_owned();
        let user_id = text(&answer, "/user/id").context("signing in gave no user id")?.to_owned();
        Ok(Session { user_id, token })
    }

    fn a_token_opens_the_gate(&mut self, session: &Session) -> Result<()> {
        let answer = self.step(
            "A token opens the gate",
            "The gate verifies it inside Envoy, tells the backend who is calling, and keeps the token to itself.",
            "curl http://{public}/whoami -H \"Authorization: Bearer $TOKEN\"",
            &Request::get("/whoami").header("authorization", bearer(&session.token)),
        )?;
        self.expect_identity(&answer, session)
    }

    fn a_cookie_opens_it_too(&mut self, session: &Session) -> Result<()> {
        let answer = self.step(
            "A browser's cookie opens it too",
            "The session's cookie is cut out of Cookie; the others reach the backend.",
            "curl http://{public}/whoami -b \"theme=dark; jwt-gate=$TOKEN\"",
            &Request::get("/whoami").header("cookie", format!("theme=dark; jwt-gate={}", session.token)),
        )?;
        self.expect_identity(&answer, session)?;
        self.expect(received(&answer, "cookie") == ["theme=dark"], "the other cookie arrived")
    }

    fn a_spoofed_identity_is_replaced(&mut self, session: &Session) -> Result<()> {
        let answer = self.step(
            "A spoofed identity is replaced",
            "Ada says she is the administrator, twice. What a client sends under these names never arrives.",
            "curl http://{public}/whoami -H \"Authorization: Bearer $TOKEN\" -H 'x-user-id: admin' -H 'X-User-Id: root'",
            &Request::get("/whoami")
                .header("authorization", bearer(&session.token))
                .header("x-user-id", "admin")
                .header("X-User-Id", "root"),
        )?;
        self.expect_identity(&answer, session)
    }

    fn a_spoofed_identity_is_removed_on_public_paths_too(&mut self) -> Result<()> {
        let answer = self.step(
            "A spoofed identity is removed on public paths too",
            "Nobody needs a token here, so nobody has an identity here.",
            "curl http://{public}/public/news -H 'x-user-id: admin'",
            &Request::get("/public/news").header("x-user-id", "admin"),
        )?;
        self.expect(answer.status == 200, "200: the path is public")?;
        self.expect(received(&answer, "x-user-id").is_empty(), "the backend saw no x-user-id")
    }

    fn a_tampered_token_is_refused(&mut self, session: &Session) -> Result<()> {
        let kept = session.token.len().saturating_sub(4);
        let tampered = format!("{}AAAA", session.token.get(..kept).context("a token is longer than that")?);
        let answer = self.step(
            "A tampered token is refused",
            "Four characters of the signature are not what the secret makes of the rest.",
            "curl -i http://{public}/whoami -H \"Authorization: Bearer ${TOKEN%????}AAAA\"",
            &Request::get("/whoami").header("authorization", bearer(&tampered)),
        )?;
        self.expect_refusal(&answer, 401, "bad_signature")
    }

    fn an_unsigned_token_is_refused(&mut self, session: &Session) -> Result<()> {
        let payload = session.token.split('.').nth(1).context("a token has a payload")?;
        let unsigned = format!("{UNSIGNED_HEADER}.{payload}.");
        let answer = self.step(
            "A token that says \"no signature needed\" is refused",
            "Its header names the algorithm `none`. The gate takes HS256 and nothing else, whatever a token says.",
            &format!(
                "curl -i http://{{public}}/whoami -H \"Authorization: Bearer {UNSIGNED_HEADER}.$(echo $TOKEN | cut -d. -f2).\""
            ),
            &Request::get("/whoami").header("authorization", bearer(&unsigned)),
        )?;
        self.expect_refusal(&answer, 401, "malformed")
    }

    fn signing_out(&mut self, session: &Session) -> Result<()> {
        let origin = format!("http://{}", self.addresses.public);
        let answer = self.step(
            "Signing out",
            "As a browser does it: with the cookie, from a page of this site (Origin).",
            "curl -i -X POST http://{public}/api/auth/signout -b \"jwt-gate=$TOKEN\" -H 'Origin: http://{public}'",
            &Request::post("/api/auth/signout")
                .header("cookie", format!("jwt-gate={}", session.token))
                .header("origin", origin),
        )?;
        let cookie = answer.header("set-cookie").unwrap_or_default();
        self.expect(answer.status == 204, "204: signed out")?;
        let cleared = cookie.starts_with("jwt-gate=;") && cookie.contains("Max-Age=0");
        self.expect(cleared, "the browser is told to forget the cookie")
    }

    fn a_token_taken_back_is_refused(&mut self, session: &Session) -> Result<()> {
        let request = Request::get("/whoami").header("authorization", bearer(&session.token));
        self.heading(
            "The token is taken back",
            "Somebody kept a copy of it. The gate follows the companion's list of revocations, beside the requests.",
        )?;
        let command = "curl -i http://{public}/whoami -H \"Authorization: Bearer $TOKEN\"";
        self.show_request(command, &request)?;
        let mut answer = self.send(&request)?;
        for _ in 0..REVOCATION_TRIES {
            if answer.status != 200 {
                break;
            }
            thread::sleep(REVOCATION_INTERVAL);
            answer = self.send(&request)?;
        }
        self.console.answer(&answer)?;
        self.expect_refusal(&answer, 401, "revoked")
    }

    fn the_access_log_knows_users_and_no_tokens(&mut self, session: &Session) -> Result<()> {
        self.heading(
            "The access log",
            "Envoy's log says who called, and why somebody was refused. No token or cookie is ever in it.",
        )?;
        let log = self.complete_access_log()?;
        let mut lines = Vec::new();
        for line in log.lines() {
            let entry: Value = serde_json::from_str(line).context("a line of the access log is not JSON")?;
            let member = |name: &str| entry[name].as_str().unwrap_or("-").to_owned();
            lines.push((
                member("method"),
                member("path"),
                entry["status"].clone(),
                member("gate"),
                member("user"),
            ));
        }
        for (method, path, status, gate, user) in &lines {
            self.console.text(&format!("{method:4} {path:18} {status}  {gate:14} {user}"))?;
        }
        let mut by_ada = lines.iter().filter(|(_, _, _, gate, _)| gate == "allowed").peekable();
        let is_hers = by_ada.peek().is_some() && by_ada.all(|(_, _, _, _, user)| *user == session.user_id);
        self.expect(is_hers, "the calls that were let through are there under Ada's id")?;
        let signature = session.token.rsplit('.').next().unwrap_or(&session.token);
        self.expect(!log.contains("eyJ") && !log.contains(signature), "no token is there")
    }

    /// The access log, once Envoy has written a line for each request of the walk.
    fn complete_access_log(&self) -> Result<String> {
        let mut log = String::new();
        for _ in 0..LOG_TRIES {
            log = fs::read_to_string(&self.addresses.access_log)?;
            if log.matches('\n').count() >= self.requests {
                break;
            }
            thread::sleep(LOG_INTERVAL);
        }
        Ok(log)
    }
}

// === How a step is shown and judged ===

impl Walk<'_> {
    fn heading(&mut self, title: &str, why: &str) -> Result<()> {
        self.steps = self.steps.saturating_add(1);
        Ok(self.console.heading(&format!("{}. {title}", self.steps), why)?)
    }

    /// Makes a request and shows it; `{public}` in `command` stands for Envoy's address.
    fn step(&mut self, title: &str, why: &str, command: &str, request: &Request) -> Result<Answer> {
        self.heading(title, why)?;
        self.show_request(command, request)?;
        let answer = self.send(request)?;
        self.console.answer(&answer)?;
        Ok(answer)
    }

    fn show_request(&mut self, command: &str, request: &Request) -> Result<()> {
        self.console.command(&command.replace("{public}", &self.addresses.public.to_string()))?;
        Ok(self.console.request(request)?)
    }

    fn send(&mut self, request: &Request) -> Result<Answer> {
        self.requests = self.requests.saturating_add(1);
        request.send(self.addresses.public)
    }

    fn expect(&mut self, met: bool, what: &str) -> Result<()> {
        if !met {
            self.unmet = self.unmet.saturating_add(1);
        }
        Ok(self.console.verdict(met, what)?)
    }

    fn expect_refusal(&mut self, answer: &Answer, status: u16, code: &str) -> Result<()> {
        let told = answer.status == status && text(answer, "/code") == Some(code);
        self.expect(told, &format!("{status} with the code {code}"))?;
        let is_problem = answer.header("content-type") == Some("application/problem+json");
        self.expect(is_problem, "the body is application/problem+json (RFC 9457)")
    }

    /// The backend saw exactly this user, and no token.
    fn expect_identity(&mut self, answer: &Answer, session: &Session) -> Result<()> {
        self.expect(answer.status == 200, "200: the request reached the backend")?;
        self.expect(
            received(answer, "x-user-id") == [session.user_id.as_str()],
            "x-user-id is Ada's id, once",
        )?;
        self.expect(received(answer, "x-user-name") == [NAME], "x-user-name is Ada's")?;
        self.expect(!answer.body.contains(&session.token), "the backend saw no token")
    }
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn text<'answer>(answer: &'answer Answer, pointer: &str) -> Option<&'answer str> {
    answer.json.pointer(pointer).and_then(Value::as_str)
}

/// The values under which the backend received the header `name`.
fn received<'answer>(answer: &'answer Answer, name: &str) -> Vec<&'answer str> {
    let headers = answer.json.pointer("/received/headers").and_then(Value::as_array);
    let pairs = headers.into_iter().flatten().filter(|pair| pair[0] == name);
    pairs.filter_map(|pair| pair[1].as_str()).collect()
}

fn sign_in_command(public: SocketAddr) -> String {
    let body = json!({"email": EMAIL, "password": PASSWORD});
    format!(
        "TOKEN=$(curl -s http://{public}/api/auth/signin -H 'Content-Type: application/json' -d '{body}' | sed 's/.*\"token\":\"\\([^\"]*\\)\".*/\\1/')"
    )
}
