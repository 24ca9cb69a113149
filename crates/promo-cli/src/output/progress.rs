//! Progress while a plan is applied: moving lines on a terminal, plain ones in CI, events for programs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use promo_core::counted::counted;
use promo_core::gate::{self, Seconds};
use promo_core::ids::EnvironmentName;
use promo_engine::{Holder, Progress, Sink};

use crate::cli::Format;
use crate::escape;
use crate::output::labels::{Label, label};
use crate::output::time::took;
use crate::output::{endings, standing as words};
use crate::ui::Ui;

/// How wide the longest name of an environment is: whatever they say, their lines are in line.
pub(crate) fn width<'a>(names: impl IntoIterator<Item = &'a EnvironmentName>) -> usize {
    // The names are ASCII.
    names.into_iter().map(|name| name.as_str().len()).max().unwrap_or_default()
}

/// Where the engine's progress goes; `width` is that of the names that it may bear.
pub(crate) fn sink(ui: &Ui, width: usize) -> Sink {
    let ui = ui.clone();
    if ui.format() == Format::Json {
        return Arc::new(move |event| ui.event(&event));
    }
    let lines = environments(&ui, width);
    Arc::new(move |event| match &event {
        Progress::WaitingForLock { resource, holder, until } => {
            ui.event(&event);
            let (resource, holder) = (escape::line(resource), Holder::of(holder, *until));
            ui.talk(&format!("{resource} is locked: {holder}; waiting for it to lapse (Ctrl-C stops)"));
        }
        Progress::Waiting { why, gates, .. } => {
            ui.event(&event);
            let closed: Vec<String> =
                gate::closed(gates).into_iter().map(|gate| escape::line(&gate.reason.to_string())).collect();
            let closed = if closed.is_empty() { String::new() } else { format!(": {}", closed.join("; ")) };
            ui.talk(&format!("waiting, {}{closed} (Ctrl-C stops)", escape::line(why)));
        }
        _ => lines(event),
    })
}

/// On a terminal a moving line for each environment with what is under way, below a line for each thing that has happened; elsewhere
/// a line for each event.
fn environments(ui: &Ui, width: usize) -> Sink {
    let ui = ui.clone();
    if !ui.is_interactive() {
        return Arc::new(move |event| {
            ui.event(&event);
            if let Some((name, text)) = told(&event) {
                ui.talk(&format!("{name:<width$} {text}"));
            }
        });
    }
    let bars = MultiProgress::new();
    let plain = anstream::AutoStream::choice(&std::io::stderr()) == anstream::ColorChoice::Never;
    let lines: Mutex<BTreeMap<EnvironmentName, ProgressBar>> = Mutex::default();
    Arc::new(move |event| {
        ui.event(&event);
        let Some((name, text)) = told(&event) else { return };
        // Bars are drawn beside the streams that take colour away where it is not wanted.
        let text = if plain { anstream::adapter::strip_str(&text).to_string() } else { text };
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = lines.entry(name.clone()).or_insert_with(|| {
            let style = ProgressStyle::with_template(&format!("{{spinner}} {{prefix:{width}}} {{wide_msg}}"));
            let bar = bars.add(ProgressBar::new_spinner().with_prefix(name.to_string()));
            bar.set_style(style.expect("invariant: the template is well formed whatever the width"));
            bar.enable_steady_tick(std::time::Duration::from_millis(120));
            bar
        });
        let over = matches!(
            event,
            Progress::PromotionFinished { .. } | Progress::NotStarted { .. } | Progress::WaveClosed { .. }
        );
        if passes(&event) {
            return bar.set_message(text);
        }
        if over {
            bar.finish_and_clear();
        } else {
            bar.set_message("");
        }
        // What has happened stays, above what is under way; where the terminal has gone away there is nobody to tell.
        let _gone = bars.println(format!("{name:<width$} {text}"));
    })
}

