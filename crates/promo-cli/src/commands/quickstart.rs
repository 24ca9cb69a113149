//! `promo quickstart [DIR]`: writes the example pipeline, makes keys, builds two images, and takes them along with the
//! very commands that a reader would type. Needs no server and no other tool than a shell for the example's checks.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use promo_engine::clock::SystemClock;
use promo_engine::exit;
use promo_engine::signature::SigningKey;
use promo_providers::oci::build::{Image, image};
use promo_providers::oci::{Location, Network, Store};
use secrecy::ExposeSecret as _;

use super::approve::refused;
use crate::cli::{self, Format, Global, Kind};
use crate::error::{CliError, command_line};
use crate::exit::{DONE, Exit};
use crate::output::labels::{Label, label};
use crate::project::{self, Access};
use crate::runtime;
use crate::save;
use crate::ui::Ui;
use crate::view::answers::Example;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A directory that does not exist yet, or is empty
    #[arg(value_name = "DIR", default_value = "promo-quickstart")]
    into: PathBuf,
}

macro_rules! files {
    ($($path:literal),+ $(,)?) => {
        /// The example, file by file; `pipelines/quickstart` in the repository.
        const FILES: &[(&str, &str)] = &[$(($path, include_str!(concat!("../../../../pipelines/quickstart/", $path)))),+];
    };
}

files! {
    "README.md",
    "checks/load.sh",
    "checks/smoke.sh",
    "config/common.env",
    "config/dev.env",
    "config/perf.env",
    "config/production.env",
    "config/qa.env",
    "config/staging.env",
    "policy.toml",
    "promo.toml",
    "templates/service.toml.j2",
}

/// Who signs, and the key in the example's policy that the one that is made takes the place of: Dana asks, Riley approves.
const SIGNERS: [(&str, &str); 2] = [
    ("dana", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFkzHMPIVe7M1y9+VJFiOHHoqyYExbaOOrB/p/LNJfor"),
    ("riley", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKEKgmaSTM0ITpKs90JHIYUXKvHahFptOsHvJ9kBPNLR"),
];

/// Where the second release asks for more than production has.
const GREEDY: &str = "# The second release needs more workers than production has.\nNEEDS_WORKERS=6\n";

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let directory = &arguments.into;
    prepare(directory)?;
    let guide = Guide { ui, global };
    guide.tell(&format!("Writing an example into {}", directory.display()));
    for (path, text) in FILES.iter().filter(|(path, _)| *path != "policy.toml") {
        write(&directory.join(path), text.as_bytes())?;
    }
    let policy = FILES.iter().find(|(path, _)| *path == "policy.toml").map_or("", |(_, text)| text);
    let mut policy = policy.to_owned();
    for (who, example) in SIGNERS {
        let key = SigningKey::generate(who).map_err(|e| refused(&e))?;
        let private = key.to_openssh().map_err(|e| refused(&e))?;
        write_private(&directory.join("keys").join(who), private.expose_secret().as_bytes())?;
        let public = key.public_key().to_string();
        write(&directory.join(format!("keys/{who}.pub")), format!("{public}\n").as_bytes())?;
        policy = policy.replace(example, &public);
    }
    write(&directory.join("policy.toml"), policy.as_bytes())?;
    std::env::set_current_dir(directory).map_err(|e| CliError::file("entered", directory, &e))?;
    let place = global.directory.as_deref().map_or_else(|| directory.clone(), |from| from.join(directory));
    if let Err(error) = story(&guide) {
        // What leads on is about the example, and goes by no ledger and no rules but its own.
        let (directory, policy) = (Some(place), Some("policy.toml".into()));
        let inside = Global { directory, policy, ledger: None, trust: None, ..global.clone() };
        return Ok(error.report(&ui.for_call(&inside)));
    }
    let shown = place.to_string_lossy();
    guide.tell(&format!("Everything is in {shown}: go there, `export PROMO_POLICY=policy.toml`, and try it yourself"));
    ui.talk(&format!(
        "{shown}/README.md says what to try; sign with `--key keys/dana --signer built-in`, and as Riley with `keys/riley`.\n\
         For a pipeline of your own: docs/guide/first-promotion.md in promo's repository, then approvals.md and when-it-fails.md beside it"
    ));
    let next = command_line(["promo", "-C", &shown, "--policy", "policy.toml", "history"]);
    if ui.format() == Format::Json {
        ui.answer(&Example { directory: shown.into_owned(), next });
    } else {
        ui.data(&format!("{} {next}\n", label(Label::Next, "Next:")));
    }
    Ok(DONE)
}

/// Two releases on their way to production.
fn story(guide: &Guide<'_>) -> Result<(), CliError> {
    guide.tell("A build makes version 1.0.0, and reports it");
    build("1.0.0")?;
    guide.command(&["release", "add", "shop=1.0.0", "--alias", "1.0.0", "--as", "ci"], exit::DONE)?;
    guide.tell("What starts by itself: dev, then qa and perf side by side, then staging, which joins them");
    guide.command(&["advance", "--as", "ci"], exit::DONE)?;
    guide
        .tell("Production never starts by itself. Dana plans and asks with her key, Riley reads and signs, CI applies");
    production(guide, exit::DONE)?;

    guide.tell("Version 1.1.0 needs more workers. They are there in staging, but not in production");
    save::put(Path::new("config/common.env"), GREEDY.as_bytes())?;
    build("1.1.0")?;
    guide.command(&["release", "add", "shop=1.1.0", "--alias", "1.1.0", "--as", "ci"], exit::DONE)?;
    guide.command(&["advance", "--as", "ci"], exit::DONE)?;
    production(guide, exit::ROLLED_BACK)?;

    guide.tell("The check failed, and production is back on 1.0.0 with its configuration. Why?");
    guide.command(&["why", "production", "1.1.0", "--as", "dana"], exit::DONE)?;
    guide.command(&["status"], exit::DONE)?;
    guide.command(&["ledger", "verify"], exit::DONE)?;
    Ok(())
}

/// Plan, request, approval and apply of production.
fn production(guide: &Guide<'_>, expected: u8) -> Result<(), CliError> {
    guide.command(&["plan", "production", "--out", "production.plan.json", "--as", "dana"], exit::DONE)?;
    let ask = ["request", "production.plan.json", "--key", "keys/dana", "--signer", "built-in", "--as", "dana"];
    guide.command(&ask, exit::DONE)?;
    let sign = ["approve", "production.plan.json", "--key", "keys/riley", "--signer", "built-in", "--as", "riley"];
    guide.command(&sign, exit::DONE)?;
    guide.command(&["apply", "production.plan.json", "--as", "ci"], expected)
}

/// Runs commands as a reader would type them, and says what they are for.
struct Guide<'a> {
    ui: &'a Ui,
    global: &'a Global,
}

