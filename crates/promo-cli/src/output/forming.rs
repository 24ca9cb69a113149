//! A release that is forming, in words.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::time;
use crate::escape;
use crate::view::forming::Forming;

/// What is said where the newest tags are looked for, and are no release yet.
pub(crate) fn no_release_yet(forming: &Forming, now: Timestamp, zone: &TimeZone) -> String {
    let mut text = "no release yet: the newest artifacts may still get company\n".to_owned();
    for (name, reference) in &forming.artifacts {
        text.push_str(&format!("  {name}: {}\n", escape::line(reference)));
    }
    text.push_str(&format!("  seen first {}; {}\n", time::near(forming.since, now, zone), from(forming, now, zone)));
    text
}

/// The same in the line of a status.
pub(crate) fn line(forming: &Forming, now: Timestamp, zone: &TimeZone) -> String {
    let tag = |reference: &String| {
        let place = reference.split('@').next().unwrap_or_default();
        place.rsplit(':').next().unwrap_or_default().to_owned()
    };
    let each: Vec<String> =
        forming.artifacts.iter().map(|(name, reference)| format!("{name} {}", tag(reference))).collect();
    format!("A release is forming: {}; {}.", escape::line(&each.join(", ")), from(forming, now, zone))
}

fn from(forming: &Forming, now: Timestamp, zone: &TimeZone) -> String {
    match forming.until > now {
        true => format!(
            "a release from {} on ({}), if nothing newer comes",
            time::near(forming.until, now, zone),
            time::left(forming.until, now)
        ),
        false => "a release with the next look (`promo release add --newest`), if nothing newer came".to_owned(),
    }
}
