//! `envoy/kubernetes`: that its parts find each other, that only the gateway reaches the backend, and that its probes are answered.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use jwt_gate_tests::{Companion, Request, forge, skipped};
use serde_json::{Value, json};
use xtask::command::{on_path, stdout};

use crate::postgres::Postgres;
use crate::repository;
use crate::resources::{documents, resource, resources};

const NAMESPACE: &str = "jwt-gate";

type Labels = BTreeMap<String, String>;

fn all() -> Vec<Value> {
    ["kubernetes/companion", "kubernetes/gateway"].into_iter().flat_map(resources).collect()
}

fn of_kind<'all>(all: &'all [Value], kind: &str) -> Vec<&'all Value> {
    all.iter().filter(|resource| resource["kind"] == kind).collect()
}

fn labels(value: &Value) -> Labels {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

/// The pods that the manifests describe: their templates.
fn pods(all: &[Value]) -> Vec<&Value> {
    let kinds = ["Deployment", "StatefulSet"];
    kinds.iter().flat_map(|kind| of_kind(all, kind)).map(|workload| &workload["spec"]["template"]).collect()
}

fn ports(pod: &Value) -> Vec<(String, u64)> {
    let containers = pod["spec"]["containers"].as_array().expect("containers");
    let ports = containers.iter().flat_map(|container| container["ports"].as_array().into_iter().flatten());
    ports
        .map(|port| {
            (
                port["name"].as_str().unwrap_or_default().to_owned(),
                port["containerPort"].as_u64().expect("a port"),
            )
        })
        .collect()
}

/// Whether a `LabelSelector` selects a pod with these labels.
fn selects(selector: &Value, labels: &Labels) -> bool {
    let equal =
        self::labels(&selector["matchLabels"]).iter().all(|(name, value)| labels.get(name) == Some(value));
    let expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    equal
        && expressions.into_iter().all(|expression| {
            assert_eq!(expression["operator"], "In", "the only operator that is used");
            let value = labels.get(expression["key"].as_str().expect("a key"));
            value
                .is_some_and(|value| expression["values"].as_array().expect("values").contains(&json!(value)))
        })
}

/// Somebody who connects.
struct Caller {
    namespace: &'static str,
    labels: Labels,
}

impl Caller {
    fn new(namespace: &'static str, labels: &[(&str, &str)]) -> Self {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { namespace, labels }
    }

    fn app(app: &str) -> Self {
        Self::new(NAMESPACE, &[("app", app)])
    }

    fn is_peer(&self, peer: &Value) -> bool {
        let pods = selects(&peer["podSelector"], &self.labels);
        match peer.get("namespaceSelector") {
            None => self.namespace == NAMESPACE && pods,
            Some(selector) => {
                let name = ("kubernetes.io/metadata.name".to_owned(), self.namespace.to_owned());
                selects(selector, &Labels::from([name])) && pods
            }
        }
    }
}

/// Whether NetworkPolicies let `caller` connect to `port` of the pod `app`, by the rules of `networking.k8s.io/v1`: a pod that some
/// policy selects is reached only as one of them says.
fn reaches(all: &[Value], caller: &Caller, app: &str, port: u64) -> bool {
    let target = Labels::from([("app".to_owned(), app.to_owned())]);
    let pod = *pods(all).iter().find(|pod| labels(&pod["metadata"]["labels"]) == target).expect("such a pod");
    let named = |port: &Value| match port.as_u64() {
        Some(number) => Some(number),
        None => ports(pod).into_iter().find(|(name, _)| *port == json!(name)).map(|(_, number)| number),
    };
    let policies = of_kind(all, "NetworkPolicy");
    let mut selecting =
        policies.iter().filter(|policy| selects(&policy["spec"]["podSelector"], &target)).peekable();
    if selecting.peek().is_none() {
        return true;
    }
    selecting.flat_map(|policy| policy["spec"]["ingress"].as_array().into_iter().flatten()).any(|rule| {
        let from = rule["from"].as_array().is_none_or(|peers| peers.iter().any(|peer| caller.is_peer(peer)));
        let to = rule["ports"]
            .as_array()
            .is_none_or(|ports| ports.iter().any(|entry| named(&entry["port"]) == Some(port)));
        from && to
    })
}

#[test]
fn only_the_gateway_reaches_the_backend_and_only_the_companion_the_database() {
    let mut all = all();
    all.extend(resources("gateway").into_iter().filter(|resource| resource["kind"] == "NetworkPolicy"));
    let gateway = Caller::app("gateway");
    let envoy_gateway = Caller::new(
        "envoy-gateway-system",
        &[
            ("gateway.envoyproxy.io/owning-gateway-name", "public"),
            ("gateway.envoyproxy.io/owning-gateway-namespace", NAMESPACE),
        ],
    );
    let prometheus = Caller::new("monitoring", &[("app.kubernetes.io/name", "prometheus")]);
    let others = [
        Caller::app("companion"),
        Caller::app("backend"),
        Caller::app("anything"),
        Caller::new("default", &[("app", "gateway")]),
        Caller::new("envoy-gateway-system", &[("app", "envoy-gateway")]),
    ];
    for entrance in [&gateway, &envoy_gateway] {
        assert!(reaches(&all, entrance, "backend", 8000));
        assert!(reaches(&all, entrance, "companion", 3000) && reaches(&all, entrance, "companion", 3001));
        assert!(!reaches(&all, entrance, "postgres", 5432));
    }
    assert!(reaches(&all, &prometheus, "companion", 3001) && !reaches(&all, &prometheus, "companion", 3000));
    assert!(reaches(&all, &Caller::app("companion"), "postgres", 5432));
    for other in &others {
        for (app, port) in [("backend", 8000), ("companion", 3000), ("companion", 3001)] {
            assert!(
                !reaches(&all, other, app, port),
                "{:?} of {} reaches {app}:{port}",
                other.labels,
                other.namespace
            );
        }
    }
    assert!(!reaches(&all, &prometheus, "backend", 8000));
    // The world reaches the gateway's listener and nothing else of it: not Envoy's admin port.
    let world = Caller::new("default", &[]);
    assert!(reaches(&all, &world, "gateway", 8080) && !reaches(&all, &world, "gateway", 9901));
}

#[test]
fn every_service_budget_and_secret_of_the_manifests_finds_what_it_names() {
    let all = all();
    let pods = pods(&all);
    for service in of_kind(&all, "Service") {
        let selector = json!({"matchLabels": service["spec"]["selector"]});
        let pod = pods.iter().find(|pod| selects(&selector, &labels(&pod["metadata"]["labels"])));
        let pod = pod.unwrap_or_else(|| panic!("{} selects no pod", service["metadata"]["name"]));
        for port in service["spec"]["ports"].as_array().expect("ports") {
            let target = &port["targetPort"];
            assert!(
                ports(pod).iter().any(|(name, number)| *target == json!(name) || *target == json!(number)),
                "{port}"
            );
        }
    }
    for kind in ["PodDisruptionBudget", "Deployment", "StatefulSet"] {
        for resource in of_kind(&all, kind) {
            let selector = &resource["spec"]["selector"];
            assert!(
                pods.iter().any(|pod| selects(selector, &labels(&pod["metadata"]["labels"]))),
                "{selector}"
            );
        }
    }
    for budget in of_kind(&all, "PodDisruptionBudget") {
        let workload = resource(&all, "Deployment", budget["metadata"]["name"].as_str().expect("a name"));
        assert!(
            budget["spec"]["minAvailable"].as_u64() < workload["spec"]["replicas"].as_u64(),
            "no pod could ever leave: {budget}"
        );
    }
    // envoy/envoy.yaml, which is in the gateway's image, names its neighbours as the Services are called.
    let envoy = std::fs::read_to_string(repository().join("envoy/envoy.yaml")).expect("it is there");
    for (service, port) in [("companion", 3000), ("companion", 3001), ("backend", 8000)] {
        assert!(envoy.contains(&format!("{{address: {service}, port_value: {port}}}")), "{service}:{port}");
        let ports = resource(&all, "Service", service)["spec"]["ports"].clone();
        assert!(
            ports.as_array().is_some_and(|ports| ports.iter().any(|entry| entry["port"] == port)),
            "{service}:{port}"
        );
    }
    // What docs/deploy/kubernetes.md has made by hand, and nothing else.
    let text = serde_json::to_string(&all).expect("JSON");
    let guide = std::fs::read_to_string(repository().join("docs/deploy/kubernetes.md")).expect("the guide");
    for (secret, keys) in [
        ("jwt-gate", vec!["BETTER_AUTH_SECRET", "BETTER_AUTH_SECRETS"]),
        ("jwt-gate-database", vec!["DATABASE_URL", "POSTGRES_PASSWORD"]),
    ] {
        assert!(guide.contains(&format!("create secret generic {secret} ")), "{secret}");
        for key in keys {
            assert!(
                guide.contains(&format!("{key}=")) && text.contains(&format!("\"key\":\"{key}\"")),
                "{key}"
            );
        }
    }
    assert!(of_kind(&all, "Secret").is_empty(), "no secret is in a file");
}

#[test]
fn every_container_of_the_manifests_runs_without_privileges_on_a_read_only_file_system() {
    let mut all = all();
    all.extend(resources("istio"));
    for pod in pods(&all) {
        let context = &pod["spec"]["securityContext"];
        assert_eq!(
            (&context["runAsNonRoot"], &context["seccompProfile"]["type"]),
            (&json!(true), &json!("RuntimeDefault"))
        );
        for container in pod["spec"]["containers"].as_array().expect("containers") {
            let context = &container["securityContext"];
            let expected = json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}});
            assert_eq!(*context, expected, "{}", container["name"]);
        }
    }
}

