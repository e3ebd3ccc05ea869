//! Where the gate and `jwt_authn` differ, and what decides it.

use std::fmt::Write;

/// How they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// `jwt_authn` lets the request pass, the gate refuses it.
    GateRefuses,
    /// The gate lets the request pass, `jwt_authn` refuses it.
    GateAccepts,
    /// Both let it pass, the backend learns different identity headers.
    Identity,
    /// Both let it pass, another part of token, cookie or path is left over.
    LeftOver,
}

/// A row of the table.
pub(crate) struct Difference {
    pub(crate) kind: Kind,
    /// The mutations each of which shows it by itself.
    pub(crate) mutations: &'static [&'static str],
    /// Those that show it only beside another mutation, such as one that makes the first of two tokens bad.
    pub(crate) in_company: &'static [&'static str],
    /// Those that show it with some versions of Envoy, or by a rare chance, and need not.
    pub(crate) sometimes: &'static [&'static str],
    pub(crate) what: &'static str,
    pub(crate) decided_by: &'static str,
}

impl Difference {
    /// Whether it explains a disagreement about a request with `count` mutations, `name` among them.
    pub(crate) fn is_for(&self, name: &str, count: usize) -> bool {
        self.mutations.contains(&name)
            || (count > 1 && self.in_company.contains(&name))
            || self.sometimes.contains(&name)
    }
}

