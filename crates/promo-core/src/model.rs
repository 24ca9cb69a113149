//! The validated pipeline: what the configuration means once every name is resolved, every default applied and every
//! diagnostic answered. `config` is the only place that makes one from text.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{ArtifactName, CheckName, EnvironmentName, GateName, PipelineName, RoleName, TargetName, WindowName};
use crate::newest::Newest;
use crate::requirement::EvidenceGate;

/// A pipeline: artifacts, environments and the rules between them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// Its name, unique within a ledger.
    pub name: PipelineName,
    /// How long nothing newer may have come before the newest tags of several artifacts are one release, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<u64>,
    /// What a release is made of, by component.
    pub artifacts: BTreeMap<ArtifactName, Artifact>,
    /// Checks that environments name in `verify`.
    pub checks: BTreeMap<CheckName, Check>,
    /// Windows and freezes that environments name in `windows`.
    pub windows: BTreeMap<WindowName, crate::windows::WindowSpec>,
    /// Gates over evidence that environments name in `gates`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub gates: BTreeMap<GateName, EvidenceGate>,
    /// The nodes of the graph.
    pub environments: BTreeMap<EnvironmentName, Environment>,
}

/// One component of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// What it is.
    pub kind: ArtifactKind,
    /// Where the build puts it: `registry/repository` or `oci-layout:PATH`, without tag and digest.
    pub repository: String,
    /// Which tags may become releases, as a glob; none means that only a digest or an exact tag is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<String>,
    /// Which of those tags is the newest.
    #[serde(default, skip_serializing_if = "Newest::is_default")]
    pub newest: Newest,
}

/// Kinds of artifact. Both are OCI manifests and are copied alike; they differ in where their metadata stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ArtifactKind {
    /// A container image or image index.
    Image,
    /// A Helm chart in an OCI registry.
    Chart,
}

/// How much an environment matters; policy attaches its floors to tiers (S0.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Where developers try things.
    Development,
    /// Where a release is tested.
    Testing,
    /// The last stop before production, as like it as can be.
    Staging,
    /// Where users are.
    Production,
}

impl Tier {
    /// All tiers, lowest first.
    pub const ALL: [Self; 4] = [Self::Development, Self::Testing, Self::Staging, Self::Production];

    /// The word used in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Testing => "testing",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }
}

impl core::fmt::Display for Tier {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.as_str())
    }
}

/// A node of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Its tier.
    pub tier: Tier,
    /// Which environments must have verified a release before it may enter here.
    pub after: After,
    /// Whether `promo advance` promotes into it by itself.
    pub start: Start,
    /// What a newer release does to one that is soaking here for a successor (S4.3).
    pub arrival: Arrival,
    /// How long a release must have lived in each named predecessor before it may enter here (S4, S16).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub soak: BTreeMap<EnvironmentName, Soak>,
    /// The places it deploys to; empty for a control-only node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub targets: BTreeMap<TargetName, Target>,
    /// How it is deployed; none for a control-only node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy: Option<Deployment>,
    /// Artifacts are copied before they are deployed: repository prefix to repository prefix.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mirror: BTreeMap<String, String>,
    /// Checks that must pass here after a deployment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verify: Vec<CheckName>,
    /// Approval rules, all of which must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approval: Vec<ApprovalRule>,
    /// Windows and freezes that apply here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<WindowName>,
    /// Gates over evidence that a release must pass to enter here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateName>,
    /// Who signs what is written beside the artifacts that were copied here, once a promotion was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attest: Option<Attest>,
    /// What happens when a deployment or its verification fails.
    pub on_failure: OnFailure,
    /// For how long its automatic checks are asked again after they have passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
    /// The order of its targets, every one of them in exactly one wave; empty where they are deployed one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waves: Vec<Wave>,
    /// What a window that closes between two waves does.
    #[serde(default, skip_serializing_if = "OnClose::is_finish")]
    pub on_close: OnClose,
}

/// Who tells of promotions, and with which key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attest {
    /// Who says it, as a URI.
    pub by: String,
    /// The name of the secret that holds the private key, or where it lies.
    pub key: String,
}

/// A time of watching after a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// How long, in seconds, from the last check that passed.
    pub seconds: u64,
    /// Seconds from the end of one round of checks to the next.
    pub every: u64,
}

/// Targets that are deployed together, before those of the next wave (R10).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Wave {
    /// Which, in the order in which they begin; never empty.
    pub targets: Vec<TargetName>,
    /// How many of them are under way at once, at most; at least 1.
    pub at_once: u32,
    /// For how many seconds the next wave waits once this one is done; the last wave has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<u64>,
}

/// What a window that closes between two waves of an environment does (S5.5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum OnClose {
    /// Nothing: the environment is finished.
    #[default]
    Finish,
    /// No further wave begins until it opens again.
    StopAtWave,
}

impl OnClose {
    /// Whether it is the default.
    #[must_use]
    pub fn is_finish(&self) -> bool {
        *self == Self::Finish
    }
}

impl Environment {
    /// Whether nothing is deployed here: the node only joins, gates and records.
    #[must_use]
    pub const fn is_control_only(&self) -> bool {
        self.deploy.is_none()
    }

