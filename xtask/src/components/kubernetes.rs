//! The control plane of Kubernetes: the developer's own programs when a variable names them, else a build of our own from
//! Debian's source package, since nothing that can be fetched by version and digest brings a `kube-controller-manager`.
//! `kubernetes.sh` builds; here is where its parts come from. Running a control plane is the business of the tests.

use super::install::{check_sha256, only_file};
use crate::Outcome;
use crate::process::Run;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// The variables that name a directory of the developer's, the first one first.
const OURS: &str = "PROMO_KUBE_BIN";
const ENVTEST: &str = "KUBEBUILDER_ASSETS";

/// What a directory of the developer's must hold, in the order in which [`build`] returns them.
const PROGRAMS: [&str; 2] = ["kube-apiserver", "kube-controller-manager"];

/// What else is taken from such a directory, where it is there. `envtest` of the Kubebuilder project puts them there.
const BESIDE: [&str; 2] = ["etcd", "kubectl"];

/// The Debian release whose packages are pinned here.
const RELEASE: &str = "bookworm";

/// Where that release is, in the order in which they are tried after the machine's own mirrors.
const MIRRORS: [&str; 2] = ["http://deb.debian.org/debian/", "http://archive.debian.org/debian/"];

/// Upstream's source as Debian keeps it: 1.20.2 with what it vendors, and without its history.
const SOURCE: (&str, &str) = ("kubernetes", "b83c0780efb182d928dc63d46488a847f161f04e40a94b96bf5247dd671ecdfc");

/// Packages as apt names them, with the SHA-256 of each.
const PACKAGES: [(&str, &str); 3] = [
    ("golang-1.19-go=1.19.8-2", "545123039b6c79e75cf2d86528781a825424cf33ce9d3f4513d772d7144cd531"),
    ("golang-1.19-src=1.19.8-2", "2dfa82fe4f08f4e0193c532e561af4c91871f5235608f04f2bb8d57bb288df5a"),
    (
        "golang-github-modern-go-reflect2-dev=1.0.2-2",
        "af150a5172cf4c19bb321a53e67103e7fb18d07c1baa1e816a235155265d3948",
    ),
];

/// The program of that name in the directory that the developer's variables name. `KUBEBUILDER_ASSETS` counts only when it
/// holds the whole control plane.
pub(super) fn given(program: &str) -> Option<PathBuf> {
    found(program, |variable| std::env::var_os(variable))
}

/// The same with these variables.
fn found(program: &str, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let ours = PROGRAMS.contains(&program) || BESIDE.contains(&program);
    let whole = |dir: &PathBuf| lacking(dir).is_none();
    let dir = named(OURS, &variable).or_else(|| named(ENVTEST, &variable).filter(whole));
    dir.filter(|_| ours).map(|dir| dir.join(program)).filter(|path| path.is_file())
}

