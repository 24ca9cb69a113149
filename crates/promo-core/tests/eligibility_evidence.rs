//! Gates over evidence among the others (S1.1 to S1.5): what they make of what is there, is not there, cannot be read, is old or is bad.

#![expect(clippy::unwrap_used, reason = "a test, which fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use promo_core::Digest;
use promo_core::clock::{Doubt, Present};
use promo_core::config;
use promo_core::eligibility::{Assessor, Evidence, Observed, Question, assess};
use promo_core::evidence::{
    About, Bill, Component, Expression, Finding, Findings, Finite, Kind, Level, Link, Number, Numbers, Product,
    Provenance, Report, Seen, Severity, Source, Stated, Statement, Status, Term, TestRun, Tip, Tool, Totals,
};
use promo_core::gate::{Gate, GateKind, Outcome, Reason, overall};
use promo_core::ids::EnvironmentName;
use promo_core::ledger::event::Movement;
use promo_core::policy::{TrustMode, govern, policy};
use promo_core::requirement::{Before, Content, Nature, Origin, Piece, ReleaseEvidence, Standing, Subject};
use promo_core::windows::Invoker;

use support::history::{World, name};

const PIPELINE: &str = r#"
format = 1
[pipeline]
name = "app"
[artifacts.app]
image = "registry.test/app"
[gates]
no-critical = { scan = { deny = ["critical"], max_age = "7d" } }
sbom = { sbom = "required" }
metadata = { metadata = ["commit"] }
source = { source = { repository = "https://git.example/acme/shop", refs = ["refs/heads/main"] } }
[environments.dev]
tier = "development"
gates = ["no-critical", "metadata"]
"#;

/// What `dev` names in the pipeline.
const NAMED: &str = r#"gates = ["no-critical", "metadata"]"#;

/// Every gate of release `a` for `dev`, where that names these.
fn gates(named: &[&str], evidence: Option<ReleaseEvidence>, movement: Movement) -> Vec<Gate> {
    of_pipeline(&PIPELINE.replace(NAMED, &format!("gates = {named:?}")), evidence, movement)
}

fn of_pipeline(text: &str, evidence: Option<ReleaseEvidence>, movement: Movement) -> Vec<Gate> {
    let mut world = World::new("dev");
    world.add("a", &[]);
    let (pipeline, told) = config::pipeline(text, &[]);
    let pipeline = pipeline.unwrap_or_else(|| panic!("{told:?}"));
    world.pipeline.artifacts = pipeline.artifacts.clone();
    world.gates = govern(&pipeline, &config::Places::default(), None, TrustMode::Local).0.unwrap().gates;
    let id = world.id("a");
    let evidence: Evidence = evidence.map(|evidence| (id.clone(), evidence)).into_iter().collect();
    let nothing = BTreeSet::new();
    let question = Question {
        environment: &name("dev"),
        release: &id,
        movement,
        drill: None,
        named: false,
        drifted: false,
        tried: false,
        invoker: Invoker::Human,
        moved_before: &nothing,
        approvals: None,
        run: None,
    };
    let observed = Observed { evidence: &evidence, ..Observed::NOTHING };
    assess(&world.rules(), &world.view(), observed, &question, world.now())
}

fn manifest() -> Digest {
    Digest::of(b"app")
}

fn scan(level: Option<Level>, age: SignedDuration) -> Piece {
    let mut about = About::new(Kind::Trivy);
    about.made = Some(now() - age);
    about.tools.push(Tool { name: "trivy".into(), version: Some("0.58.1".into()) });
    let mut report = Report::new(about);
    let finding = |level| Finding {
        package: Some("openssl".into()),
        severity: Severity::Level(level),
        ..Finding::new("CVE-2026-1".into())
    };
    let list = level.map(finding).into_iter().collect();
    report.findings = Some(Findings { list, looked_into: Some(3), shows_suppressed: None });
    piece(Content::Read(Arc::new(report)))
}

fn piece(content: Content) -> Piece {
    Piece {
        document: Digest::of(format!("{content:?}").as_bytes()),
        stated: Digest::of(b""),
        origin: Origin::Ledger { by: "ci".into(), at: now() },
        name: None,
        bound: [manifest()].into(),
        signed: promo_core::requirement::Signed::default(),
        content,
    }
}

fn now() -> Timestamp {
    World::new("dev").now()
}

fn known(pieces: Vec<Piece>) -> ReleaseEvidence {
    ReleaseEvidence {
        metadata: BTreeMap::from([(
            name("app"),
            BTreeMap::from([
                ("commit".into(), Some("1f2e".into())),
                ("org.opencontainers.image.revision".into(), Some("1f2e3d4c5b6a79880716253443526170f0e1d2c3".into())),
            ]),
        )]),
        subjects: BTreeMap::from([(name("app"), Subject::single(manifest(), None))]),
        said_where: BTreeMap::new(),
        places: BTreeMap::new(),
        contradicted: BTreeMap::new(),
        pieces,
        withdrawn: Vec::new(),
        contested: Vec::new(),
    }
}

