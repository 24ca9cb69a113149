//! Evidence that is brought, and gates over it, from the first `evidence add` to the environment behind them.

use std::path::Path;

use jiff::SignedDuration;
use promo_core::Digest;
use promo_core::ledger::{Event, Record};
use promo_engine::clock::SystemClock;
use promo_ledger::{SqliteStore, Store as _};
use promo_sdk::Clock as _;
use serde_json::Value;

use crate::fixture::{self, Server, World, next, said};
use crate::releases::elsewhere;

/// Reports as Trivy wrote them, of another image.
const CLEAN: &str = include_str!("../../../promo-providers/src/reports/samples/trivy/clean.json");
const BAD: &str = include_str!("../../../promo-providers/src/reports/samples/trivy/shop.json");
const TESTS: &str = include_str!("../../../promo-providers/src/reports/samples/junit/pytest-green.xml");

const GATES: &str = r#"
[gates]
no-critical = { scan = { deny = ["critical"], max_age = "7d" } }
unit = { tests = { suites = ["unit"] } }
commit = { metadata = ["commit"] }

[environments.staging]
gates = ["no-critical", "unit", "commit"]
"#;

/// A world in which staging asks for evidence, and a release that is there but for it.
struct Asked {
    world: World,
    /// The configurations of the platforms of the image.
    platforms: Vec<String>,
}

impl Asked {
    fn new(gates: &str) -> Self {
        let world = World::new();
        world.edit("promo.toml", "\n[environments.staging]\n", gates);
        world.write("config/common.env", "NEEDS_WORKERS=3\n");
        world.run(0, &["release", "add", "shop=1.1.0", "--alias", "1.2.0", "--meta", "commit=1f2e"]);
        world.run(0, &["advance"]);
        let platforms = configurations(&world.at.join("registry/shop"));
        assert_eq!(platforms.len(), 2, "{platforms:?}");
        Self { world, platforms }
    }

    /// The report of one platform, made so long ago.
    fn scan(&self, report: &str, platform: usize, ago: SignedDuration) -> String {
        let mut report: Value = serde_json::from_str(report).unwrap();
        report["CreatedAt"] = (SystemClock.now() - ago).to_string().into();
        let metadata = report["Metadata"].as_object_mut().unwrap();
        metadata.remove("RepoDigests");
        metadata.insert("ImageID".into(), self.platforms[platform].as_str().into());
        report.to_string()
    }

    fn brings(&self, text: &str, more: &[&str]) -> Value {
        self.world.write("evidence", text);
        self.world.run(0, &[&["evidence", "add", "evidence", "--release", "1.2.0"], more].concat())
    }

    /// The gates of the release for staging that are not open, by code.
    fn shut(&self) -> Vec<(String, String)> {
        let why = self.world.run(0, &["why", "staging", "1.2.0"]);
        let gates = why["gates"].as_array().unwrap().iter().zip(why["codes"].as_array().unwrap());
        let shut = gates.filter(|(gate, _)| gate["outcome"] != "satisfied");
        let of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let told = |(gate, code): (&Value, &Value)| {
            let code = of(code);
            let said = &gate["reason"][&code];
            let faults: Vec<String> = said["faults"].as_array().into_iter().flatten().map(|f| of(&f["text"])).collect();
            let text = format!("{} of {}: {}", of(&said["gate"]), of(&said["artifact"]), faults.join("; "));
            (code, text)
        };
        shut.map(told).filter(|(code, _)| code.starts_with("evidence")).collect()
    }

    fn codes(&self) -> Vec<String> {
        self.shut().into_iter().map(|(code, _)| code).collect()
    }
}

/// The digests of the configurations of an image in a layout.
fn configurations(layout: &Path) -> Vec<String> {
    let read = |digest: &str| -> Value {
        let file = layout.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap());
        serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
    };
    let index: Value = serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let named = |one: &&Value| one["annotations"]["org.opencontainers.image.ref.name"] == "1.1.0";
    let image = index["manifests"].as_array().unwrap().iter().find(named).unwrap();
    let image = read(image["digest"].as_str().unwrap());
    let manifests = image["manifests"].as_array().unwrap().iter();
    manifests
        .map(|one| read(one["digest"].as_str().unwrap())["config"]["digest"].as_str().unwrap().to_owned())
        .collect()
}

