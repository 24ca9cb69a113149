//! promo killed on the way back of a real namespace, in a drill and between waves (S9, S10): whoever resumes the run ends it as it would have
//! ended, on the release that it was to end on, all of it, and the ledger names how.
#![cfg(target_os = "linux")]

use promo_tests::faults::Point;
use promo_tests::kubernetes::kills::Faulty;
use promo_tests::kubernetes::pipeline::{By, Pipeline, kubectl, quota};
use promo_tests::kubernetes::{Helm, Namespace};
use serde_json::Value;

const FAULTS: &str = env!("CARGO_BIN_EXE_promo-faults");

/// An environment of one or two namespaces, in which a good release runs.
struct World {
    pipeline: Pipeline,
    next: usize,
}

impl std::ops::Deref for World {
    type Target = Pipeline;

    fn deref(&self) -> &Pipeline {
        &self.pipeline
    }
}

impl World {
    /// One namespace.
    async fn new(by: By) -> Option<Self> {
        let pipeline = Pipeline::new(1, |namespaces| {
            by.settings("timeout = \"60s\"\n") + &Pipeline::environment("world", "development", "", &namespaces[0])
        });
        Self { pipeline: pipeline.await?.with(by), next: 0 }.first().await
    }

    /// Two, of which one comes after the other.
    async fn waves() -> Option<Self> {
        let pipeline = Pipeline::new(2, |namespaces| {
            let [eu, us] = [&namespaces[0], &namespaces[1]].map(Namespace::name);
            format!(
                "{}[environments.world]\ntier = \"development\"\nstart = \"auto\"\nverify = [\"smoke\"]\n\
                 waves = [{{ targets = [\"eu\"], pause = \"1s\" }}, {{ targets = [\"us\"] }}]\n[environments.world.targets]\n\
                 eu = {{ cluster = \"kit\", namespace = \"{eu}\" }}\nus = {{ cluster = \"kit\", namespace = \"{us}\" }}\n",
                By::Kubectl.settings("timeout = \"60s\"\n")
            )
        });
        Self { pipeline: pipeline.await?, next: 0 }.first().await
    }

    async fn first(mut self) -> Option<Self> {
        self.adds("run").await;
        self.ends(0, &["advance"]);
        Some(self)
    }

    /// Adds the next release, whose pods behave so: its own value, and a map that no other one has.
    async fn adds(&mut self, behaves: &str) {
        self.next += 1;
        let n = self.next;
        self.declare(
            &n.to_string(),
            &format!(
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: a }}\ndata: {{ key: \"KEY\" }}\n---\n\
                 apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: only-{n} }}\n---\n\
                 apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: web }}\nspec:\n  replicas: 1\n  \
                 selector: {{ matchLabels: {{ app: web }} }}\n  template:\n    \
                 metadata: {{ labels: {{ app: web }}, annotations: {{ promo.test/kubelet: {behaves} }} }}\n    \
                 spec: {{ containers: [{{ name: web, image: shop/web }}] }}\n"
            ),
        );
        self.release(&format!("1.{n}.0")).await;
    }

