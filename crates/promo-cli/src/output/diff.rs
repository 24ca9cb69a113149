//! Differences of rendered files as unified hunks.

use promo_core::counted::counted;
use promo_core::inputs::FileChange;
use similar::TextDiff;

/// Lines of context around a change.
const CONTEXT: usize = 3;
/// A file with more lines than this is not compared line by line: that would take too long to be worth it.
const MOST_LINES: usize = 20_000;

/// The unified hunks of a change, without file names; the text of what stays. Not escaped.
pub(crate) fn hunks(change: &FileChange) -> String {
    let (before, after) = (change.before.as_deref().unwrap_or(""), change.after.as_deref().unwrap_or(""));
    if is_too_long(change) {
        let lines = before.lines().count() + after.lines().count();
        return format!("@@ {lines} lines, too many to compare here: do not approve from this view @@\n");
    }
    // What stays is told for what it says.
    if change.before == change.after {
        return after.lines().map(|line| format!(" {line}\n")).collect();
    }
    TextDiff::from_lines(before, after).unified_diff().context_radius(CONTEXT).missing_newline_hint(false).to_string()
}

/// Whether a change has so many lines that [`hunks()`] does not compare them.
pub(crate) fn is_too_long(change: &FileChange) -> bool {
    let lines = |text: &Option<String>| text.as_deref().map_or(0, |t| t.lines().count());
    lines(&change.before) + lines(&change.after) > MOST_LINES
}

/// `3 lines`, `new`, `deleted`: the difference in a few words.
pub(crate) fn summary(change: &FileChange) -> String {
    if is_too_long(change) {
        return "not compared".to_owned();
    }
    let hunks = hunks(change);
    let count = |sign: char| hunks.lines().filter(|l| l.starts_with(sign)).count();
    let (added, removed) = (count('+'), count('-'));
    match (&change.before, &change.after) {
        (None, Some(_)) => format!("new, {}", counted(added, "line")),
        (Some(_), None) => "deleted".to_owned(),
        (before, after) if before == after => "stays".to_owned(),
        _ if added == removed => counted(added, "line"),
        _ => format!("+{added} -{removed} lines"),
    }
}

/// At most `limit` lines of a text, and how many were left out.
pub(crate) fn head(text: &str, limit: usize) -> (String, usize) {
    let total = text.lines().count();
    if total <= limit {
        return (text.to_owned(), 0);
    }
    let kept: Vec<&str> = text.lines().take(limit).collect();
    (kept.join("\n") + "\n", total - limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(before: Option<&str>, after: Option<&str>) -> FileChange {
        FileChange { path: "a".into(), before: before.map(Into::into), after: after.map(Into::into) }
    }

    #[test]
    fn a_change_is_told_in_hunks_and_in_words() {
        let one = change(Some("a\nb\nc\n"), Some("a\nB\nc\n"));
        assert_eq!(hunks(&one), "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n");
        assert_eq!(summary(&one), "1 line");
        assert_eq!(summary(&change(None, Some("a\nb\n"))), "new, 2 lines");
        assert_eq!(summary(&change(Some("a\n"), None)), "deleted");
        let stays = change(Some("a\n"), Some("a\n"));
        assert_eq!((summary(&stays).as_str(), hunks(&stays).as_str()), ("stays", " a\n"));
        assert_eq!(head("a\nb\nc\n", 2), ("a\nb\n".to_owned(), 1));
    }
}
