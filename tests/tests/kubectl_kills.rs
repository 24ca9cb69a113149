//! promo killed while it deploys to a real namespace, at every point that it passes there, and a server that goes away under it (S9):
//! each time the run is named, a resume brings it to the end that it would have had, and nothing was done twice.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use promo_tests::faults::Point;
use promo_tests::kubernetes::kills::{Passage, first_of, kind};
use promo_tests::kubernetes::pipeline::{By, Pipeline, kubectl, said};
use promo_tests::kubernetes::series::Series;
use promo_tests::kubernetes::{ControlPlane, Helm, Namespace};
use serde_json::json;

const FAULTS: &str = env!("CARGO_BIN_EXE_promo-faults");

fn environment(by: By, namespaces: &[Namespace], also: &str) -> String {
    let deploys = by.settings(&format!("timeout = \"60s\"\n{also}"));
    deploys + &Pipeline::environment("dev", "development", "", &namespaces[0])
}

/// Everywhere that a deployment passes from the record of its run on, by the names of the points, in that order. What is new has to be put
/// here, and is killed by itself; what is gone is missed.
const PLACES: [&str; 26] = [
    "append before run.started",
    "append after run.started",
    "append before promotion.started",
    "append after promotion.started",
    "observe",
    "append before step.intent",
    "append after step.intent",
    "ensure before",
    "ensure file",
    "ensure after",
    "settle before",
    "settle after",
    "append before step.effect",
    "append after step.effect",
    "append before environment.deployed",
    "append after environment.deployed",
    "verify",
    "verify after",
    "append before verdict.recorded",
    "append after verdict.recorded",
    "append before promotion.finished",
    "append after promotion.finished",
    "append before run.finished",
    "append after run.finished",
    "release before",
    "release after",
];

/// One namespace, and the releases that go there one after the other.
struct World(Series);

impl World {
    async fn new(by: By) -> Option<Self> {
        let pipeline = Pipeline::new(1, |namespaces| environment(by, namespaces, "")).await?;
        Some(Self(Series::of(pipeline.with(by), FAULTS)))
    }

