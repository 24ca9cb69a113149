//! Canonical JSON: RFC 8785 (JSON Canonicalization Scheme), restricted to integers, so that one value has one spelling
//! and its digest can be recomputed in any language.

mod writer;

use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::digest::Digest;
use writer::Writer;

/// Largest integer that every JSON reader keeps exact (2^53 - 1, RFC 7493 section 2.2).
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// A value that has no canonical form, or a text that is not in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// A floating point number, or an integer beyond 2^53 - 1.
    #[error(
        "the number {0} has no canonical form here: expected an integer of at most 2^53 - 1; write decimals as strings"
    )]
    Number(String),
    /// The value could not be turned into JSON, or the text not into the value.
    #[error("{0}")]
    Json(String),
    /// The text is JSON, but not in canonical form from this byte on.
    #[error("not canonical JSON: it differs from its canonical form at byte {offset}")]
    NotCanonical {
        /// First byte at which the text and its canonical form differ.
        offset: usize,
    },
}

/// The canonical bytes of `value`.
///
/// # Errors
/// [`CanonicalError::Number`] for floats and large integers, [`CanonicalError::Json`] when serialization fails.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::new();
    value.serialize(Writer(&mut out))?;
    Ok(out)
}

/// The digest of the canonical bytes of `value`.
///
/// # Errors
/// As [`to_vec`].
pub fn digest<T: Serialize + ?Sized>(value: &T) -> Result<Digest, CanonicalError> {
    to_vec(value).map(|bytes| Digest::of(&bytes))
}

/// Reads a value and refuses any spelling but the one that [`to_vec`] gives it: duplicate keys, spaces, other escapes, key
/// order, and other spellings of what is inside a text, such as `t` for the `T` of an instant.
///
/// # Errors
/// [`CanonicalError::Json`] with line and column for what is not JSON or not a `T`, [`CanonicalError::NotCanonical`].
pub fn from_slice<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, CanonicalError> {
    let value: T = serde_json::from_slice(bytes).map_err(|e| CanonicalError::Json(alloc::format!("{e}")))?;
    let canonical = to_vec(&value)?;
    if canonical != bytes {
        let offset = canonical.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        return Err(CanonicalError::NotCanonical { offset });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::string::ToString;
    use serde_json::{Value, json};

    #[test]
    fn keys_sort_by_utf16_and_strings_escape_as_rfc_8785_says() {
        // The sorting example of RFC 8785 section 3.2.3.
        let value = json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7});
        let text = String::from_utf8(to_vec(&value).unwrap()).unwrap();
        assert_eq!(text, "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}");
        assert_eq!(to_vec("\u{1}/\u{7f}\"").unwrap(), b"\"\\u0001/\x7f\\\"\"");
        let all = to_vec("a\\\u{8}\t\n\u{c}\r\u{1f}\u{e9}\u{1f600}z").unwrap();
        assert_eq!(String::from_utf8(all).unwrap(), "\"a\\\\\\b\\t\\n\\f\\r\\u001f\u{e9}\u{1f600}z\"");
    }

    #[test]
    fn numbers_that_readers_disagree_on_are_refused() {
        for bad in [json!(1.5), json!(1u64 << 53), json!(i64::MIN)] {
            assert!(matches!(to_vec(&bad), Err(CanonicalError::Number(_))), "{bad}");
        }
        assert_eq!(to_vec(&json!(-9_007_199_254_740_991i64)).unwrap(), b"-9007199254740991");
    }

    #[test]
    fn another_spelling_of_the_same_value_is_refused_at_its_place() {
        for (text, offset) in
            [("{\"a\": 1}", 5), ("{\"b\":1,\"a\":1}", 2), ("{\"a\":1,\"a\":1}", 6), ("\"\\u0041\"", 1)]
        {
            assert_eq!(from_slice::<Value>(text.as_bytes()), Err(CanonicalError::NotCanonical { offset }), "{text}");
        }
    }

    #[test]
    fn another_spelling_inside_a_text_is_refused_at_its_place() {
        use jiff::Timestamp;
        assert!(from_slice::<Timestamp>(b"\"2026-03-02T09:00:00Z\"").is_ok());
        for (text, offset) in [("\"2026-03-02t09:00:00Z\"", 11), ("\"2026-03-02T10:00:00+01:00\"", 12)] {
            let found = from_slice::<Timestamp>(text.as_bytes());
            assert_eq!(found, Err(CanonicalError::NotCanonical { offset }), "{text}");
        }
    }

    #[derive(Serialize)]
    struct Unit;

    #[derive(Serialize)]
    struct Pair(u8, &'static str);

    #[derive(Serialize)]
    enum Kind {
        Unit,
        One(Option<i8>),
        Two(bool, char),
        Named { z: u16, a: Unit },
    }

    #[derive(Serialize)]
    struct Everything {
        zebra: Vec<Kind>,
        pair: Pair,
        empty: BTreeMap<u8, u8>,
        by_number: BTreeMap<i32, &'static str>,
        by_variant: Vec<(String, f64)>,
        nothing: Option<()>,
        alpha: BTreeMap<&'static str, Value>,
        #[serde(flatten)]
        more: BTreeMap<String, u64>,
    }

    /// Whatever is told in the order of its fields is written as the tree of values would be that has no such order.
    #[test]
    fn values_of_every_shape_are_written_as_their_tree_is() {
        let more = ["zoo", "beta", "pair", "\u{1f600}", "\u{fb33}"].map(|key| (key.to_string(), 7));
        let mut all = Everything {
            zebra: alloc::vec![
                Kind::Unit,
                Kind::One(None),
                Kind::One(Some(-1)),
                Kind::Two(true, '"'),
                Kind::Named { z: 1, a: Unit }
            ],
            pair: Pair(255, "two"),
            empty: BTreeMap::new(),
            by_number: [(-10, "a"), (9, "b"), (10, "c")].into(),
            by_variant: Vec::new(),
            nothing: None,
            alpha: [("b", json!([{"y": [], "x": {}}])), ("a", json!(null))].into(),
            more: more.into(),
        };
        let told = to_vec(&all).unwrap();
        assert_eq!(told, to_vec(&serde_json::to_value(&all).unwrap()).unwrap());
        let text = String::from_utf8(told).unwrap();
        let expected = "{\"alpha\":{\"a\":null,\"b\":[{\"x\":{},\"y\":[]}]},\"beta\":7,\"by_number\":{\"-10\":\"a\",\"10\":\"c\",\"9\":\"b\"},\
                        \"by_variant\":[],\"empty\":{},\"nothing\":null,\"pair\":7,\"zebra\":[\"Unit\",{\"One\":null},{\"One\":-1},\
                        {\"Two\":[true,\"\\\"\"]},{\"Named\":{\"a\":null,\"z\":1}}],\"zoo\":7,\"\u{1f600}\":7,\"\u{fb33}\":7}";
        assert_eq!(text, expected);
        all.by_variant.push((String::new(), 0.5));
        assert_eq!(to_vec(&all), Err(CanonicalError::Number("0.5".into())));
        let keys: BTreeMap<Option<u8>, u8> = [(None, 1)].into();
        assert!(matches!(to_vec(&keys), Err(CanonicalError::Json(why)) if why.contains("key must be a string")));
    }
}
