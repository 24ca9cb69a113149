//! SPDX 2.2 and 2.3 in JSON (ISO/IEC 5962:2021 is 2.2.1).

use std::collections::BTreeSet;

use promo_core::evidence::{About, Bill, Component, Kind, Link, Report, Stated, Tool};

use super::json::{Fault, Json, Read};
use super::{licences, purl};

pub(super) fn is(json: &Json) -> bool {
    json.peek("spdxVersion").is_some()
}

pub(super) fn read(json: &Json) -> Read<'_, Report> {
    let version = json.need_text("spdxVersion")?;
    let number = version.strip_prefix("SPDX-").unwrap_or(&version);
    if !["2.2", "2.3"].contains(&number) {
        return Err(Fault::Version { format: "SPDX", found: number.to_owned(), known: "2.2 and 2.3" });
    }
    let mut about = About::new(Kind::Spdx2);
    about.version = Some(number.to_owned());
    let made = json.need("creationInfo")?;
    about.made = made.get_instant("created")?;
    for creator in made.texts("creators")? {
        if let Some(tool) = creator.strip_prefix("Tool:") {
            about.tools.push(Tool { name: tool.trim().to_owned(), version: None });
        }
    }
    let described = described(json)?;
    let packages = json.list("packages")?;
    let mut components = Vec::new();
    for package in packages {
        let id = package.need("SPDXID")?.text()?;
        let is_described = described.contains(id);
        if is_described {
            bind(package, &mut about)?;
        }
        // What the document is about is no part of itself. Where it is about several things, these are what there is.
        if !(is_described && described.len() == 1) {
            components.push(component(package)?);
        }
    }
    let mut report = Report::new(about);
    report.bill = Some(Bill::of(components));
    Ok(report)
}

/// Of what the document speaks: by its list, or by relationships in either direction.
fn described(json: &Json) -> Read<'_, BTreeSet<&str>> {
    let mut out = BTreeSet::new();
    for id in json.list("documentDescribes")? {
        out.insert(id.text()?);
    }
    for relationship in json.list("relationships")? {
        let kind = relationship.need("relationshipType")?.text()?;
        let from = relationship.need("spdxElementId")?.text()?;
        let to = relationship.need("relatedSpdxElement")?.text()?;
        match (from, kind, to) {
            ("SPDXRef-DOCUMENT", "DESCRIBES", id) | (id, "DESCRIBED_BY", "SPDXRef-DOCUMENT") => {
                out.insert(id);
            }
            _ => {}
        }
    }
    Ok(out)
}

fn bind<'t>(package: &'t Json, about: &mut About) -> Read<'t, ()> {
    let is_image = package.get_text("primaryPackagePurpose")?.as_deref() == Some("CONTAINER");
    if let Some(version) = package.get("versionInfo")?
        && let Some(digest) = version.digest_in(version.text()?)?
    {
        about.bind(Link::Manifest, digest);
    }
    for checksum in package.list("checksums")? {
        if checksum.need_text("algorithm")? == "SHA256" {
            let digest = checksum.need("checksumValue")?.hex()?;
            about.bind(if is_image { Link::Manifest } else { Link::Content }, digest);
        }
    }
    if let Some(digest) = purl_of(package)?.as_deref().and_then(purl::digest) {
        about.bind(Link::Manifest, digest);
    }
    // Trivy's: in texts until 0.55, in annotations since.
    let mut notes: Vec<&Json> = package.list("attributionTexts")?.iter().collect();
    for annotation in package.list("annotations")? {
        notes.extend(annotation.get("comment")?);
    }
    for note in notes {
        let Some((name, value)) = note.text()?.split_once(": ") else { continue };
        let link = match name {
            "ImageID" => Link::Config,
            "RepoDigest" => Link::Manifest,
            _ => continue,
        };
        if let Some(digest) = note.digest_in(value)? {
            about.bind(link, digest);
        }
    }
    Ok(())
}

fn purl_of(package: &Json) -> Read<'_, Option<String>> {
    for reference in package.list("externalRefs")? {
        if reference.get_text("referenceType")?.as_deref() == Some("purl") {
            return reference.get_text("referenceLocator");
        }
    }
    Ok(None)
}

fn component(package: &Json) -> Read<'_, Component> {
    let stated = |key| -> Read<'_, Stated> {
        Ok(package.get(key)?.map(Json::text).transpose()?.map_or(Stated::Nothing, licences::stated))
    };
    Ok(Component {
        name: package.need_text("name")?,
        version: package.get_text("versionInfo")?,
        purl: purl_of(package)?,
        concluded: stated("licenseConcluded")?,
        declared: stated("licenseDeclared")?,
    })
}
