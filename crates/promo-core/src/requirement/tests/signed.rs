//! Signatures and provenance: whose count, over what, and what is told where they do not do.

use super::*;
use crate::evidence::{Provenance, Source};

/// A signature over something, by those.
fn signature(name: &str, of: &str, by: &[&str]) -> Piece {
    let mut about = About::new(Kind::Signature);
    about.bind(Link::Subject, digest(of));
    let mut out = piece(name, Report::new(about));
    out.signed.by = by.iter().map(|name| key(name)).collect();
    out
}

fn signed(by: &[&str], least: u64) -> SignatureRequirement {
    SignatureRequirement { by: signers(by), least, scope: Scope::Index, repository: false }
}

fn codes(verdict: &Verdict) -> Vec<&'static str> {
    verdict.faults.iter().map(Fault::code).collect()
}

#[test]
fn an_artifact_is_signed_by_those_whose_signature_over_the_artifact_itself_holds() {
    let one = signed(&["release", "security"], 1);
    for (case, pieces, expected) in [
        ("nobody", vec![], vec!["not-signed"]),
        ("one of them", vec![signature("a", "index", &["release"])], vec![]),
        ("somebody else", vec![signature("a", "index", &["mallory"])], vec!["not-signed"]),
        ("of one platform alone", vec![signature("a", "amd64", &["release"])], vec!["not-signed"]),
        (
            "of every platform, which does not say which is which",
            vec![signature("a", "amd64", &["release"]), signature("b", "arm64", &["release"])],
            vec!["not-signed"],
        ),
        ("of another artifact", vec![signature("a", "other", &["release"])], vec!["not-signed"]),
        (
            "another beside it",
            vec![signature("a", "index", &["mallory"]), signature("b", "index", &["release"])],
            vec![],
        ),
    ] {
        assert_eq!(codes(&one.judge(&index(), &pieces)), expected, "{case}");
    }
}

#[test]
fn s5_2_where_the_repository_matters_a_signature_names_one_in_which_the_artifact_lies() {
    let app: crate::ids::ArtifactName = "app".parse().unwrap();
    let judge = |named: Option<&str>, repository: bool| {
        let mut piece = signature("a", "index", &["release"]);
        report(&mut piece).about.repository = named.map(Into::into);
        let requirement = SignatureRequirement { by: signers(&["release"]), least: 1, scope: Scope::Index, repository };
        let gate = EvidenceGate {
            artifacts: BTreeSet::new(),
            kinds: BTreeSet::new(),
            requirement: Requirement::Signature(requirement),
            by: Signers::new(),
            exceptions: vec![],
        };
        let evidence = ReleaseEvidence {
            subjects: [(app.clone(), index())].into(),
            places: [(app.clone(), ["registry.example:5000/team/app".into(), "docker.io/team/app".into()].into())]
                .into(),
            pieces: vec![piece],
            ..Default::default()
        };
        codes(&gate.judge(&app, &evidence, Before::First, now()).unwrap().verdict)
    };
    for (named, known) in [
        (Some("registry.example:5000/team/app"), true),
        (Some("registry.example:5000/team/app:1.4.2"), true),
        (Some("index.docker.io/team/app"), true),
        (Some("registry.example/team/app"), false),
        (Some("registry.example:5000/team/app2"), false),
        (Some("registry.example:5000/team"), false),
        (None, false),
    ] {
        assert_eq!(judge(named, true), if known { vec![] } else { vec!["not-signed", "of-another"] }, "{named:?}");
        assert_eq!(judge(named, false), [""; 0], "nobody asks for it: {named:?}");
    }
}

