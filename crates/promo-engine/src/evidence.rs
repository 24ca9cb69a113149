//! Evidence that people and CI bring, kept by its digest and read again whenever a gate asks (S1.3). What must not live here: what a
//! gate makes of it (promo-core), and how a format is read (whoever opens a session gives the reader).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use promo_core::Digest;
use promo_core::eligibility::Evidence;
use promo_core::evidence::{Kind, Report};
use promo_core::ids::{ArtifactName, ReleaseId, SignerName, SuiteName};
use promo_core::ledger::record::{ARTIFACT_METADATA, METADATA};
use promo_core::ledger::view::{EvidenceEntry, ReleaseEntry};
use promo_core::ledger::{Event, View};
use promo_core::plan::{Goal, Plan};
use promo_core::requirement::{Content, Origin, Piece, PublicKey, ReleaseEvidence, Signed, Subject};
use promo_ledger::Expect;

use crate::error::EngineError;
use crate::metadata::{AUTHORS, BUILDER};
use crate::session::Session;

/// Why a document gives no facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// What it is, as far as that can be told.
    pub kind: Option<Kind>,
    /// Whether its format is known, and this is a broken document of it, or one of a version that is not known.
    pub broken: bool,
    /// Why, without any of its content.
    pub why: String,
}

/// What is made of documents. Whoever opens a session gives it, since formats are no business of the engine's.
pub trait Documents: Send + Sync {
    /// Reads one. Of one that is no report of its own ([`Kind::Numbers`]) the numbers behind these JSON pointers.
    ///
    /// # Errors
    /// [`Unread`], where it gives no facts.
    fn read(&self, bytes: &[u8], numbers: Option<&[&str]>) -> Result<Report, Unread>;

    /// Whose signature one carries, of these keys.
    fn signed(&self, bytes: &[u8], keys: &BTreeSet<PublicKey>) -> Signed;
}

/// What is known of a document: what it says, and whose signature it carries.
pub(crate) type Known = (Content, Signed);

/// How documents are read, and those that were.
#[derive(Clone, Default)]
pub(crate) struct Reports {
    documents: Option<Arc<dyn Documents>>,
    /// By document, and whether it was read for its numbers.
    read: Arc<Mutex<HashMap<(Digest, bool), Known>>>,
}

impl Reports {
    pub(crate) fn read(&self, bytes: &[u8], numbers: Option<&[&str]>) -> Result<Report, Unread> {
        match &self.documents {
            Some(documents) => documents.read(bytes, numbers),
            None => Err(Unread { kind: None, broken: false, why: "nothing reads documents here".into() }),
        }
    }

    fn signed(&self, bytes: &[u8], keys: &BTreeSet<PublicKey>) -> Signed {
        self.documents.as_ref().map(|documents| documents.signed(bytes, keys)).unwrap_or_default()
    }
}

/// A document that is brought.
#[derive(Debug, Clone)]
pub struct NewEvidence {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Under which name, such as that of a suite of tests: a later one of the same kind, tool and name replaces it.
    pub name: Option<SuiteName>,
    /// For which digests; for what the document itself names when there are none.
    pub subjects: BTreeSet<Digest>,
    /// Whether it is JSON of somebody's own, of which gates name the numbers.
    pub numbers: bool,
    /// Whether it is brought also where somebody has withdrawn it before.
    pub again: bool,
}

/// Evidence that is in the ledger.
#[derive(Debug, Clone)]
pub struct Brought {
    /// The record.
    pub entry: EvidenceEntry,
    /// What the document says.
    pub content: Content,
    /// Whose signature it carries, of those whom gates ask for.
    pub signed: Signed,
    /// Whether it was there before, for the same and by the same name.
    pub known: bool,
}

impl Brought {
    /// The document as gates take it.
    #[must_use]
    pub fn piece(&self) -> Piece {
        let EvidenceEntry { document, by, at, name, subjects, attached, .. } = self.entry.clone();
        let origin = match attached {
            Some(_) => Origin::Registry { at },
            None => Origin::Ledger { by: by.name, at },
        };
        let (signed, content) = (self.signed.clone(), self.content.clone());
        Piece { document, origin, name, bound: subjects, signed, content }
    }
}

impl Session {
    /// The same session with what reads documents. Without it nothing can be brought, and what was brought cannot be read.
    #[must_use]
    pub fn with_documents(mut self, documents: Arc<dyn Documents>) -> Self {
        self.reports.documents = Some(documents);
        self
    }

