//! The roster in the form that `ssh-keygen -Y verify` reads (`ssh-keygen(1)`, "ALLOWED SIGNERS"), so that anybody can
//! check an approval without promo.

use core::fmt::Write as _;

use promo_core::approval::{NAMESPACE, Roster};

/// An `allowed_signers` file: one line for each key, good for approvals only. Names of identities need no quoting: they
/// are labels of lower-case letters, digits and hyphens, none of which is special there.
#[must_use]
pub fn allowed_signers(roster: &Roster) -> String {
    let mut out = String::new();
    for identity in roster.identities() {
        for key in &identity.keys {
            writeln!(out, "{} namespaces=\"{NAMESPACE}\" {key}", identity.name).expect("invariant: a String takes all");
        }
    }
    out
}