/// The directory that a variable names. One that is empty names none.
fn named(name: &str, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    variable(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Refuses a `PROMO_KUBE_BIN` that is not whole, and says so of `KUBEBUILDER_ASSETS`: `envtest` puts no
/// `kube-controller-manager` there, without which no Deployment has pods and no namespace goes away.
pub(super) fn check_given() -> Outcome {
    checked(|variable| std::env::var_os(variable)).map(|warning| {
        if let Some(warning) = warning {
            eprintln!("warning: {warning}");
        }
    })
}

/// The same with these variables; gives what is to be said.
fn checked(variable: impl Fn(&str) -> Option<OsString>) -> Outcome<Option<String>> {
    if let Some(dir) = named(OURS, &variable) {
        return lacking(&dir).map_or(Ok(None), |program| {
            Err(format!("{OURS}: there is no {program} in {}: put it there or unset the variable", dir.display()))
        });
    }
    let lacking = named(ENVTEST, &variable).and_then(|dir| lacking(&dir).map(|program| (program, dir)));
    Ok(lacking.map(|(program, dir)| {
        let dir = dir.display();
        format!("{ENVTEST} is not used: there is no {program} in {dir}; put one of the same version there")
    }))
}

/// The first program that a directory should hold and does not.
fn lacking(dir: &Path) -> Option<&'static str> {
    PROGRAMS.into_iter().find(|program| !dir.join(program).is_file())
}

/// Downloads and builds in `work`, and returns the programs.
pub(super) fn build(version: &str, work: &Path) -> Outcome<[PathBuf; 2]> {
    for tool in ["apt-get", "dpkg", "nice", "sh", "tar"] {
        which::which(tool).map_err(|_| format!("`{tool}` is needed to build it and is not on PATH"))?;
    }
    download(work)?;
    let script = work.join("build.sh");
    fs::write(&script, include_str!("kubernetes.sh")).map_err(|error| format!("{}: {error}", script.display()))?;
    eprintln!("building kubernetes {version}: 4 minutes on two idle cores");
    Run::new("nice").args([Path::new("sh"), &script, Path::new(version)]).dir(work).quiet()?;
    let built = PROGRAMS.map(|program| work.join("bin").join(program));
    for program in &built {
        let says = Run::new(program).args(["--version"]).capture()?;
        if says.trim() != format!("Kubernetes v{version}") {
            return Err(format!("{} was built and says that it is `{}`", program.display(), says.trim()));
        }
    }
    Ok(built)
}

/// Leaves the source and the packages in `work`, each with its digest.
fn download(work: &Path) -> Outcome {
    let mut last = String::new();
    for sources in sources(work)? {
        let (name, digest) = SOURCE;
        let apt = Apt::new(work, Some(&sources))?;
        // A list that cannot be had is no matter as long as the packages are in another one.
        let updated = apt.run(&["update"]);
        let fetch = || -> Outcome {
            apt.run(&["source", "--download-only", "--tar-only", name])?;
            check_sha256(&only_file(work, "gz")?, digest)?;
            for (package, digest) in PACKAGES {
                let dir = work.join(package);
                fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
                apt.run_in(&dir, &["download", package])?;
                let file = only_file(&dir, "deb")?;
                check_sha256(&file, digest)?;
                let kept = work.join(file.file_name().unwrap_or_default());
                fs::rename(&file, &kept).map_err(|error| format!("{}: {error}", kept.display()))?;
            }
            Ok(())
        };
        match fetch() {
            Ok(()) => return Ok(()),
            Err(why) => last = updated.err().map_or(why.clone(), |update| format!("{why}; {update}")),
        }
    }
    Err(format!("the packages of Debian {RELEASE} that it is built from cannot be had: {last}"))
}

/// Lists of package sources, the machine's own mirrors of the release first.
fn sources(work: &Path) -> Outcome<Vec<String>> {
    let list = ["indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"];
    let mut listed = Run::new("apt-get").args(list).capture().unwrap_or_default();
    if listed.trim().is_empty() {
        // Of a machine whose lists were never fetched apt says nothing.
        let apt = Apt::new(work, None)?;
        listed = apt.run(&["update"]).and_then(|()| apt.ask(&list)).unwrap_or_default();
    }
    let others = MIRRORS.map(|mirror| entry(mirror, RELEASE));
    Ok(own_mirrors(&listed).into_iter().chain(others).collect())
}

/// What the machine itself takes the release from, one entry for each mirror and suite.
fn own_mirrors(listed: &str) -> Option<String> {
    let suites = [RELEASE.to_owned(), format!("{RELEASE}-updates"), format!("{RELEASE}-security")];
    let mut entries: Vec<String> = listed
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let (uri, suite, component) = (words.next()?, words.next()?, words.next()?);
            (component == "main" && suites.iter().any(|known| known == suite)).then(|| entry(uri, suite))
        })
        .collect();
    entries.sort();
    entries.dedup();
    if entries.is_empty() { None } else { Some(entries.concat()) }
}

/// Programs and sources of one suite. Trusted, because every file that is taken is pinned by its own digest, and a machine
/// of another distribution has no key of Debian's.
fn entry(uri: &str, suite: &str) -> String {
    format!("deb [trusted=yes] {uri} {suite} main\ndeb-src [trusted=yes] {uri} {suite} main\n")
}

/// apt with lists and a cache of its own, so that it needs no root and nothing of the machine changes.
struct Apt {
    work: PathBuf,
    options: Vec<String>,
}

impl Apt {
    /// With these sources, or with the machine's own.
    fn new(work: &Path, sources: Option<&str>) -> Outcome<Self> {
        let dir = work.join("apt");
        for sub in ["lists/partial", "cache/archives/partial"] {
            let sub = dir.join(sub);
            fs::create_dir_all(&sub).map_err(|error| format!("{}: {error}", sub.display()))?;
        }
        let mut options = vec![
            format!("Dir::State::Lists={}", dir.join("lists").display()),
            format!("Dir::Cache={}", dir.join("cache").display()),
            "Acquire::Languages=none".into(),
            "Acquire::Check-Valid-Until=false".into(),
            // The user that apt changes to when root starts it cannot see into a private directory.
            "APT::Sandbox::User=root".into(),
        ];
        if let Some(sources) = sources {
            let list = dir.join("sources.list");
            fs::write(&list, sources).map_err(|error| format!("{}: {error}", list.display()))?;
            options.push(format!("Dir::Etc::SourceList={}", list.display()));
            options.push("Dir::Etc::SourceParts=/dev/null".into());
        }
        Ok(Self { work: work.to_path_buf(), options })
    }

    fn run(&self, args: &[&str]) -> Outcome {
        self.run_in(&self.work, args)
    }

    fn run_in(&self, dir: &Path, args: &[&str]) -> Outcome {
        self.command(args).dir(dir).quiet().map_err(|why| why.replace(&self.work.display().to_string(), "…"))
    }

