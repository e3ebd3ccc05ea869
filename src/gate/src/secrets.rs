//! From the configuration's secrets to a keyring.

use jwt_gate_token::{
    Encoding, Keyring, Secret, has_white_space_around_a_secret, json, parse_versioned_secrets,
};
use serde_json::{Map, Value};

use crate::config::{ConfigError, LocalJwks, SecretEncoding, SecretSource};

/// Reads an environment variable.
pub(crate) type Environment<'env> = &'env dyn Fn(&str) -> Option<String>;

/// The keyring of a provider whose configuration is at `field`.
pub(crate) fn keyring(
    sources: &[SecretSource],
    jwks: Option<&LocalJwks>,
    environment: Environment<'_>,
    field: &str,
) -> Result<Keyring, ConfigError> {
    match (sources, jwks) {
        ([], Some(jwks)) => from_jwks(jwks, &format!("{field}.local_jwks.inline_string")),
        ([], None) => Err(ConfigError::new(
            format!("{field}.secrets"),
            "is missing; name the variable that holds the secret, as in `secrets: [{env: BETTER_AUTH_SECRET}]`",
        )),
        (_, Some(_)) => Err(ConfigError::new(field, "needs one of secrets and local_jwks, not both")),
        (sources, None) => from_sources(sources, environment, &format!("{field}.secrets")),
    }
}

fn from_sources(
    sources: &[SecretSource],
    environment: Environment<'_>,
    field: &str,
) -> Result<Keyring, ConfigError> {
    let mut secrets = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let field = format!("{field}[{index}]");
        match (&source.env, &source.inline) {
            (Some(name), None) => match environment(name).filter(|value| !value.trim().is_empty()) {
                Some(_) if name.ends_with("SECRETS") && !matches!(source.encoding, SecretEncoding::Utf8) => {
                    let message =
                        "has no effect on a rotation list: its secrets are used as they are written";
                    return Err(ConfigError::new(format!("{field}.encoding"), message));
                }
                Some(value) if name.ends_with("SECRETS") => {
                    let list = parse_versioned_secrets(&value);
                    secrets
                        .extend(list.map_err(|error| ConfigError::new(&field, format!("${name}: {error}")))?);
                }
                Some(value) => {
                    let secret = Secret::from_encoded(&value, encoding(source.encoding));
                    secrets
                        .push(secret.map_err(|error| ConfigError::new(&field, format!("${name} {error}")))?);
                }
                None if source.optional => {}
                None => {
                    return Err(ConfigError::new(
                        field,
                        format!(
                            "${name} is not set; export it to Envoy and list it in \
                             vm_config.environment_variables.host_env_keys"
                        ),
                    ));
                }
            },
            (None, Some(text)) => {
                let secret = Secret::from_encoded(text, encoding(source.encoding));
                secrets.push(secret.map_err(|error| ConfigError::new(format!("{field}.inline"), error))?);
            }
            _ => return Err(ConfigError::new(field, "needs exactly one of env and inline")),
        }
    }
    Keyring::new(secrets).map_err(|_| {
        let names: Vec<String> =
            sources.iter().filter_map(|source| source.env.as_ref()).map(|n| format!("${n}")).collect();
        let names = names.join(" nor ");
        ConfigError::new(
            field,
            format!(
                "neither {names} is set; export one of them to Envoy and list it in \
                 vm_config.environment_variables.host_env_keys"
            ),
        )
    })
}

/// An environment variable that secrets came from.
#[derive(Debug)]
pub(crate) struct Origin {
    variable: String,
    kids: Vec<String>,
    is_list: bool,
    has_white_space: bool,
}

/// The variables from which the secrets of `sources` come; those that are not set are left out.
pub(crate) fn origins(sources: &[SecretSource], environment: Environment<'_>) -> Vec<Origin> {
    let origin = |source: &SecretSource| {
        let variable = source.env.clone()?;
        let value = environment(&variable).filter(|value| !value.trim().is_empty())?;
        let is_list = variable.ends_with("SECRETS");
        let secrets = if is_list {
            parse_versioned_secrets(&value).ok()?
        } else {
            vec![Secret::from_encoded(&value, encoding(source.encoding)).ok()?]
        };
        let kids = secrets.iter().map(|secret| secret.kid().to_owned()).collect();
        let has_white_space = has_white_space_around_a_secret(&value);
        Some(Origin { variable, kids, is_list, has_white_space })
    };
    sources.iter().filter_map(origin).collect()
}

