//! What can go wrong in a provider, as far as the engine must tell cases apart.

use serde::{Deserialize, Serialize};

/// What the engine does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The settings or the request make no sense: a person must change a file.
    Invalid,
    /// The text that was given names no artifact: a person must type another one.
    Reference,
    /// A tag that is expected to move was given where a fixed name is needed (R2).
    MovingTag,
    /// A file of settings is of a newer format: nothing in it is guessed at.
    Newer,
    /// What was asked for is not there.
    NotFound,
    /// What is there is neither the expected nor the desired state: somebody else changed it.
    Conflict,
    /// Bytes are not what their digest says. Never retried.
    Integrity,
    /// A tag points to another digest than was recorded (R2).
    Moved,
    /// Access was denied.
    Denied,
    /// It needs a server, and none may be reached.
    Offline,
    /// It may work later: connection, rate limit, server error.
    Transient,
    /// It was cancelled.
    Cancelled,
    /// It failed for another reason.
    Failed,
    /// The provider broke the contract: it panicked, or its answer is none. The engine says so, never a provider.
    Broken,
}

/// A command line, to be typed as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Typed(pub String);

/// An error of a provider: what was being done, what was expected and found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct ProviderError {
    /// What the engine does about it.
    pub kind: ErrorKind,
    /// One sentence for a person: where, expected, found. Never a secret.
    pub message: String,
    /// What was expected, where that is one value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// The command of the place's own tool that shows what is in the way, to be typed as it is, where no verb of promo's leads on. It
    /// changes nothing: whether somebody is at work there only a person can tell. What ends it stands in the sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown_by: Option<Box<Typed>>,
}

impl ProviderError {
    /// An error of `kind` with a sentence.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), expected: None, found: None, shown_by: None }
    }

    /// The same with the two values that differ.
    #[must_use]
    pub fn differs(mut self, expected: impl ToString, found: impl ToString) -> Self {
        self.expected = Some(expected.to_string());
        self.found = Some(found.to_string());
        self
    }

    /// The command that shows what is in the way, where there is one.
    #[must_use]
    pub fn shown_by(&self) -> Option<&str> {
        self.shown_by.as_ref().map(|typed| typed.0.as_str())
    }

    /// The same with the command that shows what is in the way.
    #[must_use]
    pub fn that_shows(mut self, command: impl Into<String>) -> Self {
        self.shown_by = Some(Box::new(Typed(command.into())));
        self
    }
}