    fn faulty(&self) -> Faulty<'_> {
        Faulty::on(&self.pipeline, FAULTS)
    }

    /// What is in each namespace: the image, how the pods behave, the value, and the maps.
    fn live(&self) -> Vec<Vec<String>> {
        let of = |namespace: &Namespace| {
            let get = |kind: &str, path: &str| kubectl(namespace, &["get", kind, "-o", &format!("jsonpath={path}")]);
            vec![
                get("deployments", "{.items[*].spec.template.spec.containers[*].image}"),
                get("deployments", "{.items[*].spec.template.metadata.annotations}"),
                get("configmaps", "{.items[?(@.metadata.name==\"a\")].data}"),
                get("configmaps", "{.items[*].metadata.name}"),
            ]
        };
        self.namespaces.iter().map(of).collect()
    }

    /// The last promotion, as the ledger has it.
    fn last(&self) -> Value {
        self.json(0, &["history", "world"])["promotions"][0].clone()
    }

    /// Kills what these words do at a point, and goes on with it, which ends with that code on what was there, or on what is
    /// declared now.
    fn cell(&self, point: &Point, code: i32, words: &[&str]) {
        let cell = point.to_string();
        let faulty = self.faulty();
        faulty.anew().killed(&cell, words);
        let run = self.unfinished().unwrap_or_else(|| panic!("{cell}: what was broken off is not named"));
        faulty.ends(code, &cell, &["resume", &run]);
        faulty.nothing_twice(&cell);
        assert_eq!(self.unfinished(), None, "{cell}");
        assert_eq!(self.last()["run"], run.as_str(), "{cell}: it is the same run");
        // A second one changes nothing (S9.5).
        let live = self.live();
        self.ends(code, &["resume", &run]);
        assert_eq!(self.live(), live, "{cell}");
        self.ends(0, &["drift", "world", "--detailed-exitcode"]);
        self.ends(0, &["ledger", "verify"]);
    }

    /// Each of these is among the points that were passed; gives them.
    fn among(&self, points: &[&str]) -> Vec<Point> {
        let passed = self.faulty().passed();
        let find = |name: &&str| {
            let found = passed.iter().find(|point| point.to_string() == **name).cloned();
            found.unwrap_or_else(|| {
                panic!("{name} is not among {:?}", passed.iter().map(ToString::to_string).collect::<Vec<_>>())
            })
        };
        points.iter().map(find).collect()
    }

    /// Releases that do not run, killed at these points of their way back.
    async fn goes_back(mut self, points: &[&str]) {
        // What does not run is waited for shortly; what comes back is waited for as long as it was then.
        self.edit("promo.toml", "\"60s\"", "\"2s\"");
        let before = self.live();
        let mut cells = Vec::new();
        for at in 0..=points.len() {
            self.adds("notready").await;
            self.ends(0, &["plan", "world", "--out", "plan.json"]);
            match at.checked_sub(1) {
                None => {
                    self.faulty().anew().ends(40, "a clean run", &["apply", "plan.json"]);
                    cells = self.among(points);
                }
                Some(at) => self.cell(&cells[at], 40, &["apply", "plan.json"]),
            }
            assert_eq!(self.live(), before, "{:?}", at.checked_sub(1).map(|at| &cells[at]));
            let last = self.last();
            assert_eq!(last["outcome"], "rolled-back", "{last:#}");
            assert!(last["why"].as_str().unwrap_or_default().contains("not settled within 2 s"), "{last:#}");
            self.ends(0, &["unfreeze", "world", "--reason", "it was killed", "--actor-kind", "human"]);
        }
    }

    /// A drill, killed at these points.
    async fn drills(mut self, points: &[&str]) {
        self.adds("run").await;
        self.ends(0, &["advance"]);
        let before = self.live();
        let plan = || self.ends(0, &["rollback", "world", "--drill", "--out", "plan.json"]);
        plan();
        self.faulty().anew().ends(0, "a clean run", &["apply", "plan.json"]);
        for point in self.among(points) {
            plan();
            self.cell(&point, 0, &["apply", "plan.json"]);
            assert_eq!(self.live(), before, "{point}");
            let last = self.last();
            assert_eq!((&last["outcome"], &last["drill"]["state"]), (&"verified".into(), &"passed".into()), "{point}");
        }
        // Nothing of it is left: nobody is held, paused or quarantined.
        self.ends(0, &["plan", "--detailed-exitcode"]);
    }
}

const BACK: [&str; 6] = [
    "append before step.intent of world/rollback/deploy/default",
    "append after step.intent of world/rollback/deploy/default",
    "ensure after of world/rollback/deploy/default",
    "append before step.effect of world/rollback/deploy/default",
    "append after step.effect of world/rollback/deploy/default",
    "append before promotion.finished+release.rejected+environment.frozen of world",
];

