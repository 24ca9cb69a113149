//! A gate over evidence: what it requires, of which artifacts, and what it makes of the evidence there is. What must not live here: what a
//! requirement is met by (its own module says), and what a gate's outcome does to a promotion ([`crate::eligibility`]).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::metadata::{Built, MetadataRequirement};
use super::need;
use super::words;
use super::{
    BillRequirement, Compared, CoverageRequirement, Exception, Fault, LicenceRequirement, Nature, NotCounted,
    NumberRequirement, Origin, Piece, ProvenanceRequirement, Reach, ScanRequirement, SignatureRequirement, Signer,
    Signers, SourceRequirement, Standing, Subject, TestRequirement, Verdict,
};
use crate::evidence::{Kind, Level, Report, Severity};
use crate::ids::{ArtifactName, GateName, SignerName};

/// What a gate requires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Requirement {
    /// Of vulnerabilities.
    Scan(ScanRequirement),
    /// Of licences.
    Licences(LicenceRequirement),
    /// That there is a bill of materials.
    Sbom(BillRequirement),
    /// Of tests.
    Tests(TestRequirement),
    /// Of what tests reached.
    Coverage(CoverageRequirement),
    /// Of a number.
    Number(NumberRequirement),
    /// Of what the build said.
    Metadata(MetadataRequirement),
    /// Of signatures over the artifact.
    Signature(SignatureRequirement),
    /// Of how it was built.
    Provenance(ProvenanceRequirement),
    /// Of where its source is.
    Source(SourceRequirement),
}

impl Requirement {
    /// What it looks for, as people call one of it.
    fn looks_for(&self) -> String {
        match self {
            Self::Scan(_) => "scan".into(),
            Self::Licences(_) | Self::Sbom(_) => "bill of materials".into(),
            Self::Tests(_) => "report of tests".into(),
            Self::Coverage(_) => "report of coverage".into(),
            Self::Number(number) => format!("document with {}", number.name),
            Self::Metadata(_) => "metadata".into(),
            Self::Signature(_) => "signature".into(),
            Self::Provenance(_) => "provenance".into(),
            Self::Source(_) => "look into its source".into(),
        }
    }

    /// A fault in words, with what is missing by its name.
    #[must_use]
    pub fn words(&self, fault: &Fault) -> String {
        let Fault::Nothing { from, platform } = fault else { return fault.to_string() };
        let from = from.as_ref().map(|from| match self {
            Self::Scan(_) => format!(" by {from}"),
            _ => format!(" of {from}"),
        });
        let platform = platform.as_ref().map(|platform| format!(" for the platform {platform}"));
        format!("no {}{}{}", self.looks_for(), from.unwrap_or_default(), platform.unwrap_or_default())
    }

    /// Whose signatures it looks for, beside those of the gate.
    fn named_signers(&self) -> impl Iterator<Item = (&SignerName, &Signer)> {
        let signers = match self {
            Self::Scan(scan) => Some(&scan.vex),
            Self::Signature(signature) => Some(&signature.by),
            Self::Provenance(provenance) => Some(&provenance.by),
            Self::Licences(_)
            | Self::Sbom(_)
            | Self::Tests(_)
            | Self::Coverage(_)
            | Self::Number(_)
            | Self::Source(_)
            | Self::Metadata(_) => None,
        };
        signers.into_iter().flatten()
    }

    /// Whether it compares what is to come with what runs there.
    #[must_use]
    pub const fn compares(&self) -> bool {
        matches!(self, Self::Number(NumberRequirement { baseline: Some(_), .. }))
    }

    /// The name by which a number is found in a document that is no report: a JSON pointer (RFC 6901).
    #[must_use]
    pub fn pointer(&self) -> Option<&str> {
        match self {
            Self::Number(number) if number.name.starts_with('/') => Some(&number.name),
            _ => None,
        }
    }
}

/// An exception, and of which artifacts it is; of all when there are none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Excepted {
    /// What is excepted.
    pub exception: Exception,
    /// In which artifacts.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub artifacts: BTreeSet<ArtifactName>,
}

/// A gate as a pipeline or a policy states it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceGate {
    /// Of which artifacts it is; when it names none, of every image and of all that is declared as one, or where there is neither of
    /// everything.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub artifacts: BTreeSet<ArtifactName>,
    /// Of everything of which kinds it is instead, whatever it is called: of nothing where a release has none of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub kinds: BTreeSet<Nature>,
    /// What it requires.
    pub requirement: Requirement,
    /// By one of whom documents must be signed to count for it; all count when there is nobody.
    #[serde(default, skip_serializing_if = "Signers::is_empty")]
    pub by: Signers,
    /// What it lets pass for a time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<Excepted>,
}

