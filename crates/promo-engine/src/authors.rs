//! Authors who are named after their release was added (S6.4): what a person signs for it, recorded, and verified again whenever
//! the ledger is read. Whoever signs counts among the authors, so that four eyes stay four, also where what they say is wrong. What
//! must not live here: whom a rule excludes.

use std::collections::BTreeSet;

use jiff::Timestamp;
use promo_core::approval::{Fingerprint, Nonce, Person};
use promo_core::ids::{EnvironmentName, IdentityName, PipelineName, ReleaseId};
use promo_core::ledger::{Event, View};
use promo_core::model::Party;
use promo_core::plan::Move;
use promo_sdk::ResolveRequest;
use serde::{Deserialize, Serialize};

use crate::error::EngineError;
use crate::metadata::{self, AUTHORS, BUILDER};
use crate::releases::untagged;
use crate::session::{Governance, Session};
use crate::signature;
use crate::verdicts::Signed;

/// SSHSIG namespace of a statement about authors.
pub const AUTHORS_NAMESPACE: &str = "promo.authors.v1";

/// The format of a statement about authors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum AuthorsKind {
    /// The first format.
    #[default]
    #[serde(rename = "promo/authors/v1")]
    V1,
}

/// What a person signs who names the authors of a release: its canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AuthorsStatement {
    /// The format.
    pub kind: AuthorsKind,
    /// Of which release.
    pub release: ReleaseId,
    /// Who wrote it, never empty: identities, so that no address stands in the ledger for good (S12.5).
    pub authors: BTreeSet<IdentityName>,
    /// The origin of the ledger it is for.
    pub ledger: String,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The key that signs.
    pub key: Fingerprint,
    /// When.
    pub at: Timestamp,
    /// Makes it one of its kind.
    pub nonce: Nonce,
}

impl AuthorsStatement {
    /// The bytes that are signed.
    ///
    /// # Errors
    /// Never for a statement: its fields are texts.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EngineError> {
        promo_core::canonical::to_vec(self).map_err(|e| EngineError::Approval(e.to_string()))
    }

    /// Reads a statement, and refuses every spelling but the one that [`AuthorsStatement::to_bytes`] gives.
    ///
    /// # Errors
    /// Why the bytes are none, in words.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        promo_core::format::admit_statement(bytes, "the statement about authors", "promo/authors/v", 1)
            .map_err(|e| e.to_string())?;
        promo_core::canonical::from_slice(bytes).map_err(|e| e.to_string())
    }
}

/// A release of which it is not known who wrote it, where a rule wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unwritten {
    /// The environment whose rule excludes authors.
    pub environment: EnvironmentName,
    /// The release.
    pub release: ReleaseId,
    /// The author whom policy does not know; none where nobody is named.
    pub author: Option<String>,
}

impl Session {
    /// The statement that whoever holds `key` would sign to name the authors of a release that came without any.
    ///
    /// # Errors
    /// When there is no such release, its authors are named, policy does not know one of those given, or an artifact names one
    /// who is not among them. A registry that does not answer is an error of its provider.
    pub async fn authors_statement(
        &self,
        release: &ReleaseId,
        authors: BTreeSet<String>,
        key: Fingerprint,
    ) -> Result<AuthorsStatement, EngineError> {
        self.admit_policy()?;
        self.known(release, None)?;
        let view = self.view()?;
        open(&view, release).map_err(EngineError::Invalid)?;
        if authors.is_empty() {
            return Err(EngineError::Invalid("a release has at least one author".into()));
        }
        let identity = |name: &String| match self.person(name) {
            Person::Known(identity) => Ok(identity),
            Person::Unmapped(_) | Person::Unnamed(_) => Err(EngineError::Invalid(format!(
                "policy knows nobody as `{name}`: name identities, or addresses that policy maps to one"
            ))),
        };
        let identities = authors.iter().map(identity).collect::<Result<BTreeSet<_>, _>>()?;
        let known = view.release(release).expect("invariant: it was just found");
        let (provider, mut said) = (self.providers.get("oci")?, Vec::new());
        for (name, source) in &known.release.sources {
            // By digest alone: where its tag points by now does not matter.
            let request = ResolveRequest { reference: untagged(source) };
            let resolved = provider.resolve(&self.context, &request).await;
            let doing = || format!("resolving {name} ({})", request.reference);
            said.push(resolved.map_err(|source| EngineError::about(None, doing(), source))?.metadata);
        }
        let given = Vec::from_iter(authors.iter().map(String::as_str)).join(",");
        metadata::of_release(&said, [(AUTHORS.to_owned(), given)].into()).map_err(EngineError::Invalid)?;
        Ok(AuthorsStatement {
            kind: AuthorsKind::V1,
            release: release.clone(),
            authors: identities,
            ledger: self.store.origin(),
            pipeline: self.governance.pipeline.name.clone(),
            key,
            at: self.now()?,
            nonce: signature::nonce().map_err(|e| EngineError::Approval(e.to_string()))?,
        })
    }

    /// Records who wrote a release, signed over [`AuthorsStatement::to_bytes`]. Whoever signed counts among its authors.
    ///
    /// # Errors
    /// [`EngineError::Approval`] when the signature does not hold or is not a person's whom policy knows; when its authors are
    /// named by now.
    pub fn name_authors(&self, statement: &AuthorsStatement, signature: &str) -> Result<IdentityName, EngineError> {
        let bytes = statement.to_bytes()?;
        let signed = Signed::new(&bytes, signature);
        let (release, authors) = (statement.release.clone(), statement.authors.clone());
        let by = signer(&self.governance, &self.store.origin(), &release, &authors, &signed);
        let by = by.map_err(EngineError::Approval)?;
        let event = Event::AuthorsNamed { release, authors, by: by.clone(), signed: signed.to_value()? };
        self.append_judged(self.draft(event), |view| {
            open(view, &statement.release).map_err(EngineError::Invalid)?;
            Ok(by.clone())
        })
    }

