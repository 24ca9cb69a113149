//! Releases of the newest tags: `promo release add --newest`.

use std::time::Duration;

use promo_providers::oci::build::{Image, image};
use promo_providers::oci::{Location, Network, Store};
use serde_json::{Value, json};

use crate::fixture::{World, promo, texts};

const PIPELINE: &str = r#"
format = 1
[pipeline]
name  = "shop"
quiet = "1h"
[artifacts.app]
image = "oci-layout:registry/app"
tags  = "v*"
[artifacts.data]
image  = "oci-layout:registry/data"
tags   = "build-*"
newest = "created"
[defaults.deploy.directory]
files = ["shop.env"]
[checks.smoke]
command = { run = ["true"] }
[environments.dev]
tier   = "development"
start  = "auto"
target = { directory = "environments/dev" }
verify = ["smoke"]
[environments.qa]
tier   = "testing"
after  = ["dev"]
target = { directory = "environments/qa" }
verify = ["smoke"]
"#;

/// A pipeline of two artifacts, of which nothing was released.
struct Shop {
    world: World,
}

impl Shop {
    fn new() -> Self {
        let world = World::empty();
        world.write("promo.toml", PIPELINE);
        world.write("policy.toml", "format = 1\n[policy]\nname = \"shop\"\nversion = 1\n");
        world.write("shop.env", "NAME=shop\n");
        Self { world }
    }

    fn push(&self, repository: &str, tag: &str, created: &str) {
        let location: Location = format!("oci-layout:registry/{repository}").parse().unwrap();
        let mut made = Image::new([], vec![format!("{repository} {tag} {created}").into_bytes()]);
        if !created.is_empty() {
            made.annotations.insert("org.opencontainers.image.created".into(), created.into());
        }
        let clock = std::sync::Arc::new(promo_engine::clock::SystemClock);
        let store = Store::open(&location, &self.world.at, &Network::new(promo_sdk::Http::default(), clock)).unwrap();
        tokio::runtime::Runtime::new().unwrap().block_on(image(&store, tag, &made)).unwrap();
    }

    fn untag(&self, repository: &str, tag: &str) {
        let path = self.world.at.join(format!("registry/{repository}/index.json"));
        let mut index: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let all = index["manifests"].as_array_mut().unwrap();
        let before = all.len();
        all.retain(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] != tag);
        assert_eq!(all.len() + 1, before, "{index}");
        std::fs::write(&path, index.to_string()).unwrap();
    }

    fn digest(&self, repository: &str, tag: &str) -> String {
        let index = std::fs::read(self.world.at.join(format!("registry/{repository}/index.json"))).unwrap();
        let index: Value = serde_json::from_slice(&index).unwrap();
        let mut all = index["manifests"].as_array().unwrap().iter();
        let named = all.find(|entry| entry["annotations"]["org.opencontainers.image.ref.name"] == tag);
        named.unwrap()["digest"].as_str().unwrap().to_owned()
    }

    /// As a schedule does it, with a quiet period that is soon over.
    fn wait(&self) -> Value {
        self.world.run(0, &["release", "add", "--newest", "--wait"])
    }

    fn look(&self) -> Value {
        self.world.run(0, &["release", "add", "--newest"])
    }

    /// It is refused, says this, and nothing is written.
    fn refused(&self, says: &str) {
        let before = self.size();
        let error = self.world.refuses(65, "request-invalid", &["release", "add", "--newest"]);
        assert!(error["message"].as_str().unwrap().contains(says), "{error}");
        assert_eq!(self.size(), before);
    }

    fn size(&self) -> u64 {
        self.world.run(0, &["status"])["ledger"]["size"].as_u64().unwrap()
    }

    fn quiet(&self, from: &str, to: &str) {
        self.world.edit("promo.toml", &format!("quiet = \"{from}\""), &format!("quiet = \"{to}\""));
    }
}

/// The tag of an artifact in an answer.
fn tag<'v>(artifacts: &'v Value, name: &str) -> &'v str {
    let reference = artifacts[name].as_str().unwrap();
    reference.split('@').next().unwrap().rsplit(':').next().unwrap()
}

