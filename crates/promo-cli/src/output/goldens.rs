//! Plans as they are shown, as files to read in a review: every case as text, as Markdown and as HTML. The plans are made by hand,
//! so that a change of the planner does not hide a change of the picture.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use promo_core::Digest;
use promo_core::gate::{EvidenceDocument, EvidenceFault, Evidenced, Gate, GateKind, Outcome, Reason};
use promo_core::ids::{EnvironmentName, ReleaseId};
use promo_core::inputs::{ArtifactInput, FileChange, Inputs};
use promo_core::ledger::event::Movement;
use promo_core::model::{OnClose, OnFailure, Party, Target, Tier, Wave};
use promo_core::plan::{
    Action, Document, Drift, Goal, LedgerRef, LostTarget, Move, Next, Plan, PlannedCheck, PolicyRef, ReleaseRef,
    Request, Rollback, Stay, StayReason, Step,
};
use promo_core::state::State;
use promo_core::windows::Invoker;

use crate::error::tests::assert_parses;
use crate::output::plan_html;
use crate::output::plan_markdown::{self, BUDGET};
use crate::output::plan_text::{self, Options};
use crate::schemas;
use crate::view::{Forecasts, PlanView};

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn name(text: &str) -> EnvironmentName {
    text.parse().expect("a name")
}

fn release(lineage: u64) -> ReleaseRef {
    let id = ReleaseId::from_digest(&Digest::of(format!("release {lineage}").as_bytes()));
    ReleaseRef { id, lineage, alias: None }
}

pub(super) fn gate(kind: GateKind, outcome: Outcome, reason: Reason) -> Gate {
    Gate { kind, outcome, reason, until: None }
}

pub(super) fn open() -> Vec<Gate> {
    let staging = || name("staging");
    vec![
        gate(GateKind::Order, Outcome::Satisfied, Reason::Ahead),
        gate(
            GateKind::Predecessor,
            Outcome::Satisfied,
            Reason::Verified { environment: staging(), since: at("2026-11-20T11:05:00Z") },
        ),
        gate(
            GateKind::Soak,
            Outcome::Satisfied,
            Reason::SoakMet { environment: staging(), since: at("2026-11-20T12:05:00Z") },
        ),
        gate(GateKind::Quarantine, Outcome::Satisfied, Reason::NotQuarantined),
    ]
}

fn scanned() -> Gate {
    gate(GateKind::Evidence, Outcome::Satisfied, Reason::EvidenceMet(told()))
}

/// A scan that found something, beside many others.
fn found() -> Gate {
    let (text, code) = ("CVE-2026-1 is critical".into(), "too-severe".into());
    let scan = |n: u64| EvidenceDocument {
        document: Digest::of(n.to_string().as_bytes()),
        source: format!("grype 0.{n}"),
        format: "grype".into(),
        made: None,
        database: None,
        repository: None,
        by: Some("dana @everyone".into()),
        name: Some("nightly".into()),
        says: format!("{n} critical"),
        ..told().documents.remove(0)
    };
    let documents = told().documents.into_iter().chain((1..5).map(scan)).collect();
    let bad = Evidenced {
        summary: "3 critical".into(),
        documents,
        more_documents: 7,
        faults: vec![EvidenceFault { code, text }],
        ..told()
    };
    gate(GateKind::Evidence, Outcome::Refused, Reason::EvidenceBad(bad))
}

fn told() -> Evidenced {
    let document = EvidenceDocument {
        document: Digest::of(b"scan"),
        format: "trivy".into(),
        source: "trivy 0.58.1".into(),
        made: Some(at("2026-11-20T10:02:00Z")),
        database: Some(at("2026-11-19T12:00:00Z")),
        at: Some(at("2026-11-20T10:30:00Z")),
        repository: Some("registry.internal/shop/api".into()),
        by: None,
        name: None,
        says: "0 critical, 2 high".into(),
        why_not: None,
    };
    Evidenced {
        gate: "no-critical".parse().expect("a name"),
        policy: true,
        artifact: Some("api".parse().expect("a name")),
        summary: "0 critical, 2 high".into(),
        documents: vec![document],
        more_documents: 0,
        not_counted: Vec::new(),
        more_not_counted: 0,
        faults: Vec::new(),
        more: 0,
    }
}

