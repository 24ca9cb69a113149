//! Documents that must be signed to count: what others signed, or nobody, neither opens a gate nor bars it, and is named.

use super::*;
use crate::ids::ArtifactName;

/// A gate of no critical finding, by those; by anybody where they are none.
fn gate(by: &[&str]) -> EvidenceGate {
    EvidenceGate {
        artifacts: BTreeSet::new(),
        kinds: BTreeSet::new(),
        requirement: Requirement::Scan(ScanRequirement { scope: Scope::Any, ..ScanRequirement::default() }),
        by: signers(by),
        exceptions: vec![],
    }
}

fn app() -> ArtifactName {
    "app".parse().unwrap()
}

fn assess(gate: &EvidenceGate, pieces: Vec<Piece>) -> Assessment {
    let subjects = [(app(), single())].into();
    let evidence = ReleaseEvidence { subjects, pieces, ..Default::default() };
    gate.judge(&app(), &evidence, Before::First, now()).unwrap()
}

fn by(who: &[&str], mut piece: Piece) -> Piece {
    piece.signed.by = who.iter().map(|who| key(who)).collect();
    piece
}

fn codes(assessment: &Assessment) -> Vec<&'static str> {
    assessment.verdict.faults.iter().map(Fault::code).collect()
}

#[test]
fn s1_3_what_others_signed_or_nobody_neither_opens_a_gate_nor_bars_it_and_is_named() {
    let (clean, bad) =
        (|| scan("clean", "image", "trivy", vec![]), || scan("bad", "image", "grype", vec![critical("CVE-1")]));
    for (case, pieces, expected, passed_over) in [
        ("nothing", vec![], vec!["nothing"], vec![]),
        ("signed by one of them", vec![by(&["ci"], clean())], vec![], vec![]),
        ("signed by the other one", vec![by(&["security", "mallory"], clean())], vec![], vec![]),
        ("not signed", vec![clean()], vec!["nothing", "not-signed"], vec!["clean"]),
        ("signed by others", vec![by(&["mallory"], clean())], vec!["nothing", "not-signed"], vec!["clean"]),
        (
            "a bad one of others beside a good one",
            vec![by(&["ci"], clean()), by(&["mallory"], bad())],
            vec![],
            vec!["bad"],
        ),
        ("a good one of others beside a bad one", vec![clean(), by(&["ci"], bad())], vec!["vulnerable"], vec!["clean"]),
        ("one of another artifact", vec![scan("other", "other", "trivy", vec![])], vec!["nothing"], vec![]),
    ] {
        let told = assess(&gate(&["ci", "security"]), pieces);
        assert_eq!(codes(&told), expected, "{case}");
        let named: Vec<Digest> = told.not_counted.iter().map(|one| one.document).collect();
        assert_eq!(named, passed_over.iter().map(|name| digest(name)).collect::<Vec<_>>(), "{case}");
        assert!(told.not_counted.iter().all(|one| one.why.to_string() == "not signed by ci or security"), "{case}");
    }
    assert!(assess(&gate(&[]), vec![clean()]).not_counted.is_empty());
}

#[test]
fn s1_3_of_what_a_signature_does_not_hold_or_names_nothing_is_told_as_that() {
    let mut broken = scan("broken", "image", "trivy", vec![]);
    broken.signed.broken = [key("ci")].into();
    let mut nameless = by(&["ci"], scan("nameless", "image", "trivy", vec![]));
    report(&mut nameless).about.bound.clear();
    // Whoever brings it says that it is of this one; yesterday's could be brought so.
    nameless.bound.insert(digest("image"));
    let told = assess(&gate(&["ci"]), vec![broken, nameless]);
    assert_eq!((codes(&told), told.verdict.standing()), (vec!["nothing", "not-signed"], Standing::Missing));
    let why: Vec<_> = told.not_counted.iter().map(|one| one.why.to_string()).collect();
    assert_eq!(why, ["the signature of ci does not hold", "what was signed does not say of what it speaks"]);
}

