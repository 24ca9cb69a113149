//! Canonical JSON: RFC 8785 (JSON Canonicalization Scheme), restricted to integers, so that one value has one spelling
//! and its digest can be recomputed in any language.

use alloc::string::String;
use alloc::vec::Vec;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::digest::Digest;

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
    let value = serde_json::to_value(value).map_err(|e| CanonicalError::Json(alloc::format!("{e}")))?;
    let mut out = Vec::new();
    write(&value, &mut out)?;
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

fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), CanonicalError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => {
            let magnitude = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            if magnitude.is_none_or(|m| m > MAX_INTEGER) {
                return Err(CanonicalError::Number(alloc::format!("{number}")));
            }
            out.extend_from_slice(alloc::format!("{number}").as_bytes());
        }
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(map) => {
            // RFC 8785 section 3.2.3: keys are sorted by their UTF-16 code units.
            let mut entries: Vec<_> = map.iter().collect();
            // Only beyond ASCII do they order otherwise than bytes.
            if entries.iter().all(|(key, _)| key.is_ascii()) {
                entries.sort_unstable_by_key(|(key, _)| *key);
            } else {
                entries.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            }
            out.push(b'{');
            for (i, (key, item)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_string(key, out);
                out.push(b':');
                write(item, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

/// RFC 8785 section 3.2.2.2: short escapes where JSON has them, `\u00xx` in lower case for other controls, else as is.
fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    // All that is escaped is ASCII, so whole stretches between escapes are copied as they are.
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, 0..=0x1f | b'"' | b'\\')) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            control => out.extend_from_slice(alloc::format!("\\u{control:04x}").as_bytes()),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
}
