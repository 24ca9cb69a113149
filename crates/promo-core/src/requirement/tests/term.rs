//! Keys that count for a time, and keys whose signatures a log or a time stamp must bear out; and what of an artifact must be signed.

use super::*;
use crate::ids::ArtifactName;
use crate::requirement::Term;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A key of that name with an end or a beginning, and with a trusted root where it is to be borne out.
fn bound(name: &str, from: Option<&str>, to: Option<&str>, trusted_root: Option<&str>) -> Signer {
    let key = key(name).key().unwrap().clone();
    let term = Term { from: from.map(at), to: to.map(at) };
    BoundKey { key, term, trusted_root: trusted_root.map(Into::into) }.into()
}

fn named(all: &[(&str, &Signer)]) -> Signers {
    all.iter().map(|(name, signer)| (name.parse().unwrap(), (*signer).clone())).collect()
}

fn signature(name: &str, of: &[&str], by: &[&Signer]) -> Piece {
    let mut about = About::new(Kind::Signature);
    of.iter().for_each(|of| about.bind(Link::Subject, digest(of)));
    let mut out = piece(name, Report::new(about));
    out.signed.by = by.iter().map(|signer| (*signer).clone()).collect();
    out
}

fn app() -> ArtifactName {
    "app".parse().unwrap()
}

fn gate(requirement: Requirement, by: Signers) -> EvidenceGate {
    EvidenceGate { artifacts: BTreeSet::new(), kinds: BTreeSet::new(), requirement, by, exceptions: vec![] }
}

fn signed(by: Signers, least: u64, scope: Scope) -> EvidenceGate {
    gate(Requirement::Signature(SignatureRequirement { by, least, scope, repository: false }), Signers::new())
}

fn judge(gate: &EvidenceGate, subject: Subject, pieces: Vec<Piece>, now: Timestamp) -> Verdict {
    let evidence = ReleaseEvidence { subjects: [(app(), subject)].into(), pieces, ..Default::default() };
    gate.judge(&app(), &evidence, Before::First, now).unwrap().verdict
}

fn codes(verdict: &Verdict) -> Vec<&'static str> {
    verdict.faults.iter().map(Fault::code).collect()
}

#[test]
fn r5_3_a_key_counts_from_its_first_instant_up_to_its_end_as_of_the_time_of_judgement() {
    let release = bound("release", Some("2026-01-01T00:00:00Z"), Some("2027-01-01T00:00:00Z"), None);
    let gate = signed(named(&[("release", &release)]), 1, Scope::Index);
    let one = || vec![signature("a", &["image"], &[&release])];
    for (now, standing, code) in [
        ("2025-12-31T23:59:59Z", Standing::Missing, Some("key-outside-window")),
        ("2026-01-01T00:00:00Z", Standing::Met, None),
        ("2026-12-31T23:59:59.999Z", Standing::Met, None),
        ("2027-01-01T00:00:00Z", Standing::Expired, Some("key-outside-window")),
    ] {
        let verdict = judge(&gate, single(), one(), at(now));
        assert_eq!((verdict.standing(), codes(&verdict).get(1).copied()), (standing, code), "{now}");
        if standing == Standing::Met {
            assert_eq!(verdict.until, Some(at("2027-01-01T00:00:00Z")), "{now}: until when it holds");
        }
    }
    let told = judge(&gate, single(), one(), at("2027-03-01T00:00:00Z")).faults[1].to_string();
    let window = "the key of release counts from 2026-01-01 00:00:00 UTC until 2027-01-01 00:00:00 UTC, which is over";
    assert_eq!(told, format!("{window}: sign with a key that counts, or name a later `not_after`"));
}

