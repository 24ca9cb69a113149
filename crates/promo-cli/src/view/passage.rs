//! How far a release has come, environment by environment: where it is and was, what its checks said, what was judged when it was let in, and
//! what bars it now; and where it is quarantined, since when, by whom and why. What must not live here: how it is drawn.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::eligibility::{self, CheckStatus};
use promo_core::gate::{self, Gate, Outcome, Reason, overall};
use promo_core::ids::{CheckName, EnvironmentName, ReleaseId, RunId};
use promo_core::ledger::View;
use promo_core::ledger::view::{Note, Promotion, Said};
use promo_core::model::Tier;
use promo_core::plan::{Document, Plan};
use promo_engine::Session;
use schemars::JsonSchema;
use serde::Serialize;

use super::{AuthorityView, GateView, Standing, ways};
use crate::commands::status;
use crate::error::CliError;
use crate::output::endings;

/// How a release stands with an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stands {
    /// It was deployed there last.
    Runs,
    /// A run is moving it there.
    Moving,
    /// It was there, and something else is now.
    Was,
    /// It was never there, and could enter now.
    CanEnter,
    /// It was never there, and waits.
    Waits,
    /// It was never there, and may not enter.
    Barred,
    /// The environment is none of the pipeline any more.
    Gone,
}

/// A release in one environment.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct PassageView {
    /// The environment.
    pub(crate) environment: EnvironmentName,
    /// Its tier; none of one that the pipeline does not have any more.
    pub(crate) tier: Option<Tier>,
    /// How the release stands with it.
    pub(crate) stands: Stands,
    /// Whether all its checks hold there.
    pub(crate) verified: bool,
    /// When it was there, the first time first.
    pub(crate) stays: Vec<StayView>,
    /// What each check that is asked there said last of it; none that has not been there and was not asked.
    pub(crate) checks: Vec<CheckedView>,
    /// How it was let in last, and what was judged then; none where it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) entered: Option<EnteredView>,
    /// How many promotions of it into here there were before that.
    pub(crate) earlier: usize,
    /// What keeps it out now, who can do something about it, and what they type; empty where it runs there, or could enter.
    pub(crate) bars: Vec<GateView>,
    /// When that ends by itself, where that is known.
    pub(crate) opens_at: Option<Timestamp>,
}

/// A time for which a release was the deployed one.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct StayView {
    /// Since when.
    pub(crate) from: Timestamp,
    /// Until when; none of one that lasts.
    pub(crate) until: Option<Timestamp>,
    /// The run that deployed it, where one did.
    pub(crate) run: Option<RunId>,
}

/// A check of an environment, and what it said last of a release.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct CheckedView {
    /// Which.
    pub(crate) check: CheckName,
    /// How it stands, in words.
    pub(crate) stands: &'static str,
    /// Whether it holds.
    pub(crate) holds: bool,
    /// When it spoke last; none where it has not.
    pub(crate) at: Option<Timestamp>,
    /// The person who spoke, of a manual check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    /// The run whose verification it was part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<RunId>,
}

/// How a release was let into an environment.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct EnteredView {
    /// The run.
    pub(crate) run: RunId,
    /// The plan, where it had one.
    pub(crate) plan: Option<Digest>,
    /// Who applied it.
    pub(crate) by: String,
    /// When it began.
    pub(crate) started: Timestamp,
    /// When it ended; none of one that is under way.
    pub(crate) ended: Option<Timestamp>,
    /// How it ended, in words.
    pub(crate) outcome: String,
    /// Whether that was well.
    pub(crate) well: bool,
    /// The gates, as the plan has them: a run begins in an environment only once all are open.
    pub(crate) gates: Vec<PassedView>,
    /// Why they are not known, where the plan cannot be read any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unknown: Option<String>,
}

/// A gate that a release passed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct PassedView {
    /// How it stood when the plan was made; of one that asks people, how it stood when the run began.
    #[serde(flatten)]
    pub(crate) gate: GateView,
    /// Who approved, of a gate that asks people: those whose statements the run began with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) let_in: Vec<String>,
}

/// A quarantine of a release that stands.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct QuarantineView {
    /// For this environment and downstream; null means everywhere.
    pub(crate) scope: Option<EnvironmentName>,
    /// Who.
    pub(crate) by: String,
    /// Whether a rollback did it.
    pub(crate) automatic: bool,
    /// When.
    pub(crate) at: Timestamp,
    /// The position of the record that says so.
    pub(crate) record: u64,
    /// The reason that was given.
    pub(crate) reason: Option<String>,
    /// The command that lifts it.
    pub(crate) lift: String,
}

