//! Columns of equal width, as wide as the screen at most.

use anstream::adapter::strip_str;
use unicode_width::UnicodeWidthStr as _;

/// What the last column needs to be read beside the others, in cells of a terminal.
const ROOM: usize = 24;

/// Rows as lines, each column as wide as its widest cell. Cells may carry labels. Where a line does not fit into `width`, its
/// last cell goes on below itself; where that has no room, what follows the first cell stands below it. Nothing is cut, and no
/// word is broken: an id is there to be copied. Without a `width`, as for a program that reads lines, a row is one line.
pub(crate) fn columns(rows: &[Vec<String>], indent: &str, width: Option<usize>) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> =
        (0..count).map(|c| rows.iter().filter_map(|r| r.get(c)).map(|cell| cells(cell)).max().unwrap_or(0)).collect();
    let before: usize = indent.len() + widths.iter().rev().skip(1).map(|width| width + 2).sum::<usize>();
    let last = widths.last().copied().unwrap_or(0);
    let width = width.filter(|width| before + last > *width);
    let mut out = String::new();
    for row in rows {
        match width {
            Some(width) if before + last.min(ROOM) > width => stack(row, indent, width, &mut out),
            _ => line(row, &widths, indent, before, width, &mut out),
        }
    }
    out
}

fn line(row: &[String], widths: &[usize], indent: &str, before: usize, width: Option<usize>, out: &mut String) {
    let mut line = indent.to_owned();
    for (n, cell) in row.iter().enumerate() {
        if n + 1 == widths.len() {
            let room = width.map_or(usize::MAX, |width| width - before);
            line.push_str(&wrap(cell, room).join(&format!("\n{}", " ".repeat(before))));
        } else {
            line.push_str(cell);
            line.push_str(&" ".repeat(widths[n] - cells(cell) + 2));
        }
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

/// The first cell, and the others below it.
fn stack(row: &[String], indent: &str, width: usize, out: &mut String) {
    let mut rest = row.iter().filter(|cell| !cell.is_empty()).peekable();
    if let Some(first) = rest.next_if(|cell| row.first() == Some(cell)) {
        out.push_str(&format!("{indent}{first}\n"));
    }
    let below = format!("{indent}    ");
    let rest: Vec<&str> = rest.map(String::as_str).collect();
    for line in wrap(&rest.join("  "), width.saturating_sub(below.len())) {
        out.push_str(&format!("{below}{line}\n"));
    }
}

/// Lines of prose, none of them longer than the screen: what does not fit goes on below, further in. A command to paste stays
/// as it is, and so does a word that is longer than the screen.
pub(crate) fn fold(text: &str, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_owned() };
    let mut out = String::new();
    for line in text.lines() {
        let plain = strip_str(line).to_string();
        if plain.width() <= width || plain.starts_with("Next: ") || plain.starts_with("Also: ") {
            out.push_str(line);
        } else {
            let inside = plain.len() - plain.trim_start().len();
            // A row of a plan goes on where its reasons stand; what is further in anyway, only a little further.
            let below = " ".repeat(if inside == 0 { 4 } else { inside + 2 });
            let lines = wrap(line.trim_start(), width.saturating_sub(below.len()).max(ROOM));
            out.push_str(&format!("{}{}", " ".repeat(inside), lines.join(&format!("\n{below}"))));
        }
        out.push('\n');
    }
    out
}

/// A cell in lines of so many cells of a terminal, broken at spaces.
pub(crate) fn wrap(cell: &str, room: usize) -> Vec<String> {
    if cells(cell) <= room {
        return vec![cell.to_owned()];
    }
    let mut lines = vec![String::new()];
    for word in cell.split(' ') {
        let line = lines.last_mut().expect("invariant: there is a line");
        if line.is_empty() {
            line.push_str(word);
        } else if cells(line) + 1 + cells(word) <= room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// How many cells of a terminal a text takes; labels take none, and many characters of Asia take two.
fn cells(text: &str) -> usize {
    strip_str(text).to_string().width()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::labels::{Label, label};

    #[test]
    fn columns_line_up_whatever_their_labels_and_however_wide_their_characters() {
        let rows =
            [vec!["a".into(), "\u{1b}[1mbb\u{1b}[0m".into(), "c".into()], vec!["版本".into(), "b".into(), "c".into()]];
        let text = strip_str(&columns(&rows, "  ", None)).to_string();
        assert_eq!(text, "  a     bb  c\n  版本  b   c\n");
    }

    /// Environments with the longest names that people give, releases with names of their own, and what there is to say.
    fn status() -> Vec<Vec<String>> {
        let row = |name: &str, release: &str, facts: &[String]| {
            let first = vec![name.to_owned(), release.to_owned(), facts[0].clone()];
            let more = facts[1..].iter().map(|fact| vec![String::new(), String::new(), fact.clone()]);
            std::iter::once(first).chain(more).collect::<Vec<_>>()
        };
        let good = || label(Label::Good, "✓ verified") + ", there for 3 h 12 min";
        let bad = label(Label::Bad, "last: r-7a3f9c2e41b0 failed and was rolled back");
        let lost =
            label(Label::Bad, "stands on lost evidence: the verdict of regression in integration-gpu was withdrawn");
        [
            row("dev", "r-7a3f9c2e41b0 (#57)", &[good()]),
            row("integration-non-gpu-eu-central-1-blue", "r-7a3f9c2e41b0 (#57 二〇二六年十一月)", &[good(), bad]),
            row("production-eu-central-1-availability-zone", "nothing yet", &["frozen".into(), lost]),
        ]
        .concat()
    }

    fn history() -> Vec<Vec<String>> {
        let row = |name: &str, what: &str, by: &str| {
            let ended = label(Label::Good, "is verified");
            vec!["2026-11-20 14:02 UTC".to_owned(), name.to_owned(), what.to_owned(), ended, by.to_owned()]
        };
        vec![
            row("dev", "nothing → r-7a3f9c2e41b0 (#57)", "by dana"),
            row("production-eu-central-1-availability-zone", "r-6d3a7c9f0e22 (#56) → r-7a3f9c2e41b0 (#57)", "by ci"),
        ]
    }

    fn runs() -> Vec<Vec<String>> {
        let regions: Vec<String> = (1..=9).map(|n| format!("production-region-{n} r-7a3f9c2e41b0")).collect();
        let row = |state: &str, what: &str| -> Vec<String> {
            ["0123456789abcdef0123456789abcdef", "2026-11-20 14:02 UTC", state, "by dana", what].map(Into::into).into()
        };
        vec![row("unfinished", &regions.join(", ")), row("done", "dev r-7a3f9c2e41b0")]
    }

    #[test]
    fn nothing_is_cut_broken_or_out_of_line_at_80_at_120_and_in_a_pipe() {
        for (name, rows) in [("status", status()), ("history", history()), ("runs", runs())] {
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            let mut screens = String::new();
            let all = words(&strip_str(&columns(&rows, "  ", None)).to_string());
            for width in [Some(80), Some(120), None] {
                let text = strip_str(&columns(&rows, "  ", width)).to_string();
                assert!(text.lines().all(|line| line.width() <= width.unwrap_or(usize::MAX)), "{text}");
                assert_eq!(words(&text), all, "every word, in order");
                let ruler = width.map_or_else(|| "in a pipe".to_owned(), |width| "-".repeat(width));
                screens.push_str(&format!("{ruler}\n{text}"));
            }
            insta::assert_snapshot!(name, screens);
        }
    }
}