fn of(gates: &[Gate], kind: GateKind) -> Vec<(Outcome, &'static str, String)> {
    gates.iter().filter(|g| g.kind == kind).map(|g| (g.outcome, g.reason.code(), g.to_string())).collect()
}

fn scanned(pieces: Vec<Piece>) -> (Outcome, &'static str, String) {
    let gates = gates(&BOTH, Some(known(pieces)), Movement::Promotion);
    let mut found = of(&gates, GateKind::Evidence);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// The commit of which the build said that the artifact is.
const REVISION: &str = "1f2e3d4c5b6a79880716253443526170f0e1d2c3";
const BOTH: [&str; 2] = ["no-critical", "metadata"];
const HOUR: SignedDuration = SignedDuration::from_hours(1);

#[test]
fn s1_1_no_evidence_unreadable_old_and_bad_evidence_are_four_outcomes_each_with_its_reason() {
    let unreadable = Content::Unreadable { kind: Kind::Trivy, why: "broken at line 3".into() };
    for (pieces, outcome, code, words) in [
        (vec![], Outcome::Waiting, "evidence-missing", "no-critical of app: no scan"),
        (vec![piece(unreadable)], Outcome::Waiting, "evidence-unreadable", "cannot be read: broken at line 3"),
        (vec![scan(None, HOUR * 24 * 8)], Outcome::Expired, "evidence-expired", "is too old: it is of "),
        (
            vec![scan(Some(Level::Critical), HOUR)],
            Outcome::Refused,
            "evidence-bad",
            "no-critical of app: CVE-2026-1 in openssl is critical",
        ),
        (
            vec![scan(Some(Level::High), HOUR)],
            Outcome::Satisfied,
            "evidence-met",
            "no-critical of app: 0 critical, 1 high by trivy 0.58.1",
        ),
    ] {
        let found = scanned(pieces);
        assert_eq!((found.0, found.1), (outcome, code), "{}", found.2);
        assert!(found.2.contains(words), "{}", found.2);
    }
}

#[test]
fn s1_3_what_nobody_has_looked_into_is_not_satisfied() {
    let gates = gates(&BOTH, None, Movement::Promotion);
    for kind in [GateKind::Evidence, GateKind::Metadata] {
        let found = of(&gates, kind);
        assert_eq!(found.iter().map(|f| (f.0, f.1)).collect::<Vec<_>>(), [(Outcome::Waiting, "evidence-not-looked")]);
    }
}

#[test]
fn s1_3_a_gate_is_about_every_artifact_that_is_an_image_whatever_the_pipeline_calls_it() {
    let (image, chart, other) = (Some(Nature::Image), Some(Nature::Chart), Some(Nature::Other));
    for (declared, web, asked) in [
        // What a registry shows to be an image is one; so is what nobody has looked into, and what nobody said of it.
        ("chart = \"oci://registry.test/web\"", Some(image), &["app", "web"][..]),
        ("chart = \"oci://registry.test/web\"", Some(None), &["app", "web"]),
        ("chart = \"oci://registry.test/web\"", None, &["app", "web"]),
        ("chart = \"oci://registry.test/web\"", Some(chart), &["app"]),
        ("image = \"registry.test/web\"", Some(other), &["app", "web"]),
    ] {
        let text = PIPELINE.replace("[gates]", &format!("[artifacts.web]\n{declared}\n[gates]"));
        let mut evidence = known(vec![]);
        evidence.subjects.get_mut("app").unwrap().nature = image;
        if let Some(nature) = web {
            let subject = Subject { nature, ..Subject::single(Digest::of(b"web"), None) };
            evidence.subjects.insert(name("web"), subject);
        }
        let gates = of_pipeline(&text, Some(evidence), Movement::Promotion);
        let about = gates.iter().filter(|gate| gate.kind == GateKind::Evidence).filter_map(|gate| match &gate.reason {
            Reason::EvidenceMissing(told) => told.artifact.as_ref().map(ToString::to_string),
            Reason::EvidenceNotLooked { artifact, .. } => artifact.as_ref().map(ToString::to_string),
            _ => None,
        });
        assert_eq!(about.collect::<Vec<_>>(), asked, "{declared} {web:?}");
    }
    // A gate that names kinds is about all that may be of one of them, by the pipeline or by the registry.
    for (kinds, declared, web, asked) in [
        ("image", "chart", chart, &["app"][..]),
        ("chart", "chart", chart, &["web"]),
        ("chart", "chart", image, &["web"]),
        ("chart", "image", chart, &["web"]),
        ("chart", "image", None, &["web"]),
        ("chart", "image", other, &[]),
        ("other", "image", other, &["web"]),
        ("image\", \"chart\", \"other", "chart", chart, &["app", "web"]),
    ] {
        let declared = format!("{declared} = \"oci://registry.test/web\"").replace("image = \"oci://", "image = \"");
        let text = PIPELINE.replace("[gates]", &format!("[artifacts.web]\n{declared}\n[gates]"));
        let text = text.replace("no-critical = {", &format!("no-critical = {{ kinds = [\"{kinds}\"],"));
        let mut evidence = known(vec![]);
        evidence.subjects.get_mut("app").unwrap().nature = image;
        evidence.subjects.insert(name("web"), Subject { nature: web, ..Subject::single(Digest::of(b"web"), None) });
        let gates = of_pipeline(&text, Some(evidence), Movement::Promotion);
        let about = gates.iter().filter(|gate| gate.kind == GateKind::Evidence).filter_map(|gate| match &gate.reason {
            Reason::EvidenceMissing(told) => told.artifact.as_ref().map(ToString::to_string),
            _ => None,
        });
        assert_eq!(about.collect::<Vec<_>>(), asked, "{kinds} {declared} {web:?}");
    }
    // Where nothing is an image, nothing is left out.
    let text = PIPELINE.replace("image = ", "chart = ");
    let mut evidence = known(vec![]);
    evidence.subjects.get_mut("app").unwrap().nature = chart;
    let gates = of_pipeline(&text, Some(evidence), Movement::Promotion);
    assert_eq!(of(&gates, GateKind::Evidence).len(), 1);
}

#[test]
fn metadata_that_the_build_did_not_say_is_missing_and_named() {
    let mut silent = known(vec![scan(None, HOUR)]);
    silent.metadata.clear();
    let gates = gates(&BOTH, Some(silent), Movement::Promotion);
    let found = of(&gates, GateKind::Metadata);
    assert_eq!(
        found,
        [(Outcome::Waiting, "evidence-missing", "metadata of app: the build did not say commit".to_string())]
    );
}

#[test]
fn what_one_artifact_says_is_not_said_of_another_and_what_was_erased_is_not_said() {
    let text = PIPELINE.replace("[gates]", "[artifacts.web]\nimage = \"registry.test/web\"\n[gates]");
    let mut evidence = known(vec![]);
    let told = |text: &str, evidence: &ReleaseEvidence| {
        let gates = of_pipeline(text, Some(evidence.clone()), Movement::Promotion);
        of(&gates, GateKind::Metadata).into_iter().map(|(outcome, _, words)| (outcome, words)).collect::<Vec<_>>()
    };
    let met = (Outcome::Satisfied, "metadata of app: the build said commit".to_string());
    let lacks = (Outcome::Waiting, "metadata of web: the build did not say commit".to_string());
    assert_eq!(told(&text, &evidence), [met.clone(), lacks.clone()]);
    let only = |name: &str| text.replace("metadata = {", &format!("metadata = {{ artifacts = [\"{name}\"],"));
    assert_eq!(told(&only("app"), &evidence), [met]);
    assert_eq!(told(&only("web"), &evidence), [lacks]);
    evidence.metadata.get_mut("app").unwrap().insert("commit".into(), None);
    let erased = (Outcome::Waiting, "metadata of app: what the build said of commit was erased".to_string());
    assert_eq!(told(&only("app"), &evidence), [erased]);
}

fn measured(value: f64) -> Piece {
    let mut report = Report::new(About::new(Kind::K6));
    let number = Number { name: "p95".into(), value: Finite::new(value).unwrap(), unit: None };
    report.numbers = Some(Numbers { list: vec![number], ..Numbers::default() });
    piece(Content::Read(Arc::new(report)))
}

/// Environments that run nothing, the same and something else, and of which one states another gate by a name that the others use, asked in
/// any order about several releases.
#[test]
fn s1_1_what_is_asked_beside_other_questions_is_answered_as_if_it_were_asked_alone() {
    let places = ["dev", "qa", "perf", "uat", "production"];
    let stated = |max_age: &str, higher_by: &str| {
        let gates = format!(
            "[gates]\nno-critical = {{ scan = {{ deny = [\"critical\"], max_age = \"{max_age}\" }} }}\n\
             p95 = {{ number = {{ name = \"p95\", higher_by = \"{higher_by}\" }} }}\nmetadata = {{ metadata = [\"commit\"] }}\n"
        );
        let (head, _) = PIPELINE.split_once("[gates]").unwrap();
        let environment = |name: &&str| {
            format!("[environments.{name}]\ntier = \"testing\"\ngates = [\"no-critical\", \"p95\", \"metadata\"]\n")
        };
        let text = format!("{head}{gates}{}", places.iter().map(environment).collect::<String>());
        let (pipeline, told) = config::pipeline(&text, &[]);
        let pipeline = pipeline.unwrap_or_else(|| panic!("{told:?}"));
        govern(&pipeline, &config::Places::default(), None, TrustMode::Local).0.unwrap().gates
    };
    let mut world = World::new(&places.join("\n"));
    for release in ["a", "b", "c", "d"] {
        world.add(release, &[]);
    }
    world.play("deploy qa a; deploy perf b; deploy uat c");
    world.gates = stated("7d", "10");
    world.gates.insert(name("production"), stated("30m", "10").remove(&name::<EnvironmentName>("production")).unwrap());
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|release| world.id(release));
    let evidence: Evidence = [
        (a.clone(), known(vec![measured(100.0)])),
        (b.clone(), known(vec![measured(200.0), scan(Some(Level::Critical), HOUR)])),
        (d.clone(), known(vec![measured(205.0), scan(None, HOUR)])),
    ]
    .into();
    let (rules, view, nothing) = (world.rules(), world.view(), BTreeSet::new());
    let observed = Observed { evidence: &evidence, ..Observed::NOTHING };
    let names: Vec<EnvironmentName> = places.iter().map(|place| name(place)).collect();
    let all: Vec<Question<'_>> = names
        .iter()
        .flat_map(|environment| [&d, &b, &c, &d].map(|release| (environment, release)))
        .map(|(environment, release)| Question {
            environment,
            release,
            movement: Movement::Promotion,
            drill: None,
            named: false,
            drifted: false,
            tried: false,
            invoker: Invoker::Human,
            moved_before: &nothing,
            approvals: None,
            run: None,
        })
        .collect();
    for now in [Present::from(world.now()), (world.now() + SignedDuration::from_hours(200)).into()] {
        let (one, other) = (Assessor::new(&rules, &view, observed, now), Assessor::new(&rules, &view, observed, now));
        let alone = |question| assess(&rules, &view, observed, question, now);
        for question in &all {
            assert_eq!(one.assess(question), alone(question), "{question:?}");
        }
        for question in all.iter().rev() {
            assert_eq!(other.assess(question), alone(question), "{question:?}");
        }
    }
    // They do come to different things: else nothing was shown.
    let d_there = |at: usize| of(&assess(&rules, &view, observed, &all[4 * at], world.now()), GateKind::Evidence);
    let outcomes: Vec<Vec<Outcome>> =
        (0..places.len()).map(|at| d_there(at).into_iter().map(|(outcome, ..)| outcome).collect()).collect();
    let (met, refused) = (Outcome::Satisfied, Outcome::Refused);
    let expected =
        [vec![met, met], vec![met, refused], vec![met, met], vec![met, Outcome::Waiting], vec![Outcome::Expired, met]];
    assert_eq!(outcomes, expected);
}

