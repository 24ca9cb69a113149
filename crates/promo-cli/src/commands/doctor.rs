//! `promo doctor`: which files, tools and servers there are, in which versions, and what is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use promo_core::Digest;
use promo_core::config::Limits;
use promo_core::counted::counted;
use promo_core::gate::Reason;
use promo_core::ids::{CheckName, EnvironmentName};
use promo_core::model::Target;
use promo_engine::process::Processes;
use promo_ledger::{SqliteStore, StoreError, VerifyError, What};
use promo_providers::Reached;
use promo_providers::oci::{Network, Retry, signing_key};
use promo_sdk::{Context, ErrorKind, ProcessRequest, ProcessRunner as _, ProviderError};
use schemars::JsonSchema;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::cli::{Format, Global};
use crate::error::{CliError, command_line};
use crate::escape::line;
use crate::exit::{DONE, Exit};
use crate::input;
use crate::output::labels::{Label, label};
use crate::output::table;
use crate::project::{self, Rules};
use crate::runtime::wait;
use crate::tags;
use crate::ui::Ui;

#[derive(Debug, Args)]
pub(crate) struct Arguments {}

/// Tools that promo can use, how each says its version, and what for.
const TOOLS: &[(&str, &[&str], &str)] = &[
    ("git", &["git", "--version"], "finding the repository, and reading commits"),
    ("ssh-keygen", &["ssh", "-V"], "signing with agents, security keys and passphrases"),
];

/// How long a registry has to answer, its token server and a credential helper included.
const PATIENCE: Duration = Duration::from_secs(15);

/// One thing that was looked for.
#[derive(Serialize, JsonSchema)]
struct Finding {
    /// `promo`, `provider`, `tool` or what else it is.
    what: &'static str,
    /// Its name.
    name: String,
    /// `good`, `missing` or `bad`.
    state: &'static str,
    /// Its version, or what is wrong.
    detail: String,
}

/// What this machine has.
#[derive(Serialize, JsonSchema)]
pub(crate) struct View {
    /// What the document is.
    kind: &'static str,
    /// Its format.
    format: u32,
    /// Version of promo.
    version: &'static str,
    /// Whether nothing is bad.
    healthy: bool,
    /// Everything that was looked for.
    findings: Vec<Finding>,
    /// The next command.
    next: String,
}

pub(crate) fn run(ui: &Ui, global: &Global, _arguments: &Arguments) -> Result<Exit, CliError> {
    let mut findings = vec![Finding {
        what: "promo",
        name: env!("CARGO_PKG_VERSION").to_owned(),
        state: "good",
        detail: format!("time zones {}", promo_core::windows::tzdb_version()),
    }];
    for (name, version) in global.wiring.providers().versions() {
        findings.push(Finding { what: "provider", name, state: "good", detail: version });
    }
    for (name, argv, about) in TOOLS {
        let (state, detail) = match wait(version(argv))? {
            Some(version) => ("good", version),
            None => ("missing", format!("needed for {about}")),
        };
        findings.push(Finding { what: "tool", name: (*name).to_owned(), state, detail });
    }
    let (mut of_ledger, mut of_files, mut of_places) = (None, "promo check", None);
    match project::rules(global) {
        Ok(rules) => {
            of_ledger = files(&rules, &mut findings);
            kept_tags(&rules, &mut findings);
            keys(&rules, &mut findings);
            programs(global, &rules, &mut findings, &mut of_places)?;
            checks(global, &rules, &mut findings)?;
            directories(&rules, &mut findings, &mut of_places);
            if !global.offline {
                registries(&rules, &mut findings, &mut of_places)?;
                clusters(&rules, &mut findings, &mut of_places)?;
            }
        }
        Err(error) => {
            let problem = error.problem();
            let mut detail = problem.message.clone();
            problem.causes.iter().for_each(|cause| detail.push_str(&format!(": {cause}")));
            match problem.code {
                "pipeline-not-found" => {
                    of_files = "promo init";
                    detail.push_str("; `promo quickstart` shows what one is for");
                }
                // Whoever reads it again finds no more than this.
                "file-unreadable" => of_files = "promo explain file-unreadable",
                _ => {}
            }
            findings.push(Finding { what: "files", name: error.problem().code.to_owned(), state: "bad", detail });
        }
    }
    let healthy = findings.iter().all(|f| f.state != "bad");
    let next = match findings.iter().find(|f| f.state == "bad").map(|f| f.what) {
        None => "promo status",
        Some("ledger") => of_ledger.unwrap_or("promo ledger verify"),
        Some("check") => "promo explain check-not-runnable",
        Some("program" | "cluster" | "namespace" | "registry" | "directory") => {
            of_places.as_deref().unwrap_or("promo check")
        }
        Some(_) => of_files,
    };
    let view = View {
        kind: "promo.doctor",
        format: 1,
        version: env!("CARGO_PKG_VERSION"),
        healthy,
        findings,
        next: ui.to_paste(next),
    };
    if ui.format() == Format::Json {
        ui.json(&view);
    } else {
        let rows: Vec<Vec<String>> = view
            .findings
            .iter()
            .map(|f| {
                let sign = match f.state {
                    "good" => label(Label::Good, "✓"),
                    "missing" => label(Label::Waiting, "…"),
                    _ => label(Label::Bad, "✗"),
                };
                vec![sign, f.what.to_owned(), line(&f.name), line(&f.detail)]
            })
            .collect();
        ui.data(&format!("{}{}", table::columns(&rows, "", ui.width()), ui.next(next)));
    }
    Ok(if view.healthy { DONE } else { Exit(1) })
}

