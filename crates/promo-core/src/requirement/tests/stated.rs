//! What was signed counts, and nothing that stands around it: another envelope, a later day, another name, another place.

use super::*;
use crate::evidence::{Provenance, Source};
use crate::ids::ArtifactName;

fn app() -> ArtifactName {
    "app".parse().unwrap()
}

fn assess(gate: &EvidenceGate, subject: &Subject, pieces: &[Piece]) -> Assessment {
    let evidence =
        ReleaseEvidence { subjects: [(app(), subject.clone())].into(), pieces: pieces.to_vec(), ..Default::default() };
    gate.judge(&app(), &evidence, Before::First, now()).unwrap()
}

fn gate(requirement: Requirement, by: &[&str]) -> EvidenceGate {
    EvidenceGate {
        artifacts: BTreeSet::new(),
        kinds: BTreeSet::new(),
        requirement,
        by: signers(by),
        exceptions: vec![],
    }
}

fn tests(suites: &[&str]) -> Requirement {
    let suites = suites.iter().map(ToString::to_string).collect();
    Requirement::Tests(TestRequirement { suites, ..TestRequirement::default() })
}

/// A run of these suites on the image, with so many failures, signed by CI and attached so long ago.
fn run(name: &str, suites: &[&str], failures: u64, attached: u64) -> Piece {
    let mut about = About::new(Kind::InToto);
    about.inside = Some(Kind::Junit);
    about.suites = suites.iter().map(ToString::to_string).collect();
    about.bind(Link::Subject, digest("image"));
    let counted = Totals { tests: 3, failures, ..Totals::default() };
    let tests = TestRun { counted, ..TestRun::default() };
    let mut out = piece(name, Report { tests: Some(tests), ..Report::new(about) });
    out.signed.by = [key("ci")].into();
    out.bound = [digest("image")].into();
    out.origin = Origin::Registry { at: ago(attached) };
    out
}

/// The same in another envelope, as somebody pushed it just now.
fn wrapped(piece: &Piece) -> Piece {
    Piece { document: digest("another envelope"), origin: Origin::Registry { at: now() }, ..piece.clone() }
}

#[test]
fn s1_3_what_was_signed_is_no_later_for_being_attached_once_more() {
    let gate = gate(tests(&["unit"]), &["ci"]);
    let (good, bad) = (run("good", &["unit"], 0, 7200), run("bad", &["unit"], 1, 3600));
    let standing = |pieces: &[Piece]| assess(&gate, &single(), pieces).standing();
    assert_eq!(standing(core::slice::from_ref(&good)), Standing::Met);
    assert_eq!(standing(&[good.clone(), bad.clone()]), Standing::Bad);
    assert_eq!(standing(&[good.clone(), bad.clone(), wrapped(&good)]), Standing::Bad);
    // Nor where the first envelope of it is gone, or never was collected, or came by hand: when it came nobody signed.
    assert_eq!(standing(&[bad.clone(), wrapped(&good)]), Standing::Bad);
    let by_hand = Piece { origin: Origin::Ledger { by: "ci".into(), at: now() }, ..wrapped(&good) };
    assert_eq!(standing(&[bad.clone(), by_hand]), Standing::Bad);
    // What was signed of its day says which is later, wherever the two lie.
    let dated = |piece: &Piece, seconds| {
        let mut out = piece.clone();
        report(&mut out).about.made = Some(ago(seconds));
        out
    };
    assert_eq!(standing(&[dated(&bad, 7200), wrapped(&dated(&good, 60))]), Standing::Met);
    assert_eq!(standing(&[dated(&bad, 60), wrapped(&dated(&good, 7200))]), Standing::Bad);
    assert_eq!(standing(&[dated(&bad, 60), wrapped(&good)]), Standing::Bad, "what has no date replaces nothing");
    assert_eq!(standing(&[bad, dated(&good, 60)]), Standing::Bad, "and nothing replaces it");
}

#[test]
fn s1_3_which_suite_it_is_says_what_was_signed_and_not_who_brought_it() {
    let gate = gate(tests(&["e2e", "unit"]), &["ci"]);
    let named = |name: &str, piece: Piece| Piece { name: Some(name.into()), ..piece };
    let verdict = |pieces: &[Piece]| assess(&gate, &single(), pieces);
    let unit = run("unit", &["unit"], 0, 60);
    let told = verdict(&[named("unit", unit.clone()), named("e2e", wrapped(&unit))]);
    assert_eq!(told.verdict.faults, [Fault::Nothing { from: Some("e2e".into()), platform: None }]);
    assert_eq!(told.verdict.used, [(digest("unit"), Some("unit".to_string()))]);
    let nameless = run("nameless", &[], 0, 60);
    assert_eq!(verdict(&[named("unit", nameless.clone()), named("e2e", nameless)]).standing(), Standing::Missing);
    assert_eq!(verdict(&[unit, run("e2e", &["E2E"], 0, 60)]).standing(), Standing::Met);
    assert_eq!(verdict(&[named("other", run("both", &["e2e", "unit"], 0, 60))]).standing(), Standing::Met);
}

