//! A plan for a terminal and for the log of CI: the answer first, then reasons, then the differences, and at the end what
//! to do next. Everything in it comes from the view.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use promo_core::counted::{counted, is};
use promo_core::gate::{GateKind, Outcome, Seconds};
use promo_core::model::Wave;

use crate::escape::line;
use crate::output::diff;
use crate::output::labels::{Label, label};
use crate::output::table::{fold, wrap};
use crate::output::{standing as words, time};
use crate::view::{GateView, PlanView, ReleaseView, Row, RowState};

/// How much of a difference is shown unless everything is asked for, in lines.
const LINES_PER_FILE: usize = 40;
/// The same for all differences of a plan together.
const LINES_PER_PLAN: usize = 200;

/// How many of the tags that could be moved are named.
const TAGS: usize = 3;

/// What stands above a plan of `--if-merged`.
pub(crate) const FORECAST: &str = "A forecast, as if this checkout were merged: it cannot be requested or applied.";

/// How a plan is drawn.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The zone of times.
    pub(crate) zone: TimeZone,
    /// Whether routine gates and whole differences are shown too.
    pub(crate) full: bool,
    /// How many cells a line has on the screen; none where whole lines are read.
    pub(crate) width: Option<usize>,
}

/// Draws a plan.
pub(crate) fn render(view: &PlanView, options: &Options) -> String {
    let mut out = header(view, options);
    if let Some((says, lines)) = view.merged_release() {
        out.push_str(&format!("{} {says}\n", label(Label::Waiting, FORECAST)));
        for shared in lines {
            out.push_str(&format!("  {}\n", line(&shared)));
        }
        out.push('\n');
    }
    let width = view.environments.iter().map(|r| r.environment.len()).max().unwrap_or(0).max(11);
    // On a narrow screen names may not take the room of what is said: a longer one has a line of its own.
    let width = options.width.map_or(width, |screen| width.min((screen / 4).max(11)));
    for row in &view.environments {
        environment(row, view, options, width, &mut out);
    }
    if view.environments.is_empty() {
        out.push_str("  no environment was asked for\n");
    }
    out.push_str(&format!("\n{} {}\n", label(Label::Strong, "Plan:"), line(&view.summary.text)));
    // Differences stay as they are: a line of them that was broken would be another line.
    let mut out = fold(&out, options.width);
    differences(view, options, &mut out);
    let mut end = String::new();
    footer(view, options, &mut end);
    out + &fold(&end, options.width)
}

fn header(view: &PlanView, options: &Options) -> String {
    let policy = match &view.policy {
        Some(policy) => format!("policy {} v{}", line(&policy.name), policy.version),
        None => "no policy".to_owned(),
    };
    let mut out = format!(
        "{} · {} · {} · ledger at {} · {policy}",
        label(Label::Strong, "promo plan"),
        label(Label::Strong, &view.pipeline),
        time::long(view.planned_at, &options.zone),
        view.ledger.size,
    );
    if view.local {
        out.push_str(" · local mode");
    }
    out.push('\n');
    if view.local {
        let text = "Local mode: no trust file says which ledger and which policy count. Nothing remote in production.";
        out.push_str(&format!("{}\n", label(Label::Waiting, text)));
    }
    out.extend(standing(view, options).iter().map(|line| format!("{line}\n")));
    out.push('\n');
    out
}

/// What the ledger says of the plan itself, of runs that are in its way, and for whom it was made where that matters.
pub(crate) fn standing(view: &PlanView, options: &Options) -> Vec<String> {
    let mut out = Vec::new();
    let when = |at: Option<jiff::Timestamp>| at.map(|at| time::short(at, &options.zone)).unwrap_or_default();
    let text = view.fate.as_ref().and_then(|fate| match (fate.state, &fate.run, &fate.superseded_by) {
        ("used", Some(run), _) => Some(format!("✗ run {run} has used this plan: it cannot be applied again")),
        (_, _, Some(newer)) => Some(format!(
            "✗ the request for sha256:{}… took the place of this plan: it cannot be applied",
            newer.short()
        )),
        // Why is told where the plan is summed up.
        ("stale", ..) => Some("✗ this plan is stale: nobody can approve or apply it any more".to_owned()),
        ("over", ..) => Some(format!("✗ this plan was open until {}: it cannot be applied any more", when(fate.until))),
        _ => None,
    });
    out.extend(text.map(|text| label(Label::Bad, &text)));
    // While it waits, each environment tells how it stands with its approvals.
    let settled = view.fate.as_ref().is_some_and(|fate| fate.state != "requested");
    let told = view.authority.iter().filter(|_| settled);
    out.extend(told.flat_map(|told| words::authority(told, &options.zone)).map(|line| format!("  {line}")));
    out.extend(view.runs.iter().map(|run| words::run(run, view.now)));
    for left in &view.left_out {
        let text = format!("✗ {} could not be looked at, and is left out: {}", left.environment, line(&left.why));
        out.push(label(Label::Bad, &text));
    }
    if view.differs {
        let (one, other) = match view.request.invoker {
            "human" => ("a person", "automation"),
            _ => ("automation", "human"),
        };
        out.push(format!("Asked for by {one}: some gates stand otherwise with --actor-kind {other}."));
    }
    out.extend(movable(view));
    out
}

