//! What a release says of itself, from what its artifacts say and what was given with it (S6.4). What must not live here:
//! reading artifacts, and what follows from who wrote or built them.

use std::collections::{BTreeMap, BTreeSet};

use promo_core::requirement::need;

/// Who wrote what is in an artifact: identities or addresses, separated by commas.
pub(crate) const AUTHORS: &str = "authors";
/// Who built it.
pub(crate) const BUILDER: &str = "builder";

type Metadata = BTreeMap<String, String>;

/// The metadata of a release. A key counts where every artifact that has it says the same; the authors are those of all of
/// them; and authors and builder are open where one names nobody. What was given may add what is open, and take nothing away.
///
/// # Errors
/// In words, when what was given contradicts an artifact.
pub(crate) fn of_release(artifacts: &[Metadata], given: Metadata) -> Result<Metadata, String> {
    let mut out = Metadata::new();
    let keys: BTreeSet<&String> = artifacts.iter().flat_map(BTreeMap::keys).chain(given.keys()).collect();
    for key in keys {
        let said: BTreeSet<&str> = artifacts.iter().filter_map(|a| a.get(key)).map(String::as_str).collect();
        let given = given.get(key).map(String::as_str);
        let silent = artifacts.iter().any(|artifact| !artifact.contains_key(key));
        let value = match key.as_str() {
            // A list without a name is as good as none: it is known by its key alone whether there is one (S12.5).
            AUTHORS => authors(artifacts, given)?.filter(|list| !names(Some(list)).is_empty()),
            // One that does not say who built it may have been built by anybody.
            BUILDER if silent && given.is_none() => None,
            _ => agreed(key, &said, given)?,
        };
        out.extend(value.map(|value| (key.clone(), value)));
    }
    Ok(out)
}

/// What the build said of each of several artifacts: what the artifact says itself, and what was given for the release. Who wrote and who built it
/// is said of a release as a whole.
pub(crate) fn of_each<'a, N: Copy>(artifacts: &[(N, &'a Metadata)], given: &'a Metadata) -> Vec<(N, &'a str, &'a str)> {
    let mut out = Vec::new();
    for (name, own) in artifacts.iter().filter(|_| artifacts.len() > 1) {
        let all = given.iter().chain(own.iter().filter(|(key, _)| !given.contains_key(*key)));
        let all = all.filter(|(key, _)| ![AUTHORS, BUILDER].contains(&key.as_str()));
        out.extend(all.map(|(key, value)| (*name, key.as_str(), value.as_str())));
    }
    out
}

fn agreed(key: &str, said: &BTreeSet<&str>, given: Option<&str>) -> Result<Option<String>, String> {
    let another = |label: &&&str| given.is_some_and(|given| !need::same(key, label, given));
    if let (Some(given), Some(label)) = (given, said.iter().find(another)) {
        return Err(format!("`{key}` was given as `{given}`, and an artifact says `{label}` of itself: leave it out"));
    }
    // Where artifacts contradict each other, none of them speaks for the release.
    let alike = |first: &&str| said.iter().all(|other| need::same(key, first, other));
    Ok(given.or_else(|| said.first().copied().filter(alike)).map(String::from))
}

fn authors(artifacts: &[Metadata], given: Option<&str>) -> Result<Option<String>, String> {
    let of: Vec<BTreeSet<&str>> = artifacts.iter().map(|a| names(a.get(AUTHORS).map(String::as_str))).collect();
    let all: BTreeSet<&str> = of.iter().flatten().copied().collect();
    let Some(given) = given else {
        let known = !all.is_empty() && of.iter().all(|names| !names.is_empty());
        return Ok(known.then(|| Vec::from_iter(all).join(",")));
    };
    match all.difference(&names(Some(given))).next() {
        Some(left_out) => Err(format!(
            "`{AUTHORS}` was given as `{given}`, and an artifact names `{left_out}` as well: add that name"
        )),
        None => Ok(Some(given.to_owned())),
    }
}

/// The names in a list of authors.
pub(crate) fn names(list: Option<&str>) -> BTreeSet<&str> {
    list.unwrap_or_default().split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(key: &str, value: &str) -> Metadata {
        if value.is_empty() { Metadata::new() } else { [(key.to_owned(), value.to_owned())].into() }
    }

    fn release(key: &str, artifacts: &[&str], given: &str) -> Result<Option<String>, String> {
        let artifacts: Vec<Metadata> = artifacts.iter().map(|value| metadata(key, value)).collect();
        of_release(&artifacts, metadata(key, given)).map(|mut out| out.remove(key))
    }

    #[test]
    fn s6_4_authors_are_those_of_every_artifact_and_open_where_one_names_nobody() {
        for (artifacts, given, expected) in [
            (&["dana", "eli,dana"][..], "", Ok(Some("dana,eli"))),
            (&["dana", ""], "", Ok(None)),
            (&["dana", " , "], "", Ok(None)),
            (&["", ""], "", Ok(None)),
            (&["dana", ""], "eli, dana", Ok(Some("eli, dana"))),
            (&["", ""], "eli", Ok(Some("eli"))),
            (&["dana", ""], "eli", Err("names `dana`")),
            (&["dana", "eli"], "dana", Err("names `eli`")),
        ] {
            match (release(AUTHORS, artifacts, given), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.as_deref(), expected, "{artifacts:?} {given:?}"),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{artifacts:?} {given:?}: {found}"),
                (found, _) => panic!("{artifacts:?} {given:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn s6_4_where_artifacts_contradict_each_other_none_speaks_for_the_release() {
        for (artifacts, given, expected) in [
            (&["ci", "ci"][..], "", Ok(Some("ci"))),
            (&["ci", ""], "", Ok(None)),
            (&["ci", ""], "ci", Ok(Some("ci"))),
            (&["ci", "by hand"], "", Ok(None)),
            (&["ci", "ci"], "ci", Ok(Some("ci"))),
            (&["", ""], "ci", Ok(Some("ci"))),
            (&["ci", "by hand"], "ci", Err("says `by hand`")),
            (&["by hand", "by hand"], "ci", Err("says `by hand`")),
        ] {
            match (release(BUILDER, artifacts, given), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.as_deref(), expected, "{artifacts:?} {given:?}"),
                (Err(found), Err(expected)) => assert!(found.contains(expected), "{artifacts:?} {given:?}: {found}"),
                (found, _) => panic!("{artifacts:?} {given:?}: {found:?}"),
            }
        }
    }
}
