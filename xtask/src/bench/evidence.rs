//! `plan --until LAST` and `why LAST` where every environment asks twenty gates of one scan.

use super::graph::name;
use super::image::Image;
use super::measure::{Contender, Measured};
use super::table::{self, Bar};
use super::{Bench, write};
use crate::Outcome;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const ENVIRONMENTS: usize = 50;
const GATES: usize = 20;

/// The bar is on the growth: twice the findings may not take more than about twice as long.
const GROWTH: f64 = 1.1;

/// The plan and the question, with ever more findings.
pub(super) fn run(bench: &Bench) -> Outcome {
    let title = format!("{ENVIRONMENTS} environments with {GATES} gates each, one scan");
    table::head(&title, "");
    for words in [&["plan", "--until"][..], &["why"]] {
        let (verb, mut before) = (words[0], None);
        for findings in [100, 1_000, 10_000] {
            let dir = bench.dir(&format!("evidence-{findings}"))?;
            if !dir.join("promo.toml").exists() {
                fixture(bench, &dir, findings)?;
            }
            let ours = || {
                let last = name(ENVIRONMENTS - 1);
                let words = ["--policy", "policy.toml"].iter().chain(words).copied().chain([last.as_str()]);
                let line = std::iter::once(bench.promo.clone().into_os_string()).chain(words.map(Into::into));
                Measured::new(line, &dir, &bench.work)
            };
            let row = format!("{verb}, {findings} findings");
            let cpu = table::row(bench, &row, vec![Contender::new("promo", ours)], bench.runs, Bar::NONE)?;
            table::growth(bench, &mut before, findings, cpu, GROWTH);
        }
    }
    Ok(())
}

fn fixture(bench: &Bench, dir: &Path, findings: usize) -> Outcome {
    write(&dir.join("promo.toml"), pipeline())?;
    write(&dir.join("policy.toml"), "format = 1\n[policy]\nname = \"bench\"\nversion = 1\n")?;
    let image = Image::new(1, 1_000);
    image.layout(&dir.join("registry/app"), "1.0.0")?;
    write(&dir.join("trivy.json"), scan(image.digest(), findings))?;
    let promo = |words: &[&str]| bench.promo(dir).args(["--policy", "policy.toml", "--as", "ci"]).args(words).quiet();
    promo(&["release", "add", "app=1.0.0"])?;
    promo(&["evidence", "add", "trivy.json"])?;
    promo(&["plan", "--until", &name(ENVIRONMENTS - 1), "--out", "plan.json"])?;
    // Where a gate bars, what comes behind it is not asked.
    let plan = fs::read_to_string(dir.join("plan.json")).map_err(|error| format!("plan.json: {error}"))?;
    match plan.matches(r#""movement":"#).count() {
        ENVIRONMENTS => Ok(()),
        moves => Err(format!("the plan of {} moves {moves} environments, not {ENVIRONMENTS}", dir.display())),
    }
}

fn pipeline() -> String {
    let mut text = String::from(
        "format = 1\n[pipeline]\nname = \"bench\"\n[artifacts.app]\nimage = \"oci-layout:registry/app\"\n[gates]\n",
    );
    let gates: Vec<String> = (0..GATES).map(|gate| format!("g{gate:02}")).collect();
    let mut say = |line: String| writeln!(text, "{line}").expect("writing to a String cannot fail");
    for (place, gate) in gates.iter().enumerate() {
        let deny = ["\"critical\"", "\"high\", \"critical\"", "\"medium\", \"high\", \"critical\""][place % 3];
        say(format!("{gate} = {{ scan = {{ deny = [{deny}] }} }}"));
    }
    for node in 0..ENVIRONMENTS {
        let after = if node == 0 { String::new() } else { format!("after = [\"{}\"]\n", name(node - 1)) };
        say(format!(
            "[environments.{}]\ntier = \"development\"\nstart = \"auto\"\ndeploy = \"none\"\ngates = {gates:?}\n{after}",
            name(node)
        ));
    }
    text
}

/// A report of Trivy, of low findings alone.
fn scan(digest: &str, findings: usize) -> String {
    let one = |number: usize| {
        format!(
            r#"{{"VulnerabilityID":"CVE-2026-{number:05}","PkgName":"package-{number}","InstalledVersion":"1.0.{number}","FixedVersion":"1.1.0","Status":"fixed","Severity":"LOW","Title":"a finding of which there are many","PkgIdentifier":{{"PURL":"pkg:deb/debian/package-{number}@1.0.{number}"}}}}"#
        )
    };
    let all: Vec<String> = (0..findings).map(one).collect();
    format!(
        r#"{{"SchemaVersion":2,"CreatedAt":"2026-01-02T03:04:05Z","ArtifactName":"app","ArtifactType":"container_image","Metadata":{{"RepoDigests":["app@sha256:{digest}"]}},"Results":[{{"Target":"app","Class":"os-pkgs","Type":"debian","Vulnerabilities":[{}]}}]}}"#,
        all.join(",")
    )
}