#[test]
fn whom_a_certificate_names_is_told_and_who_else_has_signed_by_no_more_than_three() {
    let one = signed(&["release"], 1);
    let named = |name: &str, of: &str| {
        let mut piece = signature(name, "index", &["release"]);
        piece.signed.named = [(key("release"), [of.into()].into())].into();
        piece
    };
    let pieces = [named("a", "release.yml@1"), named("b", "release.yml@2"), signature("c", "index", &["mallory"])];
    assert_eq!(one.signed_by(&index(), &pieces), ["release (release.yml@1, release.yml@2)"]);
    assert_eq!(one.signed_by(&index(), &pieces[2..]), [""; 0]);
    // By a key nobody is named.
    assert_eq!(one.signed_by(&index(), &[signature("a", "index", &["release"])]), ["release"]);

    let others = |all: &[(&str, &str)]| {
        let mut piece = signature("a", "index", &[]);
        piece.signed.strangers = all.iter().map(|(name, by)| ((*name).into(), (*by).into())).collect();
        one.judge(&index(), &[piece]).faults[0].to_string()
    };
    let none = "not signed by release (1 document has another signature or none";
    assert_eq!(others(&[]), format!("{none})"));
    assert_eq!(others(&[("a", "i"), ("b", "j")]), format!("{none}: signed by a, whom i knows; by b, whom j knows)"));
    let many = others(&[("a", "i"), ("b", "i"), ("c", "i"), ("d", "i"), ("e", "i")]);
    assert!(many.ends_with("; by c, whom i knows; by 2 more)"), "{many}");
}

#[test]
fn what_somebody_says_of_an_artifact_is_no_signature_over_it() {
    let mut scan = scan("scan", "index", "trivy", vec![]);
    scan.signed.by = [key("release")].into();
    let verdict = signed(&["release"], 1).judge(&index(), &[scan]);
    assert_eq!((codes(&verdict), verdict.standing()), (vec!["not-signed"], Standing::Missing));
}

#[test]
fn of_several_hands_each_counts_once() {
    let both = signed(&["release", "security"], 2);
    let judge = |by: &[&str]| {
        let each = by.iter().enumerate().map(|(at, who)| signature(&format!("{at}"), "image", &[who]));
        both.judge(&single(), &each.collect::<Vec<_>>())
    };
    assert_eq!(judge(&["release", "security"]).standing(), Standing::Met);
    assert_eq!(both.judge(&single(), &[signature("a", "image", &["release", "security"])]).standing(), Standing::Met);
    let verdict = judge(&["release", "release"]);
    let told: Vec<_> = verdict.faults.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["1 of release, security signed it, and 2 must"]);
    // One key under two names is one hand.
    let by: Signers = [("release".parse().unwrap(), key("release")), ("again".parse().unwrap(), key("release"))].into();
    let twice = SignatureRequirement { by, least: 2, scope: Scope::Index, repository: false };
    assert_eq!(twice.judge(&single(), &[signature("a", "image", &["release"])]).standing(), Standing::Missing);
    // So is one address that two issuers know, and a key is no address.
    let known = |identity: &str, issuer: &str| {
        let (identity, issuer) = (String::from(identity), String::from(issuer));
        Signer::Identity(Identity { identity, issuer, trusted_root: "{}".into() })
    };
    let (one, same) =
        (known("dana@acme.example", "https://a.example"), known("dana@acme.example", "https://b.example"));
    for (other, standing) in [
        (same, Standing::Missing),
        (known("riley@acme.example", "https://a.example"), Standing::Met),
        (key("release"), Standing::Met),
    ] {
        let mut by_both = signature("a", "image", &[]);
        by_both.signed.by = [one.clone(), other.clone()].into();
        let by: Signers = [("one".parse().unwrap(), one.clone()), ("other".parse().unwrap(), other)].into();
        assert_eq!(
            SignatureRequirement { by, least: 2, scope: Scope::Index, repository: false }
                .judge(&single(), &[by_both])
                .standing(),
            standing
        );
    }
}

#[test]
fn who_is_known_by_a_key_is_written_as_ever_and_one_by_an_identity_can_be_told_from_it() {
    let identity = Identity {
        identity: "https://git.example/*".into(),
        issuer: "https://a.example".into(),
        trusted_root: "{}".into(),
    };
    let (by_key, by_identity) = (key("release"), Signer::Identity(identity));
    let written = serde_json::to_value([&by_key, &by_identity]).unwrap();
    assert_eq!(written[0], serde_json::to_value(by_key.key().unwrap()).unwrap());
    assert_eq!(serde_json::from_value::<[Signer; 2]>(written).unwrap(), [by_key, by_identity]);
}

