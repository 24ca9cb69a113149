//! A second opinion on eligibility, written from the rules (S3, S4, S10.1, S16) and not from the code: it knows only the
//! list of records, reads all of it again for every question, and lives through soaks second by second.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use promo_core::eligibility::SoakStatus;
use promo_core::ids::{CheckName, EnvironmentName, ReleaseId};
use promo_core::ledger::event::{Movement, PromotionOutcome};
use promo_core::ledger::{Event, Record};
use promo_core::model::{After, Arrival, OnUnhealthy, Pipeline, Soak, SoakMode};

/// Longer than any soak of the tests, in seconds.
const LONG: i64 = 200;
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// What can be asked: a pipeline, what was recorded, and when.
pub(crate) struct Reference<'a> {
    pipeline: &'a Pipeline,
    events: Vec<Happened>,
    now: Timestamp,
}

/// When, what, and where a step of it began to bring something else than what was there.
type Happened = (Timestamp, Event, Option<EnvironmentName>);

/// One thing that happened to a check of a release.
#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Pass {
        deployment: usize,
        at: Timestamp,
    },
    Fail {
        deployment: usize,
    },
    /// Something was withdrawn here.
    Break,
}

impl<'a> Reference<'a> {
    pub(crate) fn new(pipeline: &'a Pipeline, records: &[Record], now: Timestamp) -> Self {
        let event = |r: &Record| Event::from_parts(&r.kind, &r.body).expect("legal bodies");
        let happened = |place: usize| {
            let record = &records[place];
            (record.recorded_at, event(record), disturbed(&records[..=place], event))
        };
        Self { pipeline, events: (0..records.len()).map(happened).collect(), now }
    }

    /// Every release in the order of entry: its place is its lineage (S2.1).
    pub(crate) fn releases(&self) -> Vec<ReleaseId> {
        let added = |(_, event, _): &Happened| match event {
            Event::ReleaseAdded { release } => Some(release.id.clone()),
            _ => None,
        };
        self.events.iter().filter_map(added).collect()
    }

    fn lineage(&self, id: &ReleaseId) -> usize {
        self.releases().iter().position(|known| known == id).expect("a known release") + 1
    }

    fn deployments(&self, here: &EnvironmentName) -> Vec<(Timestamp, ReleaseId)> {
        deployments(&self.events, here)
    }

    pub(crate) fn current(&self, here: &EnvironmentName) -> Option<ReleaseId> {
        self.deployments(here).pop().map(|(_, release)| release)
    }

    fn marks(&self, here: &EnvironmentName, id: &ReleaseId, wanted: &CheckName) -> Vec<Mark> {
        self.marks_and_whether_they_held(here, id, wanted).0
    }

    fn marks_and_whether_they_held(
        &self,
        here: &EnvironmentName,
        id: &ReleaseId,
        wanted: &CheckName,
    ) -> (Vec<Mark>, bool) {
        let (mut marks, mut held) = (Vec::new(), false);
        for (place, (at, event, _)) in self.events.iter().enumerate() {
            let before = &self.events[..place];
            let deployment = || deployments(before, here).iter().rposition(|(_, r)| r == id).map_or(0, |n| n + 1);
            match event {
                Event::VerdictRecorded { environment, release, check, passed, .. }
                    if environment == here && release == id && check == wanted =>
                {
                    let (deployment, at) = (deployment(), *at);
                    marks.push(if *passed { Mark::Pass { deployment, at } } else { Mark::Fail { deployment } });
                }
                // It takes away the latest valid verdict; where there is none, nothing.
                Event::VerdictWithdrawn { environment, release, check, .. }
                    if environment == here
                        && release == id
                        && check == wanted
                        && marks.last().is_some_and(|m| *m != Mark::Break) =>
                {
                    marks.pop();
                    marks.push(Mark::Break);
                }
                _ => {}
            }
            held |= Self::check_since(&marks).is_some();
        }
        (marks, held)
    }

