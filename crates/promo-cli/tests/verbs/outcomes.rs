//! The table of verb by exit code in docs/reference/exit-codes.md, and the runs that reached its cells (S14). Every run of
//! the binary in these tests is judged here. What must not live here: how a cell is reached.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;
use std::sync::OnceLock;

use serde_json::Value;

use crate::COVERED;
use crate::fixture::texts;

/// Codes that every verb with a ledger can end with, or every verb at all: `everywhere` reaches these columns, for every
/// verb that has them. The other ones are reached by the test of the verb.
pub(crate) const EVERYWHERE: [i32; 5] = [30, 64, 65, 74, 75];

/// Whether the product itself can lead to a cell, or only a provider that it does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// `•`
    Promo,
    /// `◦`: tests/tests/outcomes.rs reaches it.
    OtherProviders,
}

/// The marked cells of every verb, as the page has them.
pub(crate) fn table() -> &'static BTreeMap<String, BTreeMap<i32, Mark>> {
    static TABLE: OnceLock<BTreeMap<String, BTreeMap<i32, Mark>>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let page = include_str!("../../../../docs/reference/exit-codes.md");
        let mut lines = page.lines().skip_while(|line| !line.starts_with("| verb | 0 |"));
        let cells = |line: &str| -> Vec<String> {
            line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
        };
        let head: Vec<String> = cells(lines.next().expect("the page has the table"));
        let codes: Vec<i32> = head[1..].iter().map(|code| code.parse().expect("a column is a code")).collect();
        let mark = |cell: &String| match cell.as_str() {
            "•" => Some(Mark::Promo),
            "◦" => Some(Mark::OtherProviders),
            "" => None,
            other => panic!("`{other}` is no mark"),
        };
        let mut table = BTreeMap::new();
        for row in lines.skip(1).take_while(|line| line.starts_with('|')).map(cells) {
            assert_eq!(row.len(), head.len(), "{row:?}");
            let marked = codes.iter().zip(&row[1..]).filter_map(|(code, cell)| Some((*code, mark(cell)?)));
            assert!(table.insert(row[0].clone(), marked.collect()).is_none(), "two rows of {}", row[0]);
        }
        table
    })
}

/// The verb of a command line; none where it names none.
pub(crate) fn verb(words: &[&str]) -> Option<String> {
    static COMMAND: OnceLock<clap::Command> = OnceLock::new();
    let (mut at, mut verb) = (COMMAND.get_or_init(promo_cli::command), Vec::new());
    for word in words {
        if let Some(next) = at.find_subcommand(word) {
            at = next;
            verb.push(*word);
        }
    }
    let whole = !verb.is_empty() && !at.has_subcommands();
    whole.then(|| verb.join(" "))
}

thread_local! {
    /// What the runs of this test ended with.
    static REACHED: RefCell<BTreeSet<(String, i32)>> = RefCell::default();
}

/// Holds what is true of every run of every verb: the code is documented; an error is on standard error and ends with a
/// command; an answer has its next command at its end; JSON is nothing but JSON; and every next command parses.
pub(crate) fn judge(words: &[&str], output: &Output) {
    let (out, err) = texts(output);
    let said = format!("promo {}\n{out}\n{err}", words.join(" "));
    let code = output.status.code().unwrap_or_else(|| panic!("a signal ended {said}"));
    if words.contains(&"--help") {
        return;
    }
    if let Some(verb) = verb(words) {
        let row = table().get(&verb).unwrap_or_else(|| panic!("docs/reference/exit-codes.md has no row of {verb}"));
        let mark = row.get(&code).copied();
        assert_eq!(mark, Some(Mark::Promo), "docs/reference/exit-codes.md on {verb} and {code}: {said}");
        REACHED.with_borrow_mut(|reached| reached.insert((verb, code)));
    }
    let failed = err.lines().any(|line| line.starts_with("error["));
    if failed {
        let last = err.lines().last().expect("it said something");
        pasted(last.strip_prefix("Next: ").unwrap_or_else(|| panic!("an error ends with a command: {said}")));
        assert_ne!(code, 0, "{said}");
    }
    assert_eq!(err.lines().any(|line| line.starts_with("Next: ")), failed, "an answer is on standard output: {said}");
    if words.windows(2).any(|pair| pair == ["--format", "json"]) {
        let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(&out).into_iter().collect();
        for value in values.unwrap_or_else(|error| panic!("{error}: {said}")) {
            judge_json(&value, code, &said);
        }
        assert!(!failed, "an error in JSON is on standard output: {said}");
        return;
    }
    for line in out.lines().filter_map(|line| line.strip_prefix("Next: ")) {
        pasted(line);
    }
    named(&out);
    named(&err);
    // A quickstart shows the answers of several verbs.
    if out.contains("\nNext: ") && verb(words).as_deref() != Some("quickstart") {
        assert!(out.lines().last().is_some_and(|line| line.starts_with("Next: ")), "it is the last line: {said}");
    }
}

