//! References and locations of artifacts from any text: what is read is written the same, and reads the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promo_providers::oci::{Location, Reference};

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<Reference>() {
        let written = reference.to_string();
        assert_eq!(written.parse::<Reference>().expect("what was written can be read"), reference, "{written}");
    }
    if let Ok(location) = text.parse::<Location>() {
        let written = location.to_string();
        assert_eq!(written.parse::<Location>().expect("what was written can be read"), location, "{written}");
    }
});
