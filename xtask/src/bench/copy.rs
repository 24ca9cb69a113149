//! Copies from one registry to another, next to skopeo: a large image, many small ones, what is there already, and what only
//! changes its repository.

use super::image::Image;
use super::measure::{Contender, Measured};
use super::registry::{Registry, far_away};
use super::table::{self, Bar};
use super::{Bench, copy_files, remove, write};
use crate::Outcome;
use crate::components;
use std::cell::RefCell;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// What is copied, from where, and what it may cost. Requests at the destination are what is noted.
struct Case {
    name: &'static str,
    images: Vec<Image>,
    /// Whether the destination is another repository of the same registry.
    same_registry: bool,
    /// Whether everything is there before.
    again: bool,
    /// How far away both registries are.
    round_trip: Option<Duration>,
    bar: Bar,
}

fn cases() -> Vec<Case> {
    let large = || vec![Image::new(10, 20 << 20)];
    // Four layers that all of them have, and one of its own.
    let small = |count: usize| (0..count).map(|own| Image::of([0, 1, 2, 3, 100 + own], 20_000)).collect::<Vec<_>>();
    let case = |name, images, bar| Case { name, images, same_registry: false, again: false, round_trip: None, bar };
    let noted = |most| Bar { note: Some(most), ..Bar::NONE };
    vec![
        // 40 MB.
        case(
            "10 layers of 20 MiB",
            large(),
            Bar { cpu: Some(0.6), peak: Some(38.1), against: Some(1.0), ..noted(40.0) },
        ),
        Case { again: true, ..case("the same again", large(), noted(1.0)) },
        Case { same_registry: true, ..case("to another repository of the registry", large(), noted(17.0)) },
        case("100 small images", small(100), Bar { cpu: Some(1.0), ..noted(1_400.0) }),
        Case { again: true, ..case("100 with nothing to do", small(100), noted(110.0)) },
        Case {
            round_trip: Some(Duration::from_millis(20)),
            ..case("20 small images, 20 ms away", small(20), Bar { wall: Some(3.6), ..Bar::NONE })
        },
    ]
}

/// promo applies a plan whose only steps are the copies; skopeo copies one after the other.
pub(super) fn run(bench: &Bench) -> Outcome {
    let Some(program) = components::find(components::named("docker-registry")?) else {
        eprintln!("no docker-registry: `copy` is left out");
        return Ok(());
    };
    let skopeo = components::find(components::named("skopeo")?);
    if skopeo.is_none() {
        eprintln!("no skopeo: the rows of `copy` have no peer");
    }
    table::head("registry to registry", "requests at the destination");
    for case in cases() {
        let dir = bench.dir("copy")?;
        one(bench, &case, &program, skopeo.as_deref(), &dir)?;
        remove(&dir)?;
    }
    Ok(())
}

fn one(bench: &Bench, case: &Case, program: &Path, skopeo: Option<&Path>, dir: &Path) -> Outcome {
    let mut source = Registry::new(program, &dir.join("source"))?;
    let fill = |storage: &Path, team: &str| -> Outcome {
        let mut images = case.images.iter().enumerate();
        images.try_for_each(|(place, image)| image.registry(storage, &format!("{team}/{}", name(place)), "1.0.0"))
    };
    fill(&source.storage(), "team")?;
    source.restart()?;
    let source = RefCell::new(source);
    let other = RefCell::new(Registry::new(program, &dir.join("destination"))?);
    let destination = if case.same_registry { &source } else { &other };
    let away = |registry: &RefCell<Registry>| match case.round_trip {
        None => Ok(registry.borrow().address),
        Some(round_trip) => far_away(registry.borrow().address, round_trip),
    };
    let (from, to) = (away(&source)?, away(destination)?);

    let project = dir.join("project");
    write(&project.join("promo.toml"), pipeline(case.images.len(), from, to))?;
    let as_before = || -> Outcome {
        let mut registry = destination.borrow_mut();
        registry.empty(|storage| match (case.same_registry, case.again) {
            (true, _) => fill(storage, "team"),
            (false, true) => fill(storage, "prod"),
            (false, false) => Ok(()),
        })
    };
    as_before()?;
    let mut release = vec!["release".to_owned(), "add".into(), "--as".into(), "ci".into()];
    release.extend((0..case.images.len()).map(|place| format!("{}=1.0.0", name(place))));
    bench.promo(&project).args(release).quiet()?;
    bench.promo(&project).args(["plan", "prod", "--out", "copy.plan.json", "--as", "ci"]).quiet()?;
    let (ledger, kept) = (project.join(".promo"), project.join("kept"));
    copy_files(&ledger, &kept)?;

    let requests = || destination.borrow().requests("team").map(Some);
    let measured = |words: Vec<OsString>| Measured::new(words, &project, &bench.work);
    let ours = || {
        let words = ["apply", "copy.plan.json", "--as", "ci"].map(OsString::from);
        measured(std::iter::once(bench.promo.clone().into_os_string()).chain(words).collect())
    };
    let prepare = || {
        remove(&ledger)?;
        copy_files(&kept, &ledger)?;
        as_before()
    };
    let mut contenders = vec![Contender::new("promo apply", ours).prepare(prepare).note(requests)];
    if let Some(skopeo) = skopeo {
        let theirs = || {
            let copies = (0..case.images.len()).map(name).map(|image| {
                format!(
                    "\"$0\" copy --insecure-policy --src-tls-verify=false --dest-tls-verify=false \
                     docker://{from}/team/{image}:1.0.0 docker://{to}/prod/{image}:1.0.0"
                )
            });
            let script = copies.collect::<Vec<_>>().join(" && ");
            measured(vec!["sh".into(), "-c".into(), script.into(), skopeo.as_os_str().to_owned()])
        };
        let slow = if case.images.len() > 1 { 3 } else { u32::MAX };
        contenders.push(Contender::new("skopeo copy", theirs).prepare(as_before).note(requests).at_most(slow));
    }
    table::row(bench, case.name, contenders, bench.runs, case.bar).map(drop)
}

fn name(place: usize) -> String {
    format!("app{place:03}")
}

fn pipeline(images: usize, from: SocketAddr, to: SocketAddr) -> String {
    let artifacts = (0..images).map(name).map(|name| format!("[artifacts.{name}]\nimage = \"{from}/team/{name}\"\n"));
    format!(
        "format = 1\n[pipeline]\nname = \"copy\"\n{}\
         [environments.prod]\ntier = \"development\"\nstart = \"auto\"\ndeploy = \"none\"\n\
         mirror = {{ \"{from}/team\" = \"{to}/prod\" }}\n",
        artifacts.collect::<String>()
    )
}
