//! `docker compose up`, in a real engine.

use std::fs;
use std::process::{Command, Stdio};

use jwt_gate_tests::{Request, forge, skipped};
use serde_json::{Value, json};

use crate::Built;
use crate::walk::{sign_up_to_sign_out, still_known, wait_until};

/// The port that docker-compose.yml publishes.
const PORT: u16 = 8080;
const SERVICES: [&str; 3] = ["envoy", "companion", "backend"];

#[test]
fn docker_compose_up_serves_sign_up_to_sign_out_keeps_users_and_has_no_secret_in_its_images() {
    const NAME: &str =
        "docker_compose_up_serves_sign_up_to_sign_out_keeps_users_and_has_no_secret_in_its_images";
    let built = match Built::shared() {
        Ok(built) => built,
        Err(reason) => return skipped(NAME, reason),
    };
    up(built);
    every_service_is_healthy(built);
    every_service_is_hardened(built);
    only_envoy_reaches_the_backend(built);
    let ada = built.engine.inside(|| sign_up_to_sign_out(PORT));

    // Stopped, removed and started again: the volumes keep the users and the secret.
    done(built, &["down"]);
    up(built);
    built.engine.inside(|| still_known(PORT, &ada));
    let secret = made_secret(built);
    assert!(secret.len() >= 43, "256 bits, or more");
    in_no_image(built, &secret);

    // The person's own secret, from `.env`, which is there while the images are built.
    fs::write(built.folder().join(".env"), format!("BETTER_AUTH_SECRET={}\n", forge::SECRET)).expect(".env");
    done(built, &["up", "--detach", "--build"]);
    wait_until("Envoy has the secret of .env", || built.engine.inside(|| opened_by(forge::SECRET)));
    in_no_image(built, forge::SECRET);
    assert!(!logs(built).contains(forge::SECRET) && !logs(built).contains(&secret), "a log holds the secret");
    done(built, &["down", "--volumes"]);
}

fn up(built: &Built) {
    done(built, &["up", "--detach"]);
    wait_until("every service is healthy", || {
        SERVICES.iter().all(|service| health(built, service) == "healthy")
    });
}

fn done(built: &Built, arguments: &[&str]) {
    let output = built.compose(arguments).output().expect("compose starts");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "compose {arguments:?}\n{}\n{}", crate::end_of(&said), logs(built));
}

