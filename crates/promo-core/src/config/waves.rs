//! The waves of one environment: every target in exactly one. What must not live here: when a wave may begin, which is
//! decided while a plan is applied.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::vec::Vec;

use super::check::{Checker, words};
use super::duration;
use super::lower::{names, references};
use super::tree::{Node, Span, Table};
use crate::diagnostic::Diagnostic;
use crate::ids::EnvironmentName;
use crate::model::Wave;

/// Lowers `waves`, and tells of every target that is not in exactly one.
pub(super) fn lower(name: &EnvironmentName, own: &Table, checker: &mut Checker<'_>) -> Vec<Wave> {
    let Some(stated) = own.entry("waves") else { return Vec::new() };
    let tables: Vec<&Table> = own.list("waves").iter().filter_map(Node::table).collect();
    let Some(targets) = own.table("targets") else {
        let message = format!("`{name}` has waves, and no `targets` that they could be made of");
        checker.push(
            Diagnostic::at("waves-no-targets", stated.key_span.clone(), message)
                .help("name its places in `targets = { eu = {…}, us = {…} }`, or leave `waves` out"),
        );
        return Vec::new();
    };
    every_target_once(name, &stated.key_span, &tables, targets, checker);
    if let Some(pause) = tables.last().and_then(|last| last.entry("pause")) {
        let message = "there is no wave after the last one, so nothing would wait for its `pause`";
        checker.push(
            Diagnostic::at("waves-last-pause", pause.key_span.clone(), message)
                .help("leave it out, or put it on the wave before the one that is to wait"),
        );
    }
    let wave = |table: &&Table| Wave {
        targets: names(table, "targets"),
        at_once: table.get("at_once").and_then(Node::integer).and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
        pause: table.text("pause").and_then(|text| duration::seconds(text).ok()),
    };
    tables.iter().map(wave).collect()
}

fn every_target_once(
    name: &EnvironmentName,
    place: &Span,
    waves: &[&Table],
    targets: &Table,
    checker: &mut Checker<'_>,
) {
    let known: Vec<&str> = targets.entries.iter().map(|entry| entry.key.as_str()).collect();
    let names: BTreeSet<&str> = known.iter().copied().collect();
    // By the number of the wave: the same name twice in one list has been told.
    let mut seen: BTreeMap<&str, (usize, Span)> = BTreeMap::new();
    for (number, wave) in waves.iter().enumerate() {
        let texts = wave.texts("targets");
        let unknown: Vec<_> = texts.iter().filter(|(text, _)| !names.contains(text)).cloned().collect();
        references(checker, &unknown, &known, "target");
        for (text, span) in texts {
            match seen.get(text) {
                Some((first, _)) if *first == number => {}
                Some((_, first)) => checker.push(
                    Diagnostic::new("config-duplicate", format!("`{text}` is in two waves"))
                        .label(span, "again here")
                        .label(first.clone(), "first here")
                        .help("each target is deployed once: leave it in one of them"),
                ),
                None => {
                    seen.insert(text, (number, span));
                }
            }
        }
    }
    // What is only misspelt is told as that.
    if seen.keys().any(|text| !names.contains(text)) {
        return;
    }
    let missing: Vec<_> = targets.entries.iter().filter(|entry| !seen.contains_key(entry.key.as_str())).collect();
    if !missing.is_empty() {
        let are = if missing.len() == 1 { "is" } else { "are" };
        let message = format!("{} {are} in no wave of `{name}`", words(missing.iter().map(|e| e.key.as_str())));
        let mut diagnostic = Diagnostic::at("waves-target-left-out", place.clone(), message);
        for entry in missing {
            diagnostic = diagnostic.label(entry.key_span.clone(), "in no wave");
        }
        checker.push(diagnostic.help("every target is in exactly one wave: add it to one, or add a wave for it"));
    }
}
