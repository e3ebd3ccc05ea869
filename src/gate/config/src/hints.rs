//! Fields of Envoy's `jwt_authn` that the gate does not have, and what to write instead.

/// A field's name, and what takes its place.
const REPLACEMENTS: &[(&str, &str)] = &[
    // JwtProvider
    (
        "remote_jwks",
        "HS256 keys are secrets: name them in `secrets`. Keys of other algorithms stay with jwt_authn",
    ),
    ("jwt_cache_config", "the cache is set once for all providers, in `cache`"),
    ("payload_in_metadata", "write `payload_in_filter_state`"),
    ("header_in_metadata", "name the claims in `claim_to_headers`"),
    ("failed_status_in_metadata", "set `decision_in_filter_state`, which tells the code of a refusal"),
    ("normalize_payload_in_metadata", "`scope` is read as a list of words by itself"),
    ("pad_forward_payload_header", "the header is base64url without padding"),
    ("clear_route_cache", "the route is chosen again by itself after headers have changed"),
    ("max_lifetime", "write `max_lifetime_seconds`, a number of seconds"),
    // JwtProvider.local_jwks (DataSource)
    (
        "filename",
        "write `secrets: [{env: NAME, encoding: base64url}]` with the key's `k`, or `inline_string`",
    ),
    ("inline_bytes", "write `inline_string` with the key set as JSON text"),
    ("environment_variable", "write `secrets: [{env: NAME}]`"),
    ("watched_directory", "a new secret needs a new configuration or a restart; see docs/rotation.md"),
    // JwtAuthentication
    ("requirement_map", "write the requirement in the rule itself, under `requires`"),
    ("filter_state_rules", "rules choose by path, method and header"),
    // RequirementRule
    ("requirement_name", "write the requirement in the rule itself, under `requires`"),
    // JwtRequirement
    (
        "provider_and_audiences",
        "write a second provider with these `audiences`, and name it in `provider_name`",
    ),
    // RouteMatch
    ("connect_matcher", "write `prefix: /` with `methods: [CONNECT]`"),
    ("path_match_policy", "write `path_separated_prefix` or `safe_regex`"),
    ("runtime_fraction", "rules decide for every request alike"),
    ("query_parameters", "rules look at paths, methods and headers"),
    ("grpc", "write a header condition: `{name: content-type, string_match: {prefix: application/grpc}}`"),
    ("tls_context", "rules look at paths, methods and headers"),
    ("dynamic_metadata", "rules look at paths, methods and headers"),
    ("filter_state", "rules look at paths, methods and headers"),
    ("cookies", "write a header condition on `cookie`"),
    // HeaderMatcher and StringMatcher
    ("exact_match", "write `string_match: {exact: …}`"),
    ("prefix_match", "write `string_match: {prefix: …}`"),
    ("suffix_match", "write `string_match: {suffix: …}`"),
    ("contains_match", "write `string_match: {contains: …}`"),
    ("safe_regex_match", "write `string_match: {safe_regex: {regex: …}}`"),
    ("custom", "write `exact`, `prefix`, `suffix`, `contains` or `safe_regex`"),
];

/// What to write in place of the `jwt_authn` field `name`; `None` for any other name.
pub(super) fn replacement(name: &str) -> Option<&'static str> {
    REPLACEMENTS.iter().find(|(known, _)| *known == name).map(|(_, hint)| *hint)
}
