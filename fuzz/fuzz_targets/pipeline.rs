//! `promo.toml` from any bytes: no panic, sound diagnostics, an error exactly where there is no pipeline, and the same answer twice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promo_core::config::{self, Limits};
use promo_core::diagnostic::Diagnostic;
use promo_fuzz::diagnostics_are_sound;
use std::sync::LazyLock;

static KINDS: LazyLock<Vec<promo_core::kinds::KindSchema>> = LazyLock::new(promo_providers::kinds);

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = config::text(bytes) else { return };
    let limits = Limits { bytes: 64 << 10, ..Limits::default() };
    let loaded = config::load(text, &KINDS, &limits);
    diagnostics_are_sound(text, &loaded.diagnostics);
    assert_eq!(loaded.pipeline.is_none(), loaded.diagnostics.iter().any(Diagnostic::is_error));
    let again = config::load(text, &KINDS, &limits);
    assert_eq!(loaded.pipeline, again.pipeline);
    assert_eq!(loaded.diagnostics, again.diagnostics);
    if let Some(pipeline) = loaded.pipeline {
        promo_core::canonical::to_vec(&pipeline).expect("a pipeline that was read can be bound by a plan");
    }
});
