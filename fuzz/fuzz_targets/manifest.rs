//! Manifests and indexes from any bytes, behind a line with the media type they are served as: what is read says what a plain reading of
//! the JSON says, and nothing is both an index and a manifest.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promo_providers::oci::fuzzed;

fuzz_target!(|bytes: &[u8]| fuzzed::manifest(bytes));
