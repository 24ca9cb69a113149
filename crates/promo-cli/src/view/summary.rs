//! A plan in short, and the commands to go on with.

use promo_core::gate::GateKind;
use promo_core::ids::EnvironmentName;
use promo_core::plan::{Goal, Request};
use promo_core::windows::Invoker;
use schemars::JsonSchema;
use serde::Serialize;

use super::gate::{GateView, lacking};
use super::plan::RequestView;
use super::{Row, RowState};
use crate::error::command_line;
use crate::escape::line;

/// The plan in short.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub(crate) struct Summary {
    /// One or two sentences.
    pub(crate) text: String,
    /// What can start.
    pub(crate) can_start: Vec<String>,
    /// What is in the plan and waits.
    pub(crate) waiting: Vec<String>,
    /// What is held back.
    pub(crate) held_back: Vec<String>,
    /// What is refused.
    pub(crate) refused: Vec<String>,
    /// What goes back.
    pub(crate) backward: Vec<String>,
    /// Where there is drift, or nobody can say whether there is.
    pub(crate) drift: Vec<String>,
    /// How many environments stay as they are.
    pub(crate) unchanged: usize,
}

/// A command to go on with.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct NextCommand {
    /// The command.
    pub(crate) command: String,
    /// What it is for.
    pub(crate) why: String,
}

/// Sums up what a plan says of its environments.
pub(super) fn summary(rows: &[Row], request: &Request) -> Summary {
    let mut out = Summary::default();
    for row in rows {
        let name = row.environment.clone();
        if row.backward {
            out.backward.push(name.clone());
        }
        if !row.drift.is_empty() || row.by_hand {
            out.drift.push(name.clone());
        }
        match row.state {
            RowState::Unchanged => out.unchanged += 1,
            RowState::CanStart => out.can_start.push(name),
            RowState::Deferred | RowState::Waiting => out.waiting.push(name),
            RowState::HeldBack => out.held_back.push(name),
            RowState::Refused => out.refused.push(name),
        }
    }
    let what = match request.goal {
        _ if request.drill => "drill",
        Goal::Promote => "promotion",
        Goal::Rollback => "rollback",
    };
    let mut parts = Vec::new();
    let mut say = |names: &[String], one: &str, many: &str, noun: bool| {
        if names.is_empty() {
            return;
        }
        let count = names.len();
        let noun = match (noun, count) {
            (false, _) => String::new(),
            (true, 1) => format!(" {what}"),
            (true, _) => format!(" {what}s"),
        };
        parts.push(format!("{count}{noun} {} ({})", if count == 1 { one } else { many }, few(names)));
    };
    say(&out.can_start, "can start", "can start", true);
    say(&out.waiting, "waits", "wait", out.can_start.is_empty());
    let (under_way, back): (Vec<String>, Vec<String>) = out
        .held_back
        .iter()
        .cloned()
        .partition(|name| rows.iter().any(|row| row.under_way.is_some() && row.environment == *name));
    say(&under_way, "is in a run that is not over", "are in a run that is not over", false);
    say(&back, "is held back", "are held back", false);
    let moves = rows.iter().any(|row| row.movement.is_some());
    let settled = !rows.is_empty() && rows.iter().all(|row| row.settled);
    let unfinished = rows.iter().any(|row| row.unfinished);
    let held: Vec<&str> =
        rows.iter().filter(|row| row.held && row.movement.is_none()).map(|row| row.environment.as_str()).collect();
    let mut text = match parts.is_empty() {
        true if unfinished => "Nothing would move before the run that is not over has ended. ".to_owned(),
        true if moves || !out.refused.is_empty() => String::new(),
        // What is held is something to do, and not for a plan.
        true if !held.is_empty() || !out.drift.is_empty() || rows.iter().any(|row| row.rejected) => {
            "Nothing would move. ".to_owned()
        }
        true if settled => format!("{NOTHING_TO_DO} "),
        true => "Nothing to do. ".to_owned(),
        false => format!("{}. ", parts.join(", ")),
    };
    if !(moves || text.starts_with("Nothing") || out.held_back.is_empty() && out.refused.is_empty()) {
        text.insert_str(0, "Nothing would move: ");
    }
    text.push_str(&match out.refused.len() {
        0 => "Nothing is refused.".to_owned(),
        count => format!("{count} refused ({}).", few(&out.refused)),
    });
    if !held.is_empty() {
        text.push_str(&format!(" Held for a person: {}.", few(&held)));
    }
    let rejected: Vec<&str> = rows.iter().filter(|row| row.rejected).map(|row| row.environment.as_str()).collect();
    if !rejected.is_empty() {
        text.push_str(&format!(" Runs what is quarantined: {}.", few(&rejected)));
    }
    if !out.backward.is_empty() {
        text.push_str(&format!(" Goes BACK: {}.", out.backward.join(", ")));
    }
    let (seen, unseen): (Vec<&Row>, Vec<&Row>) = rows
        .iter()
        .filter(|row| !row.drift.is_empty() || row.by_hand)
        .partition(|row| row.by_hand || row.drift.iter().any(|drift| drift.look.is_none()));
    for (rows, what) in [(seen, "Drift"), (unseen, "Not known what is there")] {
        if !rows.is_empty() {
            let names: Vec<&str> = rows.iter().map(|row| row.environment.as_str()).collect();
            text.push_str(&format!(" {what}: {}.", few(&names)));
        }
    }
    out.text = text;
    out
}

