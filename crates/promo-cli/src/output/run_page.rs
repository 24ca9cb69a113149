//! A run that is over or interrupted, drawn from the ledger: as text, and as Markdown.

use crate::escape::{code_span, line, markdown};
use crate::output::labels::{Label, label};
use crate::output::plan_text::{Options, short_state};
use crate::output::{endings, standing as words, time};
use crate::view::run::more;
use crate::view::standing::OpenRunView;
use crate::view::{RunRow, RunStep, RunView};

/// For a terminal. The last line is the next command.
pub(crate) fn text(view: &RunView, options: &Options) -> String {
    let mut out = format!("{} · {}\n", label(Label::Strong, &format!("promo run {}", view.run)), head(view, options));
    out.push_str(&format!("{}\n", label(Label::Dim, &format!("plan {}", view.plan))));
    out.extend(authority(view, options).iter().map(|line| format!("  {line}\n")));
    out.push('\n');
    if let Some(open) = &view.open {
        out.push_str(&format!("{}\n\n", words::run(open, view.now)));
    }
    let width = view.environments.iter().map(|r| r.environment.as_str().len()).max().unwrap_or(0);
    for row in &view.environments {
        let (words, kind) = ended(view, row);
        let name = label(Label::Strong, &format!("{:<width$}", row.environment));
        out.push_str(&format!("  {name}  {}   {}{}\n", line(&moved(row)), label(kind, words), took(row, options)));
        for (kind, sign, words) in facts(row) {
            out.push_str(&format!("  {:width$}  {} {}\n", "", label(kind, sign), line(&words)));
        }
    }
    if !view.next.is_empty() {
        out.push_str(&format!("\n{} {}\n", label(Label::Next, "Next:"), view.next));
    }
    out
}

/// For a comment on a pull request.
pub(crate) fn page(view: &RunView, options: &Options) -> String {
    let mut out = format!("### promo run {}\n\n{}\n\n", code_span(view.run.as_str()), markdown(&head(view, options)));
    out.push_str("| environment | release | state |\n|---|---|---|\n");
    for row in &view.environments {
        out.push_str(&format!(
            "| {} | {} | {} |\n",
            code_span(row.environment.as_str()),
            code_span(&moved(row)),
            markdown(&format!("{}{}", ended(view, row).0, took(row, options)))
        ));
    }
    out.push('\n');
    for row in &view.environments {
        for (_, sign, words) in facts(row) {
            out.push_str(&format!("- {}: {sign} {}\n", code_span(row.environment.as_str()), markdown(&words)));
        }
    }
    out.push_str(&format!("\nPlan {}\n\n", code_span(&view.plan.to_string())));
    for line in authority(view, options) {
        out.push_str(&format!("- {}\n", markdown(&anstream::adapter::strip_str(&line).to_string())));
    }
    if let Some(open) = &view.open {
        out.push_str(&format!(
            "\n{}\n",
            markdown(&anstream::adapter::strip_str(&words::run(open, view.now)).to_string())
        ));
    }
    if !view.next.is_empty() {
        out.push_str(&format!("\n```sh\n{}\n```\n", view.next));
    }
    out
}

/// Who asked for the plan of the run and who let it in.
fn authority(view: &RunView, options: &Options) -> Vec<String> {
    match &view.authority {
        Some(told) => words::authority(told, &options.zone),
        None => vec!["nobody asked for its approval, and nobody gave one".to_owned()],
    }
}

fn head(view: &RunView, options: &Options) -> String {
    let outcome = match view.outcome {
        Some(outcome) => endings::run(outcome, view.environments.iter().any(|row| row.drill.is_some())).0,
        None => endings::open(view.open.as_ref().map(OpenRunView::stands)).0,
    };
    let after = view.finished.map(|at| format!(" · took {}", time::ago(view.started, at))).unwrap_or_default();
    let (began, applier) = (time::long(view.started, &options.zone), words::applied_by(&view.applier, &view.signed_by));
    format!("{began} · applied by {applier} · {outcome}{after}")
}