/// Holds that a command that a sentence names as what ends something, or until when it is so, is one that parses: what is typed
/// there would be refused else.
fn named(text: &str) {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for before in ["ended by `", "applying what `", "until `", "put back by `"] {
        for rest in text.split(before).skip(1) {
            pasted(rest.split('`').next().unwrap_or_default());
        }
    }
}

fn judge_json(value: &Value, code: i32, said: &str) {
    if value["kind"] == "promo.error" {
        assert_eq!(value["exit"], code, "the same exit code in JSON: {said}");
        let page = format!("docs/errors/{}.md", value["code"].as_str().expect("a code"));
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(page);
        assert!(page.is_file(), "{} is there: {said}", page.display());
        assert!(value["next"].is_string(), "{said}");
    }
    match &value["next"] {
        // Where nothing is to be done, or only to wait, no command leads around.
        Value::String(next) if next.is_empty() => {
            let kind = value["kind"].as_str().unwrap_or_default();
            assert!(["promo.status", "promo.why", "promo.run.view"].contains(&kind), "{said}");
        }
        Value::String(next) => pasted(next),
        Value::Array(all) => all.iter().for_each(|next| pasted(next["command"].as_str().expect("a command"))),
        _ => {}
    }
}

/// Holds that a command which promo tells people to paste is one that a shell takes apart as it was meant, and that its
/// own parser takes. No other program is ever suggested as the next command.
pub(crate) fn pasted(command: &str) {
    let words = shlex::split(command).unwrap_or_else(|| panic!("no shell takes `{command}`"));
    assert_eq!(words.first().map(String::as_str), Some("promo"), "{command}");
    match promo_cli::command().try_get_matches_from(&words) {
        Ok(_) => {}
        Err(error) => assert!(!error.use_stderr(), "`{command}` does not parse: {error}"),
    }
}

/// Holds that the runs of this test reached every cell of these verbs that is not [`EVERYWHERE`]'s.
pub(crate) fn reached(verbs: &[&str]) {
    demand(verbs, |code| !EVERYWHERE.contains(&code));
}

/// Holds that the runs of this test reached every cell of the columns in [`EVERYWHERE`].
pub(crate) fn reached_everywhere() {
    let verbs: Vec<&str> = table().keys().map(String::as_str).collect();
    demand(&verbs, |code| EVERYWHERE.contains(&code));
}

fn demand(verbs: &[&str], column: impl Fn(i32) -> bool) {
    let rows = verbs.iter().map(|verb| (verb, table().get(*verb).unwrap_or_else(|| panic!("no row of {verb}"))));
    let cells = rows.flat_map(|(verb, row)| row.iter().map(move |(code, mark)| ((*verb).to_owned(), *code, *mark)));
    let wanted =
        cells.filter(|(_, code, mark)| *mark == Mark::Promo && column(*code)).map(|(verb, code, _)| (verb, code));
    let missing: Vec<_> = REACHED.with_borrow(|reached| wanted.filter(|cell| !reached.contains(cell)).collect());
    assert!(missing.is_empty(), "documented, and reached by no run: {missing:?}");
}

#[test]
fn the_table_has_a_row_of_every_verb_and_a_test_reaches_every_row_s14() {
    fn leaves(command: &clap::Command, above: &str, found: &mut BTreeSet<String>) {
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            let name = format!("{above}{}", verb.get_name());
            if verb.has_subcommands() {
                leaves(verb, &format!("{name} "), found);
            } else {
                found.insert(name);
            }
        }
    }
    let mut verbs = BTreeSet::new();
    leaves(&promo_cli::command(), "", &mut verbs);
    assert_eq!(table().keys().cloned().collect::<BTreeSet<_>>(), verbs);
    let mut covered: Vec<String> = COVERED.concat().into_iter().map(str::to_owned).collect();
    covered.sort_unstable();
    assert_eq!(covered, verbs.into_iter().collect::<Vec<_>>(), "every row has one test");
}

#[test]
#[should_panic(expected = "`promo unfreeze production` does not parse")]
fn a_command_in_a_sentence_that_does_not_parse_is_found() {
    named("… paused since 06:02 (ended by\n  `promo unfreeze production`)");
}

#[test]
#[should_panic(expected = "does not parse")]
fn a_suggestion_that_does_not_parse_is_found() {
    pasted("promo plan --outt plan.json");
}
