//! Rules about any text file: whitespace, and no path of somebody's machine.

use super::{File, Finding};

/// Roots of private directories. Spelt in two pieces, or this file would break its own rule.
const PRIVATE_ROOTS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// No tab and no trailing whitespace in .rs, .md and .toml, and a newline at the end.
///
/// Test data may hold both on purpose, and goldens hold what a program printed.
pub(super) fn whitespace(file: &File) -> Vec<Finding> {
    if !matches!(file.extension(), "rs" | "md" | "toml") || is_data(file) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, line) in file.lines() {
        if line.contains('\t') {
            findings.push(Finding::at(file, number, "a tab"));
        }
        if line.ends_with([' ', '\r', '\t']) {
            findings.push(Finding::at(file, number, "whitespace at the end of the line"));
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        findings.push(Finding::whole(file, "no newline at the end"));
    }
    findings
}

fn is_data(file: &File) -> bool {
    (file.path.starts_with("tests/") && !file.is_rust() && file.path != "tests/Cargo.toml")
        || (file.path.starts_with("pipelines/") && file.path.contains("/expected/"))
        || file.path.contains("/tests/data/")
        || file.path.contains("/snapshots/")
}

/// No absolute path into a private directory: it works on one machine only and tells about it.
pub(super) fn machine_paths(file: &File) -> Vec<Finding> {
    if file.path == "Cargo.lock" {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (number, line) in file.lines() {
        for root in PRIVATE_ROOTS {
            if line.match_indices(root).any(|(at, _)| starts_a_path(line, at)) {
                findings.push(Finding::at(file, number, format!("an absolute path of one machine: `{root}`")));
            }
        }
    }
    findings
}

/// Whether the slash at `at` begins a path, rather than being in the middle of a relative one or of an address.
fn starts_a_path(line: &str, at: usize) -> bool {
    line[..at].chars().next_back().is_none_or(|c| !(c.is_alphanumeric() || "._-~*}$)>".contains(c)))
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::{PRIVATE_ROOTS, machine_paths, whitespace};

    #[test]
    fn tabs_trailing_blanks_and_a_missing_newline_are_each_named() {
        let found = whitespace(&file("a.md", "one\t1\ntwo \nthree"));
        let messages: Vec<_> = found.iter().map(|finding| (finding.line, finding.message.as_str())).collect();
        assert_eq!(
            messages,
            [(Some(1), "a tab"), (Some(2), "whitespace at the end of the line"), (None, "no newline at the end"),]
        );
    }

    #[test]
    fn test_data_and_goldens_may_hold_any_whitespace() {
        assert!(whitespace(&file("tests/data/tab.toml", "a\t=1 ")).is_empty());
        assert!(whitespace(&file("pipelines/x/expected/plan.md", "a \n")).is_empty());
        assert!(!whitespace(&file("tests/src/lib.rs", "a \n")).is_empty());
    }

    #[test]
    fn a_private_path_is_found_and_a_relative_one_is_not() {
        for root in PRIVATE_ROOTS {
            assert_eq!(machine_paths(&file("a.sh", &format!("cd {root}x\n"))).len(), 1, "{root}");
            assert_eq!(machine_paths(&file("a.sh", &format!("{root}x\n"))).len(), 1, "{root}");
            assert!(machine_paths(&file("a.sh", &format!("cd frame{root}x https://host.example{root}\n"))).is_empty());
        }
    }
}
