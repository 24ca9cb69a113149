//! The guides against the binary: what a page tells people to type runs as it stands there, and prints what stands there.
//!
//! In a ```` ```console ```` block a line with `$ ` is typed, in one shell for the whole page, and the lines up to the next
//! one are what it prints; `…` alone in a line stands for any lines. A command that shows nothing may print anything. Each
//! ends with 0, unless it shows an `error[…]`. `<!-- typed: COMMAND -->` is what the text around it tells people to do by
//! hand. Digests, times and dates are anybody's.

#![expect(clippy::unwrap_used, reason = "a test of the binary, which fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Stdio;

use clap::error::ErrorKind;
use promo_tests::binary::{self, root};

/// A command of a page, and what it prints there; nothing where the page does not show it.
#[derive(Debug, PartialEq, Eq)]
struct Typed {
    command: String,
    shown: Vec<String>,
}

/// Everything that a page tells people to type. With `hidden` also what it says in words.
fn typed(page: &str, hidden: bool) -> Vec<Typed> {
    let (mut all, mut inside) = (Vec::<Typed>::new(), false);
    for line in page.lines() {
        let by_hand = line.strip_prefix("<!-- typed: ").and_then(|rest| rest.strip_suffix(" -->"));
        if let (Some(command), true) = (by_hand, hidden) {
            all.push(Typed { command: command.into(), shown: Vec::new() });
        } else if line.starts_with("```") {
            inside = line == "```console";
        } else if let (Some(command), true) = (line.strip_prefix("$ "), inside) {
            all.push(Typed { command: command.into(), shown: Vec::new() });
        } else if let (Some(last), true) = (all.last_mut(), inside) {
            last.shown.push(line.into());
        }
    }
    all
}

/// What differs from run to run, masked: long hexadecimal words, fingerprints of keys, times, dates, days, durations, and how long
/// the ledger is.
fn masked(line: &str) -> String {
    let word = |word: &str| {
        let shape: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        let bare = shape.trim_matches(['(', ')', ',', ';', '.', ':']);
        if matches!(bare, "Mon" | "Tue" | "Wed" | "Thu" | "Fri" | "Sat" | "Sun" | "00:00" | "0000-00-00") {
            return "*".to_owned();
        }
        if word.starts_with("SHA256:") {
            return "SHA256:*".to_owned();
        }
        let duration = word.strip_prefix('(').is_some_and(|n| n.parse::<u64>().is_ok());
        if duration {
            return "(*".to_owned();
        }
        let mut out = String::new();
        for part in word.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
            let hex = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            let long = hex.len() >= 12 && hex.bytes().all(|b| b.is_ascii_hexdigit());
            out.push_str(if long { "*" } else { part });
        }
        out
    };
    let words: Vec<&str> = line.split(' ').collect();
    let mut out: Vec<String> = Vec::new();
    for (at, one) in words.iter().enumerate() {
        let is_number = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
        let before = |back: usize| at.checked_sub(back).and_then(|at| words.get(at).copied()).unwrap_or_default();
        let unit = |word: &str| matches!(word.trim_end_matches([',', ';', ')']), "ms" | "s" | "min" | "h" | "d");
        out.push(match (is_number(one), before(2), before(1)) {
            (true, "ledger", "at") => "*".to_owned(),
            (true, ..) if words.get(at + 1).is_some_and(|next| unit(next)) => "*".to_owned(),
            // Which unit it is depends on how long that is.
            (.., number) if is_number(number) && unit(one) => "*".to_owned(),
            _ => word(one),
        });
    }
    out.join(" ").trim_end().to_owned()
}

/// Whether what was printed is what is shown.
fn matches(shown: &[String], printed: &[String]) -> bool {
    match shown {
        [] => printed.is_empty(),
        [any, rest @ ..] if any == "…" => (0..=printed.len()).any(|at| matches(rest, &printed[at..])),
        [line, rest @ ..] => printed.first() == Some(line) && matches(rest, &printed[1..]),
    }
}

/// Types everything in a directory, and compares.
fn types(page: &str, at: &Path, commands: &[Typed]) {
    types_with(page, at, commands, &[], &[]);
}

