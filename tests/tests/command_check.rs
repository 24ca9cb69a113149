//! The `command` check with the real process runner: a planned script runs, and nothing of it stays.

#![cfg(unix)]

use std::sync::Arc;

use promo_core::ledger::event::PromotionOutcome;
use promo_engine::Fate;
use promo_engine::process::Processes;
use promo_providers::command::Command;
use promo_sdk::testing::{MemoryBlobs, context};
use promo_sdk::{CheckRequest, CheckResult, Context, Inputs, Provider as _};
use promo_tests::world::{Setup, World};
use serde_json::{Value, json};

fn request(blobs: &MemoryBlobs, settings: Value, script: &str) -> CheckRequest {
    CheckRequest {
        inputs: Inputs {
            environment: "qa".parse().expect("a name"),
            release: "r-0123456789ab".parse().expect("a release"),
            target: promo_core::model::Target([("directory".to_owned(), "env/qa".to_owned())].into()),
            settings,
            artifacts: [].into(),
            files: [
                ("tests/smoke.sh".to_owned(), blobs.put(script)),
                ("tests/expected.txt".to_owned(), blobs.put("shop 1.4.2\n")),
            ]
            .into(),
        },
        check: "smoke".into(),
        token: String::new(),
    }
}

fn world(root: &std::path::Path) -> (Context, Arc<MemoryBlobs>) {
    let blobs = Arc::new(MemoryBlobs::default());
    let mut cx = context(root);
    cx.blobs = blobs.clone();
    cx.processes = Arc::new(Processes::default());
    (cx, blobs)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn planned_scripts_run_beside_each_other_against_what_was_deployed() {
    let root = tempfile::tempdir().expect("a directory");
    std::fs::create_dir_all(root.path().join("env/qa/current")).expect("a place");
    std::fs::write(root.path().join("env/qa/current/version.txt"), "shop 1.4.2\n").expect("a file");
    let (cx, blobs) = world(root.path());
    let script = "#!/bin/sh\nset -eu\ncmp tests/expected.txt \"$PROMO_TARGET_DIRECTORY/current/version.txt\"\n\
        echo \"$PROMO_ENVIRONMENT is good\"\nexit \"$1\"\n";
    // Many at once: a script that was just written must not be reported busy because another check forks just now.
    let run = |code: u32| {
        let (cx, settings) = (cx.clone(), json!({"run": ["tests/smoke.sh", code.to_string()], "files": ["tests/**"]}));
        let request = request(&blobs, settings, script);
        tokio::spawn(async move { Command.verify(&cx, &request).await })
    };
    for (code, task) in (0..24).map(|n| (n % 2, run(n % 2))).collect::<Vec<_>>() {
        let result: CheckResult = task.await.expect("no panic").expect("a verdict");
        assert_eq!(result.passed, code == 0, "{result:?}");
        assert_eq!(result.detail, format!("tests/smoke.sh exited with {code}: qa is good"));
    }
}

#[tokio::test]
async fn a_check_that_hangs_has_failed_and_is_gone_s9_3() {
    let root = tempfile::tempdir().expect("a directory");
    let (cx, blobs) = world(root.path());
    let script = "#!/bin/sh\nsleep 300 &\necho $! > \"$1\"\nwait\n";
    let id = root.path().join("id");
    let settings = json!({"run": ["./tests/smoke.sh", id], "files": ["tests/**"], "timeout": 1});
    let result = Command.verify(&cx, &request(&blobs, settings, script)).await.expect("a verdict");
    assert_eq!(
        (result.passed, result.detail.as_str()),
        (false, "./tests/smoke.sh did not end within 1 s and was killed")
    );
    let id = std::fs::read_to_string(id).expect("the script ran");
    let running = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
    };
    for _ in 0..100 {
        if !running() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("process {} outlived the check that started it", id.trim());
}

const TWO_TARGETS: &str = r#"
format = 1
[pipeline]
name = "pair"
[artifacts.shop]
image = "oci-layout:registry/shop"
tags  = "[0-9]*"
[checks.smoke]
command = { run = ["smoke.sh"], files = ["smoke.sh"] }
[environments.dev]
tier    = "development"
targets = { a = { directory = "environments/a" }, b = { directory = "environments/b" } }
verify  = ["smoke"]
[environments.dev.deploy.directory]
templates = ["service.j2"]
"#;

/// What is broken in one place is not verified, whichever of them comes first by name.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_several_targets_looks_at_each_and_passes_where_all_do_s3_1() {
    let script =
        "#!/bin/sh\necho >> \"$PROMO_TARGET_DIRECTORY.looked\"\ntest ! -e \"$PROMO_TARGET_DIRECTORY.broken\"\n";
    let files = [("promo.toml", TWO_TARGETS), ("service.j2", "{{ artifacts.shop.tag }}\n"), ("smoke.sh", script)];
    let world = World::of_files(&files, Setup::default());
    let looked = |place: &str| {
        std::fs::read_to_string(world.path(&format!("environments/{place}.looked"))).map_or(0, |t| t.len())
    };
    let verdicts = || {
        let records = world.session.store().records(0, usize::MAX).expect("a ledger");
        records.iter().filter(|record| record.kind == "verdict.recorded").count()
    };
    let apply = async |version: &str| {
        world.release(version).await;
        let plan = world.plan("dev").await;
        assert_eq!(plan.body.moves[0].checks.len(), 2);
        let report = world.session.apply(&plan, plan.digest().expect("a digest"), world.options()).await;
        report.expect("a run").environments.remove(0).2
    };
    let fate = apply("1.0.0").await;
    assert!(matches!(fate, Fate::Ended { outcome: PromotionOutcome::Verified, .. }), "{fate:?}");
    assert_eq!((looked("a"), looked("b"), verdicts()), (1, 1, 1), "each place is looked at, and there is one verdict");
    for broken in ["b", "a"] {
        let mark = world.path(&format!("environments/{broken}.broken"));
        std::fs::write(&mark, "").expect("a file");
        let again = world.session.verify_again(&"dev".parse().expect("a name")).await.expect("a verdict");
        assert_eq!(again.len(), 1);
        assert!(
            !again[0].passed && again[0].detail.starts_with(&format!("directory=environments/{broken}: ")),
            "{again:?}"
        );
        std::fs::remove_file(&mark).expect("it is there");
    }
    std::fs::write(world.path("environments/b.broken"), "").expect("a file");
    let fate = apply("2.0.0").await;
    let Fate::Ended { outcome, why: Some(why) } = &fate else { panic!("{fate:?}") };
    assert_ne!(*outcome, PromotionOutcome::Verified);
    assert!(why.starts_with("smoke failed: directory=environments/b: "), "{why}");
}
