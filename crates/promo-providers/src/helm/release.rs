//! What helm keeps of a release in the namespace: one Secret for each revision, as
//! <https://helm.sh/docs/topics/advanced/#storage-backends> has it. What must not live here: what promo makes of it.

use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ListParams, PostParams};
use promo_sdk::{ErrorKind, ProviderError};
use serde_json::Value;

use crate::kubernetes::cluster::{MANAGER, Place};
use crate::kubernetes::error::told;
use crate::kubernetes::object::{self, Id, Object};

/// The type of such a Secret.
const TYPE: &str = "helm.sh/release.v1";
/// What a revision may unpack to (S13.2).
const UNPACKED: u64 = 64 << 20;

/// The labels that promo's revisions carry, from before helm's first change on.
pub(super) const RUN: &str = "promo.run";
pub(super) const STEP: &str = "promo.step";
pub(super) const EPOCH: &str = "promo.epoch";
pub(super) const ATTEMPT: &str = "promo.attempt";

/// One revision.
#[derive(Debug, Clone)]
pub(super) struct Release {
    pub(super) revision: u64,
    pub(super) status: String,
    secret: Secret,
    value: Value,
}

impl Release {
    /// A label of the Secret.
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.secret.metadata.labels.as_ref()?.get(name).map(String::as_str)
    }

    fn text(&self, pointer: &str) -> &str {
        self.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// What stands beside the status, for people. Of one that failed helm keeps there what the server said, which may quote
    /// values (S13.4): it is not told.
    pub(super) fn description(&self) -> String {
        if self.status == "failed" {
            return "`helm history` has the reason".into();
        }
        crate::escape::line(self.text("/info/description"))
    }

    /// When it was made, or came to its end.
    pub(super) fn at(&self) -> Option<Timestamp> {
        self.text("/info/last_deployed").parse().ok()
    }

    /// The name and version of the chart.
    pub(super) fn chart(&self) -> (&str, &str, &str) {
        (
            self.text("/chart/metadata/name"),
            self.text("/chart/metadata/version"),
            self.text("/chart/metadata/appVersion"),
        )
    }

    /// What it declares.
    pub(super) fn objects(&self) -> Result<Vec<Object>, ProviderError> {
        objects(&format!("revision {}", self.revision), &self.value)
    }

    /// What it does before and after.
    pub(super) fn hooks(&self) -> Result<Vec<Object>, ProviderError> {
        hooks(&format!("revision {}", self.revision), &self.value)
    }

    /// The hooks that were begun and did not succeed, whatever became of the revision since: helm calls one superseded once there is
    /// a later one.
    pub(super) fn unfinished_hooks(&self) -> Result<Vec<Object>, ProviderError> {
        let mut all = Vec::new();
        for hook in self.value.get("hooks").and_then(Value::as_array).into_iter().flatten() {
            let text = |pointer: &str| hook.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            if matches!(text("/last_run/phase"), "Failed" | "Running" | "Unknown") {
                all.extend(object::read(&format!("a hook of revision {}", self.revision), text("/manifest"))?);
            }
        }
        Ok(all)
    }

    /// The hooks that failed, as `Job/migrate (pre-upgrade)`.
    pub(super) fn failed_hooks(&self) -> Vec<String> {
        let hooks = self.value.get("hooks").and_then(Value::as_array);
        let text =
            |hook: &Value, pointer: &str| hook.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        hooks
            .into_iter()
            .flatten()
            .filter(|hook| text(hook, "/last_run/phase") == "Failed")
            .map(|hook| {
                let events = hook.get("events").and_then(Value::as_array).into_iter().flatten();
                let events: Vec<&str> = events.filter_map(Value::as_str).collect();
                crate::escape::line(&format!("{}/{} ({})", text(hook, "/kind"), text(hook, "/name"), events.join(", ")))
            })
            .collect()
    }

    /// Whether it is neither done nor failed.
    pub(super) fn is_pending(&self) -> bool {
        self.status.starts_with("pending-") || self.status == "uninstalling"
    }
}

