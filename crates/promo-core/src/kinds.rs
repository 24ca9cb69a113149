//! What a provider accepts in the pipeline file, as data: the configuration checks keys and types against it with the
//! reader's own spans, so no provider needs to read TOML.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// The settings of one kind of deployment or check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindSchema {
    /// Where the kind may stand.
    pub place: Place,
    /// The key in the file, which is also the provider's name: `directory`, `http`.
    pub kind: String,
    /// One line about what it does.
    pub about: String,
    /// Its settings.
    pub keys: Vec<KeySchema>,
    /// For a deployment: the keys of the targets it can deploy to, `directory` or `cluster` and `namespace`.
    #[serde(default)]
    pub target_keys: Vec<String>,
}

/// Where a kind may stand in the pipeline file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// `deploy.KIND = {…}`
    Deploy,
    /// `[checks.NAME] KIND = {…}`
    Check,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySchema {
    /// Its name.
    pub name: String,
    /// What may stand there.
    pub value: ValueKind,
    /// Whether it must be given.
    pub required: bool,
    /// Whether its texts are paths or globs of files that are content-addressed with the plan (S2.4).
    pub files: bool,
    /// One line for the reference.
    pub about: String,
}

/// What may stand behind a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueKind {
    /// A text.
    Text,
    /// A whole number that is not negative.
    Number,
    /// `true` or `false`.
    Flag,
    /// A duration such as `"30s"`, `"10m"`, `"1h 30m"` or `"7d"`; lowered to whole seconds.
    Duration,
    /// A list of texts, not empty.
    Texts,
    /// A table of texts.
    TextTable,
    /// A decimal number as a text, such as `"0.25"` or `"-1"`: no value of a plan is a fraction of binary digits.
    Decimal,
    /// A table of any values but fractions, which no plan has.
    Table,
    /// The name of one of `[artifacts]`, or where there is none of that name the path of a file or directory.
    ArtifactOrPath,
    /// The name of one of `[sources]`; lowered to a table with that name and what the source says, by its keys.
    Source,
}