/// Tags that it writes and that nothing but their name keeps where they are; the first ones, and how many more.
fn movable(view: &PlanView) -> Option<String> {
    let movable: Vec<&str> = view.tags.iter().filter(|tag| tag.is_movable()).map(|tag| tag.tag.as_str()).collect();
    let (first, more) = movable.split_at(movable.len().min(TAGS));
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    let first = line(&first.join(", "));
    (!movable.is_empty()).then(|| format!("Mutable tags, as far as is known (promo doctor): {first}{more}"))
}

/// What was requested for an environment, a line each.
pub(crate) fn requested(row: &Row, view: &PlanView, options: &Options) -> Vec<String> {
    let mut out = Vec::new();
    for pending in &view.pending {
        let Some(theirs) = pending.row(&row.environment) else { continue };
        let which = if pending.plan == view.digest { "this plan" } else { "another plan" };
        let to = line(&theirs.to.text());
        out.push(format!("{which}, to {to}: {}", words::requested(pending, view.now, &options.zone)));
        out.extend(words::pending(pending, theirs, view.now, &options.zone).iter().map(|line| format!("  {line}")));
    }
    out
}

/// Until when what can be done with the plan, each deadline by its name, and what else it takes to apply it.
pub(crate) fn deadlines(view: &PlanView, options: &Options) -> Vec<String> {
    let short = |at| time::short(at, &options.zone);
    let mut out = Vec::new();
    match view.fate.as_ref() {
        Some(fate) => {
            // One that was rejected is open no more, whatever time it has left.
            let over = view.pending.iter().any(|one| one.plan == view.digest && one.over);
            out.extend(
                fate.until
                    .filter(|_| !over)
                    .map(|until| format!("the request, and with it the plan: open until {}", short(until))),
            );
        }
        None => {
            out.push(format!("the plan: to be applied until {}", short(view.expires)));
            let asks = view.environments.iter().flat_map(|row| &row.gates).any(|gate| gate.code == "approvals");
            if asks {
                out.push("the request: keeps it open for 7 days, once it is made".to_owned());
            }
        }
    }
    let moves = || view.environments.iter().filter(|row| row.movement.is_some());
    let open = view.fate.as_ref().is_none_or(|fate| fate.until.is_some());
    if let Some(row) = moves().find(|row| open && row.gates.iter().any(|gate| gate.signed_apply)) {
        let name = &row.environment;
        out.push(format!("whoever applies it: signs that they do (--key KEY), and is no approver whom {name} needs"));
    }
    for row in moves() {
        for gate in row.gates.iter().filter(|gate| gate.kind == GateKind::Window) {
            let says = match (gate.outcome.is_open(), gate.closes, gate.until) {
                (true, Some(closes), _) => format!("closes {}", short(closes)),
                (false, _, Some(opens)) => format!("opens {}", short(opens)),
                _ => continue,
            };
            out.push(format!("the window of {}: {says}", row.environment));
        }
    }
    out
}

fn release(release: Option<&ReleaseView>) -> String {
    release.map_or_else(|| "nothing".to_owned(), |r| line(&r.text()))
}

/// What runs there now, in words.
fn from(row: &Row) -> String {
    if row.takes_over() { "what is there".to_owned() } else { release(row.from.as_ref()) }
}

/// The sign of a row and what it is.
fn sign(row: &Row) -> (&'static str, Label) {
    match row.state {
        RowState::Unchanged => (" ", Label::Dim),
        RowState::CanStart => ("~", Label::Good),
        RowState::Deferred | RowState::Waiting => ("~", Label::Waiting),
        RowState::HeldBack => ("…", Label::Waiting),
        RowState::Refused => ("✗", Label::Bad),
    }
}

