//! How far a release has come, in lines: the answer in one, and then each environment. What must not live here: what is judged
//! ([`crate::view::passage`]).

use jiff::Timestamp;
use jiff::tz::TimeZone;
use promo_core::gate::Outcome;

use crate::error::command_line;
use crate::escape::line;
use crate::output::labels::{Label, label};
use crate::output::{standing as words, time};
use crate::view::GateView;
use crate::view::passage::{CheckedView, EnteredView, PassageView, PassedView, QuarantineView, RecallView, Stands};

/// How many environments are named before the rest is only counted.
const NAMED: usize = 5;
/// How many stays in an environment are told before the rest is only counted.
const STAYS: usize = 3;

/// `a, b and 3 more`
fn named(all: &[&PassageView]) -> String {
    let mut names: Vec<String> = all.iter().take(NAMED).map(|one| one.environment.to_string()).collect();
    let more = all.len().saturating_sub(NAMED);
    let last = match more {
        0 if names.len() > 1 => names.pop(),
        0 => None,
        more => Some(format!("{more} more")),
    };
    match last {
        Some(last) => format!("{} and {last}", names.join(", ")),
        None => names.join(", "),
    }
}

/// Where it is and how far it has come, in one line.
pub(crate) fn answer(all: &[PassageView]) -> String {
    let of = |stands: Stands| -> Vec<&PassageView> { all.iter().filter(|one| one.stands == stands).collect() };
    let mut out = Vec::new();
    let runs = of(Stands::Runs);
    match runs.iter().filter(|one| !one.verified).copied().collect::<Vec<_>>() {
        _ if runs.is_empty() => out.push("runs nowhere".to_owned()),
        unverified if unverified.is_empty() => out.push(format!("runs in {}, verified", named(&runs))),
        unverified => out.push(format!("runs in {}, not verified in {}", named(&runs), named(&unverified))),
    }
    for (stands, what) in [
        (Stands::Moving, "on its way into"),
        (Stands::CanEnter, "can enter"),
        (Stands::Waits, "waits for"),
        (Stands::Barred, "may not enter"),
        (Stands::Was, "was in"),
        (Stands::Gone, "was in what the pipeline has no more,"),
    ] {
        let those = of(stands);
        if !those.is_empty() {
            out.push(format!("{what} {}", named(&those)));
        }
    }
    out.join("; ")
}

/// Every environment: how the release stands with it, what its checks said, what was judged when it was let in, and what bars it.
pub(crate) fn text(all: &[PassageView], now: Timestamp, zone: &TimeZone) -> String {
    let width = all.iter().map(|one| one.environment.as_str().len()).max().unwrap_or(0);
    let mut out = String::new();
    for one in all {
        out.push_str(&environment(one, width, now, zone));
    }
    out
}

fn environment(one: &PassageView, width: usize, now: Timestamp, zone: &TimeZone) -> String {
    let (sign, kind) = match one.stands {
        Stands::Runs if one.verified => ("✓", Label::Good),
        Stands::Runs if one.checks.iter().any(|check| check.stands == "failed") => ("✗", Label::Bad),
        Stands::Barred => ("✗", Label::Bad),
        Stands::Was | Stands::Gone => ("·", Label::Dim),
        _ => ("…", Label::Waiting),
    };
    let says = match one.stands {
        Stands::Runs => "runs there",
        Stands::Moving => "is on its way there",
        Stands::Was => "was there",
        Stands::Gone => "was there; the pipeline has it no more",
        Stands::CanEnter => "can enter",
        Stands::Waits => "waits",
        Stands::Barred => "may not enter",
    };
    let mut head = format!("{} {:<width$}  {says}", label(kind, sign), one.environment);
    let skipped = one.stays.len().saturating_sub(STAYS);
    let stays: Vec<String> = one
        .stays
        .iter()
        .skip(skipped)
        .map(|stay| {
            let until = stay.until.map_or_else(|| "now".to_owned(), |until| time::short(until, zone));
            format!("from {} to {until}", time::short(stay.from, zone))
        })
        .collect();
    if !stays.is_empty() {
        head.push_str(&format!(" {}", stays.join(", ")));
    }
    if skipped > 0 {
        head.push_str(&format!(", and {skipped} times before"));
    }
    let mut out = format!("  {head}\n");
    let checks: Vec<String> = one.checks.iter().map(|check| checked(check, now, zone)).collect();
    if !checks.is_empty() {
        out.push_str(&format!("      {}\n", checks.join("   ")));
    }
    if let Some(entered) = &one.entered {
        out.push_str(&let_in(entered, one.earlier, zone));
    }
    // What was there and is not any more is no concern of most who ask: how it could come back is asked of `why`.
    if matches!(one.stands, Stands::Was | Stands::Gone) {
        return out;
    }
    for gate in &one.bars {
        let (sign, kind) = match gate.outcome {
            Outcome::Expired | Outcome::Refused => ("✗", Label::Bad),
            _ => ("…", Label::Waiting),
        };
        out.push_str(&format!("      {} {}\n", label(kind, sign), barred(gate, now, zone)));
    }
    out
}

