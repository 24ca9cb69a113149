//! Approvals (S6): what a person signs, who the signers are, and whether the rules of an environment are satisfied.
//!
//! What lives here is pure: statements as canonical bytes, the roster that policy gives, and the evaluation of rules
//! over facts. What must not: checking a signature. `promo-engine` does that and hands over [`VerifiedApproval`]s.

mod evaluate;
mod grant;
mod key;
mod matching;
mod problem;
mod roster;
mod rules;
mod statement;

pub use evaluate::{
    Evaluation, Filled, Override, Rejection, RuleOutcome, Subject, VerifiedApproval, evaluate, overrides,
};
pub use grant::grant_until;
pub use key::{Fingerprint, InvalidFingerprint, InvalidKey, KeyAlgorithm, PublicKey};
pub use problem::ApprovalProblem;
pub use roster::{Identity, Person, Roster, RosterError};
pub use rules::{MAX_COUNT, MAX_RULES, Parties, RuleError, Rules};
pub use statement::{
    BreakGlass, Decision, ENVELOPE_KIND, Envelope, InvalidNonce, LedgerRef, MAX_BREAKGLASS, MAX_BYTES, MAX_LIFETIME,
    Move, NAMESPACE, Nonce, PolicyRef, Statement, StatementError, StatementKind, Waivable,
};