#[test]
fn every_manifest_is_in_its_kustomization() {
    for folder in ["kubernetes/companion", "kubernetes/gateway"] {
        let folder = repository().join("envoy").join(folder);
        let kustomization = documents(&folder.join("kustomization.yaml")).swap_remove(0);
        let listed: BTreeSet<String> =
            serde_json::from_value(kustomization["resources"].clone()).expect("names");
        let files = std::fs::read_dir(&folder).expect("the folder").flatten();
        let mut files: BTreeSet<_> =
            files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
        files.remove("kustomization.yaml");
        assert_eq!(listed, files);
    }
}

#[test]
fn kustomize_builds_the_manifests() {
    const NAME: &str = "kustomize_builds_the_manifests";
    // Debian's kubectl has a kustomize that knows no folders as resources.
    let Some(kubectl) = on_path("kubectl") else { return skipped(NAME, "kubectl is not installed") };
    let version = stdout(Command::new(&kubectl).args(["version", "--client"])).unwrap_or_default();
    if !version.contains("Kustomize Version: v5") {
        return skipped(NAME, "this kubectl's kustomize is older than version 5");
    }
    let build = |folder: &str| -> Vec<Value> {
        let built =
            stdout(Command::new(&kubectl).arg("kustomize").arg(repository().join("envoy").join(folder)));
        serde_saphyr::from_multiple(&built.unwrap_or_else(|error| panic!("{error:#}"))).expect("YAML")
    };
    let built = build("kubernetes");
    let expected = all().iter().filter(|resource| resource["kind"] != "Kustomization").count();
    assert_eq!(built.len(), expected);
    let image = |name: &str| {
        resource(&built, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]["image"].clone()
    };
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(image("companion"), json!(format!("ghcr.io/jwt-gate/jwt-gate-auth:{version}")));
    assert_eq!(image("gateway"), json!(format!("ghcr.io/jwt-gate/jwt-gate-envoy:{version}")));
    let alone = build("kubernetes/companion");
    assert!(
        alone.len() < built.len() && alone.iter().all(|resource| resource["spec"]["type"] != "LoadBalancer")
    );
}