#[test]
fn s1_3_of_which_platform_it_is_says_what_was_signed_and_not_where_it_lies() {
    let gate = gate(Requirement::Scan(ScanRequirement::default()), &["ci"]);
    let by = |mut piece: Piece| {
        piece.signed.by = [key("ci")].into();
        piece
    };
    let (arm64, whole) = (by(scan("arm64", "arm64", "trivy", vec![])), by(scan("whole", "index", "trivy", vec![])));
    let at = |of: &str, piece: &Piece| Piece { bound: [digest(of)].into(), ..piece.clone() };
    for of in ["index", "amd64", "arm64"] {
        let told = assess(&gate, &index(), &[arm64.clone(), at(of, &whole)]);
        assert_eq!(told.verdict.faults, [Fault::Nothing { from: None, platform: Some(digest("amd64")) }], "{of}");
    }
}

#[test]
fn s1_3_a_second_signature_over_the_same_counts_beside_the_first_in_whichever_envelope() {
    let both = SignatureRequirement {
        by: signers(&["release", "security"]),
        least: 2,
        scope: Scope::Index,
        repository: false,
    };
    let gate = gate(Requirement::Signature(both), &[]);
    let signature = |name: &str, by: &str| {
        let mut about = About::new(Kind::Signature);
        about.bind(Link::Subject, digest("image"));
        let mut out = piece(name, Report::new(about));
        out.signed.by = [key(by)].into();
        Piece { stated: digest("the image"), ..out }
    };
    let standing = |pieces: &[Piece]| assess(&gate, &single(), pieces).standing();
    assert_eq!(standing(&[signature("a", "release"), signature("b", "security")]), Standing::Met);
    assert_eq!(standing(&[signature("a", "release"), signature("b", "release")]), Standing::Missing);
}

#[test]
fn s1_3_what_was_withdrawn_of_what_runs_there_is_named_where_numbers_are_compared_with_it() {
    let number = |name: &str| {
        let number = Number { name: "p95".into(), value: Finite::new(100.0).unwrap(), unit: None };
        let mut about = About::new(Kind::K6);
        about.bind(Link::Subject, digest("image"));
        let numbers = Numbers { list: vec![number], ..Numbers::default() };
        piece(name, Report { numbers: Some(numbers), ..Report::new(about) })
    };
    let of = |baseline| {
        let requirement =
            NumberRequirement { name: "p95".into(), suites: BTreeSet::new(), least: None, most: None, baseline };
        gate(Requirement::Number(requirement), &[])
    };
    let subjects: BTreeMap<ArtifactName, Subject> = [(app(), single())].into();
    let here = ReleaseEvidence { subjects: subjects.clone(), pieces: vec![number("now")], ..Default::default() };
    let withdrawn = vec![(number("before"), "riley".into(), 7)];
    let before = ReleaseEvidence { subjects, withdrawn, ..Default::default() };
    let told = |gate: EvidenceGate| gate.judge(&app(), &here, Before::Known(&before), now()).unwrap();
    let compared = told(of(Some(Baseline::HigherBy(Finite::new(10.0).unwrap()))));
    assert_eq!(compared.standing(), Standing::Missing);
    assert_eq!(compared.not_counted.iter().map(|one| one.document).collect::<Vec<_>>(), [digest("before")]);
    assert!(told(of(None)).not_counted.is_empty(), "a gate that compares nothing does not go by it");
}

#[test]
fn s10_4_what_a_record_withdraws_that_nobody_proves_bars_and_lets_nothing_in() {
    let gate = gate(tests(&["unit"]), &["ci"]);
    let judge = |pieces: &[&Piece], contested: &[&Piece]| {
        let evidence = ReleaseEvidence {
            subjects: [(app(), single())].into(),
            pieces: pieces.iter().copied().cloned().collect(),
            contested: contested.iter().map(|piece| ((*piece).clone(), 7)).collect(),
            ..Default::default()
        };
        gate.judge(&app(), &evidence, Before::First, now()).unwrap()
    };
    let dated = |mut piece: Piece, seconds| {
        report(&mut piece).about.made = Some(ago(seconds));
        piece
    };
    let (good, bad) = (dated(run("good", &["unit"], 0, 60), 60), dated(run("bad", &["unit"], 1, 60), 7200));
    for (case, pieces, contested, expected) in [
        ("it let in", vec![], vec![&good], Standing::Missing),
        ("it barred", vec![], vec![&bad], Standing::Bad),
        ("it replaced what barred", vec![&bad], vec![&good], Standing::Bad),
        ("it barred beside a later one", vec![&good], vec![&bad], Standing::Met),
    ] {
        let told = judge(&pieces, &contested);
        assert_eq!(told.standing(), expected, "{case}: {told:?}");
        assert_eq!(
            told.not_counted.iter().map(|one| one.document).collect::<Vec<_>>(),
            [contested[0].document],
            "{case}"
        );
        assert!(told.not_counted[0].why.to_string().starts_with("record 7 withdraws it"), "{told:?}");
    }
}

