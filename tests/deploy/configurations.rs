//! The gate's configurations in README, docs and `envoy/`, each in a real Envoy with a real companion: what their pages
//! promise.

use jwt_gate_tests::{Answer, Companion, Envoy, Listener, Request, Spec, Upstream, cluster, forge};
use serde_json::{Value, json};

use crate::shipped::{Shipped, shipped};
use crate::walk::wait_until;

/// The configuration in an Envoy.
struct Site {
    envoy: Envoy,
    companion: Companion,
}

impl Shipped {
    fn start(&self) -> Site {
        // The companion's cookie has the name that the gate reads.
        let public_url = if self.is_https() { "https://app.test" } else { "http://app.test" };
        let companion = Companion::start_with(&[
            ("BETTER_AUTH_SECRET", forge::SECRET),
            ("JWT_GATE_PUBLIC_URL", public_url),
        ]);
        let to_companion = |path: &str| json!({"match": {"path": path}, "route": {"cluster": "auth"}});
        let routes = json!([
            {"match": {"prefix": "/api/auth/"}, "route": {"cluster": "auth"}},
            to_companion("/sign-in"),
            to_companion("/sign-up"),
            to_companion("/sign-out"),
            {"match": {"prefix": "/"}, "route": {"cluster": cluster(Upstream::Http1)}},
        ]);
        let listener = Listener::gated("site", self.gate.clone()).form(self.form).normalised().routes(routes);
        // The list of revocations comes from the cluster that the file names, as a mesh's.
        let feed = self.gate["revocation"]["cluster"].as_str().unwrap_or("no_feed");
        let envoy = Spec::new()
            .cluster("auth", companion.public_port())
            .cluster(feed, companion.private_port())
            .listener(listener)
            .try_start()
            .unwrap_or_else(|refused| panic!("{} is refused:\n{refused}", self.place));
        Site { envoy, companion }
    }

    /// The header and its value by which the first provider is given a token with these claims.
    fn credentials(&self, more: Value) -> (String, String) {
        let (name, provider) = self.provider();
        let mut claims = forge::claims("ada", more);
        claims["user"] = json!({"id": "ada", "email": "ada@example.com"});
        claims["aud"] = provider["audiences"][0].clone();
        if claims["aud"].is_null() {
            claims["aud"] = json!("anything");
        }
        for (claim, accepted) in provider["required_claims"].as_object().into_iter().flatten() {
            claims[claim] = accepted[0].clone();
        }
        if let Some(prefix) = provider["subjects"]["prefix"].as_str() {
            claims["sub"] = json!(format!("{prefix}ada"));
        }
        let token = forge::token_of(forge::SECRET, &claims);
        let cookie = provider["from_cookies"].as_array().and_then(|names| names.last());
        match cookie.and_then(Value::as_str) {
            Some(cookie) => ("cookie".to_owned(), format!("{cookie}={token}")),
            None if name.is_empty() => panic!("{} has no provider", self.place),
            None => ("authorization".to_owned(), format!("Bearer {token}")),
        }
    }

    fn provider(&self) -> (&str, &Value) {
        let providers = self.gate["providers"].as_object().expect("an object");
        providers.iter().next().map(|(name, provider)| (name.as_str(), provider)).expect("a provider")
    }

    /// Whether a rule asks for a role on `/admin`.
    fn has_admins(&self) -> bool {
        let rules = self.gate["rules"].as_array();
        rules.into_iter().flatten().any(|rule| rule["match"].to_string().contains("/admin"))
    }

    /// Whether it reads the cookie of a site by https.
    fn is_https(&self) -> bool {
        self.provider().1["from_cookies"].to_string().contains("__Host-")
    }

    fn is_for_the_companion(&self) -> bool {
        !self.place.contains("better-auth")
    }
}

impl Site {
    fn get(&self, path: &str, header: Option<&(String, String)>) -> Answer {
        // docs/configuration.md shows a rule that asks for this header.
        let mut request = Request::get(path).header("x-beta", "1");
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        request.send(self.envoy.port("site"))
    }

    fn post(&self, path: &str, body: &Value, token: Option<&str>) -> Answer {
        let mut request =
            Request::new("POST", path).header("content-type", "application/json").body(body.to_string());
        if let Some(token) = token {
            request = request.bearer(token);
        }
        request.send(self.envoy.port("site"))
    }
}

