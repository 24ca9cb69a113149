//! What the engine says, as an error of the command line: whose turn it is and the next command. Part of the one place
//! where errors are worded; kept apart from `error` because it knows the engine.

use std::borrow::Cow;
use std::path::Path;

use promo_core::Digest;
use promo_core::approval::{Decision, Envelope};
use promo_core::counted::counted;
use promo_core::gate::{self, Gate, GateKind, Instant, Reason};
use promo_core::ids::{EnvironmentName, RoleName, RunId};
use promo_core::ledger::{ActorKind, View};
use promo_core::plan::{Document, PlanFileError};
use promo_core::planner::Moved;
use promo_core::windows::Invoker;
use promo_engine::{EngineError, Holder, Session, Sign, exit};
use promo_ledger::{LeaseError, StoreError};
use promo_sdk::ErrorKind;
use serde_json::Value;

use crate::commands::adopt;
use crate::commands::approve::unsigned;
use crate::commands::plan::again;
use crate::error::{CliError, HELP, command_line, who};
use crate::escape::line;
use crate::view::approving::{self, Way};
use crate::view::gate::lacking;
use crate::view::standing::leads_on;
use crate::view::ways::own_file;

impl From<EngineError> for CliError {
    fn from(error: EngineError) -> Self {
        let (code, exit) = (error.code(), error.exit_code());
        let message = error.to_string();
        let new = |next: &str| Self::new(code, exit, message.clone(), next);
        let mut out = match &error {
            EngineError::Ledger(StoreError::Lost { path, found, origin, mark }) => {
                let expected =
                    origin.as_ref().map_or_else(|| "a ledger".into(), |origin| format!("the ledger {origin}"));
                let way = format!(
                    "move aside what is left, {path} with its `-wal`, `-shm` and `-journal`, and put a copy of the ledger back; only \
                     whoever means to begin with an empty ledger removes {mark} too"
                );
                let next = command_line(["promo", "explain", code]);
                new(&next).who(who::OPERATOR).differs(expected, *found).details([way])
            }
            // What is damaged is looked for; what is no ledger, or is busy, has nothing that could be verified.
            EngineError::Ledger(StoreError::Integrity { .. })
            | EngineError::Illegal(_)
            | EngineError::NotAnExtension { .. } => new("promo ledger verify").who(who::OPERATOR),
            EngineError::Ledger(_) => new(&command_line(["promo", "explain", code])).who(who::OPERATOR),
            EngineError::OtherLedger { expected, found } => {
                let text = |c: &promo_ledger::Checkpoint| {
                    format!("{}, {} with root {}", c.origin, counted(c.size, "record"), c.root)
                };
                let found = found.as_ref().map_or_else(|| "no ledger".into(), |found| text(found));
                let next = command_line(["promo", "explain", code]);
                new(&next).who(who::OPERATOR).differs(text(expected), found)
            }
            EngineError::Lease(lease) => match &**lease {
                LeaseError::Held { holder, expires, .. } => held(&Holder::of(holder, *expires), &new),
                _ => new("promo runs"),
            },
            EngineError::Moving(_) => new("promo runs --unfinished").who("whoever is at work there, or time"),
            EngineError::Append(_) => new("promo runs"),
            EngineError::Provider { source, .. } => {
                // What is damaged stops every plan that reads it: the page says what to do about it, and on which side.
                let page = command_line(["promo", "explain", code]);
                let next = match source.kind {
                    // Every verb of promo's would lead here again.
                    _ if source.shown_by.is_some() => source.shown_by().unwrap_or_default(),
                    ErrorKind::Moved | ErrorKind::Reference | ErrorKind::MovingTag => "promo release add --help",
                    // It looks at what is there; `status` tells what the ledger says.
                    ErrorKind::Conflict => "promo plan",
                    ErrorKind::Integrity => &page,
                    // A file of this machine, which says what it should be.
                    ErrorKind::Invalid if source.expected.is_some() && source.found.is_none() => "promo doctor",
                    // A person must change a file: settings, or a template. `check` knows which, `doctor` looks at the machine.
                    ErrorKind::Invalid => "promo check",
                    _ => "promo doctor",
                };
                let mut out = new(next).details([source.to_string()]);
                match &source.expected {
                    Some(expected) if source.found.is_none() => out = out.expected(expected.clone()),
                    _ if source.kind == ErrorKind::Invalid => out = out.details([BROUGHT.to_owned()]),
                    _ => {}
                }
                if let (Some(expected), Some(found)) = (&source.expected, &source.found) {
                    out = out.differs(expected.clone(), found.clone());
                }
                return out;
            }
            EngineError::NoProvider(_) => new("promo check").who(who::PIPELINE),
            EngineError::File { .. } => new("promo check").who(who::PIPELINE),
            EngineError::PlanFile(PlanFileError::Newer(newer)) | EngineError::Newer(newer) => {
                return CliError::newer(newer);
            }
            EngineError::PlanFile(_) => new("promo plan --out plan.json").expected("the very bytes that promo wrote"),
            EngineError::OtherDigest { expected, found } => {
                new("promo show plan.json").differs(expected.to_string(), found.to_string())
            }
            EngineError::Elsewhere { planned, current, .. } => {
                new("promo plan --out plan.json").differs(current.clone(), planned.clone())
            }
            EngineError::Edited { findings, original } => {
                let next = original.as_ref().map_or_else(
                    || "promo plan --out plan.json".into(),
                    |original| command_line(["promo", "show", &original.to_string()]),
                );
                new(&next).who("whoever had the file").details(findings.iter().cloned())
            }
            EngineError::Stale { moved, by } => {
                new("promo plan --out plan.json").details(moved_lines(moved).chain(by.clone()))
            }
            EngineError::PolicyNotAdopted { expected, found } => {
                let text = |p: &promo_core::plan::PolicyRef| format!("{} v{} {}", p.name, p.version, p.digest);
                let found = found.as_ref().map_or_else(|| "no policy".into(), |p| text(p));
                new("promo status --policy FILE").who(who::PLATFORM).differs(text(expected), found)
            }
            EngineError::PolicyReplaced { expected, found } | EngineError::PolicyReused { expected, found } => {
                let text = |p: &promo_core::plan::PolicyRef| format!("v{} {}", p.version, p.digest);
                let next = command_line(["promo", "explain", code]);
                new(&next).who(who::PLATFORM).differs(text(expected), text(found))
            }
            EngineError::Spent { run: Some(run), .. } => new(&command_line(["promo", "show", run.as_str()])),
            EngineError::Spent { .. } => new("promo plan --out plan.json"),
            EngineError::Undated { .. } => new(&command_line(["promo", "explain", code])).who(who::OPERATOR),
            EngineError::Denied { environment, release, gates, notes }
            | EngineError::Waiting { environment, release, gates, notes } => {
                let shut = gate::closed(gates);
                let next = lacking(shut.iter().map(|gate| gate.reason.code()));
                let next = next.unwrap_or_else(|| why(environment.as_str(), release.as_str()));
                closed(new(&next), &shut, notes).details(notes.iter().cloned())
            }
            EngineError::Invalid(_) => new("promo status"),
            EngineError::Signing(error) => return unsigned(error),
            EngineError::Approval(_) => new(HELP),
            EngineError::Uncounted { why, .. } => {
                new(HELP).who("somebody whom the rules count, with their key").details(why.iter().cloned())
            }
            EngineError::RequestUnsigned { .. } => {
                new("promo request FILE --key KEY").who("whoever asks for the promotion, with their key")
            }
            EngineError::ApplyUnsigned { run, .. } => {
                let next = match run {
                    Some(run) => command_line(["promo", "resume", run.as_str(), "--key", "KEY"]),
                    None => "promo apply FILE --key KEY".into(),
                };
                new(&next).who("somebody who is none of its approvers, with their key")
            }
            EngineError::Evidence(_) => new("promo evidence add --help").who("whoever runs the tool that wrote it"),
            EngineError::Described { .. } => new("promo release add --help").who("whoever answers for the release"),
            EngineError::Moved(_) => new("promo release add --help")
                .who("whoever pushed to the tag")
                .details(["what the build reported enters by its digest".to_owned()]),
            EngineError::Lift(_) => {
                new(&command_line(["promo", "explain", code])).who("a person who may approve there, with their key")
            }
            EngineError::Began { run, recorded: true, .. } | EngineError::Unexpected { run, .. } => {
                new(&command_line(["promo", "resume", run.as_str()]))
            }
            EngineError::Began { .. } => new("promo runs"),
            EngineError::Stopped => new("promo runs"),
        };
        if let Some(source) = std::error::Error::source(&error) {
            out = out.because(source);
        }
        out
    }
}

