//! The first rule that matches decides.

use super::matcher::Matcher;
use super::path::{Target, every_reading, is_canonical, other_readings, text};
use super::requirement::Requirement;
use crate::config::{Config, ConfigError, DefaultRule, Rule};
use crate::provider::Providers;
use crate::request::Request;

/// Every rule, and what happens where none matches.
#[derive(Debug)]
pub(crate) struct Rules {
    rules: Vec<CompiledRule>,
    default: Default,
    any_provider: Requirement,
}

#[derive(Debug)]
struct CompiledRule {
    matcher: Matcher,
    /// `None` for a public rule.
    requirement: Option<Requirement>,
}

#[derive(Debug)]
enum Default {
    Deny,
    Require(Requirement),
    Allow,
}

/// What a request needs.
#[derive(Debug)]
pub(crate) enum Need<'rules> {
    /// Nothing: it is public.
    Nothing,
    /// This.
    Requirement(&'rules Requirement),
    /// This, and what [`Rules::needs_of_readings`] says: its path is read in several ways.
    EveryReading(&'rules Requirement),
    /// What nobody can give: no rule is for it.
    NoRule,
}

impl Rules {
    /// Takes the rules out of `config`.
    pub(crate) fn new(config: &mut Config, providers: &Providers) -> Result<Self, ConfigError> {
        let compile = |(index, rule): (usize, Rule)| {
            let field = format!("rules[{index}]");
            let requirement = rule
                .requires
                .map(|requires| Requirement::new(requires, providers, &format!("{field}.requires")));
            Ok(CompiledRule {
                matcher: Matcher::new(&rule.r#match, &format!("{field}.match"))?,
                requirement: requirement.transpose()?,
            })
        };
        let rules = std::mem::take(&mut config.rules)
            .into_iter()
            .enumerate()
            .map(compile)
            .collect::<Result<_, _>>()?;
        let default = match config.default {
            DefaultRule::Deny => Default::Deny,
            DefaultRule::Allow => Default::Allow,
            DefaultRule::Require if providers.len() == 1 => {
                Default::Require(Requirement::Provider(0, Vec::new()))
            }
            DefaultRule::Require => {
                return Err(ConfigError::new(
                    "default",
                    "`require` means the only provider, and there are several; end the rules with one for `prefix: /`",
                ));
            }
        };
        Ok(Self { rules, default, any_provider: Requirement::any_provider(providers) })
    }

    /// What `request` needs.
    ///
    /// A path that is not canonical, or that another reading would put under another rule, is only ever
    /// matched by rules that ask for a token, and needs one even where the default is to allow. It needs as well
    /// what each of its readings needs.
    pub(crate) fn need(&self, request: &Request) -> Need<'_> {
        let path = Target::new(request.target()).path;
        let written = text(path);
        let canonical = is_canonical(path) && {
            let decides = |path: &str| self.rules.iter().position(|rule| rule.matcher.matches(path, request));
            let readings = other_readings(path);
            readings.is_empty() || {
                let ours = decides(&written);
                readings.iter().all(|reading| decides(&text(reading)) == ours)
            }
        };
        let may_decide =
            |rule: &&CompiledRule| canonical || rule.requirement.as_ref().is_some_and(|r| !r.is_optional());
        let rule = self.rules.iter().filter(may_decide).find(|rule| rule.matcher.matches(&written, request));
        match self.need_by(rule) {
            need if canonical => need,
            Need::Requirement(requirement) => Need::EveryReading(requirement),
            Need::Nothing => Need::EveryReading(&self.any_provider),
            need => need,
        }
    }

    /// What each reading of the request's path needs, where it has several: each once.
    pub(crate) fn needs_of_readings(&self, request: &Request) -> Vec<Need<'_>> {
        let Some(readings) = every_reading(Target::new(request.target()).path) else {
            return vec![Need::NoRule];
        };
        let mut needs: Vec<Need<'_>> = Vec::new();
        for reading in &readings {
            let path = text(reading);
            let need = self.need_by(self.rules.iter().find(|rule| rule.matcher.matches(&path, request)));
            if !needs.iter().any(|known| known.is_same(&need)) {
                needs.push(need);
            }
        }
        needs
    }

    /// What is needed by `rule`, or where there is none.
    fn need_by<'rules>(&'rules self, rule: Option<&'rules CompiledRule>) -> Need<'rules> {
        match (rule, &self.default) {
            (Some(CompiledRule { requirement: None, .. }), _) => Need::Nothing,
            (Some(CompiledRule { requirement: Some(requirement), .. }), _) => Need::Requirement(requirement),
            (None, Default::Require(requirement)) => Need::Requirement(requirement),
            (None, Default::Allow) => Need::Nothing,
            (None, Default::Deny) => Need::NoRule,
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