#[test]
fn every_configuration_that_is_shown_can_be_used_and_refuses_those_without_a_token() {
    let shipped = shipped();
    let places: Vec<&str> = shipped.iter().map(|shipped| shipped.place.as_str()).collect();
    for place in ["README.md", "docs/", "envoy/envoy.yaml", "envoy/istio/", "envoy/gateway/"] {
        assert!(places.iter().any(|known| known.starts_with(place)), "{place}: {places:?}");
    }
    for shipped in &shipped {
        let place = &shipped.place;
        let site = shipped.start();
        // What everybody may read is a list of paths; this one is on none.
        for path in ["/api/orders", "/private"] {
            let answer = site.get(path, None);
            assert!([401, 403].contains(&answer.status), "{place}: {path} without a token: {answer:?}");
        }
        let credentials = shipped.credentials(json!({}));
        let signature = credentials.1.rsplit('.').next().expect("a signature").as_bytes();
        let passes = site.get("/api/orders", Some(&credentials));
        assert_eq!(passes.status, 200, "{place}: with a token: {passes:?}");
        let reached = passes.reached();
        assert!(!reached.all("x-user-id").is_empty(), "{place}: no x-user-id");
        assert!(!reached.holds(signature), "{place}: the token reaches the backend");
        let spoofed = ("x-user-id".to_owned(), "root".to_owned());
        for path in ["/", "/healthz", "/api/auth/ok"] {
            let answer = site.get(path, Some(&spoofed));
            let arrived = answer.seen().map(|seen| seen.all("x-user-id")).unwrap_or_default();
            assert!(arrived.is_empty(), "{place}: {path} lets x-user-id in");
        }
    }
}

/// Paths that a rule matches, one of each kind.
fn paths_of(rule: &Value) -> Vec<String> {
    let text = |kind: &str| rule["match"][kind].as_str().map(str::to_owned);
    match (text("path"), text("prefix"), text("path_separated_prefix")) {
        (Some(path), ..) => vec![path],
        (_, Some(prefix), _) => vec![format!("{prefix}x")],
        (.., Some(prefix)) => vec![format!("{prefix}/x"), prefix],
        _ => Vec::new(),
    }
}

#[test]
fn what_a_shown_rule_makes_public_is_open_without_a_token() {
    let mut tried = 0;
    for shipped in shipped() {
        let rules = shipped.gate["rules"].as_array().cloned().unwrap_or_default();
        let public = rules.iter().filter(|rule| rule["requires"].is_null());
        let paths: Vec<String> = public.flat_map(paths_of).collect();
        let site = shipped.start();
        for path in paths {
            let answer = site.get(&path, None);
            let open = ![401, 403, 503].contains(&answer.status);
            assert!(open, "{}: {path} is public, and answered {answer:?}", shipped.place);
            tried += 1;
        }
    }
    assert!(tried >= 20, "{tried}");
}

#[test]
fn an_admin_rule_that_is_shown_covers_each_spelling_of_its_path() {
    let with_admins: Vec<Shipped> = shipped().into_iter().filter(Shipped::has_admins).collect();
    assert!(with_admins.iter().any(|shipped| shipped.place.starts_with("README.md")));
    for shipped in with_admins {
        let site = shipped.start();
        let plain = shipped.credentials(json!({}));
        let admin = shipped.credentials(json!({"role": "admin"}));
        // To a backend that tells small letters from capitals, `/Admin` is another path, which nothing is served at.
        let any_case = shipped.gate["paths"]["ignore_case"] == true || shipped.gate["default"] == "deny";
        let in_capitals = ["/Admin", "/ADMIN/", "/Admin/users"].into_iter().filter(|_| any_case);
        for path in ["/admin", "/admin/", "/admin/users"].into_iter().chain(in_capitals) {
            let place = format!("{}: {path}", shipped.place);
            let answer = site.get(path, None);
            assert!([401, 403].contains(&answer.status), "{place} without a token: {answer:?}");
            let answer = site.get(path, Some(&plain));
            assert_eq!(answer.status, 403, "{place} by somebody who is no admin: {answer:?}");
        }
        for path in ["/admin", "/admin/", "/admin/users"] {
            let answer = site.get(path, Some(&admin));
            assert_eq!(answer.status, 200, "{}: {path} by an admin: {answer:?}", shipped.place);
        }
    }
}

