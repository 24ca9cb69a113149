//! The registry of codes: every error, diagnostic and reason that promo can give has a page in `docs/errors/`, of which the
//! title is the code and the first paragraph is one line about it.

/// A code and its page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Code {
    /// The code, which is the name of its page.
    pub(crate) name: &'static str,
    /// The page, Markdown.
    pub(crate) page: &'static str,
}

impl Code {
    /// One line about it.
    pub(crate) fn about(&self) -> &'static str {
        self.page.lines().skip(1).find(|l| !l.is_empty()).unwrap_or("")
    }
}

/// The code of that name.
pub(crate) fn find(name: &str) -> Option<&'static Code> {
    CODES.iter().find(|code| code.name == name)
}

/// What the rules of that number say, or a section of them: `S10.4`, `S10`. The numbers are those that pages and tests quote.
pub(crate) fn rule(number: &str) -> Option<String> {
    let exact = |word: &str| word.trim_end_matches([',', ')']) == number;
    let mut out = String::new();
    let (mut within, mut taken) = (false, false);
    for line in SEMANTICS.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            within = title.rsplit_once('(').is_some_and(|(_, numbers)| numbers.split(' ').any(exact));
            taken = within;
        } else if let Some(rule) = line.strip_prefix("- ") {
            let number = |word: &&str| word.starts_with('S') && word.contains(|c: char| c.is_ascii_digit());
            taken = within || rule.split(' ').take_while(number).any(exact);
        } else if !line.starts_with(' ') {
            taken = within;
        }
        if taken {
            out.push_str(line);
            out.push('\n');
        }
    }
    Some(out.trim_end().to_owned() + "\n").filter(|text| text.len() > 1)
}

/// The rules by number.
const SEMANTICS: &str = include_str!("../../../docs/reference/semantics.md");

macro_rules! codes {
    ($($name:literal,)+) => {
        /// Every code, by name.
        pub(crate) const CODES: &[Code] =
            &[$(Code { name: $name, page: include_str!(concat!("../../../docs/errors/", $name, ".md")) }),+];
    };
}

