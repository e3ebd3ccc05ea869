//! From a document to the configuration's types.

use std::collections::BTreeMap;

use super::ConfigError;
use super::fields::{Fields, Node};
use super::types::*;

/// The configuration that a document holds.
pub(super) fn config(document: Node) -> Result<Config, ConfigError> {
    let mut fields = document.fields(&[
        "providers",
        "rules",
        "default",
        "bypass_cors_preflight",
        "strip_failure_response",
        "strip_headers",
        "allow_override_headers",
        "paths",
        "decision_in_filter_state",
        "sign_in_redirect",
        "revocation",
        "cache",
        "stat_prefix",
    ])?;
    Ok(Config {
        rules: fields.list("rules")?.into_iter().map(rule).collect::<Result<_, _>>()?,
        default: match fields.choice("default", &["deny", "require", "allow"])? {
            2 => DefaultRule::Allow,
            1 => DefaultRule::Require,
            _ => DefaultRule::Deny,
        },
        bypass_cors_preflight: fields.flag("bypass_cors_preflight")?.unwrap_or_default(),
        strip_failure_response: fields.flag("strip_failure_response")?.unwrap_or_default(),
        strip_headers: fields.texts("strip_headers")?,
        allow_override_headers: fields.flag("allow_override_headers")?.unwrap_or_default(),
        paths: fields.take("paths").map(path_options).transpose()?.unwrap_or_default(),
        decision_in_filter_state: fields.flag("decision_in_filter_state")?.unwrap_or_default(),
        sign_in_redirect: fields.take("sign_in_redirect").map(sign_in_redirect).transpose()?,
        revocation: fields.take("revocation").map(revocation).transpose()?,
        cache: fields.take("cache").map_or_else(|| Ok(CacheSize::default()), cache_size)?,
        stat_prefix: fields.text("stat_prefix")?.unwrap_or_else(default_stat_prefix),
        // Last, so that a mistake in what is there is named before what is missing.
        providers: providers(fields.required("providers")?)?,
    })
}

fn providers(node: Node) -> Result<BTreeMap<String, Provider>, ConfigError> {
    node.mapping()?.into_iter().map(|(name, node)| Ok((name, provider(node)?))).collect()
}

fn provider(node: Node) -> Result<Provider, ConfigError> {
    let mut fields = node.fields(&[
        "issuer",
        "audiences",
        "subjects",
        "secrets",
        "local_jwks",
        "from_headers",
        "from_cookies",
        "from_params",
        "required_claims",
        "forward",
        "claim_to_headers",
        "forward_payload_header",
        "payload_in_filter_state",
        "clock_skew_seconds",
        "require_expiration",
        "max_lifetime_seconds",
    ])?;
    Ok(Provider {
        issuer: fields.text("issuer")?,
        audiences: fields.texts("audiences")?,
        subjects: fields.take("subjects").map(string_matcher).transpose()?,
        secrets: fields.list("secrets")?.into_iter().map(secret_source).collect::<Result<_, _>>()?,
        local_jwks: fields.take("local_jwks").map(local_jwks).transpose()?,
        from_headers: fields
            .list("from_headers")?
            .into_iter()
            .map(header_location)
            .collect::<Result<_, _>>()?,
        from_cookies: fields.texts("from_cookies")?,
        from_params: fields.texts("from_params")?,
        required_claims: fields
            .take("required_claims")
            .map(claim_conditions)
            .transpose()?
            .unwrap_or_default(),
        forward: fields.flag("forward")?.unwrap_or_default(),
        claim_to_headers: fields
            .list("claim_to_headers")?
            .into_iter()
            .map(claim_to_header)
            .collect::<Result<_, _>>()?,
        forward_payload_header: fields.text("forward_payload_header")?.unwrap_or_default(),
        payload_in_filter_state: fields.text("payload_in_filter_state")?.unwrap_or_default(),
        clock_skew_seconds: fields.u32("clock_skew_seconds")?.unwrap_or_else(default_clock_skew_seconds),
        require_expiration: fields.flag("require_expiration")?.unwrap_or_else(default_true),
        max_lifetime_seconds: fields.u64("max_lifetime_seconds")?.unwrap_or_default(),
    })
}

fn string_matcher(node: Node) -> Result<StringMatcher, ConfigError> {
    let mut fields = node.fields(&["exact", "prefix", "suffix", "contains", "safe_regex", "ignore_case"])?;
    let several = fields.error("needs exactly one of exact, prefix, suffix, contains, safe_regex");
    let patterns = [
        fields.text("exact")?.map(StringPattern::Exact),
        fields.text("prefix")?.map(StringPattern::Prefix),
        fields.text("suffix")?.map(StringPattern::Suffix),
        fields.text("contains")?.map(StringPattern::Contains),
        fields.take("safe_regex").map(safe_regex).transpose()?.map(StringPattern::SafeRegex),
    ];
    let mut given = patterns.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some(pattern), None) => {
            Ok(StringMatcher { pattern, ignore_case: fields.flag("ignore_case")?.unwrap_or_default() })
        }
        _ => Err(several),
    }
}

