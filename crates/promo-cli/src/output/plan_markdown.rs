//! A plan as a comment on a pull request: a matrix of artifacts by environments first, then what it waits for, then folded
//! details, then digest, expiry and the command. It stays within a budget, and says so where it left something out.

use promo_core::counted::counted;
use std::collections::BTreeSet;

use crate::escape::{self, code_span, fenced, markdown};
use crate::output::plan_text::{
    FORECAST, Options, deadlines, gate, other_images, requested, standing, waves, way_back,
};
use crate::output::{diff, standing as words, time};
use crate::view::{ArtifactView, PlanView, ReleaseView, Row, RowState};

/// The most characters that a comment may have; forges take 65,536 (R30).
pub(crate) const BUDGET: usize = 60_000;
/// More artifacts than this are left to the details.
const COLUMNS: usize = 4;
/// The longest reason in the shortest view, in characters.
const SHORT_REASON: usize = 120;

/// How much is said, most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Depth {
    Counts,
    Matrix,
    Lists,
    Diffs,
}

/// Draws a plan within the budget. Refusals, drift, backward moves and the digest are never left out.
pub(crate) fn render(view: &PlanView, options: &Options) -> String {
    let depths = [Depth::Diffs, Depth::Lists, Depth::Matrix];
    let fits = |depth: &Depth| {
        let text = draw(view, options, *depth);
        (text.chars().count() <= BUDGET).then_some(text)
    };
    depths.iter().find_map(fits).unwrap_or_else(|| draw(view, options, Depth::Counts))
}

/// The line by which a comment is found and updated in place.
pub(crate) fn marker(pipeline: &str) -> String {
    format!("<!-- promo:plan pipeline={pipeline} -->")
}

fn draw(view: &PlanView, options: &Options, depth: Depth) -> String {
    let mut out = format!("{}\n### promo plan · {}\n\n", marker(&view.pipeline), code_span(&view.pipeline));
    out.push_str(&format!("**{}**\n\n", summary(view, depth)));
    if depth < Depth::Diffs {
        out.push_str("> [!CAUTION]\n> This view is shortened: **do not approve from this view.** ");
        out.push_str("`promo show` with the saved plan shows everything.\n\n");
    }
    if view.local {
        out.push_str("> Local mode: no trust file says which ledger and which policy count.\n\n");
    }
    if let Some((says, lines)) = view.merged_release() {
        out.push_str(&format!("> {FORECAST}\n> {says}\n"));
        let shown = if depth >= Depth::Lists { lines.len() } else { 0 };
        for shared in &lines[..shown] {
            out.push_str(&format!("> - {}\n", code_span(shared)));
        }
        if shown < lines.len() {
            out.push_str(&format!("> - {}\n", counted(lines.len(), "file")));
        }
        out.push('\n');
    }
    if depth >= Depth::Matrix {
        matrix(view, &mut out);
    }
    alarms(view, options, depth, &mut out);
    if depth >= Depth::Matrix {
        waits(view, options, &mut out);
    }
    if depth >= Depth::Lists {
        details(view, options, depth, &mut out);
    }
    footer(view, options, &mut out);
    out
}

fn summary(view: &PlanView, depth: Depth) -> String {
    let summary = &view.summary;
    if depth > Depth::Counts {
        return markdown(&summary.text);
    }
    format!(
        "{} can start, {} wait, {} are held back, {} are refused, {} go BACK, {} have drifted, {} stay as they are",
        summary.can_start.len(),
        summary.waiting.len(),
        summary.held_back.len(),
        summary.refused.len(),
        summary.backward.len(),
        summary.drift.len(),
        summary.unchanged
    )
}

fn release(release: Option<&ReleaseView>) -> String {
    release.map_or_else(|| "nothing".to_owned(), |r| code_span(&r.text()))
}

/// The sign of a row.
pub(crate) fn sign(row: &Row) -> &'static str {
    match row.state {
        RowState::Unchanged => "",
        RowState::CanStart => "▶",
        RowState::Deferred | RowState::Waiting | RowState::HeldBack => "…",
        RowState::Refused => "✗",
    }
}

