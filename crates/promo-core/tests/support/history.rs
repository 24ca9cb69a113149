//! Pipelines and ledgers out of a few words, so that a test reads like the table it comes from.
//!
//! A pipeline is one environment a line: `staging after qa perf verify e2e soak qa=60 perf=30,accumulate,pause`; further
//! words are `atleast N of … always …`, `approve N`, `manual`, `replace`, `hold-failed`, `watched`, `files PATTERN…`, `bare` (a
//! control-only node). A history is one event a line or after a semicolon, with `@SECONDS` before it where time goes on:
//! `@10 deploy qa B2; pass qa e2e B2`. With `run` before it an event is one of the run that moves its environment;
//! `intent qa` begins a step of that run, `intent qa rollback/deploy` one of its way back.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::eligibility::Rules;
use promo_core::graph::Graph;
use promo_core::ids::{CheckName, EnvironmentName, ReleaseId, RoleName, RunId};
use promo_core::ledger::event::{Movement, PromotionOutcome, RunOutcome};
use promo_core::ledger::record::{Actor, ActorKind, FORMAT};
use promo_core::ledger::view::IllegalRecord;
use promo_core::ledger::{Event, Record, View, fold};
use promo_core::model::{
    After, ApprovalRule, Arrival, Artifact, ArtifactKind, Check, Deployment, Environment, OnClose, OnFailure,
    OnUnhealthy, Pipeline, Soak, SoakMode, Start, Target, Tier, Watch,
};
use promo_core::newest::Newest;
use promo_core::planner::DeploymentSettings;
use promo_core::release::{Release, ReleaseContent};
use promo_core::requirement::NamedGate;
use promo_core::state::State;
use promo_core::windows::Level;
use serde_json::json;

/// A name of any kind.
pub(crate) fn name<T: FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("the tests write names right")
}

/// So many seconds after the beginning of all tests.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).expect("the tests stay in range")
}

/// A pipeline out of its lines.
pub(crate) fn pipeline(text: &str) -> Pipeline {
    let environments: BTreeMap<_, _> = text.lines().map(str::trim).filter(|l| !l.is_empty()).map(environment).collect();
    let automatic = |check: &CheckName| {
        let kind = if check.as_str().starts_with("uat") {
            Check::Manual { from: BTreeSet::from([name("tester")]) }
        } else {
            let files = vec![format!("checks/{{environment}}/{check}.sh")];
            Check::Automatic { provider: "command".into(), settings: json!({"check": check}), files }
        };
        (check.clone(), kind)
    };
    let checks = environments.values().flat_map(|e| &e.verify).map(automatic).collect();
    let artifact = Artifact {
        kind: ArtifactKind::Image,
        repository: "registry.test/app".into(),
        tags: None,
        newest: Newest::default(),
    };
    Pipeline {
        name: name("app"),
        quiet: None,
        artifacts: BTreeMap::from([(name("app"), artifact)]),
        checks,
        windows: BTreeMap::new(),
        gates: BTreeMap::new(),
        environments,
    }
}

fn environment(line: &str) -> (EnvironmentName, Environment) {
    let mut words = line.split_whitespace();
    let here: EnvironmentName = name(words.next().expect("a line begins with a name"));
    let target = Target(BTreeMap::from([("directory".into(), format!("environments/{here}"))]));
    let mut environment = Environment {
        tier: Tier::Testing,
        after: After::Root,
        start: Start::Auto,
        arrival: Arrival::Hold,
        soak: BTreeMap::new(),
        targets: BTreeMap::from([(name("default"), target)]),
        deploy: Some(Deployment { provider: "directory".into(), settings: json!({"keep": 3}), files: Vec::new() }),
        mirror: BTreeMap::new(),
        verify: Vec::new(),
        approval: Vec::new(),
        windows: Vec::new(),
        gates: Vec::new(),
        attest: None,
        on_failure: OnFailure::Rollback,
        watch: None,
        waves: Vec::new(),
        on_close: OnClose::Finish,
    };
    let mut section = "";
    for word in words {
        match (section, word) {
            (_, "manual") => environment.start = Start::Manual,
            (_, "replace") => environment.arrival = Arrival::Replace,
            (_, "hold-failed") => environment.on_failure = OnFailure::Hold,
            (_, "watched") => environment.watch = Some(Watch { seconds: 60, every: 10 }),
            (_, "bare") => (environment.deploy, environment.targets) = (None, BTreeMap::new()),
            (_, "after" | "atleast" | "of" | "always" | "verify" | "soak" | "approve" | "files") => section = word,
            ("after", _) => match &mut environment.after {
                After::All(of) => _ = of.insert(name(word)),
                after => *after = After::All(BTreeSet::from([name(word)])),
            },
            ("atleast", _) => {
                let at_least = word.parse().expect("a number");
                environment.after = After::AtLeast { at_least, of: BTreeSet::new(), always: BTreeSet::new() };
            }
            ("of" | "always", _) => {
                let After::AtLeast { of: members, always, .. } = &mut environment.after else { panic!("{line}") };
                if section == "always" { always } else { members }.insert(name(word));
            }
            ("verify", _) => environment.verify.push(name(word)),
            ("soak", _) => {
                environment.soak.insert(name(word.split_once('=').expect("environment=seconds").0), soak(word));
            }
            ("approve", _) => environment.approval.push(approval(word.parse().expect("a number"))),
            ("files", _) => environment.deploy.as_mut().expect("deployed").files.push(word.into()),
            _ => panic!("{word:?} in {line:?}"),
        }
    }
    (here, environment)
}

