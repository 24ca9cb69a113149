//! Gates over evidence and the exceptions to them, in a pipeline and in a policy alike. What must not live here: what a requirement is
//! met by ([`crate::requirement`]).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::check::{Checker, date, words};
use super::duration;
use super::lower::{names, references};
use super::repository::{wrong_place, wrong_ref};
use super::tree::{Data, Entry, Node, Table};
use crate::diagnostic::{Diagnostic, nearest};
use crate::evidence::{Finite, Level};
use crate::ids::GateName;
use crate::requirement::need;
use crate::requirement::{
    Baseline, BillRequirement, BoundKey, CoverageRequirement, EvidenceGate, Excepted, Exception, Fixes, Identity,
    LicenceRequirement, MetadataRequirement, Nature, NumberRequirement, ProvenanceRequirement, PublicKey, Requirement,
    ScanRequirement, Scope, SignatureRequirement, Signer, Signers, SourceRequirement, Suppressions, Term,
    TestRequirement, Unknown,
};

/// The keys of which a gate has exactly one.
const REQUIREMENTS: [&str; 10] =
    ["scan", "licences", "sbom", "tests", "coverage", "number", "metadata", "signature", "provenance", "source"];

/// Every gate of a file, with the exceptions of the same file; `artifacts` are those that may be named, any where nothing is known of them.
pub(crate) fn lower(
    root: &Table,
    artifacts: Option<&[&str]>,
    checker: &mut Checker<'_>,
) -> BTreeMap<GateName, EvidenceGate> {
    let exceptions: Vec<Excepted> = root
        .list("exceptions")
        .iter()
        .filter_map(Node::table)
        .filter_map(|table| exception(table, artifacts, checker))
        .collect();
    let signers = signers(root, checker);
    let mut out = BTreeMap::new();
    for entry in root.table("gates").map(|table| table.entries.as_slice()).unwrap_or_default() {
        let Some(table) = entry.node.table() else { continue };
        known_artifacts(table, artifacts, checker);
        let (Some((requirement, by)), Ok(name)) =
            (requirement(entry, table, &signers, checker), entry.key.parse::<GateName>())
        else {
            continue;
        };
        let exceptions = match &requirement {
            Requirement::Scan(_) => exceptions.clone(),
            _ => Vec::new(),
        };
        let artifacts = names(table, "artifacts").into_iter().collect();
        let kinds: BTreeSet<Nature> = table.texts("kinds").into_iter().filter_map(|(word, _)| nature(word)).collect();
        if let (Some(of), false) = (table.entry("kinds"), BTreeSet::is_empty(&artifacts)) {
            let message = format!("`{}` names artifacts and kinds of them", entry.key);
            let diagnostic = Diagnostic::at("config-one-kind", of.key_span.clone(), message);
            checker.push(diagnostic.help("leave one of `artifacts` and `kinds` out"));
            continue;
        }
        out.insert(name, EvidenceGate { artifacts, kinds, requirement, by, exceptions });
    }
    out
}

/// What an artifact is, in a word.
fn nature(word: &str) -> Option<Nature> {
    [Nature::Image, Nature::Chart, Nature::Other].into_iter().find(|nature| nature.name() == word)
}

/// Warns of gates that nothing names: they bind nothing.
pub(crate) fn unused(root: &Table, named: &BTreeSet<String>, by: &str, checker: &mut Checker<'_>) {
    for entry in root.table("gates").map(|table| table.entries.as_slice()).unwrap_or_default() {
        if !named.contains(&entry.key) {
            let message = format!("no {} names the gate `{}`, so it binds nothing", by, entry.key);
            let diagnostic = Diagnostic::at("gate-unused", entry.key_span.clone(), message);
            checker.push(diagnostic.help("name it in `gates` of one").warning());
        }
    }
}

fn known_artifacts(table: &Table, artifacts: Option<&[&str]>, checker: &mut Checker<'_>) {
    if let Some(known) = artifacts {
        references(checker, &table.texts("artifacts"), known, "artifact");
    }
}

