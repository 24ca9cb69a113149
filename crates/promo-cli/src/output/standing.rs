//! What holds an environment, where it drifted, which requested plans wait and which runs have not ended, in words. What must
//! not live here: what is true of them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use promo_core::approval::Decision;
use promo_core::gate::Outcome;
use promo_core::ids::{IdentityName, RunId};

use crate::error::command_line;
use crate::escape::line;
use crate::output::labels::{Label, label};
use crate::output::plan_text::short_state;
use crate::output::{endings, time};
use crate::view::standing::{ApprovalView, Cause, HoldView, LeftView, OpenRunView, PendingRow, PendingView, WentBack};
use crate::view::{AskedView, AuthorityView, DriftView, GateView, ReleaseView, StatedView};

/// The reason that somebody gave, as it is quoted.
pub(crate) fn quoted(reason: Option<&String>) -> String {
    reason.map(|reason| format!(": “{}”", short(&line(reason)))).unwrap_or_default()
}

/// The longest reason that a screen repeats whole, in characters. JSON has each as it was given.
const LONGEST: usize = 400;

fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} … ({} characters)", &text[..end], text.chars().count()),
        None => text.to_owned(),
    }
}

/// Who applied something: the name that was claimed, and who signed for it where somebody did.
pub(crate) fn applied_by(claimed: &str, signed_by: &BTreeSet<IdentityName>) -> String {
    let signers: Vec<&str> = signed_by.iter().map(IdentityName::as_str).collect();
    let signed = if signers.is_empty() { String::new() } else { format!(" (signed by {})", signers.join(" and ")) };
    format!("{}{signed}", line(claimed))
}

/// The longest first part of a reason that a table has room for, in characters, and how much of it is its beginning where its middle
/// is left out: what failed stands there, and the cause often at its end.
const ROOM: usize = 180;
/// See [`ROOM`].
const BEGINNING: usize = 100;

/// The first part of why something failed, and whether there is more of it.
pub(crate) fn first(reason: &str) -> (String, bool) {
    let text = line(reason);
    let clause = text.split("; ").next().unwrap_or_default();
    let (rest, length) = (clause.len() < text.len(), clause.chars().count());
    if length <= ROOM {
        return (if rest { format!("{} …", clause.trim_end_matches([':', ',', '.'])) } else { text }, rest);
    }
    let clause = brief(clause);
    let length = clause.chars().count();
    let at = |count: usize| clause.char_indices().nth(count).map_or(clause.len(), |(at, _)| at);
    let cut = if length <= ROOM {
        clause.clone()
    } else {
        let (head, tail) = (&clause[..at(BEGINNING)], &clause[at(length - (ROOM - BEGINNING))..]);
        let head = head.rsplit_once(' ').map_or(head, |(whole, _)| whole).trim_end_matches([':', ',', '.']);
        format!("{head} … {}", tail.split_once(' ').map_or(tail, |(_, whole)| whole))
    };
    (if rest { format!("{} …", cut.trim_end_matches([':', ',', '.'])) } else { cut }, true)
}

/// A clause with its digests cut as everywhere else: whole ones leave no room for the cause.
fn brief(clause: &str) -> String {
    let mut parts = clause.split("sha256:");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let hex = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        out.push_str("sha256:");
        match hex {
            64 => out.extend([&part[..12], "…", &part[64..]]),
            _ => out.push_str(part),
        }
    }
    out
}

/// Why something failed, as far as a table has room, with the command that shows the rest.
pub(crate) fn reason(reason: &str, run: &RunId) -> String {
    let (first, more) = first(reason);
    let rest = if more { format!(" (`{}`)", command_line(["promo", "show", run.as_str()])) } else { String::new() };
    format!("{first}{rest}")
}

/// What holds an environment, whole, in a line with its sign.
pub(crate) fn hold(hold: &HoldView, now: Timestamp, zone: &TimeZone) -> String {
    labelled(hold, &format!("{} ({})", holds(hold, now, zone), ends(hold)))
}

