//! How often promo asks a registry in one apply: counts, which are the same on every machine, and no times (registry.md 1.7;
//! docs/performance.md). promo is a process of its own, and the registry's journal is the judge.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use promo_core::Digest;
use promo_providers::oci::OCI_MANIFEST;
use promo_tests::copying::{PLAN, Project, TAG};
use promo_tests::oci_registry::{Behaviour, Entry, OciRegistry, Stored};
use serde_json::json;

/// As the registry that most people run: it mounts, and has no referrers API.
fn usual() -> Behaviour {
    Behaviour { referrers: false, ..Behaviour::default() }
}

/// The layers of the `own`th of many small images: four that all have, and one of its own.
fn small(own: u8) -> Vec<Vec<u8>> {
    (0..4).chain([100 + own]).map(|seed| vec![seed; 20_000]).collect()
}

fn large() -> Vec<Vec<u8>> {
    (0..10).map(|seed| vec![seed; 1 << 20]).collect()
}

/// Puts an image without an index into a repository, past all rules; its configuration is its own.
fn put(registry: &OciRegistry, repository: &str, layers: &[Vec<u8>]) {
    let name = repository.rsplit('/').next().unwrap();
    let config =
        json!({ "architecture": "amd64", "os": "linux", "config": { "Labels": { "name": name } } }).to_string();
    let of = |kind: &str, bytes: &[u8]| json!({ "mediaType": kind, "digest": Digest::of(bytes).to_string(), "size": bytes.len() });
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": of("application/vnd.oci.image.config.v1+json", config.as_bytes()),
        "layers": layers.iter().map(|layer| of("application/vnd.oci.image.layer.v1.tar", layer)).collect::<Vec<_>>(),
    });
    let (bytes, config) = (manifest.to_string().into_bytes(), config.into_bytes());
    let digest = Digest::of(&bytes);
    registry.edit(repository, |there| {
        for blob in layers.iter().chain([&config]) {
            there.blobs.insert(Digest::of(blob), blob.clone().into());
        }
        there.manifests.insert(digest, Stored { media_type: OCI_MANIFEST.into(), bytes: bytes.into() });
        there.tags.insert(TAG.into(), digest);
    });
}

/// What one apply asks: all of it, and that part of it which is about the destination's repositories.
struct Asked {
    all: Vec<String>,
    of_destination: Vec<String>,
}

impl Asked {
    /// Of each tag the last request before the one that writes it is a look at it, and so is the next one after.
    fn assert_each_tag_is_looked_at_around_its_write(&self) {
        for (at, line) in self.of_destination.iter().enumerate() {
            let Some(path) = line.strip_prefix("PUT ").filter(|path| path.contains("/manifests/")) else { continue };
            let repository = path.split("/manifests/").next().unwrap();
            let about = |line: &&String| line.contains(repository);
            let look = format!("HEAD {path}");
            assert_eq!(self.of_destination[..at].iter().rev().find(about), Some(&look), "before {line}");
            assert_eq!(self.of_destination[at + 1..].iter().find(about), Some(&look), "after {line}");
        }
    }
}

/// Applies a plan that copies these images.
async fn apply(source: &OciRegistry, destination: &OciRegistry, images: Vec<String>) -> Asked {
    let settings = tempfile::tempdir().unwrap();
    let file = settings.path().join("registries.toml");
    let fast = [source, destination].map(|r| format!("[registry.\"{}\"]\nrate = 100000\n", r.address()));
    let fast = if source.address() == destination.address() { fast[0].clone() } else { fast.concat() };
    std::fs::write(&file, format!("format = 1\n{fast}")).unwrap();
    let variables = [("PROMO_REGISTRIES", file.to_str().unwrap()), ("PROMO_LEASE_TTL", "60s")];
    let project = Project::of(source.address(), destination.address(), &variables, images);
    tokio::task::block_in_place(|| project.prepare());
    destination.behave(usual());
    let end = tokio::task::block_in_place(|| project.run(&["apply", PLAN]));
    assert_eq!(end.code, Some(0), "{}", end.said);
    let all: Vec<String> = destination.journal().iter().map(Entry::line).collect();
    let of_destination = all.iter().filter(|line| line.contains(" /v2/prod/")).cloned().collect();
    Asked { all, of_destination }
}

fn names(count: u8) -> Vec<String> {
    (0..count).map(|own| format!("app{own:03}")).collect()
}

fn writes(lines: &[String]) -> usize {
    lines.iter().filter(|line| !line.starts_with("HEAD") && !line.starts_with("GET")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_copy_of_ten_layers_and_one_configuration_asks_the_destination_at_most_40_times() {
    let (source, destination) = (OciRegistry::start(usual()).await, OciRegistry::start(usual()).await);
    put(&source, "team/app", &large());
    let asked = apply(&source, &destination, vec!["app".into()]).await;
    assert!(asked.all.len() <= 40, "{} requests: {:#?}", asked.all.len(), asked.all);
    asked.assert_each_tag_is_looked_at_around_its_write();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_again_asks_once() {
    let (source, destination) = (OciRegistry::start(usual()).await, OciRegistry::start(usual()).await);
    put(&source, "team/app", &large());
    put(&destination, "prod/app", &large());
    let asked = apply(&source, &destination, vec!["app".into()]).await;
    assert_eq!(asked.all, [format!("HEAD /v2/prod/app/manifests/{TAG}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_repository_of_the_registry_costs_a_mount_for_each_blob_and_nine_requests() {
    let registry = OciRegistry::start(usual()).await;
    put(&registry, "team/app", &large());
    let asked = apply(&registry, &registry, vec!["app".into()]).await;
    // 11 mounts, and the tag: in the check of everything, under the lock, right before it is written, written, and after.
    assert_eq!(asked.of_destination.len(), 16, "{:#?}", asked.of_destination);
    // What is read at the source is asked of the same registry here: manifest, configuration, tags and referrers.
    assert_eq!(asked.all.len(), 20, "{:#?}", asked.all);
    let uploads = asked.all.iter().filter(|line| line.contains("/uploads/") && !line.contains("mount="));
    assert_eq!(uploads.count(), 0, "not a byte is moved: {:#?}", asked.all);
    asked.assert_each_tag_is_looked_at_around_its_write();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_small_images_cost_at_most_1400_requests() {
    let (source, destination) = (OciRegistry::start(usual()).await, OciRegistry::start(usual()).await);
    for (own, name) in (0..).zip(names(100)) {
        put(&source, &format!("team/{name}"), &small(own));
    }
    let asked = apply(&source, &destination, names(100)).await;
    assert!(asked.all.len() <= 1_400, "{} requests", asked.all.len());
    // Layers that all have are moved once.
    let blobs = asked.all.iter().filter(|line| line.starts_with("PUT ") && line.contains("/uploads/")).count();
    assert_eq!(blobs, 4 + 200);
    asked.assert_each_tag_is_looked_at_around_its_write();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_images_with_nothing_to_do_cost_one_request_each_and_no_write() {
    let (source, destination) = (OciRegistry::start(usual()).await, OciRegistry::start(usual()).await);
    for (own, name) in (0..).zip(names(100)) {
        put(&source, &format!("team/{name}"), &small(own));
        put(&destination, &format!("prod/{name}"), &small(own));
    }
    let asked = apply(&source, &destination, names(100)).await;
    assert!(asked.all.len() <= 110, "{} requests", asked.all.len());
    assert_eq!(writes(&asked.all), 0);
}
