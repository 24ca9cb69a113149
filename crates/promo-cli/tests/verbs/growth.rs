//! What became of a schema since its frozen copy was made, and whether its format may become that (`docs/reference/compatibility.md`).
//! What must not live here: where schemas are, and which format may do what.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// What a format may gain within its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is signed or digested: nothing.
    Closed,
    /// It is only told: fields that may be absent.
    Told,
    /// People write it: keys that may be absent, words and alternatives.
    Written,
}

/// Words that say what a schema means to people: they decide nothing.
const PROSE: [&str; 4] = ["description", "title", "$id", "$schema"];

/// What of `new` its format may not have become, each with its place. `open` names the definitions of the old schema that may gain
/// alternatives whatever its kind, and `""` is the whole of it.
pub(crate) fn refused(old: &Value, new: &Value, kind: Kind, open: &[&str]) -> Vec<String> {
    let mut growth = Growth { old, new, kind, open, seen: BTreeSet::new(), out: Vec::new() };
    growth.schema("", old, new, open.contains(&""));
    growth.out
}

struct Growth<'a> {
    old: &'a Value,
    new: &'a Value,
    kind: Kind,
    open: &'a [&'a str],
    /// Pairs of definitions that were looked at: they may name themselves.
    seen: BTreeSet<(String, String)>,
    out: Vec<String>,
}

impl Growth<'_> {
    fn say(&mut self, at: &str, what: impl std::fmt::Display) {
        self.out.push(format!("{}: {what}", if at.is_empty() { "the whole" } else { at }));
    }

    fn schema(&mut self, at: &str, old: &Value, new: &Value, open: bool) {
        let ((old, named), (new, renamed)) = (resolve(self.old, old), resolve(self.new, new));
        let open = open || named.as_deref().is_some_and(|name| self.open.contains(&name));
        if let (Some(named), Some(renamed)) = (named, renamed)
            && !self.seen.insert((named, renamed))
        {
            return;
        }
        let (Some(before), Some(after)) = (old.as_object(), new.as_object()) else {
            if old != new {
                self.say(at, format!("was {old} and is {new}"));
            }
            return;
        };
        // What people write in one form may be written in another as well: the one that was there stays among them, as it was.
        if let (Kind::Written, false, Some(Value::Array(several))) =
            (self.kind, before.contains_key("anyOf"), after.get("anyOf"))
            && let Some(same) = several.iter().find(|one| resolve(self.new, one).0["type"] == old["type"])
        {
            self.schema(at, &old, same, open);
            return;
        }
        let words: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for word in words.into_iter().filter(|word| !PROSE.contains(&word.as_str()) && *word != "$defs") {
            let (old, new) = (before.get(word).unwrap_or(&Value::Null), after.get(word).unwrap_or(&Value::Null));
            match word.as_str() {
                "properties" => self.properties(at, old, new, after.get("required").unwrap_or(&Value::Null), open),
                "required" => self.required(at, old, new),
                "enum" => self.words(at, old, new, open),
                "type" if texts(old) == texts(new) => {}
                "oneOf" | "anyOf" => self.alternatives(at, old, new, open),
                "items" | "additionalProperties" | "propertyNames" | "not" if old.is_object() && new.is_object() => {
                    self.schema(&format!("{at}/{word}"), old, new, open && word == "not");
                }
                "patternProperties" if old.is_object() && new.is_object() => {
                    self.properties(at, old, new, &json!([]), false);
                }
                _ if old == new => {}
                _ => self.say(at, format!("{word} was {old} and is {new}")),
            }
        }
    }

    fn properties(&mut self, at: &str, old: &Value, new: &Value, required: &Value, open: bool) {
        for (name, value) in old.as_object().into_iter().flatten() {
            match new.get(name) {
                Some(now) => self.schema(&format!("{at}.{name}"), value, now, open && value.get("not").is_some()),
                None => self.say(at, format!("the field {name} is gone")),
            }
        }
        for name in new.as_object().into_iter().flat_map(serde_json::Map::keys).filter(|name| old.get(name).is_none()) {
            if self.kind == Kind::Closed {
                self.say(at, format!("the field {name} is new"));
            } else if texts(required).contains(name.as_str()) {
                self.say(at, format!("the field {name} is new, and is not optional"));
            }
        }
    }

    fn required(&mut self, at: &str, old: &Value, new: &Value) {
        let (old, new) = (texts(old), texts(new));
        for name in old.difference(&new) {
            self.say(at, format!("the field {name} is no longer always there"));
        }
        for name in new.difference(&old) {
            self.say(at, format!("the field {name} has become required"));
        }
    }

    fn words(&mut self, at: &str, old: &Value, new: &Value, open: bool) {
        let list =
            |value: &Value| value.as_array().map_or(BTreeSet::new(), |all| all.iter().map(Value::to_string).collect());
        let (old, new): (BTreeSet<String>, BTreeSet<String>) = (list(old), list(new));
        for word in old.difference(&new) {
            self.say(at, format!("the word {word} is gone"));
        }
        let may = open || self.kind == Kind::Written;
        for word in new.difference(&old).filter(|_| !may) {
            self.say(at, format!("the word {word} is new"));
        }
    }

    /// Alternatives are found again by what tells them apart, whatever their order.
    fn alternatives(&mut self, at: &str, old: &Value, new: &Value, open: bool) {
        let (old, new) = (labelled(self.old, old), labelled(self.new, new));
        for (label, value) in &old {
            match new.get(label) {
                Some(now) => self.schema(&format!("{at}|{label}"), value, now, open && label.starts_with("any other")),
                None => self.say(at, format!("the alternative {label} is gone")),
            }
        }
        let may = open || self.kind == Kind::Written;
        for label in new.keys().filter(|label| !may && !old.contains_key(*label)) {
            self.say(at, format!("the alternative {label} is new"));
        }
    }
}