    /// S3's table and S16: the checks upstream of an environment that held once for what runs there, and hold no longer.
    pub(crate) fn lost(&self, here: &EnvironmentName) -> BTreeSet<(EnvironmentName, CheckName)> {
        let mut lost = BTreeSet::new();
        let Some(current) = self.current(here) else { return lost };
        for (upstream, environment) in &self.pipeline.environments {
            for check in environment.verify.iter().filter(|_| upstream != here && self.leads_to(upstream, here)) {
                let (marks, held) = self.marks_and_whether_they_held(upstream, &current, check);
                if held && Self::check_since(&marks).is_none() {
                    lost.insert((upstream.clone(), check.clone()));
                }
            }
        }
        lost
    }

    /// A pass is flaky when it follows a failure on the same deployment and there were not two passes in a row since.
    fn flaky(marks: &[Mark], pass: usize) -> bool {
        let Mark::Pass { deployment, .. } = marks[pass] else { unreachable!("asked about passes only") };
        let is_pass = |n: usize| matches!(marks[n], Mark::Pass { .. });
        (0..pass).any(|n| marks[n] == Mark::Fail { deployment } && !(n + 1..pass).any(|m| is_pass(m) && is_pass(m + 1)))
    }

    /// The first pass of the unbroken run of passes that count.
    fn check_since(marks: &[Mark]) -> Option<Timestamp> {
        let run = marks.iter().rposition(|m| !matches!(m, Mark::Pass { .. })).map_or(0, |n| n + 1);
        (run..marks.len()).find(|&n| !Self::flaky(marks, n)).map(|n| match marks[n] {
            Mark::Pass { at, .. } => at,
            _ => unreachable!("the run has passes only"),
        })
    }

    /// Since when a release is deployed and verified in an environment.
    pub(crate) fn verified(&self, here: &EnvironmentName, id: &ReleaseId) -> Option<Timestamp> {
        let mut since = self.deployments(here).into_iter().find(|(_, release)| release == id)?.0;
        for check in &self.pipeline.environments[here].verify {
            since = since.max(Self::check_since(&self.marks(here, id, check))?);
        }
        Some(since)
    }

    /// Lives through the history second by second.
    pub(crate) fn soak(&self, here: &EnvironmentName, id: &ReleaseId, required: Soak) -> SoakStatus {
        let Some(verified) = self.verified(here, id) else { return SoakStatus::Stopped };
        let needed = i64::try_from(required.seconds).expect("tests are short");
        let mut life = Life { verified, needed, running: false, healthy: true, lived: 0, met: None };
        let mut time = self.events[0].0;
        let mut last = None;
        for (at, event, disturbed) in &self.events {
            while time < *at {
                life.second(&mut time);
            }
            if disturbed.as_ref() == Some(here) {
                (life.running, last) = (false, None);
            }
            match event {
                Event::Deployed { environment, release, files, settings, .. } if environment == here => {
                    let new = Some((release, files, settings));
                    if new != last {
                        life.running = release == id;
                        life.healthy = true;
                        if life.running && required.mode == SoakMode::Reset {
                            life.lived = 0;
                        }
                        last = new;
                    }
                }
                Event::HealthObserved { environment, healthy } if environment == here && life.running => {
                    life.healthy = *healthy;
                    if !healthy && time >= verified {
                        life.met = None;
                        if required.unhealthy == OnUnhealthy::Reset {
                            life.lived = 0;
                        }
                    }
                }
                _ => {}
            }
            life.look(time);
        }
        while time < self.now {
            life.second(&mut time);
        }
        if let Some(at) = life.met {
            return SoakStatus::Met { at };
        }
        for _ in 0..LONG {
            life.second(&mut time);
            if let Some(eligible_at) = life.met {
                return SoakStatus::Running { eligible_at };
            }
        }
        SoakStatus::Stopped
    }

    /// Whether the way from one environment leads to another, or is no way at all.
    fn leads_to(&self, from: &EnvironmentName, to: &EnvironmentName) -> bool {
        from == to || before(&self.pipeline.environments[to].after).iter().any(|b| self.leads_to(from, b))
    }

