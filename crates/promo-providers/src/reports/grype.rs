//! Grype's own JSON (`grype … -o json`), which has no version of its format.

use promo_core::evidence::{
    About, Finding, Findings, FixState, Kind, Link, Report, Score, Severity, Suppression, Tool,
};

use super::json::{Json, Read};
use super::score;

pub(super) fn is(json: &Json) -> bool {
    let descriptor = json.peek("descriptor");
    json.peek("matches").is_some() && descriptor.and_then(|descriptor| descriptor.peek_text("name")) == Some("grype")
}

pub(super) fn read(json: &Json) -> Read<'_, Report> {
    let mut about = About::new(Kind::Grype);
    let descriptor = json.need("descriptor")?;
    about.tools.push(Tool { name: descriptor.need_text("name")?, version: descriptor.get_text("version")? });
    about.made = descriptor.get_instant("timestamp")?;
    if let Some(database) = descriptor.get_object("db")? {
        // Grype 0.88 moved what it says of its database a level down.
        let status = database.get_object("status")?.unwrap_or(database);
        about.database = status.get_instant("built")?;
    }
    if let Some(source) = json.get_object("source")? {
        read_source(source, &mut about)?;
    }
    let mut found = Findings::default();
    // A list, and not `null`, also where nothing was found.
    for one in json.need("matches")?.items()? {
        found.list.push(finding(one)?);
    }
    for ignored in json.list("ignoredMatches")? {
        found.shows_suppressed = Some(true);
        let mut finding = finding(ignored)?;
        finding.suppressed = Some(suppression(ignored)?);
        found.list.push(finding);
    }
    let mut report = Report::new(about);
    report.findings = Some(found);
    Ok(report)
}

fn read_source<'t>(source: &'t Json, about: &mut About) -> Read<'t, ()> {
    // The target of a directory is its path.
    let Some(target) = source.get("target")?.filter(|target| target.as_text().is_none()) else { return Ok(()) };
    for name in target.list("repoDigests")? {
        if let Some(digest) = name.digest_in(name.text()?)? {
            about.bind(Link::Manifest, digest);
        }
    }
    for (key, link) in [("manifestDigest", Link::Manifest), ("imageID", Link::Config)] {
        if let Some(at) = target.get(key)?
            && let Some(digest) = at.digest_in(at.text()?)?
        {
            about.bind(link, digest);
        }
    }
    Ok(())
}

fn finding(json: &Json) -> Read<'_, Finding> {
    let known = json.need("vulnerability")?;
    let mut finding = Finding::new(known.need_text("id")?);
    for related in json.list("relatedVulnerabilities")? {
        let id = related.need_text("id")?;
        if id != finding.id && !finding.aliases.contains(&id) && finding.aliases.len() < 64 {
            finding.aliases.push(id);
        }
    }
    let artifact = json.need("artifact")?;
    finding.package = artifact.get_text("name")?;
    finding.purl = artifact.get_text("purl")?;
    finding.installed = artifact.get_text("version")?;
    if let Some(fix) = known.get_object("fix")? {
        finding.fixed = fix.texts("versions")?;
        finding.fix_state = match fix.get_text("state")?.as_deref() {
            None | Some("unknown") => FixState::NotSaid,
            Some("fixed") => FixState::Fixed,
            Some("not-fixed") => FixState::NotFixed,
            Some("wont-fix") => FixState::WontFix,
            Some(word) => FixState::Word(word.to_owned()),
        };
    }
    finding.severity = known.get_text("severity")?.map_or(Severity::NotSaid, |word| Severity::of_word(&word));
    finding.source = known.get_text("namespace")?;
    for scored in known.list("cvss")? {
        let source = scored.get_text("source")?;
        let stated = scored.get_object("metrics")?.map_or(Ok(None), |metrics| metrics.get("baseScore"))?;
        let stated = stated.map(score::stated).transpose()?;
        let mut method = format!("CVSS:{}", scored.get_text("version")?.unwrap_or_default());
        if let Some(at) = scored.get("vector")?
            && !at.text()?.is_empty()
        {
            let of_vector = score::of_vector(at, at.text()?, source.clone())?;
            method.clone_from(&of_vector.method);
            if stated != Some(of_vector.value) {
                finding.scores.push(of_vector);
            }
        }
        if let Some(value) = stated {
            finding.scores.push(Score { value, method, source });
        }
    }
    Ok(finding)
}

fn suppression(json: &Json) -> Read<'_, Suppression> {
    let mut out = Suppression { state: "ignored".to_owned(), reason: None, source: None };
    for rule in json.list("appliedIgnoreRules")? {
        if let Some(status) = rule.get_text("vex-status")? {
            out.state = status;
            out.source = Some("VEX".to_owned());
        }
        let reason = rule.get_text("vex-justification")?.or(rule.get_text("reason")?);
        out.reason = out.reason.or(reason);
    }
    Ok(out)
}