/// What an operator should know of where secrets come from: a line for the log, and a warning for each secret that a rotation
/// left behind, and for white space around a secret.
pub(crate) fn notes(origins: &[Origin]) -> (Option<String>, Vec<String>) {
    let read = |Origin { variable, kids, .. }: &Origin| format!("${variable} (kid {})", kids.join(", "));
    let read: Vec<String> = origins.iter().map(read).collect();
    let list = origins.iter().find(|origin| origin.is_list);
    let left_over = origins.iter().filter(|origin| !origin.is_list).flat_map(|origin| {
        let old = origin.kids.iter().filter(|kid| list.is_some_and(|list| !list.kids.contains(kid)));
        let list = list.map(|list| list.variable.as_str()).unwrap_or_default();
        old.map(move |kid| {
            let variable = &origin.variable;
            format!(
                "{variable} is set beside {list} and is not in that list, so tokens of an old secret (kid {kid}) are still \
                 accepted: remove it"
            )
        })
    });
    let white_space =
        origins.iter().filter(|origin| origin.has_white_space).map(|Origin { variable, .. }| {
            format!(
                "{variable} has white space around a secret; it is no part of it, here and at the companion"
            )
        });
    ((!read.is_empty()).then(|| read.join(" and ")), left_over.chain(white_space).collect())
}

/// A JWK set (RFC 7517 §5) in which every key is one that HS256 can use: tokens of any other would be
/// refused, and better now than one by one.
fn from_jwks(jwks: &LocalJwks, field: &str) -> Result<Keyring, ConfigError> {
    let set = json::parse_object(jwks.inline_string.as_bytes())
        .map_err(|_| ConfigError::new(field, "is no JWK set: it must be JSON, as in {\"keys\": [...]}"))?;
    let keys = set.get("keys").and_then(Value::as_array).filter(|keys| !keys.is_empty());
    let keys = keys.ok_or_else(|| ConfigError::new(field, "has no keys"))?;
    let mut secrets = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        let field = format!("{field}.keys[{index}]");
        let key = key.as_object().ok_or_else(|| ConfigError::new(&field, "is no JSON object"))?;
        secrets.push(from_jwk(key, &field)?);
    }
    Keyring::with_ids(secrets).map_err(|error| ConfigError::new(field, error))
}

fn from_jwk(key: &Map<String, Value>, field: &str) -> Result<(Secret, String), ConfigError> {
    let member = |name: &str| key.get(name).map(|value| value.as_str().unwrap_or_default());
    let expect = |name: &str, expected: &str, required: bool| match member(name) {
        None if !required => Ok(()),
        Some(value) if value == expected => Ok(()),
        _ => Err(ConfigError::new(
            format!("{field}.{name}"),
            format!("must be {expected}: HS256 is all there is"),
        )),
    };
    expect("kty", "oct", true)?;
    expect("alg", "HS256", false)?;
    expect("use", "sig", false)?;
    let secret = Secret::from_encoded(member("k").unwrap_or_default(), Encoding::Base64Url)
        .map_err(|error| ConfigError::new(format!("{field}.k"), error))?;
    let kid = member("kid").unwrap_or(secret.kid()).to_owned();
    Ok((secret, kid))
}

