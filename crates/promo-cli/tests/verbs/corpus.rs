//! The corpus of frozen formats, `tests/compat/v1`: documents that were written once and that every later version reads. What
//! lives here: the story that made them, and what must be true of each with today's code. What must not: anything that changes
//! a file that is there. `PROMO_COMPAT=add` tells the story again and adds files that are missing, such as the record of a new kind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use promo_core::approval::{Decision, Envelope, Identity, PublicKey, Roster, Statement};
use promo_core::config::Places;
use promo_core::ids::{EnvironmentName, RoleName};
use promo_core::ledger::event::KINDS;
use promo_core::ledger::{Actor, ActorKind, Draft, Event, Record, View, fold};
use promo_core::plan::Document;
use promo_core::policy::TrustMode;
use promo_core::{Digest, canonical};
use promo_engine::appliers::{APPLY_NAMESPACE, ApplyStatement};
use promo_engine::authors::{AUTHORS_NAMESPACE, AuthorsStatement};
use promo_engine::lifts::{
    LIFT_NAMESPACE, LiftStatement, RECALL_LIFT_NAMESPACE, RecallLiftStatement, WITHDRAWAL_NAMESPACE,
    WithdrawalStatement,
};
use promo_engine::requests::{REQUEST_NAMESPACE, RequestStatement};
use promo_engine::signature;
use promo_engine::verdicts::{VERDICT_NAMESPACE, VerdictStatement, verdict_bytes};
use promo_ledger::{Checkpoint, Expect, RawRecord, SqliteStore, Store as _, verify_against};
use serde_json::{Value, json};

use crate::fixture::{World, promo, texts};
use crate::{applying, frozen, schemas, waves};

const RILEY: [&str; 4] = ["--key", "keys/riley", "--signer", "built-in"];
const DANA: [&str; 4] = ["--key", "keys/dana", "--signer", "built-in"];

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/compat/v1")
}

/// The files of a folder, by name.
pub(crate) fn files(folder: &str) -> BTreeMap<String, Vec<u8>> {
    let all = fs::read_dir(corpus().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    all.map(|entry| entry.unwrap().path()).map(|path| (name(&path), fs::read(&path).unwrap())).collect()
}

/// Adds files that are not there yet, and never touches one that is.
pub(crate) struct Adding {
    added: Vec<String>,
}

impl Adding {
    pub(crate) fn file(&mut self, path: &str, bytes: &[u8]) {
        let target = corpus().join(path);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        match OpenOptions::new().write(true).create_new(true).open(target) {
            Ok(mut file) => {
                file.write_all(bytes).unwrap();
                self.line("digests.txt", &format!("{} {path}", Digest::of(bytes)));
                self.added.push(path.to_owned());
            }
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists, "{path}: {error}"),
        }
    }

    /// Adds a line to a list that only grows.
    fn line(&self, path: &str, line: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(corpus().join(path)).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}

/// Documents that verbs answered with, the first of each kind.
struct Told<'w> {
    world: &'w World,
    views: BTreeMap<String, Value>,
}

impl Told<'_> {
    fn run(&mut self, code: i32, words: &[&str]) -> Value {
        let value = self.world.run(code, words);
        self.keep(value.clone());
        value
    }

    fn keep(&mut self, value: Value) {
        if let Some(kind) = value["kind"].as_str().filter(|_| value.get("event").is_none()) {
            self.views.entry(kind.to_owned()).or_insert(value);
        }
    }
}

