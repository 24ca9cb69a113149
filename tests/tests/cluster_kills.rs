//! promo killed on the way back of a real namespace, in a drill, between waves and on the way back from them (S9, S10): whoever resumes the
//! run ends it as it would have ended, on the release that it was to end on, all of it, and until then `status` and `show` name it.
//!
//! Where it is killed is what a run without a fault passes, each name of a point once, so that a point that is new is tried here by itself.
//! docs/design/0022-where-promo-is-killed.md says why that is enough.
#![cfg(target_os = "linux")]

use promo_tests::faults::Point;
use promo_tests::kubernetes::kills::{Passage, first_of, kind};
use promo_tests::kubernetes::pipeline::{By, Pipeline};
use promo_tests::kubernetes::series::Series;
use promo_tests::kubernetes::{Helm, Namespace};

const FAULTS: &str = env!("CARGO_BIN_EXE_promo-faults");
const WELL: &str = "exit 0\n";
const APPLY: [&str; 2] = ["apply", "plan.json"];

/// An environment of one or two namespaces, in which a good release runs.
struct World(Series);

impl std::ops::Deref for World {
    type Target = Series;

    fn deref(&self) -> &Series {
        &self.0
    }
}

impl World {
    /// One namespace.
    async fn new(by: By) -> Option<Self> {
        let pipeline = Pipeline::new(1, |namespaces| {
            by.settings("timeout = \"60s\"\n") + &Pipeline::environment("world", "development", "", &namespaces[0])
        });
        Some(Self::first(pipeline.await?.with(by)).await)
    }

    /// Two, of which one comes after the other.
    async fn waves(by: By) -> Option<Self> {
        let pipeline = Pipeline::new(2, |namespaces| {
            let [eu, us] = [&namespaces[0], &namespaces[1]].map(Namespace::name);
            format!(
                "{}[environments.world]\ntier = \"development\"\nstart = \"auto\"\nverify = [\"smoke\"]\n\
                 waves = [{{ targets = [\"eu\"], pause = \"1s\" }}, {{ targets = [\"us\"] }}]\n[environments.world.targets]\n\
                 eu = {{ cluster = \"kit\", namespace = \"{eu}\" }}\nus = {{ cluster = \"kit\", namespace = \"{us}\" }}\n",
                by.settings("timeout = \"60s\"\n")
            )
        });
        Some(Self::first(pipeline.await?.with(by)).await)
    }

    async fn first(pipeline: Pipeline) -> Self {
        let mut world = Self(Series::of(pipeline, FAULTS));
        world.judged_by(WELL);
        world.promotes().await;
        world
    }

    /// A good release more.
    async fn promotes(&mut self) {
        self.0.adds("run", "").await;
        self.ends(0, &["advance"]);
        self.is_on(self.number, "a good release");
    }

    /// The release with this number is in every namespace, all of it and nothing else.
    fn is_on(&self, number: usize, cell: &str) {
        let live = self.live();
        assert!(live.iter().all(|live| live.is(number)), "{cell}: not {number}: {live:#?}");
    }

    /// The next release, planned.
    async fn plans(&mut self) {
        self.0.adds("run", "").await;
        self.ends(0, &["plan", "world", "--out", "plan.json"]);
    }

    /// Applies what is planned without a fault, which ends with that code; gives what it passed.
    fn clean(&self, code: i32) -> Vec<Passage> {
        self.faulty().anew().ends(code, "a clean run", &APPLY);
        self.faulty().passed()
    }

    /// Kills what applies there, and goes on with it, which ends with that code. Nobody goes on with what had ended already.
    fn cell(&self, there: &Passage, code: i32) {
        let (cell, faulty) = (there.to_string(), self.faulty());
        faulty.anew().killed(there, &APPLY);
        match self.named(&cell) {
            Some(run) => {
                faulty.ends(code, &cell, &["resume", &run]);
                assert_eq!(self.last("world")["run"], run.as_str(), "{cell}: it is the same run");
                // A second one changes nothing (S9.5), whatever it had to do.
                if there.point.name.starts_with("ensure ") {
                    let head = || self.json(0, &["ledger", "verify"])["head"].to_string();
                    let before = head();
                    self.ends(code, &["resume", &run]);
                    assert_eq!(head(), before, "{cell}");
                }
            }
            None if has_ended(&there.point) => {}
            // Nothing has begun.
            None => {
                assert_eq!(there.point.name, "append before run.started", "what was broken off is not named");
                faulty.ends(code, &cell, &APPLY);
            }
        }
        faulty.nothing_twice(&cell);
        self.ends(0, &["drift", "world", "--detailed-exitcode"]);
    }

