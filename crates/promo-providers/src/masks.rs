//! What is not told where a tool quotes what it was given. What must not live here: which of it is secret, and what a tool says beside it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value};

use crate::kubernetes::fingerprint;
use crate::kubernetes::object::Object;

/// In the place of a value.
pub(crate) const MASK: &str = "(masked)";
/// A value of fewer characters is masked only where it stands in quotes: it could be any word.
const SHORT: usize = 4;
/// One of so many is masked also in the middle of a word.
const LONG: usize = 8;

/// Texts that are not told.
#[derive(Debug, Default)]
pub(crate) struct Masks(Vec<String>);

impl Masks {
    /// These, and each of them as it stands in a Secret.
    pub(crate) fn new(mut found: Vec<String>) -> Self {
        let packed: Vec<String> =
            found.iter().filter(|text| text.len() >= SHORT).map(|text| STANDARD.encode(text)).collect();
        found.extend(packed);
        found.retain(|text| !text.is_empty());
        // The longest first: one value can be the beginning of another.
        found.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        found.dedup();
        Self(found)
    }

    /// The values of these files and of this table. A file that is no YAML is taken word by word.
    pub(crate) fn of<'a>(files: impl Iterator<Item = &'a [u8]>, set: &Value) -> Self {
        let mut found = Vec::new();
        leaves(set, &mut found);
        for bytes in files {
            let text = String::from_utf8_lossy(bytes);
            let options = serde_saphyr::options! { with_snippet: false };
            match serde_saphyr::from_str_with_options::<Value>(&text, options) {
                Ok(values) => leaves(&values, &mut found),
                // Other readers take what this one does not, such as a key that stands twice.
                Err(_) => opaque(&text, &mut found),
            }
        }
        Self::new(found)
    }

    /// The same without what a plan shows anyway: names of objects, and whatever else stands in one that is no Secret.
    pub(crate) fn but_shown<'a>(mut self, objects: impl Iterator<Item = &'a Object>) -> Self {
        let shown = objects.filter(|object| object.id.kind.kind != "Secret");
        let shown: String = shown.map(|object| fingerprint::spelt(&object.value)).collect();
        self.0.retain(|text| !shown.contains(text.as_str()));
        self
    }

    /// A text without them.
    pub(crate) fn masked(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for value in &self.0 {
            // Of a value with quotes or line breaks in it, as Go writes it.
            let spelt = Value::from(value.as_str()).to_string();
            let spelt = &spelt[1..spelt.len() - 1];
            for value in [value.as_str(), spelt] {
                text = without(&text, value);
            }
        }
        self.without_beginnings(&text)
    }

    /// A text without the beginnings of them that a reader of YAML in Go tells: `` `hunter2...` ``.
    fn without_beginnings(&self, text: &str) -> String {
        let mut parts = text.split("...`");
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            if let Some(at) = out.rfind('`') {
                let begun = &out[at + 1..];
                if !begun.is_empty() && self.0.iter().any(|value| value.starts_with(begun)) {
                    out.truncate(at + 1);
                    out.push_str(MASK);
                }
            }
            out.push_str("...`");
            out.push_str(part);
        }
        out
    }
}

/// Every text and number of a tree, long texts line by line as well.
pub(crate) fn leaves(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.values().for_each(|value| leaves(value, out)),
        Value::Array(items) => items.iter().for_each(|value| leaves(value, out)),
        Value::String(text) => lines(text, out),
        Value::Number(number) => {
            out.push(number.to_string());
            out.extend(as_go_writes(number));
        }
        Value::Bool(_) | Value::Null => {}
    }
}

/// A text, and each of its lines that is long enough.
pub(crate) fn lines(text: &str, out: &mut Vec<String>) {
    out.push(text.trim().to_owned());
    out.extend(text.lines().map(|line| line.trim().to_owned()).filter(|line| line.len() >= SHORT));
}

/// A text of which nothing is known: each line, what stands in it behind a key, and each word of that.
pub(crate) fn opaque(text: &str, out: &mut Vec<String>) {
    for line in text.lines().map(str::trim) {
        let value = [line.split_once('='), line.split_once(": ")].into_iter().flatten().map(|(_, value)| value);
        let value = value.min_by_key(|value| std::cmp::Reverse(value.len())).unwrap_or(line);
        let words = value.split(|c: char| c.is_whitespace() || "\"'`{}[](),*&".contains(c));
        let words = words.flat_map(|word| word.split([':', '=']).chain([word]));
        let all = [line, value, value.trim_matches(['"', '\''])].into_iter().chain(words);
        out.extend(all.map(|text| text.trim().to_owned()).filter(|text| text.len() >= SHORT));
    }
}

/// A number in the way in which Go writes one that came out of YAML: a million is `1e+06`, as in a template without `int`.
fn as_go_writes(number: &Number) -> Option<String> {
    let shortest = format!("{:e}", number.as_f64()?);
    let (digits, exponent) = shortest.split_once('e')?;
    let exponent: i32 = exponent.parse().ok()?;
    if (-4..6).contains(&exponent) {
        return None;
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    Some(format!("{digits}e{sign}{:02}", exponent.abs()))
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A text without a value in it.
fn without(text: &str, value: &str) -> String {
    let length = value.chars().count();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(value) {
        let (before, after) = (&rest[..at], &rest[at + value.len()..]);
        let (last, next) = (before.chars().next_back().or(out.chars().next_back()), after.chars().next());
        let alone = |c: Option<char>| !c.is_some_and(is_word);
        let quoted = last.is_some_and(|c| "\"'`".contains(c)) && last == next;
        out.push_str(before);
        out.push_str(if length >= LONG || quoted || (length >= SHORT && alone(last) && alone(next)) {
            MASK
        } else {
            value
        });
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn s13_4_a_number_is_masked_as_it_stands_in_the_file_and_as_go_writes_it() {
        let values = json!({
            "million": 1_000_000, "pin": 12_345_678, "float": 2_500_000.5, "small": 0.000_012_5, "below": -47_110_000,
            "plain": 471_112, "huge": 1e22,
        });
        let masks = Masks::of(std::iter::empty(), &values);
        for written in [
            "1000000",
            "1e+06",
            "12345678",
            "1.2345678e+07",
            "2.5000005e+06",
            "1.25e-05",
            "-4.711e+07",
            "471112",
            "1e+22",
        ] {
            // As `printf`, `quote` and a verb of the wrong type write it.
            for said in [format!("pin {written} is wrong"), format!("\"{written}\""), format!("%!s(float64={written})")]
            {
                let told = masks.masked(&said);
                assert!(told.contains(MASK) && !told.contains(written), "{said}: {told}");
            }
        }
        assert_eq!(masks.masked("line 100 of 1e+05"), "line 100 of 1e+05");
    }

    #[test]
    fn s13_4_values_that_only_other_readers_take_are_masked_without_their_quotes_and_brackets() {
        for file in ["a: 1\na: 2\npassword: \"hunter22\"\n", "a: 1\na: 2\nlogin: { password: hunter22, user: x }\n"] {
            let masks = Masks::of([file.as_bytes()].into_iter(), &json!({}));
            assert_eq!(masks.masked("bad hunter22"), "bad (masked)", "{file}");
        }
    }

    #[test]
    fn s13_4_the_beginning_of_a_value_is_masked_where_it_was_cut_off() {
        let masks = Masks::new(vec!["hunter2hunter2".into()]);
        assert_eq!(masks.masked("!!str `hunter2...` into int, `web`"), "!!str `(masked)...` into int, `web`");
        assert_eq!(masks.masked("!!str `other...`"), "!!str `other...`");
    }
}