fn approval() -> Gate {
    let reason = Reason::Approvals {
        rule: 1,
        by: Vec::new(),
        needed: 1,
        from: ["release-manager", "platform-lead"].map(|r| r.parse().expect("a role")).into(),
        exclude: [Party::Author].into(),
    };
    gate(GateKind::Approval, Outcome::Waiting, reason)
}

fn window() -> Gate {
    let reason = Reason::OutsideWindows { windows: vec!["office-hours".into()] };
    gate(GateKind::Window, Outcome::Waiting, reason)
}

fn quarantined() -> Gate {
    let reason = Reason::Quarantined { scope: Some(name("production")), automatic: true, by: "ci @everyone #7".into() };
    gate(GateKind::Quarantine, Outcome::Refused, reason)
}

fn step(environment: &str, lineage: u64, changes: Vec<FileChange>) -> Step {
    let digest = |what: &str| Digest::of(format!("{what} {lineage}").as_bytes());
    let artifact = ArtifactInput {
        repository: "registry.internal/shop/api".into(),
        digest: digest("api"),
        tag: Some(format!("1.{lineage}.0")),
        source: None,
        tree: Vec::new(),
    };
    Step {
        id: format!("{environment}/deploy/default"),
        action: Action::Deploy,
        provider: "directory".into(),
        target: Some("default".parse().expect("a name")),
        inputs: Inputs {
            environment: name(environment),
            release: release(lineage).id,
            target: Target([("directory".to_owned(), format!("environments/{environment}"))].into()),
            settings: serde_json::Value::Null,
            artifacts: [("api".parse().expect("a name"), artifact)].into(),
            files: BTreeMap::new(),
        },
        expected: State::Present(Digest::of(b"before")),
        desired: State::Present(digest("after")),
        changes,
        other_images: vec![format!("mesh.example/proxy@{}", Digest::of(b"proxy")), "tools.example/debug:1".into()],
    }
}

fn change(lines: usize) -> FileChange {
    let text = |tag: &str| -> String {
        let body: Vec<String> = (0..lines).map(|n| format!("line {n} of {tag}")).collect();
        format!("service: api\n{}\nend: yes\n", body.join("\n"))
    };
    FileChange { path: "service.toml".into(), before: Some(text("1.54.0")), after: Some(text("1.55.0")) }
}

pub(super) fn moving(environment: &str, tier: Tier, from: Option<u64>, to: u64, gates: Vec<Gate>) -> Move {
    let back = from.map(|from| Rollback {
        to: release(from),
        files: [("values/common.yaml".to_owned(), Digest::of(b"old"))].into(),
        settings: Digest::of(b"settings"),
        steps: vec![step(environment, from, Vec::new())],
        checks: Vec::new(),
    });
    let movement = match from {
        Some(from) if from > to => Movement::Rollback,
        Some(from) if from == to => Movement::Reconfiguration,
        _ => Movement::Promotion,
    };
    let mut steps = vec![step(environment, to, vec![change(1)])];
    if from.is_none() {
        (steps[0].expected, steps[0].changes[0].before) = (State::Absent, None);
    }
    let check = PlannedCheck {
        name: "health".parse().expect("a name"),
        provider: "http".into(),
        inputs: steps[0].inputs.clone(),
    };
    Move {
        environment: name(environment),
        tier,
        movement,
        drill: false,
        from: from.map(release),
        to: release(to),
        failed: None,
        after: BTreeSet::new(),
        gates,
        steps,
        checks: vec![check],
        attest: Vec::new(),
        verdicts: BTreeMap::new(),
        files: [("values/common.yaml".to_owned(), Digest::of(b"new"))].into(),
        settings: Digest::of(b"settings"),
        watch: None,
        on_failure: OnFailure::Rollback,
        waves: Vec::new(),
        on_close: OnClose::Finish,
        rollback: back,
        further_targets: [53, 51].into_iter().filter(|l| from.is_some_and(|from| *l < from)).map(release).collect(),
        lost_target: None,
        newer: None,
    }
}

