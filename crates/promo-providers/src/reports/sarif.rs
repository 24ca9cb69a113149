//! SARIF 2.1.0 (OASIS, "Static Analysis Results Interchange Format"). What it binds itself to differs by tool, so here it is nothing.

use std::collections::HashMap;

use promo_core::evidence::{About, Finding, Findings, Finite, Kind, Level, Report, Score, Severity, Suppression, Tool};

use super::json::{Budget, Fault, Json, Read};

/// The id of a finding whose result names no rule: a name that no exception can have.
const NO_RULE: &str = "(no rule)";

pub(super) fn is(json: &Json) -> bool {
    let by_schema = json.peek_text("$schema").is_some_and(|schema| schema.contains("sarif"));
    json.peek("runs").is_some() && (by_schema || json.peek("version").is_some())
}

pub(super) fn read(json: &Json) -> Read<'_, Report> {
    let version = json.need_text("version")?;
    if version != "2.1.0" {
        return Err(Fault::Version { format: "SARIF", found: version, known: "2.1.0" });
    }
    let mut about = About::new(Kind::Sarif);
    about.version = Some(version);
    let (mut found, mut budget): (Option<Findings>, Budget) = (None, Budget::new());
    let runs = json.need("runs")?.items()?;
    for run in runs {
        read_run(run, &mut about, &mut found, &mut budget)?;
    }
    if runs.is_empty() {
        about.completed = Some(false);
    }
    let mut report = Report::new(about);
    report.findings = found;
    Ok(report)
}

fn read_run<'t>(run: &'t Json, about: &mut About, found: &mut Option<Findings>, budget: &mut Budget) -> Read<'t, ()> {
    let tool = run.need("tool")?;
    let driver = tool.need("driver")?;
    let version = driver.get_text("semanticVersion")?.or(driver.get_text("version")?);
    let name = driver.need_text("name")?;
    about.tools.push(Tool { name: name.clone(), version });
    for invocation in run.list("invocations")? {
        // The earliest of several runs: what is judged by age is as old as its oldest part.
        if let Some(end) = invocation.get_instant("endTimeUtc")? {
            about.made = Some(about.made.map_or(end, |made| made.min(end)));
        }
        if let Some(successful) = invocation.get("executionSuccessful")? {
            let successful = successful.flag()?;
            about.completed = Some(about.completed.unwrap_or(true) && successful);
        }
    }
    // Section 3.14.23: no list, or `null`, is a run that did not get as far as to look.
    let Some(results) = run.get("results")? else {
        about.completed = Some(false);
        return Ok(());
    };
    let found = found.get_or_insert_default();
    let rules = Rules::of(tool, driver)?;
    for result in results.items()? {
        // Section 3.27.9: only what fails, or is yet to be decided, is a problem.
        let kind = result.get_text("kind")?;
        if matches!(kind.as_deref(), Some("pass" | "informational" | "notApplicable")) {
            continue;
        }
        let finding = finding(result, &rules, &name)?;
        if finding.suppressed.is_some() {
            found.shows_suppressed = Some(true);
        }
        budget.take_finding(&finding)?;
        found.list.push(finding);
    }
    Ok(())
}

fn finding<'t>(result: &'t Json, rules: &Rules<'t>, tool: &str) -> Read<'t, Finding> {
    let rule = rules.of_result(result)?;
    let id = match result.get_text("ruleId")? {
        Some(id) => id,
        None => match rule.map_or(Ok(None), |rule| rule.get_text("id"))? {
            Some(id) => id,
            None => match result.get_object("rule")?.map_or(Ok(None), |rule| rule.get_text("id"))? {
                Some(id) => id,
                // Section 3.27.5 lets a result have none.
                None => NO_RULE.to_owned(),
            },
        },
    };
    let mut finding = Finding::new(id);
    finding.source = Some(tool.to_owned());
    let own = result.get_object("properties")?.map_or(Ok(None), |properties| properties.get("security-severity"))?;
    let of_rule = rule.map_or(Ok(None), |rule| rule.get_object("properties"))?;
    let of_rule = of_rule.map_or(Ok(None), |properties| properties.get("security-severity"))?;
    match own.or(of_rule) {
        Some(at) => match number(at)? {
            Ok(value) => {
                finding.severity = Severity::Level(Level::of_score(value));
                finding.scores.push(Score { value, method: "security-severity".to_owned(), source: None });
            }
            Err(word) => finding.severity = Severity::of_word(word),
        },
        None => finding.severity = of_level(result, rule)?,
    }
    finding.suppressed = suppression(result)?;
    Ok(finding)
}

