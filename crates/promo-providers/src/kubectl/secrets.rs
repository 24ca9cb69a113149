//! What of an overlay is secret: kustomize quotes what it cannot make sense of. What must not live here: what it says beside that.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::references::joined;
use crate::masks::{self, Masks};

/// What stands in a Secret beside what is secret.
const ABOUT: [&str; 5] = ["apiVersion", "kind", "metadata", "type", "immutable"];
/// Keys under which a text is written out in place that could stand in a file.
const IN_PLACE: [&str; 7] =
    ["patch", "patches", "patchesStrategicMerge", "jsonOp", "generators", "transformers", "validators"];

/// What is secret in these files: all that stands in Secrets, in what is patched into them and in what they are generated from, and
/// whatever cannot be read.
pub(super) fn of(files: &BTreeMap<String, Vec<u8>>) -> Masks {
    let mut found = Found::default();
    for (path, bytes) in files {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        found.text(directory, &String::from_utf8_lossy(bytes), false);
    }
    for path in std::mem::take(&mut found.sources) {
        let text = String::from_utf8_lossy(files.get(&path).map_or(&[][..], Vec::as_slice));
        masks::opaque(&text, &mut found.texts);
    }
    Masks::new(found.texts)
}

/// Whether what a patch is for could be a Secret: it is known by a name or a label, or its kind is a pattern.
fn may_be_secret(target: &Value) -> bool {
    let kind = target.get("kind").and_then(Value::as_str);
    kind.is_none_or(|kind| kind == "Secret" || !kind.chars().all(char::is_alphanumeric))
}

#[derive(Default)]
struct Found {
    texts: Vec<String>,
    /// Files that Secrets are generated from or patched with.
    sources: BTreeSet<String>,
}

impl Found {
    /// What could stand in a file. What is neither a table nor a list is no YAML of kustomize's.
    fn text(&mut self, directory: &str, text: &str, secret: bool) {
        let options = serde_saphyr::options! { with_snippet: false };
        let read: Result<Vec<Value>, _> = serde_saphyr::from_multiple_with_options(text, options);
        match read {
            Ok(all) if !all.iter().any(Value::is_string) => {
                all.iter().for_each(|document| self.value(directory, document, secret));
            }
            _ => masks::opaque(text, &mut self.texts),
        }
    }

    fn value(&mut self, directory: &str, value: &Value, secret: bool) {
        match value {
            Value::Object(table) => self.table(directory, table, secret),
            Value::Array(items) => items.iter().for_each(|item| self.value(directory, item, secret)),
            leaf if secret => self.leaf(leaf),
            _ => {}
        }
    }

    fn table(&mut self, directory: &str, table: &Map<String, Value>, secret: bool) {
        let kind = table.get("kind").and_then(Value::as_str).unwrap_or_default();
        if kind == "SecretGenerator" {
            return self.generated(directory, table);
        }
        let own = kind == "Secret" && table.contains_key("metadata");
        // A patch says what it is of beside it, or not before it is read.
        let of_secret = table.get("target").is_some_and(may_be_secret);
        if let (true, Some(path)) = (of_secret, table.get("path").and_then(Value::as_str)) {
            self.sources.extend(joined(directory, path));
        }
        let step = table.contains_key("op");
        for (key, value) in table {
            match (key.as_str(), value) {
                ("secretGenerator", Value::Array(items)) => {
                    items.iter().filter_map(Value::as_object).for_each(|item| self.generated(directory, item));
                }
                (key, value) if IN_PLACE.contains(&key) && !own => self.in_place(directory, value, secret || of_secret),
                (key, _) if own && ABOUT.contains(&key) => {}
                ("value", value) if step => self.value(directory, value, true),
                (_, value) => self.value(directory, value, secret || own),
            }
        }
    }

    fn in_place(&mut self, directory: &str, value: &Value, secret: bool) {
        match value {
            // A path is one word.
            Value::String(text) if text.contains(char::is_whitespace) => self.text(directory, text, secret),
            Value::Array(items) => items.iter().for_each(|item| self.in_place(directory, item, secret)),
            value => self.value(directory, value, secret),
        }
    }

