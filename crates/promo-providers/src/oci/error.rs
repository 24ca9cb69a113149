//! What can go wrong with an artifact store. What lives here: one enum whose variants a caller can tell apart (a moved
//! tag is not a broken transfer, and neither is a server that is busy). What must not: retry decisions, except the one
//! question [`OciError::is_transient`].

use std::path::PathBuf;

use promo_core::Digest;

/// Why an operation on a registry or an image layout did not happen. Every message says where, what was expected and
/// what was found; the underlying cause is the `source`, and is not repeated in the message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OciError {
    /// The text names no artifact, or not exactly one (registry.md 1.1).
    #[error("`{text}` is not an artifact reference: {problem}")]
    InvalidReference {
        /// The text, shortened.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A tag that is expected to move (`latest`, `1.4`, …) where a fixed name is needed.
    #[error("`{reference}`: `{tag}` is a tag that moves; name a fixed tag, or the digest alone")]
    MovingTag {
        /// The reference as it was given.
        reference: String,
        /// The tag.
        tag: String,
    },
    /// The tag does not point any more at what it is said to point at.
    #[error("{reference}: the tag has moved: expected {expected}, found {found}")]
    TagMoved {
        /// The tag, with registry and repository.
        reference: String,
        /// What was planned, or named beside the tag.
        expected: Digest,
        /// What the store answers now.
        found: Digest,
    },
    /// The destination tag holds something else. Nothing was written.
    #[error("{reference}: the tag is taken: wanted {wanted}, found {found}")]
    TagConflict {
        /// The tag, with registry and repository.
        reference: String,
        /// What was to be published under it.
        wanted: Digest,
        /// What it holds.
        found: Digest,
    },
    /// The registry refuses to move the tag, which holds something else. Nothing was written.
    #[error("{reference}: the registry keeps the tag where it is (status {code}): wanted {wanted}, found {found}")]
    TagKept {
        /// The tag, with registry and repository.
        reference: String,
        /// What was to be published under it.
        wanted: Digest,
        /// What it holds.
        found: Digest,
        /// How the registry refused.
        code: u16,
    },
    /// Right after it was written the tag held something else, or it was gone when it was to be written only on what it had
    /// held: another writer came in between.
    #[error("{reference}: another writer was faster: wrote {wrote}, found {found}")]
    TagRaced {
        /// The tag, with registry and repository.
        reference: String,
        /// What was written, or refused.
        wrote: Digest,
        /// What was read back (`nothing`, or a digest).
        found: String,
    },
    /// Bytes are not what their digest or size says. Never retried.
    #[error("{what}: expected {expected}, found {found}")]
    Integrity {
        /// Which bytes, and where they came from.
        what: String,
        /// The digest, size or media type that was promised.
        expected: String,
        /// What was there.
        found: String,
    },
    /// A document that cannot be read as what it claims to be.
    #[error("{what}: {problem}")]
    Malformed {
        /// Which document, and where it came from.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The store answered that there is no such thing.
    #[error("{what}: not found")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// Something that promo does not copy, by design or not yet.
    #[error("{what}: not supported: {problem}")]
    Unsupported {
        /// What it was found on.
        what: String,
        /// What is not supported.
        problem: String,
    },
    /// More bytes, manifests or levels than the limit allows.
    #[error("{what}: expected at most {limit}, found {found}")]
    TooLarge {
        /// What was measured.
        what: String,
        /// The limit, in the unit of `what`.
        limit: u64,
        /// What was found, in the same unit; a lower bound where reading stopped.
        found: u64,
    },
    /// The server could not be reached or broke off. May work later; the budget of retries is spent.
    #[error("{what}: no answer after {attempts} attempts")]
    Transport {
        /// Method and address.
        what: String,
        /// How often it was tried.
        attempts: u32,
        /// The last failure.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The server answered with a status that was not expected.
    #[error("{what}: unexpected status {code}{detail}")]
    Status {
        /// Method and address.
        what: String,
        /// The HTTP status.
        code: u16,
        /// What the server said, shortened and without control characters; empty, or starting with `: `.
        detail: String,
        /// How long the server asked to be left alone.
        retry_after: Option<std::time::Duration>,
    },
    /// The registry, or its token server, does not accept who asks.
    #[error("{host}: not authorised with {credentials}: {detail}")]
    Unauthorized {
        /// The registry.
        host: String,
        /// Where the credentials came from; never the credentials.
        credentials: String,
        /// What was said about them.
        detail: String,
    },
    /// A place names credentials, and they cannot be had from there.
    #[error("credentials of {place}: {problem}")]
    Credentials {
        /// The file, variable or registry that names them.
        place: String,
        /// What is wrong; nothing of what stands there.
        problem: String,
    },
    /// The settings of registries, or a certificate that they name, cannot be used.
    #[error("{path}: {problem}")]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The settings of registries are of a newer format.
    #[error("{path}: the file has format {found}, and this version of promo reads format {known} only")]
    NewerSettings {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// The server's certificate is not trusted.
    #[error(
        "{what}: the server's certificate is not trusted: {problem}; is its authority named in registries.toml (`ca`), or \
         known to this machine (package `ca-certificates`)?"
    )]
    Certificate {
        /// Method and address.
        what: String,
        /// Why not.
        problem: String,
    },
    /// The server asks for a certificate, and there is none for it, or it does not take the one that it is shown.
    #[error("{what}: the server lets in only who shows a certificate that it trusts: {problem}")]
    ClientCertificate {
        /// Method and address.
        what: String,
        /// What the server said.
        problem: String,
    },
    /// The run was stopped.
    #[error("stopped")]
    Cancelled,
    /// A remote server named an address that it has no business naming (S13.5).
    #[error("{what}: the server points at {address}, which is refused: {problem}")]
    ForeignAddress {
        /// Method and address that were asked.
        what: String,
        /// The address it answered with, without query and user.
        address: String,
        /// Why it is refused.
        problem: String,
    },
    /// The file system refused.
    #[error("{path}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Another process holds the layout for longer than anybody should.
    #[error("{path}: locked by another process for more than {seconds} s")]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
}

impl OciError {
    /// Whether the same call may succeed later without anybody changing anything (exit 75 of S14).
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::Locked { .. } => true,
            Self::Status { code, .. } => matches!(code, 408 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }

    /// How long the server asked to be left alone.
    pub(super) fn retry_after(&self) -> Option<std::time::Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    pub(super) fn integrity(
        what: impl Into<String>,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) -> Self {
        Self::Integrity { what: what.into(), expected: expected.to_string(), found: found.to_string() }
    }

    pub(super) fn malformed(what: impl Into<String>, problem: impl Into<String>) -> Self {
        // Parsers quote what they stumble over.
        Self::Malformed { what: what.into(), problem: tame(&problem.into()) }
    }
}

/// Text of a remote server, made fit for a message: one line, no control or format characters, at most 200 characters.
pub(super) fn tame(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if out.chars().count() >= 200 {
            out.push('…');
            break;
        }
        let hidden = c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        out.push(if hidden { ' ' } else { c });
    }
    out.trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_where_expected_and_found() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let moved = OciError::TagMoved { reference: "r.example/app:1.0.0".into(), expected: a, found: b };
        let text = moved.to_string();
        assert!(text.contains("r.example/app:1.0.0") && text.contains(&a.to_string()) && text.contains(&b.to_string()));
        assert!(!moved.is_transient());
    }

    #[test]
    fn foreign_text_loses_escapes_and_length() {
        assert_eq!(tame("\u{1b}[31mred\u{202e}\n"), "[31mred");
        assert_eq!(tame(&"x".repeat(500)).chars().count(), 201);
    }
}