/// A gate that holds for an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedGate {
    /// Its name where it is stated.
    pub name: GateName,
    /// Whether policy states it; else the pipeline does. The two may use the same name.
    pub policy: bool,
    /// The gate.
    pub gate: EvidenceGate,
}

/// What is known of a release beside what the ledger's fold has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReleaseEvidence {
    /// What its build said of each artifact; nothing behind a key whose text was erased.
    pub metadata: BTreeMap<ArtifactName, BTreeMap<String, Option<String>>>,
    /// Where each artifact says that, in words, by key; nothing behind a key whose text was erased.
    pub said_where: BTreeMap<ArtifactName, BTreeMap<String, Option<String>>>,
    /// What each artifact says in two places, and not the same: in words, by key; nothing behind a key whose text was erased.
    pub contradicted: BTreeMap<ArtifactName, BTreeMap<String, Option<String>>>,
    /// In which repositories each artifact is known to lie: where it came from, and where environments copy it.
    pub places: BTreeMap<ArtifactName, BTreeSet<String>>,
    /// Its artifacts; one is absent where nobody has looked into it.
    pub subjects: BTreeMap<ArtifactName, Subject>,
    /// The evidence, of whichever of them it speaks.
    pub pieces: Vec<Piece>,
    /// What counts no more, with who withdrew it and the position of the record that says so.
    pub withdrawn: Vec<(Piece, String, u64)>,
    /// What a record withdraws, by its position, that no signature bears out: anybody can write one, and whoever signed it may have left since.
    /// Anybody may stop and nobody so lifts (S10.4): it bars as before, and lets nothing in.
    pub contested: Vec<(Piece, u64)>,
}

/// What an artifact is compared with.
#[derive(Debug, Clone, Copy)]
pub enum Before<'a> {
    /// Nothing of it ever ran there.
    First,
    /// What is known of the release that runs there.
    Known(&'a ReleaseEvidence),
    /// Something ran there, and nobody has looked into it.
    Unknown,
}

/// What a gate came to for an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assessment {
    /// Whether it is met, and if not why.
    pub verdict: Verdict,
    /// What there is, in a few words: `0 critical, 2 high`.
    pub summary: String,
    /// Documents on the matter that say nothing to the gate.
    pub not_counted: Vec<NotCounted>,
}

impl EvidenceGate {
    /// Whose signatures it looks for.
    pub fn named_signers(&self) -> impl Iterator<Item = (&SignerName, &Signer)> {
        self.requirement.named_signers().chain(&self.by)
    }

    /// The commits of an artifact for which the repository of a gate over the source is to be asked; none where it asks none, or what is
    /// said is no commit.
    #[must_use]
    pub fn commits(&self, artifact: &ArtifactName, evidence: &ReleaseEvidence) -> BTreeSet<String> {
        let (Requirement::Source(_), Some(subject)) = (&self.requirement, evidence.subjects.get(artifact)) else {
            return BTreeSet::new();
        };
        if !self.artifacts.is_empty() && !self.artifacts.contains(artifact) {
            return BTreeSet::new();
        }
        let (pieces, _) = self.counted(subject, evidence.of(artifact, self, None));
        let named = SourceRequirement::commits(subject, &pieces, evidence.said(artifact));
        named.into_iter().filter(|text| need::is_commit(text)).collect()
    }

    /// Judges a release's artifact at an instant, beside what was there before. None where nobody has looked into the artifact.
    #[must_use]
    pub fn judge(
        &self,
        artifact: &ArtifactName,
        evidence: &ReleaseEvidence,
        before: Before<'_>,
        now: Timestamp,
    ) -> Option<Assessment> {
        let judged = self.judge_in_force(artifact, evidence, before, now)?;
        let compared = match before {
            Before::Known(known) if self.requirement.compares() => Some(known),
            _ => None,
        };
        if evidence.contested.is_empty() && compared.is_none_or(|known| known.contested.is_empty()) {
            return Some(judged);
        }
        // With and without what is contested: the worse of it holds.
        let (whole, compared) = (evidence.with_contested(), compared.map(ReleaseEvidence::with_contested));
        let compared = compared.as_ref().map_or(before, Before::Known);
        let others = [(&whole, before), (evidence, compared), (&whole, compared)];
        let others = others.into_iter().filter_map(|(here, before)| self.judge_in_force(artifact, here, before, now));
        let mut worst = others.fold(judged, |worst, other| {
            let until = super::lesser(worst.verdict.until, other.verdict.until);
            let mut worst = if other.standing() > worst.standing() { other } else { worst };
            worst.verdict.until = until;
            worst
        });
        let mut told = self.contested(artifact, evidence, before);
        told.append(&mut worst.not_counted);
        worst.not_counted = told;
        Some(worst)
    }

