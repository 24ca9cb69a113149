//! What keeps a tag where it is (registry.md 1.6; docs/reference/registries.md): promo as a process of its own says it before
//! it writes one, and what it says is true of a registry that moves tags and of one that does not.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::path::PathBuf;

use promo_core::Digest;
use promo_providers::oci::build::{self, Image};
use promo_providers::oci::{Limits, Network, Selector, Store};
use promo_sdk::testing::FakeClock;
use promo_tests::copying::{FROM, PLAN, Project, TAG, TO};
use promo_tests::oci_registry::{Behaviour, Entry, Fault, OciRegistry, On, Tags, What};

/// A registry with an image in `team/app`, and one pipeline that copies it to `prod/app` there.
struct World {
    address: String,
    settings: tempfile::TempDir,
    project: Project,
    digest: Digest,
}

impl World {
    async fn at(address: &str) -> Self {
        let digest = build::image(&store(address, FROM), TAG, &image("1")).await.unwrap();
        let settings = tempfile::tempdir().unwrap();
        let file = settings.path().join("registries.toml");
        std::fs::write(&file, "format = 1\n").unwrap();
        let project = Project::new(address, address, &[("PROMO_REGISTRIES", file.to_str().unwrap())]);
        tokio::task::block_in_place(|| project.prepare());
        Self { address: address.into(), settings, project, digest }
    }

    fn file(&self) -> PathBuf {
        self.settings.path().join("registries.toml")
    }

    /// What the machine says of the registry from now on.
    fn say(&self, immutable_tags: &str) {
        let text = format!("format = 1\n[registry.\"{}\"]\nimmutable_tags = {immutable_tags}\n", self.address);
        std::fs::write(self.file(), text).unwrap();
    }

    fn run(&self, words: &[&str], code: i32) -> String {
        let end = tokio::task::block_in_place(|| self.project.run(words));
        assert_eq!(end.code, Some(code), "{words:?}: {}", end.said);
        end.said
    }

    fn tag(&self) -> String {
        format!("{}/{TO}:{TAG}", self.address)
    }

    /// Every screen that tells what keeps the tag where it is.
    fn assert_told(&self, level: &str) {
        let doctor = self.run(&["doctor"], 0);
        let about = doctor.lines().find(|line| line.contains(&format!("{}/{TO}", self.address))).expect(&doctor);
        assert!(about.contains(&format!("{level}: ")), "{about}");
        let offline = self.run(&["doctor", "--offline"], 0);
        assert!(offline.contains(&format!("{level}: ")), "no server needs to be asked: {offline}");
        let release = self.run(&["release", "show", "1"], 0);
        let about = release.lines().find(|line| line.contains(&self.tag())).expect(&release);
        assert!(about.contains(&format!("for prod: {level}, ")), "{about}");
        let line = format!("Mutable tags, as far as is known (promo doctor): {}", self.tag());
        for words in [
            &["plan", "prod"][..],
            &["plan", "prod", "--format", "markdown"],
            &["plan", "prod", "--format", "html"],
            &["show", PLAN],
        ] {
            let said = self.run(words, 0);
            assert_eq!(said.contains("Mutable tags"), level != "enforced", "{words:?}: {said}");
            assert!(level == "enforced" || said.contains(&line) || words.contains(&"markdown"), "{words:?}: {said}");
        }
        let json = self.run(&["show", PLAN, "--format", "json"], 0);
        let view: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&view["tags"][0]["tag"], &view["tags"][0]["level"]), (&self.tag().into(), &level.into()), "{json}");
    }
}

fn image(mark: &str) -> Image {
    let platforms = vec!["linux/amd64".into()];
    Image { platforms, ..Image::new([("org.opencontainers.image.version", mark)], vec![vec![7; 5_000]]) }
}

