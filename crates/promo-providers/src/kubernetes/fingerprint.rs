//! The state of a place as a digest over the declared fields of its objects. What must not live here: where what is declared
//! comes from.

use std::collections::BTreeMap;

use promo_core::Digest;
use promo_sdk::State;
use serde_json::Value;

use super::cluster::Place;
use super::object::{Id, Object};
use super::projection;

/// The state of a place at which these objects have these fields.
pub(crate) fn wanted(place: &Place, objects: &[(Object, Value)]) -> State {
    of_parts(place, objects.iter().map(|(object, value)| (&object.id, value.clone())))
}

/// The state of a place at which the objects are so.
pub(crate) fn found<'a>(place: &Place, objects: impl Iterator<Item = (&'a Object, Option<&'a Value>)>) -> State {
    let part = |(object, live): (&'a Object, Option<&Value>)| {
        (&object.id, live.map_or(Value::Null, |live| projection::object(&object.value, live)))
    };
    of_parts(place, objects.map(part))
}

fn of_parts<'a>(place: &Place, parts: impl Iterator<Item = (&'a Id, Value)>) -> State {
    let parts: BTreeMap<String, Value> =
        parts.map(|(id, value)| (format!("{}.{}/{}", id.kind.kind, id.kind.group, id.name), value)).collect();
    State::Present(of(place, &serde_json::json!(parts)))
}

/// A digest that tells nobody what it is of who does not know the namespace's id.
pub(crate) fn of(place: &Place, value: &Value) -> Digest {
    let mut text = format!("promo/kubectl/v1\n{}\n", place.uid);
    spell(value, &mut text);
    Digest::of(text.as_bytes())
}

/// A value in the one way in which it can be written: equal values, and no others, are equal texts.
pub(crate) fn spelt(value: &Value) -> String {
    let mut text = String::new();
    spell(value, &mut text);
    text
}

/// JSON with the keys of objects in order.
fn spell(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            out.push('{');
            for (key, value) in map.iter().collect::<BTreeMap<_, _>>() {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                spell(value, out);
                out.push(',');
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for item in items {
                spell(item, out);
                out.push(',');
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}
