//! Summaries of k6: what `handleSummary` is given, and what `--summary-export` writes. In the latter a threshold that is `true` was
//! crossed, in the former one that is `ok` was kept.

use promo_core::evidence::{About, Kind, Number, Numbers, Report, Threshold, Tool};

use super::json::{Budget, Json, Read};

pub(super) fn is(json: &Json) -> bool {
    json.peek("metrics").is_some() && json.peek("root_group").is_some()
}

pub(super) fn read(json: &Json) -> Read<'_, Report> {
    let mut about = About::new(Kind::K6);
    about.tools.push(Tool { name: "k6".to_owned(), version: None });
    // Only what is given to `handleSummary` says how long the run took.
    let whole = json.get_object("state")?.is_some();
    about.version = Some(if whole { "handleSummary" } else { "summary-export" }.to_owned());
    let (mut numbers, mut budget) = (Numbers::default(), Budget::new());
    for (name, metric) in json.need("metrics")?.object()? {
        if whole {
            of_summary(name, metric, &mut numbers, &mut budget)?;
        } else {
            of_export(name, metric, &mut numbers, &mut budget)?;
        }
    }
    let mut report = Report::new(about);
    numbers.list.sort_by(|one, two| one.name.cmp(&two.name));
    report.numbers = Some(numbers);
    Ok(report)
}

fn of_summary<'t>(name: &str, metric: &'t Json, out: &mut Numbers, budget: &mut Budget) -> Read<'t, ()> {
    let kind = metric.need_text("type")?;
    let contains = metric.get_text("contains")?;
    for (key, value) in metric.need("values")?.object()? {
        budget.take([name, key])?;
        let unit = match (contains.as_deref(), kind.as_str(), key.as_str()) {
            (_, _, "passes" | "fails") => None,
            (_, "trend", "count") => None,
            (_, "rate", "rate") => None,
            (Some("time"), ..) => Some("ms"),
            (Some("data"), "counter", "rate") => Some("bytes/s"),
            (Some("data"), ..) => Some("bytes"),
            (_, "counter", "rate") => Some("1/s"),
            _ => None,
        };
        let unit = unit.map(str::to_owned);
        out.list.push(Number { name: format!("{name}.{key}"), value: value.number()?, unit });
    }
    if let Some(thresholds) = metric.get_object("thresholds")? {
        for (bound, outcome) in thresholds.object()? {
            budget.take([name, bound])?;
            let kept = outcome.need("ok")?.flag()?;
            out.thresholds.push(Threshold { metric: name.to_owned(), bound: bound.clone(), kept });
        }
    }
    Ok(())
}

fn of_export<'t>(name: &str, metric: &'t Json, out: &mut Numbers, budget: &mut Budget) -> Read<'t, ()> {
    let values = metric.object()?;
    for (key, value) in values {
        if key == "thresholds" {
            for (bound, crossed) in value.object()? {
                budget.take([name, bound])?;
                let kept = !crossed.flag()?;
                out.thresholds.push(Threshold { metric: name.to_owned(), bound: bound.clone(), kept });
            }
            continue;
        }
        budget.take([name, key])?;
        // The share of a rate is called `value` here and `rate` there: one name for one thing.
        let key = if key == "value" && values.contains_key("passes") { "rate" } else { key };
        out.list.push(Number { name: format!("{name}.{key}"), value: value.number()?, unit: None });
    }
    Ok(())
}
