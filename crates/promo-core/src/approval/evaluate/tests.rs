use super::super::key::{PublicKey, tests::key_text};
use super::super::roster::Identity;
use super::super::rules::RuleError;
use super::super::statement::{BreakGlass, tests::statement};
use super::*;
use alloc::vec;
use proptest::prelude::*;

const ROLES: [&str; 3] = ["lead", "ops", "security"];

fn name(text: &str) -> IdentityName {
    text.parse().unwrap()
}

/// ana: lead and ops; bo: ops; cy: security; dana: lead; robot: lead and ops, but no person.
fn roster() -> Roster {
    let person = |name: &str, roles: &[&str], keys: &[u8]| Identity {
        name: name.parse().unwrap(),
        roles: roles.iter().map(|role| role.parse().unwrap()).collect(),
        keys: keys.iter().map(|&key| key_text(key).parse().unwrap()).collect(),
        human: name != "robot",
        emails: vec![],
    };
    let people = [
        person("ana", &["lead", "ops"], &[1, 11]),
        person("bo", &["ops"], &[2]),
        person("cy", &["security"], &[3]),
        person("dana", &["lead"], &[4]),
        person("robot", &["lead", "ops"], &[5]),
    ];
    Roster::new(people, &ROLES.iter().map(|role| role.parse().unwrap()).collect()).unwrap()
}

fn fact_of(statement: Statement) -> VerifiedApproval {
    let key = statement.key.clone();
    VerifiedApproval::after_signature_check(statement, &key, &roster()).unwrap()
}

fn fact(decision: Decision, role: &str, key: u8) -> VerifiedApproval {
    fact_of(statement(decision, role, key))
}

fn yes(role: &str, key: u8) -> VerifiedApproval {
    fact(Decision::Approve, role, key)
}

fn rule(count: u32, from: &[&str], exclude: &[Party]) -> ApprovalRule {
    ApprovalRule {
        count,
        from: from.iter().map(|role| role.parse().unwrap()).collect(),
        exclude: exclude.iter().copied().collect(),
    }
}

fn rules(rules: &[ApprovalRule]) -> Rules {
    Rules::new(rules.to_vec()).unwrap()
}

fn subject() -> Subject {
    let statement = statement(Decision::Approve, "lead", 1);
    Subject {
        plan: statement.plan,
        pipeline: statement.pipeline,
        ledger_origin: statement.ledger.origin,
        policy: statement.policy.map(|policy| policy.digest),
        change: statement.environments[0].clone(),
    }
}

fn now() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap()
}

fn check(rules: &Rules, facts: &[VerifiedApproval]) -> Evaluation {
    evaluate(rules, facts, &Parties::default(), &subject(), now())
}

fn who(outcome: &RuleOutcome) -> Vec<(&str, &str)> {
    outcome.filled.iter().map(|filled| (filled.identity.as_str(), filled.role.as_str())).collect()
}

#[test]
fn every_rule_needs_its_people_s6_4() {
    let rules = rules(&[rule(2, &["lead", "ops"], &[]), rule(1, &["security"], &[])]);
    let none = check(&rules, &[]);
    assert_eq!((none.satisfied(), none.missing()), (false, 3), "no data is never a pass");
    let two = check(&rules, &[yes("lead", 1), yes("ops", 2)]);
    assert_eq!((two.satisfied(), two.rules[0].missing, two.rules[1].missing), (false, 0, 1));
    assert_eq!(who(&two.rules[0]), [("ana", "lead"), ("bo", "ops")]);
    assert_eq!(two.rules[1].who_can, ["security".parse().unwrap()].into());
    assert!(check(&rules, &[yes("lead", 1), yes("ops", 2), yes("security", 3)]).satisfied());
}

#[test]
fn one_person_with_two_roles_and_two_keys_fills_one_slot_s6_4() {
    let rules = rules(&[rule(1, &["lead"], &[]), rule(1, &["ops"], &[])]);
    let facts = [yes("lead", 1), yes("ops", 1), yes("ops", 11), yes("lead", 11)];
    let evaluation = check(&rules, &facts);
    assert!(!evaluation.satisfied());
    assert_eq!((who(&evaluation.rules[0]), evaluation.rules[1].missing), (vec![("ana", "lead")], 1));
    assert_eq!(evaluation.rules[1].problems, [ApprovalProblem::Counted { identity: name("ana") }]);
    let same = rules_of_two_leads();
    assert_eq!(check(&same, &[yes("lead", 1), yes("lead", 11)]).missing(), 1);
}

