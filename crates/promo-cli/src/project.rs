//! Opens what a verb works on: the pipeline file, the trust file or local mode, the policy, the ledger. What must not live
//! here: what any of them means.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use etcetera::BaseStrategy as _;
use jiff::Timestamp;
use promo_core::approval::Roster;
use promo_core::clock::Present;
use promo_core::config::{self, Limits, Loaded};
use promo_core::diagnostic::Diagnostic;
use promo_core::ids::GateName;
use promo_core::ledger::{Actor, ActorKind};
use promo_core::plan::LedgerRef;
use promo_core::policy::{self, Governed, Policy, TrustMode};
use promo_core::requirement::EvidenceGate;
use promo_core::trust::{self, Trust};
use promo_engine::clock::SystemClock;
use promo_engine::{EngineError, Governance, Session};
use promo_ledger::{Checkpoint, MemoryStore, SqliteStore, Store, StoreError};
use promo_providers::signatures;
use tokio_util::sync::CancellationToken;

use crate::cli::{Global, Kind};
use crate::error::{CliError, who};
use crate::escape::{line, shell_word};
use crate::input;
use crate::output::diagnostics::{self, DiagnosticView};
use crate::output::labels::{Label, label};
use crate::ui::{Ui, in_ci};
use crate::wiring;

/// The name of the pipeline file.
pub(crate) const PIPELINE_FILE: &str = "promo.toml";

/// A pipeline that can be worked on.
pub(crate) struct Project {
    /// The engine's side.
    pub(crate) session: Session,
    /// Where its futures run.
    pub(crate) runtime: tokio::runtime::Runtime,
    ledger: PathBuf,
    policy: Option<Policy>,
}

/// A pipeline with its rules, and what there is to say about the files.
pub(crate) struct Rules {
    /// The directory of the pipeline file.
    pub(crate) root: PathBuf,
    /// The pipeline under its policy.
    pub(crate) governed: Governed,
    /// Who policy knows.
    pub(crate) roster: Roster,
    /// The policy, where there is one.
    pub(crate) policy: Option<Policy>,
    /// Whether the trust file pins the policy's digest.
    pinned: bool,
    /// Where the ledger is.
    pub(crate) ledger: PathBuf,
    /// The checkpoint that the trust file pins.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// Warnings, drawn.
    pub(crate) warnings: String,
    /// The same as views.
    pub(crate) warning_views: Vec<DiagnosticView>,
    /// The files that were read: what each is, and its path.
    pub(crate) files: Vec<(&'static str, PathBuf)>,
}

/// Whether a verb writes to the ledger (S0.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Only reads; a ledger that is not there yet is an empty one.
    Read,
    /// Writes; a ledger that is not there yet is made.
    Write,
}

/// Opens the project of the working directory.
pub(crate) fn open(ui: &Ui, global: &Global, access: Access) -> Result<Project, CliError> {
    let project = open_unread(ui, global, access)?;
    match project.admit() {
        // What was decided under it is refused where something is decided; reading changes nothing, and has to go on while
        // whoever keeps the policy mends it.
        Err(error) if access == Access::Read && error.problem().code == "policy-reused" => {
            let says = format!("{}: gates are told by it, and nothing can be planned with it", error.problem().message);
            ui.talk(&format!("{}: {} (promo explain policy-reused)", label(Label::Warning, "warning"), line(&says)));
            project.admit_expiry(Present::readings)?;
        }
        admitted => admitted?,
    }
    Ok(project)
}

