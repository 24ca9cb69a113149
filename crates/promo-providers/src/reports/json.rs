//! JSON as readers of reports want it: objects where objects are expected and lists where lists are (serde's derived readers take
//! a list for a struct), no key twice (readers disagree on which one holds), and a pointer to what is wrong. What must not live here:
//! any format.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use promo_core::Digest;
use promo_core::evidence::{Finding, Finite};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::error::{Place, ReportError, word};

/// A JSON value. How deep it nests is bounded by serde_json, at 128.
#[derive(Debug)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(Finite),
    Text(String),
    List(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

/// What is wrong with a value, before anybody has worked out where it stands.
#[derive(Debug)]
pub(super) enum Fault<'t> {
    /// This value is not what was expected, or this object lacks what was expected.
    Broken { at: &'t Json, expected: String },
    /// A version that is not read.
    Version { format: &'static str, found: String, known: &'static str },
    /// Another document in this one is not read, for this reason.
    Inner(ReportError),
}

pub(super) type Read<'t, T> = Result<T, Fault<'t>>;

/// How much facts may take up in memory that repeat what stands once in a document: the name of a tool in each of its findings, say.
/// Without it a document could make facts of the square of its length.
pub(super) struct Budget(usize);

impl Budget {
    /// More than the facts of any real document.
    pub(super) const fn new() -> Self {
        Self(256 << 20)
    }

    /// Takes the memory of texts.
    pub(super) fn take<'t, 'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) -> Read<'t, ()> {
        let size = texts.into_iter().fold(64_usize, |sum, text| sum.saturating_add(text.len()));
        match self.0.checked_sub(size) {
            Some(rest) => {
                self.0 = rest;
                Ok(())
            }
            None => Err(Fault::Inner(ReportError::TooLarge("256 MiB of facts".to_owned()))),
        }
    }

    /// Takes the memory of a finding.
    pub(super) fn take_finding<'t>(&mut self, finding: &Finding) -> Read<'t, ()> {
        let Finding { id, aliases, package, purl, installed, fixed, source, scores, suppressed, .. } = finding;
        let single = [package, purl, installed, source].into_iter().flatten();
        let why = suppressed.iter().flat_map(|why| [Some(&why.state), why.reason.as_ref(), why.source.as_ref()]);
        let of_scores = scores.iter().flat_map(|score| [Some(&score.method), score.source.as_ref()]);
        let lists = aliases.iter().chain(fixed);
        let all = single.chain(lists).chain(why.flatten()).chain(of_scores.flatten()).chain([id]);
        self.take(all.map(String::as_str))
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }

            #[expect(clippy::cast_precision_loss, reason = "counts in reports are far below 2^52")]
            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Json, E> {
                self.visit_f64(value as f64)
            }

            #[expect(clippy::cast_precision_loss, reason = "counts in reports are far below 2^52")]
            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Json, E> {
                self.visit_f64(value as f64)
            }

            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json, E> {
                Finite::new(value).map(Json::Number).map_err(E::custom)
            }

            fn visit_str<E>(self, value: &str) -> Result<Json, E> {
                Ok(Json::Text(value.to_owned()))
            }

            fn visit_string<E>(self, value: String) -> Result<Json, E> {
                Ok(Json::Text(value))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
                let mut out = Vec::new();
                while let Some(item) = list.next_element()? {
                    out.push(item);
                }
                Ok(Json::List(out))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
                let mut out = BTreeMap::new();
                while let Some(key) = map.next_key::<String>()? {
                    if out.insert(key, map.next_value()?).is_some() {
                        return Err(A::Error::custom("a key that stands once"));
                    }
                }
                Ok(Json::Object(out))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// Reads a text.
pub(super) fn parse(text: &str) -> Result<Json, ReportError> {
    serde_json::from_str(text).map_err(|error| ReportError::Broken {
        format: "JSON",
        at: Place::Column(error.line() as u64, error.column() as u64),
        // serde's own words may quote the content.
        expected: match error.classify() {
            serde_json::error::Category::Eof => "more of the document",
            serde_json::error::Category::Syntax => "JSON of at most 128 levels",
            _ => "a key that stands once, and a number that is finite,",
        }
        .to_owned(),
    })
}

impl Json {
    pub(super) fn broken<T>(&self, expected: impl Into<String>) -> Read<'_, T> {
        Err(Fault::Broken { at: self, expected: expected.into() })
    }

    /// The pointer to a value that is part of this one, found by its identity.
    fn pointer_to(&self, wanted: &Self) -> Option<String> {
        fn find(here: &Json, wanted: &Json, steps: &mut Vec<String>) -> bool {
            if std::ptr::eq(here, wanted) {
                return true;
            }
            let mut within = |step: String, part: &Json| {
                steps.push(step);
                let found = find(part, wanted, steps);
                if !found {
                    steps.pop();
                }
                found
            };
            match here {
                Json::List(parts) => parts.iter().enumerate().any(|(at, part)| within(at.to_string(), part)),
                Json::Object(parts) => parts.iter().any(|(key, part)| within(escaped(key), part)),
                _ => false,
            }
        }
        let mut steps = Vec::new();
        find(self, wanted, &mut steps).then(|| steps.iter().flat_map(|step| ["/", step.as_str()]).collect())
    }

    /// The error for a fault in this document, which is of this format.
    pub(super) fn error(&self, format: &'static str, fault: Fault<'_>) -> ReportError {
        match fault {
            Fault::Broken { at, expected } => {
                ReportError::Broken { format, at: Place::Pointer(self.pointer_to(at).unwrap_or_default()), expected }
            }
            Fault::Version { format, found, known } => {
                ReportError::UnknownVersion { format, found: word(&found), known }
            }
            Fault::Inner(error) => error,
        }
    }

    pub(super) const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(super) const fn is_list(&self) -> bool {
        matches!(self, Self::List(_))
    }

    pub(super) const fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// For detection, where nothing is demanded: what stands under a key, if this is an object that has it.
    pub(super) fn peek(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(parts) => parts.get(key),
            _ => None,
        }
    }

    /// For detection: the text under a key.
    pub(super) fn peek_text(&self, key: &str) -> Option<&str> {
        self.peek(key).and_then(Self::as_text)
    }

    pub(super) fn object(&self) -> Read<'_, &BTreeMap<String, Self>> {
        match self {
            Self::Object(parts) => Ok(parts),
            _ => self.broken("an object"),
        }
    }

    pub(super) fn items(&self) -> Read<'_, &[Self]> {
        match self {
            Self::List(items) => Ok(items),
            _ => self.broken("a list"),
        }
    }

    pub(super) fn text(&self) -> Read<'_, &str> {
        match self {
            Self::Text(text) => Ok(text),
            _ => self.broken("a text"),
        }
    }

    pub(super) fn number(&self) -> Read<'_, Finite> {
        match self {
            Self::Number(number) => Ok(*number),
            _ => self.broken("a number"),
        }
    }

    pub(super) fn flag(&self) -> Read<'_, bool> {
        match self {
            Self::Bool(flag) => Ok(*flag),
            _ => self.broken("`true` or `false`"),
        }
    }

    /// What stands under a key of this object. `null` is not there: many writers write it for what is empty.
    pub(super) fn get(&self, key: &str) -> Read<'_, Option<&Self>> {
        Ok(self.object()?.get(key).filter(|part| !part.is_null()))
    }

    pub(super) fn need(&self, key: &str) -> Read<'_, &Self> {
        match self.get(key)? {
            Some(part) => Ok(part),
            None => self.broken(format!("an object with `{key}`")),
        }
    }

    pub(super) fn need_text(&self, key: &str) -> Read<'_, String> {
        let part = self.need(key)?;
        match part.text()? {
            "" => part.broken("a text that is not empty"),
            text => Ok(text.to_owned()),
        }
    }

    /// A text that may be missing; an empty one is.
    pub(super) fn get_text(&self, key: &str) -> Read<'_, Option<String>> {
        match self.get(key)? {
            Some(part) => part.text().map(|text| (!text.is_empty()).then(|| text.to_owned())),
            None => Ok(None),
        }
    }

    /// An object that may be missing.
    pub(super) fn get_object(&self, key: &str) -> Read<'_, Option<&Self>> {
        match self.get(key)? {
            Some(part) => part.object().map(|_| Some(part)),
            None => Ok(None),
        }
    }

    /// A list that may be missing, which is like an empty one.
    pub(super) fn list(&self, key: &str) -> Read<'_, &[Self]> {
        self.get(key)?.map_or(Ok(&[]), Self::items)
    }

    pub(super) fn texts(&self, key: &str) -> Read<'_, Vec<String>> {
        self.list(key)?.iter().map(|item| item.text().map(str::to_owned)).collect()
    }

    /// An instant (RFC 3339). A text that is empty says nothing.
    pub(super) fn get_instant(&self, key: &str) -> Read<'_, Option<Timestamp>> {
        match self.get(key)? {
            Some(part) => match part.text()? {
                "" => Ok(None),
                text => part.instant(text).map(Some),
            },
            None => Ok(None),
        }
    }

    fn instant(&self, text: &str) -> Read<'_, Timestamp> {
        text.parse().or_else(|_| self.broken("an instant with an offset (RFC 3339)"))
    }

    /// A digest that ends this text, behind `@` when it is not all of it. `None` for one of another algorithm, which binds nothing.
    pub(super) fn digest_in(&self, text: &str) -> Read<'_, Option<Digest>> {
        let digest = text.rsplit_once('@').map_or(text, |(_, digest)| digest);
        if !digest.starts_with("sha256:") {
            return Ok(None);
        }
        digest.parse().map(Some).or_else(|_| self.broken("`sha256:` and 64 lower-case hexadecimal digits"))
    }

    /// The SHA-256 digest of an object of algorithms and hexadecimal values, as in-toto has it.
    pub(super) fn digest_under(&self, algorithm: &str) -> Read<'_, Option<Digest>> {
        match self.get(algorithm)? {
            Some(part) => part.hex().map(Some),
            None => Ok(None),
        }
    }

    /// A SHA-256 digest without its algorithm, in any case of letters.
    pub(super) fn hex(&self) -> Read<'_, Digest> {
        let text = self.text()?.to_ascii_lowercase();
        format!("sha256:{text}").parse().or_else(|_| self.broken("64 hexadecimal digits"))
    }
}