fn staying(environment: &str, tier: Tier, current: Option<u64>, why: StayReason, next: Option<(u64, Gate)>) -> Stay {
    let next = next.map(|(lineage, gate)| {
        let kind = gate.kind;
        let gates = open().into_iter().filter(|g| g.kind != kind).chain([gate]).collect();
        Next { release: release(lineage), gates }
    });
    let current = current.map(release);
    Stay { environment: name(environment), tier, current, next, newer: None, why, drift: BTreeMap::new() }
}

fn up_to_date() -> Vec<Stay> {
    let stay = |environment, tier| staying(environment, tier, Some(55), StayReason::UpToDate, None);
    vec![stay("dev", Tier::Development), stay("qa", Tier::Testing), stay("perf", Tier::Testing)]
}

pub(super) fn plan(moves: Vec<Move>, stays: Vec<Stay>) -> Document {
    let goal = if moves.iter().any(|m| m.movement == Movement::Rollback) { Goal::Rollback } else { Goal::Promote };
    Document::new(Plan {
        pipeline: "shop".parse().expect("a name"),
        policy: Some(PolicyRef { name: "platform".into(), version: 14, digest: Digest::of(b"policy") }),
        local: false,
        ledger: LedgerRef { origin: "promo/shop".into(), size: 1284, root: Digest::of(b"root") },
        request: Request {
            goal,
            environments: moves.iter().map(|m| m.environment.clone()).collect(),
            release: None,
            until: None,
            drill: false,
            invoker: Invoker::Human,
        },
        planned_at: at("2026-11-20T13:02:00Z"),
        expires: at("2026-11-21T13:02:00Z"),
        initiator: "dana".into(),
        tool: "promo 0.1.0".into(),
        inputs: BTreeMap::new(),
        moves,
        stays,
        lost_evidence: BTreeMap::new(),
    })
}

pub(super) fn view(document: &Document, file: Option<&str>, forecasts: &Forecasts) -> PlanView {
    PlanView::new(document, document.digest().expect("a canonical form"), file, forecasts)
}

pub(super) fn options() -> Options {
    Options { zone: promo_core::windows::zone("Europe/Berlin").expect("a zone"), full: false, width: None }
}

fn text(view: &PlanView) -> String {
    anstream::adapter::strip_str(&plan_text::render(view, &options())).to_string()
}

/// The page without its head, which is the same for every plan.
fn body(page: &str) -> &str {
    page.split_once("<body>").expect("a page has a body").1
}

/// Compares the renderings with their files, and holds what is true of every plan.
fn golden(case: &str, document: &Document, forecasts: &Forecasts) {
    let value = serde_json::to_value(document).expect("a plan serializes");
    let validator = jsonschema::validator_for(&schemas::plan()).expect("a schema");
    let errors: Vec<String> = validator.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert_eq!(errors, [""; 0], "`promo schema plan` describes it");
    let view = view(document, Some("shop.plan.json"), forecasts);
    let (text, markdown) = (text(&view), plan_markdown::render(&view, &options()));
    let last = text.lines().last().and_then(|l| l.strip_prefix("Next: "));
    assert_eq!(last, view.next.first().map(|next| next.command.as_str()), "a command is the last line");
    for next in &view.next {
        assert_parses(&next.command);
    }
    let page = plan_html::render(&view, &options());
    for rendered in [&text, &markdown, &page] {
        assert!(rendered.contains(&view.digest.to_string()), "the digest is in every view: {rendered}");
        assert!(rendered.chars().all(|c| c == '\n' || !c.is_control()), "no control characters");
    }
    assert!(markdown.starts_with("<!-- promo:plan pipeline=shop -->\n"));
    insta::assert_snapshot!(format!("{case}.txt"), text);
    insta::assert_snapshot!(format!("{case}.md"), markdown);
    insta::assert_snapshot!(format!("{case}.html"), body(&page));
}

fn production(to: u64, gates: Vec<Gate>) -> Move {
    moving("production", Tier::Production, Some(54), to, gates)
}

