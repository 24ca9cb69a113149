//! What was seen in a repository of source when promo asked it for a commit: promo's own document, with its one spelling. What must not live
//! here: asking a repository, and what a gate makes of the answer.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{About, Kind, Report, Tool};

/// The format of the document.
const FORMAT: &str = "promo/source/v1";
/// How many tips a document tells at most; how many more there are it counts.
pub const TIPS_TOLD: usize = 50;

/// What a repository showed of one commit, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// Where it lies, as the gate says it.
    pub repository: String,
    /// The refs from which the commit may be reached, as the gate says them.
    pub refs: BTreeSet<String>,
    /// The commit that was asked for.
    pub commit: String,
    /// Whether the repository has it at all.
    pub exists: bool,
    /// A ref of those from which it is reached, the first by name; none where it is from none of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<Tip>,
    /// The refs of those that there were, each with the commit at its tip, the first by name.
    pub tips: BTreeMap<String, String>,
    /// How many more of them there were.
    #[serde(default, skip_serializing_if = "is_none")]
    pub more_tips: u64,
}

/// A ref, with the commit to which it led.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tip {
    /// Its whole name.
    pub name: String,
    /// The commit.
    pub commit: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
const fn is_none(count: &u64) -> bool {
    *count == 0
}

/// The document as it is written down.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: String,
    /// When it was seen.
    at: Timestamp,
    /// What looked: `git`, with its version where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    git: Option<String>,
    seen: Seen,
}

impl Seen {
    /// The document that says so: its canonical JSON.
    ///
    /// # Errors
    /// Never for what was seen: its fields are texts and numbers.
    pub fn to_bytes(&self, at: Timestamp, git: Option<&str>) -> Result<Vec<u8>, String> {
        let written = Written { kind: FORMAT.into(), at, git: git.map(String::from), seen: self.clone() };
        crate::canonical::to_vec(&written).map_err(|error| error.to_string())
    }

    /// Reads such a document, as facts like those of every other.
    ///
    /// # Errors
    /// Why the bytes are none, in words without any of their content.
    pub fn report(bytes: &[u8]) -> Result<Report, String> {
        let written: Written =
            crate::canonical::from_slice(bytes).map_err(|_| format!("it is no document `{FORMAT}`"))?;
        if written.kind != FORMAT {
            return Err(format!("it is of a version that this promo does not know, and not `{FORMAT}`"));
        }
        let mut about = About::new(Kind::Source);
        about.tools = vec![Tool { name: "git".into(), version: written.git }];
        about.made = Some(written.at);
        about.version = Some("1".into());
        Ok(Report { seen: Some(written.seen), ..Report::new(about) })
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { repository, commit, .. } = self;
        match &self.reached {
            Some(Tip { name, commit: tip }) if tip == commit => write!(f, "{commit} is {name} of {repository}"),
            Some(Tip { name, .. }) => write!(f, "{commit} is reachable from {name} of {repository}"),
            None if self.exists => {
                write!(f, "{commit} is in {repository}, and reachable from no ref that may be released")
            }
            None => write!(f, "{repository} does not have {commit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_read_as_it_was_written_and_in_no_other_spelling() {
        let seen = Seen {
            repository: "https://git.example/acme/shop".into(),
            refs: ["refs/heads/main".to_string()].into(),
            commit: "a".repeat(40),
            exists: true,
            reached: Some(Tip { name: "refs/heads/main".into(), commit: "b".repeat(40) }),
            tips: [("refs/heads/main".to_string(), "b".repeat(40))].into(),
            more_tips: 0,
        };
        let at: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let bytes = seen.to_bytes(at, Some("2.47.3")).unwrap();
        let report = Seen::report(&bytes).unwrap();
        assert_eq!((report.seen.as_ref(), report.about.made), (Some(&seen), Some(at)));
        assert!(report.summary().ends_with("is reachable from refs/heads/main of https://git.example/acme/shop"));
        let text = String::from_utf8(bytes).unwrap();
        for other in [
            text.replace("source/v1", "source/v2"),
            text.replace("\"exists\":true", "\"exists\": true"),
            text.replace("\"exists\":true", "\"exists\":true,\"signed\":true"),
            text.replace(":true", ":1"),
        ] {
            assert_ne!(other, text);
            assert!(Seen::report(other.as_bytes()).is_err(), "{other}");
        }
    }
}
