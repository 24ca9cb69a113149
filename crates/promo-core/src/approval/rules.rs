//! Validated rules and the parties that they may exclude. The words of a rule are [`ApprovalRule`] of the model.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::matching;
use super::roster::{Identity, Person, Roster};
use crate::model::{ApprovalRule, Party};

/// Most people that one rule may ask for.
pub const MAX_COUNT: u32 = 32;
/// Most rules that one environment may have.
pub const MAX_RULES: usize = 32;

/// Rules that can mean something: at least one, each of at least one person who holds one of at least one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules(Vec<ApprovalRule>);

/// A rule that would always or never be satisfied (S1.4).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The list of rules is empty.
    #[error("a list of approval rules is empty, and would always be satisfied")]
    NoRules,
    /// More rules than [`MAX_RULES`].
    #[error("{0} approval rules are too many: at most 32")]
    TooManyRules(usize),
    /// A rule asks for nobody.
    #[error("approval rule {} asks for 0 people, and would always be satisfied", rule + 1)]
    ZeroCount {
        /// Index of the rule.
        rule: usize,
    },
    /// A rule asks for more people than [`MAX_COUNT`].
    #[error("approval rule {} asks for {count} people: at most 32", rule + 1)]
    TooManyPeople {
        /// Index of the rule.
        rule: usize,
        /// What it asks for.
        count: u32,
    },
    /// A rule names no role.
    #[error("approval rule {} names no role, and could never be satisfied", rule + 1)]
    NoRoles {
        /// Index of the rule.
        rule: usize,
    },
}

impl Rules {
    /// Checks rules.
    ///
    /// # Errors
    /// Everything that is wrong with them, in order.
    pub fn new(rules: Vec<ApprovalRule>) -> Result<Self, Vec<RuleError>> {
        let mut errors = Vec::new();
        if rules.is_empty() {
            errors.push(RuleError::NoRules);
        }
        if rules.len() > MAX_RULES {
            errors.push(RuleError::TooManyRules(rules.len()));
        }
        for (index, rule) in rules.iter().enumerate() {
            if rule.count == 0 {
                errors.push(RuleError::ZeroCount { rule: index });
            }
            if rule.count > MAX_COUNT {
                errors.push(RuleError::TooManyPeople { rule: index, count: rule.count });
            }
            if rule.from.is_empty() {
                errors.push(RuleError::NoRoles { rule: index });
            }
        }
        if errors.is_empty() { Ok(Self(rules)) } else { Err(errors) }
    }

    /// The rules, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[ApprovalRule] {
        &self.0
    }

    /// For each slot the index of its rule, in order.
    pub(super) fn slots(&self) -> Vec<usize> {
        let count = |rule: &ApprovalRule| usize::try_from(rule.count).expect("invariant: at most MAX_COUNT");
        self.0.iter().enumerate().flat_map(|(index, rule)| core::iter::repeat_n(index, count(rule))).collect()
    }

    /// How many people are missing for each rule even if every person of the roster said yes and nobody were excluded:
    /// all zero, or the environment can never be approved.
    #[must_use]
    pub fn shortfall(&self, roster: &Roster) -> Vec<u32> {
        let people: Vec<&Identity> = roster.identities().filter(|who| who.human && !who.keys.is_empty()).collect();
        let slots = self.slots();
        let filled = matching::fill(slots.len(), people.len(), &|slot, person| {
            !self.0[slots[slot]].from.is_disjoint(&people[person].roles)
        });
        let mut missing: Vec<u32> = self.0.iter().map(|rule| rule.count).collect();
        for (slot, _) in filled.iter().enumerate().filter(|(_, person)| person.is_some()) {
            missing[slots[slot]] -= 1;
        }
        missing
    }
}

/// Who took part in the promotion. `None` and an empty list say that there is no such party, or not yet; someone of whom
/// it is not known who they are is [`Person::Unmapped`] or [`Person::Unnamed`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parties {
    /// Who requested it: those who signed a request, and those whose name was claimed.
    pub initiator: BTreeSet<Person>,
    /// Whether anybody signed a request. Without that nobody satisfies a rule that excludes the initiator, because a
    /// claimed name is no evidence of who that is (S6.3).
    pub requested: bool,
    /// The authors of the commits between the running and the new release.
    pub authors: BTreeSet<Person>,
    /// Who built the artifacts.
    pub builder: Option<Person>,
    /// Who applies the plan: those who signed that, and those whose name was claimed; none until it is applied.
    pub applier: BTreeSet<Person>,
    /// Whether it is being applied by somebody who signed nothing. Then nobody satisfies a rule that excludes the applier,
    /// because a claimed name is no evidence of who that is (S6.3).
    pub apply_unsigned: bool,
    /// Policy says that a party who cannot be mapped to an identity is no obstacle (S6.4). Names in commits are no
    /// evidence, so without this a rule that excludes such a party is not satisfied by anybody.
    pub allow_unmapped: bool,
}

impl Parties {
    /// The people in one part.
    pub fn of(&self, party: Party) -> impl Iterator<Item = &Person> {
        let (one, many) = match party {
            Party::Initiator => (None, Some(&self.initiator)),
            Party::Builder => (self.builder.as_ref(), None),
            Party::Applier => (None, Some(&self.applier)),
            Party::Author => (None, Some(&self.authors)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::tests::key_text;
    use super::*;
    use alloc::vec;

    fn rule(count: u32, from: &[&str]) -> ApprovalRule {
        let from = from.iter().map(|role| role.parse().unwrap()).collect();
        ApprovalRule { count, from, exclude: BTreeSet::new() }
    }

    #[test]
    fn rules_that_always_or_never_hold_are_errors_s1_4() {
        assert_eq!(Rules::new(vec![]), Err(vec![RuleError::NoRules]));
        assert_eq!(
            Rules::new(vec![rule(0, &["lead"]), rule(1, &[]), rule(33, &["lead"])]),
            Err(vec![
                RuleError::ZeroCount { rule: 0 },
                RuleError::NoRoles { rule: 1 },
                RuleError::TooManyPeople { rule: 2, count: 33 },
            ])
        );
        assert_eq!(Rules::new(vec![rule(1, &["lead"]); 33]), Err(vec![RuleError::TooManyRules(33)]));
    }

    #[test]
    fn a_roster_that_can_never_satisfy_the_rules_is_found_out() {
        let person = |name: &str, roles: &[&str], key: u8, human: bool| Identity {
            name: name.parse().unwrap(),
            roles: roles.iter().map(|role| role.parse().unwrap()).collect(),
            keys: vec![key_text(key).parse().unwrap()],
            human,
            emails: vec![],
        };
        let roles = ["lead", "ops"].iter().map(|role| role.parse().unwrap()).collect();
        let people = [person("ana", &["lead", "ops"], 1, true), person("robot", &["ops"], 2, false)];
        let roster = Roster::new(people.clone(), &roles).unwrap();
        let rules = Rules::new(vec![rule(1, &["lead"]), rule(1, &["ops"])]).unwrap();
        assert_eq!(rules.shortfall(&roster), [0, 1], "one person and a bot are one person");
        let [ana, _] = people;
        let roster = Roster::new([ana, person("bo", &["ops"], 3, true)], &roles).unwrap();
        assert_eq!(rules.shortfall(&roster), [0, 0]);
    }
}
