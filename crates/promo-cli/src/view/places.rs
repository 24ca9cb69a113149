//! What a plan says of the places that an environment leaves. What must not live here: which those are.

use promo_core::ids::EnvironmentName;
use promo_engine::Elsewhere;

use super::row::Note;

/// The most places that a note names.
const FEW_PLACES: usize = 3;

impl Note {
    /// That places of an environment are none of it any more: nobody takes away what was deployed there.
    pub(super) fn left(name: &EnvironmentName, elsewhere: &Elsewhere) -> Option<Self> {
        let mut left: Vec<&str> = elsewhere.left.iter().map(String::as_str).collect();
        left.dedup();
        let more = left.len().saturating_sub(FEW_PLACES);
        left.truncate(FEW_PLACES);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        (!left.is_empty()).then(|| {
            let text = format!(
                "{name} leaves {}{more}: what was deployed there is not taken away, and promo does not look at it any more",
                left.join(", ")
            );
            Self { code: "other-place", text }
        })
    }
}