    /// Judges what a build said at an instant, also where nobody has looked into what it made: then by that alone. None where the gate
    /// asks for something else.
    #[must_use]
    pub fn judge_said(
        &self,
        artifact: &ArtifactName,
        evidence: &ReleaseEvidence,
        now: Timestamp,
    ) -> Option<Assessment> {
        let Requirement::Metadata(metadata) = &self.requirement else { return None };
        let judged = self.judge(artifact, evidence, Before::First, now);
        Some(judged.unwrap_or_else(|| metadata.judge(self.built(artifact, evidence, None, &[]), now)))
    }

    fn built<'a>(
        &'a self,
        artifact: &ArtifactName,
        evidence: &'a ReleaseEvidence,
        subject: Option<&'a Subject>,
        pieces: &'a [Piece],
    ) -> Built<'a> {
        let (said, contradicted) = (evidence.said(artifact), evidence.contradicted(artifact));
        let from = evidence.said_where.get(artifact).unwrap_or(&NOTHING);
        Built { said, from, contradicted, subject, pieces, by: &self.by }
    }

    /// The same of what counts alone. What was signed with a key that counts no more, or not yet, lets nothing in, and bars as before: else
    /// the end of a key would take back what it found.
    fn judge_in_force(
        &self,
        artifact: &ArtifactName,
        evidence: &ReleaseEvidence,
        before: Before<'_>,
        now: Timestamp,
    ) -> Option<Assessment> {
        let judged = self.judge_as(artifact, evidence, before, (now, true))?;
        if self.named_signers().all(|(_, signer)| signer.term().is_always()) {
            return Some(judged);
        }
        let other = self.judge_as(artifact, evidence, before, (now, false))?;
        // Until when it holds, and what does not count, is told of what counts.
        let (until, not_counted) = (judged.verdict.until, judged.not_counted.clone());
        let mut worst = if other.standing() > judged.standing() { other } else { judged };
        (worst.verdict.until, worst.not_counted) = (until, not_counted);
        Some(worst)
    }

    /// The same with keys that count in their windows alone, or where `in_force` is not so always.
    fn judge_as(
        &self,
        artifact: &ArtifactName,
        evidence: &ReleaseEvidence,
        before: Before<'_>,
        (now, in_force): (Timestamp, bool),
    ) -> Option<Assessment> {
        let subject = evidence.subjects.get(artifact)?;
        let at = in_force.then_some(now);
        let (pieces, not_counted) = self.counted(subject, evidence.of(artifact, self, at));
        let pieces = pieces.as_slice();
        let mut assessed = match &self.requirement {
            Requirement::Scan(scan) => {
                let mine = |one: &&Excepted| one.artifacts.is_empty() || one.artifacts.contains(artifact);
                let exceptions: Vec<Exception> =
                    self.exceptions.iter().filter(mine).map(|one| one.exception.clone()).collect();
                let judged = scan.judge(subject, pieces, &exceptions, now);
                // Of nothing there is nothing to count.
                let looked = !judged.verdict.used.is_empty();
                let mut summary = if looked { counts(&judged.counted, scan.deny) } else { String::new() };
                for (count, what) in [
                    (judged.unknown, "of unknown severity".to_string()),
                    (judged.excepted, format!("excepted ({})", words::excepted(&judged.exceptions))),
                    (judged.not_affected, "not affected".to_string()),
                ] {
                    if count > 0 {
                        summary.push_str(&format!(", {count} {what}"));
                    }
                }
                Assessment { summary, ..judged.verdict.into() }
            }
            Requirement::Licences(licences) => licences.judge(subject, pieces).into(),
            Requirement::Sbom(bill) => bill.judge(subject, pieces).into(),
            Requirement::Tests(tests) => tests.judge(subject, pieces, now).into(),
            Requirement::Coverage(coverage) => coverage.judge(subject, pieces, now).into(),
            Requirement::Number(number) => {
                let known = match before {
                    Before::Known(known) => {
                        let counted = |subject| (subject, self.counted(subject, known.of(artifact, self, at)).0);
                        known.subjects.get(artifact).map(counted)
                    }
                    Before::First | Before::Unknown => None,
                };
                let compared = match (&known, before) {
                    (Some((subject, pieces)), _) => Compared::With(subject, pieces),
                    (None, Before::First) => Compared::First,
                    (None, _) => Compared::Unknown,
                };
                let verdict = number.judge(subject, pieces, compared, now);
                let mut summary = String::new();
                if matches!(compared, Compared::First) && number.baseline.is_some() {
                    let says = pieces.iter().filter_map(Piece::report).map(|report| told(&self.requirement, report));
                    let says: BTreeSet<String> = says.filter(|says| !says.is_empty()).collect();
                    let says = Vec::from_iter(says).join(", ");
                    summary = format!("{says}, and nothing of it ran there before to compare it with");
                }
                Assessment { summary, ..verdict.into() }
            }
            Requirement::Metadata(metadata) => {
                metadata.judge(self.built(artifact, evidence, Some(subject), pieces), now)
            }
            Requirement::Signature(signature) => {
                let nowhere = BTreeSet::new();
                let (of_place, elsewhere) =
                    signature.of_place(pieces, evidence.places.get(artifact).unwrap_or(&nowhere));
                let pieces = of_place.as_slice();
                let mut verdict = signature.judge(subject, pieces);
                if verdict.standing() != Standing::Met {
                    elsewhere.into_iter().for_each(|fault| verdict.fault(fault));
                }
                Assessment { summary: signature.signed_by(subject, pieces).join(", "), ..verdict.into() }
            }
            Requirement::Provenance(provenance) => {
                let commit = evidence.said(artifact).get(need::REVISION).and_then(Option::as_deref);
                let mut verdict = provenance.judge(subject, pieces, commit);
                evidence.contradicts_its_commit(artifact, &mut verdict);
                verdict.into()
            }
            Requirement::Source(source) => {
                let mut assessed = source.judge(subject, pieces, evidence.said(artifact));
                evidence.contradicts_its_commit(artifact, &mut assessed.verdict);
                assessed
            }
        };
        self.told_of_others(&not_counted, &mut assessed.verdict);
        if in_force {
            self.lapsing(pieces, &mut assessed.verdict);
        }
        // What a person took away is named first: whoever may push cannot crowd it out.
        assessed.not_counted = self.withdrawn(subject, evidence);
        assessed.not_counted.extend(self.withdrawn_before(artifact, before));
        assessed.not_counted.extend(not_counted);
        assessed.not_counted.extend(self.statements_outside(subject, pieces));
        Some(assessed)
    }
}

