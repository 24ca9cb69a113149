//! What one process costs, and many of them in turns.
//!
//! The operating system tells a process what its ended children cost together, and the peak memory of the largest one.
//! So each measurement is a helper with a single child: this program again, under its hidden verb `measure`. The peak
//! starts from what the helper itself had when it started the child, which the group `start` shows as its first row.

use crate::Outcome;
use crate::process::Run;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// `cargo xtask measure REPORT COMMAND…`
#[derive(clap::Args)]
pub(crate) struct Args {
    report: PathBuf,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<OsString>,
}

/// Runs the command in the helper's own directory and environment, and writes a [`Sample`] to the report.
pub(crate) fn run(args: &Args) -> Outcome {
    let here = std::env::current_dir().map_err(|error| error.to_string())?;
    let (program, rest) = args.command.split_first().ok_or("no command")?;
    let began = Instant::now();
    Run::new(program).args(rest).dir(&here).quiet()?;
    let sample = children(began.elapsed())?;
    std::fs::write(&args.report, sample.to_line()).map_err(|error| format!("{}: {error}", args.report.display()))
}

#[cfg(unix)]
fn children(wall: Duration) -> Outcome<Sample> {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike as _;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| error.to_string())?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    let unit = if cfg!(target_vendor = "apple") { 1.0 } else { 1024.0 };
    #[expect(clippy::cast_precision_loss, reason = "microseconds and bytes of one process fit")]
    let (cpu, peak) = (micros as f64 / 1e6, usage.max_rss() as f64 * unit);
    Ok(Sample { wall: wall.as_secs_f64(), cpu, peak })
}

#[cfg(not(unix))]
fn children(_wall: Duration) -> Outcome<Sample> {
    Err("benchmarks need an operating system that tells what a child process cost: Linux or macOS".into())
}

/// What one process cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    /// From start to end, in seconds.
    pub(super) wall: f64,
    /// User and system time, in seconds, with that of its own children.
    pub(super) cpu: f64,
    /// Peak resident memory, in bytes.
    pub(super) peak: f64,
}

impl Sample {
    fn to_line(self) -> String {
        format!("{} {} {}\n", self.wall, self.cpu, self.peak)
    }

    fn of_line(line: &str) -> Option<Self> {
        let mut numbers = line.split_whitespace().map(|number| number.parse().ok());
        let sample = Self { wall: numbers.next()??, cpu: numbers.next()??, peak: numbers.next()?? };
        numbers.next().is_none().then_some(sample)
    }
}

/// One of those who do the same work in a row.
pub(super) struct Contender<'a> {
    pub(super) name: String,
    /// What is done before each run and not measured.
    pub(super) prepare: Box<dyn FnMut() -> Outcome + 'a>,
    /// The run that is measured.
    pub(super) start: Box<dyn Fn() -> Outcome<Measured> + 'a>,
    /// What is noted after each run, such as requests that a server counted.
    pub(super) note: Box<dyn FnMut() -> Outcome<Option<f64>> + 'a>,
    /// How often at most; a slow peer need not run as often.
    pub(super) at_most: u32,
}

impl<'a> Contender<'a> {
    /// A contender that needs no preparation and leaves nothing to note.
    pub(super) fn new(name: impl Into<String>, start: impl Fn() -> Outcome<Measured> + 'a) -> Self {
        Self {
            name: name.into(),
            prepare: Box::new(|| Ok(())),
            start: Box::new(start),
            note: Box::new(|| Ok(None)),
            at_most: u32::MAX,
        }
    }

    pub(super) fn prepare(mut self, prepare: impl FnMut() -> Outcome + 'a) -> Self {
        self.prepare = Box::new(prepare);
        self
    }

    pub(super) fn note(mut self, note: impl FnMut() -> Outcome<Option<f64>> + 'a) -> Self {
        self.note = Box::new(note);
        self
    }

    pub(super) fn at_most(mut self, runs: u32) -> Self {
        self.at_most = runs;
        self
    }
}

/// A command to measure: program, arguments, directory, and changes of the environment.
pub(super) struct Measured {
    words: Vec<OsString>,
    run: Run,
    report: PathBuf,
}

impl Measured {
    /// `words` is the command line, in `dir`; `home` holds the helper's report and stands in for the user's home.
    pub(super) fn new<S: Into<OsString>>(
        words: impl IntoIterator<Item = S>,
        dir: &std::path::Path,
        home: &std::path::Path,
    ) -> Outcome<Self> {
        let helper = std::env::current_exe().map_err(|error| format!("this program has no path: {error}"))?;
        let run = super::hermetic(Run::new(helper).dir(dir), home);
        Ok(Self { words: words.into_iter().map(Into::into).collect(), run, report: home.join("report") })
    }

    /// The same with a changed environment.
    pub(super) fn with(self, change: impl FnOnce(Run) -> Run) -> Self {
        Self { run: change(self.run), ..self }
    }

    fn sample(self) -> Outcome<Sample> {
        self.run.args(["measure".as_ref(), self.report.as_os_str()]).args(self.words).quiet()?;
        let line = std::fs::read_to_string(&self.report).map_err(|error| error.to_string())?;
        Sample::of_line(&line).ok_or_else(|| format!("not a sample: {line}"))
    }
}

/// What a contender's runs gave.
pub(super) struct Result {
    pub(super) name: String,
    pub(super) samples: Vec<Sample>,
    pub(super) notes: Vec<f64>,
}

/// Runs the contenders in turns.
pub(super) fn in_turns(contenders: &mut [Contender<'_>], runs: u32) -> Outcome<Vec<Result>> {
    let mut results: Vec<Result> =
        contenders.iter().map(|c| Result { name: c.name.clone(), samples: Vec::new(), notes: Vec::new() }).collect();
    for turn in 0..runs {
        for (contender, result) in contenders.iter_mut().zip(&mut results).filter(|(c, _)| turn < c.at_most) {
            (contender.prepare)()?;
            result.samples.push((contender.start)()?.sample()?);
            result.notes.extend((contender.note)()?);
        }
    }
    Ok(results)
}

/// Median, least and largest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Spread {
    /// Of at least one number.
    pub(super) fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (sorted.first().copied(), sorted.last().copied());
        let middle = sorted.len() / 2;
        let median = match sorted.len() {
            0 => f64::NAN,
            even if even.is_multiple_of(2) => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        };
        Self { median, least: least.unwrap_or(f64::NAN), most: most.unwrap_or(f64::NAN) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Sample, Spread};

    #[test]
    fn the_median_of_an_even_count_lies_between_the_middle_two() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]);
        assert_eq!(spread, Spread { median: 2.5, least: 1.0, most: 4.0 });
        assert_eq!(Spread::of([5.0, 1.0, 9.0]).median, 5.0);
    }

    #[test]
    fn a_sample_survives_the_way_from_the_helper() {
        let sample = Sample { wall: 0.125, cpu: 1.5, peak: 4096.0 };
        assert_eq!(Sample::of_line(&sample.to_line()), Some(sample));
        assert_eq!(Sample::of_line("1 2"), None);
        assert_eq!(Sample::of_line("1 2 3 4"), None);
    }
}
