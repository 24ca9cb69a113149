//! The source of a release: which commit it is of, and whether that may be released.

use super::signed::{COMMIT, provenance};
use super::*;
use crate::evidence::{Seen, Tip};

const OTHER: &str = "ffffffffffffffffffffffffffffffffffffffff";

fn requirement(refs: &[&str]) -> SourceRequirement {
    let refs = refs.iter().map(ToString::to_string).collect();
    SourceRequirement { repository: "https://git.example/acme/shop".into(), refs }
}

fn main() -> SourceRequirement {
    requirement(&["refs/heads/main"])
}

fn said(commit: &str) -> BTreeMap<String, Option<String>> {
    [("org.opencontainers.image.revision".to_string(), Some(commit.to_string()))].into()
}

/// What was seen of a commit, that many seconds ago.
fn seen(name: &str, of: &SourceRequirement, commit: &str, (exists, reached): (bool, bool), seconds: u64) -> Piece {
    let tip = Tip { name: "refs/heads/main".into(), commit: OTHER.into() };
    let seen = Seen {
        repository: of.repository.clone(),
        refs: of.refs.clone(),
        commit: commit.into(),
        exists,
        reached: reached.then_some(tip),
        tips: BTreeMap::new(),
        more_tips: 0,
    };
    let mut about = About::new(Kind::Source);
    about.made = Some(ago(seconds));
    let mut out = piece(name, Report { seen: Some(seen), ..Report::new(about) });
    out.bound = [digest("index")].into();
    out
}

const GOOD: (bool, bool) = (true, true);
const ASIDE: (bool, bool) = (true, false);
const NOWHERE: (bool, bool) = (false, false);

fn codes(pieces: &[Piece], said: &BTreeMap<String, Option<String>>) -> (Standing, Vec<&'static str>) {
    let verdict = main().judge(&index(), pieces, said).verdict;
    (verdict.standing(), verdict.faults.iter().map(Fault::code).collect())
}

#[test]
fn r3_the_commit_is_in_its_repository_and_reachable_from_a_ref_that_may_be_released() {
    let main = main();
    let (elsewhere, wider) = (
        SourceRequirement { repository: "https://git.example/fork/shop".into(), ..main.clone() },
        requirement(&["refs/heads/*"]),
    );
    let of_another = Piece { bound: [digest("other")].into(), ..seen("a", &main, COMMIT, GOOD, 60) };
    for (case, pieces, expected) in [
        ("nobody has looked", vec![], vec!["source-not-seen"]),
        ("reachable", vec![seen("a", &main, COMMIT, GOOD, 60)], vec![]),
        ("beside it", vec![seen("a", &main, COMMIT, ASIDE, 60)], vec!["not-reachable"]),
        ("not there", vec![seen("a", &main, COMMIT, NOWHERE, 60)], vec!["no-such-commit"]),
        ("another commit", vec![seen("a", &main, OTHER, GOOD, 60)], vec!["source-not-seen"]),
        ("in another repository", vec![seen("a", &elsewhere, COMMIT, GOOD, 60)], vec!["source-not-seen"]),
        ("from other refs", vec![seen("a", &wider, COMMIT, GOOD, 60)], vec!["source-not-seen"]),
        ("for another artifact", vec![of_another], vec!["source-not-seen"]),
        ("merged since", vec![seen("a", &main, COMMIT, ASIDE, 60), seen("b", &main, COMMIT, GOOD, 30)], vec![]),
        (
            "gone from the branch since",
            vec![seen("a", &main, COMMIT, GOOD, 60), seen("b", &main, COMMIT, NOWHERE, 30)],
            vec![],
        ),
        (
            "the last of those that did not find it",
            vec![seen("a", &main, COMMIT, NOWHERE, 30), seen("b", &main, COMMIT, ASIDE, 60)],
            vec!["no-such-commit"],
        ),
    ] {
        let standing = match expected.first() {
            None => Standing::Met,
            Some(&"source-not-seen") => Standing::Missing,
            Some(_) => Standing::Bad,
        };
        assert_eq!(codes(&pieces, &said(COMMIT)), (standing, expected), "{case}");
    }
}

#[test]
fn r3_which_commit_that_is_the_build_and_its_provenance_say_alike() {
    let good = || vec![seen("a", &main(), COMMIT, GOOD, 60)];
    let nothing = BTreeMap::new();
    assert_eq!(codes(&good(), &nothing), (Standing::Missing, vec!["not-said"]));
    assert_eq!(codes(&good(), &said("")), (Standing::Missing, vec!["not-said"]));
    let erased = said(COMMIT).into_keys().map(|key| (key, None)).collect();
    assert_eq!(codes(&good(), &erased), (Standing::Missing, vec!["erased"]));
    for malformed in
        [&COMMIT[..12], "main", "HEAD", "--upload-pack=x", &COMMIT.to_uppercase(), &format!("{COMMIT}-dirty")]
    {
        assert_eq!(codes(&good(), &said(malformed)), (Standing::Unreadable, vec!["not-a-commit"]), "{malformed}");
    }
    let with = |pieces: Vec<Piece>| [good(), pieces].concat();
    let built = provenance("p", "index", &["ci"]);
    assert_eq!(codes(&with(vec![built.clone()]), &nothing), (Standing::Met, vec![]));
    assert_eq!(codes(&with(vec![built.clone()]), &said(COMMIT)), (Standing::Met, vec![]));
    assert_eq!(codes(&with(vec![built.clone()]), &said(OTHER)), (Standing::Unreadable, vec!["commits-differ"]));
    assert_eq!(codes(&with(vec![provenance("q", "other", &["ci"])]), &said(COMMIT)), (Standing::Met, vec![]));
}