fn exception(table: &Table, artifacts: Option<&[&str]>, checker: &mut Checker<'_>) -> Option<Excepted> {
    known_artifacts(table, artifacts, checker);
    let text = |key: &str| table.text(key).map(String::from);
    let exception = Exception {
        id: text("id")?,
        package: text("package"),
        owner: text("owner")?,
        reason: text("reason")?,
        expires: last_day(table.get("expires")?, checker)?,
    };
    Some(Excepted { exception, artifacts: names(table, "artifacts").into_iter().collect() })
}

/// The end, in UTC, of the day that is the last one.
fn last_day(node: &Node, checker: &mut Checker<'_>) -> Option<Timestamp> {
    let end = |date: Date| Some(date.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp());
    let written = date(node)?;
    let found = written.ok().and_then(end);
    if found.is_none() {
        let written = written.map_or_else(ToString::to_string, |date| date.to_string());
        let message = format!("`{written}` is not a date: expected `YYYY-MM-DD`, the last day, in UTC");
        checker.push(Diagnostic::at("gate-exception", node.span.clone(), message));
    }
    found
}

/// Whose signatures the gates of a file take. One that cannot be read is there with nobody: what names it is no second fault.
fn signers<'t>(root: &'t Table, checker: &mut Checker<'_>) -> BTreeMap<&'t str, Option<Signer>> {
    let roots = trusted_roots(root, checker);
    let mut out = BTreeMap::new();
    for entry in root.table("signers").map(|table| table.entries.as_slice()).unwrap_or_default() {
        let signer = entry.node.table().and_then(|table| match signer(table, &roots, checker) {
            Ok(signer) => signer,
            Err((key, what)) => {
                let span = table.get(key).map_or(&entry.key_span, |node| &node.span);
                checker.push(Diagnostic::at("signer-key", span.clone(), format!("`{}` {what}", entry.key)));
                None
            }
        });
        out.insert(entry.key.as_str(), signer);
    }
    out
}

/// Who that is: none where what it names has been told as wrong already; else where it is wrong, and what is.
fn signer(
    table: &Table,
    roots: &BTreeMap<&str, Option<&str>>,
    checker: &mut Checker<'_>,
) -> Result<Option<Signer>, (&'static str, String)> {
    let term = term(table)?;
    let named = ["identity", "issuer"].into_iter().find(|key| table.get(key).is_some());
    if table.get("key").is_some() {
        if let Some(beside) = named {
            return Err((
                beside,
                format!("has a key and `{beside}`: expected one of the two, each is a signer of its own"),
            ));
        }
        let Some(text) = table.text("key") else { return Ok(None) };
        let key =
            PublicKey::of_pem(text).map_err(|expected| ("key", format!("has no key that can be read: {expected}")))?;
        let trusted_root = match table.get("trusted_root") {
            Some(_) => match root_of(table, roots, checker) {
                Some(root) => Some(root),
                None => return Ok(None),
            },
            None => None,
        };
        return Ok(Some(BoundKey { key, term, trusted_root }.into()));
    }
    let beside = named.or_else(|| table.get("trusted_root").map(|_| "trusted_root"));
    let lacks = ["identity", "issuer", "trusted_root"].into_iter().find(|key| table.get(key).is_none());
    match (beside, lacks) {
        (None, _) => return Err(("key", "has neither a `key` nor an `identity`: expected one of the two".into())),
        (Some(_), Some(lacks)) => {
            let expected = "expected `identity`, `issuer` and `trusted_root`";
            return Err((lacks, format!("has no `{lacks}`: {expected}")));
        }
        (Some(_), None) => {}
    }
    if let Some(bound) = ["not_before", "not_after"].into_iter().find(|key| table.get(key).is_some()) {
        let why = "the certificate of an identity has a time of its own, and only a `key` has none";
        return Err((bound, format!("has an identity and `{bound}`: {why}")));
    }
    let root = root_of(table, roots, checker);
    let text = |key: &str| table.text(key).map(String::from);
    let (Some(identity), Some(issuer), Some(trusted_root)) = (text("identity"), text("issuer"), root) else {
        return Ok(None);
    };
    if identity.trim_matches('*').is_empty() {
        return Err(("identity", "is anybody at all: expected an address, or the URI of a workflow".into()));
    }
    Ok(Some(Signer::Identity(Identity { identity, issuer, trusted_root })))
}

