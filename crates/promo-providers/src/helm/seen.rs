//! What a place holds of a release: what its newest revision declares, as the live objects have it, and what of a way that was
//! broken off is there. What must not live here: any change.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use promo_core::inputs::FileChange;
use promo_sdk::{ErrorKind, ProviderError, State};
use serde_json::Value;

use super::release::{self, ATTEMPT, RUN, Release};
use super::render;
use super::settings::Settings;
use crate::kubernetes::cluster::Place;
use crate::kubernetes::fingerprint;
use crate::kubernetes::inventory::{self, Found, Kept, Phase};
use crate::kubernetes::object::Object;
use crate::kubernetes::tried::{AT_ONCE, There, of_release};

/// Under what name a plan shows from whom a release passes to promo.
const OWNER: &str = "owner of the release";

/// The name of the inventory of a release. That of a `kubectl` deployment has no point in it.
pub(super) fn journal(name: &str) -> String {
    format!("helm.{name}")
}

/// What a place holds.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) there: There,
    /// What is there beside objects.
    extras: Vec<(Object, Value)>,
    /// The newest revision, unless the release was taken away.
    pub(super) latest: Option<Release>,
    /// The number of the newest revision, also of one that was taken away and is kept: helm counts on from it.
    pub(super) revision: u64,
    /// Whether what promo has begun there has not come to its end.
    pub(super) under_way: bool,
    /// The newest revision where helm has made the release without promo, and promo has not come to it yet.
    pub(super) by_hand: bool,
    pub(super) journal: Option<Kept>,
}

impl Seen {
    /// Refuses a release that helm has made without promo, unless it is to be taken over.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`].
    pub(super) fn admits(&self, settings: &Settings) -> Result<(), ProviderError> {
        if !self.by_hand || settings.adopt {
            return Ok(());
        }
        let message = format!(
            "release {} is there already, and promo has not made it ({}): give the deployment another `name`, or take the release over (`adopt = true`, \
             `promo adopt`)",
            settings.name,
            self.latest.as_ref().map(made).unwrap_or_default()
        );
        Err(ProviderError::new(ErrorKind::Conflict, message))
    }

    /// How a plan shows that the release passes over to promo.
    pub(super) fn passing(&self) -> Option<FileChange> {
        let latest = self.latest.as_ref().filter(|_| self.by_hand)?;
        let before = format!("helm, by hand: {}\n", made(latest));
        Some(FileChange { path: OWNER.into(), before: Some(before), after: Some("promo\n".into()) })
    }

    /// Everything that is there, as it is shown.
    pub(super) fn shown(&self) -> Vec<(Object, Option<Value>)> {
        let extras = self.extras.iter().map(|(object, value)| (object.clone(), Some(value.clone())));
        self.there.shown().into_iter().chain(extras).collect()
    }
}

/// What a revision says of itself.
fn made(latest: &Release) -> String {
    format!("revision {}, {}: {}", latest.revision, latest.status, latest.description())
}

/// A way that was begun and is not recorded as gone to its end.
struct Begun<'a> {
    kept: &'a Kept,
    from: &'a State,
    to: &'a State,
    found: &'a [Found],
}

