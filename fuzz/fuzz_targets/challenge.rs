//! What a registry asks for in `WWW-Authenticate` from any text, one header a line: what is read can be written and reads the same, and no
//! token server that may be asked is at a private address or without encryption (S13.5).
#![no_main]

use libfuzzer_sys::fuzz_target;
use promo_providers::oci::fuzzed;

fuzz_target!(|bytes: &[u8]| fuzzed::challenge(bytes));
