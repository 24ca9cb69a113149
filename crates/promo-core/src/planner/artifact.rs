//! References of artifacts and where an environment takes them from.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};

/// `repository` and tag of `repository:tag@digest`. A colon before the last slash belongs to a port or a scheme.
#[must_use]
pub fn split_reference(reference: &str) -> (String, Option<String>) {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    let path_start = name.rfind('/').map_or(0, |slash| slash + 1);
    match name[path_start..].split_once(':') {
        // `oci-layout:PATH` without a slash: the first colon belongs to the scheme.
        Some(("oci-layout", rest)) => match rest.split_once(':') {
            Some((path, tag)) => (format!("oci-layout:{path}"), Some(tag.to_string())),
            None => (name.to_string(), None),
        },
        Some((last, tag)) => (format!("{}{last}", &name[..path_start]), Some(tag.to_string())),
        None => (name.to_string(), None),
    }
}

/// Where a repository is mirrored to by the `mirror` of an environment: the longest prefix wins, and prefixes end at path
/// segments. None where it stays. Nothing is mirrored past the place that the mirror names, which is what policy has judged
/// (S0.2): not by a `..` after the prefix.
#[must_use]
pub fn mirror(prefixes: &BTreeMap<String, String>, repository: &str) -> Option<String> {
    prefixes
        .iter()
        .filter_map(|(from, to)| {
            let rest = repository.strip_prefix(from.as_str())?;
            let below = rest.is_empty() || rest.starts_with('/');
            (below && !rest.split('/').any(|part| part == "..")).then(|| (from.len(), format!("{to}{rest}")))
        })
        .max_by_key(|(length, _)| *length)
        .map(|(_, to)| to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_split_at_the_tag_and_not_at_ports_or_schemes() {
        for (text, repository, tag) in [
            ("r.example:5000/a/b:1.2@sha256:00", "r.example:5000/a/b", Some("1.2")),
            ("r.example:5000/a/b@sha256:00", "r.example:5000/a/b", None),
            ("oci-layout:registry/app:1.2", "oci-layout:registry/app", Some("1.2")),
            ("oci-layout:registry:1.2", "oci-layout:registry", Some("1.2")),
            ("oci-layout:registry", "oci-layout:registry", None),
        ] {
            assert_eq!(split_reference(text), (repository.to_string(), tag.map(String::from)), "{text}");
        }
    }

    #[test]
    fn the_longest_mirror_prefix_wins_and_prefixes_end_at_segments() {
        let prefixes = [("r/a", "p/x"), ("r/a/b", "q")].map(|(a, b)| (a.to_string(), b.to_string())).into();
        assert_eq!(mirror(&prefixes, "r/a/b/c"), Some("q/c".into()));
        assert_eq!(mirror(&prefixes, "r/a/z"), Some("p/x/z".into()));
        assert_eq!(mirror(&prefixes, "r/ab"), None);
        assert_eq!(mirror(&prefixes, "r/a/../../other"), None, "that would leave the place that policy judges (S0.2)");
    }
}