#[test]
fn nothing_to_do_collapses_to_a_line_each() {
    let document = plan(Vec::new(), up_to_date());
    golden("nothing-to-do", &document, &Forecasts::new());
    assert!(view(&document, None, &Forecasts::new()).next.is_empty(), "nothing leads around");
}

#[test]
fn one_promotion_can_start() {
    let gates = open().into_iter().chain([scanned()]).collect();
    let moves = vec![moving("staging", Tier::Staging, Some(54), 55, gates)];
    golden("can-start", &plan(moves, up_to_date()), &Forecasts::new());
}

#[test]
fn a_wait_stands_next_to_what_waits_with_its_forecast_s8_2() {
    let gates: Vec<Gate> = open().into_iter().chain([approval(), window()]).collect();
    let mut forecast = gates.clone();
    forecast[5].until = Some(at("2026-11-23T08:00:00Z"));
    let moves = vec![moving("staging", Tier::Staging, Some(54), 56, open()), production(55, gates)];
    golden("waits", &plan(moves, up_to_date()), &[(name("production"), forecast)].into());
}

#[test]
fn a_refusal_is_told_in_words_and_mentions_nobody_s13_3() {
    let stays = vec![staying("production", Tier::Production, Some(54), StayReason::Refused, Some((55, quarantined())))];
    golden("refused", &plan(Vec::new(), stays), &Forecasts::new());
}

#[test]
fn s1_2_evidence_that_is_bad_is_told_with_each_document_its_age_and_its_number() {
    let stays = vec![staying("production", Tier::Production, Some(54), StayReason::Refused, Some((55, found())))];
    golden("bad-evidence", &plan(Vec::new(), stays), &Forecasts::new());
}

#[test]
fn drift_is_told_in_words() {
    let mut stays = up_to_date();
    let drift = Drift { recorded: State::Present(Digest::of(b"recorded")), live: State::Present(Digest::of(b"live")) };
    stays[1].drift = [("default".parse().expect("a name"), drift)].into();
    golden("drift", &plan(Vec::new(), stays), &Forecasts::new());
}

#[test]
fn a_place_that_nobody_can_see_is_not_told_as_changed() {
    let mut stays = up_to_date();
    let drift = Drift { recorded: State::Present(Digest::of(b"recorded")), live: State::Unknown };
    stays[1].drift = [("default".parse().expect("a name"), drift)].into();
    golden("unseen", &plan(Vec::new(), stays), &Forecasts::new());
}

#[test]
fn s2_4_a_way_back_that_is_judged_with_the_files_of_here_is_told() {
    let mut document = plan(vec![moving("staging", Tier::Staging, Some(54), 55, open())], Vec::new());
    let judges = promo_core::planner::judges_of(&name("staging"), &release(54).id);
    document.body.inputs = [(judges, "as they are here".to_owned())].into();
    golden("judged-as-now", &document, &Forecasts::new());
}

#[test]
fn a_move_backward_is_told_in_words() {
    let moves = vec![moving("production", Tier::Production, Some(55), 54, vec![approval()])];
    golden("rollback", &plan(moves, Vec::new()), &Forecasts::new());
}

#[test]
fn a_chain_shows_what_is_known_only_on_the_way_s6_9() {
    let behind = Reason::AfterThisPlan { environment: name("dev") };
    let behind = gate(GateKind::Predecessor, Outcome::Deferred, behind);
    let mut qa = moving("qa", Tier::Testing, Some(54), 55, vec![behind.clone()]);
    qa.after = [name("dev")].into();
    qa.verdicts = [("uat".parse().expect("a name"), ["qa-lead".parse().expect("a role")].into())].into();
    let moves = vec![moving("dev", Tier::Development, None, 55, Vec::new()), qa];
    let why = StayReason::ApprovalBehindDeferred;
    let stays = vec![staying("production", Tier::Production, Some(54), why, Some((55, behind)))];
    golden("chain", &plan(moves, stays), &Forecasts::new());
}

#[test]
fn a_reconfiguration_keeps_the_release_s0_4() {
    golden("reconfiguration", &plan(vec![production(54, open())], Vec::new()), &Forecasts::new());
}

