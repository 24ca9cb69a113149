//! Numbers with what they count, as people write them. What must not live here: numbers with units, which `gate` and others word.

use alloc::format;
use alloc::string::String;
use core::fmt::Display;

/// A number with its noun: `1 pod`, `2 pods`.
#[must_use]
pub fn counted(number: impl Display, noun: &str) -> String {
    let number = format!("{number}");
    let s = plural(&number);
    format!("{number} {noun}{s}")
}

/// A part of several: `0 of 1 pod`, `1 of 2 pods`.
#[must_use]
pub fn of(part: impl Display, whole: impl Display, noun: &str) -> String {
    format!("{part} of {}", counted(whole, noun))
}

/// The verb that goes with a number: `1 pod is`, `2 pods are`.
#[must_use]
pub fn is(number: impl Display) -> &'static str {
    if plural(&format!("{number}")).is_empty() { "is" } else { "are" }
}

/// The same of what was done: `1 pod has`, `2 pods have`.
#[must_use]
pub fn has(number: impl Display) -> &'static str {
    if plural(&format!("{number}")).is_empty() { "has" } else { "have" }
}

fn plural(number: &str) -> &'static str {
    if number == "1" { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::{counted, has, is, of};

    #[test]
    fn one_is_no_plural_and_nothing_is_one() {
        assert_eq!(
            (counted(0, "pod"), counted(1, "pod"), counted(21, "pod")),
            ("0 pods".into(), "1 pod".into(), "21 pods".into())
        );
        assert_eq!((of(0, 1, "file"), of(1, 2, "file")), ("0 of 1 file".into(), "1 of 2 files".into()));
        assert_eq!((is(1), is(2), has(1), has(0)), ("is", "are", "has", "have"));
    }
}
