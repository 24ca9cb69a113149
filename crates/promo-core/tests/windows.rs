//! Windows: the instants of S5.6, the readings of S16, precedence, and warnings.

mod window_support;

use jiff::{SignedDuration, Timestamp};
use promo_core::windows::{
    Action, Answer, Effect, HORIZON_DAYS, Invoker, Query, Severity, State, WARNING_DAYS, WarningKind, Window, evaluate,
    warnings,
};
use window_support::{PROMOTE, allow, deny, level, window};

fn at(text: &str) -> Timestamp {
    text.parse().expect("the tests write instants right")
}

fn ask(window: &Window, at: Timestamp) -> Answer {
    evaluate(&[level("production", &[window])], &PROMOTE, at)
}

/// When the window is in force between two instants, by following `next_change` from one to the next.
fn in_force(window: &Window, from: &str, until: &str) -> Vec<(String, String)> {
    let wanted = window.effect() == Effect::Allow;
    let (mut now, until) = (at(from), at(until));
    let mut spans = Vec::new();
    let mut begun = None;
    loop {
        let answer = ask(window, now);
        match (answer.is_open() == wanted, begun) {
            (true, None) => begun = Some(now),
            (false, Some(start)) => {
                spans.push((minute(start), minute(now)));
                begun = None;
            }
            _ => {}
        }
        match answer.next_change {
            Some(next) if next <= until => now = next,
            _ => break,
        }
    }
    assert_eq!(begun, None, "still in force at {until}");
    spans
}

fn minute(at: Timestamp) -> String {
    let text = at.to_string();
    assert!(text.ends_with(":00Z"), "{text} is not a whole minute");
    text[..16].to_owned()
}

#[track_caller]
fn expect(window: &Window, from: &str, until: &str, spans: &[(&str, &str)]) {
    let found = in_force(window, &format!("{from}T00:00:00Z"), &format!("{until}T00:00:00Z"));
    let wanted: Vec<_> = spans.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    assert_eq!(found, wanted);
}

fn once_a_day(date: &str, start: &str, end: &str) -> String {
    format!("weekly = {{ start = \"{start}\", end = \"{end}\" }}\nvalid = {{ from = \"{date}\", until = \"{date}\" }}")
}

fn whole_day(date: &str) -> String {
    format!("weekly = {{}}\nvalid = {{ from = \"{date}\", until = \"{date}\" }}")
}

#[test]
fn s5_6_new_york_a_window_inside_the_skipped_hour_never_opens() {
    let hours = once_a_day("2026-03-08", "02:15", "02:45");
    expect(&allow("America/New_York", &hours), "2026-03-06", "2026-03-11", &[]);
    expect(&deny("America/New_York", &hours), "2026-03-06", "2026-03-11", &[]);
}

#[test]
fn s5_6_new_york_a_window_over_the_skipped_hour_is_shorter() {
    let spans = [("2026-03-08T06:30", "2026-03-08T07:30")];
    let hours = once_a_day("2026-03-08", "01:30", "03:30");
    expect(&allow("America/New_York", &hours), "2026-03-06", "2026-03-11", &spans);
    expect(&deny("America/New_York", &hours), "2026-03-06", "2026-03-11", &spans);
}

#[test]
fn s5_6_new_york_a_window_inside_the_repeated_hour_opens_twice() {
    let w = allow("America/New_York", &once_a_day("2026-11-01", "01:30", "02:00"));
    let spans = [("2026-11-01T05:30", "2026-11-01T06:00"), ("2026-11-01T06:30", "2026-11-01T07:00")];
    expect(&w, "2026-10-30", "2026-11-04", &spans);
}

#[test]
fn s16_a_deny_has_no_hole_in_a_repeated_hour() {
    let w = deny("America/New_York", &once_a_day("2026-11-01", "01:30", "02:00"));
    expect(&w, "2026-10-30", "2026-11-04", &[("2026-11-01T05:30", "2026-11-01T07:00")]);
    // Its end is read twice as well: it holds to the last time.
    let w = deny("America/New_York", &once_a_day("2026-11-01", "00:30", "01:00"));
    expect(&w, "2026-10-30", "2026-11-04", &[("2026-11-01T04:30", "2026-11-01T06:00")]);
    let w = deny("America/New_York", &once_a_day("2026-11-01", "00:30", "01:15"));
    expect(&w, "2026-10-30", "2026-11-04", &[("2026-11-01T04:30", "2026-11-01T06:15")]);
}