fn escaped(key: &str) -> String {
    // A key is content too, and may be as long as its writer likes.
    let key: String = key.chars().filter(|ch| !ch.is_control()).take(60).collect();
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_fault_is_a_pointer() {
        let json = parse(r#"{"a": [{"b/c": {"~": 1}}]}"#).expect("JSON");
        let fault = json.need("a").and_then(|a| a.items()).map(|items| items[0].peek("b/c").expect("it is there"));
        let inner = fault.expect("a list");
        let error = json.error("test", inner.need_text("~").expect_err("a number"));
        let ReportError::Broken { at, expected, .. } = error else { panic!("{error}") };
        assert_eq!((at.to_string().as_str(), expected.as_str()), ("`/a/0/b~1c/~0`", "a text"));
    }

    #[test]
    fn a_list_is_no_object_and_a_key_stands_once() {
        let list = parse("[1]").expect("JSON");
        assert!(matches!(list.need("0"), Err(Fault::Broken { .. })));
        for (text, place) in [(r#"{"a": 1, "a": 2}"#, (1, 16)), ("{\n", (2, 0)), ("{\"a\": 1e999}", (1, 11))] {
            let error = parse(text).expect_err("broken");
            assert!(
                matches!(&error, ReportError::Broken { at: Place::Column(line, column), .. }
                if (*line, *column) == place),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn no_error_quotes_the_document() {
        for text in [r#"{"SECRET": "SECRET", "SECRET": 1}"#, r#"{"a": SECRET}"#, r#"["SECRET" "SECRET"]"#] {
            let error = parse(text).expect_err("broken");
            assert!(!error.to_string().contains("SECRET"), "{error}");
        }
        assert_eq!(word("1.2 SECRET"), "something that is no version");
    }

    #[test]
    fn json_of_many_levels_is_refused_and_does_not_break_the_stack() {
        let deep = "[".repeat(100_000);
        assert!(parse(&deep).is_err());
    }
}
