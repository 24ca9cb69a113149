//! Rules about Rust source files: their length, their names, and nothing unfinished in them.

use super::{File, Finding};

const LOOK_HARD: usize = 800;
const TOO_LONG: usize = 1000;

/// Names that say nothing about what lives inside, and so attract everything.
const EMPTY_NAMES: &[&str] = &["util", "utils", "helper", "helpers", "common", "misc"];

/// Macros that mark unfinished work. Spelt in two pieces, or this file would break its own rule.
const UNFINISHED: &[&str] = &[concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")];

/// A file has at most 1000 lines, and above 800 it gets a warning.
pub(super) fn length(file: &File) -> Vec<Finding> {
    if !file.is_rust() {
        return Vec::new();
    }
    let lines = file.text.lines().count();
    let advice = "split it by what the parts are for";
    match lines {
        0..=LOOK_HARD => Vec::new(),
        801..=TOO_LONG => {
            let message = format!("{lines} lines; above {LOOK_HARD}, {advice}");
            vec![Finding { warning: true, ..Finding::whole(file, message) }]
        }
        _ => vec![Finding::whole(file, format!("{lines} lines, at most {TOO_LONG}; {advice}"))],
    }
}

/// No macro that stands for unfinished work or for debugging.
pub(super) fn unfinished(file: &File) -> Vec<Finding> {
    if !file.is_rust() {
        return Vec::new();
    }
    file.lines()
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .flat_map(|(number, line)| {
            let found = UNFINISHED.iter().filter(move |macro_name| line.contains(**macro_name));
            found.map(move |name| {
                Finding::at(file, number, format!("`{}` is unfinished work", name.trim_end_matches('(')))
            })
        })
        .collect()
}

/// No file or module directory whose name says nothing.
pub(super) fn name(file: &File) -> Vec<Finding> {
    if !file.is_rust() {
        return Vec::new();
    }
    file.path
        .split('/')
        .map(|part| part.trim_end_matches(".rs"))
        .filter(|part| EMPTY_NAMES.contains(part))
        .map(|part| Finding::whole(file, format!("`{part}` names nothing; name the module after what lives there")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::{UNFINISHED, length, name, unfinished};

    #[test]
    fn length_warns_above_800_and_fails_above_1000() {
        assert!(length(&file("a.rs", &"x\n".repeat(800))).is_empty());
        assert!(length(&file("a.rs", &"x\n".repeat(801)))[0].warning);
        assert!(length(&file("a.rs", &"x\n".repeat(1000)))[0].warning);
        assert!(!length(&file("a.rs", &"x\n".repeat(1001)))[0].warning);
        assert!(length(&file("golden.md", &"x\n".repeat(2000))).is_empty());
    }

    #[test]
    fn each_unfinished_macro_is_found_in_code_and_not_in_comments() {
        for macro_name in UNFINISHED {
            let found = unfinished(&file("a.rs", &format!("fn f() {{\n    {macro_name});\n}}\n")));
            assert_eq!(found.len(), 1, "{macro_name}");
            assert_eq!(found[0].line, Some(2));
            assert!(unfinished(&file("a.rs", &format!("    // {macro_name})\n"))).is_empty());
        }
    }

    #[test]
    fn a_name_that_says_nothing_is_refused_as_file_and_as_directory() {
        assert_eq!(name(&file("crates/x/src/utils.rs", "")).len(), 1);
        assert_eq!(name(&file("tests/tests/common/mod.rs", "")).len(), 1);
        assert!(name(&file("crates/x/src/common_ancestor.rs", "")).is_empty());
    }
}
