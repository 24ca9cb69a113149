//! A document of evidence, as every screen shows it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::ids::ArtifactName;
use promo_core::plan::ReleaseRef;
use promo_core::requirement::Content;
use promo_engine::Session;
use promo_engine::collect::Collected;
use promo_engine::evidence::Brought;
use schemars::JsonSchema;
use serde::Serialize;

use crate::escape;
use crate::output::labels::{Label, label};

/// A document of evidence.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct DocumentView {
    /// Its digest.
    pub(crate) document: Digest,
    /// Its format.
    pub(crate) format: String,
    /// Who made it: a tool and its version, or the format.
    pub(crate) source: String,
    /// When it says that it was made.
    pub(crate) made: Option<Timestamp>,
    /// Who brought it.
    pub(crate) by: String,
    /// When.
    pub(crate) at: Timestamp,
    /// Under which name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// For which digests.
    pub(crate) subjects: Vec<Digest>,
    /// In which manifest it was attached to what it speaks of; none where somebody brought it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attached: Option<String>,
    /// Whose signature it carries, of those whom gates ask for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) signed_by: Vec<String>,
    /// Whom the certificates name of those.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) signed_as: Vec<String>,
    /// What it says, in a few words.
    pub(crate) says: String,
    /// That it counts no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) withdrawn: Option<WithdrawnView>,
}

/// A document that was brought.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct AddedView {
    /// The document.
    pub(crate) evidence: DocumentView,
    /// Whether it was not there before, for the same and by the same name.
    pub(crate) new: bool,
}

/// Who took a document back.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct WithdrawnView {
    /// By whom: who signed it, else a claim.
    pub(crate) by: String,
    /// Whether that is who signed it.
    pub(crate) signed: bool,
    /// When.
    pub(crate) at: Timestamp,
    /// The position of the record that says so.
    pub(crate) record: u64,
    /// The reason that was given.
    pub(crate) reason: Option<String>,
}

/// What was found beside the artifacts of a release.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct CollectedView {
    /// The release.
    pub(crate) release: ReleaseRef,
    /// What the ledger did not have.
    pub(crate) new: Vec<DocumentView>,
    /// What could not be taken: broken, or of a version that promo does not know.
    pub(crate) broken: Vec<BrokenView>,
    /// What lies there and somebody has withdrawn.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) withdrawn: Vec<Digest>,
    /// How many documents are of no format that promo knows, or speak of something else than the artifacts.
    pub(crate) others: usize,
    /// Repositories of source that could not be asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unseen: Vec<UnseenView>,
    /// Places that could not be asked: such an answer ends in an error, which names them.
    #[serde(skip)]
    silent: Vec<String>,
}

/// A repository of source that could not be asked.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct UnseenView {
    /// Which one.
    pub(crate) repository: String,
    /// Why.
    pub(crate) why: String,
}

/// A document that could not be taken.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct BrokenView {
    /// Beside which artifact.
    pub(crate) artifact: ArtifactName,
    /// The manifest that has it.
    pub(crate) at: String,
    /// What is wrong with it.
    pub(crate) why: String,
}

impl CollectedView {
    pub(crate) fn of(release: ReleaseRef, collected: &Collected, session: &Session) -> Self {
        let broken = collected.broken.iter().map(|one| BrokenView {
            artifact: one.artifact.clone(),
            at: one.at.clone(),
            why: one.why.clone(),
        });
        Self {
            release,
            new: collected.new.iter().map(|brought| DocumentView::of(brought, session)).collect(),
            broken: broken.collect(),
            withdrawn: collected.withdrawn.iter().copied().collect(),
            others: collected.others,
            unseen: collected
                .unseen
                .iter()
                .map(|one| UnseenView { repository: one.repository.clone(), why: one.why.to_string() })
                .collect(),
            silent: collected.silent.iter().map(|one| format!("{}: {}", one.repository, one.why)).collect(),
        }
    }

    /// What there is to say, a line for each document.
    pub(crate) fn text(&self) -> String {
        let asked = self.unseen.is_empty() && self.silent.is_empty();
        let nothing = self.new.is_empty() && self.broken.is_empty() && asked;
        let mut out = format!("{}{}\n", self.release, if nothing { ": nothing new lies beside it" } else { "" });
        for one in &self.new {
            out.push_str(&format!("  + {}\n", escape::line(&one.text())));
        }
        for one in &self.broken {
            let (what, at) = (escape::line(&one.why), escape::line(&one.at));
            out.push_str(&format!(
                "  {} not taken, beside {}: {what}\n      {at}\n",
                label(Label::Bad, "✗"),
                one.artifact
            ));
        }
        for one in &self.unseen {
            out.push_str(&format!("  {} {}\n", label(Label::Bad, "✗"), escape::line(&one.why)));
        }
        for one in &self.silent {
            out.push_str(&format!("  {} not asked, {}\n", label(Label::Bad, "✗"), escape::line(one)));
        }
        for document in &self.withdrawn {
            out.push_str(&format!("  {document} still lies there, and stays withdrawn\n"));
        }
        if self.others > 0 {
            out.push_str(&format!("  {} of no format that gates look at\n", counted(self.others)));
        }
        out
    }
}

fn counted(documents: usize) -> String {
    if documents == 1 { "1 document is".to_owned() } else { format!("{documents} documents are") }
}

impl DocumentView {
    /// What was brought.
    pub(crate) fn of(brought: &Brought, session: &Session) -> Self {
        let (entry, signers) = (&brought.entry, session.signers(brought));
        let piece = brought.piece();
        Self {
            document: entry.document,
            format: entry.format.clone(),
            source: promo_core::requirement::source(&piece),
            made: piece.report().and_then(|report| report.about.made),
            by: entry.by.name.clone(),
            at: entry.at,
            name: entry.name.clone(),
            subjects: entry.subjects.iter().copied().collect(),
            attached: entry.attached.clone(),
            signed_by: signers.keys().map(ToString::to_string).collect(),
            signed_as: signers.values().flatten().collect::<BTreeSet<_>>().into_iter().cloned().collect(),
            says: match &brought.content {
                Content::Read(report) => match report.about.form.filter(|_| signers.is_empty()) {
                    Some(form) => format!("promo does not verify {form}"),
                    None => report.summary(),
                },
                Content::Unreadable { why, .. } => format!("cannot be read: {why}"),
            },
            withdrawn: entry.withdrawn.as_ref().map(|withdrawn| WithdrawnView {
                by: withdrawn.by().to_owned(),
                signed: withdrawn.signer.is_some(),
                at: withdrawn.note.at,
                record: withdrawn.note.seq,
                reason: session.reason_given(withdrawn.note.seq).ok().flatten(),
            }),
        }
    }

    /// One line: who made it, under which name it was brought, what it says, and whose signature it carries.
    pub(crate) fn text(&self) -> String {
        let name = self.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        let says = if self.says.is_empty() { String::new() } else { format!(": {}", self.says) };
        let signed = if self.signed_by.is_empty() {
            String::new()
        } else {
            let named =
                if self.signed_as.is_empty() { String::new() } else { format!(" ({})", self.signed_as.join(", ")) };
            format!(", signed by {}{named}", self.signed_by.join(", "))
        };
        let withdrawn = self.withdrawn.as_ref().map(|one| {
            let reason = one.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            format!(" — withdrawn by {}{reason}", one.by)
        });
        format!("{}{name}{says}{signed}{}", self.source, withdrawn.unwrap_or_default())
    }
}
