//! What was applied to a place: a Secret in its namespace, which says what belongs to promo there. What must not live here:
//! requests about the objects themselves.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use promo_core::Digest;
use promo_sdk::{EnsureRequest, ErrorKind, ProviderError, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cluster::{MANAGER, Place};
use super::error::told;
use super::fingerprint;
use super::object::{Id, Object};
use super::projection;

/// The type of the Secret, and with it the format of what is in it.
const TYPE: &str = "promo/inventory.v1";
/// The key of the Secret's data.
const KEY: &str = "inventory";
/// What it may unpack to (S13.2).
const UNPACKED: u64 = 64 << 20;

/// What was applied, and whether all of it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Inventory {
    /// Of which release.
    pub(crate) release: String,
    /// By which run and step.
    pub(crate) token: String,
    /// Under which epoch, and which ledger gave it.
    pub(crate) epoch: u64,
    #[serde(default)]
    pub(crate) ledger: String,
    pub(crate) phase: Phase,
    /// What is declared.
    pub(crate) entries: Vec<Entry>,
    /// The hooks that are declared beside it. In [`Phase::Applied`] all of them have run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) hooks: Vec<Object>,
    /// Jobs that were made for hooks, as long as they may be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) jobs: Vec<String>,
    /// Which hooks have run here to their good end, the last ones last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ran: Vec<Digest>,
    /// Of a release of helm: the number of its revision, before while applying and after once applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<u64>,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// All of it was applied, and what was no longer declared is gone.
    Applied,
    /// It was begun.
    Applying {
        /// What was there.
        from: State,
        /// What is to be there.
        to: State,
        /// What each object was before, of those that were declared and those that are.
        found: Vec<Found>,
    },
}

/// An object as it was when applying began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Found {
    /// As it is declared.
    object: Object,
    /// What its declared fields gave; nothing where it was not there.
    print: Option<Digest>,
}

impl Found {
    /// An object, as it is now.
    pub(crate) fn new(place: &Place, object: &Object, live: Option<&Value>) -> Self {
        let print = live.map(|live| fingerprint::of(place, &projection::object(&object.value, live)));
        Self { object: object.clone(), print }
    }
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// As it is declared.
    pub(crate) object: Object,
    /// What the live object's declared fields give once it is applied.
    print: Digest,
}

impl Entry {
    /// An object, with what its fields are to be.
    pub(crate) fn new(place: &Place, object: &Object, wanted: &Value) -> Self {
        Self { object: object.clone(), print: fingerprint::of(place, wanted) }
    }

    /// Whether a live object's declared fields are as they are to be.
    pub(crate) fn is(&self, place: &Place, live: &Value) -> bool {
        fingerprint::of(place, &projection::object(&self.object.value, live)) == self.print
    }
}

impl Inventory {
    /// The hooks that have run for what is there, as a plan shows them.
    pub(crate) fn done(&self) -> &[Object] {
        match self.phase {
            Phase::Applied => &self.hooks,
            Phase::Applying { .. } => &[],
        }
    }

    /// Refuses a writer whose lock somebody else has had since: whatever it was told to do is no longer its to do. Where the state of
    /// the place alone would let it, what came after it may have been there and gone.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`].
    pub(crate) fn admits(&self, request: &EnsureRequest) -> Result<(), ProviderError> {
        if self.ledger != request.ledger || self.epoch <= request.epoch {
            return Ok(());
        }
        let message = format!(
            "{} was written under epoch {} since, by {}: this run had its lock under epoch {}, and has it no more",
            request.inputs.target.address(),
            self.epoch,
            crate::escape::line(&self.token),
            request.epoch
        );
        Err(ProviderError::new(ErrorKind::Conflict, message))
    }

    /// Everything that is or was declared, as long as it may be there.
    pub(crate) fn all(&self) -> Vec<Object> {
        let mut all: Vec<Object> = self.entries.iter().map(|entry| entry.object.clone()).collect();
        if let Phase::Applying { found, .. } = &self.phase {
            let gone = |found: &&Found| !self.entries.iter().any(|entry| entry.object.id.same(&found.object.id));
            all.extend(found.iter().filter(gone).map(|found| found.object.clone()));
        }
        all
    }

    /// Whether an object is as it was when applying began, or as it is to be: nobody else has touched it meanwhile.
    pub(crate) fn knows(&self, place: &Place, found: &[Found], id: &Id, live: Option<&Value>) -> bool {
        let was = found.iter().find(|found| found.object.id.same(id));
        let will_be = self.entries.iter().find(|entry| entry.object.id.same(id));
        let Some(live) = live else { return was.is_none_or(|was| was.print.is_none()) || will_be.is_none() };
        let as_it_was = |was: &Found| was.print == Found::new(place, &was.object, Some(live)).print;
        was.is_some_and(as_it_was) || will_be.is_some_and(|entry| entry.is(place, live))
    }
}

