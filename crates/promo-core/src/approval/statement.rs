//! What a person signs (S6.1) and how it is kept. What must not live here: what a statement is worth; that is for
//! `evaluate` to say, and only once its signature has been checked.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::key::Fingerprint;
use crate::Digest;
use crate::canonical::{self, CanonicalError};
use crate::format::{self, Newer};
use crate::ids::{EnvironmentName, PipelineName, ReleaseId, RoleName};

/// The SSHSIG namespace of approvals: a signature made for anything else is none here.
pub const NAMESPACE: &str = "promo.approval.v1";
/// Largest statement, and largest file that holds one, in bytes (S13.2).
pub const MAX_BYTES: usize = 16 * 1024;
/// Longest time from `not_before` to `expires` (S6.5: seven days).
pub const MAX_LIFETIME: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Longest such time of a break-glass statement (S11.1: one hour).
pub const MAX_BREAKGLASS: SignedDuration = SignedDuration::from_hours(1);
/// Fewest characters in the reason of a break-glass statement (S11.1).
const MIN_REASON: usize = 30;
/// Longest text in a statement, in bytes (S13.2).
const MAX_TEXT: usize = 4096;
/// The word in an envelope's `kind`.
pub const ENVELOPE_KIND: &str = "promo.approval";
/// The format of envelopes and statements that this version writes, and the only one that it reads.
const FORMAT: u32 = 1;

/// The format of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum StatementKind {
    /// The first format.
    #[serde(rename = "promo/approval/v1")]
    V1,
}

/// What the signer says about the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It may be applied.
    Approve,
    /// It may not be applied; this is final for that plan (S6.6).
    Reject,
    /// What this signer approved before no longer counts; this is final for that signer and plan.
    Revoke,
    /// Named gates are bypassed for that plan (S11).
    Breakglass,
}

impl Decision {
    /// The word used in statements.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
            Self::Revoke => "revoke",
            Self::Breakglass => "breakglass",
        }
    }
}

/// The ledger that a statement belongs to, and its state when it was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LedgerRef {
    /// The origin line of its checkpoints.
    pub origin: String,
    /// Number of records under the checkpoint.
    pub checkpoint_size: u64,
    /// Root hash over them (RFC 6962).
    pub checkpoint_root: Digest,
}

/// What happens to one environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Move {
    /// The environment.
    pub environment: EnvironmentName,
    /// The release that is there; none for the first one.
    pub from: Option<ReleaseId>,
    /// The release that it gets.
    pub to: ReleaseId,
}

/// The policy that was in force when a statement was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PolicyRef {
    /// Its name.
    pub name: String,
    /// Its version, a counter.
    pub version: u64,
    /// Digest of its text.
    pub digest: Digest,
}

/// What break-glass may waive (S11.2); nothing else ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Waivable {
    /// The number of approvals. A rejection still blocks.
    Quorum,
    /// Windows and freezes.
    Window,
    /// Time to soak.
    Soak,
}

/// The part of a statement that only break-glass has (S11.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BreakGlass {
    /// The gates that are bypassed; never empty.
    pub waives: BTreeSet<Waivable>,
    /// Why, in at least 30 characters.
    pub reason: String,
    /// The id of the incident.
    pub incident: String,
}

/// A random number that makes every statement one of its kind: 16 bytes as 32 lower-case hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Nonce(String);

/// The text is not a nonce.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a nonce: expected 32 lower-case hexadecimal digits")]
pub struct InvalidNonce;

impl Nonce {
    /// A nonce from 16 random bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes.iter().map(|byte| alloc::format!("{byte:02x}")).collect())
    }

    /// The nonce as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Nonce {
    type Err = InvalidNonce;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if hex { Ok(Self(text.to_string())) } else { Err(InvalidNonce) }
    }
}

impl<'de> Deserialize<'de> for Nonce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The signed statement (S6.1). Its canonical JSON is what a signature covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// The format.
    pub kind: StatementKind,
    /// What the signer says.
    pub decision: Decision,
    /// The ledger and its checkpoint.
    pub ledger: LedgerRef,
    /// The digest of the plan: the subject.
    pub plan: Digest,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// What happens where; never empty, each environment once.
    pub environments: Vec<Move>,
    /// The policy in force; none in local mode.
    pub policy: Option<PolicyRef>,
    /// The role in which the signer speaks.
    pub role: RoleName,
    /// First instant at which it counts; whole seconds.
    pub not_before: Timestamp,
    /// First instant at which it no longer counts; whole seconds.
    pub expires: Timestamp,
    /// Makes it one of its kind.
    pub nonce: Nonce,
    /// The key that signs.
    pub key: Fingerprint,
    /// Present exactly when the decision is break-glass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breakglass: Option<BreakGlass>,
}

