//! Signatures by people (S6.2): checking SSHSIGs against the roster, and making them. `ssh-key` and `aws-lc-rs` are used
//! here and nowhere else, and none of their types leaves this module. What must not live here: what an approval is worth;
//! `promo_core::approval` says that.

mod allowed_signers;
mod error;
mod key;
mod keygen;
mod signing;
mod verify;

pub use allowed_signers::allowed_signers;
pub use error::SignatureError;
pub use key::Key;
pub use keygen::{read_public_key, sign_bytes_with_ssh_keygen, sign_with_ssh_keygen, ssh_keygen_request};
pub use signing::SigningKey;
pub(crate) use signing::nonce;
pub use verify::{MIN_RSA_BITS, Signer, check_roster, fingerprint, signed_by, verify, verify_bytes};
