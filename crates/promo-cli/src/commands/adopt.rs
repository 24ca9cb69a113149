//! `promo adopt ENV`: what runs there becomes what is declared. Where promo has deployed nothing yet, a plan that takes over what
//! is there; where it has, what the files would have to say. Writes no record.

use std::path::{Path, PathBuf};

use clap::Args;
use promo_core::ids::EnvironmentName;
use promo_core::inputs::FileChange;
use promo_core::model::Deployment;
use promo_core::plan::{Goal, Request};
use promo_core::planner;
use promo_engine::drift::Looked;
use promo_engine::{LeftOut, PLAN_LIFETIME, exit};
use serde_json::Value;

use super::{plan, release};
use crate::cli::{Format, Global};
use crate::engine_error::of_planning;
use crate::error::{CliError, command_line, who};
use crate::escape;
use crate::exit::{DONE, Exit};
use crate::output::drift::{self as drawn, Style};
use crate::output::labels::{Label, label};
use crate::output::{diff, table, time};
use crate::project::{self, Access, Project};
use crate::ui::{self, Ui};
use crate::view::Standing;
use crate::view::adopt::{Adopted, Keeping, Kept};
use crate::view::drift::Drifts;
use crate::view::ways;
use crate::{save, select};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where
    #[arg(value_name = "ENV")]
    environment: EnvironmentName,
    /// First adoption: as this release, by its id, number or alias
    #[arg(long, value_name = "RELEASE")]
    release: Option<String>,
    /// First adoption: save the plan here; it is what `promo apply` takes
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Drift: write what is live into the files that declare it, where they are still as they were deployed
    #[arg(long, conflicts_with_all = ["release", "out"])]
    write: bool,
    /// Show whole differences
    #[arg(long)]
    full: bool,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let project = project::open(ui, global, Access::Read)?;
    let name = &arguments.environment;
    let view = project.session.view()?;
    let Some(environment) = project.session.governance().pipeline.environments.get(name) else {
        return Err(project.session.unknown(name).into());
    };
    // Another place than before is as new to promo as any is before its first deployment.
    let takes = |deploy: &Deployment| to_declare(deploy).is_some() || adopts(deploy);
    let elsewhere = !arguments.write && environment.deploy.as_ref().is_some_and(takes);
    let elsewhere = elsewhere && project.session.declared_elsewhere(&view, name)?;
    if view.current(name).is_some() && !elsewhere {
        return drifted(ui, global, &project, arguments);
    }
    let refused = |why: String| {
        CliError::new("request-invalid", exit::BAD_INPUT, why, command_line(["promo", "plan", name.as_str()]))
    };
    // What a plan may take over stands in the file that is reviewed with it.
    if !environment.deploy.as_ref().is_some_and(adopts) {
        if let Some(declare) = environment.deploy.as_ref().and_then(to_declare) {
            let file = project.session.root().join(project::PIPELINE_FILE);
            let again = command_line(["promo", "adopt", name.as_str(), "--out", &ways::own_file(name)]);
            let error = refused(format!("{name} takes nothing over: {declare}")).in_file(&file);
            return Err(error
                .who(who::PIPELINE)
                .details([format!("once it says so, `{again}` plans it")])
                .go_on_with(&["promo", "explain", "request-invalid"]));
        }
        let why = match environment.deploy.as_ref() {
            Some(deploy) => format!(
                "{name} is deployed with `{}`, which takes nothing over that is there already: only `kubectl` and `helm` do",
                deploy.provider
            ),
            None => format!("{name} deploys nothing: there is nothing that it could take over"),
        };
        return Err(refused(why));
    }
    let release = arguments.release.as_deref().map(|text| select::release(&view, text)).transpose()?;
    let request = Request {
        goal: Goal::Promote,
        environments: [name.clone()].into(),
        release,
        until: None,
        drill: false,
        invoker: project.session.invoker(),
    };
    let planned = project.runtime.block_on(project.session.plan(request, PLAN_LIFETIME));
    let document = planned.map_err(|error| of_planning(error, &project.session, &view))?;
    plan::finish(ui, global, &project, (&document, &LeftOut::new()), arguments.out.as_deref(), arguments.full, false)?;
    release::warn_where_nobody_can_approve(ui, &project, &document)?;
    Ok(DONE)
}

/// Whether a deployment says that it takes over what is there already.
fn adopts(deploy: &Deployment) -> bool {
    deploy.settings.get("adopt").and_then(Value::as_bool) == Some(true)
}

/// What has to be written for a deployment to take over what is there already; nothing where it says so, and where it never can.
pub(crate) fn to_declare(deploy: &Deployment) -> Option<String> {
    let beside = match deploy.provider.as_str() {
        "kubectl" => "manifests",
        "helm" => "chart",
        _ => return None,
    };
    (!adopts(deploy)).then(|| {
        format!(
            "write `adopt = true` beside the `{beside}` of its `deploy.{}`, which counts for its first deployment to a place alone",
            deploy.provider
        )
    })
}

