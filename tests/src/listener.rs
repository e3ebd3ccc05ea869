//! One of an Envoy's listeners, with or without the gate.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::native;

/// How the gate's configuration is written into Envoy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ConfigForm {
    /// A `google.protobuf.Struct`: plain YAML in `envoy.yaml`.
    #[default]
    Struct,
    /// A `google.protobuf.StringValue` that holds JSON, as Istio and Envoy Gateway send it.
    JsonText,
}

/// What Envoy speaks to the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Upstream {
    /// HTTP/1.1
    #[default]
    Http1,
    /// HTTP/2
    Http2,
}

/// A listener on an ephemeral loopback port, whose requests go to the backend.
#[derive(Debug, Clone)]
pub struct Listener {
    pub(crate) name: String,
    gates: Vec<Gate>,
    before: Vec<Value>,
    after: Vec<Value>,
    upstream: Upstream,
    routes: Option<Value>,
    tls: Option<Value>,
    extra: Value,
    /// The dynamic module that is the gate, however the tests run.
    module: Option<PathBuf>,
}

#[derive(Debug, Clone)]
struct Gate {
    filter: String,
    config: GateConfig,
    disabled: bool,
    /// Envoy's default where there is none.
    failure_policy: Option<&'static str>,
}

#[derive(Debug, Clone)]
enum GateConfig {
    Object(Value, ConfigForm),
    Text(String),
}

impl Listener {
    /// A listener without any filter in front of the backend. Envoy does not touch the path.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            gates: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            upstream: Upstream::Http1,
            routes: None,
            tls: None,
            extra: json!({}),
            module: None,
        }
    }

    /// A listener with the gate configured by `config`.
    #[must_use]
    pub fn gated(name: &str, config: Value) -> Self {
        Self::new(name).with_gate("jwt-gate", GateConfig::Object(config, ConfigForm::Struct), false)
    }

    /// A listener with the gate configured by a `StringValue` of this text.
    #[must_use]
    pub fn gated_by_text(name: &str, config: &str) -> Self {
        Self::new(name).with_gate("jwt-gate", GateConfig::Text(config.to_owned()), false)
    }

    /// The same with the configuration written in another form.
    #[must_use]
    pub fn form(mut self, form: ConfigForm) -> Self {
        for gate in &mut self.gates {
            if let GateConfig::Object(_, known) = &mut gate.config {
                *known = form;
            }
        }
        self
    }

    /// The same with one more gate, as the filter `filter`, that only routes which say so use.
    #[must_use]
    pub fn disabled_gate(self, filter: &str, config: Value) -> Self {
        self.with_gate(filter, GateConfig::Object(config, ConfigForm::Struct), true)
    }

    fn with_gate(mut self, filter: &str, config: GateConfig, disabled: bool) -> Self {
        self.gates.push(Gate { filter: filter.to_owned(), config, disabled, failure_policy: None });
        self
    }

    /// The same with the dynamic module in place of the wasm filter. Its secrets must be inline.
    #[must_use]
    pub fn module(self) -> Self {
        self.module_at(native::module())
    }

    /// The same with this build of the dynamic module.
    #[must_use]
    pub fn module_at(mut self, module: &Path) -> Self {
        self.module = Some(module.to_owned());
        self
    }

    /// The same with what Envoy does when the VM fails: `FAIL_CLOSED` or `FAIL_RELOAD`.
    #[must_use]
    pub fn failure_policy(mut self, policy: &'static str) -> Self {
        for gate in &mut self.gates {
            gate.failure_policy = Some(policy);
        }
        self
    }

    /// The same with another protocol to the backend.
    #[must_use]
    pub fn upstream(mut self, upstream: Upstream) -> Self {
        self.upstream = upstream;
        self
    }

    /// The same with an HTTP filter ahead of the gate.
    #[must_use]
    pub fn before(mut self, filter: Value) -> Self {
        self.before.push(filter);
        self
    }

    /// The same with an HTTP filter behind the gate.
    #[must_use]
    pub fn after(mut self, filter: Value) -> Self {
        self.after.push(filter);
        self
    }

    /// The same with routes of its own (a JSON array of `config.route.v3.Route`); [`cluster`] names the
    /// backend.
    #[must_use]
    pub fn routes(mut self, routes: Value) -> Self {
        self.routes = Some(routes);
        self
    }

    /// The same with a field of the HTTP connection manager set.
    #[must_use]
    pub fn set(mut self, field: &str, value: Value) -> Self {
        self.extra[field] = value;
        self
    }

    /// The same where TLS ends: `context` is its `DownstreamTlsContext`.
    #[must_use]
    pub fn tls(mut self, context: Value) -> Self {
        self.tls = Some(context);
        self
    }

    /// The same with an access log on Envoy's standard output, which [`crate::Envoy::log`] reads.
    #[must_use]
    pub fn access_log(self, format: &str) -> Self {
        let log = json!([{
            "name": "stdout",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
                "log_format": {"text_format_source": {"inline_string": format!("{format}\n")}},
            },
        }]);
        self.set("access_log", log)
    }

    /// The same with Envoy's own path normalisation, as `envoy/envoy.yaml` has it.
    #[must_use]
    pub fn normalised(self) -> Self {
        self.set("normalize_path", json!(true))
            .set("merge_slashes", json!(true))
            .set("path_with_escaped_slashes_action", json!("REJECT_REQUEST"))
    }

    pub(crate) fn is_gated(&self) -> bool {
        !self.gates.is_empty()
    }

    /// As Envoy's `config.listener.v3.Listener`.
    pub(crate) fn to_envoy(&self, wasm: &str, vm_environment: &Value) -> Value {
        let cluster = cluster(self.upstream);
        let mut filters = self.before.clone();
        filters.extend(self.gates.iter().map(|gate| gate.to_envoy(&self.name, wasm, vm_environment)));
        if let Some(module) = &self.module {
            let mut gates = Value::Array(filters);
            let _ = native::replace_all(&mut gates, module);
            filters = gates.as_array().cloned().unwrap_or_default();
        }
        filters.extend(self.after.clone());
        filters.push(json!({
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
        }));
        let routes = self.routes.clone().unwrap_or_else(
            || json!([{"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": "30s"}}]),
        );
        let mut manager = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.\
                      HttpConnectionManager",
            "stat_prefix": self.name,
            "codec_type": "AUTO",
            "http_protocol_options": {"enable_trailers": true},
            // Enough for a request that spoofs in every spelling at once; Envoy's default is 100.
            "common_http_protocol_options": {"max_headers_count": 1000},
            "upgrade_configs": [{"upgrade_type": "websocket"}],
            "http_filters": filters,
            "route_config": {
                "name": self.name,
                "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
            },
        });
        for (field, value) in self.extra.as_object().into_iter().flatten() {
            manager[field] = value.clone();
        }
        let mut chain = json!({"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": manager,
        }]});
        if let Some(context) = &self.tls {
            let mut context = context.clone();
            context["@type"] =
                json!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext");
            chain["transport_socket"] =
                json!({"name": "envoy.transport_sockets.tls", "typed_config": context});
        }
        json!({
            "name": self.name,
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [chain],
        })
    }
}

