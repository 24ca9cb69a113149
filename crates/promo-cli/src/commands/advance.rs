//! `promo advance`: one pass of automatic promotion; what a timer runs.

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use promo_core::gate::{self, Gate, GateKind, Outcome, Reason, overall};
use promo_core::ids::EnvironmentName;
use promo_core::ledger::View;
use promo_core::model::Start;
use promo_core::plan::{Document, ReleaseRef, StayReason};
use promo_core::planner;
use promo_engine::{Advanced, ApplyOptions, EngineError, Progress, Session, exit};

use super::status::Rejected;
use crate::cli::{Format, Global};
use crate::engine_error::{of_planning, unseen};
use crate::error::{CliError, command_line};
use crate::escape;
use crate::exit::{DONE, Exit};
use crate::output::labels::{Label, label};
use crate::output::{progress, run_report, standing as words, table};
use crate::project::{self, Access};
use crate::ui::{self, Ui};
use crate::view::gate::lacking;
use crate::view::{DriftView, GateView, Standing, next_of, ways};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    lock: project::Lock,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let mut project = project::open(ui, global, Access::Write)?;
    project.session = project.session.with_lease_ttl(arguments.lock.ttl()?);
    let width = progress::width(project.session.governance().pipeline.environments.keys());
    let advanced = project.runtime.block_on(async {
        let options = ApplyOptions {
            approvals: Vec::new(),
            stop_all: false,
            // What has an approval rule waits for somebody who asks for it by a plan of its own.
            key: None,
            progress: progress::sink(ui, width),
            stop: project::stop_on_ctrl_c(ui, &project.session),
        };
        project.session.advance(options).await
    });
    let (reports, left, end) = match advanced {
        Ok(Advanced { reports, document, left }) => (reports, left, Ok(document)),
        Err(unfinished) => (unfinished.reports, unfinished.left, Err(unfinished.error)),
    };
    // What was done is told also where what came after it failed.
    for report in &reports {
        run_report::draw(ui, &project.session, report, true);
    }
    // Its plans are its own: whoever lost a race against another run makes the next pass.
    let document = end.map_err(|error| match error {
        EngineError::Stale { .. } | EngineError::Elsewhere { .. } => {
            CliError::from(error).go_on_with(&["promo", "advance"])
        }
        error => {
            let told = match project.session.view() {
                Ok(view) => in_the_way(error, &project.session, &view),
                Err(_) => CliError::from(error),
            };
            told.details(left.iter().map(|(name, error)| unseen(name, error)))
        }
    })?;
    let session = &project.session;
    let (view, now, zone) = (session.view()?, session.now()?, ui::zone(global)?);
    let standing = Standing::of(session, &view)?;
    let mut waits: Vec<Wait<'_>> = Vec::new();
    for name in session.governance().graph.topological() {
        waits.extend(Wait::of(session, (&view, &standing), &document, name)?);
    }
    let ended = reports.last().map(|report| Exit(report.exit_code())).filter(|exit| *exit != DONE);
    for wait in &waits {
        let gates = wait.gates.clone().or_else(|| wait.person.then(Vec::new));
        if let Some(gates) = gates.filter(|_| ui.format() == Format::Json) {
            let (environment, code) = (Some(wait.environment.clone()), "waiting".to_owned());
            ui.event(&Progress::Waiting { environment, code, why: wait.why(), gates });
        }
    }
    if ui.format() != Format::Json {
        let mut out = String::new();
        if reports.is_empty() && left.is_empty() {
            out.push_str("Nothing can be promoted by itself now.\n");
        }
        for wait in &waits {
            let lines = wait.lines(session, &view, &standing, now, &zone)?;
            out.extend(lines.iter().map(|line| format!("{:<width$} {line}\n", wait.environment)));
        }
        // To plan around what is in the way names what enters by itself: nobody has looked at the others.
        let passed_over = |name: &&EnvironmentName| {
            let told = document.body.moves.iter().map(|entry| &entry.environment);
            let mut told = told.chain(document.body.stays.iter().map(|stay| &stay.environment));
            !left.is_empty() && !left.contains_key(*name) && !told.any(|told| told == *name)
        };
        for name in session.governance().graph.topological().iter().filter(passed_over) {
            let why = command_line(["promo", "why", name.as_str()]);
            out.push_str(&format!("{name:<width$} was not looked at beside what is in the way (`{why}`)\n"));
        }
        // Told as the error with which it ends, where nothing else comes first.
        if ended.is_some() {
            out.extend(left.iter().map(|(name, error)| format!("{name:<width$} {}\n", unseen(name, error))));
        }
        ui.data(&table::fold(&out, ui.width()));
        let stopped = || standing.runs.iter().find(|run| !run.alive()).map(|run| run.next.clone());
        let held = || {
            let held = waits.iter().find(|wait| wait.person)?;
            if let Some(lacking) = lacking(held.gates.iter().flatten().map(|gate| gate.reason.code())) {
                return Some(lacking);
            }
            let lost = held.gates.iter().flatten().map(|gate| &gate.reason);
            if let Some(lost) = lost.into_iter().find(|reason| is_lost(reason)) {
                return Some(command_line(["promo", "explain", lost.code()]));
            }
            if held.takes_over {
                let (name, file) = (held.environment.as_str(), ways::own_file(&held.environment));
                return Some(command_line(["promo", "adopt", name, "--out", &file]));
            }
            let holds = standing.holds_of(&held.environment);
            if let Some((_, rejected)) = held.rejected.as_ref().filter(|_| holds.iter().all(|hold| hold.run.is_none()))
            {
                return rejected.ways.first().map(|way| way.command.clone());
            }
            if let Some(repair) = held.gone.iter().find_map(|gone| gone.repair.clone()) {
                return Some(repair);
            }
            Some(command_line(["promo", "why", held.environment.as_str()]))
        };
        let next = match reports.last() {
            Some(report) if report.exit_code() != exit::DONE => run_report::next(session, report),
            _ => stopped().or_else(held).unwrap_or_else(|| "promo status".to_owned()),
        };
        // The error brings its own.
        if ended.is_some() || left.is_empty() {
            ui.data(&ui.next(&next));
        }
    }
    // What a run did comes first, and what could not be looked at before what waits: nobody knows what that would have done.
    if ended.is_none() {
        let mut left = left.into_iter();
        if let Some((_, error)) = left.next() {
            return Err(in_the_way(error, session, &view).details(left.map(|(name, error)| unseen(&name, &error))));
        }
    }
    // What a timer runs says so when it will never get further by itself.
    let person = waits.iter().any(|wait| wait.person);
    Ok(ended.unwrap_or(if person { Exit(exit::WAITING) } else { DONE }))
}