    /// Brings a document. It is read before anything is recorded: what cannot be read would only hold up what it speaks of.
    ///
    /// # Errors
    /// When it cannot be read, does not say of what it speaks while nobody else does, or speaks of something else than was said.
    pub fn add_evidence(&self, new: NewEvidence) -> Result<Brought, EngineError> {
        let pointers = if new.numbers { self.pointers() } else { Vec::new() };
        let read = self.reports.read(&new.bytes, new.numbers.then_some(&pointers));
        let report = read.map_err(|unread| EngineError::Evidence(unread.why))?;
        let inside: BTreeSet<Digest> = report.about.bound.iter().map(|binding| binding.digest).collect();
        let subjects = match (new.subjects.is_empty(), inside.is_empty()) {
            (true, true) => {
                let why = "the document does not say of what it speaks: name the release (`--release`) or the digest (`--digest`)";
                return Err(EngineError::Evidence(why.into()));
            }
            (true, false) => inside,
            (false, _) => new.subjects,
        };
        let (document, kind) = (Digest::of(&new.bytes), report.about.source());
        let about_something_else = self.with_view(|view| {
            let known = view.described.values().filter(|subject| subjects.iter().any(|digest| subject.has(digest)));
            let mut parts = known.peekable();
            // Of what nobody has looked into it cannot be told whether it is a part of it.
            let looked = parts.peek().is_some();
            let says = |subject: &Subject| report.about.bound.iter().any(|binding| subject.has(&binding.digest));
            looked && !report.about.bound.is_empty() && !parts.any(says)
        })?;
        if let (true, Some(first)) = (about_something_else, report.about.bound.first()) {
            let message =
                format!("the document speaks of {}, which is no part of what it was brought for", first.digest);
            return Err(EngineError::Evidence(message));
        }
        let name = new.name.as_ref().map(ToString::to_string);
        let like =
            |entry: &&EvidenceEntry| entry.name == name && entry.subjects == subjects && entry.format == kind.name();
        let same = |entry: &&EvidenceEntry| like(entry) && entry.document == document;
        let (content, signed) = (Content::Read(Arc::new(report)), self.reports.signed(&new.bytes, &self.keys()));
        let withdrawn = self.with_view(|view| {
            let all = view.evidence.iter().filter(|entry| entry.document == document);
            all.filter_map(|entry| entry.withdrawn.clone())
                .next_back()
                .filter(|_| view.standing(&document).next().is_none())
        })?;
        if let Some(withdrawn) = withdrawn.filter(|_| !new.again) {
            return Err(EngineError::Invalid(format!(
                "{document} was withdrawn by {} (record {}), and comes back with `--again` alone",
                withdrawn.by(),
                withdrawn.note.seq
            )));
        }
        // Only the last of its make is there already: where another came after it, the same once more is news.
        let last = self.with_view(|view| view.evidence.iter().rev().find(like).cloned())?;
        if let Some(entry) = last.filter(|entry| entry.document == document && entry.withdrawn.is_none()) {
            return Ok(Brought { entry, content, signed, known: true });
        }
        self.store.put_blob(&new.bytes)?;
        let event = Event::EvidenceAdded {
            document,
            format: kind.name().to_owned(),
            name: name.clone(),
            subjects: subjects.clone(),
            attached: None,
        };
        self.append(&Expect::default(), &[self.draft(event)])?;
        let entry = self.with_view(|view| view.evidence.iter().rev().find(same).cloned())?;
        let entry = entry.ok_or_else(|| EngineError::Evidence(format!("{document} was added and is not there")))?;
        Ok(Brought { entry, content, signed, known: false })
    }