/// That the configuration of what runs somewhere is another in the working tree, and whether it was tried and failed (S3.3).
pub(crate) fn other_configuration(failed: bool) -> String {
    let other = "its configuration here is another than the one that was deployed";
    if failed {
        format!("{other}, and failed before: mend or put back what it changes, or plan it by name")
    } else {
        other.to_owned()
    }
}

/// The same in a table of several things: of a promotion that did not end well only what it was, and who says the rest.
pub(crate) fn hold_in_short(hold: &HoldView, name: &str, now: Timestamp, zone: &TimeZone) -> String {
    if hold.run.is_none() {
        return self::hold(hold, now, zone);
    }
    let since = time::near(hold.since, now, zone);
    labelled(hold, &format!("✗ held since {since}: {} (`{}`)", what(hold), command_line(["promo", "why", name])))
}

/// That an environment is held and by what, where somebody asks for what would lift a freeze: it lifts no hold.
pub(crate) fn held(hold: &HoldView, now: Timestamp, zone: &TimeZone) -> String {
    let text = holds(hold, now, zone);
    format!("it is {}, and {}", text.trim_start_matches("✗ "), ends(hold))
}

fn labelled(hold: &HoldView, text: &str) -> String {
    label(if hold.run.is_some() { Label::Bad } else { Label::Waiting }, text)
}

/// What a promotion that did not end well was, in a few words.
fn what(hold: &HoldView) -> String {
    let release = hold.release.as_ref().map(|release| line(&release.text())).unwrap_or_default();
    let release = match &hold.configuration {
        Some(files) => format!("{} of {release}", endings::another(files)),
        None => release,
    };
    if hold.kind == "cancelled" {
        let way = match (hold.backward, &hold.went_back) {
            (true, _) => "its way back to",
            (false, Some(_)) => "its way back from",
            (false, None) => "its way to",
        };
        return format!("was cancelled on {way} {release}");
    }
    let way = if hold.backward { "going back to" } else { "with" };
    let back = if hold.went_back.is_some() { ", as did going back" } else { "" };
    format!("failed {way} {release}{back}")
}

fn holds(hold: &HoldView, now: Timestamp, zone: &TimeZone) -> String {
    let (since, by) = (time::near(hold.since, now, zone), applied_by(&hold.by, &hold.signed_by));
    let run = hold.run.as_ref().map(ToString::to_string).unwrap_or_default();
    let everywhere = if hold.everywhere { " everywhere" } else { "" };
    let reason = quoted(hold.reason.as_ref());
    match hold.kind {
        "frozen" => format!("… frozen{everywhere} by {by} since {since}{reason}"),
        "paused" => format!("… automatic promotion is paused{everywhere} since {since}, after a rollback{reason}"),
        _ => {
            let cause = match hold.cause {
                Some(Cause::Deployment) => ", which could not be deployed",
                Some(Cause::Unjudged) => ", which its checks have not judged",
                Some(Cause::Over) => ", which passed its checks since",
                Some(Cause::Check) if hold.went_back.is_some() => ", which was deployed and failed a check",
                Some(Cause::Check) | None => "",
            };
            let what = what(hold);
            let (what, back) = match what.strip_suffix(", as did going back") {
                Some(what) => (what, "; going back failed too"),
                None => (what.as_str(), ""),
            };
            format!("✗ held since {since}: run {run} by {by} {what}{cause}{back}{}", there(hold))
        }
    }
}

/// What ends it: what only plans, or adds something to be planned, ends nothing by itself.
fn ends(hold: &HoldView) -> String {
    // The whole command, with the file that it writes and the key that signs it, is the next one of `promo why`.
    let ends = hold.ends.split(" --out").next().and_then(|ends| ends.split(" --key").next()).unwrap_or_default();
    let back = hold.back.iter().filter_map(|back| back.split(" --out").next());
    let back: String = back.map(|back| format!(", or what `{back}` does")).collect();
    match ends.split(' ').nth(1) {
        Some("plan" | "rollback") => format!("ended by applying what `{ends}` plans{back}"),
        Some("release") => format!("ended by applying a newer release: `{ends}`"),
        _ => format!("ended by `{ends}`"),
    }
}

