//! What the tests of this program share.

use std::thread;
use std::time::Duration;

use jwt_gate_tests::http1::Connection;
use jwt_gate_tests::{Answer, Companion, Discovered, Envoy, Listener, Published, Request, Spec};
use serde_json::{Value, json};

/// How often something that must come to pass is looked for, and how long apart.
const TRIES: u32 = 600;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// Waits until `done` says something.
pub(crate) fn wait_for<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    for _ in 0..TRIES {
        if let Some(value) = done() {
            return value;
        }
        thread::sleep(BETWEEN_TRIES);
    }
    panic!("it did not come to pass: {what}");
}

/// A gate that follows the feed of the cluster `companion`, with `more` in `revocation`.
pub(crate) fn config(more: &Value) -> Value {
    let mut revocation = json!({"cluster": "companion", "interval_ms": 100});
    for (name, value) in more.as_object().into_iter().flatten() {
        revocation[name] = value.clone();
    }
    json!({
        "providers": {"app": provider(&json!([{"env": "BETTER_AUTH_SECRET"}]))},
        "rules": [{"match": {"prefix": "/open/"}}],
        "default": "require",
        "revocation": revocation,
    })
}

pub(crate) fn provider(secrets: &Value) -> Value {
    json!({
        "secrets": secrets,
        "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
        "from_cookies": ["jwt-gate"],
        "claim_to_headers": [{"header_name": "x-user-id", "claim_name": "sub", "required": true}],
    })
}

/// An Envoy with one listener, `app`, whose gate follows `companion`.
pub(crate) fn spec(companion: &Companion, more: &Value) -> Spec {
    Spec::new().cluster("companion", companion.private_port()).listener(Listener::gated("app", config(more)))
}

/// An Envoy whose gate is discovered.
pub(crate) fn discovering(discovered: &Discovered, companion: &Companion) -> Spec {
    Spec::new()
        .concurrency(2)
        .discovered()
        .cluster("companion", companion.private_port())
        .listener(Listener::new("app").before(discovered.filter()))
}

/// How many configurations Envoy has taken over, and how many it has refused.
pub(crate) fn updates(envoy: &Envoy) -> (u64, u64) {
    let counter = |name: &str| envoy.admin().counter(name);
    (counter(".config_reload"), counter(".config_fail") + counter(".update_rejected"))
}

pub(crate) fn publish(envoy: &Envoy, discovered: &mut Discovered, published: &Published) {
    let before = updates(envoy);
    discovered.publish(published);
    wait_for("Envoy takes the configuration over", || (updates(envoy).0 > before.0).then_some(()));
    assert_eq!(updates(envoy).1, before.1, "{}", envoy.log());
}

/// Somebody who signed up.
pub(crate) struct User {
    pub(crate) email: String,
    pub(crate) id: String,
    pub(crate) token: String,
}

pub(crate) const PASSWORD: &str = "correct horse battery";

/// A call of the companion's own.
pub(crate) fn post(companion: &Companion, path: &str, token: Option<&str>, body: &Value) -> Answer {
    let mut request = Request::new("POST", format!("/api/auth{path}"))
        .header("content-type", "application/json")
        .body(body.to_string());
    if let Some(token) = token {
        request = request.bearer(token);
    }
    request.send(companion.public_port())
}

impl User {
    /// Signs up under a name that nobody else in this store has.
    pub(crate) fn sign_up(companion: &Companion, name: &str) -> Self {
        let email = format!("{name}@example.com");
        let account = json!({"email": email, "password": PASSWORD, "name": name});
        let answer = post(companion, "/signup", None, &account);
        assert_eq!(answer.status, 201, "{answer:?}");
        let body = answer.json();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        Self { email, id: text(&body["user"]["id"]), token: text(&body["token"]) }
    }

    /// Signs in once more; the token of the new session.
    pub(crate) fn sign_in(&self, companion: &Companion) -> String {
        self.sign_in_with(companion, PASSWORD)
    }

    pub(crate) fn sign_in_with(&self, companion: &Companion, password: &str) -> String {
        let answer = post(companion, "/signin", None, &json!({"email": self.email, "password": password}));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["token"].as_str().expect("a token").to_owned()
    }
}

/// Connections to one listener, so many that every worker has some.
pub(crate) struct Clients {
    port: u16,
    connections: Vec<Connection>,
}

impl Clients {
    pub(crate) fn open(port: u16, count: usize) -> Self {
        let open = |_| Connection::open(port).expect("Envoy listens");
        Self { port, connections: (0..count).map(open).collect() }
    }

    /// The answer to `token` on each of them.
    pub(crate) fn answers(&mut self, token: &str) -> Vec<Answer> {
        let request = Request::get("/notes").bearer(token);
        let port = self.port;
        let ask = |connection: &mut Connection| {
            connection.exchange(&request).unwrap_or_else(|_| {
                // Envoy may close a connection between two requests.
                *connection = Connection::open(port).expect("Envoy listens");
                connection.exchange(&request).expect("an answer")
            })
        };
        self.connections.iter_mut().map(ask).collect()
    }

    /// Fails unless `token` passes everywhere.
    pub(crate) fn assert_good(&mut self, token: &str, user: &str) {
        for answer in self.answers(token) {
            assert_eq!(answer.reached().one("x-user-id").as_deref(), Some(user));
        }
    }

    /// Waits until `token` is refused everywhere as revoked.
    pub(crate) fn until_revoked(&mut self, token: &str) {
        wait_for("every worker refuses the token", || {
            self.answers(token).iter().all(|answer| answer.status == 401).then_some(())
        });
        for answer in self.answers(token) {
            answer.assert_denied(401, "revoked");
        }
    }

    /// Waits until `token` is refused everywhere, for whatever reason.
    pub(crate) fn until_refused(&mut self, token: &str) {
        wait_for("every worker refuses the token", || {
            self.answers(token).iter().all(|answer| answer.status == 401).then_some(())
        });
    }

    /// Waits until `token` passes everywhere.
    pub(crate) fn until_good(&mut self, token: &str) {
        wait_for("every worker lets the token pass", || {
            self.answers(token).iter().all(|answer| answer.status == 200).then_some(())
        });
    }
}
