//! Programs under the supervisor that is this very binary: what a program sees, and that nothing of it outlives promo or
//! the supervisor (S9.3, S13.1). The runner is the engine's.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test, which fails by panicking")]

use std::path::Path;
use std::time::Duration;

use promo_engine::process::{Processes, supervise_with};
use promo_sdk::{ErrorKind, Output, ProcessRequest, ProcessRunner as _, ProviderError};
use tokio_util::sync::CancellationToken;

/// A child, a grandchild and, where there are sessions, one that left the group and whose parent is gone.
const FAMILY: &str = "echo $PPID > supervisor
sleep 300 & echo $! > child
sh -c 'sleep 300 & echo $! > grandchild; wait' &
(setsid sh -c 'echo $$ > daemon; exec sleep 300' &)
while ! [ -s daemon ] || ! [ -s grandchild ]; do sleep 0.01; done
echo all > ready
";

const MEMBERS: [&str; 3] = ["child", "grandchild", "daemon"];

fn runner() -> Processes {
    runner_until(CancellationToken::new())
}

fn runner_until(cancelled: CancellationToken) -> Processes {
    supervise_with(env!("CARGO_BIN_EXE_promo").into());
    Processes::new(cancelled)
}

fn shell(script: &str, directory: &Path) -> ProcessRequest {
    let mut request = ProcessRequest::new(["sh", "-c", script].map(String::from).to_vec(), directory.to_owned());
    request.timeout = Duration::from_secs(60);
    request
}

async fn run(script: &str) -> Result<Output, ProviderError> {
    let directory = tempfile::tempdir().unwrap();
    runner().run(shell(script, directory.path())).await
}

