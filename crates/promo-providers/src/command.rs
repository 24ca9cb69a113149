//! The `command` check: a program that says by its exit code whether an environment is good. It runs in a fresh directory
//! that holds the check's files as they were planned, so that what runs is what was reviewed (S2.4).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path};
use std::time::Duration;

use async_trait::async_trait;
use promo_core::kinds::{KindSchema, Place, ValueKind};
use promo_sdk::{
    CheckRequest, CheckResult, Context, Description, EffectClass, ErrorKind, Inputs, Output, ProcessRequest, Provider,
    ProviderError,
};
use serde::Deserialize;

use crate::escape;
use crate::private::{self, Private};
use crate::settings::{self, files, key, required};

/// Lines of output that are kept.
const LINES: usize = 20;
/// Bytes of output that are kept, from the end.
const KEPT: usize = 4000;
/// Bytes of each stream that are read.
const OUTPUT: usize = 4 << 20;

/// Runs a program.
#[derive(Debug, Clone, Copy, Default)]
pub struct Command;

/// What the check `command` accepts.
#[must_use]
pub fn schema() -> KindSchema {
    KindSchema {
        place: Place::Check,
        kind: "command".to_owned(),
        about: "Passes when a program exits with 0".to_owned(),
        keys: vec![
            required("run", ValueKind::Texts, "Program and arguments; no shell reads them"),
            files("files", "Paths and globs of the script and of what it reads; nothing else is in its directory"),
            key("timeout", ValueKind::Duration, "After this it is killed and has failed; 10m"),
        ],
        target_keys: Vec::new(),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    run: Vec<String>,
    /// Found and read by whoever made the plan; the contents are in [`Inputs::files`].
    #[serde(default, rename = "files")]
    _files: Vec<String>,
    /// Seconds.
    #[serde(default = "ten_minutes")]
    timeout: u64,
}

const fn ten_minutes() -> u64 {
    600
}

#[async_trait]
impl Provider for Command {
    fn describe(&self) -> Description {
        Description {
            name: "command".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            // What a program does beside telling its verdict is unknown.
            effects: EffectClass::Opaque,
            kinds: vec![schema()],
        }
    }

    async fn ready(&self, cx: &Context, request: &CheckRequest) -> Result<(), ProviderError> {
        let (_, name, script) = read(&request.inputs)?;
        let programs = match script {
            None => vec![name],
            // A program of its own is there with its bytes; a script needs what its first line names.
            Some(script) => match request.inputs.files.get(&script) {
                Some(digest) => interpreters(&cx.blobs.get(digest)?),
                None => Vec::new(),
            },
        };
        programs
            .into_iter()
            .try_for_each(|program| cx.processes.find(&ProcessRequest::new(vec![program], cx.path("."))))
    }

    async fn verify(&self, cx: &Context, request: &CheckRequest) -> Result<CheckResult, ProviderError> {
        let (settings, name, script) = read(&request.inputs)?;
        let directory = materialise(cx, &request.inputs, &name).await?;
        let mut argv = settings.run;
        if let Some(script) = script {
            argv[0] = directory.path().join(script).display().to_string();
        }
        let mut process = ProcessRequest::new(argv, directory.path().to_owned());
        process.environment = environment(cx, &request.inputs);
        process.timeout = Duration::from_secs(settings.timeout);
        process.output_limit = OUTPUT;
        let shown = escape::line(&name);
        let answer = tokio::select! {
            biased;
            () = cx.cancelled.cancelled() => Err(ProviderError::new(ErrorKind::Cancelled, "the check was stopped")),
            answer = cx.processes.run(process) => answer,
        };
        match answer {
            Ok(output) => Ok(result(&shown, &output)),
            // The one transient error that a runner knows. A timeout is never a yes.
            Err(error) if error.kind == ErrorKind::Transient => Ok(CheckResult {
                passed: false,
                detail: format!("{shown} did not end within {} s and was killed", settings.timeout),
                evidence: BTreeMap::from([("timeout".to_owned(), settings.timeout.to_string())]),
            }),
            Err(mut error) if error.kind == ErrorKind::NotFound => {
                error.message = format!("check `{}`: {}", request.check, error.message);
                Err(error)
            }
            Err(error) => Err(error),
        }
    }
}

/// The settings of a check, its program, and the check's file that this means, where it means one.
fn read(inputs: &Inputs) -> Result<(Settings, String, Option<String>), ProviderError> {
    let settings: Settings = settings::read("command", inputs)?;
    let invalid = |message: String| ProviderError::new(ErrorKind::Invalid, message);
    let name = settings.run.first().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| invalid("`run` names no program".to_owned()))?.clone();
    if settings.timeout == 0 {
        return Err(invalid("`timeout` must be at least one second".to_owned()));
    }
    let script = own_script(inputs, &name);
    if script.is_none() && name.contains('/') && Path::new(&name).is_relative() {
        return Err(invalid(format!("`run` starts `{name}`, which is not among the check's `files`: add it there")));
    }
    Ok((settings, name, script))
}

