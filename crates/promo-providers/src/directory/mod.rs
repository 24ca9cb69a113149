//! The `directory` deployment: files and rendered templates in a directory of their own per release, switched by one
//! symbolic link (`TARGET/current`). What must not live here: how files are found or read; they come by digest.
//!
//! The state of a place is the digest of the canonical JSON of `{path: digest}` over everything below `current`, read
//! from the disk each time, so a change by hand is a change. Effects are *fenced* (S9.3): a writer whose expected state
//! is no longer there is refused under a lock, whatever it believes. Files get the modes that the umask gives.

mod drift;
mod place;
mod render;
mod switch;
mod tree;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use promo_core::kinds::{KindSchema, Place, ValueKind};
use promo_core::model::Target;
use promo_core::{Digest, inputs::FileChange};
use promo_sdk::{
    Context, Description, DriftAnswer, DriftRequest, EffectClass, EnsureAnswer, EnsureRequest, ErrorKind, Inputs,
    ObserveRequest, Preview, Provider, ProviderError, State,
};

use self::render::Tree;
use self::tree::{Live, RELEASES};
use crate::settings::{files, key};

/// Files larger than this, and files that are not text, are shown by their digest in a preview.
const SHOWN: usize = 64 << 10;

/// Deploys files and templates into a directory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Directory;

/// What `deploy.directory` accepts.
#[must_use]
pub fn schema() -> KindSchema {
    KindSchema {
        place: Place::Deploy,
        kind: "directory".to_owned(),
        about: "Puts files and rendered templates into a directory and switches to them at once".to_owned(),
        keys: vec![
            files("files", "Paths and globs of files that are copied as they are"),
            files("templates", "Paths and globs of minijinja templates; a final `.j2` is cut from the name"),
            key("values", ValueKind::TextTable, "Texts that templates read as `values.NAME`"),
            key("strip", ValueKind::Text, "A leading directory that is cut from the names of files"),
        ],
        target_keys: vec!["directory".to_owned()],
    }
}

/// Looks at the directory of a target, and changes nothing: what is there, in words. A relative one starts at `root`.
///
/// # Errors
/// As looking at it has them when it is planned for; [`ErrorKind::Conflict`] where something else than a deployment is there.
pub fn reached(root: &Path, target: &Target) -> Result<String, ProviderError> {
    let place = place::resolve(root, target)?;
    match Live::read(&place)? {
        Live::Tree { .. } => Ok("is there".to_owned()),
        Live::Absent if place.is_dir() => Ok("is there, and nothing is deployed to it".to_owned()),
        Live::Absent => Ok("is not there: the first deployment makes it".to_owned()),
        Live::Foreign(what) => Err(foreign(&place, &what)),
    }
}

fn foreign(place: &Path, what: &str) -> ProviderError {
    let message = format!("{}: {what}; restore it or move it away", place.display());
    ProviderError::new(ErrorKind::Conflict, message)
}

#[async_trait]
impl Provider for Directory {
    fn describe(&self) -> Description {
        Description {
            name: "directory".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            effects: EffectClass::Fenced,
            kinds: vec![schema()],
        }
    }

    async fn lint(&self, cx: &Context, inputs: &Inputs) -> Result<Vec<String>, ProviderError> {
        in_background(cx, inputs, render::lint).await.map(|()| Vec::new())
    }

    async fn observe(&self, cx: &Context, request: &ObserveRequest) -> Result<State, ProviderError> {
        in_background(cx, &request.inputs, |cx, inputs| {
            Ok(Live::read(&place::resolve(&cx.root, &inputs.target)?)?.state())
        })
        .await
    }

    async fn preview(&self, cx: &Context, request: &ObserveRequest) -> Result<Preview, ProviderError> {
        in_background(cx, &request.inputs, |cx, inputs| {
            let place = place::resolve(&cx.root, &inputs.target)?;
            let tree = render::render(cx, inputs)?;
            let live = Live::read(&place)?;
            if let Live::Foreign(what) = &live {
                return Err(foreign(&place, what));
            }
            Ok(Preview {
                current: live.state(),
                desired: State::Present(tree::fingerprint(&tree.manifest())),
                changes: changes(&place, &live, &tree),
                images: Vec::new(),
            })
        })
        .await
    }

    async fn drift(&self, cx: &Context, request: &DriftRequest) -> Result<DriftAnswer, ProviderError> {
        let recorded = request.recorded;
        in_background(cx, &request.inputs, move |cx, inputs| drift::of(cx, inputs, recorded)).await
    }

    async fn ensure(&self, cx: &Context, request: &EnsureRequest) -> Result<EnsureAnswer, ProviderError> {
        let EnsureRequest { expected, desired, token, epoch, .. } = request.clone();
        in_background(cx, &request.inputs, move |cx, inputs| {
            let State::Present(desired) = desired else {
                let message = format!("a directory deployment cannot make a place hold {desired}");
                return Err(ProviderError::new(ErrorKind::Invalid, message));
            };
            let place = place::resolve(&cx.root, &inputs.target)?;
            let tree = render::render(cx, inputs)?;
            let rendered = tree::fingerprint(&tree.manifest());
            if rendered != desired {
                let message = "the inputs of the plan do not give the tree that it names; nothing was changed";
                return Err(ProviderError::new(ErrorKind::Integrity, message).differs(desired, rendered));
            }
            let (release, cancelled) = (&inputs.release, &cx.cancelled);
            let order = switch::Order { expected, desired, release, token: &token, epoch, cancelled };
            switch::switch(&place, &tree, &order)
        })
        .await
    }
}

/// Runs work on the file system where it may block.
async fn in_background<T: Send + 'static>(
    cx: &Context,
    inputs: &Inputs,
    work: impl FnOnce(&Context, &Inputs) -> Result<T, ProviderError> + Send + 'static,
) -> Result<T, ProviderError> {
    let (cx, inputs) = (cx.clone(), inputs.clone());
    match tokio::task::spawn_blocking(move || work(&cx, &inputs)).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(ProviderError::new(ErrorKind::Cancelled, "the program is ending")),
    }
}

fn changes(place: &Path, live: &Live, tree: &Tree) -> Vec<FileChange> {
    let empty = tree::Manifest::new();
    let (directory, before) = match live {
        Live::Tree { name, manifest } => (place.join(RELEASES).join(name), manifest),
        Live::Absent | Live::Foreign(_) => (PathBuf::new(), &empty),
    };
    let after = tree.manifest();
    let paths: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let changed = paths.into_iter().filter(|path| before.get(*path) != after.get(*path));
    changed
        .map(|path| FileChange {
            path: path.clone(),
            before: before.get(path).map(|digest| shown_file(&directory.join(path), digest)),
            after: tree.0.get(path).map(|bytes| text(bytes).unwrap_or_else(|| by_digest(bytes))),
        })
        .collect()
}

fn by_digest(bytes: &[u8]) -> String {
    format!("{} ({} bytes)", Digest::of(bytes), bytes.len())
}

/// The content, where it is a text that a person can compare.
fn text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    (bytes.len() <= SHOWN && !text.contains('\0')).then(|| text.to_owned())
}

/// The content of a live file, or its entry of the manifest where that is no text or another one by now.
fn shown_file(path: &Path, digest: &str) -> String {
    if !digest.starts_with("sha256:") {
        return digest.to_owned();
    }
    let size = path.symlink_metadata().map_or(0, |found| found.len());
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(SHOWN as u64 + 1).read_to_end(&mut bytes));
    match text(&bytes) {
        Some(text) if read.is_ok() && Digest::of(&bytes).to_string() == digest => text,
        _ => format!("{digest} ({size} bytes)"),
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
