//! The frozen view of what files would have to say for what is live to be what is declared, format 1. What must not live here:
//! layout.

use promo_core::ids::EnvironmentName;
use schemars::JsonSchema;
use serde::Serialize;

use super::Answer;
use super::drift::{ADDED, DriftedEnvironment, Drifts, Found};
use super::summary::{NextCommand, few, not_released};
use crate::error::command_line;

/// What files would have to say for what is live to be what is declared.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Adopted {
    /// How the environment differs from what was deployed to it.
    pub(crate) environment: DriftedEnvironment,
    /// The files that would change.
    pub(crate) files: Vec<Kept>,
    /// What that comes to, in words.
    pub(crate) says: String,
    /// Other commands that lead on, and what for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) also: Vec<NextCommand>,
    /// The next command.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) next: String,
}

impl Answer for Adopted {
    const KIND: &'static str = "promo.adopt";
}

/// A file.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Kept {
    /// Its path.
    pub(crate) path: String,
    /// Whether other environments use it too: then a change of it is a new release.
    pub(crate) shared: bool,
    /// `can-be-written`, `written`, `declared` where it says so already, or `changed-since`: it is not as it was deployed any more, and
    /// a person has to change it.
    pub(crate) state: &'static str,
    /// The lines that change, and nothing around them.
    pub(crate) lines: String,
}

/// What somebody can do to keep what is live.
pub(crate) struct Keeping<'a> {
    /// The environment.
    pub(crate) name: &'a EnvironmentName,
    /// The command that adds the next release.
    pub(crate) release: &'a str,
    /// In words, where the values of the chart stand that is deployed there; none where none is.
    pub(crate) values: Option<&'a str>,
    /// The command that goes back to what ran there before, where that is possible.
    pub(crate) back: Option<&'a str>,
    /// Whether there are files that several environments have.
    pub(crate) shares: bool,
    /// Files that several environments have, and that are not here as the newest release has them.
    pub(crate) unreleased: &'a [String],
    /// Whether the files were to be written.
    pub(crate) write: bool,
}

/// The objects that are gone.
fn gone_objects(found: &Found) -> Vec<&str> {
    found.gone.iter().map(String::as_str).filter(|gone| !gone.ends_with(')')).collect()
}

/// The fields that were changed and that files declare.
fn changed_fields(environment: &DriftedEnvironment, undeclared: &[String]) -> Vec<String> {
    let objects = environment.places.iter().flat_map(|place| &place.objects);
    let fields = objects.flat_map(|object| object.fields.iter().map(move |field| (&object.object, field)));
    let changed = fields.filter(|(_, field)| matches!(field.class, "changed" | "scaled" | "deleted"));
    let mut all: Vec<String> = changed
        .map(|(object, field)| if field.path.is_empty() { object.clone() } else { format!("{object} {}", field.path) })
        .filter(|name| !undeclared.contains(name))
        .collect();
    all.sort();
    all.dedup();
    all
}