fn rules_of_two_leads() -> Rules {
    rules(&[rule(2, &["lead"], &[])])
}

#[test]
fn people_are_moved_along_an_augmenting_path_s6_4() {
    // Greedy gives the first rule to ana, who alone could fill the second; bo must take the first.
    let rules = rules(&[rule(1, &["lead", "ops"], &[]), rule(1, &["lead"], &[])]);
    let evaluation = check(&rules, &[yes("lead", 1), yes("ops", 1), yes("ops", 2)]);
    assert!(evaluation.satisfied(), "{evaluation:?}");
    assert_eq!(who(&evaluation.rules[0]), [("bo", "ops")]);
    assert_eq!(who(&evaluation.rules[1]), [("ana", "lead")]);
}

#[test]
fn no_grant_lasts_longer_than_seven_days_whatever_it_says_of_itself_s6_5() {
    let rules = rules(&[rule(1, &["lead"], &[])]);
    let mut long = statement(Decision::Approve, "lead", 1);
    long.expires = "2027-03-02T09:00:00Z".parse().unwrap();
    let over = long.not_before.checked_add(crate::approval::MAX_LIFETIME).unwrap();
    let facts = [fact_of(long)];
    let at = |now| evaluate(&rules, &facts, &Parties::default(), &subject(), now);
    assert!(at(over.checked_sub(jiff::SignedDuration::from_secs(1)).unwrap()).satisfied());
    assert!(!at(over).satisfied());
    assert_eq!(at(over).problems, [ApprovalProblem::Expired { identity: name("ana"), at: over }]);
}

#[test]
fn a_rejection_by_someone_eligible_blocks_s6_6() {
    let rules = rules(&[rule(1, &["lead"], &[Party::Author])]);
    let no = fact(Decision::Reject, "lead", 4);
    let evaluation = check(&rules, &[yes("lead", 1), no.clone()]);
    assert_eq!((evaluation.missing(), evaluation.satisfied()), (0, false));
    assert_eq!(evaluation.rejections[0].identity, name("dana"));
    let status = evaluation.status();
    assert_eq!((status.filled, status.rejected_by.as_deref()), (vec![vec!["ana".into()]], Some("dana")));

    let later = "2026-06-01T00:00:00Z".parse().unwrap();
    let parties = Parties { authors: [Person::Known(name("dana"))].into(), ..Parties::default() };
    let late = evaluate(&rules, &[no, fact(Decision::Revoke, "lead", 4)], &parties, &subject(), later);
    assert_eq!(late.rejections.len(), 1, "neither time, an exclusion nor a revocation lifts it");
}

#[test]
fn a_rejection_by_someone_else_does_not_block_but_is_named() {
    let rules = rules(&[rule(1, &["lead"], &[])]);
    let other_plan = {
        let mut no = statement(Decision::Reject, "lead", 4);
        no.plan = Digest::of(b"another");
        fact_of(no)
    };
    for (no, code) in [
        (fact(Decision::Reject, "security", 3), "approval-role-not-asked"),
        (fact(Decision::Reject, "lead", 2), "approval-role-not-held"),
        (fact(Decision::Reject, "lead", 5), "approval-bot"),
        (other_plan, "approval-other-plan"),
    ] {
        let evaluation = check(&rules, &[yes("lead", 1), no]);
        assert!(evaluation.satisfied());
        assert_eq!(evaluation.problems.iter().map(ApprovalProblem::code).collect::<Vec<_>>(), [code]);
    }
}