/// Usually a number in a text; Semgrep writes a word there.
fn number(at: &Json) -> Read<'_, Result<Finite, &str>> {
    let number = match at {
        Json::Text(text) => match text.trim().parse().ok().and_then(|number| Finite::new(number).ok()) {
            Some(number) => number,
            None => return Ok(Err(text)),
        },
        other => other.number()?,
    };
    if (0.0..=10.0).contains(&number.get()) { Ok(Ok(number)) } else { at.broken("a number from 0 to 10") }
}

/// Section 3.27.10: the level of the result, else that of its rule's configuration, else `warning`.
fn of_level<'t>(result: &'t Json, rule: Option<&'t Json>) -> Read<'t, Severity> {
    let of_rule = rule.map_or(Ok(None), |rule| rule.get_object("defaultConfiguration"))?;
    let level = match result.get_text("level")? {
        Some(level) => Some(level),
        None => of_rule.map_or(Ok(None), |configuration| configuration.get_text("level"))?,
    };
    Ok(match level.as_deref().unwrap_or("warning") {
        "error" => Severity::Level(Level::High),
        "warning" => Severity::Level(Level::Medium),
        "note" => Severity::Level(Level::Low),
        "none" => Severity::Level(Level::None),
        word => Severity::Word(word.to_owned()),
    })
}

/// Section 3.27.23: a result is suppressed when there is a suppression and none of them is under review or was rejected. One that is
/// `absent` beside a baseline was found in another run and not in this one.
fn suppression(result: &Json) -> Read<'_, Option<Suppression>> {
    let mut out = None;
    for one in result.list("suppressions")? {
        match one.get_text("status")?.as_deref() {
            None | Some("accepted") => {}
            Some(_) => return Ok(None),
        }
        let state = one.get_text("kind")?.unwrap_or_else(|| "suppressed".to_owned());
        out = Some(Suppression { state, reason: one.get_text("justification")?, source: None });
    }
    if out.is_none() && result.get_text("baselineState")?.as_deref() == Some("absent") {
        out = Some(Suppression { state: "absent".to_owned(), reason: None, source: None });
    }
    Ok(out)
}

/// The rules of a run, by place and by id.
struct Rules<'t> {
    driver: &'t [Json],
    extensions: Vec<&'t [Json]>,
    by_id: HashMap<&'t str, &'t Json>,
}

impl<'t> Rules<'t> {
    fn of(tool: &'t Json, driver: &'t Json) -> Read<'t, Self> {
        let driver = driver.list("rules")?;
        let mut extensions = Vec::new();
        for extension in tool.list("extensions")? {
            extensions.push(extension.list("rules")?);
        }
        let mut by_id = HashMap::new();
        for rule in driver.iter().chain(extensions.iter().flat_map(|rules| rules.iter())) {
            if let Some(id) = rule.get("id")? {
                by_id.entry(id.text()?).or_insert(rule);
            }
        }
        Ok(Self { driver, extensions, by_id })
    }

    /// Section 3.27.7: by the place of its rule, else by its id.
    fn of_result(&self, result: &'t Json) -> Read<'t, Option<&'t Json>> {
        let reference = result.get_object("rule")?;
        let component = reference.map_or(Ok(None), |rule| rule.get_object("toolComponent"))?;
        let rules = match component.map_or(Ok(None), |component| component.get("index"))? {
            None => self.driver,
            Some(at) => match index(at)? {
                None => self.driver,
                Some(index) => match self.extensions.get(index) {
                    Some(rules) => rules,
                    None => return at.broken("the place of an extension that is there"),
                },
            },
        };
        let at = match result.get("ruleIndex")? {
            Some(at) => Some(at),
            None => reference.map_or(Ok(None), |rule| rule.get("index"))?,
        };
        if let Some(at) = at
            && let Some(index) = index(at)?
        {
            return match rules.get(index) {
                Some(rule) => Ok(Some(rule)),
                None => at.broken("the place of a rule that is there"),
            };
        }
        let Some(id) = result.get("ruleId")? else { return Ok(None) };
        // `CA1000/1` is an instance of the rule `CA1000`.
        let id = id.text()?;
        let whole = self.by_id.get(id).copied();
        Ok(whole.or_else(|| id.rsplit_once('/').and_then(|(rule, _)| self.by_id.get(rule).copied())))
    }
}

/// A place in a list; -1 is none.
fn index(at: &Json) -> Read<'_, Option<usize>> {
    let number = at.number()?.get();
    if number == -1.0 {
        return Ok(None);
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "compared right behind")]
    let index = number as u32;
    if f64::from(index) == number { Ok(Some(index as usize)) } else { at.broken("a whole number") }
}
