//! `promo history [ENV]`: every promotion, newest first.

use clap::Args;
use promo_core::ids::EnvironmentName;
use promo_core::ledger::view::Promotion;
use promo_core::planner;

use crate::cli::{Format, Global};
use crate::error::CliError;
use crate::escape;
use crate::exit::{DONE, Exit};
use crate::output::labels::label;
use crate::output::{progress, table, time};
use crate::project::{self, Access};
use crate::ui::{self, Ui};
use crate::view::answers::{History, PastPromotion};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only here
    #[arg(value_name = "ENV")]
    environment: Option<EnvironmentName>,
}

pub(crate) fn run(ui: &Ui, global: &Global, arguments: &Arguments) -> Result<Exit, CliError> {
    let project = project::open(ui, global, Access::Read)?;
    let (view, zone) = (project.session.view()?, ui::zone(global)?);
    let mut rows: Vec<_> = view
        .environments
        .iter()
        .filter(|(name, _)| arguments.environment.as_ref().is_none_or(|only| only == *name))
        .flat_map(|(name, environment)| {
            environment.history.iter().chain(&environment.active).map(move |promotion| (name, promotion))
        })
        .collect();
    rows.sort_by_key(|(_, promotion)| std::cmp::Reverse(promotion.started));
    if ui.format() == Format::Json {
        let line = |(name, p): (&EnvironmentName, &Promotion)| PastPromotion {
            environment: name.clone(),
            run: p.run.clone(),
            from: p.from.clone(),
            to: p.to.clone(),
            movement: p.movement,
            started: p.started,
            finished: p.finished.map(|f| f.0),
            outcome: p.finished.map(|f| f.1),
            by: p.by.name.clone(),
            plan: p.plan,
        };
        ui.answer(&History { promotions: rows.into_iter().map(line).collect() });
        return Ok(DONE);
    }
    if rows.is_empty() {
        ui.data(&format!("Nothing was promoted yet.\n{}", ui.next("promo plan")));
    }
    let mut lines = Vec::new();
    for (name, promotion) in rows {
        let from =
            promotion.from.as_ref().map_or_else(|| "nothing".into(), |r| planner::reference(&view, r).to_string());
        let to = planner::reference(&view, &promotion.to);
        let ended = promotion.finished.map_or_else(
            || "is under way".to_owned(),
            |(_, outcome)| {
                let (words, style) = progress::outcome_words(outcome);
                label(style, words)
            },
        );
        let (at, by) = (time::short(promotion.started, &zone), escape::line(&promotion.by.name));
        lines.push(vec![at, name.to_string(), format!("{from} → {to}"), ended, format!("by {by}")]);
    }
    ui.data(&table::columns(&lines, "", ui.width()));
    Ok(DONE)
}