/// An inventory as it was read, with the version that was read.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) inventory: Inventory,
    version: Option<String>,
}

impl Kept {
    /// The version that was read or written: no two are the same.
    pub(crate) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }
}

fn secret(name: &str) -> String {
    format!("promo.{name}")
}

/// Reads the inventory of that name.
///
/// # Errors
/// [`ErrorKind::Conflict`] for a Secret of that name that is none.
pub(crate) async fn read(place: &Place, name: &str) -> Result<Option<Kept>, ProviderError> {
    let secret = secret(name);
    let found = place.typed::<Secret>().get_opt(&secret).await;
    let found = found.map_err(|error| told(&format!("reading Secret/{secret}"), &error))?;
    let Some(found) = found else { return Ok(None) };
    let foreign = |why: &str| {
        let message = format!("Secret/{secret} in namespace {} is no inventory of promo: {why}", place.namespace);
        ProviderError::new(ErrorKind::Conflict, message)
    };
    if found.type_.as_deref() != Some(TYPE) {
        let kind = found.type_.unwrap_or_default();
        return Err(foreign(&format!("its type is `{}`, expected `{TYPE}`", crate::escape::line(&kind))));
    }
    let packed = found.data.unwrap_or_default().remove(KEY).ok_or_else(|| foreign("it has no inventory"))?;
    let mut bytes = Vec::new();
    let unpacked = GzDecoder::new(packed.0.as_slice()).take(UNPACKED).read_to_end(&mut bytes);
    unpacked.map_err(|_| foreign("it cannot be unpacked"))?;
    let inventory = serde_json::from_slice(&bytes).map_err(|error| foreign(&error.to_string()))?;
    Ok(Some(Kept { inventory, version: found.metadata.resource_version }))
}

/// Refuses to go on where somebody has written the inventory since it was read or written here: they are at work, and this run is not
/// any more.
///
/// # Errors
/// [`ErrorKind::Conflict`].
pub(crate) async fn still(place: &Place, name: &str, known: Option<&Kept>) -> Result<(), ProviderError> {
    let secret = secret(name);
    let found = place.typed::<Secret>().get_metadata_opt(&secret).await;
    let found = found.map_err(|error| told(&format!("reading Secret/{secret}"), &error))?;
    if found.map(|found| found.metadata.resource_version) == known.map(|known| known.version.clone()) {
        return Ok(());
    }
    Err(elsewhere(place, &secret))
}

fn elsewhere(place: &Place, secret: &str) -> ProviderError {
    let message = format!("another run writes to namespace {}: Secret/{secret} has changed", place.namespace);
    ProviderError::new(ErrorKind::Conflict, message)
}

/// Writes an inventory over the version that was read, or anew where there was none.
///
/// # Errors
/// [`ErrorKind::Conflict`] when somebody else has written meanwhile, [`ErrorKind::Invalid`] for more than a Secret holds.
pub(crate) async fn write(
    place: &Place,
    name: &str,
    over: Option<&Kept>,
    inventory: &Inventory,
) -> Result<Kept, ProviderError> {
    let name = secret(name);
    let failed =
        |why: &dyn std::fmt::Display| ProviderError::new(ErrorKind::Failed, format!("packing the inventory: {why}"));
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    let bytes = serde_json::to_vec(inventory).map_err(|error| failed(&error))?;
    let packed = packer.write_all(&bytes).and_then(|()| packer.finish()).map_err(|error| failed(&error))?;
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            resource_version: over.and_then(|kept| kept.version.clone()),
            labels: Some(BTreeMap::from([("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned())])),
            ..ObjectMeta::default()
        },
        type_: Some(TYPE.to_owned()),
        data: Some(BTreeMap::from([(KEY.to_owned(), ByteString(packed))])),
        ..Secret::default()
    };
    let (api, params) = (place.typed::<Secret>(), PostParams { field_manager: Some(MANAGER.into()), dry_run: false });
    let written = match over {
        None => api.create(&params, &secret).await,
        Some(_) => api.replace(&name, &params, &secret).await,
    };
    let written = written.map_err(|error| match error {
        kube::Error::Api(status) if status.code == 409 => elsewhere(place, &name),
        error => told(&format!("writing Secret/{name}"), &error),
    })?;
    Ok(Kept { inventory: inventory.clone(), version: written.metadata.resource_version })
}