fn soak(word: &str) -> Soak {
    let mut parts = word.split_once('=').expect("environment=seconds").1.split(',');
    let seconds = parts.next().unwrap_or_default().parse().expect("seconds");
    let rest: Vec<_> = parts.collect();
    Soak {
        seconds,
        mode: if rest.contains(&"accumulate") { SoakMode::Accumulate } else { SoakMode::Reset },
        unhealthy: if rest.contains(&"pause") { OnUnhealthy::Pause } else { OnUnhealthy::Reset },
    }
}

pub(crate) fn approval(count: u32) -> ApprovalRule {
    ApprovalRule { count, from: BTreeSet::from([name::<RoleName>("owner")]), exclude: BTreeSet::new() }
}

/// A pipeline and everything that was recorded of it.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) pipeline: Pipeline,
    pub(crate) graph: Graph,
    pub(crate) approval: BTreeMap<EnvironmentName, Vec<ApprovalRule>>,
    pub(crate) windows: BTreeMap<EnvironmentName, Vec<Level>>,
    pub(crate) gates: BTreeMap<EnvironmentName, Vec<NamedGate>>,
    pub(crate) no_drills: BTreeSet<EnvironmentName>,
    pub(crate) records: Vec<Record>,
    /// Seconds since the beginning.
    pub(crate) clock: i64,
    releases: BTreeMap<String, ReleaseId>,
    runs: u32,
}

impl World {
    pub(crate) fn new(text: &str) -> Self {
        Self::of(pipeline(text))
    }

    pub(crate) fn of(pipeline: Pipeline) -> Self {
        let graph = Graph::new(&pipeline);
        let approval = pipeline.environments.iter().map(|(n, e)| (n.clone(), e.approval.clone())).collect();
        Self {
            pipeline,
            graph,
            approval,
            windows: BTreeMap::new(),
            gates: BTreeMap::new(),
            no_drills: BTreeSet::new(),
            records: Vec::new(),
            clock: 0,
            releases: BTreeMap::new(),
            runs: 0,
        }
    }

    /// The same records under another pipeline.
    pub(crate) fn under(&self, pipeline: Pipeline) -> Self {
        let Self { records, clock, releases, runs, .. } = self.clone();
        Self { records, clock, releases, runs, ..Self::of(pipeline) }
    }

