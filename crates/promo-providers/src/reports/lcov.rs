//! LCOV's trace files (geninfo(1), "FILES"), as lcov, llvm-cov, Istanbul and others write them.

use promo_core::evidence::{About, Coverage, Kind, Measured, Ratio, Report};

use super::xml::Fault;

pub(super) fn is(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    first.is_some_and(|line| ["TN:", "SF:"].iter().any(|start| line.starts_with(start)))
}

#[derive(Default)]
struct Sums {
    lines: Ratio,
    branches: Ratio,
    functions: Ratio,
    has_lines: bool,
    has_branches: bool,
    has_functions: bool,
}

impl Sums {
    fn measured(&self) -> Measured {
        Measured {
            lines: self.has_lines.then_some(self.lines),
            branches: self.has_branches.then_some(self.branches),
            functions: self.has_functions.then_some(self.functions),
        }
    }
}

pub(super) fn read(text: &str) -> Result<Report, Fault> {
    let (mut counted, mut stated) = (Sums::default(), Sums::default());
    let (mut in_file, mut about) = (false, About::new(Kind::Lcov));
    let mut last = 1;
    for (number, line) in (1_u64..).zip(text.lines()) {
        last = number;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fault = |expected: &str| Fault { line: number, expected: expected.to_owned() };
        if line == "end_of_record" {
            if !in_file {
                return Err(fault("`SF` before `end_of_record`"));
            }
            in_file = false;
            continue;
        }
        let Some((key, value)) = line.split_once(':') else { return Err(fault("a record of LCOV")) };
        match key {
            "TN" => {
                about.suites.extend(Some(value.trim()).filter(|name| !name.is_empty()).map(ToOwned::to_owned));
                continue;
            }
            "SF" if in_file => return Err(fault("`end_of_record` before the next `SF`")),
            "SF" => {
                in_file = true;
                continue;
            }
            _ if !in_file => return Err(fault("`SF` before this record")),
            _ => {}
        }
        read_record(key, value, &mut counted, &mut stated).map_err(fault)?;
    }
    if in_file {
        return Err(Fault { line: last, expected: "`end_of_record`".to_owned() });
    }
    let mut report = Report::new(about);
    report.coverage =
        Some(Coverage { counted: counted.measured(), stated: stated.measured(), line_rate: None, branch_rate: None });
    Ok(report)
}

fn read_record(key: &str, value: &str, counted: &mut Sums, stated: &mut Sums) -> Result<(), &'static str> {
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| "a whole number");
    let field = |at: usize| value.split(',').nth(at).ok_or("more fields");
    let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
    match key {
        "DA" => {
            number(field(0)?)?;
            let hits = number(field(1)?)?;
            counted.has_lines = true;
            counted.lines.total += 1;
            counted.lines.covered += u64::from(hits > 0);
        }
        "BRDA" => {
            // `-`: the condition was not reached. The branch, third, may be an expression with commas in it.
            let taken = value.rsplit(',').next().filter(|_| value.split(',').count() >= 4).ok_or("four fields")?;
            let taken = if taken.trim() == "-" { 0 } else { number(taken)? };
            counted.has_branches = true;
            counted.branches.total += 1;
            counted.branches.covered += u64::from(taken > 0);
        }
        "FNDA" | "FNA" => {
            let hits = number(field(usize::from(key == "FNA"))?)?;
            counted.has_functions = true;
            counted.functions.total += 1;
            counted.functions.covered += u64::from(hits > 0);
        }
        "LF" | "LH" => {
            let sum = if key == "LF" { &mut stated.lines.total } else { &mut stated.lines.covered };
            add(sum, number(value)?);
            stated.has_lines = true;
        }
        "BRF" | "BRH" => {
            let sum = if key == "BRF" { &mut stated.branches.total } else { &mut stated.branches.covered };
            add(sum, number(value)?);
            stated.has_branches = true;
        }
        "FNF" | "FNH" => {
            let sum = if key == "FNF" { &mut stated.functions.total } else { &mut stated.functions.covered };
            add(sum, number(value)?);
            stated.has_functions = true;
        }
        // Versions of files, where functions stand, and conditions of MC/DC.
        "VER" | "FN" | "FNL" | "MCDC" | "MCF" | "MCH" => {}
        _ => return Err("a record of LCOV"),
    }
    Ok(())
}
