//! The roster: which key belongs to whom, and who holds which role. It comes from policy alone (S6.3); a name in a file
//! or a variable is never evidence. What must not live here: rules, and anything that a signer says of themself.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::key::{Fingerprint, PublicKey};
use crate::ids::{IdentityName, ReleaseId, RoleName};

/// A person or machine that policy knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Its name, unique in the roster.
    pub name: IdentityName,
    /// The roles that policy gives to it.
    #[serde(default)]
    pub roles: BTreeSet<RoleName>,
    /// Keys that sign for it; none for someone who is only known as an author.
    #[serde(default)]
    pub keys: Vec<PublicKey>,
    /// Whether it is a person. What is not never counts towards a rule (S6.4).
    #[serde(default = "human_by_default")]
    pub human: bool,
    /// Addresses under which it writes commits, compared without regard to ASCII case.
    #[serde(default)]
    pub emails: Vec<String>,
}

const fn human_by_default() -> bool {
    true
}

/// Someone who took part in a promotion, as far as the roster can tell who it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Person {
    /// An identity of the roster.
    Known(IdentityName),
    /// Someone whom the roster does not know, by the name or address they were found under.
    Unmapped(String),
    /// Someone whom nobody named, of this release.
    Unnamed(ReleaseId),
}

/// What is wrong with a roster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// Two identities have one name.
    #[error("the identity `{0}` stands in the roster twice")]
    NameTwice(IdentityName),
    /// One key in two identities: a signature with it would not say who signed (S6.3).
    #[error("the key {fingerprint} belongs to `{first}` and to `{second}`; a key is one identity's alone")]
    KeyInTwoIdentities {
        /// The key.
        fingerprint: Fingerprint,
        /// The identity that has it first, in order of names as given.
        first: IdentityName,
        /// The other one.
        second: IdentityName,
    },
    /// One key twice in one identity.
    #[error("the identity `{identity}` lists the key {fingerprint} twice")]
    KeyTwice {
        /// The key.
        fingerprint: Fingerprint,
        /// Whose it is.
        identity: IdentityName,
    },
    /// One address in two identities: a commit under it would not say who wrote it.
    #[error("the address `{email}` belongs to `{first}` and to `{second}`; an address is one identity's alone")]
    EmailInTwoIdentities {
        /// The address, in lower case.
        email: String,
        /// The identity that has it first.
        first: IdentityName,
        /// The other one.
        second: IdentityName,
    },
    /// A pattern where an address belongs (S6.3: no globs).
    #[error("`{email}` of `{identity}` is a pattern; identities are mapped by exact addresses only")]
    Glob {
        /// The text.
        email: String,
        /// Whose it is.
        identity: IdentityName,
    },
    /// Not an e-mail address.
    #[error("`{email}` of `{identity}` is not an e-mail address")]
    Email {
        /// The text, cut to 100 characters.
        email: String,
        /// Whose it is.
        identity: IdentityName,
    },
    /// A role that policy does not declare.
    #[error("the identity `{identity}` has the role `{role}`, which is not declared")]
    UnknownRole {
        /// The role.
        role: RoleName,
        /// Who has it.
        identity: IdentityName,
    },
}

/// A validated set of identities: every key and every address leads to one of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster {
    identities: BTreeMap<IdentityName, Identity>,
    keys: BTreeMap<Fingerprint, IdentityName>,
    emails: BTreeMap<String, IdentityName>,
}

impl Roster {
    /// A roster of `identities`, whose roles must be among `roles`.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of `identities`.
    pub fn new(
        identities: impl IntoIterator<Item = Identity>,
        roles: &BTreeSet<RoleName>,
    ) -> Result<Self, Vec<RosterError>> {
        let mut roster = Self::default();
        let mut errors = Vec::new();
        for identity in identities {
            roster.insert(identity, roles, &mut errors);
        }
        if errors.is_empty() { Ok(roster) } else { Err(errors) }
    }

    fn insert(&mut self, identity: Identity, roles: &BTreeSet<RoleName>, errors: &mut Vec<RosterError>) {
        let name = &identity.name;
        if self.identities.contains_key(name) {
            errors.push(RosterError::NameTwice(name.clone()));
            return;
        }
        for role in identity.roles.difference(roles) {
            errors.push(RosterError::UnknownRole { role: role.clone(), identity: name.clone() });
        }
        for key in &identity.keys {
            let fingerprint = key.fingerprint().clone();
            match self.keys.get(&fingerprint) {
                Some(owner) if owner == name => {
                    errors.push(RosterError::KeyTwice { fingerprint, identity: name.clone() });
                }
                Some(owner) => errors.push(RosterError::KeyInTwoIdentities {
                    fingerprint,
                    first: owner.clone(),
                    second: name.clone(),
                }),
                None => {
                    self.keys.insert(fingerprint, name.clone());
                }
            }
        }
        for email in &identity.emails {
            let lower = email.to_ascii_lowercase();
            if email.contains(['*', '?']) {
                errors.push(RosterError::Glob { email: email.clone(), identity: name.clone() });
            } else if !is_address(email) {
                let email = email.chars().take(100).collect();
                errors.push(RosterError::Email { email, identity: name.clone() });
            } else if let Some(first) = self.emails.get(&lower).filter(|first| *first != name) {
                let first = first.clone();
                errors.push(RosterError::EmailInTwoIdentities { email: lower, first, second: name.clone() });
            } else {
                self.emails.insert(lower, name.clone());
            }
        }
        self.identities.insert(name.clone(), identity);
    }

