//! What of a live object promo has a say in: the fields that its manifest declares. Everything else, what the server fills in
//! and what controllers and others own, is no part of a state, so that none of it is taken for a change.

use serde_json::Value;

/// Keys by which Kubernetes tells the elements of its lists apart (`x-kubernetes-list-map-keys`), most telling first.
pub(super) const KEYS: [&str; 8] = ["name", "containerPort", "port", "mountPath", "topologyKey", "key", "ip", "type"];

/// The part of `live` that `declared` has a say in, in the live object's own values: `null` where it has nothing.
pub(crate) fn project(declared: &Value, live: &Value) -> Value {
    match (declared, live) {
        (Value::Object(declared), Value::Object(live)) => {
            let field = |(key, declared): (&String, &Value)| {
                (key.clone(), live.get(key).map_or(Value::Null, |live| project(declared, live)))
            };
            Value::Object(declared.iter().filter(|(_, value)| !value.is_null()).map(field).collect())
        }
        (Value::Array(declared), Value::Array(live)) => list(declared, live),
        _ => live.clone(),
    }
}

/// The same without what says nothing about what is deployed.
pub(crate) fn object(declared: &Value, live: &Value) -> Value {
    let mut projected = project(declared, live);
    if let Some(map) = projected.as_object_mut() {
        map.remove("status");
        // In which version it was read is the reader's choice.
        map.remove("apiVersion");
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            for own in ["creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"] {
                metadata.remove(own);
            }
        }
    }
    projected
}

fn list(declared: &[Value], live: &[Value]) -> Value {
    let key = KEYS.iter().find(|key| {
        let has = |value: &Value| value.get(**key).is_some_and(|key| !key.is_object() && !key.is_array());
        !declared.is_empty() && declared.iter().all(has) && live.iter().all(has)
    });
    let Some(key) = key else {
        // Elements without names: the list is one value, unless its elements are tables of their own.
        if declared.len() == live.len() {
            return Value::Array(declared.iter().zip(live).map(|(declared, live)| project(declared, live)).collect());
        }
        return Value::Array(live.to_vec());
    };
    // Ports of one number and several protocols share their key: then the place among them tells them apart.
    let found = |place: usize, element: &Value| {
        let name = element.get(*key);
        let before = declared[..place].iter().filter(|other| other.get(*key) == name).count();
        let found = live.iter().filter(|live| live.get(*key) == name).nth(before);
        found.map_or(Value::Null, |live| project(element, live))
    };
    Value::Array(declared.iter().enumerate().map(|(place, element)| found(place, element)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_others_own_and_what_the_server_fills_in_is_no_part_of_it() {
        let declared = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "labels": { "app": "web" } },
            "spec": { "template": { "spec": { "containers": [
                { "name": "web", "image": "shop", "resources": { "limits": { "cpu": "1000m" } } }
            ] } } },
        });
        let live = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": { "name": "web", "uid": "u", "labels": { "app": "web", "team": "x" } },
            "spec": { "replicas": 7, "template": { "spec": { "dnsPolicy": "ClusterFirst", "containers": [
                { "name": "sidecar", "image": "mesh" },
                { "name": "web", "image": "shop", "imagePullPolicy": "Always", "resources": { "limits": { "cpu": "1" } } },
            ] } } },
            "status": { "replicas": 7 },
        });
        let mut same = live.clone();
        assert_eq!(object(&declared, &live).pointer("/spec/replicas"), None);
        let limits = "/spec/template/spec/containers/0/resources/limits/cpu";
        assert_eq!(object(&declared, &live).pointer(limits), Some(&json!("1")), "in the server's own spelling");
        same["spec"]["replicas"] = json!(9);
        same["metadata"]["labels"]["team"] = json!("y");
        assert_eq!(object(&declared, &live), object(&declared, &same));
        for (pointer, value) in [
            ("/spec/template/spec/containers/1/image", json!("other")),
            ("/metadata/labels/app", json!("x")),
            (limits.replace("containers/0", "containers/1").as_str(), json!("2")),
        ] {
            let mut changed = live.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            assert_ne!(object(&declared, &live), object(&declared, &changed), "{pointer}");
        }
        let mut gone = live.clone();
        gone["spec"]["template"]["spec"]["containers"].as_array_mut().unwrap().pop();
        assert_ne!(object(&declared, &live), object(&declared, &gone), "a container that is gone");
    }

    #[test]
    fn lists_without_names_are_compared_as_a_whole_and_ports_by_place() {
        let args = |args: &[&str]| json!({ "args": args });
        assert_ne!(project(&args(&["a"]), &args(&["a"])), project(&args(&["a"]), &args(&["a", "b"])));
        let ports = json!([{ "port": 53, "protocol": "TCP" }, { "port": 53, "protocol": "UDP" }]);
        let live = json!([
            { "port": 53, "protocol": "TCP", "nodePort": 1 }, { "port": 53, "protocol": "UDP", "nodePort": 2 }
        ]);
        assert_eq!(project(&ports, &live), ports);
    }
}