    /// An entry of `secretGenerator`.
    fn generated(&mut self, directory: &str, entry: &Map<String, Value>) {
        let texts = |key: &str| match entry.get(key) {
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(text)) => vec![text.as_str()],
            _ => Vec::new(),
        };
        for literal in texts("literals") {
            masks::opaque(literal, &mut self.texts);
        }
        for source in ["files", "envs", "env"].into_iter().flat_map(texts) {
            let path = source.split_once('=').map_or(source, |(_, path)| path);
            self.sources.extend(joined(directory, path));
        }
    }

    fn leaf(&mut self, leaf: &Value) {
        masks::leaves(leaf, &mut self.texts);
        let packed = leaf.as_str().and_then(|text| STANDARD.decode(text.trim()).ok());
        if let Some(text) = packed.and_then(|bytes| String::from_utf8(bytes).ok()) {
            masks::lines(&text, &mut self.texts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(files: &[(&str, &str)], said: &str) -> String {
        let files = files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
        of(&files).masked(said)
    }

    #[test]
    fn s13_4_what_becomes_a_secret_is_masked_wherever_it_stands() {
        let generated = "secretGenerator: [{ name: a, literals: [hunter21, 'login=hunter22'], files: [../own/key.txt], envs: [a.env] }]\n";
        let files = [
            ("over/kustomization.yaml", generated),
            // Both would be YAML like any other.
            ("own/key.txt", "a: hunter23\n"),
            ("over/a.env", "PASSWORD=hunter24\n"),
            (
                "secret.yaml",
                "apiVersion: v1\nkind: List\nitems:\n- { apiVersion: v1, kind: Secret, metadata: { name: web-login }, data: { a: aHVudGVyMjU= } }\n",
            ),
            ("broken.yaml", "kind: Secret\nstringData: { a: *hunter26 }\n"),
            ("map.yaml", "kind: ConfigMap\nmetadata: { name: settings }\ndata: { level: everything }\n"),
        ];
        let said = "hunter21 hunter22 login=hunter22 hunter23 hunter24 hunter25 aHVudGVyMjU= hunter26 of web-login, settings: everything";
        let told = "(masked) (masked) (masked) (masked) (masked) (masked) (masked) (masked) of web-login, settings: everything";
        assert_eq!(masked(&files, said), told);
    }

    #[test]
    fn s13_4_what_is_patched_into_a_secret_is_masked_in_each_way_of_patching() {
        for patch in [
            "patches: [{ patch: \"kind: Secret\\nmetadata: { name: a }\\nstringData: { a: hunter22 }\" }]",
            "patches: [{ patch: \"metadata: { name: a }\\nstringData: { a: hunter22 }\", target: { kind: Secret } }]",
            "patches: [{ patch: \"- { op: add, path: /stringData/a, value: hunter22 }\", target: { kind: Secret } }]",
            "patchesStrategicMerge: [\"kind: Secret\\nmetadata: { name: a }\\nstringData: { a: hunter22 }\"]",
            "patches: [{ patch: \"kind: Secret\\nstringData: hunter22: x\" }]",
            "generators: [\"apiVersion: builtin\\nkind: SecretGenerator\\nmetadata: { name: a }\\nliterals: [hunter22]\"]",
        ] {
            let files = [("kustomization.yaml", patch)];
            assert_eq!(masked(&files, "of a: hunter22 is wrong"), "of a: (masked) is wrong", "{patch}");
        }
        for target in ["{ kind: Secret }", "{ name: a }", "{ kind: Sec.* }", "{ labelSelector: app=a }"] {
            let kustomization = format!("patches: [{{ path: ../patch.yaml, target: {target} }}]");
            let files = [
                ("over/kustomization.yaml", kustomization.as_str()),
                ("patch.yaml", "kind: any\nstringData: hunter22\n"),
            ];
            assert_eq!(masked(&files, "wrong node kind: hunter22"), "wrong node kind: (masked)", "{target}");
        }
        let file = [("patch.yaml", "- { op: replace, path: /data/a, value: hunter22 }\n")];
        assert_eq!(masked(&file, "hunter22 in /data/a"), "(masked) in /data/a");
    }
}