/// The trusted root that a signer names; none where there is none by that name, or one that cannot be read, which has been told.
fn root_of(table: &Table, roots: &BTreeMap<&str, Option<&str>>, checker: &mut Checker<'_>) -> Option<String> {
    let (node, name) = (table.get("trusted_root")?, table.text("trusted_root")?);
    let all: Vec<&str> = roots.keys().copied().collect();
    references(checker, &[(name, node.span.clone())], &all, "trusted root");
    (*roots.get(name)?).map(String::from)
}

/// When a key counts: from the beginning of a day, to the end of one, or to the instant.
fn term(table: &Table) -> Result<Term, (&'static str, String)> {
    let midnight = |date: Date| Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp());
    let read = |key: &'static str, last: bool| {
        let Some(node) = table.get(key) else { return Ok(None) };
        let Some(written) = date(node) else { return Ok(None) };
        let found = match written {
            Ok(day) if last => day.tomorrow().ok().and_then(midnight),
            Ok(day) => midnight(day),
            Err(text) => text.parse::<Timestamp>().ok(),
        };
        let written = written.map_or_else(ToString::to_string, |date| date.to_string());
        let expected = "expected a day, `YYYY-MM-DD` in UTC, or a time with its offset, `YYYY-MM-DDTHH:MM:SSZ`";
        let wrong = || (key, format!("has `{key}` of `{written}`: {expected}"));
        found.map(Some).ok_or_else(wrong)
    };
    let term = Term { from: read("not_before", false)?, to: read("not_after", true)? };
    match (term.from, term.to) {
        (Some(from), Some(to)) if to <= from => {
            Err(("not_after", "counts at no time: `not_after` is not behind `not_before`".into()))
        }
        _ => Ok(term),
    }
}

/// Whose certificates and logs are believed; nothing of one that is none.
fn trusted_roots<'t>(root: &'t Table, checker: &mut Checker<'_>) -> BTreeMap<&'t str, Option<&'t str>> {
    let mut out = BTreeMap::new();
    for entry in root.table("trusted_roots").map(|table| table.entries.as_slice()).unwrap_or_default() {
        let stated = entry.node.table().and_then(|table| Some((table.get("json")?, table.text("json")?)));
        let json = stated.and_then(|(node, text)| match Identity::trusted_root(text) {
            Ok(()) => Some(text),
            Err(why) => {
                let message = format!("`{}` is no trusted root: {why}", entry.key);
                checker.push(Diagnostic::at("trusted-root", node.span.clone(), message));
                None
            }
        });
        out.insert(entry.key.as_str(), json);
    }
    out
}

/// Those whom a table names.
fn named_signers(
    table: &Table,
    key: &str,
    known: &BTreeMap<&str, Option<Signer>>,
    checker: &mut Checker<'_>,
) -> Signers {
    let all: Vec<&str> = known.keys().copied().collect();
    references(checker, &table.texts(key), &all, "signer");
    let one = |(name, _): (&str, _)| Some((name.parse().ok()?, known.get(name)?.clone()?));
    table.texts(key).into_iter().filter_map(one).collect()
}