/// What a release declares, as helm writes releases in JSON; `of` is how it is named to a person.
///
/// # Errors
/// [`ErrorKind::Invalid`] for what is no manifest.
pub(super) fn objects(of: &str, release: &Value) -> Result<Vec<Object>, ProviderError> {
    let text = release.get("manifest").and_then(Value::as_str).unwrap_or_default();
    object::in_order(as_kept(object::read(of, text)?))
}

/// What it does before and after, in the same way.
///
/// # Errors
/// As [`objects`].
pub(super) fn hooks(of: &str, release: &Value) -> Result<Vec<Object>, ProviderError> {
    let mut objects = Vec::new();
    for hook in release.get("hooks").and_then(Value::as_array).into_iter().flatten() {
        let text = hook.get("manifest").and_then(Value::as_str).unwrap_or_default();
        objects.extend(object::read(&format!("a hook of {of}"), text)?);
    }
    Ok(as_kept(objects))
}

/// Objects as renderings have them.
fn as_kept(mut objects: Vec<Object>) -> Vec<Object> {
    for object in &mut objects {
        object::as_data(&object.id, &mut object.value);
    }
    objects
}

/// The revisions of a release, newest first, by the names of their Secrets, with their statuses.
async fn revisions(place: &Place, name: &str) -> Result<Vec<(u64, String, String)>, ProviderError> {
    let secrets = place.typed::<Secret>();
    let ours = ListParams::default().labels(&format!("owner=helm,name={name}"));
    let listed = secrets.list_metadata(&ours).await;
    let listed = listed.map_err(|error| told(&format!("looking for the release {name}"), &error))?;
    let mut found: Vec<(u64, String, String)> = listed
        .items
        .into_iter()
        .filter_map(|item| {
            let labels = item.metadata.labels.unwrap_or_default();
            let status = labels.get("status").cloned().unwrap_or_default();
            Some((labels.get("version")?.parse().ok()?, item.metadata.name?, status))
        })
        .collect();
    found.sort();
    found.reverse();
    Ok(found)
}

/// The newest revision of a release.
///
/// # Errors
/// [`ErrorKind::Conflict`] for one that is kept elsewhere, or that nobody can read.
pub(super) async fn latest(place: &Place, name: &str) -> Result<Option<Release>, ProviderError> {
    // One that goes between two requests was the oldest, unless somebody takes the release away: then there is none.
    for _ in 0..3 {
        let Some((_, secret, _)) = revisions(place, name).await?.into_iter().next() else {
            return elsewhere(place, name).await.map(|()| None);
        };
        if let Some(release) = read(place, &secret).await? {
            return Ok(Some(release));
        }
    }
    Ok(None)
}

/// The newest revision that is said to be deployed.
pub(super) async fn deployed(place: &Place, name: &str) -> Result<Option<Release>, ProviderError> {
    let all = revisions(place, name).await?;
    match all.into_iter().find(|(_, _, status)| status == "deployed") {
        Some((_, secret, _)) => read(place, &secret).await,
        None => Ok(None),
    }
}

