//! How a verb ended. The numbers are S14's, and stand in the engine.

use std::process::ExitCode;

/// Done, or nothing to do.
pub(crate) const DONE: Exit = Exit(0);

/// An exit code of S14.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) u8);

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}
