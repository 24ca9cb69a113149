//! What a place holds, and what the server would make of objects there, without making it. What must not live here: what was
//! applied before, which each kind of deployment keeps in its own way.

use promo_sdk::{ErrorKind, ProviderError, State};
use serde_json::Value;

use super::cluster::{MANAGER, Place};
use super::inventory::Found;
use super::mark;
use super::object::{self, Id, Object};
use super::projection;

/// How many requests to a cluster are under way at once.
pub(crate) const AT_ONCE: usize = 16;

/// What a place holds.
#[derive(Debug)]
pub(crate) struct There {
    pub(crate) state: State,
    /// What was applied there, and as what it is there now; nothing for what is gone.
    pub(crate) objects: Vec<(Object, Option<Value>)>,
}

impl There {
    /// Whether an object was applied here before.
    pub(crate) fn has(&self, id: &Id) -> bool {
        self.objects.iter().any(|(object, _)| object.id.same(id))
    }

    /// The objects with their declared fields alone.
    pub(crate) fn shown(&self) -> Vec<(Object, Option<Value>)> {
        let shown = |(object, live): &(Object, Option<Value>)| {
            (object.clone(), live.as_ref().map(|live| projection::object(&object.value, live)))
        };
        self.objects.iter().map(shown).collect()
    }

    /// What there is before objects are applied. Those that are new are not there: [`tried`] has looked.
    pub(crate) fn found(&self, place: &Place, objects: &[Object]) -> Vec<Found> {
        let there = self.objects.iter().map(|(object, live)| Found::new(place, object, live.as_ref()));
        let new = objects.iter().filter(|object| !self.has(&object.id));
        there.chain(new.map(|object| Found::new(place, object, None))).collect()
    }
}

/// To whom objects belong once they are there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Owner<'a> {
    /// To the deployment of promo that is called so: what it has applied there before.
    Promo(&'a There, &'a str),
    /// To a release of helm: what says so itself.
    Helm(&'a str),
}

/// What helm writes on everything that it makes: <https://helm.sh/docs/howto/charts_tips_and_tricks>.
const RELEASE: &str = "/metadata/annotations/meta.helm.sh~1release-name";
const RELEASE_NAMESPACE: &str = "/metadata/annotations/meta.helm.sh~1release-namespace";
const MANAGED_BY: &str = "/metadata/labels/app.kubernetes.io~1managed-by";

/// Whether an object says of itself that it belongs to a release of this namespace.
pub(crate) fn of_release(place: &Place, release: &str, live: &Value) -> bool {
    let text = |pointer: &str| live.pointer(pointer).and_then(Value::as_str);
    text(RELEASE) == Some(release)
        && text(RELEASE_NAMESPACE) == Some(&place.namespace)
        && text(MANAGED_BY) == Some("Helm")
}

impl Owner<'_> {
    /// As whom objects are applied.
    fn manager(self) -> &'static str {
        match self {
            Self::Promo(..) => MANAGER,
            Self::Helm(_) => "helm",
        }
    }

    /// Whether an object is there already and belongs here.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] for one that is there and does not.
    async fn has(self, place: &Place, id: &Id) -> Result<bool, ProviderError> {
        let refused =
            |why: String| Err(ProviderError::new(ErrorKind::Conflict, format!("{id} is there already, {why}")));
        match self {
            Self::Promo(there, name) => {
                let ours = there.objects.iter().find(|(object, _)| object.id.same(id));
                let live = match ours {
                    Some((_, live)) => live.clone(),
                    None => place.live(id).await?,
                };
                let Some(live) = live else { return Ok(ours.is_some()) };
                match mark::Owner::of(&live).other_than(name) {
                    Some(other) => refused(of_other(other)),
                    None if ours.is_some() => Ok(true),
                    None => refused(
                        "and promo has not made it: take it away, leave it out here, or take it over (`promo adopt`)"
                            .into(),
                    ),
                }
            }
            Self::Helm(release) => match place.live(id).await? {
                None => Ok(false),
                Some(live) if of_release(place, release, &live) => Ok(true),
                Some(_) => refused(format!(
                    "and does not say that it belongs to release {release}: take it away, leave it out of the chart, or give it to the release"
                )),
            },
        }
    }
}

/// Why an object is not taken that belongs to another deployment of promo.
pub(crate) fn of_other(name: &str) -> String {
    format!(
        "and belongs to the deployment `{}` of this namespace ({}): leave it out of one of the two",
        crate::escape::line(name),
        mark::DEPLOYMENT
    )
}

/// What the server would make of objects, without making it; one of a kind that it does not know yet, or not yet like this, is taken as
/// declared where its definition is among them or among `definitions`, and so is one that binds a Role which is among them.
///
/// # Errors
/// [`ErrorKind::Conflict`] for an object that is there already and belongs to somebody else.
pub(crate) async fn tried(
    place: &Place,
    objects: &[Object],
    definitions: &[Object],
    owner: Owner<'_>,
) -> Result<Vec<(Object, Value)>, ProviderError> {
    let one = async |object: &Object| {
        let ours = owner.has(place, &object.id).await?;
        let applied = match owner {
            Owner::Promo(_, name) => mark::marked(object, name),
            Owner::Helm(_) => object.clone(),
        };
        let wanted = match place.apply(owner.manager(), &applied, ours, true).await {
            Ok(would_be) => would_be,
            Err(error) if object::waits(object, &error, objects.iter().chain(definitions)) => object.value.clone(),
            Err(error) => return Err(error),
        };
        Ok((object.clone(), projection::object(&object.value, &wanted)))
    };
    let mut out = Vec::with_capacity(objects.len());
    // In their own order, sixteen at once.
    for group in objects.chunks(AT_ONCE) {
        let together: Vec<_> = group.iter().map(&one).collect();
        out.extend(futures_util::future::try_join_all(together).await?);
    }
    Ok(out)
}
