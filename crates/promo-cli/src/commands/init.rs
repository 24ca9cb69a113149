//! `promo init`: a pipeline and an example policy for this repository, from flags or by asking on a terminal.

use std::path::{Path, PathBuf};

use clap::Args;
use inquire::InquireError;
use inquire::validator::Validation;
use promo_core::approval::PublicKey;
use promo_core::config;
use promo_core::ids::{ArtifactName, EnvironmentName, IdentityName, PipelineName};
use promo_core::model::Tier;
use promo_engine::{EngineError, signature};

use crate::cli::{Format, Global};
use crate::error::CliError;
use crate::exit::{DONE, Exit};
use crate::output::labels::{Label, label};
use crate::project::PIPELINE_FILE as PIPELINE;
use crate::ui::Ui;
use crate::view::answers::Initialized;
use crate::{input, save};

/// Where the example policy goes.
const POLICY: &str = "policy.toml";

/// The template that every environment starts from.
const TEMPLATE: &str = "deploy/release.env.j2";

/// What is in it.
const SAMPLE: &str =
    "# What each environment gets: put your own templates here.\nIMAGE={{ artifacts.app.reference }}\n";

/// What git leaves alone.
const IGNORE: &str = ".gitignore";

/// The most of a `.gitignore` that is read, in bytes.
const IGNORE_BYTES: usize = 1024 * 1024;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Name of the pipeline; the directory's when it is not given
    #[arg(long)]
    name: Option<PipelineName>,
    /// Repository of the image, such as registry.example/shop/api
    #[arg(long, value_name = "REPOSITORY")]
    image: Option<String>,
    /// Environments in order, the last one production
    #[arg(long, value_delimiter = ',', value_name = "ENV,…")]
    environments: Vec<EnvironmentName>,
    /// Your public key, to approve with; the first of ~/.ssh/id_*.pub when left out
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

/// What the files are made from.
struct Answers {
    name: PipelineName,
    image: String,
    environments: Vec<EnvironmentName>,
    /// Who approves: the user, as far as that is a name.
    approver: IdentityName,
    /// Their key and the file it came from.
    key: Option<(PathBuf, PublicKey)>,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let there = |file: &Path| std::fs::symlink_metadata(file).is_ok();
    if there(Path::new(PIPELINE)) {
        return Err(save::exists(Path::new(PIPELINE)));
    }
    let ignore = ignore_ledger()?;
    let answers = answers(ui, global, arguments)?;
    let pipeline = pipeline(&answers);
    readable(global, &pipeline)?;
    let (mut written, mut kept) = (vec![PIPELINE], Vec::new());
    for (name, text) in [(POLICY, policy(&answers)), (TEMPLATE, SAMPLE.to_owned())] {
        let file = Path::new(name);
        if there(file) {
            kept.push(name);
            continue;
        }
        if let Some(directory) = file.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory).map_err(|e| CliError::file("made", directory, &e))?;
        }
        save::create(file, text.as_bytes())?;
        written.push(name);
    }
    if let Some(text) = ignore {
        save::put(Path::new(IGNORE), text.as_bytes())?;
        written.push(IGNORE);
    }
    // Last: where it is not there, what was begun can be repeated.
    save::create(Path::new(PIPELINE), pipeline.as_bytes())?;
    let next = Global { policy: Some(POLICY.into()), ..global.clone() }.suggest(&["check"]);
    if ui.format() == Format::Json {
        let files = written.into_iter().map(str::to_owned).collect();
        ui.answer(&Initialized { files, next });
        return Ok(DONE);
    }
    let mut out = format!("wrote {}\n", written.join(", "));
    if !kept.is_empty() {
        let were = if kept.len() == 1 { "was" } else { "were" };
        out.push_str(&format!("kept {}, which {were} there already\n", kept.join(", ")));
    }
    let who = &answers.approver;
    match &answers.key {
        // Who may approve is what that policy says.
        _ if kept.contains(&POLICY) => {}
        Some((file, _)) => {
            // The private half, where it lies beside; else an agent holds it, and the public one names it.
            let private = file.with_extension("");
            let key = if private.is_file() { private } else { file.clone() };
            let key = key.to_string_lossy();
            let sign = global.suggest(&["approve", "PLAN", "--key", &key]);
            out.push_str(&format!("{who} may approve, with the key of {}: `{sign}`\n", file.display()));
        }
        None => out.push_str(&format!(
            "nobody can approve yet: make a key with `ssh-keygen -t ed25519` and put its .pub line into `keys` of {who} in {POLICY}\n"
        )),
    }
    out.push_str(&format!("{} {next}\n", label(Label::Next, "Next:")));
    ui.data(&out);
    Ok(DONE)
}

