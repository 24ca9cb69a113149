//! The built binary from outside: the table of verb by outcome of S14, and what verbs promise beside their exit codes. Every
//! run is judged by `outcomes`. Most happen in a copy of what `promo quickstart` leaves behind, so each of them starts from a
//! ledger with a history.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod answers;
mod applying;
mod approving;
mod authority;
mod by_hand;
mod changes;
mod circles;
mod configurations;
mod corpus;
mod drift;
mod drills;
mod ends;
mod everywhere;
mod evidence;
mod fixture;
mod frozen;
mod growth;
mod half_way;
mod held;
mod newer;
mod newest;
mod outcomes;
mod output;
mod passages;
mod reading;
mod rejected;
mod releases;
mod rules;
mod samples;
mod schemas;
mod screens;
mod servers;
mod setup;
mod signatures;
mod sources;
mod suggestions;
mod telling;
mod unfinished;
mod unseen;
mod waves;
mod ways_on;
mod words;

/// One test for each line: it tells the story, and then its runs must have reached every cell that the page documents for
/// these verbs, beside those that `everywhere` reaches.
macro_rules! rows {
    ($($test:ident: [$($verb:literal),+] by $story:path;)+) => {
        $(
            #[test]
            fn $test() {
                $story();
                outcomes::reached(&[$($verb),+]);
            }
        )+

        /// The verbs of each row test.
        const COVERED: &[&[&str]] = &[$(&[$($verb),+]),+];
    };
}

rows! {
    every_outcome_of_what_begins_a_project_s14: ["quickstart", "init", "fmt", "check", "doctor"] by setup::row;
    every_outcome_of_what_only_reads_s14: [
        "show", "graph", "release list", "release show", "runs", "status", "why", "history", "ledger verify", "ledger checkpoint",
        "explain", "schema", "completions"
    ] by reading::row;
    every_outcome_of_drift_s14: ["drift", "diff", "adopt"] by drift::row;
    every_outcome_of_plan_and_rollback_s14: ["plan", "rollback"] by changes::row_of_plans;
    every_outcome_of_apply_s14: ["apply"] by changes::row_of_apply;
    every_outcome_of_advance_s14: ["advance"] by changes::row_of_advance;
    every_outcome_of_what_people_sign_s14: ["request", "approve", "verdict"] by approving::row;
    every_outcome_of_releases_and_freezes_s14: [
        "release add", "release authors", "release reject", "release recall", "release lift", "freeze", "unfreeze"
    ] by releases::row;
    every_outcome_of_evidence_s14: ["evidence add", "evidence collect", "evidence withdraw"] by evidence::row;
    every_outcome_of_accept_clock_s14: ["ledger accept-clock"] by rules::row_of_accept_clock;
    every_outcome_of_verify_s14: ["verify"] by releases::row_of_verify;
    every_outcome_of_resume_and_cancel_s14: ["resume", "cancel"] by unfinished::row;
}
