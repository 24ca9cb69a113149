//! A ledger's records from any bytes, one a line: each that is read has one spelling, and folding them never panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promo_core::canonical;
use promo_core::ledger::{Record, View};

fuzz_target!(|bytes: &[u8]| {
    let mut view = View::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(record) = canonical::from_slice::<Record>(line) else { continue };
        assert_eq!(canonical::to_vec(&record).expect("what was read can be written"), line, "a record has one spelling");
        let _ = view.apply(&record);
    }
});
