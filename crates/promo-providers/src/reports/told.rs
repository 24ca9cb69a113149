//! What promoters and verifiers tell of an artifact in statements of in-toto: that it was copied, that it was verified, which tests it has
//! passed. What lives here: that they are whole, and when they were made. What must not: whether any of that is believed.

use promo_core::attestation::{PROMOTION, SUMMARY, TEST_RESULT};
use promo_core::evidence::{About, Kind, Report, Tool};

use super::json::{Json, Read};

/// How the promoter of Kubernetes calls its record of a promotion, which has the same fields.
const KUBERNETES: &str = "https://k8s.io/promo-tools/promotion/v1";

/// Who says it, when, and what else must be there: fields of the predicate, `/` where one stands in another.
type Needed = &'static [&'static str];

/// What a predicate of this type tells: which field has the moment, and which must be there.
pub(super) fn of(predicate_type: &str) -> Option<(Kind, &'static str, Needed)> {
    match predicate_type {
        PROMOTION | KUBERNETES => {
            Some((Kind::Promotion, "timestamp", &["builderId", "srcRef", "dstRef", "digest", "timestamp"]))
        }
        SUMMARY => Some((
            Kind::Verification,
            "timeVerified",
            &["verifier/id", "timeVerified", "resourceUri", "verificationResult"],
        )),
        // The moment is promo's own: the format has none.
        TEST_RESULT => Some((Kind::TestResult, "finishedOn", &["result"])),
        _ => None,
    }
}

/// The facts: what it is, by whom, and when. What it says counts for no gate yet.
pub(super) fn read<'t>(kind: Kind, moment: &str, needed: Needed, predicate: &'t Json) -> Read<'t, Report> {
    let mut about = About::new(kind);
    for field in needed {
        let (outer, inner) = field.split_once('/').unwrap_or((field, ""));
        let at = predicate.need(outer)?;
        let at = if inner.is_empty() { at } else { at.need(inner)? };
        let said = at.text()?;
        if matches!(*field, "builderId" | "verifier/id") {
            about.tools.push(Tool { name: said.to_owned(), version: None });
        }
    }
    about.made = predicate.get_instant(moment)?;
    Ok(Report::new(about))
}