/// A place that was changed by someone else, in a line without its sign.
pub(crate) fn drift(drift: &DriftView) -> String {
    let (target, recorded) = (&drift.target, short_state(&drift.recorded));
    if let Some(look) = &drift.look {
        let what = match &drift.why {
            Some(why) => format!("and what is there could not be seen: {}", line(why)),
            None => "and what is there could not be seen, or is between two states".to_owned(),
        };
        return format!("not known on {target}: the ledger says {recorded}, {what} (`{look}` says more)");
    }
    let what = if drift.missing {
        format!("missing on {target}: the ledger says {recorded}, and it was removed")
    } else {
        format!("drift on {target}: the ledger says {recorded}, and {} is there", short_state(&drift.live))
    };
    // The whole command, with the file that it writes, is among the next ones.
    let repair = drift.repair.as_ref().and_then(|repair| repair.split(" --out").next());
    what + &repair.map(|repair| format!(" (put back by `{repair}`)")).unwrap_or_default()
}

/// What a run that did not end well left on each target.
pub(crate) fn left(hold: &HoldView) -> String {
    let one = hold.left.len() == 1;
    let word = |left: &LeftView| match (&left.release, left.what, line(&left.target)) {
        (Some(release), _, _) if one => format!("{} is there now", line(&release.text())),
        (Some(release), _, target) => {
            let back = hold.went_back.is_some() && hold.release.as_ref() != Some(release);
            format!("{target} {} {}", if back { "is back on" } else { "runs" }, line(&release.text()))
        }
        (None, "nothing", _) if one => "nothing is there now".to_owned(),
        (None, "nothing", target) => format!("nothing runs on {target}"),
        _ if one => "what is there now is not known".to_owned(),
        (None, _, target) => format!("what runs on {target} is not known"),
    };
    hold.left.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// What is there where a run began to go back and did not get there, or left something else than was deployed last.
fn there(hold: &HoldView) -> String {
    if !hold.left.is_empty() {
        return format!(", and {}", left(hold));
    }
    if let (true, Some(WentBack { there: Some(there) })) = (hold.unasked, &hold.went_back) {
        return format!(", and {} is there now, whose checks were not asked since", line(&there.text()));
    }
    match hold.went_back.as_ref().map(|back| back.there.as_ref()) {
        None => String::new(),
        Some(Some(there)) => format!(", and {} is there now", line(&there.text())),
        Some(None) => ", and what is there now is not known".to_owned(),
    }
}

/// A run without an end, in a line with its sign.
pub(crate) fn run(run: &OpenRunView, now: Timestamp) -> String {
    let ago = run.last.map(|last| time::ago(last, now));
    let place = run.place.as_deref().map(line);
    let names: Vec<&str> = run.environments.keys().map(promo_core::ids::EnvironmentName::as_str).collect();
    let (names, applier) = (names.join(", "), applied_by(&run.applier, &run.signed_by));
    let what = format!("run {} by {applier}", run.run);
    let done = run.waves.iter().map(|(name, done)| format!("; {name} has wave {done} behind it"));
    let further = run.stale.iter().map(|why| format!("; {}", line(why)));
    let drills = run.drills.iter().map(|(name, back)| {
        format!("; a drill: {name} goes back to {}, and then what ran comes again", line(&back.text()))
    });
    let backs = run.backs.iter().map(|(name, to)| format!("; the way back of {name} to {}", line(&to.text())));
    let done = drills.chain(backs).chain(done).chain(further).collect::<String>();
    let (stands, kind) = endings::open(Some(run.stands()));
    match run.state {
        "alive" => {
            let renewed = ago.map(|ago| format!(" (renewed {ago} ago)")).unwrap_or_default();
            let place = place.unwrap_or_default();
            label(Label::Waiting, &format!("… {what} moves {names}, alive {place}{renewed}{done}"))
        }
        "gone" => {
            let ago = ago.unwrap_or_default();
            let place = place.unwrap_or_default();
            label(kind, &format!("✗ {what} {stands}: it was {place}, which is gone (last sign {ago} ago){done}"))
        }
        "silent" => {
            let ago = ago.unwrap_or_default();
            label(kind, &format!("✗ {what} {stands}: nobody holds its lock any more (last record {ago} ago){done}"))
        }
        _ => {
            let ago = ago.unwrap_or_default();
            label(kind, &format!("… {what} {stands} (last record {ago} ago){done}"))
        }
    }
}

/// What one move of a requested plan would do, as far as somebody who sees what runs there has to know.
pub(crate) fn drill(row: &PendingRow) -> Option<String> {
    let back = row.drill.as_ref()?;
    Some(format!("a drill of the way back from {} to {} is", release(Some(&row.to)), release(Some(back))))
}

/// What a requested plan is and who asked, in a line without its sign.
pub(crate) fn requested(pending: &PendingView, now: Timestamp, zone: &TimeZone) -> String {
    let by: Vec<String> = pending.by.iter().map(|name| line(name)).collect();
    let signed = if pending.signed { "" } else { ", unsigned" };
    let file = pending.file.as_ref().map(|file| format!(" ({})", line(file))).unwrap_or_default();
    // What was rejected, or is stale, is open no more, whatever time its request has left.
    let open =
        if pending.over { String::new() } else { format!(", open until {}", time::near(pending.until, now, zone)) };
    format!(
        "requested by {} {}{signed}, plan sha256:{}…{file}{open}",
        by.join(" and "),
        time::near(pending.requested, now, zone),
        pending.plan.short()
    )
}

/// How one move of a requested plan stands: a line each, with its sign.
pub(crate) fn pending(pending: &PendingView, row: &PendingRow, now: Timestamp, zone: &TimeZone) -> Vec<String> {
    let mut out = Vec::new();
    for rejected in &row.rejected {
        let text = format!("✗ rejected by {}{}", line(&rejected.by), quoted(rejected.reason.as_ref()));
        out.push(label(Label::Bad, &text));
    }
    // Where somebody said no, too few are left, or it is stale, the plan waits for nobody any more.
    out.extend(row.approvals.iter().map(|rule| approvals(rule, pending.over)));
    if !row.lost.is_empty() {
        let who = row.lost.join(" and ");
        let text = format!("✗ {who} took their approval back, for good: too few are left who could approve this plan");
        out.push(label(Label::Bad, &text));
    }
    out.extend(row.problems.iter().map(|problem| format!("{} {}", label(Label::Bad, "!"), line(problem))));
    for gate in &row.closed {
        let sign = match gate.outcome {
            Outcome::Expired | Outcome::Refused => label(Label::Bad, "✗"),
            _ => label(Label::Waiting, "…"),
        };
        out.push(format!("{sign} {}", closed(gate, now, zone)));
    }
    if let Some(why) = &pending.stale {
        out.push(label(Label::Bad, &format!("✗ stale: {}", line(why))));
        if pending.moot {
            let until = time::near(pending.until, now, zone);
            let text = format!("nothing is left to do of it; the request ends by itself {until}");
            out.push(label(Label::Dim, &text));
        }
    } else if row.rejected.is_empty() && row.outcome.is_open() {
        out.push(label(
            Label::Good,
            "✓ nothing that is recorded keeps it from being applied; `promo apply` looks at artifacts and places",
        ));
    }
    out
}

/// `1 of 2 approvals (qa); 1 more from release-manager, not dana (initiator)`.
fn approvals(rule: &ApprovalView, over: bool) -> String {
    let by: Vec<String> = rule.by.iter().map(|name| line(name)).collect();
    let counted = if by.is_empty() { String::new() } else { format!(" ({})", by.join(", ")) };
    let plural = if rule.needed == 1 { "" } else { "s" };
    let head = format!("{} of {} approval{plural}{counted}", by.len(), rule.needed);
    let missing = (rule.needed as usize).saturating_sub(by.len());
    if missing == 0 {
        return format!("{} {head}", label(Label::Good, "✓"));
    }
    if over {
        return format!("{} {head}", label(Label::Bad, "✗"));
    }
    let not: Vec<String> = rule.not.iter().map(|(who, part)| format!("{} ({part})", line(who))).collect();
    let not = if not.is_empty() { String::new() } else { format!(", not {}", not.join(" or ")) };
    format!("{} {head}; {missing} more from {}{not}", label(Label::Waiting, "…"), rule.from.join(" or "))
}

/// A closed gate with its times and the reason behind it.
pub(crate) fn closed(gate: &GateView, now: Timestamp, zone: &TimeZone) -> String {
    let mut out = format!("{}{}", line(&gate.text), quoted(gate.remark.as_ref()));
    if let Some(since) = gate.since {
        out.push_str(&format!(", since {}", time::near(since, now, zone)));
    }
    if let Some(until) = gate.until {
        out.push_str(&format!(", until {}", time::near(until, now, zone)));
    }
    out
}

/// Who asked for a plan, in words.
pub(crate) fn asked(asked: &AskedView) -> String {
    match &asked.key {
        Some(key) => format!("by {}, key {key}", line(&asked.by)),
        None => format!("by {}, unsigned", line(&asked.by)),
    }
}

/// What was said about a plan, as a word with its kind.
pub(crate) const fn decided(decision: Decision) -> (&'static str, Label) {
    match decision {
        Decision::Approve => ("approved", Label::Good),
        Decision::Reject => ("rejected", Label::Bad),
        Decision::Revoke => ("approval revoked", Label::Waiting),
        Decision::Breakglass => ("glass broken", Label::Bad),
    }
}

/// Who said it, in words.
pub(crate) fn stated(stated: &StatedView) -> String {
    let who = match &stated.by {
        Some(name) => format!("by {name} as {}, key {}", stated.role, stated.key),
        None => format!("as {} by the key {}, which policy knows no longer", stated.role, stated.key),
    };
    format!("{who}{}", quoted(stated.reason.as_ref()))
}

/// Who asked for a plan and who said what about it, in the order of the ledger, a line each.
pub(crate) fn authority(told: &AuthorityView, zone: &TimeZone) -> Vec<String> {
    let requests = told.requests.iter().map(|one| (one.at, format!("requested {}", asked(one))));
    let statements = told.statements.iter().map(|one| {
        let (word, kind) = decided(one.decision);
        let used = if one.used { ", and the run began with it" } else { "" };
        (one.at, format!("{} {}{used}", label(kind, word), stated(one)))
    });
    let mut all: Vec<(Timestamp, String)> = requests.chain(statements).collect();
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(at, text)| format!("{} {text}", time::long(at, zone))).collect()
}

