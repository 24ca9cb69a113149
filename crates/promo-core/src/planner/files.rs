//! Which files belong to whom: shared ones travel with the release, an environment's own stay with it (S0.4).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};

use crate::Digest;
use crate::eligibility::Rules;
use crate::ids::EnvironmentName;
use crate::model::Check;

/// Which of these files an environment uses, for its deployment and its checks.
#[must_use]
pub fn files_of<'a>(
    rules: &Rules<'_>,
    name: &EnvironmentName,
    files: &'a BTreeMap<String, Digest>,
) -> BTreeSet<&'a str> {
    let Some(environment) = rules.pipeline.environments.get(name) else { return BTreeSet::new() };
    let mut patterns: BTreeSet<String> = environment.deploy.iter().flat_map(|d| d.files.iter().cloned()).collect();
    for check in &environment.verify {
        if let Some(Check::Automatic { files, .. }) = rules.pipeline.checks.get(check).map(|c| c.for_environment(name))
        {
            patterns.extend(files);
        }
    }
    patterns.iter().flat_map(|pattern| covered(files, pattern)).map(|(path, _)| path.as_str()).collect()
}

/// The files that more than one environment uses: they belong to the release (S0.4).
#[must_use]
pub fn shared_files<'a>(rules: &Rules<'_>, files: &'a BTreeMap<String, Digest>) -> BTreeSet<&'a str> {
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    for name in rules.pipeline.environments.keys() {
        for path in files_of(rules, name, files) {
            *uses.entry(path).or_default() += 1;
        }
    }
    uses.into_iter().filter(|(_, count)| *count > 1).map(|(path, _)| path).collect()
}

/// The files that a pattern covers. Only those that begin like the pattern are looked at, so that many environments with
/// a file each do not cost their product.
pub(super) fn covered<'a>(
    files: &'a BTreeMap<String, Digest>,
    pattern: &str,
) -> impl Iterator<Item = (&'a String, &'a Digest)> {
    let fixed = pattern.find(['*', '?', '[', '{', '\\']).unwrap_or(pattern.len());
    let prefix = pattern[..fixed].trim_end_matches('/').to_string();
    let pattern = pattern.to_string();
    files
        .range(prefix.clone()..)
        .take_while(move |(path, _)| path.starts_with(&prefix))
        .filter(move |(path, _)| matches(&pattern, path))
}

pub(super) fn matches_any(patterns: &[String], path: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, path))
}

/// Whether a pattern of the pipeline file covers a path: `*` and `?` stay within one segment, `**` does not, and a path
/// without wildcards covers the file of that name or everything below the directory of that name.
#[must_use]
pub fn matches(pattern: &str, path: &str) -> bool {
    match path.strip_prefix(pattern.trim_end_matches('/')) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => true,
        // The crate would take a leading `!` as a negation; here it is a character.
        _ if pattern.starts_with('!') => false,
        _ => fast_glob::glob_match(pattern, path),
    }
}