const DRILL: [&str; 6] = [
    "append after step.intent of world/rollback/deploy/default",
    "ensure after of world/rollback/deploy/default",
    "append before drill.turned of world",
    "append after drill.turned of world",
    "ensure after of world/deploy/default",
    "append before promotion.finished of world",
];

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn killed_on_the_way_back_a_resume_ends_it_on_what_was_there() {
        let Some(world) = World::new(By::Kubectl).await else { return };
        world.goes_back(&BACK).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn killed_in_a_drill_a_resume_ends_it_on_what_ran() {
        let Some(world) = World::new(By::Kubectl).await else { return };
        world.drills(&DRILL).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn r10_killed_between_and_within_waves_a_resume_brings_the_release_to_all_of_them() {
        let Some(mut world) = World::waves().await else { return };
        let points = [
            "ensure before of world/deploy/eu",
            "ensure after of world/deploy/eu",
            "append after wave.finished of world",
            "ensure after of world/deploy/us",
        ];
        let mut cells = Vec::new();
        for at in 0..=points.len() {
            world.adds("run").await;
            world.ends(0, &["plan", "world", "--out", "plan.json"]);
            match at.checked_sub(1) {
                None => {
                    world.faulty().anew().ends(0, "a clean run", &["apply", "plan.json"]);
                    cells = world.among(&points);
                }
                Some(at) => world.cell(&cells[at], 0, &["apply", "plan.json"]),
            }
            let [eu, us] = &world.live()[..] else { unreachable!() };
            assert_eq!(eu, us);
            assert!(
                eu[2].contains(&format!("\"{}\"", world.next)) && eu[3].contains(&format!("only-{}", world.next)),
                "{eu:?}"
            );
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn r10_killed_on_the_way_back_of_waves_a_resume_brings_back_all_that_were_touched() {
        let Some(mut world) = World::waves().await else { return };
        // There is no room for another pod in the second one, so that nothing new gets ready there.
        quota(&world.namespaces[1], "full", "pods", 1);
        world.edit("promo.toml", "\"60s\"", "\"10s\"");
        let before = world.live();
        let points =
            ["ensure after of world/rollback/deploy/eu", "append after step.intent of world/rollback/deploy/us"];
        let mut cells = Vec::new();
        for at in 0..=points.len() {
            world.adds("run").await;
            world.ends(0, &["plan", "world", "--out", "plan.json"]);
            match at.checked_sub(1) {
                None => {
                    world.faulty().anew().ends(40, "a clean run", &["apply", "plan.json"]);
                    cells = world.among(&points);
                }
                Some(at) => world.cell(&cells[at], 40, &["apply", "plan.json"]),
            }
            assert_eq!(world.live(), before);
            world.ends(0, &["unfreeze", "world", "--reason", "it was killed", "--actor-kind", "human"]);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s10_a_drill_goes_back_and_comes_again_wave_by_wave_and_one_that_is_cancelled_names_the_way_out() {
        let Some(mut world) = World::waves().await else { return };
        let older = world.live();
        world.adds("run").await;
        world.ends(0, &["advance"]);
        let before = world.live();
        let plan = || world.ends(0, &["rollback", "world", "--drill", "--out", "plan.json"]);
        plan();
        let said = world.ends(0, &["apply", "plan.json"]);
        let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("{text}: {said}"));
        assert!(at("world/rollback/deploy/eu: ") < at("world/rollback/deploy/us: "), "{said}");
        assert!(at("world/rollback/deploy/us: ") < at("world/deploy/eu: "), "{said}");
        assert!(at("world/deploy/eu: ") < at("world/deploy/us: ") && !said.contains("until wave"), "{said}");
        assert_eq!(world.live(), before);
        assert_eq!(world.last()["drill"]["state"], "passed");
        // Half of it is back when its process goes away, and a person ends it there.
        plan();
        world.faulty().anew().killed("append before step.intent of world/rollback/deploy/us", &["apply", "plan.json"]);
        let run = world.unfinished().expect("what is half done is named");
        world.ends(0, &["cancel", &run]);
        assert_eq!(world.live(), [older[0].clone(), before[1].clone()], "where it was broken off");
        let last = world.last();
        assert_eq!((&last["outcome"], &last["drill"]["state"]), (&"held".into(), &"broken-off".into()), "{last:#}");
        let status = world.ends(0, &["status"]);
        assert!(status.contains("held"), "{status}");
        // What is told next, as a person types it, ends on what ran.
        let mut said = world.ends(0, &["why", "world", "--actor-kind", "human"]);
        let mut typed = Vec::new();
        while world.live() != before {
            assert!(typed.len() < 4, "{typed:?}: {said}");
            let line = said
                .lines()
                .rev()
                .find_map(|line| line.strip_prefix("Next: promo "))
                .unwrap_or_else(|| panic!("{said}"));
            let words = shlex::split(line).expect("it can be typed");
            let words: Vec<&str> = words.iter().map(String::as_str).chain(["--actor-kind", "human"]).collect();
            said = world.ends(0, &words);
            typed.push(words.join(" "));
        }
        world.ends(0, &["drift", "world", "--detailed-exitcode"]);
        world.ends(0, &["ledger", "verify"]);
    }

    mod needs_helm {
        use super::*;

        #[tokio::test(flavor = "multi_thread")]
        async fn killed_on_the_way_back_of_a_chart_a_resume_ends_it_on_what_was_there() {
            let Some(world) = World::new(By::Helm(Helm::Four)).await else { return };
            world.goes_back(&[BACK[1], BACK[2], BACK[5]]).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn killed_in_a_drill_of_a_chart_a_resume_ends_it_on_what_ran() {
            let Some(world) = World::new(By::Helm(Helm::Four)).await else { return };
            world.drills(&[DRILL[1], DRILL[3], DRILL[4]]).await;
        }
    }
}
