//! What is said of a program of this machine that does not tell its version. What must not live here: which versions will do.

use promo_sdk::{ErrorKind, Output, ProviderError};

use crate::escape;

/// How much of what a program says is told.
const TOLD: usize = 400;

/// That a program that was asked for its version failed: how it ended, and what it said. No file of a pipeline mends that.
pub(crate) fn unanswered(program: &str, output: &Output) -> ProviderError {
    let ended = match output.code {
        Some(0) => "it names none".to_owned(),
        Some(code) => format!("it ended with {code}"),
        None => "it was ended by a signal".to_owned(),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).split_whitespace().collect::<Vec<_>>().join(" ");
    let said = [&output.stderr, &output.stdout].map(|bytes| text(bytes)).into_iter().find(|said| !said.is_empty());
    let said = said.map_or_else(String::new, |said| {
        let told: String = said.chars().take(TOLD).collect();
        format!(": {}", escape::line(&told))
    });
    let message = format!("`{}` could not be asked for its version: {ended}{said}", escape::line(program));
    ProviderError::new(ErrorKind::Failed, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_told_with_how_it_ended_and_what_it_said() {
        let said = |code, stdout: &str, stderr: &str| {
            unanswered("helm", &Output { code, stdout: stdout.into(), stderr: stderr.into() }).message
        };
        let begin = "`helm` could not be asked for its version: ";
        assert_eq!(said(Some(3), "", "boom\n"), format!("{begin}it ended with 3: boom"));
        assert_eq!(said(None, "out\n", ""), format!("{begin}it was ended by a signal: out"));
        assert_eq!(said(Some(0), "", ""), format!("{begin}it names none"));
        assert!(!said(Some(1), "", "\u{1b}[2Jx").contains('\u{1b}'));
    }
}
