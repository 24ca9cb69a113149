//! Puts the providers' answers into the plan.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Previewed, Selection, StepDraft};
use crate::plan::{Action, Move, Stay, Step};

/// Puts the providers' previews into the selected moves. Steps that change nothing stay in the plan: what they expect
/// and leave is the same state, and apply demands it.
///
/// # Errors
/// The id of a step that was not previewed.
pub fn assemble(
    selection: Selection,
    previews: &BTreeMap<String, Previewed>,
) -> Result<(Vec<Move>, Vec<Stay>), String> {
    let mut moves = Vec::with_capacity(selection.moves.len());
    for draft in selection.moves {
        let mut head = draft.head;
        head.steps = draft.steps.into_iter().map(|d| finish(d, previews)).collect::<Result<_, _>>()?;
        if let Some(rollback) = &mut head.rollback {
            let mut steps: Vec<Step> =
                draft.rollback_steps.into_iter().map(|d| finish(d, previews)).collect::<Result<_, _>>()?;
            // The way back starts where the way there ends.
            for step in &mut steps {
                let there = head.steps.iter().find(|s| s.action == step.action && s.target == step.target);
                if let (Action::Deploy, Some(there)) = (step.action, there) {
                    step.expected = there.desired;
                }
                step.changes = Vec::new();
            }
            rollback.steps = steps;
        }
        moves.push(head);
    }
    Ok((moves, selection.stays))
}

fn finish(draft: StepDraft, previews: &BTreeMap<String, Previewed>) -> Result<Step, String> {
    let StepDraft { id, action, provider, target, inputs } = draft;
    let Some(preview) = previews.get(&id).cloned() else { return Err(id) };
    let Previewed { current: expected, desired, changes } = preview;
    Ok(Step { id, action, provider, target, inputs, expected, desired, changes })
}
