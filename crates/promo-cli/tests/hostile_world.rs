//! What files, streams and machines may be like, given to the built binary: one clear error with a documented exit code and a
//! next command, nothing lost, nothing half written, no panic.

#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of the binary, which fails by panicking")]

use std::collections::BTreeMap;
use std::hash::{Hash as _, Hasher as _};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A quickstart that is through, and a plan that waits for its approval.
struct World {
    _keep: TempDir,
    root: PathBuf,
}

const RILEY: &str = "--key keys/riley --signer built-in";

impl World {
    fn new() -> Self {
        let keep = tempfile::tempdir().unwrap();
        let root = keep.path().join("qs");
        let made = Command::new(env!("CARGO_BIN_EXE_promo")).arg("quickstart").arg(&root).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let world = Self { _keep: keep, root };
        std::fs::write(world.at("config/common.env"), "NEEDS_WORKERS=3\n").unwrap();
        let steps = [
            "release add shop=1.0.0 --alias 1.2.0",
            "advance",
            "plan production --out p.json",
            "request p.json --key keys/dana --signer built-in",
        ];
        for words in steps {
            assert_eq!(world.run(words).0, Some(0), "{words}");
        }
        world
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The command with these words, in an environment of which everything is known.
    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_promo"));
        command.args(words.split_whitespace()).current_dir(&self.root).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", "/nonexistent");
        command.env("PROMO_POLICY", "policy.toml").stdin(Stdio::null());
        command.env("PROMO_ACTOR", "dana").env("PROMO_ACTOR_KIND", "human");
        command
    }

    fn run(&self, words: &str) -> (Option<i32>, String) {
        said(&output(self.command(words)))
    }

    /// Every file below the world and beside it, with a hash of what is in it.
    fn state(&self) -> BTreeMap<PathBuf, u64> {
        let (mut out, mut todo) = (BTreeMap::new(), vec![self.root.clone()]);
        while let Some(directory) = todo.pop() {
            for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
                let (kind, path) = (entry.file_type().unwrap(), entry.path());
                let bytes = if kind.is_file() { std::fs::read(&path).unwrap_or_default() } else { Vec::new() };
                let mut hasher = std::hash::DefaultHasher::new();
                bytes.hash(&mut hasher);
                let name = path.strip_prefix(&self.root).unwrap().to_owned();
                // SQLite's own two files come and go with its readers.
                if ![".db-wal", ".db-shm"].iter().any(|end| name.to_string_lossy().ends_with(end)) {
                    out.insert(name, hasher.finish());
                }
                if kind.is_dir() {
                    todo.push(path);
                }
            }
        }
        out
    }
}

/// Waits for a process, and ends one that would wait for ever.
fn output(mut command: Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(100) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ended = child.kill();
    child.wait_with_output().unwrap()
}

/// Exit code, and everything that was printed.
fn said(output: &Output) -> (Option<i32>, String) {
    let text = String::from_utf8([output.stdout.as_slice(), &output.stderr].concat()).expect("UTF-8");
    (output.status.code(), text)
}

/// What every refusal has: its exit code, one code in brackets, and a next command as the last line.
fn assert_refused(words: &str, expected: i32, (code, text): &(Option<i32>, String)) {
    assert_eq!(*code, Some(expected), "{words}: {text}");
    assert!(text.contains("error["), "{words}: {text}");
    assert!(!text.contains("panicked"), "{words}: {text}");
    let last = text.trim_end().lines().last().unwrap_or_default();
    assert!(last.starts_with("Next: promo ") || last.starts_with("{") || last == "}", "{words}: {text}");
}

/// Puts something else in the place of a file.
fn spoil(path: &Path, how: &str) {
    if path.is_dir() {
        std::fs::remove_dir_all(path).unwrap();
    } else if std::fs::symlink_metadata(path).is_ok() {
        std::fs::remove_file(path).unwrap();
    }
    match how {
        "missing" => {}
        "a directory" => std::fs::create_dir(path).unwrap(),
        "a pipe" => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
        "a device" => symlink("/dev/zero", path).unwrap(),
        "a link to nowhere" => symlink("nowhere", path).unwrap(),
        "a link to itself" => symlink(path, path).unwrap(),
        "closed" => {
            std::fs::write(path, "x").unwrap();
            let nothing = std::os::unix::fs::PermissionsExt::from_mode(0o000);
            std::fs::set_permissions(path, nothing).unwrap();
        }
        "empty" => std::fs::write(path, "").unwrap(),
        "binary" => std::fs::write(path, (0..=255).cycle().take(9000).collect::<Vec<u8>>()).unwrap(),
        "no UTF-8" => std::fs::write(path, b"format = 1 # \xff\n").unwrap(),
        // Sparse: nothing of it is on the disk.
        "100 MiB" => std::fs::File::create(path).unwrap().set_len(100 << 20).unwrap(),
        other => panic!("{other}"),
    }
}

