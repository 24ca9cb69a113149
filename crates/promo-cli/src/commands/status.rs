//! `promo status`: what is where, since when.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use promo_core::eligibility::{self, CheckStatus};
use promo_core::gate::Reason;
use promo_core::ids::{EnvironmentName, ReleaseId, RunId};
use promo_core::ledger::View;
use promo_core::ledger::event::PromotionOutcome;
use promo_core::model::{Start, Tier};
use promo_core::planner;
use promo_engine::{FailedWith, Session};
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::{Format, Global};
use crate::error::{CliError, command_line};
use crate::escape;
use crate::exit::{DONE, Exit};
use crate::output::labels::{Label, label};
use crate::output::{endings, forming as forming_words, standing as words, table, time};
use crate::project::{self, Access};
use crate::ui::{self, Ui};
use crate::view::answers::{LedgerSize, Status};
use crate::view::forming::Forming;
use crate::view::standing::{HoldView, PendingView};
use crate::view::ways;
use crate::view::{DrillView, FailedWithView, NextCommand, ReleaseView, Standing, not_released};

#[derive(Debug, Args)]
pub(crate) struct Arguments {}

/// The frozen view of an environment's state, format 1.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) environment: EnvironmentName,
    tier: Tier,
    /// What was deployed there last: what runs there, but where a hold says what was `left` instead.
    pub(crate) release: Option<ReleaseView>,
    /// Since when.
    pub(crate) since: Option<Timestamp>,
    /// Whether something else began to come there since, and of what a run is bringing now whether that was before it began.
    #[serde(skip)]
    pub(crate) ended: bool,
    #[serde(skip)]
    ended_before: bool,
    /// Whether all its checks hold, and what is there is what they were asked about.
    pub(crate) verified: bool,
    /// Each check, and how it stands.
    pub(crate) checks: Vec<(String, &'static str)>,
    /// The run that is moving it.
    pub(crate) moving: Option<RunId>,
    /// The run that deploys again what runs there: until its checks have spoken, `verified` and `checks` are of the
    /// earlier deployment (S16).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) redeploying: Option<RunId>,
    /// That what runs there was rejected, or quarantined after a rollback, since: it stays, and enters nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rejected: Option<Rejected>,
    /// Whether promotion into it is stopped, and how.
    pub(crate) frozen: Option<&'static str>,
    /// Checks upstream that held for what runs there and hold no longer, in words (S3, S16).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) lost_evidence: Vec<String>,
    /// Whether its configuration in the working tree is another than the one that was deployed: a plan would tell.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) reconfigured: bool,
    /// Whether that configuration failed here before, so that it is planned by name only (S3.3).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) configuration_failed: bool,
    /// Where what comes next would come with a configuration that failed here with another release.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed_with: Option<FailedWithView>,
    /// How the last promotion ended, where it did not end well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<String>,
    /// The last drill of its way back that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) drill: Option<DrillView>,
    /// Since when what runs there is verified, where it came there last as what a drill brought back.
    #[serde(skip)]
    pub(crate) drilled: Option<Timestamp>,
    /// What keeps it as it is until a person does something about it, what stops most first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) holds: Vec<HoldView>,
}

/// The quarantine of what runs somewhere.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Rejected {
    /// For this environment and downstream; null means everywhere.
    pub(crate) scope: Option<EnvironmentName>,
    /// Who.
    pub(crate) by: String,
    /// Whether a rollback did it.
    pub(crate) automatic: bool,
    /// When.
    pub(crate) at: Timestamp,
    /// The reason that was given.
    pub(crate) reason: Option<String>,
    /// What leads on from it, best first.
    #[serde(skip)]
    pub(crate) ways: Vec<NextCommand>,
}

impl Rejected {
    /// The quarantine of a release that covers an environment.
    pub(crate) fn of(
        session: &Session,
        view: &View,
        release: &ReleaseId,
        name: &EnvironmentName,
    ) -> Result<Option<Self>, CliError> {
        let Some((scope, note)) = view.quarantine(release, name, &session.governance().graph) else { return Ok(None) };
        let (scope, by) = (scope.clone(), note.by.name.clone());
        let reason = session.reason_given(note.seq)?;
        let runs = view.current(name).is_some_and(|current| current.release == *release);
        let ways = if runs { ways::instead(session, view, name)? } else { Vec::new() };
        Ok(Some(Self { scope, by, automatic: note.automatic, at: note.at, reason, ways }))
    }