#[test]
fn r1_the_newest_artifacts_are_a_release_once_nothing_newer_came() {
    let shop = Shop::new();
    shop.push("app", "v1.9.0", "");
    shop.push("app", "v1.10.0", "");
    // What is made to move is no release.
    shop.push("app", "v2", "");
    // The tag that was created last, not the one with the greatest name.
    shop.push("data", "build-9", "2026-01-02T00:00:00Z");
    shop.push("data", "build-10", "2026-01-03T00:00:00+01:00");
    let first = shop.look();
    assert_eq!(first["kind"], "promo.release.forming", "{first}");
    assert_eq!(
        (tag(&first["forming"]["artifacts"], "app"), tag(&first["forming"]["artifacts"], "data")),
        ("v1.10.0", "build-10")
    );
    // Who looks next goes on with that look.
    let size = shop.size();
    assert_eq!(shop.look()["forming"], first["forming"]);
    assert_eq!(shop.size(), size);
    let status = shop.world.run(0, &["status"]);
    assert_eq!(status["forming"], first["forming"], "{status}");
    let (text, _) = texts(&promo(&shop.world.at, &["status"]));
    assert!(text.contains("A release is forming: app v1.10.0, data build-10; a release from"), "{text}");
    assert!(text.ends_with("Next: promo --policy policy.toml release add --newest --wait\n"), "{text}");
    // Something newer begins it anew, and so does a tag that points elsewhere.
    shop.push("app", "v2.0.0", "");
    let second = shop.look();
    assert_eq!(tag(&second["forming"]["artifacts"], "app"), "v2.0.0");
    assert!(second["forming"]["since"].as_str() > first["forming"]["since"].as_str(), "{second}");
    shop.untag("data", "build-10");
    shop.push("data", "build-10", "2026-01-04T00:00:00Z");
    let third = shop.look();
    assert_ne!(third["forming"]["artifacts"]["data"], second["forming"]["artifacts"]["data"]);
    assert_eq!(shop.world.run(0, &["release", "list"])["releases"], json!([]));
    // Whatever is quiet now has been so since the last look.
    shop.quiet("1h", "1s");
    std::thread::sleep(Duration::from_millis(1_100));
    let added = shop.look();
    assert_eq!(added["kind"], "promo.release", "{added}");
    assert_eq!((&added["lineage"], &added["artifacts"]), (&json!(1), &third["forming"]["artifacts"]));
    assert_eq!(shop.world.run(0, &["status"])["forming"], Value::Null);
    shop.quiet("1s", "1h");
    let size = shop.size();
    assert_eq!((shop.look()["lineage"].clone(), shop.size()), (json!(1), size));
    // Another file makes another release of the same artifacts, for which nothing has to be quiet.
    shop.world.write("shop.env", "NAME=other\n");
    assert_eq!(shop.look()["lineage"], 2);
    // Waited for, it is added by the same command.
    shop.push("app", "v2.0.1", "");
    shop.quiet("1h", "1s");
    let waited = shop.world.run(0, &["release", "add", "--newest", "--wait"]);
    assert_eq!((&waited["lineage"], tag(&waited["artifacts"], "app")), (&json!(3), "v2.0.1"), "{waited}");
}

#[test]
fn r1_what_nobody_can_order_is_no_release() {
    let shop = Shop::new();
    shop.refused("registry/app has no tag that could become a release, if it is there at all");
    shop.push("app", "other", "");
    shop.refused("no tag of oci-layout:");
    shop.push("app", "v1.0.0", "");
    shop.push("data", "build-1", "");
    shop.refused("build-1 does not say when it was created");
    shop.untag("data", "build-1");
    shop.push("data", "build-1", "1970-01-01T00:00:00Z");
    shop.refused("build-1 does not say when it was created");
    shop.untag("data", "build-1");
    // What is yet to come would be newer than everything that is built from now on.
    shop.push("data", "build-1", "2126-01-02T00:00:00Z");
    shop.refused("build-1 says that it was created 2126-01-02T00:00:00Z, and it is 20");
    shop.untag("data", "build-1");
    shop.push("data", "build-1", "2026-01-02T00:00:00Z");
    shop.push("data", "build-2", "2026-01-02T01:00:00+01:00");
    shop.refused("is the newer one: add the one that is meant");
    shop.untag("data", "build-2");
    shop.push("app", "vnext", "");
    shop.refused("vnext matches `v*` and names no version");
    shop.untag("app", "vnext");
    // Two names of one thing are no question.
    shop.push("app", "v1.0.0_1", "");
    shop.refused("is the newer one");
    shop.untag("app", "v1.0.0_1");
    shop.world.edit("promo.toml", "tags  = \"v*\"\n", "");
    shop.refused("`tags` of `app` does not say which tags");
    shop.world.edit("promo.toml", "registry/app\"\n", "registry/app\"\ntags  = \"v*\"\n");
    shop.world.write(
        "policy.toml",
        "format = 1\n[policy]\nname = \"shop\"\nversion = 2\n[releases]\nfirst_observation = false\n",
    );
    shop.refused("policy takes an artifact only with the digest that its build reported");
}