    fn ask(&self, args: &[&str]) -> Outcome<String> {
        self.command(args).capture()
    }

    fn command(&self, args: &[&str]) -> Run {
        Run::new("apt-get").args(["-qq"]).args(self.options.iter().flat_map(|option| ["-o", option])).args(args)
    }
}

#[cfg(test)]
mod tests {
    use super::{ENVTEST, OURS, checked, found, lacking, own_mirrors};
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};

    #[test]
    fn the_machines_own_mirrors_of_the_release_serve_and_nobody_elses() {
        let listed = "http://mirror.test/debian/ bookworm main\nhttp://mirror.test/debian/ bookworm contrib\n\
                      http://mirror.test/security/ bookworm-security main\nhttps://other.test/ bookworm-pgdg main\n\
                      https://node.test/ nodistro main\nhttp://mirror.test/debian/ trixie main\n";
        let own = own_mirrors(listed).unwrap();
        assert_eq!(own.lines().count(), 4, "{own}");
        assert!(own.contains("deb-src [trusted=yes] http://mirror.test/debian/ bookworm main\n"), "{own}");
        assert!(own.contains("http://mirror.test/security/ bookworm-security main\n"), "{own}");
        assert_eq!(own_mirrors("http://archive.ubuntu.test/ubuntu/ noble main\n"), None);
    }

    #[test]
    fn a_directory_without_a_controller_manager_is_not_a_control_plane() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(lacking(dir.path()), Some("kube-apiserver"));
        std::fs::write(dir.path().join("kube-apiserver"), b"").unwrap();
        assert_eq!(lacking(dir.path()), Some("kube-controller-manager"));
        std::fs::write(dir.path().join("kube-controller-manager"), b"").unwrap();
        assert_eq!(lacking(dir.path()), None);
    }
    /// A directory with these programs.
    fn holds(programs: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for program in programs {
            std::fs::write(dir.path().join(program), b"").unwrap();
        }
        dir
    }

    /// The variables that name these directories.
    fn set<'a>(ours: Option<&'a Path>, envtest: Option<&'a Path>) -> impl Fn(&str) -> Option<OsString> + 'a {
        move |variable| match variable {
            OURS => ours.map(|dir| dir.as_os_str().to_owned()),
            ENVTEST => envtest.map(|dir| dir.as_os_str().to_owned()),
            _ => None,
        }
    }

    #[test]
    fn the_directory_that_is_ours_by_name_wins_and_the_other_one_counts_where_it_is_whole() {
        let whole = ["kube-apiserver", "kube-controller-manager"];
        let (one, other) = (holds(&whole), holds(&["kube-apiserver", "kube-controller-manager", "etcd", "kubectl"]));
        // As envtest of Kubebuilder leaves it.
        let partial = holds(&["kube-apiserver", "etcd", "kubectl"]);
        let (one, other, partial, none) = (one.path(), other.path(), partial.path(), Path::new(""));
        let server = |dir: &Path| Some(dir.join("kube-apiserver"));
        for (ours, envtest, apiserver, etcd) in [
            (None, None, None, None),
            (Some(one), None, server(one), None),
            // Nothing is put together from two of them: their versions may differ.
            (Some(one), Some(other), server(one), None),
            (Some(other), Some(one), server(other), Some(other.join("etcd"))),
            (None, Some(other), server(other), Some(other.join("etcd"))),
            (None, Some(partial), None, None),
            (Some(none), Some(other), server(other), Some(other.join("etcd"))),
            (Some(none), Some(none), None, None),
        ] {
            let found = |program: &str| found(program, set(ours, envtest));
            assert_eq!((found("kube-apiserver"), found("etcd")), (apiserver, etcd), "{ours:?} {envtest:?}");
            assert_eq!(found("helm"), None::<PathBuf>, "no such directory brings one");
        }
    }

    #[test]
    fn ours_has_to_be_whole_and_of_the_other_one_it_is_said_when_it_is_not() {
        let (whole, partial) = (holds(&["kube-apiserver", "kube-controller-manager"]), holds(&["kube-apiserver"]));
        let (whole, partial) = (whole.path(), partial.path());
        for envtest in [None, Some(whole), Some(partial)] {
            let refused = checked(set(Some(partial), envtest)).unwrap_err();
            assert!(refused.starts_with("PROMO_KUBE_BIN: there is no kube-controller-manager in "), "{refused}");
            assert_eq!(checked(set(Some(whole), envtest)), Ok(None), "nobody looks at the other one");
        }
        let warned = checked(set(None, Some(partial))).unwrap().unwrap();
        assert!(
            warned.starts_with("KUBEBUILDER_ASSETS is not used: there is no kube-controller-manager in "),
            "{warned}"
        );
        assert_eq!(checked(set(None, Some(whole))), Ok(None));
        assert_eq!(checked(set(None, None)), Ok(None));
    }
}