/// The first line that a tool says of its version.
async fn version(argv: &[&str]) -> Option<String> {
    let runner = Processes::new(CancellationToken::new());
    let mut request = ProcessRequest::new(argv.iter().map(|s| (*s).to_owned()).collect(), ".".into());
    request.timeout = Duration::from_secs(5);
    let output = runner.run(request).await.ok()?;
    let said = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    String::from_utf8_lossy(&said).lines().next().map(|l| l.trim().to_owned())
}

/// Looks at the files. Gives the command that leads on from a bad ledger.
fn files(rules: &Rules, findings: &mut Vec<Finding>) -> Option<&'static str> {
    for (what, path) in &rules.files {
        let digest = input::at_most(path, Limits::default().bytes)
            .map_or_else(|e| e.to_string(), |bytes| Digest::of(&bytes).to_string());
        findings.push(Finding { what, name: path.display().to_string(), state: "good", detail: digest });
    }
    let (state, detail, next) = match ledger(rules) {
        Ok(detail) => ("good", detail, None),
        Err((detail, next)) => ("bad", detail, Some(next)),
    };
    findings.push(Finding { what: "ledger", name: rules.ledger.display().to_string(), state, detail });
    next
}

/// What leads on from a ledger that is not the pinned one, and from one that cannot be read: the answer of the latter has
/// the code, and the next command for it.
const OTHER: &str = "promo explain ledger-other";
const UNREAD: &str = "promo ledger verify";
const UNWRITTEN: &str = "promo explain ledger-unusable";

/// Whether the ledger verifies, extends the pinned checkpoint, and can be written.
fn ledger(rules: &Rules) -> Result<String, (String, &'static str)> {
    let unread = |error: StoreError| (error.to_string(), UNREAD);
    if rules.checkpoint.is_none() {
        SqliteStore::not_lost(&rules.ledger).map_err(unread)?;
    }
    if !rules.ledger.is_file() {
        if let Some(pinned) = &rules.checkpoint {
            return Err((
                format!("not there, and the trust file pins one of {}", counted(pinned.size, "record")),
                OTHER,
            ));
        }
        writable(&rules.ledger)?;
        return Ok("made when something is first written".to_owned());
    }
    let store = SqliteStore::open_read_only(&rules.ledger).map_err(unread)?;
    let verified = promo_ledger::verify_against(&store, rules.checkpoint.as_slice());
    let records = match verified {
        Ok(report) => format!("{}, verified", counted(report.records, "record")),
        Err(VerifyError::Store(error)) => return Err(unread(error)),
        Err(VerifyError::Findings(findings)) => {
            let (pinned, own): (Vec<_>, Vec<_>) = findings.iter().partition(|f| f.what == What::Checkpoint);
            return Err(if own.is_empty() {
                let differs = pinned.iter().map(|f| format!("expected {}, found {}", f.expected, f.found));
                (format!("not the one that the trust file pins: {}", differs.collect::<Vec<_>>().join("; ")), OTHER)
            } else {
                (format!("{}{}", own[0], and_more(own.len() - 1)), UNREAD)
            });
        }
    };
    writable(&rules.ledger)?;
    let Some(pinned) = &rules.checkpoint else { return Ok(records) };
    Ok(format!("{records}, which extend the {} that the trust file pins", pinned.size))
}

/// How many more there are.
fn and_more(others: usize) -> String {
    if others == 0 { String::new() } else { format!(" (and {others} more)") }
}

