//! `policy.toml` from any bytes, and what comes out laid over a pipeline: no panic, sound diagnostics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promo_core::config::{self, Limits};
use promo_core::diagnostic::Diagnostic;
use promo_core::policy::{TrustMode, govern, policy};
use promo_fuzz::diagnostics_are_sound;
use std::sync::LazyLock;

const PIPELINE: &str = include_str!("../../pipelines/quickstart/promo.toml");
static LOADED: LazyLock<config::Loaded> =
    LazyLock::new(|| config::load(PIPELINE, &promo_providers::kinds(), &Limits::default()));

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = config::text(bytes) else { return };
    let (read, diagnostics) = policy(text);
    diagnostics_are_sound(text, &diagnostics);
    assert_eq!(read.is_none(), diagnostics.iter().any(Diagnostic::is_error));
    if let Some(read) = read {
        let pipeline = LOADED.pipeline.as_ref().expect("the quickstart's pipeline is sound");
        for mode in [TrustMode::Local, TrustMode::Trusted] {
            let (_, diagnostics) = govern(pipeline, &LOADED.places, Some(&read), mode);
            diagnostics_are_sound(PIPELINE, &diagnostics);
        }
    }
});
