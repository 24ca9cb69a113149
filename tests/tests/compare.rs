//! The scripts of docs/guide/compare, run: what docs/guide/why-a-plan.md says of promo is what promo does, and what it says of
//! terraform is what terraform does.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::path::Path;

use promo_tests::binary::{command, promo, root};

/// What a script says; `program` is found in `variable`.
fn said(script: &str, variable: &str, program: &Path) -> String {
    let output = command(root().join("docs/guide/compare").join(script)).env(variable, program).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    text
}

/// The error codes and exit codes that a script shows, in order.
fn shown(script: &str) -> Vec<String> {
    let text = said(script, "PROMO", &promo());
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

/// The other side of the page. All of it is at home in terraform: it downloads no provider.
mod needs_terraform {
    use super::{Path, said};

    fn terraform(script: &str) -> String {
        said(script, "TERRAFORM", Path::new(&std::env::var_os("PROMO_COMPONENT_TERRAFORM").unwrap()))
    }

    /// How the applies of a script ended, in order.
    fn ends(text: &str) -> Vec<&str> {
        text.lines().filter(|line| line.contains("Apply complete!") || line.contains("Error")).collect()
    }

    /// The number after `before`.
    fn number(text: &str, before: &str) -> u32 {
        let (_, after) = text.split_once(before).unwrap_or_else(|| panic!("no {before:?}: {text}"));
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap()
    }

    #[test]
    fn terraform_applies_an_edited_plan_as_the_page_says() {
        let text = terraform("terraform-edited-plan.sh");
        assert!(text.contains("+ input  = \"1.0.0\""), "what was reviewed: {text}");
        assert_eq!(ends(&text), ["Apply complete! Resources: 1 added, 0 changed, 0 destroyed."], "{text}");
        let (_, state) = text.split_once("# terraform_data.production:").unwrap();
        assert!(state.contains("input  = \"6.6.6\"") && !state.contains("1.0.0"), "what is there: {text}");
    }

    #[test]
    fn terraform_forgets_what_it_made_when_it_is_killed_and_makes_it_again_as_the_page_says() {
        let text = terraform("terraform-kill.sh");
        assert!(text.contains("left terraform.tfstate with 0 bytes"), "{text}");
        let made = number(&text, "made before the kill: ");
        assert!((1..=200).contains(&made), "{text}");
        assert!(text.contains("$ terraform state list | wc -l\n0\n"), "{text}");
        assert_eq!(ends(&text), ["Apply complete! Resources: 200 added, 0 changed, 0 destroyed."], "{text}");
        // What the killed apply had started may have ended after it was counted.
        let twice = number(&text, "made twice: ");
        assert!(twice >= made, "{text}");
        assert_eq!(number(&text, "made in all: "), 200 + twice, "{text}");
    }

    #[test]
    fn terraform_applies_a_first_plan_wherever_there_is_no_state_as_the_page_says() {
        let complete = "Apply complete! Resources: 1 added, 0 changed, 0 destroyed.";
        let text = terraform("terraform-first-plan.sh");
        assert_eq!(ends(&text), [complete, "Error: Saved plan is stale", complete, complete], "{text}");
    }
}
