//! Licences of what an artifact is made of.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::bill::bills;
use super::exception::matches;
use super::{Fault, Piece, Scope, Subject, Verdict};
use crate::evidence::{Component, Stated, Term};

/// What is made of a component of which nothing readable is said about the licence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unknown {
    /// It is not taken.
    #[default]
    Refuse,
    /// It is taken in packages of an operating system, whose licences stand in files that scanners do not read, and in nothing else.
    TakeOfSystem,
    /// It is taken.
    Take,
}

/// What has to be true of the licences of an artifact's components. A pattern is an identifier of SPDX in which `*` stands for anything,
/// with or without `WITH` and an exception behind it. Old identifiers of GNU's licences are taken: `GPL-3.0`, which is allowed as
/// `GPL-3.0-only`, and denied as `GPL-3.0-or-later` too.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LicenceRequirement {
    /// What is welcome; all that is not denied when there is nothing.
    pub allow: BTreeSet<String>,
    /// What is not, whatever else says that it is.
    pub deny: BTreeSet<String>,
    /// What is made of components without a licence that can be read.
    pub unknown: Unknown,
    /// Of what in the artifact bills must speak.
    pub scope: Scope,
}

impl LicenceRequirement {
    /// Judges the evidence for an artifact.
    #[must_use]
    pub fn judge(&self, subject: &Subject, pieces: &[Piece]) -> Verdict {
        let mut verdict = Verdict::default();
        let bills = bills(subject, pieces, self.scope, &mut verdict);
        let patterns = Patterns::of(self);
        for bill in bills {
            let document = bill.piece.document;
            let Some(of) = &bill.report.bill else { continue };
            let Some(components) = &of.components else {
                let why = "licences of this format are not read".to_string();
                verdict.fault(Fault::Unreadable { document, why });
                continue;
            };
            if components.is_empty() {
                verdict.fault(Fault::Empty { document, found: 0, least: 1 });
            }
            let mut unknown: Vec<&Component> = Vec::new();
            for component in components {
                let fault = |licence: String| Fault::Licence { document, component: named(component), licence };
                match component.licence() {
                    Stated::Expression(expression) if expression.is_met(|term| patterns.welcome(term)) => {}
                    Stated::Expression(expression) => verdict.fault(fault(expression.to_string())),
                    Stated::None => verdict.fault(fault(Stated::None.to_string())),
                    Stated::Nothing | Stated::Unreadable(_) if self.takes_unknown(component) => {}
                    Stated::Nothing | Stated::Unreadable(_) => unknown.push(component),
                }
            }
            if let Some(first) = unknown.first() {
                let (found, of) = (unknown.len() as u64, components.len() as u64);
                verdict.fault(Fault::UnknownLicences { document, found, of, first: named(first) });
            }
        }
        verdict
    }

    fn takes_unknown(&self, component: &Component) -> bool {
        let of_system = || {
            let purl = component.purl.as_deref().unwrap_or_default();
            ["pkg:deb/", "pkg:rpm/", "pkg:apk/", "pkg:alpm/"].iter().any(|kind| purl.starts_with(kind))
        };
        match self.unknown {
            Unknown::Refuse => false,
            Unknown::TakeOfSystem => of_system(),
            Unknown::Take => true,
        }
    }
}

/// The patterns of a requirement as they are compared, in lower case: identifiers are the same in any (SPDX 2.3, annex D).
struct Patterns {
    allow: Vec<String>,
    deny: Vec<String>,
}

impl Patterns {
    fn of(requirement: &LicenceRequirement) -> Self {
        let read = |list: &BTreeSet<String>, denied| list.iter().flat_map(|text| spelt(text, denied)).collect();
        Self { allow: read(&requirement.allow, false), deny: read(&requirement.deny, true) }
    }

    /// Whether a licence is. What an exception of SPDX adds to it only permits more, so that it is as welcome with one and as much denied;
    /// an addition of somebody's own may take away what the licence permits, and is welcome where it is named.
    fn welcome(&self, term: &Term) -> bool {
        let bare = spellings(term);
        let with = |exception: &String| {
            let exception = exception.to_ascii_lowercase();
            bare.iter().map(|id| alloc::format!("{id} with {exception}")).collect()
        };
        let whole: Vec<String> = term.exception.as_ref().map(with).unwrap_or_default();
        let own = term.exception.as_ref().is_some_and(|exception| exception.contains("AdditionRef-"));
        let fit = |patterns: &[String], ids: &[String]| {
            patterns.iter().any(|pattern| ids.iter().any(|id| matches(pattern, id)))
        };
        let allowed = fit(&self.allow, &whole) || (!own && fit(&self.allow, &bare));
        !fit(&self.deny, &whole) && !fit(&self.deny, &bare) && (self.allow.is_empty() || allowed)
    }
}

/// Whether it is one of the identifiers of GNU's licences that the list of SPDX has had otherwise since 3.0: `gpl-3.0`, and not
/// `gpl-3.0-only`.
fn is_old(id: &str) -> bool {
    let version = ["gpl-", "lgpl-", "agpl-", "gfdl-"].iter().find_map(|family| id.strip_prefix(family));
    version.is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
        && !["-only", "-or-later"].iter().any(|end| id.ends_with(end))
}

/// A pattern in each spelling that the list of SPDX has had. An old identifier of GNU's says nothing of later versions: who denies `GPL-3.0`
/// denies it with and without them, and who allows it allows `GPL-3.0-only`, which is what SPDX says that it means.
fn spelt(pattern: &str, denied: bool) -> Vec<String> {
    let pattern = pattern.to_ascii_lowercase();
    let (id, with) = pattern.split_at(pattern.find(" with ").unwrap_or(pattern.len()));
    let (base, later) = id.strip_suffix('+').map_or((id, false), |base| (base, true));
    if pattern.contains('*') || base.contains("-with-") || !is_old(base) {
        return alloc::vec![pattern];
    }
    let ends: &[&str] = match (denied, later) {
        (_, true) => &["-or-later"],
        (false, false) => &["-only"],
        (true, false) => &["", "-only", "-or-later", "-invariants-*", "-no-invariants-*"],
    };
    ends.iter().map(|end| alloc::format!("{base}{end}{with}")).collect()
}

/// A licence as it is written, and as the list of SPDX has it since 3.0 where it is one of GNU's that it wrote otherwise before; without
/// what stands behind `WITH`.
fn spellings(term: &Term) -> Vec<String> {
    let id = term.id.to_ascii_lowercase();
    let mut out = Vec::new();
    if is_old(&id) {
        let base = id.split("-with-").next().unwrap_or(&id);
        out.push(alloc::format!("{base}-{}", if term.or_later { "or-later" } else { "only" }));
    }
    if term.or_later && !id.ends_with("-or-later") {
        out.push(alloc::format!("{id}+"));
    }
    out.push(id);
    out
}

fn named(component: &Component) -> String {
    let version = component.version.as_ref().map(|version| alloc::format!(" {version}")).unwrap_or_default();
    component.purl.clone().unwrap_or_else(|| alloc::format!("{}{version}", component.name))
}
