//! How live environments differ from what was deployed, as text and in Markdown. What must not live here: what differs.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use promo_core::counted::counted;
use promo_core::inputs::FileChange;

use super::labels::{Label, label};
use super::table::{columns, fold};
use super::{diff, time};
use crate::escape;
use crate::ui::Ui;
use crate::view::NextCommand;
use crate::view::drift::{DriftedEnvironment, DriftedField, DriftedObject, DriftedPlace};

/// Longer values are shown as differences of lines.
const LONG: usize = 100;
/// Values beside each other that are longer are in no column.
const WIDE: usize = 60;
/// Lines of a difference that are shown, unless all are asked for.
const LINES: usize = 16;

/// How an answer is drawn.
pub(crate) struct Style<'a> {
    /// The present.
    pub(crate) now: Timestamp,
    /// The zone of times.
    pub(crate) zone: &'a TimeZone,
    /// Whether differences are shown whole.
    pub(crate) full: bool,
    /// How wide the screen is; nothing where that is no matter.
    pub(crate) width: Option<usize>,
}

/// The lines of an environment: how it stands, then its places, objects and fields.
pub(crate) fn environment(one: &DriftedEnvironment, style: &Style<'_>) -> String {
    let kind = match one.state {
        "differs" | "not-looked-at" => Label::Bad,
        "same" => Label::Good,
        _ => Label::Dim,
    };
    let sign = match one.state {
        "differs" => "~",
        "not-looked-at" => "?",
        _ => " ",
    };
    let says = escape::line(&one.says);
    let head =
        format!("{} {}: {}\n", label(kind, sign), label(Label::Strong, one.environment.as_str()), label(kind, &says));
    let mut out = fold(&head, style.width);
    let told = |place: &&DriftedPlace| place.state != "same";
    for place in one.places.iter().filter(told) {
        let mut indent = "    ";
        if one.places.len() > 1 {
            let address = place.address.as_deref().map(|address| format!(" ({})", escape::line(address)));
            out.push_str(&fold(&format!("  {}{}\n", place.target, address.unwrap_or_default()), style.width));
            indent = "      ";
        }
        out.push_str(&self::place(place, indent, style));
    }
    out
}

fn place(place: &DriftedPlace, indent: &str, style: &Style<'_>) -> String {
    let mut out = String::new();
    for line in place.why.iter().chain(&place.note) {
        out.push_str(&fold(&format!("{indent}{}\n", escape::line(line)), style.width));
    }
    for object in &place.objects {
        out.push_str(&self::object(object, indent, style));
    }
    if place.objects.is_empty() && place.state == "differs" {
        let live = place.live.as_deref().unwrap_or_default();
        let states = format!("{indent}the ledger has {}, and {live} is there\n", place.recorded);
        out.push_str(&fold(&states, style.width));
    }
    out
}

fn object(object: &DriftedObject, indent: &str, style: &Style<'_>) -> String {
    let name = escape::line(&object.object);
    if object.fields.is_empty() {
        let what = if object.class == "deleted" { "deleted" } else { "added: nothing declares it" };
        let line = format!("{indent}{} {}\n", label(Label::Strong, &name), label(Label::Bad, what));
        return fold(&line, style.width);
    }
    let mut out = String::new();
    let mut lines = Vec::new();
    let mut long = String::new();
    // What is longer than that, as an image with its digest, has who changed it right behind it: no other row is drawn apart by it.
    let told: Vec<_> = object.fields.iter().map(|field| values(field, style)).collect();
    let cells = |text: &str| text.chars().count();
    let width = told.iter().map(|(what, _)| cells(what)).filter(|width| *width <= WIDE).max().unwrap_or(0);
    for (field, (what, hunks)) in object.fields.iter().zip(told) {
        let by = who(field, style);
        let what = format!("{what}{}  {by}", " ".repeat(width.saturating_sub(cells(&what))));
        if field.path.is_empty() {
            lines.push(vec![label(Label::Strong, &name), what]);
        } else {
            lines.push(vec![format!("  {}", escape::line(&field.path)), what]);
        }
        long.push_str(&hunks);
    }
    if object.fields.iter().any(|field| !field.path.is_empty()) {
        out.push_str(&format!("{indent}{}\n", label(Label::Strong, &name)));
    }
    out.push_str(&columns(&lines, indent, style.width));
    for line in long.lines() {
        let kind = if line.starts_with('-') { Label::Good } else { Label::Bad };
        let line = if line.starts_with(['-', '+']) { label(kind, line) } else { line.to_owned() };
        out.push_str(&format!("{indent}  {line}\n"));
    }
    out
}

