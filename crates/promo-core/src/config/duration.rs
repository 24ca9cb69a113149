//! Durations as people write them: `"30s"`, `"10m"`, `"1h 30m"`, `"7d"`, `"2w"`.

use alloc::format;
use alloc::string::String;

/// Longest duration that has a meaning here: ten years of 365 days, in seconds.
pub const LONGEST: u64 = 10 * 365 * 86_400;

const UNITS: [(&str, u64); 5] = [("w", 604_800), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// The seconds of a duration: whole numbers, each with one of `w`, `d` (24 hours), `h`, `m`, `s`, largest unit first.
///
/// # Errors
/// What is wrong with the text, as half a sentence.
pub fn seconds(text: &str) -> Result<u64, String> {
    let expected = "expected numbers with the units w, d, h, m, s, such as \"30s\" or \"1h 30m\"";
    let mut total = 0u64;
    let mut rest = text.trim();
    let mut allowed = UNITS.as_slice();
    if rest.is_empty() {
        return Err(expected.into());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let Ok(number) = rest[..digits].parse::<u64>() else {
            return Err(expected.into());
        };
        rest = &rest[digits..];
        let letters = rest.chars().take_while(|c| c.is_alphabetic()).map(char::len_utf8).sum();
        let unit = &rest[..letters];
        if unit.is_empty() {
            return Err(format!("the number {number} has no unit: {expected}"));
        }
        let Some(at) = allowed.iter().position(|(known, _)| *known == unit) else {
            return Err(if UNITS.iter().any(|(known, _)| *known == unit) {
                "each unit stands once, and the largest first".into()
            } else {
                format!("`{unit}` is no unit: {expected}")
            });
        };
        total = number
            .checked_mul(allowed[at].1)
            .and_then(|part| total.checked_add(part))
            .filter(|sum| *sum <= LONGEST)
            .ok_or("longer than ten years")?;
        allowed = &allowed[at + 1..];
        rest = rest[letters..].trim_start();
    }
    if total == 0 { Err("must be longer than nothing".into()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn units_add_up() {
        for (text, expected) in
            [("30s", 30), ("10m", 600), ("1h 30m", 5_400), ("1h30m", 5_400), ("7d", 604_800), ("1w 1s", 604_801)]
        {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            " ",
            "30",
            "s",
            "30 s",
            "1.5h",
            "-1h",
            "1h 1h",
            "1m 1h",
            "0s",
            "1y",
            "1h,",
            "99999999999999999999s",
            "11000d",
            "1ä",
        ] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