#[test]
fn a_signature_that_says_whose_it_is_and_does_not_hold_is_bad_and_takes_nothing_from_a_good_one() {
    let mut broken = signature("broken", "image", &[]);
    broken.signed.broken = [key("release")].into();
    let good = signature("good", "image", &["release"]);
    let verdict = signed(&["release"], 1).judge(&single(), &[broken.clone()]);
    assert_eq!((codes(&verdict), verdict.standing()), (vec!["not-signed", "broken-signature"], Standing::Bad));
    // Anybody can write the id of a key.
    let verdict = signed(&["release"], 1).judge(&single(), &[good, broken.clone()]);
    assert_eq!(verdict.standing(), Standing::Met);
    // Of somebody who is not asked for it says nothing.
    let verdict = signed(&["security"], 1).judge(&single(), &[broken, signature("b", "image", &["security"])]);
    assert_eq!(verdict.standing(), Standing::Met);
}

#[test]
fn a_signature_that_cannot_be_read_is_told_where_one_is_missing_and_bars_nothing_else() {
    let mut unread = signature("unread", "image", &[]);
    unread.bound = [digest("image")].into();
    unread.content = Content::Unreadable { kind: Kind::Signature, why: "its version is newer".into() };
    let requirement = signed(&["release"], 1);
    let verdict = requirement.judge(&single(), &[unread.clone()]);
    assert_eq!(codes(&verdict), ["not-signed", "unreadable"]);
    let verdict = requirement.judge(&single(), &[unread, signature("a", "image", &["release"])]);
    assert_eq!(verdict.standing(), Standing::Met);
}

pub(super) const COMMIT: &str = "1f2e3d4c5b6a79880716253443526170f0e1d2c3";

pub(super) fn provenance(name: &str, of: &str, by: &[&str]) -> Piece {
    let mut about = About::new(Kind::InToto);
    about.inside = Some(Kind::Provenance);
    about.bind(Link::Subject, digest(of));
    let built = Provenance {
        builder: "https://ci.example/runner@v2".into(),
        build_type: "https://ci.example/build/v1".into(),
        source: Some(Source {
            uri: "git+https://git.example/acme/shop@refs/heads/main".into(),
            commit: Some(COMMIT.into()),
            digest: None,
        }),
        others: vec![],
        run: None,
    };
    let mut out = piece(name, Report { provenance: Some(built), ..Report::new(about) });
    out.signed.by = by.iter().map(|name| key(name)).collect();
    out
}

fn built() -> ProvenanceRequirement {
    ProvenanceRequirement {
        by: signers(&["ci"]),
        builders: ["https://ci.example/runner@*".into()].into(),
        sources: ["https://git.example/acme/*".into()].into(),
        scope: None,
    }
}

fn of(piece: &mut Piece) -> &mut Provenance {
    report(piece).provenance.as_mut().unwrap()
}

#[test]
fn provenance_counts_signed_and_of_the_builder_the_source_and_the_commit_that_it_should_be() {
    let good = provenance("a", "index", &["ci"]);
    let edit = |edit: &dyn Fn(&mut Provenance)| {
        let mut out = good.clone();
        edit(of(&mut out));
        out
    };
    let unsigned = provenance("a", "index", &[]);
    for (case, piece, commit, expected) in [
        ("good", good.clone(), Some(COMMIT), vec![]),
        ("the build said no commit", good.clone(), None, vec![]),
        ("unsigned", unsigned, Some(COMMIT), vec!["nothing", "not-signed"]),
        ("signed by another", provenance("a", "index", &["mallory"]), None, vec!["nothing", "not-signed"]),
        ("of another artifact", provenance("a", "other", &["ci"]), None, vec!["nothing"]),
        ("another builder", edit(&|p| p.builder = "https://laptop.example".into()), None, vec!["other-builder"]),
        (
            "a builder that only begins like it",
            edit(&|p| p.builder = "https://ci.example/runner.evil@v2".into()),
            None,
            vec!["other-builder"],
        ),
        (
            "another repository",
            edit(&|p| p.source.as_mut().unwrap().uri = "git+https://git.example/mallory/shop".into()),
            None,
            vec!["other-source"],
        ),
        ("no repository", edit(&|p| p.source = None), None, vec!["other-source"]),
        (
            "another commit",
            edit(&|p| p.source.as_mut().unwrap().commit = Some("00".repeat(20))),
            Some(COMMIT),
            vec!["metadata-conflict"],
        ),
        ("no commit", edit(&|p| p.source.as_mut().unwrap().commit = None), Some(COMMIT), vec!["other-commit"]),
        ("no commit anywhere", edit(&|p| p.source.as_mut().unwrap().commit = None), None, vec!["other-commit"]),
    ] {
        let verdict = built().judge(&index(), &[piece], commit);
        assert_eq!(codes(&verdict), expected, "{case}: {verdict:?}");
    }
    // Who asks for no source asks for no commit of one.
    let by_builder = ProvenanceRequirement { sources: BTreeSet::new(), ..built() };
    let nowhere = [edit(&|p| p.source = None)];
    assert_eq!(by_builder.judge(&index(), &nowhere, None).standing(), Standing::Met);
    assert_eq!(codes(&by_builder.judge(&index(), &nowhere, Some(COMMIT))), ["other-commit"]);
    let (one, two) = (edit(&|p| p.builder = "https://laptop.example".into()), good.clone());
    assert_eq!(built().judge(&index(), &[one, two], None).standing(), Standing::Met, "one good document is enough");
}

