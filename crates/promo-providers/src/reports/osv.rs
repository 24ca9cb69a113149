//! OSV-Scanner's own JSON (`osv-scanner --format json`), in which stand whole records of the OSV schema. It binds itself to nothing.

use promo_core::evidence::{About, Finding, Findings, Finite, FixState, Kind, Level, Report, Score, Severity, Tool};

use super::json::{Budget, Json, Read};
use super::score;

/// A report with packages, or one that says how it was made: `{"results": []}` alone may be anything.
pub(super) fn is(json: &Json) -> bool {
    let results = match json.peek("results") {
        Some(Json::List(results)) => results,
        Some(Json::Null) => return json.peek("experimental_config").is_some(),
        _ => return false,
    };
    match results.first() {
        Some(result) => result.peek("packages").is_some() && result.peek("source").is_some(),
        None => json.peek("experimental_config").is_some(),
    }
}

pub(super) fn read(json: &Json) -> Read<'_, Report> {
    let mut about = About::new(Kind::OsvScanner);
    about.tools.push(Tool { name: "osv-scanner".to_owned(), version: None });
    let (mut found, mut budget) = (Findings::default(), Budget::new());
    for result in json.list("results")? {
        for package in result.need("packages")?.items()? {
            read_package(package, &mut found, &mut budget)?;
        }
    }
    let mut report = Report::new(about);
    report.findings = Some(found);
    Ok(report)
}

struct Package {
    name: Option<String>,
    version: Option<String>,
    ecosystem: Option<String>,
}

fn read_package<'t>(json: &'t Json, found: &mut Findings, budget: &mut Budget) -> Read<'t, ()> {
    let named = json.need("package")?;
    let package = Package {
        name: named.get_text("name")?,
        version: named.get_text("version")?,
        ecosystem: named.get_text("ecosystem")?,
    };
    // What the scanner thinks of a group of ids of one vulnerability: the highest of the scores of all their records.
    let mut of_groups = std::collections::HashMap::new();
    for group in json.list("groups")? {
        if let Some(at) = group.get("max_severity")?
            && !at.text()?.is_empty()
        {
            let value = at.text()?.parse().ok().and_then(|number| Finite::new(number).ok());
            let Some(value) = value.filter(|value| (0.0..=10.0).contains(&value.get())) else {
                return at.broken("a number from 0 to 10 in a text");
            };
            for id in group.list("ids")? {
                of_groups.insert(id.text()?, value);
            }
        }
    }
    for record in json.list("vulnerabilities")? {
        let mut finding = finding(record, &package)?;
        if let Some(value) = of_groups.get(finding.id.as_str())
            && finding.highest_score() != Some(*value)
        {
            finding.scores.push(Score { value: *value, method: "CVSS".to_owned(), source: None });
        }
        if finding.severity == Severity::NotSaid
            && let Some(value) = finding.highest_score()
        {
            finding.severity = Severity::Level(Level::of_score(value));
        }
        budget.take_finding(&finding)?;
        found.list.push(finding);
    }
    Ok(())
}

fn finding<'t>(record: &'t Json, package: &Package) -> Read<'t, Finding> {
    let mut finding = Finding::new(record.need_text("id")?);
    finding.aliases = record.texts("aliases")?;
    finding.package.clone_from(&package.name);
    finding.installed.clone_from(&package.version);
    let mut fixed = Vec::new();
    for affected in record.list("affected")? {
        let Some(of) = affected.get_object("package")? else { continue };
        if of.get_text("name")? != package.name || !is_same(of.get_text("ecosystem")?, package.ecosystem.as_deref()) {
            continue;
        }
        finding.purl = finding.purl.or(of.get_text("purl")?);
        for severity in affected.list("severity")? {
            read_severity(severity, &mut finding)?;
        }
        for range in affected.list("ranges")? {
            // The events of a git range are commits.
            if range.get_text("type")?.as_deref() != Some("GIT") {
                for event in range.list("events")? {
                    fixed.extend(event.get_text("fixed")?);
                }
            }
        }
    }
    fixed.sort();
    fixed.dedup();
    finding.fix_state = if fixed.is_empty() { FixState::NotSaid } else { FixState::Fixed };
    finding.fixed = fixed;
    for severity in record.list("severity")? {
        read_severity(severity, &mut finding)?;
    }
    // Databases put anything there; GitHub's a word.
    let own = record.get_object("database_specific")?.and_then(|own| own.peek_text("severity"));
    if let Some(word) = own
        && !word.contains('/')
    {
        finding.severity = Severity::of_word(word);
    }
    Ok(finding)
}

/// Ecosystems may have a release behind a colon (`Debian:12`).
fn is_same(one: Option<String>, other: Option<&str>) -> bool {
    let name = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
    one.as_deref().map(name) == other.map(name)
}

fn read_severity<'t>(severity: &'t Json, finding: &mut Finding) -> Read<'t, ()> {
    let score = severity.need("score")?;
    let text = score.text()?;
    if severity.need_text("type")?.starts_with("CVSS_") {
        finding.scores.push(score::of_vector(score, text, None)?);
    } else {
        finding.severity = Severity::of_word(text);
    }
    Ok(())
}
