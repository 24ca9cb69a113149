//! Runs that are under way, were interrupted, or have ended.

use crate::applying;
use crate::fixture::{World, promo, texts};

/// A world in which a release is about to enter dev, where its check is held.
fn held() -> World {
    let world = World::new();
    world.hold_check("dev");
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    world.run(0, &["plan", "dev", "--out", "p.json"]);
    world
}

pub(crate) fn row() {
    // The runs of others are left alone; one that was killed is gone on with, once.
    let world = held();
    let apply = world.start(&["apply", "p.json", "--lease", "2s"]);
    let run = world.newest_run();
    world.refuses(20, "locked", &["cancel", &run]);
    let error = world.refuses(20, "locked", &["resume", &run]);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains(&format!("run {run} has it, in process ")) && message.contains(", since 2"), "{error}");
    assert!(error["causes"].is_null() && error["next"].as_str().unwrap().ends_with("runs --unfinished"), "{error}");
    apply.kill();
    world.run(0, &["resume", &run]);
    world.run(0, &["resume", &run]);
    world.refuses(65, "request-invalid", &["cancel", &run]);
    for verb in ["resume", "cancel"] {
        let error = world.refuses(65, "nothing-selected", &[verb, "0123456789abcdef"]);
        assert_eq!(error["next"], "promo --policy policy.toml runs", "{error}");
    }
    // One that was cancelled has ended, and what it was is told again.
    let world = held();
    let apply = world.start(&["apply", "p.json", "--lease", "1h"]);
    let run = world.newest_run();
    apply.kill();
    // Like a resume it takes the lock of a process that can be seen to be gone.
    world.run(0, &["cancel", &run]);
    let (_, err) = texts(&promo(&world.at, &["resume", &run]));
    assert!(err.contains(&format!("run {run} had ended already, ")), "{err}");
    world.run(22, &["resume", &run]);
    // One whose check fails when it is gone on with goes back, or is held.
    for (on_failure, code) in [("rollback", 40), ("hold", 41)] {
        let world = held();
        world.edit("promo.toml", "[environments.dev]", &format!("[environments.dev]\non_failure = \"{on_failure}\""));
        world.run(0, &["plan", "dev", "--out", "p.json"]);
        let apply = world.start(&["apply", "p.json", "--lease", "2s"]);
        let run = world.newest_run();
        apply.kill();
        world.write("broken", "");
        world.run(code, &["resume", &run]);
        world.run(code, &["resume", &run]);
    }
    applying::row_of_resume();
}