    /// Plans the next release, with a hook that runs in each step.
    async fn plan(&mut self) {
        let n = self.0.number + 1;
        let image = format!("registry.test/tool@sha256:{}", "a".repeat(64));
        let hook = match self.0.by {
            By::Kubectl => "promo/hook: before, promo/hook-runs: always",
            By::Helm(_) => "helm.sh/hook: \"pre-install,pre-upgrade\"",
        };
        let job = format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{ name: migrate, annotations: {{ {hook} }} }}\n\
             spec:\n  backoffLimit: 0\n  template:\n    metadata: {{ labels: {{ hook: \"{n}\" }} }}\n    \
             spec: {{ restartPolicy: Never, containers: [{{ name: job, image: \"{image}\" }}] }}\n---\n"
        );
        self.0.adds("run", &job).await;
        self.0.ends(0, &["plan", "dev", "--out", "plan.json"]);
    }

    /// What a clean apply passes from the record of its run on, each point once.
    async fn points(&mut self) -> Vec<Passage> {
        self.plan().await;
        self.0.faulty().anew().ends(0, "a clean run", &["apply", "plan.json"]);
        self.is_done("a clean run");
        let passed = self.0.faulty().passed();
        let kinds: Vec<_> = first_of(&passed, kind).iter().map(|there| kind(&there.point).to_owned()).collect();
        assert_eq!(kinds, PLACES);
        first_of(&passed, Point::clone)
    }

    /// What the last release declares is there, all of it and nothing else, and its hook has come to its good end once.
    fn is_done(&self, cell: &str) {
        let (n, world) = (self.0.number, &self.0);
        let live = world.live();
        assert!(live[0].is(n), "{cell}: not {n}: {live:#?}");
        let path = "jsonpath={range .items[*]}{.metadata.labels.hook} {.metadata.labels.job-name} {.status.phase}{\"\\n\"}{end}";
        let ran = kubectl(world.dev(), &["get", "pods", "-l", &format!("hook={n}"), "-o", path]);
        let ran: Vec<&str> = ran.lines().collect();
        let [ran] = ran[..] else { panic!("{cell}: of {n} has run {ran:?}") };
        assert!(ran.starts_with(&format!("{n} migrate")) && ran.ends_with(" Succeeded"), "{cell}: {ran}");
        world.ends(0, &["drift", "dev", "--detailed-exitcode"]);
        let says = world.json(0, &["status"])["says"].to_string();
        assert!(says.contains("the newest release is verified everywhere"), "{cell}: {says}");
    }

    /// Kills an apply there, and sees to it that what it left is named and can be brought to its end.
    async fn cell(&mut self, there: &Passage) {
        let before = self.0.number;
        self.plan().await;
        let cell = there.to_string();
        let faulty = self.0.faulty();
        faulty.anew().killed(there, &["apply", "plan.json"]);
        match self.0.named(&cell) {
            Some(run) => drop(faulty.ends(0, &cell, &["resume", &run])),
            // Nothing was begun, or all of it was done.
            None if self.0.live()[0].is(before) => drop(faulty.ends(0, &cell, &["apply", "plan.json"])),
            None => {}
        }
        faulty.nothing_twice(&cell);
        self.is_done(&cell);
    }

    /// A cell for each of these points.
    async fn cells(mut self, among: impl Fn(&Point) -> bool) {
        for there in self.points().await.into_iter().filter(|there| among(&there.point)) {
            self.cell(&there).await;
        }
        self.0.ends(0, &["ledger", "verify"]);
    }
}

fn of_deployment(point: &Point) -> bool {
    ["ensure", "settle", "observe", "verify"].iter().any(|name| point.name.starts_with(name))
}

/// A map for each number, of which others have made each.
fn maps(count: usize, value: &str) -> String {
    let one =
        |n| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: c{n:03} }}\ndata: {{ key: \"{value}\" }}\n");
    (0..count).map(one).collect::<Vec<_>>().join("---\n")
}

/// How many maps promo has applied.
async fn applied(api: &Api<ConfigMap>) -> usize {
    let Ok(all) = api.list(&ListParams::default()).await else { return 0 };
    let ours = |map: &&ConfigMap| {
        let managers = map.metadata.managed_fields.iter().flatten();
        managers.into_iter().any(|entry| entry.manager.as_deref() == Some("promo"))
    };
    all.items.iter().filter(ours).count()
}

/// Waits until promo has applied some of the maps, and not all.
async fn half_way(api: &Api<ConfigMap>, child: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while applied(api).await < 20 {
        assert!(Instant::now() < deadline, "nothing is applied");
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

mod needs_kubernetes {
    mod needs_kubectl {
        use super::super::*;

        #[tokio::test(flavor = "multi_thread")]
        async fn killed_at_any_point_of_a_deployment_a_resume_ends_it_and_nothing_is_done_twice() {
            let Some(world) = World::new(By::Kubectl).await else { return };
            world.cells(of_deployment).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn killed_at_any_record_or_lock_of_a_deployment_a_resume_ends_it_and_nothing_is_done_twice() {
            let Some(world) = World::new(By::Kubectl).await else { return };
            world.cells(|point| !of_deployment(point)).await;
        }

        mod needs_helm {
            use super::*;

            #[tokio::test(flavor = "multi_thread")]
            async fn killed_at_any_point_of_a_deployment_with_helm_a_resume_ends_it_and_nothing_is_done_twice() {
                let Some(world) = World::new(By::Helm(Helm::Four)).await else { return };
                world.cells(of_deployment).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn killed_before_and_after_helm_3_has_worked_a_resume_ends_it_and_nothing_is_done_twice() {
                let Some(world) = World::new(By::Helm(Helm::Three)).await else { return };
                world.cells(|point| point.name.starts_with("ensure")).await;
            }
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn a_first_adoption_that_is_killed_half_way_is_named_and_gone_on_with_and_takes_from_nobody_else() {
            const COUNT: usize = 300;
            let Some(pipeline) =
                Pipeline::new(1, |namespaces| environment(By::Kubectl, namespaces, "adopt = true\n")).await
            else {
                return;
            };
            pipeline.write("manifests/all.yaml", &maps(COUNT, "1"));
            // As helm has made them; one more field of one of them belongs to somebody else.
            let namespace = &pipeline.namespaces[0];
            let api: Api<ConfigMap> = Api::namespaced(namespace.client().await, namespace.name());
            let by = |manager: &str, name: String, data: serde_json::Value| {
                let map =
                    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data });
                let (api, params) = (api.clone(), PatchParams::apply(manager));
                async move { api.patch(&name, &params, &Patch::Apply(map)).await.unwrap() }
            };
            for some in (0..COUNT).collect::<Vec<_>>().chunks(16) {
                let made = some.iter().map(|n| by("helm", format!("c{n:03}"), json!({ "key": "0" })));
                futures_util::future::join_all(made).await;
            }
            by("somebody", "c007".into(), json!({ "theirs": "x" })).await;
            pipeline.release("1.0.0").await;
            let plan = pipeline.ends(0, &["adopt", "dev", "--out", "adopt.json", "--full"]);
            assert!(plan.contains("ConfigMap/c000: helm"), "{plan}");
            let mut apply = pipeline.promo(&["apply", "adopt.json"]);
            let mut child = apply.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            half_way(&api, &mut child).await;
            child.kill().unwrap();
            child.wait().unwrap();
            let left = applied(&api).await;
            assert!((20..COUNT).contains(&left), "{left} of {COUNT}: it was to be killed half-way");
            let run = pipeline.unfinished().expect("what is half done is named");
            pipeline.ends(0, &["resume", &run]);
            assert_eq!(applied(&api).await, COUNT);
            let mut managers: BTreeMap<String, usize> = BTreeMap::new();
            for map in api.list(&ListParams::default()).await.unwrap().items {
                let name = map.metadata.name.clone().unwrap_or_default();
                if !name.starts_with("kube-") {
                    assert_eq!(map.data.as_ref().unwrap()["key"], "1", "{name}");
                    let owners = map.metadata.managed_fields.iter().flatten();
                    owners
                        .filter_map(|owner| owner.manager.clone())
                        .for_each(|manager| *managers.entry(manager).or_default() += 1);
                }
            }
            assert_eq!(managers, [("promo".to_owned(), COUNT), ("somebody".to_owned(), 1)].into());
            pipeline.ends(0, &["drift", "dev", "--detailed-exitcode"]);
            pipeline.ends(0, &["plan", "dev", "--detailed-exitcode"]);
            pipeline.ends(0, &["ledger", "verify"]);
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn a_server_that_is_restarted_in_mid_apply_interrupts_the_run_which_a_resume_ends() {
            const COUNT: usize = 600;
            let Some(mut plane) = ControlPlane::private() else { return };
            let pipeline =
                Pipeline::on(vec![Namespace::on(&plane)], |namespaces| environment(By::Kubectl, namespaces, "")).await;
            pipeline.write("manifests/all.yaml", &maps(COUNT, "1"));
            pipeline.release("1.0.0").await;
            pipeline.ends(0, &["plan", "dev", "--out", "plan.json"]);
            let namespace = &pipeline.namespaces[0];
            let api: Api<ConfigMap> = Api::namespaced(namespace.client().await, namespace.name());
            let mut child =
                pipeline.promo(&["apply", "plan.json"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            half_way(&api, &mut child).await;
            tokio::task::block_in_place(|| plane.stop_apiserver());
            let output = child.wait_with_output().unwrap();
            let told = said(&output);
            assert_eq!(output.status.code(), Some(75), "nothing was seen to go wrong: {told}");
            assert!(told.contains("promo resume"), "{told}");
            let run = pipeline.unfinished().expect("what is half done is named");
            // As long as there is nobody to ask, a resume says so and changes nothing.
            let early = pipeline.ends(75, &["resume", &run]);
            assert!(early.contains("promo resume"), "{early}");
            tokio::task::block_in_place(|| plane.start_apiserver());
            let left = applied(&api).await;
            assert!((20..COUNT).contains(&left), "{left} of {COUNT}");
            pipeline.ends(0, &["resume", &run]);
            assert_eq!(applied(&api).await, COUNT);
            pipeline.ends(0, &["drift", "dev", "--detailed-exitcode"]);
            pipeline.ends(0, &["ledger", "verify"]);
        }
    }
}
