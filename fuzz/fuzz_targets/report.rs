//! Reports of scanners, test runners and other tools from any bytes: the facts that are read agree with a plain reading of the document, and what
//! is said of a document that is not read may be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promo_providers::reports::fuzzed;

fuzz_target!(|bytes: &[u8]| fuzzed::report(bytes));
