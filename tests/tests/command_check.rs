//! The `command` check with the real process runner: a planned script runs, and nothing of it stays.

#![cfg(unix)]

use std::sync::Arc;

use promo_engine::process::Processes;
use promo_providers::command::Command;
use promo_sdk::testing::{MemoryBlobs, context};
use promo_sdk::{CheckRequest, CheckResult, Context, Inputs, Provider as _};
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