#[test]
fn the_commit_of_something_else_that_was_built_in_is_not_that_of_the_source() {
    let mut piece = provenance("a", "index", &["ci"]);
    of(&mut piece).source.as_mut().unwrap().commit = None;
    let other =
        Source { uri: "git+https://git.example/other/library".into(), commit: Some(COMMIT.into()), digest: None };
    of(&mut piece).others.push(other);
    let verdict = built().judge(&index(), &[piece.clone()], Some(COMMIT));
    assert_eq!(codes(&verdict), ["other-commit"]);
    // Nor is its repository that from which it was built.
    let built_in = of(&mut piece).source.take();
    of(&mut piece).others.extend(built_in);
    assert_eq!(codes(&built().judge(&index(), &[piece], None)), ["other-source"]);
}

#[test]
fn provenance_is_of_the_index_or_of_each_platform() {
    let (amd64, arm64) = (provenance("a", "amd64", &["ci"]), provenance("b", "arm64", &["ci"]));
    assert_eq!(built().judge(&index(), &[amd64.clone(), arm64.clone()], None).standing(), Standing::Met);
    let verdict = built().judge(&index(), core::slice::from_ref(&amd64), None);
    assert_eq!(verdict.faults, [Fault::Nothing { from: None, platform: Some(digest("arm64")) }]);
    // Where it is said of what, that alone does.
    let whole = provenance("c", "index", &["ci"]);
    let met = |scope, pieces: &[Piece]| {
        let of_scope = ProvenanceRequirement { scope: Some(scope), ..built() };
        of_scope.judge(&index(), pieces, None).standing() == Standing::Met
    };
    for (pieces, expected) in [
        (vec![whole.clone()], [true, false, true]),
        (vec![amd64.clone()], [false, false, true]),
        (vec![amd64.clone(), arm64.clone()], [false, true, true]),
        (vec![], [false, false, false]),
    ] {
        assert_eq!([Scope::Index, Scope::EachPlatform, Scope::Any].map(|scope| met(scope, &pieces)), expected);
    }
    let mut bad = arm64;
    of(&mut bad).builder = "https://laptop.example".into();
    assert_eq!(codes(&built().judge(&index(), &[amd64, bad], None)), ["other-builder"]);
}

