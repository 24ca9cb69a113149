//! CVSS vectors. What lives here: a reader that refuses what does not have the whole base metric group; the crate `cvss` scores
//! `CVSS:3.1/AV:N` as 0.0, which would make a broken vector a harmless one. The score is that of the base metrics: what a vector says of
//! time and environment is somebody else's environment.

use cvss::Cvss;
use promo_core::evidence::{Finite, Score};

use super::json::{Json, Read};

/// A score as a document states it.
pub(super) fn stated(at: &Json) -> Read<'_, Finite> {
    let value = at.number()?;
    if (0.0..=10.0).contains(&value.get()) { Ok(value) } else { at.broken("a score from 0 to 10") }
}

/// A vector with its base score.
pub(super) fn of_vector<'t>(at: &'t Json, vector: &str, source: Option<String>) -> Read<'t, Score> {
    let Some((value, method)) = scored(vector) else {
        return at.broken("a CVSS vector (2.0, 3.0, 3.1 or 4.0) with its whole base metric group");
    };
    Ok(Score { value, method, source })
}

/// Base metrics that a vector must have, by its version.
const BASE: [(&str, &[&str]); 4] = [
    ("CVSS:4.0", &["AV", "AC", "AT", "PR", "UI", "VC", "VI", "VA", "SC", "SI", "SA"]),
    ("CVSS:3.1", &["AV", "AC", "PR", "UI", "S", "C", "I", "A"]),
    ("CVSS:3.0", &["AV", "AC", "PR", "UI", "S", "C", "I", "A"]),
    ("CVSS:2.0", &["AV", "AC", "Au", "C", "I", "A"]),
];

fn scored(vector: &str) -> Option<(Finite, String)> {
    if vector.len() > 500 {
        return None;
    }
    // Vectors of CVSS 2 have no prefix, and in old documents they stand in brackets.
    let bare = vector.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(vector);
    let (method, base) = BASE.iter().find(|(prefix, _)| bare.split('/').next() == Some(prefix)).unwrap_or(&BASE[3]);
    let name = |metric: &'_ str| metric.split_once(':').map_or_else(String::new, |(name, _)| name.to_owned());
    let metrics: Vec<(String, &str)> = bare.split('/').map(|metric| (name(metric), metric)).collect();
    if !base.iter().all(|base| metrics.iter().any(|(name, _)| name == base)) {
        return None;
    }
    // All of it is to be a vector, and the base is what is scored.
    let bare = bare.strip_prefix("CVSS:2.0/").unwrap_or(bare);
    let of_base: Vec<&str> =
        metrics.iter().filter(|(name, _)| base.contains(&name.as_str())).map(|(_, metric)| *metric).collect();
    let of_base = of_base.join("/");
    let score = match *method {
        "CVSS:2.0" => {
            bare.parse::<cvss::v2::Vector>().ok()?;
            cvss::v2::Vector::score(&of_base.parse().ok()?).value()
        }
        prefix => {
            bare.parse::<Cvss>().ok()?;
            format!("{prefix}/{of_base}").parse::<Cvss>().ok()?.score()
        }
    };
    Finite::new(score).ok().map(|value| (value, (*method).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_every_version_are_scored_as_their_specifications_have_it() {
        for (vector, score, method) in [
            ("AV:N/AC:L/Au:N/C:P/I:P/A:P", 7.5, "CVSS:2.0"),
            ("(AV:L/AC:M/Au:N/C:N/I:N/A:P)", 1.9, "CVSS:2.0"),
            ("CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8, "CVSS:3.0"),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1, "CVSS:3.1"),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", 9.3, "CVSS:4.0"),
            // What time and an environment make of it does not make it harmless.
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/E:U/RL:O/MC:N/MI:N/MA:N", 9.8, "CVSS:3.1"),
            ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:H/SC:N/SI:N/SA:N/E:U", 8.7, "CVSS:4.0"),
        ] {
            let found = scored(vector).unwrap_or_else(|| panic!("{vector}"));
            assert_eq!((found.0.get(), found.1.as_str()), (score, method), "{vector}");
        }
    }

    #[test]
    fn vectors_that_are_cut_off_are_refused() {
        let whole = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H";
        for end in 0..whole.len() {
            assert_eq!(scored(&whole[..end]), None, "{}", &whole[..end]);
        }
        for vector in [
            "CVSS:3.1/AV:N",
            "CVSS:5.0/AV:N",
            "AV:N/AC:L",
            "nonsense",
            "CVSS:3.1/AV:X/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
            "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H/nonsense",
        ] {
            assert_eq!(scored(vector), None, "{vector}");
        }
        let two = "AV:N/AC:L/Au:N/C:P/I:P/A:P";
        for end in 0..two.len() {
            assert_eq!(scored(&two[..end]), None, "{}", &two[..end]);
        }
        let four = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N";
        for end in 0..four.len() {
            assert_eq!(scored(&four[..end]), None, "{}", &four[..end]);
        }
    }
}
