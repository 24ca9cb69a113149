//! Cobertura's XML (`coverage-04.dtd`), as coverage.py, gcovr, coverlet, Istanbul and others write it.

use promo_core::evidence::{About, Coverage, Finite, Kind, Measured, Ratio, Report};

use super::xml::{Element, Fault, Step, walk};

/// Clover's outermost element has the same name, and no rates.
pub(super) fn is(root: &Element) -> bool {
    root.name == "coverage" && (root.get("line-rate").is_some() || root.get("lines-valid").is_some())
}

pub(super) fn read(text: &str) -> Result<Report, Fault> {
    let mut about = About::new(Kind::Cobertura);
    let mut coverage = Coverage::default();
    let (mut lines, mut branches) = (Ratio::default(), Ratio::default());
    let mut path: Vec<String> = Vec::new();
    walk(text, &mut |step| {
        match step {
            Step::Open(element) => {
                if path.is_empty() {
                    read_root(&element, &mut coverage, &mut about)?;
                } else if element.name == "line" && path.ends_with(&["class".to_owned(), "lines".to_owned()]) {
                    // Lines stand below methods a second time.
                    read_line(&element, &mut lines, &mut branches)?;
                }
                path.push(element.name);
            }
            Step::Close(_) => {
                path.pop();
            }
        }
        Ok(true)
    })?;
    let some = |ratio: Ratio| Some(ratio).filter(|ratio| ratio.total > 0);
    coverage.counted = Measured { lines: some(lines), branches: some(branches), functions: None };
    let mut report = Report::new(about);
    report.coverage = Some(coverage);
    Ok(report)
}

fn read_root(root: &Element, coverage: &mut Coverage, about: &mut About) -> Result<(), Fault> {
    let ratio = |covered, total| -> Result<Option<Ratio>, Fault> {
        let (covered, total) = (root.count(covered)?, root.count(total)?);
        match (covered, total) {
            (Some(covered), Some(total)) if covered > total => root.broken("no more covered than there is"),
            (Some(covered), Some(total)) => Ok(Some(Ratio { covered, total })),
            _ => Ok(None),
        }
    };
    coverage.stated.lines = ratio("lines-covered", "lines-valid")?;
    coverage.stated.branches = ratio("branches-covered", "branches-valid")?;
    coverage.line_rate = rate(root, "line-rate")?;
    coverage.branch_rate = rate(root, "branch-rate")?;
    // Some write seconds, some milliseconds; of one number both cannot be meant, before the year 5138.
    about.made = root.get("timestamp").and_then(|text| text.trim().parse::<i64>().ok()).and_then(|number| {
        let millis = if number < 100_000_000_000 { number.checked_mul(1000)? } else { number };
        jiff::Timestamp::from_millisecond(millis).ok().filter(|_| number > 0)
    });
    Ok(())
}

fn rate(root: &Element, name: &str) -> Result<Option<Finite>, Fault> {
    let Some(text) = root.get(name).map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    let number = text.parse().ok().and_then(|number| Finite::new(number).ok());
    match number.filter(|number| (0.0..=1.0).contains(&number.get())) {
        Some(number) => Ok(Some(number)),
        None => root.broken(format!("a number from 0 to 1 in `{name}`")),
    }
}

fn read_line(line: &Element, lines: &mut Ratio, branches: &mut Ratio) -> Result<(), Fault> {
    let Some(hits) = line.count("hits")? else { return line.broken("a line with `hits`") };
    lines.total += 1;
    lines.covered += u64::from(hits > 0);
    // `50% (1/2)`
    if let Some(conditions) = line.get("condition-coverage") {
        let parts = conditions.split_once('(').and_then(|(_, rest)| rest.split_once(')'));
        let parts = parts.and_then(|(parts, _)| parts.split_once('/'));
        let parts = parts.and_then(|(covered, total)| Some((covered.trim().parse().ok()?, total.trim().parse().ok()?)));
        let Some((covered, total)) = parts.filter(|(covered, total): &(u64, u64)| covered <= total) else {
            return line.broken("`condition-coverage` like `50% (1/2)`");
        };
        branches.covered = branches.covered.saturating_add(covered);
        branches.total = branches.total.saturating_add(total);
    }
    Ok(())
}