async fn written(file: &Path) -> String {
    for _ in 0..3_000 {
        match std::fs::read_to_string(file) {
            Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    panic!("{} was never written", file.display());
}

/// Waits until every member of the family has ended; a zombie has.
async fn assert_gone(directory: &Path, members: &[&str]) {
    for member in members {
        let id = written(&directory.join(member)).await;
        let mut gone = false;
        for _ in 0..500 {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat"));
            gone = stat.is_err() || stat.is_ok_and(|s| s.rsplit(')').next().unwrap().trim_start().starts_with('Z'));
            if gone {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(gone, "{member} {id} still runs");
    }
}

#[tokio::test]
async fn code_streams_input_and_directory_are_the_programs_own() {
    let directory = tempfile::tempdir().unwrap();
    let mut request = shell("cat; echo to-stderr >&2; pwd; exit 3", directory.path());
    request.stdin = vec![b'x'; 300_000];
    let output = runner().run(request).await.unwrap();
    assert_eq!(output.code, Some(3));
    let (input, rest) = output.stdout.split_at(300_000);
    assert!(input.iter().all(|byte| *byte == b'x'));
    assert_eq!(rest, format!("{}\n", directory.path().canonicalize().unwrap().display()).as_bytes());
    assert_eq!(output.stderr, b"to-stderr\n");
}

#[tokio::test]
async fn a_program_without_input_reads_nothing_and_one_that_ignores_its_input_ends_all_the_same() {
    assert_eq!(run("cat; readlink /proc/self/fd/0").await.unwrap().stdout, b"/dev/null\n");
    let directory = tempfile::tempdir().unwrap();
    let mut request = shell("exit 5", directory.path());
    request.stdin = vec![b'x'; 1_000_000];
    assert_eq!(runner().run(request).await.unwrap().code, Some(5));
}

#[tokio::test]
async fn every_code_is_passed_on_and_a_signal_is_no_code() {
    for code in [0, 1, 64, 127, 255] {
        assert_eq!(run(&format!("exit {code}")).await.unwrap().code, Some(code));
    }
    for signal in ["TERM", "KILL", "PIPE"] {
        assert_eq!(run(&format!("kill -{signal} $$")).await.unwrap().code, None, "{signal}");
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_started_is_told_from_one_that_fails() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("run.sh");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    let request = ProcessRequest::new(vec!["./run.sh".to_owned()], directory.path().into());
    let error = runner().run(request).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound);
    assert!(error.message.contains("./run.sh` could not be started"), "{error}");
}

#[tokio::test]
async fn the_environment_is_what_is_on_the_allow_list_and_nothing_else_s13_1() {
    let directory = tempfile::tempdir().unwrap();
    let mut request = shell("/usr/bin/env | cut -d= -f1 | sort | tr '\\n' ' '; echo \"$SET\"", directory.path());
    request.inherit = vec!["PATH".to_owned()];
    request.environment.insert("SET".to_owned(), "yes".to_owned());
    let text = String::from_utf8(runner().run(request).await.unwrap().stdout).unwrap();
    // `PWD`, `SHLVL`, `OLDPWD` and `_` are the shell's own.
    let names: Vec<_> = text.split_whitespace().filter(|n| !["PWD", "SHLVL", "OLDPWD", "_"].contains(n)).collect();
    assert_eq!(names, ["PATH", "SET", "yes"]);
}

#[tokio::test]
async fn more_output_than_the_limit_is_cut_and_does_not_block_the_program() {
    let directory = tempfile::tempdir().unwrap();
    let mut request = shell("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2; exit 7", directory.path());
    request.output_limit = 1000;
    let output = runner().run(request).await.unwrap();
    assert_eq!((output.code, output.stdout.len(), output.stderr.len()), (Some(7), 1000, 1000));
}

#[tokio::test]
async fn what_is_left_in_the_background_does_not_outlive_the_program_also_outside_its_group_s9_3() {
    let directory = tempfile::tempdir().unwrap();
    let output = runner().run(shell(&format!("{FAMILY}exit 4"), directory.path())).await.unwrap();
    assert_eq!(output.code, Some(4));
    assert_gone(directory.path(), &MEMBERS).await;
}

#[tokio::test]
async fn after_the_timeout_all_of_them_are_gone_s9_3() {
    let directory = tempfile::tempdir().unwrap();
    let mut request = shell(&format!("{FAMILY}wait"), directory.path());
    request.timeout = Duration::from_secs(3);
    let error = runner().run(request).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Transient);
    assert_eq!(error.message, "program `sh` did not end within 3 s and was killed");
    assert_gone(directory.path(), &MEMBERS).await;
}

#[tokio::test]
async fn cancelling_and_dropping_end_all_of_them_s9_3() {
    let token = CancellationToken::new();
    let directory = tempfile::tempdir().unwrap();
    let request = shell(&format!("{FAMILY}wait"), directory.path());
    let run = tokio::spawn({
        let runner = runner_until(token.clone());
        async move { runner.run(request).await }
    });
    written(&directory.path().join("ready")).await;
    token.cancel();
    assert_eq!(run.await.unwrap().unwrap_err().kind, ErrorKind::Cancelled);
    assert_gone(directory.path(), &MEMBERS).await;

    let directory = tempfile::tempdir().unwrap();
    let request = shell(&format!("{FAMILY}wait"), directory.path());
    let run = tokio::spawn(async move { runner().run(request).await });
    written(&directory.path().join("ready")).await;
    run.abort();
    assert_gone(directory.path(), &MEMBERS).await;
}

#[tokio::test]
async fn when_the_supervisor_is_killed_its_group_goes_with_it_and_the_program_counts_as_failed() {
    let directory = tempfile::tempdir().unwrap();
    let request = shell(&format!("{FAMILY}wait"), directory.path());
    let run = tokio::spawn(async move { runner().run(request).await });
    written(&directory.path().join("ready")).await;
    let supervisor = written(&directory.path().join("supervisor")).await;
    let killed = tokio::task::spawn_blocking(move || kill(&supervisor)).await.unwrap();
    assert!(killed, "the supervisor was there");
    let error = run.await.unwrap().unwrap_err();
    assert_eq!(error.message, "program `sh` was killed with its supervisor");
    assert_gone(directory.path(), &["child", "grandchild"]).await;
    // What had left the group is nobody's now, as documented.
    kill(&written(&directory.path().join("daemon")).await);
}

#[expect(clippy::disallowed_methods, reason = "a test that kills from outside")]
fn kill(id: &str) -> bool {
    std::process::Command::new("kill").args(["-KILL", id]).status().unwrap().success()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test of the binary")]
fn who_starts_the_supervisor_by_hand_is_told_that_this_is_no_usage_and_nothing_runs() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("ran");
    for words in [vec![], vec!["0"], vec!["x", "touch"], vec!["0", "touch"], vec!["3", "touch"]] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_promo"));
        command.arg("__supervise").args(&words).arg(&mark).stdin(std::process::Stdio::null());
        assert_eq!(command.output().unwrap().status.code(), Some(64), "{words:?}");
        assert!(!mark.exists(), "{words:?}");
    }
}
