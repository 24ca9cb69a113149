//! XML as readers of reports want it: elements with their attributes, one after the other, each with its line. No entity is
//! declared, none but XML's own five is known, and nothing is fetched. What must not live here: any format.

use std::collections::BTreeMap;

use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::error::{Place, ReportError};

/// How deep elements may nest, and how many attributes one may have.
const DEPTH: usize = 128;
const ATTRIBUTES: usize = 256;

/// What is wrong in a document of lines.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) line: u64,
    pub(super) expected: String,
}

impl Fault {
    pub(super) fn error(self, format: &'static str) -> ReportError {
        ReportError::Broken { format, at: Place::Line(self.line), expected: self.expected }
    }
}

/// The start of an element.
#[derive(Debug)]
pub(super) struct Element {
    /// Its name, without a prefix.
    pub(super) name: String,
    /// Its attributes, by name.
    pub(super) attributes: BTreeMap<String, String>,
    /// The line at which it ends.
    pub(super) line: u64,
}

impl Element {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    pub(super) fn broken<T>(&self, expected: impl Into<String>) -> Result<T, Fault> {
        Err(Fault { line: self.line, expected: expected.into() })
    }

    /// A whole number in an attribute, which may be missing or empty.
    pub(super) fn count(&self, name: &str) -> Result<Option<u64>, Fault> {
        match self.get(name).map(str::trim) {
            None | Some("") => Ok(None),
            Some(text) => text.parse().map(Some).or_else(|_| self.broken(format!("a whole number in `{name}`"))),
        }
    }
}

/// What a walk meets.
pub(super) enum Step<'a> {
    Open(Element),
    /// The end of the element of this name.
    Close(&'a str),
}

/// The outermost element.
pub(super) fn root(text: &str) -> Result<Element, ReportError> {
    let mut found = None;
    let outcome = walk(text, &mut |step| match step {
        Step::Open(element) => {
            found = Some(element);
            Ok(false)
        }
        Step::Close(_) => Ok(false),
    });
    match (found, outcome) {
        (Some(element), _) => Ok(element),
        (None, Err(fault)) => Err(fault.error("XML")),
        (None, Ok(())) => Err(ReportError::NotKnown("XML without an element".to_owned())),
    }
}

/// Goes through a document, as long as `meet` says so.
pub(super) fn walk(text: &str, meet: &mut dyn FnMut(Step<'_>) -> Result<bool, Fault>) -> Result<(), Fault> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_comments = false;
    let mut open: Vec<String> = Vec::new();
    let (mut line, mut counted) = (1, 0);
    let mut ended = false;
    loop {
        let event = reader.read_event();
        let at = usize::try_from(reader.buffer_position()).unwrap_or(text.len()).min(text.len());
        line += text.as_bytes()[counted..at.max(counted)].iter().filter(|byte| **byte == b'\n').count() as u64;
        counted = at.max(counted);
        let fault = |expected: &str| Fault { line, expected: expected.to_owned() };
        match event {
            Err(_) => return Err(fault("well-formed XML")),
            Ok(Event::Start(start)) => {
                let element = element(&start, line)?;
                if ended {
                    return Err(fault("one outermost element"));
                }
                if open.len() == DEPTH {
                    return Err(fault("elements of at most 128 levels"));
                }
                open.push(element.name.clone());
                if !meet(Step::Open(element))? {
                    return Ok(());
                }
            }
            Ok(Event::Empty(start)) => {
                let element = element(&start, line)?;
                if ended {
                    return Err(fault("one outermost element"));
                }
                ended = open.is_empty();
                let name = element.name.clone();
                if !meet(Step::Open(element))? || !meet(Step::Close(&name))? {
                    return Ok(());
                }
            }
            Ok(Event::End(_)) => {
                let Some(name) = open.pop() else { return Err(fault("a start before this end")) };
                ended = open.is_empty();
                if !meet(Step::Close(&name))? {
                    return Ok(());
                }
            }
            Ok(Event::DocType(declared)) => {
                if declared.contains("<!ENTITY") {
                    return Err(fault("no entities of its own"));
                }
            }
            Ok(Event::Decl(declared)) => {
                let is_utf8 =
                    |name: &str| ["utf-8", "utf8", "us-ascii"].iter().any(|known| name.eq_ignore_ascii_case(known));
                if declared.encoding().is_some_and(|encoding| !encoding.is_ok_and(|name| is_utf8(&name))) {
                    return Err(fault("UTF-8"));
                }
            }
            Ok(Event::Text(content)) if open.is_empty() && !content.trim_ascii().is_empty() => {
                return Err(fault("an element"));
            }
            Ok(Event::Text(_) | Event::CData(_) | Event::Comment(_) | Event::PI(_) | Event::GeneralRef(_)) => {}
            Ok(Event::Eof) if open.is_empty() => return Ok(()),
            Ok(Event::Eof) => return Err(fault("the end of every element")),
        }
    }
}

fn element(start: &BytesStart<'_>, line: u64) -> Result<Element, Fault> {
    let fault = |expected: &str| Fault { line, expected: expected.to_owned() };
    let mut attributes = BTreeMap::new();
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute.map_err(|_| fault("attributes with values in quotes"))?;
        let value = quick_xml::escape::unescape(&attribute.value).map_err(|_| fault("only the entities of XML"))?;
        if attributes.insert(attribute.key.as_ref().to_owned(), value.into_owned()).is_some() {
            return Err(fault("every attribute once"));
        }
        if attributes.len() > ATTRIBUTES {
            return Err(fault("at most 256 attributes"));
        }
    }
    Ok(Element { name: start.local_name().as_ref().to_owned(), attributes, line })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Result<Vec<String>, Fault> {
        let mut out = Vec::new();
        walk(text, &mut |step| {
            out.push(match step {
                Step::Open(element) => format!("{}+{}", element.line, element.name),
                Step::Close(name) => format!("-{name}"),
            });
            Ok(true)
        })?;
        Ok(out)
    }

    #[test]
    fn elements_come_with_their_lines() {
        let found =
            all("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a>\n <b c='&lt;'/>text &amp; more\n</a>\n").expect("XML");
        assert_eq!(found, ["2+a", "3+b", "-b", "-a"]);
    }

    #[test]
    fn what_is_no_whole_document_is_refused_at_its_line() {
        for (text, line) in [
            ("<a>\n<b></a>", 2),
            ("<a>\n\n", 3),
            ("<a/>\n<b/>", 2),
            ("<a>\n</a>\nmore", 3),
            ("<a x='1' x='2'/>", 1),
            ("<a x='&secret;'/>", 1),
            ("<!DOCTYPE a [\n<!ENTITY b 'c'>]><a/>", 2),
            ("<?xml version='1.0' encoding='UTF-16'?><a/>", 1),
        ] {
            let fault = all(text).expect_err(text);
            assert_eq!(fault.line, line, "{text}: {}", fault.expected);
            assert!(!fault.expected.contains("secret"), "{}", fault.expected);
        }
        assert!(all(&"<a>".repeat(100_000)).is_err());
    }
}
