//! Which rules are for requests that other rules are for too. Every answer is certain: what cannot be decided, as with most
//! regular expressions, is answered with no.

use jwt_gate::config::{PathOptions, RouteMatch};

/// The paths of a rule, as far as they can be compared.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Paths<'rule> {
    Exact(String),
    Prefix(String),
    /// This path, and everything that follows it after a slash.
    Below(String),
    Regex(&'rule str),
}

/// Whether `earlier` is for every request in canonical form that `later` is for.
pub(crate) fn covers(earlier: &RouteMatch, later: &RouteMatch, options: PathOptions) -> bool {
    covers_paths(earlier, later, options)
        && covers_methods(&earlier.methods, &later.methods)
        && earlier.headers.iter().all(|condition| has_condition(later, condition))
}

/// Whether there are requests that both are for.
pub(crate) fn overlap(one: &RouteMatch, other: &RouteMatch, options: PathOptions) -> bool {
    let share_methods = one.methods.is_empty()
        || other.methods.is_empty()
        || one.methods.iter().any(|method| other.methods.contains(method));
    // Conditions of both could exclude each other; those of one alone are taken to be possible.
    let implies = |one: &RouteMatch, other: &RouteMatch| {
        one.headers.iter().all(|condition| has_condition(other, condition))
    };
    share_methods && (implies(one, other) || implies(other, one)) && overlap_paths(one, other, options)
}

fn covers_methods(earlier: &[String], later: &[String]) -> bool {
    let has = |name: &str| earlier.iter().any(|method| method == name);
    // A rule for GET is one for HEAD.
    let covered = |method: &String| has(method) || (method == "HEAD" && has("GET"));
    earlier.is_empty() || (!later.is_empty() && later.iter().all(covered))
}

fn has_condition(rule: &RouteMatch, condition: &jwt_gate::config::HeaderMatcher) -> bool {
    let written = format!("{condition:?}");
    rule.headers.iter().any(|other| format!("{other:?}") == written)
}

fn covers_paths(earlier: &RouteMatch, later: &RouteMatch, options: PathOptions) -> bool {
    let (Some(mut one), Some(mut other)) = (paths(earlier), paths(later)) else { return false };
    match (ignores_case(earlier, options), ignores_case(later, options)) {
        (true, _) => (one, other) = (folded(one), folded(other)),
        (false, true) if has_letters(&one) => return false,
        _ => {}
    }
    let is_same = one == other;
    match (&one, &other) {
        (Paths::Regex(_), _) => is_same,
        // What such an expression matches begins with a slash, as all paths in canonical form do.
        (Paths::Prefix(prefix), Paths::Regex(_)) => prefix == "/",
        (_, Paths::Regex(_)) => false,
        (Paths::Exact(path), Paths::Exact(other)) => path == other,
        (Paths::Exact(_), _) => false,
        (Paths::Prefix(prefix), Paths::Exact(other) | Paths::Prefix(other) | Paths::Below(other)) => {
            other.starts_with(prefix.as_str())
        }
        (Paths::Below(path), Paths::Exact(other) | Paths::Below(other)) => is_below(other, path),
        (Paths::Below(path), Paths::Prefix(other)) => other.starts_with(&format!("{path}/")),
    }
}

fn overlap_paths(one: &RouteMatch, other: &RouteMatch, options: PathOptions) -> bool {
    let (Some(mut a), Some(mut b)) = (paths(one), paths(other)) else { return false };
    match (ignores_case(one, options), ignores_case(other, options)) {
        (true, true) => (a, b) = (folded(a), folded(b)),
        // The text of the one that minds case is in both.
        (false, false) => {}
        (true, false) if !has_letters(&a) => {}
        (false, true) if !has_letters(&b) => {}
        _ => return false,
    }
    let meets = |a: &Paths<'_>, b: &Paths<'_>| match (a, b) {
        (Paths::Regex(_), _) | (_, Paths::Regex(_)) => false,
        (Paths::Exact(a), Paths::Exact(b)) => a == b,
        (Paths::Exact(path), Paths::Prefix(prefix)) => path.starts_with(prefix.as_str()),
        (Paths::Exact(path), Paths::Below(prefix)) => is_below(path, prefix),
        (Paths::Prefix(a), Paths::Prefix(b)) => a.starts_with(b.as_str()) || b.starts_with(a.as_str()),
        (Paths::Below(a), Paths::Below(b)) => is_below(a, b) || is_below(b, a),
        (Paths::Prefix(prefix), Paths::Below(path)) => {
            path.starts_with(prefix.as_str()) || prefix.starts_with(&format!("{path}/"))
        }
        (Paths::Prefix(_) | Paths::Below(_), _) => false,
    };
    meets(&a, &b) || meets(&b, &a)
}

fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn paths(rule: &RouteMatch) -> Option<Paths<'_>> {
    match (&rule.path, &rule.prefix, &rule.path_separated_prefix, &rule.safe_regex) {
        (Some(path), ..) => Some(Paths::Exact(path.clone())),
        (_, Some(prefix), ..) => Some(Paths::Prefix(prefix.clone())),
        (_, _, Some(prefix), _) => Some(Paths::Below(prefix.clone())),
        (_, _, _, Some(regex)) => {
            // Without alternatives, and with a letter after the slash, it matches nothing that does not begin with a slash.
            let rest = regex.0.strip_prefix('/')?;
            let is_plain = rest.is_empty() || rest.starts_with(|first: char| first.is_ascii_alphanumeric());
            (is_plain && !regex.0.contains('|')).then_some(Paths::Regex(&regex.0))
        }
        _ => None,
    }
}

