//! From a file to the gate that it configures.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use jwt_gate::config::{self, Config, ConfigError, SecretSource};
use jwt_gate::{Decision, Policy, Request, Worker};
use serde_json::json;

use crate::find::{self, Found};
use crate::place::locate;
use crate::source::{Diagnostic, Severity, Source};

/// In place of a secret from the environment that is not set here. It is a good one in every encoding.
const STAND_IN: &str = "5ca1ab1e0ddba11c0ffee5a1ad5ca1ab1e5eed5afe7e57ab1e70ad57001f00d5";

/// A file and the configurations in it.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) source: Source,
    pub(crate) found: Vec<Found>,
}

/// A configuration that was compiled.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) policy: Arc<Policy>,
    /// The same before it was compiled.
    pub(crate) config: Config,
    /// The environment variables that are not set here, and that a stand-in is used for.
    pub(crate) stand_ins: BTreeSet<String>,
}

impl File {
    /// Reads `path`, and finds the configurations in it.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let mut source = Source::read(path)?;
        let found = match find::configurations(&source.text) {
            Ok(found) => found,
            Err(error) => {
                let diagnostic = Diagnostic {
                    severity: Severity::Error,
                    title: format!("the file {}", error.message),
                    place: Some((error.place, String::new())),
                    context: None,
                    hidden: None,
                    help: None,
                };
                return Err(source.picture(&diagnostic, false));
            }
        };
        if found.is_empty() {
            return Err(format!(
                "{} holds no configuration of the gate: neither `providers` at its top, nor a Wasm filter or dynamic module of \
                 Envoy's, a WasmPlugin or an EnvoyExtensionPolicy with them",
                source.name
            ));
        }
        source.hide_secrets(found.iter().map(|found| &found.root));
        Ok(Self { source, found })
    }

    /// The only configuration, or the one of this number, from 1.
    pub(crate) fn choose(&self, number: Option<usize>) -> Result<&Found, String> {
        match (number, self.found.as_slice()) {
            (None, [only]) => Ok(only),
            (Some(number), all) if (1..=all.len()).contains(&number) => Ok(&all[number - 1]),
            (_, all) => {
                let list = |(index, found): (usize, &Found)| {
                    let (line, _) = self.source.position(found.place.start);
                    format!("\n  --nth {}: {} (line {line})", index + 1, found.title)
                };
                let list: String = all.iter().enumerate().map(list).collect();
                Err(format!("{} holds {} configurations; choose one:{list}", self.source.name, all.len()))
            }
        }
    }

    /// The gate of the only configuration, or of that of this number.
    pub(crate) fn gate(&self, number: Option<usize>) -> Result<Gate, String> {
        self.compile(self.choose(number)?).map_err(|diagnostic| self.source.picture(&diagnostic, false))
    }

    /// Compiles a configuration, or says what is wrong with it.
    pub(crate) fn compile(&self, found: &Found) -> Result<Gate, Box<Diagnostic>> {
        let json = found.root.to_json(found.dialect).map_err(|error| {
            Box::new(Diagnostic {
                severity: Severity::Error,
                title: error.message,
                place: Some((error.place, String::new())),
                context: None,
                hidden: None,
                help: None,
            })
        })?;
        compile(json.to_string().as_bytes()).map_err(|error| Box::new(self.diagnostic(found, &error)))
    }

    fn diagnostic(&self, found: &Found, error: &ConfigError) -> Diagnostic {
        let place = locate(&found.root, error.field(), &self.source.text);
        let about_name = ["unknown field", "is a field of jwt_authn"];
        let is_unknown = about_name.iter().any(|start| error.message().starts_with(start));
        let (shown, hidden) = match place.key {
            Some(key) if is_unknown => (key, Some(place.node)),
            _ => (place.value, None),
        };
        Diagnostic {
            severity: Severity::Error,
            title: error.to_string(),
            place: Some((shown, error.message().split(';').next().unwrap_or_default().to_owned())),
            context: None,
            hidden,
            help: None,
        }
    }
}

/// Compiles the configuration in `bytes`, with stand-ins for secrets that are not in the environment here.
pub(crate) fn compile(bytes: &[u8]) -> Result<Gate, ConfigError> {
    let config = config::read(bytes)?;
    let needed: BTreeSet<String> = config.providers.values().flat_map(|p| needed(&p.secrets)).collect();
    let used = RefCell::new(BTreeSet::new());
    let environment = |name: &str| {
        let real = std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        real.or_else(|| {
            let stand_in =
                if name.ends_with("SECRETS") { format!("1:{STAND_IN}") } else { STAND_IN.to_owned() };
            needed.contains(name).then(|| {
                used.borrow_mut().insert(name.to_owned());
                stand_in
            })
        })
    };
    // It is read twice because it is taken apart when it is compiled.
    let policy = Arc::new(Policy::new(config::read(bytes)?, &environment)?);
    Ok(Gate { policy, config, stand_ins: used.into_inner() })
}

/// The variables that must be set for `sources` to be complete: those that are not optional, or else the last one.
fn needed(sources: &[SecretSource]) -> Vec<String> {
    let is_set = |name: &String| std::env::var(name).is_ok_and(|value| !value.trim().is_empty());
    let mut needed: Vec<String> =
        sources.iter().filter(|source| !source.optional).filter_map(|source| source.env.clone()).collect();
    let has_one =
        sources.iter().any(|source| source.inline.is_some() || source.env.as_ref().is_some_and(is_set));
    if needed.is_empty() && !has_one {
        needed.extend(sources.last().and_then(|source| source.env.clone()));
    }
    needed
}

impl Gate {
    /// Decides about `request` at the time `now`. Nothing has been revoked.
    pub(crate) fn decide(&self, request: &Request<'_>, now: f64) -> Decision {
        let follower = self.policy.follower([]).map(|mut follower| {
            let _ = follower.poll(now, 0.0);
            follower.answer(b"200", json!({"cursor": "offline", "jti": []}).to_string().as_bytes(), now);
            follower.tick(0.0);
            follower
        });
        let revocations = follower.as_ref().map(|follower| Arc::clone(follower.revocations()));
        Worker::new(Arc::clone(&self.policy), revocations).decide(request, &|| Some(now))
    }

    /// Which secrets are not the real ones; `None` if all are.
    pub(crate) fn stand_in_note(&self) -> Option<String> {
        if self.stand_ins.is_empty() {
            return None;
        }
        let names: Vec<String> = self.stand_ins.iter().map(|name| format!("${name}")).collect();
        let verb = if names.len() == 1 { "is" } else { "are" };
        Some(format!(
            "{} {verb} not set here: a stand-in is used in place of the real secret, whose strength was not checked",
            names.join(" and ")
        ))
    }
}
