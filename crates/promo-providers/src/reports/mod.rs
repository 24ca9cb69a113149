//! Reports as typed facts: what documents of scanners, test runners and other tools say, read into [`promo_core::evidence`].
//!
//! What lives here: a file for each format, one line for each in `FORMATS`, and how a format is told from its content. What must
//! not: where documents come from, whether they are bound to what is promoted, signatures, and any judgement on what they say.
//!
//! A document is read whole or not at all, in time that grows with its length alone. Why one is not read is one of the kinds of
//! [`ReportError`], which never quotes what may be a secret.

mod cobertura;
mod cyclonedx;
mod cyclonedx_findings;
pub(crate) mod envelope;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod grype;
mod intoto;
mod json;
mod junit;
mod k6;
mod lcov;
mod licences;
mod notation;
mod numbers;
mod openvex;
mod osv;
mod purl;
mod sarif;
mod score;
mod slsa;
mod spdx2;
mod spdx3;
mod syft;
#[cfg(test)]
mod tests;
mod told;
mod trivy;
mod xml;

pub use error::{Place, ReportError};
pub use numbers::{Wanted, numbers, numbers_there};

use promo_core::evidence::{Kind, Report};

use json::{Json, Read};
use xml::Element;

/// The longest document that is read, in bytes. Real reports of large images have some ten million.
pub const LIMIT: usize = 64 << 20;

/// How a format is told and read.
enum Reader {
    /// JSON for which the first says yes.
    Json(fn(&Json) -> bool, for<'t> fn(&'t Json) -> Read<'t, Report>),
    /// XML whose outermost element is one for which the first says yes.
    Xml(fn(&Element) -> bool, fn(&str) -> Result<Report, xml::Fault>),
    /// Text for which the first says yes.
    Text(fn(&str) -> bool, fn(&str) -> Result<Report, xml::Fault>),
}

struct Format {
    kind: Kind,
    /// Its name in messages.
    name: &'static str,
    reader: Reader,
}

/// Every format that is told by its content. No document is two of them.
///
/// Envelopes come first: what is one is nothing else, so that what is read of it and what its signature is over are the same.
const FORMATS: [Format; 15] = [
    Format { kind: Kind::Signature, name: "a signed envelope", reader: Reader::Json(is_signature, read_signature) },
    Format { kind: Kind::Trivy, name: "a report of Trivy", reader: Reader::Json(trivy::is, trivy::read) },
    Format { kind: Kind::Grype, name: "a report of Grype", reader: Reader::Json(grype::is, grype::read) },
    Format { kind: Kind::Sarif, name: "SARIF", reader: Reader::Json(sarif::is, sarif::read) },
    Format { kind: Kind::OsvScanner, name: "a report of OSV-Scanner", reader: Reader::Json(osv::is, osv::read) },
    Format { kind: Kind::InToto, name: "an in-toto statement", reader: Reader::Json(intoto::is, intoto::read) },
    Format { kind: Kind::CycloneDx, name: "CycloneDX", reader: Reader::Json(cyclonedx::is, cyclonedx::read) },
    Format { kind: Kind::Spdx2, name: "SPDX", reader: Reader::Json(spdx2::is, spdx2::read) },
    Format { kind: Kind::Spdx3, name: "SPDX", reader: Reader::Json(spdx3::is, spdx3::read) },
    Format { kind: Kind::Syft, name: "syft's JSON", reader: Reader::Json(syft::is, syft::read) },
    Format { kind: Kind::OpenVex, name: "OpenVEX", reader: Reader::Json(openvex::is, openvex::read) },
    Format { kind: Kind::K6, name: "a summary of k6", reader: Reader::Json(k6::is, k6::read) },
    Format { kind: Kind::Junit, name: "JUnit", reader: Reader::Xml(junit::is, junit::read) },
    Format { kind: Kind::Cobertura, name: "Cobertura", reader: Reader::Xml(cobertura::is, cobertura::read) },
    Format { kind: Kind::Lcov, name: "LCOV", reader: Reader::Text(lcov::is, lcov::read) },
];

/// The kinds that are told by their content; [`Kind::Numbers`] is not, since any JSON may be one.
pub fn kinds() -> impl Iterator<Item = Kind> {
    FORMATS.iter().map(|format| format.kind)
}

/// Reads a document of whatever format it is.
///
/// # Errors
/// [`ReportError`], in one of its kinds.
pub fn read(bytes: &[u8]) -> Result<Report, ReportError> {
    let text = text(bytes)?;
    match text.trim_start().as_bytes().first() {
        None => Err(ReportError::NotKnown("there is nothing in it".to_owned())),
        Some(b'{' | b'[') => {
            let json = json::parse(text)?;
            read_json(&json)
        }
        Some(b'<') => {
            let root = xml::root(text)?;
            for Format { name, reader, .. } in &FORMATS {
                if let Reader::Xml(is, read) = reader
                    && is(&root)
                {
                    return read(text).map_err(|fault| fault.error(name));
                }
            }
            Err(ReportError::NotKnown(format!("XML whose outermost element is {}", error::word(&root.name))))
        }
        Some(_) => {
            for Format { name, reader, .. } in &FORMATS {
                if let Reader::Text(is, read) = reader
                    && is(text)
                {
                    return read(text).map_err(|fault| fault.error(name));
                }
            }
            Err(ReportError::NotKnown("neither JSON nor XML nor LCOV".to_owned()))
        }
    }
}

/// The documents of a file, each with its line, from 1: several where each line is one in JSON, as `cosign download attestation` writes them; else
/// the file is one.
#[must_use]
pub fn lines(bytes: &[u8]) -> Vec<(usize, &[u8])> {
    let whole = || vec![(1, bytes)];
    let Ok(text) = text(bytes) else { return whole() };
    let lines: Vec<(usize, &str)> =
        (1..).zip(text.lines()).map(|(at, line)| (at, line.trim())).filter(|(_, line)| !line.is_empty()).collect();
    let is_one = |line: &str| line.starts_with('{') && line.ends_with('}');
    // Of a document that is written over several lines, no line is one.
    if lines.len() < 2 || !lines.iter().all(|(_, line)| is_one(line)) {
        return whole();
    }
    lines.into_iter().map(|(at, line)| (at, line.as_bytes())).collect()
}

/// The text of a document: UTF-8, with or without a mark at its start.
fn text(bytes: &[u8]) -> Result<&str, ReportError> {
    if bytes.len() > LIMIT {
        return Err(ReportError::TooLarge(format!("{} MiB", LIMIT >> 20)));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| ReportError::NotKnown("not UTF-8".to_owned()))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn read_json(json: &Json) -> Result<Report, ReportError> {
    match format_of(json) {
        Some((name, read)) => read(json).map_err(|fault| json.error(name, fault)),
        None if json.is_list() => Err(ReportError::NotKnown("a list in JSON".to_owned())),
        None => Err(ReportError::NotKnown("JSON of no such format".to_owned())),
    }
}

type JsonReader = for<'t> fn(&'t Json) -> Read<'t, Report>;

fn is_signature(json: &Json) -> bool {
    envelope::is(json) || notation::is(json)
}

fn read_signature(json: &Json) -> json::Read<'_, Report> {
    if envelope::is(json) { envelope::read(json) } else { notation::read(json) }
}

/// The format that a JSON value is of.
fn format_of(json: &Json) -> Option<(&'static str, JsonReader)> {
    FORMATS.iter().find_map(|format| match format.reader {
        Reader::Json(is, read) if is(json) => Some((format.name, read)),
        _ => None,
    })
}
