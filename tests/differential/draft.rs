//! A request in the making: good as it stands, until a mutation touches it.

use jwt_gate_tests::Request;
use jwt_gate_tests::forge::{self, Hash, base64url, hmac};

/// The secrets of the two providers; `app` has two.
pub(crate) const APP_SECRET: &str = forge::SECRET;
pub(crate) const APP_OLD_SECRET: &str = "old-0123456789-abcdefghij-ABCDEFGHIJ";
pub(crate) const OPS_SECRET: &str = "ops-0123456789-abcdefghij-ABCDEFGHIJ";

/// JSON members as text, so that a mutation can write what no serialiser would.
pub(crate) type Members = Vec<(String, String)>;

/// Where the token goes.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// This header, with this before and behind the token.
    Header(&'static str, &'static str, &'static str),
    /// A `Cookie` header in which `*` stands for the token.
    Cookie(&'static str),
    /// A query in which `*` stands for the token.
    Query(&'static str),
    /// Nowhere.
    Nowhere,
}

/// A request in the making.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) header: Members,
    pub(crate) claims: Members,
    /// The header's and payload's bytes instead of those of the members.
    pub(crate) header_bytes: Option<Vec<u8>>,
    pub(crate) payload_bytes: Option<Vec<u8>>,
    pub(crate) secret: &'static str,
    pub(crate) hash: Hash,
    /// What is done to the two encoded segments before they are signed, and to the whole token after.
    pub(crate) before_signing: Option<fn(&str, &str) -> String>,
    pub(crate) after_signing: Option<fn(String) -> String>,
    /// A position to flip a bit at, as a share of the token's length, and the bit.
    pub(crate) flip: Option<(f64, u8)>,
    pub(crate) place: Place,
    /// Second places, for tokens of other people or none at all.
    pub(crate) more: Vec<(&'static str, String)>,
    pub(crate) method: &'static str,
    pub(crate) path: String,
}

impl Draft {
    /// A good request for `user_1` of the provider `app`.
    pub(crate) fn good(now: u64, path: &str) -> Self {
        let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Self {
            header: vec![text("alg", r#""HS256""#), text("typ", r#""JWT""#)],
            claims: vec![
                text("iss", r#""jwt-gate""#),
                text("sub", r#""user_1""#),
                text("aud", r#""api""#),
                ("iat".to_owned(), (now - 10).to_string()),
                ("exp".to_owned(), (now + 7200).to_string()),
                text("email", r#""ada@example.com""#),
            ],
            header_bytes: None,
            payload_bytes: None,
            secret: APP_SECRET,
            hash: Hash::Sha256,
            before_signing: None,
            after_signing: None,
            flip: None,
            place: Place::Header("authorization", "Bearer ", ""),
            more: Vec::new(),
            method: "GET",
            path: path.to_owned(),
        }
    }

    /// A good request of the provider `ops`.
    pub(crate) fn good_for_ops(now: u64, path: &str) -> Self {
        let mut draft = Self::good(now, path);
        draft.claim("iss", r#""ops""#);
        draft.secret = OPS_SECRET;
        draft.place = Place::Header("x-ops-token", "", "");
        draft
    }

    /// Sets a claim to this JSON text.
    pub(crate) fn claim(&mut self, name: &str, json: impl Into<String>) {
        set(&mut self.claims, name, json.into());
    }

    /// Sets a header member to this JSON text.
    pub(crate) fn member(&mut self, name: &str, json: impl Into<String>) {
        set(&mut self.header, name, json.into());
    }

    /// The header's JSON text.
    pub(crate) fn header_text(&self) -> Vec<u8> {
        self.header_bytes.clone().unwrap_or_else(|| object(&self.header))
    }

    /// The payload's JSON text.
    pub(crate) fn payload_text(&self) -> Vec<u8> {
        self.payload_bytes.clone().unwrap_or_else(|| object(&self.claims))
    }

    /// The token.
    pub(crate) fn token(&self) -> Vec<u8> {
        let (header, payload) = (base64url(self.header_text()), base64url(self.payload_text()));
        let signed = match self.before_signing {
            Some(edit) => edit(&header, &payload),
            None => format!("{header}.{payload}"),
        };
        let tag = base64url(hmac(self.hash, self.secret.as_bytes(), signed.as_bytes()));
        let token = format!("{signed}.{tag}");
        let mut token =
            self.after_signing.map_or_else(|| token.clone(), |edit| edit(token.clone())).into_bytes();
        if let Some((share, bit)) = self.flip {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a share between 0 and 1 of a token's length"
            )]
            let position = (share * token.len() as f64) as usize;
            if let Some(byte) = token.get_mut(position) {
                *byte ^= 1 << (bit & 7);
            }
        }
        token
    }

    /// The request.
    pub(crate) fn request(&self) -> Request {
        let token = self.token();
        let around = |text: &str| -> Vec<u8> {
            let mut parts = text.split('*');
            let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
            for part in parts {
                bytes.extend_from_slice(&token);
                bytes.extend_from_slice(part.as_bytes());
            }
            bytes
        };
        let mut target = self.path.clone().into_bytes();
        if let Place::Query(query) = &self.place {
            target.push(if self.path.contains('?') { b'&' } else { b'?' });
            target.extend(around(query));
        }
        let mut request = Request::new(self.method, target);
        match &self.place {
            Place::Header(name, before, behind) => {
                request = request.header(name, [before.as_bytes(), &token, behind.as_bytes()].concat());
            }
            Place::Cookie(cookie) => request = request.header("cookie", around(cookie)),
            Place::Query(_) | Place::Nowhere => {}
        }
        self.more.iter().fold(request, |request, (name, value)| request.header(name, value))
    }
}

fn set(members: &mut Members, name: &str, json: String) {
    match members.iter_mut().find(|(known, _)| known == name) {
        Some((_, value)) => *value = json,
        None => members.push((name.to_owned(), json)),
    }
}

fn object(members: &Members) -> Vec<u8> {
    let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(",")).into_bytes()
}