/// Whether a revision that is kept still, of whatever status, declares this hook: nothing else on an object says whose hook it was.
pub(super) async fn had_hook(place: &Place, name: &str, id: &Id) -> Result<bool, ProviderError> {
    for (_, secret, _) in revisions(place, name).await? {
        let Some(release) = read(place, &secret).await? else { continue };
        if release.hooks()?.iter().any(|hook| hook.id.same(id)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How many revisions before the newest are asked what their hooks have left.
const BEFORE: usize = 5;

/// The last revisions before this one, newest first.
pub(super) async fn before(place: &Place, name: &str, revision: u64) -> Result<Vec<Release>, ProviderError> {
    let mut all = Vec::new();
    let older = revisions(place, name).await?.into_iter().filter(|(number, ..)| *number < revision);
    for (_, secret, _) in older.take(BEFORE) {
        all.extend(read(place, &secret).await?);
    }
    Ok(all)
}

async fn elsewhere(place: &Place, name: &str) -> Result<(), ProviderError> {
    let params = ListParams::default().labels(&format!("owner=helm,name={name}")).limit(1);
    // Whoever may not read ConfigMaps keeps no release there.
    let found = place.typed::<ConfigMap>().list_metadata(&params).await;
    if found.is_ok_and(|found| !found.items.is_empty()) {
        let why = "expected Secrets, helm's own default: a release of HELM_DRIVER=configmap has to be moved first";
        let message = format!("the release {name} of namespace {} is kept in ConfigMaps; {why}", place.namespace);
        return Err(ProviderError::new(ErrorKind::Conflict, message));
    }
    Ok(())
}

async fn read(place: &Place, secret: &str) -> Result<Option<Release>, ProviderError> {
    let found = place.typed::<Secret>().get_opt(secret).await;
    let Some(found) = found.map_err(|error| told(&format!("reading Secret/{secret}"), &error))? else {
        return Ok(None);
    };
    let foreign = |why: &str| {
        let message = format!("Secret/{secret} in namespace {} is no revision of a release: {why}", place.namespace);
        ProviderError::new(ErrorKind::Conflict, message)
    };
    if found.type_.as_deref() != Some(TYPE) {
        return Err(foreign(&format!("expected the type `{TYPE}`")));
    }
    let packed = found.data.as_ref().and_then(|data| data.get("release"));
    let value = packed.and_then(|packed| unpack(&packed.0)).ok_or_else(|| foreign("it cannot be unpacked"))?;
    let revision = value.get("version").and_then(Value::as_u64).ok_or_else(|| foreign("it has no number"))?;
    let status = value.pointer("/info/status").and_then(Value::as_str).ok_or_else(|| foreign("it has no status"))?;
    Ok(Some(Release { revision, status: status.to_owned(), secret: found, value }))
}

fn unpack(packed: &[u8]) -> Option<Value> {
    let bytes = STANDARD.decode(packed).ok()?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return serde_json::from_slice(&bytes).ok();
    }
    let mut unpacked = Vec::new();
    GzDecoder::new(bytes.as_slice()).take(UNPACKED).read_to_end(&mut unpacked).ok()?;
    serde_json::from_slice(&unpacked).ok()
}

fn pack(value: &Value) -> std::io::Result<Vec<u8>> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(&serde_json::to_vec(value)?)?;
    Ok(STANDARD.encode(packer.finish()?).into_bytes())
}

/// Writes another status over the very revision that was read: nobody has gone on with it meanwhile.
///
/// # Errors
/// [`ErrorKind::Conflict`] where somebody has.
async fn mark(place: &Place, release: &Release, status: &str, why: &str) -> Result<(), ProviderError> {
    let (mut secret, mut value) = (release.secret.clone(), release.value.clone());
    let name = secret.metadata.name.clone().unwrap_or_default();
    value["info"]["status"] = status.into();
    value["info"]["description"] = why.into();
    let packed = pack(&value)
        .map_err(|error| ProviderError::new(ErrorKind::Failed, format!("packing Secret/{name}: {error}")))?;
    secret.data.get_or_insert_default().insert("release".to_owned(), ByteString(packed));
    secret.metadata.labels.get_or_insert_default().insert("status".to_owned(), status.to_owned());
    let params = PostParams { field_manager: Some(MANAGER.into()), dry_run: false };
    match place.typed::<Secret>().replace(&name, &params, &secret).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(answer)) if answer.code == 409 => {
            let message = format!(
                "somebody else goes on with revision {} of the release: Secret/{name} has changed",
                release.revision
            );
            Err(ProviderError::new(ErrorKind::Conflict, message))
        }
        Err(error) => Err(told(&format!("writing Secret/{name}"), &error)),
    }
}

/// Lets helm go on after a revision that was broken off or has failed: as what is there it takes that revision then, whatever of
/// it came to be, and not the one before, so that what it added and changed is taken back as well.
pub(super) async fn heal(place: &Place, name: &str, latest: &Release) -> Result<(), ProviderError> {
    if latest.is_pending() {
        mark(place, latest, "failed", "promo: broken off, and gone on from").await?;
    }
    while let Some(before) = deployed(place, name).await? {
        mark(place, &before, "superseded", "promo: the revision after it was broken off or has failed").await?;
    }
    Ok(())
}
