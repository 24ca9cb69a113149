//! Trivy's own JSON, schema version 2 (`trivy … --format json`). What must not live here: its other outputs, which are SARIF,
//! CycloneDX, SPDX and cosign's predicate.

use promo_core::evidence::{
    About, Finding, Findings, FixState, Kind, Level, Link, Report, Score, Severity, Suppression, Tool,
};

use super::json::{Fault, Json, Read};
use super::score;

pub(super) fn is(json: &Json) -> bool {
    let has = |key| json.peek(key).is_some();
    has("SchemaVersion") && (has("Results") || has("ArtifactName") || has("Trivy"))
}

pub(super) fn read(json: &Json) -> Read<'_, Report> {
    let version = json.need("SchemaVersion")?.number()?;
    if version.get() != 2.0 {
        return Err(Fault::Version { format: "a report of Trivy", found: version.to_string(), known: "2" });
    }
    let mut about = About::new(Kind::Trivy);
    about.version = Some("2".to_owned());
    let tool = json.get_object("Trivy")?;
    let version = tool.map_or(Ok(None), |tool| tool.get_text("Version"))?;
    about.tools.push(Tool { name: "Trivy".to_owned(), version });
    about.made = json.get_instant("CreatedAt")?;
    if let Some(metadata) = json.get_object("Metadata")? {
        for name in metadata.list("RepoDigests")? {
            if let Some(digest) = name.digest_in(name.text()?)? {
                about.bind(Link::Manifest, digest);
            }
        }
        if let Some(id) = metadata.get("ImageID")?
            && let Some(digest) = id.digest_in(id.text()?)?
        {
            about.bind(Link::Config, digest);
        }
    }
    let mut found = Findings { looked_into: Some(0), ..Findings::default() };
    for result in json.list("Results")? {
        read_result(result, &mut found)?;
    }
    let mut report = Report::new(about);
    report.findings = Some(found);
    Ok(report)
}

fn read_result<'t>(result: &'t Json, found: &mut Findings) -> Read<'t, ()> {
    let vulnerabilities = result.list("Vulnerabilities")?;
    // What was looked at for secrets, licences and misconfigurations only says nothing of vulnerabilities, also where it has some: one more
    // must not make it a look at packages.
    let class = result.get_text("Class")?;
    if matches!(class.as_deref(), Some("os-pkgs" | "lang-pkgs")) {
        found.looked_into = found.looked_into.map(|count| count + 1);
    }
    for one in vulnerabilities {
        found.list.push(finding(one)?);
    }
    for modified in result.list("ExperimentalModifiedFindings")? {
        found.shows_suppressed = Some(true);
        if modified.need_text("Type")? == "vulnerability" {
            let mut finding = finding(modified.need("Finding")?)?;
            finding.suppressed = Some(Suppression {
                state: modified.need_text("Status")?,
                reason: modified.get_text("Statement")?,
                source: modified.get_text("Source")?,
            });
            found.list.push(finding);
        }
    }
    Ok(())
}

fn finding(json: &Json) -> Read<'_, Finding> {
    let mut finding = Finding::new(json.need_text("VulnerabilityID")?);
    finding.aliases = json.texts("VendorIDs")?;
    finding.package = json.get_text("PkgName")?;
    finding.purl = json.get_object("PkgIdentifier")?.map_or(Ok(None), |known| known.get_text("PURL"))?;
    finding.installed = json.get_text("InstalledVersion")?;
    if let Some(list) = json.get_text("FixedVersion")? {
        finding.fixed = list.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
    }
    finding.fix_state = match json.get_text("Status")?.as_deref() {
        None if finding.fixed.is_empty() => FixState::NotSaid,
        None | Some("fixed") => FixState::Fixed,
        Some("affected") => FixState::NotFixed,
        Some("will_not_fix") => FixState::WontFix,
        Some("fix_deferred") => FixState::Deferred,
        Some("end_of_life") => FixState::EndOfLife,
        Some("not_affected") => FixState::NotAffected,
        Some("under_investigation") => FixState::UnderInvestigation,
        Some("unknown") => FixState::NotSaid,
        Some(word) => FixState::Word(word.to_owned()),
    };
    finding.severity = json.get_text("Severity")?.map_or(Severity::NotSaid, |word| Severity::of_word(&word));
    finding.source = json.get_text("SeveritySource")?;
    if let Some(by_source) = json.get_object("VendorSeverity")? {
        for severity in by_source.object()?.values() {
            finding.worst = finding.worst.max(vendor_severity(severity)?);
        }
    }
    if let Some(by_source) = json.get_object("CVSS")? {
        for (source, scores) in by_source.object()? {
            read_scores(scores, source, &mut finding.scores)?;
        }
    }
    Ok(finding)
}

/// What one database says, as Trivy numbers it (trivy-db, `types.Severity`); nothing where that does not know.
fn vendor_severity(json: &Json) -> Read<'_, Option<Level>> {
    let number = json.number()?.get();
    let known = [None, Some(Level::Low), Some(Level::Medium), Some(Level::High), Some(Level::Critical)];
    let found = known.into_iter().zip([0.0, 1.0, 2.0, 3.0, 4.0]).find(|(_, known)| *known == number);
    found.map_or_else(|| json.broken("a severity from 0 to 4"), |(level, _)| Ok(level))
}

fn read_scores<'t>(json: &'t Json, source: &str, out: &mut Vec<Score>) -> Read<'t, ()> {
    for (vector, number, method) in
        [("V2Vector", "V2Score", "CVSS:2.0"), ("V3Vector", "V3Score", "CVSS:3"), ("V40Vector", "V40Score", "CVSS:4.0")]
    {
        let stated = json.get(number)?.map(score::stated).transpose()?;
        let mut method = method.to_owned();
        if let Some(at) = json.get(vector)?
            && !at.text()?.is_empty()
        {
            let scored = score::of_vector(at, at.text()?, Some(source.to_owned()))?;
            method.clone_from(&scored.method);
            if stated != Some(scored.value) {
                out.push(scored);
            }
        }
        if let Some(value) = stated {
            out.push(Score { value, method, source: Some(source.to_owned()) });
        }
    }
    Ok(())
}
