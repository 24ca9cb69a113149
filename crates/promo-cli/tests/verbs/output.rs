//! Pages, pictures, schemas and streams of events.

use std::path::Path;

use serde_json::{Value, json};

use crate::fixture::{World, promo, texts};

#[test]
fn plans_are_drawn_as_one_page_and_graphs_as_one_picture_r30() {
    let world = World::new();
    world.release("1.2.0", 3);
    world.plan("p.json");
    for words in [&["show", "p.json"][..], &["plan", "production"], &["rollback", "staging"]] {
        let words: Vec<&str> = words.iter().copied().chain(["--format", "html"]).collect();
        let output = promo(&world.at, &words);
        let (page, err) = texts(&output);
        assert_eq!(output.status.code(), Some(0), "{page}{err}");
        assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"), "{page}");
    }
    let (picture, _) = texts(&promo(&world.at, &["graph", "--syntax", "svg"]));
    assert!(picture.starts_with("<svg ") && picture.contains("✓ verified") && picture.contains("1.2.0)"), "{picture}");
    let output = promo(&world.at, &["status", "--format", "html"]);
    assert_eq!(output.status.code(), Some(64), "{:?}", texts(&output));
}

#[test]
fn real_plans_are_what_the_schema_of_plans_says() {
    let world = World::new();
    let validator = jsonschema::validator_for(&world.run(0, &["schema", "plan"])).unwrap();
    world.release("1.2.0", 3);
    world.plan("p.json");
    world.run(0, &["plan", "--out", "all.json"]);
    world.run(0, &["rollback", "staging", "--out", "back.json"]);
    for file in ["p.json", "all.json", "back.json"] {
        let text = std::fs::read_to_string(world.at.join(file)).unwrap();
        let plan: Value = serde_json::from_str(&text).unwrap();
        let errors: Vec<String> = validator.iter_errors(&plan).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{file}: {errors:?}");
        for (place, name) in [("/body", "more"), ("/body/request", "more"), ("", "more")] {
            let mut other = plan.clone();
            other.pointer_mut(place).unwrap()[name] = 1.into();
            assert!(!validator.is_valid(&other), "{file}: an unknown field of {place:?}");
        }
    }
}

/// The events of a file: numbered from 0, timed, `hello` first and `summary` last.
fn events(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence"], number, "{text}");
        assert!(event["time"].is_string() && event["event"].is_string(), "{event}");
    }
    assert_eq!((&events[0]["event"], &events[0]["format"]), (&json!("hello"), &json!(1)));
    assert_eq!(events.last().unwrap()["event"], "summary");
    assert_eq!(events.iter().filter(|e| e["event"] == "summary").count(), 1);
    events
}

#[test]
fn the_view_and_the_events_can_be_had_at_once() {
    let world = World::new();
    world.release("1.2.0", 6);
    world.plan("p.json");
    let file = world.at.join("events");
    let (out, _) = texts(&promo(&world.at, &["apply", "p.json", "--events", "events"]));
    assert!(!out.contains('{'), "people are answered: {out}");
    let refused = events(&file);
    assert_eq!(refused[1]["event"], "error");
    assert_eq!((&refused[1]["code"], &refused[2]["exit"]), (&json!("waiting"), &json!(20)));

    world.approve("p.json");
    let output = promo(&world.at, &["apply", "p.json", "--events", "events", "--format", "json"]);
    let all = events(&file);
    let (out, err) = texts(&output);
    assert_eq!(out, std::fs::read_to_string(&file).unwrap(), "the same on standard output: {err}");
    let run = all.iter().find(|e| e["event"] == "run-started").unwrap()["run"].clone();
    assert!(all[2..].iter().all(|e| e["event"] == "summary" || e["run"] == run), "{out}");
    for (event, key) in
        [("step-started", "step"), ("step-done", "milliseconds"), ("check-done", "passed"), ("rolling-back", "to")]
    {
        assert!(all.iter().any(|e| e["event"] == event && !e[key].is_null()), "{event}: {out}");
    }
    let finished = all.iter().find(|e| e["event"] == "run-finished").unwrap();
    assert_eq!((&finished["kind"], &finished["exit"]), (&json!("promo.run"), &json!(40)));
    let summary = all.last().unwrap();
    assert_eq!((&summary["exit"], &summary["runs"]), (&json!(40), &json!([run])));

    promo(&world.at, &["status", "--events", "events"]);
    assert_eq!(events(&file).len(), 2, "every verb has them");
    world.refuses(65, "file-unreadable", &["status", "--events", "config"]);
}
