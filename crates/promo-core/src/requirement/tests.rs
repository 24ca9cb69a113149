//! What is required of evidence, case by case; and that neither more required nor more found ever lets more through.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::ToString;
use alloc::vec::Vec;
use alloc::{format, vec};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::evidence::{
    About, Bill, Component, Coverage, Expression, Finding, Findings, FixState, Kind, Link, Measured, Number, Numbers,
    Product, Ratio, Report, Stated, Statement, Status, Suppression, Term, TestRun, Threshold, Tool, Totals,
};

const DAY: u64 = 86_400;

fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn ago(seconds: u64) -> Timestamp {
    now() - SignedDuration::from_secs(i64::try_from(seconds).unwrap())
}

fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// An index of two platforms.
fn index() -> Subject {
    let platforms = ["amd64", "arm64"].map(|name| (digest(name), Some(digest(&format!("config of {name}")))));
    Subject { digest: digest("index"), platforms: BTreeMap::from(platforms) }
}

fn single() -> Subject {
    Subject::single(digest("image"), Some(digest("config")))
}

fn piece(name: &str, report: Report) -> Piece {
    Piece {
        document: digest(name),
        origin: Origin::Registry,
        name: None,
        bound: BTreeSet::new(),
        signed: BTreeSet::new(),
        content: Content::Read(Box::new(report)),
    }
}

fn report(piece: &mut Piece) -> &mut Report {
    match &mut piece.content {
        Content::Read(report) => report,
        Content::Unreadable { .. } => panic!("it can be read"),
    }
}

/// A scan of something by a tool, an hour ago.
fn scan(name: &str, of: &str, tool: &str, list: Vec<Finding>) -> Piece {
    let mut about = About::new(if tool == "grype" { Kind::Grype } else { Kind::Trivy });
    about.tools = vec![Tool { name: tool.into(), version: None }];
    about.made = Some(ago(3600));
    about.database = Some(ago(7200));
    about.bind(Link::Manifest, digest(of));
    let findings = Findings { list, looked_into: Some(10), shows_suppressed: Some(true) };
    piece(name, Report { findings: Some(findings), ..Report::new(about) })
}

fn finding(id: &str, severity: Severity) -> Finding {
    Finding { severity, purl: Some(format!("pkg:deb/debian/{id}-pkg@1.0?arch=amd64")), ..Finding::new(id.into()) }
}

fn critical(id: &str) -> Finding {
    finding(id, Severity::Level(Level::Critical))
}

/// What a requirement of no critical finding comes to.
fn judged(subject: &Subject, pieces: &[Piece]) -> Judged {
    ScanRequirement::default().judge(subject, pieces, &[], now())
}

fn standing(subject: &Subject, pieces: &[Piece]) -> Standing {
    judged(subject, pieces).verdict.standing()
}

#[test]
fn nothing_unreadable_and_bad_are_three_outcomes() {
    let clean = scan("a", "image", "trivy", vec![]);
    assert_eq!(standing(&single(), &[]), Standing::Missing);
    assert_eq!(standing(&single(), core::slice::from_ref(&clean)), Standing::Met);
    assert_eq!(standing(&single(), &[scan("a", "image", "trivy", vec![critical("CVE-1")])]), Standing::Bad);
    let mut broken = clean.clone();
    broken.content = Content::Unreadable { kind: Kind::Trivy, why: "cut off".into() };
    broken.bound.insert(digest("image"));
    assert_eq!(standing(&single(), &[broken.clone()]), Standing::Unreadable);
    // Nor does a good one beside it make it one that was never there.
    assert_eq!(standing(&single(), &[clean.clone(), broken.clone()]), Standing::Unreadable);
    // A broken report of tests is no broken scan.
    broken.content = Content::Unreadable { kind: Kind::Junit, why: "cut off".into() };
    assert_eq!(standing(&single(), &[clean, broken]), Standing::Met);
}

#[test]
fn a_report_of_something_else_or_of_nothing_is_none_and_is_named() {
    let other = scan("a", "another image", "trivy", vec![]);
    let verdict = judged(&single(), core::slice::from_ref(&other)).verdict;
    assert_eq!(verdict.standing(), Standing::Missing);
    let names = digest("another image");
    assert!(verdict.faults.contains(&Fault::OfAnother { document: other.document, names }), "{verdict:?}");
    // Not even when it was brought for this one.
    let mut brought = other;
    brought.bound.insert(digest("image"));
    assert_eq!(standing(&single(), &[brought]), Standing::Missing);
    let mut nobody = scan("a", "image", "trivy", vec![]);
    report(&mut nobody).about.bound.clear();
    let verdict = judged(&single(), &[nobody.clone()]).verdict;
    assert!(verdict.faults.contains(&Fault::Unbound { document: nobody.document }), "{verdict:?}");
    nobody.bound.insert(digest("image"));
    assert_eq!(standing(&single(), &[nobody]), Standing::Met, "somebody answers for it");
}