/// What is said where nothing leads on.
pub(super) const NOTHING_TO_DO: &str = "Nothing to do: everything is where it should be.";

/// That files which several environments have are not here as the newest release has them: no plan brings what no release has.
pub(crate) fn not_released(paths: &[&str]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| format!("`{}`", line(path))).collect();
    let (files, enter) = match paths.len() {
        1 => ("A shared file here is", "it enters"),
        _ => ("Shared files here are", "they enter"),
    };
    format!("{files} not as in the newest release, and {enter} only with a new one: {}.", few(&paths))
}

/// How many names one line has.
const NAMED: usize = 12;

/// The first of many names, and how many more there are; each environment has a row of its own.
pub(super) fn few(names: &[impl AsRef<str>]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMED).map(AsRef::as_ref).collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// What can be done with a plan, best first: only commands that lead on from how its environments stand.
pub(super) fn next(pipeline: &str, rows: &[Row], request: &RequestView, file: Option<&str>) -> Vec<NextCommand> {
    let mut out = moving_on(pipeline, rows, request, file);
    // What moves the others leads on for none that is refused.
    let refused = rows.iter().find(|row| row.movement.is_none() && !row.held && row.state == RowState::Refused);
    if let Some(refused) = refused.map(why).filter(|why| !out.iter().any(|one| one.command == why.command)) {
        out.push(refused);
    }
    out
}

