//! The chart of a deployment: a directory of the repository, or an OCI artifact that promo fetches itself. What must not live
//! here: what becomes of it.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use promo_core::Digest;
use promo_sdk::{Context, ErrorKind, Inputs, ProviderError};
use serde::Deserialize;

use super::settings::Settings;
use crate::oci::Oci;

/// What a chart may unpack to, as helm has it.
const UNPACKED: u64 = 100 << 20;
/// How deep packed charts are looked into: a chart has dependencies, which were packed with theirs.
const DEPTH: u8 = 8;
/// A word of each kind that is looked for.
const ANY: [&str; 4] = ["now", "lookup", "Capabilities", "IsUpgrade"];

/// What a chart says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: String,
    pub(super) version: String,
    #[serde(default)]
    pub(super) app_version: Option<String>,
}

/// A chart, whole.
#[derive(Debug)]
pub(super) struct Chart {
    /// What tells its contents from any other's.
    pub(super) key: Digest,
    pub(super) metadata: Metadata,
    /// The words of everything in it that is a template, or could become one.
    pub(super) words: BTreeSet<String>,
    /// Whether a template can tell in which namespace it is.
    pub(super) knows_namespace: bool,
    /// The words of everything in it that could be names of kinds; nothing where a part of it cannot be looked into.
    pub(super) names: Option<BTreeSet<String>>,
    contents: Contents,
}

#[derive(Debug)]
enum Contents {
    /// Paths below the chart's own directory.
    Files(Vec<(String, Vec<u8>)>),
    /// A packed chart.
    Archive(Vec<u8>),
}

fn invalid(message: String) -> ProviderError {
    ProviderError::new(ErrorKind::Invalid, message)
}

impl Chart {
    /// The chart that the settings name.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for what is no chart; what fetching it gives.
    pub(super) async fn of(
        cx: &Context,
        oci: &Oci,
        inputs: &Inputs,
        settings: &Settings,
    ) -> Result<Self, ProviderError> {
        let named = inputs.artifacts.iter().find(|(name, _)| name.as_str() == settings.chart);
        match named {
            Some((_, artifact)) => {
                let bytes = oci.chart(cx, artifact).await?;
                Self::archive(artifact.digest, bytes)
            }
            None => Self::directory(cx, inputs, &settings.chart),
        }
    }

    fn directory(cx: &Context, inputs: &Inputs, path: &str) -> Result<Self, ProviderError> {
        let base = format!("{}/", path.trim_end_matches('/').trim_start_matches("./"));
        let mut listing = String::new();
        let mut files = Vec::new();
        for (file, digest) in &inputs.files {
            let Some(below) = file.strip_prefix(&base) else { continue };
            listing.push_str(&format!("{below}\n{digest}\n"));
            files.push((below.to_owned(), cx.blobs.get(digest)?));
        }
        let chart = files.iter().find(|(path, _)| path == "Chart.yaml").map(|(_, bytes)| bytes);
        let metadata = metadata(chart.map(Vec::as_slice), path)?;
        let mut said = Said::default();
        for (path, bytes) in &files {
            said.collect(path, bytes, DEPTH);
        }
        Ok(Self::new(Digest::of(listing.as_bytes()), metadata, said, Contents::Files(files)))
    }

    fn archive(key: Digest, bytes: Vec<u8>) -> Result<Self, ProviderError> {
        let mut unpacked = Vec::new();
        let read = GzDecoder::new(bytes.as_slice()).take(UNPACKED + 1).read_to_end(&mut unpacked);
        if read.is_err() || unpacked.len() as u64 > UNPACKED {
            return Err(invalid(format!("the chart {key} is no archive that unpacks to less than {UNPACKED} bytes")));
        }
        let (mut said, mut own) = (Said::default(), None);
        for (path, contents) in entries(&unpacked) {
            said.collect(&path, contents, DEPTH);
            if path.split_once('/').is_some_and(|(_, below)| below == "Chart.yaml") {
                own = Some(contents);
            }
        }
        let metadata = metadata(own, &key.to_string())?;
        Ok(Self::new(key, metadata, said, Contents::Archive(bytes)))
    }

    fn new(key: Digest, metadata: Metadata, said: Said, contents: Contents) -> Self {
        let Said { words, knows_namespace, names, unread } = said;
        Self { key, metadata, words, knows_namespace, names: (!unread).then_some(names), contents }
    }

