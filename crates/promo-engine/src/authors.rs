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
use crate::metadata::{self, AUTHORS};
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
    /// Who wrote it: identities or addresses, never empty.
    pub authors: BTreeSet<String>,
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
        let unknown = |name: &&String| matches!(self.person(name), Person::Unmapped(_));
        match authors.iter().find(unknown) {
            None if authors.is_empty() => return Err(EngineError::Invalid("a release has at least one author".into())),
            None => {}
            Some(name) => {
                let why =
                    format!("policy knows nobody as `{name}`: name identities, or addresses that policy maps to one");
                return Err(EngineError::Invalid(why));
            }
        }
        let known = view.release(release).expect("invariant: it was just found");
        let (provider, mut said) = (self.providers.get("oci")?, Vec::new());
        for (name, source) in &known.release.sources {
            // By digest alone: where its tag points by now does not matter.
            let request = ResolveRequest { reference: untagged(source) };
            let resolved = provider.resolve(&self.context, &request).await;
            let doing = || format!("resolving {name} ({})", request.reference);
            said.push(resolved.map_err(|source| EngineError::Provider { doing: doing(), source })?.metadata);
        }
        let given = Vec::from_iter(authors.iter().map(String::as_str)).join(",");
        metadata::of_release(&said, [(AUTHORS.to_owned(), given)].into()).map_err(EngineError::Invalid)?;
        Ok(AuthorsStatement {
            kind: AuthorsKind::V1,
            release: release.clone(),
            authors,
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
    #[must_use]
    pub fn unwritten(&self, view: &View, entry: &Move) -> Vec<Unwritten> {
        if !self.excludes_authors(&entry.environment) {
            return Vec::new();
        }
        let of = |release: ReleaseId| {
            let told = self.written(view, &release).into_iter().filter_map(|person| match person {
                Person::Unnamed(_) => Some(None),
                Person::Unmapped(name) => Some(Some(name)),
                Person::Known(_) => None,
            });
            let (environment, authors): (_, Vec<_>) = (&entry.environment, told.collect());
            authors.into_iter().map(move |author| Unwritten {
                environment: environment.clone(),
                release: release.clone(),
                author,
            })
        };
        self.along(view, entry).into_iter().flat_map(of).collect()
    }

    /// The environments whose rules exclude authors, where nobody is named as the author of this release or policy does not
    /// know one: none of them will take it, or what comes after it, before that is settled.
    #[must_use]
    pub fn closed_to(&self, view: &View, release: &ReleaseId) -> Vec<EnvironmentName> {
        let known = self.written(view, release).iter().all(|person| matches!(person, Person::Known(_)));
        let environments = self.governance.approval.keys().filter(|name| !known && self.excludes_authors(name));
        environments.cloned().collect()
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

    /// Who wrote a release. That nobody is named is not the same as nobody having done so.
    pub(crate) fn written(&self, view: &View, release: &ReleaseId) -> BTreeSet<Person> {
        let entry = view.release(release);
        let list = entry.and_then(|entry| entry.release.metadata.get(AUTHORS)).map(String::as_str);
        let later = entry.into_iter().flat_map(|entry| &entry.authors).map(String::as_str);
        let named = metadata::names(list).into_iter().chain(later);
        let named: BTreeSet<Person> = named.map(|name| self.person(name)).collect();
        if named.is_empty() { [Person::Unnamed(release.clone())].into() } else { named }
    }
}

/// Refuses to name the authors of a release that came with some: those are what its build said.
fn open(view: &View, release: &ReleaseId) -> Result<(), String> {
    let list = view.release(release).and_then(|entry| entry.release.metadata.get(AUTHORS)).map(String::as_str);
    match metadata::names(list).is_empty() {
        true => Ok(()),
        false => Err(format!("{release} came with its authors: {}", list.unwrap_or_default())),
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
    authors: &BTreeSet<String>,
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
