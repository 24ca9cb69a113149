//! What helm says at its end, as far as it may be told: it quotes the values that it was given, and passwords stand among those. What
//! must not live here: what is made of it.

use promo_sdk::Output;

use crate::escape;
use crate::masks::{MASK, Masks, is_word};

/// Lines that are told.
const LINES: usize = 8;

/// What stands in quotes after one of these is a word of the chart or of its schema, and no value.
const NAMES: [&str; 18] = [
    "executing",
    "no template",
    "with template",
    "function",
    "property",
    "properties",
    "pattern",
    "format",
    "must be",
    "must be one of",
    "one of the following:",
    "does not match:",
    "chart",
    "key",
    "kind",
    "version",
    "name:",
    "namespace:",
];

impl Masks {
    /// What helm said of a rendering: everything in quotes is masked as well, that could be a value.
    pub(in crate::helm) fn of_rendering(&self, output: &Output) -> String {
        let text = String::from_utf8_lossy(&output.stderr);
        self.lines(output, &unquoted(&text))
    }

    /// What it said of a cluster, which has been given what the plan shows.
    pub(in crate::helm) fn of_cluster(&self, output: &Output) -> String {
        self.lines(output, &String::from_utf8_lossy(&output.stderr))
    }

    fn lines(&self, output: &Output, text: &str) -> String {
        let text = self.masked(text);
        let lines: Vec<&str> =
            text.lines().filter(|line| !line.starts_with("level=") && !line.contains("WARNING")).collect();
        let lines = match lines.iter().position(|line| line.starts_with("Error:")) {
            Some(at) => &lines[at..],
            None => &lines[lines.len().saturating_sub(3)..],
        };
        let told: Vec<String> = lines
            .iter()
            .map(|line| line.trim())
            .filter(|line| !line.is_empty() && !line.starts_with("Use --debug"))
            .take(LINES)
            .map(|line| match line.contains("Secret") && line.contains("Invalid value") {
                true => "a Secret is refused (what the server says may quote it, and is not told)".to_owned(),
                false => escape::line(line.trim_start_matches("Error: ")),
            })
            .collect();
        match (told.is_empty(), output.code) {
            (false, _) => told.join("; "),
            (true, Some(code)) => format!("helm ended with {code}"),
            (true, None) => "helm was ended by a signal".to_owned(),
        }
    }
}

/// A text in which nothing stands in quotes but what names something of the chart.
fn unquoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // Whether what stood in quotes last was told: of a list all is, or nothing.
    let mut told = false;
    while let Some(at) = rest.find(['"', '\'', '`', '<']) {
        let mark = rest[at..].chars().next().unwrap_or('"');
        let before = &rest[..at];
        out.push_str(before);
        let after = &rest[at + 1..];
        // Where in a template: `at <.Values.a>`.
        if mark == '<' {
            let end = if out.ends_with("at ") { after.find('>').unwrap_or(0) } else { 0 };
            out.push('<');
            out.push_str(&after[..end]);
            rest = &after[end..];
            continue;
        }
        // As in `don't`.
        if mark == '\'' && out.chars().next_back().is_some_and(is_word) {
            out.push(mark);
            rest = after;
            continue;
        }
        let end = closing(after, mark);
        let content = &after[..end];
        let list = told && matches!(before.trim(), "," | "and" | "or");
        told = list || is_name(out.trim_end(), content);
        out.push(mark);
        out.push_str(if told { content } else { MASK });
        out.push(mark);
        rest = after.get(end + 1..).unwrap_or_default();
    }
    out.push_str(rest);
    numbers(&out)
}

/// Where what stands in quotes ends: at its end, where there are none.
fn closing(text: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if mark != '`' => escaped = true,
            c if c == mark => return at,
            _ => {}
        }
    }
    text.len()
}

/// Whether what stands in quotes after these words is a name, or a way to a value.
fn is_name(before: &str, content: &str) -> bool {
    let file = [".yaml", ".yml", ".tpl", ".txt", ".json"].iter().any(|end| content.ends_with(end));
    let way = before.ends_with(" at") && (content.is_empty() || content.starts_with('/'));
    way || (file && content.contains('/')) || NAMES.iter().any(|name| before.ends_with(name))
}

