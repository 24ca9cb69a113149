//! Every folder of `pipelines/` is a test: it is read without a diagnostic, governed by its policy, explained in a README,
//! and its history runs to the end on the real engine. `PROMO_BLESS=1` writes the expected files anew.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use promo_core::config::{self, Limits};
use promo_core::gate::{Gate, Reason};
use promo_core::graph::Graph;
use promo_core::ledger::event::RunOutcome;
use promo_core::plan::{Document, Goal, Request};
use promo_core::policy::{TrustMode, govern, policy};
use promo_core::windows::Invoker;
use promo_engine::verdicts::{VERDICT_NAMESPACE, VerdictDecision, VerdictKind, VerdictStatement, verdict_bytes};
use promo_engine::{PLAN_LIFETIME, RunReport};
use promo_tests::world::{Time, World, pipelines};

/// Folders and where their history is: a folder that is missing here is an error.
const FOLDERS: [&str; 4] = ["eleven-environments", "kubernetes", "quickstart", "two-registries"];

fn folders() -> BTreeSet<String> {
    let entries = std::fs::read_dir(pipelines()).unwrap().map(Result::unwrap);
    entries.filter(|e| e.path().is_dir()).map(|e| e.file_name().into_string().unwrap()).collect()
}

fn expect_file(folder: &str, name: &str, found: &str) {
    let path = pipelines().join(folder).join("expected").join(name);
    if std::env::var_os("PROMO_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{} differs; PROMO_BLESS=1 writes it anew", path.display());
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_else(|e| panic!("{}/{name}: {e}", folder.display()))
}

#[test]
fn every_folder_is_known_explained_read_without_a_word_and_governed_by_its_policy() {
    assert_eq!(folders(), FOLDERS.map(String::from).into());
    for folder in FOLDERS {
        let root = pipelines().join(folder);
        let readme = read(&root, "README.md");
        assert!(readme.starts_with(&format!("# {folder}\n")), "{folder}: README.md");
        let text = read(&root, "promo.toml");
        let loaded = config::load(&text, &promo_providers::kinds(), &Limits::default());
        assert!(loaded.diagnostics.is_empty(), "{folder}: {:#?}", loaded.diagnostics);
        let pipeline = loaded.pipeline.unwrap();
        assert_eq!(pipeline.name.as_str(), folder);
        let (policy, diagnostics) = policy(&read(&root, "policy.toml"));
        assert!(diagnostics.is_empty(), "{folder}: {diagnostics:#?}");
        // Production on clusters is nothing for local mode (S0.1).
        let mode = if folder == "kubernetes" { TrustMode::Trusted } else { TrustMode::Local };
        let (governed, diagnostics) = govern(&pipeline, &loaded.places, policy.as_ref(), mode);
        assert!(governed.is_some() && diagnostics.is_empty(), "{folder}: {diagnostics:#?}");
        let graph = Graph::new(&pipeline);
        assert!(graph.cycles().is_empty());
        for name in pipeline.environments.keys() {
            assert!(readme.contains(name.as_str()), "{folder}: README.md says nothing of {name}");
        }
        let order: String = graph.topological().iter().map(|name| format!("{name}\n")).collect();
        expect_file(folder, "order.txt", &order);
    }
}

/// What a plan says of every environment, by codes: what moves, and what keeps the rest.
fn report(plan: &Document) -> String {
    let closed = |gates: &[Gate]| {
        let codes = gates.iter().filter(|g| !g.outcome.is_open()).map(|g| match &g.reason {
            Reason::NotThereYet { environment }
            | Reason::ChecksMissing { environment, .. }
            | Reason::CheckFailed { environment, .. }
            | Reason::Soaking { environment, .. }
            | Reason::Verified { environment, .. } => format!("{}({environment})", g.reason.code()),
            reason => reason.code().to_string(),
        });
        codes.collect::<Vec<_>>().join(" ")
    };
    let mut out = String::new();
    for m in &plan.body.moves {
        let to = m.to.alias.as_deref().unwrap();
        writeln!(out, "  {:16} + {to} {}", m.environment, closed(&m.gates)).unwrap();
    }
    for s in &plan.body.stays {
        let current = s.current.as_ref().and_then(|r| r.alias.as_deref()).unwrap_or("-");
        let why = serde_json::to_value(s.why).unwrap().as_str().unwrap().to_string();
        let next = s.next.as_ref().map(|n| format!(", {}: {}", n.release.alias.as_deref().unwrap(), closed(&n.gates)));
        writeln!(out, "  {:16} = {current} {why}{}", s.environment, next.unwrap_or_default()).unwrap();
    }
    let lines: Vec<&str> = out.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}

