//! The first rule that matches decides.

use super::interpretation::{Inspected, Interpretation, MAX_INTERPRETATIONS, is_canonical_method};
use super::matcher::Matcher;
use super::requirement::Requirement;
use crate::config::{Config, ConfigError, DefaultRule, Rule};
use crate::header_guard::HeaderGuard;
use crate::path::{PathAndQuery, every_interpretation, is_canonical, other_interpretations};
use crate::provider::Providers;
use crate::request::Request;

/// Every rule, and what happens where none matches.
#[derive(Debug)]
pub(crate) struct Rules {
    rules: Vec<CompiledRule>,
    fallback: Fallback,
    any_provider: Requirement,
    inspected: Inspected,
}

#[derive(Debug)]
struct CompiledRule {
    matcher: Matcher,
    /// `None` for a public rule.
    requirement: Option<Requirement>,
}

/// What happens where no rule matches.
#[derive(Debug)]
enum Fallback {
    Deny,
    Require(Requirement),
    Allow,
}

/// The access that the rules give to a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Access<'rules> {
    /// It is public.
    Public,
    /// It must meet this requirement.
    Requires(&'rules Requirement),
    /// The request is not canonical: it must meet this requirement first, and then those of
    /// [`Rules::access_of_interpretations`].
    RequiresEveryInterpretation(&'rules Requirement),
    /// No rule is for it, and the default is to deny.
    NoRule,
}

impl Rules {
    /// Takes the rules out of `config`.
    pub(crate) fn new(
        config: &mut Config,
        providers: &Providers,
        guard: &HeaderGuard,
    ) -> Result<Self, ConfigError> {
        let options = config.paths;
        let compile = |(index, rule): (usize, Rule)| {
            let field = format!("rules[{index}]");
            let requirement = rule
                .requires
                .map(|requires| Requirement::new(requires, providers, &format!("{field}.requires")));
            Ok(CompiledRule {
                matcher: Matcher::new(&rule.r#match, options, guard, &format!("{field}.match"))?,
                requirement: requirement.transpose()?,
            })
        };
        let rules: Vec<CompiledRule> = std::mem::take(&mut config.rules)
            .into_iter()
            .enumerate()
            .map(compile)
            .collect::<Result<_, _>>()?;
        let fallback = match config.default {
            DefaultRule::Deny => Fallback::Deny,
            DefaultRule::Allow => Fallback::Allow,
            DefaultRule::Require if providers.len() == 1 => {
                Fallback::Require(Requirement::Provider(0, Vec::new()))
            }
            DefaultRule::Require => {
                return Err(ConfigError::new(
                    "default",
                    "`require` means the only provider, and there are several; end the rules with one for `prefix: /`",
                ));
            }
        };
        let mut inspected = Inspected::default();
        rules.iter().for_each(|rule| rule.matcher.note_inspected(&mut inspected));
        Ok(Self { rules, fallback, any_provider: Requirement::any_provider(providers), inspected })
    }

    /// The access that `request` has. A canonical request with several interpretations (an escape, a `HEAD`, a repeated
    /// header) must meet what each interpretation requires.
    ///
    /// A request whose path or method is not canonical is matched only by rules that require a token, and needs one even if
    /// the default is to allow. It must also meet what each of its interpretations requires.
    pub(crate) fn access(&self, request: &Request) -> Vec<Access<'_>> {
        let path = PathAndQuery::new(request.target()).path;
        let written = Interpretation::written(request, &self.inspected);
        if is_canonical(path) && is_canonical_method(request.method()) {
            let others = other_interpretations(path);
            if others.is_empty() && written.is_the_only_one(&self.inspected) {
                return vec![self.access_of_one(&written)];
            }
            return self.access_of_each(&written, &[&[path.to_vec()], &*others].concat());
        }
        let asks = |rule: &&CompiledRule| rule.requirement.as_ref().is_some_and(|r| !r.is_optional());
        let rule = self.rules.iter().filter(asks).find(|rule| rule.matcher.matches(&written));
        vec![match self.access_by(rule) {
            Access::Requires(requirement) => Access::RequiresEveryInterpretation(requirement),
            Access::Public => Access::RequiresEveryInterpretation(&self.any_provider),
            access => access,
        }]
    }

    /// The access of each interpretation of a request that is not canonical.
    pub(crate) fn access_of_interpretations(&self, request: &Request) -> Vec<Access<'_>> {
        let written = Interpretation::written(request, &self.inspected);
        every_interpretation(PathAndQuery::new(request.target()).path)
            .map_or_else(|| vec![Access::NoRule], |paths| self.access_of_each(&written, &paths))
    }

    /// The access of the interpretations with each of `paths`, each once.
    fn access_of_each(&self, written: &Interpretation<'_>, paths: &[Vec<u8>]) -> Vec<Access<'_>> {
        let mut found: Vec<Access<'_>> = Vec::with_capacity(1);
        let Some(others) = written.others(&self.inspected) else { return vec![Access::NoRule] };
        if others.len().saturating_mul(paths.len()) > MAX_INTERPRETATIONS {
            return vec![Access::NoRule];
        }
        for path in paths {
            for interpretation in others.iter().map(|other| other.with_path(path)) {
                let access = self.access_of_one(&interpretation);
                if !found.iter().any(|known| known.is_same(&access)) {
                    found.push(access);
                }
            }
        }
        found
    }

    fn access_of_one(&self, interpretation: &Interpretation<'_>) -> Access<'_> {
        self.access_by(self.rules.iter().find(|rule| rule.matcher.matches(interpretation)))
    }

    /// The access that `rule` gives, or the default if there is none.
    fn access_by<'rules>(&'rules self, rule: Option<&'rules CompiledRule>) -> Access<'rules> {
        match (rule, &self.fallback) {
            (Some(CompiledRule { requirement: None, .. }), _) => Access::Public,
            (Some(CompiledRule { requirement: Some(requirement), .. }), _) => Access::Requires(requirement),
            (None, Fallback::Require(requirement)) => Access::Requires(requirement),
            (None, Fallback::Allow) => Access::Public,
            (None, Fallback::Deny) => Access::NoRule,
        }
    }
}

impl Access<'_> {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Requires(one), Self::Requires(other)) => std::ptr::eq(*one, *other),
            (Self::Public, Self::Public) | (Self::NoRule, Self::NoRule) => true,
            _ => false,
        }
    }
}
