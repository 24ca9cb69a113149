//! Targets in waves as people see them: what a plan says, what waits and what Ctrl-C does in a pause (R10).

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::fixture::{World, command, next, said};

const ONE: &str = "target = { directory = \"environments/dev\" }";
const SEVERAL: &str =
    "targets = { eu = { directory = \"environments/eu\" }, us = { directory = \"environments/us\" } }";

/// The example with two places for dev, and a release that would enter them in waves.
pub(crate) fn world(pause: &str) -> World {
    let world = World::new();
    let waves = format!("{SEVERAL}\nwaves = [{{ targets = [\"us\"], pause = \"{pause}\" }}, {{ targets = [\"eu\"] }}]");
    world.edit("promo.toml", ONE, &waves);
    world.run(0, &["release", "add", "shop=1.0.0", "--alias", "1.2.0"]);
    world
}

/// An apply that has come to the pause between two waves, and what it says from there on.
pub(crate) fn until_it_pauses(world: &World, plan: &str) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut child = command(&world.at, &["apply", plan, "--format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("\"event\":\"pausing\"")));
    (child, lines)
}

#[test]
fn r10_ctrl_c_in_a_pause_stops_at_once_and_everybody_is_told_how_far_it_is() {
    let world = world("9m");
    let plan = said(&world, &["plan", "dev", "--out", "plan.json"]);
    assert!(plan.contains("in 2 waves: us, then 9 min; eu"), "{plan}");
    let markdown = said(&world, &["plan", "dev", "--format", "markdown"]);
    assert!(markdown.contains("in 2 waves: us, then 9 min; eu"), "{markdown}");
    let json = world.run(0, &["show", "plan.json"]);
    let row = json["environments"].as_array().unwrap().iter().find(|row| row["environment"] == "dev").unwrap();
    assert_eq!(row["waves"][0]["pause"], 540, "{row}");

    let mut child =
        command(&world.at, &["apply", "plan.json"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let waiting = lines.into_iter().find(|line| line.contains("waiting"));
    assert!(waiting.as_ref().is_some_and(|line| line.contains("waiting 9 min until wave 2")), "{waiting:?}");
    let begun = Instant::now();
    #[expect(clippy::disallowed_methods, reason = "a signal is sent as a user sends it")]
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    assert_eq!(child.wait().unwrap().code(), Some(75));
    assert!(begun.elapsed() < Duration::from_secs(60), "it did not wait for the end of the pause");

    let status = said(&world, &["status"]);
    assert!(status.contains("dev has wave 1 behind it"), "{status}");
    let status = world.run(0, &["status"]);
    assert_eq!(status["runs"][0]["waves"], serde_json::json!({"dev": 1}), "{status}");
    let why = said(&world, &["why", "dev"]);
    assert!(why.contains("dev has wave 1 behind it"), "{why}");
    let run = world.newest_run();
    world.run(0, &["cancel", &run]);
}

#[test]
fn s5_5_a_run_that_stops_at_a_wave_ends_with_20_and_says_what_leads_on() {
    let world = world("4s");
    world.edit("promo.toml", "[environments.dev]", "[environments.dev]\non_close = \"stop-at-wave\"");
    world.run(0, &["plan", "dev", "--out", "plan.json"]);
    let (mut child, lines) = until_it_pauses(&world, "plan.json");
    world.run(0, &["freeze", "dev", "--reason", "look at us"]);
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(20), "{rest:#?}");
    assert!(rest.iter().any(|line| line.contains("\"event\":\"wave-closed\"")), "{rest:#?}");
    let ended: serde_json::Value =
        serde_json::from_str(rest.iter().find(|line| line.contains("run-finished")).unwrap()).unwrap();
    let row = &ended["environments"][0];
    assert_eq!((&ended["exit"], &ended["outcome"]), (&20.into(), &serde_json::Value::Null), "{ended}");
    assert_eq!(row["fate"], "waits before its next wave, and can be resumed");
    let run = world.newest_run();
    assert_eq!(next(&ended), format!("promo resume {run}"));
    let told = said(&world, &["resume", &run]);
    assert!(told.contains("wave 2 of 2 waits: frozen by dana"), "{told}");
    // Under other rules no time opens it: then there are two ways out.
    world.edit("promo.toml", "on_close = \"stop-at-wave\"", "on_close = \"stop-at-wave\"\non_failure = \"hold\"");
    world.run(22, &["resume", &run]);
    let told = said(&world, &["resume", &run]).split_whitespace().collect::<Vec<_>>().join(" ");
    let ways =
        format!("either put back what changed, and promo resume {run}; or end the run, which holds dev for a person");
    assert!(told.contains("wave 2 of 2 does not begin: ") && told.contains(&ways), "{told}");
    assert!(told.contains(&format!("Next: promo --policy policy.toml cancel {run}")), "{told}");
    // Every other screen leads the same way, and says why.
    let cancel = format!("promo cancel {run}");
    for verb in [&["status"][..], &["show", &run], &["advance"]] {
        let told = said(&world, verb).split_whitespace().collect::<Vec<_>>().join(" ");
        let leads = format!("Next: promo --policy policy.toml cancel {run}");
        assert!(told.contains(&leads) && !told.contains("can be resumed"), "{verb:?}: {told}");
    }
    let status = world.run(0, &["status"]);
    assert_eq!(status["runs"][0]["next"], cancel, "{status}");
    let stale = status["runs"][0]["stale"].as_str().unwrap_or_default();
    assert!(stale.contains("since it was made, this changed: pipeline"), "{status}");
    assert_eq!(next(&status), cancel);
    assert_eq!(next(&world.run(0, &["show", &run])), cancel);
    let refused = said(&world, &["verify", "dev"]);
    assert!(refused.contains(&cancel) && !refused.contains("resume"), "{refused}");
    world.edit("promo.toml", "\non_failure = \"hold\"", "");
    world.run(0, &["unfreeze", "dev", "--reason", "seen", "--key", "keys/riley", "--signer", "built-in"]);
    assert_eq!(
        next(&world.run(0, &["status"])),
        format!("promo resume {run}"),
        "the rules are those of the plan again"
    );
    world.run(0, &["resume", &run]);
}
