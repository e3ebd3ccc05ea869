//! What stands behind a mesh's Envoy in these tests: a real companion and the FastAPI backend.

use jwt_gate_tests::{Companion, Listener, Spec, forge};
use serde_json::{Value, json};

use crate::web::Server;

/// The port of each Service, as the resources name it, with what listens there.
pub(crate) struct Site {
    pub(crate) companion: Companion,
    pub(crate) backend: Server,
}

impl Site {
    pub(crate) fn start() -> Result<Self, &'static str> {
        // People come to a mesh by https, where the session cookie has the prefix that the shipped configurations name.
        let environment =
            [("BETTER_AUTH_SECRET", forge::SECRET), ("JWT_GATE_PUBLIC_URL", "https://notes.example.com")];
        Ok(Self { backend: Server::fastapi()?, companion: Companion::start_with(&environment) })
    }

    /// What listens on `port` of the Service `service` (its name, or its name in the cluster).
    pub(crate) fn port(&self, service: &str, port: &Value) -> u16 {
        match (service.split('.').next(), port.as_u64()) {
            (Some("companion"), Some(3000)) => self.companion.public_port(),
            (Some("companion"), Some(3001)) => self.companion.private_port(),
            (Some("backend"), Some(8000)) => self.backend.port,
            _ => panic!("there is no Service {service} with port {port}"),
        }
    }
}

/// An Envoy with the gate as `filter` delivers it, whose routes and clusters are the mesh's, and whose environment is its
/// container's.
pub(crate) fn envoy(
    filter: Value,
    routes: Vec<Value>,
    clusters: &[(String, u16)],
    environment: &[(String, String)],
) -> Spec {
    let listener = Listener::new("mesh").before(filter).normalised().routes(json!(routes));
    let mut spec = Spec::new().listener(listener).concurrency(2);
    for (name, port) in clusters {
        spec = spec.cluster(name, *port);
    }
    for (name, value) in environment {
        spec = spec.environment(name, value);
    }
    spec
}