    /// The same in a line with its sign.
    pub(crate) fn line(&self, now: Timestamp, zone: &TimeZone) -> String {
        label(Label::Bad, &format!("✗ what runs here was {}", self.words(now, zone)))
    }

    /// What was done, by whom, since when and why, with the command that leads out.
    pub(crate) fn words(&self, now: Timestamp, zone: &TimeZone) -> String {
        self.told(&format!(", since {}", time::near(self.at, now, zone)))
    }

    /// The same where no times are told but those of a plan.
    pub(crate) fn untimed(&self) -> String {
        self.told("")
    }

    fn told(&self, since: &str) -> String {
        let (scope, automatic, by) = (self.scope.clone(), self.automatic, self.by.clone());
        let what = escape::line(&Reason::Quarantined { scope, automatic, by }.to_string());
        let reason = words::quoted(self.reason.as_ref());
        // The whole command, with the file that it writes, is among the next ones.
        let way = self.ways.first().and_then(|way| way.command.split(" --out").next());
        let way = way.map(|way| format!(" (`{way}`)")).unwrap_or_default();
        format!("{what}{since}{reason}{way}")
    }
}

impl Row {
    /// Whether a promotion that holds it left something else there than was deployed last.
    fn left(&self) -> bool {
        self.holds.iter().any(|hold| !hold.left.is_empty())
    }
}

/// How every environment stands, in the order of the graph.
pub(crate) fn rows(session: &Session, view: &View, standing: &Standing) -> Result<Vec<Row>, CliError> {
    let governance = session.governance();
    // A file that cannot be read keeps every plan from being made, which is no reason to say nothing else.
    let reconfigured = session.reconfigured(view).unwrap_or_default();
    let lost = eligibility::lost_evidence(&governance.rules(), view, governance.graph.topological());
    let mut rows = Vec::new();
    let mut failed_with = failed_with(session, view, &reconfigured)?;
    for name in governance.graph.topological() {
        let environment = &governance.pipeline.environments[name];
        let known = view.environment(name);
        let current = view.current(name);
        let verified = current.map(|r| eligibility::verification(view, name, environment, &r.release));
        let checks = verified.iter().flat_map(|v| &v.checks).map(|(check, status)| (check.to_string(), word(*status)));
        let (active, ended) = (known.and_then(|e| e.active.as_ref()), current.and_then(|r| r.until));
        let last = known.and_then(|e| e.last_effective()).and_then(|p| p.finished.map(|(_, o)| (p, o)));
        rows.push(Row {
            environment: name.clone(),
            tier: environment.tier,
            release: current.map(|r| ReleaseView::of(&planner::reference(view, &r.release))),
            since: current.map(|r| r.since),
            ended: ended.is_some(),
            ended_before: active.is_some_and(|active| ended.is_some_and(|at| at < active.started)),
            verified: verified.as_ref().is_some_and(|v| v.holds_since.is_some()) && standing.left_in(name).is_none(),
            checks: checks.collect(),
            moving: active.map(|p| p.run.clone()),
            redeploying: current.and_then(|r| standing.returns(name, &r.release)).cloned(),
            rejected: match current {
                Some(current) => Rejected::of(session, view, &current.release, name)?,
                None => None,
            },
            frozen: view.freeze(name).map(|f| if f.note.automatic { "paused after a rollback" } else { "frozen" }),
            lost_evidence: lost.get(name).into_iter().flatten().map(ToString::to_string).collect(),
            reconfigured: reconfigured.contains_key(name),
            configuration_failed: reconfigured.get(name) == Some(&true),
            failed_with: failed_with.remove(name).map(|failed| FailedWithView::of(view, failed)),
            last: last
                .filter(|(_, outcome)| *outcome != PromotionOutcome::Verified)
                .map(|(p, outcome)| format!("{} {}", p.to, endings::told(session, view, name, p, outcome).0)),
            drill: DrillView::last(session, view, name)?,
            drilled: verified.as_ref().and_then(|v| v.holds_since).filter(|_| brought_back(view, name)),
            holds: standing.holds_of(name).to_vec(),
        });
    }
    Ok(rows)
}

/// Whether what runs in an environment came there last as what a drill brought back.
fn brought_back(view: &View, name: &EnvironmentName) -> bool {
    let run = view.current(name).and_then(|current| current.run.as_ref());
    let mut drills = view.environment(name).into_iter().flat_map(|known| &known.history).filter(|p| p.drill.is_some());
    run.is_some_and(|run| drills.any(|drill| drill.run == *run))
}