#[test]
fn each_platform_needs_its_own_and_the_index_is_none_of_them() {
    let of = |of: &str| scan(of, of, "trivy", vec![]);
    let each = [of("amd64"), of("arm64")];
    assert_eq!(standing(&index(), &each), Standing::Met);
    let missing = judged(&index(), &each[..1]).verdict.faults;
    assert_eq!(missing, [Fault::Nothing { from: None, platform: Some(digest("arm64")) }]);
    assert_eq!(standing(&index(), &[of("index")]), Standing::Missing, "one platform of it, and nobody says which");
    // The id of an image says which.
    let mut both = of("index");
    report(&mut both).about.bind(Link::Config, digest("config of amd64"));
    assert_eq!(standing(&index(), &[both.clone(), of("arm64")]), Standing::Met);
    assert_eq!(standing(&index(), &[both]), Standing::Missing);
    // Attached to one platform, of which it names the index alone.
    let mut attached = of("index");
    attached.bound.insert(digest("amd64"));
    assert_eq!(index().reach(&attached), Reach::Platforms(BTreeSet::from([digest("amd64")])));
    let any = ScanRequirement { scope: Scope::Any, ..ScanRequirement::default() };
    assert_eq!(any.judge(&index(), &[of("index")], &[], now()).verdict.standing(), Standing::Met);
    let bad = [of("amd64"), scan("arm64", "arm64", "trivy", vec![critical("CVE-1")])];
    assert_eq!(standing(&index(), &bad), Standing::Bad);
}

#[test]
fn every_scanner_that_is_required_must_have_looked_and_what_any_other_found_counts() {
    let both =
        ScanRequirement { scanners: BTreeSet::from(["trivy".into(), "grype".into()]), ..ScanRequirement::default() };
    let judge = |pieces: &[Piece]| both.judge(&single(), pieces, &[], now()).verdict;
    let (trivy, grype) = (scan("a", "image", "trivy", vec![]), scan("b", "image", "grype", vec![]));
    assert_eq!(judge(&[trivy.clone(), grype.clone()]).standing(), Standing::Met);
    let missing = Fault::Nothing { from: Some("grype".into()), platform: Some(digest("image")) };
    assert_eq!(judge(core::slice::from_ref(&trivy)).faults, [missing]);
    let third = scan("c", "image", "somebody", vec![critical("CVE-1")]);
    assert_eq!(judge(&[trivy, grype, third]).standing(), Standing::Bad);
}

#[test]
fn of_one_scanner_the_newest_counts_and_one_that_is_not_done_is_no_newest() {
    let mut old = scan("a", "image", "trivy", vec![critical("CVE-1")]);
    report(&mut old).about.made = Some(ago(DAY));
    let new = scan("b", "image", "trivy", vec![]);
    assert_eq!(standing(&single(), &[old.clone(), new.clone()]), Standing::Met);
    let mut undone = new.clone();
    report(&mut undone).about.completed = Some(false);
    assert_eq!(standing(&single(), &[old.clone(), undone]), Standing::Unreadable);
    // Which is newer nobody knows.
    let mut undated = new.clone();
    report(&mut undated).about.made = None;
    assert_eq!(standing(&single(), &[old.clone(), undated.clone()]), Standing::Bad);
    // Brought one after the other, somebody does.
    let brought = |piece: &Piece, at| Piece { origin: Origin::Ledger { by: "ci".into(), at }, ..piece.clone() };
    assert_eq!(standing(&single(), &[brought(&old, ago(9)), brought(&undated, ago(5))]), Standing::Bad, "two clocks");
    report(&mut old).about.made = None;
    assert_eq!(standing(&single(), &[brought(&old, ago(9)), brought(&undated, ago(5))]), Standing::Met);
    assert_eq!(standing(&single(), &[brought(&old, ago(5)), brought(&undated, ago(9))]), Standing::Bad);
    // The newest of each platform, and not of all.
    let mut one = scan("c", "amd64", "trivy", vec![critical("CVE-1")]);
    report(&mut one).about.made = Some(ago(DAY));
    assert_eq!(standing(&index(), &[one, scan("d", "arm64", "trivy", vec![])]), Standing::Bad);
}

#[test]
fn a_scan_that_looked_into_nothing_or_may_leave_things_out_found_nothing() {
    let with = |change: fn(&mut Findings)| {
        let mut scan = scan("a", "image", "trivy", vec![]);
        change(report(&mut scan).findings.as_mut().unwrap());
        scan
    };
    assert_eq!(standing(&single(), &[with(|f| f.looked_into = Some(0))]), Standing::Bad);
    assert_eq!(standing(&single(), &[with(|f| f.looked_into = None)]), Standing::Met);
    let shown = ScanRequirement { suppressions: Suppressions::Shown, ..ScanRequirement::default() };
    for (shows, expected) in
        [(Some(true), Standing::Met), (Some(false), Standing::Unreadable), (None, Standing::Unreadable)]
    {
        let mut scan = scan("a", "image", "trivy", vec![]);
        report(&mut scan).findings.as_mut().unwrap().shows_suppressed = shows;
        assert_eq!(standing(&single(), core::slice::from_ref(&scan)), Standing::Met);
        assert_eq!(shown.judge(&single(), &[scan], &[], now()).verdict.standing(), expected, "{shows:?}");
    }
}

#[test]
fn age_is_counted_from_the_scan_and_from_its_database_and_the_verdict_says_until_when() {
    let requirement =
        ScanRequirement { max_age: Some(7 * DAY), database_max_age: Some(DAY), ..ScanRequirement::default() };
    let with = |made: Option<Timestamp>, database: Option<Timestamp>| {
        let mut scan = scan("a", "image", "trivy", vec![]);
        (report(&mut scan).about.made, report(&mut scan).about.database) = (made, database);
        requirement.judge(&single(), &[scan], &[], now()).verdict
    };
    let good = with(Some(ago(3600)), Some(ago(DAY)));
    assert_eq!((good.standing(), good.until), (Standing::Met, Some(now())), "on the very second");
    assert_eq!(with(Some(ago(7 * DAY + 1)), Some(ago(0))).standing(), Standing::Expired);
    assert_eq!(with(Some(ago(0)), Some(ago(DAY + 1))).standing(), Standing::Expired);
    assert_eq!(with(None, Some(ago(0))).standing(), Standing::Unreadable);
    assert_eq!(with(Some(ago(0)), None).standing(), Standing::Unreadable);
    let ahead = |seconds| Some(now() + SignedDuration::from_secs(seconds));
    assert_eq!(with(ahead(30), Some(ago(0))).standing(), Standing::Met);
    assert_eq!(with(ahead(31), Some(ago(0))).standing(), Standing::Unreadable);
}