/// What a gate requires, and by whom documents must be signed to count for it.
fn requirement(
    entry: &Entry,
    table: &Table,
    signers: &BTreeMap<&str, Option<Signer>>,
    checker: &mut Checker<'_>,
) -> Option<(Requirement, Signers)> {
    let stated: Vec<&Entry> = table.entries.iter().filter(|entry| REQUIREMENTS.contains(&entry.key.as_str())).collect();
    let [one] = stated.as_slice() else {
        // What is only misspelt has been told as that.
        if stated.is_empty() && table.entries.iter().any(|entry| !["artifacts", "kinds"].contains(&entry.key.as_str()))
        {
            return None;
        }
        let message = format!("`{}` must require exactly one thing, and requires {}", entry.key, stated.len());
        let mut diagnostic = Diagnostic::at("config-one-kind", entry.key_span.clone(), message);
        for one in &stated {
            diagnostic = diagnostic.label(one.key_span.clone(), "required");
        }
        checker.push(diagnostic.help(format!("one of {}; give each a gate of its own", words(REQUIREMENTS))));
        return None;
    };
    let empty = Table::default();
    let own = one.node.table().unwrap_or(&empty);
    let by = match one.key.as_str() {
        "signature" | "provenance" => Signers::new(),
        _ => named_signers(own, "by", signers, checker),
    };
    let requirement = match one.key.as_str() {
        "scan" => {
            let vex = named_signers(own, "vex", signers, checker);
            Requirement::Scan(ScanRequirement { vex, ..scan(own) })
        }
        "signature" => Requirement::Signature(signature(own, signers, checker)),
        "provenance" => Requirement::Provenance(ProvenanceRequirement {
            by: named_signers(own, "by", signers, checker),
            builders: texts(own, "builders"),
            sources: texts(own, "sources"),
            scope: own.text("scope").map(|_| scope(own)),
        }),
        "source" => Requirement::Source(source(own, checker)?),
        "licences" => Requirement::Licences(licences(own, checker)),
        "sbom" => {
            let least = count(own, "components").unwrap_or(BillRequirement::default().least);
            Requirement::Sbom(BillRequirement { least, scope: scope(own) })
        }
        "tests" => Requirement::Tests(TestRequirement {
            suites: texts(own, "suites"),
            pass_rate: decimal(own, "pass_rate"),
            failed: count(own, "failed"),
            skipped: count(own, "skipped"),
            flaky: count(own, "flaky"),
        }),
        "coverage" => Requirement::Coverage(CoverageRequirement {
            suites: texts(own, "suites"),
            lines: decimal(own, "lines"),
            branches: decimal(own, "branches"),
            functions: decimal(own, "functions"),
        }),
        "number" => Requirement::Number(number(own, checker)?),
        _ => Requirement::Metadata(metadata(&one.node, own, checker)),
    };
    // What is wrong in it may be what it requires.
    let span = &one.node.span;
    let told = |wrong: &Diagnostic| wrong.labels.iter().any(|l| span.start <= l.span.start && l.span.end <= span.end);
    if checker.out.iter().any(|wrong| wrong.is_error() && told(wrong)) {
        return None;
    }
    if let Some(lacks) = requires_nothing(&requirement) {
        let message = format!("`{}` of `{}` would let everything pass", one.key, entry.key);
        checker.push(Diagnostic::at("gate-empty", one.key_span.clone(), message).help(lacks));
        return None;
    }
    Some((requirement, by))
}

/// What the build has to have said: a list of keys, or a table with more.
fn metadata(node: &Node, own: &Table, checker: &mut Checker<'_>) -> MetadataRequirement {
    let listed = node.texts();
    let keys = if node.table().is_some() { own.texts("keys") } else { listed };
    let run_ids: Vec<String> = own.texts("run_ids").into_iter().map(|(text, _)| text.to_string()).collect();
    let signed = own.get("signed").is_some_and(|node| matches!(node.data, Data::Flag(true)));
    if let (true, Some(flag)) = (signed, own.get("signed")) {
        if own.texts("by").is_empty() {
            let message = "`signed` asks for signatures, and `by` names nobody whose could be one";
            let help = "name in `by` whose provenance counts, of `signers`";
            checker.push(Diagnostic::at("gate-signers", flag.span.clone(), message).help(help));
        }
        for (key, span) in keys.iter().filter(|(key, _)| !need::provenance_says(key)) {
            let message = format!("provenance says nothing of `{key}`, so that nothing signed could ever say it");
            let help = format!(
                "it says `{}`: ask for others in a gate without `signed`",
                [need::SOURCE, need::REVISION, need::CREATED, need::BASE, need::RUN].join("`, `")
            );
            checker.push(Diagnostic::at("gate-signers", span.clone(), message).help(help));
        }
    }
    let mut keys: BTreeSet<String> = keys.into_iter().map(|(text, _)| text.to_string()).collect();
    keys.extend((!run_ids.is_empty()).then(|| need::RUN.to_string()));
    MetadataRequirement { keys, signed, run_ids }
}