/// Of what would come next to each environment: that its configuration failed there with another release.
fn failed_with(
    session: &Session,
    view: &View,
    reconfigured: &BTreeMap<EnvironmentName, bool>,
) -> Result<BTreeMap<EnvironmentName, FailedWith>, CliError> {
    let (rules, present) = (session.governance().rules(), session.present()?);
    let comes: Vec<(&EnvironmentName, ReleaseId)> = (session.governance().graph.topological().iter())
        .filter_map(|name| {
            let candidate = eligibility::candidate(&rules, view, name, present);
            let own = || view.current(name).filter(|_| reconfigured.get(name) == Some(&false));
            Some((name, candidate.or_else(|| own().map(|own| own.release.clone()))?))
        })
        .collect();
    let questions: Vec<(&EnvironmentName, &ReleaseId)> = comes.iter().map(|(name, id)| (*name, id)).collect();
    // A file that cannot be read is told of by whoever plans.
    let found = session.failed_with_here(view, &questions).unwrap_or_default();
    Ok(questions.iter().zip(found).filter_map(|((name, _), found)| Some(((*name).clone(), found?))).collect())
}

pub(crate) fn run(ui: &Ui, global: &Global, _arguments: &Arguments) -> Result<Exit, CliError> {
    let project = project::open(ui, global, Access::Read)?;
    let (session, zone) = (&project.session, ui::zone(global)?);
    let (view, now) = (session.view()?, session.now()?);
    let governance = session.governance();
    let standing = Standing::of(session, &view)?;
    let rows = rows(session, &view, &standing)?;
    let forming = Forming::of(session, &view);
    let (says, next) = lead_on(session, &view, &standing, &rows)?;
    let next = next.map(|next| ui.to_paste(&next));
    if ui.format() == Format::Json {
        ui.answer(&Status {
            pipeline: governance.pipeline.name.clone(),
            at: now,
            local: governance.local,
            ledger: LedgerSize { size: view.size },
            environments: rows,
            forming,
            runs: standing.runs,
            pending: standing.pending,
            says: says.clone(),
            next: next.unwrap_or_default(),
        });
        return Ok(DONE);
    }
    let markdown = ui.format() == Format::Markdown;
    let mode = if governance.local { " · local mode" } else { "" };
    let head = format!("{} · {} · ledger at {}{mode}", governance.pipeline.name, time::long(now, &zone), view.size);
    let mut out = if markdown {
        format!("**{head}**\n\n| environment | release | state |\n|---|---|---|\n")
    } else {
        table::fold(&format!("promo status · {head}\n\n"), ui.width())
    };
    let mut lines = Vec::new();
    for row in &rows {
        // Where something else was left, its hold says what; a run that began there since does not know it.
        let release = match row.ended_before || row.left() {
            true => "not as deployed".to_owned(),
            false => row.release.as_ref().map_or_else(|| "nothing yet".to_owned(), ReleaseView::text),
        };
        let state = facts(row, &standing, now, &zone);
        if markdown {
            let state = anstream::adapter::strip_str(&state.join(" · ")).to_string();
            out.push_str(&format!(
                "| {} | {} | {} |\n",
                row.environment,
                escape::markdown(&release),
                escape::markdown(&state)
            ));
        } else {
            // One fact a line: with all of them beside each other the worst one would stand off the screen.
            let mut facts = state.into_iter();
            lines.push(vec![row.environment.to_string(), escape::line(&release), facts.next().unwrap_or_default()]);
            lines.extend(facts.map(|fact| vec![String::new(), String::new(), fact]));
        }
    }
    out.push_str(&table::columns(&lines, "  ", ui.width()));
    if let Some(forming) = &forming {
        out.push_str(&table::fold(&format!("\n{}\n", forming_words::line(forming, now, &zone)), ui.width()));
    }
    if !says.is_empty() {
        out.push_str(&table::fold(&format!("\n{says}\n"), ui.width()));
    }
    if let Some(next) = next {
        out.push_str(&ui.last_line(&next));
    }
    ui.data(&out);
    Ok(DONE)
}

