//! What a user has asked of the API server, as its audit log has it: <https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/>. Only what
//! `deployer` asks is written down, whom tests give rights. What must not live here: what anybody may.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

/// Whose requests are kept.
const DEPLOYER: &str = "deployer";

/// What the server is to write down: a line for each request, before it is answered. Of a watch, which may be answered for minutes, also
/// one when it comes: the server of the tests writes the other one at its end.
pub(super) fn policy() -> String {
    format!(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- {{ level: Metadata, users: [{DEPLOYER}], verbs: [watch] }}\n\
         - {{ level: Metadata, users: [{DEPLOYER}], omitStages: [RequestReceived] }}\n- {{ level: None }}\n"
    )
}

/// The rights that `deployer` has used, or wanted to use, in requests whose path holds that word: verb and resource, as a Role
/// names them. Questions about his own rights, which everybody may ask, are left out.
///
/// # Panics
/// When there is no log that can be read.
pub(super) fn used(log: &Path, word: &str) -> BTreeSet<(String, String)> {
    let text = std::fs::read_to_string(log).expect("the server writes a log");
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line is an event"));
    let events = events.filter(|event| event["requestURI"].as_str().is_some_and(|path| path.contains(word)));
    let mut used = BTreeSet::new();
    for event in events {
        let of = |value: &Value| value.as_str().map(String::from);
        // Without one it is a question about the API itself.
        let Some(mut resource) = of(&event["objectRef"]["resource"]) else { continue };
        if let Some(below) = of(&event["objectRef"]["subresource"]) {
            resource = format!("{resource}/{below}");
        }
        let group = of(&event["objectRef"]["apiGroup"]).unwrap_or_default();
        if group == "authorization.k8s.io" {
            continue;
        }
        if !group.is_empty() {
            resource = format!("{resource}.{group}");
        }
        let verb = of(&event["verb"]).expect("an event has a verb");
        // Whoever applies what is not there makes it, and is asked for both rights.
        if verb == "patch" && event["responseStatus"]["code"] == 201 {
            used.insert(("create".into(), resource.clone()));
        }
        used.insert((verb, resource));
    }
    used
}