fn environment(row: &Row, view: &PlanView, options: &Options, width: usize, out: &mut String) {
    let (sign, kind) = sign(row);
    let from = from(row);
    let what = match (&row.to, row.movement) {
        _ if row.drill.is_some() => format!("{from} goes BACK to {} and comes again", release(row.drill.as_ref())),
        (Some(_), Some("reconfiguration")) => format!("{from} stays, its configuration changes"),
        (Some(to), Some("rollback")) if row.from.as_ref().is_some_and(|from| from.id == to.id) => {
            format!("goes BACK to {}, as it was deployed", release(Some(to)))
        }
        (Some(to), Some("rollback")) => format!("{from} goes BACK to {}", release(Some(to))),
        (Some(to), None) if row.from.as_ref().is_some_and(|from| from.id == to.id) => {
            let again = row.gates.iter().any(|gate| gate.kind == GateKind::Order);
            format!("{from} {}", if again { "is deployed again" } else { "stays, its configuration changes" })
        }
        (Some(to), _) if row.backward => format!("{from} goes BACK to {}", release(Some(to))),
        (Some(to), _) => format!("{from} → {}", release(Some(to))),
        (None, _) => from,
    };
    let says = match (row.state, row.opens_at) {
        (RowState::Waiting | RowState::HeldBack, Some(at)) => format!(
            "{}, opens {} (in {})",
            row.says,
            time::near(at, view.planned_at, &options.zone),
            time::left(at, view.planned_at)
        ),
        _ => row.says.clone(),
    };
    let indent = " ".repeat(width + 4);
    let name = label(Label::Strong, &format!("{:<width$}", row.environment));
    let after = if row.environment.len() > width { format!("\n{indent}") } else { "  ".to_owned() };
    let room = options.width.map_or(usize::MAX, |screen| screen.saturating_sub(indent.len()));
    let what = wrap(&format!("{what}   {}", label(kind, &says)), room).join(&format!("\n{indent}"));
    out.push_str(&format!("{} {name}{after}{what}\n", label(kind, sign)));
    for hold in &row.holds {
        out.push_str(&format!("{indent}{}\n", words::hold_in_short(hold, &row.environment, view.now, &options.zone)));
    }
    // What goes back is looked at for what it goes back to, before anything else.
    if row.backward {
        replaced(row, &indent, out);
    }
    let open: Vec<String> = row
        .gates
        .iter()
        .filter(|g| g.outcome.is_open() && (options.full || !g.routine))
        .map(|g| format!("{} {}", label(Label::Good, "✓"), gate(g, view, options)))
        .collect();
    if !open.is_empty() {
        out.push_str(&format!("{indent}{}\n", open.join("   ")));
    }
    for closed in row.closed() {
        let (sign, kind) = match closed.outcome {
            Outcome::Refused | Outcome::Expired => ("✗", Label::Bad),
            _ => ("…", Label::Waiting),
        };
        out.push_str(&format!("{indent}{} {}\n", label(kind, sign), gate(closed, view, options)));
    }
    if !row.backward {
        replaced(row, &indent, out);
    }
    for text in requested(row, view, options) {
        out.push_str(&format!("{indent}{text}\n"));
    }
    for drift in &row.drift {
        out.push_str(&format!("{indent}{} {}\n", label(Label::Bad, "!"), label(Label::Bad, &words::drift(drift))));
    }
    for note in &row.notes {
        out.push_str(&format!("{indent}{} {}\n", label(Label::Bad, "!"), label(Label::Bad, &line(&note.text))));
    }
    if row.movement.is_some() {
        out.extend(waves(row).map(|waves| format!("{indent}{waves}\n")));
        out.push_str(&format!("{indent}{}\n", label(Label::Dim, &way_back(row))));
        if !row.verdicts.is_empty() {
            let verdicts: Vec<String> =
                row.verdicts.iter().map(|(check, roles)| format!("{check} by {}", roles.join(" or "))).collect();
            out.push_str(&format!("{indent}afterwards a person judges: {}\n", verdicts.join(", ")));
        }
    }
}