/// Whether an event only tells what is under way: the next one of its environment takes its place on a terminal.
const fn passes(event: &Progress) -> bool {
    matches!(
        event,
        Progress::StepStarted { .. }
            | Progress::CheckStarted { .. }
            | Progress::Watching { .. }
            | Progress::Pausing { .. }
    )
}

/// What happened, in words.
fn told(event: &Progress) -> Option<(EnvironmentName, String)> {
    let (environment, text) = match event {
        Progress::RunStarted { .. } | Progress::Waiting { .. } | Progress::WaitingForLock { .. } => return None,
        Progress::PromotionStarted { environment, release, configuration, .. } => {
            let with = configuration.as_ref().map(|files| format!(" with {}", endings::another(files)));
            (environment, format!("{release} enters{}", with.unwrap_or_default()))
        }
        Progress::DrillStarted { environment, release, back, .. } => {
            (environment, format!("drill: {release} goes back to {back} and comes again"))
        }
        Progress::DrillTurned { environment, back, passed: true, milliseconds, .. } => {
            let text = format!("{back} is back and verified after {}", took(*milliseconds));
            (environment, label(Label::Good, &text))
        }
        Progress::DrillTurned { environment, back, why, .. } => {
            let why = why.as_deref().map(|why| format!(": {}", words::first(why).0)).unwrap_or_default();
            (environment, label(Label::Bad, &format!("going back to {back} failed{why}")))
        }
        Progress::NotStarted { environment, why, .. } => (environment, format!("not started: {}", escape::line(why))),
        Progress::StepStarted { environment, step } => (environment, format!("{step} …")),
        Progress::StepDone { environment, step, detail, milliseconds, .. } => {
            (environment, format!("{step}: {} ({milliseconds} ms)", escape::line(detail)))
        }
        // The promotion was verified by then, and stands.
        Progress::StepFailed { environment, step, why } if step.starts_with(&format!("{environment}/attest/")) => {
            (environment, label(Label::Waiting, &format!("{step} is left out: {}", escape::line(why))))
        }
        Progress::StepFailed { environment, step, why } => {
            // The whole of it is told once, where the run ends.
            let text = format!("{step} failed: {}", words::first(why).0);
            (environment, label(Label::Bad, &text))
        }
        Progress::CheckStarted { environment, check } => (environment, format!("check {check} …")),
        Progress::CheckDone { environment, check, passed, detail, milliseconds } => {
            let (sign, style) = if *passed { ("✓", Label::Good) } else { ("✗", Label::Bad) };
            let sign = label(style, sign);
            (environment, format!("{sign} {check}: {} ({milliseconds} ms)", escape::line(detail)))
        }
        Progress::CheckUnanswered { environment, check, why } => {
            let text = format!("{check} gave no verdict: {}", escape::line(why));
            (environment, label(Label::Waiting, &text))
        }
        Progress::Watching { environment, seconds, asked } => {
            (environment, format!("watched for {} more, asked {}", Seconds(*seconds), counted(*asked, "time")))
        }
        Progress::Pausing { environment, wave, seconds, .. } => {
            let text = format!("waiting {} until wave {wave} (Ctrl-C stops)", gate::Seconds(*seconds));
            (environment, label(Label::Waiting, &text))
        }
        Progress::WaveClosed { environment, why, .. } => {
            (environment, label(Label::Waiting, &format!("stopped: {}", escape::line(why))))
        }
        Progress::RollingBack { environment, to, why, configuration } => {
            let before = if configuration.is_some() { " as it was configured before" } else { "" };
            let text = format!("going back to {to}{before}: {}", words::first(why).0);
            (environment, label(Label::Waiting, &text))
        }
        Progress::PromotionFinished { environment, release, outcome, open, configuration } => {
            // How its run ends is not known yet, and that it went back has been told.
            let ended = endings::promotion(*outcome, None, false, !open.is_empty());
            let (text, style) = endings::brought(ended, configuration.as_deref());
            (environment, format!("{release} {}", label(style, &text)))
        }
    };
    Some((environment.clone(), text))
}
