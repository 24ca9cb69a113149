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
/// with or without `WITH` and an exception behind it.
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
                    Stated::Expression(expression) if expression.is_met(|term| self.welcomes(term)) => {}
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

    fn welcomes(&self, term: &Term) -> bool {
        let spellings = spellings(term);
        let fits = |pattern: &String| spellings.iter().any(|text| matches(&pattern.to_ascii_lowercase(), text));
        !self.deny.iter().any(fits) && (self.allow.is_empty() || self.allow.iter().any(fits))
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

/// A licence as it is written, without what stands behind `WITH`, and as the list of SPDX has it since 3.0 where it is one of GNU's that it
/// wrote otherwise before. In lower case: identifiers are the same in any (SPDX 2.3, annex D).
fn spellings(term: &Term) -> Vec<String> {
    let bare = term.id.to_ascii_lowercase();
    let of_gnu = ["gpl-", "lgpl-", "agpl-", "gfdl-"].iter().any(|family| bare.starts_with(family));
    let old = of_gnu && !["-only", "-or-later"].iter().any(|end| bare.ends_with(end));
    let since = old.then(|| alloc::format!("{bare}-{}", if term.or_later { "or-later" } else { "only" }));
    let mut out = alloc::vec![term.to_string().to_ascii_lowercase(), bare];
    out.extend(since);
    out
}

fn named(component: &Component) -> String {
    let version = component.version.as_ref().map(|version| alloc::format!(" {version}")).unwrap_or_default();
    component.purl.clone().unwrap_or_else(|| alloc::format!("{}{version}", component.name))
}
