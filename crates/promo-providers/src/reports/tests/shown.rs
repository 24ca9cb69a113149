//! Facts as lines, for comparison.

use std::fmt::Write as _;

use promo_core::evidence::{
    Bill, Coverage, Finding, Findings, Measured, Numbers, Product, Provenance, Ratio, Report, Statement, TestRun,
    Totals,
};

/// Everything that was read.
pub(super) fn report(report: &Report) -> String {
    let about = &report.about;
    let mut out = format!("{} {}", about.kind, about.version.as_deref().unwrap_or("-"));
    if let Some(inside) = about.inside {
        write!(out, " with {inside} in it").expect("a text");
    }
    out.push('\n');
    for tool in &about.tools {
        line(&mut out, &format!("tool {} {}", tool.name, tool.version.as_deref().unwrap_or("-")));
    }
    for (name, at) in [("made", about.made), ("database", about.database)] {
        if let Some(at) = at {
            line(&mut out, &format!("{name} {at}"));
        }
    }
    for binding in &about.bound {
        line(&mut out, &format!("bound {:?} {}", binding.link, binding.digest));
    }
    if let Some(completed) = about.completed {
        line(&mut out, &format!("completed {completed}"));
    }
    let Report { about: _, findings, bill, statements, tests, coverage, numbers, provenance, seen: _ } = report;
    findings.iter().for_each(|found| self::findings(&mut out, found));
    bill.iter().for_each(|bill| self::bill(&mut out, bill));
    statements.iter().for_each(|statements| self::statements(&mut out, statements));
    tests.iter().for_each(|run| self::tests(&mut out, run));
    coverage.iter().for_each(|coverage| self::coverage(&mut out, coverage));
    numbers.iter().for_each(|numbers| self::numbers(&mut out, numbers));
    provenance.iter().for_each(|built| self::provenance(&mut out, built));
    out
}

/// One line of its own, whatever stands in the text.
fn line(out: &mut String, text: &str) {
    let tame = |ch: char| if ch.is_control() { ch.escape_debug().to_string() } else { ch.to_string() };
    out.extend(text.chars().map(tame));
    out.push('\n');
}

fn findings(out: &mut String, found: &Findings) {
    let Findings { list, looked_into, shows_suppressed } = found;
    line(out, &format!("findings {} looked into {looked_into:?} shows suppressed {shows_suppressed:?}", list.len()));
    for finding in list {
        let Finding {
            id,
            aliases,
            package,
            purl,
            installed,
            fixed,
            fix_state,
            severity,
            worst,
            scores,
            source,
            suppressed,
        } = finding;
        let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let mut text = format!("  {id} {severity} in {} {}", word(package), word(installed));
        write!(text, " fixed {} ({})", fixed.join(" "), fix_state.name()).expect("a text");
        if let Some(worst) = worst {
            write!(text, " at worst {worst}").expect("a text");
        }
        if !aliases.is_empty() {
            write!(text, " also {}", aliases.join(" ")).expect("a text");
        }
        write!(text, " purl {} by {}", word(purl), word(source)).expect("a text");
        for score in scores {
            write!(text, " score {} {} {}", score.value, score.method, word(&score.source)).expect("a text");
        }
        if let Some(suppressed) = suppressed {
            let (reason, source) = (word(&suppressed.reason), word(&suppressed.source));
            write!(text, " SUPPRESSED {} because {reason} by {source}", suppressed.state).expect("a text");
        }
        line(out, &text);
    }
}

fn provenance(out: &mut String, built: &Provenance) {
    let Provenance { builder, build_type, source, others, run } = built;
    line(out, &format!("built by {builder} as {build_type} in {}", run.as_deref().unwrap_or("-")));
    for (word, source) in source.iter().map(|one| ("from", one)).chain(others.iter().map(|one| ("with", one))) {
        line(out, &format!("  {word} {} commit {}", source.uri, source.commit.as_deref().unwrap_or("-")));
    }
}

fn bill(out: &mut String, bill: &Bill) {
    line(out, &format!("components {} without licence {:?}", bill.count, bill.without_licence()));
    for component in bill.components.iter().flatten() {
        let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let (version, purl) = (word(&component.version), word(&component.purl));
        let (concluded, declared) = (&component.concluded, &component.declared);
        line(out, &format!("  {} {version} purl {purl} concluded {concluded} declared {declared}", component.name));
    }
}

fn statements(out: &mut String, statements: &[Statement]) {
    line(out, &format!("statements {}", statements.len()));
    for Statement { vulnerability, aliases, products, parts, status, justification, impact, at } in statements {
        line(out, &format!("  {vulnerability} {aliases:?} {} {justification:?} {impact:?} {at:?}", status.name()));
        products.iter().for_each(|one| product(out, one, 4));
        parts.iter().for_each(|part| product(out, part, 6));
    }
}

fn product(out: &mut String, product: &Product, indent: usize) {
    let Product { id, purl, digests, parts } = product;
    line(out, &format!("{:indent$}{id:?} {purl:?} {digests:?}", ""));
    parts.iter().for_each(|part| self::product(out, part, indent + 2));
}

fn tests(out: &mut String, run: &TestRun) {
    let totals = |totals: &Totals| {
        let Totals { tests, failures, errors, skipped } = totals;
        format!("tests {tests} failures {failures} errors {errors} skipped {skipped}")
    };
    line(out, &format!("counted {} passed {} flaky {}", totals(&run.counted), run.counted.passed(), run.flaky));
    line(
        out,
        &run.stated.as_ref().map_or_else(|| "stated nothing".to_owned(), |all| format!("stated {}", totals(all))),
    );
    for name in &run.failed {
        line(out, &format!("  failed {name}"));
    }
}

fn coverage(out: &mut String, coverage: &Coverage) {
    let ratio = |ratio: Option<Ratio>| ratio.map_or("-".to_owned(), |of| format!("{}/{}", of.covered, of.total));
    for (name, Measured { lines, branches, functions }) in [("counted", coverage.counted), ("stated", coverage.stated)]
    {
        let (lines, branches, functions) = (ratio(lines), ratio(branches), ratio(functions));
        line(out, &format!("{name} lines {lines} branches {branches} functions {functions}"));
    }
    if let (Some(lines), branches) = (coverage.line_rate, coverage.branch_rate) {
        line(out, &format!("rates {lines} {}", branches.map_or("-".to_owned(), |rate| rate.to_string())));
    }
}

fn numbers(out: &mut String, numbers: &Numbers) {
    line(out, &format!("numbers {}", numbers.list.len()));
    for number in &numbers.list {
        line(out, &format!("  {} {} {}", number.name, number.value, number.unit.as_deref().unwrap_or("-")));
    }
    for threshold in &numbers.thresholds {
        let outcome = if threshold.kept { "kept" } else { "crossed" };
        line(out, &format!("  {} {} {outcome}", threshold.metric, threshold.bound));
    }
}