fn ignores_case(rule: &RouteMatch, options: PathOptions) -> bool {
    // It has no effect on a regular expression.
    options.ignore_case || (!rule.case_sensitive && rule.safe_regex.is_none())
}

fn has_letters(paths: &Paths<'_>) -> bool {
    match paths {
        Paths::Exact(text) | Paths::Prefix(text) | Paths::Below(text) => text.contains(char::is_alphabetic),
        Paths::Regex(text) => text.contains(char::is_alphabetic),
    }
}

/// As the gate folds a path.
fn folded(paths: Paths<'_>) -> Paths<'_> {
    let fold = |text: String| {
        let fold = |letter: char| match letter {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            '\u{130}' | '\u{131}' => 'i',
            other => other.to_ascii_lowercase(),
        };
        text.chars().map(fold).collect::<String>()
    };
    match paths {
        Paths::Exact(text) => Paths::Exact(fold(text)),
        Paths::Prefix(text) => Paths::Prefix(fold(text)),
        Paths::Below(text) => Paths::Below(fold(text)),
        Paths::Regex(text) => Paths::Regex(text),
    }
}

#[cfg(test)]
mod tests {
    use jwt_gate::{Decider, Policy, Request, config};
    use serde_json::{Value, json};

    use super::*;

    const PATHS: &[&str] = &[
        "/", "/a", "/A", "/a/", "/ab", "/ab/", "/a/b", "/A/b", "/a/b/", "/a/bc", "/b", "/a-", "/s", "/1",
        "/1/",
    ];
    const METHODS: &[&str] = &["GET", "HEAD", "POST"];

    /// Every kind of rule with every short pattern.
    fn rules() -> Vec<Value> {
        let mut rules = Vec::new();
        for pattern in ["/", "/a", "/A", "/a/", "/a/b", "/ab", "/1"] {
            for kind in ["path", "prefix", "path_separated_prefix", "safe_regex"] {
                if kind == "path_separated_prefix" && pattern.ends_with('/') {
                    continue;
                }
                for methods in [json!([]), json!(["GET"]), json!(["HEAD"]), json!(["GET", "POST"])] {
                    rules.push(json!({kind: pattern, "methods": methods}));
                    if kind != "safe_regex" && methods == json!([]) {
                        rules.push(json!({kind: pattern, "case_sensitive": false}));
                        rules.push(json!({kind: pattern, "headers": [{"name": "x"}]}));
                    }
                }
            }
        }
        rules.extend(["/a.*", "/[ab]", "/a|.*", "/?.*", "/a/?b"].map(|regex| json!({"safe_regex": regex})));
        rules
    }

    fn compiled(rule: &Value, paths: &Value) -> (Policy, config::Config) {
        let text = json!({
            "providers": {"app": {"secrets": [{"inline": "0123456789abcdef0123456789abcdef"}]}},
            "rules": [{"match": rule}], "paths": paths,
        })
        .to_string();
        let read = || config::read(text.as_bytes()).unwrap();
        (Policy::new(read(), &|_| None).unwrap(), read())
    }

    /// The requests that the gate itself says a rule is for.
    fn matched(policy: &Policy) -> Vec<bool> {
        let mut matched = Vec::new();
        for path in PATHS {
            for method in METHODS {
                for headers in [&[][..], &[("x", "1")]] {
                    let fixed = [(":method", *method), (":path", *path)];
                    let all =
                        fixed.iter().chain(headers).map(|(name, value)| (name.as_bytes(), value.as_bytes()));
                    let explanation = policy.explain(&Request::new(all));
                    let written = explanation.interpretations.unwrap().remove(0);
                    matched.push(written.decider == Decider::Rule(0));
                }
            }
        }
        matched
    }

    #[test]
    fn what_it_says_of_two_rules_is_what_the_gate_does_with_every_short_request() {
        for paths in [
            json!({}),
            json!({"ignore_case": true}),
            json!({"ignore_trailing_slash": true}),
            json!({"ignore_case": true, "ignore_trailing_slash": true}),
        ] {
            let all: Vec<_> = rules()
                .iter()
                .map(|rule| {
                    let (policy, config) = compiled(rule, &paths);
                    (rule.clone(), matched(&policy), config)
                })
                .collect();
            let (mut covering, mut overlapping) = (0, 0);
            for (rule, matched, config) in &all {
                for (other_rule, other_matched, other_config) in &all {
                    let (one, other) = (&config.rules[0].r#match, &other_config.rules[0].r#match);
                    if covers(one, other, config.paths) {
                        covering += 1;
                        let escaped = matched.iter().zip(other_matched).any(|(one, other)| *other && !one);
                        assert!(!escaped, "{rule} does not cover {other_rule} with {paths}");
                    }
                    if overlap(one, other, config.paths) {
                        overlapping += 1;
                        let shared = matched.iter().zip(other_matched).any(|(one, other)| *one && *other);
                        assert!(shared, "{rule} does not overlap {other_rule} with {paths}");
                    }
                }
            }
            assert!(covering > 1000 && overlapping > 1000, "{covering} {overlapping}");
        }
    }
}
