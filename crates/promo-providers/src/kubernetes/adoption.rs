//! Taking over what runs already: objects that others made, by field and owner, as a plan names them. What must not live here:
//! when that is asked for, which each provider knows.

use std::collections::{BTreeMap, BTreeSet};

use promo_core::inputs::FileChange;
use promo_sdk::{ErrorKind, ProviderError, State};
use serde_json::Value;

use super::beside;
use super::cluster::{MANAGER, Place};
use super::fields;
use super::fingerprint;
use super::mark::Owner;
use super::object::{Id, Object};
use super::projection;
use super::tried;

/// Under what name a plan shows whose fields pass over.
const OWNERS: &str = "owners of fields";
/// Controllers own what they decide: a field of theirs in a manifest is a mistake, which no adoption mends.
const CONTROLLERS: [&str; 4] = ["kube-controller-manager", "kube-scheduler", "kubelet", "kube-apiserver"];

/// Objects that are there already and are to be taken over.
#[derive(Debug)]
pub(crate) struct Adoption {
    /// The name of the deployment that takes them over.
    name: String,
    /// Each as it is.
    pub(crate) objects: Vec<(Object, Value)>,
}

impl Adoption {
    /// Looks which of these objects are there.
    pub(crate) async fn of(place: &Place, name: &str, objects: &[Object]) -> Result<Self, ProviderError> {
        let mut found = Vec::new();
        for object in objects {
            if let Some(live) = place.live(&object.id).await? {
                found.push((object.clone(), live));
            }
        }
        Ok(Self { name: name.to_owned(), objects: found })
    }

    /// Refuses what belongs to another deployment of promo's: it would go on applying it, and take it away one day.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`].
    pub(crate) fn check(&self) -> Result<(), ProviderError> {
        let other = |(object, live): &(Object, Value)| {
            Some((object.id.clone(), Owner::of(live).other_than(&self.name)?.to_owned()))
        };
        match self.objects.iter().find_map(other) {
            None => Ok(()),
            Some((id, other)) => {
                let message = format!("{id} is there already, {}", tried::of_other(&other));
                Err(ProviderError::new(ErrorKind::Conflict, message))
            }
        }
    }

    /// What is there under that name.
    pub(crate) fn live(&self, id: &Id) -> Option<&Value> {
        self.objects.iter().find(|(object, _)| object.id.same(id)).map(|(_, live)| live)
    }

    /// The objects with their declared fields alone.
    pub(crate) fn declared(&self) -> Vec<(Object, Option<Value>)> {
        let one = |(object, live): &(Object, Value)| (object.clone(), Some(projection::object(&object.value, live)));
        self.objects.iter().map(one).collect()
    }

    /// The same as a plan draws them: with the containers that others have there, which stay.
    pub(crate) fn drawn(&self) -> Vec<(Object, Option<Value>)> {
        let one = |((object, value), (_, live)): ((Object, Option<Value>), &(Object, Value))| {
            let value = value.map(|value| beside::drawn(&object.id, value, &beside::of(&object, live)));
            (object, value)
        };
        self.declared().into_iter().zip(&self.objects).map(one).collect()
    }

    /// The state of a place that holds these: whoever changes a field that is taken over, or comes to own one, makes the plan stale.
    pub(crate) fn state(&self, place: &Place) -> State {
        if self.objects.is_empty() {
            return State::Absent;
        }
        let objects: BTreeMap<String, Option<Value>> = self
            .declared()
            .into_iter()
            .map(|(object, live)| (format!("{}.{}", object.id, object.id.kind.group), live))
            .collect();
        State::Present(fingerprint::of(place, &serde_json::json!({ "taken over": objects, "from": self.owners() })))
    }

    /// Everybody who owns a field that the objects declare; promo itself where an object does not say that it was applied by this
    /// deployment.
    pub(crate) fn managers(&self) -> BTreeSet<String> {
        self.owners().into_values().flatten().collect()
    }

    fn owners(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut out: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (object, live) in &self.objects {
            for (owner, tree) in fields::owners(live) {
                let ours = owner.manager == MANAGER && Owner::of(live) == Owner::Deployment(self.name.clone());
                let taken = ours || CONTROLLERS.contains(&owner.manager.as_str());
                if !taken && fields::declares(tree, &object.value, live) {
                    out.entry(object.id.to_string()).or_default().insert(crate::escape::line(&owner.manager));
                }
            }
        }
        out
    }

    /// How a plan shows from whom fields pass over to promo; nothing where nobody owns any.
    pub(crate) fn shown(&self) -> Option<FileChange> {
        let owners = self.owners();
        let line = |(object, managers): (&String, &BTreeSet<String>)| {
            let managers: Vec<&str> = managers.iter().map(String::as_str).collect();
            format!("{object}: {}\n", managers.join(", "))
        };
        let before: String = owners.iter().map(line).collect();
        let after: String = owners.keys().map(|object| format!("{object}: {MANAGER}\n")).collect();
        (!owners.is_empty()).then(|| FileChange { path: OWNERS.into(), before: Some(before), after: Some(after) })
    }
}

/// The managers that a plan names, as [`Adoption::shown`] wrote them: from no others is anything taken.
pub(crate) fn named(changes: &[FileChange]) -> BTreeSet<String> {
    let owners = changes.iter().find(|change| change.path == OWNERS).and_then(|change| change.before.as_deref());
    let lines = owners.unwrap_or_default().lines().filter_map(|line| line.split_once(": "));
    lines.flat_map(|(_, managers)| managers.split(", ")).map(String::from).collect()
}
