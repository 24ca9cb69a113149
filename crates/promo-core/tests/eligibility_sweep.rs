//! Eligibility against the slow second opinion: every acyclic graph of up to five environments, each under several
//! generated histories; the same over random ones that shrink; and S1.5's monotonicity over the same material. What must
//! not be here: cases that a person can read; those are in `eligibility.rs`.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use promo_core::clock::{Doubt, Present};
use promo_core::eligibility::{
    Observed, Question, SoakStatus, assess, candidate, eligible, lost_evidence, rollback_targets, soak, verification,
};
use promo_core::gate::{Gate, GateKind, Outcome, Reason, overall};
use promo_core::ids::{EnvironmentName, ReleaseId};
use promo_core::ledger::event::Movement;
use promo_core::ledger::view::EnvironmentView;
use promo_core::ledger::{Event, View};
use promo_core::model::{After, Arrival, OnUnhealthy, Pipeline, Soak, SoakMode};
use promo_core::windows::{Invoker, Level, Window};
use proptest::prelude::*;
use support::history::{World, approval, name, pipeline};
use support::reference::{Reference, before};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const RELEASES: [&str; 4] = ["B1", "B2", "B3", "B4"];

/// SplitMix64: small, and the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % limit).expect("small")
    }

    fn one_in(&mut self, limit: u64) -> bool {
        self.below(limit) == 0
    }
}

/// The graph of `size` environments with the edges whose bits are set: `edges` is an upper-triangular matrix. Soaks,
/// joins and arrivals are drawn.
fn graph(size: usize, edges: u32, random: &mut Random) -> Pipeline {
    let mut bit = 0;
    let mut lines = String::new();
    for (to, here) in NAMES.iter().enumerate().take(size) {
        let from: BTreeSet<EnvironmentName> = (0..to)
            .filter(|_| {
                bit += 1;
                edges >> (bit - 1) & 1 == 1
            })
            .map(|n| name(NAMES[n]))
            .collect();
        lines.push_str(here);
        let list = |names: &BTreeSet<EnvironmentName>| names.iter().map(|n| format!(" {n}")).collect::<String>();
        if !from.is_empty() && random.one_in(3) {
            let always: BTreeSet<_> = from.iter().filter(|_| random.one_in(3)).cloned().collect();
            let at_least = random.below(from.len() as u64) + 1;
            lines.push_str(&format!(" atleast {at_least} of{} always{}", list(&from), list(&always)));
        } else if !from.is_empty() {
            lines.push_str(&format!(" after{}", list(&from)));
        }
        for before in &from {
            if random.one_in(2) {
                let modes = ["", ",accumulate", ",pause", ",accumulate,pause"][random.below(4)];
                lines.push_str(&format!(" soak {before}={}{modes}", 1 + random.below(40)));
            }
        }
        lines.push_str([" verify t", " verify t", " verify t u", ""][random.below(4)]);
        lines.push_str(if random.one_in(4) { " replace\n" } else { "\n" });
    }
    pipeline(&lines)
}

/// One event out of four numbers: which kind, where, which release, and how much later.
type Op = (u8, u8, u8, u8);

fn ops(count: usize, random: &mut Random) -> Vec<Op> {
    let mut byte = || u8::try_from(random.below(256)).expect("a byte");
    (0..count).map(|_| (byte(), byte(), byte(), byte())).collect()
}

