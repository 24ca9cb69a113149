//! Plans over clusters, on a real API server: what would change of 500 objects, next to `helm template` and `kubectl diff`; and 50
//! environments at once, next to as many helm processes one after the other. How soon the end of a rollout is told is in `rollouts`.

use super::image::Image;
use super::measure::{Contender, Measured};
use super::table::{self, Bar};
use super::{Bench, hermetic, rollouts, write};
use crate::Outcome;
use crate::components;
use crate::process::{Run, Server};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How many objects are previewed.
const OBJECTS: usize = 500;
/// How many environments a plan has.
const ENVIRONMENTS: usize = 50;
/// How many objects each of these has.
const FEW: usize = 4;
/// How long the control plane may take to work.
const READY_WITHIN: Duration = Duration::from_secs(180);

/// All rows; nothing where the components are missing.
pub(super) fn run(bench: &Bench) -> Outcome {
    let find = |name| Ok::<_, String>(components::find(components::named(name)?));
    let (Some(helm), Some(kubectl), Some(_), Some(_)) =
        (find("helm")?, find("kubectl")?, find("kubernetes")?, find("etcd")?)
    else {
        eprintln!("no helm, kubectl, kubernetes or etcd: `clusters` is left out");
        return Ok(());
    };
    let dir = bench.dir("clusters")?;
    let world = World { control_plane: ControlPlane::start(&dir.join("control-plane"))?, dir, helm, kubectl };
    table::head("clusters", "");
    preview(bench, &world)?;
    environments(bench, &world, false)?;
    environments(bench, &world, true)?;
    rollouts::run(bench, &world)
}

/// What a new greeting changes in 500 objects that are deployed.
fn preview(bench: &Bench, world: &World) -> Outcome {
    let dir = world.pipeline("preview", 1, OBJECTS, bench)?;
    bench_promo(bench, world, &dir).args(["advance", "--as", "ci"]).quiet()?;
    write(&dir.join("values/all.yaml"), "greeting: changed\n")?;
    let ours = || world.measured(bench, &dir, &[bench.promo.as_os_str(), "plan".as_ref(), "e00".as_ref()]);
    // `kubectl diff` ends with 1 where something differs, and with more where it failed.
    let script = format!(
        "{} template api chart -f values/all.yaml -n e00 | {} diff -n e00 -f - >/dev/null; [ $? = 1 ]",
        world.helm.display(),
        world.kubectl.display()
    );
    let theirs = || world.measured(bench, &dir, &["bash".as_ref(), "-c".as_ref(), script.as_ref()]);
    let contenders = vec![Contender::new("promo", ours), Contender::new("helm template | kubectl diff", theirs)];
    let bar = Bar { against: Some(2.0), ..Bar::NONE };
    table::row(bench, "plan of 500 objects that all change", contenders, bench.runs, bar).map(drop)
}

/// A plan over 50 environments into which a release would go: where all have the same values, of which the chart comes out once, and
/// where each has its own, so that helm has to render as often as for the peer.
fn environments(bench: &Bench, world: &World, own: bool) -> Outcome {
    let dir = world.pipeline(if own { "own" } else { "environments" }, ENVIRONMENTS, FEW, bench)?;
    let mut values = "-f values/all.yaml".to_string();
    if own {
        for number in 0..ENVIRONMENTS {
            write(&dir.join(format!("values/e{number:02}.yaml")), format!("greeting: hello-{number}\n"))?;
        }
        let pipeline = dir.join("promo.toml");
        let text = std::fs::read_to_string(&pipeline).map_err(|error| format!("{}: {error}", pipeline.display()))?;
        write(&pipeline, text.replace("\"values/all.yaml\"", "\"values/all.yaml\", \"values/{environment}.yaml\""))?;
        values.push_str(" -f values/e$n.yaml");
    }
    let ours = || world.measured(bench, &dir, &[bench.promo.as_os_str(), "plan".as_ref()]);
    let script = format!(
        "for n in $(seq -w 0 {}); do {} template api chart {values} -n e$n >/dev/null || exit 1; done",
        ENVIRONMENTS - 1,
        world.helm.display()
    );
    let theirs = || world.measured(bench, &dir, &["bash".as_ref(), "-c".as_ref(), script.as_ref()]);
    let contenders = vec![Contender::new("promo", ours), Contender::new("50 helm template", theirs)];
    let bar = Bar { against: Some(0.2), ..Bar::NONE };
    let what = if own { "plan over 50 environments, each with values of its own" } else { "plan over 50 environments" };
    table::row(bench, what, contenders, bench.runs, bar).map(drop)
}

fn bench_promo(bench: &Bench, world: &World, dir: &Path) -> Run {
    world.env(bench.promo(dir))
}

/// A control plane, and the tools that are used with it.
pub(super) struct World {
    control_plane: ControlPlane,
    pub(super) dir: PathBuf,
    helm: PathBuf,
    pub(super) kubectl: PathBuf,
}