/// The same about an environment that cannot be planned for.
pub(crate) fn of_place(error: EngineError, session: &Session, view: &View) -> CliError {
    let EngineError::Provider { environment: Some(name), source, .. } = &error else { return error.into() };
    if source.kind != ErrorKind::Conflict || source.shown_by.is_some() {
        return error.into();
    }
    let (name, edited) = (name.clone(), source.found.is_some());
    // Somebody else's is there, where promo has deployed nothing: before its first deployment, or in another place than before.
    let declared = session.governance().pipeline.environments.get(&*name).and_then(|one| one.deploy.as_ref());
    let new = || view.current(&name).is_none() || session.declared_elsewhere(view, &name).unwrap_or(false);
    let declared = declared.filter(|_| new());
    match declared.and_then(adopt::to_declare) {
        Some(declare) => {
            // As long as the file does not say so, that plan is refused too: what comes first is no command.
            let again = command_line(["promo", "adopt", name.as_str(), "--out", &own_file(&name)]);
            let declare = format!("to take over what is there: {declare}; once it says so, `{again}` plans it");
            CliError::from(error).details([declare]).go_on_with(&["promo", "explain", "provider-conflict"])
        }
        // A file that was edited meanwhile is planned with as it is now.
        None if edited => error.into(),
        // Another plan meets it again.
        None => CliError::from(error).go_on_with(&["promo", "explain", "provider-conflict"]),
    }
}

