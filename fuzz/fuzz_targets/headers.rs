//! Headers of a registry's answers from any text: no address is followed that must not be (S13.5), and how much is there or how long to
//! wait is what a plain reading says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promo_providers::oci::fuzzed;

fuzz_target!(|bytes: &[u8]| fuzzed::headers(bytes));
