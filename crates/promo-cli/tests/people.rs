//! Who counts as a person, through the binary (S5.1, S9.1).

#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test of the binary, which fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

fn promo(root: &Path, environment: &[(&str, &str)], words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_promo"));
    command.args(["--policy", "policy.toml"]).args(words).current_dir(root).stdin(Stdio::null());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", root.join("home"));
    command.envs(environment.iter().copied()).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8([output.stdout.as_slice(), &output.stderr].concat()).unwrap()
}

fn ends(code: i32, output: &Output) -> String {
    let told = told(output);
    assert_eq!(output.status.code(), Some(code), "{told}");
    told
}

/// A quickstart that is through.
fn world() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("qs");
    let made = Command::new(env!("CARGO_BIN_EXE_promo")).arg("quickstart").arg(&root).output().unwrap();
    ends(0, &made);
    (directory, root)
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(file, text.replace(from, to)).unwrap();
}

const HUMAN: (&str, &str) = ("PROMO_ACTOR_KIND", "human");
const AUTOMATION: (&str, &str) = ("PROMO_ACTOR_KIND", "automation");

#[test]
fn who_acts_is_said_by_flag_variable_or_terminal_and_never_by_a_name_s5_1() {
    let (_directory, root) = world();
    let invoker = |environment: &[(&str, &str)], words: &[&str]| {
        let plan = promo(&root, environment, &[words, &["plan", "dev", "--format", "json"]].concat());
        let plan: Value = serde_json::from_slice(&plan.stdout).unwrap_or_else(|_| panic!("{}", told(&plan)));
        plan["request"]["invoker"].as_str().unwrap().to_owned()
    };
    assert_eq!(invoker(&[], &["--as", "dana"]), "automation", "no terminal, and a name is none");
    assert_eq!(invoker(&[("PROMO_ACTOR", "dana")], &[]), "automation");
    assert_eq!(invoker(&[HUMAN], &[]), "human");
    assert_eq!(invoker(&[HUMAN, ("CI", "true")], &[]), "human", "what is said goes before what is guessed");
    assert_eq!(invoker(&[HUMAN], &["--actor-kind", "automation"]), "automation", "a flag goes before a variable");
    assert_eq!(invoker(&[AUTOMATION], &["--actor-kind", "human", "--as", "ci"]), "human");
    let usage = ends(64, &promo(&root, &[("PROMO_ACTOR_KIND", "robot")], &["plan"]));
    assert!(usage.contains("human") && usage.contains("automation"), "{usage}");
}

