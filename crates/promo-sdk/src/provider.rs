//! The trait and its requests and answers.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use jiff::Timestamp;
use promo_core::Digest;
pub use promo_core::inputs::{ArtifactInput, FileChange, Inputs};
use promo_core::kinds::KindSchema;
pub use promo_core::requirement::Nature;
use promo_core::state::State;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::drift::{DriftAnswer, DriftRequest};
use crate::error::{ErrorKind, ProviderError};

/// Bytes that a sentence of an answer may have: a detail, an error's message, a media type.
pub const MAX_DETAIL: usize = 8 << 10;

/// Bytes that all keys and values of an evidence, or of an artifact's metadata, may have together.
pub const MAX_EVIDENCE: usize = 64 << 10;

/// What reaches one kind of outside thing. Every method but `ensure` only reads.
#[async_trait]
pub trait Provider: Send + Sync {
    /// What it is and can do. Constant.
    fn describe(&self) -> Description;

    /// Finds what an artifact reference means now, and checks every digest of its tree.
    async fn resolve(&self, _cx: &Context, _request: &ResolveRequest) -> Result<Resolved, ProviderError> {
        Err(unsupported(self, "resolve"))
    }

    /// The names of the tags of a repository that can be a release's: neither those that are made to move (R2), nor those that only
    /// have in them what is attached to something. Says of none what it points at.
    async fn tags(&self, _cx: &Context, _repository: &str) -> Result<BTreeSet<String>, ProviderError> {
        Err(unsupported(self, "list tags"))
    }

    /// When what a reference means now says that it was created, without a look at all of its tree: a claim, good enough for telling
    /// which of two builds is the newer. None where it does not say so, as of a build that is the same whenever it is made.
    async fn created(&self, _cx: &Context, _request: &ResolveRequest) -> Result<Option<Timestamp>, ProviderError> {
        Err(unsupported(self, "tell when something was created"))
    }

    /// The documents that are attached to an artifact where it lies: signatures, attestations, bills, reports. A pure read. A refusal or
    /// a busy server is an error, never "nothing is attached".
    async fn attached(&self, _cx: &Context, _request: &AttachedRequest) -> Result<Vec<Attached>, ProviderError> {
        Err(unsupported(self, "attached"))
    }

    /// What is at a place now. A pure read.
    async fn observe(&self, _cx: &Context, _request: &ObserveRequest) -> Result<State, ProviderError> {
        Err(unsupported(self, "observe"))
    }

    /// What `ensure` with these inputs would leave there, and how that differs from what is there. A pure read.
    async fn preview(&self, _cx: &Context, _request: &ObserveRequest) -> Result<Preview, ProviderError> {
        Err(unsupported(self, "preview"))
    }

    /// Makes a place be as desired. Idempotent: when the desired state is there, nothing is changed; when the state is
    /// neither the expected nor the desired one, nothing is changed and the error is [`ErrorKind::Conflict`]. Where that takes
    /// several effects, a place at which only some of them are is observed as [`State::between`] the two.
    async fn ensure(&self, _cx: &Context, _request: &EnsureRequest) -> Result<EnsureAnswer, ProviderError> {
        Err(unsupported(self, "ensure"))
    }

    /// Waits until what is there runs, after `ensure` or where there was nothing to change: pods are ready, jobs have ended.
    /// Called before the effect is recorded, and called again by whoever resumes. Gives what runs then, which is compared with
    /// the release (S2.5).
    ///
    /// # Errors
    /// [`ErrorKind::Failed`] when it does not run in time or says that it never will: then the step has failed although
    /// the desired state is there.
    async fn settle(&self, _cx: &Context, _request: &ObserveRequest) -> Result<Settled, ProviderError> {
        Ok(Settled::default())
    }

    /// How a place differs from what was recorded there. A pure read; one that cannot say more says which state is there.
    async fn drift(&self, cx: &Context, request: &DriftRequest) -> Result<DriftAnswer, ProviderError> {
        let request = ObserveRequest { inputs: request.inputs.clone() };
        self.observe(cx, &request).await.map(DriftAnswer::state)
    }

    /// Whether a deployment can be made from these inputs, of which release, artifacts and tags only stand for real ones: what is
    /// certainly wrong whatever the release. Looks at no place and changes nothing. Gives the images that would run, as
    /// [`Preview::images`].
    async fn lint(&self, _cx: &Context, _inputs: &Inputs) -> Result<Vec<String>, ProviderError> {
        Ok(Vec::new())
    }

    /// The programs of this machine that a deployment of these inputs is made with, by name, each with its version: a plan names them,
    /// and one that was made with another is made again. Reads only.
    async fn programs(&self, _cx: &Context, _inputs: &Inputs) -> Result<BTreeMap<String, String>, ProviderError> {
        Ok(BTreeMap::new())
    }

    /// Whether a check could be run here at all: its program is there, and its settings make sense. Asked before anything
    /// is changed; runs nothing, and sees nothing of what the check is about.
    async fn ready(&self, _cx: &Context, _request: &CheckRequest) -> Result<(), ProviderError> {
        Ok(())
    }

    /// Whether a check looks at the target that it is asked about. One that does not is asked once for an environment,
    /// however many targets that has.
    fn looks_at_targets(&self) -> bool {
        true
    }

    /// Whether its checks look at a deployment while it is under way, by [`Provider::during`], instead of at what is there
    /// afterwards. Such a check is asked once for an environment, and only where a deployment is made.
    fn looks_during(&self) -> bool {
        false
    }