const NO_FILE: [&str; 7] =
    ["missing", "a directory", "a pipe", "a device", "a link to nowhere", "a link to itself", "closed"];
const NO_CONTENT: [&str; 4] = ["empty", "binary", "no UTF-8", "100 MiB"];

#[test]
fn whatever_stands_in_the_place_of_a_file_is_refused_with_one_error_and_nothing_is_changed() {
    let world = World::new();
    let key = "approve p.json --signer built-in --key k";
    // The file, the words, and how they end when it is no file, and when it says nothing.
    let slots = [
        ("promo.toml", "check", 65, 65),
        ("policy.toml", "status", 65, 65),
        ("../trust.toml", "--trust ../trust.toml check", 65, 65),
        ("x.json", "show x.json", 65, 65),
        ("x.json", "apply x.json", 65, 65),
        ("a.json", "apply p.json --approval a.json", 65, 65),
        ("k", key, 65, 65),
        ("k", "request p.json --key k", 65, 65),
        ("k", "-C config init --image r.example/a --key ../k", 65, 65),
        ("f.toml", "fmt f.toml", 65, 65),
        ("l.db", "--ledger l.db ledger verify", 74, 74),
        ("config/dev.env", "plan dev", 65, 65),
    ];
    for (path, words, no_file, no_content) in slots {
        let place = world.at(path);
        let before = std::fs::read(&place).ok();
        let (file, content) =
            (NO_FILE.iter().map(|how| (how, no_file)), NO_CONTENT.iter().map(|how| (how, no_content)));
        for (how, expected) in file.chain(content) {
            let fits = match (path, *how) {
                // What is not there yet is an empty ledger (S0.6), and so is a file without a byte.
                ("l.db", "missing" | "empty") => false,
                // A template's input may be anything that a file can hold.
                ("config/dev.env", "empty" | "binary" | "no UTF-8") => false,
                // Nothing is well-formed TOML.
                ("f.toml", "empty") => false,
                _ => true,
            };
            spoil(&place, how);
            // The superuser may read everything.
            let open = *how == "closed" && std::fs::File::open(&place).is_ok();
            if fits && !open {
                let what = format!("{words} ({path}: {how})");
                let state = world.state();
                assert_refused(&what, expected, &world.run(words));
                assert_eq!(world.state(), state, "{what}");
            }
        }
        spoil(&place, "missing");
        if let Some(before) = before {
            std::fs::write(&place, before).unwrap();
        }
    }
}

#[test]
fn a_file_that_promo_writes_is_whole_or_as_it_was() {
    let world = World::new();
    let approve = format!("approve p.json {RILEY} --out");
    for how in ["a directory", "a pipe", "a device", "a link to nowhere", "a link to itself"] {
        spoil(&world.at("out"), how);
        let state = world.state();
        for words in ["plan production --out out", &format!("{approve} out")] {
            assert_refused(&format!("{words} ({how})"), 65, &world.run(words));
            assert_eq!(world.state(), state, "{words} ({how})");
        }
    }
    for words in ["plan production --out no/such/x.json", "plan production --out promo.toml/x", "--events no/e status"]
    {
        assert_refused(words, 65, &world.run(words));
    }
    // A disk that takes one block more, as SIGXFSZ tells of it unless it is ignored: an error, or the end of the process.
    let text = std::fs::read_to_string(world.at("promo.toml")).unwrap().replace("format = 1", "format  =   1");
    assert!(text.len() > 1024, "more than a block");
    std::fs::write(world.at("promo.toml"), &text).unwrap();
    let state = world.state();
    for (trap, code) in [("trap '' 25;", Some(65)), ("", None)] {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{trap} ulimit -f 1; exec \"$0\" fmt"), env!("CARGO_BIN_EXE_promo")]);
        let (found, text) = said(&output_in(shell, &world));
        assert_eq!(found, code, "{text}");
        let mut left = world.state();
        // Whoever is killed cannot tidy up; the file itself is as it was.
        left.retain(|path, _| code.is_some() || !path.to_string_lossy().starts_with(".tmp"));
        assert_eq!(left, state, "{text}");
    }
}