    /// Kills what applies, and whoever goes on with that, at one place after the other; the last one ends it with that code.
    fn chain(&self, places: &[Passage], code: i32) {
        let faulty = self.faulty();
        faulty.anew();
        let mut run: Option<String> = None;
        for place in places.iter().filter(|place| !has_ended(&place.point)) {
            let Some(id) = &run else {
                faulty.killed(place, &APPLY);
                run = self.named(&place.to_string());
                continue;
            };
            // Whoever goes on passes it as the first of its kind.
            faulty.killed(&Passage { count: 1, ..place.clone() }, &["resume", id]);
            assert_eq!(self.named(&place.to_string()).as_deref(), Some(id.as_str()), "{place}: it is the same run");
        }
        faulty.ends(code, "the last one", &["resume", &run.expect("a run has begun")]);
        faulty.nothing_twice("all of them");
        self.ends(0, &["drift", "world", "--detailed-exitcode"]);
    }

    /// Releases that fail their check, killed at the points of their way back that `of` picks from what is passed after the check has failed.
    async fn goes_back(&mut self, fails: &str, of: impl Fn(&[Passage]) -> Vec<Passage>) {
        let (good, passed) = self.fails(fails).await;
        let turn = passed.iter().position(|passage| passage.point.about.contains("/rollback/")).expect("it goes back");
        let failed = passed[..turn].iter().rposition(|passage| passage.point.name.starts_with("verify"));
        for there in of(&passed[failed.expect("a check has spoken")..]) {
            self.plans().await;
            self.cell(&there, 40);
            self.is_back(good, &there.to_string());
        }
        self.ends(0, &["ledger", "verify"]);
    }

    /// A release that fails its check; gives the number of the one that is there again, and what was passed.
    async fn fails(&mut self, fails: &str) -> (usize, Vec<Passage>) {
        self.judged_by(fails);
        let good = self.number;
        self.plans().await;
        let passed = self.clean(40);
        self.is_back(good, "a clean run");
        (good, passed)
    }

    /// The last release did not stay, and the one with this number is there again.
    fn is_back(&self, good: usize, cell: &str) {
        self.is_on(good, cell);
        let last = self.last("world");
        assert_eq!(last["outcome"], "rolled-back", "{cell}: {last:#}");
        assert!(last["why"].as_str().unwrap_or_default().contains("smoke"), "{cell}: {last:#}");
        self.ends(0, &["unfreeze", "world", "--reason", "it was killed", "--actor-kind", "human"]);
    }

    /// A second release, and what its drill passes.
    async fn drill(&mut self) -> Vec<Passage> {
        self.promotes().await;
        self.plans_drill();
        let passed = self.clean(0);
        self.is_drilled("a clean run");
        // Both ways have points of their own.
        for about in ["world/rollback/deploy/default", "world/deploy/default"] {
            assert!(passed.iter().any(|passage| passage.point.about == about), "{about}: {passed:?}");
        }
        passed
    }

    fn plans_drill(&self) {
        self.ends(0, &["rollback", "world", "--drill", "--out", "plan.json"]);
    }

    /// What ran is there again, and that is on record; nobody is held, paused or quarantined.
    fn is_drilled(&self, cell: &str) {
        self.is_on(self.number, cell);
        let last = self.last("world");
        assert_eq!((&last["outcome"], &last["drill"]["state"]), (&"verified".into(), &"passed".into()), "{cell}");
        self.ends(0, &["plan", "--detailed-exitcode"]);
    }

    /// Two waves that are killed wherever their steps and what is between them pass, and once more on the way back from the second one.
    async fn rolls(by: By) {
        let Some(mut world) = Self::waves(by).await else { return };
        world.plans().await;
        let passed = of_waves(&world.clean(0));
        world.is_on(world.number, "a clean run");
        assert!(passed.iter().any(|there| there.point.name == "append after wave.finished"), "{passed:?}");
        world.plans().await;
        world.chain(&passed, 0);
        world.is_on(world.number, "all of them");
        // A check that fails in the second one.
        let fails = format!("test \"$PROMO_TARGET_NAMESPACE\" != {}\n", world.namespaces[1].name());
        let (good, passed) = world.fails(&fails).await;
        let back = |there: &Passage| there.point.about.contains("/rollback/");
        let passed: Vec<_> = of_waves(&passed).into_iter().filter(back).collect();
        for target in ["eu", "us"] {
            assert!(passed.iter().any(|there| there.point.about.ends_with(target)), "{target}: {passed:?}");
        }
        world.plans().await;
        world.chain(&passed, 40);
        world.is_back(good, "all of them");
        world.ends(0, &["ledger", "verify"]);
    }
}

/// Whether all is done and on record by then.
fn has_ended(point: &Point) -> bool {
    point.name == "append after run.finished" || point.name.starts_with("release ")
}

