//! The configuration's types. Their doc comments become the JSON Schema's descriptions.

use std::collections::BTreeMap;

#[cfg(feature = "schema")]
use schemars::JsonSchema;

/// The configuration of the gate.
#[derive(Debug)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Config {
    /// Who issues tokens, and how to check them; the name is used by `rules`. At least one.
    pub providers: BTreeMap<String, Provider>,
    /// What each path needs. The first match decides.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub rules: Vec<Rule>,
    /// What happens where no rule matches.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub default: DefaultRule,
    /// Whether a CORS preflight (`OPTIONS` with `Origin` and `Access-Control-Request-Method`) passes without
    /// a token.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub bypass_cors_preflight: bool,
    /// Whether a refusal is sent without a body and without details in `WWW-Authenticate`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub strip_failure_response: bool,
    /// More headers that no client may send, beside those that carry the identity.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub strip_headers: Vec<String>,
    /// Whether what was decided is put into Envoy's filter state, for access logs and other filters:
    /// `wasm.jwt_gate.code`, `wasm.jwt_gate.rule` and `wasm.jwt_gate.subject`. It takes hostcalls on each request.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub decision_in_filter_state: bool,
    /// Whether headers that name another path or method (`X-Original-URL`, `X-Rewrite-URL`,
    /// `X-HTTP-Method-Override` and their kin) may reach the backend. By default they are removed.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub allow_override_headers: bool,
    /// How the backend's router compares paths.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub paths: PathOptions,
    /// Where a browser without a good token is sent.
    pub sign_in_redirect: Option<SignInRedirect>,
    /// Where revocations come from.
    pub revocation: Option<Revocation>,
    /// The memory of tokens that verified.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub cache: CacheSize,
    /// What the names of the counters start with.
    #[cfg_attr(feature = "schema", schemars(default = "default_stat_prefix"))]
    pub stat_prefix: String,
}

/// How the backend's router compares paths. Rules are matched in the same way, so that a request cannot reach a
/// handler under a spelling that no rule names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct PathOptions {
    /// Whether `/Admin` is `/admin`, as in Express and ASP.NET Core.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub ignore_case: bool,
    /// Whether `/admin/` is `/admin`, as in Express.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub ignore_trailing_slash: bool,
}

/// One issuer of tokens. Exactly one of `secrets` and `local_jwks`.
#[derive(Debug)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Provider {
    /// The exact `iss` (RFC 7519 §4.1.1). Absent: any.
    pub issuer: Option<String>,
    /// `aud` must hold one of these (RFC 7519 §4.1.3). Empty: not checked.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub audiences: Vec<String>,
    /// What `sub` must be (RFC 7519 §4.1.2). Absent: not checked.
    pub subjects: Option<StringMatcher>,
    /// The secrets, newest first.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub secrets: Vec<SecretSource>,
    /// A JWK set (RFC 7517) of `oct` keys for HS256.
    pub local_jwks: Option<LocalJwks>,
    /// Headers that may hold the token, in order. `Authorization` with `Bearer ` is the default where none of
    /// `from_headers`, `from_cookies` and `from_params` is given.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub from_headers: Vec<HeaderLocation>,
    /// Cookies that may hold the token, in order, after the headers.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub from_cookies: Vec<String>,
    /// Query parameters that may hold the token, in order, after the cookies.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub from_params: Vec<String>,
    /// What the claims of every token of this provider must be; a token without them is refused (401 `claim`).
    #[cfg_attr(feature = "schema", schemars(default))]
    pub required_claims: ClaimConditions,
    /// Whether the token stays on the request that the backend receives.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub forward: bool,
    /// Which claims become which headers.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub claim_to_headers: Vec<ClaimToHeader>,
    /// A header for the whole payload, as base64url. Empty: none.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub forward_payload_header: String,
    /// The name under which the payload, as JSON, is put into Envoy's filter state. Empty: not at all.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub payload_in_filter_state: String,
    /// How far the clocks of issuer and gate may be apart, in seconds. At most 3600.
    #[cfg_attr(feature = "schema", schemars(default = "default_clock_skew_seconds", range(max = 3600)))]
    pub clock_skew_seconds: u32,
    /// Whether a token without `exp` is refused.
    #[cfg_attr(feature = "schema", schemars(default = "default_true"))]
    pub require_expiration: bool,
    /// The longest life of a token, `exp` less `iat`, in seconds. 0: any.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub max_lifetime_seconds: u64,
}

