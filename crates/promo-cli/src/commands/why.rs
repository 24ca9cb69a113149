//! `promo why ENV [RELEASE]`: why a release is, or is not, in an environment.

use std::collections::BTreeSet;

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use promo_core::Digest;
use promo_core::eligibility::{self, CheckStatus};
use promo_core::gate::{self, Evidenced, Gate, GateKind, Outcome, Reason, opens_at, overall};
use promo_core::ids::{CheckName, EnvironmentName, ReleaseId};
use promo_core::ledger::View;
use promo_core::ledger::event::{Movement, PromotionOutcome};
use promo_core::ledger::view::{Promotion, ReleaseEntry, Said, Spoken, Uncounted, VerdictEntry};
use promo_core::planner;
use promo_core::requirement::Requirement;
use promo_core::windows::Invoker;
use promo_engine::Session;
use promo_engine::evidence::parts;

use super::history::why_failed;
use super::status::Rejected;
use crate::cli::{Format, Global};
use crate::error::{CliError, command_line};
use crate::escape;
use crate::exit::{DONE, Exit};
use crate::output::labels::{Label, label};
use crate::output::{endings, standing as words, table, time};
use crate::project::{self, Access};
use crate::select;
use crate::ui::{self, Ui};
use crate::view::answers::Why;
use crate::view::gate::lacking;
use crate::view::run::{more, signers};
use crate::view::standing::{Cause, HoldView, PendingRow, PendingView};
use crate::view::ways;
use crate::view::{AuthorityView, DrillView, FailedWithView, GateView, NextCommand, Standing, leads_on};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where
    #[arg(value_name = "ENV")]
    environment: EnvironmentName,
    /// Which release: its id, number or alias; when left out the newest that is not quarantined, or what runs there where that is, or
    /// is broken and the newest went back
    #[arg(value_name = "RELEASE")]
    release: Option<String>,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let project = project::open(ui, global, Access::Read)?;
    let (session, zone, name) = (&project.session, ui::zone(global)?, &arguments.environment);
    let (view, now) = (session.view()?, session.now()?);
    let release = match &arguments.release {
        Some(text) => select::release(&view, text)?,
        None => subject(session, &view, name)?.ok_or_else(|| {
            CliError::new("nothing-selected", 65, "there are no releases yet", "promo release add --help")
        })?,
    };
    let standing = Standing::of(session, &view)?;
    // Of a requested plan the approvals count; a new one would begin without any.
    // One that was rejected, or is stale, says nothing of the release any more.
    let requested = standing.pending_in(name.as_str()).filter(|pending| !pending.over);
    let requested = requested.and_then(|pending| pending.row(name.as_str()));
    let requested = requested.filter(|row| row.to.id == release.as_str() && row.movement == Movement::Promotion);
    // It answers what `promo plan` with the same words would ask, whoever asks: by name is with the release (S3.3).
    let named = arguments.release.is_some();
    let asked = |invoker| {
        let gates = project.runtime.block_on(session.gates_here(name, &release, (invoker, named)));
        gates.map(|gates| gate::told(gates, &release))
    };
    let judged = asked(session.invoker())?;
    let other = overall(&asked(self::other(session.invoker()))?);
    let differs = overall(&judged) != other;
    let lacks = |gate: &&Gate| matches!(gate.reason, Reason::CheckNotRunnable { .. });
    let gates = match requested {
        Some(row) => row.gates.iter().chain(judged.iter().filter(lacks)).cloned().collect(),
        None => judged,
    };
    let here = view.current(name).is_some_and(|r| r.release == release);
    let case = Case {
        session,
        view: &view,
        standing: &standing,
        name,
        release: &release,
        named,
        here,
        outcome: overall(&gates),
        failed: eligibility::failed_there(&view, name, &release),
        // A file that cannot be read keeps every plan from being made, which is no reason to say nothing else.
        reconfigured: session.reconfigured(&view).unwrap_or_default().get(name).copied().filter(|_| here),
    };
    let remarks = gates.iter().map(|gate| session.reason_behind(&view, name, &release, &gate.reason));
    let remarks = remarks.collect::<Result<Vec<_>, _>>()?;
    let outcome = case.outcome;
    let shown = planner::reference(&view, &release);
    let lost = eligibility::lost_evidence(&session.governance().rules(), &view, here.then_some(name));
    let lost: Vec<String> = lost.values().flatten().map(ToString::to_string).collect();
    // While a run brings it back, a release counts as verified by its earlier deployment (S16).
    let earlier: Vec<String> = match here {
        true => standing.earlier_verdict(name, &release).into_iter().collect(),
        false => standing.earlier_verdicts(&gates, &release),
    };
    let rejected = if here { Rejected::of(session, &view, &release, name)? } else { None };
    let concerns = |about: &About<'_>| match about {
        About::Release(other) => **other == release,
        About::Evidence(other) => !here && **other == release && session.governance().gates.contains_key(name),
        About::Environments(names) => names.contains(name),
    };
    let mut next = case.lead_on(&gates)?.into_iter().map(|mut next| {
        next.command = ui.to_paste(&next.command);
        next
    });
    let first = next.next();
    let also: Vec<NextCommand> = next.collect();
    let moves = view.environment(name).into_iter().flat_map(|known| known.history.iter().chain(&known.active));
    let plans = moves.filter(|promotion| promotion.to == release).filter_map(|promotion| promotion.plan);
    let authorities = AuthorityView::of(session, &view, plans)?;
    let differs = !here && requested.is_none() && differs;
    let failed_because = case.failed.map(|promotion| why_failed(session, promotion)).transpose()?.flatten();
    let failed = case.failed.and_then(|promotion| promotion.finished).map(|(_, outcome)| outcome);
    let comes = case.reconfigured == Some(false) || !here && outcome < Outcome::Expired;
    // A file that cannot be read is told of by whoever plans.
    let found =
        if comes { session.failed_with_here(&view, &[(name, &release)]).unwrap_or_default() } else { Vec::new() };
    let failed_with = found.into_iter().flatten().next().map(|found| FailedWithView::of(&view, found));
    if ui.format() == Format::Json {
        ui.answer(&Why {
            environment: name.clone(),
            release: shown,
            deployed: here,
            outcome,
            opens: opens_at(&gates),
            lost_evidence: lost,
            uncounted: uncounted(&view, now, &concerns),
            codes: gates.iter().map(|g| g.reason.code()).collect(),
            remarks,
            who: gates.iter().map(Gate::owner).collect(),
            ways: gates.iter().map(|gate| leads_on(gate, name, &release)).collect(),
            judged_for: Some(session.invoker().as_str()),
            differs,
            holds: standing.holds_of(name).to_vec(),
            runs: standing.runs.iter().filter(|run| run.environments.contains_key(name)).cloned().collect(),
            pending: standing.pending.iter().filter(|p| p.row(name.as_str()).is_some()).cloned().collect(),
            authorities,
            failed,
            failed_because,
            rejected,
            reconfigured: case.reconfigured.is_some(),
            configuration_failed: case.reconfigured == Some(true),
            failed_with,
            earlier_verdicts: earlier,
            not_looked_at: gates.iter().filter(|gate| !here && unlooked(gate)).map(|gate| gate.reason.code()).collect(),
            drill: if here { DrillView::last(session, &view, name)? } else { None },
            gates,
            also,
            next: first.map(|next| next.command).unwrap_or_default(),
        });
        return Ok(DONE);
    }
    // The headline follows the gates: what failed before and may be tried again is told below.
    let quarantine = view.quarantine(&release, name, &session.governance().graph);
    let automatic = quarantine.is_some_and(|(_, note)| note.automatic);
    let tried = |gate: &Gate| gate.reason == Reason::TriedBefore;
    let others: Vec<Gate> = gates.iter().filter(|gate| !tried(gate)).cloned().collect();
    let by_name = others.len() < gates.len() && overall(&others) < Outcome::Expired;
    let left = standing.holds_of(name).iter().any(|hold| !hold.left.is_empty());
    let moved = gate::moved_by(&gates, &release).filter(|_| outcome < Outcome::Expired);
    let under_way = moved.map(|run| standing.halfway(run));
    let answer = match outcome {
        _ if here && left => {
            let left = standing.holds_of(name).iter().flat_map(|hold| &hold.left).map(|left| left.what);
            format!("{shown} was deployed to {name} last; {}", self::left(left, name))
        }
        _ if here => format!("{shown} runs in {name}"),
        _ if under_way.is_some() => format!("{shown} is {} in {name}", under_way.unwrap_or_default()),
        Outcome::Refused if automatic && failed == Some(PromotionOutcome::RolledBack) => {
            format!("{shown} failed in {name} and was rolled back there; the way on is a newer release")
        }
        Outcome::Refused if by_name => format!("{shown} enters {name} only when it is asked for by name"),
        // A registry, say, may have it no more.
        Outcome::Satisfied | Outcome::Overridden if gates.iter().any(unlooked) => {
            format!("{shown} can enter {name} now, as far as the ledger tells")
        }
        Outcome::Satisfied | Outcome::Overridden => format!("{shown} can enter {name} now"),
        Outcome::Refused | Outcome::Expired => format!("{shown} may not enter {name}"),
        _ => match opens_at(&gates) {
            Some(at) => format!("{shown} can enter {name} from {}", time::near(at, now, &zone)),
            None => format!("{shown} cannot enter {name} yet"),
        },
    };
    let mut out = String::new();
    let (stops, paused): (Vec<_>, Vec<_>) = standing.holds_of(name).iter().partition(|hold| hold.kind != "paused");
    // Whoever asks about an environment that is held is told that before anything about a release. Of another release that did not
    // end well they are told that it did not.
    let (stops, others): (Vec<_>, Vec<_>) = stops.into_iter().partition(|hold| case.concerns(hold));
    for hold in stops {
        out.push_str(&format!("{name} {}\n", words::hold(hold, now, &zone)));
    }
    out.push_str(&format!("{answer}\n"));
    let paused = others.into_iter().chain(paused).map(|hold| words::hold_in_short(hold, name.as_str(), now, &zone));
    let runs = standing.runs.iter().filter(|run| run.environments.get(name).is_some_and(|to| case.speaks_of(to)));
    out.extend(paused.chain(runs.map(|run| words::run(run, now))).map(|line| format!("  {line}\n")));
    out.extend(rejected.iter().map(|rejected| format!("  {}\n", rejected.line(now, &zone))));
    let comes = |failed: FailedWithView| label(Label::Waiting, &format!("! comes {}", failed.words(now, &zone)));
    out.extend(failed_with.map(|failed| format!("  {}\n", comes(failed))));
    // Whoever asks about the environment hears of the release that it passed over, as a plan would.
    let newest = view.releases.last().map(|entry| &entry.release.id).filter(|newest| !named && **newest != release);
    if let Some((newest, (scope, note))) =
        newest.and_then(|newest| Some((newest, view.quarantine(newest, name, &session.governance().graph)?)))
    {
        let (scope, automatic, by) = (scope.clone(), note.automatic, note.by.name.clone());
        let reason = words::quoted(session.reason_given(note.seq)?.as_ref());
        let what = escape::line(&Reason::Quarantined { scope, automatic, by }.to_string());
        let newest = planner::reference(&view, newest);
        out.push_str(&format!("  {} {newest} is newer, and was {what}{reason}\n", label(Label::Bad, "!")));
    }
    // What runs there has passed its gates; how it stands with its checks is what matters now.
    if here {
        match standing.left_in(name) {
            None => out.push_str(&case.checks()),
            Some(_) => {
                let text = "… not verified: its checks were not asked about what is there now";
                out.push_str(&format!("  {}\n", label(Label::Waiting, text)));
            }
        }
        out.extend(case.not_the_release().map(|text| format!("  {}\n", label(Label::Waiting, &format!("… {text}")))));
        if let Some(failed) = case.reconfigured {
            let text = format!("… {}", words::other_configuration(failed));
            out.push_str(&format!("  {}\n", label(Label::Waiting, &text)));
        }
        out.extend(earlier.iter().map(|text| format!("  {}\n", label(Label::Waiting, &format!("… {text}")))));
        let stands = |text: &String| format!("  {} stands on lost evidence: {text}\n", label(Label::Bad, "✗"));
        out.extend(lost.iter().map(stands));
        let drill = DrillView::last(session, &view, name)?;
        out.extend(drill.map(|drill| format!("  {}\n", drill.line(now))));
    }
    // What holds it has been told, and stands above.
    let told = |gate: &Gate| gate.kind == GateKind::Freeze && !gate.outcome.is_open();
    let closed = gate::closed(&gates);
    // One reason that closes several is told once.
    let again = |gate: &Gate| !gate.outcome.is_open() && !closed.iter().any(|one| std::ptr::eq(*one, gate));
    let shown = |gate: &Gate| !here && !told(gate) && !again(gate);
    // The approvals of a plan that is over, which are told below, are none of a new one.
    let over = standing.pending_in(name.as_str()).is_some_and(|pending| pending.over);
    for (gate, remark) in gates.iter().zip(&remarks).filter(|(gate, _)| shown(gate)) {
        let sign = match gate.outcome {
            Outcome::Satisfied | Outcome::Overridden => label(Label::Good, "✓"),
            Outcome::Waiting | Outcome::Deferred => label(Label::Waiting, "…"),
            Outcome::Expired | Outcome::Refused => label(Label::Bad, "✗"),
        };
        let shown = GateView { remark: remark.clone(), ..standing.gate(gate, (name, &release)) };
        let anew = gate.kind == GateKind::Approval && over && gate.reason.code() == "approvals";
        let text = if anew { format!("a new plan begins without any: {}", shown.text) } else { shown.text };
        let shown = GateView { text, since: shown.since.filter(|_| !gate.outcome.is_open()), ..shown };
        if unlooked(gate) {
            let text = "… whether artifacts and places are as recorded was not looked at now: `promo plan` looks";
            out.push_str(&format!("  {}\n", label(Label::Dim, text)));
            continue;
        }
        let up_to = shown.who.map(|who| format!(" · up to: {}", who.as_str())).unwrap_or_default();
        let judged = shown.judged(now);
        out.push_str(&format!("  {sign} {}{judged}{up_to}\n", words::closed(&shown, now, &zone)));
    }
    out.extend(
        earlier.iter().filter(|_| !here).map(|text| format!("  {}\n", label(Label::Waiting, &format!("… {text}")))),
    );
    if differs {
        let (judged, otherwise, kind) = match session.invoker() {
            Invoker::Human => ("a person", "automation", Invoker::Automation),
            Invoker::Automation => ("automation", "a person", Invoker::Human),
        };
        let (how, kind) = (overall_words(other), kind.as_str());
        out.push_str(&format!("  judged for {judged}; for {otherwise} (--actor-kind {kind}) it {how}\n"));
    }
    for line in uncounted(&view, now, &concerns) {
        out.push_str(&format!("  {} {line}\n", label(Label::Bad, "!")));
    }
    for pending in &standing.pending {
        let Some(row) = pending.row(name.as_str()).filter(|row| case.asks_about(row)) else { continue };
        let (from, to) = (words::release(row.from.as_ref()), words::release(Some(&row.to)));
        let what = words::drill(row).unwrap_or_else(|| format!("{from} → {to},"));
        out.push_str(&format!("\n{what} {}\n", words::requested(pending, now, &zone)));
        out.extend(words::pending(pending, row, now, &zone).iter().map(|line| format!("  {line}\n")));
    }
    out.push_str(&case.attempts(&project.session, &authorities, now, &zone)?);
    for next in also {
        out.push_str(&format!("{} {}   ({})\n", label(Label::Dim, "Also:"), next.command, next.why));
    }
    if ui.format() == Format::Markdown {
        out = format!("{}\n", escape::fenced("text", &anstream::adapter::strip_str(&out).to_string()));
    }
    if let Some(first) = first {
        out.push_str(&ui.last_line(&first.command));
    }
    ui.data(&table::fold(&out, ui.width()));
    Ok(DONE)
}

