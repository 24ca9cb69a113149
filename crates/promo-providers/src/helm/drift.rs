//! How a release differs from what the ledger has of it: by object and field, as anything in a cluster, and in what helm itself keeps. What
//! must not live here: what a field is and who owns it; `crate::kubernetes` has that.

use promo_sdk::{Context, DriftAnswer, DriftClass, DriftRequest, ObjectDrift, ProviderError};
use serde_json::Value;

use super::release::Release;
use super::render::{self, Rendered};
use super::seen::{self, Seen};
use super::settings::Settings;
use super::{Helm, at, hooks};
use crate::kubernetes::cluster::Place;
use crate::kubernetes::drift;
use crate::kubernetes::inventory::{Kept, Phase};
use crate::kubernetes::object::Object;
use crate::kubernetes::typed;

/// The field manager of helm.
const MANAGER: &str = "helm";

/// See [`promo_sdk::Provider::drift`].
pub(super) async fn look(helm: &Helm, cx: &Context, request: &DriftRequest) -> Result<DriftAnswer, ProviderError> {
    let inputs = &request.inputs;
    let settings = Settings::of(inputs)?;
    let place = helm.clusters.place(cx, &inputs.target).await?;
    let seen = seen::look(&place, &settings, &at(cx, inputs)?).await?;
    let (live, kubectl) = (seen.there.state, typed::kubectl(cx, &inputs.target)?);
    if seen.under_way {
        let note = "a deployment was begun there and has not ended: what differs can be told when it has";
        return Ok(DriftAnswer { note: Some(note.into()), ..DriftAnswer::state(live) });
    }
    if live == request.recorded {
        // Only what others have added can be told then, which takes no rendering.
        let (mut objects, _) = drift::objects(&place, &seen.there.objects, |_, _| true, MANAGER, &kubectl).await?;
        objects.extend(left(&place, &settings, &seen, &kubectl).await?);
        return Ok(DriftAnswer { objects, ..DriftAnswer::state(live) });
    }
    let (rendered, _) = helm.rendered(cx, inputs, &settings, &place).await?;
    let objects = found(&place, &rendered, &seen).await?;
    let entries = match seen.journal.as_ref().map(|kept| &kept.inventory) {
        Some(inventory) if inventory.phase == Phase::Applied => inventory.entries.as_slice(),
        _ => &[],
    };
    let same = |object: &Object, live: &Value| {
        let entry = entries.iter().find(|entry| entry.object == *object);
        entry.is_some_and(|entry| entry.is(&place, live))
    };
    // What somebody changed with helm itself is told as helm's where no run of promo's has made the revision.
    let theirs = seen.latest.as_ref().filter(|latest| !made_here(latest, seen.journal.as_ref()));
    let own = if theirs.is_some() { "" } else { MANAGER };
    let (mut differing, _) = drift::objects(&place, &objects, same, own, &kubectl).await?;
    differing.extend(kept_by_helm(&settings, &rendered, &seen, theirs)?);
    // What the revision that is there declares and the one that was deployed did not.
    let others = seen
        .there
        .objects
        .iter()
        .filter(|(known, live)| live.is_some() && !objects.iter().any(|(object, _)| object.id.same(&known.id)));
    differing.extend(others.map(|(known, _)| ObjectDrift::whole(known.id.to_string(), DriftClass::Added)));
    differing.extend(left(&place, &settings, &seen, &kubectl).await?);
    let note = note(&settings, &seen, theirs, &inputs.release.to_string());
    let run = run(&seen, theirs, &inputs.release.to_string());
    let by_hand = theirs.map(|latest| format!("revision {} of release {}", latest.revision, settings.name));
    Ok(DriftAnswer { objects: differing, note, run, by_hand, ..DriftAnswer::state(live) })
}

