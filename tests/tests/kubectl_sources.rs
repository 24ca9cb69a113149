//! Where the objects of `deploy.kubectl` come from besides manifests: overlays that the real kustomize builds from what was recorded and from
//! nothing else, and templates.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use promo_providers::kubectl::Kubectl;
use promo_sdk::{ErrorKind, Provider as _};
use promo_tests::kubernetes::world::{DIGEST, Variables, World, clusters};
use serde_json::json;

const BASE: &str = "resources: [web.yaml]\n";
const WEB: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\nspec:\n  replicas: 1\n  \
                   selector: { matchLabels: { app: web } }\n  template:\n    metadata: { labels: { app: web } }\n    \
                   spec: { containers: [{ name: web, image: shop/web }] }\n";
const OVERLAY: &str = "resources: [../../base]\nnamePrefix: perf-\n\
                       configMapGenerator: [{ name: settings, literals: [level=debug] }]\n\
                       replicas: [{ name: web, count: 2 }]\n";

fn of_overlay() -> serde_json::Value {
    json!({
        "kustomize": "deploy/overlays/perf", "files": ["deploy/base"], "images": { "shop/web": "web" }, "timeout": 30,
    })
}

fn files(overlay: &str) -> [(&'static str, String); 4] {
    [
        ("deploy/base/kustomization.yaml", BASE.to_owned()),
        ("deploy/base/web.yaml", WEB.to_owned()),
        ("deploy/overlays/perf/kustomization.yaml", overlay.to_owned()),
        // Of another deployment: it is not the overlay's.
        ("other/kustomization.yaml", "resources: [nothing.yaml]".to_owned()),
    ]
}

fn texts<'a>(files: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    files.iter().map(|(path, text)| (*path, text.as_str())).collect()
}

/// Lets the provider find this kubectl, and secrets that are not kubectl's business.
fn finds(world: &mut World, program: &str) {
    let clusters = clusters(world.root.path(), &world.namespace.kubeconfig(), "admin");
    let variables = [("PROMO_CLUSTERS", clusters.as_str()), ("PROMO_KUBECTL", program), ("GITHUB_TOKEN", "hunter2")];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    world.cx.secrets = Arc::new(Variables(BTreeMap::from(variables)));
}

/// The kubectl of the tests behind a script that tells how it was called.
fn told(world: &mut World) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let kubectl = std::env::var("PROMO_COMPONENT_KUBECTL").unwrap_or_else(|_| "kubectl".into());
    let (script, log) = (world.root.path().join("kubectl"), world.root.path().join("calls"));
    let text = format!("#!/bin/sh\necho \"call $*\" >> {log:?}\n/usr/bin/env >> {log:?}\nexec {kubectl:?} \"$@\"\n");
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    finds(world, &script.display().to_string());
    log
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

mod needs_kubernetes {
    use super::*;

    mod needs_kubectl {
        use super::*;