/// The command that says why an environment goes no further, or what this machine lacks for it.
fn why(row: &Row) -> NextCommand {
    let shut = row.gates.iter().filter(|gate| !gate.outcome.is_open()).map(|gate| gate.code);
    let waits = |gate: &&GateView| matches!(gate.kind, GateKind::Approval | GateKind::Window);
    let mut others = row.gates.iter().filter(|gate| !gate.outcome.is_open() && !waits(gate)).peekable();
    let first = others.peek().map(|gate| gate.code);
    // What only a plan sees, because it looks at artifacts and places: `promo why` asks the ledger, and would lead back here.
    let seen = first.filter(|code| {
        matches!(*code, "drills-refused" | "drifted") || others.all(|gate| gate.kind == GateKind::Artifact)
    });
    // What runs there already, and is deployed again, is kept back by another environment: this one has nothing to say of that.
    let again = row.to.as_ref().filter(|to| row.from.as_ref() == Some(*to));
    let upstream = row.gates.iter().filter(|gate| !gate.outcome.is_open()).find_map(|gate| gate.upstream.as_ref());
    match lacking(shut) {
        Some(command) => NextCommand { command, why: "says what this machine lacks".into() },
        None if seen.is_none() && again.is_some() && upstream.is_some() => {
            let (release, upstream) = (again.map(|to| to.id.as_str()), upstream.map(EnvironmentName::as_str));
            NextCommand {
                command: command_line(["promo", "why"].into_iter().chain(upstream).chain(release)),
                why: format!(
                    "says what is wrong in {}, which keeps {} back",
                    upstream.unwrap_or_default(),
                    row.environment
                ),
            }
        }
        // Whoever asks about the environment is led here: only a person plans it.
        None if again.is_some() && first == Some("paused") => NextCommand {
            command: command_line(["promo", "explain", "paused"]),
            why: format!("says how a person deploys it again in {}", row.environment),
        },
        None if seen.is_some() => NextCommand {
            command: command_line(["promo", "explain"].into_iter().chain(seen)),
            why: format!("says what can be done about what keeps {} back", row.environment),
        },
        None => NextCommand {
            command: command_line(["promo", "why", &row.environment]),
            why: format!("says why {} goes no further", row.environment),
        },
    }
}

/// What leads on where nobody could look at what is there: what keeps it from being looked at.
fn unseen(row: &Row) -> Option<NextCommand> {
    let drift = row.drift.iter().find(|drift| drift.why.is_some())?;
    let command = drift.shown_by.clone().unwrap_or_else(|| "promo doctor".into());
    Some(NextCommand { command, why: format!("says what keeps {} from being looked at", row.environment) })
}

/// The words that ask for the same again.
fn words(request: &RequestView) -> Vec<&str> {
    let mut words = match request.goal {
        "rollback" => vec!["promo", "rollback"],
        _ => vec!["promo", "plan"],
    };
    words.extend(request.environments.iter().map(String::as_str));
    if let Some(release) = &request.release {
        words.extend([if request.goal == "rollback" { "--to" } else { "--release" }, release.as_str()]);
    }
    words.extend(request.drill.then_some("--drill"));
    if let Some(until) = &request.until {
        words.extend(["--until", until.as_str()]);
    }
    words
}

/// Whether automation asked for what ends a hold, and nothing but the hold keeps it from it: `promo why` would lead back to the very
/// same.
fn only_a_person(row: &Row, request: &RequestView) -> bool {
    let mut shut = row.gates.iter().filter(|gate| !gate.outcome.is_open()).peekable();
    let named = request.goal == "rollback" || request.release.is_some();
    request.invoker == Invoker::Automation.as_str()
        && named
        && request.environments.contains(&row.environment)
        && shut.peek().is_some()
        && shut.all(|gate| gate.code == "held")
}