#[test]
fn s5_1_documents_that_count_and_name_different_commits_are_a_conflict_and_not_nothing() {
    let at = |name: &str, of_what: &str, commit: Option<&str>, by: &[&str]| {
        let mut out = provenance(name, of_what, by);
        of(&mut out).source.as_mut().unwrap().commit = commit.map(Into::into);
        out
    };
    let other = "00".repeat(20);
    let (amd64, arm64) = (at("a", "amd64", Some(COMMIT), &["ci"]), at("b", "arm64", Some(&other), &["ci"]));
    let judge = |pieces: &[Piece], said: Option<&str>| built().judge(&index(), pieces, said);
    let verdict = judge(&[amd64.clone(), arm64.clone()], None);
    assert_eq!((codes(&verdict), verdict.standing()), (vec!["metadata-conflict"], Standing::Bad));
    let told = verdict.faults[0].to_string();
    assert!(
        told.contains(COMMIT) && told.contains(&other) && told.contains("org.opencontainers.image.revision"),
        "{told}"
    );
    assert_eq!(verdict.used.len(), 2, "both are named");
    // Where the build itself said which, the other one contradicts it, also beside one that says the same of the same.
    assert_eq!(codes(&judge(&[amd64.clone(), arm64.clone()], Some(COMMIT))), ["metadata-conflict"]);
    let whole = at("e", "index", Some(COMMIT), &["ci"]);
    let verdict = judge(&[whole.clone(), arm64.clone()], Some(COMMIT));
    assert_eq!((codes(&verdict), verdict.standing()), (vec!["metadata-conflict"], Standing::Bad));
    assert!(verdict.faults[0].to_string().contains(&digest("b").to_string()), "{verdict:?}");
    assert_eq!(judge(&[whole, at("b", "arm64", Some(&other), &["mallory"])], Some(COMMIT)).standing(), Standing::Met);
    // One that names none contradicts nobody, and is of no source; and one that does not count says nothing.
    let unsigned = at("c", "arm64", Some(&other), &["mallory"]);
    let silent = [amd64.clone(), at("b", "arm64", None, &["ci"]), unsigned.clone()];
    assert_eq!(codes(&judge(&silent, None)), ["other-commit"]);
    let anywhere = ProvenanceRequirement { sources: BTreeSet::new(), ..built() };
    assert_eq!(anywhere.judge(&index(), &silent, None).standing(), Standing::Met);
    let more = at("b", "arm64", Some(COMMIT), &["ci"]);
    assert_eq!(judge(&[amd64.clone(), more, unsigned], None).standing(), Standing::Met);
    // Of the whole and of a part.
    assert_eq!(codes(&judge(&[at("d", "index", Some(&other), &["ci"]), amd64], None)), ["metadata-conflict"]);
}

#[test]
fn a_statement_that_names_nothing_is_of_nothing_whoever_brings_it_for_what() {
    let (mut built_of, mut over) = (provenance("a", "index", &["ci"]), signature("b", "index", &["ci"]));
    for piece in [&mut built_of, &mut over] {
        report(piece).about.bound.clear();
        piece.bound = [digest("index")].into();
    }
    let pieces = [built_of, over];
    assert_eq!(built().judge(&index(), &pieces, None).standing(), Standing::Missing);
    assert_eq!(signed(&["ci"], 1).judge(&index(), &pieces).standing(), Standing::Missing);
}

#[test]
fn what_lies_in_a_registry_replaces_nothing_that_somebody_brought() {
    let mut brought = scan("bad", "image", "trivy", vec![critical("CVE-1")]);
    brought.origin = Origin::Ledger { by: "ci".into(), at: ago(60) };
    let mut pushed = scan("good", "image", "trivy", vec![]);
    report(&mut pushed).about.made = Some(ago(10));
    assert_eq!(standing(&single(), &[brought.clone(), pushed.clone()]), Standing::Bad);
    pushed.origin = Origin::Ledger { by: "ci".into(), at: ago(5) };
    assert_eq!(standing(&single(), &[brought, pushed]), Standing::Met);
}

proptest! {
    /// Adding a document never opens a gate over signatures or provenance that nobody who counts has signed (S1.5).
    #[test]
    fn s1_5_what_nobody_who_counts_has_signed_opens_nothing(
        by in prop::collection::vec(prop::sample::select(vec!["mallory", "eve"]), 0..3),
        of in prop::collection::vec(prop::sample::select(vec!["index", "amd64", "arm64", "other"]), 0..6),
    ) {
        let pieces: Vec<Piece> = of
            .iter()
            .enumerate()
            .flat_map(|(at, of)| [signature(&format!("s{at}"), of, &by), provenance(&format!("p{at}"), of, &by)])
            .collect();
        prop_assert_eq!(signed(&["release"], 1).judge(&index(), &pieces).standing(), Standing::Missing);
        prop_assert_eq!(built().judge(&index(), &pieces, None).standing(), Standing::Missing);
    }
}