#[test]
fn what_nobody_says_how_bad_it_is_is_never_mild() {
    let level = |finding: Finding| judged(&single(), &[scan("a", "image", "trivy", vec![finding])]);
    let score = |value: f64| crate::evidence::Score {
        value: Finite::new(value).unwrap(),
        method: "CVSS:3.1".into(),
        source: None,
    };
    let scored = |severity: Severity, value| Finding { scores: vec![score(value)], ..finding("CVE-1", severity) };
    assert_eq!(level(finding("CVE-1", Severity::NotSaid)).counted, BTreeMap::from([(Level::High, 1)]));
    assert_eq!(level(finding("CVE-1", Severity::NotSaid)).unknown, 1);
    let word = level(finding("CVE-1", Severity::Word("spicy".into())));
    assert_eq!((word.verdict.standing(), word.unknown), (Standing::Bad, 1));
    assert_eq!(level(scored(Severity::NotSaid, 9.8)).verdict.standing(), Standing::Bad);
    assert_eq!(level(scored(Severity::Level(Level::Low), 9.8)).verdict.standing(), Standing::Met);
    let highest = ScanRequirement { highest: true, ..ScanRequirement::default() };
    let scan = scan("a", "image", "trivy", vec![scored(Severity::Level(Level::Low), 9.8)]);
    assert_eq!(highest.judge(&single(), &[scan], &[], now()).verdict.standing(), Standing::Bad);
}

#[test]
fn only_what_is_said_to_have_no_fix_is_left_out_for_that() {
    let available = ScanRequirement { fixes: Fixes::Available, ..ScanRequirement::default() };
    for (state, fixed, counts) in [
        (FixState::Fixed, true, true),
        (FixState::NotFixed, false, false),
        (FixState::WontFix, false, false),
        (FixState::Deferred, false, false),
        (FixState::UnderInvestigation, false, false),
        (FixState::EndOfLife, false, true),
        (FixState::NotAffected, false, true),
        (FixState::NotSaid, false, true),
        (FixState::Word("soon".into()), false, true),
        (FixState::NotFixed, true, true),
    ] {
        let fixed = if fixed { vec!["2.0".into()] } else { vec![] };
        let finding = Finding { fix_state: state.clone(), fixed, ..critical("CVE-1") };
        let scan = [scan("a", "image", "trivy", vec![finding])];
        assert_eq!(standing(&single(), &scan), Standing::Bad);
        let found = available.judge(&single(), &scan, &[], now()).verdict.standing();
        assert_eq!(found == Standing::Bad, counts, "{state:?}");
    }
}

#[test]
fn what_is_suppressed_counts_unless_policy_believes_who_did_it() {
    let suppressed = Finding {
        suppressed: Some(Suppression { state: "ignored".into(), reason: None, source: None }),
        ..critical("CVE-1")
    };
    let scan = [scan("a", "image", "trivy", vec![suppressed])];
    assert_eq!(standing(&single(), &scan), Standing::Bad);
    let accept = ScanRequirement { suppressions: Suppressions::Accept, ..ScanRequirement::default() };
    assert_eq!(accept.judge(&single(), &scan, &[], now()).verdict.standing(), Standing::Met);
}

#[test]
fn an_exception_holds_for_its_package_until_it_ends_and_is_named_afterwards() {
    let with = |id: &str, package: Option<&str>, expires: Timestamp| Exception {
        id: id.into(),
        package: package.map(Into::into),
        owner: "ada".into(),
        reason: "not reachable".into(),
        expires,
    };
    let mut found = critical("CVE-1");
    found.aliases.push("GHSA-1".into());
    let pieces = [scan("a", "image", "trivy", vec![found])];
    let judge = |exceptions: &[Exception]| ScanRequirement::default().judge(&single(), &pieces, exceptions, now());
    let later = now() + SignedDuration::from_secs(60);
    for exception in [
        with("cve-1", None, later),
        with("GHSA-1", None, later),
        with("CVE-1", Some("pkg:deb/debian/CVE-1-pkg"), later),
        with("CVE-1", Some("pkg:deb/*"), later),
    ] {
        let judged = judge(&[exception]);
        assert_eq!((judged.verdict.standing(), judged.excepted), (Standing::Met, 1));
        assert_eq!(judged.verdict.until, Some(later));
    }
    for exception in [with("CVE-2", None, later), with("CVE-1", Some("pkg:npm/*"), later)] {
        assert_eq!(judge(&[exception]).verdict.standing(), Standing::Bad);
    }
    let ended = judge(&[with("CVE-1", None, now())]).verdict;
    assert!(matches!(ended.faults[..], [Fault::Vulnerable { expired: Some(at), .. }] if at == now()), "{ended:?}");
}

fn statement(id: &str, status: Status, at: Option<Timestamp>) -> Statement {
    Statement {
        vulnerability: id.into(),
        aliases: vec![],
        products: vec![Product { id: None, purl: None, digests: vec![digest("image")], parts: vec![] }],
        parts: vec![],
        status,
        justification: Some("vulnerable_code_not_in_execute_path".into()),
        impact: None,
        at,
    }
}

