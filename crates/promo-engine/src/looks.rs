//! What the verbs that only read tell beside gates: the plans that wait for approval, the runs without an end, and the
//! reasons that people gave. What must not live here: any decision; all of it is asked of the core.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::approval::{Decision, Envelope, Evaluation};
use promo_core::eligibility::{self, Assessor, CheckStatus, Hold, Observed, Question};
use promo_core::gate::{Gate, Reason};
use promo_core::ids::{CheckName, EnvironmentName, IdentityName, ReleaseId, RunId};
use promo_core::ledger::View;
use promo_core::ledger::event::Movement;
use promo_core::ledger::record::{DETAIL, METADATA, REASON};
use promo_core::ledger::view::{ReleaseEntry, Request, Run};
use promo_core::model::Check;
use promo_core::plan::{Document, Plan};
use promo_core::planner::{self, Observations};
use promo_ledger::StoreError;

use crate::apply::{Sign, moved_since, sign};
use crate::error::EngineError;
use crate::observe;
use crate::session::Session;
use crate::signature;

/// What is told in place of a text that was erased from beside its record (S12.5).
pub const ERASED: &str = "(erased)";

fn kept(text: Option<String>) -> String {
    text.unwrap_or_else(|| ERASED.to_owned())
}

/// A requested plan that is neither used, superseded nor over.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Digest of the plan.
    pub plan: Digest,
    /// The request.
    pub request: Request,
    /// The plan, as the ledger keeps it.
    pub document: Document,
    /// How each of its moves stands now, in the order of the plan.
    pub moves: Vec<PendingMove>,
    /// Why nobody can approve or apply it any more, where what it was made from is no longer so ([`Session::unchanged`]).
    pub stale: Option<String>,
    /// Where it is stale: environments of it that somebody has moved since it was made, and all of them where it is something
    /// else that changed.
    pub moved: Vec<EnvironmentName>,
    /// Whether nothing is left to do of what it asked for ([`Session::moot`]).
    pub moot: bool,
}

/// How one move of a requested plan stands.
#[derive(Debug, Clone)]
pub struct PendingMove {
    /// Where.
    pub environment: EnvironmentName,
    /// Every gate, with the approvals that the ledger holds.
    pub gates: Vec<Gate>,
    /// Rule by rule what the approvals come to; none where no approval is asked for.
    pub evaluation: Option<Evaluation>,
    /// Who rejected it, and the reason that they gave.
    pub rejected: Vec<(IdentityName, Option<String>)>,
}

/// A run without an end.
#[derive(Debug, Clone)]
pub struct OpenRun {
    /// Its id.
    pub id: RunId,
    /// The run.
    pub run: Run,
    /// Whether somebody is at work on it.
    pub sign: Sign,
}

/// The most of what changed that one line names.
const FEW: usize = 3;

const fn is_failure(hold: &Hold<'_>) -> bool {
    matches!(hold, Hold::Failed(_))
}

/// Whether what a plan asked for is there. `reconfigured` are the environments whose configuration is another than the deployed
/// one; nothing where that is not known.
fn moot(plan: &Plan, view: &View, reconfigured: Option<&BTreeMap<EnvironmentName, bool>>) -> bool {
    plan.moves.iter().all(|entry| {
        let Some(here) = view.current(&entry.environment).map(|here| &here.release) else { return false };
        match entry.movement {
            // It leaves nothing that could be there without it.
            _ if entry.drill => *here != entry.to.id,
            Movement::Promotion => view.lineage(here) >= entry.to.lineage,
            // What was left half-way is put there again: it is there once nothing holds it any more.
            Movement::Rollback if entry.from.as_ref().is_some_and(|from| from.id == entry.to.id) => {
                *here != entry.to.id || !eligibility::holds(view, &entry.environment).iter().any(is_failure)
            }
            Movement::Rollback => *here == entry.to.id,
            // The release was there from the beginning: what was asked for is another configuration of it.
            Movement::Reconfiguration => {
                *here != entry.to.id || reconfigured.is_some_and(|names| !names.contains_key(&entry.environment))
            }
        }
    })
}

impl Session {
    /// The reason that somebody gave with a record, unless none was given; [`ERASED`] where it was erased (S12.5).
    ///
    /// # Errors
    /// When the ledger cannot be read, and when what stands beside the record is not what the record commits to.
    pub fn reason_given(&self, seq: u64) -> Result<Option<String>, EngineError> {
        self.text(seq, REASON)
    }