/// Whether the ledger can be written, and files made beside it, as SQLite does whenever it writes.
fn writable(ledger: &Path) -> Result<(), (String, &'static str)> {
    let refused = |place: &Path, error: &std::io::Error| {
        (format!("nothing can be recorded: {} cannot be written: {error}", place.display()), UNWRITTEN)
    };
    let ledger = std::path::absolute(ledger).map_err(|error| refused(ledger, &error))?;
    if ledger.is_file() {
        std::fs::OpenOptions::new().append(true).open(&ledger).map_err(|error| refused(&ledger, &error))?;
    }
    let place = ledger.ancestors().skip(1).find(|directory| directory.is_dir());
    place.map_or(Ok(()), |place| tempfile::tempfile_in(place).map(drop).map_err(|error| refused(place, &error)))
}

/// What keeps the tags of each repository that the pipeline copies to where they are. No server is asked.
fn kept_tags(rules: &Rules, findings: &mut Vec<Finding>) {
    for tag in tags::of_destinations(&rules.governed.pipeline) {
        let state = if tag.is_movable() { "missing" } else { "good" };
        let detail = format!("{}: {}", tag.level, tag.known);
        let finding = Finding { what: "tags", name: tag.tag, state, detail };
        // Several environments may copy to one place.
        if !findings.iter().any(|known| known.what == finding.what && known.name == finding.name) {
            findings.push(finding);
        }
    }
}

/// The keys with which promotions are told of, each with its public one: only whoever applies needs them.
fn keys(rules: &Rules, findings: &mut Vec<Finding>) {
    let told = rules.governed.pipeline.environments.values().filter_map(|declared| declared.attest.as_ref());
    let names: BTreeSet<&str> = told.map(|attest| attest.key.as_str()).collect();
    let context = Context { root: rules.root.clone(), ..tags::outside() };
    for name in names {
        let (state, detail) = match signing_key(&context, name) {
            Ok(key) => {
                let public = key.public().der();
                ("good", format!("SHA256:{}, public key {}", Digest::of(&public).hex(), key.public().base64()))
            }
            Err(error) if context.secrets.get(name).is_none() => ("missing", error.to_string()),
            Err(error) => ("bad", error.to_string()),
        };
        findings.push(Finding { what: "key", name: name.to_owned(), state, detail });
    }
}

/// The programs of this machine that deployments are made with, and which of them cannot be.
fn programs(
    global: &Global,
    rules: &Rules,
    findings: &mut Vec<Finding>,
    next: &mut Option<String>,
) -> Result<(), CliError> {
    let providers = global.wiring.providers();
    for (name, found) in wait(promo_engine::programs(&rules.governed.pipeline, &providers, &rules.root))?? {
        findings.push(finding("program", name, found, next));
    }
    Ok(())
}

/// Whether the directories that the pipeline deploys to can be looked at and written to; one that is not there yet is made.
fn directories(rules: &Rules, findings: &mut Vec<Finding>, next: &mut Option<String>) {
    let declared = rules.governed.pipeline.environments.values().flat_map(|declared| declared.targets.values());
    let named: BTreeMap<&str, &Target> =
        declared.filter_map(|target| Some((target.0.get("directory")?.as_str(), target))).collect();
    for (name, target) in named {
        findings.push(finding(
            "directory",
            name.to_owned(),
            promo_providers::directory::reached(&rules.root, target),
            next,
        ));
    }
}

/// Whether the clusters answer that the pipeline deploys to or checks, in which version, and whether its namespaces are there.
fn clusters(rules: &Rules, findings: &mut Vec<Finding>, next: &mut Option<String>) -> Result<(), CliError> {
    let mut named: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for target in rules.governed.pipeline.environments.values().flat_map(|declared| declared.targets.values()) {
        if let Some(cluster) = target.0.get("cluster") {
            named.entry(cluster).or_default().extend(target.0.get("namespace").map(String::as_str));
        }
    }
    let context = tags::outside();
    let late = || ProviderError::new(ErrorKind::Transient, format!("does not answer within {} s", PATIENCE.as_secs()));
    for (name, namespaces) in named {
        let reached = wait(async {
            let reached =
                tokio::time::timeout(PATIENCE, Reached::of(&context, name)).await.unwrap_or_else(|_| Err(late()))?;
            let mut there = Vec::new();
            for namespace in namespaces {
                let has = tokio::time::timeout(PATIENCE, reached.has(&context, namespace)).await;
                there.push((namespace, has.unwrap_or_else(|_| Err(late()))));
            }
            Ok((reached.version().to_owned(), there))
        })?;
        let (version, there) = match reached {
            Ok((version, there)) => (Ok(version), there),
            // Of its namespaces nothing is known.
            Err(error) => (Err(error), Vec::new()),
        };
        findings.push(finding("cluster", name.to_owned(), version, next));
        for (namespace, has) in there {
            let has = has.map(|()| "is there".to_owned());
            findings.push(finding("namespace", format!("{namespace} of {name}"), has, next));
        }
    }
    Ok(())
}

