//! OCI image layouts: one repository in a directory (image specification, "OCI Image Layout"). What lives here: reading
//! and writing of its files, safe against a crash and against other processes. What must not: what to copy, and in which
//! order.
//!
//! Blobs are written to a temporary file, synced and renamed, so that a name in `blobs/` always means whole content.
//! `index.json` is replaced the same way, under a lock file, so that two writers never lose each other's tags.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use promo_core::Digest;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::document::{self, RawManifest};
use super::error::{OciError, tame};
use super::store::{BlobStream, Head, Limits, verified};

/// The annotation of a descriptor in `index.json` that holds the tag (image specification, "Pre-Defined Annotation Keys").
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

const LOCK: &str = "index.json.lock";
const LOCK_WAIT: Duration = Duration::from_secs(30);
const INDEX_LIMIT: u64 = 16 << 20;

/// An image layout in a directory. It need not exist before the first write.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
    name: String,
}

impl Layout {
    /// The layout in `root`, called `name` in messages.
    pub fn new(root: impl Into<PathBuf>, name: impl Into<String>) -> Self {
        Self { root: root.into(), name: name.into() }
    }

    /// Its name in messages: `oci-layout:PATH`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join("sha256").join(digest.hex())
    }

    fn what(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.name)
    }

    /// Makes the directory a layout. Refuses a directory that holds something else.
    fn create(&self) -> Result<(), OciError> {
        let marker = self.root.join("oci-layout");
        match read_limited(&marker, 4096)? {
            Some(bytes) => return check_marker(&self.name, &bytes),
            None if self.root.read_dir().is_ok_and(|mut entries| entries.any(|e| is_foreign(&e))) => {
                return Err(OciError::malformed(&self.name, "the directory is not empty and is no OCI image layout"));
            }
            None => {}
        }
        let blobs = self.root.join("blobs").join("sha256");
        std::fs::create_dir_all(&blobs).map_err(OciError::io(&blobs))?;
        let _lock = self.lock()?;
        let index = self.root.join("index.json");
        if !index.exists() {
            write_atomic(&index, &to_bytes(&empty_index()))?;
        }
        // The marker comes last: with it the directory counts as a layout.
        write_atomic(&marker, br#"{"imageLayoutVersion":"1.0.0"}"#)
    }

    fn lock(&self) -> Result<std::fs::File, OciError> {
        let path = self.root.join(LOCK);
        let file = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(OciError::io(&path))?;
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(std::fs::TryLockError::WouldBlock) if waited < LOCK_WAIT => {
                    let pause = Duration::from_millis(10);
                    std::thread::sleep(pause);
                    waited += pause;
                }
                Err(std::fs::TryLockError::WouldBlock) => {
                    return Err(OciError::Locked { path, seconds: LOCK_WAIT.as_secs() });
                }
                Err(std::fs::TryLockError::Error(source)) => return Err(OciError::Io { path, source }),
            }
        }
    }

    /// `index.json` as it is; none when there is no layout here yet.
    fn read_index(&self) -> Result<Option<Value>, OciError> {
        let Some(marker) = read_limited(&self.root.join("oci-layout"), 4096)? else { return Ok(None) };
        check_marker(&self.name, &marker)?;
        let what = format!("{}/index.json", self.name);
        let Some(bytes) = read_limited(&self.root.join("index.json"), INDEX_LIMIT)? else {
            return Err(OciError::malformed(what, "missing"));
        };
        if document::media_type(&what, None, &bytes)? != document::OCI_INDEX {
            return Err(OciError::malformed(what, "not an image index"));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|e| OciError::malformed(what, e.to_string()))
    }

    /// The entries of `index.json` that hold manifests: tag, digest, media type, size.
    fn entries(&self, index: &Value) -> Result<Vec<(Option<String>, Head)>, OciError> {
        let what = format!("{}/index.json", self.name);
        let mut out = Vec::new();
        for entry in index["manifests"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let text = entry["digest"].as_str().unwrap_or_default();
            let digest =
                text.parse().map_err(|_| OciError::malformed(&what, format!("`{}` is not a digest", tame(text))))?;
            let (Some(media_type), Some(size)) = (entry["mediaType"].as_str(), entry["size"].as_u64()) else {
                return Err(OciError::malformed(&what, format!("entry {digest} has no media type or size")));
            };
            let tag = entry["annotations"][REF_NAME].as_str().map(String::from);
            out.push((tag, Head { digest, media_type: Some(media_type.into()), size: Some(size) }));
        }
        Ok(out)
    }

    fn find_tag(&self, index: &Value, tag: &str) -> Result<Option<Head>, OciError> {
        let mut found: Option<Head> = None;
        for (name, head) in self.entries(index)? {
            if name.as_deref() == Some(tag) {
                if found.as_ref().is_some_and(|earlier| earlier.digest != head.digest) {
                    return Err(OciError::malformed(
                        format!("{}/index.json", self.name),
                        format!("the tag `{}` is given twice, with different digests", tame(tag)),
                    ));
                }
                found = Some(head);
            }
        }
        Ok(found)
    }

    pub(super) fn head_tag(&self, tag: &str) -> Result<Option<Head>, OciError> {
        self.read_index()?.map_or(Ok(None), |index| self.find_tag(&index, tag))
    }

    pub(super) fn head_digest(&self, digest: &Digest) -> Result<Option<Head>, OciError> {
        let path = self.blob_path(digest);
        match std::fs::metadata(&path) {
            Ok(meta) => Ok(Some(Head { digest: *digest, media_type: None, size: Some(meta.len()) })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(OciError::io(path)(error)),
        }
    }

    pub(super) fn list_tags(&self) -> Result<Vec<String>, OciError> {
        let Some(index) = self.read_index()? else { return Ok(Vec::new()) };
        let tags: BTreeSet<String> = self.entries(&index)?.into_iter().filter_map(|(tag, _)| tag).collect();
        Ok(tags.into_iter().collect())
    }

    /// A manifest by digest. `stated` is what a parent calls it; without one `index.json` is asked.
    pub(super) fn get_manifest(
        &self,
        digest: &Digest,
        stated: Option<&str>,
        limits: &Limits,
    ) -> Result<RawManifest, OciError> {
        let what = self.what(digest);
        let bytes = read_limited_or(&self.blob_path(digest), &what, limits.manifest())?
            .ok_or_else(|| OciError::NotFound { what: what.clone() })?;
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(OciError::integrity(what, digest, found));
        }
        let listed = match stated {
            Some(stated) => Some(stated.to_string()),
            None => match self.read_index()? {
                Some(index) => {
                    self.entries(&index)?.into_iter().find(|(_, h)| h.digest == *digest).and_then(|(_, h)| h.media_type)
                }
                None => None,
            },
        };
        let media_type = document::media_type(&what, listed.as_deref(), &bytes)?;
        Ok(RawManifest { digest: found, media_type, bytes })
    }

    /// Whether the blob is here, whole and unchanged: a file of the right size with other bytes does not count.
    pub(super) async fn blob_exists(&self, digest: &Digest, size: u64) -> Result<bool, OciError> {
        match self.head_digest(digest)? {
            Some(head) if head.size == Some(size) => {}
            _ => return Ok(false),
        }
        let (path, wanted) = (self.blob_path(digest), *digest);
        let hashing = tokio::task::spawn_blocking(move || hash_file(&path));
        Ok(hashing.await.expect("invariant: hashing does not panic")? == wanted)
    }

    pub(super) async fn get_blob(&self, digest: &Digest, size: u64) -> Result<BlobStream, OciError> {
        let path = self.blob_path(digest);
        let what = self.what(digest);
        let file = match tokio::fs::File::open(&path).await {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(OciError::NotFound { what }),
            Err(error) => return Err(OciError::io(path)(error)),
        };
        let found = file.metadata().await.map_err(OciError::io(&path))?.len();
        if found != size {
            return Err(OciError::integrity(format!("{what}: size"), size, found));
        }
        let stream = tokio_util::io::ReaderStream::with_capacity(file, 256 << 10)
            .map_err(move |source| OciError::Io { path: path.clone(), source });
        Ok(stream.boxed())
    }

    /// Stores a blob; nothing is left behind when its size or digest is not the promised one.
    pub(super) async fn put_blob(&self, digest: &Digest, size: u64, stream: BlobStream) -> Result<(), OciError> {
        self.create()?;
        let path = self.blob_path(digest);
        let directory = path.parent().expect("invariant: a blob has a directory");
        let temporary = temporary_in(directory)?;
        let handle = temporary.as_file().try_clone().map_err(OciError::io(&path))?;
        let mut file = tokio::fs::File::from_std(handle);
        let mut stream = verified(format!("{} of {}", digest, self.name), *digest, size, stream);
        while let Some(chunk) = stream.try_next().await? {
            file.write_all(&chunk).await.map_err(OciError::io(&path))?;
        }
        file.sync_all().await.map_err(OciError::io(&path))?;
        drop(file);
        persist(temporary, &path)
    }

    pub(super) async fn put_manifest(&self, manifest: &RawManifest) -> Result<(), OciError> {
        let bytes = Bytes::copy_from_slice(&manifest.bytes);
        let size = bytes.len() as u64;
        let stream = futures_util::stream::once(async move { Ok(bytes) }).boxed();
        self.put_blob(&manifest.digest, size, stream).await
    }

    /// Points a tag at a manifest that is here. `expected` is what the tag may hold: nothing, or the digest it is to be
    /// moved from; the comparison and the write are one step under the lock.
    pub(super) fn put_tag(&self, tag: &str, manifest: &RawManifest, expected: Option<&Digest>) -> Result<(), OciError> {
        self.create()?;
        let _lock = self.lock()?;
        let mut index = self.read_index()?.unwrap_or_else(empty_index);
        match self.find_tag(&index, tag)? {
            Some(head) if head.digest == manifest.digest => return Ok(()),
            Some(head) if expected != Some(&head.digest) => {
                return Err(OciError::TagConflict {
                    reference: format!("{}:{tag}", self.name),
                    wanted: manifest.digest,
                    found: head.digest,
                });
            }
            _ => {}
        }
        let entries = index["manifests"].as_array_mut().expect("invariant: an index was read or made with `manifests`");
        entries.retain(|entry| entry["annotations"][REF_NAME].as_str() != Some(tag));
        entries.push(json!({
            "annotations": { REF_NAME: tag },
            "digest": manifest.digest.to_string(),
            "mediaType": manifest.media_type,
            "size": manifest.bytes.len(),
        }));
        write_atomic(&self.root.join("index.json"), &to_bytes(&index))
    }
}