#[test]
fn s5_6_london_a_window_that_begins_before_and_ends_after_the_jump() {
    let spans = [("2026-03-29T00:30", "2026-03-29T01:30")];
    let hours = once_a_day("2026-03-29", "00:30", "02:30");
    expect(&allow("Europe/London", &hours), "2026-03-27", "2026-04-01", &spans);
    expect(&deny("Europe/London", &hours), "2026-03-27", "2026-04-01", &spans);
}

#[test]
fn s5_6_lord_howe_the_skipped_half_hour_never_opens() {
    let hours = once_a_day("2026-10-04", "02:00", "02:30");
    expect(&allow("Australia/Lord_Howe", &hours), "2026-10-01", "2026-10-08", &[]);
    expect(&deny("Australia/Lord_Howe", &hours), "2026-10-01", "2026-10-08", &[]);
}

#[test]
fn s5_6_santiago_the_whole_day_without_a_midnight_has_23_hours() {
    let spans = [("2026-09-06T04:00", "2026-09-07T03:00")];
    expect(&allow("America/Santiago", &whole_day("2026-09-06")), "2026-09-03", "2026-09-10", &spans);
    expect(&deny("America/Santiago", &whole_day("2026-09-06")), "2026-09-03", "2026-09-10", &spans);
}

#[test]
fn s5_3_whole_day_denies_cover_23_and_25_hours() {
    let w = deny("Europe/Berlin", &whole_day("2026-03-29"));
    expect(&w, "2026-03-26", "2026-04-02", &[("2026-03-28T23:00", "2026-03-29T22:00")]);
    let w = deny("Europe/Berlin", &whole_day("2026-10-25"));
    expect(&w, "2026-10-22", "2026-10-29", &[("2026-10-24T22:00", "2026-10-25T23:00")]);
    // Santiago sets the clock back at midnight: Saturday has 25 hours, Sunday 24.
    let w = deny("America/Santiago", &whole_day("2026-04-04"));
    expect(&w, "2026-04-01", "2026-04-08", &[("2026-04-04T03:00", "2026-04-05T04:00")]);
    let w = deny("America/Santiago", &whole_day("2026-04-05"));
    expect(&w, "2026-04-01", "2026-04-08", &[("2026-04-05T04:00", "2026-04-06T04:00")]);
}

#[test]
fn s5_6_apia_the_day_that_never_was_never_opens() {
    expect(&allow("Pacific/Apia", &whole_day("2011-12-30")), "2011-12-27", "2012-01-03", &[]);
    expect(&deny("Pacific/Apia", &whole_day("2011-12-30")), "2011-12-27", "2012-01-03", &[]);
    // Its neighbours are whole and touch.
    let days = "weekly = {}\nvalid = { from = \"2011-12-29\", until = \"2011-12-31\" }";
    let spans = [("2011-12-29T10:00", "2011-12-31T10:00")];
    expect(&allow("Pacific/Apia", days), "2011-12-27", "2012-01-03", &spans);
    expect(&deny("Pacific/Apia", days), "2011-12-27", "2012-01-03", &spans);
}

