//! OpenVEX 0.0.1 and 0.2.0. In the older one, vulnerabilities and products are texts.

use jiff::Timestamp;
use promo_core::evidence::{About, Kind, Product, Report, Statement, Status, Tool};

use super::json::{Fault, Json, Read};
use super::purl;

const CONTEXT: &str = "https://openvex.dev/ns";

pub(super) fn is(json: &Json) -> bool {
    json.peek_text("@context").is_some_and(|context| context.starts_with(CONTEXT))
}

pub(super) fn read(json: &Json) -> Read<'_, Report> {
    let context = json.need_text("@context")?;
    let version = match context.strip_prefix(CONTEXT) {
        Some("" | "/" | "/v0.0.1") => "0.0.1",
        Some("/v0.2.0") => "0.2.0",
        other => {
            let found = other.unwrap_or_default().trim_start_matches("/v").to_owned();
            return Err(Fault::Version { format: "OpenVEX", found, known: "0.0.1 and 0.2.0" });
        }
    };
    let mut about = About::new(Kind::OpenVex);
    about.version = Some(version.to_owned());
    if let Some(name) = json.get_text("tooling")? {
        about.tools.push(Tool { name, version: None });
    }
    let made = json.get_instant("timestamp")?;
    about.made = json.get_instant("last_updated")?.or(made);
    let mut statements = Vec::new();
    for one in json.need("statements")?.items()? {
        statements.push(statement(one, made)?);
    }
    let mut report = Report::new(about);
    report.statements = Some(statements);
    Ok(report)
}

fn statement(json: &Json, made: Option<Timestamp>) -> Read<'_, Statement> {
    let (vulnerability, aliases) = match json.need("vulnerability")? {
        Json::Text(id) if !id.is_empty() => (id.clone(), Vec::new()),
        object => match object.get_text("name")?.or(object.get_text("@id")?) {
            Some(name) => (name, object.texts("aliases")?),
            None => return object.broken("a vulnerability with a `name`"),
        },
    };
    let mut products = Vec::new();
    for one in json.list("products")? {
        products.push(product(one)?);
    }
    // Until 0.0.1 parts stood beside the products, and were parts of each.
    let parts: Read<'_, Vec<Product>> = json.list("subcomponents")?.iter().map(product).collect();
    let justification = json.get_text("justification")?;
    let impact = json.get_text("impact_statement")?;
    let status = match json.need_text("status")?.as_str() {
        "not_affected" => Status::NotAffected,
        "affected" => Status::Affected,
        "fixed" => Status::Fixed,
        "under_investigation" => Status::UnderInvestigation,
        word => Status::Word(word.to_owned()),
    };
    if status == Status::NotAffected && justification.is_none() && impact.is_none() {
        return json.broken("a `justification` or an `impact_statement` beside `not_affected`");
    }
    Ok(Statement {
        vulnerability,
        aliases,
        products,
        parts: parts?,
        status,
        justification,
        impact,
        at: json.get_instant("timestamp")?.or(made),
    })
}

fn product(json: &Json) -> Read<'_, Product> {
    let mut out = Product { id: None, purl: None, digests: Vec::new(), parts: Vec::new() };
    if let Json::Text(id) = json {
        out.id = Some(id.clone());
    } else {
        out.id = json.get_text("@id")?;
        out.purl = json.get_object("identifiers")?.map_or(Ok(None), |known| known.get_text("purl"))?;
        if let Some(hashes) = json.get_object("hashes")? {
            out.digests.extend(hashes.digest_under("sha-256")?);
        }
        for part in json.list("subcomponents")? {
            out.parts.push(product(part)?);
        }
    }
    if out.purl.is_none() {
        out.purl = out.id.clone().filter(|id| id.starts_with("pkg:"));
    }
    out.digests.extend(out.purl.as_deref().and_then(purl::digest));
    out.digests.sort();
    out.digests.dedup();
    Ok(out)
}