#[test]
fn r3_what_was_seen_and_cannot_be_read_is_told_where_it_is_missed() {
    let unread = Content::Unreadable { kind: Kind::Source, why: "of tomorrow".into() };
    let unread = Piece { content: unread, ..seen("a", &main(), COMMIT, GOOD, 60) };
    assert_eq!(
        codes(core::slice::from_ref(&unread), &said(COMMIT)),
        (Standing::Unreadable, vec!["source-not-seen", "unreadable"])
    );
    assert_eq!(codes(&[unread, seen("b", &main(), COMMIT, GOOD, 60)], &said(COMMIT)), (Standing::Met, vec![]));
}

#[test]
fn r3_with_signers_only_their_provenance_names_the_commit_and_what_promo_saw_needs_no_signature() {
    let gate = |by: &[&str]| EvidenceGate {
        artifacts: BTreeSet::new(),
        kinds: BTreeSet::new(),
        requirement: Requirement::Source(main()),
        by: signers(by),
        exceptions: vec![],
    };
    let mut forged = provenance("p", "index", &["mallory"]);
    report(&mut forged).provenance.as_mut().unwrap().source.as_mut().unwrap().commit = Some(OTHER.into());
    let name: crate::ids::ArtifactName = "api".parse().unwrap();
    let evidence = ReleaseEvidence {
        metadata: [(name.clone(), said(COMMIT))].into(),
        subjects: [(name.clone(), index())].into(),
        pieces: vec![seen("a", &main(), COMMIT, GOOD, 60), forged],
        ..Default::default()
    };
    let judge = |by: &[&str]| gate(by).judge(&name, &evidence, Before::First, now()).unwrap();
    assert_eq!(judge(&[]).standing(), Standing::Unreadable);
    let signed = judge(&["ci"]);
    assert_eq!((signed.standing(), signed.not_counted.len()), (Standing::Met, 1));
    assert!(signed.summary.contains("is reachable from refs/heads/main"), "{}", signed.summary);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// S1.5: of a release whatever else is known, this gate beside another one opens nothing that was shut.
    #[test]
    fn s1_5_what_was_seen_opens_only_the_gate_that_asks_for_it(
        asked in prop::collection::vec((any::<[bool; 4]>(), 0..90_u64), 0..5), of_build in prop::option::of(any::<bool>()),
    ) {
        let wide = requirement(&["refs/heads/*"]);
        let pieces: Vec<Piece> = asked.iter().enumerate().map(|(at, ([exists, reached, mine, same], seconds))| {
            let of = if *mine { main() } else { wide.clone() };
            let commit = if *same { COMMIT } else { OTHER };
            seen(&format!("{at}"), &of, commit, (*exists || *reached, *reached), *seconds)
        }).collect();
        let said = of_build.map(|same| said(if same { COMMIT } else { OTHER })).unwrap_or_default();
        let verdict = main().judge(&index(), &pieces, &said).verdict;
        let commit = of_build.map(|same| if same { COMMIT } else { OTHER });
        let answers = |(piece, [_, reached, mine, _]): (&Piece, &[bool; 4])| {
            *reached && *mine && commit.is_some_and(|commit| piece.report().unwrap().seen.as_ref().unwrap().commit == commit)
        };
        let good = pieces.iter().zip(asked.iter().map(|(bits, _)| bits)).any(answers);
        prop_assert_eq!(verdict.standing() == Standing::Met, good);
        // It is evidence of nothing else.
        let scan = ScanRequirement::default();
        let without = scan.judge(&index(), &[], &[], now()).verdict;
        prop_assert_eq!(scan.judge(&index(), &pieces, &[], now()).verdict.faults, without.faults);
    }
}

#[test]
fn r3_an_artifact_that_names_two_commits_is_of_none_whatever_else_is_said() {
    let gate = EvidenceGate {
        artifacts: BTreeSet::new(),
        kinds: BTreeSet::new(),
        requirement: Requirement::Source(main()),
        by: Signers::new(),
        exceptions: Vec::new(),
    };
    let app: crate::ids::ArtifactName = "app".parse().unwrap();
    let key = || "org.opencontainers.image.revision".to_string();
    let good = ReleaseEvidence {
        subjects: [(app.clone(), index())].into(),
        pieces: vec![seen("a", &main(), COMMIT, GOOD, 60)],
        metadata: [(app.clone(), said(COMMIT))].into(),
        ..Default::default()
    };
    let judge = |evidence: &ReleaseEvidence| {
        let verdict = gate.judge(&app, evidence, Before::First, now()).unwrap().verdict;
        (verdict.standing(), verdict.faults.iter().map(Fault::code).collect::<Vec<_>>())
    };
    assert_eq!(judge(&good), (Standing::Met, vec![]));
    // By an annotation and a label, say; then whoever adds the release cannot choose between them.
    let told = Some("annotation a, label b".to_string());
    let two = ReleaseEvidence { contradicted: [(app.clone(), [(key(), told)].into())].into(), ..good };
    assert_eq!(judge(&two), (Standing::Bad, vec!["metadata-conflict"]));
}
