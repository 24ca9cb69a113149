//! What a build has to say of a release. What must not live here: where that is read.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Assessment, Fault, Verdict};

/// The commit (OCI image specification, "Pre-Defined Annotation Keys").
pub(super) const REVISION: &str = "org.opencontainers.image.revision";
/// When it was built (the same).
const CREATED: &str = "org.opencontainers.image.created";

/// What is said behind keys; nothing where that was erased.
type Said = BTreeMap<String, Option<String>>;

/// Keys that a release's metadata must have.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataRequirement {
    /// The keys; never empty. What is known of the form of one is asked of it too.
    pub keys: BTreeSet<String>,
}

impl MetadataRequirement {
    /// The same with what there is, in words.
    #[must_use]
    pub fn assess(&self, said: &Said, contradicted: &Said) -> Assessment {
        let keys: Vec<&str> = self.keys.iter().map(String::as_str).collect();
        Assessment { summary: format!("the build said {}", keys.join(", ")), ..self.judge(said, contradicted).into() }
    }

    /// Judges what a build said: nothing behind a key whose text was erased, which is as good as not said. What an artifact contradicts itself in is
    /// not mended by what was given beside it.
    #[must_use]
    pub fn judge(&self, said: &Said, contradicted: &Said) -> Verdict {
        let mut verdict = Verdict::default();
        for key in &self.keys {
            if let Some(said) = contradicted.get(key) {
                verdict.fault(Fault::Contradicted { key: key.clone(), said: said.clone() });
                continue;
            }
            match said.get(key).map(Option::as_deref) {
                None | Some(Some("")) => verdict.fault(Fault::NotSaid { key: key.clone() }),
                Some(None) => verdict.fault(Fault::Erased { key: key.clone() }),
                Some(Some(value)) => {
                    if let Some(expected) = malformed(key, value) {
                        verdict.fault(Fault::Malformed { key: key.clone(), expected: expected.into() });
                    }
                }
            }
        }
        verdict
    }
}

/// Whether it is the whole hash of a commit, SHA-1 or SHA-256.
pub(super) fn is_commit(text: &str) -> bool {
    let hex = text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    hex && matches!(text.len(), 40 | 64)
}

/// What is expected of a value that is not of the form that its key demands.
fn malformed(key: &str, value: &str) -> Option<&'static str> {
    match key {
        REVISION if !is_commit(value) => {
            Some("the whole hash of a commit, 40 or 64 hexadecimal digits, of a clean tree")
        }
        // A reproducible build says the beginning of time, which tells nobody when it was.
        CREATED if value.parse::<Timestamp>().ok().is_none_or(|made| made == Timestamp::UNIX_EPOCH) => {
            Some("when it was built, as RFC 3339 writes it")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requirement::Standing;
    use alloc::string::ToString;

    fn standing(key: &str, value: Option<Option<&str>>) -> Standing {
        let said = value.map(|value| (key.to_string(), value.map(ToString::to_string)));
        MetadataRequirement { keys: [key.to_string()].into() }
            .judge(&said.into_iter().collect(), &Said::new())
            .standing()
    }

    #[test]
    fn a_key_is_there_and_of_the_form_that_it_has() {
        let commit = "1f2e3d4c5b6a79880716253443526170f0e1d2c3";
        for (key, value, expected) in [
            ("ci.run.id", None, Standing::Missing),
            ("ci.run.id", Some(Some("")), Standing::Missing),
            ("ci.run.id", Some(Some("42")), Standing::Met),
            ("ci.run.id", Some(None), Standing::Missing),
            (REVISION, Some(Some(commit)), Standing::Met),
            (REVISION, Some(Some(&commit[..12])), Standing::Bad),
            (REVISION, Some(Some("1f2e3d4c5b6a79880716253443526170f0e1d2c3-dirty")), Standing::Bad),
            (CREATED, Some(Some("2026-11-20T14:02:07Z")), Standing::Met),
            (CREATED, Some(Some("1970-01-01T00:00:00Z")), Standing::Bad),
            (CREATED, Some(Some("yesterday")), Standing::Bad),
        ] {
            assert_eq!(standing(key, value), expected, "{key} {value:?}");
        }
    }
    #[test]
    fn s5_1_what_an_artifact_contradicts_itself_in_is_a_conflict_and_not_missing_whatever_was_given() {
        let requirement = MetadataRequirement { keys: ["team".to_string()].into() };
        let words = "`a` as an annotation, `b` as a label";
        for said in [Said::new(), [("team".to_string(), Some("a".to_string()))].into()] {
            for (told, shown) in [(Some(words.to_string()), words), (None, "erased")] {
                let verdict = requirement.judge(&said, &[("team".to_string(), told)].into());
                assert_eq!((verdict.standing(), verdict.faults[0].code()), (Standing::Bad, "metadata-conflict"));
                assert!(verdict.faults[0].to_string().contains(shown), "{:?}", verdict.faults);
            }
            let other = requirement.judge(&said, &[("other".to_string(), None)].into());
            assert_ne!(other.standing(), Standing::Bad, "of another key that nobody asks for");
        }
    }
}