/// What ends the pass before anything is begun. A file that was edited while it was read gives another plan, wherever that is met;
/// what else is in the way meets every plan.
fn in_the_way(error: EngineError, session: &Session, view: &View) -> CliError {
    let edited = matches!(&error, EngineError::Provider { source, .. } if source.found.is_some());
    if edited { CliError::from(error) } else { of_planning(error, session, view) }
}

/// Whether an artifact cannot be had as it was recorded: the registry does not have it, or its tag names another one.
fn is_lost(reason: &Reason) -> bool {
    matches!(reason, Reason::ArtifactUnavailable { .. } | Reason::TagMoved { .. })
}

/// Why nothing is taken over here.
const REVIEWED: &str = "only a plan that somebody has looked at does that";

/// An environment that stays as it is, although something could enter or something keeps everything out.
struct Wait<'a> {
    environment: EnvironmentName,
    /// What would enter.
    release: Option<&'a ReleaseRef>,
    /// The closed gates; none where nothing would enter.
    gates: Option<Vec<Gate>>,
    /// How that which would enter stands, where a run is moving it there.
    under_way: Option<&'static str>,
    /// Whether it would enter, and a person has to ask for it.
    by_request: bool,
    /// Whether it would take over what is there, which is left to a plan that somebody has seen.
    takes_over: bool,
    /// Whether a run stopped or failed there, or what starts there by itself goes no further until a person has done something.
    person: bool,
    /// The quarantine of what runs there, and what leads out of it.
    rejected: Option<(ReleaseRef, Rejected)>,
    /// Places from which what was deployed was removed: nothing brings that back by itself.
    gone: Vec<DriftView>,
}

