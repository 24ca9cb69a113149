//! The frozen view of how live environments differ from what was deployed to them, format 1. What must not live here: layout.

use jiff::Timestamp;
use promo_core::counted::counted;
use promo_core::ids::{EnvironmentName, RunId};
use promo_engine::drift::{Looked, Place};
use promo_engine::exit;
use promo_sdk::{DriftClass, FieldDrift, ObjectDrift};
use schemars::JsonSchema;
use serde::Serialize;

use super::summary::NextCommand;
use super::ways::ends_it;
use super::{Answer, ReleaseView, Standing};
use crate::error::command_line;
use crate::output::standing as words;
use crate::ui::Ui;

/// How live environments differ from what was deployed to them.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Drifts {
    /// Every environment that was asked for, in the order of the graph.
    pub(crate) environments: Vec<DriftedEnvironment>,
    /// Whether anything differs.
    pub(crate) differs: bool,
    /// Whether every place could be looked at.
    pub(crate) whole: bool,
    /// Other commands that lead on, and what for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) also: Vec<NextCommand>,
    /// The next command.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) next: String,
}

impl Answer for Drifts {
    const KIND: &'static str = "promo.drift";
}

/// An environment.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DriftedEnvironment {
    /// Its name.
    pub(crate) environment: EnvironmentName,
    /// What was deployed to it.
    pub(crate) release: Option<ReleaseView>,
    /// Since when.
    pub(crate) since: Option<Timestamp>,
    /// `same`, `differs`, `not-looked-at`, or `nothing-deployed`. What was seen to differ differs, whatever else could not be looked
    /// at.
    pub(crate) state: &'static str,
    /// The same in words.
    pub(crate) says: String,
    /// The run that is moving it: what differs may be its doing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) moving: Option<RunId>,
    /// Its places.
    pub(crate) places: Vec<DriftedPlace>,
}

/// A place.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DriftedPlace {
    /// Which target.
    pub(crate) target: String,
    /// Where that is.
    pub(crate) address: Option<String>,
    /// `same`, `differs` or `not-looked-at`.
    pub(crate) state: &'static str,
    /// The state that the ledger has.
    pub(crate) recorded: String,
    /// The state that is there.
    pub(crate) live: Option<String>,
    /// Whether deploying it again would take something back; what others added beside what is declared stays.
    pub(crate) takes_back: bool,
    /// What differs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) objects: Vec<DriftedObject>,
    /// What somebody deployed there with the place's own tool and without promo: `revision 3 of release api`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by_hand: Option<String>,
    /// What was changed and no file keeps.
    #[serde(skip)]
    pub(crate) undeclared: Vec<String>,
    /// What else there is to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    /// The code of why it could not be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<&'static str>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
    /// The command of the place's own tool that shows what keeps it from being looked at.
    #[serde(skip)]
    pub(crate) shown_by: Option<String>,
}

/// An object or a file.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DriftedObject {
    /// `Kind/name`, or the path of a file.
    pub(crate) object: String,
    /// `changed`, `deleted`, or `added`: nothing declares it.
    pub(crate) class: &'static str,
    /// What differs in it; empty where all of it is gone or new.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) fields: Vec<DriftedField>,
    /// The commands that take away what was added to it, which no deployment does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) away: Vec<String>,
}

/// A field. Secrets are masked.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DriftedField {
    /// Where it is; empty for the content of a file.
    pub(crate) path: String,
    /// `changed`, `deleted`, `scaled`, `image`, or `added`: nothing declares it.
    pub(crate) class: &'static str,
    /// What was deployed.
    pub(crate) recorded: Option<String>,
    /// What is there.
    pub(crate) live: Option<String>,
    /// Who changed it, where the place says so: in a cluster the field manager.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by: Option<String>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<Timestamp>,
}

impl Drifts {
    /// What was found, with what to do about it.
    pub(crate) fn of(looked: &[Looked], standing: &Standing) -> Self {
        let environments: Vec<DriftedEnvironment> =
            looked.iter().map(|one| DriftedEnvironment::of(one, standing)).collect();
        let places = || environments.iter().flat_map(|environment| &environment.places);
        let differs = places().any(|place| place.state == "differs");
        let whole = places().all(|place| place.state != "not-looked-at");
        let mut ways: Vec<NextCommand> = environments.iter().flat_map(|one| one.ways(standing)).collect();
        let unseen = places().filter(|place| place.state == "not-looked-at");
        for look in unseen.map(|place| place.shown_by.as_deref().unwrap_or("promo doctor")) {
            if !ways.iter().any(|way| way.command == look) {
                let why = "what keeps it from being looked at";
                ways.push(NextCommand { command: look.to_owned(), why: why.to_owned() });
            }
        }
        let next = if ways.is_empty() { String::new() } else { ways.remove(0).command };
        Self { environments, differs, whole, also: ways, next }
    }