#[test]
fn the_first_release_of_an_environment_has_nothing_to_be_compared_with_and_every_later_one_has() {
    let gate = "p95 = { number = { name = \"p95\", higher_by = \"10\", max = \"300\" } }";
    let text = PIPELINE.replace("[gates]", &format!("[gates]\n{gate}")).replace(NAMED, "gates = [\"p95\"]");
    let (pipeline, told) = config::pipeline(&text, &[]);
    let pipeline = pipeline.unwrap_or_else(|| panic!("{told:?}"));
    let judged = |history: &str, before: Option<Vec<Piece>>, now: Vec<Piece>| {
        let mut world = World::new("dev");
        world.add("a", &[]);
        world.add("b", &[]);
        world.play(history);
        world.gates = govern(&pipeline, &config::Places::default(), None, TrustMode::Local).0.unwrap().gates;
        let (a, b) = (world.id("a"), world.id("b"));
        let mut evidence: Evidence = [(b.clone(), known(now))].into_iter().collect();
        evidence.extend(before.map(|pieces| (a, known(pieces))));
        let nothing = BTreeSet::new();
        let question = Question {
            environment: &name("dev"),
            release: &b,
            movement: Movement::Promotion,
            drill: None,
            named: false,
            drifted: false,
            tried: false,
            invoker: Invoker::Human,
            moved_before: &nothing,
            approvals: None,
            run: None,
        };
        let observed = Observed { evidence: &evidence, ..Observed::NOTHING };
        let gates = assess(&world.rules(), &world.view(), observed, &question, world.now());
        let found = of(&gates, GateKind::Evidence).remove(0);
        (found.0, found.2)
    };
    let (outcome, words) = judged("", None, vec![measured(200.0)]);
    assert_eq!(outcome, Outcome::Satisfied);
    assert!(words.contains("p95 is 200, and nothing of it ran there before to compare it with"), "{words}");
    assert_eq!(judged("", None, vec![measured(301.0)]).0, Outcome::Refused, "its own bounds hold");
    assert_eq!(judged("", None, vec![]).0, Outcome::Waiting, "and the number has to be there");
    let ran = "deploy dev a";
    assert_eq!(judged(ran, Some(vec![measured(190.0)]), vec![measured(200.0)]).0, Outcome::Satisfied);
    assert_eq!(judged(ran, Some(vec![measured(100.0)]), vec![measured(200.0)]).0, Outcome::Refused);
    let (outcome, words) = judged(ran, Some(vec![]), vec![measured(200.0)]);
    assert_eq!(outcome, Outcome::Waiting);
    assert!(words.contains("what runs there has no document with it"), "{words}");
    assert_eq!(judged(ran, None, vec![measured(200.0)]).0, Outcome::Waiting);
}

