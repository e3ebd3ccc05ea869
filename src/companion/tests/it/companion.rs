//! A companion process with a store of its own, ended with the test.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const SECRET: &str = "a secret for tests, 32 bytes or more";
pub(crate) const PASSWORD: &str = "correct horse battery";

/// A running companion.
pub(crate) struct Companion {
    process: Child,
    pub(crate) public: String,
    pub(crate) private: String,
    pub(crate) kid: String,
    log: Arc<Mutex<String>>,
    _directory: Option<TempDir>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// The program that is tested, without anything of this process's environment that concerns it.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jwt-gate-auth"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("JWT_GATE_") || name.starts_with("BETTER_AUTH_") || name == "DATABASE_URL" {
            command.env_remove(name);
        }
    }
    command.env("BETTER_AUTH_SECRET", SECRET).stdin(Stdio::null());
    command
}

impl Companion {
    /// With a new SQLite file, the cheapest bcrypt and `flags`.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let url = sqlite_url(directory.path());
        let mut companion = Self::start_with(&url, flags, &[]);
        companion._directory = Some(directory);
        companion
    }

    /// On the store at `url`.
    pub(crate) fn start_with(url: &str, flags: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = program();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--private-listen", "127.0.0.1:0"])
            .args(flags)
            .env("DATABASE_URL", url)
            .env("JWT_GATE_BCRYPT_COST", "4")
            .envs(environment.iter().copied());
        Self::start_as(&mut command)
    }

    /// By this command.
    pub(crate) fn start_as(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = collect(process.stderr.take().unwrap());
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("it did not start: {line:?} {}", log.lock().unwrap()));
        let text = |name: &str| ready[name].as_str().unwrap().to_owned();
        Self {
            process,
            public: format!("http://{}", text("public")),
            private: format!("http://{}", text("private")),
            kid: text("kid"),
            log,
            _directory: None,
        }
    }

    /// Everything logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Ends it as the kernel would on a power cut: it gets no say.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Asks it to end.
    pub(crate) fn send_sigterm(&self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Waits for its end, and says whether it ended well.
    pub(crate) fn wait(&mut self) -> bool {
        self.process.wait().unwrap().success()
    }

    /// Asks it to end, and says whether it ended well.
    pub(crate) fn terminate(&mut self) -> bool {
        self.send_sigterm();
        self.wait()
    }

    pub(crate) fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        call("GET", &format!("{}{path}", self.public), headers, None)
    }

    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.post_text(path, &[&[("content-type", "application/json")], headers].concat(), &body.to_string())
    }

    pub(crate) fn post_text(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        call("POST", &format!("{}{path}", self.public), headers, Some(body.as_bytes()))
    }

    pub(crate) fn sign_up(&self, email: &str) -> Value {
        let body = json!({"email": email, "password": PASSWORD, "name": "Ada"});
        let answer = self.post("/api/auth/signup", &[("x-forwarded-for", &address_of(email))], &body);
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()
    }

    pub(crate) fn sign_in(&self, email: &str, password: &str) -> Answer {
        let body = json!({"email": email, "password": password});
        self.post("/api/auth/signin", &[("x-forwarded-for", &address_of(email))], &body)
    }
}

impl Drop for Companion {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The session cookie that was set, as a `Cookie` header.
    pub(crate) fn cookie(&self) -> String {
        let cookie = self.header("set-cookie").expect("a cookie");
        cookie.split(';').next().unwrap().to_owned()
    }
}

/// Each person has an address of their own, as the proxy would name it.
pub(crate) fn address_of(email: &str) -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    email.hash(&mut hasher);
    let [_, two, three, four, ..] = hasher.finish().to_be_bytes();
    format!("10.{two}.{three}.{four}")
}

/// One call on a connection of its own.
pub(crate) fn call(method: &str, url: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Answer {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_global(Some(std::time::Duration::from_secs(60)))
        .build()
        .into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = match body {
        Some(body) => agent.run(request.body(body).unwrap()),
        None => agent.run(request.body(()).unwrap()),
    };
    let mut response = response.unwrap();
    let headers = response.headers().iter();
    Answer {
        status: response.status().as_u16(),
        headers: headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect(),
        body: response.body_mut().read_to_string().unwrap(),
    }
}

pub(crate) fn sqlite_url(directory: &Path) -> String {
    format!("sqlite:{}", directory.join("store.db").display())
}

fn collect(mut stream: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let collected = Arc::new(Mutex::new(String::new()));
    let log = Arc::clone(&collected);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            log.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    });
    collected
}
