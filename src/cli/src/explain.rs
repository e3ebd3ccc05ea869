//! `jwt-gate explain`

use std::borrow::Cow;

use jwt_gate::config::{ClaimCondition, ClaimValue, Config, DefaultRule, Requirement};
use jwt_gate::{Decider, HeaderMutation, TokenPlace, Verdict};
use serde::Serialize;

use crate::call::{Call, request};
use crate::load::Gate;

/// In place of a token.
const HIDDEN: &str = "<token>";

/// The fewest bytes of something that is hidden. What is shorter is no token, and may be part of anything.
const MIN_TOKEN_BYTES: usize = 8;

/// The fewest characters of a JWT.
const MIN_JWT_BYTES: usize = 20;

/// The decision about a request, step by step. It holds no token.
#[derive(Debug, Serialize)]
pub(crate) struct Explained {
    pub(crate) request: Vec<(String, String)>,
    pub(crate) has_canonical_path: bool,
    pub(crate) has_canonical_method: bool,
    /// For a request that is not canonical: the rule whose requirement it must meet before its interpretations are looked at.
    pub(crate) asked_first: Option<String>,
    /// `None`: too many.
    pub(crate) interpretations: Option<Vec<Interpretation>>,
    pub(crate) tokens: Vec<Token>,
    /// The rules that decided.
    pub(crate) rules: Vec<String>,
    /// `allow`, `deny` or `redirect`.
    pub(crate) verdict: &'static str,
    /// `allowed`, `public`, or why not.
    pub(crate) code: String,
    /// What the gate would write into its log.
    pub(crate) log: Option<String>,
    /// What the backend gets, if the request passes.
    pub(crate) headers: Option<Vec<(String, String)>>,
    /// What the client gets, if it does not.
    pub(crate) reply: Option<Reply>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Interpretation {
    pub(crate) method: String,
    pub(crate) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) rule: String,
    pub(crate) requires: String,
}