#[test]
fn s1_4_a_reconfiguration_is_held_to_the_gates_of_its_environment_and_a_way_back_is_not() {
    for (movement, asked) in
        [(Movement::Promotion, true), (Movement::Reconfiguration, true), (Movement::Rollback, false)]
    {
        let gates = gates(&BOTH, Some(known(vec![])), movement);
        assert_eq!(!of(&gates, GateKind::Evidence).is_empty(), asked, "{movement:?}");
        assert_eq!(!of(&gates, GateKind::Metadata).is_empty(), asked, "{movement:?}");
    }
}

#[test]
fn s1_5_one_gate_more_or_one_finding_more_opens_nothing() {
    let bill = {
        let mut report = Report::new(About::new(Kind::CycloneDx));
        report.bill = Some(Bill { count: 7, components: None });
        piece(Content::Read(Arc::new(report)))
    };
    let scans = [None, Some(Level::High), Some(Level::Critical)].map(|level| scan(level, HOUR));
    let source = |reached| {
        let commit = "1f2e3d4c5b6a79880716253443526170f0e1d2c3".to_string();
        let seen = Seen {
            repository: "https://git.example/acme/shop".into(),
            refs: ["refs/heads/main".to_string()].into(),
            exists: true,
            reached: Some(Tip { name: "refs/heads/main".into(), commit: commit.clone() }).filter(|_| reached),
            commit,
            tips: BTreeMap::new(),
            more_tips: 0,
        };
        piece(Content::Read(Arc::new(Report { seen: Some(seen), ..Report::new(About::new(Kind::Source)) })))
    };
    let all = [scans[0].clone(), scans[1].clone(), scans[2].clone(), bill, source(true), source(false)];
    let open = |named: &[&str], pieces: &[Piece]| {
        overall(&gates(named, Some(known(pieces.to_vec())), Movement::Promotion)) == Outcome::Satisfied
    };
    let (mut opened, mut held) = (0, 0);
    for chosen in 0_u32..64 {
        let of = |bits: u32| -> Vec<Piece> {
            all.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0).map(|(_, piece)| piece.clone()).collect()
        };
        let pieces = of(chosen);
        let (few, more) = (open(&["no-critical"], &pieces), open(&["no-critical", "sbom"], &pieces));
        assert!(few || !more, "{chosen:06b}: another gate opened it");
        let sourced = open(&["no-critical", "source"], &pieces);
        assert!(few || !sourced, "{chosen:06b}: a gate over the source opened it");
        held += usize::from(few && !sourced);
        // The same scan with a critical finding in the place of none or of a high one.
        let worse: Vec<Piece> =
            pieces.iter().map(|piece| if scans.contains(piece) { scans[2].clone() } else { piece.clone() }).collect();
        assert!(few || !open(&["no-critical"], &worse), "{chosen:06b}: a finding opened it");
        opened += usize::from(few) + usize::from(more);
    }
    assert!(opened > 12 && held > 0, "{opened} {held}");
}