impl Adopted {
    /// What was found, with what to do about it: each kind of difference is kept, or taken back, in another way.
    pub(crate) fn of(
        drifts: Drifts,
        files: Vec<Kept>,
        keeping: &Keeping<'_>,
        to_paste: impl Fn(&str) -> String,
    ) -> Self {
        let Drifts { mut environments, mut also, next: first, .. } = drifts;
        let environment = environments.remove(0);
        if environment.state != "differs" {
            // Nothing is to be kept, and nothing to be taken back; what could not be looked at leads to what keeps it from that.
            let unseen = environment.state == "not-looked-at";
            let (also, next) = if unseen { (also, first) } else { (Vec::new(), String::new()) };
            return Self { says: environment.says.clone(), environment, files, also, next };
        }
        let name = keeping.name;
        let found = Found::of(&environment);
        let any = |states: &[&str]| files.iter().any(|file| states.contains(&file.state));
        let shared = files.iter().any(|file| file.shared && matches!(file.state, "written" | "declared"));
        let plan = || to_paste(&command_line(["promo", "plan", name.as_str()]));
        let say = |command: String, why: &str| NextCommand { command, why: format!("{name}: {why}") };
        // Whoever reads this has typed it.
        let this = to_paste(&command_line(["promo", "adopt", name.as_str()]));
        also.retain(|other| other.command != this);
        let mut says = Vec::new();
        let mut keep = Vec::new();
        // What several environments have is changed by a release alone, and no plan of one environment brings it.
        let by_release = || say(to_paste(keeping.release), "keep it, once files that environments share say so");
        if keeping.write && !any(&["written", "declared"]) {
            says.push("Nothing was written.".to_owned());
        }
        for by_hand in &found.by_hand {
            says.push(format!(
                "{by_hand} was made by hand, and no file keeps a revision: an older release is kept by going back to it with promo, \
                 and other values by the files that declare them."
            ));
            keep.extend(keeping.back.map(|back| say(to_paste(back), "go back with promo")));
        }
        // Where files were changed by hand as they were told to be, and shared ones among them, a release is what leads on.
        let unwritten = found.changed && !any(&["can-be-written", "written", "declared"]);
        if found.changed {
            let keep_it =
                "What was changed stays only where the files declare it: the next deployment takes it back else.";
            // Whoever reads that the files say so takes it for all of it.
            let some = any(&["can-be-written", "written", "declared"]) && !found.undeclared.is_empty();
            let but = if some { " of the rest" } else { "" };
            // Beside what no file declares the files say nothing of all that differs.
            let of = match found.image || found.added || !gone_objects(&found).is_empty() {
                true if !some => format!(" of {}", few(&changed_fields(&environment, &found.undeclared))),
                _ => but.to_owned(),
            };
            if some {
                let (stand, it) = if found.undeclared.len() == 1 { ("stands", "it") } else { ("stand", "them") };
                says.push(format!(
                    "{} {stand} in no file as a value: what makes {it} is changed by hand, or the next deployment takes {it} back.",
                    few(&found.undeclared)
                ));
            }
            let how = if any(&["can-be-written"]) {
                format!("These files would say so{but}:")
            } else if shared {
                format!(
                    "The files say so{of} now; a shared one goes its way as a new release, from the first environment on:"
                )
            } else if any(&["written", "declared"]) {
                format!("The files say so{of} now; those are of {name} alone:")
            } else if any(&["changed-since"]) {
                if files.iter().any(|file| !file.shared) {
                    keep.push(say(plan(), "keep it, once these files say so"));
                }
                keep.extend(files.iter().any(|file| file.shared).then(by_release));
                "These files declare it, and are not as they were deployed any more:".to_owned()
            } else if let Some(values) = keeping.values {
                keep.push(say(plan(), "keep it, once the values say so"));
                keep.extend(keeping.shares.then(by_release));
                format!(
                    "Which value of a chart a field comes from cannot be told, and --write writes none: change {values} by hand to \
                     keep it."
                )
            } else {
                keep.push(say(plan(), "keep it, once the files say so"));
                keep.extend(keeping.shares.then(by_release));
                "Where it is declared cannot be told here: change the manifests by hand to keep it.".to_owned()
            };
            says.push(format!("{keep_it} {how}"));
            let paths: Vec<&str> = keeping.unreleased.iter().map(String::as_str).collect();
            if unwritten && !paths.is_empty() {
                says.push(not_released(&paths));
            }
        }
        if found.image {
            says.push(
                "The image is the release's: build what is to run and add it as a release, or take it back.".into(),
            );
            keep.push(say(to_paste(keeping.release), "keep an image, once it is built"));
        }
        // A hook is gone with its chart.
        let gone = gone_objects(&found);
        if !gone.is_empty() {
            let (are, it) = if gone.len() == 1 { ("is", "it") } else { ("are", "them") };
            let (whose, declare) = if keeping.values.is_some() { ("chart", "declares") } else { ("files", "declare") };
            let gone = gone.join(", ");
            says.push(format!(
                "{gone} {are} gone, which no value keeps so: the next deployment puts {it} back unless the {whose} {declare} {it} no more."
            ));
        }
        if found.added {
            says.push(format!("{ADDED}."));
        }
        if says.iter().all(|said| said == "Nothing was written.") {
            says.push("No file would keep what is there: take it back.".to_owned());
        }
        // The lists of files stand below the last sentence of all.
        if any(&["can-be-written", "written", "declared", "changed-since"]) {
            says.sort_by_key(|said| said.ends_with(':'));
        }
        let next = if any(&["can-be-written"]) {
            to_paste(&command_line(["promo", "adopt", name.as_str(), "--write"]))
        } else if shared {
            to_paste(keeping.release)
        } else if any(&["written", "declared"]) {
            plan()
        } else if unwritten && !keeping.unreleased.is_empty() {
            to_paste(keeping.release)
        } else {
            first.clone()
        };
        // A plan takes what the environment's own files say: it would keep what was written there, and take back nothing of it.
        let kept = files.iter().any(|file| !file.shared && matches!(file.state, "written" | "declared"));
        let takes_back = first.starts_with("promo ") && environment.places.iter().any(|place| place.takes_back);
        if next != first && !first.is_empty() && !(kept && takes_back) {
            let why = if first.starts_with("promo ") { "take it back" } else { "take away what was added" };
            also.insert(0, say(first, why));
        }
        for other in keep.into_iter().filter(|other| other.command != next) {
            if !also.iter().any(|told| told.command == other.command) {
                also.push(other);
            }
        }
        Self { environment, files, says: says.join(" "), also, next }
    }
}
