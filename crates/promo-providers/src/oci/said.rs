//! What an artifact says of itself, and where: annotations first, then labels, then the configuration of a chart (registry.md 5.1). What must
//! not live here: reading manifests, and what follows from what they say.

use std::collections::{BTreeMap, BTreeSet};

use promo_core::requirement::{Nature, need};

use super::resolve::{PlatformImage, Resolved};

/// How many characters of a value, and how many values, are told where sources contradict each other.
const SHOWN: usize = 100;
const SHOWN_VALUES: usize = 3;

/// Annotations and labels; a key on which they differ says nothing.
pub(super) fn metadata(resolved: &Resolved) -> BTreeMap<String, String> {
    let labels = resolved.labels();
    let mut out = labels.clone();
    for (key, value) in &resolved.annotations {
        if labels.get(key).is_some_and(|label| !need::same(key, label, value)) {
            out.remove(key);
        } else {
            out.insert(key.clone(), value.clone());
        }
    }
    out
}

/// Where each of that stands, in words: of the keys that are known, the others are any number of somebody's own.
pub(super) fn places(resolved: &Resolved) -> BTreeMap<String, String> {
    let place = |key: &String| match resolved.annotations.contains_key(key) {
        true => Some(annotation(resolved)),
        false => resolved.images.first().map(|image| label(resolved, image)),
    };
    let known = |key: &&String| need::is_known(key);
    metadata(resolved).keys().filter(known).filter_map(|key| Some((key.clone(), place(key)?))).collect()
}

fn annotation(resolved: &Resolved) -> String {
    format!("the annotation of {}", resolved.digest)
}

fn label(resolved: &Resolved, image: &PlatformImage) -> String {
    match resolved.nature {
        Nature::Chart => format!("the chart in {}", image.config),
        Nature::Image | Nature::Other => format!("the label of {}", image.config),
    }
}

/// What is said of a key, of which there is more than one thing, and where. What is only spelt otherwise is one thing.
pub(super) fn contradicted(resolved: &Resolved) -> BTreeMap<String, String> {
    let mut said: BTreeMap<&str, Vec<(&str, BTreeSet<String>)>> = BTreeMap::new();
    let mut says = |key, value, place| {
        let values: &mut Vec<(&str, BTreeSet<String>)> = said.entry(key).or_default();
        match values.iter_mut().find(|(known, _)| need::same(key, known, value)) {
            Some((_, places)) => _ = places.insert(place),
            None => values.push((value, [place].into())),
        }
    };
    for (key, value) in &resolved.annotations {
        says(key.as_str(), value.as_str(), annotation(resolved));
    }
    for image in &resolved.images {
        for (key, value) in &image.labels {
            says(key.as_str(), value.as_str(), label(resolved, image));
        }
    }
    let words = |(value, places): (&str, BTreeSet<String>)| {
        let more = places.len().saturating_sub(1);
        let first = places.into_iter().next().unwrap_or_default();
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        format!("`{}` by {first}{more}", value.chars().take(SHOWN).collect::<String>())
    };
    let several = said.into_iter().filter(|(_, values)| values.len() > 1);
    several
        .map(|(key, mut values)| {
            values.sort();
            let told: Vec<String> = values.into_iter().take(SHOWN_VALUES).map(words).collect();
            (key.to_owned(), told.join(", "))
        })
        .collect()
}
