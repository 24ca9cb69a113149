//! A plan file from any bytes: what is read has exactly one spelling, and its lint does not panic (S8.1).
#![no_main]

use libfuzzer_sys::fuzz_target;
use promo_core::Digest;
use promo_core::plan::Document;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((document, digest)) = Document::from_bytes(bytes) {
        let written = document.to_bytes().expect("what was read can be written");
        assert_eq!(written, bytes, "a plan has one spelling");
        assert_eq!(Digest::of(bytes), digest);
        let _ = promo_core::lint::plan(&document.body);
    }
});
