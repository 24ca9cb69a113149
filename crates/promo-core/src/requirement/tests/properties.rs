//! Neither more required nor more found ever lets more through.

use super::*;

fn severities() -> impl Strategy<Value = Severity> {
    prop_oneof![
        prop::sample::select(vec![Level::None, Level::Low, Level::Medium, Level::High, Level::Critical])
            .prop_map(Severity::Level),
        Just(Severity::NotSaid),
        Just(Severity::Word("spicy".into())),
    ]
}

fn some_findings() -> impl Strategy<Value = Vec<Finding>> {
    prop::collection::vec(
        (0..4_u8, severities(), any::<bool>(), any::<bool>()).prop_map(|(id, severity, suppressed, wont)| Finding {
            suppressed: suppressed.then(|| Suppression { state: "ignored".into(), reason: None, source: None }),
            fix_state: if wont { FixState::WontFix } else { FixState::NotSaid },
            ..finding(&format!("CVE-{id}"), severity)
        }),
        0..4,
    )
}

fn some_scans() -> impl Strategy<Value = Vec<Piece>> {
    let one = (
        prop::sample::select(vec!["index", "amd64", "arm64", "other"]),
        prop::sample::select(vec!["trivy", "grype"]),
        some_findings(),
        0..3_u64,
        any::<bool>(),
        prop::option::of(any::<bool>()),
    );
    prop::collection::vec(one, 0..5).prop_map(|all| {
        all.into_iter()
            .enumerate()
            .map(|(at, (of, tool, list, days, dated, completed))| {
                let mut scan = scan(&format!("scan {at}"), of, tool, list);
                let about = &mut report(&mut scan).about;
                about.made = dated.then(|| ago(days * DAY));
                about.completed = completed;
                scan
            })
            .collect()
    })
}

fn some_requirement() -> impl Strategy<Value = ScanRequirement> {
    let levels = || prop::sample::select(vec![Level::Low, Level::Medium, Level::High, Level::Critical]);
    (
        prop::option::of(levels()),
        prop::collection::btree_map(levels(), 0..3_u64, 0..2),
        levels(),
        any::<[bool; 4]>(),
        prop::collection::btree_set(prop::sample::select(vec!["trivy".to_string(), "grype".to_string()]), 0..3),
        prop::option::of(0..3_u64),
    )
        .prop_map(|(deny, at_most, unknown_as, [highest, fixes, accept, any], scanners, days)| ScanRequirement {
            deny,
            at_most,
            unknown_as,
            highest,
            fixes: if fixes { Fixes::Available } else { Fixes::Any },
            suppressions: if accept { Suppressions::Accept } else { Suppressions::Count },
            scanners,
            max_age: days.map(|days| days * DAY),
            database_max_age: None,
            scope: if any { Scope::Any } else { Scope::EachPlatform },
            vex: Signers::new(),
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// S1.5: a finding more, wherever it is found, lets nothing through that was held.
    #[test]
    fn s1_5_a_finding_more_never_lets_more_through(
        requirement in some_requirement(), pieces in some_scans(), more in some_findings(), at in 0..5_usize,
    ) {
        let before = requirement.judge(&index(), &pieces, &[], now()).verdict;
        let mut worse = pieces;
        if let Some(scan) = worse.get_mut(at) {
            report(scan).findings.as_mut().unwrap().list.extend(more);
        }
        let after = requirement.judge(&index(), &worse, &[], now()).verdict;
        prop_assert!(after.standing() >= before.standing(), "{before:?} {after:?}");
        let told = |fault: &Fault| matches!(fault, Fault::TooMany { .. }) || after.faults.contains(fault);
        prop_assert!(before.faults.iter().all(told));
    }

    /// Nor does anything more that is asked for.
    #[test]
    fn s1_5_asking_for_more_never_lets_more_through(
        requirement in some_requirement(), stricter in some_requirement(), pieces in some_scans(),
    ) {
        let both = ScanRequirement {
            deny: match (requirement.deny, stricter.deny) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            },
            at_most: stricter.at_most.iter().chain(&requirement.at_most).fold(BTreeMap::new(), |mut all, (level, most)| {
                let known = all.entry(*level).or_insert(*most);
                *known = (*known).min(*most);
                all
            }),
            unknown_as: requirement.unknown_as,
            highest: requirement.highest,
            fixes: if requirement.fixes == Fixes::Any { Fixes::Any } else { stricter.fixes },
            suppressions: requirement.suppressions,
            scanners: requirement.scanners.union(&stricter.scanners).cloned().collect(),
            max_age: match (requirement.max_age, stricter.max_age) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            },
            database_max_age: None,
            scope: if requirement.scope == Scope::EachPlatform { Scope::EachPlatform } else { stricter.scope },
            vex: Signers::new(),
        };
        let before = requirement.judge(&index(), &pieces, &[], now()).verdict;
        let after = both.judge(&index(), &pieces, &[], now()).verdict;
        prop_assert!(before.standing() == Standing::Met || after.standing() != Standing::Met, "{before:?} {after:?}");
    }

    /// Nor does a later scan of the same make that finds no less, and in whose place it stands.
    #[test]
    fn s1_5_a_rescan_that_finds_no_less_never_lets_more_through(
        requirement in some_requirement(), pieces in some_scans(), more in some_findings(), at in 0..5_usize,
    ) {
        let before = requirement.judge(&index(), &pieces, &[], now()).verdict;
        let mut again = pieces.clone();
        if let Some(mut rescan) = pieces.get(at).cloned() {
            rescan.document = digest("rescan");
            let told = report(&mut rescan);
            told.about.made = told.about.made.map(|made| made + SignedDuration::from_secs(1));
            // It stands in the place of every older one of its make, so it has what all of them found, and is no more done than they are.
            let known = || pieces.iter().filter_map(Piece::report);
            let found = known().flat_map(|report| report.findings.iter().flat_map(|findings| findings.list.clone()));
            told.findings.as_mut().unwrap().list.extend(found.chain(more));
            if known().any(|report| report.about.completed == Some(false)) {
                told.about.completed = Some(false);
            }
            again.push(rescan);
        }
        let after = requirement.judge(&index(), &again, &[], now()).verdict;
        prop_assert!(after.standing() >= before.standing(), "{before:?} {after:?}");
    }

    /// What speaks of something else changes nothing but what is told.
    #[test]
    fn what_speaks_of_something_else_opens_nothing(requirement in some_requirement(), pieces in some_scans(), more in some_findings()) {
        let before = requirement.judge(&index(), &pieces, &[], now());
        let mut with = pieces;
        with.push(scan("of another", "other", "trivy", more));
        let after = requirement.judge(&index(), &with, &[], now());
        prop_assert_eq!(before.verdict.standing(), after.verdict.standing());
        prop_assert_eq!(before.counted, after.counted);
    }
}