fn some_pieces() -> impl Strategy<Value = Vec<Piece>> {
    let who = prop::collection::btree_set(prop::sample::select(vec!["ci", "security", "mallory"]), 0..3);
    let one = (
        (0..5_u8, prop::sample::select(vec!["index", "amd64", "arm64", "other"]), 0..2_u64, any::<[bool; 2]>()),
        (prop::option::of(0..3_u64), 0..3_u64, who, prop::sample::select(vec![None, Some("unit"), Some("e2e")])),
    );
    prop::collection::vec(one, 1..6).prop_map(|all| {
        let each =
            all.into_iter().enumerate().map(|(at, ((kind, of, bad, [by_hand, bound]), (made, brought, who, name)))| {
                let mut out = match kind {
                    0 => scan(&format!("{at}"), of, "trivy", (0..bad).map(|_| critical("CVE-1")).collect()),
                    1 => run(&format!("{at}"), &["unit"], bad, 60),
                    2 => run(&format!("{at}"), &[], bad, 60),
                    3 => piece(&format!("{at}"), Report::new(About::new(Kind::Signature))),
                    _ => {
                        let source = Source {
                            uri: "https://git.example/shop".into(),
                            commit: Some("00".repeat(20)),
                            digest: None,
                        };
                        let built = Provenance {
                            builder: if bad > 0 {
                                "https://laptop.example".into()
                            } else {
                                "https://ci.example".into()
                            },
                            build_type: String::new(),
                            source: Some(source),
                            others: vec![],
                            run: None,
                        };
                        let mut about = About::new(Kind::InToto);
                        about.inside = Some(Kind::Provenance);
                        piece(&format!("{at}"), Report { provenance: Some(built), ..Report::new(about) })
                    }
                };
                let about = &mut report(&mut out).about;
                about.bound.clear();
                about.bind(Link::Subject, digest(of));
                about.made = made.map(|days| ago(days * DAY));
                out.signed.by = who.iter().map(|who| key(who)).collect();
                out.bound = bound.then(|| digest(of)).into_iter().collect();
                out.name = name.map(ToString::to_string);
                let brought = ago(DAY + brought * 3600);
                out.origin = if by_hand {
                    Origin::Ledger { by: "ci".into(), at: brought }
                } else {
                    Origin::Registry { at: brought }
                };
                out
            });
        each.collect()
    })
}

fn some_gate() -> impl Strategy<Value = EvidenceGate> {
    let by = prop::sample::subsequence(vec!["ci", "security"], 0..=2);
    (0..5_u8, by).prop_map(|(kind, by)| match kind {
        0 => gate(Requirement::Scan(ScanRequirement { scope: Scope::Any, ..ScanRequirement::default() }), &by),
        1 => gate(tests(&["unit"]), &by),
        2 => gate(tests(&[]), &by),
        3 => gate(
            Requirement::Signature(SignatureRequirement {
                by: signers(&["ci"]),
                least: 1,
                scope: Scope::Index,
                repository: false,
            }),
            &[],
        ),
        _ => gate(
            Requirement::Provenance(ProvenanceRequirement {
                by: signers(&["ci"]),
                builders: ["https://ci.example".into()].into(),
                sources: BTreeSet::new(),
                scope: None,
            }),
            &[],
        ),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// Whoever may push to a registry puts what is known into another envelope, later, with signatures left out and others' ids of keys written
    /// in: nothing comes to anything else for that.
    #[test]
    fn s1_5_what_is_known_changes_no_outcome_in_another_envelope(
        gate in some_gate(), pieces in some_pieces(), at in any::<prop::sample::Index>(), left_out in any::<bool>(),
        broken in any::<bool>(), whole in any::<bool>(),
    ) {
        let subject = if whole { index() } else { Subject::single(digest("amd64"), None) };
        let mut again = wrapped(at.get(&pieces));
        again.name = None;
        if left_out {
            again.signed.by.clear();
        }
        if broken {
            again.signed.broken = [key("ci"), key("security")].into();
        }
        let (before, after) =
            (assess(&gate, &subject, &pieces), assess(&gate, &subject, &[pieces.clone(), vec![again.clone()]].concat()));
        prop_assert_eq!(before.verdict, after.verdict);
        // Where what was signed says of what it is, it may lie beside whatever.
        let asked = !gate.by.is_empty() || matches!(gate.requirement, Requirement::Signature(_) | Requirement::Provenance(_));
        let signs = |piece: &Piece| piece.signed.by.contains(&key("ci")) && (gate.by.is_empty() || gate.by.len() == 2);
        if asked && signs(at.get(&pieces)) {
            again.bound = [digest("arm64")].into();
            let moved = assess(&gate, &subject, &[pieces.clone(), vec![again]].concat());
            prop_assert_eq!(assess(&gate, &subject, &pieces).verdict, moved.verdict);
        }
    }
}