#[test]
fn a_plan_without_a_way_back_says_why_there_is_none_s10_1() {
    let lost = |reason| Some(LostTarget { release: release(54), reason });
    let elsewhere = Reason::OtherPlace { present: "directory new".into(), recorded: "directory old".into() };
    let without = |environment, from, lost_target| {
        let entry = moving(environment, Tier::Production, from, 55, open());
        Move { rollback: None, further_targets: Vec::new(), lost_target, ..entry }
    };
    // Somebody else has deployed there what is taken over.
    let mut taken_over = without("taken-over", None, None);
    taken_over.steps = without("taken-over", Some(54), None).steps;
    let moves = vec![
        without("first-time", None, None),
        taken_over,
        without("never-good", Some(54), None),
        without("rejected", Some(54), lost(quarantined().reason)),
        without("elsewhere", Some(54), lost(elsewhere)),
    ];
    golden("no-way-back", &plan(moves, Vec::new()), &Forecasts::new());
}

#[test]
fn lost_evidence_and_a_newer_release_beside_a_reconfiguration_are_told_in_every_view_s0_4_s16() {
    let mut entry = production(54, open());
    entry.newer = Some(Next { release: release(55), gates: vec![quarantined()] });
    let mut document = plan(vec![entry], up_to_date());
    let lost = Reason::CheckWithdrawn { environment: name("dev"), check: "e2e".parse().expect("a name") };
    document.body.lost_evidence = [(name("qa"), vec![lost])].into();
    golden("lost-evidence-and-a-newer-release", &document, &Forecasts::new());
    let json = serde_json::to_value(view(&document, None, &Forecasts::new())).expect("a view is JSON");
    let rows = json["environments"].as_array().expect("rows");
    let notes = |name: &str| rows.iter().find(|r| r["environment"] == name).expect("a row")["notes"][0]["code"].clone();
    assert_eq!((notes("qa"), notes("production")), ("check-withdrawn".into(), "quarantined".into()));
}

#[test]
fn waves_their_limits_and_their_pauses_are_told_in_every_view_r10() {
    let mut entry = moving("production", Tier::Production, Some(54), 55, open());
    let wave = |names: &[&str], at_once, pause| Wave {
        targets: names.iter().map(|name| name.parse().expect("a name")).collect(),
        at_once,
        pause,
    };
    entry.waves = vec![
        wave(&["canary"], 1, Some(600)),
        wave(&["eu", "us"], 2, Some(60)),
        wave(&["asia", "africa", "oceania"], 2, None),
    ];
    let mut stops = Move { environment: name("staging"), on_close: OnClose::StopAtWave, ..entry.clone() };
    stops.waves = vec![wave(&["eu", "us"], 1, None)];
    golden("waves", &plan(vec![entry, stops], Vec::new()), &Forecasts::new());
}

#[test]
fn a_long_difference_is_cut_and_says_so() {
    let mut long = moving("staging", Tier::Staging, Some(54), 55, open());
    long.steps[0].changes = vec![change(100)];
    golden("long-difference", &plan(vec![long], Vec::new()), &Forecasts::new());
}

#[test]
fn a_plan_fits_the_screen_with_long_names_and_nothing_of_it_is_cut() {
    let long = "production-eu-central-1-availability-zone";
    let gates: Vec<Gate> = open().into_iter().chain([approval(), window()]).collect();
    let mut entry = moving(long, Tier::Production, Some(54), 55, gates);
    for release in [entry.from.as_mut().expect("one"), &mut entry.to] {
        release.alias = Some("二〇二六年十一月の版".into());
    }
    let repository = format!("registry.internal/{}/api", "shop-of-the-platform/".repeat(5).trim_end_matches('/'));
    for artifact in entry.steps.iter_mut().flat_map(|step| step.inputs.artifacts.values_mut()) {
        artifact.repository.clone_from(&repository);
    }
    let document = plan(vec![moving("staging", Tier::Staging, Some(54), 56, open()), entry], up_to_date());
    let view = view(&document, Some("shop.plan.json"), &Forecasts::new());
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for width in [80, 120] {
        let fitting = plan_text::render(&view, &Options { width: Some(width), ..options() });
        let fitting = anstream::adapter::strip_str(&fitting).to_string();
        assert_eq!(words(&fitting), words(&text(&view)), "every word, in order");
        insta::assert_snapshot!(format!("screen-{width}.txt"), fitting);
    }
}