#[test]
fn the_companions_probes_are_answered_on_postgresql_and_say_when_it_is_away() {
    let server = match Postgres::start() {
        Ok(server) => server,
        Err(reason) => {
            return skipped(
                "the_companions_probes_are_answered_on_postgresql_and_say_when_it_is_away",
                &reason,
            );
        }
    };
    let all = all();
    let container = &resource(&all, "Deployment", "companion")["spec"]["template"]["spec"]["containers"][0];
    let url = server.database("probes");
    let companion = Companion::start_with(&[("BETTER_AUTH_SECRET", forge::SECRET), ("DATABASE_URL", &url)]);
    let probe = |name: &str| {
        let get = &container[name]["httpGet"];
        assert_eq!(get["port"], "private", "{name}: the port that is not published");
        Request::get(get["path"].as_str().expect("a path")).send(companion.private_port()).status
    };
    for name in ["startupProbe", "livenessProbe", "readinessProbe"] {
        assert_eq!(probe(name), 200, "{name}");
    }
    server.end().expect("PostgreSQL ends");
    assert_eq!(probe("livenessProbe"), 200, "a restart would not bring the database back");
    assert_eq!(probe("readinessProbe"), 503);
    server.begin().expect("PostgreSQL starts");
    crate::walk::wait_until("ready again", || probe("readinessProbe") == 200);
}