/// Plays operations; those that cannot follow what stands before them are passed over.
fn play(pipeline: &Pipeline, ops: &[Op]) -> World {
    let mut world = World::of(pipeline.clone());
    world.play("add B1 B2 B3 B4");
    let names: Vec<String> = pipeline.environments.keys().map(ToString::to_string).collect();
    let mut quarantines = BTreeSet::new();
    let mut active: BTreeMap<&str, &str> = BTreeMap::new();
    for &(kind, place, release, later) in ops {
        let here = &names[usize::from(place) % names.len()];
        let release = RELEASES[usize::from(release) % RELEASES.len()];
        // Ties are common: two records of one second are told apart by their order alone.
        world.clock += i64::from(later % 5) * i64::from(later % 3);
        let check = if later & 64 == 0 { "t" } else { "u" };
        let line = match kind {
            // What a run brings is recorded by the run, now and then.
            0..45 if active.get(here.as_str()) == Some(&release) => format!("run deploy {here} {release} 1"),
            0..90 => format!("deploy {here} {release} {}", kind % 8 / 7 + 1),
            90..155 => format!("pass {here} {check} {release}"),
            155..170 if !active.contains_key(here.as_str()) => continue,
            155..167 => format!("intent {here}"),
            167..170 => format!("intent {here} {}", ["rollback/deploy", "copy"][usize::from(kind % 2)]),
            170..185 => format!("fail {here} {check} {release}"),
            185..200 => format!("withdraw {here} {check} {release}"),
            200..212 => format!("health {here} bad"),
            212..224 => format!("health {here} good"),
            224..226 => format!("reject {release} {here}"),
            226 => format!("reject {release}"),
            227..232 => format!("health {here} good"),
            232..238 => format!("lift {release} {here}"),
            238..240 => format!("lift {release}"),
            240..248 => {
                let movement = ["promotion", "reconfiguration", "rollback"][usize::from(later % 3)];
                format!("start {here} {release} {movement}")
            }
            248..252 => format!("finish {here} {release} {}", ["verified", "held"][usize::from(kind % 2)]),
            _ => format!("freeze {here}"),
        };
        let legal = match kind {
            224..227 => {
                quarantines.insert((release, (kind < 226).then_some(here)));
                true
            }
            232..240 => quarantines.remove(&(release, (kind < 238).then_some(here))),
            240..248 => !active.contains_key(here.as_str()) && active.insert(here, release).is_none(),
            248..252 => active.get(here.as_str()) == Some(&release) && active.remove(here.as_str()).is_some(),
            _ => true,
        };
        if legal {
            world.play(&line);
        }
    }
    world.clock += 3;
    world
}

/// How often each thing was seen, so that a sweep over empty histories cannot pass.
#[derive(Default, Debug)]
struct Seen {
    passed_on: usize,
    met: usize,
    running: usize,
    targets: usize,
    held: usize,
    fired: usize,
    quarantined: usize,
    lost: usize,
    disturbed: usize,
}

/// Every answer of the code is the answer of the reference.
fn agree(world: &World, seen: &mut Seen) {
    let (rules, view, now) = (world.rules(), world.view(), world.now());
    let reference = Reference::new(&world.pipeline, &world.records, now);
    let ids: Vec<ReleaseId> = view.releases.iter().map(|r| r.release.id.clone()).collect();
    let mut lost_everywhere = lost_evidence(&rules, &view, world.pipeline.environments.keys());
    for (here, environment) in &world.pipeline.environments {
        let may = eligible(&rules, &view, here, now);
        let lost: BTreeSet<_> = lost_everywhere
            .remove(here)
            .into_iter()
            .flatten()
            .map(|reason| match reason {
                Reason::CheckWithdrawn { environment, check }
                | Reason::CheckFailed { environment, check }
                | Reason::CheckFlaky { environment, check } => (environment, check),
                other => panic!("{other:?} is no lost evidence"),
            })
            .collect();
        assert_eq!(lost, reference.lost(here), "lost evidence of {here}: {world:#?}");
        seen.lost += lost.len();
        assert_eq!(may, reference.eligible(here), "eligible in {here}: {world:#?}");
        assert_eq!(candidate(&rules, &view, here, now), reference.candidate(here), "candidate in {here}: {world:#?}");
        if !before(&environment.after).is_empty() {
            seen.passed_on += may.len();
        }
        for id in &ids {
            let verified = verification(&view, here, environment, id);
            assert_eq!(verified.holds_since, reference.verified(here, id), "{id} verified in {here}: {world:#?}");
            let targets: Vec<_> = rollback_targets(&rules, &view, here, id).cloned().collect();
            assert_eq!(targets, reference.rollback_targets(here, id), "targets of {here} below {id}: {world:#?}");
            seen.targets += targets.len();
            let ended = |known: &EnvironmentView| known.residences.last().is_some_and(|last| last.until.is_some());
            seen.disturbed += usize::from(view.environment(here).is_some_and(ended));
            for required in world.pipeline.environments.values().filter_map(|e| e.soak.get(here)) {
                let status = soak(&view, here, id, &verified, *required, now);
                assert_eq!(status, reference.soak(here, id, *required), "soak of {id} in {here}: {world:#?}");
                seen.met += usize::from(matches!(status, SoakStatus::Met { .. }));
                seen.running += usize::from(matches!(status, SoakStatus::Running { .. }));
            }
            let gates = gates(world, &view, here, id);
            verdict(world, &reference, &gates, (here, id, may.contains(id)), seen);
        }
    }
}