/// The same with more directories on the `PATH`, and more variables, each with what the page has in the place of its value.
fn types_with(page: &str, at: &Path, commands: &[Typed], programs: &[PathBuf], variables: &[(&str, &str, &str)]) {
    let out = tempfile::tempdir().unwrap();
    let file = |at: usize| out.path().join(at.to_string());
    // Whoever reads the page presses Enter for an empty passphrase.
    let mut script = "ssh-keygen() { case \"$*\" in *-f*) command ssh-keygen -q -N '' \"$@\" ;; esac; }\n".to_owned();
    for (number, Typed { command, .. }) in commands.iter().enumerate() {
        let file = file(number).display().to_string();
        script.push_str(&format!("{{ {command}\n}} >'{file}' 2>&1 </dev/null; echo $? >'{file}.code'\n"));
    }
    let promo = binary::promo();
    let bins = programs.iter().cloned().chain(promo.parent().map(Path::to_owned));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(bins.chain(std::env::split_paths(&path))).unwrap();
    let shell = binary::command("bash")
        .args(["-c", &script])
        .current_dir(at)
        .env_clear()
        .envs([("HOME", at.join("home").as_os_str()), ("PATH", &path), ("USER", "dana".as_ref())])
        .envs(variables.iter().map(|(name, value, _)| (name, value)))
        // A person sits at a terminal; here there is none.
        .env("PROMO_ACTOR_KIND", "human")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(shell.stderr.is_empty(), "{page}: {}", String::from_utf8_lossy(&shell.stderr));
    for (number, Typed { command, shown }) in commands.iter().enumerate() {
        let printed = std::fs::read_to_string(file(number)).unwrap();
        let printed = variables.iter().fold(printed, |printed, (_, value, shown)| printed.replace(value, shown));
        let code = std::fs::read_to_string(file(number).with_extension("code")).unwrap();
        let fails = shown.iter().any(|line| line.starts_with("error["));
        assert_eq!(code.trim() != "0", fails, "{page}: `{command}` ended with {code}{printed}");
        let lines = |text: &mut dyn Iterator<Item = &str>| text.map(masked).collect::<Vec<_>>();
        let (want, found) = (lines(&mut shown.iter().map(String::as_str)), lines(&mut printed.lines()));
        assert!(
            shown.is_empty() || matches(&want, &found),
            "{page}: `{command}` shows\n{shown:#?}\nand prints\n{printed}"
        );
    }
}