/// Puts the same images under another index with that annotation, of which nothing is recorded.
fn another_index(layout: &Path, name: &str, (key, value): (&str, &str)) -> Digest {
    let read = |path: &Path| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let mut tags = read(&layout.join("index.json"));
    let mut tag = tags["manifests"][0].clone();
    let old = tag["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
    let mut index = read(&layout.join("blobs/sha256").join(old));
    index["annotations"] = serde_json::json!({ key: value });
    let bytes = index.to_string().into_bytes();
    let digest = Digest::of(&bytes);
    std::fs::write(layout.join("blobs/sha256").join(digest.hex()), &bytes).unwrap();
    (tag["digest"], tag["size"]) = (digest.to_string().into(), bytes.len().into());
    tag["annotations"]["org.opencontainers.image.ref.name"] = name.into();
    tags["manifests"].as_array_mut().unwrap().push(tag);
    std::fs::write(layout.join("index.json"), tags.to_string()).unwrap();
    digest
}

const HOUR: SignedDuration = SignedDuration::from_hours(1);

pub(crate) fn row() {
    let world = World::new();
    world.write("junit.xml", TESTS);
    let added = world.run(0, &["evidence", "add", "junit.xml", "--release", "1.1.0", "--name", "unit"]);
    assert_eq!((&added["new"], &added["evidence"]["format"]), (&true.into(), &"junit".into()), "{added}");
    let again = world.run(0, &["evidence", "add", "junit.xml", "--release", "1.1.0", "--name", "unit"]);
    assert_eq!(again["new"], false, "{again}");
    let shown = world.run(0, &["release", "show", "1.1.0"]);
    assert_eq!(shown["evidence"].as_array().unwrap().len(), 1, "{shown}");
    let verified = world.run(0, &["ledger", "verify"]);
    let collected = world.run(0, &["evidence", "collect"]);
    assert_eq!(collected["releases"][0]["new"], serde_json::json!([]), "{collected}");
    // A registry that refuses is none without evidence: nothing is recorded.
    let server = Server::new(|_| 403);
    let source = format!("{}/shop:9.9.9", server.address);
    world.write_record(|record, _| (record.kind, record.body) = elsewhere(&source, "9.9.9").to_parts());
    world.refuses(1, "provider-denied", &["evidence", "collect", "--release", "9.9.9"]);
    let document = Digest::of(TESTS.as_bytes()).to_string();
    let withdraw = ["evidence", "withdraw", &document, "--reason", "the wrong run"];
    world.refuses(21, "lift-refused", &withdraw);
    world.cannot_sign(&withdraw);
    let after = world.run(0, &["ledger", "verify"]);
    assert_eq!(after["records"].as_u64(), verified["records"].as_u64().map(|records| records + 1), "{after}");
    let withdrawn = world.run(0, &[&withdraw[..], &RILEY].concat());
    assert_eq!(withdrawn["document"], *document, "{withdrawn}");
}

#[test]
fn what_is_no_evidence_is_refused_before_anything_is_recorded() {
    let asked = Asked::new(GATES);
    let world = &asked.world;
    let records = || world.run(0, &["ledger", "verify"])["records"].clone();
    let before = records();
    let cut = asked.scan(CLEAN, 0, HOUR);
    for (text, words) in [
        ("hello", "no report that promo knows"),
        ("{}", "no report that promo knows"),
        (&cut[..cut.len() / 2], "is broken at"),
        (&cut.replace("\"SchemaVersion\":2", "\"SchemaVersion\":3"), "in version `3`, and promo reads"),
        (CLEAN, "which is no part of what it was brought for"),
        (&" ".repeat((64 << 20) + 1), "too large to be read: more than 64 MiB"),
    ] {
        world.write("evidence", text);
        let error = world.refuses(65, "evidence-invalid", &["evidence", "add", "evidence", "--release", "1.2.0"]);
        assert!(error["message"].as_str().unwrap().contains(words), "{words}: {error}");
    }
    world.write("evidence", TESTS);
    let error = world.refuses(65, "evidence-invalid", &["evidence", "add", "evidence"]);
    assert!(error["message"].as_str().unwrap().contains("does not say of what it speaks"), "{error}");
    let named = ["evidence", "add", "evidence", "--release", "1.2.0", "--name", "two words"];
    world.refuses(64, "usage", &named);
    world.refuses(65, "file-unreadable", &["evidence", "add", "nothing.json"]);
    assert_eq!(records(), before);
}

#[test]
fn evidence_opens_its_gates_one_by_one_and_each_is_named_until_then() {
    let asked = Asked::new(GATES);
    let world = &asked.world;
    assert_eq!(asked.codes(), ["evidence-missing", "evidence-missing"]);
    let texts: Vec<String> = asked.shut().into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["no-critical of shop: no scan", "unit of shop: no report of tests of unit"]);
    let why = world.run(0, &["why", "staging", "1.2.0"]);
    let id = why["release"]["id"].as_str().or(why["release"].as_str()).unwrap().to_owned();
    assert_eq!(next(&why), format!("promo evidence add FILE --release {id}"), "{why}");

    // One platform is looked into: the other one is missed by name.
    asked.brings(&asked.scan(CLEAN, 0, HOUR), &[]);
    let text = asked.shut()[0].1.clone();
    assert!(text.starts_with("no-critical of shop: no scan for the platform sha256:"), "{text}");
    asked.brings(&asked.scan(BAD, 1, HOUR * 2), &[]);
    assert_eq!(asked.codes(), ["evidence-bad", "evidence-missing"]);
    let planned = said(world, &["plan", "staging"]);
    assert!(planned.contains("refused") && planned.contains("CVE-2022-48174 in pkg:apk/alpine/busybox"), "{planned}");
    // Each document with its number, its age and who brought it, though the gate is closed.
    for screen in [&planned, &said(world, &["why", "staging", "1.2.0"])] {
        assert!(screen.contains("(judged Trivy") && screen.contains("1 critical, "), "{screen}");
        assert!(screen.contains(" 2 h old") && screen.contains(", brought by "), "{screen}");
    }
    let why = world.run(0, &["why", "staging", "1.2.0"]);
    let at = why["codes"].as_array().unwrap().iter().position(|code| code == "evidence-bad").unwrap();
    let documents = why["gates"][at]["reason"]["evidence-bad"]["documents"].as_array().unwrap();
    assert_eq!(documents.len(), 2, "{why}");
    assert!(documents.iter().all(|one| one["format"] == "trivy" && one["at"].is_string() && one["by"].is_string()));
    assert_eq!((&why["who"][at], &why["ways"][at]), (&"application".into(), &"promo release add --help".into()));
    world.run(0, &["advance"]);
    assert!(!fixture::row(world, "staging").to_string().contains("\"1.2.0\""), "it stays where it is");

    // A later scan of the same scanner and platform replaces it; an earlier one would not.
    asked.brings(&asked.scan(CLEAN, 1, HOUR * 3), &[]);
    assert_eq!(asked.codes()[0], "evidence-bad");
    asked.brings(&asked.scan(CLEAN, 1, HOUR), &[]);
    assert_eq!(asked.codes(), ["evidence-missing"]);
    asked.brings(TESTS, &["--name", "integration"]);
    assert_eq!(asked.codes(), ["evidence-missing"]);
    asked.brings(TESTS, &["--name", "unit"]);
    assert_eq!(asked.codes(), [""; 0]);
    let text = said(world, &["plan", "staging"]);
    for words in
        ["✓ no-critical of shop: 0 critical by Trivy", "✓ unit of shop: ", "✓ commit of shop: the build said commit"]
    {
        assert!(text.contains(words), "{words}\n{text}");
    }
    world.run(0, &["advance"]);
    let status = said(world, &["status"]);
    let line = status.lines().find(|line| line.trim_start().starts_with("staging")).unwrap();
    assert!(line.contains("1.2.0") && line.contains("verified"), "{status}");
    world.run(0, &["ledger", "verify"]);
}

