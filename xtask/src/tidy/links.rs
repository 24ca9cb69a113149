//! Links between Markdown files: what a local link points at must exist. Addresses on the net are not asked.

use super::{File, Finding};

/// Every local link of a Markdown file points at something; `exists` is asked with a path relative to the root.
pub(super) fn local(file: &File, exists: &dyn Fn(&str) -> bool) -> Vec<Finding> {
    if file.extension() != "md" {
        return Vec::new();
    }
    let mut findings = Vec::new();
    let mut fence: Option<&str> = None;
    for (number, line) in file.lines() {
        let start = line.trim_start();
        let marker = ["```", "~~~"].into_iter().find(|marker| start.starts_with(marker));
        match (fence, marker) {
            (None, Some(marker)) => fence = Some(marker),
            (Some(open), Some(marker)) if open == marker => fence = None,
            (None, None) => {
                for target in targets(line) {
                    if let Some(path) = resolve(&file.path, &target)
                        && !exists(&path)
                    {
                        findings.push(Finding::at(file, number, format!("`{target}` leads nowhere")));
                    }
                }
            }
            _ => {}
        }
    }
    findings
}

/// The targets of inline links and of reference definitions in one line, code spans left out.
fn targets(line: &str) -> Vec<String> {
    let text = without_code(line);
    if let Some((label, target)) = text.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]:"))
        && !label.contains(']')
        && !label.starts_with('^')
    {
        return target.split_whitespace().next().map(clean).into_iter().collect();
    }
    let mut found = Vec::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("](") {
        rest = &rest[at + 2..];
        let end = rest.find(')').unwrap_or(rest.len());
        // A title may follow the target.
        if let Some(target) = rest[..end].split_whitespace().next() {
            found.push(clean(target));
        }
        rest = &rest[end..];
    }
    found
}

fn clean(target: &str) -> String {
    target.trim_start_matches('<').trim_end_matches('>').to_owned()
}

fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// The path below the root that a target means, or nothing for a target that is no file of ours.
fn resolve(from: &str, target: &str) -> Option<String> {
    let path = target.split(['#', '?']).next().unwrap_or("");
    let has_scheme =
        target.split_once(':').is_some_and(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_alphanumeric()));
    if path.is_empty() || has_scheme {
        return None;
    }
    let mut parts: Vec<&str> = match path.strip_prefix('/') {
        Some(_) => Vec::new(),
        None => from.split('/').rev().skip(1).collect::<Vec<_>>().into_iter().rev().collect(),
    };
    for part in path.split('/') {
        match part {
            "" | "." => {}
            // Beyond the root nothing of ours exists; the name makes the link fail.
            ".." => match parts.last() {
                Some(last) if *last != ".." => drop(parts.pop()),
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    Some(if parts.first() == Some(&"..") { format!("outside/{}", parts.join("/")) } else { parts.join("/") })
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::{local, resolve, targets};

    #[test]
    fn links_resolve_against_the_file_that_holds_them() {
        assert_eq!(resolve("docs/guide/a.md", "../errors/x.md#top").as_deref(), Some("docs/errors/x.md"));
        assert_eq!(resolve("docs/guide/a.md", "/README.md").as_deref(), Some("README.md"));
        assert_eq!(resolve("README.md", "./docs/").as_deref(), Some("docs"));
        assert_eq!(resolve("README.md", "https://example.org/x"), None);
        assert_eq!(resolve("README.md", "mailto:a@example.org"), None);
        assert_eq!(resolve("README.md", "#section"), None);
    }

    #[test]
    fn every_kind_of_link_is_seen_and_code_is_not() {
        assert_eq!(targets("see [a](x.md) and [b](<y.md> \"title\"), not `[c](z.md)`"), ["x.md", "y.md"]);
        assert_eq!(targets("[ref]: other.md"), ["other.md"]);
        assert!(targets("- [ ] a task: not a link").is_empty());
    }

    #[test]
    fn a_link_that_leads_nowhere_is_reported_with_its_line_and_fences_are_skipped() {
        let text = "# A\n\n[gone](gone.md) [here](here.md)\n```\n[code](nothing.md)\n```\n[up](../../up.md)\n";
        let found = local(&file("docs/a.md", text), &|path| path == "docs/here.md");
        let lines: Vec<_> = found.iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [Some(3), Some(7)], "{found:?}");
    }
}