/// The artifacts that enter, what they replace, and the files that change.
fn replaced(row: &Row, indent: &str, out: &mut String) {
    for artifact in &row.artifacts {
        let copied =
            if artifact.copied { format!("   copied to {}", line(&artifact.repository)) } else { String::new() };
        let tag = artifact.tag.as_ref().map(|t| format!("   {}", line(t))).unwrap_or_default();
        let digests = match &artifact.from {
            Some(from) if *from == artifact.to => format!("sha256:{}…", artifact.to.short()),
            Some(from) => format!("sha256:{}… → sha256:{}…", from.short(), artifact.to.short()),
            None => format!("→ sha256:{}…", artifact.to.short()),
        };
        out.push_str(&format!("{indent}{}  {digests}{tag}{copied}\n", line(&artifact.name)));
    }
    for file in &row.files {
        out.push_str(&format!("{indent}{}   changed\n", line(file)));
    }
    if let Some(images) = other_images(row) {
        out.push_str(&format!("{indent}{images}\n"));
    }
    if row.backward && row.files.is_empty() {
        let says = match row.configuration {
            Some(false) => "the configuration stays as it is",
            Some(true) => "the configuration changes: other settings of the deployment",
            None => return,
        };
        out.push_str(&format!("{indent}{says}\n"));
    }
}

/// The images that would run and that the release does not name.
pub(crate) fn other_images(row: &Row) -> Option<String> {
    const FEW: usize = 4;
    let all: BTreeSet<&String> = row.steps.iter().flat_map(|step| &step.other_images).collect();
    let short = |image: &&String| match image.split_once('@') {
        Some((name, digest)) => format!("{}@{}", line(name), short_state(digest)),
        None => format!("{} (its tag can move)", line(image)),
    };
    let mut told = all.iter().take(FEW).map(short).collect::<Vec<_>>().join(", ");
    if all.len() > FEW {
        told.push_str(&format!(" and {} more", all.len() - FEW));
    }
    // What gates ask for is asked of what a release names, and of nothing else.
    let gated = row.gates.iter().any(|gate| gate.kind == GateKind::Evidence);
    let unseen = if gated { "; no gate over evidence is about what the release does not name" } else { "" };
    (!told.is_empty()).then(|| format!("also runs {told}{unseen}"))
}

/// A state with its digest cut to what people compare.
pub(crate) fn short_state(state: &str) -> String {
    match state.strip_prefix("sha256:") {
        Some(hex) if hex.len() > 12 => format!("sha256:{}…", &hex[..12]),
        _ => line(state),
    }
}

/// `in 2 waves: eu, then 10 m; us and asia, 2 at once`
pub(crate) fn waves(row: &Row) -> Option<String> {
    let wave = |wave: &Wave| {
        let targets: Vec<String> = wave.targets.iter().map(ToString::to_string).collect();
        let several = targets.len() > 1;
        let at_once = match wave.at_once as usize {
            _ if !several => String::new(),
            1 => ", one after the other".to_owned(),
            all if all >= targets.len() => ", all at once".to_owned(),
            some => format!(", {some} at once"),
        };
        let pause = wave.pause.map(|seconds| format!(", then {}", Seconds(seconds))).unwrap_or_default();
        format!("{}{at_once}{pause}", targets.join(" and "))
    };
    let all: Vec<String> = row.waves.iter().map(wave).collect();
    let number = if all.len() == 1 { "1 wave".to_owned() } else { format!("{} waves", all.len()) };
    let stops = if row.stops_at_wave { "; none begins outside a window" } else { "" };
    (!all.is_empty()).then(|| format!("in {number}: {}{stops}", all.join("; ")))
}

/// `if it fails: back to #54; further releases #53, #51`.
pub(crate) fn way_back(row: &Row) -> String {
    let watched = row
        .watch
        .map(|watch| format!("then watched for {}, asked every {}; ", Seconds(watch.seconds), Seconds(watch.every)));
    watched.unwrap_or_default() + &fails_to(row)
}

fn fails_to(row: &Row) -> String {
    if row.drill.is_some() {
        return "a drill: what runs comes back whether or not going back works; if it does not come back: held for a person"
            .to_owned();
    }
    if row.on_failure == Some("hold") {
        return "if it fails: held for a person, nothing goes back by itself".to_owned();
    }
    let Some((first, further)) = row.rollback_targets.split_first() else {
        let why = match (&row.lost_target, &row.from) {
            (Some(lost), _) => format!("#{} is no way back: {}", lost.release.lineage, line(&lost.text)),
            (None, None) if row.takes_over() => "no release was verified good here before".to_owned(),
            (None, None) => "nothing ran here before".to_owned(),
            (None, Some(_)) => "no earlier release was verified good here".to_owned(),
        };
        return format!("if it fails: held for a person, {why}");
    };
    let same = row.to.as_ref().is_some_and(|to| to.id == first.id);
    let mut out = match same {
        true => format!("if it fails: back to #{} as it was configured before", first.lineage),
        false => format!("if it fails: back to #{}", first.lineage),
    };
    if !further.is_empty() {
        let further: Vec<String> = further.iter().map(|r| format!("#{}", r.lineage)).collect();
        out.push_str(&format!("; further releases {}", further.join(", ")));
    }
    out
}

