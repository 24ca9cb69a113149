//! Vulnerabilities: which scanners must have looked, how lately, and what they may have found.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::exception::plain;
use super::piece::{Bound, bound, current, missed, untold};
use super::{Content, Exception, Fault, Piece, Scope, Signers, Subject, Verdict, vex};
use crate::evidence::{Finding, FixState, Kind, Level, Report, Severity, Statement};

/// Which findings count by whether they are mended somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fixes {
    /// All.
    #[default]
    Any,
    /// Not those of which it is said that there is no mended version yet: nobody could do anything about them. One of which nothing is
    /// said counts, and so does one in what nobody keeps any more.
    Available,
}

/// What is made of findings that the author of a report has suppressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suppressions {
    /// They count like any other. What a report leaves out nobody can see: one of Trivy without `--show-suppressed` does not say that it does.
    #[default]
    Count,
    /// They count like any other, and a report has to show that it has them: the only proof that formats have is one that is there.
    Shown,
    /// They do not count.
    Accept,
}

/// What has to be true of the vulnerabilities of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanRequirement {
    /// From which level on there may be no finding.
    pub deny: Option<Level>,
    /// How many findings of a level or a worse one there may be.
    pub at_most: BTreeMap<Level, u64>,
    /// What a finding counts as of which nobody says how bad it is; as no finding of any level that can be denied with [`Level::None`]. A
    /// word that nobody knows counts as critical.
    pub unknown_as: Level,
    /// Whether the highest score by CVSS, and the worst that any database says, count where they are worse than the scanner's own severity.
    /// The score does where that is negligible.
    pub highest: bool,
    /// Which findings count by whether they are mended.
    pub fixes: Fixes,
    /// What is made of suppressed ones.
    pub suppressions: Suppressions,
    /// Scanners that must each have looked, by the names of tools or of formats. Any one when there are none, but for SARIF, which any tool
    /// writes that looks for anything. CycloneDX shows of nobody that they looked: what stands in it counts, and no more.
    pub scanners: BTreeSet<String>,
    /// How old a scan may be, in seconds.
    pub max_age: Option<u64>,
    /// How old the database of a scanner may be, in seconds.
    pub database_max_age: Option<u64>,
    /// Of what in the artifact they must speak.
    pub scope: Scope,
    /// By whom a statement on exploitability must be signed to count; none counts when there is nobody.
    pub vex: Signers,
}

impl Default for ScanRequirement {
    fn default() -> Self {
        Self {
            deny: Some(Level::Critical),
            at_most: BTreeMap::new(),
            unknown_as: Level::High,
            highest: false,
            fixes: Fixes::default(),
            suppressions: Suppressions::default(),
            scanners: BTreeSet::new(),
            max_age: None,
            database_max_age: None,
            scope: Scope::default(),
            vex: Signers::new(),
        }
    }
}

/// What a scan requirement came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Judged {
    /// Whether it is met.
    pub verdict: Verdict,
    /// How many findings count, by level: each id of a package once, however many reports have it, at its worst.
    pub counted: BTreeMap<Level, u64>,
    /// How many of those nobody says how bad they are.
    pub unknown: u64,
    /// How many an exception covers.
    pub excepted: u64,
    /// By which exceptions: of what, by whom, until when; of several the one that holds longest.
    pub exceptions: BTreeSet<(String, String, Timestamp)>,
    /// How many do not matter here, as a believed statement says.
    pub not_affected: u64,
}

/// What a finding is, whoever reports it: its id, its package, and the version of that. Other ids of the same vulnerability count by
/// themselves: that two are the same would take one away.
type Key = (String, Option<String>, Option<String>);

fn key(finding: &Finding) -> Key {
    let package = finding.purl.as_deref().map(|purl| plain(purl).into()).or(finding.package.clone());
    (finding.id.to_ascii_lowercase(), package, finding.installed.clone())
}

