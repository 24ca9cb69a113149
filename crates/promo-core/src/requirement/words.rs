//! Faults in words, once for every screen, and by code for whoever reads JSON. What must not live here: how a fault comes about.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

use super::term::Outside;
use super::{Fault, Part};
use crate::gate::{Instant, Seconds};

impl Fault {
    /// The stable code, as in JSON and in `promo explain`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Nothing { .. } => "nothing",
            Self::NotSaid { .. } => "not-said",
            Self::Erased { .. } => "erased",
            Self::Unbound { .. } => "unbound",
            Self::OfAnother { .. } | Self::OfAnotherPlace { .. } => "of-another",
            Self::Unreadable { .. } => "unreadable",
            Self::Unfinished { .. } => "unfinished",
            Self::Empty { .. } => "empty",
            Self::Undated { .. } => "undated",
            Self::Old { .. } => "old",
            Self::FromTheFuture { .. } | Self::NotYet { .. } => "from-the-future",
            Self::MayLeaveOut { .. } => "may-leave-out",
            Self::Vulnerable { .. } => "vulnerable",
            Self::TooMany { .. } => "too-many",
            Self::Licence { .. } => "licence",
            Self::UnknownLicences { .. } => "unknown-licences",
            Self::Tests { .. } => "tests",
            Self::OutOfBounds { .. } => "out-of-bounds",
            Self::NotMeasured { .. } => "not-measured",
            Self::NoBaseline { .. } => "no-baseline",
            Self::Threshold { .. } => "threshold",
            Self::Malformed { .. } | Self::Incomplete { .. } => "malformed",
            Self::NotSigned { .. } | Self::Unsigned { .. } => "not-signed",
            Self::BrokenSignature { .. } => "broken-signature",
            Self::UnprovenSignature { .. } => "unproven-signature",
            Self::KeyOutsideWindow { .. } => "key-outside-window",
            Self::OtherBuilder { .. } => "other-builder",
            Self::OtherSource { .. } => "other-source",
            Self::NotACommit { .. } => "not-a-commit",
            Self::Commits { .. } => "commits-differ",
            Self::NotSeen { .. } => "source-not-seen",
            Self::NoSuchCommit { .. } => "no-such-commit",
            Self::NotReachable { .. } => "not-reachable",
            // Two sources that disagree are no source that is missing.
            Self::Conflict { .. }
            | Self::Contradicted { .. }
            | Self::Disagree { .. }
            | Self::OtherCommit { found: Some(_), .. } => "metadata-conflict",
            Self::OtherCommit { found: None, .. } => "other-commit",
        }
    }
}

/// How many characters of a value are told.
const SHOWN: usize = 100;

fn short(value: &str) -> &str {
    value.char_indices().nth(SHOWN).map_or(value, |(at, _)| &value[..at])
}

/// How many exceptions are named.
const EXCEPTIONS: usize = 3;

/// Exceptions with who answers for each, and the last day on which it holds.
pub(super) fn excepted(exceptions: &BTreeSet<(String, String, Timestamp)>) -> String {
    let mut said: Vec<String> = Vec::new();
    for (id, owner, expires) in exceptions.iter().take(EXCEPTIONS) {
        let last =
            Offset::UTC.to_datetime(expires.saturating_sub(SignedDuration::from_secs(1)).unwrap_or(*expires)).date();
        said.push(format!("{id} by {owner} until {last}"));
    }
    if let Some(more) = exceptions.len().checked_sub(EXCEPTIONS).filter(|more| *more > 0) {
        said.push(format!("and {more} more"));
    }
    said.join(", ")
}

