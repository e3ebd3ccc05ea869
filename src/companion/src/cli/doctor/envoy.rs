//! The parts of Envoy's `/config_dump` that concern the gate.

use serde_json::Value;

/// One Envoy's configuration.
pub(super) struct Dump(Value);

/// The gate as a filter of a listener.
pub(super) struct Gate<'dump> {
    /// The listener's name.
    pub(super) listener: &'dump str,
    /// The filter's name.
    pub(super) name: &'dump str,
    /// Whether Envoy could not take this configuration.
    pub(super) refused: bool,
    /// The filters in front of the gate, then those behind it.
    pub(super) before: Vec<&'dump Value>,
    pub(super) behind: Vec<&'dump Value>,
    /// The HTTP connection manager, or what stands in its place.
    pub(super) manager: &'dump Value,
    /// Whether browsers' TLS ends in the gate's filter chain. A mesh's TLS, where the client shows a certificate, is none.
    pub(super) ends_tls: bool,
    /// The Wasm filter's own configuration, `config`.
    plugin: &'dump Value,
    /// The gate's configuration.
    configuration: Value,
}

/// What one listener has.
pub(super) struct Listener<'dump> {
    pub(super) name: &'dump str,
    pub(super) gates: Vec<Gate<'dump>>,
}

/// A provider of the gate.
pub(super) struct Provider<'gate>(&'gate Value);

/// Where the gate asks for revocations.
pub(super) struct Feed<'gate> {
    pub(super) cluster: &'gate str,
    pub(super) max_staleness_ms: u64,
}

/// An endpoint of a cluster.
pub(super) struct Endpoint {
    pub(super) address: String,
    pub(super) port: u64,
}

impl Dump {
    pub(super) fn new(config_dump: Value) -> Self {
        Self(config_dump)
    }

    fn sections<'dump>(&'dump self, kind: &'static str) -> impl Iterator<Item = &'dump Value> {
        members(&self.0, "configs").filter(move |section| type_of(section).ends_with(kind))
    }

    /// The listeners that serve HTTP, those that Envoy could not take among them.
    pub(super) fn listeners(&self) -> Vec<Listener<'_>> {
        let mut found = Vec::new();
        for section in self.sections(".ListenersConfigDump") {
            for entry in members(section, "static_listeners") {
                found.extend(self.listener(&entry["listener"], false));
            }
            for entry in members(section, "dynamic_listeners") {
                let failed = &entry["error_state"]["failed_configuration"];
                let active = &entry["active_state"]["listener"];
                found.extend(self.listener(failed, true).or_else(|| self.listener(active, false)));
            }
        }
        found
    }

    fn listener<'dump>(&'dump self, listener: &'dump Value, refused: bool) -> Option<Listener<'dump>> {
        let name = text(listener, "name");
        let mut serves_http = false;
        let mut gates = Vec::new();
        for chain in members(listener, "filter_chains").chain(listener.get("default_filter_chain")) {
            let mut managers = Vec::new();
            objects_with(chain, "http_filters", &mut managers);
            serves_http |= !managers.is_empty();
            for manager in managers {
                gates.extend(self.gates(name, manager, ends_tls(chain), refused));
            }
        }
        serves_http.then_some(Listener { name, gates })
    }

    fn gates<'dump>(
        &'dump self,
        listener: &'dump str,
        manager: &'dump Value,
        ends_tls: bool,
        refused: bool,
    ) -> Vec<Gate<'dump>> {
        let filters: Vec<&Value> = members(manager, "http_filters").collect();
        let gate = |(index, filter): (usize, &&'dump Value)| {
            let name = text(filter, "name");
            let plugin = plugin(self.typed_config(filter));
            let configuration = gate_configuration(plugin)?;
            let (before, rest) = filters.split_at(index);
            Some(Gate {
                listener,
                name,
                refused,
                before: before.to_vec(),
                behind: rest.iter().skip(1).copied().collect(),
                manager,
                ends_tls,
                plugin,
                configuration,
            })
        };
        filters.iter().enumerate().filter_map(gate).collect()
    }

    /// A filter's configuration, also where it is discovered by its name (ECDS).
    pub(super) fn typed_config<'dump>(&'dump self, filter: &'dump Value) -> &'dump Value {
        if filter["typed_config"].is_object() {
            return &filter["typed_config"];
        }
        let mut discovered = self
            .sections(".EcdsConfigDump")
            .flat_map(|section| members(section, "ecds_filters"))
            .map(|entry| &entry["ecds_filter"]);
        discovered
            .find(|entry| entry["name"] == filter["name"])
            .map_or(&Value::Null, |entry| &entry["typed_config"])
    }

    /// The names of all clusters.
    pub(super) fn clusters(&self) -> Vec<&str> {
        self.cluster_values().map(|cluster| text(cluster, "name")).collect()
    }

    /// The endpoints of a cluster, as far as they are in its configuration. `None`: there is no such cluster.
    pub(super) fn endpoints(&self, cluster: &str) -> Option<Vec<Endpoint>> {
        let cluster = self.cluster_values().find(|value| value["name"] == cluster)?;
        let mut addresses = Vec::new();
        objects_with(&cluster["load_assignment"], "socket_address", &mut addresses);
        let endpoint = |holder: &&Value| {
            let address = &holder["socket_address"];
            Some(Endpoint {
                address: text(address, "address").to_owned(),
                port: address["port_value"].as_u64()?,
            })
        };
        Some(addresses.iter().filter_map(endpoint).collect())
    }

    fn cluster_values(&self) -> impl Iterator<Item = &Value> {
        self.sections(".ClustersConfigDump").flat_map(|section| {
            members(section, "static_clusters")
                .chain(members(section, "dynamic_active_clusters"))
                .map(|entry| &entry["cluster"])
        })
    }

    /// Whether a route of some listener leads to `cluster`.
    pub(super) fn is_routed_to(&self, cluster: &str) -> bool {
        let mut routes = Vec::new();
        for section in self.sections(".RoutesConfigDump").chain(self.sections(".ListenersConfigDump")) {
            objects_with(section, "route", &mut routes);
        }
        routes.iter().any(|holder| {
            let route = &holder["route"];
            route["cluster"] == cluster
                || members(&route["weighted_clusters"], "clusters").any(|part| part["name"] == cluster)
        })
    }
}

