//! The filter as an image, fetched from a real registry and unpacked as Istio and Envoy Gateway do
//! (`imagefetcher.go` of both: the last layer, a tar.gz, and in it the first file whose base name is `plugin.wasm`).

use std::fs;
use std::io::Read;
use std::process::Command;
use std::thread;
use std::time::Duration;

use flate2::read::GzDecoder;
use jwt_gate_tests::{Guarded, Request, skipped};
use serde_json::Value;
use sha2::{Digest, Sha256};
use xtask::system;

use crate::Built;

/// What the image is called in these tests.
pub(crate) const NAME: &str = "127.0.0.1:5000/jwt-gate-filter:test";

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

#[test]
fn the_filters_image_unpacks_as_istio_and_envoy_gateway_unpack_it() {
    const TEST: &str = "the_filters_image_unpacks_as_istio_and_envoy_gateway_unpack_it";
    if let Err(error) = system::ensure(&system::DOCKER_REGISTRY) {
        return skipped(TEST, &format!("{error:#}").replace('\n', " "));
    }
    let built = match Built::shared() {
        Ok(built) => built,
        Err(reason) => return skipped(TEST, reason),
    };
    let home = tempfile::tempdir().expect("a directory");
    let _registry = built.engine.inside(|| registry(&home));
    built.engine.said(&["push", NAME]);
    let (manifest, layer) = built.engine.inside(fetched);

    assert_eq!(manifest["mediaType"], MANIFEST);
    let layers = manifest["layers"].as_array().expect("layers");
    assert_eq!(layers.len(), 1, "one layer: {manifest}");
    assert_eq!(layers[0]["mediaType"], LAYER);
    let module = plugin(&layer);
    assert!(module.starts_with(b"\0asm"));

    let config: Value = serde_json::from_str(&built.engine.said(&["inspect", NAME])).expect("JSON");
    let environment = config[0]["Config"]["Env"].as_array().into_iter().flatten();
    let more: Vec<_> =
        environment.filter(|line| line.as_str().is_none_or(|line| !line.starts_with("PATH="))).collect();
    assert!(more.is_empty(), "nothing but the filter, and the builder's PATH: {more:?}");
}

/// A registry on the engine's loopback.
fn registry(home: &tempfile::TempDir) -> Guarded {
    let config = home.path().join("registry.yml");
    let storage = home.path().join("images");
    let text = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:5000'}}\n",
        storage.display()
    );
    fs::write(&config, text).expect("its configuration");
    let mut command = Command::new("docker-registry");
    let registry = Guarded::start(command.arg("serve").arg(&config), home).expect("the registry starts");
    for _ in 0..100 {
        if Request::get("/v2/").try_send(5000).is_ok_and(|answer| answer.status == 200) {
            return registry;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!(
        "the registry does not serve: {}",
        fs::read_to_string(home.path().join("log")).unwrap_or_default()
    );
}

/// The manifest, and its last layer as it is stored.
fn fetched() -> (Value, Vec<u8>) {
    let manifest = Request::get("/v2/jwt-gate-filter/manifests/test").header("accept", MANIFEST).send(5000);
    assert_eq!(manifest.status, 200, "{manifest:?}");
    let manifest = manifest.json();
    let last = manifest["layers"].as_array().and_then(|layers| layers.last()).expect("a layer");
    let digest = last["digest"].as_str().expect("a digest").to_owned();
    let layer = Request::get(format!("/v2/jwt-gate-filter/blobs/{digest}")).send(5000);
    assert_eq!(layer.status, 200);
    let hash: String = Sha256::digest(&layer.body).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, format!("sha256:{hash}"));
    (manifest, layer.body)
}

/// As `extractWasmPluginBinary`.
fn plugin(layer: &[u8]) -> Vec<u8> {
    let mut archive = tar::Archive::new(GzDecoder::new(layer));
    for entry in archive.entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        if entry.path().expect("a path").file_name().is_some_and(|name| name == "plugin.wasm") {
            let mut module = Vec::new();
            entry.read_to_end(&mut module).expect("the module");
            return module;
        }
    }
    panic!("plugin.wasm not found in the archive");
}
