use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use promo_sdk::conformance::{DeploymentCases, deployment};
use promo_sdk::testing::{MemoryBlobs, context};
use promo_sdk::{
    ArtifactInput, Context, Digest, EnsureRequest, ErrorKind, Inputs, ObserveRequest, Provider as _, State,
};
use serde_json::{Value, json};
use walkdir::WalkDir;

use super::Directory;

/// A pipeline directory with a place in it.
struct World {
    root: tempfile::TempDir,
    blobs: Arc<MemoryBlobs>,
    cx: Context,
}

impl World {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let blobs = Arc::new(MemoryBlobs::default());
        let mut cx = context(root.path());
        cx.blobs = blobs.clone();
        Self { root, blobs, cx }
    }

    fn inputs(&self, settings: Value, files: &[(&str, &[u8])]) -> Inputs {
        let artifact = ArtifactInput {
            repository: "registry.test/shop/api".into(),
            digest: Digest::of(b"image"),
            tag: Some("1.4.2".into()),
            source: None,
            tree: Vec::new(),
        };
        Inputs {
            environment: "dev".parse().unwrap(),
            release: "r-0123456789ab".parse().unwrap(),
            target: promo_core::model::Target([("directory".to_owned(), "env/dev".to_owned())].into()),
            settings,
            artifacts: [("api".parse().unwrap(), artifact)].into(),
            files: files.iter().map(|(path, bytes)| ((*path).to_owned(), self.blobs.put(*bytes))).collect(),
        }
    }

    fn plain(&self, files: &[(&str, &[u8])]) -> Inputs {
        self.inputs(json!({"files": ["**"]}), files)
    }

    async fn observe(&self, inputs: &Inputs) -> State {
        Directory.observe(&self.cx, &ObserveRequest { inputs: inputs.clone() }).await.unwrap()
    }

    async fn preview(&self, inputs: &Inputs) -> Result<promo_sdk::Preview, promo_sdk::ProviderError> {
        Directory.preview(&self.cx, &ObserveRequest { inputs: inputs.clone() }).await
    }

    async fn request(&self, inputs: &Inputs) -> EnsureRequest {
        let preview = self.preview(inputs).await.unwrap();
        EnsureRequest {
            inputs: inputs.clone(),
            expected: preview.current,
            desired: preview.desired,
            changes: Vec::new(),
            token: "run-1/step-2".into(),
            epoch: 7,
            ledger: "ledger".into(),
        }
    }

    async fn deploy(&self, inputs: &Inputs) -> State {
        let request = self.request(inputs).await;
        Directory.ensure(&self.cx, &request).await.unwrap();
        request.desired
    }

    fn place(&self) -> std::path::PathBuf {
        self.root.path().join("env/dev")
    }

    fn live(&self, path: &str) -> String {
        fs::read_to_string(self.place().join("current").join(path)).unwrap()
    }

    async fn refused(&self, inputs: &Inputs) -> String {
        let error = self.preview(inputs).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        error.message
    }
}

/// Every name below `root` with its content or link.
fn snapshot(root: &Path) -> String {
    let mut out = BTreeMap::new();
    for entry in WalkDir::new(root) {
        let entry = entry.unwrap();
        let what = if entry.file_type().is_symlink() {
            format!("-> {}", entry.path().read_link().unwrap().display())
        } else if entry.file_type().is_file() {
            String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned()
        } else {
            String::new()
        };
        out.insert(entry.path().to_owned(), what);
    }
    format!("{out:#?}")
}

#[tokio::test]
async fn it_keeps_the_contract_of_deployments() {
    for by_hand in ["edit", "add", "switch", "replace"] {
        let world = World::new();
        let place = world.place();
        let disturb = || match by_hand {
            "edit" => fs::write(place.join("current/a.txt"), "by hand").unwrap(),
            "add" => fs::write(place.join("current/new.txt"), "").unwrap(),
            "switch" => {
                fs::remove_file(place.join("current")).unwrap();
                symlink("/etc", place.join("current")).unwrap();
            }
            _ => {
                fs::remove_file(place.join("current")).unwrap();
                fs::create_dir(place.join("current")).unwrap();
            }
        };
        let cases = DeploymentCases {
            first: world.plain(&[("a.txt", b"one"), ("b/c.txt", b"same")]),
            second: world.plain(&[("a.txt", b"two"), ("b/c.txt", b"same"), ("d", b"\0binary")]),
            disturb: &disturb,
            snapshot: &|| snapshot(world.root.path()),
        };
        deployment(&Directory, &world.cx, &cases).await.unwrap_or_else(|e| panic!("{by_hand}: {e}"));
    }
}

