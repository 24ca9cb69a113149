//! `promo why ENV [RELEASE]`: why a release is, or is not, in an environment.

use std::collections::BTreeSet;

use clap::Args;
use jiff::Timestamp;
use promo_core::eligibility::{self, CheckStatus};
use promo_core::gate::{Outcome, opens_at, overall};
use promo_core::ids::{CheckName, EnvironmentName, ReleaseId};
use promo_core::ledger::View;
use promo_core::ledger::event::PromotionOutcome;
use promo_core::ledger::view::{Said, Spoken, Uncounted};
use promo_core::planner;

use crate::cli::{Format, Global};
use crate::error::{CliError, command_line};
use crate::escape;
use crate::exit::{DONE, Exit};
use crate::output::labels::{Label, label};
use crate::output::{progress, table, time};
use crate::project::{self, Access};
use crate::select;
use crate::ui::{self, Ui};
use crate::view::answers::Why;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where
    #[arg(value_name = "ENV")]
    environment: EnvironmentName,
    /// Which release: its id, number or alias; the newest when left out
    #[arg(value_name = "RELEASE")]
    release: Option<String>,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let project = project::open(ui, global, Access::Read)?;
    let (session, zone, name) = (&project.session, ui::zone(global)?, &arguments.environment);
    let (view, now) = (session.view()?, session.now()?);
    let release = match &arguments.release {
        Some(text) => select::release(&view, text)?,
        None => view.releases.last().map(|e| e.release.id.clone()).ok_or_else(|| {
            CliError::new("nothing-selected", 65, "there are no releases yet", "promo release add --help")
        })?,
    };
    let gates = session.gates(name, &release, session.invoker())?;
    let shown = planner::reference(&view, &release);
    let here = view.current(name).is_some_and(|r| r.release == release);
    let outcome = overall(&gates);
    let known = view.environment(name);
    let attempts: Vec<_> = known.map(|e| e.history.iter().filter(|p| p.to == release).collect()).unwrap_or_default();
    let lost: Vec<_> = eligibility::lost_evidence(&session.governance().rules(), &view, name);
    let lost: Vec<String> = lost.iter().filter(|_| here).map(ToString::to_string).collect();
    let concerns = |about: &About<'_>| match about {
        About::Release(other) => **other == release,
        About::Environments(names) => names.contains(name),
    };
    let quarantined = view.quarantine(&release, name, &session.governance().graph);
    let id = release.as_str();
    let next = match quarantined {
        Some((scope, _)) => {
            let place = scope.iter().flat_map(|scope| ["--environment", scope.as_str()]);
            let key = session.governance().policy.iter().flat_map(|_| ["--key", "KEY"]);
            command_line(["promo", "release", "lift", id].into_iter().chain(place).chain(["--reason", "…"]).chain(key))
        }
        None if outcome.is_open() && !here => command_line(["promo", "plan", name.as_str(), "--out", "plan.json"]),
        None => "promo status".to_owned(),
    };
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
            gates,
            next: ui.to_paste(&next),
        });
        return Ok(DONE);
    }
    let answer = match outcome {
        _ if here => format!("{shown} runs in {name}"),
        Outcome::Satisfied | Outcome::Overridden => format!("{shown} can enter {name} now"),
        Outcome::Refused | Outcome::Expired => format!("{shown} may not enter {name}"),
        _ => match opens_at(&gates) {
            Some(at) => format!("{shown} can enter {name} from {}", time::near(at, now, &zone)),
            None => format!("{shown} cannot enter {name} yet"),
        },
    };
    let mut out = format!("{answer}\n");
    // What runs there has passed its gates; how it stands with its checks is what matters now.
    if here {
        out.push_str(&standing(session, &view, name, &release));
        let stands = |text: &String| format!("  {} stands on lost evidence: {text}\n", label(Label::Bad, "✗"));
        out.extend(lost.iter().map(stands));
    }
    for gate in gates.iter().filter(|_| !here) {
        let sign = match gate.outcome {
            Outcome::Satisfied | Outcome::Overridden => label(Label::Good, "✓"),
            Outcome::Waiting | Outcome::Deferred => label(Label::Waiting, "…"),
            Outcome::Expired | Outcome::Refused => label(Label::Bad, "✗"),
        };
        let until = gate.until.map(|t| format!(", until {}", time::near(t, now, &zone))).unwrap_or_default();
        out.push_str(&format!("  {sign} {}{until}\n", escape::line(&gate.reason.to_string())));
    }
    for line in uncounted(&view, now, &concerns) {
        out.push_str(&format!("  {} {line}\n", label(Label::Bad, "!")));
    }
    for promotion in attempts {
        let Some((at, outcome)) = promotion.finished else { continue };
        let (words, style) = progress::outcome_words(outcome);
        let by = escape::line(&promotion.by.name);
        let when = time::near(at, now, &zone);
        out.push_str(&format!("\n{when}: {} in run {}, applied by {by}\n", label(style, words), promotion.run));
        if outcome == PromotionOutcome::Verified {
            continue;
        }
        let verdicts = known.and_then(|e| e.verdicts.get(&release)).into_iter().flatten();
        for (check, entries) in verdicts {
            for entry in entries.iter().filter(|v| v.run.as_ref() == Some(&promotion.run) && v.said == Said::Failed) {
                let detail = entry.evidence.get("detail").map(String::as_str).unwrap_or_default();
                out.push_str(&format!("  {} {check}: {}\n", label(Label::Bad, "✗"), escape::line(detail)));
            }
        }
    }
    out.push_str(&ui.next(&next));
    ui.data(&table::fold(&out, ui.width()));
    Ok(DONE)
}

/// What a statement that its signature does not bear out is about.
pub(crate) enum About<'a> {
    /// A verdict: the release.
    Release(&'a ReleaseId),
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
                let open =
                    request.superseded_by.is_none() && now < request.expires && !view.consumed.contains_key(plan);
                (open && concerns(&About::Environments(&request.environments)))
                    .then(|| format!("record {seq} counts as a request that nobody signed: {why}"))
            }
            Spoken::Lift { release, scope } => {
                let stands = view.quarantines.contains_key(&(release.clone(), scope.clone()));
                (stands && concerns(&About::Release(release)))
                    .then(|| format!("record {seq} does not lift the quarantine of {release}: {why}"))
            }
            Spoken::Clock => {
                let ahead = view.latest.is_some_and(|(at, _)| at > now);
                ahead.then(|| format!("record {seq} does not take the clock as it is: {why}"))
            }
            Spoken::Unfreeze { scopes } => {
                let stand = |scope: &&Option<EnvironmentName>| view.freezes.contains_key(*scope);
                let about = |scope: &Option<EnvironmentName>| {
                    scope.clone().is_none_or(|name| concerns(&About::Environments(&[name].into())))
                };
                (scopes.iter().filter(stand).any(about)).then(|| format!("record {seq} lifts no freeze: {why}"))
            }
        }
    };
    view.uncounted.iter().filter_map(line).collect()
}

/// How the checks of what runs in an environment stand.
fn standing(session: &promo_engine::Session, view: &View, name: &EnvironmentName, release: &ReleaseId) -> String {
    let Some(environment) = session.governance().pipeline.environments.get(name) else { return String::new() };
    let checks = eligibility::verification(view, name, environment, release).checks;
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