#[test]
fn a_sign_in_page_that_browsers_are_sent_to_is_open_to_everybody() {
    for shipped in shipped() {
        let Some(page) = shipped.gate["sign_in_redirect"]["url"].as_str() else { continue };
        let place = &shipped.place;
        let site = shipped.start();
        let html = ("accept".to_owned(), "text/html".to_owned());
        let sent = site.get("/api/orders", Some(&html));
        let location = format!("{page}?next=/api/orders");
        assert_eq!((sent.status, sent.header("location")), (302, Some(location)), "{place}: {sent:?}");
        for page in [page, "/sign-up", "/sign-out"] {
            let answer = site.get(page, Some(&html));
            assert_eq!(answer.status, 200, "{place}: {page}: {answer:?}");
            assert!(answer.text().contains("<h1>Sign "), "{place}: {page} is another page: {answer:?}");
        }
    }
}

#[test]
fn with_every_configuration_for_the_companion_a_sign_out_takes_the_token_back() {
    let mut tried = 0;
    for shipped in shipped().into_iter().filter(Shipped::is_for_the_companion) {
        let place = &shipped.place;
        assert!(
            shipped.gate["revocation"].is_object(),
            "{place} has no `revocation`: a sign-out does nothing"
        );
        // Of these, the companion's own tokens have neither unless it is told to.
        let (_, provider) = shipped.provider();
        if provider["audiences"].is_array() || provider["subjects"].is_object() {
            continue;
        }
        let site = shipped.start();
        let account = json!({"email": "ada@example.com", "password": "correct horse battery", "name": "Ada"});
        let signed_up = site.post("/api/auth/signup", &account, None);
        assert_eq!(signed_up.status, 201, "{place}: {signed_up:?}");
        let token = signed_up.json()["token"].as_str().expect("a token").to_owned();
        let bearer = ("authorization".to_owned(), format!("Bearer {token}"));
        // A browser has the cookie that the companion set, and nothing else.
        let cookie = signed_up.header("set-cookie").expect("a cookie");
        let pair = cookie.split(';').next().expect("a pair").to_owned();
        let by_cookie = site.get("/api/orders", Some(&("cookie".to_owned(), pair.clone())));
        if provider["from_cookies"].is_array() {
            assert_eq!(by_cookie.status, 200, "{place}: {pair}");
        }
        assert_eq!(site.get("/api/orders", Some(&bearer)).status, 200, "{place}");
        assert_eq!(site.post("/api/auth/signout", &json!({}), Some(&token)).status, 204, "{place}");
        wait_until(&format!("{place}: the gate knows of the sign-out"), || {
            site.get("/api/orders", Some(&bearer)).status == 401
        });
        tried += 1;
    }
    assert!(tried >= 3);
}

/// The README from end to end: who may see `/admin` is said with one command, and taken back with one.
#[test]
fn readmes_admin_rule_admits_whom_users_set_made_an_admin_and_nobody_else() {
    let shipped = shipped();
    let readme =
        shipped.iter().find(|shipped| shipped.place.starts_with("README.md") && shipped.has_admins());
    let site = readme.expect("README has a rule for /admin").start();
    let account = json!({"email": "ada@example.com", "password": "correct horse battery", "name": "Ada"});
    let bearer = |answer: &Answer| {
        let token = answer.json()["token"].as_str().expect("a token").to_owned();
        ("authorization".to_owned(), format!("Bearer {token}"))
    };
    let set = |claims: &str| {
        let set = site.companion.command(&["users", "set", "ada@example.com", "--claims", claims]).output();
        let set = set.expect("jwt-gate-auth runs");
        assert!(set.status.success(), "{set:?}");
    };
    let somebody = bearer(&site.post("/api/auth/signup", &account, None));
    assert_eq!(site.get("/admin", Some(&somebody)).status, 403, "an account is no admin by itself");
    assert_eq!(site.get("/api/orders", Some(&somebody)).status, 200);

    set(r#"{"role":"admin"}"#);
    wait_until("the old token has ended", || site.get("/api/orders", Some(&somebody)).status == 401);
    let admin = bearer(&site.post("/api/auth/signin", &account, None));
    for path in ["/admin", "/admin/users", "/api/orders"] {
        assert_eq!(site.get(path, Some(&admin)).status, 200, "{path}");
    }

    set("{}");
    wait_until("the admin's token has ended", || site.get("/admin", Some(&admin)).status == 401);
    let anew = bearer(&site.post("/api/auth/signin", &account, None));
    assert_eq!(site.get("/admin", Some(&anew)).status, 403);
}
