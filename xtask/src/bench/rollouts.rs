//! How long after a cluster has come to what was deployed promo says so, next to `kubectl rollout status` in the same run: both wait for
//! pods that are not ready, until somebody has them get ready. What must not live here: how a control plane is started.

use super::clusters::World;
use super::image::Image;
use super::{Bench, hermetic, table, write};
use crate::Outcome;
use crate::process::Run;
use std::path::{Path, PathBuf};

/// How many seconds promo may come after the peer, every single time.
const BAR: f64 = 1.0;

/// How a release comes to the cluster.
struct Way {
    name: &'static str,
    settings: &'static str,
    file: &'static str,
    namespace: &'static str,
}

const WAYS: [Way; 2] = [
    Way {
        name: "deploy.kubectl",
        settings: "[defaults.deploy.kubectl]\nmanifests = [\"manifests/*.yaml\"]\ntimeout = \"60s\"\n",
        file: "manifests/web.yaml",
        namespace: "waits-kubectl",
    },
    Way {
        name: "deploy.helm",
        settings: "[defaults.deploy.helm]\nname = \"web\"\nchart = \"chart\"\ntimeout = \"60s\"\n",
        file: "chart/templates/web.yaml",
        namespace: "waits-helm",
    },
];

/// `$PROMO`, `$KUBECTL` and the namespace `$NS`. Both of the pods of number `$N` are there before anything is measured, and so is the peer.
const SCRIPT: &str = r#"
set -eu
rm -f ours theirs
( "$PROMO" apply plan.json --as ci >ours.log 2>&1 && echo $EPOCHREALTIME >ours ) & ours=$!
until [ "$("$KUBECTL" get pods -n $NS -l number=n$N -o name | wc -l)" = 2 ]; do kill -0 $ours; sleep 0.05; done
( "$KUBECTL" rollout status -n $NS deployment/web --timeout=60s >theirs.log 2>&1 && echo $EPOCHREALTIME >theirs ) & theirs=$!
until [ -s theirs.log ]; do kill -0 $theirs; sleep 0.05; done
now=$EPOCHREALTIME
"$KUBECTL" annotate pods -n $NS -l number=n$N --overwrite promo.test/kubelet=run >/dev/null
wait $ours $theirs
echo $now $(cat ours) $(cat theirs)
"#;

/// A row for each way.
pub(super) fn run(bench: &Bench, world: &World) -> Outcome {
    table::head("clusters: the end of a rollout", "s after the peer");
    for way in &WAYS {
        let dir = pipeline(bench, world, way)?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        // The first one installs, and counts for nothing.
        for number in 0..=bench.runs {
            let [here, there] = sample(bench, world, way, &dir, number)?;
            if number > 0 {
                ours.push(here);
                theirs.push(there);
            }
        }
        table::ends(bench, &format!("{}: pods get ready", way.name), &ours, ("kubectl rollout status", &theirs), BAR);
    }
    Ok(())
}

fn pipeline(bench: &Bench, world: &World, way: &Way) -> Outcome<PathBuf> {
    let (dir, namespace) = (world.dir.join(way.namespace), way.namespace);
    let text = format!(
        "format = 1\n[pipeline]\nname = \"waits\"\n[artifacts.app]\nimage = \"oci-layout:registry/app\"\n\
         [defaults]\nverify = [\"smoke\"]\n{}[checks.smoke]\ncommand = {{ run = [\"true\"] }}\n\
         [environments.dev]\ntier = \"development\"\n\
         target = {{ cluster = \"bench\", namespace = \"{namespace}\" }}\n",
        way.settings
    );
    write(&dir.join("promo.toml"), text)?;
    write(&dir.join("clusters.toml"), world.clusters()?)?;
    write(&dir.join(way.file), deployment(0))?;
    write(&dir.join("wait.sh"), SCRIPT)?;
    write(&dir.join("chart/Chart.yaml"), "apiVersion: v2\nname: web\nversion: 1.0.0\n")?;
    world.kubectl(&["create", "namespace", namespace]).quiet()?;
    Image::new(1, 1_000).layout(&dir.join("registry/app"), "1.0.0")?;
    world.env(bench.promo(&dir)).args(["release", "add", "app=1.0.0", "--as", "ci"]).quiet()?;
    Ok(dir)
}

/// Two pods, which take the place of those of before at once and are not ready by themselves.
fn deployment(number: u32) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: web }}\nspec:\n  replicas: 2\n  \
         strategy: {{ type: RollingUpdate, rollingUpdate: {{ maxUnavailable: 0, maxSurge: 2 }} }}\n  \
         selector: {{ matchLabels: {{ app: web }} }}\n  template:\n    metadata:\n      labels: {{ app: web, number: n{number} }}\n      \
         annotations: {{ promo.test/kubelet: notready }}\n    \
         spec: {{ containers: [{{ name: web, image: \"registry.example/web@sha256:{}\" }}] }}\n",
        "1".repeat(64)
    )
}

/// How long after somebody has its pods get ready promo has ended, and the peer.
fn sample(bench: &Bench, world: &World, way: &Way, dir: &Path, number: u32) -> Outcome<[f64; 2]> {
    write(&dir.join(way.file), deployment(number))?;
    let promo = |words: &[&str]| world.env(bench.promo(dir)).args(words).args(["--as", "ci"]);
    promo(&["plan", "dev", "--out", "plan.json"]).quiet()?;
    let script = world.env(hermetic(Run::new("bash").dir(dir), &bench.work)).args(["wait.sh"]);
    let script = script.env("PROMO", &bench.promo).env("KUBECTL", &world.kubectl);
    let said = script.env("NS", way.namespace).env("N", number.to_string()).capture()?;
    let times: Vec<f64> = said.split_whitespace().filter_map(|time| time.parse().ok()).collect();
    match times[..] {
        [begun, ours, theirs] => Ok([ours - begun, theirs - begun]),
        _ => Err(format!("`wait.sh` says no times: {said}")),
    }
}