fn moved(row: &RunRow) -> String {
    let to = row.release.text();
    match &row.from {
        _ if row.drill.is_some() => {
            let back = row.drill.as_ref().map(|drill| drill.back.text()).unwrap_or_default();
            format!("{to} → {back} → {to}")
        }
        Some(from) if *from != row.release => format!("{} → {}", from.text(), row.release.text()),
        _ if row.configuration.is_some() => {
            format!("{to} with {}", endings::another(row.configuration.as_deref().unwrap_or_default()))
        }
        _ => row.release.text(),
    }
}

fn ended(view: &RunView, row: &RunRow) -> (&'static str, Label) {
    match (row.outcome, row.started) {
        (Some(outcome), _) if row.drill.is_some() => {
            let passed = row.drill.as_ref().and_then(|drill| drill.turned.map(|_| drill.milliseconds.is_some()));
            endings::drill(outcome, view.outcome, passed)
        }
        (Some(outcome), _) => {
            let went_back = row.steps.iter().any(|step| endings::is_way_back(&step.id, &row.environment));
            endings::promotion(outcome, view.outcome, went_back, row.open)
        }
        (None, Some(_)) => endings::open(view.open.as_ref().map(OpenRunView::stands)),
        (None, None) if view.outcome.is_some() => ("was not started", Label::Waiting),
        (None, None) => ("has not begun", Label::Waiting),
    }
}

fn took(row: &RunRow, options: &Options) -> String {
    match (row.started, row.finished) {
        (Some(started), Some(finished)) => {
            format!(", {}, took {}", time::short(finished, &options.zone), time::ago(started, finished))
        }
        (Some(started), None) => format!(", since {}", time::short(started, &options.zone)),
        _ => String::new(),
    }
}