fn answers(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Answers, CliError> {
    let here = std::env::current_dir().ok().and_then(|d| d.file_name()?.to_str().map(str::to_lowercase));
    let proposed: Option<PipelineName> = here.and_then(|name| name.parse().ok());
    let name = match (&arguments.name, ui.is_interactive()) {
        (Some(name), _) => name.clone(),
        (None, true) => {
            let default = proposed.as_ref().map_or("app", PipelineName::as_str);
            ask("Name of the pipeline?", default, |text| text.trim().parse().map_err(|e| format!("{e}")))?
        }
        (None, false) => proposed.ok_or_else(missing)?,
    };
    let image = match (&arguments.image, ui.is_interactive()) {
        (Some(image), _) => repository(image).map_err(|why| CliError::invalid_value("--image", &why, None))?,
        (None, true) => ask("Repository of the image?", &format!("registry.example/{name}/app"), repository)?,
        (None, false) => return Err(missing()),
    };
    let environments = if !arguments.environments.is_empty() {
        several(arguments.environments.clone())
    } else {
        let default = "dev,staging,production";
        if ui.is_interactive() { Ok(ask("Environments, in order?", default, listed)?) } else { listed(default) }
    };
    let environments = environments.map_err(|why| CliError::invalid_value("--environments", &why, None))?;
    let user = global.actor.clone().or_else(|| std::env::var("USER").ok());
    let approver = user.and_then(|user| user.to_lowercase().parse().ok());
    let approver = approver.unwrap_or_else(|| "release-manager".parse().expect("invariant: a name"));
    let key = match &arguments.key {
        Some(file) => {
            let wrong = |error| {
                let message = format!("{} cannot be used as a key", file.display());
                CliError::new("file-unreadable", 65, message, "promo init --help")
                    .because(&error)
                    .in_file(file)
                    .expected("an OpenSSH public key, such as ~/.ssh/id_ed25519.pub")
            };
            Some((file.clone(), signature::read_public_key(file).map_err(wrong)?))
        }
        None => usual_key(),
    };
    Ok(Answers { name, image, environments, approver, key })
}

/// Asks until there is an answer that can be used.
fn ask<T>(question: &str, default: &str, read: fn(&str) -> Result<T, String>) -> Result<T, CliError> {
    let usable = move |text: &str| {
        Ok(match read(text) {
            Ok(_) => Validation::Valid,
            Err(why) => Validation::Invalid(why.into()),
        })
    };
    let answer = inquire::Text::new(question).with_default(default).with_validator(usable).prompt();
    let answer = answer.map_err(|error| match error {
        InquireError::OperationInterrupted | InquireError::OperationCanceled => {
            let stopped = CliError::from(EngineError::Stopped).said("stopped: nothing was written");
            stopped.go_on_with(&["promo", "init"])
        }
        _ => missing(),
    })?;
    read(&answer).map_err(|why| CliError::invalid_value(question, &why, None))
}

/// Environments that are listed with commas.
fn listed(text: &str) -> Result<Vec<EnvironmentName>, String> {
    let names = text.split(',').map(|name| name.trim().parse().map_err(|e| format!("{e}")));
    several(names.collect::<Result<_, _>>()?)
}

/// At least two environments, none of them twice.
fn several(names: Vec<EnvironmentName>) -> Result<Vec<EnvironmentName>, String> {
    if names.len() < 2 {
        return Err("expected at least two: one before production, and production".to_owned());
    }
    match names.iter().enumerate().find(|(place, name)| names[..*place].contains(name)) {
        Some((_, twice)) => Err(format!("`{twice}` is named twice")),
        None => Ok(names),
    }
}

/// A text that can stand as the repository of an image; what it names is judged with the whole pipeline.
fn repository(text: &str) -> Result<String, String> {
    let text = text.trim();
    let wrong = text.is_empty() || text.contains(['"', '\\', ' ']) || text.chars().any(char::is_control);
    if wrong { Err("that is no repository, such as registry.example/shop/api".to_owned()) } else { Ok(text.to_owned()) }
}

/// The first public key of the user's that can approve.
fn usual_key() -> Option<(PathBuf, PublicKey)> {
    let directory = PathBuf::from(std::env::var_os("HOME")?).join(".ssh");
    let files = ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"].map(|file| directory.join(file));
    files.into_iter().find_map(|file| signature::read_public_key(&file).ok().map(|key| (file, key)))
}

/// A `.gitignore` that keeps the local ledger out of git: the one that is there and a line more. None, where it does so
/// already. It is read before anything is written, so that one that cannot be read leaves no half of a project.
fn ignore_ledger() -> Result<Option<String>, CliError> {
    let path = Path::new(IGNORE);
    let mut text = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        _ => input::text_at_most(path, IGNORE_BYTES).map_err(|error| CliError::file("read", path, &error))?,
    };
    if text.lines().any(|line| matches!(line.trim(), ".promo" | ".promo/" | "/.promo" | "/.promo/")) {
        return Ok(None);
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(".promo/\n");
    Ok(Some(text))
}

/// Refuses answers of which a pipeline is made that cannot be read: nobody shall be left with files that `check` refuses.
fn readable(global: &Global, pipeline: &str) -> Result<(), CliError> {
    let (_, diagnostics) = config::pipeline(pipeline, &global.wiring.kinds());
    let Some(wrong) = diagnostics.iter().find(|found| found.is_error()) else { return Ok(()) };
    let of_environments = pipeline.find("\n[environments.").zip(wrong.labels.first());
    let flag = match of_environments {
        Some((begin, label)) if label.span.start > begin => "--environments",
        _ => "--image",
    };
    Err(CliError::invalid_value(flag, &wrong.message, wrong.help.clone()))
}

fn missing() -> CliError {
    CliError::new(
        "not-interactive",
        64,
        "promo init asks on a terminal only",
        "promo init --image registry.example/shop/app",
    )
    .expected("--image REPOSITORY, and --name where the directory's name is not one")
}

/// The tier of an environment by its place: the last is production, the one before it staging, the first development.
fn tier(place: usize, count: usize) -> Tier {
    match (place, count - place) {
        (_, 1) => Tier::Production,
        (_, 2) => Tier::Staging,
        (0, _) => Tier::Development,
        _ => Tier::Testing,
    }
}

fn pipeline(answers: &Answers) -> String {
    let artifact: ArtifactName = "app".parse().expect("invariant: a name");
    let mut out = format!(
        "# What is promoted, and from where to where. `promo check` reads it, `promo graph` draws it.\nformat = 1\n\n\
         [pipeline]\nname = \"{}\"\n\n[artifacts.{artifact}]\nimage = \"{}\"\n\n\
         [defaults.deploy.directory]           # every environment starts from this\n\
         templates = [\"{TEMPLATE}\"]\n\n\
         [checks.deployed]                     # replace it by what tells you that it works\n\
         command = {{ run = [\"true\"], timeout = \"1m\" }}\n",
        answers.name, answers.image
    );
    let count = answers.environments.len();
    for (place, name) in answers.environments.iter().enumerate() {
        let tier = tier(place, count);
        let production = tier == Tier::Production;
        out.push_str(&format!("\n[environments.{name}]\ntier = \"{tier}\"\n"));
        if place > 0 {
            out.push_str(&format!("after = [\"{}\"]\n", answers.environments[place - 1]));
        }
        out.push_str(&format!("start = \"{}\"\n", if production { "manual" } else { "auto" }));
        out.push_str(&format!("target = {{ directory = \"environments/{name}\" }}\nverify = [\"deployed\"]\n"));
        if production {
            out.push_str("windows = [\"office-hours\"]\non_failure = \"rollback\"\n");
            out.push_str(&format!("\n[[environments.{name}.approval]]\ncount = 1\nfrom = [\"release-manager\"]\n"));
        }
    }
    out.push_str(
        "\n[windows.office-hours]\neffect = \"allow\"\ntimezone = \"UTC\"\n\
         weekly = { days = [\"mon\", \"tue\", \"wed\", \"thu\"], start = \"09:00\", end = \"16:00\" }\n",
    );
    out
}

fn policy(answers: &Answers) -> String {
    let production = answers.environments.last().expect("invariant: at least two");
    let approver = &answers.approver;
    // Nobody's key stands in for one: whoever has its private half could approve.
    let keys = match &answers.key {
        Some((_, key)) => format!("keys = [\"{key}\"]"),
        None => "# keys = [\"ssh-ed25519 …\"]           # the line of their .pub file: until it stands here nobody can approve".into(),
    };
    format!(
        "# An example of the platform's side. It belongs into the platform's repository: a trust file names it there.\n\
         format = 1\n\n[policy]\nname = \"{}\"\nversion = 1\n\n\
         [identities.{approver}]\nroles = [\"release-manager\"]\n{keys}\n\n\
         [[claims]]\ndirectory = \"environments/{production}\"\ntier = \"production\"\n\n\
         [[claims]]\ndirectory = \"environments\"\ntier = \"development\"\n\n\
         # With a second person here, add `exclude = [\"initiator\"]` to the rule: then nobody approves what they asked for.\n\
         [tiers.production]\napproval = [{{ count = 1, from = [\"release-manager\"] }}]\n",
        answers.name
    )
}
