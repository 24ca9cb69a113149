//! The fences of ARCHITECTURE.md: what cargo knows of the workspace is compared with the picture there.
//!
//! Here: layering, the purity of promo-core, lints. What a crate does is tested elsewhere.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report, also in the functions that tests share")]

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The picture: each crate and the workspace crates that it is built on.
const PICTURE: &[(&str, &[&str])] = &[
    ("promo-core", &[]),
    ("promo-sdk", &["promo-core"]),
    ("promo-ledger", &["promo-core"]),
    ("promo-engine", &["promo-core", "promo-ledger", "promo-sdk"]),
    ("promo-providers", &["promo-core", "promo-sdk"]),
    ("promo-cli", &["promo-core", "promo-engine", "promo-ledger", "promo-providers", "promo-sdk"]),
];

/// Crates under promo-core that have a std feature which would let IO, clocks or the environment in.
const KEPT_WITHOUT_STD: &[&str] = &[
    "toml",
    "serde",
    "serde_core",
    "serde_json",
    "jiff",
    "petgraph",
    "sha2",
    "thiserror",
    "indexmap",
    "hashbrown",
    "semver",
    "spdx",
    "winnow",
    "toml_parser",
    "toml_datetime",
    "serde_spanned",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[expect(clippy::disallowed_methods, reason = "cargo is the only one who knows the graph")]
fn cargo(args: &[&str]) -> String {
    let output = std::process::Command::new(env!("CARGO")).args(args).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn packages() -> Vec<Value> {
    let text = cargo(&["metadata", "--format-version", "1", "--no-deps", "--locked"]);
    let metadata: Value = serde_json::from_str(&text).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Which workspace crates each workspace package depends on; `dev` adds the dependencies of its tests.
fn edges(packages: &[Value], dev: bool) -> BTreeMap<String, BTreeSet<String>> {
    let members: BTreeSet<&str> = packages.iter().map(|package| package["name"].as_str().unwrap()).collect();
    packages
        .iter()
        .map(|package| {
            let name = package["name"].as_str().unwrap().to_owned();
            let on = package["dependencies"].as_array().unwrap().iter();
            let on = on.filter(|dependency| dev || dependency["kind"] != "dev");
            // The real name, whatever the crate renames it to.
            let on = on.map(|dependency| dependency["name"].as_str().unwrap());
            (name.clone(), on.filter(|on| members.contains(on) && *on != name).map(String::from).collect())
        })
        .collect()
}

/// Rust files below a directory, with their text.
fn sources(dir: &str) -> Vec<(PathBuf, String)> {
    let mut open = vec![root().join(dir)];
    let mut found = Vec::new();
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "no Rust file below {dir}");
    found
}

#[test]
fn the_crates_depend_on_each_other_exactly_as_in_the_picture() {
    let edges = edges(&packages(), false);
    for (name, on) in PICTURE {
        let drawn: BTreeSet<String> = on.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(edges.get(*name), Some(&drawn), "{name}");
    }
}

#[test]
fn every_crate_of_the_product_is_in_the_picture() {
    let packages = packages();
    let product = packages.iter().filter(|package| {
        let manifest = Path::new(package["manifest_path"].as_str().unwrap());
        manifest.parent().unwrap().parent().unwrap().ends_with("crates")
    });
    let built: BTreeSet<_> = product.map(|package| package["name"].as_str().unwrap()).collect();
    let drawn: BTreeSet<_> = PICTURE.iter().map(|(name, _)| *name).collect();
    assert_eq!(built, drawn);
}

#[test]
fn the_engine_never_meets_a_built_in_provider_not_even_in_its_tests() {
    let edges = edges(&packages(), true);
    assert!(!edges["promo-engine"].contains("promo-providers"));
    assert!(!edges["promo-providers"].contains("promo-engine"));
    assert!(edges["promo-core"].is_empty(), "{:?}", edges["promo-core"]);
}

#[test]
fn only_the_face_and_the_test_package_know_both_engine_and_providers() {
    let both = |on: &BTreeSet<String>| on.contains("promo-engine") && on.contains("promo-providers");
    let edges = edges(&packages(), true);
    let knowing: Vec<_> = edges.iter().filter(|(_, on)| both(on)).map(|(name, _)| name.as_str()).collect();
    assert_eq!(knowing, ["promo-cli", "promo-tests"]);
}

/// Lines of `cargo tree -e features --prefix none` that switch on `feature` of one of `crates`.
fn switched_on(tree: &str, crates: &[&str], feature: &str) -> BTreeSet<String> {
    let wanted = format!("feature \"{feature}\"");
    let is_wanted = |line: &&str| {
        line.split_once(' ')
            .is_some_and(|(name, rest)| crates.contains(&name) && rest.trim_end_matches(" (*)") == wanted)
    };
    tree.lines().filter(is_wanted).map(String::from).collect()
}

#[test]
fn a_feature_in_a_tree_is_found_whether_or_not_it_was_printed_before() {
    let tree =
        "toml v1.2.1\ntoml feature \"std\"\nserde feature \"std\" (*)\nwinnow feature \"alloc\"\nsyn feature \"std\"\n";
    let found = switched_on(tree, KEPT_WITHOUT_STD, "std");
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn invariant_1_no_std_feature_is_switched_on_below_promo_core() {
    let tree = cargo(&[
        "tree",
        "-p",
        "promo-core",
        "-e",
        "features,no-dev,no-build,no-proc-macro",
        "--prefix",
        "none",
        "--locked",
    ]);
    for name in ["toml", "serde_json", "jiff", "petgraph", "sha2", "thiserror"] {
        assert!(tree.lines().any(|line| line.starts_with(&format!("{name} v"))), "{name} is not in the tree:\n{tree}");
    }
    assert_eq!(switched_on(&tree, KEPT_WITHOUT_STD, "std"), BTreeSet::new());
    // What would ask the machine for its zone or its copy of the zone database.
    for feature in ["tz-system", "tzdb-zoneinfo", "tzdb-concatenated", "tz-fat"] {
        assert_eq!(switched_on(&tree, &["jiff"], feature), BTreeSet::new(), "TZ and TZDIR must change nothing");
    }
}

#[test]
fn invariant_1_promo_core_is_no_std_and_brings_std_back_only_for_tests() {
    let lib = read("crates/promo-core/src/lib.rs");
    assert!(lib.lines().any(|line| line == "#![no_std]"), "crates/promo-core/src/lib.rs");
    let manifest: toml::Table = toml::from_str(&read("crates/promo-core/Cargo.toml")).unwrap();
    for banned in ["tokio", "reqwest", "getrandom", "uuid", "rusqlite", "async-trait", "tempfile"] {
        let here = manifest["dependencies"].get(banned).is_some();
        assert!(!here, "promo-core must not depend on {banned}");
    }
    for (path, text) in sources("crates/promo-core/src") {
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        for (index, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("extern crate std")) {
            let for_tests = lines[..index].iter().rev().take(1).any(|before| *before == "#[cfg(test)]")
                || lines[..index].iter().any(|before| before.starts_with("mod tests"));
            assert!(for_tests, "{}:{}: {line}", path.display(), index + 1);
        }
    }
}

#[test]
fn invariants_1_and_8_clocks_zones_and_processes_are_banned_with_a_reason() {
    let clippy: toml::Table = toml::from_str(&read("clippy.toml")).unwrap();
    let banned: BTreeMap<&str, &str> = clippy["disallowed-methods"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["path"].as_str().unwrap(), entry["reason"].as_str().unwrap()))
        .collect();
    for path in [
        "jiff::Timestamp::now",
        "jiff::Zoned::now",
        "jiff::tz::TimeZone::get",
        "jiff::tz::TimeZone::system",
        "std::time::SystemTime::now",
        "std::process::Command::new",
        "tokio::process::Command::new",
    ] {
        assert!(banned.get(path).is_some_and(|reason| !reason.is_empty()), "{path} is not banned in clippy.toml");
    }
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    assert_eq!(manifest["workspace"]["lints"]["clippy"]["disallowed_methods"].as_str(), Some("deny"));
    // One clippy.toml: a second one in a package would replace the bans there.
    for (name, _) in PICTURE {
        for file in ["clippy.toml", ".clippy.toml"] {
            assert!(!root().join("crates").join(name).join(file).exists(), "{name}/{file}");
        }
    }
}

#[test]
fn invariant_8_the_bans_are_lifted_only_in_the_engine() {
    for (name, _) in PICTURE.iter().filter(|(name, _)| *name != "promo-engine") {
        for (path, text) in sources(&format!("crates/{name}/src")) {
            assert!(!text.contains("clippy::disallowed_methods"), "{} lifts a ban", path.display());
        }
    }
    let lifting: Vec<_> = sources("crates/promo-engine/src")
        .into_iter()
        .filter(|(_, text)| text.contains("clippy::disallowed_methods"))
        .map(|(path, _)| path)
        .collect();
    assert!(lifting.len() <= 2, "one module reads the clock and one spawns processes: {lifting:?}");
}

#[test]
fn invariant_8_only_the_face_may_print() {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    let lints = &manifest["workspace"]["lints"];
    for lint in ["print_stdout", "print_stderr"] {
        let level = lints["clippy"][lint].as_str();
        assert!(matches!(level, Some("warn" | "deny" | "forbid")), "{lint} is {level:?}");
    }
    for (name, _) in PICTURE.iter().filter(|(name, _)| *name != "promo-cli") {
        for (path, text) in sources(&format!("crates/{name}/src")) {
            assert!(!text.contains("clippy::print_"), "{} lifts the ban on printing", path.display());
        }
    }
}

#[test]
fn unsafe_code_is_forbidden_and_every_package_takes_the_workspace_lints() {
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    assert_eq!(manifest["workspace"]["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"));
    for package in packages() {
        let path = package["manifest_path"].as_str().unwrap();
        let manifest: toml::Table = toml::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(manifest["lints"]["workspace"].as_bool(), Some(true), "{path}");
    }
}

/// Fault points are for the tests of recovery; a binary that a user builds must not hold one.
#[test]
fn a_release_build_holds_no_fault_point() {
    let names: Vec<_> = PICTURE.iter().map(|(name, _)| *name).collect();
    let tree = cargo(&["tree", "-p", "promo-cli", "-e", "features,no-dev", "--prefix", "none", "--locked"]);
    assert!(tree.lines().any(|line| line.starts_with("promo-engine v")), "{tree}");
    assert_eq!(switched_on(&tree, &names, "fault"), BTreeSet::new());
    // `cargo tree -p` starts at promo-cli and names features of what is below it, never its own.
    for package in packages() {
        let default = &package["features"]["default"];
        let faulty = |feature: &Value| feature.as_str().is_some_and(|name| name.rsplit('/').next() == Some("fault"));
        let has = default.as_array().is_some_and(|features| features.iter().any(faulty));
        assert!(!has, "{}: {default}", package["name"]);
    }
}
