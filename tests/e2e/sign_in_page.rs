//! The sign-in page where gate and companion disagree: it is shown again to somebody who has just signed in.

use jwt_gate_tests::{Answer, Companion, Listener, Request, Spec, Upstream, cluster, forge};
use serde_json::{Value, json};

/// What the gate is told, and why it refuses the companion's tokens.
fn misconfigurations() -> [(&'static str, Value); 4] {
    let app = |more: Value| {
        let own = json!({
            "issuer": "jwt-gate",
            "secrets": [{"env": "BETTER_AUTH_SECRET"}],
            "from_cookies": ["jwt-gate"],
            "claim_to_headers": [{"header_name": "x-user-id", "claim_name": "sub", "required": true}],
        });
        crate::with(own, more)
    };
    [
        ("another cookie name", app(json!({"from_cookies": ["sess"]}))),
        ("another issuer", app(json!({"issuer": "https://auth.example.com"}))),
        ("an audience", app(json!({"audiences": ["api"]}))),
        ("nothing", app(json!({}))),
    ]
}

fn gate(provider: &Value) -> Value {
    json!({
        "providers": {"app": provider},
        "rules": [
            {"match": {"path_separated_prefix": "/api/auth"}},
            {"match": {"path": "/sign-in"}},
            {"match": {"path": "/sign-out"}},
            {"match": {"prefix": "/"}, "requires": {"provider_name": "app"}},
        ],
        "sign_in_redirect": {"url": "/sign-in", "return_param": "next"},
    })
}

#[test]
fn a_gate_that_does_not_take_the_companions_token_is_named_on_the_sign_in_page() {
    let companion = Companion::start(forge::SECRET);
    let routes = json!([
        {"match": {"path_separated_prefix": "/api/auth"}, "route": {"cluster": "companion"}},
        {"match": {"prefix": "/sign-"}, "route": {"cluster": "companion"}},
        {"match": {"prefix": "/"}, "route": {"cluster": cluster(Upstream::Http1)}},
    ]);
    let mut spec = Spec::new().cluster("companion", companion.public_port());
    for (name, provider) in misconfigurations() {
        spec = spec.listener(Listener::gated(name, gate(&provider)).routes(routes.clone()));
    }
    let envoy = spec.start();
    let envoy = envoy.shown_on_failure();
    for (number, (name, _)) in misconfigurations().into_iter().enumerate() {
        let browser = Browser { port: envoy.port(name) };
        let refused = browser.get("/reports?year=2026", "");
        // One that is not redirected (`issuer`, `audience`) is told so by the gate; a person then opens the page by hand.
        let page = refused.header("location").unwrap_or_else(|| "/sign-in?next=/reports".to_owned());
        assert!(browser.get(&page, "").text().contains("<h1>Sign in</h1>"), "{name}");

        let account = json!({"email": format!("ada{number}@example.com"), "password": "correct horse battery", "name": "Ada"});
        let signed_up = browser.post("/api/auth/signup", "application/json", &account.to_string());
        assert_eq!(signed_up.status, 201, "{name}: {signed_up:?}");
        let form = format!(
            "email=ada{number}%40example.com&password=correct+horse+battery&next=%2Freports%3Fyear%3D2026"
        );
        let signed_in = browser.post("/sign-in", "application/x-www-form-urlencoded", &form);
        let cookie = signed_in.header("set-cookie").expect("a cookie");
        let cookie = cookie.split(';').next().expect("a pair");
        assert_eq!(signed_in.header("location").as_deref(), Some("/reports?year=2026"), "{name}");

        let wanted = browser.get("/reports?year=2026", cookie);
        if name == "nothing" {
            assert_eq!(wanted.status, 200, "{wanted:?}");
            let page = browser.get("/sign-in", cookie).text();
            assert!(page.contains("You are signed in as <strong>Ada</strong>"), "{page}");
            assert!(!page.contains("did not accept it"), "{page}");
            continue;
        }
        if name != "another cookie name" {
            // Signing in again cannot help, so the gate redirects nowhere (docs/configuration.md).
            assert_eq!(wanted.status, 401, "{name}: {wanted:?}");
        }
        let page =
            wanted.header("location").unwrap_or_else(|| "/sign-in?next=/reports%3Fyear=2026".to_owned());
        let page = browser.get(&page, cookie).text();
        assert!(page.contains("but the page you came from did not accept it"), "{name}: {page}");
        assert!(page.contains(r#"<a href="/reports?year=2026">"#), "{name}: {page}");
        let signature = cookie.rsplit('.').next().expect("a signature");
        assert!(!page.contains(signature), "{name}: the page holds the token");
    }
}

/// A browser that navigates.
struct Browser {
    port: u16,
}

impl Browser {
    fn get(&self, path: &str, cookie: &str) -> Answer {
        let request = Request::get(path).header("accept", "text/html");
        let request = if cookie.is_empty() { request } else { request.header("cookie", cookie) };
        request.send(self.port)
    }

    fn post(&self, path: &str, kind: &str, body: &str) -> Answer {
        let request = Request::new("POST", path).header("content-type", kind);
        request.header("origin", "http://app.test").body(body).send(self.port)
    }
}
