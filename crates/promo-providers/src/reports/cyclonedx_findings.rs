//! The vulnerabilities of a CycloneDX document: what a scanner found (VDR), or what is said of what others found (VEX).

use std::collections::HashMap;

use promo_core::evidence::{Finding, Findings, FixState, Score, Severity, Suppression};

use super::intoto::worse;
use super::json::{Budget, Json, Read};
use super::score;

/// The components that a document has, by the names by which it refers to them.
pub(super) struct Known<'t>(HashMap<&'t str, &'t Json>);

impl<'t> Known<'t> {
    pub(super) fn of(root: Option<&'t Json>, parts: &[&'t Json]) -> Read<'t, Self> {
        let mut out = HashMap::new();
        for component in root.iter().chain(parts) {
            if let Some(name) = component.get("bom-ref")? {
                out.insert(name.text()?, *component);
            }
        }
        Ok(Self(out))
    }

    /// By its name, or by a link to it in this or another document (`urn:cdx:SERIAL/VERSION#NAME`).
    fn find(&self, name: &str) -> Option<&'t Json> {
        let linked = name.strip_prefix("urn:cdx:").and_then(|link| link.split_once('#')).map(|(_, name)| name);
        self.0.get(linked.unwrap_or(name)).copied()
    }
}

pub(super) fn read<'t>(list: &'t [Json], known: &Known<'t>) -> Read<'t, Findings> {
    let (mut found, mut budget) = (Findings::default(), Budget::new());
    for vulnerability in list {
        let one = finding(vulnerability)?;
        let affects = vulnerability.list("affects")?;
        for affected in affects {
            // Before the copy, and once more with what the package adds.
            budget.take_finding(&one)?;
            let finding = in_package(one.clone(), affected, known)?;
            budget.take_finding(&finding)?;
            found.list.push(finding);
        }
        // One that says of nothing that it is affected is one all the same.
        if affects.is_empty() {
            found.list.push(one);
        }
    }
    if found.list.iter().any(|finding| finding.suppressed.is_some()) {
        found.shows_suppressed = Some(true);
    }
    Ok(found)
}

fn finding(json: &Json) -> Read<'_, Finding> {
    // The schema asks for no id; without one nothing can be said about it.
    let mut finding = Finding::new(json.need_text("id")?);
    for reference in json.list("references")? {
        finding.aliases.extend(reference.get_text("id")?);
    }
    finding.source = json.get_object("source")?.map_or(Ok(None), |source| source.get_text("name"))?;
    for rating in json.list("ratings")? {
        read_rating(rating, &mut finding)?;
    }
    if let Some(analysis) = json.get_object("analysis")? {
        for response in analysis.texts("response")? {
            match response.as_str() {
                "will_not_fix" => finding.fix_state = FixState::WontFix,
                "can_not_fix" => finding.fix_state = FixState::NotFixed,
                _ => {}
            }
        }
        let state = analysis.get_text("state")?;
        if let Some(state) = state.filter(|state| {
            ["resolved", "resolved_with_pedigree", "false_positive", "not_affected"].contains(&state.as_str())
        }) {
            let reason = analysis.get_text("justification")?.or(analysis.get_text("detail")?);
            finding.suppressed = Some(Suppression { state, reason, source: None });
        }
    }
    Ok(finding)
}

/// Of several ratings the worst word counts; a document that prefers one of them has no place to say so.
fn read_rating<'t>(rating: &'t Json, finding: &mut Finding) -> Read<'t, ()> {
    if let Some(severity) = rating.get_text("severity")? {
        finding.severity = worse(finding.severity.clone(), Severity::of_word(&severity));
    }
    let source = rating.get_object("source")?.map_or(Ok(None), |source| source.get_text("name"))?;
    let method = rating.get_text("method")?.unwrap_or_else(|| "other".to_owned());
    let prefix = match method.as_str() {
        "CVSSv2" => Some(""),
        "CVSSv3" => Some("CVSS:3.0/"),
        "CVSSv31" => Some("CVSS:3.1/"),
        "CVSSv4" => Some("CVSS:4.0/"),
        _ => None,
    };
    // Only CVSS has a scale that everybody knows.
    let stated = match rating.get("score")? {
        Some(at) if prefix.is_some() => Some(score::stated(at)?),
        at => at.map(Json::number).transpose()?,
    };
    let mut by = method;
    if let Some(prefix) = prefix
        && let Some(at) = rating.get("vector")?
        && !at.text()?.is_empty()
    {
        // The examples of the specification leave the version out.
        let text = at.text()?;
        let vector = if text.starts_with("CVSS:") { text.to_owned() } else { format!("{prefix}{text}") };
        let scored = score::of_vector(at, &vector, source.clone())?;
        by.clone_from(&scored.method);
        if stated != Some(scored.value) {
            finding.scores.push(scored);
        }
    }
    if let Some(value) = stated {
        finding.scores.push(Score { value, method: by, source });
    }
    Ok(())
}

fn in_package<'t>(mut finding: Finding, affected: &'t Json, known: &Known<'t>) -> Read<'t, Finding> {
    let name = affected.need_text("ref")?;
    match known.find(&name) {
        Some(component) => {
            finding.package = component.get_text("name")?;
            finding.installed = component.get_text("version")?;
            finding.purl = component.get_text("purl")?;
        }
        None if name.starts_with("pkg:") => finding.purl = Some(name),
        None => finding.package = Some(name),
    }
    let versions = affected.list("versions")?;
    let mut unaffected = !versions.is_empty();
    for version in versions {
        let status = version.get_text("status")?;
        unaffected &= status.as_deref() == Some("unaffected");
        if finding.installed.is_none() && status.as_deref() != Some("unaffected") {
            finding.installed = version.get_text("version")?;
        }
    }
    if unaffected && finding.suppressed.is_none() {
        finding.suppressed = Some(Suppression { state: "unaffected".to_owned(), reason: None, source: None });
    }
    Ok(finding)
}
