//! The table of samples: `samples/FORMAT/NAME`, with the facts in `NAME.facts`, and where each comes from in `samples/SOURCES.md`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use promo_core::evidence::{Kind, Report};
use serde_json::Value;

use super::super::{FORMATS, Reader, ReportError, fuzzed, json, read, xml};
use super::shown;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/reports/samples")
}

/// Name and content of every sample, in order.
fn samples() -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    for entry in walkdir::WalkDir::new(root()).sort_by_file_name() {
        let entry = entry.expect("the directory of samples");
        let name = entry.path().strip_prefix(root()).expect("below it").to_string_lossy().into_owned();
        if entry.file_type().is_file() && !name.ends_with(".facts") && name.contains('/') {
            out.push((name, std::fs::read(entry.path()).expect("a sample")));
        }
    }
    out
}

/// Those that give facts; the others are in `refused`.
fn readable() -> impl Iterator<Item = (String, Vec<u8>, Report)> {
    samples().into_iter().filter(|(name, _)| !name.starts_with("refused/")).map(|(name, bytes)| {
        let report = read(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, bytes, report)
    })
}

#[test]
fn every_sample_says_what_is_written_beside_it() {
    let bless = std::env::var_os("PROMO_BLESS").is_some();
    let mut wrong = Vec::new();
    for (name, bytes) in samples() {
        let refused = name.starts_with("refused/");
        let found = match read(&bytes) {
            Ok(report) if !refused => shown::report(&report),
            Err(error) if refused => format!("{error}\n"),
            Ok(_) => panic!("{name} gives facts"),
            Err(error) => panic!("{name}: {error}"),
        };
        let facts = root().join(format!("{name}.facts"));
        if bless {
            std::fs::write(&facts, &found).expect("facts are written");
        }
        let expected = std::fs::read_to_string(&facts).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{name}:\n{}", similar::TextDiff::from_lines(&expected, &found).unified_diff()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_sample_says_what_a_plain_reading_says() {
    for (name, bytes, report) in readable() {
        let checked = std::panic::catch_unwind(|| fuzzed::agrees(&bytes, &report));
        assert!(checked.is_ok(), "{name}");
        if let Some(run) = &report.tests {
            // Comments and quoted output do not count.
            let text =
                without(&without(std::str::from_utf8(&bytes).expect("UTF-8"), "<!--", "-->"), "<![CDATA[", "]]>");
            let cases = text.match_indices("<testcase").count() - text.match_indices("<testcases").count();
            assert!(run.counted.tests >= cases as u64 && run.counted.tests <= cases as u64 + 1, "{name}: {cases}");
        }
    }
}

fn without(text: &str, start: &str, end: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(start) {
        out.push_str(before);
        rest = after.split_once(end).map_or("", |(_, after)| after);
    }
    out + rest
}

#[test]
fn there_are_a_hundred_samples_over_every_format_and_each_names_its_source() {
    let sources = std::fs::read_to_string(root().join("SOURCES.md")).expect("the list of sources");
    let listed: BTreeSet<String> = sources
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name.to_owned()))
        .collect();
    let there: BTreeSet<String> = samples().into_iter().map(|(name, _)| name).collect();
    assert_eq!(listed, there);
    let mut kinds = BTreeSet::new();
    let read = readable().map(|(_, _, report)| kinds.insert(report.about.kind)).count();
    assert!(read >= 100, "{read} documents are read");
    assert_eq!(kinds.len(), FORMATS.len(), "{kinds:?}");
}

#[test]
fn every_sample_is_of_one_format_alone() {
    for (name, bytes, report) in readable() {
        let text = super::super::text(&bytes).expect("UTF-8");
        let parsed = json::parse(text).ok();
        let root = xml::root(text).ok();
        let mut claimed = Vec::new();
        for format in &FORMATS {
            let is = match (&format.reader, &parsed, &root) {
                (Reader::Json(is, _), Some(json), _) => is(json),
                (Reader::Xml(is, _), _, Some(root)) => is(root),
                (Reader::Text(is, _), None, None) => is(text),
                _ => false,
            };
            claimed.extend(is.then_some(format.kind));
        }
        let enveloped = parsed.as_ref().is_some_and(super::super::envelope::is);
        let expected = if enveloped { Kind::Signature } else { report.about.kind };
        assert_eq!(claimed, [expected], "{name}");
    }
}

#[test]
fn a_document_that_is_cut_off_gives_no_facts() {
    for (name, bytes, _) in readable() {
        // A trace file is a list of records, and may end behind each.
        if name.starts_with("lcov/") {
            continue;
        }
        let whole = bytes.trim_ascii_end().len();
        for part in 0..40 {
            let end = whole * part / 40;
            if let Ok(report) = read(&bytes[..end]) {
                panic!("{name} up to {end} of {whole}: {}", shown::report(&report));
            }
        }
    }
}