/// A string that must match, as Envoy's `StringMatcher`: exactly one of `exact`, `prefix`, `suffix`, `contains` and
/// `safe_regex`.
#[derive(Debug)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct StringMatcher {
    /// The pattern.
    #[cfg_attr(feature = "schema", schemars(flatten))]
    pub pattern: StringPattern,
    /// Whether the case of letters does not matter. It has no effect on `safe_regex`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub ignore_case: bool,
}

/// The pattern of a [`StringMatcher`].
#[derive(Debug)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(rename_all = "snake_case"))]
pub enum StringPattern {
    /// The text itself.
    Exact(String),
    /// What it starts with.
    Prefix(String),
    /// What it ends with.
    Suffix(String),
    /// What it contains.
    Contains(String),
    /// A regular expression that matches the whole of it.
    SafeRegex(SafeRegex),
}

/// A regular expression in the syntax of RE2 less Unicode classes, or Envoy's `{regex: …}` around one. It
/// must match the whole text.
#[derive(Debug)]
pub struct SafeRegex(pub String);

/// One secret, or a rotation list. One of `env` and `inline`.
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct SecretSource {
    /// The environment variable that holds it (`vm_config.environment_variables`). A variable whose name
    /// ends in `SECRETS` holds a list, `2:newest,1:older`, as Better Auth writes it.
    pub env: Option<String>,
    /// Whether the variable may be absent.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub optional: bool,
    /// The secret itself.
    pub inline: Option<String>,
    /// How it is written.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub encoding: SecretEncoding,
}

/// How a secret is written.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(rename_all = "snake_case"))]
pub enum SecretEncoding {
    /// The text's own bytes.
    #[default]
    Utf8,
    /// base64url without padding.
    Base64url,
    /// Hexadecimal.
    Hex,
}

/// A JWK set in the configuration.
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct LocalJwks {
    /// The set as JSON text.
    pub inline_string: String,
}

/// A header that may hold the token.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct HeaderLocation {
    /// The header's name; case does not matter.
    pub name: String,
    /// What stands before the token; case does not matter (RFC 9110 §11.1).
    #[cfg_attr(feature = "schema", schemars(default))]
    pub value_prefix: String,
}

/// A claim that becomes a header.
#[derive(Debug)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct ClaimToHeader {
    /// The header's name.
    pub header_name: String,
    /// The claim; dots descend into objects. One of `claim_name` and `claim_path`.
    pub claim_name: Option<String>,
    /// The claim's place, one name for each level: `[a, "b.c"]` is the member `b.c` of the object `a`.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub claim_path: Vec<String>,
    /// Whether a token without it is refused.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub required: bool,
    /// How the value is written.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub encoding: ClaimEncoding,
}

/// How a claim's value is written into its header. A value that cannot be written without loss is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(rename_all = "snake_case"))]
pub enum ClaimEncoding {
    /// As it is; the items of an array are joined with commas. Objects and nested arrays are refused.
    #[default]
    Raw,
    /// As `raw`, but percent-encoded (RFC 3986 §2.1): any string fits. Objects and nested arrays become JSON first.
    Percent,
    /// As JSON in ASCII.
    Json,
    /// As base64url of the string, or of the JSON of any other value.
    Base64url,
}

/// What a set of requests needs.
#[derive(Debug)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Rule {
    /// What logs call it, 1 to 64 printable characters without a comma. Absent: its number, as in `rules[3]`.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 64), pattern(r"^[^,]*$")))]
    pub name: Option<String>,
    /// Which requests.
    pub r#match: RouteMatch,
    /// What they need. Absent: nothing, they are public.
    pub requires: Option<Requirement>,
}