/// Whether a critical finding is let through beside these statements, signed so.
fn cleared(statements: Vec<Statement>, signed: &[&str]) -> bool {
    let mut vex = piece("vex", Report { statements: Some(statements), ..Report::new(About::new(Kind::OpenVex)) });
    vex.signed = signed.iter().map(|name| (*name).to_string()).collect();
    let believed = ScanRequirement { vex: BTreeSet::from(["security".into()]), ..ScanRequirement::default() };
    let pieces = [scan("a", "image", "trivy", vec![critical("CVE-1")]), vex];
    let judged = believed.judge(&single(), &pieces, &[], now());
    assert_eq!(judged.verdict.standing() == Standing::Met, judged.not_affected == 1, "{judged:?}");
    judged.not_affected == 1
}

#[test]
fn a_statement_clears_what_it_is_about_when_somebody_believed_has_signed_it() {
    let clear = || statement("CVE-1", Status::NotAffected, None);
    assert!(cleared(vec![clear()], &["security"]));
    assert!(!cleared(vec![clear()], &[]) && !cleared(vec![clear()], &["anybody"]));
    assert!(cleared(vec![statement("cve-1", Status::Fixed, None)], &["security"]));
    for status in [Status::Affected, Status::UnderInvestigation, Status::Word("fine".into())] {
        assert!(!cleared(vec![statement("CVE-1", status, None)], &["security"]));
    }
    let unjustified = Statement { justification: None, ..clear() };
    assert!(!cleared(vec![unjustified.clone()], &["security"]));
    assert!(cleared(vec![Statement { impact: Some("why".into()), ..unjustified }], &["security"]));
    let of = |product: Product| Statement { products: vec![product], ..clear() };
    let product = |id: &str| Product { id: Some(id.into()), purl: None, digests: vec![], parts: vec![] };
    let hex = digest("image").hex();
    let purl = format!("pkg:oci/web@sha256%3A{hex}?repository_url=elsewhere.example/shop");
    assert!(cleared(vec![of(product(&purl))], &["security"]), "wherever it lies");
    for id in ["pkg:oci/web", "pkg:oci/web@1.0", &format!("pkg:oci/web@sha256%3A{}", digest("other").hex())] {
        assert!(!cleared(vec![of(product(id))], &["security"]), "{id}");
    }
    let part = |id: &str| Statement { parts: vec![product(id)], ..clear() };
    assert!(cleared(vec![part("pkg:deb/debian/CVE-1-pkg@1.0")], &["security"]));
    assert!(cleared(vec![part("pkg:deb/debian/CVE-1-pkg")], &["security"]));
    assert!(!cleared(vec![part("pkg:deb/debian/CVE-1-pkg@2.0")], &["security"]));
    assert!(!cleared(vec![part("pkg:deb/debian/other")], &["security"]));
}

#[test]
fn of_several_statements_the_latest_counts_and_of_two_at_once_or_without_a_time_the_one_that_takes_nothing_away() {
    let clear = |at| statement("CVE-1", Status::NotAffected, at);
    let affected = |at| statement("CVE-1", Status::Affected, at);
    for (statements, expected) in [
        (vec![clear(Some(ago(5))), affected(Some(ago(9)))], true),
        (vec![affected(Some(ago(5))), clear(Some(ago(9)))], false),
        (vec![clear(Some(ago(5))), affected(Some(ago(5)))], false),
        (vec![affected(Some(ago(5))), clear(Some(ago(5)))], false),
        (vec![clear(None), affected(Some(ago(5)))], false),
        (vec![affected(None), clear(Some(ago(5)))], false),
        (vec![clear(None), clear(Some(ago(5)))], true),
        (vec![affected(None), clear(None)], false),
    ] {
        assert_eq!(cleared(statements.clone(), &["security"]), expected, "{statements:?}");
    }
}

fn component(name: &str, licence: Stated) -> Component {
    let purl = Some(format!("pkg:{name}@1"));
    Component { name: name.into(), version: None, purl, concluded: licence, declared: Stated::Nothing }
}

fn licence(id: &str) -> Expression {
    let (id, exception) = id.split_once(" WITH ").map_or((id, None), |(id, with)| (id, Some(with.to_string())));
    Expression::term(Term { id: id.into(), listed: true, or_later: false, exception })
}

fn bill(of: &str, components: Vec<Component>) -> Piece {
    let mut about = About::new(Kind::CycloneDx);
    about.bind(Link::Manifest, digest(of));
    piece(of, Report { bill: Some(Bill::of(components)), ..Report::new(about) })
}

#[test]
fn a_bill_is_there_when_it_is_of_this_artifact_and_lists_something() {
    let judge = |subject: &Subject, pieces: &[Piece]| BillRequirement::default().judge(subject, pieces).standing();
    let one = || vec![component("npm/a", Stated::Nothing)];
    assert_eq!(judge(&single(), &[]), Standing::Missing);
    assert_eq!(judge(&single(), &[bill("image", one())]), Standing::Met);
    assert_eq!(judge(&single(), &[bill("image", vec![])]), Standing::Bad);
    assert_eq!(judge(&single(), &[bill("other", one())]), Standing::Missing);
    assert_eq!(judge(&single(), &[scan("a", "image", "trivy", vec![])]), Standing::Missing);
    assert_eq!(judge(&index(), &[bill("amd64", one())]), Standing::Missing);
    assert_eq!(judge(&index(), &[bill("amd64", one()), bill("arm64", one())]), Standing::Met);
}