        #[tokio::test(flavor = "multi_thread")]
        async fn s8_2_the_kubectl_that_builds_an_overlay_is_named_with_its_version_and_nothing_is_where_none_is_used() {
            let Some(mut world) = World::new() else { return };
            let log = told(&mut world);
            let recorded = files(OVERLAY);
            let overlay = world.of_files(&texts(&recorded), of_overlay());
            let output = world.namespace.kubectl().args(["version", "--client", "--output=json"]).output().unwrap();
            let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let version = said["clientVersion"]["gitVersion"].as_str().unwrap().to_owned();
            for _ in 0..2 {
                let programs = world.kubectl.programs(&world.cx, &overlay).await.unwrap();
                assert_eq!(programs, BTreeMap::from([("kubectl".to_owned(), version.clone())]));
            }
            let plain = world.of_files(&[("web.yaml", WEB)], json!({ "manifests": ["web.yaml"] }));
            assert_eq!(world.kubectl.programs(&world.cx, &plain).await.unwrap(), BTreeMap::new());
            let calls = std::fs::read_to_string(log).unwrap();
            assert_eq!(calls.lines().filter(|line| line.starts_with("call ")).count(), 1, "it is asked once: {calls}");
            assert!(!calls.contains("hunter2"), "{calls}");
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn s2_4_an_overlay_is_built_from_what_was_recorded_and_from_nothing_else() {
            let Some(mut world) = World::new() else { return };
            let log = told(&mut world);
            // The working tree has nothing of it.
            let recorded = files(OVERLAY);
            let inputs = world.of_files(&texts(&recorded), of_overlay());
            world.kubectl.lint(&world.cx, &inputs).await.unwrap();
            let preview = world.deploy(&inputs).await;
            let paths: Vec<&str> = preview.changes.iter().map(|change| change.path.as_str()).collect();
            assert!(
                paths[0].starts_with("ConfigMap/perf-settings-") && paths[1..] == ["Deployment/perf-web"],
                "{paths:?}"
            );
            let shown = preview.changes[1].after.as_deref().unwrap();
            assert!(
                shown.contains(&format!("registry.test/shop/web@{DIGEST}")) && shown.contains("replicas: 2"),
                "{shown}"
            );
            world.settle(&inputs).await.unwrap();
            let calls = read(&log);
            assert_eq!(calls.matches("call kustomize ").count(), 1, "what was built once is known: {calls}");
            // A clean environment, in which neither git nor a server can be found.
            assert!(!calls.contains("hunter2") && !calls.contains("SECRET"), "{calls}");
            assert!(calls.contains("HTTPS_PROXY=http://127.0.0.1:9"), "{calls}");
            let home = calls.lines().find_map(|line| line.strip_prefix("HOME=")).unwrap();
            assert!(home.contains("promo-given-kustomize-") && !Path::new(home).exists(), "{home}");
            // The old map goes away with its name.
            let changed = files(&OVERLAY.replace("debug", "info"));
            let next = world.of_files(&texts(&changed), of_overlay());
            let preview = world.deploy(&next).await;
            assert_eq!(preview.changes.len(), 2, "{:?}", preview.changes);
            let maps = world.names("configmaps").into_iter().filter(|name| name.starts_with("perf-settings-")).count();
            assert_eq!((maps, read(&log).matches("call kustomize ").count()), (1, 2));
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn an_overlay_that_needs_more_than_was_recorded_is_refused_before_anything_is_started() {
            let Some(mut world) = World::new() else { return };
            let log = told(&mut world);
            let here = "http://127.0.0.1:9/patch.yaml";
            for (overlay, settings, why) in [
                (
                    OVERLAY.to_owned(),
                    json!({ "kustomize": "deploy/overlays/perf" }),
                    "name it in `files`, as `deploy/base`",
                ),
                (OVERLAY.replace("../../base", "https://git.example/app"), of_overlay(), "copy it into the repository"),
                (OVERLAY.replace("../../base", "github.com/example/app"), of_overlay(), "copy it into the repository"),
                (
                    format!("{OVERLAY}helmCharts: [{{ name: a, repo: https://charts.example }}]\n"),
                    of_overlay(),
                    "deploy.helm",
                ),
                // What kustomize would load from this machine, or run: in other spellings, in place and in files.
                (format!("{OVERLAY}Components: [\"{here}\"]\n"), of_overlay(), "`Components` is not known here"),
                (
                    format!(
                        "{OVERLAY}transformers:\n- |-\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {{ name: a }}\n  path: {here}\n"
                    ),
                    of_overlay(),
                    "`PatchTransformer` refers to",
                ),
                (
                    format!(
                        "{OVERLAY}generators:\n- |-\n  apiVersion: example.com/v1\n  kind: Program\n  metadata: {{ name: a }}\n"
                    ),
                    of_overlay(),
                    "names Program of example.com/v1",
                ),
            ] {
                let recorded = files(&overlay);
                let inputs = world.of_files(&texts(&recorded), settings);
                let error = world.preview(&inputs).await.unwrap_err();
                assert!(error.kind == ErrorKind::Invalid && error.message.contains(why), "{error}");
                let error = world.kubectl.lint(&world.cx, &inputs).await.unwrap_err();
                assert!(error.message.contains(why), "{error}");
            }
            assert_eq!(read(&log), "", "nothing was started");
            // What only kustomize finds wrong is told in its words, without where it was built.
            let recorded = files(&format!("{OVERLAY}sortOptions: {{ order: sideways }}\n"));
            let error = world.preview(&world.of_files(&texts(&recorded), of_overlay())).await.unwrap_err();
            assert!(error.message.contains("deploy/overlays/perf: kustomize cannot build it: "), "{error}");
            assert!(!error.message.contains("promo-given-kustomize-"), "{error}");
            // Whatever of it is a secret: kustomize quotes it.
            for (more, place) in [
                ("secretGenerator: [{ name: login, literals: [hunter2-canary] }]\n", "literal source (masked)"),
                (
                    "patches: [{ patch: \"kind: Secret\\nmetadata: { name: a }\\nstringData: hunter2-canary: x\" }]\n",
                    "unable to parse",
                ),
            ] {
                let recorded = files(&format!("{OVERLAY}{more}"));
                let error = world.preview(&world.of_files(&texts(&recorded), of_overlay())).await.unwrap_err();
                assert!(error.message.contains("deploy/overlays/perf: kustomize cannot build it: "), "{error}");
                assert!(error.message.contains(place) && !error.message.contains("canary"), "{error}");
            }
            // Without kubectl a deployment cannot be made; that is no fault of the pipeline.
            finds(&mut world, "kubectl-that-is-not-there");
            let recorded = files(OVERLAY);
            let inputs = world.of_files(&texts(&recorded), of_overlay());
            let error =
                Kubectl::default().preview(&world.cx, &promo_sdk::ObserveRequest { inputs: inputs.clone() }).await;
            let error = error.unwrap_err();
            assert!(error.kind == ErrorKind::NotFound && error.message.contains("PROMO_KUBECTL"), "{error}");
            Kubectl::default().lint(&world.cx, &inputs).await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn templates_render_to_manifests_with_values_that_can_make_no_other_objects() {
        let Some(world) = World::new() else { return };
        let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: \"{{ target.namespace }}-{{ environment }}\" }\ndata:\n  \
                        image: {{ artifacts.web.reference }}\n  note: {{ values.note | tojson }}\n  level: {{ values.log.level }}\n";
        let settings = json!({
            "manifests": ["deploy/*.yaml"], "templates": ["deploy/*.j2"], "values_files": ["values/all.yaml", "values/dev.toml"],
            "values": { "note": "x\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: other }\n" },
        });
        let files = |template: &str| {
            [
                ("deploy/map.yaml.j2", template.to_owned()),
                ("values/all.yaml", "note: no\nlog: { level: info, format: json }\n".to_owned()),
                ("values/dev.toml", "[log]\nlevel = \"debug\"\n".to_owned()),
            ]
        };
        let good = files(template);
        let inputs = world.of_files(&texts(&good), settings.clone());
        world.kubectl.lint(&world.cx, &inputs).await.unwrap();
        let preview = world.deploy(&inputs).await;
        let name = format!("{}-dev", world.namespace.name());
        assert_eq!(
            preview.changes.iter().map(|change| change.path.clone()).collect::<Vec<_>>(),
            [format!("ConfigMap/{name}")]
        );
        let data = world.kubectl(&["get", "configmap", &name, "-o", "jsonpath={.data.level} {.data.image}"]);
        assert_eq!(data, format!("debug registry.test/shop/web@{DIGEST}"));
        assert!(!world.names("configmaps").contains(&"other".into()));
        for (from, to, why) in [
            (" | tojson", "", "deploy/map.yaml.j2:6: "),
            ("values.log.level", "values.log.depth", "deploy/map.yaml.j2:7: "),
            ("target.namespace", "target.zone", "deploy/map.yaml.j2:3: "),
            ("{{ environment }}", "{{ environment( }}", "deploy/map.yaml.j2:3: "),
        ] {
            let bad = files(&template.replace(from, to));
            let error = world.preview(&world.of_files(&texts(&bad), settings.clone())).await.unwrap_err();
            assert!(error.kind == ErrorKind::Invalid && error.message.contains(why), "{to}: {error}");
            assert!(error.message.contains(", in `"), "with the line itself: {error}");
        }
        // A glob of manifests that covers a template leaves it one.
        let both = world.of_files(&texts(&good), {
            let mut settings = settings.clone();
            settings["manifests"] = json!(["deploy"]);
            settings
        });
        assert_eq!(world.preview(&both).await.unwrap().changes.len(), 0);
    }
}