async fn everything(world: &World) -> Document {
    let request = Request {
        goal: Goal::Promote,
        environments: [].into(),
        release: None,
        until: None,
        drill: false,
        invoker: Invoker::Human,
    };
    world.session.plan(request, PLAN_LIFETIME).await.unwrap()
}

async fn advance(world: &World) -> Vec<RunReport> {
    world.session.advance(world.options()).await.unwrap().reports
}

/// Asks, has riley approve, applies.
async fn to_production(world: &World, environment: &str) -> RunReport {
    let plan = world.plan(environment).await;
    assert_eq!(plan.body.moves.len(), 1, "{:#?}", plan.body.stays);
    let digest = plan.digest().unwrap();
    world.ask(&plan).await;
    let approval = world.sign(&plan, promo_core::approval::Decision::Approve);
    world.session.record_approval(&plan, &digest, &approval, &[], None).unwrap();
    world.session.apply(&plan, digest, world.options()).await.unwrap()
}

fn accept(world: &World, time: &Time) {
    let statement = VerdictStatement {
        kind: VerdictKind::V1,
        environment: "qa".parse().unwrap(),
        release: world.current("qa").unwrap(),
        check: "acceptance".parse().unwrap(),
        decision: VerdictDecision::Pass,
        ledger: world.session.store().origin(),
        pipeline: "eleven-environments".into(),
        at: promo_sdk::Clock::now(time),
        reason: None,
    };
    let signature = world.keys["tess"].sign_bytes(&verdict_bytes(&statement).unwrap(), VERDICT_NAMESPACE).unwrap();
    world.session.record_verdict(&statement, &signature).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn eleven_environments_take_two_releases_as_its_readme_tells() {
    // A Monday, 10:00 in Berlin.
    let time = Time::at("2026-03-23T09:00:00Z");
    let world = World::with("eleven-environments", time.setup());
    let mut told = String::new();
    let mut tell = async |title: &str| {
        writeln!(told, "{title}\n{}", report(&everything(&world).await)).unwrap();
    };

    let first = world.release("1.0.0").await;
    tell("1.0.0 is added").await;
    assert!(advance(&world).await.iter().all(|r| r.outcome == Some(RunOutcome::Done)));
    tell("1. automation went as far as it could; qa waits for a tester").await;
    accept(&world, &time);
    assert!(advance(&world).await.iter().all(|r| r.outcome == Some(RunOutcome::Done)));
    tell("2. the tester signed, staging took it").await;
    for region in ["staging-eu", "staging-us", "staging-ap"] {
        assert_eq!(world.current(region), Some(first.clone()), "{region}");
    }
    time.pass(Duration::from_secs(2 * 3600));
    tell("3. two hours later").await;
    assert_eq!(to_production(&world, "production-eu").await.outcome, Some(RunOutcome::Done));
    assert_eq!(world.current("production-eu"), Some(first.clone()));
    tell("3. production-eu has it").await;
    // Each region in the hours of its own people, and the last one when the two before it have it.
    for (opens, region) in [("2026-03-23T14:00:00Z", "production-us"), ("2026-03-24T02:00:00Z", "production-ap")] {
        time.until(opens.parse().unwrap());
        assert_eq!(to_production(&world, region).await.outcome, Some(RunOutcome::Done));
        assert_eq!(world.current(region), Some(first.clone()), "{region}");
        tell(&format!("3. {region} has it")).await;
    }

    std::fs::write(world.path("config/load-gpu.env"), "REPLICAS=1\nLAB=down\n").unwrap();
    let second = world.release("1.1.0").await;
    let reports = advance(&world).await;
    assert_eq!(reports.last().unwrap().outcome, Some(RunOutcome::RolledBack), "{reports:?}");
    assert_eq!(world.deployed("load-gpu", "config/load-gpu.env"), "REPLICAS=1\n");
    let _ = advance(&world).await;
    accept(&world, &time);
    let _ = advance(&world).await;
    tell("4. load-gpu is down and paused; 1.1.0 passed in qa and load-cpu").await;
    assert_eq!(world.current("staging-eu"), Some(second));
    for region in ["staging-us", "staging-ap", "load-gpu"] {
        assert_eq!(world.current(region), Some(first.clone()), "{region}");
    }

    time.until("2026-03-30T14:00:00Z".parse().unwrap());
    tell("5. the quarter is being closed").await;
    promo_ledger::verify(world.session.store().as_ref()).unwrap();
    expect_file("eleven-environments", "report.txt", &told);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_registries_copy_an_image_into_the_release_registry() {
    let world = World::of("two-registries");
    let first = world.release("1.0.0").await;
    assert!(advance(&world).await.iter().all(|r| r.outcome == Some(RunOutcome::Done)));
    assert_eq!(to_production(&world, "production").await.outcome, Some(RunOutcome::Done));
    for (environment, repository) in [
        ("dev", "registry-build/app"),
        ("staging", "registry-release/staging/app"),
        ("production", "registry-release/production/app"),
    ] {
        assert_eq!(world.current(environment), Some(first.clone()));
        let deployed = world.deployed(environment, "templates/app.toml");
        assert!(deployed.contains(&format!("oci-layout:{repository}")), "{environment}: {deployed}");
    }
    promo_ledger::verify(world.session.store().as_ref()).unwrap();
}

/// Numbers that are the same in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn shuffled<T>(&mut self, mut items: Vec<T>) -> Vec<T> {
        for at in (1..items.len()).rev() {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            items.swap(at, usize::try_from(self.0 % (at as u64 + 1)).unwrap());
        }
        items
    }
}