/// What there is to say of an environment, what stops it first.
fn facts(row: &Row, standing: &Standing, now: Timestamp, zone: &TimeZone) -> Vec<String> {
    let name = row.environment.as_str();
    let mut state: Vec<String> = Vec::new();
    for hold in &row.holds {
        state.push(words::hold_in_short(hold, name, now, zone));
        state.extend((!hold.left.is_empty()).then(|| label(Label::Bad, &format!("✗ {}", words::left(hold)))));
    }
    let at_work = standing.runs.iter().filter(|run| run.environments.contains_key(&row.environment));
    state.extend(at_work.map(|run| words::run(run, now)));
    if let Some(since) = row.since {
        let sign = match (row.verified, &row.redeploying) {
            // What is there now is being replaced, or was left half-way: its run stands above.
            (true, None) if row.moving.is_some() => label(Label::Waiting, "… was verified before that run began"),
            (true, None) if row.ended => label(Label::Waiting, "… was verified before something else began to come"),
            (true, None) => label(Label::Good, "✓ verified"),
            // Said beside the run: it is what the run is about to confirm or to take back.
            (true, Some(run)) => {
                label(Label::Waiting, &format!("… verified by its earlier deployment; run {run} deploys it again"))
            }
            (false, _) => label(Label::Waiting, "… not verified"),
        };
        match row.release.as_ref().filter(|_| row.ended || row.left()) {
            Some(last) => {
                let (last, ago) = (escape::line(&last.text()), time::ago(since, now));
                state.push(format!("{sign}: {last} was deployed last, {ago} ago"));
            }
            // A drill is a stay of its own, and takes nothing from the verdicts before it.
            None => state.push(match row.drilled.filter(|_| row.moving.is_none()) {
                Some(at) => {
                    let at = time::near(at, now, zone);
                    format!("{sign} since {at}, there again after a drill for {}", time::ago(since, now))
                }
                None => format!("{sign}, there for {}", time::ago(since, now)),
            }),
        }
    }
    state.extend(row.rejected.iter().map(|rejected| rejected.line(now, zone)));
    state.extend(row.checks.iter().filter(|(_, s)| *s != "passed").map(|(check, s)| format!("{check} {s}")));
    // What was held is told already, with its run.
    let held = row.holds.iter().any(|hold| hold.run.is_some());
    state.extend(row.last.iter().filter(|_| !held).map(|l| label(Label::Bad, &format!("last: {l}"))));
    state.extend(row.lost_evidence.iter().map(|l| label(Label::Bad, &format!("stands on lost evidence: {l}"))));
    if row.reconfigured {
        state.push(label(Label::Waiting, &format!("… {}", words::other_configuration(row.configuration_failed))));
    }
    let comes = |failed: &FailedWithView| {
        label(Label::Waiting, &format!("! what comes next comes {}", failed.words(now, zone)))
    };
    state.extend(row.failed_with.iter().map(comes));
    state.extend(row.drill.iter().map(|drill| drill.line(now)));
    for pending in &standing.pending {
        let Some(move_) = pending.row(name) else { continue };
        let to = words::drill(move_).unwrap_or_else(|| words::release(Some(&move_.to)));
        state.push(format!("{to} {}", words::requested(pending, now, zone)));
        state.extend(words::pending(pending, move_, now, zone));
    }
    state
}

/// What is said where nothing is to be done. It is said by the ledger and by the files here (S9.1).
const EVERYWHERE: &str = "Everything is where it should be: the newest release is verified everywhere. What is there now was not \
                          looked at: `promo plan` looks.";

/// What is said beside how the ledger and the files here stand.
const NOT_LOOKED: &str = "What is there now was not looked at: `promo plan` looks.";

/// The same where a file that the pipeline names cannot be read, which keeps every plan from being made.
const UNREAD: &str = "The newest release is verified everywhere. Whether its configuration here is another one is not known: a file \
                      that the pipeline names cannot be read.";