/// The artifacts that have a column in the matrix; none of them when there are too many.
pub(crate) fn artifact_columns(view: &PlanView) -> Vec<&str> {
    let names: BTreeSet<&str> =
        view.environments.iter().flat_map(|r| r.artifacts.iter().map(|a| a.name.as_str())).collect();
    if names.len() > COLUMNS { Vec::new() } else { names.into_iter().collect() }
}

/// What an artifact is replaced by, as short as people compare it.
pub(crate) fn digests(artifact: &ArtifactView) -> String {
    let to = artifact.to.short();
    match &artifact.from {
        Some(from) if *from != artifact.to => format!("{} → {to}", from.short()),
        _ => to,
    }
}

fn matrix(view: &PlanView, out: &mut String) {
    let names = artifact_columns(view);
    out.push_str("| | environment | now | next |");
    for name in &names {
        out.push_str(&format!(" {} |", code_span(name)));
    }
    out.push_str(" |\n|---|---|---|---|");
    out.push_str(&"---|".repeat(names.len() + 1));
    out.push('\n');
    for row in &view.environments {
        let next = match (&row.to, row.movement) {
            _ if row.drill.is_some() => format!("**BACK to** {} and again the same", release(row.drill.as_ref())),
            (Some(_), Some("reconfiguration")) => "the same, other configuration".to_owned(),
            (Some(to), _) if row.backward => format!("**BACK to** {}", release(Some(to))),
            (Some(to), _) => release(Some(to)),
            (None, _) => String::new(),
        };
        out.push_str(&format!(
            "| {} | {} | {} | {next} |",
            sign(row),
            code_span(&row.environment),
            if row.takes_over() { "what is there".to_owned() } else { release(row.from.as_ref()) }
        ));
        for name in &names {
            let cell = row.artifacts.iter().find(|a| a.name == *name).map(|a| code_span(&digests(a)));
            out.push_str(&format!(" {} |", cell.unwrap_or_default()));
        }
        out.push_str(&format!(" {} |\n", markdown(&row.says)));
    }
    out.push('\n');
}

/// What a reader must not miss at any depth: refusals, drift, lost evidence, backward moves.
fn alarms(view: &PlanView, options: &Options, depth: Depth, out: &mut String) {
    let cut = |text: String| match depth {
        Depth::Counts if text.chars().count() > SHORT_REASON => {
            text.chars().take(SHORT_REASON).collect::<String>() + "…"
        }
        _ => text,
    };
    let plain = |text: &str| markdown(&cut(anstream::adapter::strip_str(text).to_string()));
    let mut lines: Vec<String> = standing(view, options).iter().map(|line| format!("- {}", plain(line))).collect();
    for row in &view.environments {
        let name = code_span(&row.environment);
        if row.backward {
            let (from, to) = (release(row.from.as_ref()), release(row.to.as_ref()));
            let configuration = match row.configuration {
                Some(true) => ", and its configuration changes",
                Some(false) => ", and its configuration stays",
                None => "",
            };
            let what = match from == to {
                true => format!("to {to}, as it was deployed"),
                false => format!("from {from} to {to}"),
            };
            lines.push(format!("- ◀ {name} goes **BACK** {what}{configuration}"));
        }
        let holds = row.holds.iter().map(|hold| words::hold_in_short(hold, &row.environment, view.now, &options.zone));
        lines.extend(holds.map(|hold| format!("- {name}: {}", plain(&hold))));
        if row.state == RowState::Refused {
            let closed: Vec<String> = row
                .gates
                .iter()
                .filter(|g| g.outcome >= promo_core::gate::Outcome::Expired)
                .map(|g| markdown(&cut(gate(g, view, options))))
                .collect();
            let why = if closed.is_empty() { markdown(&row.says) } else { closed.join("; ") };
            lines.push(format!("- ✗ {name} is refused: {why}"));
        }
        lines.extend(row.notes.iter().map(|note| format!("- ! {name}: {}", markdown(&cut(note.text.clone())))));
        lines.extend(row.drift.iter().map(|drift| format!("- ! {name}: {}", markdown(&cut(words::drift(drift))))));
    }
    if !lines.is_empty() {
        out.push_str(&format!("{}\n\n", lines.join("\n")));
    }
}

