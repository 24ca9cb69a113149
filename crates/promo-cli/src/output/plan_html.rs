//! A plan as one page of HTML, to be kept or printed: the matrix first, then reasons, then the differences, and at the end
//! digest, expiry and the next command. The page loads nothing and runs nothing. Whatever it shows goes through
//! [`escape::html()`], because the template's formatter does nothing else; only this module's own words are markup.

use minijinja::Environment;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use promo_core::gate::Outcome;
use promo_core::inputs::FileChange;
use serde::Serialize;

use crate::escape;
use crate::output::plan_markdown::{artifact_columns, digests, sign};
use crate::output::plan_text::{self, FORECAST, Options, deadlines, gate, other_images, requested, waves, way_back};
use crate::output::{diff, standing as words, time};
use crate::view::{PlanView, ReleaseView, Row};

/// The page. What stands in it beside placeholders is promo's own.
const TEMPLATE: &str = include_str!("plan.html");

/// What the template is given.
#[derive(Serialize)]
struct Page<'a> {
    plan: &'a PlanView,
    forecast: Option<(String, Vec<String>)>,
    planned_at: String,
    standing: Vec<String>,
    deadlines: Vec<String>,
    columns: Vec<&'a str>,
    rows: Vec<RowPage<'a>>,
    shortened: bool,
}

#[derive(Serialize)]
struct RowPage<'a> {
    row: &'a Row,
    standing: Vec<String>,
    sign: &'static str,
    from: Option<String>,
    takes_over: bool,
    to: Option<String>,
    opens: Option<String>,
    cells: Vec<String>,
    gates: Vec<GatePage>,
    drift: Vec<String>,
    waves: Option<String>,
    way_back: Option<String>,
    changes: Vec<ChangePage<'a>>,
}

#[derive(Serialize)]
struct GatePage {
    class: &'static str,
    sign: &'static str,
    word: &'static str,
    text: String,
}

#[derive(Serialize)]
struct ChangePage<'a> {
    provider: &'a str,
    places: Vec<&'a str>,
    path: &'a str,
    summary: String,
    lines: Vec<LinePage>,
}

#[derive(Serialize)]
struct LinePage {
    class: &'static str,
    text: String,
}

/// Draws a plan. Nothing is left out but files that are too long to compare, and those are announced.
pub(crate) fn render(view: &PlanView, options: &Options) -> String {
    let columns = artifact_columns(view);
    let changes = view.environments.iter().flat_map(|r| &r.steps).flat_map(|s| &s.changes);
    let page = Page {
        plan: view,
        forecast: view.merged_release().map(|(says, files)| (format!("{FORECAST} {says}"), files)),
        planned_at: time::long(view.planned_at, &options.zone),
        standing: plain(plan_text::standing(view, options)),
        deadlines: match view.environments.iter().any(|row| row.movement.is_some()) {
            true => deadlines(view, options),
            false => vec!["it moves nothing".to_owned()],
        },
        rows: view.environments.iter().map(|row| row_page(row, &columns, view, options)).collect(),
        columns,
        shortened: changes.into_iter().any(diff::is_too_long),
    };
    let mut environment = Environment::new();
    environment.set_formatter(|out, _, value| {
        if value.is_none() || value.is_undefined() {
            return Ok(());
        }
        out.write_str(&escape::html(&escape::line(&value.to_string()))).map_err(Into::into)
    });
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("invariant: only white space is asked for"));
    environment.render_str(TEMPLATE, Serde(page)).expect("invariant: the template is constant and fits its page")
}

fn row_page<'a>(row: &'a Row, columns: &[&str], view: &PlanView, options: &Options) -> RowPage<'a> {
    let cell = |name: &&str| row.artifacts.iter().find(|a| a.name == **name).map(digests).unwrap_or_default();
    let opens = row.opens_at.map(|at| {
        let (near, left) = (time::near(at, view.planned_at, &options.zone), time::left(at, view.planned_at));
        format!("{near} (in {left})")
    });
    let mut gates: Vec<_> = row.gates.iter().collect();
    gates.sort_by_key(|g| (g.outcome.is_open(), g.routine));
    let changes = row.differences().into_iter().flat_map(|one| {
        let place = move |change: &'a FileChange| ChangePage {
            provider: one.provider,
            places: one.places.clone(),
            path: &change.path,
            summary: diff::summary(change),
            lines: lines(change),
        };
        one.changes.iter().map(place)
    });
    let holds = row.holds.iter().map(|hold| words::hold_in_short(hold, &row.environment, view.now, &options.zone));
    RowPage {
        row,
        standing: plain(holds.chain(other_images(row)).chain(requested(row, view, options)).collect()),
        sign: sign(row),
        from: row.from.as_ref().map(ReleaseView::text),
        takes_over: row.takes_over(),
        to: row.to.as_ref().map(ReleaseView::text),
        opens,
        cells: columns.iter().map(cell).collect(),
        gates: gates
            .into_iter()
            .map(|g| {
                let (class, sign, word) = standing(g.outcome);
                GatePage { class, sign, word, text: gate(g, view, options) }
            })
            .collect(),
        drift: row.drift.iter().map(words::drift).collect(),
        waves: waves(row),
        way_back: row.movement.map(|_| way_back(row)),
        changes: changes.collect(),
    }
}