const fn of(database: bool) -> &'static str {
    if database { "the database that was asked" } else { "it" }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing { from, platform } => {
                match from {
                    Some(from) => write!(f, "nothing from {from}")?,
                    None => f.write_str("nothing")?,
                }
                platform.as_ref().map_or(Ok(()), |platform| write!(f, " for the platform {platform}"))
            }
            Self::NotSaid { key } => write!(f, "the build did not say {key}"),
            Self::Erased { key } => write!(f, "what the build said of {key} was erased"),
            Self::Unbound { document } => write!(f, "{document} does not say of what it speaks"),
            Self::OfAnother { document, names } => write!(f, "{document} speaks of {names}"),
            Self::Unreadable { document, why } => write!(f, "{document} cannot be read: {why}"),
            Self::Unfinished { document } => write!(f, "{document} tells of a run that did not come to its end"),
            Self::Empty { document, found: 0, .. } => write!(f, "{document} looked at nothing"),
            Self::Empty { document, found, least } => write!(f, "{document} has {found}, and {least} are needed"),
            Self::Undated { document, database } => {
                write!(f, "{document} does not say how old {} is", of(*database))
            }
            Self::Old { document, made, at_most, database } => {
                let (made, age) = (Instant(*made), Seconds(*at_most));
                write!(f, "{document} is too old: {} is of {made}, and may have {age}", of(*database))
            }
            Self::FromTheFuture { document, made } => {
                write!(f, "{document} says that it or what it goes by is of {}, which has not come yet", Instant(*made))
            }
            Self::MayLeaveOut { document } => {
                write!(f, "{document} does not show what was suppressed, and may leave something out")
            }
            Self::Vulnerable { id, package, severity, level, expired, .. } => {
                write!(f, "{id}")?;
                if let Some(package) = package {
                    write!(f, " in {package}")?;
                }
                write!(f, " is {level}")?;
                if *severity != crate::evidence::Severity::Level(*level) {
                    write!(f, " (the scanner: {severity})")?;
                }
                expired.map_or(Ok(()), |ended| write!(f, ", and its exception ended {}", Instant(ended)))
            }
            Self::TooMany { level, found, at_most, expired } => {
                write!(f, "{found} are {level} or worse, and at most {at_most} may be")?;
                for (id, ended) in expired.iter().take(EXCEPTIONS) {
                    write!(f, ", and the exception of {id} ended {}", Instant(*ended))?;
                }
                match expired.len().saturating_sub(EXCEPTIONS) {
                    0 => Ok(()),
                    more => write!(f, ", as did {more} more"),
                }
            }
            Self::Licence { component, licence, .. } => write!(f, "{component} has the licence {licence}"),
            Self::UnknownLicences { found, of, first, .. } => {
                write!(f, "{found} of {of} components have no licence that is known, the first is {first}")
            }
            Self::Tests { what, found, at_most, .. } => {
                let what = match what {
                    Part::Failed => "failed",
                    Part::Skipped => "were skipped",
                    Part::Flaky => "passed only when they were tried again",
                };
                write!(f, "{found} tests {what}, and at most {at_most} may")
            }
            Self::OutOfBounds { name, found, least, most, .. } => {
                write!(f, "{name} is {found}")?;
                if let Some(least) = least.filter(|least| found < least) {
                    write!(f, ", and at least {least} is needed")?;
                }
                most.filter(|most| found > most).map_or(Ok(()), |most| write!(f, ", and at most {most} may be"))
            }
            Self::NotMeasured { document, name } => write!(f, "{document} does not have {name}"),
            Self::NoBaseline { name } => {
                write!(f, "there is nothing to compare {name} with: what runs there has no document with it")
            }
            Self::Threshold { bound, .. } => write!(f, "the tool's own bound was not kept: {bound}"),
            Self::Disagree { key, one: (one, said), other: (other, says) } => {
                write!(f, "{key} is `{}` by {one}, and `{}` by {other}", short(said), short(says))
            }
            Self::Incomplete { key, said, expected } => {
                write!(f, "{key} is `{said}`, a part of what is needed: {expected}")
            }
            Self::NotYet { key, from, made } => {
                write!(f, "{key} is {} by {from}, which has not come yet", Instant(*made))
            }
            Self::Unsigned { key, from, part, by } => {
                let by = by.join(" or ");
                match part {
                    true => write!(f, "{key} of a part of it is signed by {by}, and not of the rest ({from})"),
                    false => write!(f, "{key} is said by {from}, and not in provenance signed by {by}"),
                }
            }
            Self::Malformed { key, expected } => write!(f, "{key} is not {expected}"),
            Self::NotSigned { by, found, least, others, platform } => {
                let by = by.join(", ");
                if let Some(platform) = platform {
                    write!(f, "the platform {platform}: ")?;
                }
                match (found, least) {
                    (0, 1) => write!(f, "not signed by {by}")?,
                    _ => write!(f, "{found} of {by} signed it, and {least} must")?,
                }
                others.fmt(f)
            }
            Self::BrokenSignature { document, by } => write!(f, "{document}: the signature of {by} does not hold"),
            Self::OfAnotherPlace { document, found: Some(found) } => {
                write!(f, "{document} is signed for {}, where it is not known to lie", short(found))
            }
            Self::OfAnotherPlace { document, found: None } => {
                write!(f, "{document} does not say for which repository it is signed")
            }
            Self::UnprovenSignature { document, by } => write!(
                f,
                "{document}: the signature of {by} holds, and no log or time stamp of its trusted root bears it out"
            ),
            Self::KeyOutsideWindow { by, term, seen, over, .. } => Outside(by, term, *seen, *over).fmt(f),
            Self::OtherBuilder { found, .. } => write!(f, "it was built by {found}"),
            Self::OtherSource { found: Some(found), .. } => write!(f, "it was built from {found}"),
            Self::OtherSource { document, found: None } => write!(f, "{document} does not say from what it was built"),
            Self::Conflict { key, one: (one, said), other: (other, says) } => {
                write!(f, "{one} says that {key} is {said}, and {other} says {says}")
            }
            Self::NotACommit { key, found } => {
                write!(f, "{key} is `{found}`, which is not the whole hash of a commit of a clean tree")
            }
            Self::Commits { named } => write!(f, "it is said to be of several commits: {}", named.join(", ")),
            Self::NotSeen { repository, commit } => {
                write!(f, "nobody has found out whether {repository} has {commit} where it may be released")
            }
            Self::NoSuchCommit { repository, commit, .. } => {
                write!(f, "{repository} does not have the commit {commit}")
            }
            Self::NotReachable { repository, commit, refs, .. } => {
                let refs = refs.join(", ");
                write!(f, "{repository} has the commit {commit}, and no ref leads to it of those that may ({refs})")
            }
            Self::Contradicted { key, said: Some(said) } => write!(f, "it says {key} twice, {said}"),
            Self::Contradicted { key, said: None } => write!(f, "it says {key} twice, and not the same (erased)"),
            Self::OtherCommit { document, found: Some(found), said } => {
                let said = said.as_deref().unwrap_or("none");
                write!(f, "{document} says that it was built from the commit {found}, and its build says {said}")
            }
            Self::OtherCommit { document, found: None, said: Some(said) } => {
                write!(f, "{document} does not say from which commit it was built, and its build says {said}")
            }
            Self::OtherCommit { document, found: None, said: None } => {
                write!(f, "{document} does not say from which commit it was built, nor does its build")
            }
        }
    }
}