/// A recalled digest that a release has in it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct RecallView {
    /// Which.
    pub(crate) digest: Digest,
    /// Who recalled it.
    pub(crate) by: String,
    /// When.
    pub(crate) at: Timestamp,
    /// The position of the record that says so.
    pub(crate) record: u64,
    /// The reason that was given.
    pub(crate) reason: Option<String>,
    /// The command that ends it.
    pub(crate) lift: String,
}

impl QuarantineView {
    /// Every quarantine of a release that stands, those of everything first.
    pub(crate) fn all(session: &Session, view: &View, release: &ReleaseId) -> Result<Vec<Self>, CliError> {
        let mine = view.quarantines.iter().filter(|((id, _), _)| id == release);
        let one = |((_, scope), note): (&(ReleaseId, Option<EnvironmentName>), &Note)| {
            Ok(Self {
                scope: scope.clone(),
                by: note.by.name.clone(),
                automatic: note.automatic,
                at: note.at,
                record: note.seq,
                reason: session.reason_given(note.seq)?,
                lift: ways::lift(session, release, scope.as_ref()),
            })
        };
        mine.map(one).collect()
    }
}

impl RecallView {
    /// Every recalled digest that a release has in it.
    pub(crate) fn all(session: &Session, view: &View, release: &ReleaseId) -> Result<Vec<Self>, CliError> {
        let digests = session.recalled_in(release)?;
        let notes = digests.into_iter().filter_map(|digest| Some((digest, view.recalled.get(&digest)?)));
        let one = |(digest, note): (Digest, &Note)| {
            Ok(Self {
                digest,
                by: note.by.name.clone(),
                at: note.at,
                record: note.seq,
                reason: session.reason_given(note.seq)?,
                lift: ways::end_recall(session, &digest),
            })
        };
        notes.map(one).collect()
    }
}

impl PassageView {
    /// A release in every environment of the pipeline, in the order of the graph; and where it was that is none of it any more.
    pub(crate) fn all(session: &Session, view: &View, release: &ReleaseId) -> Result<Vec<Self>, CliError> {
        let governance = session.governance();
        let names: Vec<&EnvironmentName> = governance.graph.topological().iter().collect();
        let gates = session.gates_of(names.iter().map(|name| (*name, release)), (session.invoker(), true))?;
        let standing = Standing::of(session, view)?;
        let mut plans = Plans { session, read: BTreeMap::new() };
        let mut out = Vec::new();
        for (name, gates) in names.iter().zip(gates) {
            out.push(passage(&standing, view, (name, release), gate::told(gates, release), &mut plans)?);
        }
        let known: BTreeSet<&EnvironmentName> = names.into_iter().collect();
        let gone = view.environments.keys().filter(|name| !known.contains(name));
        for name in gone {
            let one = passage(&standing, view, (name, release), Vec::new(), &mut plans)?;
            if !one.stays.is_empty() || one.entered.is_some() {
                out.push(Self { stands: Stands::Gone, ..one });
            }
        }
        Ok(out)
    }
}

/// The plans that let a release in, each read once.
struct Plans<'a> {
    session: &'a Session,
    read: BTreeMap<Digest, Result<(Plan, Vec<String>), String>>,
}

impl Plans<'_> {
    /// A plan, with who approved it; why it cannot be read, where it cannot.
    fn get(&mut self, view: &View, digest: Digest) -> Result<&Result<(Plan, Vec<String>), String>, CliError> {
        if !self.read.contains_key(&digest) {
            let bytes = self.session.kept(&digest, "a plan that was applied").map_err(|error| error.to_string());
            let read = bytes.and_then(|bytes| Document::from_bytes(&bytes).map_err(|error| error.to_string()));
            let authority = AuthorityView::of(self.session, view, [digest])?.pop();
            let let_in = authority.as_ref().map(AuthorityView::let_in).unwrap_or_default();
            self.read.insert(digest, read.map(|(document, _)| (document.body, let_in)));
        }
        Ok(&self.read[&digest])
    }
}

