//! To which deployment of a namespace an object belongs: several share promo's field manager, and only this tells them apart. What
//! must not live here: what is done about it.

use serde_json::Value;

use super::cluster::MANAGER;
use super::object::{DEFINITION, Object};

/// The annotation with the name under which what is applied belongs together.
pub(crate) const DEPLOYMENT: &str = "promo/deployment";
/// That name where a deployment has none of its own.
pub(crate) const NAME: &str = "promo";

/// An object as it is applied: with what says to which deployment it belongs. A definition belongs to the whole cluster, and to none.
pub(crate) fn marked(object: &Object, name: &str) -> Object {
    let mut object = object.clone();
    // What is no table the server refuses in its own words.
    let annotations = object.value.get_mut("metadata").and_then(Value::as_object_mut);
    let annotations = annotations.map(|metadata| metadata.entry("annotations").or_insert(Value::Null));
    match annotations {
        Some(all) if object.id.kind.kind != DEFINITION && (all.is_null() || all.is_object()) => {
            all[DEPLOYMENT] = Value::from(name);
        }
        _ => {}
    }
    object
}

/// What an object says about to whom it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    /// promo has not applied it.
    Nobody,
    /// It was applied before objects said to which deployment they belong.
    Untold,
    /// A deployment.
    Deployment(String),
}

impl Owner {
    /// That of a live object.
    pub(crate) fn of(live: &Value) -> Self {
        let managers = live.pointer("/metadata/managedFields").and_then(Value::as_array);
        let is = |entry: &Value, key: &str, value: &str| entry.get(key).and_then(Value::as_str) == Some(value);
        let applied = |entry: &Value| is(entry, "manager", MANAGER) && is(entry, "operation", "Apply");
        if !managers.into_iter().flatten().any(applied) {
            return Self::Nobody;
        }
        let name = live.pointer("/metadata/annotations").and_then(|all| all.get(DEPLOYMENT)?.as_str());
        name.map_or(Self::Untold, |name| Self::Deployment(name.to_owned()))
    }

    /// Whether it is this deployment's as far as it says.
    pub(crate) fn may_be(&self, name: &str) -> bool {
        match self {
            Self::Nobody => false,
            Self::Untold => true,
            Self::Deployment(own) => own == name,
        }
    }

    /// The other deployment that it belongs to.
    pub(crate) fn other_than(&self, name: &str) -> Option<&str> {
        match self {
            Self::Deployment(own) if own != name => Some(own),
            _ => None,
        }
    }
}
