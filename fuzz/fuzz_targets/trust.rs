//! `trust.toml` from any bytes: no panic, sound diagnostics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promo_core::diagnostic::Diagnostic;
use promo_fuzz::diagnostics_are_sound;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = promo_core::config::text(bytes) else { return };
    let (trust, diagnostics) = promo_core::trust::trust(text);
    diagnostics_are_sound(text, &diagnostics);
    assert_eq!(trust.is_none(), diagnostics.iter().any(Diagnostic::is_error));
});