/// What the files would have to say for what is live to be what is declared.
fn drifted(ui: &Ui, global: &Global, project: &Project, arguments: &Arguments) -> Result<Exit, CliError> {
    let (session, zone) = (&project.session, ui::zone(global)?);
    let looked = project.runtime.block_on(session.drift(std::slice::from_ref(&arguments.environment)))?;
    let (view, now) = (session.view()?, session.now()?);
    let drifts = Drifts::of(&looked, &Standing::of(session, &view)?).pasted_by(ui);
    let failed = drifts.failed();
    let shared = planner::shared_files(&session.governance().rules(), &session.files_here()?)
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<_>>();
    let mut files = Vec::new();
    for change in changes(&looked) {
        let path = session.root().join(&change.path);
        let here = std::fs::read_to_string(&path).ok();
        let unchanged = here == change.before;
        let done = here == change.after;
        if arguments.write && unchanged {
            write(&path, change.after.as_deref().unwrap_or_default())?;
        }
        files.push(Kept {
            shared: shared.contains(&change.path),
            state: match (done, unchanged, arguments.write) {
                (true, _, _) => "declared",
                (false, true, true) => "written",
                (false, true, false) => "can-be-written",
                (false, false, _) => "changed-since",
            },
            // Without the lines around: a secret may stand in one.
            lines: changed_lines(&change),
            path: change.path,
        });
    }
    // A file that cannot be read keeps every plan from being made, which is no reason to say nothing else.
    let unreleased: Vec<String> =
        session.unreleased().unwrap_or_default().into_iter().map(|changed| changed.path).collect();
    let values = values_of_chart(project, &arguments.environment, &shared);
    let release = ways::new_release(session);
    let back = ways::way_back(session, &view, &arguments.environment);
    let keeping = Keeping {
        name: &arguments.environment,
        release: &release,
        values: values.as_deref(),
        back: back.as_deref(),
        shares: !shared.is_empty(),
        unreleased: &unreleased,
        write: arguments.write,
    };
    let adopted = Adopted::of(drifts, files, &keeping, |command| ui.to_paste(command));
    if ui.format() == Format::Json {
        ui.answer(&adopted);
    } else {
        let style = Style { now, zone: &zone, full: arguments.full, width: ui.width() };
        print(ui, session, &adopted, arguments.out.as_deref(), &style);
    }
    // Whoever asked for files to be written goes on only where they say what is there.
    let said = adopted.files.iter().any(|file| matches!(file.state, "written" | "declared"));
    let unwritten = arguments.write && adopted.environment.state == "differs" && !said;
    Ok(failed.or(unwritten.then_some(exit::BAD_INPUT)).map_or(DONE, Exit))
}

/// In words, where the values of the chart stand that is deployed to an environment; none where none is.
fn values_of_chart(project: &Project, name: &EnvironmentName, shared: &[String]) -> Option<String> {
    let deploy = project.session.governance().pipeline.environments.get(name)?.deploy.as_ref()?;
    if deploy.provider != "helm" {
        return None;
    }
    let files = deploy.settings.get("values").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    // The last one counts most.
    let told = |file: &str| {
        let shared =
            if shared.iter().any(|path| path == file) { " (shared: a change of it is a new release)" } else { "" };
        format!("`{}`{shared}", escape::line(file))
    };
    let files: Vec<String> = files.rev().map(told).collect();
    Some(if files.is_empty() { "`set` of its `deploy.helm`".to_owned() } else { files.join(" or ") })
}

/// The files that would change, each once: several places have the same.
fn changes(looked: &[Looked]) -> Vec<FileChange> {
    let mut out: Vec<FileChange> = Vec::new();
    let found = looked.iter().flat_map(|one| &one.places).filter_map(|place| place.found.as_ref().ok());
    for change in found.flat_map(|found| &found.files) {
        if !out.iter().any(|known| known.path == change.path) {
            out.push(change.clone());
        }
    }
    out
}

fn changed_lines(change: &FileChange) -> String {
    let changed = |line: &&str| line.starts_with(['-', '+']);
    diff::hunks(change).lines().filter(changed).map(|line| format!("{line}\n")).collect()
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    save::put(path, text.as_bytes())
}

fn print(ui: &Ui, session: &promo_engine::Session, adopted: &Adopted, unwritten: Option<&Path>, style: &Style<'_>) {
    let pipeline = &session.governance().pipeline.name;
    let head = format!("{pipeline} · {}", time::long(style.now, style.zone));
    let markdown = ui.format() == Format::Markdown;
    let mut out = if markdown {
        format!("**{head}**\n\n")
    } else {
        table::fold(&format!("promo adopt · {head}\n\n"), style.width)
    };
    out.push_str(&if markdown {
        drawn::markdown(&adopted.environment, style)
    } else {
        drawn::environment(&adopted.environment, style)
    });
    if adopted.environment.state == "differs" {
        out.push_str(&table::fold(&format!("\n{}\n", adopted.says), ui.width()));
    }
    for file in &adopted.files {
        let state = match file.state {
            "declared" => "says so already",
            "written" => "written",
            "can-be-written" => "to change; --write does it",
            _ => "to change by hand: it is not as it was deployed any more",
        };
        let shared = if file.shared { "; shared: a change of it is a new release" } else { "" };
        out.push_str(&table::fold(&format!("\n  {} ({state}{shared})\n", escape::line(&file.path)), style.width));
        for line in file.lines.lines() {
            let kind = if line.starts_with('+') { Label::Good } else { Label::Bad };
            out.push_str(&format!("  {}\n", label(kind, &escape::line(line))));
        }
    }
    if let Some(path) = unwritten {
        let file = escape::line(&path.to_string_lossy());
        out.push_str(&table::fold(
            &format!(
                "\n{file} was not written: promo has deployed there already, so that there is nothing to take over.\n"
            ),
            style.width,
        ));
    }
    drawn::ways(ui, &adopted.also, &adopted.next, &mut out);
    ui.data(&out);
}