/// A pair of release and environment has one verdict, every gate that blocks it has a code and a text, and the gates are
/// closed where the reference says so (S1.2, S1.5).
fn verdict(
    world: &World,
    reference: &Reference<'_>,
    gates: &[Gate],
    (here, id, eligible): (&EnvironmentName, &ReleaseId, bool),
    seen: &mut Seen,
) {
    assert!(gates.is_sorted_by_key(|g| g.kind), "{gates:#?}");
    let of = |kind| {
        let found: Vec<_> = gates.iter().filter(|g| g.kind == kind).collect();
        assert_eq!(found.len(), 1, "one {kind:?} gate: {gates:#?}");
        found[0]
    };
    for gate in gates {
        assert!(!gate.reason.code().is_empty() && !gate.reason.to_string().is_empty());
        assert!(gate.outcome != Outcome::Deferred && gate.outcome != Outcome::Overridden, "{gate:?}");
        assert!(gate.until.is_none() || gate.outcome == Outcome::Waiting, "{gate:?}");
    }
    let holds = reference.holds(here, id);
    assert_eq!(of(GateKind::Arrival).outcome, if holds { Outcome::Waiting } else { Outcome::Satisfied }, "{world:#?}");
    let barred = reference.quarantined(here, id);
    assert_eq!(of(GateKind::Quarantine).outcome == Outcome::Refused, barred, "{world:#?}");
    let older = matches!(of(GateKind::Order).reason, Reason::Older { .. });
    let fired = reference.fired(here, id);
    let there = reference.current(here).as_ref() == Some(id);
    assert_eq!(!of(GateKind::Order).outcome.is_open(), older || fired || there, "{world:#?}");
    assert_eq!(of(GateKind::Order).reason == Reason::UpToDate, there, "{world:#?}");
    let members = gates.iter().filter(|g| matches!(g.kind, GateKind::Predecessor | GateKind::Join | GateKind::Soak));
    let passed = members.clone().all(|g| g.outcome.is_open());
    assert_eq!(passed && !barred, eligible, "{id} in {here}: {gates:#?}");
    seen.held += usize::from(holds);
    seen.fired += usize::from(fired);
    seen.quarantined += usize::from(barred);
}

fn gates(world: &World, view: &View, here: &EnvironmentName, id: &ReleaseId) -> Vec<Gate> {
    gates_at(world, view, here, id, world.now().into())
}

fn gates_at(world: &World, view: &View, here: &EnvironmentName, id: &ReleaseId, now: Present) -> Vec<Gate> {
    let nothing = BTreeSet::new();
    let question = Question {
        environment: here,
        release: id,
        movement: Movement::Promotion,
        drill: None,
        named: false,
        drifted: false,
        tried: false,
        invoker: Invoker::Automation,
        moved_before: &nothing,
        approvals: None,
        run: None,
    };
    assess(&world.rules(), view, Observed::NOTHING, &question, now)
}

#[test]
fn s3_s4_s10_every_graph_of_up_to_five_environments_agrees_with_the_reference() {
    let mut seen = Seen::default();
    for size in 1..=5usize {
        let histories = if size < 5 { 6 } else { 2 };
        for edges in 0..1 << (size * (size - 1) / 2) {
            for history in 0..histories {
                let mut random = Random(u64::from(edges) << 16 | (size as u64) << 8 | history);
                let pipeline = graph(size, edges, &mut random);
                let events = ops(12 * size, &mut random);
                agree(&play(&pipeline, &events), &mut seen);
            }
        }
    }
    let Seen { passed_on, met, running, targets, held, fired, quarantined, lost, disturbed } = seen;
    for count in [passed_on, met, running, targets, held, fired, quarantined, lost, disturbed] {
        assert!(count > 200, "the sweep hardly saw anything: {seen:?}");
    }
}