/// The release that an environment is asked about where nobody names one: the newest, or where that is barred from there the one that
/// a plan would choose; but what runs there where that was rejected, or a check of it failed and the newest is no way on.
fn subject(session: &Session, view: &View, name: &EnvironmentName) -> Result<Option<ReleaseId>, CliError> {
    let broken = || {
        let here = &view.current(name)?.release;
        let environment = session.governance().pipeline.environments.get(name)?;
        let checks = eligibility::verification(view, name, environment, here).checks;
        let failed = checks.values().any(|status| *status == CheckStatus::Failed);
        let known = view.environment(name)?;
        let rejected = known.active.is_none() && view.quarantine(here, name, &session.governance().graph).is_some();
        (rejected || failed && ways::newer_that_was_there(session, view, name, here)).then(|| here.clone())
    };
    if let Some(here) = broken() {
        return Ok(Some(here));
    }
    let newest = view.releases.last().map(|entry| &entry.release.id);
    let barred = newest.is_some_and(|id| view.quarantine(id, name, &session.governance().graph).is_some());
    let (rules, present) = (session.governance().rules(), session.present()?);
    let next = barred.then(|| eligibility::candidate(&rules, view, name, present)).flatten();
    Ok(next.or_else(|| newest.cloned()))
}

/// Where what is there now is told, where that is not what was deployed last: above, as far as it is known. `left` says of each
/// place what is there.
fn left<'a>(mut left: impl Iterator<Item = &'a str> + Clone, name: &EnvironmentName) -> String {
    let look = command_line(["promo", "drift", name.as_str()]);
    let unknown = |what: &str| what == "unknown";
    match (left.clone().any(unknown), left.all(unknown)) {
        (false, _) => "what is there now stands above".to_owned(),
        (true, false) => format!("what is known of what is there now stands above, and `{look}` looks at the rest"),
        (true, true) => format!("what is there now is not known, and `{look}` looks"),
    }
}