fn encoding(encoding: SecretEncoding) -> Encoding {
    match encoding {
        SecretEncoding::Utf8 => Encoding::Utf8,
        SecretEncoding::Base64url => Encoding::Base64Url,
        SecretEncoding::Hex => Encoding::Hex,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const GOOD: &str = "0123456789abcdef0123456789abcdef";

    fn source(text: &str) -> SecretSource {
        let config = format!(r#"{{"providers": {{"app": {{"secrets": [{text}]}}}}}}"#);
        let mut provider = config::read(config.as_bytes()).unwrap().providers.remove("app").unwrap();
        provider.secrets.remove(0)
    }

    fn read(sources: &[&str], environment: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let sources: Vec<_> = sources.iter().map(|text| source(text)).collect();
        let variable = |name: &str| {
            environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        keyring(&sources, None, &variable, "providers.app")
            .map(|keyring| keyring.kids().map(str::to_owned).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_variable_whose_name_ends_in_secrets_is_a_rotation_list() {
        let both =
            [r#"{"env": "BETTER_AUTH_SECRETS", "optional": true}"#, r#"{"env": "BETTER_AUTH_SECRET"}"#];
        let list = format!("2:2{GOOD},1:1{GOOD}");
        let environment = [("BETTER_AUTH_SECRETS", list.as_str()), ("BETTER_AUTH_SECRET", GOOD)];
        assert_eq!(read(&both, &environment).unwrap().len(), 3);
        assert_eq!(read(&both, &environment[1..]).unwrap(), [Secret::from_utf8(GOOD).unwrap().kid()]);
    }

    #[test]
    fn an_old_secret_that_was_left_beside_the_list_is_told() {
        let sources =
            [r#"{"env": "A_SECRETS", "optional": true}"#, r#"{"env": "A_SECRET", "optional": true}"#]
                .map(source);
        let notes_of = |environment: &[(&str, &str)]| {
            let variable = |name: &str| {
                environment.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            notes(&origins(&sources, &variable))
        };
        let kid = |text: &str| Secret::from_utf8(text).unwrap().kid().to_owned();
        let (old, new) = (GOOD.to_owned(), format!("new-{GOOD}"));
        let list = format!("2:{new}");
        let (read, left_over) = notes_of(&[("A_SECRETS", &list), ("A_SECRET", &old)]);
        assert_eq!(read, Some(format!("$A_SECRETS (kid {}) and $A_SECRET (kid {})", kid(&new), kid(&old))));
        assert_eq!(left_over.len(), 1);
        assert!(
            left_over.iter().all(|line| line.contains(&kid(&old)) && !line.contains(GOOD)),
            "{left_over:?}"
        );
        let both = format!("2:{new},1:{old}");
        assert_eq!(
            notes_of(&[("A_SECRETS", &both), ("A_SECRET", &old)]).1,
            [""; 0],
            "it is still in the list"
        );
        assert_eq!(notes_of(&[("A_SECRET", &old)]).1, [""; 0]);
        assert_eq!(notes_of(&[]), (None, Vec::new()));
        for (name, value) in [("A_SECRET", format!("{old}\n")), ("A_SECRETS", format!("2: {new},1:{old}"))] {
            let (_, warnings) = notes_of(&[(name, &value)]);
            let expected = format!("{name} has white space around a secret");
            assert!(
                warnings.len() == 1 && warnings.iter().all(|line| line.starts_with(&expected)),
                "{warnings:?}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_the_way_out_but_not_the_secret() {
        for (sources, environment, expected) in [
            (&[][..], &[][..], "providers.app.secrets: is missing"),
            (&[r#"{"env": "A"}"#], &[], "providers.app.secrets[0]: $A is not set; export"),
            (&[r#"{"env": "A", "optional": true}"#], &[], "providers.app.secrets: neither $A is set"),
            (&[r#"{"env": "A"}"#], &[("A", "hush")], "providers.app.secrets[0]: $A is 4 bytes long"),
            (
                &[r#"{"env": "A_SECRETS"}"#],
                &[("A_SECRETS", GOOD)],
                "providers.app.secrets[0]: $A_SECRETS: entry 1",
            ),
            (&[r#"{"inline": "hush"}"#], &[], "providers.app.secrets[0].inline: is 4 bytes long"),
            (
                &[r#"{"inline": "hush", "encoding": "hex"}"#],
                &[],
                "providers.app.secrets[0].inline: is not hex",
            ),
            (
                &[r#"{"inline": "changeme-changeme-changeme-changeme"}"#],
                &[],
                "providers.app.secrets[0].inline: is a placeholder",
            ),
            (&[r#"{}"#], &[], "providers.app.secrets[0]: needs exactly one of env and inline"),
        ] {
            let message = read(sources, environment).unwrap_err();
            assert!(message.starts_with(expected), "{message}");
            assert!(!message.contains("hush") && !message.contains(GOOD));
        }
    }

    #[test]
    fn a_jwk_set_gives_its_own_key_ids() {
        let key = jwt_gate_token::base64url_encode(GOOD.as_bytes());
        let read = |keys: String| {
            let jwks = LocalJwks { inline_string: keys };
            keyring(&[], Some(&jwks), &|_| None, "providers.app")
                .map(|keyring| keyring.kids().map(str::to_owned).collect::<Vec<_>>())
                .map_err(|error| error.field().to_owned())
        };
        let at = |field: &str| Err(format!("providers.app.local_jwks.inline_string{field}"));
        let keys = format!(
            r#"{{"keys":[{{"kty":"oct","alg":"HS256","kid":"a","k":"{key}"}},{{"kty":"oct","kid":"b","k":"{key}"}}]}}"#
        );
        assert_eq!(read(keys), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(read("{".into()), at(""));
        assert_eq!(read(r#"{"keys":[]}"#.into()), at(""));
        assert_eq!(read(r#"{"keys":[1]}"#.into()), at(".keys[0]"));
        assert_eq!(read(r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#.into()), at(".keys[0].kty"));
        assert_eq!(
            read(format!(r#"{{"keys":[{{"kty":"oct","alg":"HS512","k":"{key}"}}]}}"#)),
            at(".keys[0].alg")
        );
        assert_eq!(read(format!(r#"{{"keys":[{{"kty":"oct","k":"{key}="}}]}}"#)), at(".keys[0].k"));
        assert_eq!(read(r#"{"keys":[{"kty":"oct","k":"c2hvcnQ"}]}"#.into()), at(".keys[0].k"));
    }
}