#[test]
fn licences_are_judged_by_what_is_welcome_and_what_is_denied_and_the_unknown_is_neither() {
    let judge = |allow: &[&str], deny: &[&str], unknown: Unknown, components: Vec<Component>| {
        let set = |list: &[&str]| list.iter().map(|id| (*id).to_string()).collect();
        let requirement = LicenceRequirement { allow: set(allow), deny: set(deny), unknown, scope: Scope::Any };
        requirement.judge(&single(), &[bill("image", components)])
    };
    let of = |id: &str| vec![component("npm/a", Stated::Expression(licence(id)))];
    let stands = |allow: &[&str], deny: &[&str], id: &str| judge(allow, deny, Unknown::Refuse, of(id)).standing();
    assert_eq!(stands(&["MIT"], &[], "MIT"), Standing::Met);
    assert_eq!(stands(&["MIT"], &[], "MIT-0"), Standing::Bad);
    assert_eq!(stands(&[], &["GPL-*"], "GPL-3.0-only"), Standing::Bad);
    assert_eq!(stands(&[], &["GPL-*"], "LGPL-3.0-only"), Standing::Met);
    assert_eq!(stands(&["GPL-*"], &["GPL-3.0-only"], "GPL-3.0-only"), Standing::Bad, "what is denied is");
    let classpath = "GPL-2.0-only WITH Classpath-exception-2.0";
    assert_eq!(stands(&[classpath], &[], classpath), Standing::Met);
    assert_eq!(stands(&[classpath], &[], "GPL-2.0-only"), Standing::Bad);
    assert_eq!(stands(&["GPL-2.0-only"], &[], classpath), Standing::Met, "an exception only permits more");
    let either = Stated::Expression(licence("GPL-3.0-only").or(licence("MIT")).unwrap());
    assert_eq!(judge(&["MIT"], &[], Unknown::Refuse, vec![component("npm/a", either)]).standing(), Standing::Met);
    let unknown = |rule, purl: &str, stated| judge(&["MIT"], &[], rule, vec![component(purl, stated)]).standing();
    let unreadable = || Stated::Unreadable("as is".into());
    assert_eq!(unknown(Unknown::Refuse, "deb/debian/a", Stated::Nothing), Standing::Bad);
    assert_eq!(unknown(Unknown::TakeOfSystem, "deb/debian/a", unreadable()), Standing::Met);
    assert_eq!(unknown(Unknown::TakeOfSystem, "npm/a", unreadable()), Standing::Bad);
    assert_eq!(unknown(Unknown::Take, "npm/a", unreadable()), Standing::Met);
    assert_eq!(unknown(Unknown::Take, "npm/a", Stated::None), Standing::Bad, "that there is none is known");
    let many: Vec<Component> = (0..770).map(|n| component(&format!("npm/{n}"), Stated::Nothing)).collect();
    let verdict = judge(&["MIT"], &[], Unknown::Refuse, many);
    assert!(matches!(verdict.faults[..], [Fault::UnknownLicences { found: 770, of: 770, .. }]), "{verdict:?}");
    // One that is counted and not read.
    let mut spdx3 = bill("image", vec![]);
    report(&mut spdx3).bill = Some(Bill { count: 4, components: None });
    let verdict = LicenceRequirement::default().judge(&single(), &[spdx3]);
    assert_eq!(verdict.standing(), Standing::Unreadable);
}

fn tests_of(name: Option<&str>, totals: Totals) -> Piece {
    let run = TestRun { counted: totals, ..TestRun::default() };
    let mut out =
        piece(&format!("{name:?}{totals:?}"), Report { tests: Some(run), ..Report::new(About::new(Kind::Junit)) });
    out.bound.insert(digest("image"));
    out.name = name.map(Into::into);
    out
}

const fn totals(tests: u64, failures: u64, skipped: u64) -> Totals {
    Totals { tests, failures, errors: 0, skipped }
}

#[test]
fn tests_must_have_run_and_passed_and_the_worse_of_two_totals_counts() {
    let judge = |requirement: &TestRequirement, piece: Piece| requirement.judge(&single(), &[piece], now()).standing();
    let all = TestRequirement::default();
    assert_eq!(judge(&all, tests_of(None, totals(10, 0, 2))), Standing::Met);
    assert_eq!(judge(&all, tests_of(None, totals(10, 1, 0))), Standing::Bad);
    assert_eq!(judge(&all, tests_of(None, totals(0, 0, 0))), Standing::Bad);
    assert_eq!(judge(&all, tests_of(None, totals(3, 0, 3))), Standing::Bad, "none ran");
    assert_eq!(judge(&all, tests_of(None, totals(1, 2, 0))), Standing::Unreadable);
    let mut stated = tests_of(None, totals(10, 0, 0));
    report(&mut stated).tests.as_mut().unwrap().stated = Some(totals(11, 1, 0));
    assert_eq!(judge(&all, stated), Standing::Bad);
    let rate = TestRequirement { pass_rate: Finite::new(90.0).ok(), ..TestRequirement::default() };
    assert_eq!(judge(&rate, tests_of(None, totals(10, 1, 0))), Standing::Met);
    assert_eq!(judge(&rate, tests_of(None, totals(10, 1, 1))), Standing::Bad, "8 of the 9 that ran");
    let strict = TestRequirement { skipped: Some(0), flaky: Some(0), ..TestRequirement::default() };
    assert_eq!(judge(&strict, tests_of(None, totals(10, 0, 1))), Standing::Bad);
    let mut flaky = tests_of(None, totals(10, 0, 0));
    report(&mut flaky).tests.as_mut().unwrap().flaky = 1;
    assert_eq!((judge(&all, flaky.clone()), judge(&strict, flaky)), (Standing::Met, Standing::Bad));
}