    /// The releases among those that a move brings along of which it is not known who wrote them, where a rule excludes authors:
    /// nobody can approve it (S6.4).
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn unwritten(&self, view: &View, entry: &Move) -> Result<Vec<Unwritten>, EngineError> {
        let mut out = Vec::new();
        if !self.excludes_authors(&entry.environment) {
            return Ok(out);
        }
        for release in self.along(view, entry) {
            for person in self.written(view, &release)? {
                let author = match person {
                    Person::Unnamed(_) => None,
                    Person::Unmapped(name) => Some(name),
                    Person::Known(_) => continue,
                };
                out.push(Unwritten { environment: entry.environment.clone(), release: release.clone(), author });
            }
        }
        Ok(out)
    }

    /// The environments whose rules exclude authors, where nobody is named as the author of this release or policy does not
    /// know one: none of them will take it, or what comes after it, before that is settled.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn closed_to(&self, view: &View, release: &ReleaseId) -> Result<Vec<EnvironmentName>, EngineError> {
        let known = self.written(view, release)?.iter().all(|person| matches!(person, Person::Known(_)));
        let environments = self.governance.approval.keys().filter(|name| !known && self.excludes_authors(name));
        Ok(environments.cloned().collect())
    }

    fn excludes_authors(&self, environment: &EnvironmentName) -> bool {
        let rules = self.governance.approval.get(environment).into_iter().flatten();
        rules.into_iter().any(|rule| rule.exclude.contains(&Party::Author))
    }

    /// What comes along with a move: every release after the running one, up to the one that enters (S6.4).
    pub(crate) fn along(&self, view: &View, entry: &Move) -> Vec<ReleaseId> {
        let running = entry.from.as_ref().map_or(0, |from| view.lineage(&from.id));
        let between = running + 1..view.lineage(&entry.to.id);
        let along = view.releases.iter().filter(|r| between.contains(&r.lineage)).map(|r| &r.release.id);
        along.chain([&entry.to.id]).cloned().collect()
    }

    /// Who built a release, where that is said and was not erased.
    pub(crate) fn built(&self, view: &View, release: &ReleaseId) -> Result<Option<Person>, EngineError> {
        let said = view.release(release).map(|known| self.metadata(known)).transpose()?.unwrap_or_default();
        Ok(said.get(BUILDER).map(|name| self.person(name)))
    }

    /// Who wrote a release. That nobody is named is not the same as nobody having done so, and names that were erased are
    /// nobody's whom policy knows.
    pub(crate) fn written(&self, view: &View, release: &ReleaseId) -> Result<BTreeSet<Person>, EngineError> {
        let entry = view.release(release);
        let said = entry.map(|entry| self.metadata(entry)).transpose()?.unwrap_or_default();
        let named = metadata::names(said.get(AUTHORS).map(String::as_str));
        let later = entry.into_iter().flat_map(|entry| &entry.authors).map(|name| self.person(name.as_str()));
        let named: BTreeSet<Person> = named.into_iter().map(|name| self.person(name)).chain(later).collect();
        Ok(if named.is_empty() { [Person::Unnamed(release.clone())].into() } else { named })
    }
}

/// Refuses to name the authors of a release that came with some: those are what its build said, also where they were erased.
fn open(view: &View, release: &ReleaseId) -> Result<(), String> {
    match view.release(release).is_some_and(|entry| entry.said.contains(AUTHORS)) {
        false => Ok(()),
        true => Err(format!("{release} came with its authors (`promo release show {release}`)")),
    }
}

/// Whether what a record says of who wrote a release counts.
///
/// # Errors
/// Why it does not, in words.
pub(crate) fn judge(governance: &Governance, origin: &str, view: &View, event: &Event) -> Result<(), String> {
    let Event::AuthorsNamed { release, authors, by, signed } = event else { return Ok(()) };
    open(view, release)?;
    let signed: Signed = serde_json::from_value(signed.clone()).map_err(|e| e.to_string())?;
    let who = signer(governance, origin, release, authors, &signed)?;
    if *by == who { Ok(()) } else { Err(format!("{who} signed it, and the record names somebody else")) }
}

/// Who signed that these wrote this release, if policy knows them as a person.
fn signer(
    governance: &Governance,
    origin: &str,
    release: &ReleaseId,
    authors: &BTreeSet<IdentityName>,
    Signed { statement, signature }: &Signed,
) -> Result<IdentityName, String> {
    let bytes = statement.as_bytes();
    let statement = AuthorsStatement::from_bytes(bytes)?;
    let signer = signature::verify_bytes(bytes, signature, AUTHORS_NAMESPACE, &governance.roster)
        .map_err(|error| error.to_string())?;
    let same = statement.release == *release
        && statement.authors == *authors
        && statement.ledger == origin
        && statement.pipeline == governance.pipeline.name
        && statement.key == *signer.key.fingerprint();
    if !same {
        return Err("what was signed is another statement".into());
    }
    if authors.is_empty() {
        return Err("it names nobody".into());
    }
    let who = signer.identity;
    if who.human { Ok(who.name.clone()) } else { Err(format!("{} is not a person", who.name)) }
}