/// Which requests a rule is for: exactly one of the four kinds of path, and where given one of the methods
/// and all of the headers.
#[derive(Debug)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct RouteMatch {
    /// The whole path, without its query.
    pub path: Option<String>,
    /// What the path starts with.
    pub prefix: Option<String>,
    /// A prefix that ends where a path segment does: `/api` for `/api` and `/api/x`, not for `/apix`.
    pub path_separated_prefix: Option<String>,
    /// A regular expression that matches the whole path.
    pub safe_regex: Option<SafeRegex>,
    /// Whether the case of letters matters. It has no effect on `safe_regex`.
    #[cfg_attr(feature = "schema", schemars(default = "default_true"))]
    pub case_sensitive: bool,
    /// One of these methods; `GET` covers `HEAD`. Empty: any.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub methods: Vec<String>,
    /// All of these headers.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub headers: Vec<HeaderMatcher>,
}

/// A header that a rule looks at, as Envoy's `HeaderMatcher`. A value matcher (`string_match`, `range_match`) never matches an
/// absent header, inverted or not, unless `treat_missing_header_as_empty` is set.
#[derive(Debug)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct HeaderMatcher {
    /// The header's name; case does not matter. `host` is `:authority`.
    pub name: String,
    /// What its value must be.
    pub string_match: Option<StringMatcher>,
    /// The integers that its value may be.
    pub range_match: Option<RangeMatch>,
    /// Whether it must be there, or must not. Where no other matcher is given, it must.
    pub present_match: Option<bool>,
    /// Whether the outcome is turned around.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub invert_match: bool,
    /// Whether an absent header counts as an empty one.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub treat_missing_header_as_empty: bool,
}

/// Integers from `start` to `end`, `end` excluded, as Envoy's `Int64Range`.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct RangeMatch {
    /// The first integer that matches.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub start: i64,
    /// The first one after it that does not.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub end: i64,
}

/// What a request needs: exactly one of these (`claims` beside `provider_name`). An empty one, as in
/// `allow_missing: {}`, stands for any provider.
#[derive(Debug, Default)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Requirement {
    /// A token of this provider.
    pub provider_name: Option<String>,
    /// What the claims must be; otherwise 403. An array matches where one of its items does; `scope` is also read as
    /// words separated by spaces (RFC 8693 §4.2).
    #[cfg_attr(feature = "schema", schemars(default))]
    pub claims: ClaimConditions,
    /// One of these.
    pub requires_any: Option<RequirementList>,
    /// All of these.
    pub requires_all: Option<RequirementList>,
    /// A good token, or none at all.
    pub allow_missing: Option<Box<Requirement>>,
    /// Whatever comes: a good token gives an identity, any other gives none.
    pub allow_missing_or_failed: Option<Box<Requirement>>,
}

/// Conditions on claims: a mapping from a claim's name (dots descend into objects) to its values, or a list of
/// `{claim_path, values}`, for names that hold dots themselves.
#[derive(Debug, Default)]
pub struct ClaimConditions(pub Vec<ClaimCondition>);

/// One condition on a claim.
#[derive(Debug)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct ClaimCondition {
    /// The claim's place, one name for each level.
    pub claim_path: Vec<String>,
    /// The values that are allowed.
    pub values: Vec<ClaimValue>,
    /// The name with dots that stood there in place of a path.
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub dotted: Option<String>,
}

/// A list of requirements, or Envoy's `{requirements: […]}` around one.
#[derive(Debug)]
pub struct RequirementList(pub Vec<Requirement>);

/// A value that a claim may have.
#[derive(Debug, PartialEq)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(untagged))]
pub enum ClaimValue {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// True or false.
    Flag(bool),
}

/// What happens where no rule matches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(rename_all = "snake_case"))]
pub enum DefaultRule {
    /// Nothing passes.
    #[default]
    Deny,
    /// A token of the only provider.
    Require,
    /// Everything passes.
    Allow,
}

/// Where a browser without a good token is sent.
#[derive(Debug)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct SignInRedirect {
    /// The sign-in page: a path on this host (`/sign-in`) or an `https://` URL.
    pub url: String,
    /// The query parameter that tells it where to come back to.
    #[cfg_attr(feature = "schema", schemars(default = "default_return_param"))]
    pub return_param: String,
}