/// The same without numbers and lists that are told as what was found: `got 0, want 1`.
fn numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        if let Some((before, _)) = line.split_once("iterate over ") {
            out.push_str(&format!("{before}iterate over {MASK}{end}"));
            continue;
        }
        match line.split_once(": got ") {
            Some((before, found)) if found.starts_with(|c: char| c.is_ascii_digit() || c == '-') => {
                let rest = found.find(", want").map_or("", |at| &found[at..]);
                out.push_str(&format!("{before}: got {MASK}{rest}"));
            }
            _ => out.push_str(line),
        }
        out.push_str(end);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::object::Object;
    use serde_json::json;

    fn output(stderr: &str) -> Output {
        Output { code: Some(1), stdout: Vec::new(), stderr: stderr.as_bytes().to_vec() }
    }

    #[test]
    fn what_a_rendering_fails_with_names_the_place_and_no_value_whatever_the_values_are() {
        let nothing = Masks::default();
        for (said, told) in [
            // Helm 4 of a schema.
            (
                "- at '/password': 'hun\"ter2' does not match pattern '^[a-z]+$'",
                "- at '/password': '(masked)' does not match pattern '^[a-z]+$'",
            ),
            ("- at '': missing property 'there'", "- at '': missing property 'there'"),
            (
                "- at '/n': additional properties 'a', 'b' not allowed",
                "- at '/n': additional properties 'a', 'b' not allowed",
            ),
            ("- at '/mode': value must be one of 'one', 'two'", "- at '/mode': value must be one of 'one', 'two'"),
            ("- at '/pin': maximum: got 4711, want 99", "- at '/pin': maximum: got (masked), want 99"),
            ("- at '/pin': got string, want integer", "- at '/pin': got string, want integer"),
            // Helm 3.
            (
                "- mode: mode must be one of the following: \"one\", \"two\"",
                "- mode: mode must be one of the following: \"one\", \"two\"",
            ),
            ("- mail: Does not match format 'email'", "- mail: Does not match format 'email'"),
            // Templates.
            (
                "YAML parse error on shop/templates/a.yaml: yaml: unknown anchor 'hunter2' referenced",
                "YAML parse error on shop/templates/a.yaml: yaml: unknown anchor '(masked)' referenced",
            ),
            ("cannot unmarshal !!str `hunter2` into int", "cannot unmarshal !!str `(masked)` into int"),
            (
                "executing \"shop/templates/a.yaml\" at <index .Values.l \"x\">: error calling tpl: cannot parse template \"hunter2 {{ no\\\"pe }}\": function \"nope\" not defined",
                "executing \"shop/templates/a.yaml\" at <index .Values.l \"x\">: error calling tpl: cannot parse template \"(masked)\": function \"nope\" not defined",
            ),
            (
                "at <.Values.p>: range can't iterate over map[a:hunter2]",
                "at <.Values.p>: range can't iterate over (masked)",
            ),
            ("Atoi: parsing \"hunter2\": invalid syntax", "Atoi: parsing \"(masked)\": invalid syntax"),
        ] {
            assert_eq!(nothing.of_rendering(&output(&format!("Error: {said}\n"))), told);
        }
        let several = "level=x\nError: values don't meet the specifications of the schema(s):\nshop:\n- at '/a': 'x' is not valid\n\nUse --debug flag\n";
        let told = "values don't meet the specifications of the schema(s):; shop:; - at '/a': '(masked)' is not valid";
        assert_eq!(nothing.of_rendering(&output(several)), told);
    }

    #[test]
    fn values_are_masked_wherever_helm_says_them_and_what_the_plan_shows_is_told() {
        let file = "login: { password: hunter2, pin: 4711, short: abc }\nkey: |\n  -----BEGIN\n  c2VjcmV0IGxpbmU=\nname: web-shop\n";
        let values = || Masks::of([file.as_bytes()].into_iter(), &json!({ "token": "set-secret", "on": true }));
        let said = "Error: execution error at (shop/templates/a.yaml:1:3): hunter2 and aHVudGVyMg==, 4711, 'abc', abcde, set-secret, c2VjcmV0IGxpbmU= of web-shop\n";
        let told = "execution error at (shop/templates/a.yaml:1:3): (masked) and (masked), (masked), '(masked)', abcde, (masked), (masked) of (masked)";
        assert_eq!(values().of_rendering(&output(said)), told);
        let object = |kind: &str, text: &str| {
            let value =
                json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": "web-shop" }, "data": { "a": text } });
            Object::try_from(value).unwrap()
        };
        let shown = values().but_shown([object("ConfigMap", "4711"), object("Secret", "hunter2")].iter());
        let said = "Error: Deployment.apps \"web-shop\" is invalid: spec.x: Invalid value: \"hunter2\": 4711\n";
        let told = "Deployment.apps \"web-shop\" is invalid: spec.x: Invalid value: \"(masked)\": 4711";
        assert_eq!(shown.of_cluster(&output(said)), told);
        assert_eq!(Masks::default().of_cluster(&output("")), "helm ended with 1");
        // What is no YAML is still no less secret.
        let broken = Masks::of([b"a: [\nb: hunter22 x\n".as_slice()].into_iter(), &json!({}));
        assert_eq!(broken.of_rendering(&output("Error: hunter22 x\n")), "(masked)");
    }
}