fn path_options(node: Node) -> Result<PathOptions, ConfigError> {
    let mut fields = node.fields(&["ignore_case", "ignore_trailing_slash"])?;
    Ok(PathOptions {
        ignore_case: fields.flag("ignore_case")?.unwrap_or_default(),
        ignore_trailing_slash: fields.flag("ignore_trailing_slash")?.unwrap_or_default(),
    })
}

/// A text, or Envoy's RegexMatcher around one; `google_re2` was its only engine and is empty.
fn safe_regex(node: Node) -> Result<SafeRegex, ConfigError> {
    if node.value().is_string() {
        return node.text().map(SafeRegex);
    }
    if !node.value().is_object() {
        return Err(node.error("must be a regular expression, or {regex: …} around one"));
    }
    node.fields(&["regex", "google_re2"])?.required("regex")?.text().map(SafeRegex)
}

fn secret_source(node: Node) -> Result<SecretSource, ConfigError> {
    let mut fields = node.fields(&["env", "optional", "inline", "encoding"])?;
    Ok(SecretSource {
        env: fields.text("env")?,
        optional: fields.flag("optional")?.unwrap_or_default(),
        inline: fields.text("inline")?,
        encoding: match fields.choice("encoding", &["utf8", "base64url", "hex"])? {
            2 => SecretEncoding::Hex,
            1 => SecretEncoding::Base64url,
            _ => SecretEncoding::Utf8,
        },
    })
}

fn local_jwks(node: Node) -> Result<LocalJwks, ConfigError> {
    let mut fields = node.fields(&["inline_string"])?;
    Ok(LocalJwks { inline_string: fields.required("inline_string")?.text()? })
}

fn header_location(node: Node) -> Result<HeaderLocation, ConfigError> {
    let mut fields = node.fields(&["name", "value_prefix"])?;
    Ok(HeaderLocation {
        name: fields.required("name")?.text()?,
        value_prefix: fields.text("value_prefix")?.unwrap_or_default(),
    })
}

fn claim_to_header(node: Node) -> Result<ClaimToHeader, ConfigError> {
    let mut fields = node.fields(&["header_name", "claim_name", "claim_path", "required", "encoding"])?;
    let neither = fields.error("needs exactly one of claim_name and claim_path");
    let (claim_name, claim_path) = (fields.text("claim_name")?, fields.texts("claim_path")?);
    if claim_name.is_some() != claim_path.is_empty() {
        return Err(neither);
    }
    Ok(ClaimToHeader {
        header_name: fields.required("header_name")?.text()?,
        claim_name,
        claim_path,
        required: fields.flag("required")?.unwrap_or_default(),
        encoding: match fields.choice("encoding", &["raw", "percent", "json", "base64url"])? {
            3 => ClaimEncoding::Base64url,
            2 => ClaimEncoding::Json,
            1 => ClaimEncoding::Percent,
            _ => ClaimEncoding::Raw,
        },
    })
}

fn rule(node: Node) -> Result<Rule, ConfigError> {
    let mut fields = node.fields(&["name", "match", "requires"])?;
    Ok(Rule {
        name: fields.text("name")?,
        r#match: route_match(fields.required("match")?)?,
        requires: fields.take("requires").map(requirement).transpose()?,
    })
}

fn route_match(node: Node) -> Result<RouteMatch, ConfigError> {
    let mut fields = node.fields(&[
        "path",
        "prefix",
        "path_separated_prefix",
        "safe_regex",
        "case_sensitive",
        "methods",
        "headers",
    ])?;
    Ok(RouteMatch {
        path: fields.text("path")?,
        prefix: fields.text("prefix")?,
        path_separated_prefix: fields.text("path_separated_prefix")?,
        safe_regex: fields.take("safe_regex").map(safe_regex).transpose()?,
        case_sensitive: fields.flag("case_sensitive")?.unwrap_or_else(default_true),
        methods: fields.texts("methods")?,
        headers: fields.list("headers")?.into_iter().map(header_matcher).collect::<Result<_, _>>()?,
    })
}

fn header_matcher(node: Node) -> Result<HeaderMatcher, ConfigError> {
    let mut fields = node.fields(&[
        "name",
        "string_match",
        "range_match",
        "present_match",
        "invert_match",
        "treat_missing_header_as_empty",
    ])?;
    Ok(HeaderMatcher {
        name: fields.required("name")?.text()?,
        string_match: fields.take("string_match").map(string_matcher).transpose()?,
        range_match: fields.take("range_match").map(range_match).transpose()?,
        present_match: fields.flag("present_match")?,
        invert_match: fields.flag("invert_match")?.unwrap_or_default(),
        treat_missing_header_as_empty: fields.flag("treat_missing_header_as_empty")?.unwrap_or_default(),
    })
}