#[derive(Debug, Serialize)]
pub(crate) struct Token {
    pub(crate) provider: String,
    /// As in `header authorization`.
    pub(crate) place: String,
    /// Whether the place holds several different ones.
    pub(crate) is_ambiguous: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct Reply {
    pub(crate) status: u32,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

/// Decides about `call` at the time `now`.
pub(crate) fn explain(gate: &Gate, call: &Call, now: f64) -> Explained {
    let headers = call.all_headers();
    let request = request(&headers, call.has_body);
    let explanation = gate.policy.explain(&request);
    let decision = gate.decide(&request, now);
    let mut tokens: Vec<String> = may_be_tokens(&headers, &gate.config);
    for found in &explanation.tokens {
        tokens.extend(found.token.as_ref().map(|token| String::from_utf8_lossy(token).into_owned()));
    }
    tokens.retain(|token| token.len() >= MIN_TOKEN_BYTES);
    // The longest first: one may be part of another.
    tokens.sort_by_key(|token| std::cmp::Reverse(token.len()));
    let hide = |text: &str| hidden(text, &tokens);
    let hide_all = |headers: &[(String, String)]| {
        headers.iter().map(|(name, value)| (name.clone(), hide(value))).collect::<Vec<_>>()
    };
    let name = |decider| gate.policy.rule_name(decider).to_owned();
    let interpretations = explanation.interpretations.map(|all| {
        let interpretation = |one: jwt_gate::InterpretedRequest| Interpretation {
            method: one.method,
            path: hide(&one.path),
            host: one.host,
            headers: hide_all(&one.headers),
            rule: name(one.decider),
            requires: requires(one.decider, &gate.config),
        };
        all.into_iter().map(interpretation).collect()
    });
    let (verdict, code, reply) = match &decision.verdict {
        Verdict::Allow(allowed) => ("allow", if allowed.authenticated { "allowed" } else { "public" }, None),
        Verdict::Deny(reason, reply) => {
            let verdict = if reply.status == 302 { "redirect" } else { "deny" };
            (verdict, reason.as_str(), Some(reply))
        }
        // The clock of this tool always tells the time.
        Verdict::Undecided => ("deny", "undecided", None),
    };
    let own = |(name, value): &(&str, String)| ((*name).to_owned(), hide(value));
    Explained {
        request: hide_all(&headers),
        has_canonical_path: explanation.has_canonical_path,
        has_canonical_method: explanation.has_canonical_method,
        asked_first: explanation.asked_first.map(name),
        interpretations,
        tokens: explanation
            .tokens
            .iter()
            .map(|found| Token {
                provider: found.provider.clone(),
                place: match &found.place {
                    TokenPlace::Header(name) => format!("header {name}"),
                    TokenPlace::Cookie(name) => format!("cookie {name}"),
                    TokenPlace::Parameter(name) => format!("parameter {name}"),
                },
                is_ambiguous: found.token.is_none(),
            })
            .collect(),
        rules: decision.deciders.iter().map(name).collect(),
        verdict,
        code: code.to_owned(),
        log: decision
            .log
            .as_deref()
            .map(|line| line.split("; the next line").next().unwrap_or(line).to_owned()),
        headers: (verdict == "allow").then(|| hide_all(&changed(&headers, &decision.mutations))),
        reply: reply.map(|reply| Reply {
            status: reply.status,
            headers: reply.headers.iter().map(own).collect(),
            body: reply.body.clone(),
        }),
    }
}

/// `headers` after the gate's changes, as a proxy makes them.
fn changed(headers: &[(String, String)], mutations: &[HeaderMutation]) -> Vec<(String, String)> {
    let mut headers = headers.to_vec();
    for mutation in mutations {
        let is_name = |known: &str, name: &[u8]| known.as_bytes().eq_ignore_ascii_case(name);
        match mutation {
            HeaderMutation::Remove(name) => headers.retain(|(known, _)| !is_name(known, name)),
            HeaderMutation::Set(name, value) => {
                let value = String::from_utf8_lossy(value).into_owned();
                let mut is_there = false;
                headers.retain_mut(|(known, old)| {
                    let is_it = is_name(known, name.as_bytes());
                    if is_it && !is_there {
                        old.clone_from(&value);
                    }
                    let keep = !is_it || !is_there;
                    is_there |= is_it;
                    keep
                });
                if !is_there {
                    headers.push((name.to_string(), value));
                }
            }
        }
    }
    headers
}

/// Everything in a place where a provider looks for a token, also behind the first.
fn may_be_tokens(headers: &[(String, String)], config: &Config) -> Vec<String> {
    let providers = || config.providers.values();
    let after_word = |value: &str| value.trim().rsplit(' ').next().unwrap_or_default().to_owned();
    let named = |pair: &str, names: &[String]| {
        let (name, value) = pair.split_once('=')?;
        let value = value.trim().trim_matches('"');
        names.iter().any(|known| known == name.trim()).then(|| value.to_owned())
    };
    let mut found = Vec::new();
    for (name, value) in headers {
        let is_source = name == "authorization"
            || providers()
                .flat_map(|one| &one.from_headers)
                .any(|header| header.name.eq_ignore_ascii_case(name));
        if is_source {
            found.extend(value.split(',').map(after_word));
        }
        for provider in providers() {
            match name.as_str() {
                "cookie" => {
                    found.extend(value.split(';').filter_map(|pair| named(pair, &provider.from_cookies)))
                }
                ":path" => {
                    let query = value.split_once('?').map_or("", |(_, query)| query);
                    found.extend(query.split('&').filter_map(|pair| named(pair, &provider.from_params)));
                }
                _ => {}
            }
        }
    }
    found
}

/// `text` without these tokens, and without anything else that has the form of a JWT.
pub(crate) fn hidden(text: &str, tokens: &[String]) -> String {
    let mut text: Cow<'_, str> = text.into();
    for token in tokens.iter().filter(|token| !token.is_empty()) {
        if text.contains(token.as_str()) {
            text = text.replace(token.as_str(), HIDDEN).into();
        }
    }
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let mut shown = String::with_capacity(text.len());
    let mut rest = &*text;
    while !rest.is_empty() {
        let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        let is_jwt = word.starts_with("eyJ") && word.len() >= MIN_JWT_BYTES && word.matches('.').count() == 2;
        shown.push_str(if is_jwt { HIDDEN } else { word });
        let next = after.find(is_part).unwrap_or(after.len());
        let (between, after) = after.split_at(next);
        shown.push_str(between);
        rest = after;
    }
    shown
}

/// What a rule asks for, in words.
fn requires(decider: Decider, config: &Config) -> String {
    match decider {
        Decider::Rule(index) => match config.rules.get(index).map(|rule| &rule.requires) {
            Some(Some(requirement)) => words(requirement),
            _ => "nothing: it is public".to_owned(),
        },
        Decider::Default => match config.default {
            DefaultRule::Deny => "nothing can meet it: `default: deny`".to_owned(),
            DefaultRule::Allow => "nothing: it is public".to_owned(),
            DefaultRule::Require => "a token".to_owned(),
        },
        Decider::CorsPreflight => "nothing: it is a preflight".to_owned(),
        Decider::TooManyInterpretations => "nothing can meet it: too many interpretations".to_owned(),
    }
}

fn words(requirement: &Requirement) -> String {
    let Requirement {
        provider_name,
        claims,
        requires_any,
        requires_all,
        allow_missing,
        allow_missing_or_failed,
    } = requirement;
    let list = |list: &jwt_gate::config::RequirementList, between: &str| {
        let words: Vec<String> = list.0.iter().map(words).collect();
        if words.len() == 1 { words.concat() } else { format!("({})", words.join(between)) }
    };
    if let Some(any) = requires_any {
        list(any, " or ")
    } else if let Some(all) = requires_all {
        list(all, " and ")
    } else if let Some(inner) = allow_missing {
        format!("no token, or {}", words(inner))
    } else if let Some(inner) = allow_missing_or_failed {
        format!("anything; an identity comes from {}", words(inner))
    } else if let Some(name) = provider_name {
        let claims: Vec<String> = claims.0.iter().map(claim).collect();
        let with = if claims.is_empty() { String::new() } else { format!(" with {}", claims.join(" and ")) };
        format!("a token of {name}{with}")
    } else {
        "a token of any provider".to_owned()
    }
}

fn claim(condition: &ClaimCondition) -> String {
    let name = condition.dotted.clone().unwrap_or_else(|| condition.claim_path.join(" / "));
    let value = |value: &ClaimValue| match value {
        ClaimValue::Text(text) => text.clone(),
        ClaimValue::Number(number) => number.to_string(),
        ClaimValue::Flag(flag) => flag.to_string(),
    };
    let values: Vec<String> = condition.values.iter().map(value).collect();
    format!("{name}: {}", values.join(" or "))
}

impl Explained {
    /// For people.
    pub(crate) fn text(&self, call: &Call) -> String {
        let mut lines = Vec::new();
        let path = self.request.iter().find(|(name, _)| name == ":path").map_or("", |(_, value)| value);
        lines.push(format!("{} {path}", call.method));
        if !self.has_canonical_path || !self.has_canonical_method {
            let what = if self.has_canonical_path { "method" } else { "path" };
            lines.push(format!(
                "  The {what} can be read in several ways, so no reading of it is public. (Envoy's normalize_path may change it before.)"
            ));
        }
        if let Some(rule) = &self.asked_first {
            lines.push(format!("  As it is written it must first meet: {rule}"));
        }
        match &self.interpretations {
            None => lines.push("  It has more readings than the gate looks at: refused.".to_owned()),
            Some(all) => {
                for one in all {
                    let host = one.host.as_ref().map(|host| format!(", host {host}")).unwrap_or_default();
                    let header = |(name, value): &(String, String)| format!(", {name}: {value}");
                    let headers: String = one.headers.iter().map(header).collect();
                    lines.push(format!("  read as   {} {}{host}{headers}", one.method, visible(&one.path)));
                    lines.push(format!("    rule    {}, which requires {}", one.rule, one.requires));
                }
            }
        }
        for Token { provider, place, is_ambiguous } in &self.tokens {
            let what = if *is_ambiguous { "several different tokens" } else { "a token" };
            lines.push(format!("  token     {what} for {provider} in {place}"));
        }
        if self.tokens.is_empty() {
            lines.push("  token     none".to_owned());
        }
        lines.push(format!("  verdict   {}: {}, by {}", self.verdict, self.code, self.rules.join(", ")));
        lines.extend(self.log.as_ref().map(|log| format!("            {log}")));
        if let Some(headers) = &self.headers {
            lines.push("  The backend gets".to_owned());
            for (name, value) in headers {
                let note =
                    if self.request.contains(&(name.clone(), value.clone())) { "" } else { "   <- the gate" };
                lines.push(format!("    {name}: {}{note}", visible(value)));
            }
            let is_left = |(name, _): &&(String, String)| headers.iter().any(|(left, _)| left == name);
            let gone = self.request.iter().filter(|header| !is_left(header)).map(|(name, _)| name.as_str());
            let gone: Vec<&str> = gone.collect();
            if !gone.is_empty() {
                lines.push(format!("  It does not get {}", gone.join(", ")));
            }
        }
        if let Some(reply) = &self.reply {
            lines.push(format!("  The client gets {}", reply.status));
            lines.extend(reply.headers.iter().map(|(name, value)| format!("    {name}: {}", visible(value))));
            lines.extend((!reply.body.is_empty()).then(|| format!("    {}", reply.body)));
        }
        lines.join("\n")
    }
}

/// `text` without control characters, which a terminal would obey.
fn visible(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) {
        text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_everything_like_them_are_hidden() {
        let tokens = ["abcd.efgh".to_owned()];
        assert_eq!(hidden("session=abcd.efgh; a=b", &tokens), "session=<token>; a=b");
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1In0.c2lnbmF0dXJl";
        assert_eq!(hidden(&format!("/a?t={jwt}&é=1"), &[]), "/a?t=<token>&é=1");
        assert_eq!(hidden("a.test:80, text/html", &[]), "a.test:80, text/html");
    }
}
