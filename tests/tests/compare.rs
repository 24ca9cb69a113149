//! The scripts of docs/guide/compare, run: what the page says of promo is what promo does. Those about terraform are run by
//! whoever edits the page.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use promo_tests::binary::{command, promo, root};

/// The error codes and exit codes that a script shows, in order.
fn shown(script: &str) -> Vec<String> {
    let output = command(root().join("docs/guide/compare").join(script)).env("PROMO", promo()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let code = |line: &str| {
        let error = line.strip_prefix("error[").and_then(|rest| Some(rest.split_once(']')?.0.to_owned()));
        error.or_else(|| line.starts_with("exit ").then(|| line.to_owned()))
    };
    text.lines().filter_map(code).collect()
}

#[test]
fn s8_2_an_edited_plan_is_refused_as_the_page_says() {
    let expected = ["plan-edited", "exit 30", "plan-other-digest", "exit 30", "plan-unreadable", "exit 30"];
    assert_eq!(shown("promo-edited-plan.sh"), expected);
}

#[test]
fn s8_4_a_first_plan_is_applied_once_and_in_its_own_place_as_the_page_says() {
    let refused = ["plan-spent", "exit 22", "plan-elsewhere", "exit 65", "ledger-lost", "exit 30"];
    let expected: Vec<&str> = ["exit 0"].into_iter().chain(refused).chain(["plan-stale", "exit 22"]).collect();
    assert_eq!(shown("promo-first-plan.sh"), expected);
}

#[test]
fn s9_5_a_killed_run_is_resumed_as_the_page_says() {
    assert_eq!(shown("promo-kill.sh"), ["plan-spent"]);
}