#[test]
fn a_suite_is_known_by_the_name_under_which_it_was_brought_and_a_new_run_of_it_replaces_the_old_one() {
    let at = |piece: Piece, at| Piece { origin: Origin::Ledger { by: "ci".into(), at }, ..piece };
    let (bad, good) = (totals(10, 1, 0), totals(10, 0, 0));
    let judge =
        |requirement: &TestRequirement, pieces: &[Piece]| requirement.judge(&single(), pieces, now()).standing();
    let any = TestRequirement::default();
    let again = [at(tests_of(Some("e2e"), bad), ago(9)), at(tests_of(Some("e2e"), good), ago(5))];
    assert_eq!(judge(&any, &again), Standing::Met);
    let worse = [at(tests_of(Some("e2e"), bad), ago(5)), at(tests_of(Some("e2e"), good), ago(9))];
    assert_eq!(judge(&any, &worse), Standing::Bad);
    let others = [at(tests_of(Some("unit"), bad), ago(9)), at(tests_of(Some("e2e"), good), ago(5))];
    assert_eq!(judge(&any, &others), Standing::Bad);
    let nameless = [at(tests_of(None, bad), ago(9)), at(tests_of(None, good), ago(5))];
    assert_eq!(judge(&any, &nameless), Standing::Bad, "nobody says that it is the same suite");
    let e2e = TestRequirement { suites: BTreeSet::from(["e2e".into()]), ..TestRequirement::default() };
    assert_eq!(judge(&e2e, &others), Standing::Met);
    assert_eq!(judge(&e2e, &others[..1]), Standing::Missing);
}

#[test]
fn only_what_is_of_the_same_make_and_speaks_of_as_much_is_replaced() {
    let dated = |mut piece: Piece, days: u64| {
        report(&mut piece).about.made = Some(ago(days * DAY));
        piece
    };
    let bad = || dated(scan("a", "image", "trivy", vec![critical("CVE-1")]), 3);
    let clean = || dated(scan("b", "image", "trivy", vec![]), 2);
    assert_eq!(standing(&single(), &[bad(), clean()]), Standing::Met);
    // Another kind of document of the same tool looked for something else.
    let mut sarif = clean();
    report(&mut sarif).about.kind = Kind::Sarif;
    assert_eq!(standing(&single(), &[bad(), sarif.clone()]), Standing::Bad);
    assert_eq!(standing(&single(), &[sarif.clone()]), Standing::Missing, "any tool writes that, for anything");
    let named = ScanRequirement { scanners: BTreeSet::from(["sarif".into()]), ..ScanRequirement::default() };
    assert_eq!(named.judge(&single(), &[sarif], &[], now()).verdict.standing(), Standing::Met);
    let other = Piece { name: Some("other".into()), ..clean() };
    assert_eq!(standing(&single(), &[bad(), other]), Standing::Bad);
    // A third one, of which nobody knows when it was made, decides nothing between the two.
    let brought =
        |piece: Piece, days: u64| Piece { origin: Origin::Ledger { by: "ci".into(), at: ago(days * DAY) }, ..piece };
    let (newer, older) = (dated(bad(), 2), dated(clean(), 3));
    let mut undated = scan("c", "image", "trivy", vec![]);
    report(&mut undated).about.made = None;
    let three = [brought(newer, 2), brought(older, 1), brought(undated, 3)];
    assert_eq!((standing(&single(), &three[..2]), standing(&single(), &three)), (Standing::Bad, Standing::Bad));
    // Nor does one from the future.
    let mut ahead = clean();
    report(&mut ahead).about.made = Some(now() + SignedDuration::from_secs(60));
    let verdict = judged(&single(), &[bad(), ahead]).verdict;
    assert_eq!(verdict.standing(), Standing::Bad);
    assert!(verdict.faults.iter().any(|fault| matches!(fault, Fault::FromTheFuture { .. })), "{verdict:?}");
    // Of another platform, also where any would do.
    let any = ScanRequirement { scope: Scope::Any, ..ScanRequirement::default() };
    let platforms =
        [dated(scan("a", "amd64", "trivy", vec![critical("CVE-1")]), 3), dated(scan("b", "arm64", "trivy", vec![]), 2)];
    assert_eq!(any.judge(&index(), &platforms, &[], now()).verdict.standing(), Standing::Bad);
    // What was found somewhere in the index was found, whatever else is asked for.
    let somewhere = dated(scan("c", "index", "grype", vec![critical("CVE-1")]), 3);
    let clean = [scan("a", "amd64", "trivy", vec![]), scan("b", "arm64", "trivy", vec![]), somewhere.clone()];
    assert_eq!(
        (standing(&index(), &clean), any.judge(&index(), &clean, &[], now()).verdict.standing()),
        (Standing::Bad, Standing::Bad)
    );
    let again = [clean[0].clone(), clean[1].clone(), somewhere, scan("d", "index", "grype", vec![])];
    assert_eq!(standing(&index(), &again), Standing::Met);
}

#[test]
fn what_runs_nowhere_needs_evidence_all_the_same() {
    let nowhere = Subject { digest: digest("index"), platforms: BTreeMap::new() };
    assert_eq!(standing(&nowhere, &[]), Standing::Missing);
    assert_eq!(BillRequirement::default().judge(&nowhere, &[]).standing(), Standing::Missing);
    assert_eq!(LicenceRequirement::default().judge(&nowhere, &[]).standing(), Standing::Missing);
    assert_eq!(standing(&nowhere, &[scan("a", "index", "trivy", vec![])]), Standing::Met);
}