impl From<Verdict> for Assessment {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, ..Self::default() }
    }
}

static NOTHING: BTreeMap<String, Option<String>> = BTreeMap::new();

impl ReleaseEvidence {
    /// What the build said of an artifact.
    #[must_use]
    pub fn said(&self, artifact: &ArtifactName) -> &BTreeMap<String, Option<String>> {
        self.metadata.get(artifact).unwrap_or(&NOTHING)
    }

    /// In what an artifact contradicts itself.
    #[must_use]
    pub fn contradicted(&self, artifact: &ArtifactName) -> &BTreeMap<String, Option<String>> {
        self.contradicted.get(artifact).unwrap_or(&NOTHING)
    }

    /// Faults an artifact that says in two places of which commit it is, and not the same: neither is its commit, whatever somebody
    /// else says of it.
    fn contradicts_its_commit(&self, artifact: &ArtifactName, verdict: &mut Verdict) {
        if let Some(said) = self.contradicted(artifact).get(need::REVISION) {
            verdict.fault(Fault::Contradicted { key: need::REVISION.into(), said: said.clone() });
        }
    }

    /// The same where what is contested counts.
    fn with_contested(&self) -> Self {
        let mut out = self.clone();
        out.pieces.extend(out.contested.drain(..).map(|(piece, _)| piece));
        out
    }

    /// The evidence that may speak of an artifact, as a gate takes it: all but what speaks of another one of the release.
    fn of(&self, artifact: &ArtifactName, gate: &EvidenceGate, at: Option<Timestamp>) -> Vec<Piece> {
        let speaks =
            |subject: &Subject, piece: &Piece| matches!(subject.reach(piece), Reach::Somewhere | Reach::Platforms(_));
        let of_another = |piece: &&Piece| {
            let mine = self.subjects.get(artifact).is_some_and(|subject| speaks(subject, piece));
            !mine && self.subjects.iter().any(|(name, subject)| name != artifact && speaks(subject, piece))
        };
        let mut taken = gate.taken(&self.pieces, at);
        taken.retain(|piece| !of_another(&piece));
        taken
    }
}