impl ScanRequirement {
    /// Judges the evidence for an artifact at an instant. `exceptions` are those that hold for the artifact.
    #[must_use]
    pub fn judge(&self, subject: &Subject, pieces: &[Piece], exceptions: &[Exception], now: Timestamp) -> Judged {
        let mut judged = Judged::default();
        let matters = |report: &Report| report.findings.is_some();
        let scans = bound(subject, pieces, matters, could_be_scan, &mut judged.verdict);
        let used = current(subject, &scans, now, &mut judged.verdict);
        self.looked(subject, pieces, &used, &mut judged.verdict);
        for scan in used.iter().filter(|scan| looked(scan.report)) {
            self.trusted(scan, now, &mut judged.verdict);
        }
        let believed = |piece: &&Piece| piece.signed.of(&self.vex).next().is_some();
        for piece in pieces.iter().filter(believed) {
            // It could take back what another one has cleared.
            if let Content::Unreadable { kind: Kind::OpenVex | Kind::InToto, why } = &piece.content {
                judged.verdict.uses(piece);
                judged.verdict.fault(Fault::Unreadable { document: piece.document, why: why.clone() });
            }
        }
        let statements = pieces.iter().filter(believed).flat_map(|piece| {
            let said = piece.report().and_then(|report| report.statements.as_ref());
            said.into_iter().flatten().map(move |statement| (piece, statement))
        });
        // One of the future would be the latest for as long as it takes to come.
        let (ahead, statements): (Vec<_>, Vec<_>) =
            statements.partition(|(_, statement)| vex::is_ahead(statement, now));
        let statements: Vec<&Statement> = statements.into_iter().map(|(_, statement)| statement).collect();
        let mut counted: BTreeMap<Key, Level> = BTreeMap::new();
        let mut expired: BTreeMap<Key, (String, Timestamp)> = BTreeMap::new();
        let (mut unknown, mut excepted, mut cleared): (BTreeSet<Key>, BTreeSet<Key>, BTreeSet<Key>) =
            Default::default();
        for scan in &used {
            for finding in scan.report.findings.iter().flat_map(|findings| &findings.list) {
                if !self.counts(finding) {
                    continue;
                }
                let key = key(finding);
                for (piece, statement) in &ahead {
                    if let (Some(made), true) =
                        (statement.at, vex::clears([*statement], subject, &scan.platforms, finding))
                    {
                        judged.verdict.uses(piece);
                        judged.verdict.fault(Fault::FromTheFuture { document: piece.document, made });
                    }
                }
                if vex::clears(statements.iter().copied(), subject, &scan.platforms, finding) {
                    cleared.insert(key);
                    continue;
                }
                let (covered, ended) = covered(exceptions, finding, now);
                if let Some(exception) = covered {
                    excepted.insert(key);
                    judged.verdict.good_until(Some(exception.expires));
                    judged.exceptions.insert((finding.id.clone(), exception.owner.clone(), exception.expires));
                    continue;
                }
                let (level, said) = self.level(finding);
                if !said {
                    unknown.insert(key.clone());
                }
                if let Some(ended) = ended {
                    expired.insert(key.clone(), (finding.id.clone(), ended));
                }
                let known = counted.entry(key).or_insert(level);
                *known = level.max(*known);
                if self.deny.is_some_and(|deny| level >= deny) {
                    judged.verdict.fault(Fault::Vulnerable {
                        document: scan.piece.document,
                        id: finding.id.clone(),
                        package: finding.purl.clone().or(finding.package.clone()),
                        severity: finding.severity.clone(),
                        level,
                        expired: ended,
                    });
                }
            }
        }
        for level in counted.values() {
            *judged.counted.entry(*level).or_default() += 1;
        }
        (judged.unknown, judged.excepted, judged.not_affected) =
            (unknown.len() as u64, excepted.len() as u64, cleared.len() as u64);
        for (level, at_most) in &self.at_most {
            let found = judged.counted.range(level..).map(|(_, number)| number).sum();
            if found > *at_most {
                // Once for an id, however many packages have it.
                let of_level = |key: &Key| counted.get(key).is_some_and(|found| found >= level);
                let expired: BTreeSet<(String, Timestamp)> =
                    expired.iter().filter(|(key, _)| of_level(key)).map(|(_, ended)| ended.clone()).collect();
                let expired = expired.into_iter().collect();
                judged.verdict.fault(Fault::TooMany { level: *level, found, at_most: *at_most, expired });
            }
        }
        judged
    }