#[test]
fn a_level_means_that_and_worse_ones_and_a_package_counts_once_whatever_its_platform() {
    let of = |level| finding("CVE-1", Severity::Level(level));
    let high = ScanRequirement { deny: Some(Level::High), ..ScanRequirement::default() };
    let judge = |requirement: &ScanRequirement, pieces: &[Piece]| requirement.judge(&single(), pieces, &[], now());
    let critical = scan("a", "image", "trivy", vec![of(Level::Critical)]);
    assert_eq!(judge(&high, core::slice::from_ref(&critical)).verdict.standing(), Standing::Bad);
    let none =
        ScanRequirement { deny: None, at_most: BTreeMap::from([(Level::High, 0)]), ..ScanRequirement::default() };
    let both = [scan("b", "image", "grype", vec![of(Level::High)]), critical];
    for pieces in [&both[..1], &both[1..], &both] {
        let judged = judge(&none, pieces);
        assert_eq!((judged.verdict.standing(), judged.counted.values().sum::<u64>()), (Standing::Bad, 1));
    }
    let arm = Finding { purl: Some("pkg:deb/debian/CVE-1-pkg@1.0?arch=arm64".into()), ..of(Level::High) };
    let two = [scan("a", "amd64", "trivy", vec![of(Level::High)]), scan("b", "arm64", "trivy", vec![arm])];
    assert_eq!(
        ScanRequirement::default().judge(&index(), &two, &[], now()).counted,
        BTreeMap::from([(Level::High, 1)])
    );
}

#[test]
fn a_statement_on_one_platform_clears_no_other() {
    let of = |of: &str, status: Status, at: u64| Statement {
        products: vec![Product { id: None, purl: None, digests: vec![digest(of)], parts: vec![] }],
        ..statement("CVE-1", status, Some(ago(at)))
    };
    let judge = |statements: Vec<Statement>| {
        let mut vex = piece("vex", Report { statements: Some(statements), ..Report::new(About::new(Kind::OpenVex)) });
        vex.signed.insert("security".into());
        let believed = ScanRequirement { vex: BTreeSet::from(["security".into()]), ..ScanRequirement::default() };
        let pieces = [scan("a", "amd64", "trivy", vec![critical("CVE-1")]), scan("b", "arm64", "trivy", vec![]), vex];
        believed.judge(&index(), &pieces, &[], now()).verdict.standing()
    };
    let clear = Status::NotAffected;
    assert_eq!(judge(vec![of("amd64", clear.clone(), 5)]), Standing::Met);
    assert_eq!(judge(vec![of("config of amd64", clear.clone(), 5)]), Standing::Met);
    assert_eq!(judge(vec![of("index", clear.clone(), 5)]), Standing::Met);
    assert_eq!(judge(vec![of("arm64", clear.clone(), 5)]), Standing::Bad);
    assert_eq!(judge(vec![of("amd64", Status::Affected, 9), of("arm64", clear.clone(), 5)]), Standing::Bad);
    assert_eq!(judge(vec![of("amd64", clear.clone(), 9), of("amd64", Status::Affected, 5)]), Standing::Bad);
    assert_eq!(judge(vec![of("amd64", clear, 9), of("arm64", Status::Affected, 5)]), Standing::Met);
}

#[test]
fn a_signed_statement_that_cannot_be_read_could_take_another_one_back() {
    let mut vex = piece("vex", Report::new(About::new(Kind::OpenVex)));
    vex.content = Content::Unreadable { kind: Kind::OpenVex, why: "its version is newer".into() };
    let believed = ScanRequirement { vex: BTreeSet::from(["security".into()]), ..ScanRequirement::default() };
    let judge =
        |vex: &Piece| believed.judge(&single(), &[scan("a", "image", "trivy", vec![]), vex.clone()], &[], now());
    assert_eq!(judge(&vex).verdict.standing(), Standing::Met);
    vex.signed.insert("security".into());
    assert_eq!(judge(&vex).verdict.standing(), Standing::Unreadable);
}

#[test]
fn licences_are_the_same_in_any_case_and_as_the_list_had_them_before() {
    let stands = |allow: &[&str], deny: &[&str], id: &str, or_later: bool| {
        let set = |list: &[&str]| list.iter().map(|id| (*id).to_string()).collect();
        let term = Term { id: id.into(), listed: true, or_later, exception: None };
        let piece = bill("image", vec![component("npm/a", Stated::Expression(Expression::term(term)))]);
        let requirement = LicenceRequirement { allow: set(allow), deny: set(deny), ..LicenceRequirement::default() };
        requirement.judge(&single(), &[piece]).standing()
    };
    assert_eq!(stands(&["mit"], &[], "MIT", false), Standing::Met);
    assert_eq!(stands(&[], &["gpl-3.0-*"], "GPL-3.0-only", false), Standing::Bad);
    assert_eq!(stands(&[], &["GPL-3.0-*"], "GPL-3.0", false), Standing::Bad);
    assert_eq!(stands(&["GPL-3.0-or-later"], &[], "GPL-3.0", true), Standing::Met);
    assert_eq!(stands(&["GPL-3.0-or-later"], &[], "GPL-3.0", false), Standing::Bad);
    assert_eq!(stands(&["Apache-2.0-only"], &[], "Apache-2.0", false), Standing::Bad);
}