/// More of anything than this is no bound: nothing real comes to it.
const BOUNDLESS: u64 = 1_000_000;
/// An age that is no bound, in seconds: two years.
const AGELESS: u64 = 730 * 86_400;
fn signature(
    table: &Table,
    signers: &BTreeMap<&str, Option<Signer>>,
    checker: &mut Checker<'_>,
) -> SignatureRequirement {
    let by = named_signers(table, "by", signers, checker);
    let least = count(table, "at_least").unwrap_or(1);
    // One key under two names is one hand.
    let hands = by.values().map(Signer::hand).collect::<BTreeSet<_>>().len() as u64;
    let unread = table.texts("by").iter().any(|(name, _)| !matches!(signers.get(name), Some(Some(_))));
    if let (Some(node), true) = (table.get("at_least"), least > hands && !unread) {
        let message = format!("{least} must have signed, and no more than {hands} could: each counts once");
        checker.push(Diagnostic::at("gate-signers", node.span.clone(), message).help("name more signers in `by`"));
    } else if let (Some(node), Some((name, _))) =
        (table.get("at_least").filter(|_| least > 1), by.iter().find(|(_, signer)| !signer.is_one()))
    {
        let message = format!("`{name}` is of many, by `*`, so that one hand could be counted as several");
        let help = "where more than one must have signed, name each identity to the letter";
        checker.push(Diagnostic::at("gate-signers", node.span.clone(), message).help(help));
    }
    let repository = table.get("repository").is_some_and(|node| matches!(node.data, Data::Flag(true)));
    let scope = if table.get("scope").is_some() { scope(table) } else { Scope::Index };
    SignatureRequirement { by, least, scope, repository }
}

/// What a requirement lacks that would never refuse anything (S1.4).
fn requires_nothing(requirement: &Requirement) -> Option<&'static str> {
    let binds = |at_most: Option<u64>| at_most.is_some_and(|at_most| at_most < BOUNDLESS);
    let asks = |least: Option<Finite>| least.is_some_and(|least| least.get() > 0.0);
    let anything =
        |patterns: &BTreeSet<String>| patterns.is_empty() || patterns.iter().any(|one| one.bytes().all(|b| b == b'*'));
    let ageless = |age: Option<u64>| age.is_some_and(|age| age >= AGELESS);
    match requirement {
        Requirement::Scan(scan)
            if scan.deny.is_none() && !scan.at_most.values().any(|at_most| binds(Some(*at_most))) =>
        {
            Some(
                "say with `deny = [\"critical\"]` what there may be none of, or with `at_most = { high = 5 }` how many there may be",
            )
        }
        Requirement::Scan(scan) if ageless(scan.max_age) || ageless(scan.database_max_age) => {
            Some("an age of two years or more is no bound: say `max_age = \"7d\"`, or leave it out")
        }
        Requirement::Licences(licences) if licences.allow.is_empty() && licences.deny.is_empty() => {
            Some("name licences in `allow` or `deny`, such as \"MIT\" or \"GPL-*\"")
        }
        Requirement::Licences(licences)
            if licences.allow.contains("*") && licences.deny.is_empty() && licences.unknown == Unknown::Take =>
        {
            Some(
                "`allow = [\"*\"]` takes every licence and `unknown = \"take\"` what has none: name those that are welcome",
            )
        }
        Requirement::Sbom(bill) if bill.least == 0 => Some("say with `components` how many there must be, at least 1"),
        Requirement::Tests(tests)
            if !asks(tests.pass_rate)
                && (tests.pass_rate.is_some() || tests.failed.is_some())
                && !binds(tests.failed)
                && !binds(tests.skipped)
                && !binds(tests.flaky) =>
        {
            Some(
                "say with `pass_rate = \"100\"` how many percent must have passed, or with `failed = 0` how many may have failed",
            )
        }
        Requirement::Coverage(of) if ![of.lines, of.branches, of.functions].into_iter().any(asks) => {
            Some("say with `lines`, `branches` or `functions` how many percent there must be")
        }
        Requirement::Metadata(of) if of.keys.is_empty() => {
            Some("name with `keys` what the build must have said, such as \"org.opencontainers.image.revision\"")
        }
        Requirement::Provenance(of) if [&of.builders, &of.sources].into_iter().all(anything) => {
            Some("say with `builders` who may have built it, and with `sources` from which repositories")
        }
        Requirement::Number(number) if number.least.is_none() && number.most.is_none() && number.baseline.is_none() => {
            Some("say with `min`, `max`, `higher_by` or `lower_by` what it may be")
        }
        _ => None,
    }
}