/// Each name of a point once.
fn names(passed: &[Passage]) -> Vec<Passage> {
    first_of(passed, kind)
}

/// Those that are of steps, and between two waves, each name once in each step: the others are passed as in one namespace.
fn of_waves(passed: &[Passage]) -> Vec<Passage> {
    let own = |point: &Point| point.about.contains("/deploy/") || point.name.contains("wave.");
    first_of(passed, |point| (kind(point), &point.about)).into_iter().filter(|there| own(&there.point)).collect()
}

mod needs_kubernetes {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn killed_on_the_way_back_a_resume_ends_it_on_what_was_there() {
        let Some(mut world) = World::new(By::Kubectl).await else { return };
        world.goes_back("exit 1\n", names).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn killed_in_a_drill_a_resume_ends_it_on_what_ran() {
        let Some(mut world) = World::new(By::Kubectl).await else { return };
        for there in names(&world.drill().await) {
            world.plans_drill();
            world.cell(&there, 0);
            world.is_drilled(&there.to_string());
        }
        world.ends(0, &["ledger", "verify"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn r10_killed_in_and_between_waves_the_last_resume_ends_it_in_all_of_them_or_in_none() {
        World::rolls(By::Kubectl).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn s10_a_drill_goes_back_and_comes_again_wave_by_wave_and_one_that_is_cancelled_names_the_way_out() {
        let Some(mut world) = World::waves(By::Kubectl).await else { return };
        world.promotes().await;
        let plan = || world.ends(0, &["rollback", "world", "--drill", "--out", "plan.json"]);
        plan();
        let said = world.faulty().anew().ends(0, "a clean run", &APPLY);
        let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("{text}: {said}"));
        assert!(at("world/rollback/deploy/eu: ") < at("world/rollback/deploy/us: "), "{said}");
        assert!(at("world/rollback/deploy/us: ") < at("world/deploy/eu: "), "{said}");
        assert!(at("world/deploy/eu: ") < at("world/deploy/us: ") && !said.contains("until wave"), "{said}");
        world.is_on(2, "a drill");
        assert_eq!(world.last("world")["drill"]["state"], "passed");
        // Half of it is back when its process goes away, and a person ends it there.
        let passed = world.faulty().passed();
        let half =
            passed.iter().find(|there| there.to_string() == "append before step.intent of world/rollback/deploy/us");
        plan();
        world.faulty().anew().killed(half.unwrap_or_else(|| panic!("{passed:?}")), &APPLY);
        let run = world.named("a drill").expect("what is half done is named");
        world.ends(0, &["cancel", &run]);
        let [eu, us] = &world.live()[..] else { unreachable!() };
        assert!(eu.is(1) && us.is(2), "where it was broken off: {eu:#?} {us:#?}");
        let last = world.last("world");
        assert_eq!((&last["outcome"], &last["drill"]["state"]), (&"held".into(), &"broken-off".into()), "{last:#}");
        let status = world.ends(0, &["status"]);
        assert!(status.contains("held"), "{status}");
        // What is told next, as a person types it, ends on what ran.
        let said = world.ends(0, &["why", "world", "--actor-kind", "human"]);
        world.follow(said, |_| world.live().iter().all(|live| live.is(2)));
        world.ends(0, &["drift", "world", "--detailed-exitcode"]);
        world.ends(0, &["ledger", "verify"]);
    }

    mod needs_helm {
        use super::*;

        /// A release that fails its check, and at each passage of it one more death.
        async fn comes_and_goes_back(helm: Helm) {
            let Some(mut world) = World::new(By::Helm(helm)).await else { return };
            let (good, passed) = world.fails("exit 1\n").await;
            world.plans().await;
            world.chain(&passed, 40);
            world.is_back(good, "all of them");
            world.ends(0, &["ledger", "verify"]);
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn s9_5_killed_wherever_a_chart_comes_and_goes_back_again_the_last_resume_ends_it_on_what_was_there() {
            comes_and_goes_back(Helm::Four).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn s9_5_killed_wherever_a_chart_of_helm_3_comes_and_goes_back_again_the_last_resume_ends_it() {
            comes_and_goes_back(Helm::Three).await;
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn s9_5_killed_wherever_a_drill_of_a_chart_passes_the_last_resume_ends_it_on_what_ran() {
            let Some(mut world) = World::new(By::Helm(Helm::Three)).await else { return };
            let passed = world.drill().await;
            world.plans_drill();
            world.chain(&passed, 0);
            world.is_drilled("all of them");
            world.ends(0, &["ledger", "verify"]);
        }

        #[tokio::test(flavor = "multi_thread")]
        async fn r10_killed_in_and_between_waves_of_a_chart_the_last_resume_ends_it_in_all_of_them_or_in_none() {
            World::rolls(By::Helm(Helm::Four)).await;
        }
    }
}