/// The same file with its tables, and the keys of each, in another order; what stands before the first table stays there.
fn reordered(text: &str, numbers: &mut Numbers) -> String {
    let mut tables: Vec<Vec<&str>> = vec![Vec::new()];
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with('[') {
            tables.push(Vec::new());
        }
        tables.last_mut().unwrap().push(line);
    }
    let root = tables.remove(0);
    let mut out = root.join("\n") + "\n";
    for table in numbers.shuffled(tables) {
        let (head, keys) = table.split_first().unwrap();
        out.push_str(&format!("{head}\n{}\n", numbers.shuffled(keys.to_vec()).join("\n")));
    }
    // What comes before an environment is a set, however it is written down.
    out.replace("[\"integration-cpu\", \"integration-gpu\"]", "[\"integration-gpu\", \"integration-cpu\"]")
}

#[tokio::test(flavor = "multi_thread")]
async fn s8_3_the_order_in_which_inputs_are_written_down_changes_no_byte_of_a_plan() {
    let time = Time::at("2026-03-23T09:00:00Z");
    let world = World::with("eleven-environments", time.setup());
    world.release("1.0.0").await;
    let _ = advance(&world).await;
    accept(&world, &time);
    world.release("1.1.0").await;
    let until = Request {
        goal: Goal::Promote,
        environments: [].into(),
        release: None,
        until: Some("production-eu".parse().unwrap()),
        drill: false,
        invoker: Invoker::Human,
    };
    let plans = async |session: &promo_engine::Session| {
        let everything = Request { until: None, ..until.clone() };
        let mut out = Vec::new();
        for request in [everything, until.clone()] {
            out.push(session.plan(request, PLAN_LIFETIME).await.unwrap().to_bytes().unwrap());
        }
        out
    };
    let before = plans(&world.session_as("dana")).await;
    assert!(before.iter().all(|bytes| bytes.len() > 10_000), "the plans move something");
    let text = std::fs::read_to_string(world.path("promo.toml")).unwrap();
    let files: Vec<(std::path::PathBuf, Vec<u8>)> = ["checks", "config", "templates"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(world.path(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for round in 0..8 {
        let other = reordered(&text, &mut numbers);
        assert_ne!(other, text);
        std::fs::write(world.path("promo.toml"), other).unwrap();
        // A directory gives its files in another order once they were made in another.
        files.iter().for_each(|(path, _)| std::fs::remove_file(path).unwrap());
        for (path, bytes) in numbers.shuffled(files.iter().collect()) {
            std::fs::write(path, bytes).unwrap();
        }
        assert_eq!(plans(&world.session_as("dana")).await, before, "round {round}");
    }
}