    /// Puts the chart into a directory that nobody else reads; gives where helm finds it.
    pub(super) fn put(&self, directory: &Path) -> std::io::Result<PathBuf> {
        match &self.contents {
            Contents::Archive(bytes) => {
                let file = directory.join("chart.tgz");
                std::fs::write(&file, bytes)?;
                Ok(file)
            }
            Contents::Files(files) => {
                let chart = directory.join("chart");
                for (path, bytes) in files {
                    let file = chart.join(path);
                    std::fs::create_dir_all(file.parent().unwrap_or(&chart))?;
                    std::fs::write(file, bytes)?;
                }
                Ok(chart)
            }
        }
    }

    /// Whether one of these words stands in a template.
    pub(super) fn says(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.words.contains(*word))
    }
}

fn metadata(bytes: Option<&[u8]>, of: &str) -> Result<Metadata, ProviderError> {
    let bytes = bytes.ok_or_else(|| {
        invalid(format!("`chart` is `{of}`: neither an artifact nor a directory with a Chart.yaml in it"))
    })?;
    let text = std::str::from_utf8(bytes).map_err(|_| invalid(format!("{of}: Chart.yaml is no text in UTF-8")))?;
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| invalid(format!("{of}: Chart.yaml: {}", crate::escape::line(&error.to_string()))))
}

/// What the files of a chart say.
#[derive(Debug, Default)]
struct Said {
    words: BTreeSet<String>,
    knows_namespace: bool,
    names: BTreeSet<String>,
    /// Whether a part could not be looked into.
    unread: bool,
}

impl Said {
    /// Takes in a file; of a packed chart, all its files.
    fn collect(&mut self, path: &str, bytes: &[u8], depth: u8) {
        let packed = path.ends_with(".tgz") && (path.starts_with("charts/") || path.contains("/charts/"));
        if !packed {
            return self.text(path, bytes);
        }
        let mut unpacked = Vec::new();
        let read = GzDecoder::new(bytes).take(UNPACKED).read_to_end(&mut unpacked);
        if depth == 0 || read.is_err() {
            // What cannot be looked into could say anything, or helm refuses it.
            self.words.extend(ANY.map(String::from));
            (self.knows_namespace, self.unread) = (true, true);
            return;
        }
        for (path, bytes) in entries(&unpacked) {
            self.collect(&path, bytes, depth - 1);
        }
    }

    /// The words within the actions (`{{ … }}`) of a file, and the names anywhere in it. What a chart says to a person after it was
    /// installed is no object. An action could tell in which namespace it is by that name, or by handing on or writing out all that it is
    /// told.
    fn text(&mut self, path: &str, bytes: &[u8]) {
        if path.ends_with("NOTES.txt") {
            return;
        }
        let text = String::from_utf8_lossy(bytes);
        // No template reads what `crds/` defines, and that has long texts for people.
        if !path.starts_with("crds/") && !path.contains("/crds/") {
            names(&text, &mut self.names);
        }
        for action in text.split("{{").skip(1) {
            let action = action.split("}}").next().unwrap_or_default();
            let word = |c: char| !c.is_ascii_alphanumeric() && c != '_';
            let mut release = action.split("Release").skip(1);
            let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
            let whole = release
                .any(|after| ![".Name", ".Service"].iter().any(|field| after.strip_prefix(field).is_some_and(ends)));
            let written = ["toYaml", "toJson", "toPrettyJson", "toRawJson", "toToml", "range", "index", "get"];
            let all = action.split_whitespace().any(|part| matches!(part, "." | "$" | ".," | "$,"));
            self.knows_namespace |=
                action.contains("Namespace") || whole || (all && written.iter().any(|word| action.contains(word)));
            self.words.extend(action.split(word).filter(|word| !word.is_empty()).map(String::from));
        }
    }
}

/// Takes in the words of a text that could be names of kinds: capitalised, and up to 63 letters and digits.
pub(super) fn names(text: &str, names: &mut BTreeSet<String>) {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let fits = |word: &&str| word.len() <= 63 && word.starts_with(|first: char| first.is_ascii_uppercase());
    names.extend(words.filter(fits).map(String::from));
}

/// The files of a tar archive, as far as it can be read: helm reads it for good.
fn entries(archive: &[u8]) -> Vec<(String, &[u8])> {
    const BLOCK: usize = 512;
    let text =
        |bytes: &[u8]| String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(header) = archive.get(at..at + BLOCK) {
        let name = text(&header[..100]);
        let Ok(size) = usize::from_str_radix(text(&header[124..136]).trim(), 8) else { break };
        if name.is_empty() {
            break;
        }
        let Some(contents) = archive.get(at + BLOCK..(at + BLOCK).saturating_add(size)) else { break };
        if matches!(header[156], b'0' | 0) {
            let prefix = if &header[257..262] == b"ustar" { text(&header[345..500]) } else { String::new() };
            let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            out.push((path, contents));
        }
        at += BLOCK + size.div_ceil(BLOCK) * BLOCK;
    }
    out
}
