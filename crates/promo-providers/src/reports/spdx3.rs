//! SPDX 3.0 in JSON-LD: told, bound and counted. Its licences are relationships between elements, which promo does not read yet.

use std::collections::BTreeSet;

use promo_core::evidence::{About, Bill, Kind, Link, Report};

use super::json::{Fault, Json, Read};

pub(super) fn is(json: &Json) -> bool {
    let context = match json.peek("@context") {
        Some(Json::Text(context)) => context.contains("spdx.org/rdf/"),
        Some(Json::List(contexts)) => {
            contexts.iter().filter_map(Json::as_text).any(|context| context.contains("spdx.org/rdf/"))
        }
        _ => false,
    };
    context && json.peek("@graph").is_some()
}

/// Types of elements that are packages.
const PACKAGES: [&str; 3] = ["software_Package", "ai_AIPackage", "dataset_DatasetPackage"];

pub(super) fn read(json: &Json) -> Read<'_, Report> {
    let mut about = About::new(Kind::Spdx3);
    let graph = json.need("@graph")?.items()?;
    let mut roots = BTreeSet::new();
    let mut packages = Vec::new();
    for element in graph {
        let kind = element.get("type")?.or(element.get("@type")?);
        let Some(kind) = kind.map(Json::text).transpose()? else { continue };
        match kind {
            "CreationInfo" => {
                let version = element.need_text("specVersion")?;
                if version != "3.0" && !version.starts_with("3.0.") {
                    return Err(Fault::Version { format: "SPDX", found: version, known: "3.0" });
                }
                about.version = Some(version);
                let created = element.get_instant("created")?;
                // Elements may have come from several documents: what is judged by age is as old as its oldest part.
                about.made = about.made.into_iter().chain(created).min();
            }
            "SpdxDocument" | "software_Sbom" => {
                for root in element.list("rootElement")? {
                    roots.insert(root.text()?);
                }
            }
            kind if PACKAGES.contains(&kind) => packages.push(element),
            _ => {}
        }
    }
    if about.version.is_none() {
        return json.broken("a `CreationInfo` with `specVersion`");
    }
    let named: Vec<&Json> =
        packages.iter().copied().filter(|package| id(package).is_some_and(|id| roots.contains(id))).collect();
    for root in &named {
        bind(root, &mut about)?;
    }
    let count = packages.len() - if named.len() == 1 { 1 } else { 0 };
    let mut report = Report::new(about);
    report.bill = Some(Bill { count: count as u64, components: None });
    Ok(report)
}

fn id(element: &Json) -> Option<&str> {
    element.peek_text("spdxId").or_else(|| element.peek_text("@id"))
}

fn bind<'t>(package: &'t Json, about: &mut About) -> Read<'t, ()> {
    let is_image = package.get_text("software_primaryPurpose")?.as_deref() == Some("container");
    for hash in package.list("verifiedUsing")? {
        // A method that stands elsewhere is named by its id.
        if hash.as_text().is_none() && hash.get_text("algorithm")?.as_deref() == Some("sha256") {
            let digest = hash.need("hashValue")?.hex()?;
            about.bind(if is_image { Link::Manifest } else { Link::Content }, digest);
        }
    }
    Ok(())
}