/// The command that shows the page of what was not found.
fn page_of(kind: ErrorKind) -> String {
    command_line(["promo", "explain", promo_engine::provider_code(kind)])
}

/// What was found, or why not; of the first that was not, the page.
fn finding(
    what: &'static str,
    name: String,
    found: Result<String, ProviderError>,
    next: &mut Option<String>,
) -> Finding {
    match found {
        Ok(detail) => Finding { what, name, state: "good", detail },
        Err(error) => {
            next.get_or_insert_with(|| page_of(error.kind));
            Finding { what, name, state: "bad", detail: error.to_string() }
        }
    }
}

/// Whether the checks of the pipeline could be run on this machine. None is.
fn checks(global: &Global, rules: &Rules, findings: &mut Vec<Finding>) -> Result<(), CliError> {
    // A check that says the same in several environments is told once.
    let mut said: BTreeSet<(String, &'static str, String)> = BTreeSet::new();
    for (environment, name, reason) in readiness(global, rules)? {
        said.insert(match reason {
            None => (name.to_string(), "good", "could be run here".to_owned()),
            Some(reason) => (name.to_string(), "bad", format!("{environment}: {reason}")),
        });
    }
    findings.extend(said.into_iter().map(|(name, state, detail)| Finding { what: "check", name, state, detail }));
    Ok(())
}

/// Each check of each environment, with why it could not be run here.
pub(crate) fn readiness(
    global: &Global,
    rules: &Rules,
) -> Result<Vec<(EnvironmentName, CheckName, Option<Reason>)>, CliError> {
    let (pipeline, providers) = (&rules.governed.pipeline, global.wiring.providers());
    let mut out = Vec::new();
    for environment in pipeline.environments.keys() {
        let found = wait(promo_engine::readiness(pipeline, &providers, &rules.root, environment))??;
        out.extend(found.into_iter().map(|(check, reason)| (environment.clone(), check, reason)));
    }
    Ok(out)
}

/// An error with everything beneath it, in a line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    let words: Vec<String> = std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect();
    words.join(": ")
}

/// Whether the registries of the pipeline answer, and with which credentials. A layout on disk needs no server.
fn registries(rules: &Rules, findings: &mut Vec<Finding>, next: &mut Option<String>) -> Result<(), CliError> {
    let pipeline = &rules.governed.pipeline;
    let mirrors = pipeline.environments.values().flat_map(|environment| environment.mirror.values());
    let places = pipeline.artifacts.values().map(|artifact| &artifact.repository).chain(mirrors);
    // One repository for each registry: credentials may differ below that, and that is shown where they are used.
    let mut hosts: BTreeMap<String, String> = BTreeMap::new();
    for place in places {
        let place = place.strip_prefix("oci://").unwrap_or(place);
        if let Some((host, repository)) = place.split_once('/').filter(|_| !place.starts_with("oci-layout:")) {
            hosts.entry(host.to_ascii_lowercase()).or_insert_with(|| repository.to_owned());
        }
    }
    let context = tags::outside();
    // A person waits for this, so each registry is asked once.
    let once = Retry { attempts: 1, ..Retry::default() };
    let network = match Network::of(&context) {
        Ok(network) => network.with_retry(once),
        Err(error) => {
            let (name, detail) = ("registries.toml".to_owned(), error.to_string());
            findings.push(Finding { what: "registry", name, state: "bad", detail });
            next.get_or_insert_with(|| page_of(error.kind));
            return Ok(());
        }
    };
    for (host, repository) in hosts {
        let probe = async { tokio::time::timeout(PATIENCE, network.probe(&host, &repository)).await };
        let (state, detail) = match wait(probe)? {
            Ok(Ok(said)) => ("good", said),
            Ok(Err(error)) => {
                let said = with_causes(&error);
                next.get_or_insert_with(|| page_of(ProviderError::from(error).kind));
                ("bad", said)
            }
            Err(_) => {
                next.get_or_insert_with(|| page_of(ErrorKind::Transient));
                ("bad", format!("does not answer within {} s", PATIENCE.as_secs()))
            }
        };
        findings.push(Finding { what: "registry", name: host, state, detail });
    }
    Ok(())
}