/// What was deployed and what is there, and the lines that differ where that is long.
fn values(field: &DriftedField, style: &Style<'_>) -> (String, String) {
    let short =
        |value: &Option<String>| value.as_deref().is_none_or(|value| value.len() <= LONG && !value.contains('\n'));
    let text = |value: &Option<String>| value.as_deref().map_or_else(|| "nothing".to_owned(), escape::line);
    if short(&field.recorded) && short(&field.live) {
        return (format!("{} → {}", text(&field.recorded), text(&field.live)), String::new());
    }
    let whole = |value: &Option<String>| value.as_deref().map(|value| escape::block(value.trim_end()) + "\n");
    let change = FileChange { path: String::new(), before: whole(&field.recorded), after: whole(&field.live) };
    let hunks = diff::hunks(&change);
    let (shown, left) = diff::head(&hunks, if style.full { usize::MAX } else { LINES });
    let left =
        if left == 0 { String::new() } else { format!("… {} more: --full shows them\n", counted(left, "line")) };
    (diff::summary(&change), shown + &left)
}

fn who(field: &DriftedField, style: &Style<'_>) -> String {
    let what = match field.class {
        "scaled" => "scaled",
        "image" => "another image",
        "deleted" => "deleted",
        "added" => "added",
        _ => "changed",
    };
    let by = field.by.as_deref().map(|by| format!(" by {}", escape::line(by))).unwrap_or_default();
    let at = field.at.map(|at| format!(", {}", time::near(at, style.now, style.zone))).unwrap_or_default();
    label(Label::Dim, &format!("{what}{by}{at}"))
}

/// What leads on, at the end of an answer.
pub(crate) fn ways(ui: &Ui, also: &[NextCommand], next: &str, out: &mut String) {
    if next.is_empty() {
        return;
    }
    out.push('\n');
    for also in also {
        out.push_str(&format!("{} {}   ({})\n", label(Label::Dim, "Also:"), also.command, also.why));
    }
    out.push_str(&ui.last_line(next));
}

/// The same as Markdown: a heading of how it stands, and a table of fields.
pub(crate) fn markdown(one: &DriftedEnvironment, style: &Style<'_>) -> String {
    let mut out = format!("- **{}**: {}\n", one.environment, escape::markdown(&one.says));
    for place in one.places.iter().filter(|place| place.state != "same") {
        for line in place.why.iter().chain(&place.note) {
            out.push_str(&format!("  - {}: {}\n", escape::markdown(&place.target), escape::markdown(line)));
        }
        for object in &place.objects {
            let whole = if object.fields.is_empty() { format!(": {}", object.class) } else { String::new() };
            out.push_str(&format!("  - {}{whole}\n", escape::markdown(&object.object)));
            for field in &object.fields {
                let path =
                    if field.path.is_empty() { String::new() } else { format!("{} ", escape::markdown(&field.path)) };
                let who = anstream::adapter::strip_str(&who(field, style)).to_string();
                let what = escape::markdown(&values(field, style).0);
                out.push_str(&format!("    - {path}{what} ({})\n", escape::markdown(&who)));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::drift::{DriftedField, DriftedObject, DriftedPlace};

    #[test]
    fn on_a_narrow_screen_no_line_but_those_of_a_difference_is_longer_than_it() {
        let field = |path: &str, recorded: &str, live: &str| DriftedField {
            path: path.into(),
            class: "changed",
            recorded: Some(recorded.into()),
            live: Some(live.into()),
            by: Some("kubectl-edit".into()),
            at: Some("2026-11-22T16:05:00Z".parse().unwrap()),
        };
        let object =
            |fields| DriftedObject { object: "Deployment/api".into(), class: "changed", fields, away: Vec::new() };
        let place = DriftedPlace {
            target: "eu".into(),
            address: Some("cluster=prod-eu namespace=shop-eu".into()),
            state: "differs",
            recorded: "x".into(),
            live: None,
            takes_back: true,
            objects: vec![
                object(vec![field("spec.template.spec.containers[api].env[LEVEL].value", "information", "debug")]),
                object(vec![field("", "a b c\n", "a line of a file that is longer than the screen\n")]),
                object(Vec::new()),
            ],
            by_hand: None,
            undeclared: Vec::new(),
            shown_by: None,
            note: Some("somebody has deleted what promo keeps in the namespace".into()),
            code: None,
            why: None,
        };
        let same = DriftedPlace {
            target: "us".into(),
            address: None,
            state: "same",
            recorded: "x".into(),
            live: None,
            takes_back: false,
            objects: Vec::new(),
            by_hand: None,
            undeclared: Vec::new(),
            shown_by: None,
            note: None,
            code: None,
            why: None,
        };
        let one = DriftedEnvironment {
            environment: "production".parse().unwrap(),
            release: None,
            since: None,
            state: "differs",
            says: "3 objects differ from r-415af1b747f5 (#2 1.1.0)".into(),
            moving: None,
            places: vec![same, place],
        };
        let draw = |width| {
            let zone = TimeZone::UTC;
            let style = Style { now: "2026-11-22T17:00:00Z".parse().unwrap(), zone: &zone, full: false, width };
            anstream::adapter::strip_str(&environment(&one, &style)).to_string()
        };
        let narrow = draw(Some(40));
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&narrow), words(&draw(None)), "nothing is left out");
        // A word is not broken: the way to a field is there to be copied.
        let long = |line: &&str| line.chars().count() > 40 && line.split_whitespace().count() > 1;
        let long: Vec<&str> = narrow.lines().filter(long).collect();
        assert_eq!(long, ["        +a line of a file that is longer than the screen"], "{narrow}");
    }
}
