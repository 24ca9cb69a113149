//! What is refused in a window, with the field it is about, and the written form of windows.

use promo_core::windows::{CivilText, Effect, Window, WindowSpec};

#[track_caller]
fn refused(toml: &str, field: &str, part: &str) {
    let spec: WindowSpec = toml::from_str(&format!("effect = \"allow\"\n{toml}")).expect("it has the right form");
    let errors = Window::new("w", spec).expect_err("it has a mistake");
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0].field, field, "{errors:?}");
    assert!(errors[0].message.contains(part), "{errors:?}");
}

#[track_caller]
fn refused_utc(rest: &str, field: &str, part: &str) {
    refused(&format!("timezone = \"UTC\"\n{rest}"), field, part);
}

#[test]
fn s5_1_s16_zones_that_are_no_zones_are_refused() {
    for (name, part) in [
        ("EST", "abbreviation"),
        ("CET", "abbreviation"),
        ("GMT", "abbreviation"),
        ("CEST", "abbreviation"),
        ("+01:00", "offset"),
        ("Etc/GMT+5", "offset"),
        ("europe/berlin", "is written `Europe/Berlin`"),
        ("Europe/Berlni", "not in the IANA database"),
        ("", "empty"),
    ] {
        refused(&format!("timezone = \"{name}\"\nweekly = {{}}"), "timezone", part);
    }
}

#[test]
fn s5_1_a_window_has_exactly_one_schedule() {
    refused_utc("", "", "does not say when");
    refused_utc("weekly = {}\nonce = { start = \"2026-01-01T00:00\", end = \"2026-01-02T00:00\" }", "once", "beside");
    refused_utc("weekly = {}\nmonthly = { day = 1 }", "monthly", "beside");
}

#[test]
fn s5_2_s16_times_without_a_meaning_are_refused() {
    refused_utc("weekly = { start = \"09:00\" }", "weekly.start", "without an end");
    refused_utc("weekly = { end = \"09:00\" }", "weekly.end", "without a start");
    refused_utc("weekly = { start = \"09:00\", end = \"09:00\" }", "weekly.end", "the same");
    refused_utc("weekly = { start = \"24:00\", end = \"09:00\" }", "weekly.start", "not a start");
    refused_utc("weekly = { start = \"09:00:30\", end = \"10:00\" }", "weekly.start", "seconds");
    refused_utc("weekly = { start = 09:00:30, end = 10:00:00 }", "weekly.start", "seconds");
    refused_utc("weekly = { start = 09:00:00.5, end = 10:00:00 }", "weekly.start", "seconds");
    refused_utc("weekly = { start = 2026-01-01, end = 10:00:00 }", "weekly.start", "not a time of day");
    refused_utc("monthly = { day = 1, start = \"09:00\" }", "monthly.start", "without an end");
    refused_utc("yearly = { from = \"02-01\", until = \"02-02\", end = \"09:00\" }", "yearly.end", "without a start");
}

#[test]
fn s16_days_without_a_meaning_are_refused() {
    refused_utc("weekly = { days = [] }", "weekly.days", "empty");
    refused_utc("weekly = { days = [\"mon\", \"tue\", \"mon\"] }", "weekly.days[2]", "twice");
    refused_utc("monthly = {}", "monthly", "which day");
    refused_utc("monthly = { day = 32 }", "monthly.day", "32");
    refused_utc("monthly = { day = 0 }", "monthly.day", "0");
    refused_utc("monthly = { day = 3, nth = 1, weekday = \"mon\" }", "monthly.day", "beside");
    refused_utc("monthly = { nth = 6, weekday = \"mon\" }", "monthly.nth", "6");
    refused_utc("monthly = { nth = \"first\", weekday = \"mon\" }", "monthly.nth", "first");
    refused_utc("monthly = { nth = 1 }", "monthly.nth", "weekday");
    refused_utc("monthly = { weekday = \"mon\" }", "monthly.weekday", "nth");
    refused_utc("yearly = { from = \"02-30\", until = \"03-01\" }", "yearly.from", "02-30");
    refused_utc("yearly = { from = \"02-01\", until = 2026-03-01 }", "yearly.until", "not a month and a day");
    refused_utc("once = { start = \"2026-01-01\", end = \"2026-01-02T00:00\" }", "once.start", "time of day");
    refused_utc("once = { start = 2026-01-01T00:00:00Z, end = \"2026-01-02T00:00\" }", "once.start", "offset");
    refused_utc("once = { start = \"2026-01-02T00:00\", end = \"2026-01-02T00:00\" }", "once.end", "the same");
    refused_utc("once = { start = \"2026-01-03T00:00\", end = \"2026-01-02T00:00\" }", "once.end", "before");
    refused_utc("once = { start = \"2026-01-01T24:00\", end = \"2026-01-04T00:00\" }", "once.start", "not a start");
}