#[test]
fn what_is_written_never_takes_the_place_of_another_kind_of_file() {
    let world = World::new();
    assert_eq!(world.run(&format!("approve p.json {RILEY} --out a.json")).0, Some(0));
    assert_eq!(world.run("status --events e").0, Some(0));
    for (path, text) in [("text", "mine\n"), ("other.json", "{\"kind\":\"other\"}\n"), ("empty", "")] {
        std::fs::write(world.at(path), text).unwrap();
    }
    let approve = format!("approve p.json {RILEY} --out");
    let writers = [
        (approve.as_str(), "a.json"),
        ("show p.json --events", "e"),
        ("plan production --out", "p.json"),
        ("rollback production --out", "p.json"),
    ];
    let places =
        [".promo/ledger.db", "promo.toml", "policy.toml", "keys/riley", "p.json", "a.json", "e", "text", "other.json"];
    for (words, own) in writers {
        for place in places.iter().filter(|place| **place != own) {
            let (words, state) = (format!("{words} {place}"), world.state());
            let answer = world.run(&words);
            assert_refused(&words, 65, &answer);
            assert!(answer.1.contains("error[exists-already]"), "{words}: {}", answer.1);
            assert_eq!(world.state(), state, "{words}");
        }
        for place in [own, "empty", "new"] {
            let (code, text) = world.run(&format!("{words} {place}"));
            assert!(code == Some(0) || words.starts_with("rollback"), "{words} {place}: {text}");
            assert!(!text.contains("exists-already"), "{words} {place}: {text}");
        }
        std::fs::write(world.at("empty"), "").unwrap();
        let _none = std::fs::remove_file(world.at("new"));
    }
    for how in ["a directory", "a pipe", "a device", "a link to nowhere"] {
        spoil(&world.at("e"), how);
        assert_refused(how, 65, &world.run("status --events e"));
    }
}

#[test]
fn a_project_is_begun_whole_or_not_at_all() {
    let world = World::new();
    let init = "init --image r.example/a --name new --environments dev,qa,perf,staging,production";
    for how in ["a directory", "a pipe", "a device", "a link to nowhere", "no UTF-8"] {
        spoil(&world.at("new"), "missing");
        std::fs::create_dir(world.at("new")).unwrap();
        spoil(&world.at("new/.gitignore"), how);
        let state = world.state();
        assert_refused(how, 65, &world.run(&format!("-C new {init}")));
        assert_eq!(world.state(), state, "{how}");
    }
    // Killed by a disk that is full after one block.
    spoil(&world.at("new"), "missing");
    std::fs::create_dir(world.at("new")).unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit -f 1; exec \"$0\" -C new {init}"), env!("CARGO_BIN_EXE_promo")]);
    let (code, text) = said(&output_in(shell, &world));
    assert_eq!(code, None, "{text}");
    assert!(!world.at("new/promo.toml").exists(), "a half of it");
}

#[test]
fn a_trust_file_that_cannot_be_read_is_never_passed_over_s0_1() {
    let world = World::new();
    let place = world.at("home/.config/promo/trust.toml");
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::create_dir(world.at("there")).unwrap();
    for file in ["promo.toml", "policy.toml", "config"] {
        std::fs::rename(world.at(file), world.at("there").join(file)).unwrap();
    }
    let status = || {
        let mut command = world.command("-C there status");
        command.env("HOME", world.at("home"));
        said(&output(command))
    };
    assert_eq!(status().0, Some(0), "none is local mode: {}", status().1);
    for how in ["a directory", "a pipe", "a device", "a link to nowhere", "a link to itself"] {
        spoil(&place, how);
        let answer = status();
        assert_refused(how, 65, &answer);
        assert!(answer.1.contains("error[file-unreadable]") && answer.1.contains("trust.toml"), "{how}: {}", answer.1);
    }
}

#[test]
fn a_reason_says_something_and_nobody_waits_for_less_than_no_time() {
    let world = World::new();
    let empty = [
        "freeze",
        "unfreeze",
        "release reject 1.2.0",
        "release recall sha256:3f9c2b1ac0de3f9c2b1ac0de3f9c2b1ac0de3f9c2b1ac0de3f9c2b1ac0de3f9c",
        "release lift 1.2.0",
        "verdict withdraw qa uat --key keys/riley",
        "ledger accept-clock",
    ];
    let state = world.state();
    for words in empty {
        for reason in ["", " "] {
            let mut command = world.command(words);
            command.arg(format!("--reason={reason}"));
            assert_refused(words, 64, &said(&output(command)));
        }
    }
    assert_refused("--wait", 64, &world.run("apply p.json --wait=-5m"));
    assert_eq!(world.state(), state);
}

fn output_in(mut command: Command, world: &World) -> Output {
    command.current_dir(&world.root).env("PROMO_POLICY", "policy.toml").stdin(Stdio::null());
    output(command)
}