    /// What a check saw, as its verdict's record has it beside it; [`ERASED`] where it was erased.
    ///
    /// # Errors
    /// As [`Session::reason_given`].
    pub fn detail_seen(&self, seq: u64) -> Result<Option<String>, EngineError> {
        self.text(seq, DETAIL)
    }

    /// What the build of a release said of itself; [`ERASED`] where that was erased.
    ///
    /// # Errors
    /// As [`Session::reason_given`].
    pub fn metadata(&self, entry: &ReleaseEntry) -> Result<BTreeMap<String, String>, EngineError> {
        if entry.said.is_empty() {
            return Ok(BTreeMap::new());
        }
        let texts = self.store.texts(entry.seq)?.into_iter();
        let said = texts.filter_map(|(field, text)| Some((field.strip_prefix(METADATA)?.to_owned(), kept(text))));
        Ok(said.collect())
    }

    /// Whether a check has passed for a release where it failed on the same deployment before, so that it must pass once more to
    /// count (S3.1).
    #[must_use]
    pub(crate) fn must_pass_again(
        &self,
        view: &View,
        name: &EnvironmentName,
        release: &ReleaseId,
        check: &CheckName,
    ) -> bool {
        let environment = self.governance.pipeline.environments.get(name);
        let stands = environment.map(|environment| eligibility::verification(view, name, environment, release).checks);
        stands.is_some_and(|checks| checks.get(check) == Some(&CheckStatus::Flaky))
    }

    /// The checks of an environment that people answer, and on which a release does not stand as passed there: a promotion
    /// whose automatic checks passed leaves them open.
    #[must_use]
    pub fn unspoken(&self, view: &View, name: &EnvironmentName, release: &ReleaseId) -> Vec<CheckName> {
        let pipeline = &self.governance.pipeline;
        let Some(environment) = pipeline.environments.get(name) else { return Vec::new() };
        let checks = eligibility::verification(view, name, environment, release).checks.into_iter();
        let open = checks.filter(|(check, status)| {
            matches!(pipeline.checks.get(check), Some(Check::Manual { .. }))
                && !matches!(status, CheckStatus::Passed { .. })
        });
        open.map(|(check, _)| check).collect()
    }

    /// What the ledger keeps by a digest that a record of it names: `what` says as what. Nothing may be concluded from its
    /// being gone but that the ledger is not whole.
    ///
    /// # Errors
    /// When it is gone, or the ledger cannot be read.
    pub fn kept(&self, digest: &Digest, what: &str) -> Result<Vec<u8>, EngineError> {
        let bytes = self.store.get_blob(digest)?;
        let gone = || StoreError::Integrity {
            place: format!("its kept files, where {what} was"),
            expected: digest.to_string(),
            found: "nothing".into(),
        };
        Ok(bytes.ok_or_else(gone)?)
    }

    /// The same of a record that somebody has proven to be theirs. What any other names may never have been kept: a row that
    /// anybody can write stops nobody (S12.3).
    pub(crate) fn kept_where(&self, proven: bool, digest: &Digest, what: &str) -> Result<Option<Vec<u8>>, EngineError> {
        if proven { self.kept(digest, what).map(Some) } else { Ok(self.store.get_blob(digest)?) }
    }

    fn text(&self, seq: u64, field: &str) -> Result<Option<String>, EngineError> {
        Ok(self.store.texts(seq)?.remove(field).map(kept))
    }

