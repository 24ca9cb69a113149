//! What `--help` of every verb shows to begin with: commands as they are typed, each with what it is for. The page
//! `docs/reference/commands.md` is made from them. What must not live here: what a verb does.

use clap::Command;
use clap::builder::Styles;

/// The verbs, by the words that name them, and what each is typed for: what it is for, and the command.
pub(crate) const EXAMPLES: &[(&str, &[(&str, &str)])] = &[
    (
        "quickstart",
        &[
            ("Take two releases to production in a new directory, in seconds", "promo quickstart"),
            ("The same elsewhere", "promo quickstart /tmp/shop"),
        ],
    ),
    (
        "init",
        &[
            ("Be asked for what is needed, on a terminal", "promo init"),
            ("Say it all at once", "promo init --name shop --image registry.example/shop/api"),
            (
                "With environments of your own, the last one production",
                "promo init --image registry.example/shop/api --environments dev,qa,production",
            ),
        ],
    ),
    (
        "fmt",
        &[
            ("Put promo.toml and policy.toml of this directory into form", "promo fmt"),
            ("In CI: change nothing, and fail where something would change", "promo fmt --check"),
            ("Only this file", "promo fmt platform/policy.toml"),
        ],
    ),
    (
        "check",
        &[
            ("Everything that is wrong, with the places", "promo check"),
            ("In CI, with the policy of the platform: warnings fail too", "promo check --strict --policy policy.toml"),
            ("For an editor or a program", "promo check --format json"),
        ],
    ),
    (
        "graph",
        &[
            ("Which environments there are, in which order, and what runs where", "promo graph"),
            ("A picture of it", "promo graph --syntax svg > graph.svg"),
            ("For a page on a forge", "promo graph --syntax mermaid --format markdown"),
        ],
    ),
    (
        "doctor",
        &[
            ("What is there, in which version, and what is missing", "promo doctor"),
            ("Without asking any registry", "promo doctor --offline"),
        ],
    ),
    (
        "plan",
        &[
            ("What would move where, and what holds back the rest", "promo plan"),
            (
                "Save a plan for production, to request, approve and apply it",
                "promo plan production --out shop.plan.json",
            ),
            (
                "The whole way of one release, whatever is known of it now",
                "promo plan --release 1.4.2 --until production",
            ),
            ("For a comment on a pull request", "promo plan --if-merged --format markdown"),
        ],
    ),
    (
        "show",
        &[
            ("Read a saved plan", "promo show shop.plan.json"),
            ("All of it, as approvers should see it", "promo show shop.plan.json --full"),
            ("A page to keep or to print", "promo show shop.plan.json --format html > plan.html"),
            ("What a run did; `promo runs` lists them", "promo show 0123456789abcdef0123456789abcdef"),
        ],
    ),
    (
        "request",
        &[
            ("Ask for approval of a saved plan", "promo request shop.plan.json"),
            (
                "Where a rule excludes who asked: sign that it was you",
                "promo request shop.plan.json --key ~/.ssh/riley",
            ),
        ],
    ),
    (
        "approve",
        &[
            ("Approve what `promo show FILE` shows", "promo approve shop.plan.json --key ~/.ssh/riley"),
            (
                "Say no: this plan can never be applied",
                "promo approve shop.plan.json --key ~/.ssh/riley --decision reject",
            ),
            (
                "Without write access to the ledger: into a file beside the plan",
                "promo approve shop.plan.json --key riley -o shop.plan.riley.approval.json",
            ),
        ],
    ),
    (
        "apply",
        &[
            ("On a terminal: plan, look, and be asked", "promo apply"),
            ("Execute exactly this plan; approvals beside it are found", "promo apply shop.plan.json"),
            (
                "In CI: wait for approvals and windows; the first failure stops everything",
                "promo apply shop.plan.json --wait 2h --on-failure stop-all",
            ),
            ("With an approval that lies elsewhere", "promo apply shop.plan.json --approval inbox/riley.approval.json"),
        ],
    ),
    (
        "advance",
        &[
            ("One pass: everything that starts by itself and may. What a timer runs", "promo advance"),
            ("With what happens as events, for a program", "promo advance --format json"),
        ],
    ),
    (
        "rollback",
        &[
            ("What going back would do; nothing moves yet", "promo rollback production"),
            ("Save it, to approve and apply it", "promo rollback production --out back.plan.json"),
            ("To a release of one's choice", "promo rollback production --to 1.4.1 --out back.plan.json"),
            (
                "Try it outside production, and see how long it takes",
                "promo rollback staging --drill --out drill.plan.json",
            ),
        ],
    ),
    (
        "release",
        &[
            ("Report what a build made", "promo release add api=1.4.2"),
            ("Which releases there are, and where each runs", "promo release list"),
            ("Everything known of one", "promo release show 1.4.2"),
        ],
    ),
    (
        "release add",
        &[
            ("By tag; the digest is looked up and recorded", "promo release add api=1.4.2 --alias 1.4.2"),
            (
                "From CI, with what the build knows of itself",
                "promo release add api=sha-7a3f9c2 --meta authors=dana,riley --meta run=4711",
            ),
            ("Several artifacts as one release", "promo release add api=1.4.2 chart=1.4.0"),
            ("Whatever is the newest, once nothing newer comes", "promo release add --newest"),
        ],
    ),
    (
        "release list",
        &[
            ("Newest first, with where each runs", "promo release list"),
            ("For a program", "promo release list --format json"),
        ],
    ),
    (
        "release show",
        &[
            ("By its name for people", "promo release show 1.4.2"),
            ("By its id, for a program", "promo release show r-7a3f9c2e41b0 --format json"),
        ],
    ),
    (
        "release authors",
        &[
            ("Of a release that came without any", "promo release authors 1.4.2 --author dana --key ~/.ssh/riley"),
            ("Of one that two people wrote", "promo release authors 1.4.2 --author dana --author eli --key KEY"),
        ],
    ),
    (
        "evidence",
        &[
            ("What a scanner found in a release", "promo evidence add trivy.json --release 1.4.2"),
            ("A bill of materials", "promo evidence add sbom.cdx.json --release 1.4.2"),
            ("Signatures and what else lies in the registry", "promo evidence collect"),
        ],
    ),
    (
        "evidence withdraw",
        &[
            ("A scan of the wrong image", "promo evidence withdraw 3f9c2b1a --reason 'of the wrong image'"),
            ("Under a policy", "promo evidence withdraw 3f9c2b1a --reason 'wrong' --key ~/.ssh/riley"),
        ],
    ),
    (
        "evidence collect",
        &[
            ("Of the newest release and of all that run", "promo evidence collect"),
            ("Of one release", "promo evidence collect --release 1.4.2"),
        ],
    ),
    (
        "evidence add",
        &[
            ("A scan, which names the image that it is of", "promo evidence add trivy.json --release 1.4.2"),
            ("A report of tests, of the suite `unit`", "promo evidence add junit.xml --release 1.4.2 --name unit"),
            ("Numbers in JSON of your own", "promo evidence add load.json --release 1.4.2 --name load --numbers"),
        ],
    ),
    (
        "release reject",
        &[
            ("Keep a release out of everywhere", "promo release reject 1.4.2 --reason 'leaks memory, see ticket 812'"),
            (
                "Only out of production and what comes after it",
                "promo release reject 1.4.2 --environment production --reason 'no workers'",
            ),
        ],
    ),
    (
        "release recall",
        &[
            ("Keep out whatever has this image in it", "promo release recall 3f9c2b1a --reason 'CVE-2026-1234'"),
            ("By one of its platforms", "promo release recall 7d21e0c4 --reason 'broken on arm64'"),
        ],
    ),
    (
        "release lift",
        &[
            ("Let it in again", "promo release lift 1.4.2 --reason 'it was 1.4.1' --key ~/.ssh/riley"),
            (
                "Of the scope that was rejected",
                "promo release lift 1.4.2 --environment production --reason 'workers added'",
            ),
            ("End the recall of a digest", "promo release lift sha256:3f9c2b1a --reason 'no CVE after all'"),
        ],
    ),
    (
        "verify",
        &[
            ("Run the checks of staging again on what runs there", "promo verify staging"),
            ("For a program", "promo verify staging --format json"),
        ],
    ),
    (
        "verdict",
        &[
            ("Say that acceptance passed for what runs in qa", "promo verdict pass qa uat --key ~/.ssh/riley"),
            ("Say that it failed, and why", "promo verdict fail qa uat --key ~/.ssh/riley --reason 'shows no prices'"),
            ("Take a verdict back", "promo verdict withdraw qa uat --key ~/.ssh/riley --reason 'wrong page'"),
        ],
    ),
    (
        "freeze",
        &[
            ("Stop promotion into production", "promo freeze production --reason 'sale until Monday'"),
            ("Stop everything", "promo freeze --reason 'the registry is moved'"),
        ],
    ),
    (
        "unfreeze",
        &[
            (
                "Let promotion into production go on",
                "promo unfreeze production --reason 'sale over' --key ~/.ssh/riley",
            ),
            ("Lift the freeze of everything", "promo unfreeze --reason 'the registry was moved'"),
        ],
    ),
    (
        "runs",
        &[
            ("What was applied, newest first", "promo runs"),
            ("What has not ended and can be resumed", "promo runs --unfinished"),
        ],
    ),
    (
        "resume",
        &[
            (
                "Go on where it stopped; `promo runs --unfinished` lists them",
                "promo resume 0123456789abcdef0123456789abcdef",
            ),
            (
                "With what happens as events, for a program",
                "promo resume 0123456789abcdef0123456789abcdef --format json",
            ),
        ],
    ),
    (
        "cancel",
        &[
            (
                "Do not go on with it; what has begun is held for a person",
                "promo cancel 0123456789abcdef0123456789abcdef",
            ),
            ("The same from a job, said as such", "promo cancel 0123456789abcdef0123456789abcdef --as ci"),
        ],
    ),
    (
        "status",
        &[
            ("What is where, and how it stands", "promo status"),
            ("For a page or a chat", "promo status --format markdown"),
            ("With times as they are read in Berlin", "promo status --timezone Europe/Berlin"),
        ],
    ),
    (
        "why",
        &[
            ("Why the newest release is, or is not, in production", "promo why production"),
            ("Why this one is not", "promo why production 1.4.2"),
            ("Every gate as data", "promo why production 1.4.2 --format json"),
        ],
    ),
    (
        "diff",
        &[
            ("How staging and production differ, and why", "promo diff staging production"),
            ("Only what somebody changed by hand in one of them", "promo diff staging production --undeclared"),
        ],
    ),
    (
        "adopt",
        &[
            ("Plan to take over what runs in production already", "promo adopt production --out adopt.plan.json"),
            ("What the files would have to say to keep what was changed by hand", "promo adopt staging"),
            ("Write it into the files that declare it", "promo adopt staging --write"),
        ],
    ),
    (
        "drift",
        &[
            ("Look everywhere whether somebody changed by hand what promo deployed", "promo drift"),
            ("What differs in production, field by field", "promo drift production"),
            ("From a timer: exit 2 where something differs", "promo drift --detailed-exitcode"),
        ],
    ),
    (
        "history",
        &[
            ("Every promotion, newest first", "promo history"),
            ("Of one environment, for a program", "promo history production --format json"),
        ],
    ),
    (
        "ledger",
        &[
            ("Whether any record was changed", "promo ledger verify"),
            ("Of another pipeline", "promo -C ../shop ledger verify"),
        ],
    ),
    (
        "ledger verify",
        &[
            ("Whether any record was changed", "promo ledger verify"),
            ("Size and root, to compare with those kept elsewhere", "promo ledger verify --format json"),
        ],
    ),
    (
        "ledger checkpoint",
        &[
            ("For a trust file that pins no checkpoint yet", "promo ledger checkpoint >> ~/.config/promo/trust.toml"),
            ("Origin, size and root, to keep elsewhere", "promo ledger checkpoint --format json"),
        ],
    ),
    (
        "ledger accept-clock",
        &[
            (
                "A record of next year shut every soak",
                "promo ledger accept-clock --reason 'no time server' --key ~/.ssh/riley",
            ),
            (
                "What the record bears, for a script",
                "promo ledger accept-clock --reason 'no time server' --format json",
            ),
        ],
    ),
    (
        "explain",
        &[
            ("What the code of a message means and what to do", "promo explain plan-stale"),
            ("Every code, with a line about it", "promo explain --list"),
        ],
    ),
    (
        "schema",
        &[
            ("For an editor that completes promo.toml", "promo schema pipeline > pipeline.schema.json"),
            ("What a program may expect in a saved plan", "promo schema plan"),
        ],
    ),
    (
        "completions",
        &[
            ("For bash", "promo completions bash > ~/.bash_completion.d/promo"),
            ("For fish", "promo completions fish > ~/.config/fish/completions/promo.fish"),
            ("For zsh, into a directory of its $fpath", "promo completions zsh > ~/.zfunc/_promo"),
        ],
    ),
];