/// The programs that the first line of a script names: its interpreter and, behind `env`, the one that is looked for.
fn interpreters(bytes: &[u8]) -> Vec<String> {
    let line = bytes.strip_prefix(b"#!").and_then(|rest| rest.split(|byte| *byte == b'\n').next()).unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_whitespace();
    let interpreter = words.next();
    let behind = interpreter.filter(|name| Path::new(name).file_name().is_some_and(|file| file == "env"));
    let sought = behind.and_then(|_| words.find(|word| !word.starts_with('-') && !word.contains('=')));
    interpreter.into_iter().chain(sought).map(ToOwned::to_owned).collect()
}

/// The check's file that `name` means, if it means one: a file of the check goes before a program on `PATH`, since it is
/// the one that was planned.
fn own_script(inputs: &Inputs, name: &str) -> Option<String> {
    let path = name.strip_prefix("./").unwrap_or(name);
    inputs.files.contains_key(path).then(|| path.to_owned())
}

/// Writes the check's files into a new private directory. What starts with `#!`, and the program itself, can be executed.
async fn materialise(cx: &Context, inputs: &Inputs, name: &str) -> Result<Private, ProviderError> {
    let (blobs, files, script) = (cx.blobs.clone(), inputs.files.clone(), own_script(inputs, name));
    let work = move || {
        let failed = |path: &Path, error: std::io::Error| {
            ProviderError::new(ErrorKind::Failed, format!("cannot write {}: {error}", path.display()))
        };
        let directory = private::directory("check");
        let directory = directory.map_err(|e| failed(Path::new("a temporary directory"), e))?;
        for (name, digest) in &files {
            let relative = Path::new(name);
            if name.is_empty() || !relative.components().all(|part| matches!(part, Component::Normal(_))) {
                let message = format!("`{name}` is not a plain relative path: a check's files lie beside the pipeline");
                return Err(ProviderError::new(ErrorKind::Invalid, message));
            }
            let path = directory.path().join(relative);
            let parent = path.parent().expect("it is below the directory");
            fs::create_dir_all(parent).map_err(|e| failed(parent, e))?;
            let bytes = blobs.get(digest)?;
            fs::write(&path, &bytes).map_err(|e| failed(&path, e))?;
            if bytes.starts_with(b"#!") || script.as_deref() == Some(name.as_str()) {
                executable(&path).map_err(|e| failed(&path, e))?;
            }
        }
        Ok(directory)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(ProviderError::new(ErrorKind::Cancelled, "the program is ending")),
    }
}

#[cfg(unix)]
fn executable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the other systems can fail here")]
fn executable(_path: &Path) -> std::io::Result<()> {
    Ok(())
}

/// What the program is told. A target's directory is made absolute, since the program runs somewhere else.
fn environment(cx: &Context, inputs: &Inputs) -> BTreeMap<String, String> {
    let mut out = BTreeMap::from([
        ("PROMO_ENVIRONMENT".to_owned(), inputs.environment.to_string()),
        ("PROMO_RELEASE".to_owned(), inputs.release.to_string()),
    ]);
    for (key, value) in &inputs.target.0 {
        let value = if key == "directory" { absolute(cx, value) } else { value.clone() };
        out.insert(format!("PROMO_TARGET_{}", variable(key)), value);
    }
    for (name, artifact) in &inputs.artifacts {
        let name = variable(name.as_str());
        out.insert(format!("PROMO_ARTIFACT_{name}_DIGEST"), artifact.digest.to_string());
        out.insert(format!("PROMO_ARTIFACT_{name}_REFERENCE"), format!("{}@{}", artifact.repository, artifact.digest));
    }
    out
}

