//! What a build has to say, in which form, in which places, and that they agree (registry rules, 5.1).

use super::need::{BASE, CREATED, LICENCES, REVISION, RUN, SOURCE, VERSION};
use super::signed::{COMMIT, provenance};
use super::*;
use crate::evidence::Source;
use crate::ids::ArtifactName;

const SHOP: &str = "https://git.example/acme/shop";
const OTHER: &str = "2f2e3d4c5b6a79880716253443526170f0e1d2c3";

fn app() -> ArtifactName {
    "app".parse().unwrap()
}

fn gate(keys: &[&str], by: &[&str], signed: bool) -> EvidenceGate {
    let keys = keys.iter().map(ToString::to_string).collect();
    let requirement = Requirement::Metadata(MetadataRequirement { keys, signed, run_ids: vec![] });
    EvidenceGate {
        artifacts: BTreeSet::new(),
        kinds: BTreeSet::new(),
        requirement,
        by: signers(by),
        exceptions: vec![],
    }
}

fn known(said: &[(&str, &str)], pieces: &[Piece]) -> ReleaseEvidence {
    let said = said.iter().map(|(key, value)| (key.to_string(), Some(value.to_string()))).collect();
    ReleaseEvidence {
        metadata: [(app(), said)].into(),
        subjects: [(app(), index())].into(),
        pieces: pieces.to_vec(),
        ..Default::default()
    }
}

fn judge(gate: &EvidenceGate, known: &ReleaseEvidence) -> Assessment {
    gate.judge_said(&app(), known, now()).unwrap()
}

