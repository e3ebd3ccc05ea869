//! What is shipped for the places where people run Envoy, tried: docker compose in a real engine, the filter's image
//! fetched as Istio and Envoy Gateway fetch it, their resources delivered to a real Envoy as they deliver them.

mod bases;
mod compose;
mod configurations;
mod engine;
mod envoy_gateway;
mod filter_image;
mod istio;
mod kubernetes;
mod observability;
mod resources;
mod schemas;
mod shipped;
mod site;
mod walk;
// The companion's own tests start a PostgreSQL of their own; the same one serves here.
#[path = "../../src/companion/tests/it/postgres.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod postgres;
#[path = "../../src/companion/tests/it/setup.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod setup;
// Another test's FastAPI backend.
#[path = "../web/site.rs"]
#[allow(dead_code, reason = "not all of it is needed here")]
mod web;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use engine::Engine;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository").to_owned()
}

/// The variable that asks for the tests that build and run the images.
const ASKED: &str = "JWT_GATE_DOCKER";

/// An engine with every image of docker-compose.yml and the filter's, built by the shipped files.
struct Built {
    engine: Engine,
}

impl Built {
    /// The one of this test binary, or why there is none here.
    ///
    /// That an image does not build is a failure of each test that needs it, and is tried once.
    fn shared() -> Result<&'static Self, &'static str> {
        static SHARED: OnceLock<Result<Result<Built, String>, String>> = OnceLock::new();
        match SHARED.get_or_init(Self::make) {
            Ok(Ok(built)) => Ok(built),
            Ok(Err(failure)) => panic!("an image does not build:\n{failure}"),
            Err(reason) => Err(reason),
        }
    }

    fn make() -> Result<Result<Self, String>, String> {
        // Half an hour on a small machine: what compiles the whole of Rust's part inside an engine is asked for.
        if std::env::var_os(ASKED).is_none() {
            return Err(format!("images take long to build; set {ASKED}=1"));
        }
        let engine = Engine::start()?;
        bases::provide(&engine)?;
        let built = Self { engine };
        check_out(&built.folder());
        let filter = ["build", "--target", "filter", "--tag", filter_image::NAME, "."];
        let mut filter = built.engine.docker(&filter);
        for build in [filter.current_dir(built.folder()), &mut built.compose(&["build"])] {
            let output = build.output().expect("docker starts");
            if !output.status.success() {
                return Ok(Err(end_of(&[output.stdout, output.stderr].concat())));
            }
        }
        Ok(Ok(built))
    }

    /// A copy of what a clean checkout has for the build.
    fn folder(&self) -> PathBuf {
        self.engine.folder().join("jwt-gate")
    }

    fn compose(&self, arguments: &[&str]) -> Command {
        self.engine.compose(&self.folder(), arguments)
    }
}

fn check_out(folder: &Path) {
    let root = repository();
    let ignored = std::fs::read_to_string(root.join(".dockerignore")).expect(".dockerignore is there");
    let sent = ignored.lines().filter_map(|line| line.strip_prefix('!'));
    for path in sent.chain(["Dockerfile", "docker-compose.yml", ".dockerignore"]) {
        let to = folder.join(path);
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("the folder is made");
        let copied = Command::new("cp").arg("-a").arg(root.join(path)).arg(&to).status();
        assert!(copied.is_ok_and(|status| status.success()), "{path}");
    }
}

fn end_of(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}