    /// The reason that somebody gave for what a gate rests on: a freeze, or a quarantine.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn reason_behind(
        &self,
        view: &View,
        environment: &EnvironmentName,
        release: &ReleaseId,
        reason: &Reason,
    ) -> Result<Option<String>, EngineError> {
        let seq = match reason {
            Reason::Frozen { .. } | Reason::Paused { .. } => view.freeze(environment).map(|f| f.note.seq),
            Reason::Quarantined { .. } => {
                view.quarantine(release, environment, &self.governance.graph).map(|(_, note)| note.seq)
            }
            Reason::WindowDenies { windows, .. } | Reason::OutsideWindows { windows } => {
                return Ok(self.reason_of_windows(environment, windows));
            }
            _ => None,
        };
        seq.map_or(Ok(None), |seq| self.reason_given(seq))
    }

    /// What the files say these windows of an environment are for, and who answers for them.
    fn reason_of_windows(&self, environment: &EnvironmentName, names: &[String]) -> Option<String> {
        let levels = self.governance.windows.get(environment)?;
        let mut told: Vec<String> = Vec::new();
        for window in levels.iter().flat_map(|level| &level.windows).filter(|w| names.iter().any(|n| n == w.id())) {
            let spec = window.spec();
            let said = match (&spec.reason, &spec.owner) {
                (Some(reason), Some(owner)) => format!("{reason} ({owner})"),
                (Some(said), None) | (None, Some(said)) => said.clone(),
                (None, None) => continue,
            };
            if !told.contains(&said) {
                told.push(said);
            }
        }
        (!told.is_empty()).then(|| told.join("; "))
    }

    /// The requested plans that wait, oldest request first, with what was said about them. One that another version made is left
    /// out: nobody can apply it here.
    ///
    /// # Errors
    /// When the ledger cannot be read, or keeps a plan no longer for whose request somebody signed.
    pub fn pending(&self, view: &View) -> Result<Vec<Pending>, EngineError> {
        let now = self.present()?;
        let mut open: Vec<(&Digest, &Request)> = view.pending(now.at).collect();
        open.sort_by_key(|(_, request)| request.seq);
        let mut out = Vec::new();
        // The files are read once, whatever is requested; one that cannot be read says nothing of a plan.
        let here = if open.is_empty() { None } else { observe::here(self, view).ok() };
        let reconfigured = here.as_ref().map(|here| planner::reconfigured(&self.governance.rules(), view, here));
        for (plan, request) in open {
            let Some(bytes) = self.kept_where(!request.signers.is_empty(), plan, "a requested plan")? else { continue };
            let Ok((document, digest)) = Document::from_bytes(&bytes) else { continue };
            let standings = self.standings(&document, &digest, view, &[], None, now.at)?;
            let invoker = self.counts_as(&document.body, &digest, view, &[]);
            let (nothing, evidence) = (BTreeSet::new(), self.evidence_for(view, &document.body)?);
            let observed = Observed { evidence: &evidence, ..Observed::NOTHING };
            let rules = self.governance.rules();
            let assessor = Assessor::new(&rules, view, observed, now);
            let mut moves = Vec::new();
            for entry in &document.body.moves {
                let evaluation = standings.get(&entry.environment).cloned();
                let status = evaluation.as_ref().map(Evaluation::status);
                let question = Question {
                    environment: &entry.environment,
                    release: &entry.to.id,
                    movement: entry.movement,
                    drill: entry.drilled(),
                    named: document.body.request.by_name(),
                    // What runs there enters again only where the plan found a reason.
                    drifted: !entry.drill && entry.from.as_ref().is_some_and(|from| from.id == entry.to.id),
                    tried: eligibility::configuration_failed(
                        view,
                        &entry.environment,
                        &entry.to.id,
                        (&entry.files, &entry.settings),
                    ),
                    invoker,
                    moved_before: if entry.after.is_empty() { &nothing } else { &entry.after },
                    approvals: status.as_ref(),
                    run: None,
                };
                let gates = assessor.assess(&question);
                let rejections = evaluation.iter().flat_map(|evaluation| &evaluation.rejections);
                let rejected = rejections.map(|rejection| {
                    let who = rejection.identity.clone();
                    let reason = self.said_no(view, plan, &who)?;
                    Ok((who, reason))
                });
                let rejected = rejected.collect::<Result<Vec<_>, EngineError>>()?;
                moves.push(PendingMove { environment: entry.environment.clone(), gates, evaluation, rejected });
            }
            let stale = self.stale_by(&document.body, view, here.as_ref())?;
            let mut moved = moved_since(&document.body, view);
            if stale.is_some() && moved.is_empty() {
                moved = document.body.moves.iter().map(|entry| entry.environment.clone()).collect();
            }
            let moot = moot(&document.body, view, reconfigured.as_ref());
            out.push(Pending { plan: *plan, request: request.clone(), document, moves, stale, moved, moot });
        }
        Ok(out)
    }

    /// Why nobody can approve or apply a plan any more, in words, as far as this can be told without asking anything outside
    /// ([`Session::unchanged`]); nothing where it can still be used, or where it cannot be told here.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn stale(&self, document: &Document) -> Result<Option<String>, EngineError> {
        let view = self.view()?;
        self.stale_by(&document.body, &view, observe::here(self, &view).ok().as_ref())
    }

    fn stale_by(&self, plan: &Plan, view: &View, here: Option<&Observations>) -> Result<Option<String>, EngineError> {
        let judged = self.belongs_here(plan).and_then(|()| match here {
            Some(here) => self.unmoved(plan, view, here),
            // What moved is told by the ledger too.
            None => self.rules_stand(plan, view),
        });
        match judged {
            Ok(()) => Ok(None),
            Err(EngineError::Stale { moved, by }) => {
                let (told, more) = moved.split_at(moved.len().min(FEW));
                let told: Vec<&str> = told.iter().map(|moved| moved.input.as_str()).collect();
                let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
                let by = by.map(|by| format!(" ({by})")).unwrap_or_default();
                Ok(Some(format!("since it was planned, this changed: {}{more}{by}", told.join(", "))))
            }
            Err(EngineError::Elsewhere { what, .. }) => Ok(Some(format!("it was made under another {what}"))),
            Err(EngineError::Ledger(error)) => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    /// Whether nothing is left to do of what a plan asked for: everything that it would move is there already, or has gone on,
    /// and the configuration that it would deploy is that of the working tree no more. To plan it again would move nothing.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn moot(&self, document: &Document) -> Result<bool, EngineError> {
        let view = self.view()?;
        Ok(moot(&document.body, &view, self.reconfigured(&view).ok().as_ref()))
    }

    /// The reason that somebody gave with the rejection of a plan.
    fn said_no(&self, view: &View, plan: &Digest, who: &IdentityName) -> Result<Option<String>, EngineError> {
        let theirs = view.approvals.iter().filter(|entry| entry.plan == Some(*plan)).find(|entry| {
            let fact = serde_json::from_value::<Envelope>(entry.envelope.clone()).ok();
            let fact = fact.and_then(|envelope| signature::verify(&envelope, &self.governance.roster).ok());
            fact.is_some_and(|f| f.identity() == who && f.statement().decision == Decision::Reject)
        });
        theirs.map_or(Ok(None), |entry| self.reason_given(entry.seq))
    }

    /// The runs without an end, oldest first, and whether somebody is at work on each. One that has ended since `view` was
    /// read is left out: it holds no lock, as a dead one holds none.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn unfinished(&self, view: &View) -> Result<Vec<OpenRun>, EngineError> {
        let leases = self.store.leases()?;
        let mut out = Vec::new();
        for (id, run) in view.runs.iter().filter(|(_, run)| run.finished.is_none()) {
            let (mut run, mut told) = (run.clone(), sign(&leases, id, run));
            if !matches!(told, Sign::Alive { .. }) {
                // What was read before the locks says nothing of a run without one; what is read after them does.
                let open = |view: &View| view.runs.get(id).filter(|run| run.finished.is_none()).cloned();
                let Some(now) = self.with_view(open)? else { continue };
                (told, run) = (sign(&leases, id, &now), now);
            }
            out.push(OpenRun { id: id.clone(), run, sign: told });
        }
        Ok(out)
    }

    /// The environments whose configuration in the working tree is another than the one that was deployed, and of each whether it
    /// failed there before. Files are read; no place and no registry is looked at.
    ///
    /// # Errors
    /// When a file that the pipeline names cannot be read.
    pub fn reconfigured(&self, view: &View) -> Result<BTreeMap<EnvironmentName, bool>, EngineError> {
        let observations = Observations { files: observe::working_tree(self)?, ..Observations::default() };
        Ok(planner::reconfigured(&self.governance.rules(), view, &observations))
    }

    /// When a move that a window allows now has to have begun, where that window closes.
    #[must_use]
    pub fn window_closes(
        &self,
        environment: &EnvironmentName,
        movement: promo_core::ledger::event::Movement,
        invoker: promo_core::windows::Invoker,
        now: Timestamp,
    ) -> Option<Timestamp> {
        eligibility::window_closes(&self.governance.rules(), environment, movement, invoker, now)
    }
}
