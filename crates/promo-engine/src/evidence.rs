//! Evidence that people and CI bring, kept by its digest and read again whenever a gate asks (S1.3). What must not live here: what a
//! gate makes of it (promo-core), and how a format is read (whoever opens a session gives the reader).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use promo_core::Digest;
use promo_core::eligibility::Evidence;
use promo_core::evidence::{Kind, Report};
use promo_core::ids::{ArtifactName, ReleaseId, SignerName, SuiteName};
use promo_core::ledger::record::{ARTIFACT_METADATA, CONTRADICTED, METADATA, SAID_WHERE};
use promo_core::ledger::view::{EvidenceEntry, ReleaseEntry, Spoken, Withdrawn};
use promo_core::ledger::{Event, View};
use promo_core::plan::{Goal, Plan};
use promo_core::planner::{mirror, split_reference};
use promo_core::requirement::{Content, NamedGate, Origin, Piece, ReleaseEvidence, Signed, Signer, Subject};
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

    /// Whose signature one carries, of these.
    fn signed(&self, bytes: &[u8], signers: &BTreeSet<Signer>) -> Signed;

    /// The digest of what was signed of it, whichever envelope is around that; of one that is no envelope, its own.
    fn stated(&self, bytes: &[u8]) -> Digest;
}

/// What is known of a document.
#[derive(Clone)]
pub(crate) struct Known {
    /// What it says.
    pub(crate) content: Content,
    /// Whose signature it carries.
    pub(crate) signed: Signed,
    /// The digest of what was signed.
    pub(crate) stated: Digest,
}

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

    fn signed(&self, bytes: &[u8], signers: &BTreeSet<Signer>) -> Signed {
        self.documents.as_ref().map(|documents| documents.signed(bytes, signers)).unwrap_or_default()
    }

    pub(crate) fn stated(&self, bytes: &[u8]) -> Digest {
        self.documents.as_ref().map_or_else(|| Digest::of(bytes), |documents| documents.stated(bytes))
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

/// A document that may be brought.
struct Examined {
    /// What it says.
    report: Report,
    /// For which digests it is brought.
    subjects: BTreeSet<Digest>,
    /// The digest of what was signed.
    stated: Digest,
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
    /// The digest of what was signed; of a document that is no envelope, its own.
    pub stated: Digest,
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
        let (signed, content, stated) = (self.signed.clone(), self.content.clone(), self.stated);
        Piece { document, stated, origin, name, bound: subjects, signed, content }
    }
}

/// What was withdrawn, by the digest of what was signed: whoever withdraws a document takes out what it says, in every envelope.
/// The last of each.
#[derive(Default)]
pub(crate) struct Withdrawals(BTreeMap<Digest, Withdrawn>);

impl Withdrawals {
    /// The last withdrawal of it: since then it does not come back by lying in a registry.
    pub(crate) fn of(&self, stated: &Digest) -> Option<&Withdrawn> {
        self.0.get(stated)
    }

    /// The withdrawal that reaches a record of another envelope: all that were there before it, and all that only lie in a registry.
    fn reaches(&self, entry: &EvidenceEntry, stated: &Digest) -> Option<Withdrawn> {
        let last = self.of(stated)?;
        (entry.attached.is_some() || entry.seq < last.note.seq).then(|| last.clone())
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
        let examined = self.examined(&new)?;
        self.bring(&new, examined)
    }

    /// Brings several documents: every one of them, or where one is refused none.
    ///
    /// # Errors
    /// As [`Session::add_evidence`], with the place of the one that is refused, from 0.
    pub fn add_all_evidence(&self, all: &[NewEvidence]) -> Result<Vec<Brought>, (usize, Box<EngineError>)> {
        let each = all.iter().enumerate();
        let examined: Result<Vec<Examined>, _> =
            each.map(|(at, new)| self.examined(new).map_err(|error| (at, Box::new(error)))).collect();
        let each = all.iter().zip(examined?).enumerate();
        each.map(|(at, (new, examined))| self.bring(new, examined).map_err(|error| (at, Box::new(error)))).collect()
    }

