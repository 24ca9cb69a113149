//! The one place where text from outside is made safe to print (S13.3): for a terminal, for Markdown, for HTML. What must
//! not live here: layout. Everything that people or machines outside promo wrote goes through one of these functions
//! right where it is put into an answer.

use promo_core::print::is_unsafe;

/// One line: unsafe characters, line breaks among them, are spelt as `\u{…}`; a tab is four spaces.
pub(crate) fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for ch in text.chars() {
        match ch {
            '\t' => out.push_str("    "),
            ch if is_unsafe(ch) => out.extend(ch.escape_unicode()),
            ch => out.push(ch),
        }
    }
    out
}

/// Several lines: as [`line()`], but line breaks stay.
pub(crate) fn block(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (n, part) in text.split('\n').enumerate() {
        if n > 0 {
            out.push('\n');
        }
        out.push_str(&line(part.strip_suffix('\r').unwrap_or(part)));
    }
    out
}

/// Prose in Markdown: no markup, no HTML, and nothing that a forge turns into a mention, a reference or a link. A forge
/// looks for those in the text that remains after Markdown, so a backslash is not enough: an empty comment splits them.
pub(crate) fn markdown(text: &str) -> String {
    let text = line(text);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(ch) = chars.next() {
        match ch {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '@' | '#' | '!' | '$' | '%' | '~' | '^' => {
                out.push('\\');
                // A backslash before what is no punctuation would be shown; all of these are.
                out.push(ch);
                if chars.peek().is_some_and(|next| !next.is_whitespace()) {
                    out.push_str("<!-- -->");
                }
            }
            ':' if chars.peek() == Some(&'/') => out.push_str(":<!-- -->"),
            '.' if chars.peek().is_some_and(|c| c.is_alphanumeric()) => out.push_str(".<!-- -->"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '(' | ')' | '+' | '-' | '|' | '=' | '"' | '\'' => {
                out.push('\\');
                out.push(ch);
            }
            ch => out.push(ch),
        }
    }
    out
}

/// A code span in Markdown, also within a table: its fence is longer than any run of backticks inside, so that nothing in
/// it is markup, a mention or a link.
pub(crate) fn code_span(text: &str) -> String {
    let text = line(text).replace('|', "\u{ff5c}");
    if text.is_empty() {
        return String::new();
    }
    let fence = "`".repeat(longest_run(&text, '`') + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// A fenced block in Markdown, without a final line break. `language` is promo's own word.
pub(crate) fn fenced(language: &str, text: &str) -> String {
    let text = block(text);
    let fence = "`".repeat((longest_run(&text, '`') + 1).max(3));
    format!("{fence}{language}\n{}\n{fence}", text.trim_end_matches('\n'))
}

/// Text in HTML, also within a quoted attribute.
pub(crate) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for ch in block(text).chars() {
        match ch {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            ch => out.push(ch),
        }
    }
    out
}

/// One word of a command line to paste into a POSIX shell: quoted where it has to be.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    if text.chars().any(|ch| is_unsafe(ch) || ch == '\t') {
        return spelt(text);
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The same of a word with characters that may not be printed: `$'…'` spells its bytes, as bash, zsh and POSIX of 2024 read it.
fn spelt(text: &str) -> String {
    let mut out = String::from("$'");
    for ch in text.chars() {
        match ch {
            '\n' => out.push_str(r"\n"),
            '\t' => out.push_str(r"\t"),
            '\'' | '\\' => out.extend(['\\', ch]),
            ch if is_unsafe(ch) => {
                let mut bytes = [0; 4];
                out.extend(ch.encode_utf8(&mut bytes).bytes().map(|byte| format!("\\{byte:03o}")));
            }
            ch => out.push(ch),
        }
    }
    out + "'"
}

fn longest_run(text: &str, wanted: char) -> usize {
    let (mut longest, mut run) = (0, 0);
    for ch in text.chars() {
        run = if ch == wanted { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_get_no_control_format_or_bidi_characters_s13_3() {
        assert_eq!(line("\u{1b}[31mred\u{202e}txt\u{200b}\n"), "\\u{1b}[31mred\\u{202e}txt\\u{200b}\\u{a}");
        assert_eq!(block("a\r\nb\u{7}\n"), "a\nb\\u{7}\n");
        assert_eq!(line("grüße 日本 ✓"), "grüße 日本 ✓");
        for ch in ['\u{9b}', '\u{2066}', '\u{e0041}', '\u{feff}', '\u{ad}', '\u{2028}'] {
            assert!(!line(&ch.to_string()).contains(ch), "{ch:?}");
        }
    }

    #[test]
    fn markdown_prose_mentions_nobody_and_links_nowhere_s13_3() {
        assert_eq!(markdown("ask @dana"), "ask \\@<!-- -->dana");
        assert_eq!(markdown("#57"), "\\#<!-- -->57");
        assert_eq!(markdown("<img src=x>"), "&lt;img src\\=x&gt;");
        assert_eq!(markdown("https://a.example"), "https:<!-- -->//a.<!-- -->example");
        assert_eq!(markdown("a|b"), "a\\|b");
        assert_eq!(markdown("[x](y)"), "\\[x\\]\\(y\\)");
    }

    #[test]
    fn fences_are_longer_than_any_run_inside_s13_3() {
        assert_eq!(code_span("a"), "`a`");
        assert_eq!(code_span("a``b"), "```a``b```");
        assert_eq!(code_span("`"), "`` ` ``");
        assert!(fenced("diff", "x\n````\ny").starts_with("`````diff\n"));
        assert!(fenced("", "x").starts_with("```\n"));
        assert!(!code_span("a|b").contains('|'), "a pipe would end the cell of a table");
    }

    #[test]
    fn html_has_no_markup_from_outside() {
        assert_eq!(html("<a href=\"'&\">"), "&lt;a href=&quot;&#39;&amp;&quot;&gt;");
    }

    #[test]
    fn words_to_paste_stay_one_word() {
        assert_eq!(shell_word("shop.plan.json"), "shop.plan.json");
        assert_eq!(shell_word("a b"), "'a b'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word("$(x)"), "'$(x)'");
        assert_eq!(shell_word("nl\nx's\u{1b}"), r"$'nl\nx\'s\033'");
    }
}