#[tokio::test]
async fn files_and_templates_become_the_tree_below_current() {
    let world = World::new();
    let template = b"env = {{ environment }} {{ release }}\nimage = {{ artifacts.api.reference }}\n\
        tag = {{ artifacts['api'].tag }}\nrepository = {{ artifacts.api.repository }} {{ artifacts.api.digest }}\n\
        {% if values.debug is defined %}debug{% endif %}replicas = {{ values.replicas }} <&>\n";
    let inputs = world.inputs(
        json!({
            "files": ["config/**", "other.txt"], "templates": ["config/**/*.j2"],
            "values": {"replicas": "3"}, "strip": "config/"
        }),
        &[("config/app/app.html.j2", template), ("config/static.bin", b"\x00\xff"), ("other.txt", b"x")],
    );
    world.deploy(&inputs).await;
    let digest = Digest::of(b"image");
    let expected = format!(
        "env = dev r-0123456789ab\nimage = registry.test/shop/api@{digest}\ntag = 1.4.2\n\
        repository = registry.test/shop/api {digest}\nreplicas = 3 <&>\n"
    );
    assert_eq!(world.live("app/app.html"), expected);
    assert_eq!(fs::read(world.place().join("current/static.bin")).unwrap(), b"\x00\xff");
    assert_eq!(world.live("other.txt"), "x", "what is not below `strip` keeps its path");
}

#[tokio::test]
async fn an_undefined_value_is_refused_with_file_and_line() {
    let world = World::new();
    let settings = json!({"templates": ["conf"], "values": {"port": "80"}});
    let inputs = world.inputs(settings.clone(), &[("conf/app.toml.j2", b"a = 1\nport = {{ values.prot }}\n")]);
    assert_eq!(world.refused(&inputs).await, "conf/app.toml.j2:2: undefined value, in `port = {{ values.prot }}`");
    let inputs = world.inputs(
        settings.clone(),
        &[("conf/outer.j2", b"{% include 'conf/inner.j2' %}"), ("conf/inner.j2", b"\n\n{{ nothing.here }}")],
    );
    let message = world.refused(&inputs).await;
    assert!(message.starts_with("conf/inner.j2:3: undefined value"), "{message}");
    let message = world.refused(&world.inputs(settings.clone(), &[("conf/x", b"ok\n{% if %}")])).await;
    assert!(message.starts_with("conf/x:2: syntax error"), "{message}");
    let message = world.refused(&world.inputs(settings, &[("conf/x", b"\xff")])).await;
    assert!(message.starts_with("conf/x: a template must be UTF-8"), "{message}");
}

#[tokio::test]
async fn a_name_that_no_release_gives_a_value_is_found_before_there_is_a_release_and_nothing_else_is() {
    let world = World::new();
    let lint = async |template: &str| {
        let settings = json!({ "templates": ["t.j2"], "values": { "colour": "red" } });
        Directory.lint(&world.cx, &world.inputs(settings, &[("t.j2", template.as_bytes())])).await
    };
    for wrong in [
        "{{ enviroment }}",
        "{{ values.color }}",
        "{{ artifacts.nope.digest }}",
        "{{ artifacts.api.dijest }}",
        "{% for n in numbers %}{{ n }}{% endfor %}",
        "{% if %}",
        "{{ 'a' | nofilter }}",
        // Texts have no methods.
        "{{ release.upper() }}",
        "{{ shade | default('none') }}{{ enviroment.name }}",
    ] {
        let error = lint(&format!("first\n{wrong}\n")).await.expect_err(wrong);
        assert!(error.message.starts_with("t.j2:2: "), "{wrong}: {error}");
    }
    for right in [
        "{{ environment }} {{ release }} {{ values.colour | upper }} {{ artifacts.api.reference }}",
        "{% for n in range(3) %}{{ n }}{% endfor %}{% set x = 1 %}{{ x }}",
        "{% if color is defined %}{{ color }}{% endif %}{{ shade | default('none') }}",
        "{% if values.debug is defined %}{{ values.debug }}{% endif %}",
        // What a real tag would give; the names beside it are none that this waits for.
        "{{ (artifacts.api.tag | split('-') | list)[7] }}",
        "{{ host | default('x') }} hostname={{ (artifacts.api.tag | split('-') | list)[7] }}",
        "{% if release == 'r-other' %}{{ never }}{% endif %}",
    ] {
        lint(right).await.expect(right);
    }
}