#[test]
fn r5_3_where_a_log_or_a_stamp_says_when_it_was_signed_that_is_compared_and_it_ends_no_more() {
    let release = bound("release", Some("2026-01-01T00:00:00Z"), Some("2027-01-01T00:00:00Z"), Some("{}"));
    let gate = signed(named(&[("release", &release)]), 1, Scope::Index);
    let seen = |first: &str, last: &str| {
        let mut piece = signature("a", &["image"], &[&release]);
        piece.signed.times = [(release.clone(), [(at(first), at(last))].into())].into();
        piece
    };
    let late = at("2030-01-01T00:00:00Z");
    let inside = seen("2026-06-01T00:00:00Z", "2026-06-01T00:00:05Z");
    let verdict = judge(&gate, single(), vec![inside.clone()], late);
    assert_eq!((verdict.standing(), verdict.until), (Standing::Met, None), "years later");
    // Each time that is proven has to be in it: one that is late is one of a key that was over.
    for (first, last) in [
        ("2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z"),
        ("2025-12-31T23:59:59Z", "2026-06-01T00:00:00Z"),
    ] {
        let verdict = judge(&gate, single(), vec![seen(first, last)], at("2026-06-01T00:00:00Z"));
        assert_eq!(codes(&verdict), ["not-signed", "key-outside-window"], "{first} {last}");
    }
    // Whoever enters it in the log again, late, takes nothing away.
    let again = Piece { document: digest("again"), ..seen("2029-01-01T00:00:00Z", "2029-01-01T00:00:00Z") };
    assert_eq!(judge(&gate, single(), vec![again, inside], late).standing(), Standing::Met);
    // Without a proven time it is the time of judgement.
    let bare = || vec![signature("a", &["image"], &[&release])];
    assert_eq!(judge(&gate, single(), bare(), at("2026-06-01T00:00:00Z")).standing(), Standing::Met);
    assert_eq!(judge(&gate, single(), bare(), late).standing(), Standing::Expired);
}

#[test]
fn r5_3_two_keys_whose_windows_overlap_follow_each_other_without_a_gap() {
    let old = bound("old", None, Some("2027-01-31T00:00:00Z"), None);
    let new = bound("new", Some("2027-01-01T00:00:00Z"), None, None);
    let gate = signed(named(&[("old", &old), ("new", &new)]), 1, Scope::Index);
    let standing = |by: &[&Signer], now: &str| {
        let pieces = by.iter().enumerate().map(|(n, by)| signature(&format!("{n}"), &["image"], &[by])).collect();
        let verdict = judge(&gate, single(), pieces, at(now));
        (verdict.standing(), verdict.until)
    };
    let end = Some(at("2027-01-31T00:00:00Z"));
    assert_eq!(standing(&[&old], "2026-12-01T00:00:00Z"), (Standing::Met, end));
    assert_eq!(standing(&[&new], "2026-12-01T00:00:00Z").0, Standing::Missing, "not yet");
    for by in [&[&old][..], &[&new], &[&old, &new]] {
        assert_eq!(standing(by, "2027-01-15T00:00:00Z").0, Standing::Met, "both count");
    }
    assert_eq!(standing(&[&old], "2027-02-01T00:00:00Z").0, Standing::Expired);
    assert_eq!(standing(&[&new], "2027-02-01T00:00:00Z"), (Standing::Met, None));
    assert_eq!(standing(&[&old, &new], "2027-01-15T00:00:00Z"), (Standing::Met, None), "one of them does not end");
    // One key with two windows is one hand.
    let again = bound("old", Some("2026-06-01T00:00:00Z"), None, None);
    let both = signed(named(&[("old", &old), ("again", &again)]), 2, Scope::Index);
    let by_both = vec![signature("a", &["image"], &[&old, &again])];
    let verdict = judge(&both, single(), by_both, at("2026-12-01T00:00:00Z"));
    assert_eq!(verdict.faults[0].to_string(), "1 of again, old signed it, and 2 must");
}