fn scan(table: &Table) -> ScanRequirement {
    let levels = |key: &str| table.texts(key).into_iter().filter_map(|(word, _)| level(word)).min();
    let numbers = table.table("at_most").map(|table| table.entries.as_slice()).unwrap_or_default();
    let at_most = |entry: &Entry| Some((level(&entry.key)?, u64::try_from(entry.node.integer()?).ok()?));
    ScanRequirement {
        deny: levels("deny"),
        at_most: numbers.iter().filter_map(at_most).collect(),
        unknown_as: match table.text("unknown_as") {
            Some("ignore") => Level::None,
            word => word.and_then(level).unwrap_or(ScanRequirement::default().unknown_as),
        },
        highest: table.text("severity") == Some("highest"),
        fixes: if table.text("fixes") == Some("available") { Fixes::Available } else { Fixes::Any },
        suppressions: match table.text("suppressed") {
            Some("shown") => Suppressions::Shown,
            Some("accept") => Suppressions::Accept,
            _ => Suppressions::Count,
        },
        scanners: texts(table, "scanners"),
        max_age: seconds(table, "max_age"),
        database_max_age: seconds(table, "database_max_age"),
        scope: scope(table),
        vex: Signers::new(),
    }
}

fn licences(table: &Table, checker: &mut Checker<'_>) -> LicenceRequirement {
    for (key, what) in [("allow", "welcomes"), ("deny", "denies")] {
        for (pattern, span) in table.texts(key) {
            let Some(meant) = unknown_licence(pattern) else { continue };
            let message = format!("SPDX has no `{pattern}`, so that it {what} nothing");
            let mut told = Diagnostic::at("gate-licence", span.clone(), message)
                .help("an identifier of https://spdx.org/licenses, or `LicenseRef-…`; `*` stands for anything");
            told.suggestion = meant;
            // What is not welcome holds something back that somebody sees; what is not denied nobody does.
            checker.push(if key == "allow" { told.warning() } else { told });
        }
    }
    LicenceRequirement {
        allow: texts(table, "allow"),
        deny: texts(table, "deny"),
        unknown: match table.text("unknown") {
            Some("take-of-system") => Unknown::TakeOfSystem,
            Some("take") => Unknown::Take,
            _ => Unknown::Refuse,
        },
        scope: scope(table),
    }
}

/// Whether a pattern can fit nothing that bills say, with what is probably meant.
fn unknown_licence(pattern: &str) -> Option<Option<String>> {
    let licences = || spdx::identifiers::LICENSES.iter().map(|licence| licence.name);
    let exceptions = || spdx::identifiers::EXCEPTIONS.iter().map(|exception| exception.name);
    let (id, with) = match pattern.to_ascii_uppercase().find(" WITH ") {
        Some(at) => (&pattern[..at], Some(&pattern[at + " WITH ".len()..])),
        None => (pattern, None),
    };
    let bare = id.strip_suffix('+').unwrap_or(id);
    if !fits_one(bare, licences(), &["LicenseRef-", "DocumentRef-"]) {
        // As people write it, `Apache 2.0`.
        let loose = spdx::imprecise_license_id(id).filter(|(_, length)| *length == id.len());
        let meant = loose.map(|(licence, _)| licence.name).or_else(|| nearest(id, licences()));
        return Some(meant.filter(|_| with.is_none()).map(ToString::to_string));
    }
    let with = with.filter(|with| !fits_one(with, exceptions(), &["AdditionRef-", "DocumentRef-"]))?;
    Some(nearest(with, exceptions()).map(|meant| format!("{id} WITH {meant}")))
}