/// The same, with a ledger of which nothing has been read: for whoever looks for damage in it first.
pub(crate) fn open_unread(ui: &Ui, global: &Global, access: Access) -> Result<Project, CliError> {
    let rules = rules(global)?;
    if !rules.warnings.is_empty() && ui.verbose() > 0 {
        ui.talk(&rules.warnings);
    }
    let nothing = std::fs::metadata(&rules.ledger).is_err();
    // What was named and is not there may be a slip of the pen: an empty ledger would be told in its place.
    if matches!(access, Access::Read) && nothing && global.ledger.is_some() {
        let path = shown(&rules.ledger);
        ui.talk(&format!("There is no ledger at {path} yet: the first verb that writes makes one", path = line(&path)));
    }
    let absent = matches!(access, Access::Write) && !global.example && nothing;
    let store = global.wiring.ledger(store(&rules.ledger, rules.checkpoint.as_ref(), access)?);
    if absent {
        let (path, origin) = (shown(&rules.ledger), store.origin());
        ui.talk(&format!(
            "There was no ledger at {path}: a new, empty one was made there, {}",
            crate::escape::line(&origin)
        ));
    }
    let (pinned, checkpoint) = (rules.pinned, rules.checkpoint);
    let governance = Governance { pinned, checkpoint, ..Governance::of(rules.governed, rules.roster) };
    let (providers, actor) = (global.wiring.providers(), actor(global));
    if matches!(access, Access::Write) && actor.name == UNKNOWN {
        let says = "nothing says who acts, so it is recorded as by `unknown`: name yourself with --as or PROMO_ACTOR";
        ui.talk(&format!("{}: {says}", label(Label::Warning, "warning")));
    }
    let session = Session::new(governance, store, providers, Arc::new(SystemClock), actor, rules.root);
    let session = session.with_documents(Arc::new(wiring::Formats));
    let session = session.with_repositories(Arc::new(promo_providers::git::Git));
    let session = if global.offline { session.offline() } else { session };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .map_err(|e| CliError::new("unexpected", 1, "the runtime cannot be started", "promo doctor").because(&e))?;
    Ok(Project { session, runtime, ledger: rules.ledger, policy: rules.policy })
}

impl Project {
    /// Reads the whole ledger, which must extend the checkpoint that is pinned and let this policy work with it. Whether the
    /// policy has expired is asked of every clock that was read: one that went back prolongs nothing.
    pub(crate) fn admit(&self) -> Result<(), CliError> {
        self.admit_by(Present::readings)
    }

    /// The same by the ledger's clock alone: for whoever takes it as it is, since a record that is ahead may lie behind the
    /// policy's last day.
    pub(crate) fn admit_by_the_clock(&self) -> Result<(), CliError> {
        self.admit_by(|present| [present.at; 2])
    }

    fn admit_by(&self, readings: impl FnOnce(&Present) -> [Timestamp; 2]) -> Result<(), CliError> {
        self.session.admit_policy().map_err(|error| match error {
            error @ EngineError::OtherLedger { .. } => CliError::from(error).in_file(&self.ledger),
            error @ EngineError::PolicyNotAdopted { found: None, .. } => {
                with_policy_beside(error.into(), self.session.root())
            }
            error => error.into(),
        })?;
        self.admit_expiry(readings)
    }

    /// Whether the policy has not expired, by these readings of the clocks.
    fn admit_expiry(&self, readings: impl FnOnce(&Present) -> [Timestamp; 2]) -> Result<(), CliError> {
        let readings = readings(&self.session.present()?);
        match self.policy.as_ref().filter(|policy| readings.into_iter().any(|at| policy.expired(at))) {
            Some(policy) => {
                let last = policy.expires.map(|date| date.to_string()).unwrap_or_default();
                let message =
                    format!("the policy {} v{} expired: its last day was {last}", policy.name, policy.version);
                Err(CliError::new("policy-expired", 65, message, "promo explain policy-expired").who(who::PLATFORM))
            }
            None => Ok(()),
        }
    }
}