    /// What a document says, and of what, where nothing speaks against bringing it.
    fn examined(&self, new: &NewEvidence) -> Result<Examined, EngineError> {
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
            (false, _) => new.subjects.clone(),
        };
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
        let stated = self.reports.stated(&new.bytes);
        let view = self.view()?;
        let withdrawn = self.taken_out(&view, &self.withdrawals(&view)?, &stated)?;
        if let Some(withdrawn) = withdrawn.filter(|_| !new.again) {
            return Err(EngineError::Invalid(format!(
                "{} was withdrawn by {} (record {}), and comes back with `--again` alone",
                Digest::of(&new.bytes),
                withdrawn.by(),
                withdrawn.note.seq
            )));
        }
        Ok(Examined { report, subjects, stated })
    }

    /// Records what was examined.
    fn bring(&self, new: &NewEvidence, examined: Examined) -> Result<Brought, EngineError> {
        let Examined { report, subjects, stated } = examined;
        let (document, kind) = (Digest::of(&new.bytes), report.about.source());
        let name = new.name.as_ref().map(ToString::to_string);
        let like =
            |entry: &&EvidenceEntry| entry.name == name && entry.subjects == subjects && entry.format == kind.name();
        let same = |entry: &&EvidenceEntry| like(entry) && entry.document == document;
        let (content, signed) = (Content::Read(Arc::new(report)), self.reports.signed(&new.bytes, &self.asked_for()));
        let view = self.view()?;
        // Only the last of its make is there already: where another came after it, the same once more is news.
        let last = self.with_view(|view| view.evidence.iter().rev().find(like).cloned())?;
        // What is contested is brought anew, by whoever says so.
        let unproven = if new.again { self.unproven(&view)?.get(&stated).copied() } else { None };
        let contested = unproven.is_some_and(|seq| last.as_ref().is_some_and(|last| last.seq < seq));
        let there = |entry: &EvidenceEntry| entry.document == document && entry.withdrawn.is_none() && !contested;
        if let Some(entry) = last.filter(there) {
            return Ok(Brought { entry, content, signed, stated, known: true });
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
        Ok(Brought { entry, content, signed, stated, known: false })
    }

    /// The evidence that the ledger has for a release, in its order; also what counts no more.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn evidence_of(&self, view: &View, release: &ReleaseEntry) -> Result<Vec<Brought>, EngineError> {
        let mine: BTreeSet<Digest> = parts(view, release);
        let entries = view.evidence.iter().filter(|entry| !entry.subjects.is_disjoint(&mine));
        let withdrawals = self.withdrawals(view)?;
        let brought = |entry: &EvidenceEntry| {
            let Known { content, signed, stated } = self.content(entry)?;
            let mut entry = entry.clone();
            entry.withdrawn = entry.withdrawn.take().or_else(|| withdrawals.reaches(&entry, &stated));
            Ok(Brought { entry, content, signed, stated, known: true })
        };
        entries.map(brought).collect()
    }

    /// What was withdrawn, by what was signed of it.
    pub(crate) fn withdrawals(&self, view: &View) -> Result<Withdrawals, EngineError> {
        let mut out = Withdrawals::default();
        for entry in &view.evidence {
            if let Some(withdrawn) = &entry.withdrawn {
                out.0.insert(self.content(entry)?.stated, withdrawn.clone());
            }
        }
        Ok(out)
    }

    /// The last record that withdraws something which no signature bears out, by the digest of what was signed.
    fn unproven(&self, view: &View) -> Result<BTreeMap<Digest, u64>, EngineError> {
        let mut out = BTreeMap::new();
        for uncounted in &view.uncounted {
            let Spoken::Withdrawal { document } = &uncounted.about else { continue };
            // What anybody writes names what it likes.
            if let Some(entry) = view.standing(document).next() {
                out.insert(self.content(entry)?.stated, uncounted.seq);
            }
        }
        Ok(out)
    }

    /// The withdrawal of what nobody has brought since, by the digest of what was signed.
    pub(crate) fn taken_out(
        &self,
        view: &View,
        withdrawals: &Withdrawals,
        stated: &Digest,
    ) -> Result<Option<Withdrawn>, EngineError> {
        let Some(last) = withdrawals.of(stated) else { return Ok(None) };
        let since = |entry: &&EvidenceEntry| entry.seq > last.note.seq && entry.attached.is_none();
        for entry in view.evidence.iter().filter(since) {
            if entry.withdrawn.is_none() && self.content(entry)?.stated == *stated {
                return Ok(None);
            }
        }
        Ok(Some(last.clone()))
    }

    /// The releases of which a document speaks, in whichever envelope, as it was brought.
    pub(crate) fn spoken_of<'v>(&self, view: &'v View, document: &Digest) -> Result<Vec<&'v ReleaseId>, EngineError> {
        let Some(first) = view.standing(document).next() else { return Ok(Vec::new()) };
        let stated = self.content(first)?.stated;
        let mut subjects: BTreeSet<&Digest> = BTreeSet::new();
        for entry in view.evidence.iter().filter(|entry| entry.withdrawn.is_none()) {
            if entry.document == *document || self.content(entry)?.stated == stated {
                subjects.extend(&entry.subjects);
            }
        }
        let of = |release: &&ReleaseEntry| parts(view, release).iter().any(|part| subjects.contains(part));
        Ok(view.releases.iter().filter(of).map(|release| &release.release.id).collect())
    }

    /// The releases that could be let in for want of a document: those of which it speaks, and where one of them runs before a gate that compares
    /// numbers with it, every later one.
    pub(crate) fn let_in_without<'v>(
        &self,
        view: &'v View,
        document: &Digest,
    ) -> Result<Vec<&'v ReleaseId>, EngineError> {
        let spoken: BTreeSet<&ReleaseId> = self.spoken_of(view, document)?.into_iter().collect();
        let compares = |named: &NamedGate| named.gate.requirement.compares();
        let gates = self.governance.gates.iter().filter(|(_, gates)| gates.iter().any(compares));
        let here = gates.filter_map(|(environment, _)| Some(&view.current(environment)?.release));
        let before: Vec<u64> = here.filter(|here| spoken.contains(here)).map(|here| view.lineage(here)).collect();
        let later = |entry: &ReleaseEntry| before.iter().any(|lineage| entry.lineage > *lineage);
        let all = view.releases.iter().filter(|entry| spoken.contains(&entry.release.id) || later(entry));
        Ok(all.map(|entry| &entry.release.id).collect())
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
        let unproven = self.unproven(view)?;
        for id in releases {
            let (Some(entry), false) = (view.release(id), out.contains_key(id)) else { continue };
            let texts = self.store.texts(entry.seq)?;
            let (metadata, contradicted) = (said_of_each(entry, &texts), of_artifacts(entry, &texts, CONTRADICTED));
            let said_where = of_artifacts(entry, &texts, SAID_WHERE);
            let places = self.places(entry);
            let components = entry.release.content.components.iter();
            let subjects: BTreeMap<ArtifactName, Subject> = components
                .filter_map(|(name, digest)| Some((name.clone(), view.described.get(digest)?.clone())))
                .collect();
            let (mut pieces, mut withdrawn, mut contested) = (Vec::new(), Vec::new(), Vec::new());
            for brought in self.evidence_of(view, entry)? {
                match (&brought.entry.withdrawn, unproven.get(&brought.stated)) {
                    (None, Some(seq)) if brought.entry.attached.is_some() || brought.entry.seq < *seq => {
                        contested.push((brought.piece(), *seq));
                    }
                    (None, _) => pieces.push(brought.piece()),
                    (Some(by), _) => withdrawn.push((brought.piece(), by.by().to_owned(), by.note.seq)),
                }
            }
            out.insert(
                id.clone(),
                ReleaseEvidence { metadata, said_where, contradicted, places, subjects, pieces, withdrawn, contested },
            );
        }
        Ok(out)
    }

    /// In which repositories the artifacts of a release are known to lie: where they came from, and where environments copy that.
    fn places(&self, entry: &ReleaseEntry) -> BTreeMap<ArtifactName, BTreeSet<String>> {
        let environments = || self.governance.pipeline.environments.values();
        let of = |source: &String| {
            let (repository, _) = split_reference(source.split('@').next().unwrap_or_default());
            let copies = environments().filter_map(|declared| mirror(&declared.mirror, &repository));
            copies.chain([repository.clone()]).collect()
        };
        entry.release.sources.iter().map(|(name, source)| (name.clone(), of(source))).collect()
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
            let content = Content::Unreadable { kind: named.unwrap_or(Kind::InToto), why };
            return Ok(Known { content, signed: Signed::default(), stated: entry.document });
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
        let (signed, stated) = (self.reports.signed(&bytes, &self.asked_for()), self.reports.stated(&bytes));
        let out = Known { content, signed, stated };
        read().insert(key, out.clone());
        Ok(out)
    }

    /// Whose signatures gates ask for.
    pub(crate) fn asked_for(&self) -> BTreeSet<Signer> {
        let gates = self.governance.gates.values().flatten();
        gates.flat_map(|named| named.gate.named_signers()).map(|(_, signer)| signer.clone()).collect()
    }

    /// By which names gates know those whose signatures a document carries, and whom certificates name of each.
    #[must_use]
    pub fn signers(&self, brought: &Brought) -> BTreeMap<SignerName, BTreeSet<String>> {
        let gates = self.governance.gates.values().flatten();
        let mut out: BTreeMap<SignerName, BTreeSet<String>> = BTreeMap::new();
        for (name, signer) in gates.flat_map(|named| named.gate.named_signers()) {
            if brought.signed.by.contains(signer) {
                let named = brought.signed.named.get(signer).into_iter().flatten().cloned();
                out.entry(name.clone()).or_default().extend(named);
            }
        }
        out
    }

    /// Where gates look for numbers in documents that are no reports.
    pub(crate) fn pointers(&self) -> Vec<&str> {
        let gates = self.governance.gates.values().flatten();
        let pointers: BTreeSet<&str> = gates.filter_map(|named| named.gate.requirement.pointer()).collect();
        pointers.into_iter().collect()
    }
}