const EVERY: &str = r#"
signed = { signature = { by = ["ci"] } }
built = { provenance = { by = ["ci"], sources = ["https://git.example/acme/*"] } }
licences = { licences = { deny = ["GPL-3.0"] } }
cleared = { scan = { deny = ["critical"], vex = ["ci"] } }
by-ci = { scan = { deny = ["critical"], by = ["ci"] } }
revision = { metadata = ["org.opencontainers.image.revision"] }
"#;

#[test]
fn s1_5_no_gate_of_any_kind_no_finding_and_no_contradiction_opens_what_another_holds() {
    let text = PIPELINE.replace("[gates]", &format!("{SIGNER}[gates]{EVERY}"));
    let (pipeline, told) = config::pipeline(&text, &[]);
    let pipeline = pipeline.unwrap_or_else(|| panic!("{told:?}"));
    let key = || pipeline.gates["signed"].named_signers().map(|(_, key)| key.clone()).collect();
    let report = |kind, change: &dyn Fn(&mut Report)| {
        let mut report = Report::new(About::new(kind));
        report.about.bind(Link::Subject, manifest());
        change(&mut report);
        piece(Content::Read(Arc::new(report)))
    };
    let signed =
        |piece: Piece| Piece { signed: promo_core::requirement::Signed { by: key(), ..Default::default() }, ..piece };
    let built = |commit: &str| {
        let uri = "git+https://git.example/acme/shop@refs/heads/main".into();
        let source = Source { uri, commit: Some(commit.into()), digest: None };
        let built = Provenance {
            builder: "https://ci.example/runner".into(),
            build_type: "https://ci.example/build".into(),
            source: Some(source),
            others: vec![],
            run: None,
        };
        signed(report(Kind::Provenance, &|report| report.provenance = Some(built.clone())))
    };
    let bill = |licence: &str| {
        let term = Term { id: licence.into(), listed: true, or_later: false, exception: None };
        let component = Component {
            name: "a".into(),
            version: None,
            purl: None,
            concluded: Stated::Expression(Expression::term(term)),
            declared: Stated::Nothing,
        };
        report(Kind::CycloneDx, &|report| report.bill = Some(Bill::of(vec![component.clone()])))
    };
    let vex = |status: Status, at| {
        let statement = Statement {
            vulnerability: "CVE-2026-1".into(),
            aliases: vec![],
            products: vec![Product { id: None, purl: None, digests: vec![manifest()], parts: vec![] }],
            parts: vec![],
            status,
            justification: Some("vulnerable_code_not_present".into()),
            impact: None,
            at: Some(now() - at),
        };
        signed(report(Kind::OpenVex, &|report| report.statements = Some(vec![statement.clone()])))
    };
    let of_ci = |level| {
        let mut one = scan(level, HOUR);
        if let Content::Read(report) = &mut one.content {
            Arc::make_mut(report).about.bind(Link::Subject, manifest());
        }
        one.document = Digest::of(format!("{level:?} of ci").as_bytes());
        signed(one)
    };
    let nothing = |_: &mut Report| {};
    // What a gate is added to, the gate, what opens it, and what must never.
    let cases = [
        (
            "no-critical",
            "signed",
            Some(signed(report(Kind::Signature, &nothing))),
            Some(report(Kind::Signature, &nothing)),
        ),
        ("no-critical", "built", Some(built(REVISION)), Some(built("0123456789abcdef0123456789abcdef01234567"))),
        ("no-critical", "licences", Some(bill("MIT")), Some(bill("GPL-3.0-or-later"))),
        ("no-critical", "by-ci", Some(of_ci(None)), Some(of_ci(Some(Level::Critical)))),
        ("cleared", "no-critical", Some(vex(Status::NotAffected, HOUR * 2)), Some(vex(Status::Affected, HOUR))),
        ("no-critical", "revision", None, None),
    ];
    let scans = [None, Some(Level::High), Some(Level::Critical)].map(|level| scan(level, HOUR));
    for (held_by, added, good, bad) in cases {
        let open = |named: &[&str], pieces: Vec<Piece>, contradicted: bool| {
            let mut evidence = known(pieces);
            if contradicted {
                let key = "org.opencontainers.image.revision".to_string();
                evidence.contradicted.insert(name("app"), BTreeMap::from([(key, None)]));
            }
            let text = text.replace(NAMED, &format!("gates = {named:?}"));
            overall(&of_pipeline(&text, Some(evidence), Movement::Promotion)) == Outcome::Satisfied
        };
        let (mut opened, mut held) = (0, 0);
        for chosen in 0_u32..16 {
            for contradicted in [false, true] {
                let of = |bits: u32, bad: Option<&Piece>| -> Vec<Piece> {
                    let all = [Some(&scans[0]), Some(&scans[1]), Some(&scans[2]), good.as_ref()];
                    let is_chosen = |(at, _): &(usize, Option<&Piece>)| bits & (1 << at) != 0;
                    let chosen = all.into_iter().enumerate().filter(is_chosen).filter_map(|(_, piece)| piece);
                    chosen.chain(bad).cloned().collect()
                };
                let pieces = of(chosen, None);
                let both = [held_by, added];
                let (few, more) =
                    (open(&[held_by], pieces.clone(), contradicted), open(&both, pieces.clone(), contradicted));
                assert!(few || !more, "{added} {chosen:04b}: another gate opened it");
                assert!(
                    more || !open(&both, of(chosen, bad.as_ref()), contradicted),
                    "{added} {chosen:04b}: what is bad"
                );
                let worse = pieces.iter().map(|piece| if scans.contains(piece) { &scans[2] } else { piece }).cloned();
                assert!(
                    more || !open(&both, worse.collect(), contradicted),
                    "{added} {chosen:04b}: a finding opened it"
                );
                if contradicted {
                    assert!(!more || open(&both, pieces, false), "{added} {chosen:04b}: a contradiction opened it");
                }
                opened += usize::from(more);
                held += usize::from(few && !more);
            }
        }
        assert!(opened > 0 && held > 0, "{added}: {opened} {held}");
    }
}