codes! {
    "after-this-plan",
    "ahead",
    "apply-unsigned",
    "approval-bot",
    "approval-counted-elsewhere",
    "approval-excluded",
    "approval-expired",
    "approval-not-yet-valid",
    "approval-other-environment",
    "approval-other-key",
    "approval-other-ledger",
    "approval-other-pipeline",
    "approval-other-plan",
    "approval-other-policy",
    "approval-other-release",
    "approval-refused",
    "approval-rejected",
    "approval-revoked",
    "approval-role-not-asked",
    "approval-role-not-held",
    "approval-unknown-key",
    "approval-unmapped-party",
    "approval-unnamed-party",
    "approvals",
    "artifact-damaged",
    "artifact-described",
    "artifact-moving-tag",
    "artifact-reference",
    "artifact-unavailable",
    "artifacts-as-recorded",
    "back-already",
    "broken-signature",
    "busy",
    "check-failed",
    "check-flaky",
    "check-not-runnable",
    "check-withdrawn",
    "checks-missing",
    "clock-skew",
    "clock-went-back",
    "commits-differ",
    "config-duplicate",
    "config-duration",
    "config-empty",
    "config-format",
    "config-invalid",
    "config-missing-key",
    "config-name",
    "config-no-environment",
    "config-one-kind",
    "config-path",
    "config-placeholder",
    "config-unknown-key",
    "config-unknown-kind",
    "config-unknown-name",
    "config-unsupported",
    "config-wrong-type",
    "config-wrong-value",
    "configuration-failed",
    "configuration-tried",
    "denied",
    "deployed-again",
    "destination-taken",
    "drifted",
    "drill-failed",
    "drills-allowed",
    "drills-refused",
    "empty",
    "environment-auto-production",
    "environment-control-only",
    "environment-no-deploy",
    "environment-no-target",
    "environment-no-verify",
    "erased",
    "evidence-bad",
    "evidence-expired",
    "evidence-invalid",
    "evidence-met",
    "evidence-missing",
    "evidence-not-looked",
    "evidence-unreadable",
    "exists-already",
    "file-not-in-release",
    "file-unreadable",
    "floor-approval",
    "floor-staging",
    "floor-start",
    "floor-verification",
    "floor-window",
    "format-newer",
    "from-the-future",
    "frozen",
    "gate-empty",
    "gate-exception",
    "gate-licence",
    "gate-signers",
    "gate-source",
    "gate-unused",
    "graph-after-empty",
    "graph-always",
    "graph-at-least",
    "graph-cycle",
    "graph-self",
    "held",
    "holds-for-soak",
    "idle",
    "image-movable",
    "image-unlike",
    "judged-as-now",
    "key-outside-window",
    "ledger-busy",
    "ledger-damaged",
    "ledger-lost",
    "ledger-newer",
    "ledger-other",
    "ledger-refused",
    "ledger-rewritten",
    "ledger-unusable",
    "licence",
    "lift-refused",
    "limit-depth",
    "limit-environments",
    "limit-file-size",
    "limit-text",
    "lock-lost",
    "locked",
    "malformed",
    "may-leave-out",
    "members",
    "metadata-conflict",
    "no-approval-needed",
    "no-baseline",
    "no-soak-disturbed",
    "no-such-commit",
    "not-a-commit",
    "not-formatted",
    "not-frozen",
    "not-interactive",
    "not-measured",
    "not-quarantined",
    "not-reachable",
    "not-said",
    "not-signed",
    "not-there-yet",
    "nothing",
    "nothing-selected",
    "of-another",
    "offline",
    "old",
    "older",
    "other-builder",
    "other-commit",
    "other-place",
    "other-provider",
    "other-source",
    "out-of-bounds",
    "outside-windows",
    "paused",
    "pipeline-not-found",
    "plan-edited",
    "plan-elsewhere",
    "plan-other-digest",
    "plan-spent",
    "plan-stale",
    "plan-unreadable",
    "policy-always",
    "policy-artifact-missing",
    "policy-check-missing",
    "policy-claim",
    "policy-expired",
    "policy-expires",
    "policy-identity",
    "policy-key",
    "policy-missing",
    "policy-no-key",
    "policy-not-adopted",
    "policy-provider",
    "policy-replaced",
    "policy-required",
    "policy-reused",
    "policy-tier-too-low",
    "policy-unclaimed-target",
    "policy-unknown-role",
    "policy-unused-window",
    "provider-broken",
    "provider-conflict",
    "provider-denied",
    "provider-failed",
    "provider-not-found",
    "provider-transient",
    "provider-unknown",
    "quarantined",
    "request-invalid",
    "request-unsigned",
    "run-began",
    "run-held",
    "run-interrupted",
    "run-rolled-back",
    "run-stuck",
    "signer-key",
    "signing-failed",
    "soak-met",
    "soak-not-predecessor",
    "soak-stopped",
    "soaking",
    "source-not-seen",
    "still-watched",
    "stopped",
    "tag-moved",
    "target-duplicate",
    "target-keys",
    "target-taken",
    "template-invalid",
    "tests",
    "threshold",
    "toml-encoding",
    "toml-syntax",
    "too-many",
    "tried-before",
    "trust-differs",
    "trust-digest",
    "trust-in-repository",
    "trust-policy",
    "trust-remote-production",
    "trusted-root",
    "unbound",
    "undated",
    "unexpected",
    "unfinished",
    "unknown-licences",
    "unproven-signature",
    "unreadable",
    "up-to-date",
    "usage",
    "verified",
    "vulnerable",
    "waiting",
    "waves-last-pause",
    "waves-no-targets",
    "waves-target-left-out",
    "window-denies",
    "window-forecast",
    "window-invalid",
    "window-open",
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_page_is_in_the_registry_and_every_code_has_a_page() {
        let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors");
        let pages: BTreeSet<String> = std::fs::read_dir(pages)
            .unwrap()
            .filter_map(|e| e.unwrap().file_name().to_str()?.strip_suffix(".md").map(str::to_owned))
            .filter(|name| name != "README")
            .collect();
        let codes: BTreeSet<String> = CODES.iter().map(|c| c.name.to_owned()).collect();
        assert_eq!(pages, codes);
        assert!(CODES.windows(2).all(|pair| pair[0].name < pair[1].name), "by name");
    }

    #[test]
    fn every_page_has_its_code_as_title_says_what_it_means_and_what_to_do() {
        for code in CODES {
            assert_eq!(code.page.lines().next(), Some(format!("# {}", code.name).as_str()));
            for section in ["\n## What it means\n", "\n## What to do\n"] {
                assert!(code.page.contains(section), "{}", code.name);
            }
            assert!(code.about().ends_with('.'), "{}: {}", code.name, code.about());
        }
    }

    #[test]
    fn every_rule_that_a_page_or_a_guide_cites_is_explained() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");
        let mut pages: Vec<String> = ["README.md", "reasons.md"].map(|name| format!("{docs}/{name}")).to_vec();
        for folder in ["errors", "guide"] {
            let entries = std::fs::read_dir(format!("{docs}/{folder}")).unwrap();
            pages.extend(
                entries.map(|e| e.unwrap().path().to_string_lossy().into_owned()).filter(|p| p.ends_with(".md")),
            );
        }
        let mut cited = BTreeSet::new();
        for page in pages {
            let text = std::fs::read_to_string(&page).unwrap();
            let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '.').map(|w| w.trim_end_matches('.'));
            let number = |w: &&str| {
                w.strip_prefix(['S', 'R'])
                    .is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit() || c == '.'))
            };
            cited.extend(words.filter(number).map(|word| (word.to_owned(), page.clone())));
        }
        assert!(cited.len() > 20, "{cited:?}");
        for (number, page) in cited {
            assert!(rule(&number).is_some(), "{page} cites {number}, which is nowhere");
        }
        let lift = rule("S10.4").unwrap();
        assert!(lift.matches("- S10.4").count() >= 3 && !lift.contains("- S10.3"), "{lift}");
        assert!(
            rule("S10").unwrap().contains("- S10.1")
                && rule("S8").unwrap().contains("- S9.1")
                && rule("S99").is_none()
                && rule("").is_none()
        );
    }

    #[test]
    fn every_diagnostic_and_every_reason_has_a_page() {
        for (code, _) in promo_core::diagnostic::CODES {
            assert!(find(code).is_some(), "{code}");
        }
        // The codes of reasons, of faults of evidence, of approvals that do not count and of what the engine says stand in one match
        // each; a new one there needs a page here.
        for (source, of, least) in [
            (include_str!("../../promo-core/src/gate.rs"), "fn code(&self)", 30),
            (include_str!("../../promo-core/src/approval/problem.rs"), "fn code(&self)", 20),
            (include_str!("../../promo-core/src/requirement/words.rs"), "fn code(&self)", 30),
            (include_str!("../../promo-engine/src/error.rs"), "fn code(&self)", 30),
            (include_str!("../../promo-engine/src/error.rs"), "const fn provider_code(", 10),
        ] {
            let start = source.find(of).expect("the match of codes");
            let body = &source[start..];
            let end = ["\n    }\n", "\n}\n"].into_iter().filter_map(|end| body.find(end)).min().expect("its end");
            let codes: Vec<&str> = body[..end].lines().filter_map(|line| literal(line, "=> \"")).collect();
            let blocks = body[..end]
                .lines()
                .map(str::trim)
                .filter_map(|line| literal(line, "\"").filter(|_| line.starts_with('"')));
            let codes: Vec<&str> = codes.into_iter().chain(blocks).collect();
            assert!(codes.len() >= least, "{of}: {codes:?}");
            for code in codes {
                assert!(find(code).is_some(), "{code}");
            }
        }
    }

    /// What stands in quotes behind a word of a line.
    fn literal<'t>(line: &'t str, word: &str) -> Option<&'t str> {
        line.split_once(word)?.1.split('"').next()
    }

    /// Every place of this crate that words an error, a diagnostic or a note with a code of its own.
    #[test]
    fn every_code_that_a_verb_prints_has_a_page() {
        const WORDS: [&str; 5] =
            ["CliError::new(\"", "code: \"", "Diagnostic::new(\"", "Diagnostic::at(\"", "Diagnostic::warning(\""];
        let mut found = BTreeSet::new();
        let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).unwrap();
                // What only tests print stands behind this; a call that is broken into lines is read as one line.
                let text = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default().replace(['\n', ' '], "");
                for word in WORDS.map(|word| word.replace(' ', "")) {
                    for after in text.split(&word).skip(1) {
                        let code = after.split('"').next().unwrap_or_default();
                        found.insert((code.to_owned(), path.display().to_string()));
                    }
                }
            }
        }
        assert!(found.len() > 40, "{found:?}");
        for (code, place) in found {
            assert!(find(&code).is_some(), "{code}, in {place}");
        }
    }
}