#[test]
fn s1_3_an_image_that_a_pipeline_declares_as_a_chart_is_asked_for_like_any_other() {
    let world = World::new();
    let gates = "\n[gates]\nbill = { sbom = \"required\" }\n\n[environments.staging]\ngates = [\"bill\"]\n";
    world.edit("promo.toml", "\n[environments.staging]\n", gates);
    // Something else that the pipeline calls an image stands in front of it.
    let declared = "[artifacts.shop]\nimage = \"oci-layout:registry/shop\"";
    let hidden = "[artifacts.front]\nimage = \"oci-layout:registry/shop\"\n[artifacts.shop]\nchart = \"oci-layout:registry/shop\"";
    world.edit("promo.toml", declared, hidden);
    world.write("config/common.env", "NEEDS_WORKERS=3\n");
    world.run(0, &["release", "add", "shop=1.1.0", "front=1.1.0", "--alias", "1.2.0"]);
    let why = world.run(0, &["why", "staging", "1.2.0"]);
    let gates = why["gates"].as_array().unwrap().iter();
    let missing = gates.filter_map(|gate| gate["reason"]["evidence-missing"]["artifact"].as_str());
    assert_eq!(missing.collect::<Vec<_>>(), ["front", "shop"], "{why}");
}

#[test]
fn a_plan_outlives_a_new_scan_that_is_as_good_and_not_one_that_is_worse() {
    let asked = Asked::new(GATES);
    let world = &asked.world;
    for platform in [0, 1] {
        asked.brings(&asked.scan(CLEAN, platform, HOUR * 5), &[]);
    }
    asked.brings(TESTS, &["--name", "unit"]);
    world.run(0, &["plan", "staging", "--out", "p.json"]);
    asked.brings(&asked.scan(CLEAN, 0, HOUR * 4), &[]);
    let shown = said(world, &["show", "p.json"]);
    assert!(shown.contains("can start now") && !shown.contains("stale"), "{shown}");
    asked.brings(&asked.scan(BAD, 0, HOUR * 3), &[]);
    let error = world.refuses(21, "denied", &["apply", "p.json"]);
    assert!(error["details"].to_string().contains("is critical"), "{error}");
    asked.brings(&asked.scan(CLEAN, 0, HOUR * 2), &[]);
    world.run(0, &["apply", "p.json"]);
    // The same report once more is there already, and is news again once another one came after it.
    let bad = asked.scan(BAD, 0, HOUR);
    assert_eq!(asked.brings(&bad, &["--name", "n"])["new"], true);
    assert_eq!(asked.brings(&bad, &["--name", "n"])["new"], false);
    asked.brings(&asked.scan(CLEAN, 0, HOUR), &["--name", "n"]);
    assert_eq!(asked.brings(&bad, &["--name", "n"])["new"], true);
    // What is found later bars nobody from going back, nor what stands from being what it is.
    asked.brings(&asked.scan(BAD, 1, HOUR), &[]);
    let back = said(world, &["rollback", "staging"]);
    assert!(back.contains("can start now") && !back.contains("is critical"), "{back}");
}

