//! A copy from one registry to another: ten layers of 20 MiB, with nothing at the destination.

use super::image::Image;
use super::measure::{Contender, Measured};
use super::table::{self, Bar};
use super::{Bench, copy_files, remove, write};
use crate::Outcome;
use crate::components::{self, servers};
use crate::process::{Run, Server};
use std::cell::RefCell;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Bar: requests at the destination are what is noted.
const COLD: Bar = Bar { wall: None, cpu: Some(0.6), peak: Some(40.0), note: Some(40.0) };

/// promo applies a plan whose only step is the copy; skopeo copies.
pub(super) fn run(bench: &Bench) -> Outcome {
    let program = match components::find(components::named("docker-registry")?) {
        Some(program) => program,
        None => {
            eprintln!("no docker-registry: `copy` is left out");
            return Ok(());
        }
    };
    let skopeo = components::find(components::named("skopeo")?);
    if skopeo.is_none() {
        eprintln!("no skopeo: the rows of `copy` have no peer");
    }
    let dir = bench.dir("copy")?;
    let source = Registry::new(&program, &dir.join("source"))?;
    Image::new(10, 20 << 20).registry(&source.storage(), "team/app", "1.0.0")?;
    let source = RefCell::new(source);
    source.borrow_mut().restart()?;
    let destination = RefCell::new(Registry::new(&program, &dir.join("destination"))?);
    destination.borrow_mut().restart()?;

    let (from, to) = (source.borrow().address, destination.borrow().address);
    let project = dir.join("project");
    write(&project.join("promo.toml"), pipeline(from, to))?;
    bench.promo(&project).args(["release", "add", "app=1.0.0", "--as", "ci"]).quiet()?;
    bench.promo(&project).args(["plan", "prod", "--out", "copy.plan.json", "--as", "ci"]).quiet()?;
    let (ledger, kept) = (project.join(".promo"), project.join("kept"));
    copy_files(&ledger, &kept)?;

    let empty = || -> Outcome { destination.borrow_mut().empty() };
    let requests = || destination.borrow().requests().map(Some);
    let ours = || {
        let words = ["apply", "copy.plan.json", "--as", "ci"].map(Into::into);
        Measured::new(std::iter::once(bench.promo.clone().into_os_string()).chain(words), &project, &bench.work)
    };
    let prepare = || {
        remove(&ledger)?;
        copy_files(&kept, &ledger)?;
        empty()
    };
    let mut contenders = vec![Contender::new("promo apply", ours).prepare(prepare).note(requests)];
    if let Some(skopeo) = &skopeo {
        let theirs = || {
            let (source, target) = (format!("docker://{from}/team/app:1.0.0"), format!("docker://{to}/prod/app:1.0.0"));
            let flags = ["copy", "--insecure-policy", "--src-tls-verify=false", "--dest-tls-verify=false"];
            let words = flags.map(String::from).into_iter().chain([source, target]).map(Into::into);
            Measured::new(std::iter::once(skopeo.clone().into_os_string()).chain(words), &project, &bench.work)
        };
        contenders.push(Contender::new("skopeo copy", theirs).prepare(empty).note(requests));
    }
    table::head("registry to registry, 10 layers of 20 MiB", "requests at the destination");
    table::row("cold", contenders, bench.runs, COLD).map(drop)
}

fn pipeline(from: SocketAddr, to: SocketAddr) -> String {
    format!(
        "format = 1\n[pipeline]\nname = \"copy\"\n[artifacts.app]\nimage = \"{from}/team/app\"\n\
         [environments.prod]\ntier = \"development\"\ndeploy = \"none\"\nmirror = {{ \"{from}/team\" = \"{to}/prod\" }}\n"
    )
}

/// A registry with private storage on a fixed address, which can be stopped, emptied and started again.
struct Registry {
    program: PathBuf,
    dir: PathBuf,
    address: SocketAddr,
    server: Option<Server>,
}

impl Registry {
    fn new(program: &Path, dir: &Path) -> Outcome<Self> {
        let address = servers::free_address()?;
        let registry = Self { program: program.to_path_buf(), dir: dir.to_path_buf(), address, server: None };
        let storage = registry.storage();
        fs::create_dir_all(&storage).map_err(|error| format!("{}: {error}", storage.display()))?;
        // The access log is what counts the requests.
        write(
            &dir.join("config.yml"),
            format!(
                "version: 0.1\nlog:\n  level: warn\n  accesslog:\n    disabled: false\nstorage:\n  filesystem:\n    \
                 rootdirectory: '{}'\n  delete:\n    enabled: true\nhttp:\n  addr: {address}\n",
                storage.display()
            ),
        )?;
        Ok(registry)
    }

    fn storage(&self) -> PathBuf {
        self.dir.join("storage")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    fn restart(&mut self) -> Outcome {
        self.server = None;
        let config = self.dir.join("config.yml");
        let run = Run::new(&self.program).args(["serve".as_ref(), config.as_os_str()]);
        self.server = Some(run.start_guarded(&self.log())?);
        let deadline = Instant::now() + servers::READY_WITHIN;
        while !servers::answers(self.address) {
            if Instant::now() > deadline {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                return Err(format!("the registry at {} did not become ready:\n{log}", self.address));
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Ok(())
    }

    /// Starts again with nothing in it.
    fn empty(&mut self) -> Outcome {
        self.server = None;
        remove(&self.storage())?;
        self.restart()
    }

    /// Requests since the last start, without the one that asked whether it is ready.
    fn requests(&self) -> Outcome<f64> {
        let log = fs::read_to_string(self.log()).map_err(|error| format!("{}: {error}", self.log().display()))?;
        let count = log.lines().filter(|line| line.contains(" HTTP/1.1\"") || line.contains(" HTTP/2.0\"")).count();
        Ok(f64::from(u32::try_from(count).unwrap_or(u32::MAX)))
    }
}