/// What there is to do, in words where it is nothing, and the command that leads on.
fn lead_on(
    session: &Session,
    view: &View,
    standing: &Standing,
    rows: &[Row],
) -> Result<(String, Option<String>), CliError> {
    let why = |row: &Row| (String::new(), Some(command_line(["promo", "why", row.environment.as_str()])));
    if let Some(dead) = standing.runs.iter().find(|run| !run.alive()) {
        return Ok((String::new(), Some(dead.next.clone())));
    }
    if view.releases.is_empty() {
        return Ok(("There are no releases yet.".into(), Some(ways::new_release(session))));
    }
    if let Some(row) = rows.iter().find(|row| row.holds.iter().any(|hold| hold.run.is_some())) {
        return Ok(why(row));
    }
    // What must not run leaves before anything else goes on, unless a run or a plan that can be applied takes it away.
    let leaves = |row: &&Row| {
        let pending = standing.pending_in(row.environment.as_str());
        row.rejected.is_some()
            && standing.run_in(row.environment.as_str()).is_none()
            && pending.is_none_or(|pending| pending.over)
    };
    if let Some(row) = rows.iter().find(leaves) {
        return Ok(why(row));
    }
    // Of one that is over and moot nothing is to be done.
    let left = |pending: &&PendingView| !pending.next.is_empty();
    if let Some(pending) = standing.pending.iter().find(left) {
        return Ok((String::new(), Some(pending.next.clone())));
    }
    if let Some(run) = standing.runs.first() {
        return Ok((String::new(), Some(run.next.clone())));
    }
    // What can go on goes on, unless a person froze it; what happened before stands in its row. What was tried before is
    // planned by name only (S3.3), and `why` says so.
    let (rules, present) = (session.governance().rules(), session.present()?);
    let free = |row: &&Row| !row.holds.iter().any(|hold| hold.kind == "frozen");
    let tried =
        |row: &Row, id: &ReleaseId| view.environment(&row.environment).is_some_and(|known| known.fired.contains(id));
    let moves =
        |row: &Row| eligibility::candidate(&rules, view, &row.environment, present).is_some_and(|id| !tried(row, &id));
    // Where a check only has to be run again, that comes first: what is planned waits for it too.
    let flaky = |row: &&Row| row.checks.iter().any(|(_, stands)| *stands == word(CheckStatus::Flaky));
    let again = rows
        .iter()
        .find(flaky)
        .and_then(|row| ways::open_checks(session, view, &row.environment, false).into_iter().next());
    if let Some(again) = again {
        return Ok((String::new(), Some(again.command)));
    }
    if rows.iter().filter(free).any(moves) {
        return Ok((String::new(), Some("promo plan".to_owned())));
    }
    // What starts only by request is planned by name (S3.2).
    if let Some(row) = rows.iter().filter(free).find(|row| row.reconfigured && !row.configuration_failed) {
        let start = session.governance().pipeline.environments[&row.environment].start;
        let named = (start == Start::Manual).then_some(row.environment.as_str());
        return Ok((String::new(), Some(command_line(["promo", "plan"].into_iter().chain(named)))));
    }
    // Before what has only lost its evidence by it.
    if let Some(row) = rows.iter().find(|row| row.release.is_some() && !row.verified) {
        return Ok(why(row));
    }
    // A configuration that failed and is put back leaves nothing to do: the release runs as it was verified.
    let over = |row: &Row| {
        let last = view.environment(&row.environment).and_then(|known| known.last_effective());
        row.verified && !row.reconfigured && last.is_some_and(|last| last.configuration.is_some())
    };
    let wrong = |row: &&Row| row.last.is_some() && !over(row) || !row.holds.is_empty() || !row.lost_evidence.is_empty();
    // What is stopped comes before what only failed once, and of those what failed last.
    let ended = |row: &Row| view.environment(&row.environment)?.last_effective()?.finished.map(|(at, _)| at);
    let urgent = |row: &&Row| (row.release.is_some(), !row.holds.is_empty(), row.last.as_ref().and(ended(row)));
    if let Some(row) = rows.iter().filter(wrong).min_by_key(|row| Reverse(urgent(row))) {
        return Ok(why(row));
    }
    let newest = view.releases.last().map(|entry| entry.release.id.as_str());
    let everywhere = |row: &Row| row.release.as_ref().map(|release| release.id.as_str()) == newest;
    match rows.iter().find(|row| !everywhere(row)) {
        None if session.reconfigured(view).is_err() => Ok((UNREAD.into(), Some("promo check".to_owned()))),
        None => {
            let changed = session.unreleased()?;
            if changed.is_empty() {
                let forms = session.forming(view).is_some();
                return Ok((EVERYWHERE.into(), forms.then(|| ways::new_release(session))));
            }
            let paths: Vec<&str> = changed.iter().map(|changed| changed.path.as_str()).collect();
            let says = format!("The newest release is verified everywhere. {} {NOT_LOOKED}", not_released(&paths));
            Ok((says, Some(ways::new_release(session))))
        }
        Some(row) => Ok(why(row)),
    }
}

/// How a check stands, in words.
pub(crate) const fn word(status: CheckStatus) -> &'static str {
    match status {
        CheckStatus::Passed { .. } => "passed",
        CheckStatus::Failed => "failed",
        CheckStatus::Flaky => "passed after a failure and must pass once more",
        CheckStatus::Withdrawn => "was withdrawn",
        CheckStatus::Missing => "has not spoken",
    }
}