/// Whether a gate is open because nothing is known against it: `why` asks the ledger, and looks at nothing outside.
fn unlooked(gate: &Gate) -> bool {
    gate.reason == Reason::ArtifactsAsRecorded
}

/// The other one who can ask.
pub(crate) const fn other(invoker: Invoker) -> Invoker {
    match invoker {
        Invoker::Human => Invoker::Automation,
        Invoker::Automation => Invoker::Human,
    }
}

const fn overall_words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Satisfied | Outcome::Overridden => "can enter now",
        Outcome::Deferred | Outcome::Waiting => "waits",
        Outcome::Expired | Outcome::Refused => "may not enter",
    }
}

/// A release and an environment, and how they stand to each other.
struct Case<'a> {
    session: &'a Session,
    view: &'a View,
    standing: &'a Standing,
    name: &'a EnvironmentName,
    release: &'a ReleaseId,
    /// Whether somebody asks about that release, and not about the environment.
    named: bool,
    here: bool,
    outcome: Outcome,
    failed: Option<&'a Promotion>,
    /// Where it runs there, and its configuration in the working tree is another: whether that one failed before.
    reconfigured: Option<bool>,
}

impl Case<'_> {
    /// Whether what becomes of a release is of concern to whoever asks: of any to who asks about the environment, or about what is
    /// there.
    fn speaks_of(&self, release: &ReleaseId) -> bool {
        !self.named || self.here || release == self.release
    }

    /// The same of what holds the environment; a freeze holds every release.
    fn concerns(&self, hold: &HoldView) -> bool {
        hold.release.as_ref().is_none_or(|release| !self.named || self.here || release.id == self.release.as_str())
    }

    /// The same of what a requested plan would do.
    fn asks_about(&self, row: &PendingRow) -> bool {
        !self.named || row.to.id == self.release.as_str()
    }

    /// What leads on, best first; nothing where there is nothing to do but to wait.
    fn lead_on(&self, gates: &[Gate]) -> Result<Vec<NextCommand>, CliError> {
        let say = |command: String, why: &str| NextCommand { command, why: why.to_owned() };
        let (name, id) = (self.name.as_str(), self.release.as_str());
        if let Some(run) = self.standing.run_in(name) {
            if run.alive() {
                return Ok(vec![say(run.next.clone(), "shows how far it is")]);
            }
            let cancel = command_line(["promo", "cancel", run.run.as_str()]);
            if run.next == cancel {
                return Ok(vec![say(cancel, "ends the run")]);
            }
            let instead = "ends the run where it is, so that `promo rollback` can go back from there";
            return Ok(vec![say(run.next.clone(), "goes on with the run"), say(cancel, instead)]);
        }
        let mut out = Vec::new();
        let asked_about = |pending: &&PendingView| pending.row(name).is_some_and(|row| self.asks_about(row));
        if let Some(pending) = self.standing.pending_in(name).filter(asked_about) {
            // What is stale is planned anew, unless nothing is left to do of it.
            let stale = pending.next.is_empty();
            if !stale {
                out.push(say(pending.next.clone(), "goes on with the requested plan"));
            }
            if !stale && pending.row(name).is_some_and(|row| row.to.id == id) {
                return Ok(out);
            }
        }
        let holds = self.standing.holds_of(self.name).iter().filter(|hold| self.concerns(hold));
        for hold in holds.filter(|hold| hold.kind != "paused") {
            let verify = |why| say(command_line(["promo", "verify", name]), why);
            let ends = |why: &str| say(hold.ends.clone(), why);
            match hold.cause {
                _ if hold.kind == "frozen" => out.push(ends("lifts the freeze")),
                // Checks are asked about what was deployed, and that is not what is there.
                _ if !hold.left.is_empty() => {
                    out.push(ends(ways::ends_it(&hold.ends)));
                    out.extend(hold.back.iter().map(|back| say(back.clone(), ways::ends_it(back))));
                }
                // What was not seen is looked at before anything is done about it.
                Some(Cause::Unjudged) => out.extend([verify("runs its checks again"), ends(ways::ends_it(&hold.ends))]),
                Some(Cause::Check) => {
                    let again = verify("runs its checks again, if they were at fault");
                    out.extend([ends(ways::ends_it(&hold.ends)), again]);
                }
                Some(Cause::Deployment | Cause::Over) | None => out.push(ends(ways::ends_it(&hold.ends))),
            }
        }
        if self.here {
            out.extend(ways::instead(self.session, self.view, self.name)?);
            if self.standing.holds_of(self.name).iter().all(|hold| hold.left.is_empty()) {
                out.extend(ways::open_checks(self.session, self.view, self.name, false));
            }
            let file = ways::own_file(self.name);
            match self.reconfigured {
                Some(false) => {
                    out.push(say(command_line(["promo", "plan", name, "--out", &file]), "plans its configuration"));
                }
                Some(true) => {
                    // What went back since went well, and says nothing of it.
                    let history =
                        self.view.environment(self.name).into_iter().flat_map(|known| known.history.iter().rev());
                    let bad = |one: &&Promotion| one.to == *self.release && one.movement != Movement::Rollback;
                    let mut bad = history.filter(bad).filter(|one| {
                        !matches!(one.finished, Some((_, PromotionOutcome::Verified | PromotionOutcome::Cancelled)))
                    });
                    out.extend(bad.next().map(|last| {
                        let show = command_line(["promo", "show", last.run.as_str()]);
                        say(show, "says what failed; mend or put back what the configuration changes")
                    }));
                    let again = ["promo", "plan", name, "--release", self.release.as_str(), "--out", &file];
                    out.push(say(command_line(again), "plans its configuration once more, if that was not at fault"));
                }
                None => {}
            }
            if out.is_empty() {
                out.extend(self.failed_drill());
                out.extend(self.further());
            }
        } else if let Some((scope, _)) = self.view.quarantine(self.release, self.name, &self.session.governance().graph)
        {
            let lift = ways::lift(self.session, self.release, scope.as_ref());
            let lift = say(lift, "lifts the quarantine, if the release was not at fault");
            let newer = self.newer().map_or_else(
                || say(ways::new_release(self.session), "adds a newer release"),
                |newer| say(command_line(["promo", "why", name, newer.as_str()]), "a newer release that is there"),
            );
            // Whoever kept it out had a reason: what is typed first undoes that nowhere.
            out.extend([newer, lift]);
        } else {
            out.extend(self.gate_opener(gates));
        }
        let paused = self.standing.holds_of(self.name).iter().filter(|hold| hold.kind == "paused");
        out.extend(paused.map(|hold| say(hold.ends.clone(), "lets automation promote again")));
        let mut seen = BTreeSet::new();
        out.retain(|next| seen.insert(next.command.clone()));
        Ok(out)
    }

    /// What opens the gates, or enters where they are open.
    fn gate_opener(&self, gates: &[Gate]) -> Option<NextCommand> {
        let (name, id) = (self.name.as_str(), self.release.as_str());
        let say = |command: String, why: &str| NextCommand { command, why: why.to_owned() };
        // What was tried before is repeated by name only (S3.3), and without a name the newest one is planned.
        let newest = self.view.releases.last().is_some_and(|entry| entry.release.id == *self.release)
            && !self.view.environment(self.name).is_some_and(|known| known.fired.contains(self.release));
        let plan = || {
            let words = ["promo", "plan", name].into_iter();
            let named = (!newest).then_some(["--release", id]).into_iter().flatten();
            let file = ways::own_file(self.name);
            let command = command_line(words.chain(named).chain(["--out", file.as_str()]));
            NextCommand { command, why: "plans it".into() }
        };
        let closed: Vec<&Gate> = gates.iter().filter(|g| !g.outcome.is_open()).collect();
        let ask = |other: &EnvironmentName| NextCommand {
            command: command_line(["promo", "why", other.as_str(), id]),
            why: format!("says why it is no further than {other}"),
        };
        for gate in &closed {
            match &gate.reason {
                Reason::NotThereYet { environment }
                | Reason::ChecksMissing { environment, .. }
                | Reason::StillWatched { environment }
                | Reason::CheckFailed { environment, .. }
                | Reason::CheckFlaky { environment, .. }
                | Reason::CheckWithdrawn { environment, .. } => return Some(ask(environment)),
                Reason::Older { .. } => {
                    let (rules, current) = (self.session.governance().rules(), self.view.current(self.name)?);
                    let targets: Vec<_> =
                        eligibility::rollback_targets(&rules, self.view, self.name, &current.release).collect();
                    // One that was never verified good here, or failed here, is no way back (S10.1).
                    let (to, why) = match targets.contains(&self.release) {
                        true => (Some(["--to", id]), "plans the way back to it"),
                        false => (None, "plans the way back to the best that was verified good here, which is another"),
                    };
                    targets.first()?;
                    let words = ["promo", "rollback", name].into_iter().chain(to.into_iter().flatten());
                    let command = command_line(words.chain(["--out", "back.plan.json"]));
                    return Some(NextCommand { command, why: why.into() });
                }
                // Which window that is, and where it stands, is told by what checks the file.
                _ if gate.never_opens() => {
                    return Some(say("promo check".to_owned(), "shows the window that does not open any more"));
                }
                // The page says what to do about the machine, and for every verb the same.
                Reason::CheckNotRunnable { .. } => {
                    return Some(say(lacking([gate.reason.code()])?, "says what this machine lacks"));
                }
                // A repository is asked again; what is no commit only another build mends.
                Reason::EvidenceMissing(said) | Reason::EvidenceBad(said) if asks_again(said) => {
                    let command = command_line(["promo", "evidence", "collect", "--release", id]);
                    return Some(say(command, "asks the repository of its source once more"));
                }
                Reason::EvidenceMissing(said) | Reason::EvidenceUnreadable(said) if self.is_of_source(said) => {
                    return Some(say(ways::new_release(self.session), "adds a release whose build names its commit"));
                }
                // Who signs, signs where the artifact lies.
                Reason::EvidenceMissing(said) | Reason::EvidenceUnreadable(said) if self.is_signed(said) => {
                    let command = command_line(["promo", "evidence", "collect", "--release", id]);
                    return Some(say(command, "takes what lies beside it by now"));
                }
                Reason::EvidenceMissing(said) | Reason::EvidenceExpired(said) | Reason::EvidenceUnreadable(said)
                    if gate.kind == GateKind::Evidence =>
                {
                    let only = !said.faults.is_empty() && said.faults.iter().all(|fault| fault.code == "no-baseline");
                    let here = self.view.current(self.name).filter(|_| only).map(|here| here.release.as_str());
                    let (of, why) = here.map_or((id, "brings it"), |here| (here, "brings that of what runs there"));
                    return Some(say(command_line(["promo", "evidence", "add", "FILE", "--release", of]), why));
                }
                // What its build did not say, and what is bad, only another build mends.
                Reason::EvidenceMissing(_) | Reason::EvidenceBad(_) | Reason::EvidenceUnreadable(_) => {
                    return Some(say(ways::new_release(self.session), "adds a release that is mended"));
                }
                Reason::EvidenceNotLooked { .. } => {
                    return Some(say(ways::new_release(self.session), "the same once more: looks into its artifacts"));
                }
                Reason::TriedBefore | Reason::Held { .. } => {
                    let file = ways::own_file(self.name);
                    let command = command_line(["promo", "plan", name, "--release", id, "--out", &file]);
                    return Some(NextCommand { command, why: "asks for it by name".into() });
                }
                _ => {}
            }
        }
        let by_plan = |gate: &&Gate| matches!(gate.kind, GateKind::Approval | GateKind::Window);
        closed.iter().all(by_plan).then(plan)
    }

    /// Whether a gate asks for what lies beside an artifact, since somebody signs it there.
    fn is_signed(&self, said: &Evidenced) -> bool {
        self.requires(said, |one| matches!(one, Requirement::Signature(_) | Requirement::Provenance(_)))
    }

    /// Whether a gate asks where the source of an artifact is.
    fn is_of_source(&self, said: &Evidenced) -> bool {
        self.requires(said, |one| matches!(one, Requirement::Source(_)))
    }

    fn requires(&self, said: &Evidenced, what: impl Fn(&Requirement) -> bool) -> bool {
        let gates = self.session.governance().gates.get(self.name).into_iter().flatten();
        let mut named = gates.filter(|named| named.name == said.gate && named.policy == said.policy);
        named.any(|named| what(&named.gate.requirement))
    }

    /// What leads on where the way back from what runs was tried, and failed: nothing else would say so before it is needed.
    fn failed_drill(&self) -> Vec<NextCommand> {
        let last = self.view.environment(self.name).and_then(|known| known.last_drill(self.release));
        let Some(failed) = last.filter(|drill| drill.disproved().is_some()) else { return Vec::new() };
        let again = ["promo", "rollback", self.name.as_str(), "--drill", "--out", "drill.plan.json"];
        vec![
            NextCommand {
                command: command_line(["promo", "show", failed.run.as_str()]),
                why: "says what failed in the drill of its way back".into(),
            },
            NextCommand { command: command_line(again), why: "tries its way back again".into() },
        ]
    }

    /// What may stay where another configuration of what runs failed, and is still that of the working tree.
    fn not_the_release(&self) -> Option<String> {
        let mut holds = self.standing.holds_of(self.name).iter();
        let files = holds.find_map(|hold| hold.configuration.as_ref()).filter(|_| self.reconfigured.is_none())?;
        let files: Vec<String> = files.iter().map(|file| escape::line(file)).collect();
        let which = if files.is_empty() { "its files".to_owned() } else { files.join(" and ") };
        let plan = command_line(["promo", "plan", self.name.as_str()]);
        Some(format!("the release can stay: once {which} is mended or put back, `{plan}` plans that"))
    }

    /// The environment after this one where it is not yet.
    fn further(&self) -> Option<NextCommand> {
        let after = self.session.governance().graph.successors(self.name).into_iter();
        let lineage = self.view.lineage(self.release);
        let behind =
            |next: &EnvironmentName| self.view.current(next).is_none_or(|r| self.view.lineage(&r.release) < lineage);
        let next = after.into_iter().find(behind)?;
        Some(NextCommand {
            command: command_line(["promo", "why", next.as_str(), self.release.as_str()]),
            why: format!("says why it is not in {next}"),
        })
    }

    /// The newest release after this one that nothing bars from here.
    fn newer(&self) -> Option<&ReleaseId> {
        let lineage = self.view.lineage(self.release);
        let graph = &self.session.governance().graph;
        let newer = self.view.releases.iter().rev().take_while(|entry| entry.lineage > lineage);
        newer.map(|entry| &entry.release.id).find(|id| self.view.quarantine(id, self.name, graph).is_none())
    }

    /// How the checks of what runs there stand.
    fn checks(&self) -> String {
        let Some(environment) = self.session.governance().pipeline.environments.get(self.name) else {
            return String::new();
        };
        let checks = eligibility::verification(self.view, self.name, environment, self.release).checks;
        let line = |(check, status): (&CheckName, &CheckStatus)| {
            let sign = match status {
                CheckStatus::Passed { .. } => label(Label::Good, "✓"),
                CheckStatus::Failed => label(Label::Bad, "✗"),
                _ => label(Label::Waiting, "…"),
            };
            let words = super::status::word(*status);
            format!("  {sign} {check} {words}\n")
        };
        checks.iter().map(line).collect()
    }

    /// The promotions of this release into here that ended, each with who let it in and the checks that failed.
    fn attempts(
        &self,
        session: &Session,
        authorities: &[AuthorityView],
        now: Timestamp,
        zone: &TimeZone,
    ) -> Result<String, CliError> {
        let known = self.view.environment(self.name);
        let mut out = String::new();
        for promotion in known.iter().flat_map(|e| &e.history).filter(|p| p.to == *self.release) {
            let Some((at, outcome)) = promotion.finished else { continue };
            let (words, style) = endings::told(session, self.view, self.name, promotion, outcome);
            // What was ended since holds nothing any more.
            let mut holds = self.standing.holds_of(self.name).iter();
            let words = match holds.any(|hold| hold.run.as_ref() == Some(&promotion.run)) {
                true => words,
                false => endings::over(words),
            };
            let signed_by = signers(self.view, &promotion.run, Some(self.name));
            let by = words::applied_by(&promotion.by.name, &signed_by);
            let when = time::near(at, now, zone);
            out.push_str(&format!("\n{when}: {} in run {}, applied by {by}\n", label(style, &words), promotion.run));
            for told in authorities.iter().filter(|told| promotion.plan == Some(told.plan)) {
                out.push_str(&format!("  plan {}\n", told.plan));
                out.extend(words::authority(told, zone).iter().map(|line| format!("  {line}\n")));
            }
            if outcome == PromotionOutcome::Verified {
                continue;
            }
            let verdicts = known.and_then(|e| e.verdicts.get(self.release)).into_iter().flatten();
            let mut of_checks = Vec::new();
            for (check, entries) in verdicts {
                let mine = |v: &&VerdictEntry| v.run.as_ref() == Some(&promotion.run) && v.said == Said::Failed;
                for entry in entries.iter().filter(mine) {
                    let detail = session.detail_seen(entry.seq)?.unwrap_or_default();
                    out.push_str(&format!("  {} {check}: {}\n", label(Label::Bad, "✗"), escape::line(&detail)));
                    of_checks.push(format!("{check} failed: {detail}"));
                }
            }
            // What stands with a check is not told once more.
            let why = why_failed(session, promotion)?.and_then(|why| more(&why, &of_checks));
            let why = why.map(|why| words::reason(&why, &promotion.run));
            out.extend(why.map(|why| format!("  {} {why}\n", label(Label::Bad, "✗"))));
        }
        Ok(out)
    }
}