#[test]
fn r1_a_tag_that_is_gone_makes_no_newer_release_of_something_older() {
    let shop = Shop::new();
    shop.quiet("1h", "1s");
    shop.push("app", "v1.0.0", "");
    shop.push("app", "v1.1.0", "");
    shop.push("data", "build-1", "2026-01-01T00:00:00Z");
    shop.push("data", "build-2", "2026-01-02T00:00:00Z");
    shop.world.run(0, &["release", "add", "--newest", "--wait"]);
    shop.untag("app", "v1.1.0");
    shop.refused(" of release #1, whose tag `v1.1.0` is gone: nothing is added");
    shop.push("app", "v1.2.0", "");
    shop.untag("data", "build-2");
    // Of what has no name any more, what it is still says when it was created.
    shop.refused("is not newer than");
    shop.push("data", "build-3", "2026-01-03T00:00:00Z");
    let next = shop.world.run(0, &["release", "add", "--newest", "--wait"]);
    assert_eq!((tag(&next["artifacts"], "app"), tag(&next["artifacts"], "data")), ("v1.2.0", "build-3"));
}

#[test]
fn r1_of_several_that_are_equally_new_the_one_that_somebody_added_is_the_newest() {
    let shop = Shop::new();
    shop.quiet("1h", "1s");
    shop.push("app", "v1.0.0_1", "");
    shop.push("app", "v1.0.0_2", "");
    shop.push("data", "build-1", "2026-01-01T00:00:00Z");
    shop.refused("is the newer one: add the one that is meant");
    shop.world.run(0, &["release", "add", "app=v1.0.0_2", "data=build-1"]);
    assert_eq!(shop.wait()["lineage"], json!(1));
    shop.push("app", "v1.0.0_3", "");
    assert_eq!(shop.wait()["lineage"], json!(1));
    // What is newer than all of them needs nobody.
    shop.push("app", "v1.0.1", "");
    let next = shop.wait();
    assert_eq!((&next["lineage"], tag(&next["artifacts"], "app")), (&json!(2), "v1.0.1"));
}

#[test]
fn r1_what_is_forming_and_lost_its_tag_leads_in_no_circle() {
    let shop = Shop::new();
    shop.push("app", "v1.0.0", "");
    shop.push("data", "build-1", "2026-01-01T00:00:00Z");
    assert_eq!(shop.look()["kind"], "promo.release.forming");
    let (text, _) = texts(&promo(&shop.world.at, &["release", "list"]));
    assert!(text.contains("release add --newest --wait"), "{text}");
    shop.untag("app", "v1.0.0");
    let status = shop.world.run(0, &["status"]);
    assert!(status["next"].to_string().contains("--newest --wait"), "{status}");
    let error = shop.world.refuses(65, "request-invalid", &["release", "add", "--newest", "--wait"]);
    assert!(error["next"].as_str().unwrap().ends_with(" release add --help"), "{error}");
}

#[test]
fn r1_a_tag_that_no_longer_matches_is_not_called_gone_and_one_that_moved_back_is_called_moved() {
    let shop = Shop::new();
    shop.quiet("1h", "1s");
    shop.push("app", "v2.0.0", "");
    shop.push("app", "v1.0.0", "");
    shop.push("data", "build-1", "2026-01-01T00:00:00Z");
    shop.push("data", "build-2", "2026-01-02T00:00:00Z");
    assert_eq!(shop.wait()["lineage"], json!(1));
    shop.world.edit("promo.toml", "\"v*\"", "\"v1.*\"");
    shop.refused(" of release #1, whose tag `v2.0.0` does not match `v1.*`: nothing is added");
    shop.world.edit("promo.toml", "\"v1.*\"", "\"v*\"");
    // What the newest tag names now was created before, so that another tag is the newest.
    shop.untag("data", "build-2");
    shop.push("data", "build-2", "2025-12-31T00:00:00Z");
    let found = shop.digest("data", "build-2");
    let error = shop.world.refuses(22, "tag-moved", &["release", "add", "--newest"]);
    assert!(error["message"].as_str().unwrap().contains(&format!("/data:build-2 names {found} now")), "{error}");
    assert!(error["next"].as_str().unwrap().ends_with(&format!("release add app=v2.0.0 data={found}")), "{error}");
}

