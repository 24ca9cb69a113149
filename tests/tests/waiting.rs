//! `promo apply --wait`, as a process: what happens during the wait counts, up to its end (S9.4).

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;

use promo_tests::cells::{Cells, Host, Scenario};

const PROGRAM: &str = env!("CARGO_BIN_EXE_promo-faults");
const UNFREEZE: [&str; 8] =
    ["unfreeze", "stage", "--reason", "it is over", "--key", "../../riley", "--signer", "built-in"];
const APPROVE: [&str; 6] = ["approve", "plan.json", "--key", "../../riley", "--signer", "built-in"];

fn works(cells: &Cells, host: Host, words: &[&str]) {
    let end = cells.run(host, None, words);
    assert_eq!(end.code, Some(0), "{words:?}: {}", end.said);
}

fn riley(cells: &Cells, words: &[&str]) {
    works(cells, Host::Two, words);
}

/// Waits on stage, which is frozen, with a plan that nobody approved; `meanwhile` happens once it is known to wait.
fn applied(meanwhile: impl FnOnce(&Cells)) -> (Option<i32>, String) {
    let cells = Cells::new(PROGRAM, Scenario::Gate);
    cells.reset();
    works(&cells, Host::One, &["--as", "dana", "plan", "stage", "--out", "plan.json"]);
    works(&cells, Host::One, &["--as", "dana", "request", "plan.json", "--key", "../../dana", "--signer", "built-in"]);
    std::fs::copy(cells.path("world/one/plan.json"), cells.path("world/two/plan.json")).unwrap();
    riley(&cells, &["freeze", "stage", "--reason", "the fair is on"]);
    let mut waiting = cells.command(Host::One, None, &["apply", "plan.json", "--wait", "5s"]);
    let mut waiting = waiting.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(waiting.stderr.take().unwrap());
    let mut said = String::new();
    lines.read_line(&mut said).unwrap();
    assert!(said.starts_with("waiting, stage cannot take"), "{said}");
    assert!(said.contains("frozen by riley") && said.contains("approval 0 of 1"), "{said}");
    meanwhile(&cells);
    lines.read_to_string(&mut said).unwrap();
    (waiting.wait().unwrap().code(), said)
}

#[test]
fn an_approval_that_is_put_beside_the_plan_during_the_wait_counts_s9_4() {
    let (code, said) = applied(|cells| {
        riley(cells, &UNFREEZE);
        let beside = cells.path("world/one/plan.riley.approval.json");
        riley(cells, &[&APPROVE[..], &["--out", beside.to_str().unwrap()]].concat());
    });
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_wait_that_was_for_nothing_ends_with_what_is_still_closed_s9_4() {
    let (code, said) = applied(|cells| riley(cells, &UNFREEZE));
    assert_eq!(code, Some(20), "{said}");
    assert!(said.contains("error[waiting]") && said.contains("approval 0 of 1"), "{said}");
    assert_eq!(said.matches("waiting, ").count(), 1, "it is said again when it changed and not otherwise: {said}");
}

#[test]
fn rules_that_change_during_the_wait_count_as_they_are_then_s6_6() {
    let (code, said) = applied(|cells| {
        riley(cells, &UNFREEZE);
        let beside = cells.path("world/one/plan.riley.approval.json");
        riley(cells, &[&APPROVE[..], &["--out", beside.to_str().unwrap()]].concat());
        let policy = cells.path("world/one/policy.toml");
        let text = std::fs::read_to_string(&policy).unwrap();
        std::fs::write(policy, text.replace("version = 1", "version = 2\nexpires = \"2020-01-01\"")).unwrap();
    });
    assert_eq!(code, Some(65), "{said}");
    assert!(said.contains("error[policy-expired]"), "{said}");
}