fn empty_index() -> Value {
    json!({ "manifests": [], "mediaType": document::OCI_INDEX, "schemaVersion": 2 })
}

/// Sorted keys, whatever features serde_json was built with: layouts made from the same input are the same bytes.
fn to_bytes(value: &Value) -> Vec<u8> {
    promo_core::canonical::to_vec(value).unwrap_or_else(|_| value.to_string().into_bytes())
}

fn check_marker(name: &str, bytes: &[u8]) -> Result<(), OciError> {
    let version = serde_json::from_slice::<Value>(bytes)
        .ok()
        .and_then(|v| v["imageLayoutVersion"].as_str().map(String::from))
        .ok_or_else(|| OciError::malformed(format!("{name}/oci-layout"), "no `imageLayoutVersion`"))?;
    if version == "1.0.0" {
        return Ok(());
    }
    Err(OciError::Unsupported { what: name.into(), problem: format!("layout version `{}`", tame(&version)) })
}

/// Whether a directory entry is something that [`Layout::create`] did not leave there when it was interrupted.
fn is_foreign(entry: &std::io::Result<std::fs::DirEntry>) -> bool {
    entry.as_ref().map_or(true, |entry| {
        let name = entry.file_name();
        !matches!(name.to_str(), Some("blobs" | "index.json" | "oci-layout" | LOCK))
            && !name.to_string_lossy().starts_with(".tmp")
    })
}

