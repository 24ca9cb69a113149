//! `promo diff ENV ENV`: how two environments differ, in what is declared for them and in what is not. Writes nothing.

use clap::Args;
use promo_core::counted::counted;
use promo_core::ids::EnvironmentName;
use promo_engine::{compare, exit};

use crate::cli::{Format, Global};
use crate::error::CliError;
use crate::escape;
use crate::exit::{DONE, Exit};
use crate::output::drift::{self as drawn, Style};
use crate::output::{plan_text, table, time};
use crate::project::{self, Access};
use crate::ui::{self, Ui};
use crate::view::Standing;
use crate::view::compare::{Compared, DeclaredView};
use crate::view::drift::Drifts;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The one
    #[arg(value_name = "ENV")]
    left: EnvironmentName,
    /// The other
    #[arg(value_name = "OTHER")]
    right: EnvironmentName,
    /// Only what no declaration explains: what somebody changed by hand
    #[arg(long)]
    undeclared: bool,
    /// Show differences of long texts whole
    #[arg(long)]
    full: bool,
    /// Exit 2 when something differs
    #[arg(long)]
    detailed_exitcode: bool,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let project = project::open(ui, global, Access::Read)?;
    let (session, zone) = (&project.session, ui::zone(global)?);
    let names = [arguments.left.clone(), arguments.right.clone()];
    let looked = project.runtime.block_on(session.drift(&names))?;
    let one = |name: &EnvironmentName| looked.iter().find(|one| one.environment == *name);
    // The same one twice does not differ from itself.
    let declared = match (one(&names[0]), one(&names[1])) {
        (Some(left), Some(right)) => compare::declared(session, left, right)?,
        _ => Vec::new(),
    };
    let (view, now) = (session.view()?, session.now()?);
    let drifts = Drifts::of(&looked, &Standing::of(session, &view)?).pasted_by(ui);
    let failed = drifts.failed();
    let compared = Compared::of(names, declared, drifts, arguments.undeclared);
    print(ui, session, &compared, &Style { now, zone: &zone, full: arguments.full, width: ui.width() });
    Ok(match failed {
        Some(code) => Exit(code),
        None if arguments.detailed_exitcode && compared.differs => Exit(exit::CHANGES),
        None => DONE,
    })
}

fn print(ui: &Ui, session: &promo_engine::Session, compared: &Compared, style: &Style<'_>) {
    if ui.format() == Format::Json {
        return ui.answer(compared);
    }
    let markdown = ui.format() == Format::Markdown;
    let (left, right) = (&compared.left, &compared.right);
    let pipeline = &session.governance().pipeline.name;
    let head = format!("{pipeline} · {left} and {right} · {}", time::long(style.now, style.zone));
    let mut out = if markdown {
        format!("**{head}**\n\n")
    } else {
        table::fold(&format!("promo diff · {head}\n\n"), ui.width())
    };
    let unlike = compared.undeclared.iter().filter(|one| one.state == "differs").count();
    let seen = compared.undeclared.iter().flat_map(|one| &one.places).any(|place| place.state != "not-looked-at");
    let seen = seen || compared.whole;
    let number = |declared: usize| counted(declared, "declared difference");
    let says = match (compared.declared.len(), unlike, compared.left_out.unwrap_or_default()) {
        (0, 0, 0) if compared.whole => format!("{left} and {right} do not differ.\n"),
        (0, 0, declared) if compared.whole => {
            format!("{left} and {right} differ only in what is declared ({declared}).\n")
        }
        (0, 0, _) if !seen => "What is there could be looked at in neither.\n".to_owned(),
        (declared, 0, _) if !seen => {
            format!("{}, and what is there could be looked at in neither.\n", number(declared))
        }
        (0, 0, _) => "Nothing was seen to differ, and not everything could be looked at.\n".to_owned(),
        (0, _, 0) => "No declared difference, and some that no declaration explains.\n".to_owned(),
        (0, _, declared) => {
            format!("{}, left out here, and some that no declaration explains.\n", number(declared))
        }
        (declared, 0, _) => format!("{}, and nothing else that was seen.\n", number(declared)),
        (declared, ..) => format!("{}, and some that no declaration explains.\n", number(declared)),
    };
    out.push_str(&table::fold(&says, style.width));
    if !compared.declared.is_empty() {
        out.push_str("\nDeclared\n");
        if markdown {
            out.push_str(&format!("\n| what | {left} | {right} |\n|---|---|---|\n"));
        }
        let mut lines = Vec::new();
        for one in &compared.declared {
            let (what, left, right) = cells(one);
            if markdown {
                let cell = |text: &str| escape::markdown(text);
                out.push_str(&format!("| {} | {} | {} |\n", cell(&what), cell(&left), cell(&right)));
            } else {
                lines.push(vec![escape::line(&what), escape::line(&left), escape::line(&right)]);
            }
        }
        out.push_str(&table::columns(&lines, "  ", ui.width()));
    }
    out.push_str("\nNot declared\n");
    if markdown {
        out.push('\n');
    }
    for one in &compared.undeclared {
        out.push_str(&if markdown { drawn::markdown(one, style) } else { drawn::environment(one, style) });
    }
    drawn::ways(ui, &compared.also, &compared.next, &mut out);
    ui.data(&out);
}

fn cells(one: &DeclaredView) -> (String, String, String) {
    let what = if one.name.is_empty() { one.what.to_owned() } else { format!("{} {}", one.what, one.name) };
    match &one.lines {
        Some(lines) => {
            let side = |side: &Option<String>| side.as_ref().map_or_else(|| "none".to_owned(), |_| "has it".to_owned());
            match (&one.left, &one.right) {
                (Some(_), Some(_)) => (what, lines.clone(), String::new()),
                (left, right) => (what, side(left), side(right)),
            }
        }
        None => {
            let side =
                |side: &Option<String>| side.as_deref().map_or_else(|| "none".to_owned(), plan_text::short_state);
            (what, side(&one.left), side(&one.right))
        }
    }
}