/// What hooks of failed revisions have left.
async fn left(
    place: &Place,
    settings: &Settings,
    seen: &Seen,
    kubectl: &str,
) -> Result<Vec<ObjectDrift>, ProviderError> {
    let Some(latest) = &seen.latest else { return Ok(Vec::new()) };
    let all = hooks::left(place, &settings.name, latest).await?;
    let one = |left: hooks::Left| ObjectDrift {
        away: vec![typed::delete(kubectl, &left.id)],
        ..ObjectDrift::whole(left.told(), DriftClass::Added)
    };
    Ok(all.into_iter().map(one).collect())
}

/// What was deployed, with what is there of it.
async fn found(place: &Place, rendered: &Rendered, seen: &Seen) -> Result<Vec<(Object, Option<Value>)>, ProviderError> {
    let mut objects = Vec::with_capacity(rendered.objects.len());
    for object in &rendered.objects {
        let live = match seen.there.objects.iter().find(|(known, _)| known.id.same(&object.id)) {
            Some((_, live)) => live.clone(),
            None => place.live(&object.id).await?,
        };
        objects.push((object.clone(), live));
    }
    Ok(objects)
}

/// Whether the newest revision is the one that promo has made last, also where it was killed before it could say so.
fn made_here(latest: &Release, journal: Option<&Kept>) -> bool {
    journal.is_some_and(|kept| kept.inventory.revision == Some(latest.revision) || seen::is_of(latest, kept))
}

/// The chart, its hooks and how the revision ended: what helm keeps, and no object has.
fn kept_by_helm(
    settings: &Settings,
    rendered: &Rendered,
    seen: &Seen,
    theirs: Option<&Release>,
) -> Result<Vec<ObjectDrift>, ProviderError> {
    let recorded = rendered.extras(&settings.name)?;
    let there = match &seen.latest {
        Some(latest) => render::extras_of(&settings.name, latest)?,
        None => Vec::new(),
    };
    let by = theirs.map(|latest| (MANAGER.to_owned(), latest.at()));
    let mut out = Vec::new();
    for (object, value) in &recorded {
        match there.iter().find(|(other, _)| other.id.same(&object.id)) {
            Some((_, live)) => out.extend(drift::values(object, value, live, by.as_ref())),
            None => out.push(ObjectDrift::whole(object.id.to_string(), DriftClass::Deleted)),
        }
    }
    let new = there.iter().filter(|(object, _)| !recorded.iter().any(|(other, _)| other.id.same(&object.id)));
    out.extend(new.map(|(object, _)| ObjectDrift::whole(object.id.to_string(), DriftClass::Added)));
    Ok(out)
}

/// What else there is to say of a place that is not as it was left.
fn note(settings: &Settings, seen: &Seen, theirs: Option<&Release>, deployed: &str) -> Option<String> {
    let name = &settings.name;
    let Some(latest) = &seen.latest else {
        return Some(match seen.revision {
            0 => format!("there is no release {name} any more"),
            revision => format!("release {name} was uninstalled; its history, up to revision {revision}, is kept"),
        });
    };
    if let Some(theirs) = theirs {
        let when = theirs.at().map(|at| format!(" at {}", at.strftime("%Y-%m-%d %H:%M UTC"))).unwrap_or_default();
        let (revision, status) = (theirs.revision, &theirs.status);
        let why = theirs.description();
        return Some(format!("revision {revision} of release {name} ({status}: {why}) was not made by promo{when}"));
    }
    let kept = seen.journal.as_ref()?;
    (kept.inventory.release != deployed).then(|| {
        format!(
            "{} was deployed there since as revision {}, by run {}",
            kept.inventory.release,
            latest.revision,
            kept.inventory.token.split('/').next().unwrap_or_default()
        )
    })
}

/// The run that deployed what is there, where that is another release than was deployed, and promo's.
fn run(seen: &Seen, theirs: Option<&Release>, deployed: &str) -> Option<String> {
    seen.latest.as_ref().filter(|_| theirs.is_none())?;
    let kept = seen.journal.as_ref().filter(|kept| kept.inventory.release != deployed)?;
    kept.inventory.token.split('/').next().map(ToOwned::to_owned)
}
