//! Bills, licences, tests, coverage and numbers, case by case.

use super::*;

pub(super) fn component(name: &str, licence: Stated) -> Component {
    let purl = Some(format!("pkg:{name}@1"));
    Component { name: name.into(), version: None, purl, concluded: licence, declared: Stated::Nothing }
}

pub(super) fn licence(id: &str) -> Expression {
    let (id, exception) = id.split_once(" WITH ").map_or((id, None), |(id, with)| (id, Some(with.to_string())));
    Expression::term(Term { id: id.into(), listed: true, or_later: false, exception })
}

pub(super) fn bill(of: &str, components: Vec<Component>) -> Piece {
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
    // Where that is taken it is said all the same, and of none that has one.
    let of = |components: Vec<Component>| {
        let Content::Read(report) = bill("image", components).content else { panic!("it is read") };
        told(&Requirement::Licences(LicenceRequirement::default()), &report)
    };
    let many: Vec<Component> = (0..770).map(|n| component(&format!("deb/{n}"), Stated::Nothing)).collect();
    assert_eq!(of(many), "770 components, 770 of 770 without a known licence");
    let some = vec![component("npm/a", unreadable()), component("npm/b", Stated::Expression(licence("MIT")))];
    assert_eq!(of(some), "2 components, 1 of 2 without a known licence");
    assert_eq!(of(vec![component("npm/b", Stated::Expression(licence("MIT")))]), "1 components");
    // One that is counted and not read.
    let mut spdx3 = bill("image", vec![]);
    report(&mut spdx3).bill = Some(Bill { count: 4, components: None });
    let verdict = LicenceRequirement::default().judge(&single(), &[spdx3]);
    assert_eq!(verdict.standing(), Standing::Unreadable);
}

pub(super) fn tests_of(name: Option<&str>, totals: Totals) -> Piece {
    let run = TestRun { counted: totals, ..TestRun::default() };
    let mut out =
        piece(&format!("{name:?}{totals:?}"), Report { tests: Some(run), ..Report::new(About::new(Kind::Junit)) });
    out.bound.insert(digest("image"));
    out.name = name.map(Into::into);
    out
}

pub(super) const fn totals(tests: u64, failures: u64, skipped: u64) -> Totals {
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
    // As policies write them.
    for id in ["GPL-3.0-only", "GPL-3.0-or-later", "GPL-3.0", "GPL-3.0-with-GCC-exception"] {
        for or_later in [false, true] {
            assert_eq!(stands(&[], &["GPL-3.0"], id, or_later), Standing::Bad, "{id}");
            assert_eq!(stands(&[], &["AGPL-3.0", "gpl-2.0", "LGPL-3.0"], id, or_later), Standing::Met, "{id}");
        }
    }
    assert_eq!(stands(&[], &["AGPL-3.0"], "AGPL-3.0-or-later", false), Standing::Bad);
    assert_eq!(stands(&[], &["GFDL-1.3"], "GFDL-1.3-invariants-only", false), Standing::Bad);
    assert_eq!(stands(&[], &["GPL-3.0+"], "GPL-3.0-or-later", true), Standing::Bad);
    assert_eq!(stands(&[], &["GPL-3.0+"], "GPL-3.0-only", false), Standing::Met);
    for (allowed, id, or_later, expected) in [
        ("GPL-3.0", "GPL-3.0-only", false, Standing::Met),
        ("GPL-3.0", "GPL-3.0", false, Standing::Met),
        ("GPL-3.0", "GPL-3.0-or-later", false, Standing::Bad),
        ("GPL-3.0", "GPL-3.0", true, Standing::Bad),
        ("GPL-3.0+", "GPL-3.0-or-later", true, Standing::Met),
        ("GPL-3.0+", "GPL-3.0-only", false, Standing::Bad),
        ("GPL-CC-1.0", "GPL-CC-1.0", false, Standing::Met),
        ("Apache-2.0", "Apache-2.0", true, Standing::Met),
        ("GPL-2.0-with-classpath-exception", "GPL-2.0-with-classpath-exception", false, Standing::Met),
    ] {
        assert_eq!(stands(&[allowed], &[], id, or_later), expected, "{allowed} {id} {or_later}");
    }
}

