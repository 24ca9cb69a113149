//! An armoured SSHSIG from any bytes, over a fixed text: nobody without the keys of the seeds makes one that counts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promo_engine::signature::{fingerprint, signed_by};
use std::sync::LazyLock;

/// What the seeds are signatures over.
const MESSAGE: &[u8] = b"promo fuzz\n";
const KEYS: &str = include_str!("../corpus/signers.pub");
static SIGNERS: LazyLock<Vec<promo_core::approval::Fingerprint>> = LazyLock::new(|| {
    KEYS.lines().map(|key| fingerprint(key).expect("the seeds' keys are sound")).collect()
});

fuzz_target!(|armored: &str| {
    if let Ok(signer) = signed_by(MESSAGE, armored, "promo.approval.v1") {
        assert!(SIGNERS.contains(&signer), "a signature by {signer} that nobody made");
        assert!(signed_by(b"another text", armored, "promo.approval.v1").is_err());
        assert!(signed_by(MESSAGE, armored, "promo.verdict.v1").is_err());
    }
});