fn page(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

#[test]
fn what_the_readme_of_the_example_says_to_try_works() {
    let at = tempfile::tempdir().unwrap();
    let begin =
        ["promo quickstart shop", "cd shop"].map(|command| Typed { command: command.into(), shown: Vec::new() });
    let path = "pipelines/quickstart/README.md";
    let all: Vec<Typed> = begin.into_iter().chain(typed(&page(path), true)).collect();
    assert!(all.len() > 8, "{all:?}");
    types(path, at.path(), &all);
}

/// A pod of the example that is ready for a moment and crashes then must not count, or what does not run is not taken back.
#[test]
fn a_pod_of_the_example_of_clusters_counts_once_it_has_answered_and_gone_on_for_a_while() {
    let declared = page("pipelines/kubernetes/chart/templates/api.yaml");
    let steady = declared.lines().find_map(|line| line.trim().strip_prefix("minReadySeconds: ")?.parse::<u32>().ok());
    assert!(steady.is_some_and(|seconds| seconds >= 3), "{declared}");
    assert!(declared.contains("readinessProbe:") && declared.contains("port: http"), "{declared}");
}

#[test]
fn the_readme_shows_what_why_prints_after_the_quickstart() {
    let at = tempfile::tempdir().unwrap();
    let begin =
        ["promo quickstart", "cd promo-quickstart"].map(|command| Typed { command: command.into(), shown: Vec::new() });
    let why = typed(&page("README.md"), false).into_iter().filter(|typed| typed.command.contains(" why production"));
    let all: Vec<Typed> = begin.into_iter().chain(why).collect();
    assert!(all.len() == 3 && all[2].shown.len() > 10, "{all:?}");
    types("README.md", at.path(), &all);
}

mod needs_git {
    mod needs_ssh_keygen {
        use crate::{page, typed, types};

        #[test]
        fn a_first_promotion_goes_as_its_page_shows() {
            let at = tempfile::tempdir().unwrap();
            let path = "docs/guide/first-promotion.md";
            let mut all = typed(&page(path), true);
            // Who has an image and skopeo begins in another way.
            all.drain(..2);
            assert!(all.len() > 18 && all[0].command == "promo quickstart example", "{all:?}");
            types(path, at.path(), &all);
        }

        mod needs_openssl {
            use crate::{page, root, typed, types};

            #[test]
            fn only_what_was_scanned_tested_and_signed_goes_as_its_page_shows() {
                let at = tempfile::tempdir().unwrap();
                std::os::unix::fs::symlink(root(), at.path().join("promo")).unwrap();
                let path = "docs/guide/evidence.md";
                let all = typed(&page(path), true);
                assert!(all.len() > 24, "{all:?}");
                types(path, at.path(), &all);
                let compared = all.iter().filter(|typed| !typed.shown.is_empty()).count();
                assert!(compared > 14, "{compared} of its screens are compared");
            }
        }
    }
}

#[cfg(target_os = "linux")]
mod needs_kubernetes {
    mod needs_docker_registry {
        mod needs_skopeo {
            use promo_providers::oci::build::{Image, image};
            use promo_providers::oci::{Network, Store};
            use promo_tests::kubernetes::Namespace;
            use promo_tests::registry::Registry;

            use crate::{page, root, typed, types_with};

            /// Where the page takes the images from, with their tags.
            const UPSTREAM: (&str, [&str; 2]) = ("nginxinc/nginx-unprivileged", ["1.28", "1.29"]);

            #[tokio::test(flavor = "multi_thread")]
            async fn a_chart_goes_to_clusters_as_its_page_shows() {
                let Some(namespace) = Namespace::new() else { return };
                let Some(registry) = Registry::start() else { return };
                let at = tempfile::tempdir().unwrap();
                let network = Network::of(&promo_sdk::testing::context(at.path())).unwrap();
                let (repository, tags) = UPSTREAM;
                let store = Store::Registry(network.repository(registry.address(), repository).unwrap());
                for tag in tags {
                    let labels = [("org.opencontainers.image.version", tag)];
                    image(&store, tag, &Image::new(labels, vec![tag.as_bytes().to_vec()])).await.unwrap();
                }
                std::os::unix::fs::symlink(root(), at.path().join("promo")).unwrap();
                let home = at.path().join("home");
                std::fs::create_dir_all(home.join(".kube")).unwrap();
                std::fs::copy(namespace.kubeconfig(), home.join(".kube/config")).unwrap();
                // What is somewhere else for whoever reads the page is in the registry of the test here.
                let mirror = format!(
                    "[[registry]]\nprefix = \"docker.io\"\nlocation = \"{}\"\ninsecure = true\n",
                    registry.address()
                );
                std::fs::create_dir_all(home.join(".config/containers")).unwrap();
                std::fs::write(home.join(".config/containers/registries.conf"), mirror).unwrap();
                // Where the components are, under the names that people type.
                let programs = at.path().join("bin");
                std::fs::create_dir(&programs).unwrap();
                for (name, variable) in [
                    ("kubectl", "PROMO_COMPONENT_KUBECTL"),
                    ("helm", "PROMO_COMPONENT_HELM"),
                    ("skopeo", "PROMO_COMPONENT_SKOPEO"),
                ] {
                    std::os::unix::fs::symlink(std::env::var_os(variable).unwrap(), programs.join(name)).unwrap();
                }
                let path = "docs/guide/kubernetes.md";
                let all = typed(&page(path), true);
                assert!(all.len() > 26, "{all:?}");
                let registry = [("REGISTRY", registry.address(), "localhost:5001")];
                types_with(path, at.path(), &all, &[programs], &registry);
                let compared = all.iter().filter(|typed| !typed.shown.is_empty()).count();
                assert!(compared > 14, "{compared} of its screens are compared");
            }
        }
    }
}

/// The command lines of promo in a page: typed ones, and those that stand in backquotes with more than a verb.
fn of_promo(page: &str) -> Vec<String> {
    let typed = typed(page, false).into_iter().map(|typed| typed.command);
    let typed =
        typed.filter(|line| !line.contains('|')).map(|line| line.split(" # ").next().unwrap().trim().to_owned());
    let outside: String = page.split("```").step_by(2).collect();
    let quoted =
        outside.split('`').skip(1).step_by(2).map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    let lines = typed.chain(quoted.filter(|text| text.split(' ').count() > 2));
    lines
        .flat_map(|line| line.split(" && ").map(str::to_owned).collect::<Vec<_>>())
        .filter(|l| l.starts_with("promo "))
        .collect()
}

#[test]
fn every_command_that_a_page_names_is_one_that_promo_takes() {
    let mut pages = vec!["README.md".to_owned(), "docs/README.md".into(), "docs/reasons.md".into()];
    for folder in [
        "docs/guide",
        "docs/errors",
        "pipelines/quickstart",
        "pipelines/two-registries",
        "pipelines/eleven-environments",
        "pipelines/kubernetes",
    ] {
        let entries = std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        let pages_of = entries.filter_map(|name| name.into_string().ok()).filter(|name| name.ends_with(".md"));
        pages.extend(pages_of.map(|name| format!("{folder}/{name}")));
    }
    let (mut tried, mut wrong) = (0, Vec::new());
    for path in &pages {
        for line in of_promo(&page(path)) {
            tried += 1;
            // What stands for something of the reader's is no value, and what is not repeated is missing.
            let unknown = [ErrorKind::UnknownArgument, ErrorKind::InvalidSubcommand, ErrorKind::ArgumentConflict];
            let words = shlex::split(&line).unwrap_or_default();
            let parsed = promo_cli::command().try_get_matches_from(words);
            if let Some(error) = parsed.err().filter(|error| unknown.contains(&error.kind())) {
                wrong.push(format!("{path}: `{line}`: {error}"));
            }
        }
    }
    assert!(tried > 100, "{tried}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_screen_that_says_something_else_is_noticed() {
    let lines = |text: &str| text.lines().map(masked).collect::<Vec<_>>();
    let shown = lines("dev  r-535d6bfee247 enters (28 ms)\n…\n28 records, 09:21 on Sat 2026-11-21");
    assert!(matches(&shown, &lines("dev  r-0123456789ab enters (3 ms)\na\nb\n28 records, 10:00 on Mon 2027-01-02")));
    assert!(!matches(&shown, &lines("dev  r-0123456789ab enters (3 ms)\n29 records, 10:00 on Mon 2027-01-02")));
    assert!(!matches(&shown, &lines("dev  r-0123456789ab left (3 ms)\n28 records, 10:00 on Mon 2027-01-02")));
}