/// How it stands, with the first fault in words.
fn told(gate: &EvidenceGate, known: &ReleaseEvidence) -> (Standing, Option<(&'static str, String)>) {
    let came_to = judge(gate, known);
    (came_to.standing(), came_to.verdict.faults.first().map(|fault| (fault.code(), fault.to_string())))
}

fn built(piece: &mut Piece) -> &mut crate::evidence::Provenance {
    report(piece).provenance.as_mut().unwrap()
}

#[test]
fn a_key_is_there_and_of_the_form_that_it_has() {
    let dirty = format!("{COMMIT}-dirty");
    for (key, value, expected) in [
        ("ci.run.id", None, Standing::Missing),
        ("ci.run.id", Some(""), Standing::Missing),
        ("ci.run.id", Some("42"), Standing::Met),
        (REVISION, Some(COMMIT), Standing::Met),
        // Too short is not said whole, and of a tree with changes is something that nobody has.
        (REVISION, Some(&COMMIT[..12]), Standing::Missing),
        (REVISION, Some(&dirty), Standing::Bad),
        (SOURCE, Some(SHOP), Standing::Met),
        (SOURCE, Some("shop"), Standing::Bad),
        (VERSION, Some("1.4.2"), Standing::Met),
        (VERSION, Some("latest"), Standing::Bad),
        (LICENCES, Some("MIT OR Apache-2.0"), Standing::Met),
        (LICENCES, Some("free for all"), Standing::Bad),
        (BASE, Some("debian:12"), Standing::Bad),
        (CREATED, Some("2026-11-20T14:02:07Z"), Standing::Met),
        (CREATED, Some("1970-01-01T00:00:00Z"), Standing::Bad),
        (CREATED, Some("yesterday"), Standing::Bad),
    ] {
        let said: Vec<(&str, &str)> = value.map(|value| (key, value)).into_iter().collect();
        assert_eq!(judge(&gate(&[key], &[], false), &known(&said, &[])).standing(), expected, "{key} {value:?}");
        // Nobody asks for it: its form is nobody's business.
        let other = known(&[said.as_slice(), &[("team", "a")]].concat(), &[]);
        assert_eq!(judge(&gate(&["team"], &[], false), &other).standing(), Standing::Met, "{key} {value:?}");
    }
    let mut erased = known(&[], &[]);
    erased.metadata.get_mut(&app()).unwrap().insert("team".into(), None);
    let (standing, fault) = told(&gate(&["team"], &[], false), &erased);
    assert_eq!((standing, fault.unwrap().0), (Standing::Missing, "erased"));
}

#[test]
fn s5_1_what_an_artifact_contradicts_itself_in_is_a_conflict_and_not_missing_whatever_was_given() {
    let words = "`a` as an annotation, `b` as a label";
    for said in [&[][..], &[("team", "a")]] {
        for (contradicted, shown) in [(Some(words.to_string()), words), (None, "erased")] {
            let mut known = known(said, &[]);
            known.contradicted = [(app(), [("team".to_string(), contradicted)].into())].into();
            let (standing, fault) = told(&gate(&["team"], &[], false), &known);
            let (code, fault) = fault.unwrap();
            assert_eq!((standing, code), (Standing::Bad, "metadata-conflict"));
            assert!(fault.contains(shown), "{fault}");
            let other = judge(&gate(&["other"], &[], false), &known);
            assert_ne!(
                other.standing(),
                Standing::Bad,
                "of another key that nobody asks for, and of which nothing is known"
            );
        }
    }
    // What was built is said by these, whoever asks for what.
    for key in [SOURCE, REVISION, VERSION, LICENCES, BASE, "ci.run-id"] {
        let mut known = known(&[("team", "a")], &[]);
        known.contradicted = [(app(), [(key.to_string(), None)].into())].into();
        assert_eq!(judge(&gate(&["team"], &[], false), &known).standing(), Standing::Bad, "{key}");
    }
}

#[test]
fn s5_1_provenance_says_what_the_artifact_does_not_and_signed_comes_first() {
    let keys = [SOURCE, REVISION, CREATED, RUN, BASE];
    let mut one = provenance("p", "index", &["ci"]);
    built(&mut one).run = Some("https://ci.example/runs/42".into());
    let digest = digest("debian");
    let base = Source { uri: "pkg:docker/debian@12".into(), commit: None, digest: Some(digest) };
    built(&mut one).others.push(base);
    report(&mut one).about.made = Some(ago(60));
    let all = gate(&keys, &["ci"], true);
    let found = judge(&all, &known(&[], &[one.clone()]));
    assert_eq!((found.standing(), found.verdict.used.len()), (Standing::Met, 1), "{:?}", found.verdict.faults);
    assert!(found.summary.contains("signed by ci says"), "{}", found.summary);
    // By nobody it is as good as a label, and to a gate that asks for signatures it says nothing.
    one.signed.by.clear();
    let unsigned = judge(&gate(&keys, &[], false), &known(&[], &[one.clone()]));
    assert_eq!(unsigned.standing(), Standing::Met, "{:?}", unsigned.verdict.faults);
    assert!(unsigned.summary.contains("that nobody signed says"), "{}", unsigned.summary);
    let refused = judge(&all, &known(&[], &[one]));
    assert_eq!((refused.standing(), refused.not_counted.len()), (Standing::Missing, 1));
}

#[test]
fn s5_1_signed_is_met_by_signed_provenance_alone_and_what_is_not_is_told_with_where_it_stands() {
    let wanted = gate(&[REVISION], &["ci"], true);
    let said = [(REVISION, COMMIT)];
    let mut labelled = known(&said, &[provenance("mallory's", "index", &["mallory"])]);
    labelled.said_where = [(app(), [(REVISION.to_string(), Some("the label of sha256:ab".to_string()))].into())].into();
    let (standing, fault) = told(&wanted, &labelled);
    let (code, words) = fault.unwrap();
    assert_eq!((standing, code), (Standing::Missing, "not-signed"));
    assert_eq!(words, format!("{REVISION} is said by the label of sha256:ab, and not in provenance signed by ci"));
    // That of one platform is of that platform.
    let amd64 = provenance("a", "amd64", &["ci"]);
    let (standing, fault) = told(&wanted, &known(&said, core::slice::from_ref(&amd64)));
    assert_eq!(standing, Standing::Missing);
    assert!(fault.unwrap().1.contains("and not of the rest"));
    let both = [amd64, provenance("b", "arm64", &["ci"])];
    assert_eq!(told(&wanted, &known(&[], &both)).0, Standing::Met);
    // Nobody has looked into what it is: nothing signed is known to be of it.
    let mut unseen = known(&said, &both);
    unseen.subjects.clear();
    assert_eq!(told(&wanted, &unseen).0, Standing::Missing);
    assert_eq!(told(&gate(&[REVISION], &[], false), &unseen).0, Standing::Met);
}

#[test]
fn s5_1_two_places_that_do_not_agree_are_a_conflict_that_names_both_and_what_they_say() {
    let mut base = provenance("p", "index", &["ci"]);
    built(&mut base).run = Some("https://ci.example/runs/42".into());
    let image = |name: &str| Source { uri: format!("pkg:docker/{name}"), commit: None, digest: Some(digest(name)) };
    built(&mut base).others = vec![image("debian"), image("golang")];
    report(&mut base).about.made = Some(ago(60));
    let (debian, alpine) = (digest("debian").to_string(), digest("alpine").to_string());
    for (key, value, agrees) in [
        (SOURCE, SHOP, true),
        (SOURCE, "git+https://git.example/acme/shop.git", true),
        (SOURCE, "https://git.example/acme/fork", false),
        (REVISION, COMMIT, true),
        (REVISION, &COMMIT[..12], true),
        (REVISION, OTHER, false),
        (RUN, "42", true),
        ("ci.run-id", "42", true),
        ("ci.run-id", "43", false),
        (BASE, &debian, true),
        (BASE, &alpine, false),
        // The time of the commit, or of the start.
        (CREATED, "2026-11-20T14:02:07Z", true),
    ] {
        for asked in [&["team"][..], &[SOURCE, REVISION, CREATED, RUN, "team"]] {
            for by in [&["ci"][..], &[]] {
                let known = known(&[(key, value), ("team", "a")], core::slice::from_ref(&base));
                let (standing, fault) = told(&gate(asked, by, false), &known);
                let expected = if agrees { Standing::Met } else { Standing::Bad };
                assert_eq!(standing, expected, "{key} {value} {asked:?} {by:?} {fault:?}");
                if let Some((code, words)) = fault {
                    assert_eq!(code, "metadata-conflict");
                    assert!(words.contains("provenance sha256:") && words.contains(value), "{words}");
                }
            }
        }
    }
    // Two that are signed, of which both count; one of somebody else changes nothing.
    let mut other = provenance("o", "index", &["ci"]);
    built(&mut other).source.as_mut().unwrap().commit = Some(OTHER.into());
    let wanted = gate(&[REVISION], &["ci"], true);
    assert_eq!(told(&wanted, &known(&[], &[base.clone(), other.clone()])).0, Standing::Bad);
    other.signed.by = [key("mallory")].into();
    assert_eq!(told(&wanted, &known(&[], &[base.clone(), other])).0, Standing::Met);
    // Built twice, and the same both times: of the second run it is as well.
    let mut again = provenance("again", "index", &["ci"]);
    built(&mut again).run = Some("https://ci.example/runs/43".into());
    let runs = gate(&[RUN], &["ci"], true);
    assert_eq!(told(&runs, &known(&[("ci.run-id", "43")], &[base.clone(), again.clone()])).0, Standing::Met);
    assert_eq!(told(&runs, &known(&[("ci.run-id", "44")], &[base, again])).0, Standing::Bad);
}

#[test]
fn s5_1_an_image_that_went_in_is_no_source_and_one_of_several_is_the_base() {
    let mut local = provenance("p", "index", &[]);
    let base = Source { uri: "pkg:docker/debian@12".into(), commit: None, digest: Some(digest("debian")) };
    built(&mut local).source = Some(base);
    let known = known(&[(SOURCE, SHOP)], &[local]);
    assert_eq!(told(&gate(&[SOURCE, BASE], &[], false), &known), (Standing::Met, None));
    let mut several = known.clone();
    let more = Source { uri: "pkg:docker/golang@1".into(), commit: None, digest: Some(digest("golang")) };
    built(&mut several.pieces[0]).others.push(more);
    assert_eq!(told(&gate(&[BASE], &[], false), &several).0, Standing::Missing, "of two nobody knows which");
}

#[test]
fn s5_1_any_of_several_keys_names_the_run_and_two_of_them_that_differ_are_a_conflict() {
    for key in ["io.promo.run-id", "ci.run-id", "com.github.actions.run_id", RUN] {
        assert_eq!(told(&gate(&[RUN], &[], false), &known(&[(key, "42")], &[])).0, Standing::Met, "{key}");
    }
    let none = told(&gate(&[RUN], &[], false), &known(&[("build.number", "42")], &[])).1.unwrap().1;
    assert!(none.contains("io.promo.run-id, ci.run-id, com.github.actions.run_id"), "{none}");
    let two = known(&[("ci.run-id", "42"), ("io.promo.run-id", "43")], &[]);
    let (standing, fault) = told(&gate(&[RUN], &[], false), &two);
    assert_eq!(standing, Standing::Bad);
    let words = fault.unwrap().1;
    assert!(words.contains("run-id is `43` by `io.promo.run-id`"), "{words}");
    let mut own = gate(&[RUN], &[], false);
    let Requirement::Metadata(of) = &mut own.requirement else { panic!() };
    of.run_ids = vec!["build.number".into()];
    assert_eq!(told(&own, &known(&[("build.number", "7"), ("ci.run-id", "42")], &[])).0, Standing::Met);
    assert_eq!(told(&own, &known(&[("ci.run-id", "42")], &[])).0, Standing::Missing);
}

#[test]
fn s5_1_a_reproducible_build_has_the_time_of_its_provenance_and_what_has_not_come_yet_is_refused() {
    let wanted = gate(&[CREATED], &[], false);
    let epoch = [(CREATED, "1970-01-01T00:00:00Z")];
    let mut dated = provenance("p", "index", &[]);
    let (_, fault) = told(&wanted, &known(&epoch, &[dated.clone()]));
    assert!(fault.unwrap().1.contains("of a reproducible build provenance says that"), "provenance without a time");
    report(&mut dated).about.made = Some(ago(60));
    let found = judge(&wanted, &known(&epoch, &[dated.clone()]));
    assert_eq!(found.standing(), Standing::Met);
    assert!(found.summary.starts_with("provenance sha256:"), "{}", found.summary);
    let later = |seconds: i64| (now() + SignedDuration::from_secs(seconds)).to_string();
    for (seconds, expected) in [(30, Standing::Met), (31, Standing::Bad)] {
        let made = later(seconds);
        let (standing, fault) = told(&wanted, &known(&[(CREATED, &made)], &[]));
        assert_eq!(standing, expected, "{seconds}");
        if let Some((code, words)) = fault {
            assert_eq!(code, "from-the-future");
            assert!(words.contains("which has not come yet"), "{words}");
        }
        report(&mut dated).about.made = Some(made.parse().unwrap());
        assert_eq!(told(&wanted, &known(&epoch, &[dated.clone()])).0, expected, "of provenance, {seconds}");
    }
}
