//! How two environments differ in what is declared for them: what was deployed to each, without the names of its places. What
//! must not live here: what is live, which [`crate::drift`] compares with this.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::drift::{Deployed, Looked};
use crate::error::EngineError;
use crate::session::Session;

/// Something that is declared otherwise for two environments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Declared {
    /// `release`, `artifact`, `provider`, `setting`, `file`, `target` or `checks`.
    pub what: &'static str,
    /// Which of them, with `{environment}` where that stands; empty where there is one alone.
    pub name: String,
    /// What the first one has; nothing where it has none.
    pub left: Option<String>,
    /// What the second one has.
    pub right: Option<String>,
}

/// One side, with the words that are its own.
struct Side<'a> {
    looked: &'a Looked,
    deployed: Option<&'a Deployed>,
    /// Names that stand for a place, the longest first.
    names: Vec<(String, String)>,
}

impl<'a> Side<'a> {
    fn of(looked: &'a Looked) -> Self {
        let mut names = vec![(looked.environment.to_string(), "{environment}".to_owned())];
        for target in looked.places.iter().filter_map(|place| Some(&place.deployed.as_ref()?.inputs.target)) {
            names.extend(target.0.iter().map(|(key, value)| (value.clone(), format!("{{{key}}}"))));
        }
        names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let deployed = looked.places.iter().find_map(|place| place.deployed.as_ref());
        Self { looked, deployed, names }
    }

    /// A text without the names of this side.
    fn neutral(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, placeholder)| replaced(&text, name, placeholder))
    }

    fn settings(&self) -> BTreeMap<String, String> {
        let mut out = BTreeMap::new();
        if let Some(deployed) = self.deployed {
            leaves(&mut String::new(), &deployed.inputs.settings, &mut out);
        }
        out.into_iter().map(|(name, value)| (name, self.neutral(&value))).collect()
    }

    fn artifacts(&self) -> BTreeMap<String, String> {
        let all = self.deployed.iter().flat_map(|deployed| &deployed.inputs.artifacts);
        all.map(|(name, artifact)| (name.to_string(), artifact.digest.to_string())).collect()
    }

    /// What the files say without the names of this side, by name.
    fn files(&self, session: &Session) -> Result<BTreeMap<String, String>, EngineError> {
        let mut out = BTreeMap::new();
        for (path, digest) in self.deployed.iter().flat_map(|deployed| &deployed.inputs.files) {
            let bytes = session.kept(digest, "a file of a deployment")?;
            let text = String::from_utf8(bytes).map_or_else(|_| digest.to_string(), |text| self.neutral(&text));
            out.insert(self.neutral(path), text);
        }
        Ok(out)
    }
}

/// What is declared otherwise for these two.
///
/// # Errors
/// When the ledger does not have a file that one of them was deployed with.
pub fn declared(session: &Session, left: &Looked, right: &Looked) -> Result<Vec<Declared>, EngineError> {
    let mut out = Vec::new();
    let (left, right) = (Side::of(left), Side::of(right));
    let mut tell = |what, name: &str, left: Option<String>, right: Option<String>| {
        if left != right {
            out.push(Declared { what, name: name.to_owned(), left, right });
        }
    };
    let release = |side: &Side<'_>| side.looked.release.as_ref().map(ToString::to_string);
    tell("release", "", release(&left), release(&right));
    let (mine, theirs) = (left.artifacts(), right.artifacts());
    for name in names(&mine, &theirs) {
        tell("artifact", name, mine.get(name).cloned(), theirs.get(name).cloned());
    }
    let provider = |side: &Side<'_>| side.deployed.map(|deployed| deployed.provider.clone());
    tell("provider", "", provider(&left), provider(&right));
    let (mine, theirs) = (left.settings(), right.settings());
    for name in names(&mine, &theirs) {
        tell("setting", name, mine.get(name).cloned(), theirs.get(name).cloned());
    }
    let (mine, theirs) = (left.files(session)?, right.files(session)?);
    for name in names(&mine, &theirs) {
        tell("file", name, mine.get(name).cloned(), theirs.get(name).cloned());
    }
    let targets = |side: &Side<'_>| -> BTreeSet<String> {
        side.looked.places.iter().map(|place| place.target.to_string()).collect()
    };
    // One place is one place, whatever it is called.
    let (mine, theirs) = (targets(&left), targets(&right));
    if mine.len() != 1 || theirs.len() != 1 {
        for name in mine.symmetric_difference(&theirs) {
            let has = |targets: &BTreeSet<String>| targets.contains(name).then(|| name.clone());
            tell("target", name, has(&mine), has(&theirs));
        }
    }
    let checks = |side: &Side<'_>| {
        let environment = session.governance().pipeline.environments.get(&side.looked.environment)?;
        let checks: BTreeSet<String> = environment.verify.iter().map(ToString::to_string).collect();
        Some(checks.into_iter().collect::<Vec<_>>().join(", "))
    };
    tell("checks", "", checks(&left), checks(&right));
    Ok(out)
}

fn names<'m, V>(left: &'m BTreeMap<String, V>, right: &'m BTreeMap<String, V>) -> BTreeSet<&'m str> {
    left.keys().chain(right.keys()).map(String::as_str).collect()
}

/// Replaces a name where it stands as a word of its own.
fn replaced(text: &str, name: &str, placeholder: &str) -> String {
    let inside = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '{' || c == '}');
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(name).filter(|_| !name.is_empty()) {
        let (before, after) = (&rest[..at], &rest[at + name.len()..]);
        let alone = !inside(before.chars().next_back().or(out.chars().next_back())) && !inside(after.chars().next());
        out.push_str(before);
        out.push_str(if alone { placeholder } else { name });
        rest = after;
    }
    out + rest
}

/// Every single value of settings, by its way.
fn leaves(way: &mut String, value: &Value, out: &mut BTreeMap<String, String>) {
    let length = way.len();
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                way.push_str(if length == 0 { "" } else { "." });
                way.push_str(key);
                leaves(way, value, out);
                way.truncate(length);
            }
        }
        Value::Null => {}
        Value::String(text) => drop(out.insert(way.clone(), text.clone())),
        other => drop(out.insert(way.clone(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn a_name_is_taken_out_where_it_is_a_word_and_nowhere_else() {
        let neutral = |text: &str| replaced(text, "qa", "{environment}");
        assert_eq!(neutral("values/qa.yaml"), "values/{environment}.yaml");
        assert_eq!(neutral("http://api.qa.internal qa"), "http://api.{environment}.internal {environment}");
        assert_eq!(neutral("aqua, qa1, {qa}"), "aqua, qa1, {qa}");
    }
}
