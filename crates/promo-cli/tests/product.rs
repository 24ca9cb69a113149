//! What is, and what is not, in the binary that is shipped.

/// The variable that a binary with faults listens to; the fault matrix finds it in that one.
const FAULT: &[u8] = b"PROMO_FAULT";

#[test]
fn nothing_of_the_fault_runner_is_in_the_product() {
    let bytes = std::fs::read(env!("CARGO_BIN_EXE_promo")).expect("the binary is there");
    let found = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    assert!(found(b"PROMO_LEASE_TTL"), "a variable of the product is found");
    assert!(!found(FAULT));
}