fn read_limited(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, OciError> {
    read_limited_or(path, &path.display().to_string(), limit)
}

fn read_limited_or(path: &Path, what: &str, limit: u64) -> Result<Option<Vec<u8>>, OciError> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(OciError::io(path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(OciError::io(path))?;
    if bytes.len() as u64 > limit {
        return Err(OciError::TooLarge { what: format!("{what}: bytes"), limit, found: bytes.len() as u64 });
    }
    Ok(Some(bytes))
}

fn hash_file(path: &Path) -> Result<Digest, OciError> {
    let mut file = std::fs::File::open(path).map_err(OciError::io(path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer).map_err(OciError::io(path))? {
            0 => return Ok(Digest::from_bytes(hash.finalize().into())),
            n => hash.update(&buffer[..n]),
        }
    }
}

fn temporary_in(directory: &Path) -> Result<tempfile::NamedTempFile, OciError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tmp");
    #[cfg(unix)]
    {
        // A layout is shared like any other directory of files: the umask decides, not the default of temporary files.
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(directory).map_err(OciError::io(directory))
}

fn persist(temporary: tempfile::NamedTempFile, path: &Path) -> Result<(), OciError> {
    temporary.persist(path).map_err(|error| OciError::Io { path: path.into(), source: error.error })?;
    // The rename itself must survive a crash, or a tag could outlive the blobs it needs.
    if let Some(directory) = path.parent() {
        std::fs::File::open(directory).and_then(|d| d.sync_all()).map_err(OciError::io(directory))?;
    }
    Ok(())
}

fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), OciError> {
    let directory = path.parent().expect("invariant: files of a layout have a directory");
    let mut temporary = temporary_in(directory)?;
    temporary.write_all(bytes).map_err(OciError::io(path))?;
    temporary.as_file().sync_all().map_err(OciError::io(path))?;
    persist(temporary, path)
}