fn texts(value: &Value) -> BTreeSet<&str> {
    match value {
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

/// A schema with what it refers to put in its place, and the name of the definition.
pub(crate) fn resolve(root: &Value, schema: &Value) -> (Value, Option<String>) {
    let mut out = schema.clone();
    let mut named = None;
    while let Some(reference) = out.get("$ref").and_then(Value::as_str).map(str::to_owned) {
        let name = reference.strip_prefix("#/$defs/").unwrap_or_else(|| panic!("{reference} is no definition"));
        let mut target = root["$defs"][name].clone();
        assert!(target.is_object() || target.is_boolean(), "there is no {name}");
        if let (Some(target), Some(beside)) = (target.as_object_mut(), out.as_object_mut()) {
            beside.remove("$ref");
            target.append(beside);
        }
        named.get_or_insert_with(|| name.to_owned());
        out = target;
    }
    (out, named)
}

/// The alternatives of a schema by what tells each from the others.
pub(crate) fn labelled(root: &Value, alternatives: &Value) -> BTreeMap<String, Value> {
    let mut out = BTreeMap::new();
    for one in alternatives.as_array().into_iter().flatten() {
        for (label, schema) in labels(root, one) {
            let mut free = label.clone();
            while out.contains_key(&free) {
                free.push('+');
            }
            out.insert(free, schema);
        }
    }
    out
}

fn labels(root: &Value, one: &Value) -> Vec<(String, Value)> {
    let (schema, _) = resolve(root, one);
    if let Some(word) = schema.get("const") {
        return vec![(word.as_str().map_or_else(|| word.to_string(), str::to_owned), schema)];
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let word = |word: &Value| (word.as_str().unwrap_or_default().to_owned(), json!({"const": word}));
        return words.iter().map(word).collect();
    }
    let fields = schema["properties"].as_object().into_iter().flatten();
    let tag = fields.clone().find_map(|(_, field)| resolve(root, field).0["const"].as_str().map(str::to_owned));
    if let Some(tag) = tag {
        return vec![(tag, schema)];
    }
    if let Some((name, _)) = fields.clone().find(|(_, field)| field.get("not").is_some()) {
        return vec![(format!("any other {name}"), schema)];
    }
    let label = match texts(&schema["required"]).into_iter().next() {
        Some(name) => name.to_owned(),
        None => schema["type"].as_str().unwrap_or("anything").to_owned(),
    };
    vec![(label, schema)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(fields: &Value, required: &[&str]) -> Value {
        json!({"type": "object", "properties": fields, "required": required, "additionalProperties": false})
    }

    fn base() -> Value {
        let mut base = object(
            &json!({"name": {"type": "string", "pattern": "^a"}, "age": {"type": ["integer", "null"], "minimum": 0},
                "state": {"$ref": "#/$defs/State"}, "word": {"enum": ["up", "down"]},
                "parts": {"type": "array", "items": {"$ref": "#/$defs/Part"}}}),
            &["name"],
        );
        let state = json!({"oneOf": [{"const": "absent", "type": "string"}, object(&json!({"present": {"type": "string"}}), &["present"])]});
        base["$defs"] = json!({"State": state, "Part": object(&json!({"within": {"$ref": "#/$defs/Part"}}), &[])});
        base["description"] = "A thing.".into();
        base
    }

    /// What is said of a change for each kind of format.
    fn said(edit: impl Fn(&mut Value)) -> [Vec<String>; 3] {
        let (old, mut new) = (base(), base());
        edit(&mut new);
        [Kind::Closed, Kind::Told, Kind::Written].map(|kind| refused(&old, &new, kind, &[]))
    }

    fn counts(edit: impl Fn(&mut Value)) -> [usize; 3] {
        said(edit).map(|said| said.len())
    }

    #[test]
    fn what_a_schema_says_to_people_and_the_names_and_order_of_its_parts_are_free() {
        assert_eq!(counts(|_| {}), [0, 0, 0]);
        assert_eq!(counts(|new| new["description"] = "Another.".into()), [0, 0, 0]);
        let renamed = |new: &mut Value| {
            new["$defs"]["Condition"] = new["$defs"]["State"].take();
            new["$defs"]["Condition"]["oneOf"].as_array_mut().unwrap().reverse();
            new["properties"]["state"]["$ref"] = "#/$defs/Condition".into();
            new["properties"]["age"]["type"] = json!(["null", "integer"]);
        };
        assert_eq!(counts(renamed), [0, 0, 0]);
    }

    #[test]
    fn what_is_gone_or_narrower_or_wider_is_refused_everywhere() {
        let edits: [fn(&mut Value); 9] = [
            |new| drop(new["properties"].as_object_mut().unwrap().remove("age")),
            |new| new["required"] = json!([]),
            |new| new["required"] = json!(["name", "word"]),
            |new| new["properties"]["age"]["type"] = json!("integer"),
            |new| new["properties"]["name"]["type"] = json!(["string", "null"]),
            |new| new["properties"]["name"]["pattern"] = json!("^b"),
            |new| new["properties"]["word"]["enum"] = json!(["up"]),
            |new| drop(new["$defs"]["State"]["oneOf"].as_array_mut().unwrap().remove(0)),
            |new| new["$defs"]["Part"]["properties"]["within"] = json!({"type": "string"}),
        ];
        for (number, edit) in edits.into_iter().enumerate() {
            let said = said(edit);
            assert!(said.iter().all(|said| !said.is_empty()), "{number}: {said:?}");
        }
    }

    #[test]
    fn a_field_that_may_be_absent_is_refused_only_of_what_is_signed_and_one_that_may_not_everywhere() {
        let optional = |new: &mut Value| new["properties"]["hue"] = json!({"type": "string"});
        assert_eq!(counts(optional), [1, 0, 0]);
        assert_eq!(said(optional)[0], ["the whole: the field hue is new"]);
        let nested = |new: &mut Value| new["$defs"]["Part"]["properties"]["hue"] = json!({"type": "string"});
        assert_eq!(counts(nested), [1, 0, 0]);
        let required = |new: &mut Value| {
            new["properties"]["hue"] = json!({"type": "string"});
            new["required"] = json!(["name", "hue"]);
        };
        assert!(said(required).iter().all(|said| !said.is_empty()));
    }

    #[test]
    fn a_word_or_an_alternative_is_gained_only_by_what_people_write_and_where_it_is_open() {
        let word = |new: &mut Value| new["properties"]["word"]["enum"] = json!(["up", "down", "left"]);
        assert_eq!(counts(word), [1, 1, 0]);
        let alternative = |new: &mut Value| {
            new["$defs"]["State"]["oneOf"].as_array_mut().unwrap().push(json!({"const": "unknown", "type": "string"}));
        };
        assert_eq!(counts(alternative), [1, 1, 0]);
        let form = |new: &mut Value| {
            let list = new["properties"]["parts"].take();
            new["properties"]["parts"] = json!({"anyOf": [list, object(&json!({"all": {"type": "string"}}), &[])]});
        };
        let said = counts(form);
        assert!(said[0] > 0 && said[1] > 0 && said[2] == 0, "{said:?}");
        let narrower = |new: &mut Value| {
            form(new);
            new["properties"]["parts"]["anyOf"][0]["items"] = json!({"type": "string"});
        };
        assert!(counts(narrower)[2] > 0, "the form that was there is another");
        let (old, mut new) = (base(), base());
        alternative(&mut new);
        assert_eq!(refused(&old, &new, Kind::Closed, &["State"]), [""; 0]);
        // The one that was there is still what it was.
        new["$defs"]["State"]["oneOf"][1]["properties"]["present"]["type"] = "integer".into();
        assert_eq!(refused(&old, &new, Kind::Closed, &["State"]).len(), 1);
    }

    #[test]
    fn a_kind_of_its_own_may_be_new_where_the_whole_is_open_and_the_others_stay() {
        let record = |kinds: &[&str], size: &str| {
            let one = |kind: &&str| object(&json!({"kind": {"const": kind}, "size": {"type": size}}), &["kind"]);
            let mut all: Vec<Value> = kinds.iter().map(one).collect();
            all.push(json!({"properties": {"kind": {"not": {"enum": kinds}}}}));
            json!({"oneOf": all})
        };
        let old = record(&["rain", "snow"], "integer");
        for kind in [Kind::Closed, Kind::Told] {
            assert_eq!(refused(&old, &record(&["rain", "hail", "snow"], "integer"), kind, &[""]), [""; 0]);
            assert!(!refused(&old, &record(&["rain", "hail", "snow"], "integer"), kind, &[]).is_empty());
            assert!(!refused(&old, &record(&["rain"], "integer"), kind, &[""]).is_empty());
            assert_eq!(refused(&old, &record(&["rain", "snow"], "string"), kind, &[""]).len(), 2);
        }
    }
}