/// A target directory as it really is: links followed as far as it exists, and relative to the pipeline where it lies
/// below it. So a claim and a lock meet it whatever way it is written (S0.2). `root` is free of links.
fn settled(root: &Path, directory: &str) -> String {
    let full = root.join(directory);
    let mut missing = Vec::new();
    let mut existing = full.as_path();
    let real = loop {
        // One look where nothing is yet: following each part of a path costs several.
        let real = existing.symlink_metadata().and_then(|_| existing.canonicalize());
        match (real, existing.parent(), existing.file_name()) {
            (Ok(real), ..) => break real,
            (Err(_), Some(parent), Some(name)) => {
                missing.push(name.to_owned());
                existing = parent;
            }
            // `..` below something that is not there: the provider refuses it.
            _ => return directory.to_owned(),
        }
    };
    let real = missing.iter().rev().fold(real, |path, name| path.join(name));
    real.strip_prefix(root).unwrap_or(&real).to_str().map_or_else(|| directory.to_owned(), str::to_owned)
}

/// The same of a repository, where it is an image layout, which is a directory.
fn settled_repository(root: &Path, repository: &str) -> String {
    match repository.strip_prefix("oci-layout:") {
        Some(path) => format!("oci-layout:{}", settled(root, path)),
        None => repository.to_owned(),
    }
}

/// Reads pipeline, trust and policy, and lays policy over the pipeline.
pub(crate) fn rules(global: &Global) -> Result<Rules, CliError> {
    let path = find()?;
    let root = path.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    let unlinked = root.canonicalize().unwrap_or_else(|_| root.clone());
    let mut files = vec![("pipeline", path.clone())];
    // Policy comes first: it may raise the limits within which the pipeline is read at all (S13.2).
    let trust = trust_file(global, &root)?;
    let (policy, ledger, mode) = match &trust {
        Some((file, trust)) => {
            let base = file.parent().unwrap_or(Path::new("."));
            let (policy_path, ledger) = (base.join(&trust.policy.path), base.join(&trust.ledger));
            agrees("policy", global.policy.as_deref(), &policy_path, file)?;
            agrees("ledger", global.ledger.as_deref(), &ledger, file)?;
            files.extend([("trust", file.clone()), ("policy", policy_path.clone())]);
            let policy = read_policy(&unlinked, &policy_path)?;
            if let Err(diagnostic) = trust.admit(&policy) {
                return Err(invalid(file, &read(file, &Limits::default())?, &[diagnostic]));
            }
            (Some(policy), ledger, TrustMode::Trusted)
        }
        None => {
            files.extend(global.policy.iter().map(|policy| ("policy", policy.clone())));
            let read =
                |path: &Path| read_policy(&unlinked, path).map_err(|error| from_here(error, "policy", path, &root));
            let policy = global.policy.as_deref().map(read).transpose()?;
            let ledger = global.ledger.clone().unwrap_or_else(|| root.join(".promo/ledger.db"));
            (policy, ledger, TrustMode::Local)
        }
    };
    let limits = policy.as_ref().map_or_else(Limits::default, |policy| policy.limits);
    let kinds = global.wiring.kinds();
    let text = read(&path, &limits)?;
    let Loaded { pipeline, mut repeated, places, diagnostics: mut all } = config::load(&text, &kinds, &limits);
    let Some(mut pipeline) = pipeline else { return Err(invalid(&path, &text, &all)) };
    for environment in pipeline.environments.values_mut() {
        let targets = environment.targets.values_mut();
        for directory in targets.filter_map(|target| target.0.get_mut("directory")) {
            *directory = settled(&unlinked, directory);
        }
        for to in environment.mirror.values_mut() {
            *to = settled_repository(&unlinked, to);
        }
    }
    if let Some((file, trust)) = &trust {
        // The pipeline may spell it in its own way, as long as it means the same file.
        let base = file.parent().unwrap_or(Path::new("."));
        for (said, trusted) in [(&mut repeated.ledger, &trust.ledger), (&mut repeated.policy, &trust.policy.path)] {
            if said.as_ref().is_some_and(|said| real(&root.join(said)) == real(&base.join(trusted))) {
                *said = Some(trusted.clone());
            }
        }
        all.extend(trust.compare(&repeated, &places));
    } else {
        let named = [("policy", &repeated.policy, global.policy.as_ref()), ("ledger", &repeated.ledger, Some(&ledger))];
        let told = named.into_iter().filter_map(|(key, said, used)| unheeded(&root, key, said.as_deref()?, used));
        all.extend(told.map(|told| match places.get(&format!("pipeline.{}", told.0)) {
            Some(span) => told.1.label(span, ""),
            None => told.1,
        }));
    }
    roots_can_be_used(&path, &pipeline.gates)?;
    let (governed, more) = policy::govern(&pipeline, &places, policy.as_ref(), mode);
    all.extend(more);
    let (Some(governed), false) = (governed, all.iter().any(Diagnostic::is_error)) else {
        let error = invalid(&path, &text, &all);
        return Err(if policy.is_none() { with_policy_beside(error, &root) } else { error });
    };
    let name = shown(&path);
    let warnings = diagnostics::draw(&name, &text, &all);
    let warning_views = diagnostics::views(&name, &text, &all);
    let roster = policy.as_ref().map_or_else(Roster::default, |policy| policy.roster.clone());
    let (pinned, checkpoint) =
        trust.map_or((false, None), |(_, trust)| (trust.policy.digest.is_some(), trust.checkpoint));
    let checkpoint = checkpoint.map(|LedgerRef { origin, size, root }| Checkpoint { origin, size, root });
    Ok(Rules { root, governed, roster, policy, pinned, ledger, checkpoint, warnings, warning_views, files })
}

