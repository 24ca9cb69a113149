//! The page `docs/reference/commands.md`, made from the command line itself, so that it cannot say something else.
//! `PROMO_BLESS=1` writes it anew.

use clap::{Arg, Command};

use crate::cli::{GROUPS, command};
use crate::examples::EXAMPLES;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/commands.md");

#[test]
fn the_page_of_commands_is_what_help_says() {
    let made = page();
    if std::env::var_os("PROMO_BLESS").is_some() {
        std::fs::write(PAGE, &made).unwrap();
    }
    let found = std::fs::read_to_string(PAGE).unwrap();
    assert_eq!(found, made, "docs/reference/commands.md differs from the help; PROMO_BLESS=1 writes it anew");
}

fn page() -> String {
    let mut command = command();
    command.build();
    let mut out = "# Commands\n\nMade from `promo VERB --help` by a test; how each verb ends stands in [exit codes](exit-codes.md).\n\n\
                   ## Everywhere\n\nFlags go before environment variables, and those before files.\n\n"
        .to_owned();
    out.push_str(&arguments(command.get_arguments().filter(|a| a.is_global_set())));
    for (group, verbs) in GROUPS {
        out.push_str(&format!("\n## {group}\n"));
        for verb in *verbs {
            section(command.find_subcommand(verb).expect("invariant: a verb of the help"), verb, &mut out);
        }
    }
    out
}

fn section(verb: &Command, path: &str, out: &mut String) {
    let about = verb.get_about().expect("invariant: every verb says what it does");
    let usage = verb.clone().render_usage().to_string();
    let usage = usage.trim().trim_start_matches("Usage: ");
    out.push_str(&format!("\n### `promo {path}`\n\n{}.\n\n```text\n{usage}\n```\n\n", cell(&about.to_string())));
    let own = arguments(verb.get_arguments().filter(|a| !a.is_global_set()));
    if !own.is_empty() {
        out.push_str(&format!("{own}\n"));
    }
    let examples = EXAMPLES.iter().find(|(verb, _)| *verb == path).map_or(&[][..], |(_, examples)| *examples);
    let lines: Vec<String> = examples.iter().map(|(about, command)| format!("# {about}\n{command}\n")).collect();
    out.push_str(&format!("```sh\n{}```\n", lines.concat()));
    for verb in verb.get_subcommands().filter(|v| v.get_name() != "help") {
        section(verb, &format!("{path} {}", verb.get_name()), out);
    }
}

/// A table of arguments, or nothing.
fn arguments<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let rows: Vec<String> = arguments.filter(|a| !matches!(a.get_id().as_str(), "help" | "version")).map(row).collect();
    if rows.is_empty() { String::new() } else { format!("| argument | |\n|---|---|\n{}", rows.concat()) }
}

fn row(argument: &Arg) -> String {
    let mut about = cell(&argument.get_help().map(ToString::to_string).unwrap_or_default());
    let values = argument.get_possible_values();
    let takes = argument.get_action().takes_values();
    if takes && !values.is_empty() {
        let value = |value: &clap::builder::PossibleValue| {
            let help = value.get_help().map(|help| format!(": {}", cell(&help.to_string()))).unwrap_or_default();
            format!("`{}`{help}", value.get_name())
        };
        about.push_str(&format!(". One of {}", values.iter().map(value).collect::<Vec<_>>().join("; ")));
    }
    let defaults: Vec<String> =
        argument.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
    if takes && !defaults.is_empty() {
        about.push_str(&format!(". `{}` when left out", defaults.join(",")));
    }
    if let Some(variable) = argument.get_env() {
        about.push_str(&format!(". Variable `{}`", variable.to_string_lossy()));
    }
    let short = argument.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    format!("| {short}`{}` | {about} |\n", cell(&argument.to_string()))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
