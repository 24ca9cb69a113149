//! Pages of referrers and of tags from any bytes: what is read says what a plain reading of the JSON says, and a page that is none is
//! never an empty list.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promo_providers::oci::fuzzed;

fuzz_target!(|bytes: &[u8]| fuzzed::list(bytes));
