use std::io::Read;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jwt_gate_token::{
    Expectations, Keyring, MAX_TOKEN_BYTES, base64url_decode, issue, json as unique_json, verify,
};
use serde_json::{Map, Value, json};

use super::Done;
use crate::app::keyring_from_environment;
use crate::clock;
use crate::id;
use crate::store::MAX_LIFETIME_SECONDS;

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token, signed with the environment's newest secret, and print it on stdout.
    ///
    /// It belongs to no session, so `/me` knows it only if its subject has an account.
    Mint(Mint),
    /// Read a token and say whether it verifies with the environment's secrets, and if not, why.
    ///
    /// Ends with 0 where it verifies and with 1 where it does not.
    Inspect(Inspect),
}

#[derive(Debug, Args)]
pub(super) struct Mint {
    /// The `sub`: a user's id.
    #[arg(long, env = "JWT_GATE_TOKEN_SUB")]
    sub: String,
    /// The `email`.
    #[arg(long, env = "JWT_GATE_TOKEN_EMAIL")]
    email: Option<String>,
    /// The `name`.
    #[arg(long, env = "JWT_GATE_TOKEN_NAME")]
    name: Option<String>,
    /// The `iss`.
    #[arg(long, env = "JWT_GATE_ISSUER", default_value = "jwt-gate")]
    issuer: String,
    /// The `aud`; jwt-gate/internal makes a token for /internal/revocations.
    #[arg(long, env = "JWT_GATE_AUDIENCE")]
    audience: Option<String>,
    /// How long the token lives, ten years at most. Below zero: it has expired already, for tests.
    #[arg(
        long,
        env = "JWT_GATE_LIFETIME_SECONDS",
        default_value_t = 3600,
        allow_negative_numbers = true,
        value_name = "SECONDS"
    )]
    lifetime_seconds: i64,
    /// Further claims as a JSON object; they win over the others, and null takes a claim out.
    #[arg(long, env = "JWT_GATE_TOKEN_CLAIMS", value_name = "JSON")]
    claims: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// The token; without it, it is read from stdin, which keeps it out of the shell's history.
    #[arg(env = "JWT_GATE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The `iss` to expect.
    #[arg(long, env = "JWT_GATE_ISSUER")]
    issuer: Option<String>,
    /// The `aud` to expect.
    #[arg(long, env = "JWT_GATE_AUDIENCE")]
    audience: Option<String>,
}

pub(super) fn run(command: TokenCommand) -> Done {
    let keyring = keyring_from_environment()?;
    let kids = keyring.kids().enumerate().map(|(place, kid)| match place {
        0 => format!("{kid} (signs)"),
        _ => format!("then {kid}"),
    });
    eprintln!("kid: {}", kids.collect::<Vec<_>>().join(", "));
    match command {
        TokenCommand::Mint(mint) => mint.run(&keyring),
        TokenCommand::Inspect(inspect) => inspect.run(&keyring),
    }
}

// === impl Mint ===

impl Mint {
    fn run(self, keyring: &Keyring) -> Done {
        let now = clock::now_seconds();
        let mut claims = Map::new();
        claims.insert("iss".into(), json!(self.issuer));
        claims.insert("sub".into(), json!(self.sub));
        claims.insert("iat".into(), json!(now.saturating_add(self.lifetime_seconds.min(0))));
        claims.insert("exp".into(), json!(now.saturating_add(self.lifetime_seconds)));
        claims.insert("jti".into(), json!(id::new_session_id()));
        for (name, value) in [("aud", self.audience), ("email", self.email), ("name", self.name)] {
            if let Some(value) = value {
                claims.insert(name.into(), json!(value));
            }
        }
        if let Some(further) = self.claims {
            let further = unique_json::parse_object(further.as_bytes())
                .map_err(|error| format!("--claims is not a JSON object: {error}"))?;
            claims.extend(further);
            claims.retain(|_, value| !value.is_null());
        }
        // Revocations of a subject are remembered for so long.
        let longest = now.saturating_add(MAX_LIFETIME_SECONDS.into());
        #[expect(clippy::cast_precision_loss, reason = "a date is far below 2^53")]
        if claims.get("exp").and_then(Value::as_f64).is_some_and(|exp| exp > longest as f64) {
            return Err("a token lives for ten years at most (315360000 seconds)".to_owned());
        }
        // Signing out everywhere revokes what was issued before. A token that claims to be issued later would come through.
        #[expect(clippy::cast_precision_loss, reason = "a date is far below 2^53")]
        if claims.get("iat").and_then(Value::as_f64).is_some_and(|iat| iat > now as f64) {
            return Err("`iat` is in the future: signing out everywhere would not revoke such a token. Use `nbf` for a \
                        token that is to be valid later"
                .to_owned());
        }
        println!("{}", issue(keyring, &claims).map_err(|error| error.to_string())?);
        Ok(ExitCode::SUCCESS)
    }
}

// === impl Inspect ===

impl Inspect {
    fn run(self, keyring: &Keyring) -> Done {
        let token = match self.token {
            Some(token) => token,
            None => read_stdin()?,
        };
        let token = token.trim();
        let now = clock::now_numeric_date();
        for (part, segment) in ["header", "claims"].iter().zip(token.split('.')) {
            println!("{part}: {}", render(segment));
        }
        if let Some(claims) = token.split('.').nth(1).and_then(object) {
            for (name, what) in [("iat", "issued"), ("nbf", "not before"), ("exp", "expires")] {
                if let Some(seconds) = claims.get(name).and_then(Value::as_f64) {
                    println!("{what}: {}", describe_time(seconds, now));
                }
            }
        }
        let expectations = Expectations {
            issuer: self.issuer,
            audiences: self.audience.into_iter().collect(),
            ..Expectations::default()
        };
        match verify(token, keyring, &expectations, now) {
            Ok(claims) => {
                println!("verifies: yes, with kid {}", claims.kid());
                Ok(ExitCode::SUCCESS)
            }
            Err(refusal) => {
                println!("verifies: no, {}: {refusal}", refusal.code());
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

fn read_stdin() -> Result<String, String> {
    let mut text = String::new();
    let limit = u64::try_from(MAX_TOKEN_BYTES).unwrap_or(u64::MAX).saturating_mul(2);
    std::io::stdin()
        .take(limit)
        .read_to_string(&mut text)
        .map_err(|error| format!("stdin cannot be read: {error}"))?;
    Ok(text)
}

fn object(segment: &str) -> Option<Map<String, Value>> {
    unique_json::parse_object(&base64url_decode(segment.as_bytes())?).ok()
}

fn render(segment: &str) -> String {
    object(segment)
        .and_then(|members| serde_json::to_string_pretty(&members).ok())
        .unwrap_or_else(|| "not a JSON object in base64url".to_owned())
}

fn describe_time(seconds: f64, now: f64) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and so does the calendar")]
    let (ms, distance) = ((seconds * 1000.0) as i64, (seconds - now).round() as i64);
    let distance = match distance {
        1.. => format!("in {}", duration(distance)),
        _ => format!("{} ago", duration(distance.saturating_neg())),
    };
    format!("{} ({distance})", clock::rfc3339(ms))
}

fn duration(seconds: i64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}