impl World {
    /// A pipeline of environments in namespaces of their own, all with the same chart, and a release.
    fn pipeline(&self, name: &str, environments: usize, objects: usize, bench: &Bench) -> Outcome<PathBuf> {
        let dir = self.dir.join(name);
        let mut text = String::from(
            "format = 1\n[pipeline]\nname = \"bench\"\n[artifacts.app]\nimage = \"oci-layout:registry/app\"\n\
             [defaults]\nverify = [\"smoke\"]\n\
             [defaults.deploy.helm]\nname = \"api\"\nchart = \"chart\"\nvalues = [\"values/all.yaml\"]\n\
             [checks.smoke]\ncommand = { run = [\"true\"] }\n",
        );
        for number in 0..environments {
            let name = format!("e{number:02}");
            writeln!(
                text,
                "[environments.{name}]\ntier = \"development\"\nstart = \"auto\"\n\
                 target = {{ cluster = \"bench\", namespace = \"{name}\" }}"
            )
            .expect("writing to a String cannot fail");
            // It is there from the row before.
            let _ = self.kubectl(&["create", "namespace", &name]).quiet();
        }
        write(&dir.join("promo.toml"), text)?;
        write(&dir.join("clusters.toml"), self.control_plane.clusters()?)?;
        write(&dir.join("values/all.yaml"), "greeting: hello\n")?;
        write(&dir.join("chart/Chart.yaml"), "apiVersion: v2\nname: api\nversion: 1.0.0\n")?;
        write(&dir.join("chart/templates/all.yaml"), chart(objects))?;
        Image::new(1, 1_000).layout(&dir.join("registry/app"), "1.0.0")?;
        bench_promo(bench, self, &dir).args(["release", "add", "app=1.0.0", "--as", "ci"]).quiet()?;
        Ok(dir)
    }

    pub(super) fn kubectl(&self, words: &[&str]) -> Run {
        self.env(hermetic(Run::new(&self.kubectl), &self.dir)).args(words)
    }

    /// Where the cluster is, for promo and for its peers.
    pub(super) fn env(&self, run: Run) -> Run {
        run.env("PROMO_HELM", &self.helm)
            .env("PROMO_CLUSTERS", "clusters.toml")
            .env("KUBECONFIG", &self.control_plane.kubeconfig)
    }

    /// What `clusters.toml` says of it.
    pub(super) fn clusters(&self) -> Outcome<String> {
        self.control_plane.clusters()
    }

    fn measured(&self, bench: &Bench, dir: &Path, words: &[&std::ffi::OsStr]) -> Outcome<Measured> {
        Ok(Measured::new(words.iter().copied(), dir, &bench.work)?.with(|run| self.env(run)))
    }
}

/// A chart of so many objects, half of them workloads of which no pod runs.
fn chart(objects: usize) -> String {
    let image = format!("registry.example/app@sha256:{}", "1".repeat(64));
    format!(
        "{{{{- range $n := until {} }}}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: c{{{{ $n }}}} }}\n\
         data: {{ greeting: {{{{ $.Values.greeting }}}} }}\n---\napiVersion: apps/v1\nkind: Deployment\n\
         metadata: {{ name: d{{{{ $n }}}} }}\nspec:\n  replicas: 0\n  selector: {{ matchLabels: {{ app: d{{{{ $n }}}} }} }}\n  \
         template:\n    metadata: {{ labels: {{ app: d{{{{ $n }}}}, greeting: {{{{ $.Values.greeting }}}} }} }}\n    \
         spec: {{ containers: [{{ name: app, image: \"{image}\" }}] }}\n{{{{- end }}}}\n",
        objects / 2
    )
}

/// The control plane of the tests, which ends with the value, and with this process.
struct ControlPlane {
    _server: Server,
    kubeconfig: PathBuf,
}

impl ControlPlane {
    fn start(directory: &Path) -> Outcome<Self> {
        std::fs::create_dir_all(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        let program = super::build(&["-p", "promo-tests", "--bin", "promo-kube"], "promo-kube")?;
        let mut run = Run::new(program).args(["serve".as_ref(), directory.as_os_str(), owner()?.as_ref()]);
        for name in ["kubernetes", "etcd"] {
            let found = components::find(components::named(name)?).ok_or_else(|| format!("no {name}"))?;
            run = run.env(components::variable(name), found);
        }
        let server = run.start_guarded(&directory.join("log"))?;
        let (ready, until) = (directory.join("ready"), Instant::now() + READY_WITHIN);
        while !ready.exists() {
            if directory.join("failed").exists() || Instant::now() > until {
                return Err(format!("there is no control plane; see {}", directory.display()));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(Self { _server: server, kubeconfig: directory.join("kubeconfig") })
    }

    fn clusters(&self) -> Outcome<String> {
        let path = self.kubeconfig.to_str().ok_or("the work directory is no text")?;
        Ok(format!("format = 1\n[cluster.bench]\nkubeconfig = {path:?}\ncontext = \"admin\"\n"))
    }
}

/// This process, as `promo-kube` names the one with which it ends: its id, and when it was started (`proc_pid_stat(5)`).
fn owner() -> Outcome<String> {
    let stat = std::fs::read_to_string("/proc/self/stat").map_err(|error| format!("/proc/self/stat: {error}"))?;
    let started = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19));
    Ok(format!("{}-{}", std::process::id(), started.ok_or("/proc/self/stat says nothing of a start")?))
}
