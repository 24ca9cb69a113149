//! An approval file from any bytes: reading and writing agree, and the statement inside has one spelling (S6.1), as those of
//! a request and of an applier have.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promo_core::approval::{Envelope, Statement};
use promo_engine::appliers::ApplyStatement;
use promo_engine::requests::RequestStatement;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(envelope) = Envelope::from_bytes(bytes) {
        assert_eq!(Envelope::from_bytes(&envelope.to_bytes()).expect("what was written can be read"), envelope);
        if let Ok(statement) = Statement::from_bytes(envelope.statement.as_bytes()) {
            assert_eq!(statement.to_bytes().expect("what was read can be written"), envelope.statement.as_bytes());
        }
    }
    if let Ok(statement) = Statement::from_bytes(bytes) {
        assert_eq!(statement.to_bytes().expect("what was read can be written"), bytes);
    }
    if let Ok(statement) = ApplyStatement::from_bytes(bytes) {
        assert_eq!(statement.to_bytes().expect("what was read can be written"), bytes);
    }
    if let Ok(statement) = RequestStatement::from_bytes(bytes) {
        assert_eq!(statement.to_bytes().expect("what was read can be written"), bytes);
    }
});