    /// Says which scanners have not looked that must, and where.
    fn looked(&self, subject: &Subject, pieces: &[Piece], used: &[&Bound<'_>], verdict: &mut Verdict) {
        for wanted in &self.scanners {
            let its = |scan: &&Bound<'_>| scan.piece.is_from(wanted) && looked(scan.report);
            for platform in untold(subject, self.scope, used.iter().copied().filter(its)) {
                let could = |piece: &Piece| piece.is_from(wanted) && has_looked(piece);
                missed(subject, pieces, could, Fault::Nothing { from: Some(wanted.clone()), platform }, verdict);
            }
        }
        if self.scanners.is_empty() {
            let says_so = |scan: &&Bound<'_>| scan.report.about.source() != Kind::Sarif && looked(scan.report);
            for platform in untold(subject, self.scope, used.iter().copied().filter(says_so)) {
                missed(subject, pieces, has_looked, Fault::Nothing { from: None, platform }, verdict);
            }
        }
    }

    /// Whether a scan can be believed: that it came to its end, looked at something, and how old it is.
    fn trusted(&self, scan: &Bound<'_>, now: Timestamp, verdict: &mut Verdict) {
        let (document, about) = (scan.piece.document, &scan.report.about);
        let Some(findings) = &scan.report.findings else { return };
        if findings.looked_into == Some(0) {
            verdict.fault(Fault::Empty { document, found: 0, least: 1 });
        }
        if self.suppressions == Suppressions::Shown && findings.shows_suppressed != Some(true) {
            verdict.fault(Fault::MayLeaveOut { document });
        }
        for (at_most, made, database) in
            [(self.max_age, about.made, false), (self.database_max_age, about.database, true)]
        {
            let Some(at_most) = at_most else { continue };
            let Some(made) = made else {
                verdict.fault(Fault::Undated { document, database });
                continue;
            };
            let age = SignedDuration::from_secs(i64::try_from(at_most).unwrap_or(i64::MAX));
            let until = made.checked_add(age).unwrap_or(Timestamp::MAX);
            if until < now {
                verdict.fault(Fault::Old { document, made, at_most, database });
            } else {
                verdict.good_until(Some(until));
            }
        }
    }

    fn counts(&self, finding: &Finding) -> bool {
        if self.suppressions == Suppressions::Accept && finding.suppressed.is_some() {
            return false;
        }
        let without_fix = matches!(
            finding.fix_state,
            FixState::NotFixed | FixState::WontFix | FixState::Deferred | FixState::UnderInvestigation
        );
        !(self.fixes == Fixes::Available && without_fix && finding.fixed.is_empty())
    }

    /// How bad a finding counts, and whether somebody says so.
    fn level(&self, finding: &Finding) -> (Level, bool) {
        let scored = finding.highest_score().map(Level::of_score);
        let worst = finding.worst.filter(|_| self.highest);
        let (level, said) = match (&finding.severity, scored) {
            // That nobody will mend it says of no bad one that it is harmless.
            (Severity::Level(level), Some(scored)) if self.highest || *level == Level::Negligible => {
                ((*level).max(scored), true)
            }
            (Severity::Level(level), _) => (*level, true),
            (Severity::NotSaid, Some(scored)) => (scored, true),
            (Severity::NotSaid, None) => (self.unknown_as, false),
            (Severity::Word(_), _) => (Level::Critical, false),
        };
        (worst.map_or(level, |worst| level.max(worst)), said)
    }
}

/// Whether a document tells that somebody has looked, also where nothing was found. One that lists vulnerabilities only where there are some
/// ([`Kind::lists_what_is_bad`]) never does: a finding more would make a scan of it.
fn looked(report: &Report) -> bool {
    report.findings.is_some() && !report.about.source().lists_what_is_bad()
}

fn has_looked(piece: &Piece) -> bool {
    piece.report().is_some_and(looked)
}

pub(super) fn could_be_scan(kind: Kind) -> bool {
    match kind {
        Kind::Trivy | Kind::Grype | Kind::Sarif | Kind::OsvScanner | Kind::InToto | Kind::CycloneDx => true,
        Kind::Spdx2
        | Kind::Spdx3
        | Kind::Syft
        | Kind::OpenVex
        | Kind::Junit
        | Kind::Cobertura
        | Kind::Lcov
        | Kind::K6
        | Kind::Provenance
        | Kind::Signature
        | Kind::Promotion
        | Kind::Verification
        | Kind::TestResult
        | Kind::Source
        | Kind::Numbers => false,
    }
}

/// The exception for a finding that holds longest, and since when the last one does not any more.
fn covered<'e>(
    exceptions: &'e [Exception],
    finding: &Finding,
    now: Timestamp,
) -> (Option<&'e Exception>, Option<Timestamp>) {
    let mine = || exceptions.iter().filter(|exception| exception.is_about(finding));
    let ended = mine().map(|exception| exception.expires).filter(|expires| *expires <= now).max();
    (mine().filter(|exception| exception.expires > now).max_by_key(|exception| exception.expires), ended)
}