    /// The same with the flags of this call in its commands.
    pub(crate) fn pasted_by(mut self, ui: &Ui) -> Self {
        if !self.next.is_empty() {
            self.next = ui.to_paste(&self.next);
        }
        for also in &mut self.also {
            also.command = ui.to_paste(&also.command);
        }
        self
    }

    /// The exit code where not everything could be looked at: no such answer is a pass.
    pub(crate) fn failed(&self) -> Option<u8> {
        let mut codes = self.environments.iter().flat_map(|one| &one.places).filter_map(|place| place.code).peekable();
        codes.peek()?;
        Some(if codes.all(|code| code == "provider-transient") { exit::TRANSIENT } else { exit::FAILURE })
    }
}

/// What becomes of fields that nothing declares.
pub(crate) const ADDED: &str = "What was added beside what is declared stays, also with the next promotion: declare it too, or take it away where it is";

impl DriftedEnvironment {
    fn of(looked: &Looked, standing: &Standing) -> Self {
        let places: Vec<DriftedPlace> = looked.places.iter().map(DriftedPlace::of).collect();
        let release = looked.release.as_ref().map(ReleaseView::of);
        let any = |state: &str| places.iter().any(|place| place.state == state);
        let state = match &release {
            None => "nothing-deployed",
            Some(_) if any("differs") => "differs",
            Some(_) if any("not-looked-at") => "not-looked-at",
            Some(_) => "same",
        };
        let mut says = says(state, release.as_ref(), &places);
        if let Some(run) = &looked.moving {
            says.push_str(&match standing.run_in(looked.environment.as_str()).is_some_and(|open| !open.alive()) {
                true => format!("; run {run} stopped while it was moving it"),
                false => format!("; run {run} is moving it"),
            });
        }
        // What a run left there is no change by hand.
        if let Some(hold) = standing.left_in(&looked.environment).filter(|hold| !hold.left.is_empty()) {
            let run = hold.run.as_ref().map(ToString::to_string).unwrap_or_default();
            says.push_str(&format!("; run {run} ended half-way: {}", words::left(hold)));
        }
        let (environment, since, moving) = (looked.environment.clone(), looked.since, looked.moving.clone());
        Self { environment, release, since, state, says, moving, places }
    }

    /// What can be done about it, the best first.
    fn ways(&self, standing: &Standing) -> Vec<NextCommand> {
        let name = self.environment.as_str();
        let Some(release) = self.release.as_ref().filter(|_| self.state == "differs") else { return Vec::new() };
        // A run comes first: what differs may be its doing.
        if let Some(run) = standing.run_in(name) {
            let why = format!("{name}: a run is moving it");
            return vec![NextCommand { command: run.next.clone(), why }];
        }
        // What it left half-way is gone on with; neither is it taken back to what failed, nor kept.
        if let Some(hold) = standing.left_in(&self.environment).filter(|hold| !hold.left.is_empty()) {
            let ways = [Some(&hold.ends), hold.back.as_ref()].into_iter().flatten();
            return ways
                .map(|way| NextCommand { command: way.clone(), why: format!("{name}: {}", ends_it(way)) })
                .collect();
        }
        let mut ways = Vec::new();
        if self.places.iter().any(|place| place.takes_back) {
            // A file of its own: whoever types the ways of several places keeps every plan.
            let file = format!("{name}.plan.json");
            let words = ["promo", "plan", name, "--release", &release.id, "--out", &file];
            ways.push(NextCommand { command: command_line(words), why: format!("{name}: take it back") });
        }
        let found = Found::of(self);
        // What was only added needs no keeping: it stays. Where promo's own is gone, or all of it, nothing could be kept.
        let kept = found.changed || found.image || !found.gone.is_empty() || !found.by_hand.is_empty();
        if kept && !ways.is_empty() {
            let why = if found.changed { "keep it" } else { "what keeping it takes" };
            ways.push(NextCommand { command: command_line(["promo", "adopt", name]), why: format!("{name}: {why}") });
        }
        let away = |command| NextCommand { command, why: format!("{name}: take away what was added") };
        ways.extend(found.away.into_iter().map(away));
        ways
    }
}

