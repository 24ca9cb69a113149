//! The documents that a gate over evidence judged, as every screen shows them: what each is, who made it, how old it is, where it comes from
//! and what it says, whether the gate is open or not. What must not live here: judging them.

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::gate::{EvidenceDocument, Evidenced};
use schemars::JsonSchema;
use serde::Serialize;

use crate::escape::line;
use crate::output::time;

/// How many of them a line of text names.
const FEW: usize = 3;

/// A document that a gate looked at.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct JudgedView {
    /// Its digest.
    pub(crate) document: Digest,
    /// Its format; empty in plans of earlier versions.
    pub(crate) format: String,
    /// Who made it: a tool and its version, or the format.
    pub(crate) source: String,
    /// When it says that it was made.
    pub(crate) made: Option<Timestamp>,
    /// Of when its tool's database of vulnerabilities is, where it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) database: Option<Timestamp>,
    /// When the ledger took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<Timestamp>,
    /// The repository where it was attached to the artifact; none where somebody brought it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repository: Option<String>,
    /// Who brought it, where somebody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    /// Under which name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// The number that it gives, in a few words: `0 critical, 2 high`.
    pub(crate) says: String,
    /// Why it does not count, where it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why_not: Option<String>,
}

impl JudgedView {
    fn of(one: &EvidenceDocument) -> Self {
        Self {
            document: one.document,
            format: one.format.clone(),
            source: one.source.clone(),
            made: one.made,
            database: one.database,
            at: one.at,
            repository: one.repository.clone(),
            by: one.by.clone(),
            name: one.name.clone(),
            says: one.says.clone(),
            why_not: one.why_not.clone(),
        }
    }

    /// Every document of a gate: those that count before the others.
    pub(super) fn all(said: &Evidenced) -> Vec<Self> {
        said.documents.iter().chain(&said.not_counted).map(Self::of).collect()
    }

    /// `3 h old, database 1 d old, at registry.internal/shop/api`
    fn origin(&self, now: Timestamp) -> String {
        let old = |at: Timestamp| match at > now {
            true => format!("dated {}", at.strftime("%Y-%m-%d %H:%M UTC")),
            false => format!("{} old", time::ago(at, now)),
        };
        let mut all = match (self.made, self.at) {
            (Some(made), _) => vec![old(made)],
            (None, Some(at)) => vec![format!("undated, here for {}", time::ago(at, now))],
            (None, None) => vec!["undated".to_owned()],
        };
        all.extend(self.database.map(|database| format!("its database {}", old(database))));
        let place = self.repository.as_ref().map(|place| format!("at {}", line(place)));
        all.extend(place.or_else(|| self.by.as_ref().map(|by| format!("brought by {}", line(by)))));
        all.join(", ")
    }

    /// `trivy 0.58.1 (nightly): 1 critical, 2 high, 3 h old, at registry.internal/shop/api`
    fn text(&self, now: Timestamp) -> String {
        let name = self.name.as_ref().map(|name| format!(" ({})", line(name))).unwrap_or_default();
        let says = if self.says.is_empty() { String::new() } else { format!(": {}", line(&self.says)) };
        format!("{}{name}{says}, {}", line(&self.source), self.origin(now))
    }
}

/// The documents of a gate in a few words, for the end of the line that says how it stands; nothing of a gate that looked at none. An open
/// gate has said already what its only document says.
pub(crate) fn told(documents: &[JudgedView], more: u64, open: bool, now: Timestamp) -> String {
    let counted: Vec<&JudgedView> = documents.iter().filter(|one| one.why_not.is_none()).collect();
    match (counted.as_slice(), more) {
        ([], _) => String::new(),
        ([one], 0) if open => format!(" ({})", one.origin(now)),
        (all, more) => {
            let mut told: Vec<String> = all.iter().take(FEW).map(|one| one.text(now)).collect();
            let more = more + all.len().saturating_sub(FEW) as u64;
            told.extend((more > 0).then(|| format!("and {more} more")));
            format!(" (judged {})", told.join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(n: u64) -> JudgedView {
        let at = |text: &str| Some(text.parse().unwrap());
        JudgedView {
            document: Digest::of(n.to_string().as_bytes()),
            format: "trivy".into(),
            source: format!("trivy 0.{n}"),
            made: at("2026-11-20T09:00:00Z"),
            database: at("2026-11-19T12:00:00Z"),
            at: at("2026-11-20T10:00:00Z"),
            repository: Some("registry.internal/shop/api".into()),
            by: None,
            name: None,
            says: format!("{n} critical"),
            why_not: None,
        }
    }

    #[test]
    fn s1_2_a_gate_names_each_document_with_its_number_its_age_and_where_it_comes_from() {
        let now = "2026-11-20T12:00:00Z".parse().unwrap();
        let one = [document(1)];
        let origin = "3 h old, its database 1 d old, at registry.internal/shop/api";
        assert_eq!(told(&one, 0, true, now), format!(" ({origin})"));
        assert_eq!(told(&one, 0, false, now), format!(" (judged trivy 0.1: 1 critical, {origin})"));
        assert_eq!(told(&[], 0, false, now), "");
        let brought = JudgedView {
            made: None,
            database: None,
            repository: None,
            by: Some("dana\u{1b}".into()),
            name: Some("nightly".into()),
            ..document(2)
        };
        let text = " (judged trivy 0.2 (nightly): 2 critical, undated, here for 2 h, brought by dana\\u{1b})";
        assert_eq!(told(&[brought], 0, false, now), text);
        let late = JudgedView { made: Some("2026-11-21T09:00:00Z".parse().unwrap()), database: None, ..document(1) };
        assert!(told(&[late], 0, true, now).starts_with(" (dated 2026-11-21 09:00 UTC, at"), "the future has no age");
    }

    #[test]
    fn s1_2_of_many_documents_a_few_are_named_and_the_rest_is_counted() {
        let now = "2026-11-20T12:00:00Z".parse().unwrap();
        let passed_over = JudgedView { why_not: Some("nobody signed it".into()), ..document(9) };
        let many: Vec<JudgedView> = (0..5).map(document).chain([passed_over]).collect();
        let text = told(&many, 7, true, now);
        assert!(text.starts_with(" (judged trivy 0.0: 0 critical, ") && text.ends_with("; and 9 more)"), "{text}");
        assert!(text.contains("trivy 0.2") && !text.contains("trivy 0.3") && !text.contains("trivy 0.9"), "{text}");
    }
}
