//! Rules about Cargo manifests and the changelog.

use super::{File, Finding};
use toml::{Table, Value};

const DEPENDENCY_TABLES: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];

/// Every member takes every dependency from the workspace, so that a version and its features are said once.
pub(super) fn dependencies(file: &File) -> Vec<Finding> {
    if !file.path.ends_with("/Cargo.toml") || file.path.starts_with("fuzz/") {
        return Vec::new();
    }
    let manifest: Table = match toml::from_str(&file.text) {
        Ok(manifest) => manifest,
        Err(error) => return vec![Finding::whole(file, format!("not TOML: {error}"))],
    };
    let targets = manifest.get("target").and_then(Value::as_table);
    let per_target = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
    std::iter::once(&manifest)
        .chain(per_target)
        .flat_map(|table| DEPENDENCY_TABLES.iter().filter_map(|name| table.get(*name)?.as_table()))
        .flat_map(Table::iter)
        .filter(|(_, value)| value.get("workspace").and_then(Value::as_bool) != Some(true))
        .map(|(name, _)| Finding::whole(file, format!("`{name}` must say `workspace = true`")))
        .collect()
}

/// The changelog has a place for what is not released yet.
pub(super) fn changelog(file: &File) -> Vec<Finding> {
    let is_heading = |line: &str| line.starts_with("## ") && line.contains("Unreleased");
    if file.path != "CHANGELOG.md" || file.text.lines().any(is_heading) {
        return Vec::new();
    }
    vec![Finding::whole(file, "no `## [Unreleased]` heading")]
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::{changelog, dependencies};

    #[test]
    fn a_dependency_with_a_version_of_its_own_is_named_wherever_it_stands() {
        let text = "[dependencies]\na.workspace = true\nb = \"1\"\n[dev-dependencies]\nc = { path = \"../c\" }\n\
                    [target.'cfg(unix)'.dependencies]\nd = { version = \"1\" }\ne = { workspace = true, features = [] }\n";
        let found: Vec<_> = dependencies(&file("crates/x/Cargo.toml", text)).into_iter().map(|f| f.message).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        for name in ["`b`", "`c`", "`d`"] {
            assert!(found.iter().any(|message| message.contains(name)), "{name}: {found:?}");
        }
    }

    #[test]
    fn a_changelog_without_unreleased_is_refused() {
        assert_eq!(changelog(&file("CHANGELOG.md", "# Changelog\n")).len(), 1);
        assert!(changelog(&file("CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n")).is_empty());
    }
}