#[test]
fn s1_3_a_signed_document_that_cannot_be_read_holds_and_one_of_others_does_not() {
    let broken = |who: &[&str]| {
        let mut out = by(who, scan("broken", "image", "trivy", vec![]));
        out.content = Content::Unreadable { kind: Kind::Trivy, why: "cut off".into() };
        out.bound.insert(digest("image"));
        out
    };
    let clean = by(&["ci"], scan("clean", "image", "trivy", vec![]));
    assert_eq!(assess(&gate(&["ci"]), vec![clean.clone(), broken(&["ci"])]).standing(), Standing::Unreadable);
    let told = assess(&gate(&["ci"]), vec![clean, broken(&["mallory"])]);
    assert_eq!((told.standing(), told.not_counted.len()), (Standing::Met, 1));
}

#[test]
fn s1_3_a_later_scan_of_others_replaces_none_that_counts() {
    let mut later = by(&["mallory"], scan("later", "image", "trivy", vec![]));
    report(&mut later).about.made = Some(ago(60));
    let told = assess(&gate(&["ci"]), vec![by(&["ci"], scan("bad", "image", "trivy", vec![critical("CVE-1")])), later]);
    assert_eq!(codes(&told), ["vulnerable"]);
}

#[test]
fn s1_3_statements_on_exploitability_are_those_of_vex_and_not_of_the_scanner() {
    let Requirement::Scan(scan_requirement) = gate(&[]).requirement else { panic!("it is one") };
    let vexed = ScanRequirement { vex: signers(&["vendor"]), ..scan_requirement };
    let gate = EvidenceGate { requirement: Requirement::Scan(vexed), ..gate(&["ci"]) };
    let bad = by(&["ci"], scan("bad", "image", "trivy", vec![critical("CVE-1")]));
    let product = Product { id: None, purl: None, digests: vec![digest("image")], parts: vec![] };
    let statement = Statement {
        vulnerability: "CVE-1".into(),
        aliases: vec![],
        products: vec![product],
        parts: vec![],
        status: Status::Fixed,
        justification: None,
        impact: None,
        at: Some(ago(60)),
    };
    let of = |who: &[&str]| {
        let report = Report { statements: Some(vec![statement.clone()]), ..Report::new(About::new(Kind::OpenVex)) };
        by(who, piece("vex", report))
    };
    assert_eq!(assess(&gate, vec![bad.clone(), of(&["vendor"])]).standing(), Standing::Met);
    assert_eq!(assess(&gate, vec![bad, of(&["ci"])]).standing(), Standing::Bad);
}

#[test]
fn s1_3_a_baseline_that_nobody_signed_is_none() {
    let number = |name: &str, value: f64| {
        let number = Number { name: "p95".into(), value: Finite::new(value).unwrap(), unit: None };
        let numbers = Numbers { list: vec![number], ..Numbers::default() };
        let mut about = About::new(Kind::K6);
        about.bind(Link::Subject, digest("image"));
        piece(name, Report { numbers: Some(numbers), ..Report::new(about) })
    };
    let baseline = Some(Baseline::HigherBy(Finite::new(10.0).unwrap()));
    let requirement =
        NumberRequirement { name: "p95".into(), suites: BTreeSet::new(), least: None, most: None, baseline };
    let gate = EvidenceGate { requirement: Requirement::Number(requirement), ..gate(&["ci"]) };
    let of =
        |piece| ReleaseEvidence { subjects: [(app(), single())].into(), pieces: vec![piece], ..Default::default() };
    let judge = |before: Piece| {
        let (here, before) = (of(by(&["ci"], number("now", 100.0))), of(before));
        gate.judge(&app(), &here, Before::Known(&before), now()).unwrap().standing()
    };
    assert_eq!(judge(by(&["ci"], number("before", 100.0))), Standing::Met);
    assert_eq!(judge(number("before", 100.0)), Standing::Missing);
}

#[test]
fn s1_3_what_was_withdrawn_is_named_first_and_so_are_statements_beside_a_scan() {
    let mut vex = piece(
        "vex",
        Report {
            statements: Some(vec![statement("CVE-1", Status::Affected, Some(now()))]),
            ..Report::new(About::new(Kind::OpenVex))
        },
    );
    vex.bound = [digest("image")].into();
    let pushed = (0..30).map(|at| scan(&format!("pushed {at}"), "image", "trivy", vec![]));
    let evidence = ReleaseEvidence {
        subjects: [(app(), single())].into(),
        pieces: pushed.chain([by(&["ci"], scan("clean", "image", "trivy", vec![]))]).collect(),
        withdrawn: vec![(vex, "riley".into(), 7)],
        ..Default::default()
    };
    let told = gate(&["ci"]).judge(&app(), &evidence, Before::First, now()).unwrap();
    assert_eq!((told.standing(), told.not_counted.len()), (Standing::Met, 31));
    assert_eq!(told.not_counted[0].document, digest("vex"));
}

