//! How a place differs from what was recorded there: what a person is told, object by object and field by field. What must not
//! live here: what is done about it; a plan says that.

use jiff::Timestamp;
use promo_core::inputs::{FileChange, Inputs};
use promo_core::state::State;
use serde::{Deserialize, Serialize};

/// Asks how a place differs from what was recorded there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftRequest {
    /// What was deployed there.
    pub inputs: Inputs,
    /// The state that was recorded once it was.
    pub recorded: State,
}

/// How a place differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftAnswer {
    /// What is there now.
    pub live: State,
    /// The objects or files that differ, and those to which others have added something. None beside another state than the
    /// recorded one where only that can be told.
    pub objects: Vec<ObjectDrift>,
    /// What else there is to say, in a sentence.
    pub note: Option<String>,
    /// The run that deployed what is there, where the place names one and it is not the deployment that was asked about. Whether
    /// the ledger knows it is not for the provider to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// What somebody deployed there with the place's own tool and without promo, in a few words: `revision 3 of release api`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<String>,
    /// What the files of the deployment would have to be for what is there to be what is declared, as far as that can be
    /// told; whole files, as they were recorded and as they would be.
    pub files: Vec<FileChange>,
    /// What was changed and stands in none of these files as it is, so that none of them keeps it: `ConfigMap/own data.key`, or the
    /// path of a file. Without images, which are the release's, and without what is gone as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undeclared: Vec<String>,
}

impl DriftAnswer {
    /// A state, of which nothing more can be told.
    #[must_use]
    pub const fn state(live: State) -> Self {
        Self {
            live,
            objects: Vec::new(),
            note: None,
            run: None,
            by_hand: None,
            files: Vec::new(),
            undeclared: Vec::new(),
        }
    }
}

/// An object or a file that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectDrift {
    /// `Kind/name`, or the path of a file.
    pub object: String,
    /// What became of it as a whole.
    pub class: DriftClass,
    /// What differs in it; none where all of it is gone or was added.
    pub fields: Vec<FieldDrift>,
    /// The commands by which a person takes away what was added, where no deployment does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub away: Vec<String>,
}

impl ObjectDrift {
    /// One that is gone, or new, as a whole.
    #[must_use]
    pub const fn whole(object: String, class: DriftClass) -> Self {
        Self { object, class, fields: Vec::new(), away: Vec::new() }
    }
}

/// A field that differs. What is secret in it is masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldDrift {
    /// Where it is: `spec.template.spec.containers[name="web"].image`; empty for the whole content of a file.
    pub path: String,
    /// What became of it.
    pub class: DriftClass,
    /// What was recorded; nothing where it was not declared.
    pub recorded: Option<String>,
    /// What is there; nothing where it is gone.
    pub live: Option<String>,
    /// Who changed it, where the place says so.
    pub by: Option<String>,
    /// When.
    pub at: Option<Timestamp>,
}

/// What became of an object or a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriftClass {
    /// It is another one.
    Changed,
    /// It is gone.
    Deleted,
    /// Another number of pods.
    Scaled,
    /// Another image.
    Image,
    /// It was not declared: others put it there. Where the state is the recorded one all the same, a deployment leaves it there.
    Added,
}
