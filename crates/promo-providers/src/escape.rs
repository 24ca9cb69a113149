//! Text from outside, made safe to stand in one line of an answer (S13.3). What must not live here: Markdown or HTML,
//! which are the business of whoever renders them.

use promo_core::print::is_unsafe;

/// Longest line kept, in characters.
const LINE: usize = 400;

/// `text` with what [`is_unsafe`] names spelt as `\u{…}`, cut to 400 characters.
pub(crate) fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(4 * LINE));
    for (n, ch) in text.chars().enumerate() {
        if n == LINE {
            out.push('…');
            break;
        }
        match ch {
            '\t' => out.push_str("    "),
            ch if is_unsafe(ch) => out.extend(ch.escape_unicode()),
            ch => out.push(ch),
        }
    }
    out
}

/// The last `count` lines of `text`, each escaped, without blank lines at the end.
pub(crate) fn tail(text: &str, count: usize) -> Vec<String> {
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|l| line(l.trim_end_matches('\r'))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_fool_a_terminal_or_a_reader_is_spelt_out_s13_3() {
        assert_eq!(line("\u{1b}[2Jgone\u{202e}txt\u{200b}"), "\\u{1b}[2Jgone\\u{202e}txt\\u{200b}");
        assert_eq!(line("\u{fe0f}\u{e000}\u{600}"), "\\u{fe0f}\\u{e000}\\u{600}", "as anywhere else in promo");
        assert_eq!(line("grüße 日本"), "grüße 日本");
        assert_eq!(line(&"x".repeat(1000)).chars().count(), LINE + 1);
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        assert_eq!(tail("a\nb\r\nc\u{7}\n\n", 2), ["b", "c\\u{7}"]);
        assert!(tail("", 20).is_empty());
    }
}