/// The name of the cluster that is the backend.
#[must_use]
pub fn cluster(upstream: Upstream) -> &'static str {
    match upstream {
        Upstream::Http1 => "backend_http1",
        Upstream::Http2 => "backend_http2",
    }
}

impl Gate {
    /// As an HTTP filter.
    fn to_envoy(&self, listener: &str, wasm: &str, vm_environment: &Value) -> Value {
        let string_value =
            |text: &str| json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text});
        let configuration = match &self.config {
            GateConfig::Object(config, ConfigForm::Struct) => {
                json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": config})
            }
            GateConfig::Object(config, ConfigForm::JsonText) => string_value(&config.to_string()),
            GateConfig::Text(text) => string_value(text),
        };
        let mut filter = json!({
            "name": self.filter,
            "disabled": self.disabled,
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": {
                    "name": listener,
                    // Envoy's log tells plugins apart by this.
                    "root_id": listener,
                    "vm_config": {
                        // One VM a worker for every listener whose environment is the same.
                        "vm_id": "jwt-gate",
                        "runtime": "envoy.wasm.runtime.v8",
                        "code": {"local": {"filename": wasm}},
                        "environment_variables": vm_environment,
                    },
                    "configuration": configuration,
                },
            },
        });
        if let Some(policy) = self.failure_policy {
            filter["typed_config"]["config"]["failure_policy"] = json!(policy);
        }
        filter
    }
}