/// serde's derived readers take a list for a struct. Here an object that becomes a list is refused, or nobody has read it.
#[test]
fn a_list_never_passes_for_an_object_nor_a_text_for_a_list() {
    let mut changed = 0;
    for (name, bytes, report) in readable() {
        let Ok(value) = serde_json::from_slice::<Value>(&bytes) else { continue };
        if bytes.len() > 12_000 {
            continue;
        }
        for pointer in pointers(&value) {
            let mut other = value.clone();
            let part = other.pointer_mut(&pointer).expect("it is there");
            *part = match part {
                Value::Object(parts) => Value::Array(parts.values().cloned().collect()),
                Value::Array(_) => Value::from("text"),
                _ => continue,
            };
            changed += 1;
            match read(other.to_string().as_bytes()) {
                Err(ReportError::NotKnown(_) | ReportError::UnknownVersion { .. } | ReportError::Broken { .. }) => {}
                Err(error) => panic!("{name} at {pointer}: {error}"),
                Ok(found) => {
                    assert_eq!(shown::report(&found), shown::report(&report), "{name} at {pointer}");
                }
            }
        }
    }
    assert!(changed > 1000, "{changed} changes were tried");
}

/// What the fuzz target looks for with more patience, over every sample and from one seed.
#[test]
fn samples_with_bytes_changed_give_facts_that_agree_or_an_error() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below.max(1) as u64).expect("below a size")
    };
    let (mut read_all, mut tried) = (0, 0);
    for (name, bytes) in samples().into_iter().filter(|(_, bytes)| bytes.len() < 6_000) {
        for _ in 0..60 {
            let mut other = bytes.clone();
            for _ in 0..=random(3) {
                let (at, end) = (random(other.len()), random(other.len()));
                match random(4) {
                    // Another byte that formats know.
                    0 => other[at] = b"{}[]\",:<>/0123456789-+.eE\ntfn \\"[random(31)],
                    // A part is missing, or stands twice.
                    1 => drop(other.drain(at.min(end)..at.max(end).min(at.min(end) + 40))),
                    2 => {
                        let part = other[at.min(end)..at.max(end).min(at.min(end) + 40)].to_vec();
                        drop(other.splice(at..at, part));
                    }
                    _ => other[at] = other[end],
                }
                if other.is_empty() {
                    break;
                }
            }
            tried += 1;
            read_all += usize::from(read(&other).is_ok());
            let outcome = std::panic::catch_unwind(|| fuzzed::report(&other));
            assert!(outcome.is_ok(), "{name}: {}", String::from_utf8_lossy(&other));
        }
    }
    // Both happen often enough for either to be looked at.
    assert!(read_all > tried / 20 && read_all < tried * 19 / 20, "{read_all} of {tried} are read");
}

/// Where the broken place is named, it is the place that was broken, or the object around it.
#[test]
fn the_place_that_is_named_is_the_place_that_is_broken() {
    let mut named = 0;
    for (name, bytes, _) in readable() {
        let Ok(value) = serde_json::from_slice::<Value>(&bytes) else { continue };
        if bytes.len() > 12_000 {
            continue;
        }
        for pointer in pointers(&value) {
            let mut other = value.clone();
            *other.pointer_mut(&pointer).expect("it is there") = Value::from(true);
            if let Err(ReportError::Broken { at: super::super::Place::Pointer(at), .. }) =
                read(other.to_string().as_bytes())
            {
                named += 1;
                let around = pointer.rsplit_once('/').map_or("", |(around, _)| around);
                assert!(at == pointer || around.starts_with(&at), "{name}: {pointer} was broken, and {at} is named");
            }
        }
    }
    assert!(named > 300, "{named} places were named");
}

/// Pointers to every object and list in a value.
fn pointers(value: &Value) -> Vec<String> {
    fn add(value: &Value, here: &str, out: &mut Vec<String>) {
        let step = |key: &str| format!("{here}/{}", key.replace('~', "~0").replace('/', "~1"));
        match value {
            Value::Object(parts) => parts.iter().for_each(|(key, part)| add(part, &step(key), out)),
            Value::Array(parts) => {
                parts.iter().enumerate().for_each(|(at, part)| add(part, &step(&at.to_string()), out));
            }
            _ => return,
        }
        out.push(here.to_owned());
    }
    let mut out = Vec::new();
    add(value, "", &mut out);
    out
}
