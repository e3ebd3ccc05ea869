//! The first rule that matches decides.

use super::interpretation::{Interpretation, Looks, MAX_INTERPRETATIONS, is_canonical_method};
use super::matcher::Matcher;
use super::path::{Target, every_reading, is_canonical, other_readings};
use super::requirement::Requirement;
use crate::boundary::Boundary;
use crate::config::{Config, ConfigError, DefaultRule, Rule};
use crate::provider::Providers;
use crate::request::Request;

/// Every rule, and what happens where none matches.
#[derive(Debug)]
pub(crate) struct Rules {
    rules: Vec<CompiledRule>,
    fallback: Fallback,
    any_provider: Requirement,
    looks: Looks,
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

/// What a request needs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Need<'rules> {
    /// Nothing: it is public.
    Nothing,
    /// This.
    Requirement(&'rules Requirement),
    /// This, and what [`Rules::needs_of_interpretations`] says: the request is not canonical.
    EveryInterpretation(&'rules Requirement),
    /// What nobody can give: no rule is for it.
    NoRule,
}

impl Rules {
    /// Takes the rules out of `config`.
    pub(crate) fn new(
        config: &mut Config,
        providers: &Providers,
        boundary: &Boundary,
    ) -> Result<Self, ConfigError> {
        let options = config.paths;
        let compile = |(index, rule): (usize, Rule)| {
            let field = format!("rules[{index}]");
            let requirement = rule
                .requires
                .map(|requires| Requirement::new(requires, providers, &format!("{field}.requires")));
            Ok(CompiledRule {
                matcher: Matcher::new(&rule.r#match, options, boundary, &format!("{field}.match"))?,
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
        let mut looks = Looks::default();
        rules.iter().for_each(|rule| rule.matcher.note_looks(&mut looks));
        Ok(Self { rules, fallback, any_provider: Requirement::any_provider(providers), looks })
    }

    /// What `request` needs. A canonical request that can be interpreted in several ways (an escape, a `HEAD`, a repeated
    /// header) needs what each interpretation needs.
    ///
    /// A request whose path or method is not canonical is only ever matched by rules that ask for a token, and
    /// needs one even where the default is to allow. It needs as well what each of its interpretations needs.
    pub(crate) fn needs(&self, request: &Request) -> Vec<Need<'_>> {
        let path = Target::new(request.target()).path;
        let written = Interpretation::written(request, &self.looks);
        if is_canonical(path) && is_canonical_method(request.method()) {
            let others = other_readings(path);
            if others.is_empty() && written.is_the_only_one(&self.looks) {
                return vec![self.need_of(&written)];
            }
            return self.each_need(&written, &[&[path.to_vec()], &*others].concat());
        }
        let asks = |rule: &&CompiledRule| rule.requirement.as_ref().is_some_and(|r| !r.is_optional());
        let rule = self.rules.iter().filter(asks).find(|rule| rule.matcher.matches(&written));
        vec![match self.need_by(rule) {
            Need::Requirement(requirement) => Need::EveryInterpretation(requirement),
            Need::Nothing => Need::EveryInterpretation(&self.any_provider),
            need => need,
        }]
    }

    /// What each interpretation of a request that is not canonical needs.
    pub(crate) fn needs_of_interpretations(&self, request: &Request) -> Vec<Need<'_>> {
        let written = Interpretation::written(request, &self.looks);
        every_reading(Target::new(request.target()).path)
            .map_or_else(|| vec![Need::NoRule], |paths| self.each_need(&written, &paths))
    }

    /// What the interpretations with each of `paths` need: each need once.
    fn each_need(&self, written: &Interpretation<'_>, paths: &[Vec<u8>]) -> Vec<Need<'_>> {
        let mut needs: Vec<Need<'_>> = Vec::with_capacity(1);
        let Some(others) = written.others(&self.looks) else { return vec![Need::NoRule] };
        if others.len().saturating_mul(paths.len()) > MAX_INTERPRETATIONS {
            return vec![Need::NoRule];
        }
        for path in paths {
            for interpretation in others.iter().map(|other| other.with_path(path)) {
                let need = self.need_of(&interpretation);
                if !needs.iter().any(|known| known.is_same(&need)) {
                    needs.push(need);
                }
            }
        }
        needs
    }

    fn need_of(&self, interpretation: &Interpretation<'_>) -> Need<'_> {
        self.need_by(self.rules.iter().find(|rule| rule.matcher.matches(interpretation)))
    }

    /// What is needed by `rule`, or where there is none.
    fn need_by<'rules>(&'rules self, rule: Option<&'rules CompiledRule>) -> Need<'rules> {
        match (rule, &self.fallback) {
            (Some(CompiledRule { requirement: None, .. }), _) => Need::Nothing,
            (Some(CompiledRule { requirement: Some(requirement), .. }), _) => Need::Requirement(requirement),
            (None, Fallback::Require(requirement)) => Need::Requirement(requirement),
            (None, Fallback::Allow) => Need::Nothing,
            (None, Fallback::Deny) => Need::NoRule,
        }
    }
}

impl Need<'_> {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Requirement(one), Self::Requirement(other)) => std::ptr::eq(*one, *other),
            (Self::Nothing, Self::Nothing) | (Self::NoRule, Self::NoRule) => true,
            _ => false,
        }
    }
}