#[test]
fn ranges_and_scopes_that_are_empty_are_refused() {
    refused_utc("weekly = {}\nvalid = {}", "valid", "no bound");
    refused_utc("weekly = {}\nvalid = { from = \"2026-01-02\", until = \"2026-01-01\" }", "valid.until", "ends before");
    refused_utc("weekly = {}\nvalid = { from = \"2026-02-29\" }", "valid.from", "2026-02-29");
    refused_utc("weekly = {}\nexcept = [\"2026-01-01\", \"soon\"]", "except[1]", "soon");
    refused_utc("weekly = {}\nseverity = \"soft\"", "severity", "allow");
    for field in ["environments", "artifacts", "actions", "invokers"] {
        refused_utc(&format!("weekly = {{}}\n{field} = []"), field, "empty");
    }
}

#[test]
fn every_mistake_of_a_window_is_named_at_once() {
    let spec = r#"
        effect = "allow"
        timezone = "EST"
        weekly = { days = [], start = "9:00", end = "25:00" }
        except = ["x"]
    "#;
    let errors = Window::new("w", toml::from_str(spec).unwrap()).unwrap_err();
    let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(fields, ["timezone", "weekly.days", "weekly.start", "weekly.end", "except[0]"]);
    assert_eq!(errors[2].help.as_deref(), Some("write two digits: \"09:00\""));
    assert_eq!(errors[2].to_string(), "weekly.start: `9:00` lacks a digit");
}

#[test]
fn unknown_fields_and_words_are_refused_where_they_stand() {
    for (toml, part) in [
        ("effect = \"alow\"\ntimezone = \"UTC\"", "alow"),
        ("effect = \"allow\"\ntimezone = \"UTC\"\ncron = \"0 9 * * *\"", "cron"),
        ("effect = \"allow\"", "timezone"),
        ("effect = \"allow\"\ntimezone = \"UTC\"\nweekly = { days = [\"monday\"] }", "monday"),
        ("effect = \"allow\"\ntimezone = \"UTC\"\nweekly = { hours = 3 }", "hours"),
        ("effect = \"allow\"\ntimezone = \"UTC\"\nweekly = { start = 9 }", "local date or time"),
        ("effect = \"allow\"\ntimezone = \"UTC\"\nmonthly = { nth = [1] }", "\"last\""),
    ] {
        let error = toml::from_str::<WindowSpec>(toml).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_window_survives_json_and_toml_times_become_text() {
    let text = r#"
        effect = "deny"
        timezone = "Europe/Berlin"
        weekly = { days = ["mon", "sun"], start = 09:00:00, end = "24:00" }
        valid = { from = 2026-01-01, until = "2026-12-31" }
        except = [2026-05-01]
        environments = ["production"]
        actions = ["promote", "rollback"]
        invokers = ["automation"]
        severity = "soft"
        reason = "nobody is there"
        owner = "platform"
    "#;
    let spec: WindowSpec = toml::from_str(text).unwrap();
    assert_eq!(spec.weekly.as_ref().unwrap().start, Some(CivilText::from("09:00")));
    let json = serde_json::to_string(&spec).unwrap();
    assert!(json.contains(r#""start":"09:00""#) && json.contains(r#""except":["2026-05-01"]"#), "{json}");
    assert!(!json.contains("null"), "{json}");
    assert_eq!(serde_json::from_str::<WindowSpec>(&json).unwrap(), spec);
    let minimal = WindowSpec::new(Effect::Allow, "UTC");
    assert_eq!(serde_json::to_string(&minimal).unwrap(), r#"{"effect":"allow","timezone":"UTC"}"#);
}