#[test]
fn a_plan_that_says_human_starts_nothing_for_automation_that_only_people_start_s9_1() {
    let (_directory, root) = world();
    let auto = "start  = \"auto\"\ntarget = { directory = \"environments/qa\" }";
    edit(&root.join("promo.toml"), auto, &auto.replace("auto", "manual"));
    ends(0, &promo(&root, &[], &["release", "add", "shop=1.0.0", "--alias", "next"]));
    ends(0, &promo(&root, &[], &["advance"]));
    ends(0, &promo(&root, &[HUMAN], &["plan", "--out", "human.plan.json"]));
    // What automation plans leaves qa out; writing that a person asked puts it in, and only a person's apply believes it.
    ends(0, &promo(&root, &[], &["plan", "--out", "job.plan.json"]));
    let moves = |file: &str| {
        let plan: Value = serde_json::from_slice(&std::fs::read(root.join(file)).unwrap()).unwrap();
        let moves = plan["body"]["moves"].as_array().unwrap().clone();
        moves.iter().map(|m| m["environment"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(moves("human.plan.json").contains(&"qa".into()) && !moves("job.plan.json").contains(&"qa".into()));
    for job in [&[][..], &[("CI", "true"), ("PROMO_ACTOR", "dana")], &[AUTOMATION]] {
        let said = ends(20, &promo(&root, job, &["apply", "human.plan.json"]));
        assert!(said.contains("error[waiting]") && said.contains("qa starts only when a person asks"), "{said}");
        assert!(said.contains("nothing proves") && said.contains("promo request FILE --key KEY"), "{said}");
    }
    let said = ends(0, &promo(&root, &[HUMAN], &["apply", "human.plan.json"]));
    assert!(said.contains("qa"), "{said}");
}

#[test]
fn automation_lifts_nothing_and_a_person_signs_s10_4() {
    let (_directory, root) = world();
    // The quickstart ends with a rollback of production, which is paused; a freeze by hand over it changes nothing about that.
    ends(0, &promo(&root, &[], &["freeze", "production", "--reason", "a test"]));
    let lift = ["unfreeze", "production", "--reason", "a test"];
    let signed = |who: &str| {
        let key = format!("keys/{who}");
        let words: Vec<String> =
            lift.iter().copied().chain(["--key", &key, "--signer", "built-in"]).map(Into::into).collect();
        words
    };
    let run = |environment: &[(&str, &str)], words: &[String]| {
        promo(&root, environment, &words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let said = ends(21, &run(&[("PROMO_ACTOR", "riley")], &signed("riley")));
    assert!(said.contains("error[lift-refused]") && said.contains("only a person lifts"), "{said}");
    let said = ends(21, &promo(&root, &[HUMAN, ("PROMO_ACTOR", "riley")], &lift));
    assert!(said.contains("a name is only a claim"), "{said}");
    assert!(said.ends_with("unfreeze production --reason 'a test' --key KEY\n"), "{said}");
    let said = ends(21, &run(&[HUMAN], &signed("dana")));
    assert!(said.contains("dana holds none of the roles that approve for production"), "{said}");
    let why = ends(0, &promo(&root, &[], &["why", "production", "1.1.0"]));
    assert!(why.contains("frozen by"), "{why}");
    // Two things stop it, and each is lifted by itself.
    for paused in [true, false] {
        ends(0, &run(&[HUMAN], &signed("riley")));
        let why = ends(0, &promo(&root, &[], &["why", "production", "1.1.0"]));
        assert!(!why.contains("frozen by") && why.contains("paused") == paused, "{why}");
    }
    ends(0, &promo(&root, &[], &["ledger", "verify"]));
}

/// Of `ledger accept-clock`, which needs a clock that went back, verbs/rules.rs says the same.
#[test]
fn neither_lift_nor_unfreeze_is_taken_from_automation_s10_4() {
    let (_directory, root) = world();
    let signed = ["--key", "keys/riley", "--signer", "built-in"];
    let head = || ends(0, &promo(&root, &[], &["ledger", "verify"]));
    let before = head();
    for lift in [
        &["release", "lift", "1.1.0", "--environment", "production", "--reason", "a test"][..],
        &["unfreeze", "production", "--reason", "a test"],
    ] {
        let words = [lift, &signed].concat();
        for job in [&[][..], &[AUTOMATION], &[("CI", "true"), ("PROMO_ACTOR", "riley")]] {
            let said = ends(21, &promo(&root, job, &words));
            assert!(said.contains("error[lift-refused]") && said.contains("only a person"), "{lift:?}: {said}");
        }
    }
    assert_eq!(head(), before, "nothing was recorded");
    let lift = ["release", "lift", "1.1.0", "--environment", "production", "--reason", "a test"];
    ends(0, &promo(&root, &[HUMAN], &[&lift[..], &signed].concat()));
}

mod needs_script {
    use std::io::{Read as _, Write as _};

    use super::*;

    /// The same command line on a terminal of its own.
    fn on_a_terminal(root: &Path, environment: &[(&str, &str)], words: &[&str]) -> Output {
        let script = std::env::var("PROMO_COMPONENT_SCRIPT").unwrap();
        let line = format!("{} --policy policy.toml {}", env!("CARGO_BIN_EXE_promo"), words.join(" "));
        let mut command = Command::new(script);
        command.args(["-qec", &line, "/dev/null"]).current_dir(root).stdin(Stdio::null());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", root.join("home"));
        command.envs(environment.iter().copied()).output().unwrap()
    }

    fn in_a_pipe(root: &Path, environment: &[(&str, &str)], words: &[&str]) -> Output {
        let (reader, _writer) = std::io::pipe().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_promo"));
        command.args(["--policy", "policy.toml"]).args(words).current_dir(root).stdin(reader);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", root.join("home"));
        command.envs(environment.iter().copied()).output().unwrap()
    }

    /// A dialog at a terminal: what is waited for, and what is typed then. The exit code, and what was said.
    fn dialog(root: &Path, words: &[&str], turns: &[(&str, &str)]) -> (Option<i32>, String) {
        let script = std::env::var("PROMO_COMPONENT_SCRIPT").unwrap();
        let line = format!("stty cols 200 rows 50; {} {}", env!("CARGO_BIN_EXE_promo"), words.join(" "));
        let mut command = Command::new(script);
        command.args(["-qec", &line, "/dev/null"]).current_dir(root).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", root.join("home"));
        let mut terminal = command.env("TERM", "xterm").env("PROMO_POLICY", "policy.toml").spawn().unwrap();
        let (mut input, mut output) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
        let (mut said, mut byte, mut seen, mut turns) = (String::new(), [0], 0, turns.iter());
        let mut turn = turns.next();
        while matches!(output.read(&mut byte), Ok(1)) {
            said.push(char::from(byte[0]));
            if let Some((wanted, answer)) = turn
                && said[seen..].contains(wanted)
            {
                seen = said.len();
                input.write_all(answer.as_bytes()).unwrap();
                turn = turns.next();
            }
        }
        assert_eq!(turn, None, "{said}");
        (terminal.wait().unwrap().code(), said)
    }

    #[test]
    fn an_answer_that_cannot_be_used_is_asked_for_again_and_ctrl_c_is_no_missing_terminal() {
        let directory = tempfile::tempdir().unwrap();
        let (code, said) = dialog(directory.path(), &["init"], &[("pipeline?", "\u{3}")]);
        assert_eq!(code, Some(75), "{said}");
        assert!(said.contains("error[stopped]") && said.contains("nothing was written"), "{said}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        let gone = "\u{7f}".repeat(20);
        let turns = [
            ("pipeline?", "My Shop!\r"),
            ("lower-case", &*format!("{gone}shop\r")),
            ("image?", "r.example/a\r"),
            ("in order?", "dev,dev\r"),
            ("`dev` is named twice", &*format!("{gone}staging,production\r")),
        ];
        let (code, said) = dialog(directory.path(), &["init"], &turns);
        assert_eq!(code, Some(0), "{said}");
        let pipeline = std::fs::read_to_string(directory.path().join("promo.toml")).unwrap();
        assert!(pipeline.contains("name = \"shop\"") && pipeline.contains("[environments.staging]"), "{pipeline}");
    }

    /// What stands on a terminal of 200 columns once all of this was written to it.
    fn screen(written: &str) -> Vec<String> {
        const COLUMNS: usize = 200;
        let (mut rows, mut row, mut column): (Vec<Vec<char>>, usize, usize) = (vec![Vec::new()], 0, 0);
        let mut characters = written.chars().peekable();
        while let Some(one) = characters.next() {
            match one {
                '\r' => column = 0,
                '\n' => (row, column) = (row + 1, 0),
                '\u{1b}' => {
                    let mut code = String::new();
                    for next in characters.by_ref() {
                        code.push(next);
                        if next.is_ascii_alphabetic() {
                            break;
                        }
                    }
                    let count = code.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(1);
                    match code.chars().last() {
                        Some('A') => row = row.saturating_sub(count),
                        Some('B') => row += count,
                        Some('K') => rows[row].clear(),
                        _ => {}
                    }
                }
                one => {
                    if column == COLUMNS {
                        (row, column) = (row + 1, 0);
                    }
                    rows.resize(rows.len().max(row + 1), Vec::new());
                    let line = &mut rows[row];
                    line.resize(line.len().max(column + 1), ' ');
                    line[column] = one;
                    column += 1;
                }
            }
            rows.resize(rows.len().max(row + 1), Vec::new());
        }
        rows.into_iter().map(|line| line.into_iter().collect::<String>().trim_end().to_owned()).collect()
    }

    #[test]
    fn what_has_happened_stays_on_a_terminal() {
        let (_directory, root) = world();
        std::fs::write(root.join("config/common.env"), "NEEDS_WORKERS=3\n").unwrap();
        ends(0, &promo(&root, &[], &["release", "add", "shop=1.0.0", "--alias", "seen"]));
        let (code, said) = dialog(&root, &["advance"], &[]);
        assert_eq!(code, Some(0), "{said}");
        let lines = screen(&said);
        for name in ["dev", "perf", "qa", "staging"] {
            for what in [" enters", "deploy/default: ", "smoke: ", "is verified"] {
                let stays = lines.iter().filter(|line| line.starts_with(&format!("{name} ")) && line.contains(what));
                assert_eq!(stays.count(), 1, "{name}: {what}: {lines:#?}");
            }
        }
        assert!(!lines.iter().any(|line| line.ends_with('…')), "{lines:#?}");
    }

    #[test]
    fn whoever_does_not_agree_is_told_that_nothing_was_applied_and_a_script_does_not_go_on() {
        let (_directory, root) = world();
        std::fs::write(root.join("config/common.env"), "NEEDS_WORKERS=3\n").unwrap();
        ends(0, &promo(&root, &[], &["release", "add", "shop=1.0.0", "--alias", "asked"]));
        for answer in ["n\r", "\u{3}", "\u{1b}"] {
            let (code, said) = dialog(&root, &["apply"], &[("Apply this plan?", answer)]);
            assert_eq!(code, Some(75), "{answer:?}: {said}");
            assert!(said.contains("nothing was applied"), "{answer:?}: {said}");
            // What there is to do is asked, and no command is suggested before it.
            let asked = said.find("Apply this plan?").unwrap();
            assert!(!said[..asked].contains("Next:"), "{said}");
        }
    }

    #[test]
    fn whoever_sits_at_a_terminal_is_a_person_and_a_pipe_is_none_unless_it_is_said_s5_1() {
        let (_directory, root) = world();
        let invoker = |output: Output| {
            let said = ends(0, &output);
            let (from, to) = (said.find('{').unwrap(), said.rfind('}').unwrap());
            let plan: Value = serde_json::from_str(&said[from..=to].replace('\r', "")).unwrap();
            plan["request"]["invoker"].as_str().unwrap().to_owned()
        };
        let plan = ["plan", "dev", "--format", "json"];
        for (environment, terminal, pipe) in [
            (&[][..], "human", "automation"),
            (&[("CI", "true")], "automation", "automation"),
            (&[AUTOMATION], "automation", "automation"),
            (&[HUMAN], "human", "human"),
            (&[HUMAN, ("CI", "true")], "human", "human"),
        ] {
            assert_eq!(invoker(on_a_terminal(&root, environment, &plan)), terminal, "{environment:?}");
            assert_eq!(invoker(in_a_pipe(&root, environment, &plan)), pipe, "{environment:?}");
        }
    }

    #[test]
    fn what_only_a_person_lifts_is_lifted_at_a_terminal_and_not_through_a_pipe_s10_4() {
        let (_directory, root) = world();
        let lift = ["unfreeze", "production", "--reason", "over", "--key", "keys/riley", "--signer", "built-in"];
        let said = ends(21, &in_a_pipe(&root, &[], &lift));
        assert!(said.contains("only a person lifts"), "{said}");
        let said = ends(21, &on_a_terminal(&root, &[AUTOMATION], &lift));
        assert!(said.contains("only a person lifts"), "{said}");
        ends(0, &on_a_terminal(&root, &[], &lift));
    }

    /// cli.md: a progress line for each environment on a terminal, plain lines in CI, and nothing but JSON with `--format json`.
    #[test]
    fn progress_moves_on_a_terminal_is_plain_in_ci_and_is_none_beside_json() {
        let (_directory, root) = world();
        let release = |alias: &str| {
            let file = root.join("config/common.env");
            std::fs::write(file, format!("NEEDS_WORKERS=3\n# {alias}\n")).unwrap();
            ends(0, &promo(&root, &[], &["release", "add", "shop=1.0.0", "--alias", alias]));
        };
        // Lines are drawn over: the cursor goes up or back, and a spinner turns in front of the environment.
        let moves = |said: &str| said.contains("\u{1b}[1A") || said.contains("\u{1b}[2K") || said.contains("\r\u{1b}[");
        let spins = |said: &str| ('\u{2800}'..='\u{28ff}').any(|braille| said.contains(braille));
        let term = ("TERM", "xterm-256color");
        release("a");
        let bars = ends(0, &on_a_terminal(&root, &[term], &["advance"]));
        assert!(moves(&bars) && spins(&bars), "{bars:?}");
        for done in ["dev", "qa", "perf", "staging"] {
            assert!(bars.lines().any(|line| line.contains(done) && line.contains("is verified")), "{done}: {bars:?}");
        }
        release("n");
        let bare = ends(0, &on_a_terminal(&root, &[term, ("NO_COLOR", "1")], &["advance"]));
        assert!(spins(&bare) && !bare.contains("\u{1b}[32m") && bars.contains("\u{1b}[32m"), "{bare:?}");
        let plain = |said: &str| !moves(said) && !spins(said) && said.contains("check smoke …\n");
        for (alias, output) in [
            ("b", on_a_terminal as fn(&Path, &[(&str, &str)], &[&str]) -> Output),
            ("c", in_a_pipe as fn(&Path, &[(&str, &str)], &[&str]) -> Output),
        ] {
            release(alias);
            let said = ends(0, &output(&root, &[term, ("CI", "true")], &["advance"])).replace('\r', "");
            assert!(plain(&said), "{alias}: {said:?}");
        }
        release("d");
        let output = promo(&root, &[], &["advance", "--format", "json"]);
        assert_eq!((output.status.code(), told(&output).is_empty()), (Some(0), false));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "nothing beside the events");
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        }
    }

    mod needs_ssh_keygen {
        use std::io::{Read as _, Write as _};

        use super::*;

        fn ssh_keygen(root: &Path, words: &[&str]) {
            let mut command = Command::new(std::env::var("PROMO_COMPONENT_SSH_KEYGEN").unwrap());
            ends(0, &command.args(words).current_dir(root).stdin(Stdio::null()).output().unwrap());
        }

        /// Signs at a terminal where somebody waits to be asked, answers, and gives the end and what stood there.
        fn answers(root: &Path, words: &[&str], answer: &str) -> (Option<i32>, String) {
            let line = format!("{} --policy policy.toml {}", env!("CARGO_BIN_EXE_promo"), words.join(" "));
            let mut command = Command::new(std::env::var("PROMO_COMPONENT_SCRIPT").unwrap());
            command.args(["-qec", &line, "/dev/null"]).current_dir(root).stdin(Stdio::piped()).stdout(Stdio::piped());
            command
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .env("HOME", root.join("home"));
            let mut terminal = command.spawn().unwrap();
            let (mut input, mut output) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
            let (mut said, mut byte, mut asked) = (Vec::new(), [0], false);
            while matches!(output.read(&mut byte), Ok(1)) {
                said.push(byte[0]);
                // Which key it is for, only some versions say.
                if !asked && said.starts_with(b"Enter passphrase") && said.ends_with(b": ") {
                    asked = true;
                    input.write_all(answer.as_bytes()).unwrap();
                }
            }
            let said = String::from_utf8(said).unwrap();
            assert!(asked, "nobody was asked: {said}");
            (terminal.wait().unwrap().code(), said)
        }

        #[test]
        fn a_key_with_a_passphrase_signs_at_a_terminal_s6_2() {
            let (_directory, root) = world();
            ssh_keygen(&root, &["-q", "-p", "-P", "", "-N", "a passphrase", "-f", "keys/riley"]);
            let lift = ["unfreeze", "production", "--reason", "over", "--key", "keys/riley"];
            let (code, said) = answers(&root, &lift, "another one\n");
            assert_eq!(code, Some(1), "{said}");
            assert!(said.contains("incorrect passphrase") && said.contains("error[signing-failed]"), "{said}");
            let (code, said) = answers(&root, &lift, "a passphrase\n");
            assert_eq!(code, Some(0), "{said}");
            ends(0, &promo(&root, &[], &["ledger", "verify"]));
            // Without a terminal nobody can be asked, which is said at once.
            ends(0, &promo(&root, &[], &["freeze", "production", "--reason", "a test"]));
            let said = ends(1, &promo(&root, &[HUMAN], &lift));
            assert!(said.contains("passphrase"), "{said}");
        }
    }
}
