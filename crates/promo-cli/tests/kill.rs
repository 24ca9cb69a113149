//! Kills the real binary with SIGKILL in the middle of a run and lets another process go on (S9.2, S9.5, S10).

#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of the binary, which fails by panicking")]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const LEASE: &str = "2s";

fn promo(root: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_promo"));
    command.args(["--as", "dana", "--policy", "policy.toml"]).args(words).current_dir(root);
    command
        .env("PROMO_ACTOR_KIND", "human")
        .env("PROMO_LEASE_TTL", LEASE)
        .env("PROMO_COLOR", "never")
        .stdin(Stdio::null());
    command
}

fn run(root: &Path, words: &[&str]) -> Output {
    promo(root, words).output().unwrap()
}

fn ok(root: &Path, words: &[&str]) -> String {
    let output = run(root, words);
    assert!(output.status.success(), "{words:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A finished quickstart with a third release on its way, and a smoke check that waits in dev as long as `hold` is there.
fn world() -> tempfile::TempDir {
    world_with("while [ -e '{root}/hold' ]; do sleep 0.05; done")
}

/// The same, with other lines that the check runs there after it has said that it was reached.
fn world_with(lines: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("qs");
    let output = Command::new(env!("CARGO_BIN_EXE_promo")).arg("quickstart").arg(&root).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let check = root.join("checks/smoke.sh");
    let script = std::fs::read_to_string(&check).unwrap();
    let wait = format!("set -eu\nif [ -e '{{root}}/hold' ]; then\n: > '{{root}}/reached'\n{lines}\nfi\n");
    let wait = wait.replace("{root}", &root.display().to_string());
    std::fs::write(&check, script.replacen("set -eu\n", &wait, 1)).unwrap();
    // The check is a shared file: it travels with a release of its own.
    ok(&root, &["release", "add", "shop=1.0.0", "--alias", "1.0.0-held"]);
    directory
}

/// Starts an apply and returns once the check has been reached.
fn apply_until_check(root: &Path) -> Child {
    apply_until_check_with(root, &[])
}

fn apply_until_check_with(root: &Path, more: &[&str]) -> Child {
    std::fs::write(root.join("hold"), "").unwrap();
    let child = promo(root, &[&["apply", "dev.plan.json"], more].concat())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !root.join("reached").exists() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the check was never reached");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

fn unfinished(root: &Path) -> String {
    let runs: serde_json::Value =
        serde_json::from_str(&ok(root, &["runs", "--unfinished", "--format", "json"])).unwrap();
    runs["runs"][0]["run"].as_str().expect("there is an unfinished run").to_owned()
}

fn records(root: &Path) -> u64 {
    let verified: serde_json::Value =
        serde_json::from_str(&ok(root, &["ledger", "verify", "--format", "json"])).unwrap();
    verified["records"].as_u64().unwrap()
}

#[test]
fn a_killed_run_is_resumed_at_once_and_only_once_and_nothing_is_doubled() {
    let directory = world();
    let root = directory.path().join("qs");
    ok(&root, &["plan", "dev", "--out", "dev.plan.json"]);
    // The lock of a process that can be seen to be gone is not waited for, however long it was taken for.
    let mut child = apply_until_check_with(&root, &["--lease", "1h"]);
    child.kill().unwrap();
    child.wait().unwrap();
    let run_id = unfinished(&root);
    // A plan that was begun is spent: nobody can apply it a second time.
    let again = run(&root, &["apply", "dev.plan.json"]);
    assert_eq!(again.status.code(), Some(22), "{}", text(&again.stderr));
    std::fs::remove_file(root.join("hold")).unwrap();
    ok(&root, &["resume", &run_id]);
    assert!(ok(&root, &["status"]).contains("1.0.0-held"));
    let before = records(&root);
    ok(&root, &["resume", &run_id]);
    assert_eq!(records(&root), before, "a second resume changes nothing");
    let history: serde_json::Value = serde_json::from_str(&ok(&root, &["history", "dev", "--format", "json"])).unwrap();
    let of_run = history["promotions"].as_array().unwrap().iter().filter(|p| p["run"] == *run_id).count();
    assert_eq!(of_run, 1);
}

#[test]
fn a_killed_run_that_is_resumed_under_another_pipeline_finishes_what_it_began_and_begins_nothing_more_s9_5() {
    let directory = world();
    let root = directory.path().join("qs");
    let pipeline = root.join("promo.toml");
    let planned = std::fs::read_to_string(&pipeline).unwrap();
    let other = planned.replace("after  = [\"qa\", \"perf\"]", "after  = { at_least = 1, of = [\"qa\", \"perf\"] }");
    assert_ne!(planned, other);
    ok(&root, &["plan", "--until", "staging", "--out", "dev.plan.json"]);
    let mut child = apply_until_check(&root);
    child.kill().unwrap();
    child.wait().unwrap();
    let run_id = unfinished(&root);
    std::fs::remove_file(root.join("hold")).unwrap();
    std::fs::write(&pipeline, &other).unwrap();
    let resumed = run(&root, &["resume", &run_id]);
    let said = text(&resumed.stdout) + &text(&resumed.stderr);
    assert_eq!(resumed.status.code(), Some(22), "{said}");
    assert!(said.contains("since it was made, this changed: pipeline"), "{said}");
    let moved = |environment: &str| {
        let history = ok(&root, &["history", environment, "--format", "json"]);
        let history: serde_json::Value = serde_json::from_str(&history).unwrap();
        history["promotions"].as_array().unwrap().iter().filter(|p| p["run"] == *run_id).count()
    };
    assert_eq!(["dev", "qa", "perf", "staging"].map(moved), [1, 0, 0, 0]);
    // It has ended: neither these rules nor those of its plan make it go on. What is left is planned anew.
    let before = records(&root);
    for rules in [&other, &planned] {
        std::fs::write(&pipeline, rules).unwrap();
        assert_eq!(run(&root, &["resume", &run_id]).status.code(), Some(22));
        assert_eq!(records(&root), before);
    }
    ok(&root, &["plan", "qa", "--out", "qa.plan.json"]);
    ok(&root, &["apply", "qa.plan.json"]);
    assert_eq!(ok(&root, &["status"]).matches("1.0.0-held").count(), 2);
}

#[test]
fn a_process_that_slept_through_its_lock_writes_nothing_more_s9_4() {
    let directory = world();
    let root = directory.path().join("qs");
    ok(&root, &["plan", "dev", "--out", "dev.plan.json"]);
    let mut child = apply_until_check(&root);
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
    };
    signal("-STOP");
    let run_id = unfinished(&root);
    std::fs::remove_file(root.join("hold")).unwrap();
    // It lives, so its lock is waited for, until it lapses.
    ok(&root, &["resume", &run_id]);
    let before = records(&root);
    signal("-CONT");
    let code = child.wait().unwrap().code();
    assert!(code.is_some_and(|code| code != 0), "{code:?}");
    assert_eq!(records(&root), before, "what it still wanted to write was refused by its epoch");
}

#[test]
fn a_killed_run_can_be_cancelled_and_what_it_left_is_held() {
    let directory = world();
    let root = directory.path().join("qs");
    ok(&root, &["plan", "dev", "--out", "dev.plan.json"]);
    let mut child = apply_until_check(&root);
    child.kill().unwrap();
    child.wait().unwrap();
    std::fs::remove_file(root.join("hold")).unwrap();
    let run_id = unfinished(&root);
    std::thread::sleep(Duration::from_millis(2_200));
    let cancelled = ok(&root, &["cancel", &run_id]);
    assert!(cancelled.contains("was cancelled half-way and is held for a person"), "{cancelled}");
    assert!(ok(&root, &["runs", "--unfinished"]).starts_with("No run is unfinished"));
    records(&root);
}

#[test]
fn what_a_check_started_is_gone_soon_after_promo_was_killed_s9_3() {
    // A child, a grandchild, and one that left the process group and whose parent is gone.
    let directory = world_with(
        "cd '{root}'
echo $$ > check
echo $PPID > supervisor
sleep 300 & echo $! > child
sh -c 'sleep 300 & echo $! > grandchild; wait' &
(setsid sh -c 'echo $$ > daemon; exec sleep 300' &)
wait",
    );
    let root = directory.path().join("qs");
    ok(&root, &["plan", "dev", "--out", "dev.plan.json"]);
    let mut promo = apply_until_check(&root);
    let id = |name: &str| -> String {
        for _ in 0..3_000 {
            match std::fs::read_to_string(root.join(name)) {
                Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
        }
        panic!("{name} was never written");
    };
    let members = ["check", "supervisor", "child", "grandchild", "daemon"].map(|name| (name, id(name)));
    let runs = |id: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"));
        // A zombie has ended; only its parent has not looked yet.
        stat.is_ok_and(|s| !s.rsplit(')').next().unwrap().trim_start().starts_with('Z'))
    };
    for (name, id) in &members {
        assert!(runs(id), "{name} {id} does not run before promo is killed");
    }
    promo.kill().unwrap();
    promo.wait().unwrap();
    let begun = Instant::now();
    for (name, id) in &members {
        while runs(id) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{name} {id} outlives promo");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Presses Ctrl-C.
fn interrupt(child: &Child) {
    let done = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(done.success());
}

/// What a file of events says last: the exit code of the summary.
fn summary(root: &Path) -> u64 {
    let text = std::fs::read_to_string(root.join("events")).unwrap();
    let events: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events[0]["event"], "hello", "{text}");
    let last = events.last().unwrap();
    assert_eq!(last["event"], "summary", "{text}");
    last["exit"].as_u64().unwrap()
}

#[test]
fn ctrl_c_ends_the_events_with_a_summary_and_the_run_can_be_resumed_s9_5() {
    for presses in [1, 2] {
        let directory = world();
        let root = directory.path().join("qs");
        ok(&root, &["plan", "dev", "--out", "dev.plan.json", "--events", "events"]);
        assert_eq!(summary(&root), 0);
        let mut child = apply_until_check_with(&root, &["--events", "events"]);
        interrupt(&child);
        if presses == 1 {
            // The first one lets the check end.
            std::fs::remove_file(root.join("hold")).unwrap();
        } else {
            // The second one is not waited for by the check, which would go on for ever.
            while child.try_wait().unwrap().is_none() {
                interrupt(&child);
                std::thread::sleep(Duration::from_millis(50));
            }
            std::fs::remove_file(root.join("hold")).unwrap();
        }
        let code = child.wait().unwrap().code();
        let end = summary(&root);
        assert_eq!(code, i32::try_from(end).ok());
        if presses == 2 {
            assert_eq!(end, 75);
            ok(&root, &["resume", &unfinished(&root)]);
        } else {
            // All that was left was the check that was under way.
            assert_eq!(end, 0);
        }
        assert!(ok(&root, &["status"]).contains("1.0.0-held"));
    }
}