#[test]
fn s5_6_auckland_monday_morning_is_sunday_evening_utc() {
    let w = allow("Pacific/Auckland", r#"weekly = { days = ["mon"], start = "08:00", end = "10:00" }"#);
    expect(&w, "2026-01-01", "2026-01-08", &[("2026-01-04T19:00", "2026-01-04T21:00")]);
}

#[test]
fn s5_2_an_end_at_or_before_the_start_is_the_next_day_and_the_filter_is_about_the_start() {
    let w = allow("UTC", r#"weekly = { days = ["fri"], start = "22:00", end = "02:00" }"#);
    expect(&w, "2026-01-01", "2026-01-08", &[("2026-01-02T22:00", "2026-01-03T02:00")]);
    let spans = [("2026-01-02T22:00", "2026-01-03T00:00")];
    let w = allow("UTC", r#"weekly = { days = ["fri"], start = "22:00", end = "24:00" }"#);
    expect(&w, "2026-01-01", "2026-01-08", &spans);
    let w = allow("UTC", r#"weekly = { days = ["fri"], start = "22:00", end = "00:00" }"#);
    expect(&w, "2026-01-01", "2026-01-08", &spans);
}

#[test]
fn s5_2_windows_are_half_open_also_within_a_second() {
    let w = allow("UTC", r#"weekly = { start = "09:00", end = "10:00" }"#);
    let open = |text: &str| ask(&w, at(text)).is_open();
    assert!(!open("2026-01-01T08:59:59.999999999Z"));
    assert!(open("2026-01-01T09:00:00Z"));
    assert!(open("2026-01-01T09:59:59.999999999Z"));
    assert!(!open("2026-01-01T10:00:00Z"));
    assert!(!open("1969-12-31T08:59:59.5Z") && open("1969-12-31T09:00:00.5Z") && open("1969-12-31T09:59:59.5Z"));
    assert_eq!(ask(&w, at("2026-01-01T08:59:59.5Z")).next_change, Some(at("2026-01-01T09:00:00Z")));
}

#[test]
fn s16_weekly_without_days_is_every_day_and_touching_days_do_not_close_between() {
    let answer = ask(&allow("Europe/Berlin", "weekly = {}"), at("2026-05-05T05:05:05Z"));
    assert_eq!((answer.state, answer.next_change), (State::Open, None));
}

#[test]
fn s16_monthly_is_an_nth_or_last_weekday_or_a_day_number() {
    let days = |schedule: &str| {
        let spans = in_force(&allow("UTC", schedule), "2025-12-30T00:00:00Z", "2026-07-15T00:00:00Z");
        spans.into_iter().map(|(from, _)| from[2..10].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        days(r#"monthly = { nth = 2, weekday = "tue" }"#),
        ["26-01-13", "26-02-10", "26-03-10", "26-04-14", "26-05-12", "26-06-09", "26-07-14"]
    );
    assert_eq!(days(r#"monthly = { nth = 5, weekday = "fri" }"#), ["26-01-30", "26-05-29"]);
    assert_eq!(
        days(r#"monthly = { nth = "last", weekday = "fri" }"#),
        ["26-01-30", "26-02-27", "26-03-27", "26-04-24", "26-05-29", "26-06-26"]
    );
    assert_eq!(days("monthly = { day = 31 }"), ["25-12-31", "26-01-31", "26-03-31", "26-05-31"]);
}

#[test]
fn s16_yearly_bounds_are_both_included() {
    let w = deny("UTC", r#"yearly = { from = "12-20", until = "01-02" }"#);
    let spans = [("2025-12-20T00:00", "2026-01-03T00:00"), ("2026-12-20T00:00", "2027-01-03T00:00")];
    expect(&w, "2025-06-01", "2027-06-01", &spans);
    let w = deny("UTC", r#"yearly = { from = "02-29", until = "02-29" }"#);
    expect(&w, "2027-06-01", "2029-06-01", &[("2028-02-29T00:00", "2028-03-01T00:00")]);
}

#[test]
fn s16_yearly_with_times_is_one_span() {
    let turn = r#"yearly = { from = "12-20", until = "01-02", start = "18:00", end = "08:00" }"#;
    let spans = [("2025-12-20T18:00", "2026-01-02T08:00"), ("2026-12-20T18:00", "2027-01-02T08:00")];
    expect(&deny("UTC", turn), "2025-06-01", "2027-06-01", &spans);
    expect(&allow("UTC", turn), "2025-06-01", "2027-06-01", &spans);
    // An exception takes a span by the day it starts on, and none by a day within it.
    let w = deny("UTC", &format!("{turn}\nexcept = [\"2025-12-20\", \"2026-12-24\"]"));
    expect(&w, "2025-06-01", "2027-06-01", &spans[1..]);
    // On a single day an end before the start is the next day's (S5.2).
    let w = deny("UTC", r#"yearly = { from = "12-31", until = "12-31", start = "18:00", end = "08:00" }"#);
    expect(&w, "2026-06-01", "2027-06-01", &[("2026-12-31T18:00", "2027-01-01T08:00")]);
    // Without times every day is one for itself.
    let w = deny("UTC", "yearly = { from = \"12-23\", until = \"12-25\" }\nexcept = [\"2026-12-24\"]");
    let spans = [("2026-12-23T00:00", "2026-12-24T00:00"), ("2026-12-25T00:00", "2026-12-26T00:00")];
    expect(&w, "2026-06-01", "2027-06-01", &spans);
    // The 29th of February as a bound is the nearest day within in other years.
    let w = deny("UTC", r#"yearly = { from = "02-27", until = "02-29", start = "12:00", end = "13:00" }"#);
    expect(&w, "2026-01-01", "2026-06-01", &[("2026-02-27T12:00", "2026-02-28T13:00")]);
    let w = deny("UTC", r#"yearly = { from = "02-29", until = "03-02", start = "12:00", end = "13:00" }"#);
    expect(&w, "2026-01-01", "2026-06-01", &[("2026-03-01T12:00", "2026-03-02T13:00")]);
}

#[test]
fn s16_once_is_two_local_date_times() {
    let w = allow("Europe/Berlin", r#"once = { start = "2026-03-28T22:00", end = "2026-03-29 24:00" }"#);
    expect(&w, "2026-01-01", "2027-06-01", &[("2026-03-28T21:00", "2026-03-29T22:00")]);
    let w = deny("Europe/Berlin", "once = { start = 2026-03-28T22:00:00, end = 2026-03-29T12:00:00 }");
    expect(&w, "2026-01-01", "2027-06-01", &[("2026-03-28T21:00", "2026-03-29T10:00")]);
}

#[test]
fn s16_valid_and_except_select_start_days() {
    let schedule = r#"weekly = { start = "22:00", end = "02:00" }
        valid = { from = 2026-01-02, until = "2026-01-04" }
        except = ["2026-01-03"]"#;
    let spans = [("2026-01-02T22:00", "2026-01-03T02:00"), ("2026-01-04T22:00", "2026-01-05T02:00")];
    expect(&allow("UTC", schedule), "2025-06-01", "2026-06-01", &spans);
}

#[test]
fn s5_4_hard_deny_before_soft_deny_before_allow() {
    let hours = r#"weekly = { start = "09:00", end = "17:00" }"#;
    let hard = window("hard", &format!("effect = \"deny\"\ntimezone = \"UTC\"\n{hours}"));
    let soft = window("soft", &format!("effect = \"deny\"\ntimezone = \"UTC\"\nseverity = \"soft\"\n{hours}"));
    let open = allow("UTC", r#"weekly = { start = "20:00", end = "23:00" }"#);
    let noon = at("2026-01-01T12:00:00Z");
    assert_eq!(hard.severity(), Some(Severity::Hard), "S16: hard is the default");
    let answer = evaluate(&[level("organisation", &[&soft]), level("production", &[&open, &hard])], &PROMOTE, noon);
    assert_eq!(answer.state, State::ClosedByDeny { severity: Severity::Hard, windows: vec!["hard".into()] });
    assert_eq!(answer.denies.iter().map(|deny| deny.window.as_str()).collect::<Vec<_>>(), ["soft", "hard"]);
    assert_eq!(answer.closed.len(), 1, "who overrides the deny still stands outside the allow");
    // "Opens" is the next change of the whole answer: not when the denies end, but when the allow begins.
    assert_eq!(answer.next_change, Some(at("2026-01-01T20:00:00Z")));
    let answer = evaluate(&[level("organisation", &[&soft]), level("production", &[&open])], &PROMOTE, noon);
    assert_eq!(answer.state, State::ClosedByDeny { severity: Severity::Soft, windows: vec!["soft".into()] });
    let answer = evaluate(&[level("production", &[&open])], &PROMOTE, noon);
    assert_eq!(answer.state, State::OutsideAllow { level: "production".into(), windows: vec!["allow".into()] });
    assert_eq!(evaluate(&[level("production", &[])], &PROMOTE, noon).state, State::Open);
    assert_eq!(evaluate(&[], &PROMOTE, noon).next_change, None);
}

#[test]
fn s5_4_allows_intersect_across_levels_and_unite_within_one() {
    let hours = |start: &str, end: &str| allow("UTC", &format!("weekly = {{ start = \"{start}\", end = \"{end}\" }}"));
    let (morning, evening, day) = (hours("06:00", "10:00"), hours("16:00", "20:00"), hours("09:00", "17:00"));
    let levels = [level("organisation", &[&day]), level("production", &[&morning, &evening])];
    let open = |text: &str| evaluate(&levels, &PROMOTE, at(text)).is_open();
    assert!(!open("2026-01-01T08:00:00Z"), "the organisation is closed");
    assert!(open("2026-01-01T09:30:00Z") && open("2026-01-01T16:30:00Z"));
    assert!(!open("2026-01-01T12:00:00Z"), "production is closed");
    let answer = evaluate(&levels, &PROMOTE, at("2026-01-01T05:00:00Z"));
    assert_eq!(answer.next_change, Some(at("2026-01-01T09:00:00Z")), "06:00 opens one level of two");
    assert_eq!(answer.closed.len(), 2);
}

#[test]
fn s5_4_a_deny_covers_promote_and_resume_unless_it_names_more() {
    let plain = deny("UTC", "weekly = {}");
    let named = deny("UTC", "weekly = {}\nactions = [\"rollback\", \"promote\"]");
    let ask = |window: &Window, action| {
        evaluate(&[level("production", &[window])], &Query { action, ..PROMOTE }, at("2026-01-01T00:00:00Z")).is_open()
    };
    assert!(!ask(&plain, Action::Promote) && !ask(&plain, Action::Resume));
    assert!(ask(&plain, Action::Rollback) && ask(&plain, Action::Hotfix));
    assert!(!ask(&named, Action::Promote) && ask(&named, Action::Resume), "S16: `actions` replaces the default set");
    assert!(!ask(&named, Action::Rollback), "S16: a window that names rollback binds rollbacks too");
    assert!(ask(&named, Action::Hotfix));
}

#[test]
fn s16_an_allow_leaves_hotfix_and_rollback_free_unless_named() {
    let closed = r#"once = { start = "2020-01-01T00:00", end = "2020-01-02T00:00" }"#;
    let plain = allow("UTC", closed);
    let named = allow("UTC", &format!("{closed}\nactions = [\"hotfix\"]\ninvokers = [\"human\"]"));
    let ask = |windows: &[&Window], action, invoker| {
        let query = Query { action, invoker, ..PROMOTE };
        evaluate(&[level("production", windows)], &query, at("2026-01-01T00:00:00Z")).is_open()
    };
    for invoker in [Invoker::Human, Invoker::Automation] {
        assert!(ask(&[&plain], Action::Hotfix, invoker) && ask(&[&plain], Action::Rollback, invoker));
        assert!(!ask(&[&plain, &named], Action::Hotfix, invoker), "named by one window of the level");
        assert!(ask(&[&plain, &named], Action::Rollback, invoker));
        assert!(!ask(&[&named], Action::Promote, invoker), "no allow of the level covers a default action");
    }
}

#[test]
fn s16_an_allow_for_people_alone_does_not_leave_automation_free() {
    let people = allow("UTC", "weekly = {}\ninvokers = [\"human\"]");
    let levels = [level("production", &[&people])];
    let now = at("2026-01-01T00:00:00Z");
    assert!(evaluate(&levels, &PROMOTE, now).is_open());
    let automation = Query { invoker: Invoker::Automation, ..PROMOTE };
    let answer = evaluate(&levels, &automation, now);
    assert_eq!(answer.state, State::OutsideAllow { level: "production".into(), windows: vec![] });
    assert_eq!(answer.next_change, None);
    assert!(evaluate(&levels, &Query { action: Action::Rollback, ..automation }, now).is_open());
}

#[test]
fn s16_each_of_several_artifacts_must_be_allowed() {
    let api = allow("UTC", "weekly = { start = \"09:00\", end = \"12:00\" }\nartifacts = [\"api\"]");
    let web = allow("UTC", "weekly = { start = \"11:00\", end = \"14:00\" }\nartifacts = [\"web\"]");
    let levels = [level("production", &[&api, &web])];
    let open = |artifacts: &[&str], text: &str| {
        evaluate(&levels, &Query { artifacts, ..PROMOTE }, at(&format!("2026-01-01T{text}:00Z"))).is_open()
    };
    assert!(open(&["api"], "10:00") && !open(&["web"], "10:00") && !open(&["api", "web"], "10:00"));
    assert!(open(&["api", "web"], "11:30"));
    assert!(!open(&["api", "web"], "13:00"));
    assert!(open(&["chart"], "03:00"), "no allow is about it");
    assert!(open(&[], "03:00"), "nothing moves, and every window names artifacts");
    let answer = evaluate(&levels, &Query { artifacts: &["api", "web"], ..PROMOTE }, at("2026-01-01T10:00:00Z"));
    assert_eq!(answer.closed.len(), 1);
    assert_eq!(answer.closed[0].artifact.as_deref(), Some("web"));
    assert_eq!(answer.next_change, Some(at("2026-01-01T11:00:00Z")));
    // A deny about one of them is enough.
    let levels = [level("production", &[&deny("UTC", "weekly = {}\nartifacts = [\"web\"]")])];
    let now = at("2026-01-01T10:00:00Z");
    assert!(!evaluate(&levels, &Query { artifacts: &["api", "web"], ..PROMOTE }, now).is_open());
    assert!(evaluate(&levels, &PROMOTE, now).is_open());
}

#[test]
fn windows_are_about_the_environments_they_name() {
    let levels = [level("organisation", &[&deny("UTC", "weekly = {}\nenvironments = [\"staging\", \"production\"]")])];
    let now = at("2026-01-01T10:00:00Z");
    assert!(!evaluate(&levels, &PROMOTE, now).is_open());
    assert!(evaluate(&levels, &Query { environment: "dev", ..PROMOTE }, now).is_open());
}

fn kinds(window: &Window, now: &str, days: u32) -> Vec<WarningKind> {
    warnings(window, at(now), days).into_iter().map(|warning| warning.kind).collect()
}

#[test]
fn s16_an_allow_that_is_over_still_closes_its_level_and_check_says_so() {
    let over = allow("UTC", "weekly = {}\nvalid = { until = \"2025-12-31\" }");
    let now = "2026-01-01T00:00:00Z";
    let answer = ask(&over, at(now));
    assert_eq!(answer.state, State::OutsideAllow { level: "production".into(), windows: vec!["allow".into()] });
    assert_eq!(answer.next_change, None);
    assert_eq!(kinds(&over, now, WARNING_DAYS), [WarningKind::OverForGood]);
    assert_eq!(kinds(&over, "2025-12-31T23:59:59Z", WARNING_DAYS), [], "it is still open for a second");
    let once = allow("UTC", r#"once = { start = "2026-01-01T00:00", end = "2026-01-02T00:00" }"#);
    assert_eq!(kinds(&once, "2026-01-02T00:00:00Z", WARNING_DAYS), [WarningKind::OverForGood]);
    assert_eq!(kinds(&once, "2026-01-01T23:59:00Z", WARNING_DAYS), []);
    let never = allow("UTC", "weekly = { days = [\"mon\"] }\nvalid = { from = 2026-01-06, until = 2026-01-11 }");
    assert_eq!(kinds(&never, now, WARNING_DAYS), [WarningKind::OverForGood]);
    assert_eq!(kinds(&deny("UTC", "weekly = {}\nvalid = { until = \"2025-12-31\" }"), now, WARNING_DAYS), []);
    for still in [
        "weekly = {}\nvalid = { from = \"8000-01-01\" }",
        "weekly = { days = [\"mon\"] }\nexcept = [\"8000-01-03\"]",
        "once = { start = \"2999-01-01T00:00\", end = \"2999-01-02T00:00\" }",
        "monthly = { nth = 5, weekday = \"mon\" }\nvalid = { until = \"2026-12-31\" }",
    ] {
        assert_eq!(kinds(&allow("UTC", still), now, WARNING_DAYS), [], "{still}");
    }
    let leap = allow("UTC", "yearly = { from = \"02-29\", until = \"02-29\" }");
    assert_eq!(kinds(&leap, "2096-03-01T00:00:00Z", WARNING_DAYS), [], "2100 has no such day, 2104 has");
}

#[test]
fn s5_3_check_warns_of_windows_that_will_be_empty_or_doubled() {
    let now = "2026-01-01T00:00:00Z";
    let w = allow("America/New_York", r#"weekly = { start = "02:15", end = "02:45" }"#);
    let found = warnings(&w, at(now), 400);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].kind, WarningKind::Empty { day: jiff::civil::date(2026, 3, 8) });
    assert!(found[0].message.contains("`allow` is empty on 2026-03-08"), "{found:?}");
    assert_eq!(kinds(&w, now, 30), [], "not within 30 days");

    let w = allow("America/New_York", r#"weekly = { start = "01:30", end = "02:00" }"#);
    let pieces = vec![
        (at("2026-11-01T05:30:00Z"), at("2026-11-01T06:00:00Z")),
        (at("2026-11-01T06:30:00Z"), at("2026-11-01T07:00:00Z")),
    ];
    let doubled = [WarningKind::Doubled { day: jiff::civil::date(2026, 11, 1), pieces }];
    assert_eq!(kinds(&w, now, 400), doubled);
    // The repeated hour as a whole is one piece, and still twice as long as written.
    let found = kinds(&deny("America/New_York", r#"weekly = { start = "01:00", end = "02:00" }"#), now, 400);
    assert!(matches!(found.as_slice(), [WarningKind::Doubled { .. }]), "{found:?}");
    // A night or a day that is an hour longer or shorter is nothing to warn of.
    for hours in ["weekly = {}", r#"weekly = { start = "22:00", end = "06:00" }"#] {
        assert_eq!(kinds(&allow("America/New_York", hours), now, 400), []);
    }
    let found = kinds(&deny("Pacific/Apia", "weekly = { days = [\"fri\"] }"), "2011-12-01T00:00:00Z", 400);
    assert_eq!(found, [WarningKind::Empty { day: jiff::civil::date(2011, 12, 30) }]);
}

#[test]
fn next_change_sees_a_yearly_freeze_and_stops_at_the_horizon() {
    let freeze = deny("UTC", "yearly = { from = \"12-20\", until = \"12-26\" }");
    assert_eq!(ask(&freeze, at("2026-12-27T00:00:00Z")).next_change, Some(at("2027-12-20T00:00:00Z")));
    let far = deny("UTC", r#"once = { start = "2036-01-01T00:00", end = "2036-01-02T00:00" }"#);
    let start = at("2036-01-01T00:00:00Z");
    let day = SignedDuration::from_hours(24);
    let horizon = i32::try_from(HORIZON_DAYS).unwrap();
    assert_eq!(ask(&far, start - day * horizon).next_change, None, "the horizon is excluded");
    assert_eq!(ask(&far, start - day * (horizon - 1)).next_change, Some(start));
}

#[test]
fn the_ends_of_time_are_instants_like_others() {
    let w = allow("America/New_York", r#"weekly = { start = "09:00", end = "10:00" }"#);
    assert!(ask(&w, Timestamp::MIN).next_change.is_some());
    assert_eq!(ask(&w, Timestamp::MAX).next_change, None);
    assert_eq!(warnings(&w, Timestamp::MIN, 10), []);
    let year = deny("Asia/Tokyo", r#"yearly = { from = "12-20", until = "12-31", start = "18:00", end = "08:00" }"#);
    assert!(!ask(&year, Timestamp::MAX).is_open());
    assert!(ask(&year, Timestamp::MIN).next_change.is_some());
}

#[test]
fn a_span_that_began_last_year_is_in_force() {
    let freeze = deny("UTC", r#"yearly = { from = "10-20", until = "03-31", start = "18:00", end = "08:00" }"#);
    let answer = ask(&freeze, at("2026-03-30T00:00:00Z"));
    assert!(!answer.is_open());
    assert_eq!(answer.next_change, Some(at("2026-03-31T08:00:00Z")));
}

#[test]
fn no_distance_hides_the_next_change() {
    let start = at("2026-05-01T00:00:00Z");
    let w = allow("UTC", r#"once = { start = "2026-05-01T00:00", end = "2026-05-01T00:01" }"#);
    for days in 1..i32::try_from(HORIZON_DAYS).unwrap() {
        let before = start - SignedDuration::from_hours(24) * days;
        assert_eq!(ask(&w, before).next_change, Some(start), "{days} days before");
    }
}