    /// All identities, by name.
    pub fn identities(&self) -> impl Iterator<Item = &Identity> {
        self.identities.values()
    }

    /// The identity called `name`.
    #[must_use]
    pub fn identity(&self, name: &IdentityName) -> Option<&Identity> {
        self.identities.get(name)
    }

    /// Whose key this is, and the key.
    #[must_use]
    pub fn by_key(&self, fingerprint: &Fingerprint) -> Option<(&Identity, &PublicKey)> {
        let identity = self.identities.get(self.keys.get(fingerprint)?)?;
        identity.keys.iter().find(|key| key.fingerprint() == fingerprint).map(|key| (identity, key))
    }

    /// Who writes under this address; an address that policy does not map is [`Person::Unmapped`].
    #[must_use]
    pub fn by_email(&self, email: &str) -> Person {
        match self.emails.get(&email.to_ascii_lowercase()) {
            Some(name) => Person::Known(name.clone()),
            None => Person::Unmapped(email.into()),
        }
    }

    /// The people who hold `role`: those who can be asked.
    pub fn holders<'a>(&'a self, role: &'a RoleName) -> impl Iterator<Item = &'a Identity> {
        self.identities.values().filter(move |identity| identity.human && identity.roles.contains(role))
    }
}

/// Enough of an address to compare it: something on each side of the last `@`, no space, no control character.
fn is_address(text: &str) -> bool {
    text.len() <= 320
        && text.rsplit_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty())
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::super::key::tests::key_text;
    use super::*;

    fn identity(name: &str, roles: &[&str], keys: &[u8], emails: &[&str]) -> Identity {
        Identity {
            name: name.parse().unwrap(),
            roles: roles.iter().map(|role| role.parse().unwrap()).collect(),
            keys: keys.iter().map(|&fill| key_text(fill).parse().unwrap()).collect(),
            human: true,
            emails: emails.iter().map(|&email| email.into()).collect(),
        }
    }

    fn build(identities: impl IntoIterator<Item = Identity>) -> Result<Roster, Vec<RosterError>> {
        Roster::new(identities, &["lead".parse().unwrap()].into())
    }

    #[test]
    fn keys_and_addresses_lead_to_one_identity() {
        let roster = build([
            identity("ana", &["lead"], &[1, 2], &["Ana@example.org"]),
            identity("bo", &[], &[3], &["1+dependabot[bot]@users.example"]),
        ])
        .unwrap();
        let key: PublicKey = key_text(2).parse().unwrap();
        assert_eq!(roster.by_key(key.fingerprint()).map(|(who, key)| (who.name.as_str(), key)), Some(("ana", &key)));
        let stranger: PublicKey = key_text(9).parse().unwrap();
        assert_eq!(roster.by_key(stranger.fingerprint()), None);
        assert_eq!(roster.by_email("ANA@EXAMPLE.ORG"), Person::Known("ana".parse().unwrap()));
        assert_eq!(roster.by_email("ana@example.com"), Person::Unmapped("ana@example.com".into()));
        let lead = "lead".parse().unwrap();
        assert_eq!(roster.holders(&lead).map(|who| who.name.as_str()).collect::<Vec<_>>(), ["ana"]);
    }

    #[test]
    fn a_key_in_two_identities_is_an_error_s6_3() {
        let mut commented = identity("bo", &[], &[], &[]);
        commented.keys.push(alloc::format!("{} another comment", key_text(1)).parse().unwrap());
        let errors = build([identity("ana", &[], &[1], &[]), commented]).unwrap_err();
        assert!(
            matches!(&errors[..], [RosterError::KeyInTwoIdentities { first, second, .. }]
                if first.as_str() == "ana" && second.as_str() == "bo"),
            "{errors:?}"
        );
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let errors = build([
            identity("ana", &["boss"], &[1, 1], &["*@example.org", "ana", "a@b"]),
            identity("bo", &[], &[], &["A@B"]),
            identity("bo", &[], &[], &[]),
        ])
        .unwrap_err();
        assert!(
            matches!(
                &errors[..],
                [
                    RosterError::UnknownRole { .. },
                    RosterError::KeyTwice { .. },
                    RosterError::Glob { .. },
                    RosterError::Email { .. },
                    RosterError::EmailInTwoIdentities { .. },
                    RosterError::NameTwice(_),
                ]
            ),
            "{errors:?}"
        );
    }
}
