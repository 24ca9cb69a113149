//! What is required of evidence, case by case; and that neither more required nor more found ever lets more through.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use alloc::{format, vec};

use base64ct::Encoding as _;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

mod counted;
mod metadata;
mod named;
mod parts;
mod properties;
mod signed;
mod source;
mod stated;
mod term;

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
    Subject { digest: digest("index"), nature: None, platforms: BTreeMap::from(platforms) }
}

fn single() -> Subject {
    Subject::single(digest("image"), Some(digest("config")))
}

fn piece(name: &str, report: Report) -> Piece {
    Piece {
        document: digest(name),
        stated: digest(name),
        origin: Origin::Registry { at: ago(3600) },
        name: None,
        bound: BTreeSet::new(),
        signed: Signed::default(),
        content: Content::Read(Arc::new(report)),
    }
}

fn report(piece: &mut Piece) -> &mut Report {
    match &mut piece.content {
        Content::Read(report) => Arc::make_mut(report),
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
fn a_document_that_names_only_the_index_tells_of_one_platform_and_of_none_where_several_are_said() {
    let brought = |names: &str, of: &[&str]| {
        let mut piece = scan(names, names, "trivy", vec![]);
        piece.bound = of.iter().map(|of| digest(of)).collect();
        piece
    };
    let missing = |pieces: &[Piece]| judged(&index(), pieces).verdict.standing() == Standing::Missing;
    // For both at once, and for one after the other.
    assert!(missing(&[brought("index", &["amd64", "arm64"])]));
    assert!(missing(&[brought("index", &["amd64"]), brought("index", &["arm64"])]));
    let lacks = judged(&index(), &[brought("index", &["amd64"])]).verdict.faults;
    assert_eq!(lacks, [Fault::Nothing { from: None, platform: Some(digest("arm64")) }]);
    // One that names nothing speaks of what somebody answers for.
    let mut nameless = brought("index", &["amd64", "arm64"]);
    report(&mut nameless).about.bound.clear();
    assert!(!missing(&[nameless]));
    let other = Piece { document: digest("another"), ..brought("index", &["arm64"]) };
    assert!(!missing(&[brought("index", &["amd64"]), other]));
}

#[test]
fn fifty_thousand_findings_are_told_one_by_one_and_each_once() {
    let list: Vec<Finding> = (0..50_000).map(|n| critical(&format!("CVE-{n}"))).collect();
    let twice = [scan("image", "image", "trivy", list.clone()), scan("image", "image", "trivy", list)];
    assert_eq!(judged(&single(), &twice).verdict.faults.len(), 50_000);
}

#[test]
fn every_scanner_that_is_required_must_have_looked_and_what_any_other_found_counts() {
    let both =
        ScanRequirement { scanners: BTreeSet::from(["trivy".into(), "grype".into()]), ..ScanRequirement::default() };
    let judge = |pieces: &[Piece]| both.judge(&single(), pieces, &[], now()).verdict;
    let (trivy, grype) = (scan("a", "image", "trivy", vec![]), scan("b", "image", "grype", vec![]));
    assert_eq!(judge(&[trivy.clone(), grype.clone()]).standing(), Standing::Met);
    let missing = Fault::Nothing { from: Some("grype".into()), platform: None };
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
    // A database of the future would never be too old, and is a fault also where nobody asks for its age.
    assert_eq!(with(Some(ago(0)), ahead(30)).standing(), Standing::Met);
    assert_eq!(with(Some(ago(0)), ahead(31)).standing(), Standing::Unreadable);
    let mut newer = scan("b", "image", "trivy", vec![]);
    report(&mut newer).about.database = ahead(31);
    let mut bad = scan("a", "image", "trivy", vec![critical("CVE-1")]);
    report(&mut bad).about.made = Some(ago(7200));
    let judged = judged(&single(), &[bad, newer]).verdict;
    assert_eq!(judged.standing(), Standing::Bad, "it replaces nothing");
    assert!(judged.faults.iter().any(|fault| matches!(fault, Fault::FromTheFuture { .. })), "{judged:?}");
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
    let others = |severity| Finding { worst: Some(Level::Critical), ..finding("CVE-1", severity) };
    for severity in [Severity::Level(Level::Low), Severity::NotSaid] {
        assert_eq!(level(others(severity.clone())).verdict.standing(), Standing::Met, "as the scanner says");
        let scan = scan("a", "image", "trivy", vec![others(severity)]);
        assert_eq!(highest.judge(&single(), &[scan], &[], now()).verdict.standing(), Standing::Bad);
    }
    let scan = scan("a", "image", "trivy", vec![scored(Severity::Level(Level::Low), 9.8)]);
    assert_eq!(highest.judge(&single(), &[scan], &[], now()).verdict.standing(), Standing::Bad);
}

#[test]
fn only_cvss_says_how_bad_it_is_and_negligible_is_believed_of_nothing_that_cvss_calls_worse() {
    let judge = |requirement: &ScanRequirement, severity: Severity, scores: &[(&str, f64)]| {
        let score = |(method, value): &(&str, f64)| crate::evidence::Score {
            value: Finite::new(*value).unwrap(),
            method: (*method).into(),
            source: None,
        };
        let found = Finding { scores: scores.iter().map(score).collect(), ..finding("CVE-1", severity) };
        requirement.judge(&single(), &[scan("a", "image", "grype", vec![found])], &[], now())
    };
    let (default, negligible) = (ScanRequirement::default(), || Severity::Level(Level::Negligible));
    for (severity, scores, level, unknown) in [
        (Severity::NotSaid, &[("epss", 0.97)][..], Level::High, 1),
        (Severity::NotSaid, &[("OWASP", 1.0), ("other", 2.0)], Level::High, 1),
        (Severity::NotSaid, &[("CVSS:3", 0.0)], Level::High, 1),
        (Severity::NotSaid, &[("CVSS:3.1", 5.0), ("epss", 9.9)], Level::Medium, 0),
        (negligible(), &[("CVSS:3.1", 9.8)], Level::Critical, 0),
        (negligible(), &[("epss", 9.8)], Level::Negligible, 0),
        (negligible(), &[], Level::Negligible, 0),
        (Severity::Level(Level::Low), &[("CVSS:3.1", 9.8)], Level::Low, 0),
    ] {
        let judged = judge(&default, severity.clone(), scores);
        assert_eq!(
            (judged.counted, judged.unknown),
            (BTreeMap::from([(level, 1)]), unknown),
            "{severity:?} {scores:?}"
        );
    }
    let ignore =
        ScanRequirement { unknown_as: Level::None, deny: Some(Level::Negligible), ..ScanRequirement::default() };
    let ignored = judge(&ignore, Severity::NotSaid, &[]);
    assert_eq!((ignored.verdict.standing(), ignored.unknown), (Standing::Met, 1));
    let word = judge(&ignore, Severity::Word("spicy".into()), &[]);
    assert_eq!(word.verdict.standing(), Standing::Bad);
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
        let known: Vec<_> =
            judged.exceptions.iter().map(|(id, owner, until)| (id.as_str(), owner.as_str(), *until)).collect();
        assert_eq!(known, [("CVE-1", "ada", later)]);
    }
    for exception in [with("CVE-2", None, later), with("CVE-1", Some("pkg:npm/*"), later)] {
        assert_eq!(judge(&[exception]).verdict.standing(), Standing::Bad);
    }
    let some =
        ScanRequirement { deny: None, at_most: BTreeMap::from([(Level::High, 0)]), ..ScanRequirement::default() };
    let found: Vec<Finding> = (0..5).map(|n| critical(&format!("CVE-{n}"))).collect();
    let ended: Vec<Exception> = (1..5).map(|n| with(&format!("CVE-{n}"), None, now())).collect();
    let verdict = some.judge(&single(), &[scan("a", "image", "trivy", found)], &ended, now()).verdict;
    let [Fault::TooMany { found: 5, expired, .. }] = &verdict.faults[..] else { panic!("{verdict:?}") };
    assert_eq!((expired.len(), &expired[0]), (4, &("CVE-1".to_string(), now())));
    let words = verdict.faults[0].to_string();
    assert!(words.contains("the exception of CVE-1 ended 2026-11-22") && words.ends_with("as did 1 more"), "{words}");
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

/// A key of somebody of this name.
pub(super) fn key(name: &str) -> Signer {
    let start = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let der: Vec<u8> = start.into_iter().chain(*Digest::of(name.as_bytes()).as_bytes()).collect();
    let body = base64ct::Base64::encode_string(&der);
    PublicKey::of_pem(&format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n")).unwrap().into()
}

pub(super) fn signers(names: &[&str]) -> Signers {
    names.iter().map(|name| (name.parse().unwrap(), key(name))).collect()
}

/// Whether a critical finding is let through beside these statements, signed so.
fn cleared(statements: Vec<Statement>, signed: &[&str]) -> bool {
    let mut vex = piece("vex", Report { statements: Some(statements), ..Report::new(About::new(Kind::OpenVex)) });
    vex.signed.by = signed.iter().map(|name| key(name)).collect();
    let believed = ScanRequirement { vex: signers(&["security"]), ..ScanRequirement::default() };
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

#[test]
fn a_statement_of_the_future_clears_nothing_and_is_a_fault_where_it_would() {
    let ahead = |seconds| Some(now() + SignedDuration::from_secs(seconds));
    let judge = |statements: Vec<Statement>, found: Vec<Finding>| {
        let mut vex = piece("vex", Report { statements: Some(statements), ..Report::new(About::new(Kind::OpenVex)) });
        vex.signed.by.insert(key("security"));
        let believed = ScanRequirement { vex: signers(&["security"]), ..ScanRequirement::default() };
        believed.judge(&single(), &[scan("a", "image", "trivy", found), vex], &[], now()).verdict
    };
    let clear = |at| statement("CVE-1", Status::NotAffected, at);
    let affected = |at| statement("CVE-1", Status::Affected, at);
    let ones = || vec![critical("CVE-1")];
    let is_told = |verdict: &Verdict| verdict.faults.iter().any(|one| matches!(one, Fault::FromTheFuture { .. }));
    assert_eq!(judge(vec![clear(ahead(30))], ones()).standing(), Standing::Met);
    for statements in [vec![clear(ahead(31))], vec![affected(Some(ago(9))), clear(ahead(31))]] {
        let verdict = judge(statements, ones());
        assert!(verdict.standing() == Standing::Bad && is_told(&verdict), "{verdict:?}");
    }
    // Beside one that holds it changes nothing but that it is told, and so one that takes nothing away.
    let verdict = judge(vec![clear(Some(ago(9))), clear(ahead(31))], ones());
    assert!(verdict.standing() == Standing::Unreadable && is_told(&verdict), "{verdict:?}");
    let verdict = judge(vec![clear(Some(ago(9))), affected(ahead(31))], ones());
    assert_eq!(verdict.standing(), Standing::Bad);
    // What clears nothing here is no matter of this gate.
    assert_eq!(judge(vec![clear(ahead(31))], vec![]).standing(), Standing::Met);
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
    let nowhere = Subject { digest: digest("index"), nature: None, platforms: BTreeMap::new() };
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
        vex.signed.by.insert(key("security"));
        let believed = ScanRequirement { vex: signers(&["security"]), ..ScanRequirement::default() };
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
    let believed = ScanRequirement { vex: signers(&["security"]), ..ScanRequirement::default() };
    let judge =
        |vex: &Piece| believed.judge(&single(), &[scan("a", "image", "trivy", vec![]), vex.clone()], &[], now());
    assert_eq!(judge(&vex).verdict.standing(), Standing::Met);
    vex.signed.by.insert(key("security"));
    assert_eq!(judge(&vex).verdict.standing(), Standing::Unreadable);
}