impl<'a> Wait<'a> {
    fn of(
        session: &Session,
        (view, standing): (&View, &Standing),
        document: &'a Document,
        name: &EnvironmentName,
    ) -> Result<Option<Self>, CliError> {
        let moves =
            document.body.moves.iter().filter(|entry| !entry.outcome().is_open() || session.takes_over(view, entry));
        let entry = moves.into_iter().find(|entry| entry.environment == *name);
        let stay = document.body.stays.iter().find(|stay| stay.environment == *name);
        let next = stay.and_then(next_of);
        let release = entry.map(|entry| &entry.to).or(next.map(|next| &next.release));
        let gates = entry.map(|entry| &entry.gates).or(next.map(|next| &next.gates));
        let told = release.zip(gates).map(|(release, gates)| gate::told(gates.clone(), &release.id));
        let run = release.zip(told.as_ref()).and_then(|(release, told)| gate::moved_by(told, &release.id));
        let under_way = run.map(|run| standing.halfway(run));
        let gates = told.as_ref().map(|told| gate::closed(told).into_iter().cloned().collect::<Vec<_>>());
        let dead = standing.run_in(name.as_str()).is_some_and(|run| !run.alive());
        let by_person = |gate: &Gate| match gate.kind {
            GateKind::Freeze | GateKind::Approval => true,
            GateKind::Lock => dead || matches!(gate.reason, Reason::Held { .. }),
            _ => false,
        };
        let waits = stay.is_none_or(|stay| stay.why == StayReason::HeldBack);
        let declared = session.governance().pipeline.environments.get(name);
        let by_itself = declared.is_some_and(|environment| environment.start == Start::Auto);
        // What a check needs comes to this machine by somebody's hand.
        let lacks = lacking(gates.iter().flatten().map(|gate| gate.reason.code())).is_some();
        // What is held is let go by a person only, also where nothing waits to enter behind it.
        let held = standing.holds_of(name).iter().any(|hold| hold.run.is_some());
        let mut gone = stay.map(|stay| DriftView::seen(session, view, stay)).unwrap_or_default();
        gone.retain(|place| place.missing);
        // What a registry does not have, or names otherwise, comes back by somebody's hand.
        let lost = gates.iter().flatten().any(|gate| is_lost(&gate.reason));
        let waits = waits && gates.iter().flatten().any(by_person);
        let takes_over = entry.is_some_and(|entry| session.takes_over(view, entry) && entry.outcome().is_open());
        // What must not run is not taken away by itself; what enters instead may be on its way there.
        let rejected = match view.current(name).filter(|_| under_way.is_none()) {
            Some(here) => Rejected::of(session, view, &here.release, name)?
                .map(|rejected| (planner::reference(view, &here.release), rejected)),
            None => None,
        };
        let comes = gates.as_ref().is_some_and(|gates| !gates.is_empty() && overall(gates) < Outcome::Expired);
        let barred = rejected.is_some() && !comes;
        // What stopped or failed needs somebody wherever that is, also where only people begin.
        let stands = lacks || waits || lost || takes_over || barred || !gone.is_empty();
        let person = dead || held || by_itself && stands;
        let holds = !standing.holds_of(name).is_empty();
        let told = release.is_some() || dead || holds || rejected.is_some() || !gone.is_empty();
        let by_request = under_way.is_none() && stay.is_some_and(|stay| stay.why == StayReason::StartsByRequest);
        let environment = name.clone();
        Ok(told.then_some(Self {
            environment,
            release,
            gates,
            under_way,
            by_request,
            takes_over,
            person,
            rejected,
            gone,
        }))
    }

    /// Why nothing enters, in words.
    fn why(&self) -> String {
        let name = &self.environment;
        let Some(release) = self.release else {
            return match &self.rejected {
                Some((release, _)) => format!("{release} runs in {name}, and is quarantined"),
                None => format!("{name} waits for a person"),
            };
        };
        match (self.under_way, self.by_request) {
            (Some(stands), _) => format!("{release} is {stands} in {name}"),
            (None, _) if self.takes_over => format!("{release} would take over what is there in {name}: {REVIEWED}"),
            (None, true) => format!("{release} enters {name} only when a person asks for it"),
            (None, false) => format!("{release} stays out of {name}"),
        }
    }

    /// What stops it, and what closed gates say, a line each.
    fn lines(
        &self,
        session: &Session,
        view: &View,
        standing: &Standing,
        now: Timestamp,
        zone: &TimeZone,
    ) -> Result<Vec<String>, CliError> {
        let name = &self.environment;
        let holds = standing.holds_of(name).iter().map(|hold| words::hold_in_short(hold, name.as_str(), now, zone));
        let runs = standing.runs.iter().filter(|run| run.environments.contains_key(name));
        let mut out: Vec<String> = holds.chain(runs.map(|run| words::run(run, now))).collect();
        out.extend(self.gone.iter().map(words::drift));
        out.extend(self.rejected.iter().map(|(release, rejected)| {
            let told = rejected.words(now, zone);
            label(Label::Bad, &format!("✗ {} runs here, and was {told}", escape::line(&release.to_string())))
        }));
        let Some(release) = self.release else { return Ok(out) };
        // Its run has been told, and nothing but that keeps it from entering once more.
        let lock = |gate: &Gate| gate.kind == GateKind::Lock;
        if self.under_way.is_some() && self.gates.iter().flatten().all(lock) {
            return Ok(out);
        }
        // What holds it or moves it has been told, and is the reason where there is no other.
        let told = |gate: &&Gate| matches!(gate.kind, GateKind::Freeze | GateKind::Lock);
        let only = self.gates.iter().flatten().all(|gate| told(&gate));
        let mut why = Vec::new();
        for gate in self.gates.iter().flatten().filter(|gate| only || !told(gate)) {
            let remark = session.reason_behind(view, name, &release.id, &gate.reason)?;
            why.push(words::closed(&GateView { remark, ..standing.gate(gate, (name, &release.id)) }, now, zone));
        }
        if self.takes_over {
            out.push(format!("{release} would take over what is there: {REVIEWED}"));
            return Ok(out);
        }
        let here = view.current(name).is_some_and(|current| current.release == release.id);
        let asks = match (self.by_request, here) {
            (true, true) => " stays, and another configuration of it starts only when a person asks for it",
            (true, false) => " starts only when a person asks for it",
            (false, true) => " stays, and another configuration of it stays out",
            (false, false) => " stays out",
        };
        let why = if why.is_empty() { String::new() } else { format!(": {}", why.join("; ")) };
        out.push(format!("{release}{asks}{why}"));
        Ok(out)
    }
}