/// What is known of the steps and the checks, in words with a sign.
fn facts(row: &RunRow) -> Vec<(Label, &'static str, String)> {
    let step = |step: &RunStep| match step.done() {
        Some(true) => (Label::Good, "✓", format!("{}: {}", step.id, short_state(&step.desired))),
        Some(false) => {
            let seen = step.observed.as_deref().map(short_state).unwrap_or_default();
            let why = step.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            (Label::Bad, "✗", format!("{}: {seen}, not {}{why}", step.id, short_state(&step.desired)))
        }
        None => (Label::Waiting, "…", format!("{}: began, and was never seen to end", step.id)),
    };
    let checks = row.checks.iter().map(|check| {
        let (kind, sign) = if check.passed { (Label::Good, "✓") } else { (Label::Bad, "✗") };
        let of = if check.release.as_str() == row.release.id { "" } else { ", of what it went back to" };
        let detail = check.detail.as_deref().unwrap_or(if check.passed { "passed" } else { "failed" });
        (kind, sign, format!("{}{of}: {detail}", check.check))
    });
    // What stands with a step or a check is not told once more.
    let mut told: Vec<String> = row.steps.iter().filter_map(|step| step.why.clone()).collect();
    let failed = row.checks.iter().filter(|check| !check.passed && check.release.as_str() == row.release.id);
    told.extend(failed.filter_map(|check| Some(format!("{} failed: {}", check.check, check.detail.as_ref()?))));
    let why = row.why.iter().filter_map(|why| more(why, &told)).map(|why| (Label::Bad, "✗", why));
    let drill = row.drill.iter().filter_map(|drill| match (drill.took(), drill.turned, &drill.why) {
        (Some(took), ..) => Some((Label::Good, "✓", format!("went back to {} in {took}", drill.back.text()))),
        (None, Some(_), why) => {
            let why = why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            Some((Label::Bad, "✗", format!("could not go back to {}{why}", drill.back.text())))
        }
        (None, None, _) => None,
    });
    row.steps.iter().map(step).chain(checks).chain(drill).chain(why).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use promo_core::Digest;
    use promo_core::ledger::event::{Movement, PromotionOutcome, RunOutcome};
    use promo_core::ledger::view::{EnvironmentView, Promotion, Run, Said, StepView, VerdictEntry};
    use promo_core::ledger::{Actor, ActorKind, View};
    use promo_core::state::State;

    use super::*;
    use crate::error::tests::assert_parses;
    use crate::output::goldens::options;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// A run that failed in staging with a hostile detail, and did not come to production.
    fn failed() -> RunView {
        let (old, new): (promo_core::ids::ReleaseId, promo_core::ids::ReleaseId) =
            ("r-111111111111".parse().unwrap(), "r-222222222222".parse().unwrap());
        let state = |text: &str| State::Present(Digest::of(text.as_bytes()));
        let (expected, desired) = (state("old"), state("new"));
        let step = |observed| StepView { expected, desired, intended: 1, epoch: 1, observed, told: None };
        let steps = [
            ("staging/copy/api", step(Some(state("new")))),
            ("staging/deploy/default", step(Some(state("other")))),
            ("staging/rollback/deploy/default", step(None)),
        ];
        let run = Run {
            plan: Digest::of(b"plan"),
            environments: ["production", "staging"].map(|name| (name.parse().unwrap(), new.clone())).into(),
            applier: "ci\u{202e} @everyone".into(),
            started: at("2026-11-20T13:02:00Z"),
            seen: at("2026-11-20T13:07:30Z"),
            approvals: Vec::new(),
            steps: steps.map(|(id, step)| (id.to_owned(), step)).into(),
            interrupted: false,
            finished: Some((at("2026-11-20T13:07:30Z"), RunOutcome::RolledBack)),
        };
        let id: promo_core::ids::RunId = "a".repeat(32).parse().unwrap();
        let promotion = Promotion {
            run: id.clone(),
            from: Some(old.clone()),
            to: new.clone(),
            movement: Movement::Promotion,
            started: at("2026-11-20T13:02:10Z"),
            waves: Vec::new(),
            deployed: true,
            finished: Some((at("2026-11-20T13:07:20Z"), PromotionOutcome::RolledBack)),
            told: None,
            drill: None,
            configuration: None,
            by: Actor { name: "ci".into(), kind: ActorKind::Automation },
            plan: None,
        };
        let verdict = |seq, said| VerdictEntry {
            seq,
            at: at("2026-11-20T13:05:00Z"),
            said,
            residence: 1,
            by: None,
            unanswered: false,
            run: Some(id.clone()),
        };
        let check = |entry| BTreeMap::from([("smoke".parse().unwrap(), vec![entry])]);
        let verdicts = [(old, check(verdict(9, Said::Passed))), (new, check(verdict(5, Said::Failed)))];
        let staging = EnvironmentView { verdicts: verdicts.into(), history: vec![promotion], ..Default::default() };
        let mut view = View::default();
        view.environments.insert("staging".parse().unwrap(), staging);
        let beside = [(9, "fine"), (5, "\u{1b}[2J<script> | #7 @dana\n✓ forged")];
        let detail = |seq| beside.iter().find(|(at, _)| *at == seq).map(|(_, detail)| (*detail).to_owned());
        RunView::new(&view, &id, &run).seen(|seq| Ok::<_, std::convert::Infallible>(detail(seq))).unwrap()
    }

    #[test]
    fn a_run_that_failed_says_where_and_why_and_nothing_in_it_moves_the_cursor_s13_3() {
        let view = failed();
        assert_parses(&view.next);
        let (text, page) =
            (anstream::adapter::strip_str(&text(&view, &options())).to_string(), page(&view, &options()));
        for rendered in [&text, &page] {
            assert!(rendered.chars().all(|c| c == '\n' || !(c.is_control() || c == '\u{202e}')), "{rendered}");
        }
        assert!(!page.contains("<script>") && !page.contains("@dana") && !page.contains("#7"), "{page}");
        insta::assert_snapshot!("run.txt", text);
        insta::assert_snapshot!("run.md", page);
    }
}
