//! The gate's configurations in README, docs and `envoy/`, each in a real Envoy with a real companion: what their pages
//! promise.

use std::fs;
use std::path::{Path, PathBuf};

use jwt_gate_tests::{Answer, Companion, Envoy, Listener, Request, Spec, forge};
use serde_json::{Value, json};

use crate::repository;
use crate::walk::wait_until;

/// Pages and files with less would be a sign that this test no longer finds them.
const AT_LEAST: usize = 6;

/// A gate's configuration that somebody may copy.
struct Shipped {
    /// Where it is: file and line.
    place: String,
    gate: Value,
}

/// The configuration in an Envoy.
struct Site {
    envoy: Envoy,
    _companion: Companion,
}

fn shipped() -> Vec<Shipped> {
    let root = repository();
    let mut found = Vec::new();
    let mut files = vec![root.join("README.md")];
    for folder in ["docs", "docs/deploy", "envoy"] {
        files.extend(files_of(&root.join(folder)));
    }
    for file in files {
        let text = fs::read_to_string(&file).expect("a text");
        let name = file.strip_prefix(&root).expect("in the repository").display().to_string();
        let blocks = if name.ends_with(".md") { yaml_blocks(&text) } else { vec![(1, text)] };
        for (line, block) in blocks {
            let document: Value = serde_saphyr::from_str(&block)
                .unwrap_or_else(|error| panic!("{name}:{line} is not YAML: {error}"));
            let mut gates = Vec::new();
            gates_in(&document, &mut gates);
            found.extend(gates.into_iter().map(|gate| Shipped { place: format!("{name}:{line}"), gate }));
        }
    }
    found
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|kind| kind == "md" || kind == "yaml")).collect();
    files.sort();
    files
}

/// The fenced blocks of YAML with the numbers of their first lines.
fn yaml_blocks(page: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in (1..).zip(page.lines()) {
        match &mut open {
            Some(_) if line.starts_with("```") => blocks.extend(open.take()),
            Some((_, block)) => {
                block.push_str(line);
                block.push('\n');
            }
            None if line == "```yaml" => open = Some((number + 1, String::new())),
            None => {}
        }
    }
    blocks
}

/// Every object that has `providers`, which is what makes a gate's configuration.
fn gates_in(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Object(fields) if fields.get("providers").is_some_and(Value::is_object) => {
            found.push(value.clone())
        }
        Value::Object(fields) => fields.values().for_each(|inner| gates_in(inner, found)),
        Value::Array(items) => items.iter().for_each(|inner| gates_in(inner, found)),
        _ => {}
    }
}

impl Shipped {
    fn start(&self) -> Site {
        let companion = Companion::start(forge::SECRET);
        let to_companion = |path: &str| json!({"match": {"path": path}, "route": {"cluster": "companion"}});
        let routes = json!([
            {"match": {"prefix": "/api/auth/"}, "route": {"cluster": "companion"}},
            to_companion("/sign-in"),
            to_companion("/sign-up"),
            to_companion("/sign-out"),
            {"match": {"prefix": "/"}, "route": {"cluster": jwt_gate_tests::cluster(jwt_gate_tests::Upstream::Http1)}},
        ]);
        let listener = Listener::gated("site", self.gate.clone()).normalised().routes(routes);
        let envoy = Spec::new()
            .cluster("companion", companion.public_port())
            .cluster("companion_private", companion.private_port())
            .listener(listener)
            .try_start()
            .unwrap_or_else(|refused| panic!("{} is refused:\n{refused}", self.place));
        Site { envoy, _companion: companion }
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
    assert!(shipped.len() >= AT_LEAST, "{places:?}");
    assert!(places.iter().any(|place| place.starts_with("README.md")), "{places:?}");
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
        assert_eq!(site.get("/api/orders", Some(&bearer)).status, 200, "{place}");
        assert_eq!(site.post("/api/auth/signout", &json!({}), Some(&token)).status, 204, "{place}");
        wait_until(&format!("{place}: the gate knows of the sign-out"), || {
            site.get("/api/orders", Some(&bearer)).status == 401
        });
        tried += 1;
    }
    assert!(tried >= 3);
}