/// Without a trust file a pipeline does not pick its own judge either: what it says of ledger and policy must be what
/// whoever runs promo named, and is never passed over (S0.1).
fn unheeded(root: &Path, key: &'static str, said: &str, used: Option<&PathBuf>) -> Option<(&'static str, Diagnostic)> {
    let meant = root.join(said);
    if used.is_some_and(|used| real(used) == real(&meant)) {
        return None;
    }
    let used = used.map_or_else(|| "none".to_owned(), |used| format!("`{}`", shown(used)));
    let message = format!("the pipeline names the {key} `{said}`; without a trust file {used} counts");
    let help = format!("name it with `--{key} {said}`, or take the key out: a pipeline may only repeat it");
    Some((key, Diagnostic::new("trust-differs", message).help(help)))
}

/// As whom a record is written where nothing says who acts.
const UNKNOWN: &str = "unknown";

/// The name of the account that promo runs as, where the system tells without being asked in its own language.
fn account() -> Option<String> {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::MetadataExt as _;
        let id = std::fs::metadata("/proc/self").ok()?.uid().to_string();
        let accounts = input::text_at_most(Path::new("/etc/passwd"), 1 << 20).ok()?;
        let mut fields = accounts.lines().map(|line| line.split(':').collect::<Vec<_>>());
        fields.find(|fields| fields.get(2) == Some(&id.as_str())).map(|fields| fields[0].to_owned())
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// Who acts: a claim. Where it is not said whether a person does, a terminal outside of CI says so; a name never does (S5.1).
fn actor(global: &Global) -> Actor {
    let variables =
        || ["USER", "LOGNAME", "USERNAME"].iter().find_map(|v| std::env::var(v).ok().filter(|u| !u.is_empty()));
    let name = global.actor.clone().or_else(variables).or_else(account).unwrap_or_else(|| UNKNOWN.into());
    let person = match global.actor_kind {
        Some(kind) => kind == Kind::Human,
        None => !in_ci() && std::io::stdin().is_terminal(),
    };
    Actor { name, kind: if person { ActorKind::Human } else { ActorKind::Automation } }
}

/// The pipeline file of the working directory or of one above it, as far as the repository goes.
fn find() -> Result<PathBuf, CliError> {
    let here = std::env::current_dir().map_err(|e| CliError::file("entered", Path::new("."), &e))?;
    // Outside of a repository only the directory itself counts: a file further up may be anybody's.
    let repository = here.ancestors().find(|d| d.join(".git").exists());
    let top = repository.unwrap_or(&here);
    for directory in here.ancestors() {
        let path = directory.join(PIPELINE_FILE);
        // Whatever is called so is meant: what it is instead of a file is told when it is read.
        if std::fs::symlink_metadata(&path).is_ok() {
            return Ok(path);
        }
        if directory == top {
            break;
        }
    }
    let beyond = match repository {
        None => "; above it nothing is looked at, as this is no git repository",
        Some(top) if top == here => ", the top of the git repository",
        Some(_) => " or above it, up to the top of the git repository",
    };
    let message = format!("there is no {PIPELINE_FILE} in {}{beyond}", here.display());
    Err(CliError::new("pipeline-not-found", 65, message, "promo init").who(who::PIPELINE))
}

/// Where a trust file is looked for when none is named: first the machine's, which speaks for all its users (S0.1).
fn usual_places() -> Vec<PathBuf> {
    let machine = cfg!(unix).then(|| PathBuf::from("/etc"));
    let user = etcetera::choose_base_strategy().ok().map(|strategy| strategy.config_dir());
    machine.into_iter().chain(user).map(|directory| directory.join("promo/trust.toml")).collect()
}

/// The first of these places at which there is something. What cannot be looked at may be a trust file: to go on without
/// would be local mode, which nobody asked for.
fn first_there(places: Vec<PathBuf>) -> Result<Option<PathBuf>, CliError> {
    for path in places {
        match std::fs::symlink_metadata(&path) {
            Ok(_) => return Ok(Some(path)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(CliError::file("read", &path, &error).go_on_with(&["promo", "doctor"])),
        }
    }
    Ok(None)
}

/// The trust file: of the flag or variable, else of its usual places; never of the repository (S0.1).
fn trust_file(global: &Global, root: &Path) -> Result<Option<(PathBuf, Trust)>, CliError> {
    if global.example {
        return Ok(None);
    }
    let path = match &global.trust {
        Some(named) => Some(named.clone()),
        None => first_there(usual_places())?,
    };
    let Some(path) = path else { return Ok(None) };
    if within_repository(&path, root) {
        let message = format!("the trust file {} lies in the pipeline's own repository", path.display());
        return Err(CliError::new("trust-in-repository", 65, message, "promo explain trust-in-repository")
            .who(who::OPERATOR)
            .in_file(&path));
    }
    let text = read(&path, &Limits::default())?;
    match trust::trust(&text) {
        (Some(trust), diagnostics) if !diagnostics.iter().any(Diagnostic::is_error) => Ok(Some((path, trust))),
        (_, diagnostics) => Err(invalid(&path, &text, &diagnostics)),
    }
}

/// Whether a file lies in the repository of the pipeline at `root`, or below `root` where there is no repository.
fn within_repository(file: &Path, root: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let root = real(root);
    let top = root.ancestors().find(|d| d.join(".git").exists()).unwrap_or(&root);
    real(file).starts_with(top)
}

/// A path as it really is, links followed, whatever way it is written; of a file that is not there yet, where it will be.
fn real(path: &Path) -> PathBuf {
    let above = |path: &Path| Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    path.canonicalize().ok().or_else(|| above(&absolute)).unwrap_or(absolute)
}

/// Whether it is the variable of a global flag that names this.
fn by_variable(key: &str, given: &Path) -> Option<String> {
    let variable = format!("PROMO_{}", key.to_uppercase());
    // A flag that says the same as the variable is no other mistake.
    std::env::var_os(&variable).is_some_and(|said| Path::new(&said) == given).then_some(variable)
}

/// Of a relative path that cannot be read: what names it, from where it is meant, and where such a file does lie. Flags and
/// variables mean one thing, so a variable that was set elsewhere means another file here.
fn from_here(error: CliError, key: &str, given: &Path, root: &Path) -> CliError {
    // What was read was found: where it lies is no news.
    if given.is_absolute() || error.problem().code != "file-unreadable" {
        return error;
    }
    let variable = by_variable(key, given);
    let named = variable.clone().unwrap_or_else(|| format!("--{key}"));
    let here = std::env::current_dir().unwrap_or_default();
    let told = format!("{named} names it from the working directory, which is {}", here.display());
    let beside = root.join(given);
    let way = beside.is_file().then(|| {
        let way = variable.map_or_else(|| format!("--{key} "), |variable| format!("export {variable}="));
        let beside = shell_word(&beside.to_string_lossy());
        format!("such a file lies beside the pipeline: `{way}{beside}` names it from everywhere")
    });
    error.details([told]).details(way)
}

/// Flags and variables may repeat what the trust file names, and cannot change it (S0.1). A policy is what its bytes say,
/// so a copy of it is no other one; of a ledger there is one.
fn agrees(key: &str, given: Option<&Path>, named: &Path, trust: &Path) -> Result<(), CliError> {
    let Some(given) = given.filter(|given| real(given) != real(named)) else { return Ok(()) };
    let bytes = |path: &Path| input::at_most(path, Limits::default().bytes).ok();
    if key == "policy" && bytes(given).is_some_and(|given| bytes(named) == Some(given)) {
        return Ok(());
    }
    let (from, way) = match by_variable(key, given) {
        Some(variable) => {
            let way = format!("`unset {variable}`: where a trust file is in force, nothing else has to name the {key}");
            (variable, way)
        }
        None => (
            format!("--{key}"),
            format!("leave `--{key}` out: where a trust file is in force, nothing else has to name the {key}"),
        ),
    };
    let message = format!("{from} names another {key} than the trust file, which alone decides");
    let place = |path: &Path| match real(path) {
        real if real == path => path.display().to_string(),
        real => format!("{}, which is {}", path.display(), real.display()),
    };
    Err(CliError::new("trust-differs", 65, message, "promo explain trust-differs")
        .who(who::YOU)
        .in_file(trust)
        .differs(format!("{} (`{key}` of the trust file)", place(named)), format!("{} ({from})", place(given)))
        .details([way]))
}

/// Reads the policy. What it claims is settled as the places of the pipeline in `root` are.
fn read_policy(root: &Path, path: &Path) -> Result<Policy, CliError> {
    let text = read(path, &Limits::default())?;
    match policy::policy(&text) {
        (Some(mut policy), diagnostics) if !diagnostics.iter().any(Diagnostic::is_error) => {
            for claim in &mut policy.claims {
                match &mut claim.place {
                    policy::Place::Directory(directory) => *directory = settled(root, directory),
                    policy::Place::Registry(prefix) => *prefix = settled_repository(root, prefix),
                    policy::Place::Cluster { .. } => {}
                }
            }
            roots_can_be_used(path, &policy.gates).map_err(|error| error.who(who::PLATFORM))?;
            Ok(policy)
        }
        (_, diagnostics) => Err(invalid(path, &text, &diagnostics).who(who::PLATFORM)),
    }
}

/// Whether what is believed of certificates can be read: of that the core knows nothing but what it says it is.
fn roots_can_be_used(path: &Path, gates: &BTreeMap<GateName, EvidenceGate>) -> Result<(), CliError> {
    for (name, signer) in gates.values().flat_map(EvidenceGate::named_signers) {
        let Some(root) = signer.trusted_root() else { continue };
        // For keys its authorities of certificates are not needed.
        let usable = if signer.key().is_some() { signatures::witnesses(root) } else { signatures::trusted_root(root) };
        usable.map_err(|why| {
            let message = format!("the trusted root of the signer `{name}` cannot be used: {}", line(&why));
            CliError::new("trusted-root", 65, message, "promo explain trusted-root").who(who::YOU).in_file(path)
        })?;
    }
    Ok(())
}

/// Reads a configuration file as far as `limits` go: the core refuses what is larger.
pub(crate) fn read(path: &Path, limits: &Limits) -> Result<String, CliError> {
    let read = |error| CliError::file("read", path, &error).go_on_with(&["promo", "doctor"]);
    let bytes = input::at_most(path, limits.bytes).map_err(read)?;
    match config::text(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(diagnostic) => {
            // The place is in the text up to the first byte that is none.
            let valid = diagnostic.labels.first().map_or(0, |label| label.span.start);
            let text = String::from_utf8_lossy(bytes.get(..valid).unwrap_or_default());
            Err(invalid(path, &text, &[diagnostic]))
        }
    }
}

/// The policy lies beside the pipeline, and nothing says so: in local mode nobody looks for it.
fn with_policy_beside(error: CliError, root: &Path) -> CliError {
    let policy = root.join("policy.toml");
    if !policy.is_file() {
        return error;
    }
    let shown = shown(&policy);
    // A relative one would mean another file in another directory.
    let everywhere = shell_word(&policy.to_string_lossy());
    let way = format!("no policy was named, and {shown} lies beside the pipeline: `export PROMO_POLICY={everywhere}`");
    error.details([way]).go_on_with(&["promo", "--policy", &shown, "check"])
}

/// A path as people write it from where they stand.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}

/// A file with diagnostics, drawn.
pub(crate) fn invalid(path: &Path, text: &str, diagnostics: &[Diagnostic]) -> CliError {
    let errors = diagnostics.iter().filter(|d| d.is_error()).count();
    let plural = if errors == 1 { "" } else { "s" };
    let message = format!("{} has {errors} error{plural}", shown(path));
    let first = diagnostics.iter().find(|d| d.is_error()).map_or("config-invalid", |d| d.code);
    let next = format!("promo explain {first}");
    let name = shown(path);
    CliError::new("config-invalid", 65, message, next)
        .who(who::PIPELINE)
        .in_file(path)
        .drawn(diagnostics::draw(&name, text, diagnostics))
        .with_diagnostics(diagnostics::views(&name, text, diagnostics))
}

/// Opens the ledger. One of which a checkpoint is pinned is never made: whoever removed it would get a fresh one (S0.1).
fn store(path: &Path, pinned: Option<&Checkpoint>, access: Access) -> Result<Arc<dyn Store>, CliError> {
    let missing = |pinned: &Checkpoint| {
        CliError::from(EngineError::OtherLedger { expected: Box::new(pinned.clone()), found: None }).in_file(path)
    };
    let opened = match (pinned, access) {
        (Some(pinned), _) => match SqliteStore::open_existing(path) {
            Err(
                StoreError::NotALedger { .. }
                | StoreError::NoDatabase { .. }
                | StoreError::Lost { found: StoreError::EMPTY, .. },
            ) if path.exists() => {
                let mut error = missing(pinned);
                let way = "move the file away, and put back a copy of the ledger that is pinned; nothing is made in its place";
                error = error
                    .said("the ledger is not the one that the trust file pins: the file that lies there is no ledger");
                return Err(error.found("a file that is no ledger").details([way.to_owned()]));
            }
            Err(StoreError::NotALedger { .. } | StoreError::NoDatabase { .. }) => return Err(missing(pinned)),
            Err(_) if !path.try_exists().unwrap_or(true) => return Err(missing(pinned)),
            opened => opened,
        },
        (None, Access::Write) => SqliteStore::open(path),
        // Reading verbs make no file (S0.6): where nothing was ever recorded, an empty ledger says so. A link that leads
        // nowhere, a directory that nobody may look into, and what a ledger left behind say nothing of the kind.
        (None, Access::Read) => match std::fs::symlink_metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                SqliteStore::not_lost(path).map_err(|e| CliError::from(EngineError::from(e)).in_file(path))?;
                let clock = Arc::new(|| promo_sdk::Clock::now(&SystemClock));
                return Ok(Arc::new(MemoryStore::new("none yet", clock)));
            }
            _ => SqliteStore::open(path),
        },
    };
    let store = opened.map_err(|e| CliError::from(EngineError::from(e)).in_file(path))?;
    Ok(Arc::new(store))
}