#[tokio::test]
async fn a_template_cannot_run_away() {
    let world = World::new();
    let settings = json!({"templates": ["t"]});
    for (template, expected) in [
        ("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "fuel"),
        ("{% include 't' %}", "recursion"),
        ("{% for a in range(5000) %}{{ 'x' * 1000 }}{% endfor %}", "4 MiB"),
    ] {
        let message = world.refused(&world.inputs(settings.clone(), &[("t", template.as_bytes())])).await;
        assert!(message.contains(expected), "{template}: {message}");
    }
}

#[tokio::test]
async fn paths_that_leave_the_tree_or_collide_are_refused() {
    let world = World::new();
    for (settings, files, expected) in [
        (json!({"files": ["**", "../x"]}), vec!["../x"], "not a plain relative path"),
        (json!({"files": ["**"]}), vec!["/etc/passwd"], "not a plain relative path"),
        (json!({"files": ["**"]}), vec!["a", "a/b"], "needs it as a directory"),
        (json!({"files": ["**"], "templates": ["*.j2"]}), vec!["a", "a.j2"], "both become `a`"),
        (json!({"files": ["*.txt"]}), vec!["a.txt", "b/c.txt"], "neither `files` nor `templates` covers it"),
        (json!({"files": ["["]}), vec!["a"], "is not a glob"),
        (json!({"files": ["**"]}), vec![], "no file to deploy"),
        (json!({"fils": ["**"]}), vec!["a"], "unknown field `fils`"),
    ] {
        let files: Vec<_> = files.into_iter().map(|path| (path, b"".as_slice())).collect();
        let message = world.refused(&world.inputs(settings, &files)).await;
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test]
async fn a_target_behind_a_link_out_of_the_root_is_never_written() {
    let world = World::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let inputs = world.plain(&[("a", b"1")]);
    let request = world.request(&inputs).await;
    symlink(elsewhere.path(), world.root.path().join("env")).unwrap();
    assert_eq!(Directory.ensure(&world.cx, &request).await.unwrap_err().kind, ErrorKind::Invalid);
    fs::remove_file(world.root.path().join("env")).unwrap();
    fs::create_dir_all(world.place()).unwrap();
    symlink(elsewhere.path(), world.place().join("releases")).unwrap();
    assert_eq!(Directory.ensure(&world.cx, &request).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_preview_shows_texts_and_names_the_rest_by_digest() {
    let world = World::new();
    let large = vec![b'x'; (64 << 10) + 1];
    world.deploy(&world.plain(&[("gone", b"old\n"), ("kept", b"same"), ("large", b"small"), ("text", b"a\n")])).await;
    let next = world.plain(&[("bin", b"\x00\x01"), ("kept", b"same"), ("large", &large), ("text", b"b\n")]);
    let shown = |changes: Vec<promo_sdk::FileChange>| -> Vec<_> {
        changes.into_iter().map(|c| (c.path, c.before.unwrap_or_default(), c.after.unwrap_or_default())).collect()
    };
    let row = |path: &str, before: &str, after: &str| (path.to_owned(), before.to_owned(), after.to_owned());
    let digest = |bytes: &[u8]| format!("{} ({} bytes)", Digest::of(bytes), bytes.len());
    assert_eq!(
        shown(world.preview(&next).await.unwrap().changes),
        [
            row("bin", "", &digest(b"\x00\x01")),
            row("gone", "old\n", ""),
            row("large", "small", &digest(&large)),
            row("text", "a\n", "b\n"),
        ]
    );
    world.deploy(&next).await;
    let back = world.plain(&[("large", b"small")]);
    assert_eq!(
        shown(world.preview(&back).await.unwrap().changes)[2],
        row("large", &digest(&large), "small"),
        "live files are not shown either when they are large"
    );
}

#[tokio::test]
async fn the_last_three_trees_are_kept_and_the_marker_names_who_was_there() {
    let world = World::new();
    let mut names = Vec::new();
    for n in 0..5_u8 {
        let State::Present(state) = world.deploy(&world.plain(&[("a", &[n])])).await else { panic!() };
        names.push(state.hex());
    }
    fs::create_dir(world.place().join("releases/not-ours")).unwrap();
    let State::Present(back) = world.deploy(&world.plain(&[("a", &[2])])).await else { panic!() };
    assert_eq!(back.hex(), names[2]);
    let mut left: Vec<_> = fs::read_dir(world.place().join("releases"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    let mut expected = vec![names[2].clone(), names[3].clone(), names[4].clone(), "not-ours".to_owned()];
    expected.sort();
    assert_eq!(left, expected);
    let marker: Value = serde_json::from_slice(&fs::read(world.place().join(".promo.json")).unwrap()).unwrap();
    assert_eq!((&marker["token"], &marker["epoch"]), (&json!("run-1/step-2"), &json!(7)));
    assert_eq!(marker["fingerprint"], json!(back));
    assert_eq!(marker["kept"], json!([names[2], names[4], names[3]]));
}

#[tokio::test]
async fn what_a_crash_left_is_cleaned_and_never_live() {
    let world = World::new();
    let first = world.deploy(&world.plain(&[("a", b"1")])).await;
    let incoming = world.place().join("releases/.incoming");
    fs::create_dir_all(incoming.join("half")).unwrap();
    fs::write(incoming.join("a"), "ha").unwrap();
    fs::write(world.place().join(".promo.json.new"), "{").unwrap();
    symlink("releases/.incoming", world.place().join(".promo-current.new")).unwrap();
    let next = world.plain(&[("a", b"2"), ("b", b"3")]);
    assert_eq!(world.observe(&next).await, first, "a half tree is not what is there");
    let second = world.deploy(&next).await;
    assert_eq!(world.observe(&next).await, second);
    assert!(!incoming.exists());
    let mut names: Vec<_> = fs::read_dir(world.place()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".promo.json", ".promo.lock", "current", "releases"]);
}

#[tokio::test]
async fn a_tree_changed_by_hand_is_not_what_a_rollback_restores() {
    let world = World::new();
    let first = world.plain(&[("a", b"1")]);
    let State::Present(state) = world.deploy(&first).await else { panic!() };
    world.deploy(&world.plain(&[("a", b"2")])).await;
    fs::write(world.place().join("releases").join(state.hex()).join("a"), "tampered").unwrap();
    assert_eq!(world.deploy(&first).await, State::Present(state));
    assert_eq!(world.live("a"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_writers_with_one_expectation_exactly_one_wins() {
    for round in 0..8_u8 {
        let world = World::new();
        world.deploy(&world.plain(&[("a", b"start")])).await;
        let (left, right) = (world.plain(&[("a", &[1, round])]), world.plain(&[("a", &[2, round])]));
        let (one, two) = (world.request(&left).await, world.request(&right).await);
        let (a, b) = futures_util::join!(Directory.ensure(&world.cx, &one), Directory.ensure(&world.cx, &two));
        let (winner, loser) = if a.is_ok() { (one.desired, b) } else { (two.desired, a) };
        let error = loser.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
        assert_eq!(error.found, Some(winner.to_string()));
        assert_eq!(world.observe(&left).await, winner);

        let same = world.plain(&[("a", b"both")]);
        let request = world.request(&same).await;
        let (a, b) = futures_util::join!(Directory.ensure(&world.cx, &request), Directory.ensure(&world.cx, &request));
        assert!(a.unwrap().changed != b.unwrap().changed, "one writes, the other finds it done");
    }
}

#[tokio::test]
async fn a_cancelled_or_falsified_request_changes_nothing() {
    let world = World::new();
    let inputs = world.plain(&[("a", b"1")]);
    world.deploy(&inputs).await;
    let mut request = world.request(&world.plain(&[("a", b"2")])).await;
    let before = snapshot(&world.place());
    request.desired = State::Present(Digest::of(b"another tree"));
    assert_eq!(Directory.ensure(&world.cx, &request).await.unwrap_err().kind, ErrorKind::Integrity);
    request.desired = State::Absent;
    assert_eq!(Directory.ensure(&world.cx, &request).await.unwrap_err().kind, ErrorKind::Invalid);
    let request = world.request(&world.plain(&[("a", b"2")])).await;
    world.cx.cancelled.cancel();
    assert_eq!(Directory.ensure(&world.cx, &request).await.unwrap_err().kind, ErrorKind::Cancelled);
    assert_eq!(snapshot(&world.place()), before);
}