/// What bars it, who can do something about it, and what they type.
fn barred(gate: &GateView, now: Timestamp, zone: &TimeZone) -> String {
    let who = gate.who.map(|who| format!(" · up to: {}", who.as_str())).unwrap_or_default();
    let next = gate.next.as_ref().map(|next| format!(" (`{next}`)")).unwrap_or_default();
    format!("{}{}{who}{next}", words::closed(gate, now, zone), gate.judged(now))
}

fn checked(check: &CheckedView, now: Timestamp, zone: &TimeZone) -> String {
    let (sign, kind) = match (check.holds, check.stands) {
        (true, _) => ("✓", Label::Good),
        (false, "failed") => ("✗", Label::Bad),
        _ => ("…", Label::Waiting),
    };
    let at = check.at.map(|at| format!(" {}", time::near(at, now, zone))).unwrap_or_default();
    let by = check.by.as_ref().map(|by| format!(" by {}", line(by))).unwrap_or_default();
    format!("{} {} {}{by}{at}", label(kind, sign), check.check, check.stands)
}

/// `let in 2026-11-20 14:02 UTC by ci, run 0196…: verified · ✓ verified in dev   ✓ no-critical of api: 0 critical`
fn let_in(entered: &EnteredView, earlier: usize, zone: &TimeZone) -> String {
    let (at, by) = (time::short(entered.started, zone), line(&entered.by));
    let told = line(&entered.outcome);
    let (outcome, kind) = if entered.well { ("verified", Label::Good) } else { (told.as_str(), Label::Waiting) };
    let before = match earlier {
        0 => String::new(),
        1 => ", and once before".to_owned(),
        more => format!(", and {more} times before"),
    };
    let show = command_line(["promo", "show", entered.run.as_str()]);
    let mut out = format!("      let in {at} by {by}{before}: {} (`{show}`)\n", label(kind, outcome));
    let gates: Vec<String> =
        entered.gates.iter().filter(|one| !one.gate.routine).map(|one| passed(one, entered.started)).collect();
    if !gates.is_empty() {
        out.push_str(&format!("        judged then: {}\n", gates.join("   ")));
    }
    if let Some(why) = &entered.unknown {
        out.push_str(&format!("        what was judged then is not known: {}\n", line(why)));
    }
    out
}

/// A gate that it passed: as the plan has it, and of one that was not open yet that it was when the run began.
fn passed(one: &PassedView, then: Timestamp) -> String {
    let text = line(&one.gate.text);
    let how = if one.gate.outcome.is_open() { "" } else { ", and open when it began" };
    format!("{} {text}{}{how}", label(Label::Good, "✓"), one.gate.judged(then))
}

/// A quarantine: where it holds, by whom, since when and why, and what lifts it.
pub(crate) fn quarantine(one: &QuarantineView, zone: &TimeZone) -> String {
    let place =
        one.scope.as_ref().map_or_else(|| "everywhere".to_owned(), |scope| format!("for {scope} and downstream"));
    let after = if one.automatic { " after a rollback" } else { "" };
    let (by, at, why) = (line(&one.by), time::short(one.at, zone), words::quoted(one.reason.as_ref()));
    let text = format!("✗ quarantined {place}{after} by {by}, since {at}{why}");
    format!("  {} (lifted by `{}`)\n", label(Label::Bad, &text), one.lift)
}

/// A recall of something in it: by whom, since when and why, and what ends it.
pub(crate) fn recall(one: &RecallView, zone: &TimeZone) -> String {
    let (by, at, why) = (line(&one.by), time::short(one.at, zone), words::quoted(one.reason.as_ref()));
    let text = format!("✗ {} in it was recalled by {by}, {at}{why}", one.digest);
    format!("  {} (ended by `{}`)\n", label(Label::Bad, &text), one.lift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(environment: &str, stands: Stands, verified: bool) -> PassageView {
        PassageView {
            environment: environment.parse().unwrap(),
            tier: None,
            stands,
            verified,
            stays: Vec::new(),
            checks: Vec::new(),
            entered: None,
            earlier: 0,
            bars: Vec::new(),
            opens_at: None,
        }
    }

    #[test]
    fn the_answer_is_one_line_for_two_environments_and_for_twenty() {
        let two = [passage("dev", Stands::Runs, true), passage("production", Stands::Waits, false)];
        assert_eq!(answer(&two), "runs in dev, verified; waits for production");
        let twenty: Vec<PassageView> = (0..20)
            .map(|n| passage(&format!("e{n}"), if n < 12 { Stands::Runs } else { Stands::Barred }, n > 0))
            .collect();
        let text = answer(&twenty);
        let expected = "runs in e0, e1, e2, e3, e4 and 7 more, not verified in e0; may not enter e12, e13, e14, e15, e16 and 3 more";
        assert_eq!(text, expected);
        assert_eq!(answer(&[passage("dev", Stands::Was, true)]), "runs nowhere; was in dev");
    }
}