/// Why bytes are not a statement or an envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Larger than 16 KiB.
    #[error("an approval of {0} bytes or more is too large: at most 16384 are read")]
    TooLarge(usize),
    /// Not canonical JSON, or not a statement.
    #[error("not a statement of approval: {0}")]
    Canonical(CanonicalError),
    /// A newer version of promo made it, and what it says is not guessed at.
    #[error(transparent)]
    Newer(#[from] Newer),
    /// The file around it is not an envelope.
    #[error("not an approval file: {0}")]
    Envelope(String),
    /// A field has a value that no statement may have.
    #[error("the approval's `{field}` {problem}")]
    Field {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Statement {
    /// The bytes that are signed: canonical JSON.
    ///
    /// # Errors
    /// [`StatementError::Field`] when a field has a value that no statement may have, [`StatementError::TooLarge`], and
    /// [`StatementError::Canonical`] for numbers beyond 2^53 - 1.
    pub fn to_bytes(&self) -> Result<Vec<u8>, StatementError> {
        self.check()?;
        let bytes = canonical::to_vec(self).map_err(StatementError::Canonical)?;
        if bytes.len() > MAX_BYTES { Err(StatementError::TooLarge(bytes.len())) } else { Ok(bytes) }
    }

    /// Reads a statement, and refuses every spelling but the one that [`Statement::to_bytes`] gives.
    ///
    /// # Errors
    /// Every [`StatementError`] but `Envelope`; [`StatementError::Newer`] before anything else is understood.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StatementError> {
        if bytes.len() > MAX_BYTES {
            return Err(StatementError::TooLarge(bytes.len()));
        }
        Self::admit(bytes)?;
        let statement: Self = canonical::from_slice(bytes).map_err(StatementError::Canonical)?;
        statement.check()?;
        Ok(statement)
    }

    /// Refuses the bytes of a statement of a newer format. It comes before its signature too, whose namespace may be a newer
    /// one as well.
    ///
    /// # Errors
    /// [`Newer`].
    pub fn admit(bytes: &[u8]) -> Result<(), Newer> {
        format::admit_statement(bytes, "the statement of approval", "promo/approval/v", FORMAT)
    }

    /// The digest of the signed bytes: what the ledger marks as consumed (S6.6).
    ///
    /// # Errors
    /// As [`Statement::to_bytes`].
    pub fn digest(&self) -> Result<Digest, StatementError> {
        self.to_bytes().map(|bytes| Digest::of(&bytes))
    }

    fn check(&self) -> Result<(), StatementError> {
        let refuse = |field, problem| Err(StatementError::Field { field, problem });
        let text = |text: &str| !text.trim().is_empty() && text.len() <= MAX_TEXT;
        if !text(&self.ledger.origin) {
            return refuse("ledger.origin", "must be a text of at most 4096 bytes");
        }
        if self.policy.as_ref().is_some_and(|policy| !text(&policy.name)) {
            return refuse("policy.name", "must be a text of at most 4096 bytes");
        }
        if self.environments.is_empty() {
            return refuse("environments", "is empty");
        }
        let names: BTreeSet<_> = self.environments.iter().map(|change| &change.environment).collect();
        if names.len() != self.environments.len() {
            return refuse("environments", "names an environment twice");
        }
        if self.not_before.subsec_nanosecond() != 0 {
            return refuse("not_before", "is not a whole second");
        }
        if self.expires.subsec_nanosecond() != 0 {
            return refuse("expires", "is not a whole second");
        }
        let lifetime = self.expires.duration_since(self.not_before);
        if lifetime <= SignedDuration::ZERO {
            return refuse("expires", "is not after `not_before`");
        }
        if lifetime > MAX_LIFETIME {
            return refuse("expires", "is more than seven days after `not_before`");
        }
        match (&self.breakglass, self.decision == Decision::Breakglass) {
            (None, false) => Ok(()),
            (None, true) => refuse("breakglass", "is missing"),
            (Some(_), false) => refuse("breakglass", "belongs to the decision `breakglass` only"),
            (Some(glass), true) => {
                if glass.waives.is_empty() {
                    refuse("breakglass.waives", "is empty")
                } else if glass.reason.trim().chars().count() < MIN_REASON || !text(&glass.reason) {
                    refuse("breakglass.reason", "must have at least 30 characters and at most 4096 bytes")
                } else if !text(&glass.incident) {
                    refuse("breakglass.incident", "must be a text of at most 4096 bytes")
                } else if lifetime > MAX_BREAKGLASS {
                    refuse("expires", "is more than one hour after `not_before`")
                } else {
                    Ok(())
                }
            }
        }
    }
}

/// A statement and its signature as they stand in a file beside the plan or in the ledger. Nothing in it is checked yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    kind: String,
    format: u32,
    /// The signed bytes, as text.
    pub statement: String,
    /// The armored SSHSIG over them (OpenSSH `PROTOCOL.sshsig`).
    pub signature: String,
}