    /// Whether a release that was here has been through staging (S0.3): a node that deploys nowhere, or checks nothing,
    /// shows nothing, whatever tier it is given.
    #[must_use]
    pub fn proves_staging(&self) -> bool {
        self.tier == Tier::Staging && !self.is_control_only() && !self.targets.is_empty() && !self.verify.is_empty()
    }

    /// Whether this is a production-tier environment.
    #[must_use]
    pub fn is_production(&self) -> bool {
        self.tier == Tier::Production
    }
}

/// The predecessors of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum After {
    /// A root: takes releases as they are added.
    Root,
    /// Every one of these must have verified the same release.
    All(BTreeSet<EnvironmentName>),
    /// At least `at_least` of `of`, and every one of `always`.
    AtLeast {
        /// How many; between 1 and the size of `of`.
        at_least: u32,
        /// Which count.
        of: BTreeSet<EnvironmentName>,
        /// Which must be among them.
        always: BTreeSet<EnvironmentName>,
    },
}

impl After {
    /// Every environment named as a predecessor, in name order.
    #[must_use]
    pub fn environments(&self) -> Vec<&EnvironmentName> {
        match self {
            Self::Root => Vec::new(),
            Self::All(of) | Self::AtLeast { of, .. } => of.iter().collect(),
        }
    }
}

/// Who starts a promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// `promo advance`, as soon as every gate is open.
    Auto,
    /// A person.
    Manual,
}

/// What a newer release does to one that is soaking for a successor (S4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arrival {
    /// It waits until the soak is met.
    Hold,
    /// It replaces it, and the loser is recorded as superseded.
    Replace,
}

/// How long, and how interruptions count (S4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Soak {
    /// Seconds of verified, healthy residence.
    pub seconds: u64,
    /// Whether a replacement starts the time over.
    pub mode: SoakMode,
    /// What recorded bad health does.
    pub unhealthy: OnUnhealthy,
}

/// Whether time in earlier residences counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SoakMode {
    /// One unbroken residence must be long enough.
    Reset,
    /// Residences add up.
    Accumulate,
}

/// What recorded bad health does to a soak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnhealthy {
    /// The time starts over.
    Reset,
    /// The time stands still.
    Pause,
}

/// What happens when a deployment or its verification fails (S9.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Back to the release that the plan named, once.
    Rollback,
    /// It stays as it is and waits for a roll-forward.
    Hold,
}

/// One place that an environment deploys to, in the words of its provider: `{ directory = "…" }`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Target(pub BTreeMap<String, String>);

/// The kinds of thing a target can be, for policy's claims (S0.2).
impl Target {
    /// One line that names the place: `directory=environments/dev`.
    #[must_use]
    pub fn address(&self) -> String {
        let mut out = String::new();
        for (key, value) in &self.0 {
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(key);
            out.push('=');
            out.push_str(value);
        }
        out
    }

    /// Whether the place is on this machine: only a directory is.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.0.keys().all(|key| key == "directory")
    }
}

/// How an environment is deployed: a provider and its settings, `{environment}` already replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    /// The provider, which is the key in the file: `deploy.directory = {…}`.
    pub provider: String,
    /// Its settings, checked against the provider's [`crate::kinds::KindSchema`].
    pub settings: Value,
    /// Paths and globs of the files that it uses, relative to the pipeline file.
    pub files: Vec<String>,
}

/// A check that an environment's verification can name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Check {
    /// A provider runs it after a deployment. `{environment}` in its settings is replaced by [`Check::for_environment`].
    Automatic {
        /// The provider, which is the key in the file: `http = {…}`.
        provider: String,
        /// Its settings.
        settings: Value,
        /// Paths and globs of the files that it uses.
        files: Vec<String>,
    },
    /// A person gives the verdict (S6.10).
    Manual {
        /// Roles of which one must be held.
        from: BTreeSet<RoleName>,
    },
}

impl Check {
    /// The check with `{environment}` replaced in every text of its settings and files.
    #[must_use]
    pub fn for_environment(&self, environment: &EnvironmentName) -> Self {
        match self {
            Self::Automatic { provider, settings, files } => Self::Automatic {
                provider: provider.clone(),
                settings: substitute(settings, environment),
                files: files.iter().map(|f| f.replace("{environment}", environment.as_str())).collect(),
            },
            Self::Manual { from } => Self::Manual { from: from.clone() },
        }
    }
}

/// `value` with `{environment}` replaced in every text in it.
#[must_use]
pub fn substitute(value: &Value, environment: &EnvironmentName) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace("{environment}", environment.as_str())),
        Value::Array(items) => items.iter().map(|v| substitute(v, environment)).collect(),
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), substitute(v, environment))).collect(),
        other => other.clone(),
    }
}

/// One approval rule (S6.4): `count` people who hold one of `from` and are none of `exclude`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalRule {
    /// How many people; at least 1.
    pub count: u32,
    /// Roles of which each of them holds one; never empty.
    pub from: BTreeSet<RoleName>,
    /// Who may not be among them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub exclude: BTreeSet<Party>,
}

/// Someone who took part in a promotion and may be excluded from approving it (R22).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Party {
    /// Who requested it.
    Initiator,
    /// Any author of the commits between the running and the new release.
    Author,
    /// Who built the artifacts.
    Builder,
    /// Who applies the plan.
    Applier,
}