/// What a statement that its signature does not bear out is about.
pub(crate) enum About<'a> {
    /// A verdict: the release.
    Release(&'a ReleaseId),
    /// A document of evidence: the release, where gates ask for evidence.
    Evidence(&'a ReleaseId),
    /// A request: the environments that its plan moves.
    Environments(&'a BTreeSet<EnvironmentName>),
}

/// The statements that count for nothing and concern something, in words (S12.3). A request is named while it is open.
pub(crate) fn uncounted(view: &View, now: Timestamp, concerns: &dyn Fn(&About<'_>) -> bool) -> Vec<String> {
    let line = |Uncounted { seq, about, why }: &Uncounted| {
        let why = escape::line(why);
        match about {
            Spoken::Check { environment, release, check } => concerns(&About::Release(release))
                .then(|| format!("record {seq} about {check} in {environment} does not count: {why}")),
            Spoken::Request { plan } => {
                let request = view.requests.get(plan)?;
                let open = view.pending(now).any(|(pending, _)| pending == plan);
                (open && concerns(&About::Environments(&request.environments)))
                    .then(|| format!("record {seq} counts as a request that nobody signed: {why}"))
            }
            Spoken::Apply { run } => {
                let run = view.runs.get(run).filter(|run| run.finished.is_none())?;
                concerns(&About::Environments(&run.environments.keys().cloned().collect()))
                    .then(|| format!("record {seq} does not say who applies: {why}"))
            }
            Spoken::Lift { release, scope } => {
                let stands = view.quarantines.contains_key(&(release.clone(), scope.clone()));
                (stands && concerns(&About::Release(release)))
                    .then(|| format!("record {seq} does not lift the quarantine of {release}: {why}"))
            }
            Spoken::Recall { artifact } => view
                .recalled
                .contains_key(artifact)
                .then(|| format!("record {seq} does not end the recall of {artifact}: {why}")),
            Spoken::Withdrawal { document } => {
                let subjects: BTreeSet<&Digest> = view.standing(document).flat_map(|entry| &entry.subjects).collect();
                let speaks = |entry: &&ReleaseEntry| parts(view, entry).iter().any(|part| subjects.contains(part));
                let mut releases = view.releases.iter().filter(speaks);
                releases
                    .any(|entry| concerns(&About::Evidence(&entry.release.id)))
                    .then(|| format!("record {seq} does not withdraw the document {document}: {why}"))
            }
            Spoken::Authors { release } => {
                concerns(&About::Release(release)).then(|| format!("record {seq} names no author of {release}: {why}"))
            }
            Spoken::Clock => {
                let ahead = view.latest.is_some_and(|(at, _)| at > now);
                ahead.then(|| format!("record {seq} does not take the clock as it is: {why}"))
            }
            Spoken::Unfreeze { scopes } => {
                let stand = |scope: &&Option<EnvironmentName>| view.lifted_next(scope).is_some();
                let about = |scope: &Option<EnvironmentName>| {
                    scope.clone().is_none_or(|name| concerns(&About::Environments(&[name].into())))
                };
                (scopes.iter().filter(stand).any(about)).then(|| format!("record {seq} lifts no freeze: {why}"))
            }
        }
    };
    view.uncounted.iter().filter_map(line).collect()
}

/// Whether a repository that is asked once more may say otherwise: nobody could ask it yet, or the commit was not where it has to be.
fn asks_again(said: &Evidenced) -> bool {
    let again = |code: &str| matches!(code, "source-not-seen" | "no-such-commit" | "not-reachable");
    !said.faults.is_empty() && said.faults.iter().all(|fault| again(&fault.code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_now_stands_above_only_where_it_is_known() {
        let name: EnvironmentName = "qa".parse().unwrap();
        for (places, told) in [
            (&["release", "nothing"][..], "what is there now stands above"),
            (
                &["release", "unknown"],
                "what is known of what is there now stands above, and `promo drift qa` looks at the rest",
            ),
            (&["unknown"], "what is there now is not known, and `promo drift qa` looks"),
        ] {
            assert_eq!(left(places.iter().copied(), &name), told);
        }
    }
}