/// Of what kinds the differences of an environment are: each is kept, and taken back, in another way.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// A declared field has another value, or is gone.
    pub(crate) changed: bool,
    /// A container has another image.
    pub(crate) image: bool,
    /// Objects that are gone.
    pub(crate) gone: Vec<String>,
    /// Something was added that nothing declares and no deployment takes away.
    pub(crate) added: bool,
    /// The commands that take these away.
    pub(crate) away: Vec<String>,
    /// What somebody deployed with a tool of the place.
    pub(crate) by_hand: Vec<String>,
    /// What was changed and no file keeps.
    pub(crate) undeclared: Vec<String>,
}

impl Found {
    pub(crate) fn of(environment: &DriftedEnvironment) -> Self {
        let mut found = Self::default();
        for place in &environment.places {
            found.by_hand.extend(place.by_hand.clone());
            let more = place.undeclared.iter().filter(|one| !found.undeclared.contains(*one)).cloned();
            found.undeclared.extend(more.collect::<Vec<_>>());
            for object in &place.objects {
                if object.class == "deleted" && !found.gone.contains(&object.object) {
                    found.gone.push(object.object.clone());
                }
                // A file of a directory that is another one as a whole is declared by a file as well.
                found.changed |=
                    object.fields.iter().any(|field| matches!(field.class, "changed" | "scaled" | "deleted"));
                found.image |= object.fields.iter().any(|field| field.class == "image");
                found.added |= object.fields.iter().any(|field| field.class == "added");
                found.added |= !object.away.is_empty();
                found.away.extend(object.away.clone());
            }
        }
        found
    }
}

/// How an environment stands, in words.
fn says(state: &str, release: Option<&ReleaseView>, places: &[DriftedPlace]) -> String {
    let release = release.map(ReleaseView::text).unwrap_or_default();
    let objects = places.iter().map(|place| place.objects.len()).sum::<usize>();
    let unseen: Vec<&str> =
        places.iter().filter(|place| place.state == "not-looked-at").map(|place| place.target.as_str()).collect();
    let mut says = match (state, objects) {
        ("nothing-deployed", _) => "promo has deployed nothing there".to_owned(),
        ("same", _) if places.is_empty() => format!("nothing is deployed for {release}: it only stands here"),
        ("same", _) => format!("as {release} left it"),
        ("differs", 0) => format!("what is there is not {release}"),
        ("differs", objects) => {
            let differ = if objects == 1 { "differs" } else { "differ" };
            format!("{} {differ} from {release}", counted(objects, "object"))
        }
        _ => "cannot be looked at".to_owned(),
    };
    if state == "differs" && !unseen.is_empty() {
        says.push_str(&format!("; {} cannot be looked at", unseen.join(", ")));
    }
    says
}

impl DriftedPlace {
    fn of(place: &Place) -> Self {
        let found = place.found.as_ref();
        let failed = found.err();
        Self {
            target: place.target.to_string(),
            address: place.deployed.as_ref().map(|deployed| deployed.inputs.target.address()),
            state: match (failed, place.differs()) {
                (Some(_), _) => "not-looked-at",
                (None, true) => "differs",
                (None, false) => "same",
            },
            recorded: place.recorded.to_string(),
            live: found.ok().map(|found| found.live.to_string()),
            takes_back: place.can_be_taken_back(),
            objects: found.map(|found| found.objects.iter().map(DriftedObject::of).collect()).unwrap_or_default(),
            by_hand: found.ok().and_then(|found| found.by_hand.clone()),
            undeclared: found.map(|found| found.undeclared.clone()).unwrap_or_default(),
            note: found.ok().and_then(|found| found.note.clone()),
            code: failed.map(promo_engine::EngineError::code),
            why: failed.map(|error| match error {
                promo_engine::EngineError::Provider { source, .. } => source.to_string(),
                other => other.to_string(),
            }),
            shown_by: failed.and_then(|error| match error {
                promo_engine::EngineError::Provider { source, .. } => source.shown_by().map(str::to_owned),
                _ => None,
            }),
        }
    }
}

impl DriftedObject {
    fn of(object: &ObjectDrift) -> Self {
        let fields = object.fields.iter().map(DriftedField::of).collect();
        Self { object: object.object.clone(), class: class(object.class), fields, away: object.away.clone() }
    }
}

impl DriftedField {
    fn of(field: &FieldDrift) -> Self {
        Self {
            path: field.path.clone(),
            class: class(field.class),
            recorded: field.recorded.clone(),
            live: field.live.clone(),
            by: field.by.clone(),
            at: field.at,
        }
    }
}

const fn class(class: DriftClass) -> &'static str {
    match class {
        DriftClass::Changed => "changed",
        DriftClass::Deleted => "deleted",
        DriftClass::Scaled => "scaled",
        DriftClass::Image => "image",
        DriftClass::Added => "added",
    }
}
