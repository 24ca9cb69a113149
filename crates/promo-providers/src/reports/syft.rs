//! syft's own JSON (anchore/syft, `schema/json`): bills of materials. What must not live here: what syft writes as CycloneDX or SPDX.

use promo_core::evidence::{About, Bill, Component, Kind, Link, Report, Tool};

use super::json::{Fault, Json, Read};
use super::licences;

/// Majors of the schema that are read: from the first with `artifacts` and `descriptor` on.
const KNOWN: std::ops::RangeInclusive<u32> = 3..=16;

pub(super) fn is(json: &Json) -> bool {
    json.peek("artifacts").is_some()
        && json.peek("descriptor").is_some_and(|descriptor| descriptor.peek_text("name") == Some("syft"))
}

pub(super) fn read(json: &Json) -> Read<'_, Report> {
    let schema = json.need("schema")?.need_text("version")?;
    let major: Option<u32> = schema.split('.').next().and_then(|major| major.parse().ok());
    if !major.is_some_and(|major| KNOWN.contains(&major)) {
        return Err(Fault::Version { format: "syft's JSON", found: schema, known: "3 to 16" });
    }
    let mut about = About::new(Kind::Syft);
    about.version = Some(schema);
    let descriptor = json.need("descriptor")?;
    about.tools.push(Tool { name: "syft".to_owned(), version: descriptor.get_text("version")? });
    about.made = descriptor.get_instant("timestamp")?;
    if let Some(source) = json.get_object("source")? {
        bind(source, &mut about)?;
    }
    let components: Read<'_, Vec<Component>> = json.list("artifacts")?.iter().map(component).collect();
    Ok(Report { bill: Some(Bill::of(components?)), ..Report::new(about) })
}

/// Of an image it names the manifest and the configuration. Until schema 7 they stood in `target`.
fn bind<'t>(source: &'t Json, about: &mut About) -> Read<'t, ()> {
    if source.get_text("type")?.as_deref() != Some("image") {
        return Ok(());
    }
    let metadata = match source.get_object("metadata")? {
        Some(metadata) => Some(metadata),
        None => source.get_object("target")?,
    };
    let Some(metadata) = metadata else { return Ok(()) };
    for (key, link) in [("manifestDigest", Link::Manifest), ("imageID", Link::Config)] {
        if let Some(value) = metadata.get(key)?
            && let Some(digest) = value.digest_in(value.text()?)?
        {
            about.bind(link, digest);
        }
    }
    for value in metadata.list("repoDigests")? {
        if let Some(digest) = value.digest_in(value.text()?)? {
            about.bind(Link::Manifest, digest);
        }
    }
    Ok(())
}

fn component(json: &Json) -> Read<'_, Component> {
    let (mut concluded, mut declared) = (Vec::new(), Vec::new());
    for licence in json.list("licenses")? {
        // Until schema 7 a licence was a text.
        if let Json::Text(text) = licence {
            declared.push(licences::stated(text));
            continue;
        }
        let text = match licence.get_text("spdxExpression")?.filter(|text| !text.is_empty()) {
            Some(text) => text,
            None => licence.need_text("value")?,
        };
        let side = match licence.get_text("type")?.as_deref() {
            Some("concluded") => &mut concluded,
            _ => &mut declared,
        };
        side.push(licences::stated(&text));
    }
    Ok(Component {
        name: json.need_text("name")?,
        version: json.get_text("version")?.filter(|version| !version.is_empty()),
        purl: json.get_text("purl")?.filter(|purl| !purl.is_empty()),
        concluded: licences::all(concluded),
        declared: licences::all(declared),
    })
}