fn passage(
    standing: &Standing,
    view: &View,
    (name, release): (&EnvironmentName, &ReleaseId),
    gates: Vec<Gate>,
    plans: &mut Plans<'_>,
) -> Result<PassageView, CliError> {
    let session = plans.session;
    let known = view.environment(name);
    let environment = session.governance().pipeline.environments.get(name);
    let residences = known.into_iter().flat_map(|known| &known.residences).filter(|one| one.release == *release);
    let stays: Vec<StayView> =
        residences.map(|one| StayView { from: one.since, until: one.until, run: one.run.clone() }).collect();
    let moving = known.and_then(|known| known.active.as_ref()).is_some_and(|active| active.to == *release);
    let here = view.current(name).is_some_and(|current| current.release == *release);
    let stands = match overall(&gates) {
        _ if moving => Stands::Moving,
        _ if here => Stands::Runs,
        _ if !stays.is_empty() => Stands::Was,
        Outcome::Satisfied | Outcome::Overridden => Stands::CanEnter,
        Outcome::Deferred | Outcome::Waiting => Stands::Waits,
        Outcome::Expired | Outcome::Refused => Stands::Barred,
    };
    let asked = environment.map(|environment| eligibility::verification(view, name, environment, release));
    let (checks, verified) = match asked {
        Some(asked) => (asked.checks, asked.holds_since.is_some()),
        None => (BTreeMap::new(), false),
    };
    let spoke = known.and_then(|known| known.verdicts.get(release));
    let was_there = !stays.is_empty() || moving || spoke.is_some();
    let checks = checks.into_iter().filter(|_| was_there).map(|(check, status)| {
        let last = spoke.and_then(|spoke| spoke.get(&check)?.last());
        CheckedView {
            stands: status::word(status),
            holds: matches!(status, CheckStatus::Passed { .. }),
            at: last.map(|last| last.at),
            by: last
                .filter(|last| last.said != Said::Withdrawn)
                .and_then(|last| last.by.as_ref())
                .map(ToString::to_string),
            run: last.and_then(|last| last.run.clone()),
            check,
        }
    });
    let checks = checks.collect();
    let moves = known.into_iter().flat_map(|known| known.history.iter().chain(&known.active));
    let moves: Vec<&Promotion> = moves.filter(|one| one.to == *release && one.drill.is_none()).collect();
    let entered = moves.last().map(|last| entered(standing, view, (name, release), last, plans)).transpose()?;
    let mut bars = Vec::new();
    if !here && !moving {
        for gate in gate::closed(&gates) {
            let remark = session.reason_behind(view, name, release, &gate.reason)?;
            bars.push(GateView { remark, ..standing.gate(gate, (name, release)) });
        }
    }
    let opens_at = if bars.is_empty() { None } else { gate::opens_at(&gates) };
    Ok(PassageView {
        environment: name.clone(),
        tier: environment.map(|environment| environment.tier),
        stands,
        verified: verified && was_there,
        stays,
        checks,
        entered,
        earlier: moves.len().saturating_sub(1),
        bars,
        opens_at,
    })
}

/// How a promotion let a release in, with what was judged then.
fn entered(
    standing: &Standing,
    view: &View,
    (name, release): (&EnvironmentName, &ReleaseId),
    promotion: &Promotion,
    plans: &mut Plans<'_>,
) -> Result<EnteredView, CliError> {
    let session = plans.session;
    let (outcome, well) = match promotion.finished {
        Some((_, outcome)) => {
            let (words, _) = endings::told(session, view, name, promotion, outcome);
            let well = outcome == promo_core::ledger::event::PromotionOutcome::Verified;
            (if well { words } else { endings::over(words) }.into_owned(), well)
        }
        None => (standing.halfway(&promotion.run).to_owned(), false),
    };
    let (mut gates, mut unknown) = (Vec::new(), None);
    if let Some(digest) = promotion.plan {
        match plans.get(view, digest)? {
            Err(why) => unknown = Some(why.clone()),
            Ok((plan, let_in)) => {
                let planned = plan.moves.iter().find(|one| one.environment == *name && one.to.id == *release);
                gates = planned
                    .into_iter()
                    .flat_map(|one| &one.gates)
                    .map(|gate| passed(gate, (name, release), let_in))
                    .collect();
            }
        }
    }
    Ok(EnteredView {
        run: promotion.run.clone(),
        plan: promotion.plan,
        by: promotion.by.name.clone(),
        started: promotion.started,
        ended: promotion.finished.map(|(at, _)| at),
        outcome,
        well,
        gates,
        unknown,
    })
}

fn passed(gate: &Gate, about: (&EnvironmentName, &ReleaseId), let_in: &[String]) -> PassedView {
    // Nobody has to do anything about it any more.
    let mut shown = GateView { who: None, next: None, ..GateView::of(gate, about, None) };
    let Reason::Approvals { needed, .. } = &gate.reason else { return PassedView { gate: shown, let_in: Vec::new() } };
    // A run begins only with every approval that its plan needs (S6.9).
    if !let_in.is_empty() {
        shown.outcome = Outcome::Satisfied;
        shown.text = format!("approval {needed} of {needed} by {}", let_in.join(" and "));
    }
    PassedView { gate: shown, let_in: let_in.to_vec() }
}
