//! Auth files of docker and of the containers tools from any text, behind a line with the repository: a secret is for the registry whose
//! key it stands under, and no message quotes the file (S13.4).
#![no_main]

use libfuzzer_sys::fuzz_target;
use promo_providers::oci::fuzzed;

fuzz_target!(|bytes: &[u8]| fuzzed::authfile(bytes));