#[test]
fn s12_3_a_row_about_a_document_that_nobody_has_closes_its_gate_and_stops_nobody() {
    let asked = Asked::new(GATES);
    let world = &asked.world;
    for platform in [0, 1] {
        asked.brings(&asked.scan(CLEAN, platform, HOUR), &[]);
    }
    asked.brings(TESTS, &["--name", "unit"]);
    assert_eq!(asked.codes(), [""; 0]);
    let shown = world.run(0, &["release", "show", "1.2.0"]);
    let digest = shown["artifacts"]["shop"].as_str().unwrap().split('@').nth(1).unwrap().parse().unwrap();
    let (document, format) = (promo_core::Digest::of(b"nowhere"), "trivy".to_owned());
    let forged = Event::EvidenceAdded { document, format, name: None, subjects: [digest].into(), attached: None };
    world.write_record(|record, _| (record.kind, record.body) = forged.to_parts());
    assert_eq!(asked.codes(), ["evidence-unreadable"]);
    for words in
        [&["plan"][..], &["status"], &["rollback", "staging"], &["release", "show", "1.2.0"], &["ledger", "verify"]]
    {
        world.run(0, words);
    }
}

#[test]
fn s12_3_what_is_recorded_of_an_artifact_and_is_not_so_is_found_when_it_is_added_again_and_corrected_by_name() {
    let asked = Asked::new(GATES);
    let world = &asked.world;
    for platform in [0, 1] {
        asked.brings(&asked.scan(CLEAN, platform, HOUR), &[]);
    }
    asked.brings(TESTS, &["--name", "unit"]);
    assert_eq!(asked.codes(), [""; 0]);
    let shown = world.run(0, &["release", "show", "1.2.0"]);
    let artifact = shown["artifacts"]["shop"].as_str().unwrap().split('@').nth(1).unwrap().parse().unwrap();
    // Somebody says that it has one platform more: it is asked for, until it is known to be none.
    let platforms = [(Digest::of(b"nowhere"), None)].into();
    let forged = Event::ArtifactDescribed { artifact, platforms, nature: None, corrects: false };
    world.write_record(|record, _| (record.kind, record.body) = forged.to_parts());
    assert_eq!(asked.codes(), ["evidence-missing"]);
    world.write("config/common.env", "NEEDS_WORKERS=3\nMORE=1\n");
    let again = ["release", "add", "shop=1.1.0", "--alias", "1.3.0", "--meta", "commit=1f2e"];
    let error = world.refuses(30, "artifact-described", &again);
    let message = error["message"].as_str().unwrap();
    for words in ["the ledger has a platform sha256:", " recorded that 20", "(record "] {
        assert!(message.contains(words), "{words}: {error}");
    }
    let correct = [&again[..], &["--correct"]].concat();
    assert_eq!(next(&error), format!("promo {}", correct.join(" ")));
    world.run(0, &correct);
    assert_eq!(asked.codes(), [""; 0]);
    world.run(0, &again);
    world.run(0, &["ledger", "verify"]);
}