#[test]
fn an_answer_that_nobody_reads_is_no_error_and_one_that_is_lost_is() {
    let world = World::new();
    for words in ["status", "plan", "graph", "history", "runs", "release list", "show p.json", "schema plan", "--help"]
    {
        for format in ["text", "json"] {
            let words = if words == "--help" { words.to_owned() } else { format!("{words} --format {format}") };
            let mut gone = world.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            drop(gone.stdout.take());
            let (code, text) = said(&gone.wait_with_output().unwrap());
            assert_eq!(code, Some(0), "{words} | head: {text}");
            assert!(!text.contains("panicked"), "{words}: {text}");
            let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
            let (code, text) = said(&world.command(&words).stdout(full).output().unwrap());
            assert_eq!(code, Some(65), "{words} > /dev/full: {text}");
            if words != "--help" {
                assert!(text.contains("standard output cannot be written"), "{words}: {text}");
                assert!(text.trim_end().lines().last().unwrap().starts_with("Next: promo "), "{words}: {text}");
            }
        }
    }
    for (redirection, code) in
        [("status >&-", 0), ("status 2>&-", 0), ("status <&-", 0), ("apply <&-", 64), ("nonsense 2>&-", 64)]
    {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exec \"$0\" {redirection}"), env!("CARGO_BIN_EXE_promo")]);
        let (found, text) = said(&output_in(shell, &world));
        assert_eq!(found, Some(code), "{redirection}: {text}");
        assert!(!text.contains("panicked"), "{redirection}: {text}");
    }
}

#[test]
fn the_same_is_said_whatever_the_machine_is_set_to_and_what_is_missing_is_named() {
    let world = World::new();
    let (code, usual) = world.run("graph");
    assert_eq!(code, Some(0), "{usual}");
    for (name, value) in [
        ("LC_ALL", "xx_YY.none"),
        ("TERM", "dumb"),
        ("NO_COLOR", "1"),
        ("HOME", ""),
        ("COLUMNS", "0"),
        ("PATH", ""),
        // As on a machine without any certificates: whoever speaks to no server needs none.
        ("SSL_CERT_FILE", "/dev/null"),
    ] {
        let mut command = world.command("graph");
        command.env(name, value);
        assert_eq!(said(&output(command)), (Some(0), usual.clone()), "{name}={value}");
    }
    let mut bare = world.command("graph");
    bare.env_remove("HOME").env_remove("PATH");
    assert_eq!(said(&output(bare)), (Some(0), usual));
    let mut alone = world.command("approve p.json --key keys/riley");
    alone.env("PATH", "");
    let answer = said(&output(alone));
    assert_refused("approve without ssh-keygen", 1, &answer);
    assert!(answer.1.contains("`ssh-keygen` was not found") && answer.1.contains("--signer built-in"), "{}", answer.1);
}

#[test]
fn of_several_at_once_in_one_directory_none_harms_the_other() {
    let world = World::new();
    let at_once = |words: &str, directory: &Path| -> Vec<(Option<i32>, String)> {
        let start = |_| {
            let mut command = world.command(words);
            command.current_dir(directory).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let children: Vec<_> = (0..4).map(start).collect();
        children.into_iter().map(|child| said(&child.wait_with_output().unwrap())).collect()
    };
    std::fs::write(world.at("promo.toml"), std::fs::read_to_string(world.at("promo.toml")).unwrap() + "\n\n").unwrap();
    for words in ["fmt", "plan production --out same.json", "release add shop=1.0.0 --alias 1.3.0"] {
        if words.starts_with("release") {
            // With other files it is another release.
            std::fs::write(world.at("config/common.env"), "NEEDS_WORKERS=4\n").unwrap();
        }
        for (code, text) in at_once(words, &world.root) {
            assert_eq!(code, Some(0), "{words}: {text}");
        }
    }
    for words in ["fmt --check", "show same.json", "ledger verify"] {
        let (code, text) = world.run(words);
        assert_eq!(code, Some(0), "{words}: {text}");
    }
    std::fs::create_dir(world.at("new")).unwrap();
    for words in ["init --image r.example/a --name new", "quickstart tour"] {
        let answers = at_once(words, &world.at("new"));
        let done = answers.iter().filter(|(code, _)| *code == Some(0)).count();
        assert_eq!(done, 1, "{words}: {answers:?}");
        for answer in answers.iter().filter(|(code, _)| *code != Some(0)) {
            assert_refused(words, 65, answer);
        }
    }
    let (code, text) = said(&output_in(
        {
            let mut check = Command::new(env!("CARGO_BIN_EXE_promo"));
            check.args(["-C", "new", "check"]);
            check
        },
        &world,
    ));
    assert_eq!(code, Some(0), "{text}");
}