/// Puts the examples below the help of every verb.
pub(crate) fn attach(command: Command, styles: &Styles) -> Command {
    below(command, "", styles)
}

fn below(command: Command, path: &str, styles: &Styles) -> Command {
    let verbs: Vec<String> = command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    let command = verbs.iter().fold(command, |command, name| {
        let path = if path.is_empty() { name.clone() } else { format!("{path} {name}") };
        command.mut_subcommand(name, |verb| below(verb, &path, styles))
    });
    match of(path) {
        Some(examples) => command.after_help(text(examples, styles)),
        None => command,
    }
}

/// The examples of a verb.
fn of(path: &str) -> Option<&'static [(&'static str, &'static str)]> {
    EXAMPLES.iter().find(|(verb, _)| *verb == path).map(|(_, examples)| *examples)
}

/// Commands are never broken into lines: they are there to be pasted.
fn text(examples: &[(&str, &str)], styles: &Styles) -> String {
    let (header, literal) = (styles.get_header(), styles.get_literal());
    let mut out = format!("{header}Examples:{header:#}");
    for (about, command) in examples {
        out.push_str(&format!("\n  # {about}\n  {literal}{command}{literal:#}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;
    use crate::error::tests::assert_parses;

    /// Every verb and every verb of a verb, by the words that name it.
    fn verbs(command: &Command, path: &str, out: &mut Vec<(String, String)>) {
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            let path = format!("{path}{}", verb.get_name());
            out.push((path.clone(), verb.clone().render_help().to_string()));
            verbs(verb, &format!("{path} "), out);
        }
    }

    #[test]
    fn the_help_of_every_verb_ends_with_examples_that_are_of_it_and_parse() {
        let mut all = Vec::new();
        verbs(&cli::command(), "", &mut all);
        assert!(all.len() > 30, "{}", all.len());
        for (path, help) in &all {
            let (_, shown) = help.split_once("\nExamples:\n").unwrap_or_else(|| panic!("no examples of {path}"));
            let lines: Vec<&str> = shown.lines().filter(|line| !line.is_empty()).collect();
            assert!(lines.len().is_multiple_of(2) && (2..=4).contains(&(lines.len() / 2)), "{path}: {lines:?}");
            for pair in lines.chunks(2) {
                assert!(pair[0].starts_with("  # ") && pair[0].len() > 10, "{path}: `{}` says what for", pair[0]);
                // At 80 columns clap would break the line, and a broken command cannot be pasted.
                assert!(pair.iter().all(|line| line.chars().count() <= 79), "{path}: {pair:?} is too long");
                let command = pair[1].trim_start();
                let command = command.split_once(" >").map_or(command, |(command, _)| command);
                assert_parses(command);
                assert!(format!(" {command} ").contains(&format!(" {path} ")), "`{command}` is no example of {path}");
            }
        }
        let known: Vec<&str> = EXAMPLES.iter().map(|(path, _)| *path).collect();
        assert_eq!(known.len(), all.len(), "no verb has two entries, and there is none of a verb that is gone");
    }
}