fn waits(view: &PlanView, options: &Options, out: &mut String) {
    let mut lines = Vec::new();
    for row in view.environments.iter().filter(|r| r.state != RowState::Refused) {
        for closed in row.closed() {
            lines.push(format!("- … {}: {}", code_span(&row.environment), markdown(&gate(closed, view, options))));
        }
        for text in requested(row, view, options) {
            let text = anstream::adapter::strip_str(&text).to_string();
            lines.push(format!("- {}: {}", code_span(&row.environment), markdown(text.trim_start())));
        }
    }
    if !lines.is_empty() {
        out.push_str(&format!("#### Waits for\n\n{}\n\n", lines.join("\n")));
    }
}

fn details(view: &PlanView, options: &Options, depth: Depth, out: &mut String) {
    for row in view.environments.iter().filter(|r| r.movement.is_some()) {
        let title = format!("{} · {}", row.environment, row.says);
        out.push_str(&format!("<details><summary>{}</summary>\n\n", escape::html(&title)));
        let open: Vec<String> = row
            .gates
            .iter()
            .filter(|g| g.outcome.is_open() && !g.routine)
            .map(|g| format!("✓ {}", markdown(&gate(g, view, options))))
            .collect();
        if !open.is_empty() {
            out.push_str(&format!("{}\n\n", open.join(" · ")));
        }
        out.extend(waves(row).map(|waves| format!("{}\n\n", markdown(&waves))));
        out.push_str(&format!("{}\n\n", markdown(&way_back(row))));
        if let Some(images) = other_images(row) {
            out.push_str(&format!("{}\n\n", markdown(&images)));
        }
        for (check, roles) in &row.verdicts {
            out.push_str(&format!(
                "A person judges {} afterwards: {}\n\n",
                code_span(check),
                markdown(&roles.join(" or "))
            ));
        }
        for one in row.differences() {
            let places: Vec<String> = one.places.iter().map(|place| code_span(place)).collect();
            let places = places.join(", and the same in ");
            out.push_str(&format!("{} in {places}\n\n", code_span(one.provider)));
            for change in one.changes {
                out.push_str(&format!("- {} ({})\n", code_span(&change.path), diff::summary(change)));
                if depth == Depth::Diffs {
                    out.push_str(&format!("\n{}\n\n", fenced("diff", &diff::hunks(change))));
                }
            }
            out.push('\n');
        }
        out.push_str("</details>\n\n");
    }
}

fn footer(view: &PlanView, options: &Options, out: &mut String) {
    let policy = match &view.policy {
        Some(policy) => format!("policy {} v{}", code_span(&policy.name), policy.version),
        None => "no policy".to_owned(),
    };
    if view.if_merged.is_some() {
        let made = time::short(view.planned_at, &options.zone);
        out.push_str(&format!("Forecast · made {made} · ledger at {} · {policy}\n", view.ledger.size));
        return;
    }
    out.push_str(&format!(
        "Plan {} · made {}{} · ledger at {} · {policy}\n",
        code_span(&view.digest.to_string()),
        time::short(view.planned_at, &options.zone),
        until(view, options),
        view.ledger.size
    ));
    if view.next.is_empty() {
        return;
    }
    let commands: Vec<&str> = view.next.iter().map(|n| n.command.as_str()).collect();
    out.push_str(&format!("\n{}\n", fenced("sh", &commands.join("\n"))));
}

/// The deadlines of a plan that moves something.
fn until(view: &PlanView, options: &Options) -> String {
    if view.environments.iter().all(|row| row.movement.is_none()) {
        return " · it moves nothing".to_owned();
    }
    deadlines(view, options).iter().map(|deadline| format!(" · {deadline}")).collect()
}