impl Gate<'_> {
    pub(super) fn stat_prefix(&self) -> &str {
        Some(text(&self.configuration, "stat_prefix"))
            .filter(|prefix| !prefix.is_empty())
            .unwrap_or("jwt_gate")
    }

    /// The provider of this name.
    pub(super) fn provider(&self, name: &str) -> Option<Provider<'_>> {
        self.configuration["providers"].get(name).map(Provider)
    }

    /// All providers' names.
    pub(super) fn provider_names(&self) -> Vec<&str> {
        let providers = self.configuration["providers"].as_object();
        providers.into_iter().flat_map(|providers| providers.keys().map(String::as_str)).collect()
    }

    pub(super) fn feed(&self) -> Option<Feed<'_>> {
        let feed = self.configuration.get("revocation").filter(|feed| feed.is_object())?;
        Some(Feed {
            cluster: text(feed, "cluster"),
            max_staleness_ms: number(&feed["max_staleness_ms"]).unwrap_or(30_000),
        })
    }

    /// Whether requests pass when the filter fails.
    pub(super) fn fails_open(&self) -> bool {
        self.plugin["fail_open"] == true || self.plugin["failure_policy"] == "FAIL_OPEN"
    }

    /// Whether the variable reaches the gate. A dynamic module reads Envoy's environment itself.
    pub(super) fn is_given(&self, variable: &str) -> bool {
        let vm = &self.plugin["vm_config"];
        if !vm.is_object() {
            return true;
        }
        let given = &vm["environment_variables"];
        members(given, "host_env_keys").any(|name| name == variable)
            || given["key_values"].get(variable).is_some()
    }
}

impl Provider<'_> {
    pub(super) fn issuer(&self) -> Option<&str> {
        self.0["issuer"].as_str().filter(|issuer| !issuer.is_empty())
    }

    pub(super) fn audiences(&self) -> Vec<&str> {
        members(self.0, "audiences").filter_map(Value::as_str).collect()
    }

    pub(super) fn cookies(&self) -> Vec<&str> {
        members(self.0, "from_cookies").filter_map(Value::as_str).collect()
    }

    /// The environment variables that its secrets come from; `None` if it has secrets of another kind.
    pub(super) fn variables(&self) -> Option<Vec<&str>> {
        let secrets: Vec<&Value> = members(self.0, "secrets").collect();
        let variables: Vec<&str> = secrets.iter().filter_map(|secret| secret["env"].as_str()).collect();
        (!secrets.is_empty() && variables.len() == secrets.len()).then_some(variables)
    }
}

/// Whether browsers' TLS ends in this filter chain, or QUIC's.
fn ends_tls(filter_chain: &Value) -> bool {
    let socket = &filter_chain["transport_socket"]["typed_config"];
    let context = if type_of(socket).ends_with(".QuicDownstreamTransport") {
        &socket["downstream_tls_context"]
    } else {
        socket
    };
    let is_tls = type_of(socket).ends_with(".DownstreamTlsContext") || context != socket;
    is_tls && context["require_client_certificate"] != true
}

/// The plugin's configuration in a filter's: of a Wasm filter, a dynamic module, or either as a `TypedStruct`.
fn plugin(typed_config: &Value) -> &Value {
    let filter =
        if type_of(typed_config).ends_with(".TypedStruct") { &typed_config["value"] } else { typed_config };
    if filter["config"].is_object() { &filter["config"] } else { filter }
}

/// The gate's configuration, if that is what the plugin's configuration is.
fn gate_configuration(plugin: &Value) -> Option<Value> {
    let any = ["configuration", "filter_config"].into_iter().find_map(|field| plugin.get(field))?;
    let value = any.get("value").unwrap_or(any);
    let configuration = match value {
        Value::String(json) => serde_json::from_str(json).ok()?,
        value => value.clone(),
    };
    configuration["providers"].is_object().then_some(configuration)
}

/// A number as a `Struct` (`30000.0`) or JSON has it.
pub(super) fn number(value: &Value) -> Option<u64> {
    let whole = |number: f64| format!("{number:.0}").parse().ok();
    value.as_u64().or_else(|| value.as_f64().and_then(whole))
}

fn members<'value>(value: &'value Value, field: &str) -> impl Iterator<Item = &'value Value> + use<'value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn text<'value>(value: &'value Value, field: &str) -> &'value str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The type's full name, of what the dump calls `@type`.
pub(super) fn type_of(value: &Value) -> &str {
    text(value, "@type")
}

/// Adds the outermost objects under `value` that have this field.
fn objects_with<'value>(value: &'value Value, field: &str, found: &mut Vec<&'value Value>) {
    match value {
        Value::Object(fields) if fields.contains_key(field) => found.push(value),
        Value::Object(fields) => fields.values().for_each(|inner| objects_with(inner, field, found)),
        Value::Array(items) => items.iter().for_each(|inner| objects_with(inner, field, found)),
        _ => {}
    }
}