    /// The evidence that the ledger has for a release, in its order; also what counts no more.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn evidence_of(&self, view: &View, release: &ReleaseEntry) -> Result<Vec<Brought>, EngineError> {
        let mine: BTreeSet<Digest> = parts(view, release);
        let entries = view.evidence.iter().filter(|entry| !entry.subjects.is_disjoint(&mine));
        let brought = |entry: &EvidenceEntry| {
            let (content, signed) = self.content(entry)?;
            Ok(Brought { entry: entry.clone(), content, signed, known: true })
        };
        entries.map(brought).collect()
    }

    /// The releases of which a document speaks, as it was brought.
    pub(crate) fn spoken_of<'v>(&self, view: &'v View, document: &Digest) -> Vec<&'v ReleaseId> {
        let subjects: BTreeSet<&Digest> = view.standing(document).flat_map(|entry| &entry.subjects).collect();
        let of = |release: &&ReleaseEntry| parts(view, release).iter().any(|part| subjects.contains(part));
        view.releases.iter().filter(of).map(|release| &release.release.id).collect()
    }

    /// What is known of the evidence for these releases, as gates take it.
    ///
    /// # Errors
    /// As [`Session::evidence_of`].
    pub fn evidence<'a>(
        &self,
        view: &View,
        releases: impl IntoIterator<Item = &'a ReleaseId>,
    ) -> Result<Evidence, EngineError> {
        let mut out = Evidence::new();
        if self.governance.gates.is_empty() {
            return Ok(out);
        }
        for id in releases {
            let (Some(entry), false) = (view.release(id), out.contains_key(id)) else { continue };
            let metadata = said_of_each(entry, &self.store.texts(entry.seq)?);
            let components = entry.release.content.components.iter();
            let subjects: BTreeMap<ArtifactName, Subject> = components
                .filter_map(|(name, digest)| Some((name.clone(), view.described.get(digest)?.clone())))
                .collect();
            let (mut pieces, mut withdrawn) = (Vec::new(), Vec::new());
            for brought in self.evidence_of(view, entry)? {
                match &brought.entry.withdrawn {
                    None => pieces.push(brought.piece()),
                    Some(by) => withdrawn.push((brought.piece(), by.by().to_owned(), by.note.seq)),
                }
            }
            out.insert(id.clone(), ReleaseEvidence { metadata, subjects, pieces, withdrawn });
        }
        Ok(out)
    }

    /// The same for what a plan moves under gates, and for what it moves away from: what goes back asks for nothing (S10.1).
    pub(crate) fn evidence_for(&self, view: &View, plan: &Plan) -> Result<Evidence, EngineError> {
        if plan.request.goal == Goal::Rollback {
            return Ok(Evidence::new());
        }
        let gated = || plan.moves.iter().filter(|entry| self.governance.gates.contains_key(&entry.environment));
        let here = gated().filter_map(|entry| view.current(&entry.environment)).map(|here| &here.release);
        self.evidence(view, gated().map(|entry| &entry.to.id).chain(here))
    }

    /// What a document says that the ledger keeps, and whose signature it carries; each is read once.
    fn content(&self, entry: &EvidenceEntry) -> Result<Known, EngineError> {
        if entry.format == Kind::Source.name() {
            return self.seen(&entry.document);
        }
        let read = || self.reports.read.lock().unwrap_or_else(PoisonError::into_inner);
        let numbers = entry.format == Kind::Numbers.name();
        let key = (entry.document, numbers);
        if let Some(known) = read().get(&key) {
            return Ok(known.clone());
        }
        let named = Kind::ALL.into_iter().find(|kind| kind.name() == entry.format);
        // A row that anybody can write stops nobody: what it names and the ledger does not keep cannot be read (S12.3).
        let Some(bytes) = self.store.get_blob(&entry.document)? else {
            let why = "the ledger does not keep it".to_owned();
            return Ok((Content::Unreadable { kind: named.unwrap_or(Kind::InToto), why }, Signed::default()));
        };
        let pointers = if numbers { self.pointers() } else { Vec::new() };
        let content = match self.reports.read(&bytes, numbers.then_some(&pointers)) {
            Ok(report) => Content::Read(Arc::new(report)),
            Err(unread) => {
                // What no version of promo has a word for could be anything, also what an attestation has in it.
                let kind = unread.kind.or(named).unwrap_or(Kind::InToto);
                Content::Unreadable { kind, why: unread.why }
            }
        };
        let out = (content, self.reports.signed(&bytes, &self.keys()));
        read().insert(key, out.clone());
        Ok(out)
    }

    /// Whose signatures gates ask for.
    pub(crate) fn keys(&self) -> BTreeSet<PublicKey> {
        let gates = self.governance.gates.values().flatten();
        gates.flat_map(|named| named.gate.named_signers()).map(|(_, key)| key.clone()).collect()
    }

    /// By which names gates know those whose signatures a document carries.
    #[must_use]
    pub fn signers(&self, brought: &Brought) -> BTreeSet<SignerName> {
        let gates = self.governance.gates.values().flatten();
        let named = gates.flat_map(|named| named.gate.named_signers());
        named.filter(|(_, key)| brought.signed.by.contains(*key)).map(|(name, _)| name.clone()).collect()
    }

    /// Where gates look for numbers in documents that are no reports.
    fn pointers(&self) -> Vec<&str> {
        let gates = self.governance.gates.values().flatten();
        let pointers: BTreeSet<&str> = gates.filter_map(|named| named.gate.requirement.pointer()).collect();
        pointers.into_iter().collect()
    }
}

/// What the build said of each artifact of a release. What only some of several said stands for those alone.
fn said_of_each(
    entry: &ReleaseEntry,
    texts: &BTreeMap<String, Option<String>>,
) -> BTreeMap<ArtifactName, BTreeMap<String, Option<String>>> {
    let below = |prefix: &str| -> BTreeMap<String, Option<String>> {
        let fields =
            texts.iter().filter_map(|(field, text)| Some((field.strip_prefix(prefix)?.to_owned(), text.clone())));
        fields.collect()
    };
    let names = entry.release.content.components.keys();
    let whole = below(METADATA);
    if names.len() == 1 {
        return names.map(|name| (name.clone(), whole.clone())).collect();
    }
    let of_all = || whole.iter().filter(|(key, _)| [AUTHORS, BUILDER].contains(&key.as_str()));
    let each = names.map(|name| {
        let mut said = below(&format!("{ARTIFACT_METADATA}{name}."));
        said.extend(of_all().map(|(key, text)| (key.clone(), text.clone())));
        (name.clone(), said)
    });
    each.collect()
}

/// Every digest by which evidence could be bound to a release.
fn parts(view: &View, release: &ReleaseEntry) -> BTreeSet<Digest> {
    let components = release.release.content.components.values();
    let platforms = components.clone().filter_map(|digest| view.described.get(digest));
    let platforms = platforms
        .flat_map(|subject| &subject.platforms)
        .flat_map(|(manifest, config)| std::iter::once(*manifest).chain(*config));
    components.copied().chain(platforms).collect()
}