#[test]
fn s7_2_what_policy_requires_stands_beside_what_the_pipeline_requires_under_the_same_name() {
    let text = "format = 1\n[policy]\nname = \"platform\"\nversion = 1\n[gates]\nno-critical = { scan = { deny = [\"high\"] } }\n\
                [tiers.development]\ngates = [\"no-critical\"]\n";
    let (policy, told) = policy(text);
    let (pipeline, _) = config::pipeline(PIPELINE, &[]);
    let policy = policy.unwrap_or_else(|| panic!("{told:?}"));
    let (governed, told) = govern(&pipeline.unwrap(), &config::Places::default(), Some(&policy), TrustMode::Local);
    let governed = governed.unwrap_or_else(|| panic!("{told:?}"));
    let named: Vec<(bool, String)> = governed.gates[&name::<EnvironmentName>("dev")]
        .iter()
        .map(|gate| (gate.policy, gate.name.to_string()))
        .collect();
    let expected = [(true, "no-critical"), (false, "no-critical"), (false, "metadata")];
    assert_eq!(named, expected.map(|(policy, name)| (policy, name.to_string())));
}

const SIGNER: &str = "[signers.ci]\nkey = \"\"\"\n-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEyQfmL5YwHbn9xrrgG3vgbU0KJxMY\n\
    BibYLJ5L4VSMvGxeMLnBGdM48w5IE//6idUPj3rscigFdHs7GDMH4LLAng==\n-----END PUBLIC KEY-----\n\"\"\"\n";