    pub(crate) fn quarantined(&self, here: &EnvironmentName, id: &ReleaseId) -> bool {
        let mut scopes: BTreeSet<&Option<EnvironmentName>> = BTreeSet::new();
        for (_, event, _) in &self.events {
            match event {
                Event::ReleaseRejected { release, scope, .. } if release == id => _ = scopes.insert(scope),
                Event::ReleaseLifted { release, scope, .. } if release == id => _ = scopes.remove(scope),
                _ => {}
            }
        }
        scopes.iter().any(|scope| scope.as_ref().is_none_or(|scope| self.leads_to(scope, here)))
    }

    /// Whether one predecessor lets a release pass.
    fn member(&self, here: &EnvironmentName, before: &EnvironmentName, id: &ReleaseId) -> bool {
        let soaked = |required: &Soak| matches!(self.soak(before, id, *required), SoakStatus::Met { .. });
        self.verified(before, id).is_some() && self.pipeline.environments[here].soak.get(before).is_none_or(soaked)
    }

    /// S3.1, S3.4.
    pub(crate) fn eligible(&self, here: &EnvironmentName) -> Vec<ReleaseId> {
        let passes = |id: &ReleaseId| match &self.pipeline.environments[here].after {
            After::Root => true,
            After::All(of) => of.iter().all(|b| self.member(here, b, id)),
            After::AtLeast { at_least, of, always } => {
                let met = of.iter().filter(|b| self.member(here, b, id)).count();
                met >= *at_least as usize && always.iter().all(|b| self.member(here, b, id))
            }
        };
        self.releases().into_iter().filter(|id| !self.quarantined(here, id) && passes(id)).collect()
    }

    /// S3.2.
    pub(crate) fn candidate(&self, here: &EnvironmentName) -> Option<ReleaseId> {
        let highest = self.eligible(here).pop()?;
        let ahead = self.current(here).is_none_or(|current| self.lineage(&highest) > self.lineage(&current));
        ahead.then_some(highest)
    }

    /// S3.3.
    pub(crate) fn fired(&self, here: &EnvironmentName, id: &ReleaseId) -> bool {
        self.events.iter().any(|(_, event, _)| {
            matches!(event, Event::PromotionStarted { environment, to, .. } if environment == here && to == id)
        })
    }

    /// Whether a release was verified somewhere, and whatever spoke of it since holds: some checks may have come later.
    fn was_verified(&self, here: &EnvironmentName, id: &ReleaseId) -> bool {
        let mut checks = self.pipeline.environments[here].verify.iter().map(|check| self.marks(here, id, check));
        let ended_well = |event: &Event| {
            matches!(event, Event::PromotionFinished { environment, release, outcome: PromotionOutcome::Verified }
                if environment == here && release == id)
        };
        checks.all(|marks| marks.is_empty() || Self::check_since(&marks).is_some())
            && self.events.iter().any(|(_, event, _)| ended_well(event))
    }

    /// S10.1 and S16, best first.
    pub(crate) fn rollback_targets(&self, here: &EnvironmentName, below: &ReleaseId) -> Vec<ReleaseId> {
        let good = |id: &ReleaseId| {
            let good = self.verified(here, id).is_some() || self.was_verified(here, id);
            self.lineage(id) < self.lineage(below) && good && !self.quarantined(here, id)
        };
        self.releases().into_iter().rev().filter(good).collect()
    }

    /// Whether a failed check keeps a release out of an environment.
    fn refused(&self, here: &EnvironmentName, id: &ReleaseId) -> bool {
        let failed = |before: &EnvironmentName| {
            let checks = &self.pipeline.environments[before].verify;
            checks.iter().any(|check| matches!(self.marks(before, id, check).last(), Some(Mark::Fail { .. })))
        };
        match &self.pipeline.environments[here].after {
            After::Root => false,
            After::All(of) => of.iter().any(failed),
            After::AtLeast { at_least, of, always } => {
                let left = of.iter().filter(|b| !failed(b)).count();
                left < *at_least as usize || always.iter().any(failed)
            }
        }
    }