/// Levels with their numbers, the worst first; the one that is denied also where there is none of it.
fn counts(counted: &BTreeMap<Level, u64>, deny: Option<Level>) -> String {
    let shown = |level: &&Level| counted.contains_key(*level) || deny.unwrap_or(Level::Critical) == **level;
    let words: Vec<String> = Level::ALL
        .iter()
        .rev()
        .filter(shown)
        .map(|level| format!("{} {level}", counted.get(level).copied().unwrap_or_default()))
        .collect();
    words.join(", ")
}

/// What one document says on a matter, in a few words, for people who look at a gate.
#[must_use]
pub fn told(requirement: &Requirement, report: &Report) -> String {
    match requirement {
        Requirement::Scan(_) => {
            let Some(findings) = &report.findings else { return String::new() };
            let mut counted = BTreeMap::new();
            let mut other = 0_u64;
            for finding in &findings.list {
                match &finding.severity {
                    Severity::Level(level) => *counted.entry(*level).or_insert(0_u64) += 1,
                    Severity::NotSaid | Severity::Word(_) => other += 1,
                }
            }
            let mut out =
                if counted.is_empty() && other == 0 { "no findings".to_string() } else { counts(&counted, None) };
            if other > 0 {
                out.push_str(&format!(", {other} of no known severity"));
            }
            out
        }
        Requirement::Licences(_) => {
            let Some(bill) = &report.bill else { return String::new() };
            let count = bill.count;
            match bill.without_licence() {
                Some(unknown @ 1..) => format!("{count} components, {unknown} of {count} without a known licence"),
                Some(0) | None => format!("{count} components"),
            }
        }
        Requirement::Sbom(_) => {
            report.bill.as_ref().map(|bill| format!("{} components", bill.count)).unwrap_or_default()
        }
        Requirement::Tests(_) => {
            let Some(tests) = &report.tests else { return String::new() };
            format!("{} of {} passed", tests.counted.passed(), tests.counted.tests)
        }
        Requirement::Coverage(_) => {
            let Some(coverage) = &report.coverage else { return String::new() };
            let measured = [coverage.counted, coverage.stated];
            let lines = measured.iter().filter_map(|measured| measured.lines?.percent()).min();
            lines.map(|percent| format!("{:.1} % of lines", percent.get())).unwrap_or_default()
        }
        Requirement::Number(number) => {
            let found = report.numbers.as_ref().and_then(|numbers| numbers.get(&number.name));
            let Some(found) = found else { return String::new() };
            let unit = found.unit.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
            format!("{} is {}{unit}", number.name, found.value)
        }
        Requirement::Provenance(_) => report.provenance.as_ref().map(ToString::to_string).unwrap_or_default(),
        Requirement::Source(_) => match &report.seen {
            Some(seen) => seen.to_string(),
            None => report.provenance.as_ref().map(ToString::to_string).unwrap_or_default(),
        },
        Requirement::Metadata(_) => report.provenance.as_ref().map(ToString::to_string).unwrap_or_default(),
        Requirement::Signature(_) => String::new(),
    }
}

/// Who made a document, as people name it: its tool and the version of that, else its format.
#[must_use]
pub fn source(piece: &Piece) -> String {
    match &piece.content {
        super::Content::Read(report) => match report.about.tools.first() {
            Some(tool) => match &tool.version {
                Some(version) => format!("{} {version}", tool.name),
                None => tool.name.clone(),
            },
            None => report.about.source().name().to_string(),
        },
        super::Content::Unreadable { kind, .. } => kind.name().to_string(),
    }
}

/// The format of a document.
pub(crate) fn format(piece: &Piece) -> &'static str {
    match &piece.content {
        super::Content::Read(report) => report.about.source().name(),
        super::Content::Unreadable { kind, .. } => kind.name(),
    }
}

/// Whether a document was found beside the artifact in the repository that its release names. What promo itself has told of it may lie
/// where it was promoted to.
pub(crate) fn lies_beside(piece: &Piece) -> bool {
    let told = piece
        .report()
        .is_some_and(|report| matches!(report.about.source(), Kind::Promotion | Kind::Verification | Kind::TestResult));
    matches!(piece.origin, Origin::Registry { .. }) && !told
}

/// Who brought a document, where the ledger says so.
#[must_use]
pub fn brought_by(piece: &Piece) -> Option<&str> {
    match &piece.origin {
        Origin::Ledger { by, .. } => Some(by),
        Origin::Registry { .. } | Origin::Signed => None,
    }
}

impl Assessment {
    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.verdict.standing()
    }
}