impl Envelope {
    /// Puts a statement's bytes and its signature together.
    #[must_use]
    pub fn new(statement: String, signature: String) -> Self {
        Self { kind: ENVELOPE_KIND.into(), format: FORMAT, statement, signature }
    }

    /// Reads the file form.
    ///
    /// # Errors
    /// [`StatementError::TooLarge`] before anything is parsed, [`StatementError::Newer`], [`StatementError::Envelope`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StatementError> {
        if bytes.len() > MAX_BYTES {
            return Err(StatementError::TooLarge(bytes.len()));
        }
        format::admit(bytes, "the approval file", ENVELOPE_KIND, FORMAT)?;
        let envelope: Self =
            serde_json::from_slice(bytes).map_err(|e| StatementError::Envelope(alloc::format!("{e}")))?;
        if envelope.kind != ENVELOPE_KIND {
            return Err(StatementError::Envelope(alloc::format!("its kind is not `{ENVELOPE_KIND}`")));
        }
        if envelope.format != FORMAT {
            return Err(StatementError::Envelope(alloc::format!("it has format {}", envelope.format)));
        }
        Ok(envelope)
    }

    /// The file form: canonical JSON and a line feed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = canonical::to_vec(self).expect("invariant: texts and a small integer have a canonical form");
        bytes.push(b'\n');
        bytes
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::key::{PublicKey, tests::key_text};
    use super::*;
    use serde_json::{Value, json};

    pub(crate) fn statement(decision: Decision, role: &str, key: u8) -> Statement {
        Statement {
            kind: StatementKind::V1,
            decision,
            ledger: LedgerRef { origin: "promo/shop".into(), checkpoint_size: 7, checkpoint_root: Digest::of(b"root") },
            plan: Digest::of(b"plan"),
            pipeline: "shop".parse().unwrap(),
            environments: [Move {
                environment: "production".parse().unwrap(),
                from: Some("r-000000000001".parse().unwrap()),
                to: "r-000000000002".parse().unwrap(),
            }]
            .into(),
            policy: Some(PolicyRef { name: "company".into(), version: 3, digest: Digest::of(b"policy") }),
            role: role.parse().unwrap(),
            not_before: "2026-03-02T09:00:00Z".parse().unwrap(),
            expires: "2026-03-03T09:00:00Z".parse().unwrap(),
            nonce: Nonce::from_bytes([key; 16]),
            key: key_text(key).parse::<PublicKey>().unwrap().fingerprint().clone(),
            breakglass: None,
        }
    }

    fn breakglass() -> Statement {
        let mut glass = statement(Decision::Breakglass, "incident", 1);
        glass.expires = "2026-03-02T10:00:00Z".parse().unwrap();
        glass.breakglass = Some(BreakGlass {
            waives: [Waivable::Window].into(),
            reason: "checkout is down, the fix cannot wait for the window".into(),
            incident: "INC-17".into(),
        });
        glass
    }

    #[test]
    fn the_signed_bytes_are_frozen_s6_1() {
        let text = String::from_utf8(statement(Decision::Approve, "lead", 7).to_bytes().unwrap()).unwrap();
        let expected = json!({
            "decision": "approve",
            "environments": [{"environment": "production", "from": "r-000000000001", "to": "r-000000000002"}],
            "expires": "2026-03-03T09:00:00Z",
            "key": key_text(7).parse::<PublicKey>().unwrap().fingerprint().as_str(),
            "kind": "promo/approval/v1",
            "ledger": {"checkpoint_root": Digest::of(b"root"), "checkpoint_size": 7, "origin": "promo/shop"},
            "nonce": "07070707070707070707070707070707",
            "not_before": "2026-03-02T09:00:00Z",
            "pipeline": "shop",
            "plan": Digest::of(b"plan"),
            "policy": {"digest": Digest::of(b"policy"), "name": "company", "version": 3},
            "role": "lead",
        });
        assert_eq!(text.as_bytes(), canonical::to_vec(&expected).unwrap());
        assert_eq!(Statement::from_bytes(text.as_bytes()).unwrap(), statement(Decision::Approve, "lead", 7));
        assert_eq!(Statement::from_bytes(&breakglass().to_bytes().unwrap()).unwrap(), breakglass());
    }

    #[test]
    fn another_spelling_of_a_statement_is_refused() {
        let good: Value = serde_json::to_value(statement(Decision::Approve, "lead", 7)).unwrap();
        let edits: [(&str, Value); 5] = [
            ("expires", json!("2026-03-03T10:00:00+01:00")),
            ("expires", json!("2026-03-03T09:00:00.000Z")),
            ("not_before", json!("2026-03-02T09:00:00.5Z")),
            ("nonce", json!("0707")),
            ("surprise", json!(1)),
        ];
        for (field, value) in edits {
            let mut edited = good.clone();
            edited[field] = value.clone();
            let bytes = canonical::to_vec(&edited).unwrap();
            assert!(Statement::from_bytes(&bytes).is_err(), "{field} = {value}");
        }
        for field in ["policy", "role", "key", "kind"] {
            let mut edited = good.clone();
            edited.as_object_mut().unwrap().remove(field);
            let bytes = canonical::to_vec(&edited).unwrap();
            assert!(Statement::from_bytes(&bytes).is_err(), "without {field}");
        }
        let mut spaced = canonical::to_vec(&good).unwrap();
        spaced.push(b'\n');
        assert!(matches!(Statement::from_bytes(&spaced), Err(StatementError::Canonical(_))));
    }

    #[test]
    fn values_that_no_statement_may_have_are_refused_by_field() {
        type Edit<'a> = &'a dyn Fn(&mut Statement);
        let cases: [(&str, Edit<'_>); 10] = [
            ("environments", &|s| s.environments.clear()),
            ("environments", &|s| s.environments.push(s.environments[0].clone())),
            ("expires", &|s| s.expires = s.not_before),
            ("expires", &|s| s.not_before = "2026-02-24T08:59:59Z".parse().unwrap()),
            ("ledger.origin", &|s| s.ledger.origin = " ".into()),
            ("policy.name", &|s| s.policy.as_mut().unwrap().name.clear()),
            ("breakglass", &|s| s.breakglass = breakglass().breakglass),
            ("breakglass", &|s| s.decision = Decision::Breakglass),
            ("expires", &|s| *s = Statement { expires: s.expires, ..breakglass() }),
            ("breakglass.reason", &|s| {
                *s = breakglass();
                s.breakglass.as_mut().unwrap().reason = "because                          ".into();
            }),
        ];
        for (expected, edit) in cases {
            let mut edited = statement(Decision::Approve, "lead", 7);
            edit(&mut edited);
            assert!(
                matches!(edited.to_bytes(), Err(StatementError::Field { field, .. }) if field == expected),
                "{expected}: {:?}",
                edited.to_bytes()
            );
        }
        let mut large = statement(Decision::Approve, "lead", 7);
        large.environments = (0..300)
            .map(|i| Move { environment: alloc::format!("e{i}").parse().unwrap(), ..large.environments[0].clone() })
            .collect();
        assert!(matches!(large.to_bytes(), Err(StatementError::TooLarge(_))));
    }

    #[test]
    fn an_envelope_round_trips_and_knows_its_kind_format_and_size() {
        let envelope = Envelope::new("{}".into(), "sig\n".into());
        assert_eq!(Envelope::from_bytes(&envelope.to_bytes()).unwrap(), envelope);
        for bad in [
            r#"{"kind":"promo.plan","format":1,"statement":"","signature":""}"#,
            r#"{"kind":"promo.approval","format":0,"statement":"","signature":""}"#,
            r#"{"kind":"promo.approval","format":1,"statement":"","signature":"","identity":"ana"}"#,
            r#"{"kind":"promo.approval","format":1,"statement":"","statement":"","signature":""}"#,
            "",
        ] {
            assert!(matches!(Envelope::from_bytes(bad.as_bytes()), Err(StatementError::Envelope(_))), "{bad}");
        }
        let newer = |what| StatementError::Newer(Newer { what, found: 2, known: 1 });
        let file = r#"{"kind":"promo.approval","format":2,"statement":{},"notary":""}"#;
        assert_eq!(Envelope::from_bytes(file.as_bytes()), Err(newer("the approval file")));
        let statement = br#"{"decision":"perhaps","kind":"promo/approval/v2"}"#;
        assert_eq!(Statement::from_bytes(statement), Err(newer("the statement of approval")));
        assert_eq!(Envelope::from_bytes(&[b' '; MAX_BYTES + 1]), Err(StatementError::TooLarge(MAX_BYTES + 1)));
    }
}