/// Everything that promo writes, told as one story in a copy of the example.
fn story(adding: &mut Adding) {
    let world = World::new();
    let mut told = Told { world: &world, views: BTreeMap::new() };
    let uat = "[checks.uat]\nmanual = { from = [\"release-manager\"] }\n\n[environments.dev]";
    world.edit("promo.toml", "[environments.dev]", uat);
    let qa = "target = { directory = \"environments/qa\" }\nverify = [\"smoke\"";
    world.edit("promo.toml", qa, &format!("{qa}, \"uat\""));
    world.edit(
        "policy.toml",
        "[tiers.production]",
        "[tiers.testing]\nwithdraw = [\"release-manager\"]\n\n[tiers.production]",
    );
    world.edit("policy.toml", "version = 1", "version = 2");

    // What was refused and paused after the rollback at the example's end is opened again.
    let lift = ["release", "lift", "1.1.0", "--environment", "production", "--reason", "more workers"];
    told.run(0, &[&lift[..], &RILEY].concat());
    told.run(0, &[&["unfreeze", "production", "--reason", "more workers"], &RILEY[..]].concat());
    told.run(0, &["plan", "dev", "--out", "empty.json"]);
    world.write("config/staging.env", "WORKERS=7\n");
    told.run(0, &["plan", "staging", "--out", "reconfiguration.json"]);
    told.run(0, &["rollback", "staging", "--out", "rollback.json"]);

    // A release on its way, with a person's word on the way.
    world.write("config/common.env", "NEEDS_WORKERS=3\n");
    world.hold_check("dev");
    told.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0", "--meta", "authors=dev@shop.example"]);
    world.write("junit.xml", include_str!("../../../promo-providers/src/reports/samples/junit/pytest-green.xml"));
    told.run(0, &["evidence", "add", "junit.xml", "--release", "1.2.0", "--name", "unit"]);
    told.run(0, &["evidence", "collect"]);
    let document = Digest::of(&std::fs::read(world.at.join("junit.xml")).unwrap()).to_string();
    told.run(0, &[&["evidence", "withdraw", &document, "--reason", "the wrong run"], &RILEY[..]].concat());
    told.run(0, &[&["release", "authors", "1.1.0", "--author", "dana"], &RILEY[..]].concat());
    told.run(0, &["plan", "--until", "production", "--out", "until.json"]);
    told.run(0, &["plan", "dev", "--out", "dev.json"]);
    let apply = world.start(&["apply", "dev.json", "--lease", "2s"]);
    apply.interrupt(75);
    let run = world.newest_run();
    told.run(0, &["runs"]);
    world.run(0, &["resume", &run, "--events", "events.jsonl"]);
    told.run(0, &["advance"]);
    let verdict = |words: &[&'static str]| [&["verdict"], words, &RILEY].concat();
    told.run(0, &verdict(&["fail", "qa", "uat"]));
    told.run(0, &verdict(&["withdraw", "qa", "uat", "--reason", "the wrong page"]));
    told.run(0, &verdict(&["pass", "qa", "uat"]));
    told.run(0, &["advance"]);
    told.run(0, &["plan", "production", "--out", "promote.json"]);
    told.run(0, &[&["request", "promote.json"], &DANA[..]].concat());
    let says = |decision: &str| -> Vec<String> {
        let words = [&["approve", "promote.json", "--decision", decision, "--out", decision][..], &RILEY].concat();
        words.into_iter().map(str::to_owned).collect()
    };
    for decision in ["approve", "reject"] {
        let words = says(decision);
        told.run(0, &words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    told.run(0, &[&["approve", "promote.json"], &RILEY[..]].concat());
    // Only what was given can be taken back; what lies in a file is not said yet.
    told.run(0, &says("revoke").iter().map(String::as_str).collect::<Vec<_>>());
    world.run(0, &["apply", "promote.json"]);
    told.run(0, &["verify", "production"]);

    // What is refused.
    told.run(0, &["freeze", "dev", "--reason", "a test"]);
    told.run(0, &["release", "reject", "1.2.0", "--environment", "staging", "--reason", "a test"]);
    let nobodys = Digest::of(b"what no release has in it").to_string();
    told.run(0, &["release", "recall", &nobodys, "--reason", "a test"]);
    told.run(0, &[&["release", "lift", &nobodys, "--reason", "a test"], &RILEY[..]].concat());
    // The newest tags, while something newer may come.
    world.edit("promo.toml", "[pipeline]\n", "[pipeline]\nquiet = \"1h\"\n");
    told.run(0, &["release", "add", "--newest"]);
    told.run(0, &["plan", "--release", "1.2.0", "--out", "refused.json"]);
    told.run(65, &["status", "--policy", "missing.toml"]);
    for words in [
        &["status"][..],
        &["why", "production", "1.2.0"],
        &["history"],
        &["drift"],
        &["diff", "qa", "staging"],
        &["adopt", "qa"],
        &["check"],
        &["graph"],
        &["doctor", "--offline"],
        &["release", "list"],
        &["release", "show", "1.2.0"],
        &["explain", "waiting"],
        &["explain", "--list"],
        &["completions", "bash"],
        &["fmt"],
        &["show", &run],
        &["ledger", "verify"],
        &["ledger", "checkpoint"],
    ] {
        told.run(0, words);
    }
    for words in [&["init", "--image", "registry.example/shop/app", "--name", "shop"][..], &["quickstart", "made"]] {
        let empty = tempfile::tempdir().unwrap();
        let output = promo(empty.path(), &[words, &["--format", "json"]].concat());
        let (out, err) = texts(&output);
        assert_eq!(output.status.code(), Some(0), "{words:?}\n{out}\n{err}");
        serde_json::Deserializer::from_str(&out).into_iter().for_each(|value| told.keep(value.unwrap()));
    }
    // A run that is taken no further.
    let other = World::new();
    other.hold_check("dev");
    other.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    other.run(0, &["plan", "dev", "--out", "dev.json"]);
    other.start(&["apply", "dev.json", "--lease", "2s"]).interrupt(75);
    told.keep(other.run(0, &["cancel", &other.newest_run()]));
    world.write_next_year();
    told.run(0, &[&["unfreeze", "--reason", "a test"], &RILEY[..]].concat());
    told.run(0, &[&["ledger", "accept-clock", "--reason", "a test"], &RILEY[..]].concat());
    // No verb of this version says this.
    let store = SqliteStore::open(world.at.join(".promo/ledger.db")).unwrap();
    let observed = Event::HealthObserved { environment: name("production"), healthy: true };
    store.append_if_head(&Expect::default(), &[draft(&store, observed)]).unwrap();

    // Where a rule keeps apart who approves and who applies.
    let apart = applying::approved();
    apart.run(0, &[&["apply", "p.json"], &DANA[..]].concat());
    let apart = SqliteStore::open(apart.at.join(".promo/ledger.db")).unwrap().raw(0, 10_000).unwrap();

    // Targets in waves.
    let spread = waves::world("1s");
    spread.run(0, &["plan", "dev", "--out", "waves.json"]);
    spread.run(0, &["apply", "waves.json"]);
    adding.file("plans/waves.json", &fs::read(spread.at.join("waves.json")).unwrap());
    // A way back that is tried.
    spread.run(0, &["rollback", "qa", "--drill", "--out", "drill.json"]);
    spread.run(0, &["apply", "drill.json"]);
    adding.file("plans/drill.json", &fs::read(spread.at.join("drill.json")).unwrap());
    // Another configuration of what runs.
    spread.write("config/qa.env", "WORKERS=9\n");
    spread.run(0, &["plan", "qa", "--out", "configuration.json"]);
    spread.run(0, &["apply", "configuration.json"]);
    let spread = SqliteStore::open(spread.at.join(".promo/ledger.db")).unwrap().raw(0, 10_000).unwrap();

    for plan in ["promote", "until", "reconfiguration", "rollback", "empty", "refused"] {
        adding.file(&format!("plans/{plan}.json"), &fs::read(world.at.join(format!("{plan}.json"))).unwrap());
    }
    for decision in ["approve", "reject", "revoke"] {
        adding.file(&format!("approvals/{decision}.json"), &fs::read(world.at.join(decision)).unwrap());
    }
    let raws = store.raw(0, 10_000).unwrap();
    for raw in raws.iter().chain(&apart).chain(&spread) {
        let record = raw.parse().unwrap();
        adding.file(&format!("records/{}.json", record.kind), &raw.bytes);
        if let Some(signed) = record.body.get("signed") {
            let statement = signed["statement"].as_str().unwrap();
            let decision = serde_json::from_str::<Value>(statement).unwrap()["decision"].clone();
            let file = match (decision.as_str(), record.kind.as_str()) {
                (Some(decision), _) => decision.to_owned(),
                (None, "plan.requested") => "request".to_owned(),
                (None, kind) => kind.to_owned(),
            };
            adding.file(&format!("statements/{file}.json"), &canonical::to_vec(signed).unwrap());
        }
    }
    let mut unknown: Value = serde_json::from_slice(&raws[0].bytes).unwrap();
    unknown["kind"] = json!("weather.observed");
    unknown["body"] = json!({"sky": {"clouds": 8, "of": 8}, "windy": true});
    adding.file("records/weather.observed.json", &canonical::to_vec(&unknown).unwrap());
    adding.file("events.jsonl", &fs::read(world.at.join("events.jsonl")).unwrap());
    for (kind, view) in &told.views {
        adding.file(&format!("output/{kind}.json"), format!("{view:#}\n").as_bytes());
    }
    for file in ["promo.toml", "policy.toml"] {
        adding.file(&format!("settings/{file}"), &fs::read(world.at.join(file)).unwrap());
    }
    let trust = "format = 1\nledger = \"ledger.db\"\n\n[policy]\npath = \"policy.toml\"\n";
    adding.file("settings/trust.toml", trust.as_bytes());
    let registries = "format = 1\n\n[registry.\"registry.example:5000\"]\nca = \"ca.pem\"\nplain_http = false\n\
                      allow = [\"10.0.0.7:8443\"]\nuser = \"promo\"\nsecret = \"registry\"\nrate = 50\nchunk = 67108864\n\
                      immutable_tags = [\"prod\"]\n\n[registry.\"other.example\"]\n";
    adding.file("settings/registries.toml", registries.as_bytes());
    let clusters = "format = 1\n\n[cluster.prod-eu]\nkubeconfig = \"prod-eu.kubeconfig\"\ncontext = \"promo\"\n";
    adding.file("settings/clusters.toml", clusters.as_bytes());
    let sources = "format = 1\n\n[source.\"https://metrics.example:8443\"]\nca = \"own.pem\"\nuser = \"ci\"\nsecret = \"metrics\"\n\n\
                   [source.\"http://localhost:9090\"]\n";
    adding.file("settings/sources.toml", sources.as_bytes());
    // Those of the corpus, whatever this story made.
    let read = |file: &str| fs::read_to_string(corpus().join("settings").join(file)).unwrap();
    adding.file(
        "settings/lowered.json",
        format!("{:#}\n", lowered(&read("promo.toml"), &read("policy.toml"))).as_bytes(),
    );
    let records: Vec<Record> = raws.iter().map(|raw| raw.parse().unwrap()).collect();
    let state = state(&fold(&records).unwrap());
    let Checkpoint { origin, size, root } = store.checkpoint().unwrap();
    drop(store);
    let whole = json!({"checkpoint": {"origin": origin, "size": size, "root": root}, "state": state});
    if !corpus().join("ledger/ledger.db").exists() {
        adding.file("ledger/ledger.json", format!("{whole:#}\n").as_bytes());
        adding.file("ledger/ledger.db", &fs::read(world.at.join(".promo/ledger.db")).unwrap());
    }
    if adding.added.iter().any(|file| file.starts_with("approvals") || file.starts_with("statements")) {
        for who in ["dana", "riley"] {
            let key = fs::read_to_string(world.at.join(format!("keys/{who}.pub"))).unwrap();
            adding.line("signers.txt", &format!("{who} {}", key.trim()));
        }
    }
}

fn name(text: &str) -> EnvironmentName {
    text.parse().unwrap()
}

fn draft(store: &SqliteStore, event: Event) -> Draft {
    let first = store.raw(0, 1).unwrap()[0].parse().unwrap();
    Draft {
        rid: event.to_parts().0,
        pipeline: first.pipeline,
        environment: Some(name("production")),
        run: None,
        step: None,
        epoch: None,
        plan: None,
        policy: None,
        actor: Actor { name: "dana".into(), kind: ActorKind::Human },
        claimed_at: first.recorded_at,
        tool: promo_engine::TOOL.into(),
        event,
        private: BTreeMap::new(),
    }
}

/// What a ledger says is where: the part of a folded view that no later version may see otherwise.
fn state(view: &View) -> Value {
    let text = |value: &dyn std::fmt::Debug| format!("{value:?}");
    let environments: BTreeMap<String, Value> = view
        .environments
        .keys()
        .map(|name| {
            let current = view.current(name).map(|resident| resident.release.to_string());
            let past: Vec<Value> = view.environments[name]
                .history
                .iter()
                .map(|p| json!([p.run, p.from, p.to, p.movement, p.finished.map(|f| f.1)]))
                .collect();
            (name.to_string(), json!({"release": current, "past": past}))
        })
        .collect();
    let runs: BTreeMap<String, Value> = view
        .runs
        .iter()
        .map(|(id, run)| (id.to_string(), json!([run.plan, run.environments, run.finished.map(|f| f.1)])))
        .collect();
    json!({
        "records": view.size,
        "releases": view.releases.iter().map(|e| json!([e.release.id, e.lineage, e.release.alias])).collect::<Vec<_>>(),
        "environments": environments,
        "quarantined": view.quarantines.keys().map(|(id, scope)| json!([id, scope])).collect::<Vec<_>>(),
        "frozen": view.freezes.keys().chain(view.pauses.keys()).collect::<BTreeSet<_>>(),
        "policies": view.policies,
        "requests": view.requests.iter().map(|(plan, r)| json!([plan, r.environments, r.expires])).collect::<Vec<_>>(),
        "approvals": view.approvals.iter().map(|a| json!([a.plan, a.envelope])).collect::<Vec<_>>(),
        "runs": runs,
        "used": view.consumed.iter().map(|(digest, run)| json!([digest, text(run)])).collect::<Vec<_>>(),
    })
}

#[test]
fn nothing_in_the_corpus_ever_changes_and_what_is_missing_is_added_on_request() {
    if std::env::var_os("PROMO_COMPAT").is_some_and(|value| value == "add") {
        let mut adding = Adding { added: Vec::new() };
        frozen::add(&mut adding);
        story(&mut adding);
    }
    let listed = fs::read_to_string(corpus().join("digests.txt")).unwrap();
    let listed: BTreeMap<&str, &str> =
        listed.lines().map(|l| l.split_once(' ').unwrap()).map(|(d, p)| (p, d)).collect();
    let mut found = BTreeMap::new();
    let mut size = 0;
    for folder in fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().path()) {
        let all = if folder.is_dir() {
            fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect()
        } else {
            vec![folder]
        };
        for path in all {
            let bytes = fs::read(&path).unwrap();
            size += bytes.len();
            let name = path.strip_prefix(corpus()).unwrap().to_str().unwrap().to_owned();
            if !["digests.txt", "signers.txt", "README.md"].contains(&name.as_str()) {
                found.insert(name, Digest::of(&bytes).to_string());
            }
        }
    }
    let found: BTreeMap<&str, &str> = found.iter().map(|(path, digest)| (path.as_str(), digest.as_str())).collect();
    assert_eq!(found, listed, "a file of the corpus is never changed, nor taken away");
    assert!(size < 4 << 20, "{size} bytes");
}

#[test]
fn every_plan_of_the_corpus_is_read_as_it_was_written_s8_1() {
    let world = World::new();
    let digests = fs::read_to_string(corpus().join("digests.txt")).unwrap();
    for (file, bytes) in files("plans") {
        let (document, digest) = Document::from_bytes(&bytes).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(document.to_bytes().unwrap(), bytes, "{file}");
        assert!(digests.contains(&format!("{digest} plans/{file}")), "{file}");
        schemas::check("plan", &file, &serde_json::from_slice(&bytes).unwrap());
        let path = corpus().join("plans").join(&file);
        let shown = world.run(0, &["show", path.to_str().unwrap()]);
        assert_eq!(shown["digest"], digest.to_string(), "{file}");
    }
}

/// Whoever signed something in the corpus.
fn roster() -> Roster {
    let lines = fs::read_to_string(corpus().join("signers.txt")).unwrap();
    let mut identities: BTreeMap<&str, Vec<PublicKey>> = BTreeMap::new();
    for (who, key) in lines.lines().map(|line| line.split_once(' ').unwrap()) {
        identities.entry(who).or_default().push(key.parse().unwrap());
    }
    let role: RoleName = "release-manager".parse().unwrap();
    let identity = |(who, keys): (&str, Vec<PublicKey>)| Identity {
        name: who.parse().unwrap(),
        roles: [role.clone()].into(),
        keys,
        human: true,
        emails: Vec::new(),
    };
    Roster::new(identities.into_iter().map(identity), &[role.clone()].into()).unwrap()
}

#[test]
fn every_approval_of_the_corpus_still_verifies_and_says_what_it_said_s6_1() {
    let roster = roster();
    for (file, bytes) in files("approvals") {
        let envelope = Envelope::from_bytes(&bytes).unwrap();
        assert_eq!(envelope.to_bytes(), bytes, "{file}");
        let fact = signature::verify(&envelope, &roster).unwrap_or_else(|error| panic!("{file}: {error}"));
        let said = match fact.statement().decision {
            Decision::Approve => "approve.json",
            Decision::Reject => "reject.json",
            Decision::Revoke => "revoke.json",
            Decision::Breakglass => "breakglass.json",
        };
        assert_eq!((said, fact.identity().as_str()), (file.as_str(), "riley"));
        let statement = Statement::from_bytes(envelope.statement.as_bytes()).unwrap();
        assert_eq!(statement.to_bytes().unwrap(), envelope.statement.as_bytes(), "{file}");
        schemas::check("approval", &file, &serde_json::from_slice(&bytes).unwrap());
        schemas::check("approval-statement", &file, &serde_json::from_str(&envelope.statement).unwrap());
    }
}

#[test]
fn every_signed_request_applier_and_verdict_of_the_corpus_still_verifies_s6_4_s6_7_s6_10() {
    let roster = roster();
    let all = files("statements");
    let names: Vec<&String> = all.keys().collect();
    assert_eq!(
        names,
        [
            "clock.accepted.json",
            "environment.unfrozen.json",
            "evidence.withdrawn.json",
            "fail.json",
            "pass.json",
            "recall.lifted.json",
            "release.authors.json",
            "release.lifted.json",
            "request.json",
            "run.signed.json",
            "withdraw.json"
        ]
    );
    for (file, bytes) in all {
        let signed: Value = serde_json::from_slice(&bytes).unwrap();
        let statement = signed["statement"].as_str().unwrap().as_bytes();
        if matches!(file.as_str(), "clock.accepted.json" | "environment.unfrozen.json" | "release.lifted.json") {
            let signature = signed["signature"].as_str().unwrap();
            let signer = signature::verify_bytes(statement, signature, LIFT_NAMESPACE, &roster).unwrap();
            assert_eq!(signer.identity.name.as_str(), "riley", "{file}");
            let lift = LiftStatement::from_bytes(statement).unwrap();
            assert_eq!(lift.to_bytes().unwrap(), statement, "{file}");
            schemas::check("lift-statement", &file, &serde_json::from_slice(statement).unwrap());
            continue;
        }
        let (namespace, who, schema) = match file.as_str() {
            "request.json" => (REQUEST_NAMESPACE, "dana", "request-statement"),
            "release.authors.json" => (AUTHORS_NAMESPACE, "riley", "authors-statement"),
            "run.signed.json" => (APPLY_NAMESPACE, "dana", "apply-statement"),
            "evidence.withdrawn.json" => (WITHDRAWAL_NAMESPACE, "riley", "withdrawal-statement"),
            "recall.lifted.json" => (RECALL_LIFT_NAMESPACE, "riley", "recall-lift-statement"),
            _ => (VERDICT_NAMESPACE, "riley", "verdict-statement"),
        };
        let signature = signed["signature"].as_str().unwrap();
        let signer = signature::verify_bytes(statement, signature, namespace, &roster).unwrap();
        assert_eq!(signer.identity.name.as_str(), who, "{file}");
        let again = match file.as_str() {
            "request.json" => RequestStatement::from_bytes(statement).unwrap().to_bytes().unwrap(),
            "release.authors.json" => AuthorsStatement::from_bytes(statement).unwrap().to_bytes().unwrap(),
            "run.signed.json" => ApplyStatement::from_bytes(statement).unwrap().to_bytes().unwrap(),
            "evidence.withdrawn.json" => WithdrawalStatement::from_bytes(statement).unwrap().to_bytes().unwrap(),
            "recall.lifted.json" => RecallLiftStatement::from_bytes(statement).unwrap().to_bytes().unwrap(),
            _ => verdict_bytes(&VerdictStatement::from_bytes(statement).unwrap()).unwrap(),
        };
        assert_eq!(again, statement, "{file}");
        schemas::check(schema, &file, &serde_json::from_slice(statement).unwrap());
    }
}

#[test]
fn every_statement_of_the_corpus_is_refused_by_its_format_when_that_is_newer() {
    for (file, bytes) in files("statements") {
        let signed: Value = serde_json::from_slice(&bytes).unwrap();
        let newer = signed["statement"].as_str().unwrap().replacen("/v1\"", "/v2\"", 1);
        let newer = newer.replacen('{', "{\"another\":1,", 1);
        let read = match file.as_str() {
            "request.json" => RequestStatement::from_bytes(newer.as_bytes()).map(drop),
            "release.authors.json" => AuthorsStatement::from_bytes(newer.as_bytes()).map(drop),
            "run.signed.json" => ApplyStatement::from_bytes(newer.as_bytes()).map(drop),
            "evidence.withdrawn.json" => WithdrawalStatement::from_bytes(newer.as_bytes()).map(drop),
            "recall.lifted.json" => RecallLiftStatement::from_bytes(newer.as_bytes()).map(drop),
            "clock.accepted.json" | "environment.unfrozen.json" | "release.lifted.json" => {
                LiftStatement::from_bytes(newer.as_bytes()).map(drop)
            }
            _ => VerdictStatement::from_bytes(newer.as_bytes()).map(drop),
        };
        let why = read.unwrap_err();
        assert!(why.ends_with("has format 2, and this version of promo knows format 1"), "{file}: {why}");
    }
}

/// Each kind of record that carries a signature, as it was recorded: the signature is over the very statement inside.
#[test]
fn the_corpus_has_a_signature_for_each_kind_of_record_that_carries_one_s12_3() {
    let roster = roster();
    let mut kinds = BTreeSet::new();
    for (file, bytes) in files("records") {
        let record: Value = serde_json::from_slice(&bytes).unwrap();
        let body = &record["body"];
        let (signed, namespace) = match record["kind"].as_str().unwrap() {
            "approval.recorded" => (&body["envelope"], promo_core::approval::NAMESPACE),
            "plan.requested" => (&body["signed"], REQUEST_NAMESPACE),
            "release.authors" => (&body["signed"], AUTHORS_NAMESPACE),
            "run.signed" => (&body["signed"], APPLY_NAMESPACE),
            "verdict.withdrawn" => (&body["signed"], VERDICT_NAMESPACE),
            "clock.accepted" | "environment.unfrozen" | "release.lifted" => (&body["signed"], LIFT_NAMESPACE),
            "evidence.withdrawn" => (&body["signed"], WITHDRAWAL_NAMESPACE),
            "recall.lifted" => (&body["signed"], RECALL_LIFT_NAMESPACE),
            _ => continue,
        };
        let (statement, signature) = (signed["statement"].as_str().unwrap(), signed["signature"].as_str().unwrap());
        signature::verify_bytes(statement.as_bytes(), signature, namespace, &roster)
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        kinds.insert(record["kind"].as_str().unwrap().to_owned());
    }
    // A verdict is a person's or a check's: the person's are among the statements.
    kinds.insert("verdict.recorded".to_owned());
    let record = schemas::published("record");
    let carries = |kind: &&Value| {
        let body = &kind["properties"]["body"]["properties"];
        body.get("signed").is_some() || body.get("envelope").is_some()
    };
    let all = record["oneOf"].as_array().unwrap().iter().filter(carries);
    assert_eq!(kinds, all.map(|kind| kind["properties"]["kind"]["const"].as_str().unwrap().to_owned()).collect());
}

#[test]
fn the_corpus_has_a_record_of_every_kind_and_each_is_read_as_it_was_written_s12_1() {
    let mut kinds = BTreeSet::new();
    for (file, bytes) in files("records") {
        let raw = RawRecord { seq: 0, rid: String::new(), bytes: bytes.clone() };
        let record = raw.parse().unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(canonical::to_vec(&record).unwrap(), bytes, "{file}");
        assert_eq!(file, format!("{}.json", record.kind));
        let event = Event::from_parts(&record.kind, &record.body).unwrap();
        if event == Event::Unknown {
            assert_eq!(record.kind, "weather.observed");
        } else {
            assert_eq!(event.to_parts(), (record.kind.clone(), record.body.clone()), "{file}");
            kinds.insert(record.kind);
        }
        schemas::check("record", &file, &serde_json::from_slice(&bytes).unwrap());
    }
    assert_eq!(kinds, KINDS.iter().map(ToString::to_string).collect(), "PROMO_COMPAT=add adds what is missing");
}

#[test]
fn the_ledger_of_the_corpus_verifies_to_its_root_and_says_what_it_said_s12_2() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    fs::copy(corpus().join("ledger/ledger.db"), &path).unwrap();
    let expected: Value = serde_json::from_slice(&files("ledger")["ledger.json"]).unwrap();
    let checkpoint = Checkpoint {
        origin: expected["checkpoint"]["origin"].as_str().unwrap().to_owned(),
        size: expected["checkpoint"]["size"].as_u64().unwrap(),
        root: expected["checkpoint"]["root"].as_str().unwrap().parse().unwrap(),
    };
    let store = SqliteStore::open(&path).unwrap();
    let report = verify_against(&store, std::slice::from_ref(&checkpoint)).unwrap();
    assert_eq!((report.records, report.root, report.newer), (checkpoint.size, checkpoint.root, 0));
    let records: Vec<Record> = store.raw(0, 10_000).unwrap().iter().map(|raw| raw.parse().unwrap()).collect();
    assert_eq!(state(&fold(&records).unwrap()), expected["state"]);
    for record in &records {
        schemas::check("record", &record.kind, &serde_json::to_value(record).unwrap());
    }
    // It is still one to write to.
    store
        .append_if_head(
            &Expect::default(),
            &[draft(&store, Event::Frozen { environments: BTreeSet::new(), automatic: false })],
        )
        .unwrap();
    verify_against(&store, &[checkpoint]).unwrap();
}

#[test]
fn every_event_and_every_document_of_the_corpus_is_as_published() {
    let lines = fs::read_to_string(corpus().join("events.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["event"], &lines.last().unwrap()["event"]), (&json!("hello"), &json!("summary")));
    for line in &lines {
        schemas::check("events", "events.jsonl", line);
    }
    let mut kinds = BTreeSet::new();
    for (file, bytes) in files("output") {
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        schemas::check("output", &file, &value);
        assert_eq!(file, format!("{}.json", value["kind"].as_str().unwrap()));
        kinds.insert(value["kind"].as_str().unwrap().to_owned());
    }
    let published = schemas::kinds();
    let missing: Vec<_> = published.difference(&kinds).collect();
    assert_eq!(missing, [""; 0], "PROMO_COMPAT=add adds what is missing");
}

/// What pipeline and policy come to: digests of what everything is decided from.
fn lowered(pipeline: &str, policy: &str) -> Value {
    let (pipeline, _) =
        promo_core::config::pipeline(pipeline, &promo_engine::Providers::new(promo_providers::builtin()).kinds());
    let (pipeline, policy) = (pipeline.unwrap(), promo_core::policy::policy(policy).0.unwrap());
    let (governed, diagnostics) =
        promo_core::policy::govern(&pipeline, &Places::default(), Some(&policy), TrustMode::Trusted);
    let governed = governed.unwrap_or_else(|| panic!("{diagnostics:?}"));
    let identities = policy.roster.identities().map(|who| {
        let keys: Vec<String> = who.keys.iter().map(|key| key.fingerprint().to_string()).collect();
        json!([who.name, who.roles, keys, who.human, who.emails])
    });
    json!({
        "pipeline": canonical::digest(&pipeline).unwrap(),
        "identities": canonical::digest(&identities.collect::<Vec<_>>()).unwrap(),
        "windows": canonical::digest(&policy.windows).unwrap(),
        "approval": canonical::digest(&governed.approval).unwrap(),
        "always open": canonical::digest(&governed.always_open).unwrap(),
        "withdraw": canonical::digest(&governed.withdraw).unwrap(),
        "first observation": governed.first_observation,
        "policy": governed.policy,
    })
}

#[test]
fn every_file_of_settings_of_the_corpus_is_as_published_and_comes_to_what_it_did() {
    let text = |file: &str| String::from_utf8(files("settings")[file].clone()).unwrap();
    for (file, schema) in [
        ("promo.toml", "pipeline"),
        ("policy.toml", "policy"),
        ("trust.toml", "trust"),
        ("registries.toml", "registries"),
        ("clusters.toml", "clusters"),
        ("sources.toml", "sources"),
    ] {
        schemas::check(schema, file, &toml::from_str::<Value>(&text(file)).unwrap());
    }
    let expected: Value = serde_json::from_str(&text("lowered.json")).unwrap();
    assert_eq!(lowered(&text("promo.toml"), &text("policy.toml")), expected, "the same settings mean something else");
    let registries = promo_providers::oci::Settings::read(&corpus().join("settings/registries.toml")).unwrap();
    let read = &registries.registries["registry.example:5000"];
    assert_eq!((read.plain_http, read.rate, read.chunk), (Some(false), Some(50), Some(67_108_864)));
    assert_eq!((read.user.as_deref(), read.secret.as_deref()), (Some("promo"), Some("registry")));
    assert_eq!((read.allow.len(), &read.immutable_tags[..]), (1, &["prod".to_owned()][..]));
    let clusters = promo_providers::Clusters::read(&corpus().join("settings/clusters.toml")).unwrap();
    let read = clusters.named("prod-eu").unwrap();
    assert!(read.kubeconfig.ends_with("settings/prod-eu.kubeconfig") && read.context == "promo", "{read:?}");
    let sources = promo_providers::metric::Sources::read(&corpus().join("settings/sources.toml")).unwrap();
    let read = &sources.sources["https://metrics.example:8443"];
    assert_eq!((read.user.as_deref(), read.secret.as_deref()), (Some("ci"), Some("metrics")));
    assert!(read.ca.as_ref().is_some_and(|ca| ca.ends_with("settings/own.pem")), "{read:?}");
    assert!(sources.sources.contains_key("http://localhost:9090"), "{sources:?}");
    let (policy, diagnostics) = promo_core::policy::policy(&text("policy.toml"));
    assert!(policy.is_some() && diagnostics.is_empty(), "{diagnostics:?}");
    let (trust, diagnostics) = promo_core::trust::trust(&text("trust.toml"));
    assert!(trust.is_some() && diagnostics.is_empty(), "{diagnostics:?}");
    let world = World::new();
    world.write("promo.toml", &text("promo.toml"));
    world.run(0, &["check"]);
}