/// How the lock of a run is held.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Lock {
    /// How long the lock of a run outlives its process; it is renewed at a quarter of that
    #[arg(long, value_name = "DURATION", default_value = "60s", env = "PROMO_LEASE_TTL")]
    lease: jiff::SignedDuration,
}

impl Lock {
    /// The lifetime of the lock.
    pub(crate) fn ttl(self) -> Result<std::time::Duration, CliError> {
        let ttl = std::time::Duration::try_from(self.lease).unwrap_or_default();
        if (1..=3_600).contains(&ttl.as_secs()) {
            return Ok(ttl);
        }
        Err(CliError::invalid_value("--lease", &"expected 1 second to 1 hour", None))
    }
}

/// Two-stage Ctrl-C (S9.5): the first one lets the current steps end, the second one stops child processes.
pub(crate) fn stop_on_ctrl_c(ui: &Ui, session: &Session) -> CancellationToken {
    /// Of several that listen, as after a wait, one says so.
    static SAID: AtomicBool = AtomicBool::new(false);
    let stop = CancellationToken::new();
    let (first, second, ui) = (stop.clone(), session.cancelled().clone(), ui.clone());
    tokio::spawn(async move {
        if asked_to_stop().await.is_ok() {
            first.cancel();
            if !SAID.swap(true, Ordering::Relaxed) {
                ui.talk("stopping once what has begun is done; Ctrl-C once more breaks it off");
            }
        }
        if asked_to_stop().await.is_ok() {
            second.cancel();
        }
    });
    stop
}