/// Where revocations come from.
#[derive(Debug)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Revocation {
    /// Envoy's cluster for the companion's private port.
    pub cluster: String,
    /// Whose secret signs the gate's own token for the feed, and whose tokens the feed revokes. Needed where there
    /// are several providers.
    pub provider_name: Option<String>,
    /// The feed's path.
    #[cfg_attr(feature = "schema", schemars(default = "default_revocation_path"))]
    pub path: String,
    /// How often it is asked, in milliseconds.
    #[cfg_attr(feature = "schema", schemars(default = "default_interval_ms"))]
    pub interval_ms: u32,
    /// How old the last answer may be before `when_stale` counts, in milliseconds.
    #[cfg_attr(feature = "schema", schemars(default = "default_max_staleness_ms"))]
    pub max_staleness_ms: u32,
    /// What happens to good tokens while the list is too old.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub when_stale: WhenStale,
}

/// What happens to good tokens while the revocation list is too old.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(rename_all = "snake_case"))]
pub enum WhenStale {
    /// They pass.
    #[default]
    Allow,
    /// They are refused.
    Deny,
}

/// The memory of tokens that verified.
#[derive(Debug)]
#[cfg_attr(feature = "schema", derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct CacheSize {
    /// The most tokens that are remembered, for each worker thread of Envoy. 0: none. At most 1048576.
    #[cfg_attr(feature = "schema", schemars(default = "default_max_entries", range(max = 1_048_576)))]
    pub max_entries: u32,
}

impl Default for CacheSize {
    fn default() -> Self {
        Self { max_entries: default_max_entries() }
    }
}

pub(super) fn default_true() -> bool {
    true
}

pub(super) fn default_stat_prefix() -> String {
    "jwt_gate".to_owned()
}

pub(super) fn default_clock_skew_seconds() -> u32 {
    60
}

pub(super) fn default_return_param() -> String {
    "next".to_owned()
}

pub(super) fn default_revocation_path() -> String {
    "/internal/revocations".to_owned()
}

pub(super) fn default_interval_ms() -> u32 {
    500
}

pub(super) fn default_max_staleness_ms() -> u32 {
    30_000
}

pub(super) fn default_max_entries() -> u32 {
    4096
}

// === impl SecretSource, LocalJwks ===

impl std::fmt::Debug for SecretSource {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SecretSource").field("env", &self.env).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for LocalJwks {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LocalJwks").finish_non_exhaustive()
    }
}

#[cfg(feature = "schema")]
mod schema {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    use super::{ClaimCondition, ClaimConditions, ClaimValue, Requirement, RequirementList, SafeRegex};

    impl JsonSchema for SafeRegex {
        fn schema_name() -> Cow<'static, str> {
            "SafeRegex".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "description": "A regular expression that matches the whole text.",
                "anyOf": [
                    {"type": "string"},
                    {"type": "object", "required": ["regex"], "additionalProperties": false,
                     "properties": {"regex": {"type": "string"}, "google_re2": {"type": "object"}}},
                ]
            })
        }
    }

    impl JsonSchema for ClaimConditions {
        fn schema_name() -> Cow<'static, str> {
            "ClaimConditions".into()
        }

        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            let values = generator.subschema_for::<Vec<ClaimValue>>();
            let list = generator.subschema_for::<Vec<ClaimCondition>>();
            json_schema!({
                "description": "Conditions on claims: a mapping from names to values, or a list of {claim_path, values}.",
                "anyOf": [
                    {"type": "object", "additionalProperties": values},
                    list,
                ]
            })
        }
    }

    impl JsonSchema for RequirementList {
        fn schema_name() -> Cow<'static, str> {
            "RequirementList".into()
        }

        fn json_schema(generator: &mut SchemaGenerator) -> Schema {
            let list = generator.subschema_for::<Vec<Requirement>>();
            json_schema!({
                "description": "A list of requirements.",
                "anyOf": [
                    list,
                    {"type": "object", "required": ["requirements"], "additionalProperties": false,
                     "properties": {"requirements": list}},
                ]
            })
        }
    }
}
