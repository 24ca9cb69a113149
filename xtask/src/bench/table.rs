//! Rows as a table of Markdown, so that what is worth keeping can be pasted into `docs/performance.md`.

use super::measure::{Contender, Result, Spread, in_turns};
use crate::Outcome;

/// What the first contender of a row must not exceed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bar {
    /// Seconds from start to end.
    pub(super) wall: Option<f64>,
    /// Seconds of CPU.
    pub(super) cpu: Option<f64>,
    /// MiB of peak memory.
    pub(super) peak: Option<f64>,
    /// What is noted after each run.
    pub(super) note: Option<f64>,
}

const MIB: f64 = 1_048_576.0;

/// Prints the head of a group's table.
pub(super) fn head(title: &str, note: &str) {
    println!("\n{title}\n");
    println!(
        "| row | who | runs | wall s (least–most) | CPU s (least–most) | peak MiB | {note} | CPU against peer | bar |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
}

/// Measures the contenders and prints a line for each; the first one is promo, and those after it are peers. Returns
/// the median CPU seconds of the first.
pub(super) fn row(name: &str, mut contenders: Vec<Contender<'_>>, runs: u32, bar: Bar) -> Outcome<f64> {
    let results = in_turns(&mut contenders, runs)?;
    let medians: Vec<f64> = results.iter().map(|r| cpu(r).median).collect();
    for (place, result) in results.iter().enumerate() {
        let (wall, cpu) = (Spread::of(result.samples.iter().map(|s| s.wall)), cpu(result));
        let peak = Spread::of(result.samples.iter().map(|s| s.peak / MIB)).median;
        let note = (!result.notes.is_empty()).then(|| Spread::of(result.notes.iter().copied()).median);
        let ratio = match (place, medians.get(1)) {
            (0, Some(peer)) => format!("{:.3}", cpu.median / peer),
            _ => String::new(),
        };
        let verdict = if place == 0 { verdict(bar, wall.median, cpu.median, peak, note) } else { String::new() };
        println!(
            "| {name} | {} | {} | {} | {} | {peak:.1} | {} | {ratio} | {verdict} |",
            result.name,
            result.samples.len(),
            spread(wall),
            spread(cpu),
            note.map(|n| format!("{n:.0}")).unwrap_or_default(),
        );
    }
    Ok(medians[0])
}

fn cpu(result: &Result) -> Spread {
    Spread::of(result.samples.iter().map(|s| s.cpu))
}

fn spread(spread: Spread) -> String {
    format!("{:.4} ({:.4}–{:.4})", spread.median, spread.least, spread.most)
}

/// `meets`, or what misses with its bar.
fn verdict(bar: Bar, wall: f64, cpu: f64, peak: f64, note: Option<f64>) -> String {
    let judged = [
        ("wall s", bar.wall, Some(wall)),
        ("CPU s", bar.cpu, Some(cpu)),
        ("MiB", bar.peak, Some(peak)),
        ("noted", bar.note, note),
    ];
    let known: Vec<_> = judged.into_iter().filter_map(|(what, bar, found)| Some((what, bar?, found?))).collect();
    let missed: Vec<String> = known
        .iter()
        .filter(|(_, bar, found)| found > bar)
        .map(|(what, bar, found)| format!("MISSES {bar} {what} ({found:.3})"))
        .collect();
    match (known.is_empty(), missed.is_empty()) {
        (true, _) => String::new(),
        (false, true) => "meets".to_owned(),
        (false, false) => missed.join(", "),
    }
}

/// Prints with which exponent the CPU seconds of the first contender grew since the size before, and what it must not exceed.
pub(super) fn growth(before: &mut Option<(f64, f64)>, size: usize, cpu: f64, bar: f64) {
    let now = (f64::from(u32::try_from(size).unwrap_or(u32::MAX)), cpu);
    if let Some(before) = before.replace(now) {
        let exponent = exponent(before, now);
        let verdict = if exponent > bar { "MISSES" } else { "meets" };
        println!("| growth to {size} | promo | | | exponent {exponent:.2} | | | | {verdict} {bar} |");
    }
}

/// The exponent with which a cost grew from one size to another.
fn exponent(from: (f64, f64), to: (f64, f64)) -> f64 {
    (to.1 / from.1).ln() / (to.0 / from.0).ln()
}

#[cfg(test)]
mod tests {
    use super::{Bar, exponent, verdict};

    #[test]
    fn a_bar_that_is_missed_is_named_with_what_was_found() {
        let bar = Bar { cpu: Some(0.15), peak: Some(60.0), ..Bar::default() };
        assert_eq!(verdict(bar, 9.0, 0.1, 59.0, None), "meets");
        assert_eq!(verdict(bar, 9.0, 0.2, 59.0, None), "MISSES 0.15 CPU s (0.200)");
        assert_eq!(verdict(Bar::default(), 9.0, 0.2, 59.0, None), "");
    }

    #[test]
    fn a_cost_that_grows_with_the_square_has_the_exponent_two() {
        assert!((exponent((100.0, 1.0), (1000.0, 100.0)) - 2.0).abs() < 1e-9);
    }
}