#[test]
fn a_release_from_before_anybody_looked_waits_until_it_is_added_again() {
    let asked = Asked::new(GATES);
    let world = &asked.world;
    let digest = another_index(&world.at.join("registry/shop"), "0.9.0", ("old", "yes"));
    let store = SqliteStore::open(world.at.join(".promo/ledger.db")).unwrap();
    let all = store.records(0, usize::MAX).unwrap();
    drop(store);
    world.write_record(|record, _| {
        let added = |record: &Record| match Event::from_parts(&record.kind, &record.body) {
            Ok(Event::ReleaseAdded { release }) => Some(release),
            _ => None,
        };
        let mut release = all.iter().rev().find_map(added).unwrap();
        release.content.components.insert("shop".parse().unwrap(), digest);
        (release.id, release.alias) = (release.content.id(), Some("0.9.0".into()));
        release.sources = [("shop".parse().unwrap(), format!("oci-layout:registry/shop@{digest}"))].into();
        (record.kind, record.body) = Event::ReleaseAdded { release }.to_parts();
    });
    let codes = || {
        let why = world.run(0, &["why", "staging", "0.9.0"]);
        let codes = why["codes"].as_array().unwrap().iter().map(|code| code.as_str().unwrap().to_owned());
        codes.filter(|code| code.starts_with("evidence")).collect::<Vec<_>>()
    };
    assert!(codes().contains(&"evidence-not-looked".to_owned()), "{:?}", codes());
    // R9: what is in it nobody knows yet; once somebody does, it is kept out for what was recalled.
    let quarantined = || world.run(0, &["release", "show", "0.9.0"])["quarantined"].clone();
    let index = std::fs::read(world.at.join("registry/shop/blobs/sha256").join(digest.hex())).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let manifest = index["manifests"][0]["digest"].as_str().unwrap();
    world.run(0, &["release", "recall", manifest, "--reason", "CVE-2026-1"]);
    assert_eq!(quarantined(), serde_json::json!([]));
    let again = world.run(0, &["release", "add", "shop=0.9.0", "--alias", "0.9.0"]);
    assert_eq!(again["alias"], "0.9.0", "{again}");
    assert_eq!(quarantined(), serde_json::json!(["everywhere"]));
    let why = said(world, &["why", "staging", "0.9.0"]);
    assert!(why.contains(&format!("{manifest} is in it, which was recalled: CVE-2026-1")), "{why}");
    // Whoever lets it in again knows what is in it, and is not gone behind.
    let lift =
        ["release", "lift", "0.9.0", "--reason", "does not use it", "--key", "keys/riley", "--signer", "built-in"];
    world.run(0, &lift);
    world.run(0, &["release", "add", "shop=0.9.0", "--alias", "0.9.0"]);
    assert_eq!(quarantined(), serde_json::json!([]));
    assert!(!codes().contains(&"evidence-not-looked".to_owned()), "{:?}", codes());
    assert!(codes().contains(&"evidence-missing".to_owned()), "{:?}", codes());
}

