//! What a build has to say of a release: which keys, in their forms, and that all places in which it says them agree. What must not live
//! here: where that is read, and which form a value has ([`super::need`]).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::need::{self, BASE, CREATED, LICENCES, REVISION, RUN, RUN_IDS, SOURCE, VERSION, Wrong};
use super::piece::latest;
use super::provenance::{parts, whole};
use super::signature::unread;
use super::signer::{Signers, names};
use super::{Assessment, Fault, Piece, Reach, Subject, Verdict};
use crate::Digest;
use crate::evidence::Kind;

/// Keys on which all that is known of an artifact has to agree, also where nobody asks for them: what says two things of one of these was
/// not made by one build. Not of the time: an annotation has that of the commit or of the start, provenance that of the end.
const AGREED: [&str; 6] = [SOURCE, REVISION, VERSION, LICENCES, BASE, RUN];

/// How much of the digest of a document is told: the algorithm and twelve digits.
const SHORT: usize = 19;

/// How many pairs of places are told that do not agree on a key.
const CONFLICTS_TOLD: usize = 10;

/// Keys that a release's metadata must have.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataRequirement {
    /// The keys; never empty. What is known of the form of one is asked of it too. [`RUN`] is any of those that name a run.
    pub keys: BTreeSet<String>,
    /// Whether provenance has to say it that somebody has signed of those whose word counts for the gate.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub signed: bool,
    /// Under which keys a build says of which run it is; [`RUN_IDS`] when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run_ids: Vec<String>,
}

/// What is known of the build of an artifact.
#[derive(Debug, Clone, Copy)]
pub struct Built<'a> {
    /// What the artifact says of itself, and what was given with its release.
    pub said: &'a BTreeMap<String, Option<String>>,
    /// Where each of that stands, in words, where that is known.
    pub from: &'a BTreeMap<String, Option<String>>,
    /// What it says in two places, and not the same.
    pub contradicted: &'a BTreeMap<String, Option<String>>,
    /// The artifact, where somebody has looked into it.
    pub subject: Option<&'a Subject>,
    /// The documents that count.
    pub pieces: &'a [Piece],
    /// Whose signed provenance is believed; nobody's when empty, and then all provenance is as good as a label.
    pub by: &'a Signers,
}

/// One place in which something is said of a key.
struct Hit<'a> {
    /// Which place, in words.
    from: String,
    /// What it says: of several things the artifact may be of any.
    values: Vec<String>,
    /// The document, where it is one.
    piece: Option<&'a Piece>,
    /// Of which parts of the artifact one of those whose word counts has signed it; of none where nobody has.
    signed: BTreeSet<Digest>,
}

impl Hit<'_> {
    /// The first of what it says.
    fn value(&self) -> &str {
        self.values.first().map(String::as_str).unwrap_or_default()
    }

    /// Whether the artifact could be of both at once.
    fn agrees(&self, other: &Self, key: &str) -> bool {
        self.values.iter().any(|one| other.values.iter().any(|two| need::same(key, one, two)))
    }
}

impl MetadataRequirement {
    /// Judges what is known of a build at an instant. Provenance that somebody signed comes first, then what the artifact says of itself,
    /// then provenance that nobody signed: the first that says something is taken, and all have to agree. What an artifact contradicts
    /// itself in is not mended by what was given beside it, and what was erased is as good as not said.
    #[must_use]
    pub fn judge(&self, built: Built<'_>, now: Timestamp) -> Assessment {
        let mut verdict = Verdict::default();
        let asked: BTreeSet<&str> = self.keys.iter().map(String::as_str).collect();
        let (mut by_build, mut by_provenance) = (Vec::new(), Vec::new());
        for key in asked.iter().copied().chain(AGREED.into_iter().filter(|key| !asked.contains(key))) {
            let hits = self.hits(key, built);
            if self.conflict(key, &hits, built, &mut verdict) || !asked.contains(key) {
                continue;
            }
            let found = self.found(key, hits, built, now, &mut verdict);
            let Some(hit) = found else { continue };
            match hit.piece {
                None => by_build.push(key),
                Some(piece) => {
                    verdict.uses(piece);
                    by_provenance.push((hit.from, key));
                }
            }
        }
        if verdict.faults.iter().any(|fault| matches!(fault, Fault::NotSaid { .. }))
            && let Some(subject) = built.subject
        {
            unread(subject, built.pieces, Kind::Provenance, &mut verdict);
        }
        let mut summary = Vec::new();
        if !by_build.is_empty() {
            summary.push(format!("the build said {}", by_build.join(", ")));
        }
        let mut told: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        by_provenance.iter().for_each(|(from, key)| told.entry(from).or_default().push(key));
        summary.extend(told.iter().map(|(from, keys)| format!("{from} says {}", keys.join(", "))));
        Assessment { summary: summary.join("; "), ..verdict.into() }
    }

