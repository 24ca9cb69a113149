//! What several fuzz targets assert. Inputs and oracles of one target alone stay in its own file.

use promo_core::diagnostic::{Diagnostic, about};

/// Every diagnostic has a code with a page, a message, and labels that an editor can jump to.
///
/// # Panics
/// When one has not: that is the finding.
pub fn diagnostics_are_sound(text: &str, diagnostics: &[Diagnostic]) {
    for found in diagnostics {
        assert!(about(found.code).is_some(), "{}", found.code);
        assert!(!found.message.is_empty(), "{}: nothing is said", found.code);
        for label in &found.labels {
            assert!(text.get(label.span.clone()).is_some(), "{}: {:?} is no stretch of the text", found.code, label.span);
        }
    }
}

/// Whether a text is safe in a terminal: no control, format or bidirectional character but line feeds.
#[must_use]
pub fn is_tame(text: &str) -> bool {
    text.chars().all(|ch| {
        ch == '\n'
            || !(ch.is_control()
                || matches!(ch, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'))
    })
}