#[test]
fn two_who_add_a_release_at_once_both_get_on_and_say_the_same_of_its_artifacts() {
    let world = World::new();
    world.write("config/common.env", "NEEDS_WORKERS=3\n");
    let words = |n: usize| ["release", "add", "shop=1.1.0", "--alias", if n.is_multiple_of(2) { "a" } else { "b" }];
    let children: Vec<_> = (0..6).map(|n| fixture::command(&world.at, &words(n)).spawn().unwrap()).collect();
    let ends: Vec<Option<i32>> = children.into_iter().map(|mut child| child.wait().unwrap().code()).collect();
    // One of the two names is the first, and the content has no other.
    assert_eq!(ends.iter().filter(|code| **code == Some(0)).count(), 3, "{ends:?}");
    assert_eq!(ends.iter().filter(|code| **code == Some(65)).count(), 3, "{ends:?}");
    world.run(0, &["ledger", "verify"]);
    world.run(0, &["plan"]);
}

#[test]
fn metadata_that_a_build_calls_erased_is_no_text_that_was_erased() {
    let key = "org.opencontainers.image.revision";
    let gates =
        format!("\n[gates]\ncommit = {{ metadata = [\"{key}\"] }}\n\n[environments.staging]\ngates = [\"commit\"]\n");
    let world = World::new();
    world.edit("promo.toml", "\n[environments.staging]\n", &gates);
    world.write("config/common.env", "NEEDS_WORKERS=3\n");
    world.run(0, &["release", "add", "shop=1.1.0", "--alias", "1.2.0", "--meta", &format!("{key}=(erased)")]);
    let why = world.run(0, &["why", "staging", "1.2.0"]);
    assert!(why["codes"].as_array().unwrap().contains(&"evidence-bad".into()), "{why}");
}

#[test]
fn metadata_is_said_of_each_artifact_or_given_for_the_release() {
    let world = World::new();
    let gates = "\n[gates]\nrun = { metadata = [\"ci.run\"] }\nonly = { metadata = [\"ci.run\"], artifacts = [\"shop\"] }\n\n\
                 [environments.staging]\ngates = [\"run\", \"only\"]\n";
    world.edit("promo.toml", "\n[environments.staging]\n", gates);
    world.edit(
        "promo.toml",
        "[artifacts.shop]",
        "[artifacts.plain]\nimage = \"oci-layout:registry/shop\"\n[artifacts.shop]",
    );
    world.write("config/common.env", "NEEDS_WORKERS=3\n");
    // One index says it, and the other one is the same image without.
    another_index(&world.at.join("registry/shop"), "7.0.0", ("ci.run", "4711"));
    let lacks = |alias: &str| {
        let why = world.run(0, &["why", "staging", alias]);
        let gates = why["gates"].as_array().unwrap().iter().filter(|gate| gate["kind"] == "metadata");
        let of = |gate: &Value| {
            let said = &gate["reason"]["evidence-missing"];
            said.is_object()
                .then(|| format!("{} of {}", said["gate"].as_str().unwrap(), said["artifact"].as_str().unwrap()))
        };
        gates.filter_map(of).collect::<Vec<_>>()
    };
    world.run(0, &["release", "add", "shop=7.0.0", "plain=1.1.0", "--alias", "one"]);
    assert_eq!(lacks("one"), ["run of plain"]);
    world.run(0, &["release", "add", "shop=1.1.0", "plain=7.0.0", "--alias", "other"]);
    assert_eq!(lacks("other"), ["run of shop", "only of shop"]);
    world.run(0, &["release", "add", "shop=1.1.0", "plain=1.0.0", "--alias", "given", "--meta", "ci.run=4712"]);
    assert_eq!(lacks("given"), [""; 0]);
}

#[test]
fn numbers_of_ones_own_are_read_by_the_pointers_of_the_gates() {
    let gates = "\n[gates]\nload = { number = { name = \"/latency/p95\", max = \"250\" } }\n\n[environments.staging]\ngates = [\"load\"]\n";
    let asked = Asked::new(gates);
    for (latency, codes) in [
        ("251", &["evidence-bad"][..]),
        ("250", &[]),
        ("\"fast\"", &["evidence-unreadable"]),
        ("null", &["evidence-unreadable"]),
    ] {
        asked.brings(&format!("{{\"latency\": {{\"p95\": {latency}}}}}"), &["--numbers", "--name", "load"]);
        assert_eq!(asked.codes(), codes, "{latency}");
    }
}