/// A release, or nothing.
pub(crate) fn release(release: Option<&ReleaseView>) -> String {
    release.map_or_else(|| "nothing".to_owned(), |release| line(&release.text()))
}

#[cfg(test)]
mod tests {
    use super::{ROOM, first};

    /// What a cluster says of a quota, and of an image that is not there: the names before it are longer than the cause.
    #[test]
    fn the_cause_is_in_the_line_that_is_shown() {
        let image = format!("registry.internal:5000/shop/api@sha256:{}", "0123456789abcdef".repeat(4));
        let quota = "exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2";
        let pod = "pod api-5c9c8b7f6d-x2k4p: web";
        let late = "not settled within 60 s: Deployment shop/api";
        let pulled =
            format!("{late}: {pod}: ImagePullBackOff: Back-off pulling image \"{image}\"; 0 of 1 pod is ready");
        let missing = format!(
            "{late}: {pod}: ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack image \"{image}\": failed to \
             resolve reference \"{image}\": {image}: not found"
        );
        for (reason, causes) in [
            (format!("{late}: FailedCreate: {quota}; 0 of 1 pod is of this version"), &[quota][..]),
            (format!("{late}: FailedCreate: pods \"api-5c9c8b7f6d-x2k4p\" is forbidden: {quota}"), &["used: pods=2"]),
            (pulled, &["ImagePullBackOff", "registry.internal:5000/shop/api@sha256:0123456789ab…"]),
            (missing, &["ErrImagePull", "registry.internal:5000/shop/api@sha256:0123456789ab…: not found"]),
        ] {
            let (shown, more) = first(&reason);
            assert!(causes.iter().all(|cause| shown.contains(cause)), "{shown}");
            assert!(shown.chars().count() <= ROOM + 4 && more == (shown != reason), "{shown}");
        }
        assert_eq!(first("short: so it is"), ("short: so it is".to_owned(), false));
        assert_eq!(first("short.; and more"), ("short …".to_owned(), true));
    }
}