#[test]
fn r2_a_tag_that_moved_enters_under_no_name() {
    let shop = Shop::new();
    shop.quiet("1h", "1s");
    shop.push("app", "v1.0.0", "");
    shop.push("data", "build-1", "2026-01-01T00:00:00Z");
    shop.world.run(0, &["release", "add", "--newest", "--wait"]);
    shop.untag("app", "v1.0.0");
    shop.push("app", "v1.0.0", "again");
    // Neither by its tag, nor by the tag with its digest, nor as the newest.
    let found = shop.digest("app", "v1.0.0");
    let reported = format!("app=v1.0.0@{found}");
    let by_digest = format!("promo --policy policy.toml release add app={found} data=build-1");
    for words in [&["app=v1.0.0", "data=build-1"][..], &[&reported, "data=build-1"], &["--newest", "--wait"]] {
        let words = [&["release", "add"], words, &["--format", "text"]].concat();
        let output = promo(&shop.world.at, &words);
        let (_, said) = texts(&output);
        assert_eq!(output.status.code(), Some(22), "{words:?}: {said}");
        assert!(said.contains("error[tag-moved]") && said.contains(" when release #1 was added"), "{words:?}: {said}");
        assert!(said.contains(&format!("/app:v1.0.0 names {found} now, and named sha256:")), "{words:?}: {said}");
        assert!(said.contains(&format!("Next: {by_digest}\n")), "{words:?}: {said}");
    }
    let first = shop.world.run(0, &["release", "list"]);
    assert_eq!(first["releases"].as_array().unwrap().len(), 1, "{first}");
    let digest = format!("app={found}");
    shop.world.run(0, &["release", "add", &digest, "data=build-1"]);
    // It is what the newest release has, whatever it is called, and with another file it is another release.
    let same = shop.world.run(0, &["release", "add", "--newest", "--wait"]);
    assert_eq!(same["lineage"], json!(2), "{same}");
    shop.world.write("shop.env", "NAME=store\n");
    let third = shop.world.run(0, &["release", "add", "--newest", "--wait"]);
    assert_eq!((&third["lineage"], tag(&third["artifacts"], "app")), (&json!(3), "v1.0.0"), "{third}");
}

/// A tag of the release that runs and waits to go further is another one, or gone; the digest is still there, and that is what a
/// way back needs.
#[test]
fn s8_2_what_is_on_its_way_under_a_tag_that_moved_or_is_gone_is_looked_at_alike_in_a_plan_and_where_that_is_applied() {
    for (gone, found) in [(false, "tag-moved"), (true, "artifact-unavailable")] {
        let shop = Shop::new();
        shop.push("app", "v1.0.0", "");
        shop.push("data", "build-1", "2026-01-01T00:00:00Z");
        shop.world.run(0, &["release", "add", "app=v1.0.0", "data=build-1"]);
        shop.world.run(0, &["advance"]);
        let first = shop.world.run(0, &["release", "list"])["releases"][0].clone();
        shop.untag("app", "v1.0.0");
        shop.push("app", if gone { "other" } else { "v1.0.0" }, "again");
        let digest = format!("app={}", shop.digest("app", if gone { "other" } else { "v1.0.0" }));
        shop.world.run(0, &["release", "add", &digest, "data=build-1"]);
        let plan = shop.world.run(0, &["plan", "--out", "p.json"]);
        let file: Value =
            serde_json::from_str(&std::fs::read_to_string(shop.world.at.join("p.json")).unwrap()).unwrap();
        assert!(plan.to_string().contains(found), "{plan}");
        let (moves, stays) = (&file["body"]["moves"], file["body"]["stays"].to_string());
        assert_eq!((&moves[0]["environment"], moves.as_array().unwrap().len()), (&json!("dev"), 1), "{moves}");
        assert_eq!(moves[0]["rollback"]["to"]["id"], first["id"], "{moves}");
        assert!(stays.contains(found), "{stays}");
        if gone {
            shop.world.run(0, &["apply", "p.json"]);
        } else {
            // What waits for a person does not keep dev back.
            let (out, err) = texts(&promo(&shop.world.at, &["advance", "--format", "text"]));
            assert!(!err.contains("plan-stale"), "{out}{err}");
        }
        let rows = shop.world.run(0, &["status"])["environments"].clone();
        assert_eq!(rows[0]["release"]["lineage"], json!(2), "{rows}");
    }
}

#[test]
fn the_newest_is_asked_for_alone() {
    let shop = Shop::new();
    for words in
        [&["release", "add"][..], &["release", "add", "--newest", "app=v1"], &["release", "add", "--wait", "app=v1"]]
    {
        shop.world.refuses(64, "usage", words);
    }
}