/// Ctrl-C, or the SIGTERM that CI sends.
#[cfg(unix)]
pub(crate) async fn asked_to_stop() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
pub(crate) async fn asked_to_stop() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_one_place_however_it_is_written_s0_2() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = &directory.path().canonicalize().expect("a directory");
        std::fs::create_dir_all(root.join("environments/production")).expect("a directory");
        std::os::unix::fs::symlink(root.join("environments/production"), root.join("link")).expect("a link");
        let absolute = root.join("environments/production");
        for written in
            ["environments/production", "link", absolute.to_str().expect("text"), "./environments/production"]
        {
            assert_eq!(settled(root, written), "environments/production", "{written}");
        }
        assert_eq!(settled(root, "environments/new/deep"), "environments/new/deep");
    }

    #[test]
    fn the_trust_file_of_the_machine_comes_before_that_of_the_user_and_none_is_passed_over_s0_1() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        let found = || first_there(vec![at("machine"), at("user")]).map_err(|error| error.problem().code);
        assert_eq!(found(), Ok(None));
        std::os::unix::fs::symlink("nowhere", at("user")).expect("a link");
        assert_eq!(found(), Ok(Some(at("user"))));
        std::fs::create_dir(at("machine")).expect("a directory");
        assert_eq!(found(), Ok(Some(at("machine"))));
        assert_eq!(first_there(vec![at("user/below"), at("machine")]).expect("nothing there"), Some(at("machine")));
        std::fs::write(at("file"), "").expect("a file");
        let hidden = first_there(vec![at("file/below"), at("user")]);
        assert_eq!(hidden.expect_err("not to be passed over").problem().code, "file-unreadable");
        let places = usual_places();
        assert_eq!(places.first(), Some(&PathBuf::from("/etc/promo/trust.toml")));
        assert!(places.len() == 2 && places[1].ends_with("promo/trust.toml"), "{places:?}");
    }
}