fn range_match(node: Node) -> Result<RangeMatch, ConfigError> {
    let mut fields = node.fields(&["start", "end"])?;
    Ok(RangeMatch {
        start: fields.i64("start")?.unwrap_or_default(),
        end: fields.i64("end")?.unwrap_or_default(),
    })
}

/// A mapping from names to values, or a list of `{claim_path, values}`.
fn claim_conditions(node: Node) -> Result<ClaimConditions, ConfigError> {
    let values = |node: Node| node.list()?.into_iter().map(claim_value).collect::<Result<_, _>>();
    if node.value().is_array() {
        let condition = |node: Node| {
            let mut fields = node.fields(&["claim_path", "values"])?;
            let claim_path = fields.required("claim_path")?.list()?;
            let claim_path = claim_path.into_iter().map(Node::text).collect::<Result<_, _>>()?;
            Ok(ClaimCondition { claim_path, values: values(fields.required("values")?)?, dotted: None })
        };
        return node.list()?.into_iter().map(condition).collect::<Result<_, _>>().map(ClaimConditions);
    }
    let condition = |(name, node): (String, Node)| {
        Ok(ClaimCondition { claim_path: Vec::new(), values: values(node)?, dotted: Some(name) })
    };
    node.mapping()?.into_iter().map(condition).collect::<Result<_, _>>().map(ClaimConditions)
}

fn requirement(node: Node) -> Result<Requirement, ConfigError> {
    let mut fields = node.fields(&[
        "provider_name",
        "claims",
        "requires_any",
        "requires_all",
        "allow_missing",
        "allow_missing_or_failed",
    ])?;
    let inner =
        |fields: &mut Fields, name| fields.take(name).map(|n| requirement(n).map(Box::new)).transpose();
    Ok(Requirement {
        provider_name: fields.text("provider_name")?,
        claims: fields.take("claims").map(claim_conditions).transpose()?.unwrap_or_default(),
        requires_any: fields.take("requires_any").map(requirement_list).transpose()?,
        requires_all: fields.take("requires_all").map(requirement_list).transpose()?,
        allow_missing: inner(&mut fields, "allow_missing")?,
        allow_missing_or_failed: inner(&mut fields, "allow_missing_or_failed")?,
    })
}

/// A list, or Envoy's `{requirements: […]}` around one.
fn requirement_list(node: Node) -> Result<RequirementList, ConfigError> {
    let list = if node.value().is_object() {
        node.fields(&["requirements"])?.required("requirements")?
    } else {
        node
    };
    list.list()?.into_iter().map(requirement).collect::<Result<_, _>>().map(RequirementList)
}

fn claim_value(node: Node) -> Result<ClaimValue, ConfigError> {
    let value = node.value();
    let scalar = (value.as_bool().map(ClaimValue::Flag))
        .or_else(|| value.as_i64().map(ClaimValue::Number))
        .or_else(|| value.as_str().map(|text| ClaimValue::Text(text.to_owned())));
    scalar.ok_or_else(|| node.error("must be a text, a whole number, true or false"))
}

fn sign_in_redirect(node: Node) -> Result<SignInRedirect, ConfigError> {
    let mut fields = node.fields(&["url", "return_param"])?;
    Ok(SignInRedirect {
        url: fields.required("url")?.text()?,
        return_param: fields.text("return_param")?.unwrap_or_else(default_return_param),
    })
}

fn revocation(node: Node) -> Result<Revocation, ConfigError> {
    let mut fields =
        node.fields(&["cluster", "provider_name", "path", "interval_ms", "max_staleness_ms", "when_stale"])?;
    Ok(Revocation {
        cluster: fields.required("cluster")?.text()?,
        provider_name: fields.text("provider_name")?,
        path: fields.text("path")?.unwrap_or_else(default_revocation_path),
        interval_ms: fields.u32("interval_ms")?.unwrap_or_else(default_interval_ms),
        max_staleness_ms: fields.u32("max_staleness_ms")?.unwrap_or_else(default_max_staleness_ms),
        when_stale: match fields.choice("when_stale", &["allow", "deny"])? {
            1 => WhenStale::Deny,
            _ => WhenStale::Allow,
        },
    })
}

fn cache_size(node: Node) -> Result<CacheSize, ConfigError> {
    let mut fields = node.fields(&["max_entries"])?;
    Ok(CacheSize { max_entries: fields.u32("max_entries")?.unwrap_or_else(default_max_entries) })
}
