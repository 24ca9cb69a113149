//! The cells of the table in docs/reference/exit-codes.md that no built-in provider leads to (`◦`), reached with a provider
//! whose effects nobody can observe. The other ones are reached by the product: crates/promo-cli/tests/verbs.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::collections::BTreeSet;

use promo_ledger::Store as _;
use promo_tests::binary;
use promo_tests::cells::{Cells, Fault, Host, Scenario};
use promo_tests::faults::{Entry, Point};

const PROGRAM: &str = env!("CARGO_BIN_EXE_promo-faults");

/// The cells of the page with this mark: verb and exit code.
fn marked() -> BTreeSet<(String, i32)> {
    let page = std::fs::read_to_string(binary::root().join("docs/reference/exit-codes.md")).unwrap();
    let mut lines = page.lines().skip_while(|line| !line.starts_with("| verb | 0 |"));
    let split =
        |line: &str| -> Vec<String> { line.trim_matches('|').split('|').map(|c| c.trim().to_owned()).collect() };
    let head = split(lines.next().expect("the page has the table"));
    let rows = lines.skip(1).take_while(|line| line.starts_with('|')).map(split);
    let of_row = |row: Vec<String>| {
        let verb = row[0].trim_matches('`').to_owned();
        let marked = head.iter().zip(&row).filter(|(_, mark)| *mark == "◦");
        let codes: Vec<i32> = marked.map(|(code, _)| code.parse().expect("a column is a code")).collect();
        codes.into_iter().map(move |code| (verb.clone(), code))
    };
    rows.flat_map(of_row).collect()
}

/// The fault by which nobody sees what a step has done: looking fails, for the first time after the step acted.
fn blind(cells: &Cells, words: &[&str], step: &str) -> Fault {
    cells.reset();
    let clean = cells.run(Host::One, None, words);
    assert!(clean.code.is_some(), "{}", clean.said);
    let environment = step.split('/').next().unwrap();
    let point = |name: &str, about: &str| Entry::Passed(Point { name: name.into(), about: about.into() });
    let (acted, looks) = (point("ensure after", step), point("observe", environment));
    let journal = cells.journal();
    let before = journal.iter().take_while(|entry| **entry != acted).filter(|entry| **entry == looks).count();
    Fault { point: Point { name: "observe".into(), about: environment.into() }, mode: "error", count: before + 1 }
}

#[test]
fn every_outcome_that_needs_a_provider_of_ones_own_is_reached_by_one_s14() {
    let mut reached = BTreeSet::new();
    let mut stuck = |cells: &Cells, fault: Option<&Fault>, words: &[&str]| {
        let end = cells.run(Host::One, fault, words);
        assert_eq!(end.code, Some(50), "{words:?}: {}", end.said);
        reached.insert((words[0].to_owned(), 50));
    };
    let gate = Cells::with(PROGRAM, Scenario::Gate, Some("directory"));
    let apply = ["apply", "plan.json"];
    let fault = blind(&gate, &apply, "stage/deploy/default");
    gate.reset();
    stuck(&gate, Some(&fault), &apply);

    let killed = "append after step.intent of stage/deploy/default:kill:1".parse().unwrap();
    gate.reset();
    assert_eq!(gate.run(Host::One, Some(&killed), &apply).code, None);
    let view = promo_core::ledger::fold(&gate.ledger().records(0, usize::MAX).unwrap()).unwrap();
    let (run, _) = view.runs.iter().find(|(_, run)| run.finished.is_none()).expect("an unfinished run");
    stuck(&gate, None, &["resume", run.as_str()]);

    let fork = Cells::with(PROGRAM, Scenario::Fork, Some("directory"));
    let fault = blind(&fork, &["advance"], "dev/deploy/default");
    fork.reset();
    stuck(&fork, Some(&fault), &["advance"]);
    assert_eq!(reached, marked(), "the cells that docs/reference/exit-codes.md marks with ◦");
}
