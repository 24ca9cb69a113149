//! The refs that a repository shows, and which of them count. What must not live here: asking for them.

use std::collections::{BTreeMap, BTreeSet};

/// How many refs may count at most: more are no choice.
const MOST: usize = 20_000;

/// Refs by name, each with the object that it names.
pub(super) type Shown = BTreeMap<String, String>;

/// What of `git ls-remote` counts: git takes a name for the end of any longer one, and `*` for a slash too, so each is compared once more.
///
/// # Errors
/// In words, where there are too many.
pub(super) fn shown(text: &str, wanted: &BTreeSet<String>) -> Result<Shown, String> {
    let mut out = Shown::new();
    for line in text.lines() {
        let Some((object, name)) = line.split_once('\t') else { continue };
        let hash = matches!(object.len(), 40 | 64) && object.bytes().all(|byte| byte.is_ascii_hexdigit());
        // The second line of a tag says of what it is.
        if hash && !name.ends_with("^{}") && wanted.iter().any(|pattern| matches(pattern, name)) {
            out.insert(name.to_owned(), object.to_owned());
        }
    }
    if out.len() > MOST {
        return Err(format!(
            "has {} refs of those that count, and {MOST} are the most that promo looks into",
            out.len()
        ));
    }
    Ok(out)
}

/// Whether a name is of a pattern, whose one `*` stands for anything, slashes as well: as in what git fetches.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, end)) => name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ref_counts_by_its_whole_name_and_not_by_the_end_of_it() {
        let id = "a".repeat(40);
        let names = [
            "refs/heads/main",
            "refs/heads/mainline",
            "refs/heads/x/refs/heads/main",
            "refs/pull/1/head",
            "refs/tags/v1",
            "refs/tags/v1^{}",
            "refs/tags/old/v1",
            "refs/heads/release/1/2",
            "refs/heads/release",
        ];
        let text: String = names.iter().map(|name| format!("{id}\t{name}\n")).collect();
        let wanted = ["refs/heads/main", "refs/tags/v*", "refs/heads/release/*"].map(String::from).into();
        let found: Vec<String> = shown(&text, &wanted).unwrap().into_keys().collect();
        assert_eq!(found, ["refs/heads/main", "refs/heads/release/1/2", "refs/tags/v1"]);
        assert!(shown("warning: something\nnothing\tof\tthis\nzz\trefs/heads/main\n", &wanted).unwrap().is_empty());
    }

    #[test]
    fn a_repository_of_more_refs_than_anybody_means_is_not_looked_into() {
        let text: String = (0..=MOST).map(|at| format!("{}\trefs/tags/v{at}\n", "a".repeat(40))).collect();
        assert!(shown(&text, &["refs/tags/v*".to_owned()].into()).is_err());
        assert_eq!(shown(&text, &["refs/tags/v7".to_owned()].into()).unwrap().len(), 1);
    }
}
