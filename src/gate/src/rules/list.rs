//! The first rule that matches decides.

use std::borrow::Cow;

use super::decider::{Decider, Deciders, RuleNames};
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
    names: RuleNames,
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

/// The access that the rules give to an interpretation of a request, and what decided so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ruling<'rules> {
    pub(crate) decider: Decider,
    pub(crate) access: Access<'rules>,
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
        let names = RuleNames::new(&config.rules)?;
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
        Ok(Self { rules, names, fallback, any_provider: Requirement::any_provider(providers), inspected })
    }

    /// The name of a rule, or of what decides where no rule does.
    pub(crate) fn name(&self, decider: Decider) -> &str {
        self.names.get(decider)
    }

    /// The names of `deciders` in one text.
    pub(crate) fn joined_names(&self, deciders: &Deciders) -> Cow<'_, str> {
        self.names.joined(deciders)
    }

    /// The access that `request` has. A canonical request with several interpretations (an escape, a `HEAD`, a repeated
    /// header) must meet what each interpretation requires.
    ///
    /// A request whose path or method is not canonical is matched only by rules that require a token, and needs one even if
    /// the default is to allow. It must also meet what each of its interpretations requires.
    pub(crate) fn rulings(&self, request: &Request) -> Vec<Ruling<'_>> {
        let path = PathAndQuery::new(request.target()).path;
        let written = Interpretation::written(request, &self.inspected);
        if is_canonical(path) && is_canonical_method(request.method()) {
            let others = other_interpretations(path);
            if others.is_empty() && written.is_the_only_one(&self.inspected) {
                return vec![self.ruling_of(&written)];
            }
            return self.rulings_of_each(&written, &[&[path.to_vec()], &*others].concat());
        }
        let asks =
            |(_, rule): &(usize, &CompiledRule)| rule.requirement.as_ref().is_some_and(|r| !r.is_optional());
        let rule =
            self.rules.iter().enumerate().filter(asks).find(|(_, rule)| rule.matcher.matches(&written));
        let Ruling { decider, access } = self.ruling_by(rule);
        let access = match access {
            Access::Requires(requirement) => Access::RequiresEveryInterpretation(requirement),
            Access::Public => Access::RequiresEveryInterpretation(&self.any_provider),
            access => access,
        };
        vec![Ruling { decider, access }]
    }

    /// The access of each interpretation of a request that is not canonical.
    pub(crate) fn rulings_of_interpretations(&self, request: &Request) -> Vec<Ruling<'_>> {
        let written = Interpretation::written(request, &self.inspected);
        every_interpretation(PathAndQuery::new(request.target()).path)
            .map_or_else(|| vec![Ruling::TOO_MANY], |paths| self.rulings_of_each(&written, &paths))
    }

    /// Every interpretation of `request`, and the access of each; `None` if they are too many.
    pub(crate) fn interpretations<'request>(
        &'request self,
        request: &'request Request<'request>,
    ) -> Option<Vec<(Interpretation<'request>, Ruling<'request>)>> {
        let path = PathAndQuery::new(request.target()).path;
        let written = Interpretation::written(request, &self.inspected);
        let paths = if is_canonical(path) && is_canonical_method(request.method()) {
            [&[path.to_vec()], &*other_interpretations(path)].concat()
        } else {
            every_interpretation(path)?
        };
        let all = self.with_each_path(&written, &paths)?;
        Some(all.map(|one| (one.clone(), self.ruling_of(&one))).collect())
    }

    /// The access of the interpretations with each of `paths`, each rule once.
    fn rulings_of_each(&self, written: &Interpretation<'_>, paths: &[Vec<u8>]) -> Vec<Ruling<'_>> {
        let Some(all) = self.with_each_path(written, paths) else { return vec![Ruling::TOO_MANY] };
        let mut found: Vec<Ruling<'_>> = Vec::with_capacity(1);
        for interpretation in all {
            let ruling = self.ruling_of(&interpretation);
            if !found.iter().any(|known| known.decider == ruling.decider) {
                found.push(ruling);
            }
        }
        found
    }

    /// The interpretations with each of `paths`; `None` if they are too many.
    fn with_each_path<'request>(
        &'request self,
        written: &Interpretation<'request>,
        paths: &[Vec<u8>],
    ) -> Option<impl Iterator<Item = Interpretation<'request>>> {
        let others = written.others(&self.inspected)?;
        if others.len().saturating_mul(paths.len()) > MAX_INTERPRETATIONS {
            return None;
        }
        let with_path =
            move |path: &Vec<u8>| others.iter().map(|other| other.with_path(path)).collect::<Vec<_>>();
        Some(paths.iter().flat_map(with_path))
    }

    fn ruling_of(&self, interpretation: &Interpretation<'_>) -> Ruling<'_> {
        self.ruling_by(self.rules.iter().enumerate().find(|(_, rule)| rule.matcher.matches(interpretation)))
    }

    /// The access that `rule` gives, or the default if there is none.
    fn ruling_by<'rules>(&'rules self, rule: Option<(usize, &'rules CompiledRule)>) -> Ruling<'rules> {
        let (decider, access) = match (rule, &self.fallback) {
            (Some((index, rule)), _) => {
                let access = rule.requirement.as_ref().map_or(Access::Public, Access::Requires);
                (Decider::Rule(index), access)
            }
            (None, Fallback::Require(requirement)) => (Decider::Default, Access::Requires(requirement)),
            (None, Fallback::Allow) => (Decider::Default, Access::Public),
            (None, Fallback::Deny) => (Decider::Default, Access::NoRule),
        };
        Ruling { decider, access }
    }
}

impl Ruling<'_> {
    const TOO_MANY: Self = Self { decider: Decider::TooManyInterpretations, access: Access::NoRule };
}