#[derive(Debug, Clone)]
struct Case {
    size: usize,
    edges: u32,
    seed: u64,
    ops: Vec<Op>,
}

impl Case {
    fn world(&self) -> World {
        play(&graph(self.size, self.edges, &mut Random(self.seed)), &self.ops)
    }
}

fn case() -> impl Strategy<Value = Case> {
    (2usize..=4, any::<u32>(), any::<u64>(), prop::collection::vec(any::<Op>(), 1..50))
        .prop_map(|(size, edges, seed, ops)| Case { size, edges, seed, ops })
}

/// One more gate somewhere, drawn.
fn tightened(world: &World, seed: u64) -> World {
    let mut random = Random(seed);
    let mut pipeline = world.pipeline.clone();
    let names: Vec<EnvironmentName> = pipeline.environments.keys().cloned().collect();
    let place = random.below(names.len() as u64);
    let here = names[place].clone();
    let environment = pipeline.environments.get_mut(&here).expect("it is one of them");
    let kind = random.below(7);
    match (kind, &mut environment.after) {
        (0, After::All(of)) if place > 0 => _ = of.insert(names[random.below(place as u64)].clone()),
        (0, after @ After::Root) if place > 0 => *after = After::All(BTreeSet::from([names[0].clone()])),
        (1, After::AtLeast { of, always, .. }) => always.extend(of.iter().next().cloned()),
        (2, After::AtLeast { at_least, of, .. }) if (*at_least as usize) < of.len() => *at_least += 1,
        (3, _) => {
            for before in before(&environment.after) {
                let unset = Soak { seconds: 0, mode: SoakMode::Reset, unhealthy: OnUnhealthy::Reset };
                environment.soak.entry(before).or_insert(unset).seconds += 3;
            }
        }
        _ => {}
    }
    let mut world = world.under(pipeline);
    match kind {
        4 => {
            world.approval.entry(here).or_default().push(approval(1));
        }
        5 => {
            let spec = toml::from_str("effect = \"deny\"\ntimezone = \"UTC\"\nweekly = {}").expect("a window");
            let windows = vec![Window::new("always", spec).expect("a legal window")];
            world.windows.entry(here).or_default().push(Level { name: "here".into(), windows });
        }
        6 => {
            let release = world.id(RELEASES[random.below(4)]);
            world.push(Event::ReleaseRejected { release, scope: Some(here), automatic: false });
        }
        _ => {}
    }
    world
}

