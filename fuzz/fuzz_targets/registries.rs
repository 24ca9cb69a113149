//! `registries.toml` from any text: what is taken says what a plain reading of the TOML says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promo_providers::oci::fuzzed;

fuzz_target!(|bytes: &[u8]| fuzzed::registries(bytes));