impl Guide<'_> {
    fn tell(&self, text: &str) {
        self.ui.talk(&format!("\n{}", label(Label::Strong, text)));
    }

    fn command(&self, words: &[&str], expected: u8) -> Result<(), CliError> {
        self.ui.talk(&format!("{} promo {}", label(Label::Dim, "$"), words.join(" ")));
        let line: Vec<std::ffi::OsString> =
            ["promo", "--policy", "policy.toml"].iter().chain(words).map(Into::into).collect();
        let mut parsed = cli::parse(&line).map_err(cli::Stopped::into_error)?;
        parsed.global.color = self.global.color;
        parsed.global.format = if self.ui.format() == Format::Json { Format::Json } else { Format::Text };
        parsed.global.timezone.clone_from(&self.global.timezone);
        // In the story `ci` is a job and the others are people, whoever runs it.
        let job = parsed.global.actor.as_deref() == Some("ci");
        parsed.global.actor_kind = Some(if job { Kind::Automation } else { Kind::Human });
        // Variables that name the user's own are not meant here: the example writes into its own ledger only.
        (parsed.global.trust, parsed.global.ledger, parsed.global.directory) = (None, None, None);
        parsed.global.example = true;
        parsed.global.wiring = self.global.wiring.clone();
        // The example needs no server anyway.
        parsed.global.offline = false;
        let Exit(found) = parsed.command.run(&self.ui.for_call(&parsed.global), &parsed.global)?;
        if found == expected {
            return Ok(());
        }
        let message = format!("`promo {}` ended with {found}", words.join(" "));
        Err(CliError::new("unexpected", exit::FAILURE, message, "promo doctor")
            .differs(expected.to_string(), found.to_string())
            .details(failed(&self.ui.for_call(&parsed.global), &parsed.global)))
    }
}

/// Why the newest promotion failed, as the ledger has it.
fn failed(ui: &Ui, global: &Global) -> Option<String> {
    let project = project::open(ui, global, Access::Read).ok()?;
    let view = project.session.view().ok()?;
    let all = view.environments.iter().flat_map(|(name, known)| known.history.iter().map(move |one| (name, one)));
    let (name, newest) = all.filter(|(_, one)| one.told.is_some()).max_by_key(|(_, one)| one.started)?;
    Some(format!("{name}: {}", project.session.detail_seen(newest.told?).ok()??))
}

/// The directory must be new or empty: nothing of the user's is ever overwritten.
fn prepare(directory: &Path) -> Result<(), CliError> {
    std::fs::create_dir_all(directory).map_err(|e| CliError::file("made", directory, &e))?;
    let mut entries = std::fs::read_dir(directory).map_err(|e| CliError::file("read", directory, &e))?;
    if entries.next().is_some() {
        let message = format!("{} is not empty", directory.display());
        return Err(CliError::new("exists-already", 65, message, "promo quickstart another-directory"));
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let failed = |e: std::io::Error| CliError::file("written", path, &e);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    save::create(path, bytes)
}

/// A private key is readable by its owner only, from its first byte on.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    use std::io::Write as _;
    let failed = |e: std::io::Error| CliError::file("written", path, &e);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).and_then(|mut file| file.write_all(bytes)).map_err(failed)
}

/// Builds an image of a version into the development registry, which is a directory.
fn build(version: &str) -> Result<(), CliError> {
    let failed = |e: &(dyn std::error::Error + 'static)| {
        CliError::new("unexpected", exit::FAILURE, "the example image cannot be built", "promo doctor").because(e)
    };
    let location: Location = "oci-layout:registry/shop".parse().expect("invariant: the example's repository is valid");
    let built = runtime::wait(async {
        let network = Network::new(promo_sdk::Http::default(), Arc::new(SystemClock));
        let store = Store::open(&location, Path::new("."), &network)?;
        let labels = [("org.opencontainers.image.version", version)];
        let layers = vec![format!("the shop, version {version}\n").into_bytes()];
        image(&store, version, &Image::new(labels, layers)).await
    })?;
    built.map(|_| ()).map_err(|e| failed(&e))
}