#[test]
fn local_mode_is_said_on_every_view_s0_1() {
    let mut document = plan(Vec::new(), up_to_date());
    document.body.local = true;
    let view = view(&document, None, &Forecasts::new());
    assert!(text(&view).contains("Local mode: no trust file"));
    assert!(plan_markdown::render(&view, &options()).contains("Local mode: no trust file"));
    assert!(plan_html::render(&view, &options()).contains("Local mode: no trust file"));
}

/// A plan of many environments, each with a difference of so many lines.
fn wide(environments: usize, lines: usize) -> Document {
    let moves = (0..environments).map(|n| {
        let environment = format!("region-{n}");
        let mut entry = moving(&environment, Tier::Production, Some(54), 55, open());
        entry.steps[0].changes = vec![change(lines); if lines == 0 { 0 } else { 2 }];
        entry
    });
    let mut moves: Vec<Move> = moves.collect();
    moves.push(moving("gone-back", Tier::Production, Some(55), 54, Vec::new()));
    let refused = staying("barred", Tier::Production, Some(54), StayReason::Refused, Some((55, quarantined())));
    let mut drifted = staying("drifted", Tier::Testing, Some(55), StayReason::UpToDate, None);
    let drift = Drift { recorded: State::Absent, live: State::Present(Digest::of(b"live")) };
    drifted.drift = [("default".parse().expect("a name"), drift)].into();
    plan(moves, vec![refused, drifted])
}

#[test]
fn a_comment_stays_within_its_budget_and_keeps_what_must_not_be_missed_r30() {
    let mut shortened = 0;
    for (environments, lines) in [(3, 5), (3, 2_000), (60, 60), (190, 3), (190, 0)] {
        let document = wide(environments, lines);
        let view = view(&document, Some("shop.plan.json"), &Forecasts::new());
        let markdown = plan_markdown::render(&view, &options());
        let size = markdown.chars().count();
        assert!(size <= BUDGET, "{environments} environments, {lines} lines: {size}");
        for kept in [view.digest.to_string().as_str(), "`barred` is refused", "`drifted`: drift on", "goes **BACK**"] {
            assert!(markdown.contains(kept), "{environments} environments, {lines} lines: no {kept}");
        }
        let changes: usize = view.environments.iter().flat_map(|r| &r.steps).map(|s| s.changes.len()).sum();
        let whole = markdown.matches("```diff").count() == changes;
        assert_eq!(!whole, markdown.contains("do not approve from this view"), "a cut is announced, and only a cut");
        shortened += usize::from(!whole);
    }
    assert!((2..5).contains(&shortened), "both kinds are among the cases");
}

#[test]
fn the_view_is_frozen_format_1() {
    let moves = vec![production(55, open().into_iter().chain([approval()]).collect())];
    let value = serde_json::to_value(view(&plan(moves, up_to_date()), Some("p.json"), &Forecasts::new()));
    let value = value.expect("a view serializes");
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().map(|o| o.keys().cloned().collect()).unwrap_or_default()
    };
    assert_eq!(value["kind"], "promo.plan.view");
    assert_eq!(value["format"], 1);
    insta::assert_snapshot!(
        "view-keys",
        format!(
            "plan: {:?}\nenvironment: {:?}\ngate: {:?}\nsummary: {:?}\nstates: {:?}",
            keys(&value),
            keys(&value["environments"][3]),
            keys(&value["environments"][3]["gates"][0]),
            keys(&value["summary"]),
            value["environments"]
                .as_array()
                .map(|rows| rows.iter().map(|r| r["state"].to_string()).collect::<Vec<_>>()),
        )
    );
}

#[test]
fn times_are_shown_in_the_zone_that_was_asked_for() {
    let document = plan(Vec::new(), up_to_date());
    let view = view(&document, None, &Forecasts::new());
    let utc = Options { zone: TimeZone::UTC, full: false, width: None };
    assert!(plan_text::render(&view, &utc).contains("13:02 UTC"));
    assert!(text(&view).contains("14:02 CET"));
}