/// The texts whose names begin so, by what stands behind that.
fn below(texts: &BTreeMap<String, Option<String>>, prefix: &str) -> BTreeMap<String, Option<String>> {
    let fields = texts.iter().filter_map(|(field, text)| Some((field.strip_prefix(prefix)?.to_owned(), text.clone())));
    fields.collect()
}

/// What texts with such names say of each artifact of a release: in what it contradicts itself, and where it says what it says.
fn of_artifacts(
    entry: &ReleaseEntry,
    texts: &BTreeMap<String, Option<String>>,
    prefix: &str,
) -> BTreeMap<ArtifactName, BTreeMap<String, Option<String>>> {
    let names = entry.release.content.components.keys();
    names.map(|name| (name.clone(), below(texts, &format!("{prefix}{name}.")))).collect()
}

/// What the build said of each artifact of a release. What only some of several said stands for those alone.
fn said_of_each(
    entry: &ReleaseEntry,
    texts: &BTreeMap<String, Option<String>>,
) -> BTreeMap<ArtifactName, BTreeMap<String, Option<String>>> {
    let below = |prefix: &str| below(texts, prefix);
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
#[must_use]
pub fn parts(view: &View, release: &ReleaseEntry) -> BTreeSet<Digest> {
    let components = release.release.content.components.values();
    let platforms = components.clone().filter_map(|digest| view.described.get(digest));
    let platforms = platforms
        .flat_map(|subject| &subject.platforms)
        .flat_map(|(manifest, config)| std::iter::once(*manifest).chain(*config));
    components.copied().chain(platforms).collect()
}
