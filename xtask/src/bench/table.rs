//! Rows as a table of Markdown, so that what is worth keeping can be pasted into `docs/performance.md`.

use super::Bench;
use super::measure::{Contender, Result, Spread, in_turns};
use crate::Outcome;

/// What the first contender of a row must not exceed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bar {
    /// Seconds from start to end.
    pub(super) wall: Option<f64>,
    /// Seconds of CPU.
    pub(super) cpu: Option<f64>,
    /// MiB of peak memory.
    pub(super) peak: Option<f64>,
    /// What is noted after each run.
    pub(super) note: Option<f64>,
    /// Seconds from start to end against those of the fastest peer; judged where there is one.
    pub(super) against: Option<f64>,
    /// What is noted against the least that is noted of a peer.
    pub(super) noted_against: Option<f64>,
}

impl Bar {
    /// Nothing is judged.
    pub(super) const NONE: Self =
        Self { wall: None, cpu: None, peak: None, note: None, against: None, noted_against: None };
}

/// What the first contender of a row was found to cost.
#[derive(Debug, Clone, Copy)]
struct Found {
    wall: f64,
    cpu: f64,
    peak: f64,
    note: Option<f64>,
    against: Option<f64>,
    noted_against: Option<f64>,
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

/// Measures the contenders and prints a line for each; the first one is promo, and those after it are peers. A bar that is
/// missed is marked there, and kept for the end. Returns the median CPU seconds of the first.
pub(super) fn row(bench: &Bench, name: &str, mut contenders: Vec<Contender<'_>>, runs: u32, bar: Bar) -> Outcome<f64> {
    let results = in_turns(&mut contenders, runs)?;
    let fastest = results[1..].iter().map(|r| wall(r).median).reduce(f64::min);
    let least_noted = results[1..].iter().filter_map(noted).reduce(f64::min);
    let medians: Vec<f64> = results.iter().map(|r| cpu(r).median).collect();
    for (place, result) in results.iter().enumerate() {
        let (wall, cpu) = (wall(result), cpu(result));
        let peak = Spread::of(result.samples.iter().map(|s| s.peak / MIB)).median;
        let note = noted(result);
        let ratio = match (place, medians.get(1)) {
            (0, Some(peer)) => format!("{:.3}", cpu.median / peer),
            _ => String::new(),
        };
        let against = fastest.map(|fastest| wall.median / fastest);
        let noted_against = note.zip(least_noted).map(|(note, least)| note / least);
        let found = Found { wall: wall.median, cpu: cpu.median, peak, note, against, noted_against };
        let verdict = if place == 0 { verdict(bar, found) } else { String::new() };
        bench.judge(name, &verdict);
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

/// Prints when promo told of something and when a peer did, in seconds from what brought it about: of those of one place in both lists
/// both were there in the same run. Every single one is held against the bar, not the median.
pub(super) fn ends(bench: &Bench, name: &str, ours: &[f64], (peer, theirs): (&str, &[f64]), bar: f64) {
    let late = Spread::of(ours.iter().zip(theirs).map(|(ours, theirs)| ours - theirs));
    let verdict = late_by(late.most, bar);
    bench.judge(name, &verdict);
    let (runs, shown) = (ours.len(), |times: &[f64]| spread(Spread::of(times.iter().copied())));
    println!("| {name} | promo | {runs} | {} | | | {} | | {verdict} |", shown(ours), spread(late));
    println!("| {name} | {peer} | {runs} | {} | | | | | |", shown(theirs));
}

fn late_by(most: f64, bar: f64) -> String {
    if most <= bar { "meets".to_owned() } else { format!("{MISSES} {bar} s after the peer ({most:.3})") }
}

fn cpu(result: &Result) -> Spread {
    Spread::of(result.samples.iter().map(|s| s.cpu))
}

fn noted(result: &Result) -> Option<f64> {
    (!result.notes.is_empty()).then(|| Spread::of(result.notes.iter().copied()).median)
}

fn wall(result: &Result) -> Spread {
    Spread::of(result.samples.iter().map(|s| s.wall))
}

fn spread(spread: Spread) -> String {
    format!("{:.4} ({:.4}–{:.4})", spread.median, spread.least, spread.most)
}

/// How what misses its bar is marked.
pub(super) const MISSES: &str = "MISSES";

/// `meets`, or what misses with its bar. What was to be measured and was not misses it as well.
fn verdict(bar: Bar, found: Found) -> String {
    let judged = [
        ("wall s", bar.wall, Some(found.wall)),
        ("CPU s", bar.cpu, Some(found.cpu)),
        ("MiB", bar.peak, Some(found.peak)),
        ("noted", bar.note, found.note),
        ("times a peer's wall", bar.against.filter(|_| found.against.is_some()), found.against),
        ("times what is noted of a peer", bar.noted_against, found.noted_against),
    ];
    let bars: Vec<_> = judged.into_iter().filter_map(|(what, bar, found)| Some((what, bar?, found))).collect();
    let missed: Vec<String> = bars
        .iter()
        .filter(|(_, bar, found)| !found.is_some_and(|found| found <= *bar))
        .map(|(what, bar, found)| {
            let found = found.map_or_else(|| "not measured".to_owned(), |found| format!("{found:.3}"));
            format!("{MISSES} {bar} {what} ({found})")
        })
        .collect();
    match (bars.is_empty(), missed.is_empty()) {
        (true, _) => String::new(),
        (false, true) => "meets".to_owned(),
        (false, false) => missed.join(", "),
    }
}

/// Prints with which exponent the CPU seconds of the first contender grew since the size before, and what it must not exceed.
pub(super) fn growth(bench: &Bench, before: &mut Option<(f64, f64)>, size: usize, cpu: f64, bar: f64) {
    let now = (f64::from(u32::try_from(size).unwrap_or(u32::MAX)), cpu);
    if let Some(before) = before.replace(now) {
        let exponent = exponent(before, now);
        let verdict = grown(exponent, bar);
        println!("| growth to {size} | promo | | | exponent {exponent:.2} | | | | {verdict} |");
        bench.judge(&format!("growth to {size}"), &verdict);
    }
}

fn grown(exponent: f64, bar: f64) -> String {
    let meets = exponent <= bar;
    if meets { format!("meets {bar}") } else { format!("{MISSES} {bar} ({exponent:.2})") }
}

/// The exponent with which a cost grew from one size to another.
fn exponent(from: (f64, f64), to: (f64, f64)) -> f64 {
    (to.1 / from.1).ln() / (to.0 / from.0).ln()
}

#[cfg(test)]
mod tests {
    use super::{Bar, Found, exponent, grown, late_by, verdict};

    const FOUND: Found = Found { wall: 9.0, cpu: 0.1, peak: 59.0, note: None, against: None, noted_against: None };

    #[test]
    fn a_bar_that_is_missed_is_named_with_what_was_found() {
        let bar = Bar { cpu: Some(0.15), peak: Some(60.0), ..Bar::NONE };
        assert_eq!(verdict(bar, FOUND), "meets");
        assert_eq!(verdict(bar, Found { cpu: 0.2, ..FOUND }), "MISSES 0.15 CPU s (0.200)");
        let both = Found { cpu: 0.2, peak: 60.5, ..FOUND };
        assert_eq!(verdict(bar, both), "MISSES 0.15 CPU s (0.200), MISSES 60 MiB (60.500)");
        assert_eq!(verdict(Bar::NONE, both), "");
        // What lies on the bar is within it.
        assert_eq!(verdict(bar, Found { cpu: 0.15, peak: 60.0, ..FOUND }), "meets");
    }

    #[test]
    fn what_has_a_bar_and_was_not_measured_misses_it() {
        let bar = Bar { note: Some(40.0), ..Bar::NONE };
        assert_eq!(verdict(bar, Found { note: Some(41.0), ..FOUND }), "MISSES 40 noted (41.000)");
        assert_eq!(verdict(bar, FOUND), "MISSES 40 noted (not measured)");
        let bar = Bar { cpu: Some(1.0), ..Bar::NONE };
        assert_eq!(verdict(bar, Found { cpu: f64::NAN, ..FOUND }), "MISSES 1 CPU s (NaN)");
    }

    #[test]
    fn a_peer_is_a_bar_only_where_there_is_one() {
        let bar = Bar { against: Some(1.3), ..Bar::NONE };
        assert_eq!(verdict(bar, FOUND), "");
        assert_eq!(verdict(bar, Found { against: Some(1.2), ..FOUND }), "meets");
        assert_eq!(verdict(bar, Found { against: Some(1.5), ..FOUND }), "MISSES 1.3 times a peer's wall (1.500)");
    }

    #[test]
    fn a_growth_above_its_bar_is_marked() {
        assert_eq!(grown(1.2, 1.2), "meets 1.2");
        assert_eq!(grown(1.31, 1.2), "MISSES 1.2 (1.31)");
        assert_eq!(grown(f64::NAN, 1.2), "MISSES 1.2 (NaN)");
    }

    #[test]
    fn what_comes_later_than_its_bar_once_misses_it() {
        assert_eq!([late_by(0.2, 1.0), late_by(-0.1, 1.0)], ["meets", "meets"]);
        assert_eq!(late_by(1.25, 1.0), "MISSES 1 s after the peer (1.250)");
        assert_eq!(late_by(f64::NAN, 1.0), "MISSES 1 s after the peer (NaN)");
    }

    #[test]
    fn a_cost_that_grows_with_the_square_has_the_exponent_two() {
        assert!((exponent((100.0, 1.0), (1000.0, 100.0)) - 2.0).abs() < 1e-9);
    }
}