/// The words of a gate, with its times.
pub(crate) fn gate(gate: &GateView, view: &PlanView, options: &Options) -> String {
    let mut out = line(&gate.text);
    out.push_str(&gate.judged(view.planned_at));
    out.push_str(&words::quoted(gate.remark.as_ref()));
    if let Some(since) = gate.since {
        let word = if gate.outcome.is_open() { "" } else { "since " };
        out.push_str(&format!(", {word}{}", time::near(since, view.planned_at, &options.zone)));
    }
    if let (Some(closes), true) = (gate.closes, gate.outcome.is_open()) {
        out.push_str(&format!(", closes {}", time::near(closes, view.planned_at, &options.zone)));
    }
    if let (Some(until), false) = (gate.until, gate.outcome.is_open()) {
        let verb = match gate.kind {
            GateKind::Window => "opens",
            GateKind::Soak | GateKind::Arrival => "met",
            _ => "until",
        };
        let left = time::left(until, view.planned_at);
        out.push_str(&format!(", {verb} {} (in {left})", time::near(until, view.planned_at, &options.zone)));
    }
    out
}

fn differences(view: &PlanView, options: &Options, out: &mut String) {
    let mut budget = if options.full { usize::MAX } else { LINES_PER_PLAN };
    for row in &view.environments {
        for one in row.differences() {
            let places = one.places.join(", and the same in ");
            let title = format!("{} · {} · what would change in {places}", row.environment, one.provider);
            out.push_str(&format!("\n  {}\n", label(Label::Strong, &line(&title))));
            for change in one.changes {
                let path = format!("{} ({})", line(&change.path), diff::summary(change));
                out.push_str(&format!("  {}\n", label(Label::Dim, &path)));
                let hunks = diff::hunks(change);
                let limit = if options.full { usize::MAX } else { LINES_PER_FILE.min(budget) };
                let (shown, left_out) = diff::head(&hunks, limit);
                budget = budget.saturating_sub(shown.lines().count());
                for text in shown.lines() {
                    let kind = match text.as_bytes().first() {
                        Some(b'+') => Some(Label::Good),
                        Some(b'-') => Some(Label::Bad),
                        Some(b'@') => Some(Label::Dim),
                        _ => None,
                    };
                    let text = line(text);
                    out.push_str(&format!("  {}\n", kind.map_or(text.clone(), |kind| label(kind, &text))));
                }
                if left_out > 0 {
                    let text = format!(
                        "… {} {} not shown: do not approve from this view, use --full",
                        counted(left_out, "more line"),
                        is(left_out)
                    );
                    out.push_str(&format!("  {}\n", label(Label::Waiting, &text)));
                }
            }
        }
    }
}

fn footer(view: &PlanView, options: &Options, out: &mut String) {
    let moves = view.environments.iter().any(|row| row.movement.is_some());
    let what = match &view.file {
        Some(file) if moves => format!("Saved {}   {}", line(file), view.digest),
        Some(file) => {
            format!("Saved {}   {}   it moves nothing, so there is nothing to apply", line(file), view.digest)
        }
        None if view.if_merged.is_some() => "Not saved: plan again after the merge".to_owned(),
        None => format!("Not saved   {}", view.digest),
    };
    out.push_str(&format!("\n{what}\n"));
    if moves && view.if_merged.is_none() {
        let deadlines = deadlines(view, options);
        out.extend(deadlines.iter().map(|deadline| format!("  {deadline}\n")));
    }
    let mut next = view.next.iter();
    // Where an environment was left out, the error that says so comes last, with its own.
    let first = if view.left_out.is_empty() { next.next() } else { None };
    for other in next {
        out.push_str(&format!("{} {}   ({})\n", label(Label::Dim, "Also:"), other.command, other.why));
    }
    if let Some(first) = first {
        out.push_str(&format!("{} {}\n", label(Label::Next, "Next:"), first.command));
    }
}