#[test]
fn a_revocation_removes_the_signers_approval_and_nobody_elses_s6_6() {
    let rules = rules_of_two_leads();
    let both = [yes("lead", 1), yes("lead", 4)];
    assert!(check(&rules, &both).satisfied());
    // With another key of the same identity, and in a role that was never asked for.
    let mut facts = both.to_vec();
    facts.push(fact(Decision::Revoke, "ops", 11));
    let evaluation = check(&rules, &facts);
    assert_eq!((evaluation.missing(), who(&evaluation.rules[0])), (1, vec![("dana", "lead")]));
    assert_eq!(evaluation.problems, [ApprovalProblem::Revoked { identity: name("ana") }]);

    let mut elsewhere = statement(Decision::Revoke, "lead", 1);
    elsewhere.plan = Digest::of(b"another");
    facts[2] = fact_of(elsewhere);
    assert!(check(&rules, &facts).satisfied(), "a revocation of another plan is none of this one");
}

#[test]
fn an_approval_counts_from_its_first_instant_to_before_its_last_s6_5() {
    let rules = rules(&[rule(1, &["lead"], &[])]);
    let codes = |at: &str| {
        let evaluation = evaluate(&rules, &[yes("lead", 1)], &Parties::default(), &subject(), at.parse().unwrap());
        evaluation.problems.iter().map(ApprovalProblem::code).collect::<Vec<_>>()
    };
    assert_eq!(codes("2026-03-02T08:59:59.999Z"), ["approval-not-yet-valid"]);
    assert_eq!(codes("2026-03-02T09:00:00Z"), [""; 0]);
    assert_eq!(codes("2026-03-03T08:59:59.999Z"), [""; 0]);
    assert_eq!(codes("2026-03-03T09:00:00Z"), ["approval-expired"]);
}

