//! How a directory differs from what was deployed into it, file by file. What must not live here: changing it back.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use promo_core::Digest;
use promo_sdk::{Context, DriftAnswer, DriftClass, FieldDrift, FileChange, Inputs, ObjectDrift, ProviderError, State};

use super::render::Tree;
use super::tree::{self, Live, Manifest, RELEASES};
use super::{by_digest, place, render, shown_file, text};

/// Compares what is there with what these inputs gave, which was `recorded`.
pub(super) fn of(cx: &Context, inputs: &Inputs, recorded: State) -> Result<DriftAnswer, ProviderError> {
    let place = place::resolve(&cx.root, &inputs.target)?;
    let live = Live::read(&place)?;
    let state = live.state();
    if state == recorded {
        return Ok(DriftAnswer::state(state));
    }
    let nothing = Manifest::new();
    let (directory, manifest) = match &live {
        Live::Foreign(what) => {
            return Ok(DriftAnswer { note: Some(crate::escape::line(what)), ..DriftAnswer::state(state) });
        }
        Live::Absent => (place.clone(), &nothing),
        Live::Tree { name, manifest } => (place.join(RELEASES).join(name), manifest),
    };
    let tree = render::render(cx, inputs)?;
    let was = tree.manifest();
    if State::Present(tree::fingerprint(&was)) != recorded {
        let note = "what was deployed cannot be made again here, so that only the whole of it can be told to differ";
        return Ok(DriftAnswer { note: Some(note.into()), ..DriftAnswer::state(state) });
    }
    if matches!(live, Live::Absent) {
        let note = "what was deployed there was removed".to_owned();
        return Ok(DriftAnswer { note: Some(note), ..DriftAnswer::state(state) });
    }
    let paths: BTreeSet<&String> = was.keys().chain(manifest.keys()).collect();
    let differing = paths.into_iter().filter(|path| was.get(*path) != manifest.get(*path));
    let objects = differing.map(|path| {
        let before = tree.0.get(path).map(|bytes| text(bytes).unwrap_or_else(|| by_digest(bytes)));
        let file = directory.join(path);
        let after = manifest.get(path).map(|digest| shown_file(&file, digest));
        let class = match (&before, &after) {
            (_, None) => DriftClass::Deleted,
            (None, Some(_)) => DriftClass::Added,
            (Some(_), Some(_)) => DriftClass::Changed,
        };
        // What is gone, or new, is so as a whole.
        let field =
            || FieldDrift { path: String::new(), class, recorded: before, live: after, by: None, at: at(&file) };
        let fields = if class == DriftClass::Changed { vec![field()] } else { Vec::new() };
        ObjectDrift { fields, ..ObjectDrift::whole(crate::escape::line(path), class) }
    });
    let objects: Vec<ObjectDrift> = objects.collect();
    let sources: Vec<_> = objects.iter().map(|object| (object, source(inputs, &tree, object))).collect();
    let left = sources.iter().filter(|(object, file)| object.class == DriftClass::Changed && file.is_none());
    let undeclared = left.map(|(object, _)| object.object.clone()).collect();
    let files = sources.into_iter().filter_map(|(_, file)| file).collect();
    Ok(DriftAnswer { objects, files, undeclared, ..DriftAnswer::state(state) })
}

/// The file that was copied as it is, with what is live in its place; nothing for what a template gave.
fn source(inputs: &Inputs, tree: &Tree, object: &ObjectDrift) -> Option<FileChange> {
    let [FieldDrift { recorded: Some(recorded), live: Some(live), .. }] = &object.fields[..] else { return None };
    let digest = Digest::of(tree.0.get(&object.object)?);
    let of = |path: &&String| **path == object.object || path.ends_with(&format!("/{}", object.object));
    let (path, _) = inputs.files.iter().find(|(path, found)| **found == digest && of(path))?;
    // What is shown by its digest is not known.
    (Digest::of(recorded.as_bytes()) == digest && !live.starts_with("sha256:")).then(|| FileChange {
        path: path.clone(),
        before: Some(recorded.clone()),
        after: Some(live.clone()),
    })
}

fn at(file: &Path) -> Option<Timestamp> {
    Timestamp::try_from(file.symlink_metadata().ok()?.modified().ok()?).ok()
}
