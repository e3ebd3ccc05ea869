//! A filter whose configuration Envoy discovers (ECDS) in a file, as it would from Istio's or another xDS
//! server.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::envoy::wasm;

const WASM_TYPE: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// The file, and the filter that reads it.
pub struct Discovered {
    directory: TempDir,
    name: String,
    version: u64,
}

/// A configuration of the gate, as it is published.
#[derive(Debug, Clone)]
pub struct Published {
    /// The gate's own configuration.
    pub config: Value,
    /// `vm_config.environment_variables`.
    pub vm_environment: Value,
    /// `vm_config.vm_id`. Plugins with the same one, and the same environment, share a VM in each worker.
    pub vm_id: String,
}

impl Discovered {
    /// A filter of this name, with nothing published yet.
    ///
    /// # Panics
    /// Where its file cannot be written.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("jwt-gate-ecds-").tempdir().expect("a directory");
        let mut discovered = Self { directory, name: name.to_owned(), version: 0 };
        discovered.write(&[]);
        discovered
    }

    /// As an HTTP filter. It has no default: until something is published nothing passes.
    #[must_use]
    pub fn filter(&self) -> Value {
        json!({
            "name": self.name,
            "config_discovery": {
                "config_source": {
                    "resource_api_version": "V3",
                    "initial_fetch_timeout": "1s",
                    "path_config_source": {
                        "path": self.file(),
                        "watched_directory": {"path": self.directory.path()},
                    },
                },
                "type_urls": [WASM_TYPE],
            },
        })
    }

    /// Publishes a configuration: the file is replaced as a whole.
    ///
    /// # Panics
    /// Where the file cannot be written.
    pub fn publish(&mut self, published: &Published) {
        self.publish_typed(&json!({
            "@type": WASM_TYPE,
            "config": {
                "name": self.name,
                "root_id": self.name,
                "failure_policy": "FAIL_CLOSED",
                "vm_config": {
                    "vm_id": published.vm_id,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": wasm()}},
                    "environment_variables": published.vm_environment,
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.Struct",
                    "value": published.config,
                },
            },
        }));
    }

    /// Publishes a filter's whole configuration, as another control plane than ours would write it.
    ///
    /// # Panics
    /// Where the file cannot be written.
    pub fn publish_typed(&mut self, typed_config: &Value) {
        let resource = json!({
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": self.name,
            "typed_config": typed_config,
        });
        self.write(&[resource]);
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("ecds.json")
    }

    fn write(&mut self, resources: &[Value]) {
        self.version += 1;
        let response = json!({"version_info": self.version.to_string(), "resources": resources});
        let new = self.directory.path().join("ecds.json.new");
        fs::write(&new, response.to_string()).expect("the configuration is written");
        fs::rename(&new, self.file()).expect("the configuration is put in place");
    }
}