/// Lines without labels.
fn plain(lines: Vec<String>) -> Vec<String> {
    lines.iter().map(|line| anstream::adapter::strip_str(line.trim_start()).to_string()).collect()
}

/// How a gate stands: the class of its style, its sign, and the word that says the same.
const fn standing(outcome: Outcome) -> (&'static str, &'static str, &'static str) {
    match outcome {
        Outcome::Satisfied => ("good", "✓", "open"),
        Outcome::Overridden => ("good", "✓", "overridden"),
        Outcome::Deferred => ("wait", "…", "known later"),
        Outcome::Waiting => ("wait", "…", "waits"),
        Outcome::Expired => ("bad", "✗", "expired"),
        Outcome::Refused => ("bad", "✗", "refuses"),
    }
}

/// The hunks of a change, line by line: a line break from outside cannot begin another one.
fn lines(change: &FileChange) -> Vec<LinePage> {
    let class = |line: &str| match line.as_bytes().first() {
        Some(b'+') => "add",
        Some(b'-') => "del",
        Some(b'@') => "hunk",
        _ => "same",
    };
    diff::hunks(change).lines().map(|line| LinePage { class: class(line), text: line.to_owned() }).collect()
}

#[cfg(test)]
mod tests {
    use promo_core::gate::{GateKind, Outcome, Reason};
    use promo_core::inputs::FileChange;
    use promo_core::model::Tier;

    use super::*;
    use crate::output::goldens::{gate, moving, open, options, plan, view};
    use crate::view::Forecasts;

    const HOSTILE: &str = "</pre><script>alert(1)</script>\u{202e}\u{1b}[2J\"'&\u{200b}";

    #[test]
    fn nothing_from_outside_becomes_markup_or_moves_text_s13_3() {
        let reason = Reason::Quarantined { scope: None, automatic: false, by: HOSTILE.into() };
        let mut entry = moving("staging", Tier::Staging, Some(54), 55, open());
        entry.gates.push(gate(GateKind::Quarantine, Outcome::Refused, reason));
        entry.to.alias = Some(HOSTILE.into());
        let artifact = entry.steps[0].inputs.artifacts.values_mut().next().unwrap();
        artifact.repository = HOSTILE.into();
        artifact.tag = Some(HOSTILE.into());
        entry.steps[0].provider = HOSTILE.into();
        entry.files.insert(HOSTILE.into(), promo_core::Digest::of(b"x"));
        let after = format!("{HOSTILE}\r+forged\u{2028}+forged\u{85}+forged\n");
        entry.steps[0].changes = vec![FileChange { path: HOSTILE.into(), before: None, after: Some(after) }];
        let mut document = plan(vec![entry], Vec::new());
        document.body.initiator = HOSTILE.into();
        document.body.tool = HOSTILE.into();
        document.body.policy.as_mut().unwrap().name = HOSTILE.into();
        document.body.ledger.origin = HOSTILE.into();
        let page = render(&view(&document, Some(HOSTILE), &Forecasts::new()), &options());
        assert!(!page.contains("<script"), "{page}");
        assert!(page.matches("&lt;script&gt;").count() >= 9, "every place shows it: {page}");
        for ch in ['\u{202e}', '\u{1b}', '\u{200b}', '\u{2028}', '\u{85}', '\r'] {
            assert!(!page.contains(ch), "{ch:?}");
        }
        assert_eq!(page.matches("</pre>").count(), page.matches("<pre>").count());
        assert_eq!(page.matches(r#"class="add""#).count(), 1, "one line stays one line");
    }

    #[test]
    fn a_file_that_is_not_compared_is_announced() {
        let mut entry = moving("staging", Tier::Staging, Some(54), 55, open());
        let long = "x\n".repeat(20_001);
        let page = |entry| render(&view(&plan(vec![entry], Vec::new()), None, &Forecasts::new()), &options());
        assert!(!page(entry.clone()).contains("do not approve from this view"));
        entry.steps[0].changes = vec![FileChange { path: "a".into(), before: None, after: Some(long) }];
        assert!(page(entry).contains("do not approve from this view"));
    }

    #[test]
    fn the_page_loads_nothing_and_runs_nothing() {
        for outside in ["src=", "href=", "url(", "@import", "<script", "onload"] {
            assert!(!TEMPLATE.contains(outside), "{outside}");
        }
    }
}
