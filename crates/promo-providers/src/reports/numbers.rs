//! Numbers out of any JSON document, by the pointers that somebody names. What must not live here: a format of its own.

use promo_core::evidence::{About, Kind, Number, Numbers, Report};

use super::envelope;
use super::error::{Place, ReportError};
use super::json::{self, Json};

/// A number that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// How it is to be called.
    pub name: String,
    /// Where it stands (RFC 6901).
    pub pointer: String,
    /// Its unit.
    pub unit: Option<String>,
}

/// Reads numbers out of a JSON document.
///
/// # Errors
/// [`ReportError::Broken`] where one of them is not there, or is no number: a number that is missing is not zero.
pub fn numbers(bytes: &[u8], wanted: &[Wanted]) -> Result<Report, ReportError> {
    let document = json::parse(super::text(bytes)?)?;
    let mut out = Numbers::default();
    for Wanted { name, pointer, unit } in wanted {
        match find(&document, pointer) {
            Some(Json::Number(value)) => {
                out.list.push(Number { name: name.clone(), value: *value, unit: unit.clone() });
            }
            found => {
                let expected = if found.is_some() { "a number" } else { "something, and a number," };
                let at = Place::Pointer(pointer.clone());
                return Err(ReportError::Broken { format: "the JSON document", at, expected: expected.to_owned() });
            }
        }
    }
    out.list.sort_by(|one, two| one.name.cmp(&two.name));
    let mut report = Report::new(About::new(Kind::Numbers));
    report.numbers = Some(out);
    Ok(report)
}

/// Reads those numbers out of a JSON document that are there, or out of what an envelope says in an in-toto statement. A place without one is told as that.
///
/// # Errors
/// [`ReportError`] for what is no JSON.
pub fn numbers_there(bytes: &[u8], pointers: &[&str]) -> Result<Report, ReportError> {
    // What is an envelope is nothing else: beside what was signed nothing is read.
    if let Some(envelope) = envelope::open(bytes).ok().flatten() {
        return envelope::numbers(&envelope, |document| there(document, pointers));
    }
    Ok(there(&json::parse(super::text(bytes)?)?, pointers))
}

fn there(document: &Json, pointers: &[&str]) -> Report {
    let mut out = Numbers::default();
    for pointer in pointers {
        match find(document, pointer) {
            Some(Json::Number(value)) => {
                out.list.push(Number { name: (*pointer).to_owned(), value: *value, unit: None });
            }
            Some(_) => _ = out.unmeasured.insert((*pointer).to_owned()),
            None => {}
        }
    }
    out.list.sort_by(|one, two| one.name.cmp(&two.name));
    let mut report = Report::new(About::new(Kind::Numbers));
    report.numbers = Some(out);
    report
}

fn find<'t>(document: &'t Json, pointer: &str) -> Option<&'t Json> {
    if pointer.is_empty() {
        return Some(document);
    }
    pointer.strip_prefix('/')?.split('/').try_fold(document, |here, step| {
        let step = step.replace("~1", "/").replace("~0", "~");
        match here {
            Json::Object(parts) => parts.get(&step),
            // No signs and no zeros in front: RFC 6901, section 4.
            Json::List(parts) if step == "0" || !step.starts_with(['0', '+']) => parts.get(step.parse::<usize>().ok()?),
            _ => None,
        }
    })
}
