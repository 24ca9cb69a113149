//! in-toto statements (in-toto attestation framework, Statement v0.1 and v1): on vulnerabilities in the predicates `vulns` v0.1 and
//! v0.2 and cosign's `vuln` v1, provenance, cosign's signatures, and documents of another format. What must not live here: envelopes and their
//! signatures.

use std::collections::BTreeSet;

use promo_core::evidence::{About, Finding, Findings, Finite, Kind, Link, Report, Score, Severity, Tool};

use super::error::{ReportError, word};
use super::json::{self, Fault, Json, Read};
use super::{envelope, format_of, score, slsa, told};

const STATEMENTS: &str = "https://in-toto.io/Statement/";
const VULNS: &str = "https://in-toto.io/attestation/vulns";
const COSIGN: &str = "cosign.sigstore.dev/attestation/vuln/";
/// What cosign says around a document of somebody's own, `cosign attest --type custom`.
const CUSTOM: &str = "cosign.sigstore.dev/attestation/v1";
/// What cosign says in a statement that signs its subject and says nothing else of it.
const SIGNS: &str = "https://sigstore.dev/cosign/sign/";

pub(super) fn is(json: &Json) -> bool {
    json.peek_text("_type").is_some_and(|kind| kind.starts_with(STATEMENTS)) && json.peek("predicateType").is_some()
}

pub(super) fn read(json: &Json) -> Read<'_, Report> {
    let version = json.need_text("_type")?.split_off(STATEMENTS.len());
    if !["v0.1", "v1"].contains(&version.as_str()) {
        return Err(Fault::Version { format: "an in-toto statement", found: version, known: "v0.1 and v1" });
    }
    let bound = bound(json)?;
    let predicate_type = json.need_text("predicateType")?;
    if let Some(version) = predicate_type.strip_prefix(SIGNS) {
        if version != "v1" {
            return Err(Fault::Version { format: "cosign's signature", found: version.to_owned(), known: "v1" });
        }
        let about = About { version: Some(predicate_type), bound: bound.bound, ..About::new(Kind::Signature) };
        return Ok(Report::new(about));
    }
    let predicate = json.need("predicate")?;
    predicate.object()?;
    let mut report = if let Some(version) = predicate_type.strip_prefix(VULNS) {
        if !["/v0.1", "/v0.2"].contains(&version) {
            let found = version.trim_start_matches('/').to_owned();
            return Err(Fault::Version { format: "in-toto's list of vulnerabilities", found, known: "v0.1 and v0.2" });
        }
        vulns(predicate)?
    } else if let Some((_, version)) = predicate_type.split_once(COSIGN) {
        if version != "v1" {
            let found = version.to_owned();
            return Err(Fault::Version { format: "cosign's scan record", found, known: "v1" });
        }
        cosign(predicate)?
    } else if predicate_type.ends_with(CUSTOM) {
        custom(predicate)?
    } else if let Some(version) = predicate_type.strip_prefix(slsa::PREDICATE) {
        slsa::read(version, predicate)?
    } else if let Some((kind, moment, needed)) = told::of(&predicate_type) {
        told::read(kind, moment, needed, predicate)?
    } else {
        let mut report = inner(predicate, &predicate_type)?;
        report.about.suites.extend(own_name(&predicate_type));
        report
    };
    // Of what the statement speaks, its subject says, which a signature covers: not what the document in it says of itself.
    report.about.bound = bound.bound;
    report.about.inside = Some(report.about.kind).filter(|kind| *kind != Kind::InToto);
    report.about.kind = Kind::InToto;
    report.about.version = Some(predicate_type);
    Ok(report)
}

/// Of what a statement speaks.
fn bound(statement: &Json) -> Read<'_, About> {
    let mut subjects = BTreeSet::new();
    for subject in statement.need("subject")?.items()? {
        subjects.extend(subject.need("digest")?.digest_under("sha256")?);
    }
    let mut bound = About::new(Kind::InToto);
    // In their order, so that each goes to the end.
    subjects.into_iter().for_each(|digest| bound.bind(Link::Subject, digest));
    Ok(bound)
}

/// Reads numbers out of what a statement says, whatever its type: the document that cosign put into it, or the predicate itself.
pub(super) fn numbers(statement: &Json, find: impl Fn(&Json) -> Report) -> Read<'_, Report> {
    let (bound, predicate) = (bound(statement)?, statement.need("predicate")?);
    let custom = statement.need_text("predicateType")?.ends_with(CUSTOM);
    let mut report = match predicate.peek_text("Data").filter(|_| custom) {
        Some(text) => {
            let mut report = find(&json::parse(text).map_err(Fault::Inner)?);
            attested(&mut report, predicate)?;
            report
        }
        None => find(predicate),
    };
    if !custom {
        report.about.suites.extend(own_name(&statement.need_text("predicateType")?));
    }
    report.about.bound = bound.bound;
    Ok(report)
}