#[test]
fn an_old_scan_has_expired_and_an_exception_lets_one_vulnerability_pass() {
    let gates = GATES.replace("\"unit\", ", "").replace("unit = { tests = { suites = [\"unit\"] } }\n", "");
    let asked = Asked::new(&gates);
    for platform in [0, 1] {
        asked.brings(&asked.scan(CLEAN, platform, HOUR * 24 * 8), &[]);
    }
    assert_eq!(asked.codes(), ["evidence-expired"]);
    for platform in [0, 1] {
        asked.brings(&asked.scan(BAD, platform, HOUR), &[]);
    }
    let shut = asked.shut();
    assert_eq!(asked.codes(), ["evidence-bad"]);
    let mut ids: Vec<&str> = shut[0].1.split(&[' ', ';'][..]).filter(|word| word.starts_with("CVE-")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert!(!ids.is_empty(), "{shut:?}");
    let exceptions: String = ids
        .iter()
        .map(|id| format!("[[exceptions]]\nid = \"{id}\"\nowner = \"dana\"\nreason = \"not reachable\"\nexpires = \"2999-12-31\"\n"))
        .collect();
    asked.world.edit("promo.toml", "[gates]\n", &format!("{exceptions}[gates]\n"));
    assert_eq!(asked.codes(), [""; 0], "{:?}", asked.shut());
    let text = said(&asked.world, &["why", "staging", "1.2.0"]);
    assert!(text.contains(&format!("excepted ({} by dana until 2999-12-31", ids[0])), "{text}");
}

/// A run in which one test failed.
const FAILED: &str = r#"<testsuite name="unit" tests="2" failures="1"><testcase name="a"/><testcase name="b"><failure/></testcase></testsuite>"#;

const UNIT: &str = r#"
[gates]
unit = { tests = { suites = ["unit"] } }

[environments.staging]
gates = ["unit"]
"#;

const DANA: [&str; 4] = ["--key", "keys/dana", "--signer", "built-in"];
const RILEY: [&str; 4] = ["--key", "keys/riley", "--signer", "built-in"];

#[test]
fn s1_3_what_is_withdrawn_neither_opens_nor_bars_and_is_told_wherever_it_would_have_counted() {
    let asked = Asked::new(UNIT);
    let world = &asked.world;
    world.edit("promo.toml", "\n[environments.production]\n", "\n[environments.production]\ngates = [\"unit\"]\n");
    let bad = asked.brings(FAILED, &["--name", "unit"])["evidence"]["document"].as_str().unwrap().to_owned();
    assert_eq!(asked.codes(), ["evidence-bad"]);
    let withdraw = |more: &[&'static str]| {
        let words = ["evidence", "withdraw", &bad[..20], "--reason", "the wrong machine"];
        words.into_iter().map(ToString::to_string).chain(more.iter().map(ToString::to_string)).collect::<Vec<_>>()
    };
    let words = |more: &[&'static str]| withdraw(more);
    let run = |code: i32, told: Option<&str>, more: &[&'static str]| {
        let words = words(more);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match told {
            Some(told) => world.refuses(code, told, &words),
            None => world.run(code, &words),
        }
    };
    // A name is a claim; and who withdraws what bars has to be one who could let it in.
    let unsigned = run(21, Some("lift-refused"), &[]);
    assert!(next(&unsigned).starts_with("promo evidence withdraw sha256:"), "{unsigned}");
    // Nor does a rule of the pipeline's give that to whoever writes the pipeline (S0.1).
    let own = "\n[[environments.production.approval]]\ncount = 1\nfrom = [\"developer\"]\n";
    for more in ["", own] {
        world.edit("promo.toml", "\n[windows.every-day]\n", &format!("{more}\n[windows.every-day]\n"));
        let dana = run(21, Some("lift-refused"), &DANA);
        assert!(
            dana["message"].as_str().unwrap().contains("holds none of the roles that approve for production"),
            "{more}: {dana}"
        );
    }
    world.edit("promo.toml", own, "");
    assert_eq!(asked.codes(), ["evidence-bad"]);
    let riley = run(0, None, &RILEY);
    assert_eq!(
        (riley["document"].as_str(), riley["releases"][1]["alias"].as_str()),
        (Some(&*bad), Some("1.2.0")),
        "{riley}"
    );

    // It is not there any more, and every place says that it was.
    assert_eq!(asked.codes(), ["evidence-missing"]);
    let why = said(world, &["why", "staging", "1.2.0"]);
    assert!(why.contains("no report of tests of unit; not counted: junit (withdrawn by riley, record "), "{why}");
    let shown = world.run(0, &["release", "show", "1.2.0"]);
    let withdrawn = &shown["evidence"][0]["withdrawn"];
    assert_eq!((withdrawn["by"].as_str(), withdrawn["signed"].as_bool()), (Some("riley"), Some(true)), "{shown}");
    assert_eq!(withdrawn["reason"], "the wrong machine");
    assert!(said(world, &["release", "show", "1.2.0"]).contains("withdrawn by riley: the wrong machine"));
    let history = world.run(0, &["history"]);
    let stop = &history["stops"][0];
    assert_eq!((stop["act"].as_str(), stop["document"].as_str()), (Some("withdrawn"), Some(&*bad)), "{history}");
    assert!(said(world, &["history"]).contains("the wrong machine"));

    // It does not come back by itself, as when CI runs once more; and twice it is not withdrawn.
    world.refuses(65, "request-invalid", &["evidence", "add", "evidence", "--release", "1.2.0", "--name", "unit"]);
    run(65, Some("request-invalid"), &RILEY);
    assert_eq!(asked.codes(), ["evidence-missing"]);
    asked.brings(FAILED, &["--name", "unit", "--again"]);
    assert_eq!(asked.codes(), ["evidence-bad"]);
    let both = world.run(0, &["release", "show", "1.2.0"])["evidence"].as_array().map(Vec::len);
    assert_eq!(both, Some(2), "the one that was withdrawn, and the one that counts");
    run(0, None, &RILEY);

    // What let something in does not any more.
    let good = asked.brings(TESTS, &["--name", "unit"])["evidence"]["document"].as_str().unwrap().to_owned();
    assert_eq!(asked.codes(), [""; 0]);
    world.run(0, &[&["evidence", "withdraw", &good, "--reason", "cut short"], &RILEY[..]].concat());
    assert_eq!(asked.codes(), ["evidence-missing"]);
    for named in ["sha256:00", "0000000000", "nothing"] {
        world.refuses(
            65,
            "request-invalid",
            &[&["evidence", "withdraw", named, "--reason", "none"], &RILEY[..]].concat(),
        );
    }
}

#[test]
fn s12_3_a_row_that_withdraws_what_bars_and_that_nobody_signed_counts_for_nothing_and_is_told() {
    let asked = Asked::new(UNIT);
    let bad = asked.brings(FAILED, &["--name", "unit"])["evidence"]["document"].as_str().unwrap().to_owned();
    asked.world.write_record(|record: &mut Record, _| {
        let event = Event::EvidenceWithdrawn { document: bad.parse().unwrap(), by: None, signed: None };
        (record.kind, record.body) = event.to_parts();
    });
    assert_eq!(asked.codes(), ["evidence-bad"]);
    let why = said(&asked.world, &["why", "staging", "1.2.0"]);
    assert!(why.contains("does not withdraw the document") && why.contains("nobody signed it"), "{why}");
    // Where no gate asks for it, and of a release of which it does not speak, it is nothing.
    for other in [["why", "production", "1.2.0"], ["why", "staging", "1.1.0"]] {
        let why = said(&asked.world, &other);
        assert!(!why.contains("does not withdraw"), "{why}");
    }
}

#[test]
fn s10_4_what_somebody_withdrew_who_has_left_since_lets_nothing_in_again() {
    let asked = Asked::new(UNIT);
    let world = &asked.world;
    let good = asked.brings(TESTS, &["--name", "unit"])["evidence"]["document"].as_str().unwrap().to_owned();
    assert_eq!(asked.codes(), [""; 0]);
    world.run(0, &[&["evidence", "withdraw", &good, "--reason", "cut short"], &RILEY[..]].concat());
    assert_eq!(asked.codes(), ["evidence-missing"]);
    // Riley leaves: nothing proves any more that it was withdrawn by somebody who might.
    world.edit("policy.toml", "version = 1\n", "version = 2\n");
    world.edit("policy.toml", "[identities.riley]", "[identities.robin]");
    assert_eq!(asked.codes(), ["evidence-missing"], "{:?}", asked.shut());
    let why = said(world, &["why", "staging", "1.2.0"]);
    assert!(why.contains("withdraws it and nobody proves that: it can bar, and lets nothing in"), "{why}");
    // Whoever stands by it brings it anew.
    asked.brings(TESTS, &["--name", "unit"]);
    assert_eq!(asked.codes(), ["evidence-missing"]);
    asked.brings(TESTS, &["--name", "unit", "--again"]);
    assert_eq!(asked.codes(), [""; 0], "{:?}", asked.shut());
}