#[test]
fn r5_3_of_several_hands_the_end_is_that_of_the_one_that_is_missed() {
    let [a, b, c] = [("a", "2027-01-01"), ("b", "2027-02-01"), ("c", "2027-03-01")]
        .map(|(name, end)| bound(name, None, Some(&format!("{end}T00:00:00Z")), None));
    let free = key("free");
    let all = named(&[("a", &a), ("b", &b), ("c", &c), ("free", &free)]);
    for (least, by, end) in [
        (1, vec![&a, &b, &c], Some(("2027-03-01", "c"))),
        (2, vec![&a, &b, &c], Some(("2027-02-01", "b"))),
        (3, vec![&a, &b, &c], Some(("2027-01-01", "a"))),
        (1, vec![&a, &free], None),
        (2, vec![&a, &b, &free], Some(("2027-02-01", "b"))),
    ] {
        let gate = signed(all.clone(), least, Scope::Index);
        let verdict = judge(&gate, single(), vec![signature("s", &["image"], &by)], now());
        let expected = end.map(|(end, name)| (at(&format!("{end}T00:00:00Z")), name.parse().unwrap()));
        assert_eq!((verdict.standing(), &verdict.lapses), (Standing::Met, &expected), "{least}");
        assert_eq!(verdict.until, expected.as_ref().map(|(at, _)| *at));
        // As said: a moment before it is met, and then no more.
        if let Some((end, _)) = expected {
            for (when, met) in [(end - SignedDuration::from_secs(1), true), (end, false)] {
                let verdict = judge(&gate, single(), vec![signature("s", &["image"], &by)], when);
                assert_eq!(verdict.standing() == Standing::Met, met, "{least} {when}");
            }
        }
    }
}

#[test]
fn s1_5_the_end_of_a_key_lets_nothing_in_that_it_kept_out() {
    let old = bound("ci", None, Some("2026-11-22T11:59:00Z"), None);
    let other = key("other");
    let gate = gate(
        Requirement::Scan(ScanRequirement { scope: Scope::Any, ..ScanRequirement::default() }),
        named(&[("ci", &old), ("other", &other)]),
    );
    let by = |signer: &Signer, mut piece: Piece| {
        piece.signed.by = [signer.clone()].into();
        piece
    };
    let (clean, bad) =
        (|| scan("clean", "image", "trivy", vec![]), || scan("bad", "image", "grype", vec![critical("CVE-1")]));
    let verdict = |pieces| judge(&gate, single(), pieces, now());
    assert_eq!(verdict(vec![by(&other, clean())]).standing(), Standing::Met);
    assert_eq!(codes(&verdict(vec![by(&other, clean()), by(&old, bad())])), ["vulnerable"], "it bars as before");
    let lapsed = verdict(vec![by(&old, clean())]);
    assert_eq!(codes(&lapsed), ["nothing", "not-signed", "key-outside-window"], "and lets nothing in");
    assert_eq!(lapsed.standing(), Standing::Expired);
    // Nor does a statement that clears a finding.
    let cleared = |signer: &Signer| {
        let vex = named(&[("vex", signer)]);
        let gate = super::term::gate(
            Requirement::Scan(ScanRequirement { scope: Scope::Any, vex, ..ScanRequirement::default() }),
            Signers::new(),
        );
        let statement = super::statement("CVE-1", Status::NotAffected, Some(ago(60)));
        let mut about = About::new(Kind::OpenVex);
        about.bind(Link::Subject, digest("image"));
        let mut says = Report::new(about);
        says.statements = Some(vec![statement]);
        let says = by(signer, piece("vex", says));
        judge(&gate, single(), vec![bad(), says], now())
    };
    assert_eq!(cleared(&other).standing(), Standing::Met);
    assert_eq!(cleared(&old).standing(), Standing::Bad);
    let lasting = bound("ci", None, Some("2027-01-01T00:00:00Z"), None);
    assert_eq!(cleared(&lasting).lapses, Some((at("2027-01-01T00:00:00Z"), "vex".parse().unwrap())));
}

#[test]
fn r5_3_a_signature_that_nobody_bears_out_counts_for_no_key_that_has_to_be() {
    let release = bound("release", None, None, Some("{}"));
    let gate = signed(named(&[("release", &release)]), 1, Scope::Index);
    let mut bare = signature("a", &["image"], &[]);
    bare.signed.unproven = [release.clone()].into();
    let verdict = judge(&gate, single(), vec![bare.clone()], now());
    assert_eq!((codes(&verdict), verdict.standing()), (vec!["not-signed", "unproven-signature"], Standing::Bad));
    // The same in an envelope that has the entry: whoever takes it out takes nothing away.
    let proven = Piece { document: digest("b"), ..signature("a", &["image"], &[&release]) };
    assert_eq!(judge(&gate, single(), vec![bare, proven], now()).standing(), Standing::Met);
}