fn absolute(cx: &Context, directory: &str) -> String {
    let path = cx.path(directory);
    std::path::absolute(&path).unwrap_or(path).display().to_string()
}

fn variable(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

fn result(name: &str, output: &Output) -> CheckResult {
    let mut lines = escape::tail(&String::from_utf8_lossy(&output.stdout), LINES);
    lines.extend(escape::tail(&String::from_utf8_lossy(&output.stderr), LINES));
    lines.drain(..lines.len().saturating_sub(LINES));
    while lines.iter().map(|line| line.len() + 1).sum::<usize>() > KEPT {
        lines.remove(0);
    }
    let end = match output.code {
        Some(code) => format!("{name} exited with {code}"),
        None => format!("{name} was ended by a signal"),
    };
    let detail = lines.last().map_or_else(|| end.clone(), |last| format!("{end}: {last}"));
    let mut evidence = BTreeMap::new();
    if let Some(code) = output.code {
        evidence.insert("exit".to_owned(), code.to_string());
    }
    if !lines.is_empty() {
        evidence.insert("output".to_owned(), lines.join("\n"));
    }
    CheckResult { passed: output.code == Some(0), detail, evidence }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use promo_core::Digest;
    use promo_sdk::ArtifactInput;
    use promo_sdk::testing::{MemoryBlobs, ScriptedProcesses, context};
    use serde_json::{Value, json};

    use super::*;

    fn output(code: i32, stdout: &str, stderr: &str) -> Result<Output, ProviderError> {
        Ok(Output { code: Some(code), stdout: stdout.into(), stderr: stderr.into() })
    }

    struct Run {
        result: Result<CheckResult, ProviderError>,
        requests: Vec<ProcessRequest>,
    }

    async fn run(
        settings: Value,
        files: &[(&str, &str)],
        answer: impl Fn(&ProcessRequest) -> Result<Output, ProviderError> + Send + Sync + 'static,
    ) -> Run {
        let blobs = MemoryBlobs::default();
        let artifact = ArtifactInput {
            repository: "registry.test/shop/api".into(),
            digest: Digest::of(b"image"),
            tag: None,
            source: None,
            tree: Vec::new(),
        };
        let inputs = Inputs {
            environment: "qa".parse().unwrap(),
            release: "r-0123456789ab".parse().unwrap(),
            target: promo_core::model::Target(
                [("directory".to_owned(), "env/qa".to_owned()), ("name-space".to_owned(), "shop".to_owned())].into(),
            ),
            settings,
            artifacts: [("my-api".parse().unwrap(), artifact)].into(),
            files: files.iter().map(|(path, text)| ((*path).to_owned(), blobs.put(*text))).collect(),
        };
        let processes = Arc::new(ScriptedProcesses::new(answer));
        let mut cx = context("/srv/pipeline");
        cx.blobs = Arc::new(blobs);
        cx.processes = processes.clone();
        let result = Command.verify(&cx, &CheckRequest { inputs, check: "smoke".into(), token: String::new() }).await;
        Run { result, requests: processes.requests() }
    }

    /// Answers as a machine would; `sleep` takes as long as it may.
    struct Machine;

    #[async_trait]
    impl promo_sdk::ProcessRunner for Machine {
        async fn run(&self, request: ProcessRequest) -> Result<Output, ProviderError> {
            match request.argv[0].as_str() {
                "true" => output(0, "fine\n", ""),
                "false" => output(1, "", "not fine\n"),
                "yes" => output(0, &"y\u{1b}[31m".repeat(OUTPUT / 8), &"y\n".repeat(OUTPUT / 2)),
                "sleep" => {
                    tokio::time::sleep(request.timeout).await;
                    Err(ProviderError::new(ErrorKind::Transient, "too long"))
                }
                other => Err(ProviderError::new(ErrorKind::NotFound, format!("program `{other}` was not found"))),
            }
        }
    }

    #[tokio::test]
    async fn it_keeps_the_contract_of_checks() {
        let inputs = |settings: Value| Inputs {
            environment: "qa".parse().unwrap(),
            release: "r-0123456789ab".parse().unwrap(),
            target: promo_core::model::Target([].into()),
            settings,
            artifacts: [].into(),
            files: [].into(),
        };
        let mut cx = context(".");
        cx.processes = Arc::new(Machine);
        let cases = promo_sdk::conformance::CheckCases {
            passing: inputs(json!({"run": ["true"]})),
            failing: inputs(json!({"run": ["false"]})),
            broken: &[
                ("its program is missing", inputs(json!({"run": ["nowhere"]}))),
                ("its program is no file of the check", inputs(json!({"run": ["./nowhere"]}))),
                ("it has no program", inputs(json!({"run": []}))),
            ],
            endless: inputs(json!({"run": ["sleep"], "timeout": 1})),
            loud: inputs(json!({"run": ["yes"]})),
        };
        assert_eq!(promo_sdk::conformance::checks(&Command, &cx, &cases).await, Ok(()));
    }

    /// A machine that has `/bin/sh` and `k6`, and starts nothing.
    struct Found;

    #[async_trait]
    impl promo_sdk::ProcessRunner for Found {
        async fn run(&self, _: ProcessRequest) -> Result<Output, ProviderError> {
            panic!("nothing is started")
        }

        fn find(&self, request: &ProcessRequest) -> Result<(), ProviderError> {
            let there = ["/bin/sh", "/usr/bin/env", "k6"].contains(&request.argv[0].as_str());
            there.then_some(()).ok_or_else(|| ProviderError::new(ErrorKind::NotFound, request.argv[0].clone()))
        }
    }

    #[tokio::test]
    async fn s9_1_whether_it_could_be_run_is_known_without_running_it() {
        let cases = [
            (json!(["k6", "run"]), "", Ok(())),
            (json!(["nowhere"]), "", Err("nowhere")),
            (json!(["./run.sh"]), "#!/bin/sh\nexit 0\n", Ok(())),
            (json!(["run.sh"]), "#! /bin/dash -e\n", Err("/bin/dash")),
            (json!(["run.sh"]), "#!/usr/bin/env -S A=1 k6 run\n", Ok(())),
            (json!(["run.sh"]), "#!/usr/bin/env python9\n", Err("python9")),
            (json!(["run.sh"]), "\x7fELF", Ok(())),
            (
                json!(["other/run.sh"]),
                "",
                Err("`run` starts `other/run.sh`, which is not among the check's `files`: add it there"),
            ),
            (json!([]), "", Err("`run` names no program")),
        ];
        for (argv, script, expected) in cases {
            let blobs = MemoryBlobs::default();
            let inputs = Inputs {
                environment: "qa".parse().unwrap(),
                release: "r-0123456789ab".parse().unwrap(),
                target: promo_core::model::Target([].into()),
                settings: json!({"run": argv}),
                artifacts: [].into(),
                files: [("run.sh".to_owned(), blobs.put(script))].into(),
            };
            let mut cx = context(".");
            (cx.blobs, cx.processes) = (Arc::new(blobs), Arc::new(Found));
            let ready = Command.ready(&cx, &CheckRequest { inputs, check: "smoke".into(), token: String::new() }).await;
            assert_eq!(ready.map_err(|error| error.message), expected.map_err(ToOwned::to_owned), "{argv} {script}");
        }
    }

    #[tokio::test]
    async fn exit_0_passes_and_anything_else_fails() {
        for (code, passed) in [(Some(0), true), (Some(1), false), (None, false)] {
            let run = run(json!({"run": ["true"]}), &[], move |_| {
                Ok(Output { code, stdout: b"3 tests\n".to_vec(), stderr: Vec::new() })
            });
            assert_eq!(run.await.result.unwrap().passed, passed, "{code:?}");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_runs_is_what_was_planned_in_a_directory_of_its_own_s2_4() {
        use std::os::unix::fs::PermissionsExt as _;
        let files = [("tests/run.sh", "#!/bin/sh\nexit 0\n"), ("tests/data.txt", "planned"), ("other.txt", "")];
        let run = run(json!({"run": ["tests/run.sh", "--quick"], "files": ["**"]}), &files, |request| {
            assert_eq!(request.argv[0], request.directory.join("tests/run.sh").display().to_string());
            assert_eq!(request.argv[1], "--quick");
            let mode = |name| fs::metadata(request.directory.join(name)).unwrap().permissions().mode() & 0o111;
            assert_ne!(mode("tests/run.sh"), 0);
            assert_eq!(mode("tests/data.txt"), 0);
            output(0, &fs::read_to_string(request.directory.join("tests/data.txt")).unwrap(), "")
        })
        .await;
        assert_eq!(run.result.unwrap().evidence["output"], "planned");
        assert!(!run.requests[0].directory.exists(), "the directory goes with the check");
    }

    #[tokio::test]
    async fn a_file_of_the_check_goes_before_a_program_on_path() {
        for (name, own) in [("run", true), ("./run", true), ("sh", false), ("/bin/run", false)] {
            let run = self::run(json!({"run": [name], "files": ["run"]}), &[("run", "x")], |_| output(0, "", "")).await;
            let request = &run.requests[0];
            assert_eq!(request.argv[0] == request.directory.join("run").display().to_string(), own, "{name}");
        }
    }

    #[tokio::test]
    async fn the_program_is_told_what_was_deployed_where() {
        let run = run(json!({"run": ["env"], "timeout": 90}), &[], |_| output(0, "", "")).await;
        let request = &run.requests[0];
        let digest = Digest::of(b"image");
        let expected = [
            ("PROMO_ARTIFACT_MY_API_DIGEST", digest.to_string()),
            ("PROMO_ARTIFACT_MY_API_REFERENCE", format!("registry.test/shop/api@{digest}")),
            ("PROMO_ENVIRONMENT", "qa".to_owned()),
            ("PROMO_RELEASE", "r-0123456789ab".to_owned()),
            ("PROMO_TARGET_DIRECTORY", "/srv/pipeline/env/qa".to_owned()),
            ("PROMO_TARGET_NAME_SPACE", "shop".to_owned()),
        ];
        assert_eq!(request.environment, expected.map(|(k, v)| (k.to_owned(), v)).into());
        assert_eq!(
            (request.argv.as_slice(), request.timeout),
            (["env".to_owned()].as_slice(), Duration::from_secs(90))
        );
    }

    #[tokio::test]
    async fn the_last_20_lines_are_kept_with_control_characters_spelt_out() {
        let text: String = (1..=30).map(|n| format!("line {n}\n")).collect();
        let run = run(json!({"run": ["x"]}), &[], move |_| output(1, &text, "\u{1b}[31mfailed\u{202e}\n")).await;
        let result = run.result.unwrap();
        assert_eq!(result.detail, "x exited with 1: \\u{1b}[31mfailed\\u{202e}");
        let kept: Vec<_> = result.evidence["output"].lines().collect();
        assert_eq!((kept.len(), kept[0], kept[19]), (20, "line 12", "\\u{1b}[31mfailed\\u{202e}"));
        assert_eq!(result.evidence["exit"], "1");
    }

    #[tokio::test]
    async fn a_timeout_is_a_failure_and_a_missing_program_an_error() {
        let timed_out = |_: &ProcessRequest| Err(ProviderError::new(ErrorKind::Transient, "too long"));
        let result = run(json!({"run": ["x"], "timeout": 5}), &[], timed_out).await.result.unwrap();
        assert_eq!((result.passed, result.detail.as_str()), (false, "x did not end within 5 s and was killed"));
        let missing = |_: &ProcessRequest| Err(ProviderError::new(ErrorKind::NotFound, "program `x` was not found"));
        let error = run(json!({"run": ["x"]}), &[], missing).await.result.unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::NotFound, "check `smoke`: program `x` was not found")
        );
        let stopped = |_: &ProcessRequest| Err(ProviderError::new(ErrorKind::Cancelled, "stopped"));
        assert_eq!(run(json!({"run": ["x"]}), &[], stopped).await.result.unwrap_err().kind, ErrorKind::Cancelled);
    }

    #[tokio::test]
    async fn nothing_is_started_for_settings_that_make_no_sense() {
        let blob = [("../escape.sh", "#!/bin/sh\n")];
        for (settings, files, expected) in [
            (json!({"run": []}), [].as_slice(), "names no program"),
            (json!({"run": [""]}), &[], "names no program"),
            (json!({"run": ["x"], "timeout": 0}), &[], "at least one second"),
            (json!({"run": ["./tests/run.sh"]}), &[], "not among the check's `files`"),
            (json!({"run": ["x"]}), &blob, "not a plain relative path"),
            (json!({"run": ["x"], "junit": "out.xml"}), &[], "unknown field `junit`"),
        ] {
            let run = run(settings, files, |_| output(0, "", "")).await;
            let error = run.result.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Invalid);
            assert!(error.message.contains(expected), "{error}");
            assert!(run.requests.is_empty());
        }
    }
}