/// Every pair that may pass. The gate of S4.3 is left out: what holds for a successor rightly holds no longer when the
/// successor is barred. So is the order: it looks at what runs, and would hide what the other gates say.
fn open(world: &World) -> BTreeSet<(EnvironmentName, ReleaseId)> {
    let (mut out, view) = (BTreeSet::new(), world.view());
    for here in world.pipeline.environments.keys() {
        for entry in &view.releases {
            let mut gates = gates(world, &view, here, &entry.release.id);
            gates.retain(|g| !matches!(g.kind, GateKind::Arrival | GateKind::Order));
            if overall(&gates).is_open() {
                out.insert((here.clone(), entry.release.id.clone()));
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_histories_agree_with_the_reference_however_much_later_one_asks(case in case(), later in 0i64..60) {
        let mut world = case.world();
        world.clock += later;
        agree(&world, &mut Seen::default());
    }

    #[test]
    fn s1_5_one_more_gate_never_makes_more_eligible(case in case(), seed in any::<u64>()) {
        let world = case.world();
        let tight = tightened(&world, seed);
        for here in world.pipeline.environments.keys() {
            let before: BTreeSet<_> = eligible(&world.rules(), &world.view(), here, world.now()).into_iter().collect();
            let after: BTreeSet<_> = eligible(&tight.rules(), &tight.view(), here, tight.now()).into_iter().collect();
            prop_assert!(after.is_subset(&before), "{here}: {after:?} of {before:?}");
        }
        prop_assert!(open(&tight).is_subset(&open(&world)));
    }

    #[test]
    fn s12_6_in_doubt_about_the_time_no_time_gate_is_open_and_no_other_gate_moves(case in case(), seed in any::<u64>()) {
        let world = tightened(&case.world(), seed);
        let (view, now) = (world.view(), world.now());
        let doubt = Some(Doubt::WentBack { ledger: now, before: now + jiff::SignedDuration::from_secs(3) });
        let unsure = Present { at: now, doubt };
        for (here, environment) in &world.pipeline.environments {
            let doubtful: BTreeSet<_> = eligible(&world.rules(), &view, here, unsure).into_iter().collect();
            let sure: BTreeSet<_> = eligible(&world.rules(), &view, here, now).into_iter().collect();
            prop_assert!(doubtful.is_subset(&sure));
            let windows = world.windows.get(here).is_some_and(|levels| !levels.is_empty());
            let approvals = world.approval.get(here).is_some_and(|rules| !rules.is_empty());
            for id in view.releases.iter().map(|entry| &entry.release.id) {
                let calm = gates(&world, &view, here, id);
                let gates = gates_at(&world, &view, here, id, unsure);
                let shut = |kind| gates.iter().filter(|g| g.kind == kind).all(|g| !g.outcome.is_open());
                prop_assert!(shut(GateKind::Soak), "{gates:#?}");
                prop_assert!(!windows || shut(GateKind::Window), "{gates:#?}");
                prop_assert!(!approvals || shut(GateKind::Approval), "{gates:#?}");
                let holds = calm.iter().any(|g| matches!(g.reason, Reason::HoldsForSoak { .. }));
                prop_assert!(!holds || shut(GateKind::Arrival), "{gates:#?}");
                prop_assert!(!overall(&gates).is_open() || overall(&calm).is_open());
                // A join explains itself by its members only while it is closed, and soak may close it.
                let joins = matches!(environment.after, After::AtLeast { .. });
                let other = |gate: &&Gate| match gate.kind {
                    GateKind::Soak | GateKind::Arrival => false,
                    GateKind::Window => !windows,
                    GateKind::Approval => !approvals,
                    GateKind::Join | GateKind::Predecessor => !joins,
                    _ => true,
                };
                let (before, after): (Vec<_>, Vec<_>) =
                    (calm.iter().filter(other).collect(), gates.iter().filter(other).collect());
                prop_assert_eq!(before, after);
            }
        }
    }
}

#[test]
fn s1_5_every_kind_of_gate_can_close_something() {
    // Guards the property above against a `tightened` that tightens nothing.
    let mut closed = BTreeSet::new();
    for seed in 0..5_000 {
        if closed.len() == 7 {
            break;
        }
        let mut random = Random(seed);
        let edges = u32::try_from(random.below(64)).expect("small");
        let pipeline = graph(4, edges, &mut random);
        let world = play(&pipeline, &ops(60, &mut random));
        let kind = Random(seed).below(1 << 20);
        let tight = tightened(&world, kind as u64);
        if open(&tight) != open(&world) {
            let mut drawn = Random(kind as u64);
            drawn.below(4);
            closed.insert(drawn.below(7));
        }
    }
    assert_eq!(closed, (0..7).collect(), "kinds that closed something");
}

#[test]
fn arrival_is_not_part_of_eligibility() {
    // Named here because the sweep compares both: a release that is held is eligible all the same (S4.3).
    let mut world = World::new("qa verify t\nstaging after qa soak qa=60");
    world.play("add B1 B2; deploy qa B1; pass qa t B1; @5");
    assert_eq!(world.pipeline.environments["qa"].arrival, Arrival::Hold);
    let qa: EnvironmentName = name("qa");
    assert_eq!(candidate(&world.rules(), &world.view(), &qa, world.now()), Some(world.id("B2")));
    assert_eq!(overall(&gates(&world, &world.view(), &qa, &world.id("B2"))), Outcome::Waiting);
}