    /// Runs a check from before the first step of a deployment on, until `over` is cancelled: all steps are taken then, and
    /// what was deployed runs. It looks at least once.
    async fn during(
        &self,
        _cx: &Context,
        _request: &CheckRequest,
        _over: &CancellationToken,
    ) -> Result<CheckResult, ProviderError> {
        Err(unsupported(self, "during"))
    }

    /// Runs a check.
    async fn verify(&self, _cx: &Context, _request: &CheckRequest) -> Result<CheckResult, ProviderError> {
        Err(unsupported(self, "verify"))
    }
}

fn unsupported<P: Provider + ?Sized>(provider: &P, verb: &str) -> ProviderError {
    ProviderError::new(ErrorKind::Invalid, format!("provider `{}` cannot {verb}", provider.describe().name))
}

/// What a provider is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Its name: the key in pipeline files.
    pub name: String,
    /// Its version, recorded in plans.
    pub version: String,
    /// How far doubt about an effect of `ensure` can be settled (S9.3).
    pub effects: EffectClass,
    /// The kinds of deployment and check that it offers.
    pub kinds: Vec<KindSchema>,
}

/// How far doubt about an effect can be settled (S9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EffectClass {
    /// The backend refuses a writer that holds an old epoch or state.
    Fenced,
    /// Whether it took effect can be observed.
    Observable,
    /// Neither: doubt is `stuck`, never a guess.
    Opaque,
}

/// Asks what a reference means now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolveRequest {
    /// `repository:tag`, `repository@digest` or both.
    pub reference: String,
}

/// What a reference means now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// The digest of the top-level manifest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Bytes of all manifests and blobs together.
    pub size: u64,
    /// Digests of the manifests of its tree, itself included.
    pub tree: Vec<Digest>,
    /// What of it runs somewhere: for each platform its manifest, with the configuration that the manifest names. Attestations in an
    /// index are none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub platforms: BTreeMap<Digest, Option<Digest>>,
    /// What it is, where that can be told from what its manifests say that they have in them; what cannot be told counts as an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nature: Option<Nature>,
    /// Annotations and configuration labels, where they agree.
    pub metadata: BTreeMap<String, String>,
    /// Where keys stand of which something is known, in words: `the label of sha256:…`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub said_where: BTreeMap<String, String>,
    /// Keys on which they do not, with what is said where, in words: such a key has no value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contradicted: BTreeMap<String, String>,
}

/// Asks what is attached to an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedRequest {
    /// Where it lies, with its digest.
    pub reference: String,
    /// To what which document is known to be attached: those are not read again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub known: BTreeSet<(Digest, Digest)>,
}

/// A document that is attached to an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The manifest to which it is attached: one of the artifact's tree, or one that is itself attached to one.
    pub subject: Digest,
    /// The manifest that has it.
    pub manifest: Digest,
    /// As what it is kept: a media type (RFC 6838).
    pub media_type: String,
    /// The document. Of cosign's signatures, which lie beside what they sign, both in one, as `cosign download signature` writes them.
    pub bytes: Vec<u8>,
    /// Why this one was not read, where all others were: it is too large. It has no bytes then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
}

/// Asks what is there, or what would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObserveRequest {
    /// What is or would be deployed.
    pub inputs: Inputs,
}

/// What `ensure` would leave behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// What is there now.
    pub current: State,
    /// What would be there.
    pub desired: State,
    /// The difference, by file or object. Secrets are masked before they get here.
    pub changes: Vec<FileChange>,
    /// The images of containers that would run, as they are named there; each once.
    pub images: Vec<String>,
}

/// What runs at a place that has settled.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// The images of its containers; empty where there are none, or where nobody can say.
    pub images: Vec<RunningImage>,
}

/// What containers of one name run in one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunningImage {
    /// The object and the container: `Deployment/web container api`.
    pub place: String,
    /// The image as it was deployed there; none for a container that somebody else has put into the pods.
    pub declared: Option<String>,
    /// The image as whoever runs it names it.
    pub running: String,
    /// The digest of it; none where that is not told.
    pub digest: Option<Digest>,
}

/// Asks to make a place be as desired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnsureRequest {
    /// What it is made from.
    pub inputs: Inputs,
    /// The state that the plan found.
    pub expected: State,
    /// The state that the plan wants.
    pub desired: State,
    /// What the plan shows that this changes, as the provider's own preview had it; empty where it shows nothing, as of a way back.
    pub changes: Vec<FileChange>,
    /// The run and step, for a provider that can leave its mark: `run/step`.
    pub token: String,
    /// The lease epoch, for a provider that can fence.
    pub epoch: u64,
    /// Which ledger gave that epoch: those of two ledgers say nothing about each other.
    #[serde(default)]
    pub ledger: String,
}

/// What `ensure` says that it did. Success is what `observe` says afterwards, not this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnsureAnswer {
    /// Whether anything was changed.
    pub changed: bool,
    /// One line for the log: `3 files written`.
    pub detail: String,
}

/// Asks for a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRequest {
    /// What was deployed; `settings` are the check's own and `files` the check's files.
    pub inputs: Inputs,
    /// The name of the check.
    pub check: String,
    /// The question, for a provider that starts something and must find it again after a kill: the run that asks, and
    /// `/` with something behind it where an earlier question must not be answered again; empty where nothing is to be run.
    #[serde(default)]
    pub token: String,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// Whether it passed. No data is never a pass (S1.3).
    pub passed: bool,
    /// One line for a person: `200 from http://… for 30 s`.
    pub detail: String,
    /// Numbers and short texts worth keeping; never a secret.
    pub evidence: BTreeMap<String, String>,
}