    /// The keys under which a build says what one of them means.
    fn spelt<'a>(&'a self, key: &'a str) -> Vec<&'a str> {
        match key {
            RUN if self.run_ids.is_empty() => RUN_IDS.into_iter().chain([RUN]).collect(),
            RUN => self.run_ids.iter().map(String::as_str).collect(),
            _ => alloc::vec![key],
        }
    }

    /// All places in which something is said of a key, in the order in which they count.
    fn hits<'a>(&self, key: &str, built: Built<'a>) -> Vec<Hit<'a>> {
        let mut out: Vec<Hit<'a>> = provenance(key, built);
        out.sort_by_key(|hit| hit.signed.is_empty());
        let unsigned = out.iter().position(|hit| hit.signed.is_empty()).unwrap_or(out.len());
        let said = self.spelt(key).into_iter().filter_map(|spelt| {
            let value = built.said.get(spelt)?.clone().filter(|value| !value.is_empty())?;
            let from = match built.from.get(spelt).cloned().flatten() {
                Some(from) if spelt == key => from,
                Some(from) => format!("`{spelt}` ({from})"),
                None if spelt == key => "the build".to_string(),
                None => format!("`{spelt}`"),
            };
            Some(Hit { from, values: alloc::vec![value], piece: None, signed: BTreeSet::new() })
        });
        let said: Vec<Hit<'a>> = said.collect();
        out.splice(unsigned..unsigned, said);
        out
    }

    /// Says where two places do not agree on a key.
    fn conflict(&self, key: &str, hits: &[Hit<'_>], built: Built<'_>, verdict: &mut Verdict) -> bool {
        let mut found = false;
        for spelt in self.spelt(key) {
            if let Some(said) = built.contradicted.get(spelt) {
                verdict.fault(Fault::Contradicted { key: spelt.into(), said: said.clone() });
                found = true;
            }
        }
        if key == CREATED {
            return found;
        }
        // What says the same in the same letters is compared once.
        let mut known = BTreeSet::new();
        let hits: Vec<&Hit<'_>> = hits.iter().filter(|hit| known.insert((hit.piece.is_some(), &hit.values))).collect();
        let (documents, said): (Vec<&Hit<'_>>, Vec<&Hit<'_>>) = hits.iter().partition(|hit| hit.piece.is_some());
        let mut pairs: Vec<(&Hit<'_>, &Hit<'_>)> = Vec::new();
        let of_several = matches!(key, RUN | BASE);
        let compared = if of_several { &said } else { &hits };
        for (at, one) in compared.iter().enumerate() {
            let others = compared[at + 1..].iter().filter(|other| !one.agrees(other, key));
            pairs.extend(others.take(CONFLICTS_TOLD).map(|other| (*one, *other)));
            if pairs.len() >= CONFLICTS_TOLD {
                break;
            }
        }
        // The same bytes may be built by two runs, and one of several images is what it is built upon.
        let strays =
            said.iter().filter(|one| of_several && !documents.iter().any(|document| document.agrees(one, key)));
        pairs.extend(strays.filter_map(|one| Some((*documents.first()?, *one))));
        for (one, other) in pairs {
            [one, other].iter().filter_map(|hit| hit.piece).for_each(|piece| verdict.uses(piece));
            let told = |hit: &Hit<'_>| (hit.from.clone(), hit.value().to_string());
            verdict.fault(Fault::Disagree { key: key.into(), one: told(one), other: told(other) });
            found = true;
        }
        found
    }

    /// What is taken of what is said of a key that is asked for; nothing where that is not good, and why not.
    fn found<'a>(
        &self,
        key: &str,
        mut hits: Vec<Hit<'a>>,
        built: Built<'a>,
        now: Timestamp,
        verdict: &mut Verdict,
    ) -> Option<Hit<'a>> {
        // A reproducible build says the beginning of time, which tells nobody when it was: provenance says that.
        let reproducible = |hit: &Hit<'_>| {
            key == CREATED && hit.piece.is_none() && need::instant(hit.value()) == Some(Timestamp::UNIX_EPOCH)
        };
        let epoch = hits.iter().any(reproducible);
        hits.retain(|hit| !reproducible(hit));
        // Of several images that went in, nobody knows upon which one it is built.
        if key == BASE && hits.iter().all(|hit| hit.piece.is_some()) {
            hits.retain(|hit| hit.values.len() == 1);
        }
        if hits.is_empty() {
            let erased = self.spelt(key).iter().any(|spelt| built.said.get(*spelt).is_some_and(Option::is_none));
            let spelt = match key {
                RUN => format!("{key} (any of {})", self.spelt(key).join(", ")),
                _ => key.to_string(),
            };
            verdict.fault(match (epoch, erased) {
                (true, _) => Fault::Malformed {
                    key: key.into(),
                    expected: "when it was built, as RFC 3339 writes it: of a reproducible build provenance says that"
                        .into(),
                },
                (false, true) => Fault::Erased { key: key.into() },
                (false, false) => Fault::NotSaid { key: spelt },
            });
            return None;
        }
        if key == CREATED {
            for hit in &hits {
                if let Some(made) = need::instant(hit.value()).filter(|made| *made > latest(now)) {
                    hit.piece.iter().for_each(|piece| verdict.uses(piece));
                    verdict.fault(Fault::NotYet { key: key.into(), from: hit.from.clone(), made });
                    return None;
                }
            }
        }
        let wrongs: Vec<Option<Wrong>> = hits.iter().map(|hit| need::wrong(key, hit.value())).collect();
        for wrong in wrongs.iter().flatten() {
            if let Wrong::Malformed(expected) = wrong {
                verdict.fault(Fault::Malformed { key: key.into(), expected: (*expected).into() });
                return None;
            }
        }
        // What is short in one place may be whole in another, and is the same.
        let complete = wrongs.iter().position(Option::is_none);
        if let (None, Some(Some(Wrong::Incomplete(expected)))) = (complete, wrongs.first()) {
            let said = hits[0].value().chars().take(100).collect();
            verdict.fault(Fault::Incomplete { key: key.into(), said, expected: (*expected).into() });
            return None;
        }
        if self.signed {
            let signed: BTreeSet<&Digest> = hits.iter().flat_map(|hit| &hit.signed).collect();
            let all = built.subject.map(whole).unwrap_or_default();
            if all.is_empty() || !all.iter().all(|part| signed.contains(part)) {
                let from = hits.iter().find(|hit| hit.signed.is_empty()).unwrap_or(&hits[0]);
                let (from, part) = (from.from.clone(), !signed.is_empty());
                verdict.fault(Fault::Unsigned { key: key.into(), from, part, by: names(built.by) });
                return None;
            }
        }
        Some(hits.swap_remove(complete.unwrap_or_default()))
    }
}

/// What provenance says of a key.
fn provenance<'a>(key: &str, built: Built<'a>) -> Vec<Hit<'a>> {
    let Some(subject) = built.subject else { return Vec::new() };
    let mut out = Vec::new();
    for piece in built.pieces {
        let Some(report) = piece.report() else { continue };
        let Some(provenance) = &report.provenance else { continue };
        if !matches!(subject.reach(piece), Reach::Somewhere | Reach::Platforms(_)) {
            continue;
        }
        let values = need::of_provenance(key, provenance, report.about.made);
        if values.is_empty() {
            continue;
        }
        let by: Vec<String> = piece.signed.of(built.by).map(|(name, _)| name.to_string()).collect();
        // The document is told whole beside this.
        let short = piece.document.to_string();
        let short = &short[..short.len().min(SHORT)];
        let (from, signed) = match by.is_empty() {
            true => (format!("provenance {short} that nobody signed"), BTreeSet::new()),
            false => (format!("provenance {short} signed by {}", by.join(", ")), parts(subject, piece, None)),
        };
        out.push(Hit { from, values, piece: Some(piece), signed });
    }
    out
}
