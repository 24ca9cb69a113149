//! How answers look. What lives here: labels, times, diffs, and the renderings of views. What must not: deciding anything.

pub(crate) mod diagnostics;
pub(crate) mod diff;
pub(crate) mod drift;
pub(crate) mod endings;
pub(crate) mod events;
pub(crate) mod forming;
#[cfg(test)]
mod goldens;
pub(crate) mod graph_svg;
pub(crate) mod labels;
pub(crate) mod passages;
pub(crate) mod plan_html;
pub(crate) mod plan_markdown;
pub(crate) mod plan_text;
pub(crate) mod progress;
pub(crate) mod run_page;
pub(crate) mod run_report;
pub(crate) mod standing;
pub(crate) mod table;
pub(crate) mod time;