fn some_pieces() -> impl Strategy<Value = Vec<Piece>> {
    let who = prop::collection::btree_set(prop::sample::select(vec!["ci", "security", "mallory"]), 0..3);
    let level = prop::option::of(prop::sample::select(vec![Level::Low, Level::High, Level::Critical]));
    let one = (prop::sample::select(vec!["image", "other"]), any::<bool>(), level, 0..3_u64, who);
    prop::collection::vec(one, 0..5).prop_map(|all| {
        let each = all.into_iter().enumerate().map(|(at, (of, trivy, level, days, who))| {
            let list = level.map(|level| finding(&format!("CVE-{at}"), Severity::Level(level))).into_iter().collect();
            let mut out = scan(&format!("scan {at}"), of, if trivy { "trivy" } else { "grype" }, list);
            report(&mut out).about.made = Some(ago(days * DAY));
            by(&who.into_iter().collect::<Vec<_>>(), out)
        });
        each.collect()
    })
}

fn some_signers() -> impl Strategy<Value = Vec<&'static str>> {
    prop::sample::subsequence(vec!["ci", "security"], 0..=2)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// S1.5: what does not count changes nothing but what is told.
    #[test]
    fn s1_5_a_gate_says_the_same_with_and_without_what_it_does_not_count(named in some_signers(), pieces in some_pieces()) {
        let told = assess(&gate(&named), pieces.clone());
        let counts = |piece: &Piece| named.is_empty() || named.iter().any(|who| piece.signed.by.contains(&key(who)));
        let alone = assess(&gate(&named), pieces.iter().filter(|piece| counts(piece)).cloned().collect());
        prop_assert_eq!(told.standing(), alone.standing());
        prop_assert_eq!(&told.verdict.used, &alone.verdict.used);
        // And it is what a gate that asks nobody makes of those alone.
        let asked = assess(&gate(&[]), pieces.iter().filter(|piece| counts(piece)).cloned().collect());
        prop_assert_eq!(told.standing(), asked.standing());
        // Each that speaks of the artifact is either there or named.
        let here = pieces.iter().filter(|piece| matches!(single().reach(piece), Reach::Platforms(_)));
        prop_assert_eq!(told.not_counted.len(), here.filter(|piece| !counts(piece)).count());
    }

    /// S1.5: a gate more, a signer that has to have signed, or a finding more lets nothing in that was held. A pipeline's `by` stands in a
    /// gate of the pipeline's: what it passes over bars at policy's as before.
    #[test]
    fn s1_5_a_gate_with_signers_beside_others_never_lets_more_through(
        second in some_signers(), pieces in some_pieces(), at in 0..5_usize,
    ) {
        let met = |by: &[&str], pieces: &[Piece]| assess(&gate(by), pieces.to_vec()).standing() == Standing::Met;
        // Said of one gate: nothing is let in that none of them has signed.
        let of_them = |piece: &Piece| second.iter().any(|who| piece.signed.by.contains(&key(who)));
        prop_assert!(second.is_empty() || !met(&second, &pieces) || pieces.iter().any(of_them));
        // Where it opens what was held, all that held it is named.
        if !met(&[], &pieces) && met(&second, &pieces) {
            let told = assess(&gate(&second), pieces.clone());
            let held = assess(&gate(&[]), pieces.clone()).verdict.faults;
            let named = |document: &Digest| told.not_counted.iter().any(|one| one.document == *document);
            let is_named = |fault: &Fault| matches!(fault, Fault::Vulnerable { document, .. } if named(document));
            prop_assert!(held.iter().all(is_named), "{:?}", held);
        }
        let mut worse = pieces.clone();
        if let Some(scan) = worse.get_mut(at) {
            report(scan).findings.as_mut().unwrap().list.push(critical("CVE-more"));
        }
        prop_assert!(met(&second, &pieces) || !met(&second, &worse));
    }
}