fn logs(built: &Built) -> String {
    let output = built.compose(&["logs", "--no-color"]).output().expect("compose starts");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// How often a service's health is looked at until it is good.
const HEALTH_TRIES: u32 = 60;

/// The time between two looks.
const HEALTH_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

fn container(built: &Built, service: &str) -> String {
    let output = built.compose(&["ps", "--quiet", service]).output().expect("compose starts");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn inspected(built: &Built, service: &str) -> Value {
    let id = container(built, service);
    let all: Value = serde_json::from_str(&built.engine.said(&["inspect", &id])).expect("JSON");
    all[0].clone()
}

fn health(built: &Built, service: &str) -> String {
    inspected(built, service)["State"]["Health"]["Status"].as_str().unwrap_or_default().to_owned()
}

fn every_service_is_healthy(built: &Built) {
    for service in SERVICES {
        // A check that took too long on a busy machine is followed by one that did not.
        let mut state = Value::Null;
        for _ in 0..HEALTH_TRIES {
            state = inspected(built, service)["State"].clone();
            if state["Health"]["FailingStreak"] == 0 {
                break;
            }
            std::thread::sleep(HEALTH_INTERVAL);
        }
        assert_eq!(state["Running"], true, "{service}: {state}");
        assert_eq!(state["Health"]["FailingStreak"], 0, "{service}: {state}");
    }
    let ports = &inspected(built, "envoy")["NetworkSettings"]["Ports"];
    assert_eq!(ports.as_object().map(serde_json::Map::len), Some(1), "{ports}");
    for service in ["companion", "backend"] {
        let ports = &inspected(built, service)["HostConfig"]["PortBindings"];
        assert!(ports.as_object().is_none_or(serde_json::Map::is_empty), "{service} is published: {ports}");
    }
}

fn every_service_is_hardened(built: &Built) {
    for service in SERVICES {
        let (id, facts) = (container(built, service), inspected(built, service));
        let host = &facts["HostConfig"];
        assert_eq!(host["ReadonlyRootfs"], true, "{service}");
        assert_eq!(host["CapDrop"], json!(["ALL"]), "{service}");
        assert!(host["SecurityOpt"].to_string().contains("no-new-privileges"), "{service}: {host}");
        assert_eq!(facts["Config"]["User"], "65532:65532", "{service}");
        let inside = |script: &str| {
            let answer =
                built.engine.docker(&["exec", &id, "sh", "-c", script]).output().expect("docker starts");
            let said = [answer.stdout, answer.stderr].concat();
            (answer.status.success(), String::from_utf8_lossy(&said).trim().to_owned())
        };
        assert_eq!(inside("id -u"), (true, "65532".to_owned()), "{service}");
        let (written, said) = inside("touch /etc/here");
        assert!(!written && said.contains("Read-only file system"), "{service}: {said}");
    }
}

/// What makes its `x-user-id` believable: no route leads from the published network to the backend.
fn only_envoy_reaches_the_backend(built: &Built) {
    let backend = inspected(built, "backend");
    let networks = backend["NetworkSettings"]["Networks"].as_object().expect("networks");
    assert_eq!(networks.len(), 1, "{networks:?}");
    let (inside, facts) = networks.iter().next().expect("one");
    let address = facts["IPAddress"].as_str().expect("an address");
    let knock = format!("exec 3<>/dev/tcp/{address}/8000");
    let reached = |network: &str| {
        let run = [
            "run",
            "--rm",
            "--network",
            network,
            "debian:bookworm-slim",
            "timeout",
            "3",
            "bash",
            "-c",
            &knock,
        ];
        built.engine.docker(&run).output().expect("docker starts").status.success()
    };
    assert!(reached(inside), "the control: beside Envoy it can be reached");
    assert!(!reached(&inside.replace("inside", "edge")), "the backend can be reached past Envoy");
}

fn opened_by(secret: &str) -> bool {
    let claims = forge::claims("user_1", json!({"iss": "jwt-gate"}));
    let who = Request::get("/whoami").bearer(forge::token_of(secret, &claims)).try_send(PORT);
    who.is_ok_and(|answer| answer.status == 200 && answer.json()["id"] == "user_1")
}

/// The secret that was made at the first start.
fn made_secret(built: &Built) -> String {
    let volume = inspected(built, "envoy")["Mounts"]
        .as_array()
        .and_then(|mounts| mounts.iter().find(|mount| mount["Destination"] == "/run/jwt-gate"))
        .and_then(|mount| Some(format!("{}:/run/jwt-gate:ro", mount["Name"].as_str()?)))
        .expect("the volume of the secret");
    let read = ["run", "--rm", "--network", "none", "--volume", &volume, "debian:bookworm-slim", "cat"];
    built.engine.said(&[&read[..], &["/run/jwt-gate/secret"]].concat()).trim().to_owned()
}

/// Neither a layer nor what Docker notes about one holds `secret`.
fn in_no_image(built: &Built, secret: &str) {
    let images: Vec<_> = SERVICES.iter().map(|service| inspected(built, service)["Image"].clone()).collect();
    for image in images {
        let image = image.as_str().expect("an image");
        let history = built.engine.said(&["history", "--no-trunc", image]);
        assert!(!history.contains(secret), "{image}: the history holds the secret");
        let mut saved =
            built.engine.docker(&["save", image]).stdout(Stdio::piped()).spawn().expect("docker starts");
        let layers = saved.stdout.take().expect("its output");
        let searched =
            Command::new("grep").args(["-qaF", "-e", secret]).stdin(layers).status().expect("grep starts");
        assert_eq!(searched.code(), Some(1), "{image}: a layer holds the secret");
        assert!(saved.wait().expect("docker ends").success(), "{image} was not searched to its end");
    }
}
