//! Bills of materials: that there is one, of this artifact, with something in it.

use serde::{Deserialize, Serialize};

use super::piece::bound;
use super::{Fault, Piece, Scope, Subject, Verdict, piece};
use crate::evidence::{Kind, Report};

/// What has to be true of the bill of materials of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BillRequirement {
    /// How many components each bill must list.
    pub least: u64,
    /// Of what in the artifact they must speak.
    pub scope: Scope,
}

impl Default for BillRequirement {
    fn default() -> Self {
        Self { least: 1, scope: Scope::default() }
    }
}

impl BillRequirement {
    /// Judges the evidence for an artifact.
    #[must_use]
    pub fn judge(&self, subject: &Subject, pieces: &[Piece]) -> Verdict {
        let mut verdict = Verdict::default();
        for bill in bills(subject, pieces, self.scope, &mut verdict) {
            let found = bill.report.bill.as_ref().map_or(0, |bill| bill.count);
            if found < self.least {
                verdict.fault(Fault::Empty { document: bill.piece.document, found, least: self.least });
            }
        }
        verdict
    }
}

/// The bills of an artifact; what of it has none is a fault.
pub(super) fn bills<'a>(
    subject: &Subject,
    pieces: &'a [Piece],
    scope: Scope,
    verdict: &mut Verdict,
) -> alloc::vec::Vec<piece::Bound<'a>> {
    let is_bill = |report: &Report| report.bill.is_some();
    let bills = bound(subject, pieces, is_bill, could_be_bill, verdict);
    bills.iter().for_each(|bill| verdict.uses(bill.piece));
    let could = |piece: &Piece| piece.report().is_some_and(is_bill);
    for platform in piece::untold(subject, scope, bills.iter()) {
        piece::missed(subject, pieces, could, Fault::Nothing { from: None, platform }, verdict);
    }
    bills
}

pub(super) const fn could_be_bill(kind: Kind) -> bool {
    matches!(kind, Kind::CycloneDx | Kind::Spdx2 | Kind::Spdx3 | Kind::Syft | Kind::InToto)
}