/// The table.
pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        kind: Kind::GateRefuses,
        mutations: &["JSON that a lenient parser reads"],
        in_company: &[],
        sometimes: &[],
        what: "A payload that is not JSON but that a lenient parser reads: a comma before `}`, a comment",
        decided_by: "RFC 8259 §2; RFC 7519 §7.2: the octets must be a completely valid JSON object",
    },
    Difference {
        kind: Kind::GateRefuses,
        mutations: &["a large token"],
        in_company: &[],
        sometimes: &[],
        what: "A token over 16 KiB",
        decided_by: "No RFC sets a size; the limit bounds the work that a stranger can make",
    },
    Difference {
        kind: Kind::GateAccepts,
        mutations: &["deep nesting"],
        in_company: &[],
        sometimes: &[],
        what: "JSON nested between Envoy's 100 and the gate's 127 levels",
        decided_by: "RFC 8259 §9: an implementation may limit the depth",
    },
    Difference {
        kind: Kind::GateRefuses,
        mutations: &["a padded signature", "a padded header or payload"],
        in_company: &[],
        sometimes: &[],
        what: "base64url with padding",
        decided_by: "RFC 7515 §2: all trailing `=` are omitted",
    },
    Difference {
        kind: Kind::GateRefuses,
        mutations: &["stray bits in the signature"],
        in_company: &[],
        sometimes: &[],
        what: "base64url whose unused bits are not zero",
        decided_by: "RFC 4648 §3.5: a decoder may reject it; accepted, one token has many spellings, and a revoked or cached one comes back under another",
    },
    Difference {
        kind: Kind::GateRefuses,
        mutations: &["white space in a segment"],
        in_company: &[],
        sometimes: &[],
        what: "White space in a segment",
        decided_by: "RFC 7515 §2: no line breaks, white space or other characters; §5.2 step 2",
    },
    Difference {
        kind: Kind::GateRefuses,
        mutations: &["another number of segments"],
        in_company: &[],
        sometimes: &[],
        what: "Anything but three segments",
        decided_by: "RFC 7515 §7.1: three segments; RFC 7519 §7.2",
    },
    Difference {
        kind: Kind::GateRefuses,
        mutations: &["crit"],
        in_company: &[],
        sometimes: &[],
        what: "`crit`",
        decided_by: "RFC 7515 §4.1.11: an extension that the recipient does not understand makes the JWS invalid, and an empty list must not be there",
    },
    Difference {
        kind: Kind::GateRefuses,
        mutations: &["b64"],
        in_company: &[],
        sometimes: &[],
        what: "`b64`",
        decided_by: "RFC 7797 §6: an extension that `crit` has to name; the gate understands none (RFC 7515 §4.1.11)",
    },
    Difference {
        kind: Kind::GateRefuses,
        mutations: &["zip"],
        in_company: &[],
        sometimes: &[],
        what: "`zip`",
        decided_by: "RFC 7516 §4.1.3 defines it for JWE alone",
    },
    Difference {
        kind: Kind::GateAccepts,
        mutations: &["kid of no key", "kid of the key", "kid of the provider's other key"],
        in_company: &[],
        sometimes: &[],
        what: "A `kid` that names no key of the provider, on a token that one of its keys signed",
        decided_by: "RFC 7515 §4.1.4: a hint; a `kid` of a known key does bind. It lets issuers that name keys differently (Better Auth names none) share a secret",
    },
    Difference {
        kind: Kind::GateRefuses,
        mutations: &["iat ahead"],
        in_company: &[],
        sometimes: &[],
        what: "`iat` in the future, past the clock skew",
        decided_by: "RFC 7519 §4.1.6: it tells the token's age, which is never below zero. A token from the future comes from a wrong clock, or would get around `max_lifetime_seconds`",
    },
    Difference {
        kind: Kind::GateAccepts,
        mutations: &["exp past 2^53"],
        in_company: &[],
        sometimes: &[],
        what: "A time beyond 64 bits",
        decided_by: "RFC 7519 §2: a NumericDate is a JSON number (RFC 8259 §6), of any notation",
    },
    Difference {
        kind: Kind::GateRefuses,
        mutations: &["aud with a scheme or a slash"],
        in_company: &[],
        sometimes: &[],
        what: "An audience that only resembles a configured one (`https://api/` for `api`)",
        decided_by: "RFC 7519 §2 (StringOrURI): compared as case-sensitive strings with no transformation",
    },
    Difference {
        kind: Kind::GateRefuses,
        mutations: &["aud the gates' own"],
        in_company: &[],
        sometimes: &[],
        what: "The audience `jwt-gate/internal` beside a good one",
        decided_by: "RFC 8725 §3.12: tokens of different uses must not pass for each other; the gates' own tokens are no user's",
    },
    Difference {
        kind: Kind::GateRefuses,
        mutations: &["sub over 4 KiB", "sub with a control character", "sub with spaces around it"],
        in_company: &[],
        sometimes: &[],
        what: "A claim that no header can carry unchanged",
        decided_by: "RFC 9110 §5.5: control characters are invalid and white space around a value is dropped; a value is refused rather than changed",
    },
    Difference {
        kind: Kind::GateAccepts,
        mutations: &["sub with a control character"],
        in_company: &[],
        sometimes: &[],
        what: "A claim that no header can carry unchanged, under `allow_missing_or_failed`: the request passes without an identity, where Envoy answers 503",
        decided_by: "RFC 9110 §5.5; the rule asks for it",
    },
    Difference {
        kind: Kind::GateAccepts,
        mutations: &["the scheme in another case"],
        in_company: &[],
        sometimes: &[],
        what: "`bearer` in another case",
        decided_by: "RFC 9110 §11.1: the scheme is case-insensitive",
    },
    Difference {
        kind: Kind::GateRefuses,
        mutations: &["another scheme", "text before the scheme"],
        in_company: &[],
        sometimes: &[],
        what: "Credentials of another scheme, or with text around them, in which `Bearer ` merely occurs",
        decided_by: "RFC 9110 §11.4, RFC 6750 §2.1: the scheme, a space, and the token alone",
    },
    Difference {
        kind: Kind::GateAccepts,
        mutations: &["a comma or a space behind the token"],
        in_company: &[],
        sometimes: &[],
        what: "A comma or white space behind the token",
        decided_by: "RFC 9110 §5.5: white space around a value is no part of it; §5.3: the comma is what joins two field lines, one of them empty",
    },
    Difference {
        kind: Kind::GateAccepts,
        mutations: &["the same Authorization twice"],
        in_company: &[],
        sometimes: &[],
        what: "The same `Authorization` twice",
        decided_by: "RFC 9110 §5.3: lines may be combined; the same credentials twice say one thing",
    },
    Difference {
        kind: Kind::GateRefuses,
        mutations: &["a token of the other provider beside it"],
        in_company: &[
            "another Authorization beside it",
            "the same Authorization twice",
            "a bad token in a later place",
            "somebody else's token in a later place",
        ],
        sometimes: &[],
        what: "Two different values in one header",
        decided_by: "RFC 9110 §5.3, §11.6.2: one set of credentials; another reader might take the other",
    },
    Difference {
        kind: Kind::GateRefuses,
        mutations: &["the cookie twice, one of them bad", "the parameter twice, one of them bad"],
        in_company: &[],
        sometimes: &[],
        what: "Two different values of one cookie or parameter",
        decided_by: "RFC 6265 §4.2.2: a server should not rely on their order, so neither is the right one; RFC 6749 §3.1: no parameter more than once",
    },
    Difference {
        kind: Kind::GateAccepts,
        mutations: &["a query", "the cookie twice, one of them empty"],
        in_company: &[],
        sometimes: &[],
        what: "An empty cookie or parameter beside a token",
        decided_by: "RFC 6750 §2.1: a token has at least one character, so an empty place holds none",
    },
    Difference {
        kind: Kind::GateAccepts,
        mutations: &["spaces around the cookie's equals sign"],
        in_company: &[],
        sometimes: &[],
        what: "White space around a cookie's `=`",
        decided_by: "RFC 6265 §5.2: removed when a cookie is read",
    },
    Difference {
        kind: Kind::GateAccepts,
        mutations: &["a bad token in a later place"],
        in_company: &[
            "another Authorization beside it",
            "somebody else\'s token in a later place",
            "a bad token in an earlier place",
        ],
        sometimes: &[],
        what: "A bad token in a place behind the one that holds a good one",
        decided_by: "RFC 6750 §2: one method a request. The first place in configured order decides, and the others are taken off the request",
    },
    Difference {
        kind: Kind::Identity,
        mutations: &["somebody else's token in a later place"],
        in_company: &["another Authorization beside it"],
        sometimes: &[],
        what: "Two good tokens of two users in two places: Envoy sends the backend both users' identities",
        decided_by: "RFC 6750 §2: one method a request; the first place decides, so there is one identity",
    },
    Difference {
        kind: Kind::LeftOver,
        mutations: &["somebody else's token in a later place"],
        in_company: &[],
        sometimes: &[],
        what: "Tokens in further places are taken off as well",
        decided_by: "`forward: false`: the token leaves no trace",
    },
    Difference {
        kind: Kind::LeftOver,
        mutations: &[
            "the cookie",
            "the cookie in quotes",
            "the cookie twice",
            "the cookie twice, one of them empty",
            "spaces around the cookie's equals sign",
        ],
        in_company: &["the cookie twice, one of them bad"],
        sometimes: &[],
        what: "The cookie that held the token is cut out of `Cookie`; Envoy leaves it",
        decided_by: "`forward: false`: the token leaves no trace",
    },
    Difference {
        kind: Kind::LeftOver,
        mutations: &["the parameter"],
        in_company: &[],
        sometimes: &[],
        what: "The parameter that held the token is cut out of the path and no other byte changes; Envoy rewrites the other parameters (`%20` becomes a space)",
        decided_by: "RFC 3986 §2.2, §6.2.2.2: decoding a reserved or excluded character changes or breaks the URI",
    },
    Difference {
        kind: Kind::Identity,
        mutations: &["a spoofed identity header with an underscore"],
        in_company: &[],
        sometimes: &["a spoofed identity header"],
        what: "A client's identity headers are removed in every spelling; Envoy removes the exact name (before 1.40 only where a rule asks for a token) and leaves `x_user_id`",
        decided_by: "RFC 3875 §4.1.18 (CGI, and WSGI after it) reads `x_user_id` and `x-user-id` alike",
    },
    Difference {
        kind: Kind::Identity,
        mutations: &["level, a nested number", "level, a large or broken number"],
        in_company: &[],
        sometimes: &[],
        what: "A number as it is written in the token; Envoy writes `3.000000` and loses digits beyond 2^53",
        decided_by: "RFC 8259 §6: a number is its digits; two numbers stay two",
    },
    Difference {
        kind: Kind::GateRefuses,
        mutations: &["a path with more than one reading"],
        in_company: &[],
        sometimes: &[],
        what: "A path that has more than one reading, under a public or optional rule",
        decided_by: "RFC 3986 §6.2.2, RFC 9110 §17.3 (attacks on names): a token is needed, whichever reading the backend takes",
    },
    Difference {
        kind: Kind::GateAccepts,
        mutations: &["a path with more than one reading"],
        in_company: &[],
        sometimes: &[],
        what: "A path that has more than one reading, under a public or optional rule, with a good token: it passes as its owner, where Envoy passes it anonymously",
        decided_by: "RFC 3986 §6.2.2, RFC 9110 §17.3: a token is needed, and this one is good",
    },
    Difference {
        kind: Kind::GateRefuses,
        mutations: &["a bad token in an earlier place"],
        in_company: &[
            "random bytes in place of the token",
            "another Authorization beside it",
            "a bad token in a later place",
            "somebody else's token in a later place",
            "a token of the other provider beside it",
        ],
        sometimes: &[],
        what: "Several tokens, the first of them bad, under `allow_missing_or_failed`: Envoy takes the identity of a later one, the gate takes none",
        decided_by: "RFC 6750 §2: one method a request. The first place in configured order decides",
    },
    Difference {
        kind: Kind::GateRefuses,
        mutations: &[],
        in_company: &[
            "the scheme in another case",
            "spaces around the cookie's equals sign",
            "the parameter's name escaped",
            "a tab behind the scheme",
        ],
        sometimes: &[],
        what: "A bad token that only the gate finds (`bearer`, a space around a cookie's `=`, an escaped parameter name), under `allow_missing`: bad, not missing",
        decided_by: "As for the good ones: RFC 9110 §11.1, RFC 6265 §5.2, RFC 3986 §6.2.2.2",
    },
    Difference {
        kind: Kind::GateRefuses,
        mutations: &[],
        in_company: &["a bad token of the other provider beside it"],
        sometimes: &[],
        what: "`allow_missing: {}` beside a bad token of a provider that the rule does not name",
        decided_by: "`{}` stands for any provider, and a bad token is not a missing one",
    },
    Difference {
        kind: Kind::GateAccepts,
        mutations: &[],
        in_company: &["a token of the other provider beside it"],
        sometimes: &[],
        what: "`allow_missing: {}` or `allow_missing_or_failed: {}` beside a bad token of the provider before it and a good one of another: the request passes as the other's owner",
        decided_by: "`{}` stands for any provider",
    },
    Difference {
        kind: Kind::Identity,
        mutations: &[],
        in_company: &["the same Authorization twice", "a token of the other provider beside it"],
        sometimes: &[],
        what: "One identity, once; Envoy appends an identity header for each token, so that the backend may see it twice",
        decided_by: "RFC 9110 §5.3: a field whose definition allows no list must not occur twice",
    },
    Difference {
        kind: Kind::LeftOver,
        mutations: &[
            "a bad token of the other provider beside it",
            "a token of the other provider beside it",
            "the same Authorization twice",
            "another Authorization beside it",
            "a bad token in a later place",
        ],
        in_company: &["a bad token in an earlier place"],
        sometimes: &["a query"],
        what: "The tokens of every provider are taken off, good or bad; Envoy leaves those of providers that did not decide",
        decided_by: "`forward: false`: the token leaves no trace, and the backend does not take another one for the caller's",
    },
    Difference {
        kind: Kind::GateAccepts,
        mutations: &["a tab behind the scheme"],
        in_company: &[],
        sometimes: &[],
        what: "A tab behind `Bearer`",
        decided_by: "RFC 9110 §11.4 has spaces, but many backends split at any white space (RFC 9110 §5.6.3): a token that they would read is judged and taken off",
    },
    Difference {
        kind: Kind::GateRefuses,
        mutations: &[],
        in_company: &["a CORS preflight"],
        sometimes: &[],
        what: "A CORS preflight with credentials that are no good",
        decided_by: "Fetch §4.8 (CORS-preflight fetch): a browser sends no credentials with one, so this is a request like another",
    },
    Difference {
        kind: Kind::GateAccepts,
        mutations: &[],
        in_company: &["a CORS preflight"],
        sometimes: &[],
        what: "A CORS preflight with a good token: it passes as its owner, where Envoy passes it anonymously",
        decided_by: "Fetch §4.8, as above",
    },
    Difference {
        kind: Kind::GateAccepts,
        mutations: &[],
        in_company: &["another scheme", "text before the scheme"],
        sometimes: &[],
        what: "Credentials of another scheme in which `Bearer ` and a bad token occur, under `allow_missing`: no bearer token at all",
        decided_by: "RFC 9110 §11.4, RFC 6750 §2.1: the scheme comes first",
    },
    Difference {
        kind: Kind::GateAccepts,
        mutations: &[],
        in_company: &[],
        sometimes: &["random bytes in place of the token"],
        what: "`Bearer ,` and anything behind the comma, under `allow_missing`: a scheme without a token, so no token",
        decided_by: "RFC 9110 §5.3: the comma joins two field lines; RFC 6750 §2.1: a token has at least one character",
    },
];

