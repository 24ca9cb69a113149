//! Verbs and the servers that they need.

use crate::fixture::{Scripted, Server, mirrored, promo, texts};

#[test]
fn a_registry_that_is_busy_for_too_long_is_75_and_the_run_can_be_resumed_s13_6() {
    let scripted = Scripted::new();
    let world = &scripted.world;
    // Apply looks as often as the plan did before it begins; from then on the registry is busy.
    scripted.then(scripted.looked, 503);
    let output = promo(&world.at, &["apply", "p.json"]);
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(75), "{out}{err}");
    let next = out.lines().last().unwrap().strip_prefix("Next: promo --policy policy.toml ").expect("what to do");
    let words: Vec<&str> = next.split(' ').collect();
    assert_eq!(words[0], "resume");
    world.run(75, &words);
    world.run(0, &["cancel", words[1]]);
    world.refuses(65, "request-invalid", &["cancel", words[1]]);
    // What is refused before anything began says so with a document of its own.
    world.edit(
        "promo.toml",
        "image = \"oci-layout:registry/shop\"",
        &format!("image = \"{}/shop\"", scripted.address()),
    );
    world.refuses(75, "provider-transient", &["release", "add", "shop=1.1.0", "--alias", "1.3.0"]);
}

#[test]
fn offline_reaches_no_server_and_says_what_it_does_not_know() {
    let server = Server::new(|_| 404);
    let world = mirrored(&server);
    world.edit("promo.toml", "image = \"oci-layout:registry/shop\"", &format!("image = \"{}/shop\"", server.address));
    world.write("p.json", "{}");
    let run = "0123456789abcdef0123456789abcdef";
    for words in [
        &["apply", "p.json"][..],
        &["advance"],
        &["resume", run],
        &["verify", "staging"],
        &["release", "add", "shop=1.1.0"],
    ] {
        world.refuses(64, "offline", &[words, &["--offline"]].concat());
    }
    for words in [&["plan"][..], &["plan", "staging"], &["rollback", "staging"], &["status"], &["why", "staging"]] {
        world.run(0, &[words, &["--offline"]].concat());
    }
    world.run(0, &["doctor", "--offline"]);
    assert_eq!(server.requests(), 0, "no server was asked");
}