/// Looks at a place; `at` is how it is named to helm.
///
/// # Errors
/// [`ErrorKind::Conflict`] where somebody else is at work on the release, or has left it so.
pub(super) async fn look(place: &Place, settings: &Settings, at: &str) -> Result<Seen, ProviderError> {
    let name = settings.name.as_str();
    let journal = inventory::read(place, &journal(name)).await?;
    let latest = release::latest(place, name).await?;
    let begun = journal.as_ref().and_then(|kept| match &kept.inventory.phase {
        Phase::Applying { from, to, found } => Some(Begun { kept, from, to, found }),
        Phase::Applied => None,
    });
    // Of what was begun, as long as nothing else came in between.
    let revision = latest.as_ref().map_or(0, |latest| latest.revision);
    let ours = |begun: &Begun<'_>| latest.as_ref().is_some_and(|latest| is_of(latest, begun.kept));
    let begun = begun.filter(|begun| begun.kept.inventory.revision == Some(revision) || ours(begun));
    let Some(latest) = latest.filter(|latest| latest.status != "uninstalled") else {
        let there = There { state: State::Absent, objects: Vec::new() };
        return Ok(Seen {
            there,
            extras: Vec::new(),
            latest: None,
            revision,
            under_way: false,
            by_hand: false,
            journal,
        });
    };
    if latest.is_pending() && !begun.as_ref().is_some_and(|begun| is_of(&latest, begun.kept)) {
        return Err(foreign(name, &latest, at));
    }
    let mut declared = latest.objects()?;
    if latest.status != "deployed"
        && let Some(before) = release::deployed(place, name).await?
    {
        add(&mut declared, before.objects()?);
    }
    let plain = declared.len();
    if let Some(begun) = &begun {
        add(&mut declared, begun.kept.inventory.all());
    }
    // Collected first: a stream over borrowed objects would keep whoever asks from being spawned.
    let looks: Vec<_> = declared.iter().map(|object| place.live(&object.id)).collect();
    let live: Vec<Option<Value>> = stream::iter(looks).buffered(AT_ONCE).try_collect().await?;
    let mut objects: Vec<(Object, Option<Value>)> = declared.into_iter().zip(live).collect();
    let extras = render::extras_of(name, &latest)?;
    let of_it = objects[..plain].iter().map(|(object, live)| (object, live.as_ref()));
    let as_it_is = fingerprint::found(place, of_it.chain(extras.iter().map(|(object, value)| (object, Some(value)))));
    let state = match &begun {
        Some(begun) if latest.status != "deployed" => between(place, begun, &objects),
        // helm has come to its end; what it has left to promo may be left still.
        Some(begun)
            if is_of(&latest, begun.kept) && as_it_is == *begun.to && leftovers(place, name, begun, &objects) =>
        {
            State::between(begun.from, begun.to)
        }
        _ => as_it_is,
    };
    if begun.is_none() || latest.status == "deployed" && as_it_is == state {
        objects.truncate(plain);
    }
    let under_way = begun.is_some() && state != as_it_is;
    // Promo coming to it is a change, also where nothing else is.
    let of_others = match as_it_is {
        State::Present(found) => {
            let found = serde_json::json!({ "made by hand": found.to_string(), "revision": revision });
            State::Present(fingerprint::of(place, &found))
        }
        other => other,
    };
    // What promo has begun and helm has made nothing of is as it was.
    let not_come_to = begun.as_ref().is_some_and(|begun| *begun.from == of_others && !is_of(&latest, begun.kept));
    // helm copies labels from one revision to the next, so that one of them is enough to know promo's own.
    let by_hand = latest.label(RUN).is_none() && (journal.is_none() || not_come_to);
    let state = if by_hand && settings.adopt { of_others } else { state };
    let there = There { state, objects };
    Ok(Seen { there, extras, latest: Some(latest), revision, under_way, by_hand, journal })
}

/// Whether a revision was made by the attempt that the journal tells of.
pub(super) fn is_of(latest: &Release, kept: &Kept) -> bool {
    let base = kept.inventory.revision.unwrap_or_default();
    latest.revision == base + 1 && latest.label(ATTEMPT).is_some_and(|attempt| Some(attempt) == kept.version())
}

/// A run and its step, as labels have them.
pub(super) fn named_in(token: &str) -> (String, String) {
    let label = |text: &str| -> String {
        let fits = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c } else { '_' };
        let text: String = text.chars().map(fits).collect();
        let text = match text.len() {
            0..=63 => text,
            // What is too long is named by its digest.
            _ => promo_core::Digest::of(text.as_bytes()).to_string().replace("sha256:", "").chars().take(63).collect(),
        };
        text.trim_matches(['-', '.', '_']).to_owned()
    };
    let (run, step) = token.split_once('/').unwrap_or((token, ""));
    (label(run), label(step))
}

fn add(all: &mut Vec<Object>, more: Vec<Object>) {
    for object in more {
        if !all.iter().any(|known| known.id.same(&object.id)) {
            all.push(object);
        }
    }
}

fn between(place: &Place, begun: &Begun<'_>, objects: &[(Object, Option<Value>)]) -> State {
    let known = |(object, live): &(Object, Option<Value>)| {
        begun.kept.inventory.knows(place, begun.found, &object.id, live.as_ref())
    };
    if objects.iter().all(known) { State::between(begun.from, begun.to) } else { State::Unknown }
}

fn leftovers(place: &Place, name: &str, begun: &Begun<'_>, objects: &[(Object, Option<Value>)]) -> bool {
    let wanted = |object: &Object| begun.kept.inventory.entries.iter().any(|entry| entry.object.id.same(&object.id));
    objects.iter().any(|(object, live)| {
        !wanted(object) && live.as_ref().is_some_and(|live| of_release(place, name, live) && !is_kept(live))
    })
}

/// Whether the chart says of an object that it stays when the release goes.
pub(super) fn is_kept(live: &Value) -> bool {
    live.pointer("/metadata/annotations/helm.sh~1resource-policy").and_then(Value::as_str) == Some("keep")
}

/// Somebody else's revision, and what a person does about it.
fn foreign(name: &str, latest: &Release, at: &str) -> ProviderError {
    let back = match latest.revision {
        1 => format!("helm uninstall {name} {at}"),
        revision => format!("helm rollback {name} {} {at}", revision - 1),
    };
    let history = format!("helm history {name} {at}");
    let message = format!(
        "revision {} of the release {name} is {}, and not by this promo: somebody else is at work on it, or was broken off ({}). Look with \
         `{history}`; where nobody is at work any more, `{back}` ends it",
        latest.revision,
        latest.status,
        latest.description(),
    );
    ProviderError::new(ErrorKind::Conflict, message).that_shows(history)
}