const PREFACE: &str = "\
# The gate beside `jwt_authn`

Envoy's own `jwt_authn` filter and the gate stand in one Envoy behind two listeners, with the same providers and
rules, and receive the same generated requests (`cargo test -p jwt-gate-tests --test differential`; 25,000 by
default, `JWT_GATE_DIFFERENTIAL_REQUESTS` and `JWT_GATE_DIFFERENTIAL_SEED` choose others). The requests are good ones
to which none to three of over a hundred kinds of change were made: to the token's segments, header members, claims and their
types, to encodings, white space, unicode and sizes, to the place of the token, the path and the rest of the request.

A third of the requests go over HTTP/2. `cargo xtask test` runs this on the newest and on the oldest supported Envoy;
`ENVOY=$(cargo xtask envoy --version 1.36.4)` before the command runs it on the oldest alone.

They agree about every request but those below. The test fails on a disagreement that stands in no row and on a row
that no request shows, and it keeps this page: the table is written by it.
";

/// The table as a page.
pub(crate) fn markdown() -> String {
    let mut page = PREFACE.to_owned();
    for (kind, title) in [
        (Kind::GateRefuses, "`jwt_authn` accepts, the gate refuses"),
        (Kind::GateAccepts, "The gate accepts, `jwt_authn` refuses"),
        (Kind::Identity, "Both accept, the backend learns something else"),
        (Kind::LeftOver, "Both accept, something else is left of the request"),
    ] {
        let _ = writeln!(page, "\n## {title}\n\n| what | decided by |\n| --- | --- |");
        for row in DIFFERENCES.iter().filter(|row| row.kind == kind) {
            let _ = writeln!(page, "| {} | {} |", row.what, row.decided_by);
        }
    }
    page.push_str(CONFIGURATIONS);
    for (_, what, decided_by) in crate::configurations::ROWS {
        let _ = writeln!(page, "| {what} | {decided_by} |");
    }
    page
}

const CONFIGURATIONS: &str = "
## Whole configurations

A second test draws the configuration too: 320 of them, each with 66 requests. Rules match by path, prefix, path-separated prefix and
regular expression, with and without case; header matchers are of every kind, also inverted, for absent headers, for `:method` and `host`;
requirements are nested; providers look where they are told or, told nothing, where they look by default. Requests have good and bad tokens
in right and wrong places, repeated headers, hosts in odd spellings, any method and query, over HTTP/1.1 and HTTP/2. A rule about `methods` is ours;
there it is written as a header matcher for `:method`. The two agree about every request but these:

| what | decided by |
| --- | --- |
";