#[test]
fn a_run_of_one_kind_or_platform_hides_none_of_another_and_one_of_several_documents_has_the_number() {
    let at = |piece: Piece, seconds| Piece { origin: Origin::Ledger { by: "ci".into(), at: ago(seconds) }, ..piece };
    let e2e = |of: &str, totals, seconds| {
        let mut run = at(tests_of(Some("e2e"), totals), seconds);
        run.bound = BTreeSet::from([digest(of)]);
        run
    };
    let runs = [e2e("amd64", totals(10, 1, 0), 9), e2e("arm64", totals(10, 0, 0), 5)];
    assert_eq!(TestRequirement::default().judge(&index(), &runs, now()).standing(), Standing::Bad);
    let p95 =
        NumberRequirement { name: "p95".into(), suites: BTreeSet::new(), least: None, most: None, baseline: None };
    let named = |piece: Piece| Piece { name: Some("load".into()), ..piece };
    let mut plain = numbers("plain", 1.0, true);
    report(&mut plain).about.kind = Kind::Numbers;
    let load = [at(named(numbers("k6", 1.0, false)), 9), at(named(plain.clone()), 5)];
    assert_eq!(p95.judge(&single(), &load, None, now()).standing(), Standing::Bad);
    report(&mut plain).numbers.as_mut().unwrap().list.clear();
    assert_eq!(p95.judge(&single(), &[numbers("k6", 1.0, true), plain.clone()], None, now()).standing(), Standing::Met);
    assert_eq!(p95.judge(&single(), &[plain], None, now()).standing(), Standing::Unreadable);
}

#[test]
fn coverage_is_the_worst_that_a_document_says_and_what_it_does_not_say_is_not_there() {
    let mut about = About::new(Kind::Cobertura);
    about.bind(Link::Subject, digest("image"));
    let ratio = |covered, total| Some(Ratio { covered, total });
    let with = |counted, stated, line_rate: Option<f64>| {
        let coverage = Coverage {
            counted: Measured { lines: counted, ..Measured::default() },
            stated: Measured { lines: stated, ..Measured::default() },
            line_rate: line_rate.and_then(|rate| Finite::new(rate).ok()),
            branch_rate: None,
        };
        let piece = piece("coverage", Report { coverage: Some(coverage), ..Report::new(about.clone()) });
        let asked = CoverageRequirement { lines: Finite::new(80.0).ok(), ..CoverageRequirement::default() };
        asked.judge(&single(), &[piece], now()).standing()
    };
    assert_eq!(with(ratio(8, 10), None, None), Standing::Met);
    assert_eq!(with(ratio(8, 10), ratio(7, 10), None), Standing::Bad);
    assert_eq!(with(ratio(9, 10), None, Some(0.5)), Standing::Bad);
    assert_eq!(with(ratio(0, 0), None, None), Standing::Unreadable);
    assert_eq!(with(None, ratio(0, 0), Some(1.0)), Standing::Unreadable, "all of nothing");
    assert_eq!(with(ratio(11, 10), None, None), Standing::Unreadable);
    assert_eq!(with(None, None, None), Standing::Unreadable);
}

fn numbers(name: &str, value: f64, kept: bool) -> Piece {
    let number = Number { name: "p95".into(), value: Finite::new(value).unwrap(), unit: None };
    let thresholds = vec![Threshold { metric: "p95".into(), bound: "p(95)<500".into(), kept }];
    let numbers = Numbers { list: vec![number], thresholds };
    let mut out = piece(name, Report { numbers: Some(numbers), ..Report::new(About::new(Kind::K6)) });
    out.bound.insert(digest("image"));
    out
}

#[test]
fn a_number_keeps_its_bounds_those_of_its_tool_and_those_that_another_release_gives() {
    let base = |value: f64| [numbers("base", value, true)];
    let judge = |requirement: &NumberRequirement, value: f64, baseline: Option<&[Piece]>| {
        let baseline_subject = single();
        let baseline = baseline.map(|pieces| (&baseline_subject, pieces));
        requirement.judge(&single(), &[numbers("a", value, true)], baseline, now()).standing()
    };
    let plain = NumberRequirement {
        name: "p95".into(),
        suites: BTreeSet::new(),
        least: None,
        most: Finite::new(250.0).ok(),
        baseline: None,
    };
    assert_eq!((judge(&plain, 250.0, None), judge(&plain, 250.1, None)), (Standing::Met, Standing::Bad));
    let other = NumberRequirement { name: "p99".into(), ..plain.clone() };
    assert_eq!(judge(&other, 1.0, None), Standing::Unreadable);
    assert_eq!(plain.judge(&single(), &[numbers("a", 1.0, false)], None, now()).standing(), Standing::Bad);
    assert_eq!(plain.judge(&single(), &[], None, now()).standing(), Standing::Missing);
    let ten = NumberRequirement { baseline: Some(Baseline::HigherBy(Finite::new(10.0).unwrap())), ..plain.clone() };
    assert_eq!(judge(&ten, 110.0, Some(&base(100.0))), Standing::Met);
    assert_eq!(judge(&ten, 110.1, Some(&base(100.0))), Standing::Bad);
    assert_eq!(judge(&ten, 251.0, Some(&base(300.0))), Standing::Bad, "its own bound holds as well");
    assert_eq!(judge(&ten, 0.1, Some(&base(0.0))), Standing::Bad);
    assert_eq!(judge(&ten, 1.0, None), Standing::Missing);
    let lower =
        NumberRequirement { most: None, baseline: Some(Baseline::LowerBy(Finite::new(10.0).unwrap())), ..plain };
    assert_eq!(
        (judge(&lower, 90.0, Some(&base(100.0))), judge(&lower, 89.0, Some(&base(100.0)))),
        (Standing::Met, Standing::Bad)
    );
    assert_eq!(
        (judge(&lower, -11.0, Some(&base(-10.0))), judge(&lower, -11.1, Some(&base(-10.0)))),
        (Standing::Met, Standing::Bad)
    );
}

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
            vex: BTreeSet::new(),
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
            vex: BTreeSet::new(),
        };
        let before = requirement.judge(&index(), &pieces, &[], now()).verdict;
        let after = both.judge(&index(), &pieces, &[], now()).verdict;
        prop_assert!(before.standing() == Standing::Met || after.standing() != Standing::Met, "{before:?} {after:?}");
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