#[test]
fn an_exception_of_spdx_only_permits_more_and_an_addition_of_ones_own_is_named_to_be_welcome() {
    let stands = |allow: &[&str], deny: &[&str], id: &str| {
        let set = |list: &[&str]| list.iter().map(|id| (*id).to_string()).collect();
        let piece = bill("image", vec![component("npm/a", Stated::Expression(licence(id)))]);
        let requirement = LicenceRequirement { allow: set(allow), deny: set(deny), ..LicenceRequirement::default() };
        requirement.judge(&single(), &[piece]).standing()
    };
    let (spdx, own) = ("GPL-2.0-only WITH Classpath-exception-2.0", "Apache-2.0 WITH AdditionRef-no-sale");
    assert_eq!(stands(&["GPL-2.0-only"], &[], spdx), Standing::Met);
    assert_eq!(stands(&["GPL-2.0"], &[], spdx), Standing::Met);
    assert_eq!(stands(&["GPL-2.0 WITH Classpath-exception-2.0"], &[], spdx), Standing::Met);
    assert_eq!(stands(&["GPL-2.0 WITH Classpath-exception-2.0"], &[], "GPL-2.0-only"), Standing::Bad);
    assert_eq!(stands(&[], &["GPL-2.0"], spdx), Standing::Bad, "what is denied is with an exception too");
    assert_eq!(stands(&[spdx], &["GPL-2.0-only"], spdx), Standing::Bad);
    assert_eq!(stands(&["Apache-2.0"], &[], own), Standing::Bad);
    assert_eq!(stands(&["Apache-2.0 WITH AdditionRef-*"], &[], own), Standing::Met);
    assert_eq!(stands(&[], &["Apache-2.0"], own), Standing::Bad);
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
    assert_eq!(p95.judge(&single(), &load, Compared::First, now()).standing(), Standing::Bad);
    report(&mut plain).numbers.as_mut().unwrap().list.clear();
    // A place without a number is no document of something else.
    let mut null = plain.clone();
    report(&mut null).numbers.as_mut().unwrap().unmeasured.insert("p95".into());
    let beside = [numbers("k6", 1.0, true), null];
    assert_eq!(p95.judge(&single(), &beside, Compared::First, now()).standing(), Standing::Unreadable);
    assert_eq!(
        p95.judge(&single(), &[numbers("k6", 1.0, true), plain.clone()], Compared::First, now()).standing(),
        Standing::Met
    );
    assert_eq!(p95.judge(&single(), &[plain], Compared::First, now()).standing(), Standing::Unreadable);
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

pub(super) fn numbers(name: &str, value: f64, kept: bool) -> Piece {
    let number = Number { name: "p95".into(), value: Finite::new(value).unwrap(), unit: None };
    let thresholds = vec![Threshold { metric: "p95".into(), bound: "p(95)<500".into(), kept }];
    let numbers = Numbers { list: vec![number], thresholds, ..Numbers::default() };
    let mut out = piece(name, Report { numbers: Some(numbers), ..Report::new(About::new(Kind::K6)) });
    out.bound.insert(digest("image"));
    out
}

#[test]
fn a_number_keeps_its_bounds_those_of_its_tool_and_those_that_another_release_gives() {
    let base = |value: f64| [numbers("base", value, true)];
    let judge = |requirement: &NumberRequirement, value: f64, baseline: Option<&[Piece]>| {
        let subject = single();
        let baseline = baseline.map_or(Compared::Unknown, |pieces| Compared::With(&subject, pieces));
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
    assert_eq!(plain.judge(&single(), &[numbers("a", 1.0, false)], Compared::First, now()).standing(), Standing::Bad);
    assert_eq!(plain.judge(&single(), &[], Compared::First, now()).standing(), Standing::Missing);
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
