//! CycloneDX 1.3 to 1.7 in JSON (ECMA-424): bills of materials. Its vulnerabilities are read in `cyclonedx_findings`.

use promo_core::evidence::{About, Bill, Component, Kind, Link, Report, Stated, Tool};

use super::json::{Fault, Json, Read};
use super::{cyclonedx_findings, licences, purl};

pub(super) fn is(json: &Json) -> bool {
    json.peek_text("bomFormat") == Some("CycloneDX")
}

pub(super) fn read(json: &Json) -> Read<'_, Report> {
    let version = json.need_text("specVersion")?;
    if !["1.3", "1.4", "1.5", "1.6", "1.7"].contains(&version.as_str()) {
        return Err(Fault::Version { format: "CycloneDX", found: version, known: "1.3 to 1.7" });
    }
    let mut about = About::new(Kind::CycloneDx);
    about.version = Some(version);
    let metadata = json.get_object("metadata")?;
    let root = metadata.map_or(Ok(None), |metadata| metadata.get_object("component"))?;
    if let Some(metadata) = metadata {
        about.made = metadata.get_instant("timestamp")?;
        read_tools(metadata, &mut about)?;
    }
    if let Some(root) = root {
        bind(root, &mut about)?;
    }
    let mut parts: Vec<&Json> = Vec::new();
    for component in json.list("components")? {
        flatten(component, &mut parts)?;
    }
    // Trivy writes an empty list into bills for which it looked for none: nothing there tells a clean scan from no scan.
    let vulnerabilities = Some(json.list("vulnerabilities")?).filter(|list| !list.is_empty());
    let mut report = Report::new(about);
    if let Some(vulnerabilities) = vulnerabilities {
        let known = cyclonedx_findings::Known::of(root, &parts)?;
        report.findings = Some(cyclonedx_findings::read(vulnerabilities, &known)?);
    }
    // A document of vulnerabilities alone is no bill of materials, however few materials there may be.
    if vulnerabilities.is_none() || json.get("components")?.is_some() {
        let components: Read<'_, Vec<Component>> = parts.into_iter().map(component).collect();
        report.bill = Some(Bill::of(components?));
    }
    Ok(report)
}

/// A list until 1.4; an object with components and services since 1.5, which still takes the list.
fn read_tools<'t>(metadata: &'t Json, about: &mut About) -> Read<'t, ()> {
    let tools = match metadata.get("tools")? {
        None => return Ok(()),
        Some(list @ Json::List(_)) => list.items()?,
        Some(object) => object.list("components")?,
    };
    for tool in tools {
        if let Some(name) = tool.get_text("name")? {
            about.tools.push(Tool { name, version: tool.get_text("version")? });
        }
    }
    Ok(())
}

/// What the component of which the document speaks says of its digest: each writer in its own way.
fn bind<'t>(root: &'t Json, about: &mut About) -> Read<'t, ()> {
    let is_image = root.get_text("type")?.as_deref() == Some("container");
    if let Some(version) = root.get("version")?
        && let Some(digest) = version.digest_in(version.text()?)?
    {
        about.bind(Link::Manifest, digest);
    }
    if let Some(digest) = root.get_text("purl")?.as_deref().and_then(purl::digest) {
        about.bind(Link::Manifest, digest);
    }
    for hash in root.list("hashes")? {
        if hash.need_text("alg")? == "SHA-256" {
            let digest = hash.need("content")?.hex()?;
            about.bind(if is_image { Link::Manifest } else { Link::Content }, digest);
        }
    }
    // Trivy's.
    for property in root.list("properties")? {
        let link = match property.get_text("name")?.as_deref() {
            Some("aquasecurity:trivy:ImageID") => Link::Config,
            Some("aquasecurity:trivy:RepoDigest") => Link::Manifest,
            _ => continue,
        };
        if let Some(value) = property.get("value")?
            && let Some(digest) = value.digest_in(value.text()?)?
        {
            about.bind(link, digest);
        }
    }
    Ok(())
}

/// Components stand in components. As deep as the JSON does, which is bounded.
fn flatten<'t>(component: &'t Json, out: &mut Vec<&'t Json>) -> Read<'t, ()> {
    component.object()?;
    out.push(component);
    component.list("components")?.iter().try_for_each(|part| flatten(part, out))
}

fn component(json: &Json) -> Read<'_, Component> {
    let (concluded, declared) = stated(json)?;
    Ok(Component {
        name: json.need_text("name")?,
        version: json.get_text("version")?,
        purl: json.get_text("purl")?,
        concluded,
        declared,
    })
}

/// Concluded and declared. An entry without `acknowledgement`, which came with 1.6, is what the writer believes.
fn stated(json: &Json) -> Read<'_, (Stated, Stated)> {
    let (mut concluded, mut declared) = (Vec::new(), Vec::new());
    for choice in json.list("licenses")? {
        let (at, text) = match choice.get("expression")? {
            Some(expression) => (choice, expression.text()?),
            None => {
                let licence = choice.need("license")?;
                match licence.get("id")?.or(licence.get("name")?) {
                    Some(text) => (licence, text.text()?),
                    None => return licence.broken("a licence with an `id` or a `name`"),
                }
            }
        };
        let side = match at.get_text("acknowledgement")?.as_deref() {
            Some("declared") => &mut declared,
            _ => &mut concluded,
        };
        side.push(licences::stated(text));
    }
    Ok((licences::all(concluded), licences::all(declared)))
}