/// Whether a pattern may fit one of these names, or one that begins so: to the letter in any case, and up to its first `*`.
fn fits_one<'a>(pattern: &str, mut names: impl Iterator<Item = &'a str>, own: &[&str]) -> bool {
    let starts = |name: &str, with: &str| name.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    let own_one = |text: &str| own.iter().any(|own| starts(text, own));
    match pattern.split_once('*') {
        Some((start, _)) => {
            own_one(start) || own.iter().any(|own| starts(own, start)) || names.any(|name| starts(name, start))
        }
        None => own_one(pattern) || names.any(|name| name.eq_ignore_ascii_case(pattern)),
    }
}

/// Which repository a gate asks, and for which of its refs.
fn source(table: &Table, checker: &mut Checker<'_>) -> Option<SourceRequirement> {
    if let Some(node) = table.get("repository")
        && let Some((wrong, help)) = table.text("repository").and_then(wrong_place)
    {
        let message = format!("`{}` {wrong}", table.text("repository").unwrap_or_default());
        checker.push(Diagnostic::at("gate-source", node.span.clone(), message).help(help));
    }
    for (name, span) in table.texts("refs") {
        if let Some((wrong, help)) = wrong_ref(name) {
            checker.push(Diagnostic::at("gate-source", span.clone(), format!("`{name}` {wrong}")).help(help));
        }
    }
    Some(SourceRequirement { repository: table.text("repository")?.into(), refs: texts(table, "refs") })
}

fn number(table: &Table, checker: &mut Checker<'_>) -> Option<NumberRequirement> {
    let baseline = match (decimal(table, "higher_by"), decimal(table, "lower_by")) {
        (Some(percent), None) => Some(Baseline::HigherBy(percent)),
        (None, Some(percent)) => Some(Baseline::LowerBy(percent)),
        (None, None) => None,
        (Some(_), Some(_)) => {
            let (one, two) = (table.entry("higher_by")?, table.entry("lower_by")?);
            let message = "a number gets worse in one direction: `higher_by` and `lower_by` exclude each other";
            let diagnostic = Diagnostic::at("config-duplicate", two.key_span.clone(), message);
            checker.push(diagnostic.label(one.key_span.clone(), "the other one"));
            return None;
        }
    };
    Some(NumberRequirement {
        name: table.text("name")?.into(),
        suites: texts(table, "suites"),
        least: decimal(table, "min"),
        most: decimal(table, "max"),
        baseline,
    })
}

/// The level that a word names.
fn level(word: &str) -> Option<Level> {
    Level::ALL.into_iter().find(|level| level.name() == word)
}

fn scope(table: &Table) -> Scope {
    match table.text("scope") {
        Some("any") => Scope::Any,
        Some("index") => Scope::Index,
        _ => Scope::EachPlatform,
    }
}

fn texts(table: &Table, key: &str) -> BTreeSet<String> {
    table.texts(key).into_iter().map(|(text, _)| text.to_string()).collect()
}

fn decimal(table: &Table, key: &str) -> Option<Finite> {
    table.text(key)?.parse().ok()
}

fn count(table: &Table, key: &str) -> Option<u64> {
    table.get(key).and_then(Node::integer).and_then(|number| u64::try_from(number).ok())
}

fn seconds(table: &Table, key: &str) -> Option<u64> {
    table.text(key).and_then(|text| duration::seconds(text).ok())
}