fn store(address: &str, repository: &str) -> Store {
    let http = promo_sdk::http_clients().no_proxy().build().unwrap();
    let network = Network::new(http, std::sync::Arc::new(FakeClock::default()));
    Store::Registry(network.repository(address, repository).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_declared_by_its_name_and_enforced_where_the_machine_says_so_and_the_plan_stays_the_same() {
    let registry = OciRegistry::start(Behaviour::default()).await;
    let world = World::at(registry.address()).await;
    let digest = |said: &str| said.split("sha256:").nth(1).map(|rest| rest[..12].to_owned());
    world.assert_told("declared");
    let before = digest(&world.run(&["show", PLAN, "--format", "json"], 0));
    world.say("[\"prod\"]");
    world.assert_told("enforced");
    // It is said beside the plan: what was approved with one word about tags is not another plan with another one.
    assert_eq!(digest(&world.run(&["show", PLAN, "--format", "json"], 0)), before);
    world.run(&["apply", PLAN], 0);
    assert_eq!(registry.repository(TO).tags[TAG], world.digest);
    world.say("[\"production\"]");
    let doctor = world.run(&["doctor"], 0);
    assert!(doctor.contains("declared: "), "{doctor}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_refuses_to_move_a_tag_is_told_as_such_in_every_style() {
    let registry = OciRegistry::start(Behaviour::default()).await;
    let world = World::at(registry.address()).await;
    let other = build::image(&store(registry.address(), "other"), TAG, &image("2")).await.unwrap();
    let stored = registry.repository("other").manifests[&other].clone();
    registry.edit(TO, |there| drop(there.manifests.insert(other, stored)));
    for (tags, code) in [
        (Tags::BadRequest, 400),
        (Tags::Forbidden, 403),
        (Tags::NotAllowed, 405),
        (Tags::Conflict, 409),
        (Tags::Precondition, 412),
    ] {
        world.project.reset();
        registry.edit(TO, |there| there.tags.clear());
        // Somebody is faster between the last look and the write.
        let what = What::MoveTag { repository: TO.into(), tag: TAG.into(), to: other };
        let race = Fault::new(On::of(axum::http::Method::PUT, format!("/manifests/{TAG}")).times(1), what);
        registry.behave(Behaviour { tags, faults: vec![race], ..Behaviour::default() });
        let end = tokio::task::block_in_place(|| world.project.run(&["apply", PLAN]));
        assert!(end.code.is_some_and(|code| code != 0), "{tags:?}: {}", end.said);
        let told = format!("the registry keeps the tag where it is (status {code})");
        assert!(end.said.contains(&told), "{tags:?}: {}", end.said);
        assert_eq!(registry.repository(TO).tags[TAG], other, "{tags:?}: it is theirs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moves_right_after_it_was_written_is_an_error_and_no_success() {
    let registry = OciRegistry::start(Behaviour::default()).await;
    let world = World::at(registry.address()).await;
    let other = build::image(&store(registry.address(), "other"), TAG, &image("2")).await.unwrap();
    let stored = registry.repository("other").manifests[&other].clone();
    registry.edit(TO, |there| drop(there.manifests.insert(other, stored)));
    let path = format!("/{TO}/manifests/{TAG}");
    // A pass without anybody in between says how often the tag is looked at; the last look is the one after the write.
    registry.behave(Behaviour::default());
    world.run(&["apply", PLAN], 0);
    let looks = |e: &Entry| e.method == "HEAD" && e.path.ends_with(&path);
    let all = registry.journal().iter().filter(|entry| looks(entry)).count();
    world.project.reset();
    registry.edit(TO, |there| there.tags.clear());
    let what = What::MoveTag { repository: TO.into(), tag: TAG.into(), to: other };
    let race = Fault::new(On::of(axum::http::Method::HEAD, path.clone()).after(all - 1).times(1), what);
    registry.behave(Behaviour::faulty([race]));
    let end = tokio::task::block_in_place(|| world.project.run(&["apply", PLAN]));
    assert!(end.code.is_some_and(|code| code != 0), "{}", end.said);
    assert!(end.said.contains(&other.to_string()), "what it holds now is said: {}", end.said);
    assert_eq!(registry.repository(TO).tags[TAG], other);
}

mod needs_docker_registry {
    use promo_providers::oci::Oci;
    use promo_sdk::{Provider as _, ResolveRequest};
    use promo_tests::registry::Registry;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_registry_that_lets_tags_be_moved_is_told_as_such_and_what_was_moved_is_not_moved_back() {
        let Some(registry) = Registry::start() else { return };
        let world = World::at(registry.address()).await;
        world.assert_told("declared");
        world.run(&["apply", PLAN], 0);
        // It does move a tag, for anybody.
        let prod = store(registry.address(), TO);
        let moved = build::image(&store(registry.address(), "other/app"), TAG, &image("2")).await.unwrap();
        let other = store(registry.address(), "other/app");
        let resolved = promo_providers::oci::resolve_digest(&other, &moved, &Limits::default()).await.unwrap();
        let copied = promo_providers::oci::Copy {
            source: &other,
            source_tag: None,
            destination: &prod,
            resolved: &resolved,
            tags: &["2.0.0"],
            limits: Limits::default(),
        };
        promo_providers::oci::copy(copied).await.unwrap();
        let manifest = prod.get_manifest(Selector::Digest(&moved), None, &Limits::default()).await.unwrap();
        prod.put_tag(TAG, &manifest, Some(&world.digest)).await.unwrap();
        // promo sees it and leaves it alone.
        world.project.reset();
        let end = tokio::task::block_in_place(|| world.project.run(&["apply", PLAN]));
        assert!(end.code.is_some_and(|code| code != 0), "{}", end.said);
        assert_eq!(prod.head_tag(TAG).await.unwrap().unwrap().digest, moved);
    }

    /// More than one page of a list has.
    const TAGS: usize = 1_203;

    #[tokio::test(flavor = "multi_thread")]
    async fn r1_the_newest_of_many_pages_of_tags_is_found() {
        let Some(registry) = Registry::start() else { return };
        let directory = tempfile::tempdir().unwrap();
        let cx = promo_sdk::testing::context(directory.path());
        let repository = format!("{}/team/app", registry.address());
        let there = store(registry.address(), "team/app");
        let mut image = Image::new([], vec![b"one layer".to_vec()]);
        image.annotations.insert("org.opencontainers.image.created".into(), "2026-01-02T03:04:05Z".into());
        let digest = build::image(&there, "v1.0.0", &image).await.unwrap();
        let manifest = there.get_manifest(Selector::Digest(&digest), None, &Limits::default()).await.unwrap();
        for minor in 1..TAGS {
            there.put_tag(&format!("v1.{minor}.0"), &manifest, None).await.unwrap();
        }
        there.put_tag("latest", &manifest, None).await.unwrap();
        let oci = Oci::new();
        let tags = oci.tags(&cx, &repository).await.unwrap();
        assert_eq!((tags.len(), tags.contains("latest")), (TAGS, false));
        let newest = tags.iter().max_by_key(|tag| promo_core::newest::version(tag)).unwrap();
        assert_eq!(*newest, format!("v1.{}.0", TAGS - 1));
        let request = ResolveRequest { reference: format!("{repository}:{newest}") };
        let created = oci.created(&cx, &request).await.unwrap().unwrap();
        assert_eq!(created.to_string(), "2026-01-02T03:04:05Z");
        assert!(oci.tags(&cx, &format!("{}/team/none", registry.address())).await.unwrap().is_empty());
    }
}
