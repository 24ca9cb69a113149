//! Text from outside, escaped for terminal, Markdown, HTML and shell (S13.3): nothing of it acts where it is shown.
#![no_main]

#[path = "../../crates/promo-cli/src/escape.rs"]
#[allow(dead_code, unreachable_pub)]
mod escape;

use libfuzzer_sys::fuzz_target;
use promo_fuzz::is_tame;
use pulldown_cmark::{Event, Options, Parser, Tag};

fuzz_target!(|text: &str| {
    let line = escape::line(text);
    assert!(is_tame(&line) && !line.contains('\n'), "{line:?}");
    assert!(is_tame(&escape::block(text)));

    let prose = escape::markdown(text);
    assert!(is_tame(&prose));
    only_text(&format!("before {prose} after"), "prose");
    only_text(&format!("before {} after", escape::code_span(text)), "code span");
    only_text(&format!("| a | b |\n|---|---|\n| {prose} | {} |\n", escape::code_span(text)), "table");
    let fenced = escape::fenced("diff", text);
    let events: Vec<_> = Parser::new_ext(&fenced, Options::all()).collect();
    assert!(matches!(events.first(), Some(Event::Start(Tag::CodeBlock(_)))), "{fenced:?}");
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Start(_))).count(), 1, "{fenced:?}");

    let html = escape::html(text);
    assert!(is_tame(&html) && !html.contains(['<', '>', '"', '\'']), "{html:?}");
});

/// Only words, code and the cells of one table come out: no link, image, heading, list or HTML but empty comments.
fn only_text(markdown: &str, what: &str) {
    for event in Parser::new_ext(markdown, Options::all()) {
        let harmless = match &event {
            Event::Start(Tag::Paragraph | Tag::Table(_) | Tag::TableHead | Tag::TableRow | Tag::TableCell) => true,
            Event::Start(_) => false,
            Event::End(_) | Event::Text(_) | Event::Code(_) | Event::SoftBreak => true,
            Event::InlineHtml(html) => html.as_ref() == "<!-- -->",
            _ => false,
        };
        assert!(harmless, "{what}: {event:?} in {markdown:?}");
    }
}