    /// S4.3: whether what runs here soaks for a successor that does not have it yet and may still take it by itself.
    pub(crate) fn holds(&self, here: &EnvironmentName, arriving: &ReleaseId) -> bool {
        let Some(current) = self.current(here) else { return false };
        if current == *arriving || self.pipeline.environments[here].arrival == Arrival::Replace {
            return false;
        }
        self.pipeline.environments.iter().any(|(successor, environment)| {
            let Some(required) = environment.soak.get(here) else { return false };
            let has = self.current(successor).is_some_and(|there| self.lineage(&there) >= self.lineage(&current));
            let cannot = self.quarantined(successor, &current)
                || self.fired(successor, &current)
                || self.refused(successor, &current);
            !has && !cannot && matches!(self.soak(here, &current, *required), SoakStatus::Running { .. })
        })
    }
}

/// What was deployed in an environment, in order, without what changed nothing (S16).
fn deployments(events: &[Happened], here: &EnvironmentName) -> Vec<(Timestamp, ReleaseId)> {
    let mut found = Vec::new();
    let mut last = None;
    for (at, event, disturbed) in events {
        if disturbed.as_ref() == Some(here) {
            last = None;
        }
        if let Event::Deployed { environment, release, files, settings, .. } = event
            && environment == here
        {
            let new = Some((release, files, settings));
            if new != last {
                found.push((*at, release.clone()));
                last = new;
            }
        }
    }
    found
}

/// S4.1: where the last of these records begins to put something else in the place of what is there. It reads back to where its run
/// began there, and to what was deployed last.
fn disturbed(records: &[Record], event: impl Fn(&Record) -> Event) -> Option<EnvironmentName> {
    let (intent, before) = records.split_last()?;
    let Event::StepIntent { .. } = event(intent) else { return None };
    let (here, step) = (intent.environment.as_ref()?, intent.step.as_ref()?);
    let (forward, back) = (format!("{here}/deploy/"), format!("{here}/rollback/deploy/"));
    let (mut brings, mut with, mut drilled, mut arrived) = (None, None, false, false);
    let mut there = None;
    for record in before {
        let mine = record.run == intent.run;
        match event(record) {
            Event::PromotionStarted { environment, to, movement, .. } if environment == *here && mine => {
                brings = Some((to, movement));
            }
            Event::ConfigurationStarted { environment, files, settings, .. } if environment == *here && mine => {
                with = Some((files, settings));
            }
            Event::DrillStarted { environment, .. } if environment == *here && mine => drilled = true,
            Event::Deployed { environment, release, files, settings, .. } if environment == *here => {
                arrived |= mine;
                there = Some((release, (files, settings)));
            }
            _ => {}
        }
    }
    let ((to, movement), (release, configuration)) = (brings?, there?);
    let same = match movement {
        Movement::Reconfiguration if !drilled => with == Some(configuration),
        _ => true,
    };
    let another = match step {
        step if step.starts_with(&back) => drilled || arrived,
        step if step.starts_with(&forward) => to != release || !same,
        _ => false,
    };
    another.then(|| here.clone())
}

/// A release in an environment, while time goes by.
struct Life {
    verified: Timestamp,
    needed: i64,
    running: bool,
    healthy: bool,
    lived: i64,
    met: Option<Timestamp>,
}

impl Life {
    fn counts(&self, time: Timestamp) -> bool {
        self.running && self.healthy && time >= self.verified
    }

    fn look(&mut self, time: Timestamp) {
        if self.counts(time) && self.lived >= self.needed && self.met.is_none() {
            self.met = Some(time);
        }
    }

    fn second(&mut self, time: &mut Timestamp) {
        if self.counts(*time) {
            self.lived += 1;
        }
        *time += SECOND;
        self.look(*time);
    }
}

pub(crate) fn before(after: &After) -> Vec<EnvironmentName> {
    match after {
        After::Root => Vec::new(),
        After::All(of) | After::AtLeast { of, .. } => of.iter().cloned().collect(),
    }
}