/// What a pipeline comes to whose gate takes documents of `ci` alone, with this `by`.
fn signed_by(by: &str) -> (Option<promo_core::model::Pipeline>, Vec<promo_core::diagnostic::Diagnostic>) {
    let gate = format!("no-critical = {{ scan = {{ deny = [\"critical\"], by = {by} }} }}");
    let text = PIPELINE.replace(r#"no-critical = { scan = { deny = ["critical"], max_age = "7d" } }"#, &gate);
    config::pipeline(&text.replace("[gates]", &format!("{SIGNER}[gates]")), &[])
}

#[test]
fn a_gate_names_signers_that_its_own_file_knows_and_at_least_one() {
    assert!(signed_by("[\"ci\"]").0.is_some(), "{:?}", signed_by("[\"ci\"]").1);
    for (by, code) in [("[]", "config-empty"), ("[\"cj\"]", "config-unknown-name"), ("\"ci\"", "config-wrong-type")] {
        let (pipeline, told) = signed_by(by);
        assert!(pipeline.is_none() && told.iter().any(|one| one.code == code), "{by}: {told:?}");
    }
}

#[test]
fn s7_2_a_pipeline_that_asks_for_signers_opens_nothing_that_policy_holds() {
    let text = "format = 1\n[policy]\nname = \"platform\"\nversion = 1\n[gates]\nno-critical = { scan = { deny = [\"critical\"] } }\n\
                [tiers.development]\ngates = [\"no-critical\"]\n";
    let policy = policy(text).0.unwrap();
    let (governed, _) =
        govern(&signed_by("[\"ci\"]").0.unwrap(), &config::Places::default(), Some(&policy), TrustMode::Local);
    let gates = governed.unwrap().gates.remove(&name::<EnvironmentName>("dev")).unwrap();
    let mut clean = scan(None, HOUR);
    let key = gates.iter().flat_map(|named| named.gate.named_signers()).map(|(_, key)| key.clone()).collect();
    clean.signed = promo_core::requirement::Signed { by: key, ..Default::default() };
    if let Content::Read(report) = &mut clean.content {
        Arc::make_mut(report).about.bind(promo_core::evidence::Link::Subject, manifest());
    }
    let stands = |pieces: &[Piece]| -> Vec<Option<Standing>> {
        let judge = |named: &promo_core::requirement::NamedGate| {
            named.gate.judge(&name("app"), &known(pieces.to_vec()), Before::First, now()).map(|told| told.standing())
        };
        gates.iter().filter(|named| named.name.as_str() == "no-critical").map(judge).collect()
    };
    let mut bad = scan(Some(Level::Critical), HOUR * 2);
    if let Content::Read(report) = &mut bad.content {
        Arc::make_mut(report).about.tools[0].name = "grype".into();
    }
    assert_eq!(stands(&[clean.clone()]), [Some(Standing::Met); 2]);
    // Nobody has signed the bad one: for the pipeline's gate it is not there, and policy's refuses as before.
    assert_eq!(stands(&[clean, bad.clone()]), [Some(Standing::Bad), Some(Standing::Met)]);
    assert_eq!(stands(&[bad]), [Some(Standing::Bad), Some(Standing::Missing)]);
}

#[test]
fn a_plan_names_the_documents_that_were_judged_and_at_most_ten_faults() {
    let mut scan = scan(Some(Level::Critical), HOUR);
    if let Content::Read(report) = &mut scan.content {
        let findings = Arc::make_mut(report).findings.as_mut().unwrap();
        let first = findings.list[0].clone();
        findings.list = (0..25).map(|n| Finding { id: format!("CVE-2026-{n}"), ..first.clone() }).collect();
    }
    let gates = gates(&BOTH, Some(known(vec![scan.clone()])), Movement::Promotion);
    let Reason::EvidenceBad(told) = &gates.iter().find(|g| g.kind == GateKind::Evidence).unwrap().reason else {
        panic!()
    };
    assert_eq!((told.documents.len(), told.faults.len(), told.more), (1, 10, 15));
    let document = &told.documents[0];
    assert_eq!((document.document, document.by.as_deref()), (scan.document, Some("ci")));
    assert_eq!(document.says, "25 critical");
    assert_eq!(told.faults[0].code, "vulnerable");
}

#[test]
fn what_a_plan_says_of_evidence_has_a_size_however_large_the_evidence_is() {
    let long = "x".repeat(100_000);
    let bad = |n: usize| {
        let mut one = scan(Some(Level::Critical), HOUR);
        let Content::Read(report) = &mut one.content else { panic!() };
        let report = Arc::make_mut(report);
        report.about.tools[0].name = format!("{n}{long}");
        let findings = report.findings.as_mut().unwrap();
        (findings.list[0].id, findings.list[0].package) = (format!("{n}{long}"), Some(long.clone()));
        piece(one.content)
    };
    let gates = gates(&BOTH, Some(known((0..30).map(bad).collect())), Movement::Promotion);
    let Reason::EvidenceBad(told) = &gates.iter().find(|g| g.kind == GateKind::Evidence).unwrap().reason else {
        panic!()
    };
    assert_eq!((told.documents.len(), told.more_documents, told.faults.len(), told.more), (20, 10, 10, 20));
    let text = serde_json::to_string(told).unwrap();
    assert!(text.len() < 20_000, "{}", text.len());
    assert!(told.faults[0].text.ends_with('…') && told.documents[0].source.ends_with('…'), "{told:?}");
}

#[test]
fn a_document_under_two_names_is_told_under_that_which_was_asked_for() {
    let run = |suite: &str| {
        let mut report = Report::new(About::new(Kind::Junit));
        let counted = Totals { tests: 3, failures: 0, errors: 0, skipped: 0 };
        report.tests = Some(TestRun { counted, ..TestRun::default() });
        let mut one = piece(Content::Read(Arc::new(report)));
        one.name = Some(suite.into());
        one
    };
    let gates = "unit = { tests = { suites = [\"unit\"] } }\ne2e = { tests = { suites = [\"e2e\"] } }";
    let text = PIPELINE.replace("[gates]", &format!("[gates]\n{gates}")).replace(NAMED, "gates = [\"e2e\", \"unit\"]");
    let gates = of_pipeline(&text, Some(known(vec![run("unit"), run("e2e")])), Movement::Promotion);
    let told = gates.iter().filter_map(|gate| match &gate.reason {
        Reason::EvidenceMet(told) => Some((told.gate.to_string(), told.documents[0].name.clone().unwrap())),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), ["e2e", "unit"].map(|name| (name.to_string(), name.to_string())));
}

#[test]
fn s12_6_where_the_clock_is_doubtful_no_scan_is_young_enough_and_a_bad_one_is_bad() {
    let judged = |pieces: Vec<Piece>| {
        let mut world = World::new("dev");
        world.add("a", &[]);
        let (pipeline, _) = config::pipeline(PIPELINE, &[]);
        world.gates = govern(&pipeline.unwrap(), &config::Places::default(), None, TrustMode::Local).0.unwrap().gates;
        let id = world.id("a");
        let (evidence, nothing) = ([(id.clone(), known(pieces))].into_iter().collect::<Evidence>(), BTreeSet::new());
        let question = Question {
            environment: &name("dev"),
            release: &id,
            movement: Movement::Promotion,
            drill: None,
            named: false,
            drifted: false,
            tried: false,
            invoker: Invoker::Human,
            moved_before: &nothing,
            approvals: None,
            run: None,
        };
        let doubt = Doubt::WentBack { ledger: now(), before: now() + HOUR };
        let present = Present { at: now(), doubt: Some(doubt) };
        let observed = Observed { evidence: &evidence, ..Observed::NOTHING };
        let gates = assess(&world.rules(), &world.view(), observed, &question, present);
        let found = of(&gates, GateKind::Evidence).remove(0);
        (found.0, found.1)
    };
    for (pieces, outcome, is_clock) in [
        (vec![scan(None, HOUR)], Outcome::Waiting, true),
        (vec![scan(None, HOUR * 24 * 8)], Outcome::Waiting, true),
        (vec![scan(Some(Level::Critical), HOUR)], Outcome::Refused, false),
        (vec![], Outcome::Waiting, false),
    ] {
        let found = judged(pieces);
        assert_eq!((found.0, found.1.starts_with("clock")), (outcome, is_clock), "{found:?}");
    }
}

#[test]
fn exceptions_belong_to_the_file_that_states_them_and_to_no_gate_of_the_other() {
    let exception =
        "[[exceptions]]\nid = \"CVE-2026-1\"\nowner = \"dana\"\nreason = \"known\"\nexpires = \"2999-12-31\"\n";
    let of_policy = "format = 1\n[policy]\nname = \"platform\"\nversion = 1\n[gates]\nno-critical = { scan = { deny = [\"critical\"] } }\n\
                     [tiers.development]\ngates = [\"no-critical\"]\n";
    for (mine, theirs, refused) in
        [("", "", [true, true]), (exception, "", [true, false]), ("", exception, [false, true])]
    {
        let (policy, told) = policy(&of_policy.replace("[gates]", &format!("{theirs}[gates]")));
        let policy = policy.unwrap_or_else(|| panic!("{told:?}"));
        let (pipeline, told) = config::pipeline(&PIPELINE.replace("[gates]", &format!("{mine}[gates]")), &[]);
        let pipeline = pipeline.unwrap_or_else(|| panic!("{told:?}"));
        let (governed, _) = govern(&pipeline, &config::Places::default(), Some(&policy), TrustMode::Local);
        let governed = governed.unwrap();
        let evidence = known(vec![scan(Some(Level::Critical), HOUR)]);
        let scans =
            governed.gates[&name::<EnvironmentName>("dev")].iter().filter(|gate| gate.name.as_str() == "no-critical");
        let found: Vec<(bool, bool)> = scans
            .map(|gate| {
                let came_to = gate.gate.judge(&name("app"), &evidence, Before::First, now()).unwrap();
                (gate.policy, came_to.standing() == Standing::Bad)
            })
            .collect();
        assert_eq!(found, [(true, refused[0]), (false, refused[1])], "pipeline: {mine}, policy: {theirs}");
    }
}