/// A document of another format.
fn inner<'t>(json: &'t Json, called: &str) -> Read<'t, Report> {
    // One statement in another would be bound to the outer subject, and say another.
    let format = Some(json).filter(|json| !is(json) && !envelope::is(json)).and_then(format_of);
    match format {
        Some((_, read)) => read(json),
        None => Err(Fault::Inner(ReportError::NotKnown(format!(
            "an in-toto statement whose predicate is of the type {}",
            word(called)
        )))),
    }
}

/// cosign's: the scanner's own document stands in it.
fn cosign(predicate: &Json) -> Read<'_, Report> {
    let scanner = predicate.need("scanner")?;
    let mut report = inner(scanner.need("result")?, "cosign's scan record")?;
    let metadata = predicate.need("metadata")?;
    if let Some(finished) = metadata.get_instant("scanFinishedOn")? {
        // The older of the two: a record made later makes no scan younger.
        report.about.made = Some(report.about.made.map_or(finished, |made| made.min(finished)));
    }
    Ok(report)
}

/// cosign's, around a document of somebody's own: as text, whatever it is.
fn custom(predicate: &Json) -> Read<'_, Report> {
    let text = predicate.need("Data")?.text()?;
    let mut report = if text.trim_start().starts_with(['{', '[']) {
        let json = json::parse(text).map_err(Fault::Inner)?;
        inner(&json, CUSTOM).map_err(|fault| Fault::Inner(json.error("what was attested", fault)))?
    } else {
        super::read(text.as_bytes()).map_err(Fault::Inner)?
    };
    attested(&mut report, predicate)?;
    Ok(report)
}

/// Takes over when cosign says that somebody attested a document of their own (cosign, `CosignPredicate`: `Data`, `Timestamp`). The older of
/// the two counts: what is attested later is no younger for that.
fn attested<'t>(report: &mut Report, predicate: &'t Json) -> Read<'t, ()> {
    if let Some(at) = predicate.get_instant("Timestamp")? {
        report.about.made = Some(report.about.made.map_or(at, |made| made.min(at)));
    }
    Ok(())
}

/// The name that somebody's own type of a predicate gives: the last part of it, `load` of `https://acme.example/bench/load`.
fn own_name(predicate_type: &str) -> Option<String> {
    predicate_type.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty()).map(ToOwned::to_owned)
}

fn vulns(predicate: &Json) -> Read<'_, Report> {
    let mut about = About::new(Kind::InToto);
    let scanner = predicate.need("scanner")?;
    about.tools.push(Tool { name: scanner.need_text("uri")?, version: scanner.get_text("version")? });
    if let Some(database) = scanner.get_object("db")? {
        about.database = database.get_instant("lastUpdate")?;
    }
    // v0.1 has the times in the scanner's place in some writers, and beside it in its text.
    if let Some(metadata) = predicate.get_object("metadata")? {
        about.made = metadata.get_instant("scanFinishedOn")?;
    }
    let mut found = Findings::default();
    for result in scanner.need("result")?.items()? {
        // The text of v0.1 nests each entry, its example does not.
        let entry = result.get_object("vulnerability")?.unwrap_or(result);
        found.list.push(finding(entry)?);
    }
    let mut report = Report::new(about);
    report.findings = Some(found);
    Ok(report)
}

fn finding(entry: &Json) -> Read<'_, Finding> {
    let mut finding = Finding::new(entry.need_text("id")?);
    let severities = match entry.get("severity")? {
        None => &[],
        Some(list @ Json::List(_)) => list.items()?,
        Some(one) => std::slice::from_ref(one),
    };
    for severity in severities {
        let method = severity.need_text("method")?;
        let at = severity.need("score")?;
        let text = match at {
            Json::Number(value) => {
                finding.scores.push(Score { value: *value, method, source: None });
                continue;
            }
            other => other.text()?,
        };
        if text.contains('/') {
            finding.scores.push(score::of_vector(at, text, Some(method))?);
        } else if let Some(value) = text.parse().ok().and_then(|number| Finite::new(number).ok()) {
            finding.scores.push(Score { value, method, source: None });
        } else {
            finding.severity = worse(finding.severity, Severity::of_word(text));
        }
    }
    Ok(finding)
}

/// Of what two say, the worse; a word that nobody knows is the worst.
pub(super) fn worse(one: Severity, two: Severity) -> Severity {
    match (one, two) {
        (word @ Severity::Word(_), _) | (_, word @ Severity::Word(_)) => word,
        (Severity::Level(one), Severity::Level(two)) => Severity::Level(one.max(two)),
        (Severity::NotSaid, other) | (other, Severity::NotSaid) => other,
    }
}