#[test]
fn r1_3_what_must_be_signed_is_the_index_each_platform_or_any_of_them() {
    let release = key("release");
    let by = || named(&[("release", &release)]);
    let over = |all: &[&[&str]]| -> Vec<Piece> {
        all.iter().enumerate().map(|(n, of)| signature(&format!("{n}"), of, &[&release])).collect()
    };
    let both: &[&[&str]] = &[&["amd64"], &["arm64"]];
    for (case, of, met) in [
        ("nothing", &[][..], [false, false, false]),
        ("the index", &[&["index"][..]][..], [true, false, true]),
        ("one platform", &[&["arm64"]], [false, false, true]),
        ("both platforms", both, [false, true, true]),
        ("both platforms in one statement", &[&["amd64", "arm64"]], [false, true, true]),
        ("index and both, in one statement", &[&["index", "amd64", "arm64"]], [true, true, true]),
        ("the index and one platform", &[&["index"], &["amd64"]], [true, false, true]),
        ("something else", &[&["other"]], [false, false, false]),
    ] {
        for (scope, met) in [Scope::Index, Scope::EachPlatform, Scope::Any].into_iter().zip(met) {
            let verdict = judge(&signed(by(), 1, scope), index(), over(of), now());
            assert_eq!(verdict.standing() == Standing::Met, met, "{case} {scope:?}: {:?}", verdict.faults);
        }
    }
    let verdict = judge(&signed(by(), 1, Scope::EachPlatform), index(), over(&[&["index"], &["amd64"]]), now());
    let told: Vec<String> = verdict.faults.iter().map(ToString::to_string).collect();
    assert_eq!(told, [format!("the platform {}: not signed by release", digest("arm64"))], "it is named");
    // Two hands have to be over each.
    let other = key("other");
    let two = signed(named(&[("release", &release), ("other", &other)]), 2, Scope::EachPlatform);
    let pieces = vec![signature("a", &["amd64", "arm64"], &[&release]), signature("b", &["amd64"], &[&other])];
    let verdict = judge(&two, index(), pieces, now());
    let lacks = format!("the platform {}: 1 of other, release signed it, and 2 must", digest("arm64"));
    assert_eq!(verdict.faults[0].to_string(), lacks);
    // What has one manifest is its own platform.
    for scope in [Scope::Index, Scope::EachPlatform, Scope::Any] {
        let verdict = judge(&signed(by(), 1, scope), single(), over(&[&["image"]]), now());
        assert_eq!(verdict.standing(), Standing::Met, "{scope:?}");
    }
}

#[test]
fn r1_3_a_document_on_the_index_alone_is_none_of_each_platform_and_one_that_lists_them_all_is() {
    let judged = |scope, of: &[&str]| {
        let mut one = scan("a", of[0], "trivy", vec![]);
        of[1..].iter().for_each(|of| report(&mut one).about.bind(Link::Subject, digest(of)));
        ScanRequirement { scope, ..ScanRequirement::default() }.judge(&index(), &[one], &[], now()).verdict.standing()
    };
    let met = |scope| {
        [&["index"][..], &["amd64"], &["index", "amd64"], &["index", "amd64", "arm64"]]
            .map(|of| judged(scope, of) == Standing::Met)
    };
    assert_eq!(met(Scope::EachPlatform), [false, false, false, true]);
    assert_eq!(met(Scope::Index), [true, false, true, true]);
    assert_eq!(met(Scope::Any), [true, true, true, true]);
}

#[test]
fn a_key_without_bounds_is_written_as_ever_and_one_with_them_can_be_read_back() {
    assert_eq!(bound("release", None, None, None), key("release"));
    for signer in [bound("release", Some("2026-01-01T00:00:00Z"), None, None), bound("release", None, None, Some("{}"))]
    {
        let text = serde_json::to_string(&signer).unwrap();
        assert_eq!(serde_json::from_str::<Signer>(&text).unwrap(), signer, "{text}");
        assert_ne!(serde_json::from_str::<Signer>(&text).unwrap(), key("release"));
    }
}