/// The commands that move what the plan moves, or that put back what was changed behind it.
pub(super) fn moving_on(pipeline: &str, rows: &[Row], request: &RequestView, file: Option<&str>) -> Vec<NextCommand> {
    let in_plan: Vec<&Row> = rows.iter().filter(|r| r.movement.is_some()).collect();
    let names = |rows: &[&Row]| few(&rows.iter().map(|r| r.environment.as_str()).collect::<Vec<_>>());
    if in_plan.is_empty() {
        let closed = rows.iter().find(|r| matches!(r.state, RowState::Refused | RowState::HeldBack));
        // Where a gate is closed it comes first: what is asked for by name waits for it too.
        // What keeps a newer release out for good keeps out nothing that runs there.
        let barred = |row: &Row| {
            let shut = row.gates.iter().filter(|gate| !gate.outcome.is_open());
            row.state == RowState::Refused
                && shut.into_iter().any(|gate| matches!(gate.code, "tried-before" | "quarantined"))
        };
        let drifted = rows.iter().filter(|row| !row.held && (row.state == RowState::Unchanged || barred(row)));
        let drifted = drifted.flat_map(|row| row.drift.iter().map(move |drift| (row, drift.repair.as_ref())));
        let repair = drifted.filter_map(|(row, repair)| {
            let why = format!("plans to put back what is recorded for {}", row.environment);
            Some(NextCommand { command: repair?.clone(), why })
        });
        let mut repairs: Vec<NextCommand> = repair.collect();
        repairs.dedup_by(|a, b| a.command == b.command);
        repairs.extend(rows.iter().filter(|row| !row.held && row.state == RowState::Unchanged).find_map(unseen));
        if !repairs.is_empty() {
            return repairs;
        }
        let held = rows.iter().find(|row| row.held);
        // What a check waits for keeps the others back too.
        let open = rows.iter().find(|row| !row.open_checks.is_empty());
        if let Some(row) = open.filter(|_| held.is_none()) {
            return row.open_checks.clone();
        }
        return vec![match held.or(closed) {
            Some(row) if only_a_person(row, request) => {
                let out = file.map_or_else(|| format!("{pipeline}.plan.json"), str::to_owned);
                let also = ["--out", &out, "--actor-kind", "human"];
                let command = command_line(words(request).into_iter().chain(also));
                NextCommand { command, why: format!("asks for it as a person, for whom {} is held", row.environment) }
            }
            Some(row) if row.held => NextCommand {
                command: command_line(["promo", "why", &row.environment]),
                why: format!("says what holds {}, and what ends it", row.environment),
            },
            Some(row) => why(row),
            // Where everything is as it should be, nothing leads on.
            None if rows.iter().all(|row| row.settled) => return Vec::new(),
            None => NextCommand { command: "promo status".into(), why: "shows what is where".into() },
        }];
    }
    let Some(file) = file else {
        let out = format!("{pipeline}.plan.json");
        let command = command_line(words(request).into_iter().chain(["--out", out.as_str()]));
        return vec![NextCommand { command, why: "saves the plan".into() }];
    };
    let approval: Vec<&Row> = in_plan
        .iter()
        .copied()
        .filter(|r| r.gates.iter().any(|g| g.code == "approvals" && !g.outcome.is_open()))
        .collect();
    if approval.is_empty() {
        let command = command_line(["promo", "apply", file]);
        return vec![NextCommand { command, why: format!("moves {}", names(&in_plan)) }];
    }
    let mut words = vec!["promo", "request", file];
    if approval.iter().any(|r| r.gates.iter().any(|g| g.signed_request && !g.outcome.is_open())) {
        words.extend(["--key", "KEY"]);
    }
    let mut out = vec![NextCommand {
        command: command_line(words),
        why: format!("asks for the approval of {}", names(&approval)),
    }];
    // A plan is applied as a whole: what need not wait gets a plan of its own.
    let free: Vec<&Row> =
        in_plan.iter().copied().filter(|r| r.state == RowState::CanStart && r.after.is_empty()).collect();
    if !free.is_empty() && request.until.is_none() {
        let alone = format!("{pipeline}.now.plan.json");
        let words = ["promo", "plan"].into_iter().chain(free.iter().map(|r| r.environment.as_str()));
        out.push(NextCommand {
            command: command_line(words.chain(["--out", alone.as_str()])),
            why: format!("plans {} alone, which need not wait", names(&free)),
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{NAMED, few};

    #[test]
    fn a_line_names_a_dozen_environments_and_counts_the_others() {
        let names: Vec<String> = (1..=NAMED + 3).map(|n| format!("e{n}")).collect();
        assert_eq!(few(&names[..2]), "e1, e2");
        assert!(few(&names[..NAMED]).ends_with(", e12"));
        assert!(few(&names).ends_with(", e12 and 3 more"));
    }
}