#[test]
fn an_approval_of_something_else_is_refused_with_its_reason_s6_1() {
    type Edit<'a> = &'a dyn Fn(&mut Statement);
    let rules = rules(&[rule(1, &["lead"], &[])]);
    let cases: [(&str, Edit<'_>); 9] = [
        ("approval-other-plan", &|s| s.plan = Digest::of(b"another")),
        ("approval-other-ledger", &|s| s.ledger.origin = "promo/another".into()),
        ("approval-other-pipeline", &|s| s.pipeline = "another".parse().unwrap()),
        ("approval-other-policy", &|s| s.policy = None),
        ("approval-other-policy", &|s| s.policy.as_mut().unwrap().digest = Digest::of(b"another")),
        ("approval-other-environment", &|s| s.environments[0].environment = "staging".parse().unwrap()),
        ("approval-other-release", &|s| s.environments[0].to = "r-000000000009".parse().unwrap()),
        ("approval-other-release", &|s| s.environments[0].from = None),
        ("approval-role-not-held", &|s| s.role = "security".parse().unwrap()),
    ];
    for (code, edit) in cases {
        let mut edited = statement(Decision::Approve, "lead", 1);
        edit(&mut edited);
        let evaluation = check(&rules, &[fact_of(edited)]);
        assert_eq!((evaluation.missing(), evaluation.problems[0].code()), (1, code));
    }
}

#[test]
fn bots_and_roles_not_asked_never_count_s6_4() {
    let rules = rules(&[rule(1, &["lead"], &[])]);
    let evaluation = check(&rules, &[yes("lead", 5), yes("ops", 2)]);
    assert!(!evaluation.satisfied());
    assert_eq!(evaluation.problems, [ApprovalProblem::Bot { identity: name("robot") }]);
    assert_eq!(
        evaluation.rules[0].problems.iter().map(ApprovalProblem::code).collect::<Vec<_>>(),
        ["approval-role-not-asked"]
    );
}

#[test]
fn whoever_took_an_excluded_part_does_not_count_s6_4() {
    let ana = Some(Person::Known(name("ana")));
    let cases = [
        (Party::Initiator, Parties { initiator: ana.iter().cloned().collect(), requested: true, ..Parties::default() }),
        (
            Party::Author,
            Parties { authors: [Person::Known(name("bo")), Person::Known(name("ana"))].into(), ..Parties::default() },
        ),
        (Party::Builder, Parties { builder: ana.clone(), ..Parties::default() }),
        (Party::Applier, Parties { applier: ana.into_iter().collect(), ..Parties::default() }),
    ];
    for (party, parties) in cases {
        let asked = rules(&[rule(1, &["lead"], &[party])]);
        let evaluation = evaluate(&asked, &[yes("lead", 1)], &parties, &subject(), now());
        assert!(!evaluation.satisfied(), "{party:?}");
        assert_eq!(evaluation.rules[0].problems, [ApprovalProblem::Excluded { identity: name("ana"), party }]);
        assert!(evaluation.rules[0].excluded.contains(&(name("ana"), party)));
        assert!(evaluate(&asked, &[yes("lead", 4)], &parties, &subject(), now()).satisfied(), "dana may");
        let lenient = rules(&[rule(1, &["lead"], &[])]);
        assert!(evaluate(&lenient, &[yes("lead", 1)], &parties, &subject(), now()).satisfied());
    }
}

#[test]
fn nobody_satisfies_a_rule_that_excludes_the_initiator_before_the_request_is_signed_s6_3() {
    let asked = rules(&[rule(1, &["lead"], &[Party::Initiator]), rule(1, &["ops"], &[])]);
    // Whatever names were claimed: no name, an approver's, somebody else's.
    for claimed in [None, Some("ana"), Some("bo")] {
        let initiator = claimed.map(|who| Person::Known(name(who))).into_iter().collect();
        let mut parties = Parties { initiator, ..Parties::default() };
        let facts = [yes("lead", 4), yes("ops", 2)];
        let open = evaluate(&asked, &facts, &parties, &subject(), now());
        assert_eq!(
            (open.rules[0].missing, open.rules[1].missing),
            (1, 0),
            "{claimed:?}: the other rule has its people"
        );
        assert!(open.rules[0].problems.contains(&ApprovalProblem::RequestUnsigned), "{:?}", open.rules[0].problems);
        parties.requested = true;
        assert!(evaluate(&asked, &facts, &parties, &subject(), now()).satisfied(), "{claimed:?}");
    }
}

#[test]
fn nobody_satisfies_a_rule_that_excludes_the_applier_while_somebody_unproven_applies_s6_4() {
    let asked = rules(&[rule(1, &["lead"], &[Party::Applier]), rule(1, &["ops"], &[])]);
    let facts = [yes("lead", 4), yes("ops", 2)];
    assert!(evaluate(&asked, &facts, &Parties::default(), &subject(), now()).satisfied(), "nobody applies it yet");
    // Whatever name was claimed: none, somebody else's, an approver's.
    for claimed in [None, Some("bo"), Some("dana")] {
        let applier = claimed.map(|who| Person::Known(name(who))).into_iter().collect();
        let mut parties = Parties { applier, apply_unsigned: true, ..Parties::default() };
        let open = evaluate(&asked, &facts, &parties, &subject(), now());
        assert_eq!((open.rules[0].missing, open.rules[1].missing), (1, 0), "{claimed:?}");
        assert!(open.rules[0].problems.contains(&ApprovalProblem::ApplyUnsigned), "{:?}", open.rules[0].problems);
        assert_eq!(open.could_fill(&open.rules[0], &roster()).count(), 0, "nobody could help");
        parties.apply_unsigned = false;
        let signed = evaluate(&asked, &facts, &parties, &subject(), now());
        assert_eq!(signed.satisfied(), claimed != Some("dana"), "{claimed:?}: a claim keeps out, and never lets in");
    }
}

#[test]
fn an_author_who_cannot_be_mapped_is_refused_unless_policy_says_otherwise_s6_4() {
    let asked = rules(&[rule(1, &["lead"], &[Party::Author])]);
    let mut parties = Parties { authors: [Person::Unmapped("who@example.org".into())].into(), ..Parties::default() };
    let strict = evaluate(&asked, &[yes("lead", 1)], &parties, &subject(), now());
    assert_eq!(strict.missing(), 1);
    assert_eq!(strict.rules[0].problems[0].code(), "approval-unmapped-party");
    parties.allow_unmapped = true;
    assert!(evaluate(&asked, &[yes("lead", 1)], &parties, &subject(), now()).satisfied());
}

#[test]
fn the_signer_comes_from_the_key_and_the_roster_alone_s6_3() {
    let signed = statement(Decision::Approve, "lead", 1);
    let other: PublicKey = key_text(4).parse().unwrap();
    let error = VerifiedApproval::after_signature_check(signed, other.fingerprint(), &roster()).unwrap_err();
    assert_eq!(error.code(), "approval-other-key");
    let stranger = statement(Decision::Approve, "lead", 99);
    let key = stranger.key.clone();
    let error = VerifiedApproval::after_signature_check(stranger, &key, &roster()).unwrap_err();
    assert_eq!(error, ApprovalProblem::UnknownKey(key));
    assert_eq!(Rules::new(vec![]), Err(vec![RuleError::NoRules]), "and no list of rules is ever empty");
}

fn glass(role: &str, key: u8, waives: &[Waivable]) -> VerifiedApproval {
    let mut statement = statement(Decision::Breakglass, role, key);
    statement.not_before = "2026-03-02T11:30:00Z".parse().unwrap();
    statement.expires = "2026-03-02T12:30:00Z".parse().unwrap();
    statement.breakglass = Some(BreakGlass {
        waives: waives.iter().copied().collect(),
        reason: "checkout is down, the fix cannot wait for the window".into(),
        incident: "INC-17".into(),
    });
    fact_of(statement)
}

#[test]
fn two_holders_waive_what_both_name_s11_1() {
    let role = "lead".parse().unwrap();
    let ana = glass("lead", 1, &[Waivable::Window, Waivable::Soak]);
    let again = glass("lead", 11, &[Waivable::Window]);
    let dana = glass("lead", 4, &[Waivable::Window, Waivable::Quorum]);
    let ops = glass("ops", 2, &[Waivable::Window]);
    let robot = glass("lead", 5, &[Waivable::Window]);
    let waived = |facts: &[VerifiedApproval]| overrides(&role, facts, &subject(), now()).waived;
    assert_eq!(waived(&[ana.clone(), again.clone(), ops, robot]), [].into());
    let both = [ana, dana, again];
    assert_eq!(waived(&both), [Waivable::Window].into());
    assert_eq!(overrides(&role, &both, &subject(), now()).holders, [name("ana"), name("dana")]);
    let late = overrides(&role, &both, &subject(), "2026-03-02T12:30:00Z".parse().unwrap());
    assert_eq!((late.waived.len(), late.problems[0].code()), (0, "approval-expired"));
    assert_eq!(check(&rules(&[rule(1, &["lead"], &[])]), &both).missing(), 1, "a bypass is not an approval");
}

fn any_fact() -> impl Strategy<Value = VerifiedApproval> {
    let decision = prop_oneof![4 => Just(Decision::Approve), 1 => Just(Decision::Revoke), 1 => Just(Decision::Reject)];
    (decision, prop::sample::select(&ROLES[..]), prop::sample::select(vec![1u8, 2, 3, 4, 5, 11]))
        .prop_map(|(decision, role, key)| fact(decision, role, key))
}

fn any_rules() -> impl Strategy<Value = Rules> {
    let rule =
        (1u32..3, prop::sample::subsequence(&ROLES[..], 1..=3)).prop_map(|(count, from)| rule(count, &from, &[]));
    prop::collection::vec(rule, 1..4).prop_map(|rules| Rules::new(rules).unwrap())
}

proptest! {
    #[test]
    fn the_order_of_facts_does_not_matter(facts in prop::collection::vec(any_fact(), 0..8), rules in any_rules()) {
        let backwards: Vec<_> = facts.iter().rev().cloned().collect();
        prop_assert_eq!(check(&rules, &facts), check(&rules, &backwards));
    }

    #[test]
    fn nobody_counts_twice_and_another_rule_never_makes_more_eligible(
        facts in prop::collection::vec(any_fact(), 0..8),
        rules in any_rules(),
    ) {
        let evaluation = check(&rules, &facts);
        let people: Vec<_> = evaluation.rules.iter().flat_map(|rule| &rule.filled).map(|f| &f.identity).collect();
        let distinct: BTreeSet<_> = people.iter().collect();
        prop_assert_eq!(distinct.len(), people.len());
        for rule in &evaluation.rules {
            prop_assert_eq!(rule.count, rule.missing + u32::try_from(rule.filled.len()).unwrap());
        }
        let mut more = rules.as_slice().to_vec();
        more.push(rule(1, &["security"], &[]));
        let more = check(&Rules::new(more).unwrap(), &facts);
        prop_assert!(evaluation.satisfied() || !more.satisfied(), "S1.5");
    }
}