    pub(crate) fn rules(&self) -> Rules<'_> {
        Rules {
            pipeline: &self.pipeline,
            graph: &self.graph,
            approval: &self.approval,
            windows: &self.windows,
            gates: &self.gates,
            no_drills: &self.no_drills,
        }
    }

    pub(crate) fn view(&self) -> View {
        self.folded().expect("the tests write legal histories")
    }

    pub(crate) fn folded(&self) -> Result<View, IllegalRecord> {
        fold(&self.records)
    }

    pub(crate) fn now(&self) -> Timestamp {
        at(self.clock)
    }

    /// The id of a release by its alias.
    pub(crate) fn id(&self, alias: &str) -> ReleaseId {
        self.releases.get(alias).unwrap_or_else(|| panic!("no release {alias}")).clone()
    }

    /// The aliases of releases.
    pub(crate) fn aliases(&self, ids: &[ReleaseId]) -> Vec<&str> {
        let alias = |id| self.releases.iter().find(|(_, known)| *known == id).map(|(alias, _)| alias.as_str());
        ids.iter().map(|id| alias(id).expect("a known release")).collect()
    }

    /// Plays a history.
    pub(crate) fn play(&mut self, text: &str) -> &mut Self {
        for line in text.split(['\n', ';']).map(str::trim).filter(|l| !l.is_empty()) {
            let mut words: Vec<_> = line.split_whitespace().collect();
            if let Some(seconds) = words[0].strip_prefix('@') {
                self.clock = seconds.parse().expect("seconds");
                words.remove(0);
            }
            if !words.is_empty() {
                self.one(&words);
            }
        }
        self
    }

    fn one(&mut self, words: &[&str]) {
        if let ["run", of_it @ ..] = words {
            let active = self.view().environments[of_it[1]].active.clone().expect("a promotion is under way");
            self.one(of_it);
            let record = self.records.last_mut().expect("it was just written");
            (record.run, record.plan, record.epoch) = (Some(active.run), active.plan, Some(1));
            return;
        }
        let scope = |word: Option<&&str>| word.map(|w| name::<EnvironmentName>(w));
        let scopes = |words: &[&str]| words.iter().map(|w| name(w)).collect();
        let event = match *words {
            ["add", ref aliases @ ..] => {
                for alias in aliases {
                    self.add(alias, &[]);
                }
                return;
            }
            ["deploy", environment, release] => self.deployed(environment, release, "1"),
            ["deploy", environment, release, config] => self.deployed(environment, release, config),
            // With which configuration a release that is there is deployed again.
            ["configure", environment, release, config] => {
                let settings = self.settings(environment, config);
                let (environment, release) = (name(environment), self.id(release));
                Event::ConfigurationStarted { environment, release, files: BTreeMap::new(), settings }
            }
            [verdict @ ("pass" | "fail"), environment, check, release] => Event::VerdictRecorded {
                environment: name(environment),
                release: self.id(release),
                check: name(check),
                passed: verdict == "pass",
                unanswered: false,
                by: None,
                signed: None,
            },
            ["withdraw", environment, check, release] => Event::VerdictWithdrawn {
                environment: name(environment),
                release: self.id(release),
                check: name(check),
                by: None,
                signed: None,
            },
            ["health", environment, state] => {
                Event::HealthObserved { environment: name(environment), healthy: state == "good" }
            }
            ["reject", release, ref rest @ ..] => {
                Event::ReleaseRejected { release: self.id(release), scope: scope(rest.first()), automatic: false }
            }
            ["lift", release, ref rest @ ..] => {
                Event::ReleaseLifted { release: self.id(release), scope: scope(rest.first()), by: None, signed: None }
            }
            ["freeze", ref rest @ ..] => Event::Frozen { environments: scopes(rest), automatic: false },
            ["pause", ref rest @ ..] => Event::Frozen { environments: scopes(rest), automatic: true },
            ["unfreeze", ref rest @ ..] => Event::Unfrozen { environments: scopes(rest), by: None, signed: None },
            ["start", environment, release] => {
                self.start(environment, release);
                return;
            }
            ["start", environment, release, movement] => {
                let from = self.view().current(&name(environment)).map(|residence| residence.release.clone());
                let movement = serde_json::from_value(json!(movement)).expect("a movement");
                self.begin(environment, release, from, movement);
                return;
            }
            // A step of the promotion that is under way there, `deploy` or as it is named behind the environment.
            ["intent", environment, ref rest @ ..] => {
                let step = rest.first().copied().unwrap_or("deploy");
                return self.intent(environment, &format!("{environment}/{step}/default"));
            }
            ["finish", environment, release, outcome] => return self.finish(environment, release, outcome),
            _ => panic!("{words:?}"),
        };
        self.push(event);
    }

    /// Adds a release that carries shared files.
    pub(crate) fn add(&mut self, alias: &str, files: &[(&str, &str)]) -> ReleaseId {
        let digest = Digest::of(alias.as_bytes());
        let content = ReleaseContent {
            components: BTreeMap::from([(name("app"), digest)]),
            files: files.iter().map(|(path, text)| ((*path).into(), Digest::of(text.as_bytes()))).collect(),
        };
        let id = content.id();
        let sources = BTreeMap::from([(name("app"), format!("registry.test/app:{}@{digest}", alias.to_lowercase()))]);
        let release = Release { id: id.clone(), content, sources, alias: Some(alias.into()) };
        self.releases.insert(alias.into(), id.clone());
        self.push(Event::ReleaseAdded { release });
        id
    }

    /// A deployment; config `1` is what the pipeline says, any other is something else.
    fn deployed(&self, environment: &str, release: &str, config: &str) -> Event {
        let settings = self.settings(environment, config);
        Event::Deployed {
            environment: name(environment),
            release: self.id(release),
            files: BTreeMap::new(),
            settings,
            targets: BTreeMap::new(),
        }
    }

    fn settings(&self, environment: &str, config: &str) -> Digest {
        let declared = DeploymentSettings::of(&self.pipeline.environments[environment]).digest();
        if config == "1" { declared } else { Digest::of(config.as_bytes()) }
    }

    /// A run that begins to promote; it uses up a plan of its own.
    pub(crate) fn start(&mut self, environment: &str, release: &str) -> RunId {
        self.begin(environment, release, None, Movement::Promotion)
    }

    fn begin(&mut self, environment: &str, release: &str, from: Option<ReleaseId>, movement: Movement) -> RunId {
        let to = self.id(release);
        let environment: EnvironmentName = name(environment);
        self.runs += 1;
        let run: RunId = name(&format!("run-{}", self.runs));
        let plan = Digest::of(run.as_str().as_bytes());
        let environments = BTreeMap::from([(environment.clone(), to.clone())]);
        self.push_run(&run, Event::RunStarted { environments, approvals: vec![], applier: "ada".into() }, plan, None);
        let started = Event::PromotionStarted { environment, from, to, movement };
        self.push_run(&run, started, plan, None);
        run
    }

    fn intent(&mut self, environment: &str, step: &str) {
        let environment: EnvironmentName = name(environment);
        let active = self.view().environments[&environment].active.clone().expect("a promotion is under way");
        let plan = active.plan.expect("runs name their plan");
        let intent = Event::StepIntent { expected: State::Absent, desired: State::Absent };
        self.push_run(&active.run, intent, plan, Some(step));
        self.records.last_mut().expect("it was just written").environment = Some(environment);
    }

    fn finish(&mut self, environment: &str, release: &str, outcome: &str) {
        let environment: EnvironmentName = name(environment);
        let active = self.view().environments[&environment].active.clone().expect("a promotion is under way");
        let outcome: PromotionOutcome = serde_json::from_value(json!(outcome)).expect("an outcome");
        let plan = active.plan.expect("runs name their plan");
        let finished = Event::PromotionFinished { environment, release: self.id(release), outcome };
        self.push_run(&active.run, finished, plan, None);
        self.push_run(&active.run, Event::RunFinished { outcome: RunOutcome::Done }, plan, None);
    }

    /// Writes an event at the present time.
    pub(crate) fn push(&mut self, event: Event) {
        let record = self.record(event);
        self.records.push(record);
    }

    /// Writes an event of a run.
    pub(crate) fn push_run(&mut self, run: &RunId, event: Event, plan: Digest, step: Option<&str>) {
        let mut record = self.record(event);
        (record.run, record.plan, record.epoch) = (Some(run.clone()), Some(plan), Some(1));
        record.step = step.map(str::to_owned);
        self.records.push(record);
    }

    fn record(&self, event: Event) -> Record {
        let (kind, body) = event.to_parts();
        let environment = body.get("environment").and_then(|e| e.as_str()).map(name);
        let seq = self.records.len() as u64;
        Record {
            format: FORMAT,
            seq,
            prev: Digest::of(&seq.to_be_bytes()),
            rid: format!("rid-{seq}"),
            kind,
            pipeline: self.pipeline.name.clone(),
            environment,
            run: None,
            step: None,
            epoch: None,
            plan: None,
            policy: None,
            actor: Actor { name: "ada".into(), kind: ActorKind::Human },
            claimed_at: self.now(),
            recorded_at: self.now(),
            tool: "test".into(),
            body,
            commitments: BTreeMap::new(),
        }
    }
}