/// The same of a verb that only plans: what a provider refuses was never planned, so that nothing is stale.
pub(crate) fn of_planning(error: EngineError, session: &Session, view: &View) -> CliError {
    let error = of_place(error, session, view);
    if error.problem().code == "provider-conflict" { error.ending_with(exit::FAILURE) } else { error }
}

/// Why a place could not be looked at.
pub(crate) fn reason(error: &EngineError) -> String {
    match error {
        EngineError::Provider { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

/// That an environment could not be looked at, and why.
pub(crate) fn unseen(name: &EnvironmentName, error: &EngineError) -> String {
    format!("{name} could not be looked at: {}", line(&reason(error)))
}

/// What `check` cannot see of a file that the newest release brought with it.
const BROUGHT: &str = "where `promo check` finds nothing, the release brought the file as it was: `promo release add` makes one with what there is now";

/// The same about a plan that lies in a file: the next command names it, and plans again what that one was asked for.
pub(crate) fn of_plan(error: EngineError, document: &Document, file: &Path) -> CliError {
    let file = file.to_string_lossy();
    let again = again(&document.body.request, &file);
    let again: Vec<&str> = again.iter().map(String::as_str).collect();
    let original = match &error {
        EngineError::Edited { original: Some(original), .. } => original.to_string(),
        _ => String::new(),
    };
    let next: Vec<&str> = match &error {
        EngineError::Edited { original: Some(_), .. } => vec!["promo", "show", &original, "--out", &file],
        EngineError::RequestUnsigned { .. } => vec!["promo", "request", &file, "--key", "KEY"],
        EngineError::ApplyUnsigned { run: None, .. } => vec!["promo", "apply", &file, "--key", "KEY"],
        EngineError::Uncounted { decision: Decision::Revoke, .. } => vec!["promo", "show", &file],
        EngineError::Uncounted { over: false, .. } => vec!["promo", "approve", &file, "--key", "KEY"],
        EngineError::Uncounted { .. } | EngineError::Stale { .. } | EngineError::Elsewhere { .. } => again,
        EngineError::Spent { run: None, .. } | EngineError::Edited { .. } => again,
        // Somebody edited what was being read, or changed the place: what there is now gives another plan.
        EngineError::Provider { source, .. } if source.kind == ErrorKind::Conflict && source.shown_by.is_none() => {
            again
        }
        _ => return error.into(),
    };
    CliError::from(error).go_on_with(&next)
}

/// The same where its ledger is at hand, with the statements that lie beside it: what is left to do of it, and what its approvals
/// wait for.
pub(crate) fn of_plan_here(
    error: EngineError,
    session: &Session,
    (document, digest): (&Document, &Digest),
    beside: &[Envelope],
    file: &Path,
) -> CliError {
    match &error {
        // Planned again it would move nothing.
        EngineError::Stale { .. } if session.moot(document).unwrap_or(false) => {
            CliError::from(error).go_on_with(&["promo", "status"])
        }
        EngineError::Uncounted { .. } | EngineError::Waiting { .. } | EngineError::Denied { .. }
            if asks_people(&error) =>
        {
            let way = || -> Result<Option<Way>, CliError> {
                let view = session.view()?;
                let standings = session.standings(document, digest, &view, beside, None, session.now()?)?;
                approving::lead_on(session, &view, (document, digest), &standings, (&file.to_string_lossy(), &[]))
            };
            match way() {
                Ok(Some(way)) => CliError::from(error).who(way.who).with_next(way.next),
                _ => of_plan(error, document, file),
            }
        }
        // What nobody is at work on any more is gone on with, and not only looked at.
        EngineError::Spent { run: Some(run), .. } => match stopped(session, run) {
            Some(next) => CliError::from(error).with_next(next),
            None => error.into(),
        },
        // What a person asked for is applied by one: nothing else keeps it back, and `why` would lead here again.
        EngineError::Waiting { gates, .. } if only_a_person(session, document, gates) => {
            let file = file.to_string_lossy();
            CliError::from(error).go_on_with(&["promo", "apply", &file, "--actor-kind", "human"])
        }
        _ => of_plan(error, document, file),
    }
}

/// The command that leads on from a run without an end that nobody is at work on.
fn stopped(session: &Session, run: &RunId) -> Option<String> {
    let view = session.view().ok()?;
    let open = session.unfinished(&view).ok()?.into_iter().find(|open| open.id == *run)?;
    let alive = matches!(open.sign, Sign::Alive { .. });
    (!alive).then(|| leads_on(session, &view, run, open.run.environments.keys()))
}

/// Whether automation applies what a person asked for to end a hold, and only that keeps it from it.
fn only_a_person(session: &Session, document: &Document, gates: &[Gate]) -> bool {
    let mut shut = gate::closed(gates).into_iter().peekable();
    session.actor().kind == ActorKind::Automation
        && document.body.request.invoker == Invoker::Human
        && shut.peek().is_some()
        && shut.all(|gate| matches!(gate.reason, Reason::Held { .. }))
}

/// Whether it is about approvals that a plan still waits for, or that came to nothing.
fn asks_people(error: &EngineError) -> bool {
    match error {
        EngineError::Uncounted { decision, over, .. } => *decision == Decision::Approve && !over,
        EngineError::Waiting { gates, .. } | EngineError::Denied { gates, .. } => {
            gate::closed(gates).first().is_some_and(|gate| gate.kind == GateKind::Approval)
        }
        _ => false,
    }
}

fn why(environment: &str, release: &str) -> String {
    command_line(["promo", "why", environment, release])
}

/// Somebody has the lock: what can be done about it. A run that has just taken it may have recorded nothing yet.
fn held(holder: &Holder, new: &dyn Fn(&str) -> CliError) -> CliError {
    match &holder.run {
        Some(run) if holder.gone => new(&command_line(["promo", "resume", run.as_str()])),
        _ => new("promo runs --unfinished").who("whoever is at work there, or time"),
    }
}

/// The most of what moved that is told.
const MANY_MOVED: usize = 8;

/// The most characters of what something is now, or was, that are told.
const LONG_MOVED: usize = 100;

/// What moved, a line each: a part of a plan is as long as anybody makes it.
fn moved_lines(moved: &[Moved]) -> impl Iterator<Item = String> {
    let more = moved.len().saturating_sub(MANY_MOVED);
    let more = (more > 0).then(|| format!("and {more} more"));
    moved.iter().take(MANY_MOVED).map(moved_line).chain(more)
}

/// What moved, in a line. Of a digest only that it is another one means anything to a reader.
fn moved_line(moved: &Moved) -> String {
    let (planned, current) = (in_short(moved.planned.as_deref()), in_short(moved.current.as_deref()));
    format!("{}: {current} now (was {planned} when it was planned)", moved.input)
}

/// A value in a few words: of a reason its code, and nothing of the inside of what has many parts.
fn in_short(text: Option<&str>) -> String {
    let Some(text) = text else { return "nothing".to_owned() };
    if text.parse::<Digest>().is_ok() {
        return format!("{}…", &text[..19]);
    }
    if text.starts_with(['{', '[']) {
        match serde_json::from_str(text) {
            Ok(Value::Object(map)) if map.len() == 1 => return map.into_iter().map(|(key, _)| key).collect(),
            Ok(Value::Object(map)) => {
                // What a plan does and does not do stands in it with its release.
                let release = [map.get("to"), map.get("next").and_then(|next| next.get("release")), map.get("current")];
                let mut named = release.into_iter().flatten().filter_map(|release| release["id"].as_str());
                return named.next().map_or_else(|| "there".to_owned(), str::to_owned);
            }
            Ok(Value::Array(all)) => return format!("{} of them", all.len()),
            _ => {}
        }
    }
    match text.char_indices().nth(LONG_MOVED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The closed gates, a line each, and whose turn it is.
fn closed(error: CliError, shut: &[&Gate], notes: &[String]) -> CliError {
    let clock = |g: &&Gate| matches!(g.reason, Reason::ClockSkew { .. } | Reason::ClockWentBack { .. });
    let who: Cow<'static, str> = match shut.first() {
        _ if shut.iter().any(clock) => who::OPERATOR.into(),
        _ if shut.iter().any(|gate| gate.never_opens()) => who::PIPELINE.into(),
        Some(Gate { reason: Reason::Approvals { from, .. }, .. }) => {
            let roles: Vec<&str> = from.iter().map(RoleName::as_str).collect();
            format!("whoever approves: {}", roles.join(" or ")).into()
        }
        // Three people act on the three ways in which evidence can be lacking.
        Some(Gate { reason: Reason::EvidenceMissing(_) | Reason::EvidenceExpired(_), .. }) => {
            "whoever builds, scans and tests the release".into()
        }
        Some(Gate { reason: Reason::EvidenceUnreadable(_), .. }) => "whoever runs the tool that wrote it".into(),
        Some(gate) => match gate.kind {
            GateKind::Approval => "whoever plans it anew".into(),
            GateKind::Window | GateKind::Soak | GateKind::Arrival => "time".into(),
            _ => "whoever answers for the release".into(),
        },
        None => "whoever answers for the release".into(),
    };
    // One whose reason somebody gave is told with it.
    let told = |gate: &&&Gate| {
        let bare = format!("{}: ", gate.reason);
        !notes.iter().any(|note| note.starts_with(&bare))
    };
    let lines = shut.iter().filter(told).map(|gate| {
        let until = gate.until.map(|at| format!(" (until {})", Instant(at))).unwrap_or_default();
        format!("{gate}{until}")
    });
    error.who(who).details(lines)
}

#[cfg(test)]
mod tests {
    use promo_core::clock::Doubt;
    use promo_core::gate::Outcome;
    use promo_sdk::ProviderError;

    use super::*;
    use crate::codes;
    use crate::error::tests::assert_parses;

    #[test]
    fn what_moved_is_told_in_a_few_words_however_much_of_a_plan_it_is() {
        let gate = serde_json::json!({"tag-moved": {"artifact": "web", "reference": "r".repeat(9_000)}}).to_string();
        let entry = serde_json::json!({"to": {"id": "r-0123456789ab"}, "checks": "x".repeat(9_000)}).to_string();
        let moved = |planned: &str, current: &str| Moved {
            input: "moves[production]".into(),
            planned: Some(planned.to_owned()),
            current: Some(current.to_owned()),
        };
        let first = moved_lines(&[moved(&gate, &entry)]).collect::<Vec<_>>();
        let told = "moves[production]: r-0123456789ab now (was tag-moved when it was planned)";
        assert_eq!(first, [told]);
        let many: Vec<Moved> = (0..20).map(|_| moved(&"y".repeat(9_000), "{\"a\": 1, \"b\": 2}")).collect();
        let lines: Vec<String> = moved_lines(&many).collect();
        assert_eq!((lines.len(), lines[8].as_str()), (9, "and 12 more"));
        assert!(lines.iter().all(|line| line.len() < 200), "{lines:?}");
    }

    fn newer() -> promo_core::format::Newer {
        promo_core::format::Newer { what: "the plan", found: 2, known: 1 }
    }

    fn errors() -> Vec<EngineError> {
        let digest = || Digest::of(b"x");
        let gate = |kind, outcome, reason| vec![Gate { kind, outcome, reason, until: None }];
        let (environment, release) = ("production", "r-0123456789ab");
        let moved = Moved { input: "file a".into(), planned: Some("1".into()), current: None };
        let spent = |run: Option<&str>| EngineError::Spent {
            why: "was used".into(),
            run: run.map(|run| run.parse().expect("a name")),
        };
        let policy = |version| {
            Box::new(promo_core::plan::PolicyRef { name: "shop".into(), version, digest: Digest::of(b"policy") })
        };
        let checkpoint = || promo_ledger::Checkpoint { origin: "o\u{1b}[2J".into(), size: 7, root: digest() };
        let mut all = vec![
            EngineError::OtherLedger { expected: Box::new(checkpoint()), found: Some(Box::new(checkpoint())) },
            EngineError::OtherLedger { expected: Box::new(checkpoint()), found: None },
            EngineError::Ledger(StoreError::ReadOnly),
            EngineError::Ledger(StoreError::Lost {
                path: "a".into(),
                found: "no file",
                origin: None,
                mark: "a.origin".into(),
            }),
            EngineError::Ledger(StoreError::Busy { waited_ms: 1 }),
            EngineError::Ledger(StoreError::NewerFormat { found: 2, known: 1 }),
            EngineError::Ledger(StoreError::Integrity {
                place: "record 1".into(),
                expected: "a".into(),
                found: "b".into(),
            }),
            EngineError::NoProvider("helm".into()),
            EngineError::File { path: "a".into(), source: std::io::ErrorKind::NotFound.into() },
            EngineError::PlanFile(PlanFileError::Format(0)),
            EngineError::PlanFile(PlanFileError::Newer(newer())),
            EngineError::Newer(newer()),
            EngineError::OtherDigest { expected: digest(), found: digest() },
            EngineError::Elsewhere { what: "ledger", planned: "a".into(), current: "b".into() },
            EngineError::NotAnExtension { size: 1, root: digest() },
            EngineError::Edited { findings: vec!["a: `1` in the file".into()], original: None },
            EngineError::Edited { findings: Vec::new(), original: Some(digest()) },
            EngineError::Stale { moved: vec![moved], by: Some("dana".into()) },
            EngineError::PolicyNotAdopted { expected: policy(2), found: Some(policy(1)) },
            EngineError::PolicyNotAdopted { expected: policy(2), found: None },
            EngineError::PolicyReplaced { expected: policy(2), found: policy(1) },
            EngineError::PolicyReused { expected: policy(1), found: policy(1) },
            spent(None),
            spent(Some("0123456789abcdef")),
            EngineError::Denied {
                environment: environment.parse().expect("a name"),
                release: release.parse().expect("a release"),
                notes: vec!["frozen: “for now”".into()],
                gates: gate(GateKind::Artifact, Outcome::Refused, Reason::TriedBefore),
            },
            EngineError::Waiting {
                environment: environment.parse().expect("a name"),
                release: release.parse().expect("a release"),
                notes: Vec::new(),
                gates: gate(GateKind::Lock, Outcome::Waiting, Reason::Idle),
            },
            EngineError::Undated {
                doubt: Doubt::Skew { ledger: jiff::Timestamp::UNIX_EPOCH, machine: jiff::Timestamp::MAX },
            },
            EngineError::Undated {
                doubt: Doubt::WentBack { ledger: jiff::Timestamp::UNIX_EPOCH, before: jiff::Timestamp::MAX },
            },
            EngineError::Invalid("no".into()),
            EngineError::Moving("run 0123456789abcdef is moving dev".into()),
            EngineError::Approval("no".into()),
            EngineError::Signing(promo_engine::signature::SignatureError::Keygen("no".into())),
            EngineError::Uncounted {
                who: "riley".parse().expect("a name"),
                decision: promo_core::approval::Decision::Approve,
                over: false,
                why: vec!["production: no".into()],
            },
            EngineError::RequestUnsigned { environment: environment.parse().expect("a name") },
            EngineError::ApplyUnsigned { environment: environment.parse().expect("a name"), run: None },
            EngineError::ApplyUnsigned {
                environment: environment.parse().expect("a name"),
                run: Some("0123456789abcdef".parse().expect("a name")),
            },
            EngineError::Lift("no".into()),
            EngineError::Evidence("no".into()),
            EngineError::Described {
                artifact: Digest::of(b"app"),
                differs: "it is an image".into(),
                note: Box::new(None),
            },
            EngineError::Moved(Box::default()),
            EngineError::Stopped,
        ];
        for recorded in [true, false] {
            let run = "0123456789abcdef".parse().expect("a name");
            all.push(EngineError::Began { run, recorded, source: StoreError::ReadOnly });
        }
        for kind in [
            ErrorKind::Integrity,
            ErrorKind::Moved,
            ErrorKind::Transient,
            ErrorKind::Offline,
            ErrorKind::NotFound,
            ErrorKind::Conflict,
            ErrorKind::Broken,
            ErrorKind::Newer,
            ErrorKind::Invalid,
            ErrorKind::Reference,
            ErrorKind::MovingTag,
        ] {
            let source = ProviderError::new(kind, "no\u{1b}[2J");
            all.push(EngineError::Provider { doing: "the preview".into(), environment: None, source });
        }
        all
    }

    #[test]
    fn every_error_of_the_engine_has_a_page_an_exit_code_and_a_next_command_s14() {
        for error in errors() {
            let (code, exit) = (error.code(), error.exit_code());
            assert!(codes::find(code).is_some(), "{code} has no page");
            let error = CliError::from(error);
            assert_eq!((error.problem().code, error.problem().exit), (code, exit));
            assert!(exit > 0, "{code}");
            let text = anstream::adapter::strip_str(&error.text()).to_string();
            assert!(!text.contains('\u{1b}'), "{text}");
            let next = text.lines().last().and_then(|l| l.strip_prefix("Next: ")).expect("the last line is a command");
            assert_parses(next);
        }
    }

    #[test]
    fn a_wrong_file_of_this_machine_says_what_it_should_be_and_leads_to_no_release() {
        let source = ProviderError {
            expected: Some("a table for each cluster".into()),
            ..ProviderError::new(ErrorKind::Invalid, "clusters.toml: line 3: no")
        };
        let error = CliError::from(EngineError::Provider { doing: "the preview".into(), environment: None, source });
        let text = error.text();
        assert!(text.contains("clusters.toml: line 3: no") && text.contains("a table for each cluster"), "{text}");
        assert!(!text.contains("release add") && error.problem().next.ends_with("promo doctor"), "{text}");
    }

    #[test]
    fn a_clock_in_doubt_that_shuts_several_gates_is_told_once_s12_6() {
        let (ledger, machine) = (jiff::Timestamp::UNIX_EPOCH, jiff::Timestamp::MAX);
        let reason = Reason::from(Doubt::Skew { ledger, machine });
        let gate = |kind| Gate { kind, outcome: Outcome::Waiting, reason: reason.clone(), until: None };
        let error = CliError::from(EngineError::Waiting {
            environment: "production".parse().expect("a name"),
            release: "r-0123456789ab".parse().expect("a release"),
            gates: vec![gate(GateKind::Soak), gate(GateKind::Window)],
            notes: Vec::new(),
        });
        assert_eq!(error.problem().details, [reason.to_string()]);
        assert_eq!(error.problem().who, who::OPERATOR);
    }
}
